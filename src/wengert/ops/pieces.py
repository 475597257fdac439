"""Ops that take arrays apart and put them together: slice, put_slice, pad, flip, concatenate.

`slice` and `pad` are each other's transpose, as are `concatenate` and a row of slices. Starts,
stops and steps are canonical here: one entry an axis, `0 <= start <= stop <= size`, `step >= 1`;
what users write (negative, missing) is worked out by `wengert.namespaces.keys`.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, AxisError, BoundsError, DtypeError, ShapeError
from wengert.core.index import Index, Place
from wengert.core.lowering import Indexed, View
from wengert.core.node import Node
from wengert.core.op import Array, Op, bind
from wengert.core.rules import custom, linear, no_such_axis, normalize_axis
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.movement import broadcast_to

Ints = tuple[int, ...]


def _slices(start: Ints, stop: Ints, step: Ints) -> tuple[builtins.slice, ...]:
    return tuple(map(builtins.slice, start, stop, step))


def _check_ranges(op: str, shape: Shape, start: Ints, stop: Ints, step: Ints) -> None:
    for axis, (n, a, b, s) in enumerate(zip(shape, start, stop, step, strict=True)):
        if not (0 <= a <= b <= n and s >= 1):
            raise BoundsError(
                op,
                "each axis needs 0 <= start <= stop <= size and step >= 1",
                met=f"start {a}, stop {b}, step {s} on axis {axis} of size {n}",
                fix="write x[start:stop:step], which works these out",
            )


def sliced_shape(start: Ints, stop: Ints, step: Ints) -> Shape:
    """How many elements each axis keeps."""
    return tuple(-((a - b) // s) for a, b, s in zip(start, stop, step, strict=True))


# -- slice -------------------------------------------------------------------------------------


def _slice_spec(x: Shaped, start: Ints, stop: Ints, step: Ints) -> Spec:
    _check_ranges("slice", x.shape, start, stop, step)
    return Spec(sliced_shape(start, stop, step), x.dtype)


def _slice_transpose(g: Tensor, x_spec: Shaped, start: Ints, stop: Ints, step: Ints) -> Tensor:
    """Zeros before, between and after the elements that were taken."""
    taken = [a + (m - 1) * s + 1 for a, s, m in zip(start, step, g.shape, strict=True)]
    hi = tuple(
        n - t if m else n - a
        for n, t, m, a in zip(x_spec.shape, taken, g.shape, start, strict=True)
    )
    return pad(g, lo=start, hi=hi, interior=tuple(s - 1 for s in step), value=0)


def _slice_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], start: Ints, stop: Ints, step: Ints
) -> Tensor:
    found: Tensor = slice(args[0], start=(0, *start), stop=(size, *stop), step=(1, *step))
    return found


def _slice(x: Array, start: Ints, stop: Ints, step: Ints) -> Array:
    _check_ranges("slice", x.shape, start, stop, step)
    return x[_slices(start, stop, step)]


slice: Op = linear(
    "slice",
    _slice,
    _slice_spec,
    _slice_transpose,
    batch=_slice_batch,
    samples=lambda rng: [
        Sample((rng.normal(size=(4, 5)),), {"start": (1, 0), "stop": (3, 5), "step": (1, 2)}),
        Sample((rng.normal(size=(5,)),), {"start": (1,), "stop": (5,), "step": (3,)}),
        Sample((rng.normal(size=(5,)),), {"start": (2,), "stop": (2,), "step": (2,)}),
        Sample((rng.normal(size=()),), {"start": (), "stop": (), "step": ()}),
        Wrong(
            (rng.normal(size=(4,)),),
            {"start": (2,), "stop": (6,), "step": (1,)},
            BoundsError,
            "0 <= start <= stop <= size",
        ),
    ],
    cost="view",
    lower=View(
        lambda place, x, start, stop, step: tuple(
            i * s + a for i, a, s in zip(place.index, start, step, strict=True)
        )
    ),
)


# -- pad ---------------------------------------------------------------------------------------


def _padded_shape(shape: Shape, lo: Ints, hi: Ints, interior: Ints) -> Shape:
    return tuple(
        a + n + max(n - 1, 0) * i + b for n, a, b, i in zip(shape, lo, hi, interior, strict=True)
    )


def _pad_spec(x: Shaped, lo: Ints, hi: Ints, interior: Ints, value: float) -> Spec:
    if not len(lo) == len(hi) == len(interior) == len(x.shape):
        raise ArgumentError(
            "pad",
            "one width an axis is needed",
            met=f"{len(lo)} widths for {len(x.shape)} axes",
            fix="pass lo, hi and interior of the array's rank",
        )
    if min((*lo, *hi, *interior), default=0) < 0:
        raise ArgumentError(
            "pad",
            "widths must not be negative",
            met=f"lo={lo}, hi={hi}, interior={interior}",
            fix="take elements away with a slice, x[a:b]",
        )
    return Spec(_padded_shape(x.shape, lo, hi, interior), x.dtype)


def _inside(shape: Shape, lo: Ints, interior: Ints) -> tuple[builtins.slice, ...]:
    """Where the elements of an array of `shape` stand in the padded one."""
    return tuple(
        builtins.slice(a, a + (n - 1) * (i + 1) + 1 if n else a, i + 1)
        for n, a, i in zip(shape, lo, interior, strict=True)
    )


def _pad(x: Array, lo: Ints, hi: Ints, interior: Ints, value: float) -> Array:
    _pad_spec(x, lo, hi, interior, value)
    shape = _padded_shape(x.shape, lo, hi, interior)
    out = np.zeros(shape, x.dtype) if value == 0 else np.full(shape, value, x.dtype)
    out[_inside(x.shape, lo, interior)] = x
    return out


def _pad_transpose(g: Tensor, x_spec: Shaped, lo: Ints, interior: Ints) -> Tensor:
    places = _inside(x_spec.shape, lo, interior)
    found: Tensor = slice(
        g,
        start=tuple(p.start for p in places),
        stop=tuple(p.stop for p in places),
        step=tuple(p.step for p in places),
    )
    return found


def _pad_batch(
    size: int,
    args: Sequence[Tensor],
    batched: Sequence[bool],
    lo: Ints,
    hi: Ints,
    interior: Ints,
    value: float,
) -> Tensor:
    found: Tensor = pad(args[0], lo=(0, *lo), hi=(0, *hi), interior=(0, *interior), value=value)
    return found


def _pad_entry(
    b: Any, place: Place, x: Any, lo: Ints, hi: Ints, interior: Ints, value: float
) -> Any:
    """The operand's entry where the place is one of its own, else the filling value."""
    inner = [i + -a for i, a in zip(place.index, lo, strict=True)]
    conditions = []
    for axis, (i, n, gap) in enumerate(zip(inner, x.shape, interior, strict=True)):
        conditions.append(b.inside(i, 0, (n - 1) * (gap + 1) + 1 if n else 0))
        if gap:
            inner[axis], fits = b.divided(i, gap + 1)
            conditions.append(fits)
    filling = b.number(value, x.dtype)
    return b.guarded(conditions, lambda: b.read(x, inner), filling) if x.size else filling


pad: Op = custom(
    "pad",
    _pad,
    _pad_spec,
    jvps=(lambda t, lo, hi, interior: pad(t, lo=lo, hi=hi, interior=interior, value=0),),
    vjps=(_pad_transpose,),
    batch=_pad_batch,
    samples=lambda rng: [
        Sample(
            (rng.normal(size=(2, 3)),), {"lo": (1, 0), "hi": (0, 2), "interior": (0, 1), "value": 0}
        ),
        Sample((rng.normal(size=(3,)),), {"lo": (2,), "hi": (1,), "interior": (2,), "value": 1.5}),
        Sample((rng.normal(size=(0,)),), {"lo": (1,), "hi": (1,), "interior": (1,), "value": 0}),
        Sample((rng.normal(size=()),), {"lo": (), "hi": (), "interior": (), "value": 0}),
        Wrong(
            (rng.normal(size=(3,)),),
            {"lo": (-1,), "hi": (0,), "interior": (0,), "value": 0},
            ArgumentError,
            "must not be negative",
        ),
    ],
    lower=Indexed(_pad_entry),
)


# -- flip --------------------------------------------------------------------------------------


def _flip_spec(x: Shaped, axes: Ints) -> Spec:
    for a in axes:
        if not 0 <= a < len(x.shape):
            raise no_such_axis("flip", a, len(x.shape))
    return Spec(x.shape, x.dtype)


flip: Op = linear(
    "flip",
    lambda x, axes: np.flip(x, axes),
    _flip_spec,
    lambda g, axes: flip(g, axes=axes),
    batch=lambda size, args, batched, axes: flip(args[0], axes=tuple(a + 1 for a in axes)),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3, 2)),), {"axes": (0, 2)}),
        Sample((rng.normal(size=(2,)),), {"axes": ()}),
        Wrong((rng.normal(size=(2,)),), {"axes": (1,)}, AxisError, "no such axis"),
    ],
    cost="view",
    lower=View(
        lambda place, x, axes: tuple(
            i * -1 + (x.shape[a] - 1) if a in axes else i for a, i in enumerate(place.index)
        )
    ),
)


# -- concatenate -------------------------------------------------------------------------------


def _concatenate_spec(*xs: Shaped, axis: int, sizes: Ints) -> Spec:
    first = xs[0]
    axis = normalize_axis("concat", axis, len(first.shape))
    rest = (*first.shape[:axis], *first.shape[axis + 1 :])
    for x in xs:
        if len(x.shape) != len(first.shape) or (*x.shape[:axis], *x.shape[axis + 1 :]) != rest:
            raise ShapeError(
                "concat",
                f"all axes but axis {axis} must have equal sizes",
                met=describe(*xs),
                fix="reshape or broadcast the arrays to fit; wg.stack adds a new axis",
            )
        if x.dtype != first.dtype:
            raise DtypeError(
                "concat", "the arrays must share a dtype", met=describe(*xs), fix="cast them first"
            )
    return Spec((*first.shape[:axis], builtins.sum(sizes), *first.shape[axis + 1 :]), first.dtype)


class Joint(Op):
    """Linear in its operands together: the tangent of the result is the op applied to theirs."""

    def operand_shape(self, node: Node, i: int) -> Shape:
        """The shape of operand `i`, worked out from the node alone."""
        raise AssertionError("each joint op says this")

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        filled = [
            Tensor(np.zeros(self.operand_shape(node, i), node.dtype)) if t is None else t
            for i, t in enumerate(tangents)
        ]
        return bind(self, tuple(filled), node.params)


class Concatenate(Joint):
    """Any number of operands, put behind each other along `axis`; `sizes` are theirs along it."""

    def operand_shape(self, node: Node, i: int) -> Shape:
        axis = node.params["axis"]
        return (*node.shape[:axis], node.params["sizes"][i], *node.shape[axis + 1 :])

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        axis, start = node.params["axis"], [0] * len(node.shape)
        stop, step = list(node.shape), (1,) * len(node.shape)
        parts: list[Tensor | None] = []
        for size, need in zip(node.params["sizes"], needs, strict=True):
            stop[axis] = start[axis] + size
            taken = slice(ct, start=tuple(start), stop=tuple(stop), step=step) if need else None
            parts.append(taken)
            start[axis] += size
        return parts


def _concatenate_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], axis: int, sizes: Ints
) -> Tensor:
    rows = [
        x if b else broadcast_to(x, shape=(size, *x.shape))
        for x, b in zip(args, batched, strict=True)
    ]
    joined: Tensor = concatenate(*rows, axis=axis + 1, sizes=sizes)
    return joined


def _concatenate_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    a, b, c = rng.normal(size=(2, 3)), rng.normal(size=(1, 3)), rng.normal(size=(2, 0))
    return [
        Sample((a, b), {"axis": 0, "sizes": (2, 1)}),
        Sample((a, c, a), {"axis": 1, "sizes": (3, 0, 3)}),
        Sample((a,), {"axis": 0, "sizes": (2,)}),
        Sample((c, c), {"axis": 1, "sizes": (0, 0)}),
        Wrong((a, b), {"axis": 1, "sizes": (3, 3)}, ShapeError, "must have equal sizes"),
        Wrong((a, b), {"axis": 2, "sizes": (2, 1)}, AxisError, "no such axis"),
    ]


def _concatenate_entry(b: Any, place: Place, *xs: Any, axis: int, sizes: Ints) -> Any:
    """The entry of the operand that the place belongs to: the last one, unless it is before it."""
    starts = [builtins.sum(sizes[:i]) for i in range(len(xs))]
    pairs = [(x, start) for x, start in zip(xs, starts, strict=True) if x.shape[axis]]
    if not pairs:  # nothing is joined to nothing
        return b.number(0, xs[0].dtype)

    def entry(x: Any, start: int) -> Any:
        index = [i + -start if a == axis else i for a, i in enumerate(place.index)]
        return b.read(x, index)

    found = b.guarded(
        [b.inside(place.index[axis], pairs[-1][1], builtins.sum(sizes))],
        lambda: entry(*pairs[-1]),
        b.number(0, xs[0].dtype),
    )
    for x, start in reversed(pairs[:-1]):
        here = b.inside(place.index[axis], start, start + x.shape[axis])
        found = b.guarded([here], lambda x=x, start=start: entry(x, start), found)
    return found


concatenate: Op = Concatenate(
    "concatenate",
    lambda *xs, axis, sizes: np.concatenate(xs, axis),
    _concatenate_spec,
    operands=(),
    vjps=(lambda g: g,),  # marks it as differentiable; the methods above have the rules
    jvps=(lambda g: g,),
    batch=_concatenate_batch,
    samples=_concatenate_samples,
    lower=Indexed(_concatenate_entry),
)


# -- put_slice ---------------------------------------------------------------------------------


def _put_slice_spec(x: Shaped, u: Shaped, start: Ints, stop: Ints, step: Ints) -> Spec:
    _check_ranges("put_slice", x.shape, start, stop, step)
    if u.shape != sliced_shape(start, stop, step):
        raise ShapeError(
            "put_slice",
            "the new values must have the shape of the slice",
            met=f"{u.shape} for a slice of shape {sliced_shape(start, stop, step)}",
            fix="broadcast the values first",
        )
    return Spec(x.shape, x.dtype)


def _put_slice(x: Array, u: Array, start: Ints, stop: Ints, step: Ints) -> Array:
    _put_slice_spec(x, u, start, stop, step)
    out = x.copy()
    out[_slices(start, stop, step)] = u
    return out


class PutSlice(Joint):
    """`x` with the elements of a slice replaced by `u`."""

    def operand_shape(self, node: Node, i: int) -> Shape:
        if i == 0:
            return node.shape
        return sliced_shape(node.params["start"], node.params["stop"], node.params["step"])


def _put_slice_x(g: Tensor, start: Ints, stop: Ints, step: Ints) -> Tensor:
    """What was overwritten gets nothing."""
    blank = Tensor(np.zeros(sliced_shape(start, stop, step), g.dtype))
    kept: Tensor = put_slice(g, blank, start=start, stop=stop, step=step)
    return kept


def _put_slice_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], start: Ints, stop: Ints, step: Ints
) -> Tensor:
    x, u = (
        a if b else broadcast_to(a, shape=(size, *a.shape))
        for a, b in zip(args, batched, strict=True)
    )
    new: Tensor = put_slice(x, u, start=(0, *start), stop=(size, *stop), step=(1, *step))
    return new


def _put_slice_entry(
    b: Any, place: Place, x: Any, u: Any, start: Ints, stop: Ints, step: Ints
) -> Any:
    """The new value where the place lies in the slice, else the old one."""
    inner: list[Index] = []
    conditions = []
    for i, a, s, n in zip(place.index, start, step, u.shape, strict=True):
        at = i + -a
        conditions.append(b.inside(at, 0, (n - 1) * s + 1 if n else 0))
        if s > 1:
            at, fits = b.divided(at, s)
            conditions.append(fits)
        inner.append(at)
    old = b.read(x, place.index)
    return b.guarded(conditions, lambda: b.read(u, inner), old) if u.size else old


put_slice: Op = PutSlice(
    "put_slice",
    _put_slice,
    _put_slice_spec,
    operands=("x", "u"),
    jvps=(None, None),
    vjps=(_put_slice_x, lambda g, start, stop, step: slice(g, start=start, stop=stop, step=step)),
    batch=_put_slice_batch,
    samples=lambda rng: [
        Sample(
            (rng.normal(size=(4, 5)), rng.normal(size=(2, 3))),
            {"start": (1, 0), "stop": (3, 5), "step": (1, 2)},
        ),
        Sample(
            (rng.normal(size=(3,)), rng.normal(size=(0,))),
            {"start": (1,), "stop": (1,), "step": (1,)},
        ),
        Sample((rng.normal(size=()), rng.normal(size=())), {"start": (), "stop": (), "step": ()}),
        Wrong(
            (rng.normal(size=(3,)), rng.normal(size=(2,))),
            {"start": (0,), "stop": (3,), "step": (1,)},
            ShapeError,
            "shape of the slice",
        ),
    ],
    lower=Indexed(_put_slice_entry),
)
