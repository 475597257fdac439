"""Element-wise arithmetic, rounding and choices.

Operands broadcast and are promoted to one dtype; Python numbers never widen an array. Where a
function has a kink or a jump, these derivatives are used:

| function | where | derivative |
|---|---|---|
| `abs`, `copysign` | x = 0 | 0 |
| `relu` | x = 0 | 0 |
| `maximum`, `minimum` | x1 = x2 | 1/2 each |
| `max`, `min` (reductions) | k tied entries | 1/k each |
| `median`, `quantile`, `sort` | ties | as if the tied entries stood in their given order |
| `cummax`, `cummin` | ties | 1 for the latest of them |
| `clip` | x at a bound | 1 for x, 0 for the bound |
| `clip` | min > max | 1 for max, which is the result |
| `where` | entries not taken | 0, even where the other branch is NaN |
| `floor`, `ceil`, `round`, `trunc`, `floor_divide`, `sign`, `heaviside` | everywhere | 0 |
| `remainder`, `fmod` | everywhere | 1 for x1, minus the rounded quotient for x2 |
| `pow` | x1 = 0 and x2 ≥ 0, in x2 | 0: 0ʸ is constant there |
| `pow` | x1 = x2 = 0, in x1 | 0: x⁰ is constant |
| `logaddexp`, `logsumexp` | k equal infinities that are the result | 1/k each |
| `logcumsumexp` | −∞ throughout | 0 |
| `sqrt`, `cbrt`, `hypot`, `atan2`, `log`, `asin` … | slope infinite or undefined | ∞ or NaN |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.rules import as_integer
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import elementwise as _e
from wengert.ops import selection as _s
from wengert.ops.numerics import largest

__all__ = [
    "abs",
    "add",
    "ceil",
    "clip",
    "copysign",
    "deg2rad",
    "divide",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "heaviside",
    "lerp",
    "maximum",
    "minimum",
    "multiply",
    "nan_to_num",
    "negative",
    "nextafter",
    "positive",
    "pow",
    "rad2deg",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "sign",
    "square",
    "subtract",
    "trunc",
    "where",
]

# -- arithmetic --------------------------------------------------------------------------------


def add(x1: Any, x2: Any, /) -> Tensor:
    """x1 + x2; for bools the logical or.

    >>> import wengert as wg
    >>> wg.add(wg.asarray([1.0, 2.0]), 0.5)
    Tensor([1.5, 2.5], dtype=float32)
    """
    return _e.add(x1, x2)


def subtract(x1: Any, x2: Any, /) -> Tensor:
    """x1 − x2.

    >>> import wengert as wg
    >>> wg.subtract(wg.asarray([1.0, 2.0]), 0.5)
    Tensor([0.5, 1.5], dtype=float32)
    """
    return _e.sub(x1, x2)


def multiply(x1: Any, x2: Any, /) -> Tensor:
    """x1 · x2; for bools the logical and.

    >>> import wengert as wg
    >>> wg.multiply(wg.asarray([[1.0], [2.0]]), wg.asarray([3.0, 4.0]))
    Tensor([[3., 4.],
        [6., 8.]], dtype=float32)
    """
    return _e.mul(x1, x2)


def divide(x1: Any, x2: Any, /) -> Tensor:
    """x1 / x2; integers are divided in the default float. x / 0 is ±∞ or NaN, as in IEEE 754.

    >>> import wengert as wg
    >>> wg.divide(wg.asarray([1, 3]), 2)
    Tensor([0.5, 1.5], dtype=float32)
    """
    return _e.div(x1, x2)


def negative(x: Any, /) -> Tensor:
    """−x.

    >>> import wengert as wg
    >>> wg.negative(wg.asarray([1, -2]))
    Tensor([-1,  2], dtype=int64)
    """
    return _e.neg(x)


def positive(x: Any, /) -> Tensor:
    """+x: the same value behind a new handle.

    >>> import wengert as wg
    >>> wg.positive(wg.asarray([1, -2]))
    Tensor([ 1, -2], dtype=int64)
    """
    return _e.positive(x)


def abs(x: Any, /) -> Tensor:
    """|x|; its derivative at 0 is 0.

    >>> import wengert as wg
    >>> wg.abs(wg.asarray([1.5, -2.0]))
    Tensor([1.5, 2. ], dtype=float32)
    """
    return _e.abs(x)


def sign(x: Any, /) -> Tensor:
    """−1, 0 or 1 (NaN for NaN).

    >>> import wengert as wg
    >>> wg.sign(wg.asarray([-2.0, 0.0, 3.0]))
    Tensor([-1.,  0.,  1.], dtype=float32)
    """
    return _e.sign(x)


def square(x: Any, /) -> Tensor:
    """x².

    >>> import wengert as wg
    >>> wg.square(wg.asarray([3.0, -2.0]))
    Tensor([9., 4.], dtype=float32)
    """
    return _e.square(x)


def reciprocal(x: Any, /) -> Tensor:
    """1 / x; integers are converted to the default float.

    >>> import wengert as wg
    >>> wg.reciprocal(wg.asarray([2.0, -4.0]))
    Tensor([ 0.5 , -0.25], dtype=float32)
    """
    return _e.reciprocal(x)


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """⌊x1 / x2⌋, as Python's //. Its derivative is 0.

    >>> import wengert as wg
    >>> wg.floor_divide(wg.asarray([7, -7]), 2)
    Tensor([ 3, -4], dtype=int64)
    """
    return _e.floor_divide(x1, x2)


def remainder(x1: Any, x2: Any, /) -> Tensor:
    """x1 − ⌊x1 / x2⌋·x2, with the sign of x2, as Python's %.

    >>> import wengert as wg
    >>> wg.remainder(wg.asarray([7, -7]), 3)
    Tensor([1, 2], dtype=int64)
    """
    return _e.remainder(x1, x2)


def fmod(x1: Any, x2: Any, /) -> Tensor:
    """x1 − trunc(x1 / x2)·x2, with the sign of x1, as C's fmod.

    >>> import wengert as wg
    >>> wg.fmod(wg.asarray([7, -7]), 3)
    Tensor([ 1, -1], dtype=int64)
    """
    return _e.fmod(x1, x2)


def pow(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power x2. Powers of a negative base are NaN unless the exponent is whole.

    Raises `ArgumentError` where integers are raised to a negative power.

    >>> import wengert as wg
    >>> wg.pow(wg.asarray([1.0, -2.0]), 3)
    Tensor([ 1., -8.], dtype=float32)
    """
    if isinstance(x1, Tensor) and (x2.__class__ is int or x2.__class__ is float):
        kind = dtypes.kind(x1._data.dtype)
        if kind == "float" or (x2.__class__ is int and kind != "bool"):
            return _e.square(x1) if x2 == 2 else _e.power(x1, exponent=x2)
    return _e.pow(x1, x2)


def lerp(start: Any, end: Any, weight: Any, /) -> Tensor:
    """start + weight·(end − start): linear interpolation.

    >>> import wengert as wg
    >>> wg.lerp(wg.asarray([0.0, 10.0]), wg.asarray([1.0, 20.0]), 0.25)
    Tensor([ 0.25, 12.5 ], dtype=float32)
    """
    return _e.add(start, _e.mul(weight, _e.sub(end, start)))


def deg2rad(x: Any, /) -> Tensor:
    """Degrees to radians.

    >>> import wengert as wg
    >>> wg.deg2rad(wg.asarray([0.0, 180.0]))
    Tensor([0.       , 3.1415927], dtype=float32)
    """
    return _e.mul(x, np.pi / 180.0)


def rad2deg(x: Any, /) -> Tensor:
    """Radians to degrees.

    >>> import wengert as wg
    >>> wg.rad2deg(wg.asarray([0.0, 3.1415927]))
    Tensor([  0., 180.], dtype=float32)
    """
    return _e.mul(x, 180.0 / np.pi)


# -- rounding ----------------------------------------------------------------------------------


def floor(x: Any, /) -> Tensor:
    """The largest integer ≤ x, in the dtype of x. Its derivative is 0.

    >>> import wengert as wg
    >>> wg.floor(wg.asarray([1.7, -1.2]))
    Tensor([ 1., -2.], dtype=float32)
    """
    return _e.floor(x)


def ceil(x: Any, /) -> Tensor:
    """The smallest integer ≥ x, in the dtype of x. Its derivative is 0.

    >>> import wengert as wg
    >>> wg.ceil(wg.asarray([1.2, -1.7]))
    Tensor([ 2., -1.], dtype=float32)
    """
    return _e.ceil(x)


def trunc(x: Any, /) -> Tensor:
    """x without its fraction, in the dtype of x. Its derivative is 0.

    >>> import wengert as wg
    >>> wg.trunc(wg.asarray([1.7, -1.7]))
    Tensor([ 1., -1.], dtype=float32)
    """
    return _e.trunc(x)


def round(x: Any, /, decimals: int = 0) -> Tensor:
    """x rounded to a number of decimals, halves to the even neighbour. Its derivative is 0.

    >>> import wengert as wg
    >>> wg.round(wg.asarray([0.5, 1.5, 2.6]))
    Tensor([0., 2., 3.], dtype=float32)
    """
    decimals = as_integer("round", "the number of decimals", decimals)
    return _e.round(x, decimals=decimals) if decimals else _e.round(x)


def frac(x: Any, /) -> Tensor:
    """x − trunc(x): the fraction, with the sign of x.

    >>> import wengert as wg
    >>> wg.frac(wg.asarray([1.25, -1.25]))
    Tensor([ 0.25, -0.25], dtype=float32)
    """
    x = as_tensor(x)
    return _e.sub(x, _e.trunc(x))


def nextafter(x1: Any, x2: Any, /) -> Tensor:
    """The next representable number after x1 in the direction of x2.

    >>> import wengert as wg
    >>> float(wg.nextafter(wg.asarray(1.0), 2.0)) - 1.0
    1.1920928955078125e-07
    """
    return _e.nextafter(x1, x2)


def copysign(x1: Any, x2: Any, /) -> Tensor:
    """|x1| with the sign of x2, also of −0.

    >>> import wengert as wg
    >>> wg.copysign(wg.asarray([1.0, -2.0]), -0.0)
    Tensor([-1., -2.], dtype=float32)
    """
    return _e.copysign(x1, x2)


# -- choices -----------------------------------------------------------------------------------


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """x1 where the condition (a bool array) holds, else x2.

    Its gradient is exactly 0 for entries that are not taken, also where these are infinite or NaN.
    (A NaN in the derivative of what *made* the branch still reaches the inputs as 0·NaN: keep the
    inputs of that branch in its domain, `where(c, f(where(c, x, 1.0)), 0.0)`.)

    >>> import wengert as wg
    >>> x = wg.asarray([-1.0, 4.0])
    >>> wg.where(x > 0, x, 0.0)
    Tensor([0., 4.], dtype=float32)
    """
    return _s.where(condition, x1, x2)


def maximum(x1: Any, x2: Any, /) -> Tensor:
    """The larger of both; NaN if either is NaN. Ties share the derivative, half each.

    >>> import wengert as wg
    >>> wg.maximum(wg.asarray([1.0, 5.0]), 3.0)
    Tensor([3., 5.], dtype=float32)
    """
    return _s.maximum(x1, x2)


def minimum(x1: Any, x2: Any, /) -> Tensor:
    """The smaller of both; NaN if either is NaN. Ties share the derivative, half each.

    >>> import wengert as wg
    >>> wg.minimum(wg.asarray([1.0, 5.0]), 3.0)
    Tensor([1., 3.], dtype=float32)
    """
    return _s.minimum(x1, x2)


def fmax(x1: Any, x2: Any, /) -> Tensor:
    """The larger of both; where one is NaN, the other.

    >>> import wengert as wg
    >>> wg.fmax(wg.asarray([1.0, wg.nan]), 3.0)
    Tensor([3., 3.], dtype=float32)
    """
    x1, x2 = _s.promoted(x1, x2)
    rest = _s.where(_e.isnan(x2), x1, _s.maximum(x1, x2))
    return _s.where(_e.isnan(x1), x2, rest)


def fmin(x1: Any, x2: Any, /) -> Tensor:
    """The smaller of both; where one is NaN, the other.

    >>> import wengert as wg
    >>> wg.fmin(wg.asarray([1.0, wg.nan]), 3.0)
    Tensor([1., 3.], dtype=float32)
    """
    x1, x2 = _s.promoted(x1, x2)
    rest = _s.where(_e.isnan(x2), x1, _s.minimum(x1, x2))
    return _s.where(_e.isnan(x1), x2, rest)


def relu(x: Any, /) -> Tensor:
    """max(x, 0); its derivative at 0 is 0.

    >>> import wengert as wg
    >>> wg.relu(wg.asarray([-1.0, 2.0]))
    Tensor([0., 2.], dtype=float32)
    """
    return _s.relu(x)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """x held between two bounds, numbers or arrays; None is no bound.

    The result is min(max(x, min), max), so where min > max it is max. The derivative in x is 1
    inside and at the bounds.

    >>> import wengert as wg
    >>> wg.clip(wg.asarray([-1.0, 0.5, 2.0]), 0.0, 1.0)
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_tensor(x)
    if min is None and max is None:
        return _e.positive(x)
    lowest, highest = _limits(x.dtype)
    return _s.clip(x, lowest if min is None else min, highest if max is None else max)


def _limits(dtype: dtypes.DType) -> tuple[Any, Any]:
    """Bounds that bound nothing."""
    if dtypes.is_float(dtype):
        return -np.inf, np.inf
    if dtype == dtypes.bool:
        return False, True
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def heaviside(x1: Any, x2: Any, /) -> Tensor:
    """0 for x1 < 0, x2 at x1 = 0, 1 for x1 > 0.

    >>> import wengert as wg
    >>> wg.heaviside(wg.asarray([-1.0, 0.0, 2.0]), 0.5)
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    return _s.heaviside(x1, x2)


def nan_to_num(x: Any, /, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """x with NaN, ∞ and −∞ replaced (None: by the largest and smallest finite numbers).

    >>> import wengert as wg
    >>> wg.nan_to_num(wg.asarray([wg.nan, wg.inf, 1.0]), posinf=9.0)
    Tensor([0., 9., 1.], dtype=float32)
    """
    x = as_tensor(x)
    if not dtypes.is_float(x.dtype):
        return _e.positive(x)
    top = largest(x.dtype)
    x = _s.where(_e.isnan(x), nan, x)
    x = _s.where(_e.equal(x, np.inf), top if posinf is None else posinf, x)
    return _s.where(_e.equal(x, -np.inf), -top if neginf is None else neginf, x)
