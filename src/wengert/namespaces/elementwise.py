"""Element-wise functions: arithmetic, rounding, comparison, logic, bits, and choices.

Operands broadcast and are promoted to one dtype; Python numbers never widen an array. Where a
function has a kink or a jump, these derivatives are used:

| function | where | derivative |
|---|---|---|
| `abs`, `sign`, `copysign` | x = 0 | 0 |
| `relu` | x = 0 | 0 |
| `maximum`, `minimum` | x1 = x2 | 1/2 each |
| `max`, `min` (reductions) | ties | 1/k each, for k tied entries |
| `clip` | at a bound | 1 for `x`, 0 for the bound |
| `clip` | min > max | all for `max`, which is the result |
| `floor`, `ceil`, `round`, `trunc`, `floor_divide`, `sign`, `heaviside` | everywhere | 0 |
| `remainder`, `fmod` | everywhere | 1 for x1, minus the (rounded) quotient for x2 |
| `where` | entries not taken | 0, whatever the branch not taken holds |
| `pow` | x1 = 0 or x2 = 0 | that of the limit: 0⁰ is constant in both operands |
| `cummax`, `cummin` | ties | all for the latest of them |
| `sqrt`, `hypot`, `log`, `asin` … | where the slope is infinite or undefined | inf or NaN |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import elementwise as _e
from wengert.ops import selection as _s

__all__ = [
    "abs",
    "add",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "copysign",
    "divide",
    "equal",
    "floor",
    "floor_divide",
    "fmod",
    "greater",
    "greater_equal",
    "heaviside",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "sign",
    "signbit",
    "square",
    "subtract",
    "trunc",
    "where",
]

# -- arithmetic --------------------------------------------------------------------------------


def add(x1: Any, x2: Any, /) -> Tensor:
    """x1 + x2; for bools the logical or."""
    return _e.add(x1, x2)


def subtract(x1: Any, x2: Any, /) -> Tensor:
    """x1 − x2."""
    return _e.sub(x1, x2)


def multiply(x1: Any, x2: Any, /) -> Tensor:
    """x1 · x2; for bools the logical and."""
    return _e.mul(x1, x2)


def divide(x1: Any, x2: Any, /) -> Tensor:
    """x1 / x2; integers are divided in the default float."""
    return _e.div(x1, x2)


def negative(x: Any, /) -> Tensor:
    """−x."""
    return _e.neg(x)


def positive(x: Any, /) -> Tensor:
    """+x: the same value behind a new handle."""
    return _e.positive(x)


def abs(x: Any, /) -> Tensor:
    """|x|."""
    return _e.abs(x)


def sign(x: Any, /) -> Tensor:
    """−1, 0 or 1 (NaN for NaN)."""
    return _e.sign(x)


def square(x: Any, /) -> Tensor:
    """x²."""
    return _e.square(x)


def reciprocal(x: Any, /) -> Tensor:
    """1 / x."""
    return _e.reciprocal(x)


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """⌊x1 / x2⌋."""
    return _e.floor_divide(x1, x2)


def remainder(x1: Any, x2: Any, /) -> Tensor:
    """x1 − ⌊x1 / x2⌋·x2, with the sign of x2, as Python's %."""
    return _e.remainder(x1, x2)


def fmod(x1: Any, x2: Any, /) -> Tensor:
    """x1 − trunc(x1 / x2)·x2, with the sign of x1, as C's fmod."""
    return _e.fmod(x1, x2)


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power x2."""
    if isinstance(x1, Tensor) and (x2.__class__ is int or x2.__class__ is float):
        kind = dtypes.kind(x1._data.dtype)
        if kind == "float" or (x2.__class__ is int and kind != "bool"):
            return _e.square(x1) if x2 == 2 else _e.power(x1, exponent=x2)
    return _e.pow(x1, x2)


# -- rounding ----------------------------------------------------------------------------------


def floor(x: Any, /) -> Tensor:
    """The largest integer ≤ x."""
    return _e.floor(x)


def ceil(x: Any, /) -> Tensor:
    """The smallest integer ≥ x."""
    return _e.ceil(x)


def trunc(x: Any, /) -> Tensor:
    """x without its fraction."""
    return _e.trunc(x)


def round(x: Any, /, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one."""
    return _e.round(x, decimals=decimals)


def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """The next representable number after x1 in the direction of x2."""
    return _e.nextafter(x1, x2)


def copysign(x1: Any, x2: Any, /) -> Tensor:
    """|x1| with the sign of x2."""
    return _e.copysign(x1, x2)


def signbit(x: Any, /) -> Tensor:
    """Whether the sign bit is set (also for −0 and −NaN)."""
    return _e.signbit(x)


# -- comparison and logic ----------------------------------------------------------------------


def equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 = x2."""
    return _e.equal(x1, x2)


def not_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≠ x2."""
    return _e.not_equal(x1, x2)


def less(x1: Any, x2: Any, /) -> Tensor:
    """x1 < x2."""
    return _e.less(x1, x2)


def less_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≤ x2."""
    return _e.less_equal(x1, x2)


def greater(x1: Any, x2: Any, /) -> Tensor:
    """x1 > x2."""
    return _e.greater(x1, x2)


def greater_equal(x1: Any, x2: Any, /) -> Tensor:
    """x1 ≥ x2."""
    return _e.greater_equal(x1, x2)


def logical_and(x1: Any, x2: Any, /) -> Tensor:
    """x1 and x2; numbers other than 0 are true."""
    return _e.logical_and(x1, x2)


def logical_or(x1: Any, x2: Any, /) -> Tensor:
    """x1 or x2; numbers other than 0 are true."""
    return _e.logical_or(x1, x2)


def logical_xor(x1: Any, x2: Any, /) -> Tensor:
    """Either x1 or x2; numbers other than 0 are true."""
    return _e.logical_xor(x1, x2)


def logical_not(x: Any, /) -> Tensor:
    """Not x; numbers other than 0 are true."""
    return _e.logical_not(x)


def isnan(x: Any, /) -> Tensor:
    """Where x is NaN."""
    return _e.isnan(x)


def isinf(x: Any, /) -> Tensor:
    """Where x is ∞ or −∞."""
    return _e.isinf(x)


def isfinite(x: Any, /) -> Tensor:
    """Where x is neither infinite nor NaN."""
    return _e.isfinite(x)


# -- bits --------------------------------------------------------------------------------------


def bitwise_and(x1: Any, x2: Any, /) -> Tensor:
    """The bits that are set in both."""
    return _e.bitwise_and(x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Tensor:
    """The bits that are set in either."""
    return _e.bitwise_or(x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Tensor:
    """The bits that differ."""
    return _e.bitwise_xor(x1, x2)


def bitwise_invert(x: Any, /) -> Tensor:
    """All bits flipped."""
    return _e.bitwise_invert(x)


def bitwise_left_shift(x1: Any, x2: Any, /) -> Tensor:
    """x1 · 2^x2, by shifting bits."""
    return _e.left_shift(x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Tensor:
    """⌊x1 / 2^x2⌋, by shifting bits."""
    return _e.right_shift(x1, x2)


# -- choices -----------------------------------------------------------------------------------


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """x1 where the condition holds, else x2."""
    return _s.where(condition, x1, x2)


def maximum(x1: Any, x2: Any, /) -> Tensor:
    """The larger of both; NaN if either is NaN."""
    return _s.maximum(x1, x2)


def minimum(x1: Any, x2: Any, /) -> Tensor:
    """The smaller of both; NaN if either is NaN."""
    return _s.minimum(x1, x2)


def relu(x: Any, /) -> Tensor:
    """max(x, 0)."""
    return _s.relu(x)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x held between two bounds; None is no bound."""
    x = as_tensor(x)
    if min is None and max is None:
        return _e.positive(x)
    lowest, largest = _limits(x.dtype)
    return _s.clip(x, lowest if min is None else min, largest if max is None else max)


def _limits(dtype: dtypes.DType) -> tuple[Any, Any]:
    if dtypes.is_float(dtype):
        return -np.inf, np.inf
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def heaviside(x1: Any, x2: Any, /) -> Tensor:
    """0 for x1 < 0, x2 at x1 = 0, 1 for x1 > 0."""
    return _s.heaviside(x1, x2)
