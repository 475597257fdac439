"""Changing shapes, joining and splitting: all differentiable, and views wherever NumPy has one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, AxisError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import AxisErrorFor, as_integer, broadcast, normalize_axis
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import movement as _m
from wengert.ops import pieces as _p
from wengert.ops.selection import promoted

__all__ = [
    "array_split",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "chunk",
    "concat",
    "concatenate",
    "dstack",
    "expand_dims",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "hstack",
    "moveaxis",
    "permute_dims",
    "ravel",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
    "unstack",
    "vstack",
]


def as_tuple(op: str, value: Any) -> tuple[Any, ...]:
    """An integer, or integers in a sequence or a 1-d array, as a tuple."""
    if isinstance(value, (tuple, list, range)):
        return tuple(value)
    if getattr(value, "ndim", 0) == 1:
        return tuple(value.tolist())
    return (as_integer(op, "a size, axis or count", value),)


def normalize_axes(op: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """One axis or several as a tuple of distinct axes in [0, ndim)."""
    axes = tuple(normalize_axis(op, a, ndim) for a in as_tuple(op, axis))
    if len(set(axes)) != len(axes):
        raise AxisError(op, "an axis is named twice", met=repr(axis), fix="name each axis once")
    return axes


# -- shape -------------------------------------------------------------------------------------


def reshape(x: Any, /, shape: Any, *, order: str = "C", copy: bool | None = None) -> Tensor:
    """The same elements, in row-major order, in another shape; one size may be -1.

    `copy=False` raises where the memory cannot be shared, `copy=True` never shares it.

    >>> import wengert as wg
    >>> wg.reshape(wg.arange(6), (2, -1))
    Tensor([[0, 1, 2], [3, 4, 5]], dtype=int64)
    """
    if not isinstance(x, Tensor):
        x = as_tensor(x)
    if order != "C":
        raise ArgumentError(
            "reshape",
            "only row-major order is supported",
            met=f"order={order!r}",
            fix="permute the axes before and after",
        )
    sizes = tuple([as_integer("reshape", "a size", n) for n in as_tuple("reshape", shape)])
    if -1 in sizes:
        sizes = _with_inferred_size(x, sizes)
    out: Tensor = _m.reshape(x, shape=sizes)
    if copy is not None and not x.is_symbolic:
        return _copied_or_shared(x, out, copy)
    return out


def _with_inferred_size(x: Tensor, shape: Shape) -> Shape:
    rest = -math.prod(shape)
    if shape.count(-1) > 1 or rest == 0 or x.size % rest:
        raise ShapeError(
            "reshape",
            "the size for -1 cannot be worked out",
            met=f"{x.shape} ({x.size} elements) to {shape}",
            fix="give -1 once, with sizes that divide the number of elements",
        )
    return tuple(x.size // rest if n == -1 else n for n in shape)


def _copied_or_shared(x: Tensor, out: Tensor, copy: bool) -> Tensor:
    shared = out.size == 0 or np.shares_memory(x._data, out._data)
    if not copy and not shared:
        raise ArgumentError(
            "reshape",
            "this shape needs a copy, and copy=False forbids it",
            met=f"{x.shape} to {out.shape} of a non-contiguous array",
            fix="leave copy out",
        )
    return Tensor(out._data.copy(), out._node) if copy and shared else out


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from `start_dim` to `end_dim` (included) into one.

    >>> import wengert as wg
    >>> wg.flatten(wg.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, (1,))
    first = normalize_axis("flatten", start_dim, x.ndim)
    last = normalize_axis("flatten", end_dim, x.ndim)
    if first > last:
        raise ArgumentError(
            "flatten",
            "start_dim must not come after end_dim",
            met=f"{start_dim} and {end_dim} for {x.shape}",
            fix="swap them",
        )
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


def ravel(x: Any) -> Tensor:
    """All elements along one axis.

    >>> import wengert as wg
    >>> wg.ravel([[1, 2], [3, 4]])
    Tensor([1, 2, 3, 4], dtype=int64)
    """
    x = as_tensor(x)
    return reshape(x, (x.size,))


def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """Insert axes of size 1; `axis` says where they stand in the result.

    >>> import wengert as wg
    >>> wg.expand_dims(wg.zeros((2, 3)), axis=(0, -1)).shape
    (1, 2, 3, 1)
    """
    x = as_tensor(x)
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    axes = normalize_axes("expand_dims", axis, x.ndim + count)
    sizes = iter(x.shape)
    return reshape(x, tuple(1 if a in axes else next(sizes) for a in range(x.ndim + count)))


def squeeze(x: Any, /, axis: Any = None) -> Tensor:
    """Drop axes of size 1: those named, or all.

    >>> import wengert as wg
    >>> wg.squeeze(wg.zeros((1, 3, 1)), axis=0).shape
    (3, 1)
    """
    x = as_tensor(x)
    if axis is None:
        axes = tuple(a for a, n in enumerate(x.shape) if n == 1)
    else:
        axes = normalize_axes("squeeze", axis, x.ndim)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(
                "squeeze",
                "only axes of size 1 can be dropped",
                met=f"axis {a} of {x.shape}",
                fix="index one element, or reduce over the axis",
            )
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


def _at_least(ndim: int, arrays: tuple[Any, ...]) -> Any:
    found = []
    for a in arrays:
        x = as_tensor(a)
        if ndim == 3 and x.ndim in (1, 2):  # as in NumPy: (n,) → (1, n, 1) and (m, n) → (m, n, 1)
            x = expand_dims(x, axis=(0, 2) if x.ndim == 1 else 2)
        found.append(x if x.ndim >= ndim else reshape(x, (1,) * (ndim - x.ndim) + x.shape))
    return found[0] if len(found) == 1 else tuple(found)


def atleast_1d(*arrays: Any) -> Any:
    """Each array with at least one axis.

    >>> import wengert as wg
    >>> wg.atleast_1d(3.0).shape
    (1,)
    """
    return _at_least(1, arrays)


def atleast_2d(*arrays: Any) -> Any:
    """Each array with at least two axes; new ones stand in front.

    >>> import wengert as wg
    >>> wg.atleast_2d([1.0, 2.0]).shape
    (1, 2)
    """
    return _at_least(2, arrays)


def atleast_3d(*arrays: Any) -> Any:
    """Each array with at least three axes: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1).

    >>> import wengert as wg
    >>> wg.atleast_3d([1.0, 2.0]).shape
    (1, 2, 1)
    """
    return _at_least(3, arrays)


# -- order of axes -----------------------------------------------------------------------------


def permute_dims(x: Any, /, axes: Any) -> Tensor:
    """The axes in another order: axis i of the result is axis `axes[i]` of `x`.

    >>> import wengert as wg
    >>> wg.permute_dims(wg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_tensor(x)
    order = as_tuple("permute_dims", axes)
    if len(order) == x.ndim:
        order = tuple(normalize_axis("permute_dims", a, x.ndim) for a in order)
    moved: Tensor = _m.permute(x, axes=order)
    return moved


def transpose(x: Any, axes: Any = None) -> Tensor:
    """The axes reversed, or in the order `axes`.

    >>> import wengert as wg
    >>> wg.transpose(wg.zeros((2, 3))).shape
    (3, 2)
    """
    x = as_tensor(x)
    return permute_dims(x, range(x.ndim)[::-1] if axes is None else axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    >>> import wengert as wg
    >>> wg.swapaxes(wg.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    x = as_tensor(x)
    order = list(range(x.ndim))
    a, b = (normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order[a], order[b] = order[b], order[a]
    return permute_dims(x, order)


def moveaxis(x: Any, source: Any, destination: Any, /) -> Tensor:
    """Axes moved to other places; the rest keep their order.

    >>> import wengert as wg
    >>> wg.moveaxis(wg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(x)
    moved = normalize_axes("moveaxis", source, x.ndim)
    places = normalize_axes("moveaxis", destination, x.ndim)
    if len(moved) != len(places):
        raise ArgumentError(
            "moveaxis",
            "as many destinations as sources are needed",
            met=f"{source} to {destination}",
            fix="name one place an axis",
        )
    order = [a for a in range(x.ndim) if a not in moved]
    for place, a in sorted(zip(places, moved, strict=True)):
        order.insert(place, a)
    return permute_dims(x, order)


def flip(x: Any, /, axis: Any = None) -> Tensor:
    """The elements in reverse order along `axis` (one, several, or all if None).

    >>> import wengert as wg
    >>> wg.flip([1, 2, 3])
    Tensor([3, 2, 1], dtype=int64)
    """
    x = as_tensor(x)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axes("flip", axis, x.ndim)
    flipped: Tensor = _p.flip(x, axes=axes)
    return flipped


def fliplr(x: Any) -> Tensor:
    """The columns in reverse order (axis 1).

    >>> import wengert as wg
    >>> wg.fliplr([[1, 2], [3, 4]])
    Tensor([[2, 1], [4, 3]], dtype=int64)
    """
    return flip(x, axis=1)


def flipud(x: Any) -> Tensor:
    """The rows in reverse order (axis 0).

    >>> import wengert as wg
    >>> wg.flipud([[1, 2], [3, 4]])
    Tensor([[3, 4], [1, 2]], dtype=int64)
    """
    return flip(x, axis=0)


# -- broadcasting ------------------------------------------------------------------------------


def broadcast_to(x: Any, /, shape: Any) -> Tensor:
    """`x` repeated, without a copy, to fill `shape`: axes of size 1 and new leading axes stretch.

    >>> import wengert as wg
    >>> wg.broadcast_to([1, 2], (2, 2))
    Tensor([[1, 2], [1, 2]], dtype=int64)
    """
    x = as_tensor(x)
    sizes = tuple(as_integer("broadcast_to", "a size", n) for n in as_tuple("broadcast_to", shape))
    if x.shape == sizes:
        return x
    stretched: Tensor = _m.broadcast_to(x, shape=sizes)
    return stretched


def broadcast_shapes(*shapes: Any) -> Shape:
    """The shape that arrays of these shapes have together.

    >>> import wengert as wg
    >>> wg.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return broadcast("broadcast_shapes", *(as_tuple("broadcast_shapes", s) for s in shapes))


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """The arrays, each broadcast to their common shape; dtypes stay.

    >>> import wengert as wg
    >>> [x.shape for x in wg.broadcast_arrays(wg.zeros((2, 1)), wg.zeros(3))]
    [(2, 3), (2, 3)]
    """
    tensors = [as_tensor(a) for a in arrays]
    shape = broadcast("broadcast_arrays", *(t.shape for t in tensors))
    return [broadcast_to(t, shape) for t in tensors]


# -- joining -----------------------------------------------------------------------------------


def concat(arrays: Any, /, *, axis: int | None = 0, dtype: Any = None) -> Tensor:
    """The arrays put behind each other along an axis (flattened first if it is None).

    >>> import wengert as wg
    >>> wg.concat([wg.ones((1, 2)), wg.zeros((2, 2))]).shape
    (3, 2)
    """
    return concatenate(arrays, axis, dtype=dtype)


def concatenate(arrays: Any, axis: int | None = 0, *, dtype: Any = None) -> Tensor:
    """NumPy's name for `concat`; `axis` may be passed by position."""
    arrays = list(arrays)
    if not arrays:
        raise ArgumentError("concat", "nothing to join", fix="pass at least one array")
    tensors = promoted(*arrays)
    if dtype is not None:
        tensors = [cast_to(t, dtype) for t in tensors]
    if axis is None:
        tensors, axis = [ravel(t) for t in tensors], 0
    if tensors[0].ndim == 0:
        raise ShapeError(
            "concat", "0-d arrays have no axis to join", met=describe(*tensors), fix="use wg.stack"
        )
    axis = normalize_axis("concat", axis, tensors[0].ndim)
    sizes = tuple([t.shape[axis] if t.ndim > axis else 0 for t in tensors])
    joined: Tensor = _p.concatenate(*tensors, axis=axis, sizes=sizes)
    return joined


def stack(arrays: Any, /, axis: int = 0) -> Tensor:
    """Arrays of one shape, joined along a new axis.

    >>> import wengert as wg
    >>> wg.stack([wg.zeros(3), wg.ones(3)], axis=-1).shape
    (3, 2)
    """
    tensors = promoted(*arrays) if len(arrays) else []
    if not tensors or any(t.shape != tensors[0].shape for t in tensors):
        raise ShapeError(
            "stack",
            "takes one or more arrays of one shape",
            met=describe(*tensors) or "no array",
            fix="broadcast or pad them to one shape",
        )
    shape = tensors[0].shape
    axis = normalize_axis("stack", axis, len(shape) + 1)
    slab = (*shape[:axis], 1, *shape[axis:])
    slabs = [_m.reshape(t, shape=slab) for t in tensors]
    stacked: Tensor = _p.concatenate(*slabs, axis=axis, sizes=(1,) * len(slabs))
    return stacked


def hstack(arrays: Any) -> Tensor:
    """Joined along axis 1; one-dimensional arrays along axis 0.

    >>> import wengert as wg
    >>> wg.hstack([[1, 2], [3]])
    Tensor([1, 2, 3], dtype=int64)
    """
    tensors = [atleast_1d(a) for a in arrays]
    return concat(tensors, axis=0 if tensors and tensors[0].ndim == 1 else 1)


def vstack(arrays: Any) -> Tensor:
    """Joined along axis 0; one-dimensional arrays as rows.

    >>> import wengert as wg
    >>> wg.vstack([[1, 2], [3, 4]])
    Tensor([[1, 2], [3, 4]], dtype=int64)
    """
    return concat([atleast_2d(a) for a in arrays], axis=0)


def dstack(arrays: Any) -> Tensor:
    """Joined along axis 2.

    >>> import wengert as wg
    >>> wg.dstack([[1, 2], [3, 4]]).shape
    (1, 2, 2)
    """
    return concat([atleast_3d(a) for a in arrays], axis=2)


# -- splitting ---------------------------------------------------------------------------------


def _between(x: Tensor, axis: int, bounds: Sequence[int]) -> list[Tensor]:
    """The pieces of `x` between neighbouring bounds along an axis."""
    start, stop = [0] * x.ndim, list(x.shape)
    pieces = []
    for a, b in pairwise(bounds):
        start[axis], stop[axis] = a, max(a, b)
        pieces.append(_p.slice(x, start=tuple(start), stop=tuple(stop), step=(1,) * x.ndim))
    return pieces


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """Pieces along an axis: a number of pieces (sizes differ by at most 1), or where to cut.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.array_split(wg.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, int):
        sections = indices_or_sections
        if sections < 1:
            raise ArgumentError(
                "split", "at least one piece is needed", met=str(sections), fix="pass 1 or more"
            )
        larger, size = n % sections, n // sections
        return _between(x, axis, [i * size + min(i, larger) for i in range(sections + 1)])
    cuts = [as_integer("split", "a cut", c) for c in as_tuple("split", indices_or_sections)]
    places = [min(max(c + n if c < 0 else c, 0), n) for c in cuts]
    return _between(x, axis, [0, *places, n])


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """As `array_split`, but a number of pieces must divide the axis.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.split(wg.arange(4), [1, 3])]
    [[0], [1, 2], [3]]
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    pieces = indices_or_sections
    if isinstance(pieces, int) and pieces > 0 and x.shape[axis] % pieces:
        raise ShapeError(
            "split",
            "the axis cannot be split into equal pieces",
            met=f"{pieces} pieces of axis {axis} of {x.shape}",
            fix="use wg.array_split or wg.chunk",
        )
    return array_split(x, pieces, axis)


def chunk(x: Any, chunks: int, axis: int = 0) -> list[Tensor]:
    """At most `chunks` pieces of equal size along an axis; the last one may be smaller.

    >>> import wengert as wg
    >>> [p.tolist() for p in wg.chunk(wg.arange(5), 3)]
    [[0, 1], [2, 3], [4]]
    """
    x = as_tensor(x)
    axis = normalize_axis("chunk", axis, x.ndim)
    if chunks < 1:
        raise ArgumentError(
            "chunk", "at least one piece is needed", met=str(chunks), fix="pass 1 or more"
        )
    n = x.shape[axis]
    size = max(1, -(-n // chunks))
    return _between(x, axis, [*range(0, n, size), n] if n else [0, 0])


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of `x` along an axis, which they no longer have.

    >>> import wengert as wg
    >>> a, b = wg.unstack([[1, 2], [3, 4]])
    >>> b
    Tensor([3, 4], dtype=int64)
    """
    x = as_tensor(x)
    if x.ndim == 0:
        raise AxisErrorFor("unstack", axis, 0)
    axis = normalize_axis("unstack", axis, x.ndim)
    pieces = _between(x, axis, range(x.shape[axis] + 1))
    return tuple(squeeze(p, axis) for p in pieces)
