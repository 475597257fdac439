"""Reductions over segments: rows of an array grouped by an integer id, in any order.

`segment_sum(data, ids, n)[k]` is the sum of all `data[i]` with `ids[i] == k`. Without
`num_segments` it is one more than the largest id, which must then be known (not traced).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError, TraceError
from wengert.core.op import cast_to
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.keys import as_index
from wengert.ops import scatter as _s
from wengert.ops.elementwise import div, sub
from wengert.ops.functions import exp
from wengert.ops.index import gather, ravel_index, scatter_add
from wengert.ops.movement import reshape
from wengert.ops.selection import maximum
from wengert.ops.structure import stop_gradient

__all__ = [
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_prod",
    "segment_softmax",
    "segment_sum",
]


def count_of(op: str, ids: Tensor, given: int | None) -> int:
    """The number of segments: as given, or one more than the largest id."""
    if given is not None:
        if given < 0:
            raise ArgumentError(
                op,
                "the number of segments must not be negative",
                met=str(given),
                fix="pass 0 or more",
            )
        return int(given)
    if ids.is_symbolic:
        raise TraceError(
            op,
            "the number of segments depends on values that a trace does not have",
            met=describe(ids),
            fix="pass num_segments",
        )
    return int(ids._data.max()) + 1 if ids.size else 0


def _segments(op: str, data: Any, ids: Any, count: int | None) -> tuple[Tensor, Tensor, int]:
    data, ids = as_tensor(data), as_index(op, ids)
    if ids.shape != data.shape[: ids.ndim] or ids.ndim == 0:
        raise ShapeError(
            op,
            "the ids must have the shape of the leading axes of the data",
            met=f"ids {ids.shape} for data {data.shape}",
            fix="pass one id a row",
        )
    n = count_of(op, ids, count)
    return data, ravel_index(ids, shape=(n,), axes=(0,), negative=False), n


def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The sum of each segment; 0 for an empty one.

    >>> import wengert as wg
    >>> wg.segment_sum([1.0, 2.0, 3.0], [0, 2, 0])
    Tensor([4., 0., 2.], dtype=float32)
    """
    data, ids, n = _segments("segment_sum", data, segment_ids, num_segments)
    found: Tensor = scatter_add(data, ids, axis=0, size=n)
    return found


def segment_prod(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The product of each segment; 1 for an empty one. Its gradient is exact with zeros too.

    >>> import wengert as wg
    >>> wg.segment_prod([2.0, 5.0, 3.0], [0, 2, 0])
    Tensor([6., 1., 5.], dtype=float32)
    """
    data, ids, n = _segments("segment_prod", data, segment_ids, num_segments)
    found: Tensor = _s.scatter_prod(data, ids, axis=0, size=n)
    return found


def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The largest of each segment; −∞ (the smallest integer) for an empty one. Ties share the
    gradient equally.

    >>> import wengert as wg
    >>> wg.segment_max([1.0, 2.0, 3.0], [0, 1, 0])
    Tensor([3., 2.], dtype=float32)
    """
    data, ids, n = _segments("segment_max", data, segment_ids, num_segments)
    found: Tensor = _s.scatter_max(data, ids, axis=0, size=n)
    return found


def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The smallest of each segment; ∞ (the largest integer) for an empty one. Ties share the
    gradient equally.

    >>> import wengert as wg
    >>> wg.segment_min([1.0, 2.0, 3.0], [0, 1, 0])
    Tensor([1., 2.], dtype=float32)
    """
    data, ids, n = _segments("segment_min", data, segment_ids, num_segments)
    found: Tensor = _s.scatter_min(data, ids, axis=0, size=n)
    return found


def segment_mean(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """The mean of each segment; 0 for an empty one.

    >>> import wengert as wg
    >>> wg.segment_mean([1.0, 2.0, 3.0], [0, 1, 0])
    Tensor([2., 2.], dtype=float32)
    """
    data, ids, n = _segments("segment_mean", data, segment_ids, num_segments)
    if not dtypes.is_float(data.dtype):
        data = cast_to(data, dtypes.default_float())
    dtype = data.dtype
    if dtype.itemsize == 2:  # counts and sums go beyond what half precision holds
        data = cast_to(data, dtypes.float32)
    counts = scatter_add(Tensor(np.ones(ids.shape, data.dtype)), ids, axis=0, size=n)
    counts = reshape(maximum(counts, 1.0), shape=(n,) + (1,) * (data.ndim - ids.ndim))
    return cast_to(div(scatter_add(data, ids, axis=0, size=n), counts), dtype)


def segment_softmax(data: Any, segment_ids: Any, num_segments: int | None = None) -> Tensor:
    """`exp(xᵢ) / Σ exp(xⱼ)` over the j of i's segment, computed without overflow: the attention
    weights of graph networks.

    >>> import wengert as wg
    >>> wg.segment_softmax([0.0, 1.0, 0.0], [0, 1, 0])
    Tensor([0.5, 1. , 0.5], dtype=float32)
    """
    data, ids, n = _segments("segment_softmax", data, segment_ids, num_segments)
    if not dtypes.is_float(data.dtype):
        data = cast_to(data, dtypes.default_float())
    top: Tensor = stop_gradient(_s.scatter_max(data, ids, axis=0, size=n))
    weights = exp(sub(data, gather(top, ids, axis=0)))
    sums = scatter_add(weights, ids, axis=0, size=n)
    found: Tensor = div(weights, gather(sums, ids, axis=0))
    return found
