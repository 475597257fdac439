"""Searching, counting, and positions. Results are indices and counts, so they have no derivative.

Where the shape of a result depends on values (`nonzero`, `argwhere`), a trace cannot know it, and
the error says so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError, TraceError
from wengert.core.op import cast_to
from wengert.core.rules import as_integer
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import as_shape
from wengert.namespaces.keys import as_index
from wengert.namespaces.manipulation import flip, ravel, reshape
from wengert.ops import index as _i
from wengert.ops.search import searchsorted as _searchsorted
from wengert.ops.selection import promoted

__all__ = [
    "argwhere",
    "bincount",
    "diag_indices",
    "digitize",
    "flatnonzero",
    "histogram",
    "indices",
    "ix_",
    "nonzero",
    "ravel_multi_index",
    "searchsorted",
    "tril_indices",
    "triu_indices",
    "unravel_index",
]


def values_of(op: str, x: Any) -> np.ndarray[Any, Any]:
    """The values of an operand whose values decide the shape of the result."""
    x = as_tensor(x)
    if x.is_symbolic:
        raise TraceError(
            op,
            "the shape of the result depends on values that a trace does not have",
            met=describe(x),
            cause="a call inside jit, vmap or trace",
            fix="call it outside, or keep the shape with a mask: wg.where(mask, x, 0.0)",
        )
    return x._values(op)


# -- what is not zero --------------------------------------------------------------------------


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one array for each axis, in row-major order.

    >>> import wengert as wg
    >>> wg.nonzero([0, 3, 0, 5])
    (Tensor([1, 3], dtype=int64),)
    """
    values = values_of("nonzero", x)
    if values.ndim == 0:
        raise ShapeError("nonzero", "a 0-d array has no axis", fix="use wg.atleast_1d, or x != 0")
    return tuple(map(Tensor, np.nonzero(values)))


def flatnonzero(x: Any) -> Tensor:
    """The indices of the elements of the flattened array that are not zero.

    >>> import wengert as wg
    >>> wg.flatnonzero([[0, 3], [4, 0]])
    Tensor([1, 2], dtype=int64)
    """
    return Tensor(np.flatnonzero(values_of("flatnonzero", x)))


def argwhere(x: Any) -> Tensor:
    """The places of the elements that are not zero, one row each.

    >>> import wengert as wg
    >>> wg.argwhere([[0, 3], [4, 0]])
    Tensor([[0, 1], [1, 0]], dtype=int64)
    """
    return Tensor(np.argwhere(values_of("argwhere", x)))


# -- sorted arrays -----------------------------------------------------------------------------


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """For each element of `x2`, where it would be put into the sorted 1-d array `x1`.

    "left" is before equal elements, "right" behind them. `sorter` are indices that sort `x1`.

    >>> import wengert as wg
    >>> wg.searchsorted([1, 3, 5], [3, 4])
    Tensor([1, 2], dtype=int64)
    """
    if side not in ("left", "right"):
        raise ArgumentError(
            "searchsorted", "unknown side", met=repr(side), fix="use 'left' or 'right'"
        )
    x, v = promoted(x1, x2)
    if sorter is not None:
        x = _i.gather(x, as_index("searchsorted", sorter), axis=0)
    found: Tensor = _searchsorted(x, v, side=side, lead=0)
    return found


def digitize(x: Any, bins: Any, right: bool = False) -> Tensor:
    """The number of the bin that each element is in; `bins` are edges that rise (or fall).

    Bin i is `bins[i-1] <= x < bins[i]`, or with `right` `bins[i-1] < x <= bins[i]`.

    >>> import wengert as wg
    >>> wg.digitize([0.5, 1.0, 2.5], [0.0, 1.0, 2.0])
    Tensor([1, 2, 3], dtype=int64)
    """
    edges = as_tensor(bins)
    steps = np.diff(values_of("digitize", edges).astype(float)) if edges.ndim else np.zeros(0)
    falls = bool(edges.size) and bool((steps <= 0).all()) and not bool((steps >= 0).all())
    if edges.ndim != 1 or not (falls or (steps >= 0).all()):
        raise ArgumentError(
            "digitize",
            "the bins must be 1-d, and rise or fall",
            met=describe(edges),
            fix="sort them",
        )
    if not falls:
        return searchsorted(edges, x, side="left" if right else "right")
    # In falling edges a bin holds its lower edge unless `right`: count from the other end.
    return edges.size - searchsorted(flip(edges), x, side="right" if not right else "left")


# -- counting ----------------------------------------------------------------------------------


def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None
) -> Tensor:
    """How often each integer 0, 1, … occurs, or the sum of the weights where it does.

    The result has `length` entries; by default one more than the largest integer, and at least
    `minlength`. Differentiable in the weights. In a trace, pass `length`.

    >>> import wengert as wg
    >>> wg.bincount([0, 2, 2])
    Tensor([1, 0, 2], dtype=int64)
    """
    index = as_index("bincount", x)
    if index.ndim != 1:
        raise ShapeError(
            "bincount", "takes a 1-d array", met=describe(index), fix="use wg.ravel first"
        )
    if length is None:
        length = max(int(values_of("bincount", index).max(initial=-1)) + 1, minlength, 1)
        length = length if index.size else minlength
    index = _i.ravel_index(index, shape=(length,), axes=(0,), negative=False)
    w = Tensor(np.ones(index.shape, np.int64)) if weights is None else as_tensor(weights)
    if w.shape != index.shape:
        raise ShapeError(
            "bincount", "one weight an element is needed", met=describe(index, w), fix="match them"
        )
    found: Tensor = _i.scatter_add(w, index, axis=0, size=length)
    return found


def histogram(
    x: Any, bins: Any = 10, range: Any = None, *, weights: Any = None, density: bool = False
) -> tuple[Tensor, Tensor]:
    """How many elements are in each bin, and the edges of the bins.

    `bins` is their number, between the smallest and the largest element or within `range`, or the
    edges themselves. All bins are half-open but the last. With `density` the areas add up to 1.

    >>> import wengert as wg
    >>> counts, edges = wg.histogram([1.0, 2.0, 2.5], bins=2)
    >>> counts.tolist(), edges.tolist()
    ([1, 2], [1.0, 1.75, 2.5])
    """
    values = ravel(x)
    data = values_of("histogram", values).astype(np.float64)
    edges = bins if isinstance(bins, int) else values_of("histogram", bins).astype(np.float64)
    w = None if weights is None else ravel(weights)._values("histogram")
    try:
        counts, found = np.histogram(data, edges, range, density=density, weights=w)
    except (ValueError, TypeError) as problem:
        raise ArgumentError(
            "histogram",
            str(problem),
            met=describe(values),
            cause="NaN or infinite values, no bin, or edges that do not rise",
            fix="pass a range, and one bin or more",
        ) from None
    dtype = values.dtype if dtypes.is_float(values.dtype) else dtypes.default_float()
    if density:
        counts = counts.astype(dtype)
    return Tensor(counts), Tensor(found.astype(dtype))


# -- positions ---------------------------------------------------------------------------------


def unravel_index(index: Any, shape: Any) -> tuple[Tensor, ...]:
    """Indices into a flattened array of `shape` as one index array for each axis.

    >>> import wengert as wg
    >>> wg.unravel_index([5, 3], (2, 3))
    (Tensor([1, 1], dtype=int64), Tensor([2, 0], dtype=int64))
    """
    sizes = as_shape("unravel_index", shape)
    rest = _i.ravel_index(
        as_index("unravel_index", index), shape=(math.prod(sizes),), axes=(0,), negative=False
    )
    found = []
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))


def ravel_multi_index(multi_index: Any, shape: Any) -> Tensor:
    """One index array for each axis of `shape` as indices into the flattened array.

    >>> import wengert as wg
    >>> wg.ravel_multi_index(([1, 1], [2, 0]), (2, 3))
    Tensor([5, 3], dtype=int64)
    """
    sizes = as_shape("ravel_multi_index", shape)
    parts = [as_index("ravel_multi_index", i) for i in multi_index]
    if len(parts) != len(sizes):
        raise ArgumentError(
            "ravel_multi_index",
            "one index array for each axis is needed",
            met=f"{len(parts)} for {sizes}",
            fix="pass as many as the shape has axes",
        )
    axes = tuple(i for i, _ in enumerate(sizes))
    found: Tensor = _i.ravel_index(*parts, shape=sizes, axes=axes, negative=False)
    return found


def indices(dimensions: Any, *, dtype: Any = None) -> Tensor:
    """For each axis of a grid the index along it, at every place: shape `(n, *dimensions)`.

    >>> import wengert as wg
    >>> wg.indices((2, 2)).tolist()
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    grid = Tensor(np.indices(as_shape("indices", dimensions)))
    return cast_to(grid, dtypes.default_int if dtype is None else dtype)


def ix_(*arrays: Any) -> tuple[Tensor, ...]:
    """1-d index arrays (or masks) shaped so that they index the grid of their combinations.

    >>> import wengert as wg
    >>> x = wg.reshape(wg.arange(6), (2, 3))
    >>> x[wg.ix_([0, 1], [0, 2])]
    Tensor([[0, 2], [3, 5]], dtype=int64)
    """
    found = []
    for i, a in enumerate(arrays):
        line = as_tensor(a)
        if line.size == 0 and not isinstance(a, Tensor):  # an empty list has no integer dtype
            line = Tensor(np.zeros(line.shape, np.int64))
        if line.ndim != 1:
            raise ShapeError("ix_", "takes 1-d arrays", met=describe(line), fix="flatten them")
        if line.dtype == dtypes.bool:
            line = flatnonzero(line)
        shape = (1,) * i + (line.size,) + (1,) * (len(arrays) - i - 1)
        found.append(reshape(as_index("ix_", line), shape))
    return tuple(found)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and below the `k`-th diagonal of an n × m matrix.

    >>> import wengert as wg
    >>> [i.tolist() for i in wg.tril_indices(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    rows, columns = np.tril_indices(*_matrix("tril_indices", n, k, m))
    return Tensor(rows), Tensor(columns)


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements on and above the `k`-th diagonal of an n × m matrix.

    >>> import wengert as wg
    >>> [i.tolist() for i in wg.triu_indices(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    rows, columns = np.triu_indices(*_matrix("triu_indices", n, k, m))
    return Tensor(rows), Tensor(columns)


def _matrix(op: str, n: int, k: int, m: int | None) -> tuple[int, int, int]:
    rows, columns = as_shape(op, (n, n if m is None else m))
    return rows, as_integer(op, "k", k), columns


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """The indices of the main diagonal of an array with `ndim` axes of size n.

    >>> import wengert as wg
    >>> [i.tolist() for i in wg.diag_indices(2)]
    [[0, 1], [0, 1]]
    """
    (size,) = as_shape("diag_indices", n)
    return (Tensor(np.arange(size)),) * as_integer("diag_indices", "ndim", ndim)
