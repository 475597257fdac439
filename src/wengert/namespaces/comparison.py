"""Element-wise comparison, logic, tests and bits. Results are not differentiable."""

from __future__ import annotations

from typing import Any

from wengert.core import dtypes
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor
from wengert.ops import elementwise as _e
from wengert.ops import reduce as _r
from wengert.ops.selection import promoted
from wengert.ops.structure import stop_gradient

__all__ = [
    "allclose",
    "array_equal",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "signbit",
]

# -- comparison --------------------------------------------------------------------------------


def equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 = x2 (NaN equals nothing).

    >>> import wengert as wg
    >>> wg.equal(wg.asarray([1, 2]), 2)
    Tensor([False,  True], dtype=bool)
    """
    return _e.equal(x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≠ x2.

    >>> import wengert as wg
    >>> wg.not_equal(wg.asarray([1, 2]), 2)
    Tensor([ True, False], dtype=bool)
    """
    return _e.not_equal(x1, x2)


def less(x1: Any, x2: Any, /) -> Tensor:
    """x1 < x2.

    >>> import wengert as wg
    >>> wg.less(wg.asarray([1, 2]), 2)
    Tensor([ True, False], dtype=bool)
    """
    return _e.less(x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≤ x2.

    >>> import wengert as wg
    >>> wg.less_equal(wg.asarray([1, 2]), 2)
    Tensor([ True,  True], dtype=bool)
    """
    return _e.less_equal(x1, x2)


def greater(x1: Any, x2: Any, /) -> Tensor:
    """x1 > x2.

    >>> import wengert as wg
    >>> wg.greater(wg.asarray([1, 3]), 2)
    Tensor([False,  True], dtype=bool)
    """
    return _e.greater(x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≥ x2.

    >>> import wengert as wg
    >>> wg.greater_equal(wg.asarray([1, 2]), 2)
    Tensor([False,  True], dtype=bool)
    """
    return _e.greater_equal(x1, x2)


def isclose(
    x1: Any, x2: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|x1 − x2| ≤ atol + rtol·|x2|; infinities are close to themselves.

    >>> import wengert as wg
    >>> wg.isclose(wg.asarray([1.0, 1.1]), 1.000001)
    Tensor([ True, False], dtype=bool)
    """
    x1, x2 = promoted(x1, x2)
    close = _e.equal(x1, x2)
    if not dtypes.is_float(x1.dtype):
        if x1.dtype == dtypes.bool:
            return close
        x1, x2 = cast_to(x1, dtypes.float64), cast_to(x2, dtypes.float64)
    x1, x2 = stop_gradient(x1), stop_gradient(x2)
    limit = _e.add(_e.mul(_e.abs(x2), rtol), atol)
    near = _e.less_equal(_e.abs(_e.sub(x1, x2)), limit)
    close = _e.logical_or(close, _e.logical_and(near, _e.isfinite(x2)))
    if equal_nan:
        close = _e.logical_or(close, _e.logical_and(_e.isnan(x1), _e.isnan(x2)))
    return close


def allclose(
    x1: Any, x2: Any, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all entries are close; see `isclose`.

    >>> import wengert as wg
    >>> wg.allclose(wg.asarray([1.0, 2.0]), wg.asarray([1.0, 2.0000001]))
    True
    """
    close = isclose(x1, x2, rtol, atol, equal_nan)
    return bool(_r.all(close, axis=tuple(range(close.ndim))))


def array_equal(x1: Any, x2: Any, /, equal_nan: bool = False) -> bool:
    """Whether shapes and all entries are equal.

    >>> import wengert as wg
    >>> wg.array_equal(wg.asarray([1, 2]), wg.asarray([1, 2, 3]))
    False
    """
    x1, x2 = promoted(x1, x2)
    if x1.shape != x2.shape:
        return False
    same = _e.equal(x1, x2)
    if equal_nan:
        same = _e.logical_or(same, _e.logical_and(_e.isnan(x1), _e.isnan(x2)))
    return bool(_r.all(same, axis=tuple(range(same.ndim))))


# -- tests and logic ---------------------------------------------------------------------------


def isnan(x: Any, /) -> Tensor:
    """Where x is NaN.

    >>> import wengert as wg
    >>> wg.isnan(wg.asarray([1.0, wg.nan]))
    Tensor([False,  True], dtype=bool)
    """
    return _e.isnan(x)


def isinf(x: Any, /) -> Tensor:
    """Where x is ∞ or −∞.

    >>> import wengert as wg
    >>> wg.isinf(wg.asarray([1.0, -wg.inf]))
    Tensor([False,  True], dtype=bool)
    """
    return _e.isinf(x)


def isfinite(x: Any, /) -> Tensor:
    """Where x is neither infinite nor NaN.

    >>> import wengert as wg
    >>> wg.isfinite(wg.asarray([1.0, wg.inf, wg.nan]))
    Tensor([ True, False, False], dtype=bool)
    """
    return _e.isfinite(x)


def signbit(x: Any, /) -> Tensor:
    """Where the sign bit is set (also for −0).

    >>> import wengert as wg
    >>> wg.signbit(wg.asarray([1.0, -2.0, -0.0]))
    Tensor([False,  True,  True], dtype=bool)
    """
    return _e.signbit(x)


def logical_and(x1: Any, x2: Any, /) -> Tensor:
    """Both; numbers other than 0 are true.

    >>> import wengert as wg
    >>> wg.logical_and(wg.asarray([True, False]), True)
    Tensor([ True, False], dtype=bool)
    """
    return _e.logical_and(x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Tensor:
    """At least one; numbers other than 0 are true.

    >>> import wengert as wg
    >>> wg.logical_or(wg.asarray([True, False]), False)
    Tensor([ True, False], dtype=bool)
    """
    return _e.logical_or(x1, x2)


def logical_xor(x1: Any, x2: Any, /) -> Tensor:
    """Exactly one; numbers other than 0 are true.

    >>> import wengert as wg
    >>> wg.logical_xor(wg.asarray([True, False]), True)
    Tensor([False,  True], dtype=bool)
    """
    return _e.logical_xor(x1, x2)


def logical_not(x: Any, /) -> Tensor:
    """Not; numbers other than 0 are true.

    >>> import wengert as wg
    >>> wg.logical_not(wg.asarray([True, False]))
    Tensor([False,  True], dtype=bool)
    """
    return _e.logical_not(x)


# -- bits --------------------------------------------------------------------------------------


def bitwise_and(x1: Any, x2: Any, /) -> Tensor:
    """The bits that are set in both.

    >>> import wengert as wg
    >>> wg.bitwise_and(wg.asarray([6, 5]), 3)
    Tensor([2, 1], dtype=int64)
    """
    return _e.bitwise_and(x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Tensor:
    """The bits that are set in at least one.

    >>> import wengert as wg
    >>> wg.bitwise_or(wg.asarray([6, 5]), 3)
    Tensor([7, 7], dtype=int64)
    """
    return _e.bitwise_or(x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Tensor:
    """The bits that differ.

    >>> import wengert as wg
    >>> wg.bitwise_xor(wg.asarray([6, 5]), 3)
    Tensor([5, 6], dtype=int64)
    """
    return _e.bitwise_xor(x1, x2)


def bitwise_invert(x: Any, /) -> Tensor:
    """All bits flipped; for bools the logical not.

    >>> import wengert as wg
    >>> wg.bitwise_invert(wg.asarray([0, 5]))
    Tensor([-1, -6], dtype=int64)
    """
    return _e.bitwise_invert(x)


def bitwise_left_shift(x1: Any, x2: Any, /) -> Tensor:
    """x1 · 2^x2, by shifting bits.

    >>> import wengert as wg
    >>> wg.bitwise_left_shift(wg.asarray([1, 3]), 2)
    Tensor([ 4, 12], dtype=int64)
    """
    return _e.left_shift(x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Tensor:
    """⌊x1 / 2^x2⌋, by shifting bits.

    >>> import wengert as wg
    >>> wg.bitwise_right_shift(wg.asarray([8, -3]), 1)
    Tensor([ 4, -2], dtype=int64)
    """
    return _e.right_shift(x1, x2)
