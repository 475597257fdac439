"""Reductions over axes.

`axis` is None (all axes), an int or a tuple of ints; negative axes count from the last. With
`keepdims` reduced axes stay as size 1. 16-bit floats are added up in float32 and rounded once.
"""

from __future__ import annotations

import math
from typing import Any

from wengert.core import dtypes
from wengert.core.op import Op, cast_to
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import elementwise as _e
from wengert.ops import reduce as _r
from wengert.ops import softmax as _s
from wengert.ops.movement import permute, reshape
from wengert.ops.reduce import Axis, axes_of

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "ptp",
    "softmax",
    "sum",
]


def keep(out: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """The result of a reduction of `x`, with the reduced axes back as size 1 where asked for."""
    if keepdims:
        out = reshape(out, shape=_r.kept_shape(x.shape, axes))
    return out


def widened(x: Any, dtype: Any) -> Tensor:
    """The operand of a sum or product in the dtype of the result: integers and bools add up in
    (u)int64."""
    x = as_tensor(x)
    if dtype is not None:
        return cast_to(x, dtype)
    kind = dtypes.kind(x._data.dtype)
    if kind == "float":
        return x
    return cast_to(x, dtypes.uint64 if kind == "unsigned" else dtypes.int64)


def floating(x: Any) -> Tensor:
    """The operand in a floating dtype: bools and integers become the default float."""
    x = as_tensor(x)
    if dtypes.kind(x._data.dtype) == "float":
        return x
    return cast_to(x, dtypes.default_float())


# -- sums and products -------------------------------------------------------------------------


def sum(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Σ x over axes; 0 for an empty one. Integers add up in int64 (unsigned ones in uint64).

    >>> import wengert as wg
    >>> wg.sum(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([4., 6.], dtype=float32)
    """
    x = widened(x, dtype)
    axes = axes_of("sum", axis, x.ndim)
    return keep(_r.sum(x, axis=axes), x, axes, keepdims)


def prod(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """∏ x over axes; 1 for an empty one. Its derivatives are right where entries are zero.

    >>> import wengert as wg
    >>> wg.prod(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([3., 8.], dtype=float32)
    """
    x = widened(x, dtype)
    axes = axes_of("prod", axis, x.ndim)
    if len(axes) == 1:
        return keep(_r.prod(x, axis=axes[0]), x, axes, keepdims)
    return keep(_r.prod(merged(x, axes), axis=x.ndim - len(axes)), x, axes, keepdims)


def merged(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The array with some axes made into a single last one."""
    rest = tuple([i for i in range(x.ndim) if i not in axes])
    shape = [x.shape[i] for i in rest]
    shape.append(math.prod([x.shape[i] for i in axes]))
    out: Tensor = reshape(permute(x, axes=rest + axes), shape=tuple(shape))
    return out


def mean(x: Any, /, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """The average over axes, NaN for an empty one; integers are averaged in the default float.

    >>> import wengert as wg
    >>> wg.mean(wg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=1)
    Tensor([1.5, 3.5], dtype=float32)
    """
    x = floating(x) if dtype is None else cast_to(as_tensor(x), dtype)
    axes = axes_of("mean", axis, x.ndim)
    return keep(narrowed(mean_of(single(x), axes), x), x, axes, keepdims)


def single(x: Tensor) -> Tensor:
    """16-bit floats as float32, for computations in between."""
    return cast_to(x, dtypes.float32) if x._data.dtype.itemsize == 2 else x


def narrowed(out: Tensor, x: Tensor) -> Tensor:
    """A result in the dtype of the operand."""
    dtype = x._data.dtype
    return out if out._data.dtype is dtype else cast_to(out, dtype)


def mean_of(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The average of floats over axes."""
    out: Tensor = _e.div(_r.sum(x, axis=axes), float(count_of(x, axes)))
    return out


def count_of(x: Tensor, axes: tuple[int, ...]) -> int:
    """How many entries each result of a reduction is made of."""
    return math.prod([x.shape[a] for a in axes])


# -- extremes ----------------------------------------------------------------------------------


def max(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest entry over axes; NaN if there is one. Ties share the derivative equally.

    >>> import wengert as wg
    >>> wg.max(wg.asarray([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    Tensor([2., 3.], dtype=float32)
    """
    x = as_tensor(x)
    axes = axes_of("max", axis, x.ndim)
    return keep(_r.max(x, axis=axes), x, axes, keepdims)


def min(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest entry over axes; NaN if there is one. Ties share the derivative equally.

    >>> import wengert as wg
    >>> wg.min(wg.asarray([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    Tensor([1., 0.], dtype=float32)
    """
    x = as_tensor(x)
    axes = axes_of("min", axis, x.ndim)
    return keep(_r.min(x, axis=axes), x, axes, keepdims)


def ptp(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """max − min over axes ("peak to peak").

    >>> import wengert as wg
    >>> wg.ptp(wg.asarray([3.0, -1.0, 2.0]))
    Tensor(4., dtype=float32)
    """
    x = as_tensor(x)
    return _e.sub(max(x, axis, keepdims), min(x, axis, keepdims))


def argmax(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the largest entry stands (the first of them), as int64; None: in the flattened array.

    >>> import wengert as wg
    >>> wg.argmax(wg.asarray([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    Tensor([1, 0], dtype=int64)
    """
    return _position(_r.argmax, x, axis, keepdims)


def argmin(x: Any, /, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the smallest entry stands (the first of them), as int64; None: in the flattened array.

    >>> import wengert as wg
    >>> wg.argmin(wg.asarray([[1.0, 2.0], [3.0, 0.0]]), axis=1)
    Tensor([0, 1], dtype=int64)
    """
    return _position(_r.argmin, x, axis, keepdims)


def _position(op: Op, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = axes_of(op.name, axis, x.ndim)
    if axis is None:
        return keep(op(reshape(x, shape=(x.size,)), axis=0), x, axes, keepdims)
    return keep(op(x, axis=axes[0]), x, axes, keepdims)


# -- truth -------------------------------------------------------------------------------------


def any(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether some entry is true (not 0); False for an empty axis.

    >>> import wengert as wg
    >>> wg.any(wg.asarray([[True, False], [False, False]]), axis=1)
    Tensor([ True, False], dtype=bool)
    """
    x = as_tensor(x)
    axes = axes_of("any", axis, x.ndim)
    return keep(_r.any(x, axis=axes), x, axes, keepdims)


def all(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every entry is true (not 0); True for an empty axis.

    >>> import wengert as wg
    >>> wg.all(wg.asarray([[True, False], [True, True]]), axis=1)
    Tensor([False,  True], dtype=bool)
    """
    x = as_tensor(x)
    axes = axes_of("all", axis, x.ndim)
    return keep(_r.all(x, axis=axes), x, axes, keepdims)


def count_nonzero(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many entries are true (not 0), as int64.

    >>> import wengert as wg
    >>> wg.count_nonzero(wg.asarray([3, 0, -1]))
    Tensor(2, dtype=int64)
    """
    return sum(_e.not_equal(as_tensor(x), 0), axis, keepdims=keepdims)


# -- softmax -----------------------------------------------------------------------------------


def logsumexp(x: Any, /, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """ln Σ eˣ over axes, without overflow; −∞ for an empty axis. Its gradient is the softmax.

    >>> import wengert as wg
    >>> wg.logsumexp(wg.asarray([1000.0, 1000.0]))
    Tensor(1000.6932, dtype=float32)
    """
    x = floating(x)
    axes = axes_of("logsumexp", axis, x.ndim)
    return keep(_s.logsumexp(x, axis=axes), x, axes, keepdims)


def softmax(x: Any, /, axis: Axis = -1) -> Tensor:
    """eˣ / Σ eˣ over axes, without overflow.

    >>> import wengert as wg
    >>> wg.softmax(wg.asarray([0.0, 0.0, -wg.inf]))
    Tensor([0.5, 0.5, 0. ], dtype=float32)
    """
    x = floating(x)
    return _s.softmax(x, axis=axes_of("softmax", axis, x.ndim))


def log_softmax(x: Any, /, axis: Axis = -1) -> Tensor:
    """ln softmax(x) = x − ln Σ eˣ over axes, accurate also where the softmax is 0.

    >>> import wengert as wg
    >>> wg.log_softmax(wg.asarray([0.0, 1000.0]))
    Tensor([-1000.,     0.], dtype=float32)
    """
    x = floating(x)
    return _s.log_softmax(x, axis=axes_of("log_softmax", axis, x.ndim))
