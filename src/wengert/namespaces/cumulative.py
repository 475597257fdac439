"""Running sums, products and extremes along one axis."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.op import Op
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.reductions import floating, widened
from wengert.ops import cumulative as _c
from wengert.ops.index import take_along
from wengert.ops.movement import reshape
from wengert.ops.pieces import pad

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
]


def _line(op: str, x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """The array and axis to run along: for None the flattened array. 0-d counts as 1-d."""
    if axis is None or x.ndim == 0:
        return reshape(x, shape=(x.size,)), normalize_axis(op, axis or 0, 1)
    return x, normalize_axis(op, axis, x.ndim)


def cumsum(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running sum along an axis (None: of the flattened array).

    >>> import wengert as wg
    >>> wg.cumsum(wg.asarray([1.0, 2.0, 3.0]))
    Tensor([1., 3., 6.], dtype=float32)
    """
    x, axis = _line("cumsum", widened(x, dtype), axis)
    return _c.cumsum(x, axis=axis, reverse=False)


def cumprod(x: Any, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Running product along an axis (None: of the flattened array). Its derivatives are right
    where entries are zero.

    >>> import wengert as wg
    >>> wg.cumprod(wg.asarray([1.0, 2.0, 3.0]))
    Tensor([1., 2., 6.], dtype=float32)
    """
    x, axis = _line("cumprod", widened(x, dtype), axis)
    return _c.cumprod(x, axis=axis, reverse=False)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Running sum along an axis, which may be left out for a 1-d array; `include_initial` puts a
    0 in front.

    >>> import wengert as wg
    >>> wg.cumulative_sum(wg.asarray([1.0, 2.0, 3.0]), include_initial=True)
    Tensor([0., 1., 3., 6.], dtype=float32)
    """
    return _cumulative(_c.cumsum, widened(x, dtype), axis, 0 if include_initial else None)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Tensor:
    """Running product along an axis, which may be left out for a 1-d array; `include_initial`
    puts a 1 in front.

    >>> import wengert as wg
    >>> wg.cumulative_prod(wg.asarray([1.0, 2.0, 3.0]), include_initial=True)
    Tensor([1., 1., 2., 6.], dtype=float32)
    """
    return _cumulative(_c.cumprod, widened(x, dtype), axis, 1 if include_initial else None)


def _cumulative(op: Op, x: Tensor, axis: int | None, initial: int | None) -> Tensor:
    name = {"cumsum": "cumulative_sum", "cumprod": "cumulative_prod"}[op.name]
    if axis is None:
        if x.ndim > 1:
            raise ArgumentError(
                name,
                "an array of several axes needs the axis to run along",
                met=f"axis=None for {x.shape}",
                fix="pass axis=",
            )
        axis = 0
    x, axis = _line(name, x, axis)
    out: Tensor = op(x, axis=axis, reverse=False)
    if initial is None:
        return out
    front = tuple([1 if i == axis else 0 for i in range(x.ndim)])
    none = (0,) * x.ndim
    return pad(out, lo=front, hi=none, interior=none, value=initial)


def cummax(x: Any, /, axis: int = -1) -> Tensor:
    """The largest entry so far along an axis. The derivative goes to the latest of equal ones.

    >>> import wengert as wg
    >>> wg.cummax(wg.asarray([1.0, 3.0, 2.0, 5.0]))
    Tensor([1., 3., 3., 5.], dtype=float32)
    """
    x = as_tensor(x)
    axis = normalize_axis("cummax", axis, x.ndim)
    return take_along(x, _c.cummax_index(x, axis=axis), axis)


def cummin(x: Any, /, axis: int = -1) -> Tensor:
    """The smallest entry so far along an axis. The derivative goes to the latest of equal ones.

    >>> import wengert as wg
    >>> wg.cummin(wg.asarray([3.0, 1.0, 2.0, 0.0]))
    Tensor([3., 1., 1., 0.], dtype=float32)
    """
    x = as_tensor(x)
    axis = normalize_axis("cummin", axis, x.ndim)
    return take_along(x, _c.cummin_index(x, axis=axis), axis)


def logcumsumexp(x: Any, /, axis: int = -1) -> Tensor:
    """ln of the running sum of eˣ along an axis, without overflow.

    >>> import wengert as wg
    >>> wg.logcumsumexp(wg.asarray([1000.0, 1000.0, 1001.0]))
    Tensor([1000.     , 1000.6932 , 1001.55145], dtype=float32)
    """
    x = floating(x)
    return _c.logcumsumexp(x, axis=normalize_axis("logcumsumexp", axis, x.ndim))
