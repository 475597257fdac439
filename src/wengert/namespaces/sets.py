"""Sets: distinct elements, membership, union and intersection.

The number of distinct elements depends on values, so none of these can be traced. Where elements
of the input are returned, they carry its gradient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.joining import concat
from wengert.namespaces.manipulation import ravel
from wengert.namespaces.searching import values_of
from wengert.ops.index import gather
from wengert.ops.selection import promoted
from wengert.ops.sort import sortable

__all__ = [
    "intersect1d",
    "isin",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct elements in rising order; where each occurs first; for every element of `x`
    which one it is; and how often each occurs. Each NaN is distinct.

    >>> import wengert as wg
    >>> found = wg.unique_all([3, 1, 3])
    >>> found.values.tolist(), found.indices.tolist(), found.counts.tolist()
    ([1, 3], [1, 0], [1, 2])
    """
    x = as_tensor(x)
    _, first, inverse, counts = np.unique(
        sortable(values_of("unique_all", x)), True, True, True, equal_nan=False
    )
    values: Tensor = gather(ravel(x), Tensor(first), axis=0)
    return UniqueAll(values, Tensor(first), Tensor(inverse.reshape(x.shape)), Tensor(counts))


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct elements in rising order, and how often each occurs. Each NaN is distinct.

    >>> import wengert as wg
    >>> wg.unique_counts([3, 1, 3]).counts
    Tensor([1, 2], dtype=int64)
    """
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct elements in rising order, and which one each element of `x` is.

    >>> import wengert as wg
    >>> wg.unique_inverse([3, 1, 3]).inverse_indices
    Tensor([1, 0, 1], dtype=int64)
    """
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Tensor:
    """The distinct elements in rising order. Each NaN is distinct.

    >>> import wengert as wg
    >>> wg.unique_values([3, 1, 3])
    Tensor([1, 3], dtype=int64)
    """
    return unique_all(x).values


def unique(
    x: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
) -> Any:
    """The distinct elements (slices, along an axis), as `numpy.unique`: a tuple where more than
    the elements is asked for.

    >>> import wengert as wg
    >>> wg.unique([3, 1, 3], return_counts=True)
    (Tensor([1, 3], dtype=int64), Tensor([1, 2], dtype=int64))
    """
    x = as_tensor(x)
    values = sortable(values_of("unique", x))
    if axis is not None:
        axis = normalize_axis("unique", axis, x.ndim)
    _, first, inverse, counts = np.unique(values, True, True, True, axis, equal_nan=equal_nan)
    source = ravel(x) if axis is None else x
    distinct: Tensor = gather(source, Tensor(first), axis=axis or 0)
    inverse = inverse.reshape(x.shape if axis is None else -1)
    asked = zip((return_index, return_inverse, return_counts), (first, inverse, counts))
    extra = [Tensor(a) for wanted, a in asked if wanted]
    return (distinct, *extra) if extra else distinct


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each element of `x1` is among those of `x2` (with `invert`: is not). NaN never is.

    >>> import wengert as wg
    >>> wg.isin([1, 2, 3], [2, 5])
    Tensor([False,  True, False], dtype=bool)
    """
    a, b = (sortable(values_of("isin", t)) for t in promoted(x1, ravel(x2)))
    return Tensor(np.asarray(np.isin(a, b, invert=invert)))


def union1d(x1: Any, x2: Any) -> Tensor:
    """The distinct elements of both arrays, in rising order.

    >>> import wengert as wg
    >>> wg.union1d([1, 3], [2, 3])
    Tensor([1, 2, 3], dtype=int64)
    """
    joined: Tensor = unique(concat([x1, x2], axis=None))
    return joined


def _chosen(op: str, x1: Any, x2: Any, keep: Any) -> Tensor:
    """The distinct elements of `x1` for which `keep(are they in x2?)` holds."""
    a, b = promoted(x1, x2)
    distinct = unique(a)
    found = np.isin(sortable(values_of(op, distinct)), sortable(values_of(op, b)))
    chosen: Tensor = gather(distinct, Tensor(np.flatnonzero(keep(found))), axis=0)
    return chosen


def intersect1d(x1: Any, x2: Any) -> Tensor:
    """The distinct elements that are in both arrays, in rising order.

    >>> import wengert as wg
    >>> wg.intersect1d([1, 3, 4], [4, 3])
    Tensor([3, 4], dtype=int64)
    """
    return _chosen("intersect1d", x1, x2, lambda found: found)


def setdiff1d(x1: Any, x2: Any) -> Tensor:
    """The distinct elements of `x1` that are not in `x2`, in rising order.

    >>> import wengert as wg
    >>> wg.setdiff1d([1, 3, 4], [4, 3])
    Tensor([1], dtype=int64)
    """
    return _chosen("setdiff1d", x1, x2, lambda found: ~found)


def setxor1d(x1: Any, x2: Any) -> Tensor:
    """The distinct elements that are in one array alone, in rising order.

    >>> import wengert as wg
    >>> wg.setxor1d([1, 3], [3, 5])
    Tensor([1, 5], dtype=int64)
    """
    return union1d(setdiff1d(x1, x2), setdiff1d(x2, x1))
