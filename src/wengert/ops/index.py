"""Ops that move elements by integer arrays: `gather` and its transpose `scatter_add`.

All indexing by arrays comes down to `gather` along one axis: several indexed axes are merged into
one, and `ravel_index` turns their indices into one (it also wraps negative indices and checks
bounds, which belongs to the run and not to the trace). So there is one native loop to compile, one
batch rule to get right, and the closed pair gather ↔ scatter_add gives every derivative.

An index array of shape B in place of the axis of size n:
`gather: pre + (n,) + post → pre + B + post`, and `scatter_*` the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import BoundsError, DtypeError, ShapeError
from wengert.core.index import ZERO, Place, broadcast_index
from wengert.core.lowering import Indexed, Native
from wengert.core.op import REGISTRY, Array, Op
from wengert.core.rules import broadcast, custom, move_batch_in_front, normalize_axis, one_an_input
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.movement import broadcast_to, permute, reshape

Ints = tuple[int, ...]


# -- what the references share -----------------------------------------------------------------


def out_of_bounds(index: int, axis: int, size: int, lowest: int) -> BoundsError:
    """The error for an index that an axis does not have."""
    fix = f"use {lowest} to {size - 1}" if size else "the axis has no element to index"
    return BoundsError(
        "index",
        f"index {index} is out of bounds for axis {axis} of size {size}",
        cause="labels or ids that start at 1" if index == size else "",
        fix=fix,
    )


def wrapped(index: Array, size: int, axis: int, negative: bool = True) -> Array:
    """Indices in [-size, size) (or [0, size), without `negative`) as such in [0, size); the error
    for any other."""
    if index.size == 0:
        return index.astype(np.intp)
    low, high = int(index.min()), int(index.max())
    lowest = -size if negative else 0
    if low < lowest or high >= size:
        raise out_of_bounds(low if low < lowest else high, axis, size, lowest)
    index = index.astype(np.intp, copy=False)
    return index if low >= 0 else np.where(index < 0, index + size, index)


def element_index(index: Array, pre: Shape, size: int, post: Shape) -> Array:
    """For each element of an array of shape pre + B + post: where it goes in the flat array of
    shape pre + (size,) + post. Flat, so that `ufunc.at` takes its fast path."""
    rows, width = math.prod(pre), math.prod(post)
    flat = index.reshape(-1)
    if width != 1:
        flat = (flat[:, None] * width + np.arange(width)).reshape(-1)
    if rows != 1:
        flat = (np.arange(rows)[:, None] * (size * width) + flat).reshape(-1)
    return flat


def check_index(op: str, index: Shaped) -> None:
    """Raise unless `index` is an integer array."""
    if not dtypes.is_integer(index.dtype):
        raise DtypeError(
            op, "indices must be integers", met=describe(index), fix="cast with astype(i, wg.int64)"
        )


# -- ravel_index -------------------------------------------------------------------------------


def _ravel_index(*indices: Array, shape: Shape, axes: Ints, negative: bool = True) -> Array:
    _ravel_index_spec(*indices, shape=shape, axes=axes)
    flat: Any = 0
    for index, n, axis in zip(indices, shape, axes, strict=True):
        flat = flat * n + wrapped(index, n, axis, negative)
    return np.asarray(flat, np.int64)


def _ravel_index_spec(*indices: Shaped, shape: Shape, axes: Ints, negative: bool = True) -> Spec:
    for index in indices:
        check_index("index", index)
    return Spec(broadcast("index", *(i.shape for i in indices)), dtypes.int64)


def wrapped_entry(b: Any, value: Any, size: int, axis: int, negative: bool = True) -> Any:
    """The same as `wrapped` for one index, in compiled code."""
    lowest = -size if negative else 0
    error = partial(out_of_bounds, axis=axis, size=size, lowest=lowest)
    safe = b.checked(value, lowest, size, error)
    return b.apply(_wrap, safe, dtype=dtypes.int64, params={"size": size}) if negative else safe


def _wrap(k: Any, x: Any, size: int) -> Any:
    return k.select(k.lt(x, 0), x + size, x)


def _add_digit(k: Any, flat: Any, digit: Any, size: int) -> Any:
    return flat * size + digit


def _ravel_index_entry(
    b: Any, place: Place, *indices: Any, shape: Shape, axes: Ints, negative: bool = True
) -> Any:
    flat = None
    for index, n, axis in zip(indices, shape, axes, strict=True):
        value = b.read(index, broadcast_index(place.index, index.shape))
        digit = wrapped_entry(b, value, n, axis, negative)
        if flat is None:
            flat = digit
        else:
            flat = b.apply(_add_digit, flat, digit, dtype=dtypes.int64, params={"size": n})
    return b.position(ZERO) if flat is None else flat


ravel_index: Op = custom(
    "ravel_index",
    _ravel_index,
    _ravel_index_spec,
    operands=(),
    batch=lambda size, args, batched, **params: ravel_index(
        *move_batch_in_front(args, batched), **params
    ),
    samples=lambda rng: [
        Sample(
            (rng.integers(-2, 2, (3, 1)), rng.integers(0, 3, (4,))),
            {"shape": (2, 3), "axes": (0, 1)},
        ),
        Sample((np.zeros((0,), np.int32),), {"shape": (0,), "axes": (0,)}),
        Wrong((np.array([0, 3]),), {"shape": (3,), "axes": (1,)}, BoundsError, "index 3 .* axis 1"),
        Wrong((np.array([0.0]),), {"shape": (3,), "axes": (0,)}, DtypeError, "must be integers"),
        Wrong(
            (np.array([0, -1]),),
            {"shape": (3,), "axes": (0,), "negative": False},
            BoundsError,
            "index -1 .* use 0 to 2",
        ),
        Wrong(
            (np.zeros(2, int), np.zeros(3, int)),
            {"shape": (3, 3), "axes": (0, 1)},
            ShapeError,
            "cannot be broadcast",
        ),
    ],
    lower=Indexed(_ravel_index_entry),
)


def rows_index(index: Tensor, rows: int, size: int, axis: int) -> Tensor:
    """Indices into each of `rows` arrays of `size` as indices into all of them, end to end."""
    number = Tensor(np.arange(rows).reshape((rows,) + (1,) * (index.ndim - 1)))
    flat: Tensor = ravel_index(number, index, shape=(rows, size), axes=(0, axis))
    return flat


# -- gather ------------------------------------------------------------------------------------


def _gather(x: Array, index: Array, axis: int) -> Array:
    if x.size == 0:  # where nothing is moved, NumPy does not look at the indices
        wrapped(index, x.shape[axis], axis)
    if index.dtype == dtypes.uint64:  # which NumPy does not cast by itself
        index = wrapped(index, x.shape[axis], axis)
    try:
        return x.take(index, axis)
    except IndexError:
        pass
    return x.take(wrapped(index, x.shape[axis], axis), axis)  # raises the precise error


def _gather_spec(x: Shaped, index: Shaped, axis: int) -> Spec:
    axis = normalize_axis("gather", axis, len(x.shape))
    check_index("gather", index)
    return Spec((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)


def _gather_batch(size: int, args: Sequence[Tensor], batched: Sequence[bool], axis: int) -> Tensor:
    x, index = args
    if not batched[1]:
        found: Tensor = gather(x, index, axis=axis + 1)
        return found
    if not batched[0]:
        found = gather(x, index, axis=axis)
        return permute(found, axes=(axis, *(a for a in range(found.ndim) if a != axis)))
    n, width = x.shape[axis + 1], index.ndim - 1
    found = gather(ends_joined(x, axis), rows_index(index, size, n, axis), axis=0)
    order = (0, *range(width + 1, width + 1 + axis), *range(1, width + 1))
    return permute(found, axes=(*order, *range(width + 1 + axis, found.ndim)))


def ends_joined(x: Tensor, axis: int) -> Tensor:
    """(rows,) + pre + (n,) + post → (rows·n,) + pre + post."""
    order = (0, axis + 1, *(a for a in range(1, x.ndim) if a != axis + 1))
    moved: Tensor = permute(x, axes=order)
    joined: Tensor = reshape(moved, shape=(moved.shape[0] * moved.shape[1], *moved.shape[2:]))
    return joined


def ends_parted(x: Tensor, rows: int, size: int, axis: int) -> Tensor:
    """(rows·size,) + pre + post → (rows,) + pre + (size,) + post."""
    parted: Tensor = reshape(x, shape=(rows, size, *x.shape[1:]))
    order = (0, *range(2, axis + 2), 1, *range(axis + 2, parted.ndim))
    return permute(parted, axes=order)


def _gather_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x = rng.normal(size=(2, 3, 4))
    return [
        Sample((x, rng.integers(-3, 3, (2, 2))), {"axis": 1}),
        Sample((x, np.array([3, 0, 3, 3], np.uint8)), {"axis": 2}),
        Sample((x, np.array(1)), {"axis": 0}),
        Sample((x, np.zeros((0,), np.int32)), {"axis": 0}),
        Sample((rng.normal(size=(0, 2)), rng.integers(0, 2, (3,))), {"axis": 1}),
        Wrong((x, np.array([0, 5])), {"axis": 1}, BoundsError, "index 5 .* axis 1 of size 3"),
        Wrong((x, np.array([0.5])), {"axis": 1}, DtypeError, "must be integers"),
    ]


def _gathered_entry(b: Any, place: Place, x: Any, index: Any, axis: int) -> Any:
    after = axis + len(index.shape)
    value = b.read(index, place.index[axis:after])
    at = b.variable(wrapped_entry(b, value, x.shape[axis], axis))
    return b.read(x, (*place.index[:axis], at, *place.index[after:]))


gather: Op = custom(
    "gather",
    _gather,
    _gather_spec,
    operands=("x", "index"),
    jvps=(lambda t, index, axis: gather(t, index, axis=axis), None),
    vjps=(
        lambda g, x_spec, index, axis: scatter_add(g, index, axis=axis, size=x_spec.shape[axis]),
        None,
    ),
    batch=_gather_batch,
    samples=_gather_samples,
    lower=Indexed(_gathered_entry),
)


# -- scatter_add -------------------------------------------------------------------------------


def scatter_spec(op: str, u: Shaped, index: Shaped, axis: int, size: int) -> Spec:
    """Shape rule of reductions over indices, which make an axis of `size` of the index's axes."""
    check_index(op, index)
    after = axis + len(index.shape)
    if tuple(u.shape[axis:after]) != tuple(index.shape):
        raise ShapeError(
            op,
            "the values must have one entry an index",
            met=f"values {tuple(u.shape)}, indices {tuple(index.shape)} from axis {axis}",
            fix="broadcast the indices to the leading axes of the values",
        )
    return Spec((*u.shape[:axis], size, *u.shape[after:]), u.dtype)


def in_float32(reference: Callable[..., Array]) -> Callable[..., Array]:
    """The reference of a reduction over indices, half precision being accumulated in float32."""

    def widened(u: Array, index: Array, axis: int, size: int) -> Array:
        if u.dtype.itemsize == 2 and dtypes.is_float(u.dtype):
            return reference(u.astype(np.float32), index, axis, size).astype(u.dtype)
        return reference(u, index, axis, size)

    return widened


def _scatter_add(u: Array, index: Array, axis: int, size: int) -> Array:
    spec = scatter_spec("scatter_add", u, index, axis, size)
    index = wrapped(index, size, axis)
    pre, post = u.shape[:axis], u.shape[axis + index.ndim :]
    out = np.zeros(spec.shape, u.dtype)
    if not pre and math.prod(post) >= 128:  # long rows: adding row by row beats indexing elements
        for i, row in zip(index.reshape(-1).tolist(), u.reshape((-1, *post)), strict=True):
            out[i] += row
        return out
    np.add.at(out.reshape(-1), element_index(index, pre, size, post), u.reshape(-1))
    return out


def scatter_batch(op: str) -> Callable[..., Tensor]:
    """The batch rule of an op(u, index; axis, size)."""

    def batch(
        rows: int, args: Sequence[Tensor], batched: Sequence[bool], axis: int, size: int
    ) -> Tensor:
        u, index = args
        if not batched[1]:
            found: Tensor = REGISTRY[op](u, index, axis=axis + 1, size=size)
            return found
        if not batched[0]:
            u = broadcast_to(u, shape=(rows, *u.shape))
        flat = rows_index(index, rows, size, axis)
        u = index_axes_first(u, axis, index.ndim - 1)
        found = REGISTRY[op](u, flat, axis=0, size=rows * size)
        return ends_parted(found, rows, size, axis)

    return batch


def index_axes_first(u: Tensor, axis: int, width: int) -> Tensor:
    """(rows,) + pre + B + post → (rows,) + B + pre + post."""
    order = (0, *range(axis + 1, axis + 1 + width), *range(1, axis + 1))
    moved: Tensor = permute(u, axes=(*order, *range(axis + 1 + width, u.ndim)))
    return moved


def scatter_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    """Values and indices that each reduction over indices is tested with."""
    u = rng.normal(size=(2, 3, 4))
    return [
        Sample((u, np.array([2, 0, 2])), {"axis": 1, "size": 3}),
        Sample((u, rng.integers(-5, 5, (2, 3))), {"axis": 0, "size": 5}),
        Sample((u, rng.integers(0, 2, (4,))), {"axis": 2, "size": 2}),
        Sample((rng.normal(size=(3,)), np.array(1)), {"axis": 0, "size": 2}),
        Sample((rng.normal(size=(0, 2)), np.zeros((0,), int)), {"axis": 0, "size": 2}),
        Wrong((u, np.array([0, 9, 0])), {"axis": 1, "size": 3}, BoundsError, "index 9 .* size 3"),
        Wrong((u, np.array([0, 1])), {"axis": 1, "size": 3}, ShapeError, "one entry an index"),
    ]


scatter_add: Op = custom(
    "scatter_add",
    in_float32(_scatter_add),
    lambda u, index, axis, size: scatter_spec("scatter_add", u, index, axis, size),
    operands=("u", "index"),
    jvps=(lambda t, index, axis, size: scatter_add(t, index, axis=axis, size=size), None),
    vjps=(lambda g, index, axis: gather(g, index, axis=axis), None),
    work=one_an_input,
    batch=scatter_batch("scatter_add"),
    samples=lambda rng: [
        *scatter_samples(rng),
        Sample((rng.normal(size=(3, 130)), np.array([1, 1, 0])), {"axis": 0, "size": 2}),
    ],
    lower=Native("scatter"),
)


# -- one_hot -----------------------------------------------------------------------------------


def _one_hot(x: Array, size: int) -> Array:
    check_index("one_hot", x)
    if x.size and (x.min() < 0 or x.max() >= size):
        raise _no_class(int(x.min() if x.min() < 0 else x.max()), size)
    return np.asarray(x[..., None] == np.arange(size))


def _one_hot_spec(x: Shaped, size: int) -> Spec:
    check_index("one_hot", x)
    return Spec((*x.shape, size), dtypes.bool)


def _no_class(value: int, size: int) -> BoundsError:
    return BoundsError(
        "one_hot",
        "a class index is out of range",
        met=f"{value} with {size} classes",
        cause="labels that start at 1, or a padding label such as -1",
        fix=f"use classes 0 to {size - 1}",
    )


def _one_hot_entry(b: Any, place: Place, x: Any, size: int) -> Any:
    value = b.read(x, place.index[:-1])
    label = b.checked(value, 0, size, partial(_no_class, size=size))
    return b.apply(_equal, label, b.position(place.index[-1]), dtype=dtypes.bool)


def _equal(k: Any, x: Any, y: Any) -> Any:
    return k.f.compare("eq", x, y)


one_hot: Op = custom(
    "one_hot",
    _one_hot,
    _one_hot_spec,
    batch=lambda rows, args, batched, size: one_hot(args[0], size=size),
    samples=lambda rng: [
        Sample((rng.integers(0, 3, (2, 4)),), {"size": 3}),
        Sample((np.array(1, np.uint8),), {"size": 2}),
        Wrong((np.array([0, 3]),), {"size": 3}, BoundsError, "3 with 3 classes"),
        Wrong((np.array([0.0]),), {"size": 3}, DtypeError, "must be integers"),
    ],
    lower=Indexed(_one_hot_entry),
)


# -- along an axis: compositions that derivative rules and the namespaces share ------------------


def _along(index: Tensor, shape: Shape, axis: int) -> Tensor:
    """Indices along `axis`, one for each place on the other axes, as indices of elements."""
    places = [
        index if a == axis else Tensor(np.arange(n).reshape((n,) + (1,) * (len(shape) - a - 1)))
        for a, n in enumerate(shape)
    ]
    flat: Tensor = ravel_index(*places, shape=shape, axes=tuple(range(len(shape))))
    return flat


def take_along(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """`out[…, j, …] = x[…, index[…, j, …], …]`; the other axes of both broadcast."""
    rest = broadcast("take_along_axis", _without(x.shape, axis), _without(index.shape, axis))
    full = (*rest[:axis], x.shape[axis], *rest[axis:])
    if x.shape != full:
        x = broadcast_to(x, shape=full)
    found: Tensor = gather(reshape(x, shape=(x.size,)), _along(index, x.shape, axis), axis=0)
    return found


def add_along(u: Tensor, index: Tensor, axis: int, size: int) -> Tensor:
    """The transpose of `take_along` for an array with `size` elements on the axis."""
    shape = (*u.shape[:axis], size, *u.shape[axis + 1 :])
    summed: Tensor = scatter_add(u, _along(index, shape, axis), axis=0, size=math.prod(shape))
    found: Tensor = reshape(summed, shape=shape)
    return found


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])
