"""Where the largest value of each window stands, and the values there: what max pooling is made of.

`argmax_windows` gives indices, so it has no derivative. `take_windows` takes the values at such
indices, one from each window, and is linear in the array; its transpose `put_windows` adds values
up at their places. Since the index lies in its window, few windows can put something at one place:
compiled code looks at these, and scatters nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.index import ZERO, Place
from wengert.core.lowering import Indexed
from wengert.core.op import REGISTRY, Array, Op
from wengert.core.rules import custom, one_an_input
from wengert.core.sample import Sample, Sampler, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.index import scatter_add
from wengert.ops.movement import broadcast_to
from wengert.ops.window import Padding, Sizes, places, reaching


def _argmax_windows_spec(
    x: Shaped, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Spec:
    if not dtypes.is_float(x.dtype) and not dtypes.is_integer(x.dtype):
        raise DtypeError("argmax_windows", "takes numbers", met=describe(x), fix="cast the array")
    lead = len(x.shape) - len(size)
    if lead < 0:
        raise ShapeError(
            "argmax_windows",
            "the array has fewer axes than the window",
            met=f"a window of {size} over {tuple(x.shape)}",
            fix="give the window one size for each trailing axis it slides over",
        )
    out = places("argmax_windows", tuple(x.shape[lead:]), size, stride, dilation, padding)
    _first_inside(tuple(x.shape[lead:]), size, out, stride, dilation, padding)
    return Spec((*x.shape[:lead], *out), dtypes.int64)


@lru_cache(maxsize=256)
def _first_inside(shape: Sizes, size: Sizes, out: Sizes, *steps: Any) -> Array:
    """For each place of the window, the number of its first entry that lies inside the array."""
    stride, dilation, padding = steps
    number: Any = 0
    for axis, (n, k, o) in enumerate(zip(shape, size, out, strict=True)):
        start = np.arange(o) * stride[axis] - padding[axis][0]
        entry = np.maximum(-(start // dilation[axis]), 0)  # ceil(−start / dilation)
        if np.any((entry >= k) | (start + entry * dilation[axis] >= n)):
            raise ArgumentError(
                "argmax_windows",
                "a window lies in the padding altogether",
                met=f"a window of {size} with padding {padding} over {shape}",
                fix="use a padding of at most half the window",
            )
        number = np.asarray(number)[..., None] * k + entry
    return np.asarray(number)


def _argmax_windows(
    x: Array, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Array:
    spec = _argmax_windows_spec(x, size, stride, dilation, padding)
    lead = x.ndim - len(size)
    shape, out = x.shape[lead:], spec.shape[lead:]
    first = _first_inside(shape, size, out, stride, dilation, padding)
    entries = _entries(x, size, stride, dilation, padding, out)
    # One pass an entry over all windows at once. Numbers grow, so a maximum keeps the latest one
    # that was strictly greater: ties go to the first.
    small = np.uint8 if len(entries) <= 256 else np.int64
    best = np.full(spec.shape, _lowest(x.dtype), x.dtype)
    number = np.broadcast_to(first.astype(small), spec.shape).copy()
    for i, values in enumerate(entries):
        better = values > best
        np.maximum(best, values, out=best)
        np.maximum(number, np.multiply(better, i, dtype=small), out=number)
    if dtypes.is_float(x.dtype) and np.isnan(best).any():  # the first NaN wins
        for i in reversed(range(len(entries))):
            number[np.isnan(entries[i])] = i
    return _positions(number, shape, size, stride, dilation, padding, out)


def _entries(
    x: Array, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding, out: Sizes
) -> list[Array]:
    """For each entry of the window a view of its values at all places, padded with the lowest."""
    lead = x.ndim - len(size)
    if any(map(sum, padding)):
        x = np.pad(x, ((0, 0),) * lead + padding, constant_values=_lowest(x.dtype))
    views = []
    for entry in np.ndindex(size):
        starts = [e * d for e, d in zip(entry, dilation, strict=True)]
        ranges = [
            slice(a, a + (o - 1) * s + 1, s) if o else slice(0, 0)
            for a, o, s in zip(starts, out, stride, strict=True)
        ]
        views.append(x[(..., *ranges)])
    return views


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtypes.is_float(dtype) else np.iinfo(dtype).min


def _positions(
    number: Array,
    shape: Sizes,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Padding,
    out: Sizes,
) -> Array:
    """Entry numbers as indices into the flattened trailing axes of the array."""
    corner: Any = np.zeros((), np.int64)  # of the window at each place; may lie outside
    offset: Any = np.zeros((), np.int64)  # of each entry from the corner
    for axis, (n, k, o) in enumerate(zip(shape, size, out, strict=True)):
        corner = corner[..., None] * n + np.arange(o) * stride[axis] - padding[axis][0]
        offset = offset[..., None] * n + np.arange(k) * dilation[axis]
    return np.asarray(offset.reshape(-1)[number] + corner)


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    line = {"size": (2,), "stride": (2,), "dilation": (1,), "padding": ((0, 0),)}
    return [
        Sample((rng.normal(size=(2, 7)),), {**line, "size": (3,)}),
        Sample((rng.integers(0, 3, (2, 6)),), line),
        Sample(
            (rng.normal(size=(2, 5, 6)),),
            {"size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "padding": ((1, 1), (0, 1))},
        ),
        Sample((np.array([[-np.inf, -np.inf, 1.0, np.nan]]),), {**line, "padding": ((1, 1),)}),
        Sample((rng.normal(size=(0, 4)),), line),
        Wrong((rng.normal(size=(2, 1)),), line, ShapeError, "does not fit"),
        Wrong(
            (rng.normal(size=(2, 3)),),
            {**line, "padding": ((2, 0),)},
            ArgumentError,
            "in the padding altogether",
        ),
        Wrong((np.zeros((2, 4), bool),), line, DtypeError, "takes numbers"),
        Wrong((np.zeros(()),), line, ShapeError, "fewer axes"),
    ]


# -- compiled code -----------------------------------------------------------------------------


def _largest(
    b: Any, place: Place, x: Any, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> tuple[Any, Any]:
    """The first largest value of a window (or its first NaN), and where it stands: entry by entry,
    as the reference does."""
    lead = len(x.shape) - len(size)
    shape, at = x.shape[lead:], place.index[lead:]
    starts = [i * s + -before for i, s, (before, _) in zip(at, stride, padding, strict=True)]
    corner, first = ZERO, ZERO  # of the window; and its first entry inside of the array
    for start, n, d in zip(starts, shape, dilation, strict=True):
        corner = corner * n + start
        if b.bounds(start)[0] < 0:
            inside = b.apply(_enter, b.position(start), dtype=dtypes.int64, params={"step": d})
            start = b.variable(inside)
        first = first * n + start
    lowest = b.number(_lowest(x.dtype), x.dtype)
    best: Any = None
    offset: Any = None  # from the corner
    narrow = dtypes.int32 if math.prod(shape) < 1 << 31 else dtypes.int64  # half the registers
    for entry in np.ndindex(size):
        steps = [e * d for e, d in zip(entry, dilation, strict=True)]
        index = [start + step for start, step in zip(starts, steps, strict=True)]
        conditions = [b.inside(i, 0, n) for i, n in zip(index, shape, strict=True)]
        read = partial(b.read, x, (*place.index[:lead], *index))
        value = b.guarded(conditions, read, lowest)
        number = b.number(_flat_place(steps, shape), narrow)
        if best is None and any(map(sum, padding)):
            best = lowest
            offset = b.cast(b.position(first + corner * -1), narrow)
        if best is None:
            best, offset = value, number
            continue
        better = b.apply(_beats, value, best, dtype=dtypes.bool)
        best = b.apply(_choose, better, value, best, dtype=x.dtype)
        offset = b.apply(_choose, better, number, offset, dtype=narrow)
    found = b.apply(_sum, b.cast(offset, dtypes.int64), b.position(corner), dtype=dtypes.int64)
    return best, found


def _flat_place(index: Sequence[int], shape: Sizes) -> int:
    total = 0
    for i, n in zip(index, shape, strict=True):
        total = total * n + i
    return total


def _enter(k: Any, x: Any, step: int) -> Any:
    """The first of x, x + step, … that is not negative."""
    below = (step - (0 - x) % step) % step
    return k.select(k.lt(x, 0), below, x)


def _beats(k: Any, x: Any, best: Any) -> Any:
    if not k.is_float:
        return k.gt(x, best)
    return k.both(k.f.compare("ugt", x, best), k.negated(k.isnan(best)))  # a NaN is above all


def _choose(k: Any, condition: Any, x: Any, y: Any) -> Any:
    return k.select(condition, x, y)


def _sum(k: Any, x: Any, y: Any) -> Any:
    return x + y


def _in_window(x: Shaped, size: Sizes, **how: Any) -> int:
    """How many entries a window has."""
    return math.prod(size)


# The index, within the flattened trailing axes that the window slides over, of the first largest
# value in each window; padding counts as −∞.
argmax_windows: Op = custom(
    "argmax_windows",
    _argmax_windows,
    _argmax_windows_spec,
    work=lambda out, x, size, **params: math.prod(out.shape) * math.prod(size),
    batch=lambda rows, args, batched, **params: argmax_windows(args[0], **params),
    samples=_samples,
    lower=Indexed(
        lambda b, place, x, **params: _largest(b, place, x, **params)[1], entries=_in_window
    ),
)


# -- values at such indices, and back ----------------------------------------------------------


def _take_windows_spec(
    x: Shaped, where: Shaped, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Spec:
    lead = len(x.shape) - len(size)
    out = places("take_windows", tuple(x.shape[lead:]), size, stride, dilation, padding)
    _check_places("take_windows", where, (*x.shape[:lead], *out))
    return Spec(where.shape, x.dtype)


def _check_places(op: str, where: Shaped, wanted: Sizes) -> None:
    if where.dtype != dtypes.int64 or tuple(where.shape) != tuple(wanted):
        raise ShapeError(
            op,
            "one int64 index a window is needed",
            met=f"{describe(where)} for windows {tuple(wanted)}",
            fix="pass what argmax_windows gives for the same windows",
        )


def _take_windows(x: Array, where: Array, size: Sizes, **how: Any) -> Array:
    _take_windows_spec(x, where, size, **how)
    lead = x.ndim - len(size)
    rows, columns = math.prod(x.shape[:lead]), math.prod(x.shape[lead:])
    flat = where.reshape(rows, -1) if where.size else where.reshape(rows, 0)
    return np.take_along_axis(x.reshape(rows, columns), flat, 1).reshape(where.shape)


def _taken_entry(b: Any, place: Place, x: Any, where: Any, size: Sizes, **how: Any) -> Any:
    of_these = where.name == "argmax_windows" and where.params == {"size": size, **how}
    if of_these and where.args[0] is x:
        return _largest(b, place, x, size, **how)[0]
    left = b.read(where, place.index)
    lead = len(x.shape) - len(size)
    index = []
    for n in reversed(x.shape[lead + 1 :]):
        index.append(b.variable(b.apply(_remainder, left, dtype=dtypes.int64, params={"n": n})))
        left = b.apply(_quotient, left, dtype=dtypes.int64, params={"n": n})
    if size:
        index.append(b.variable(left))
    return b.read(x, (*place.index[:lead], *reversed(index)))


def _quotient(k: Any, x: Any, n: int) -> Any:
    return x // n


def _remainder(k: Any, x: Any, n: int) -> Any:
    return x % n


def _put_windows_spec(
    g: Shaped,
    where: Shaped,
    shape: Sizes,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Padding,
) -> Spec:
    lead = len(g.shape) - len(size)
    out = places("put_windows", shape, size, stride, dilation, padding)
    _check_places("put_windows", where, (*g.shape[:lead], *out))
    if tuple(g.shape) != tuple(where.shape):
        raise ShapeError(
            "put_windows",
            "one value a window is needed",
            met=describe(g, where),
            fix="pass values shaped as their indices",
        )
    return Spec((*g.shape[:lead], *shape), g.dtype)


def _put_windows(g: Array, where: Array, shape: Sizes, size: Sizes, **how: Any) -> Array:
    spec = _put_windows_spec(g, where, shape, size, **how)
    rows, columns = math.prod(spec.shape[: g.ndim - len(size)]), math.prod(shape)
    first = np.arange(rows)[:, None] * columns
    flat = (where.reshape(rows, -1) if where.size else where.reshape(rows, 0)) + first
    total = rows * columns
    added: Array = scatter_add.reference(g.reshape(-1), flat.reshape(-1), axis=0, size=total)
    return added.reshape(spec.shape)


def _put_entry(
    b: Any,
    place: Place,
    g: Any,
    where: Any,
    shape: Sizes,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Padding,
) -> Any:
    """The sum of what the windows around a place put there, in the order of the windows."""
    lead = len(g.shape) - len(size)
    here, around = ZERO, []
    steps = zip(stride, dilation, padding, strict=True)
    for axis, (s, d, (before, _)) in enumerate(steps):
        i = place.index[lead + axis]
        here = here * shape[axis] + i
        reach = d * (size[axis] - 1) + 1
        around.append(reaching(b, i + before, g.shape[lead + axis], s, reach))
    total = nothing = b.number(0, g.dtype)

    def put(index: Any) -> Any:
        hit = b.apply(_equal, b.read(where, index), b.position(here), dtype=dtypes.bool)
        return b.apply(_choose, hit, b.read(g, index), nothing, dtype=g.dtype)

    for windows in itertools.product(*around):
        index = (*place.index[:lead], *(at for at, _ in windows))
        value = b.guarded([exists for _, exists in windows], partial(put, index), nothing)
        total = b.apply(_add, total, value, dtype=g.dtype)
    return total


def _equal(k: Any, x: Any, y: Any) -> Any:
    return k.f.compare("eq", x, y)


def _add(k: Any, x: Any, y: Any) -> Any:
    return k.add(x, y)


def _around(
    g: Shaped, where: Shaped, size: Sizes, stride: Sizes, dilation: Sizes, **how: Any
) -> int:
    """How many windows can meet in one entry."""
    each = zip(size, stride, dilation, strict=True)
    return math.prod([-(-(d * (k - 1) + 1) // s) for k, s, d in each])


def _each_batched(op: str) -> Any:
    """The batch rule: windows slide over trailing axes."""

    def batch(rows: int, args: Sequence[Tensor], batched: Sequence[bool], **params: Any) -> Any:
        both = [
            a if is_batched else broadcast_to(a, shape=(rows, *a.shape))
            for a, is_batched in zip(args, batched, strict=True)
        ]
        return REGISTRY[op](*both, **params)

    return batch


def _pair_samples(put: bool) -> Sampler:
    """Arrays and values with the indices of the largest."""

    def draw(rng: np.random.Generator) -> list[Sample | Wrong]:
        plain = {"size": (2,), "stride": (2,), "dilation": (1,), "padding": ((0, 0),)}
        over = {"size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "padding": ((1, 1), (0, 1))}
        found: list[Sample | Wrong] = []
        for shape, params in (((2, 6), plain), ((2, 3, 5, 6), over), ((0, 4), plain)):
            x = rng.normal(size=shape)
            where = _argmax_windows(x, **params)
            space = {"shape": shape[len(shape) - len(params["size"]) :]} if put else {}
            found.append(
                Sample((rng.normal(size=where.shape) if put else x, where), space | params)
            )
        where = np.zeros((2, 4), np.int64)
        space = {"shape": (6,)} if put else {}
        x = np.zeros((2, 3 if put else 6))
        found.append(Wrong((x, where), space | plain, ShapeError, "one int64 index a window"))
        if put:
            x, where = np.zeros((2, 4)), np.zeros((2, 3), np.int64)
            found.append(Wrong((x, where), space | plain, ShapeError, "one value a window"))
        return found

    return draw


# The values at indices that `argmax_windows` gave, for x or for any array of its shape.
take_windows: Op = custom(
    "take_windows",
    _take_windows,
    _take_windows_spec,
    operands=("x", "where"),
    jvps=(
        lambda t, where, size, stride, dilation, padding: take_windows(
            t, where, size=size, stride=stride, dilation=dilation, padding=padding
        ),
        None,
    ),
    vjps=(
        lambda g, x_spec, where, size, stride, dilation, padding: put_windows(
            g,
            where,
            shape=tuple(x_spec.shape[len(x_spec.shape) - len(size) :]),
            size=size,
            stride=stride,
            dilation=dilation,
            padding=padding,
        ),
        None,
    ),
    batch=_each_batched("take_windows"),
    samples=_pair_samples(put=False),
    lower=Indexed(_taken_entry, entries=lambda x, where, **how: _in_window(x, **how)),
)

# Values added up at indices that `argmax_windows` gave, in an array with the trailing axes `shape`.
put_windows: Op = custom(
    "put_windows",
    _put_windows,
    _put_windows_spec,
    operands=("u", "where"),
    jvps=(
        lambda t, where, shape, size, stride, dilation, padding: put_windows(
            t, where, shape=shape, size=size, stride=stride, dilation=dilation, padding=padding
        ),
        None,
    ),
    vjps=(
        lambda g, where, size, stride, dilation, padding: take_windows(
            g, where, size=size, stride=stride, dilation=dilation, padding=padding
        ),
        None,
    ),
    work=one_an_input,
    batch=_each_batched("put_windows"),
    samples=_pair_samples(put=True),
    lower=Indexed(_put_entry, entries=_around),
)
