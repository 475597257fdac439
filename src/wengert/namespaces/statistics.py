"""Statistics: spread, quantiles, covariance, averages with weights, and reductions without NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.linear import diagonal, matmul
from wengert.namespaces.reductions import (
    count_of,
    floating,
    keep,
    max,
    mean,
    mean_of,
    merged,
    min,
    narrowed,
    prod,
    single,
    sum,
)
from wengert.ops import elementwise as _e
from wengert.ops import functions as _f
from wengert.ops import reduce as _r
from wengert.ops.index import gather
from wengert.ops.movement import permute, reshape
from wengert.ops.reduce import Axis, axes_of
from wengert.ops.selection import where
from wengert.ops.sort import sort

__all__ = [
    "average",
    "corrcoef",
    "cov",
    "median",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
    "percentile",
    "quantile",
    "std",
    "var",
]

# -- variance ----------------------------------------------------------------------------------


def var(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes, Σ (x − mean)² / (n − correction). `correction=1` is the unbiased
    estimate.

    >>> import wengert as wg
    >>> wg.var(wg.asarray([1.0, 2.0, 3.0, 4.0]))
    Tensor(1.25, dtype=float32)
    """
    x = floating(x)
    axes = axes_of("var", axis, x.ndim)
    return keep(narrowed(_variance(single(x), axes, correction), x), x, axes, keepdims)


def _variance(x: Tensor, axes: tuple[int, ...], correction: float) -> Tensor:
    center = _r.kept(mean_of(x, axes), x.shape, axes)
    squares = _r.sum(_e.square(_e.sub(x, center)), axis=axes)
    left = count_of(x, axes) - correction
    return _e.div(squares, left if left > 0 else 0.0)


def std(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes, √var. Its derivative is NaN where it is 0.

    >>> import wengert as wg
    >>> wg.std(wg.asarray([1.0, 3.0]))
    Tensor(1., dtype=float32)
    """
    x = floating(x)
    axes = axes_of("std", axis, x.ndim)
    root = _f.sqrt(_variance(single(x), axes, correction))
    return keep(narrowed(root, x), x, axes, keepdims)


def average(x: Any, /, axis: Axis = None, weights: Any = None, keepdims: bool = False) -> Tensor:
    """The average over axes, with weights: Σ w·x / Σ w. The weights have the shape of x, or the
    length of the one axis.

    >>> import wengert as wg
    >>> wg.average(wg.asarray([1.0, 4.0]), weights=wg.asarray([3.0, 1.0]))
    Tensor(1.75, dtype=float32)
    """
    x = floating(x)
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    weights = floating(as_tensor(weights, x))
    axes = axes_of("average", axis, x.ndim)
    if weights.shape != x.shape:
        if len(axes) != 1 or weights.shape != (x.shape[axes[0]],):
            raise ShapeError(
                "average",
                "the weights must have the shape of the array, or the length of the axis",
                met=f"{describe(weights)} for {describe(x)}, axis={axis}",
                fix="broadcast the weights to the shape of the array",
            )
        weights = reshape(weights, shape=_one_axis(x.ndim, axes[0], weights.shape[0]))
    weighted = sum(_e.mul(x, weights), axis, keepdims=keepdims)
    total = sum(_e.mul(weights, _ones_like(x)), axis, keepdims=keepdims)
    return _e.div(weighted, total)


def _one_axis(ndim: int, axis: int, size: int) -> tuple[int, ...]:
    return tuple([size if i == axis else 1 for i in range(ndim)])


def _ones_like(x: Tensor) -> Tensor:
    return Tensor(np.broadcast_to(np.ones((), x.dtype), x.shape))


def cov(x: Any, /, correction: float = 1.0) -> Tensor:
    """The covariance matrix of variables in rows, observed in columns:
    (x − mean)(x − mean)ᵀ / (n − correction). A 1-d array is one variable: its variance.

    >>> import wengert as wg
    >>> wg.cov(wg.asarray([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    Tensor([[ 1., -1.],
        [-1.,  1.]], dtype=float32)
    """
    x = floating(x)
    if x.ndim not in (1, 2):
        raise ShapeError(
            "cov",
            "takes one variable (1-d) or variables in rows (2-d)",
            met=describe(x),
            fix="reshape to (variables, observations)",
        )
    if x.ndim == 1:
        return var(x, correction=correction)
    wide = single(x)
    centered = _e.sub(wide, reshape(mean_of(wide, (1,)), shape=(x.shape[0], 1)))
    left = x.shape[1] - correction
    product = matmul(centered, permute(centered, axes=(1, 0)))
    return narrowed(_e.div(product, left if left > 0 else 0.0), x)


def corrcoef(x: Any, /) -> Tensor:
    """The correlation matrix of variables in rows: the covariances over the standard deviations.

    >>> import wengert as wg
    >>> wg.corrcoef(wg.asarray([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    Tensor([[ 1., -1.],
        [-1.,  1.]], dtype=float32)
    """
    c = cov(x)
    if c.ndim == 0:
        return _e.div(c, c)
    deviation = _f.sqrt(diagonal(c))
    n = c.shape[0]
    by_row = _e.div(c, reshape(deviation, shape=(n, 1)))
    return _e.div(by_row, deviation)


# -- quantiles ---------------------------------------------------------------------------------

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")
_ROUNDING = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}


def median(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The middle entry over axes in sorted order, or the mean of the middle two; NaN if there is
    a NaN.

    >>> import wengert as wg
    >>> wg.median(wg.asarray([3.0, 1.0, 2.0, 10.0]))
    Tensor(2.5, dtype=float32)
    """
    return _quantile("median", x, 0.5, axis, keepdims, "linear")


def quantile(
    x: Any, q: Any, /, axis: Axis = None, keepdims: bool = False, method: str = "linear"
) -> Tensor:
    """The q-quantile over axes, 0 ≤ q ≤ 1: the entry at place q·(n − 1) in sorted order.

    Between two places the `method` decides: "linear" interpolation, the "lower", "higher" or
    "nearest" entry, or the "midpoint" of both. For an array of q, its axes come first in the
    result. NaN if there is a NaN.

    >>> import wengert as wg
    >>> wg.quantile(wg.asarray([0.0, 1.0, 2.0, 3.0]), 0.5)
    Tensor(1.5, dtype=float32)
    """
    return _quantile("quantile", x, q, axis, keepdims, method)


def percentile(
    x: Any, q: Any, /, axis: Axis = None, keepdims: bool = False, method: str = "linear"
) -> Tensor:
    """The `quantile` at q / 100.

    >>> import wengert as wg
    >>> wg.percentile(wg.asarray([0.0, 1.0, 2.0, 3.0]), [0, 50])
    Tensor([0. , 1.5], dtype=float32)
    """
    return _quantile("percentile", x, _levels("percentile", q) / 100.0, axis, keepdims, method)


def _levels(op: str, q: Any) -> np.ndarray[Any, Any]:
    """Quantile levels as an array: they are constants, also where tracked."""
    values = q._values(op) if isinstance(q, Tensor) else q
    return np.asarray(values, np.float64)


def _quantile(op: str, x: Any, q: Any, axis: Axis, keepdims: bool, method: str) -> Tensor:
    x = floating(x)
    axes = axes_of(op, axis, x.ndim)
    levels = _levels(op, q)
    count = count_of(x, axes)
    _check_quantile(op, levels, count, x, method)
    ordered = sort(merged(x, axes), axis=x.ndim - len(axes), descending=False)
    last = ordered.ndim - 1
    place = _ROUNDING.get(method, np.positive)(levels * (count - 1))
    below, above = np.floor(place), np.ceil(place)
    weight = np.where(below == above, 0.0, 0.5) if method == "midpoint" else place - below
    low = gather(ordered, Tensor(below.astype(np.int64)), axis=last)
    high = gather(ordered, Tensor(above.astype(np.int64)), axis=last)
    between = _e.add(
        _e.mul(low, Tensor(np.asarray(1.0 - weight, x.dtype))),
        _e.mul(high, Tensor(np.asarray(weight, x.dtype))),
    )
    found = where(Tensor(np.asarray(weight == 0.0)), low, between)  # 0·∞ would be NaN
    top = gather(ordered, Tensor(np.asarray(count - 1)), axis=last)
    top = reshape(top, shape=top.shape + (1,) * levels.ndim)
    found = where(_e.isnan(top), top, found)  # NaN is sorted last, and is then the result
    rank = ordered.ndim - 1
    order = (*range(rank, rank + levels.ndim), *range(rank))
    found = permute(found, axes=order) if levels.ndim else found
    if keepdims:
        found = reshape(found, shape=levels.shape + _r.kept_shape(x.shape, axes))
    return found


def _check_quantile(
    op: str, levels: np.ndarray[Any, Any], count: int, x: Tensor, method: str
) -> None:
    if method not in _METHODS:
        raise ArgumentError(
            op, "unknown method", met=repr(method), fix="use one of " + ", ".join(_METHODS)
        )
    if not np.all((levels >= 0.0) & (levels <= 1.0)):
        top = 100 if op == "percentile" else 1
        raise ArgumentError(
            op,
            f"the level must lie between 0 and {top}",
            met=str(levels * top),
            fix="use quantile for fractions, percentile for percent",
        )
    if count == 0:
        raise ArgumentError(
            op,
            "an empty axis has no quantiles",
            met=describe(x),
            fix="reduce only where x.size > 0",
        )


# -- reductions that pass over NaN -------------------------------------------------------------


def _without_nan(x: Any, instead: float) -> tuple[Tensor, Tensor]:
    """The operand with NaN replaced, and where it stood."""
    x = as_tensor(x)
    missing: Tensor = _e.isnan(x)
    if not dtypes.is_float(x.dtype):
        return x, missing
    replaced: Tensor = where(missing, instead, x)
    return replaced, missing


def nansum(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Σ x over axes, NaN counted as 0.

    >>> import wengert as wg
    >>> wg.nansum(wg.asarray([1.0, wg.nan, 2.0]))
    Tensor(3., dtype=float32)
    """
    return sum(_without_nan(x, 0.0)[0], axis, keepdims, dtype=dtype)


def nanprod(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """∏ x over axes, NaN counted as 1.

    >>> import wengert as wg
    >>> wg.nanprod(wg.asarray([3.0, wg.nan, 2.0]))
    Tensor(6., dtype=float32)
    """
    return prod(_without_nan(x, 1.0)[0], axis, keepdims, dtype=dtype)


def nanmean(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The average over axes of the entries that are not NaN; NaN if there are none.

    >>> import wengert as wg
    >>> wg.nanmean(wg.asarray([1.0, wg.nan, 2.0]))
    Tensor(1.5, dtype=float32)
    """
    x, missing = _without_nan(floating(x), 0.0)
    wide = single(x)
    total = sum(wide, axis, keepdims=keepdims)
    return narrowed(_e.div(total, _present(missing, wide, axis, keepdims)), x)


def _present(missing: Tensor, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    """How many entries are not NaN, in the dtype of x."""
    return sum(cast_to(_e.logical_not(missing), x.dtype), axis, keepdims=keepdims)


def nanvar(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes of the entries that are not NaN.

    >>> import wengert as wg
    >>> wg.nanvar(wg.asarray([1.0, wg.nan, 3.0]))
    Tensor(1., dtype=float32)
    """
    x, missing = _without_nan(floating(x), 0.0)
    wide = single(x)
    count = _present(missing, wide, axis, True)
    center = _e.div(sum(wide, axis, keepdims=True), count)
    squares = where(missing, 0.0, _e.square(_e.sub(wide, center)))
    left = _e.sub(_present(missing, wide, axis, keepdims), float(correction))
    left = where(_e.greater(left, 0.0), left, 0.0)
    return narrowed(_e.div(sum(squares, axis, keepdims=keepdims), left), x)


def nanstd(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes of the entries that are not NaN.

    >>> import wengert as wg
    >>> wg.nanstd(wg.asarray([1.0, wg.nan, 3.0]))
    Tensor(1., dtype=float32)
    """
    return _f.sqrt(nanvar(x, axis, correction, keepdims))


def nanmax(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest entry over axes that is not NaN; NaN if there is none.

    >>> import wengert as wg
    >>> wg.nanmax(wg.asarray([1.0, wg.nan, 2.0]))
    Tensor(2., dtype=float32)
    """
    return _nan_extreme(max, x, -math.inf, axis, keepdims)


def nanmin(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over axes that is not NaN; NaN if there is none.

    >>> import wengert as wg
    >>> wg.nanmin(wg.asarray([1.0, wg.nan, 2.0]))
    Tensor(1., dtype=float32)
    """
    return _nan_extreme(min, x, math.inf, axis, keepdims)


def _nan_extreme(reduce: Any, x: Any, instead: float, axis: Axis, keepdims: bool) -> Tensor:
    x, missing = _without_nan(x, instead)
    found: Tensor = reduce(x, axis, keepdims)
    if not dtypes.is_float(x.dtype):
        return found
    none_left = _r.all(missing, axis=axes_of("nanmax", axis, x.ndim))
    return where(reshape(none_left, shape=found.shape), math.nan, found)
