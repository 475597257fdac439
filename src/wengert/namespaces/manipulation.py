"""Changing shapes and the order of axes: all differentiable, and views wherever NumPy has one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.rules import as_integer, broadcast, normalize_axis
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import as_tuple, new_handle, normalize_axes
from wengert.ops import movement as _m
from wengert.ops import pieces as _p

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "expand_dims",
    "flatten",
    "flip",
    "fliplr",
    "flipud",
    "moveaxis",
    "permute_dims",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "transpose",
]


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
        missing = (1,) * (ndim - x.ndim)
        found.append(reshape(x, missing + x.shape) if missing else new_handle(x))
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
        return new_handle(x)
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
