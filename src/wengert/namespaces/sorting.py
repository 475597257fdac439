"""Sorting. NaN counts as larger than every number, and equal elements keep their order."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.rules import as_integer, normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.joining import listed
from wengert.namespaces.rearranging import along
from wengert.ops import sort as _s
from wengert.ops.index import take_along

__all__ = ["argsort", "lexsort", "sort", "top_k"]


def sort(x: Any, /, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis. Differentiable: the cotangent is put back in place.

    NaN comes last (first if `descending`). The order is always stable; 0 and -0 are equal, and of
    several zeros any may come first.

    >>> import wengert as wg
    >>> wg.sort([3, 1, 2], descending=True)
    Tensor([3, 2, 1], dtype=int64)
    """
    x = as_tensor(x)
    axis = normalize_axis("sort", axis, x.ndim)
    found: Tensor = _s.sort(x, axis=axis, descending=bool(descending))
    return found


def argsort(x: Any, /, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that put the elements in order along an axis; equal ones keep their order.

    >>> import wengert as wg
    >>> wg.argsort([3, 1, 2])
    Tensor([1, 2, 0], dtype=int64)
    """
    x = as_tensor(x)
    axis = normalize_axis("argsort", axis, x.ndim)
    found: Tensor = _s.argsort(x, axis=axis, descending=bool(descending))
    return found


def top_k(
    x: Any, /, k: int, axis: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """The `k` largest (smallest) elements along an axis, and their indices.

    They come in order; of equal elements the earlier comes first; NaN counts as the largest. The
    values are differentiable.

    >>> import wengert as wg
    >>> values, indices = wg.top_k([3.0, 1.0, 2.0], 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [0, 2])
    """
    x = as_tensor(x)
    axis = normalize_axis("top_k", axis, x.ndim)
    k = as_integer("top_k", "k", k)
    if not 0 <= k <= x.shape[axis]:
        raise ArgumentError(
            "top_k",
            "k must be between 0 and the size of the axis",
            met=f"k={k} for axis {axis} of {x.shape}",
            fix="lower k, or choose another axis",
        )
    order = along(argsort(x, axis, descending=largest), axis, 0, k)
    return take_along(x, order, axis), order


def lexsort(keys: Any, axis: int = -1) -> Tensor:
    """The indices that sort by several keys: by the last one first, then the one before it, ….

    >>> import wengert as wg
    >>> wg.lexsort([[1, 0, 2], [5, 5, 4]])
    Tensor([2, 1, 0], dtype=int64)
    """
    tensors = [as_tensor(k) for k in listed("lexsort", keys)]
    if not tensors:
        raise ArgumentError("lexsort", "no key to sort by", fix="pass one key or more")
    axis = normalize_axis("lexsort", axis, tensors[0].ndim)
    order = argsort(tensors[0], axis)
    for key in tensors[1:]:
        order = take_along(order, argsort(take_along(key, order, axis), axis), axis)
    return order
