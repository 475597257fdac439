"""Reductions over axes, and running ones along an axis.

`axis` is None (all axes), an int or a tuple of ints; negative axes count from the last.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

from wengert.core import dtypes
from wengert.core.errors import ArgumentError
from wengert.core.op import cast_to
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import cumulative as _c
from wengert.ops import elementwise as _e
from wengert.ops import functions as _f
from wengert.ops import reduce as _r
from wengert.ops.movement import permute, reshape
from wengert.ops.structure import stop_gradient

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "softmax",
    "std",
    "sum",
    "var",
]

Axis = int | tuple[int, ...] | None


def axes_of(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that a reduction goes over, sorted and without negative ones."""
    if axis is None:
        return tuple(range(ndim))
    if axis.__class__ is int:
        return (normalize_axis(op, axis, ndim),)
    axes = sorted([normalize_axis(op, a, ndim) for a in axis])
    if len(set(axes)) != len(axes):
        raise ArgumentError(op, "an axis is named twice", met=repr(axis), fix="name each axis once")
    return tuple(axes)


def _keep(out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The result with its reduced axes kept as size 1, where asked for."""
    if keepdims:
        out = reshape(out, shape=_r.kept_shape(x.shape, axes))
    return out


def _widened(x: Tensor, dtype: Any) -> Tensor:
    """The operand of a sum or product in the dtype of the result: integers and bools add up in
    (u)int64."""
    if dtype is not None:
        return cast_to(x, dtype)
    kind = dtypes.kind(x._data.dtype)
    if kind == "float":
        return x
    return cast_to(x, dtypes.uint64 if kind == "unsigned" else dtypes.int64)


def sum(x: Any, /, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Σ x over axes."""
    x = _widened(as_tensor(x), dtype)
    axes = axes_of("sum", axis, x.ndim)
    return _keep(_r.sum(x, axis=axes), x, axes, keepdims)


def prod(x: Any, /, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """∏ x over axes."""
    x = _widened(as_tensor(x), dtype)
    axes = axes_of("prod", axis, x.ndim)
    if len(axes) == 1:
        return _keep(_r.prod(x, axis=axes[0]), x, axes, keepdims)
    rest = tuple([i for i in range(x.ndim) if i not in axes])
    shape = x.shape
    merged = reshape(
        permute(x, axes=rest + axes),
        shape=tuple([shape[i] for i in rest]) + (math.prod([shape[i] for i in axes]),),
    )
    return _keep(_r.prod(merged, axis=len(rest)), x, axes, keepdims)


def max(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest entry over axes; NaN if there is one."""
    x = as_tensor(x)
    axes = axes_of("max", axis, x.ndim)
    return _keep(_r.max(x, axis=axes), x, axes, keepdims)


def min(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over axes; NaN if there is one."""
    x = as_tensor(x)
    axes = axes_of("min", axis, x.ndim)
    return _keep(_r.min(x, axis=axes), x, axes, keepdims)


def _floating(x: Any) -> Tensor:
    """The operand as floats, 16-bit ones in float32 so that nothing is lost in between."""
    x = as_tensor(x)
    dtype = x._data.dtype
    if dtypes.kind(dtype) != "float":
        return cast_to(x, dtypes.default_float())
    return cast_to(x, dtypes.float32) if dtype.itemsize == 2 else x


def _result_dtype(x: Any) -> dtypes.DType:
    dtype: dtypes.DType = x.dtype
    return dtype if dtypes.is_float(dtype) else dtypes.default_float()


def _mean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    count = math.prod([x.shape[a] for a in axes])
    return _e.div(_r.sum(x, axis=axes), builtins.float(count))


def mean(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The average over axes."""
    x = as_tensor(x)
    wide = _floating(x)
    axes = axes_of("mean", axis, x.ndim)
    return _keep(cast_to(_mean(wide, axes), _result_dtype(x)), x, axes, keepdims)


def var(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes: Σ (x − mean)² / (n − correction)."""
    x = as_tensor(x)
    axes = axes_of("var", axis, x.ndim)
    return _keep(cast_to(_var(_floating(x), axes, correction), _result_dtype(x)), x, axes, keepdims)


def _var(x: Tensor, axes: tuple[int, ...], correction: float) -> Tensor:
    center = reshape(_mean(x, axes), shape=_r.kept_shape(x.shape, axes))
    count = math.prod([x.shape[a] for a in axes])
    squares = _r.sum(_e.square(_e.sub(x, center)), axis=axes)
    return _e.div(squares, builtins.max(count - correction, 0.0))


def std(x: Any, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes: the square root of `var`."""
    x = as_tensor(x)
    axes = axes_of("std", axis, x.ndim)
    root = _f.sqrt(_var(_floating(x), axes, correction))
    return _keep(cast_to(root, _result_dtype(x)), x, axes, keepdims)


def any(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether some entry is true (not 0)."""
    x = as_tensor(x)
    axes = axes_of("any", axis, x.ndim)
    return _keep(_r.any(x, axis=axes), x, axes, keepdims)


def all(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every entry is true (not 0)."""
    x = as_tensor(x)
    axes = axes_of("all", axis, x.ndim)
    return _keep(_r.all(x, axis=axes), x, axes, keepdims)


def _arg(op: Any, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = axes_of(op.name, axis, x.ndim)
    if axis is None:
        return _keep(op(reshape(x, shape=(x.size,)), axis=0), x, axes, keepdims)
    return _keep(op(x, axis=axes[0]), x, axes, keepdims)


def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the largest entry stands: the first of them, as int64."""
    return _arg(_r.argmax, x, axis, keepdims)


def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the smallest entry stands: the first of them, as int64."""
    return _arg(_r.argmin, x, axis, keepdims)


def logsumexp(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """ln Σ eˣ over axes, without overflow in between."""
    x = as_tensor(x)
    x = x if dtypes.is_float(x.dtype) else cast_to(x, dtypes.default_float())
    axes = axes_of("logsumexp", axis, x.ndim)
    return _keep(_r.logsumexp(x, axis=axes), x, axes, keepdims)


def softmax(x: Any, /, axis: Axis = -1) -> Tensor:
    """eˣ / Σ eˣ over axes."""
    x = as_tensor(x)
    x = x if dtypes.is_float(x.dtype) else cast_to(x, dtypes.default_float())
    axes = axes_of("softmax", axis, x.ndim)
    kept = _r.kept_shape(x.shape, axes)
    top = reshape(_r.max(stop_gradient(x), axis=axes), shape=kept)
    e = _f.exp(_e.sub(x, top))
    return _e.div(e, reshape(_r.sum(e, axis=axes), shape=kept))


def log_softmax(x: Any, /, axis: Axis = -1) -> Tensor:
    """x − ln Σ eˣ over axes: the logarithm of `softmax`."""
    x = as_tensor(x)
    x = x if dtypes.is_float(x.dtype) else cast_to(x, dtypes.default_float())
    return _e.sub(x, logsumexp(x, axis, keepdims=True))


def _along(op: str, x: Any, axis: int | None, dtype: Any) -> tuple[Tensor, int]:
    x = _widened(as_tensor(x), dtype)
    if axis is None:
        return reshape(x, shape=(x.size,)), 0
    return x, normalize_axis(op, axis, x.ndim)


def cumsum(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running sum along an axis (of the flattened array if axis is None)."""
    x, axis = _along("cumsum", x, axis, dtype)
    return _c.cumsum(x, axis=axis, reverse=False)


def cumprod(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running product along an axis (of the flattened array if axis is None)."""
    x, axis = _along("cumprod", x, axis, dtype)
    return _c.cumprod(x, axis=axis, reverse=False)
