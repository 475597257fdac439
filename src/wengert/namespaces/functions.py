"""Element-wise functions: exponentials, logarithms, roots, trigonometric and hyperbolic ones.

Integers are converted to the default float.
"""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor
from wengert.ops import functions as _f
from wengert.ops.elementwise import reciprocal

__all__ = [
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "cos",
    "cosh",
    "exp",
    "exp2",
    "expm1",
    "hypot",
    "log",
    "log1p",
    "log2",
    "log10",
    "rsqrt",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]

# -- exponentials, logarithms, roots -----------------------------------------------------------


def exp(x: Any, /) -> Tensor:
    """eˣ.

    >>> import wengert as wg
    >>> round(float(wg.exp(1.0)), 4)
    2.7183
    """
    return _f.exp(x)


def exp2(x: Any, /) -> Tensor:
    """2ˣ.

    >>> import wengert as wg
    >>> wg.exp2(wg.asarray([3.0, -1.0]))
    Tensor([8. , 0.5], dtype=float32)
    """
    return _f.exp2(x)


def expm1(x: Any, /) -> Tensor:
    """eˣ − 1, accurate near 0.

    >>> import wengert as wg
    >>> round(float(wg.expm1(1e-7)), 12)
    1e-07
    """
    return _f.expm1(x)


def log(x: Any, /) -> Tensor:
    """The natural logarithm: −∞ at 0, NaN below.

    >>> import wengert as wg
    >>> round(float(wg.log(2.0)), 4)
    0.6931
    """
    return _f.log(x)


def log2(x: Any, /) -> Tensor:
    """The logarithm to base 2.

    >>> import wengert as wg
    >>> wg.log2(wg.asarray([8.0, 0.5]))
    Tensor([ 3., -1.], dtype=float32)
    """
    return _f.log2(x)


def log10(x: Any, /) -> Tensor:
    """The logarithm to base 10.

    >>> import wengert as wg
    >>> round(float(wg.log10(1000.0)), 4)
    3.0
    """
    return _f.log10(x)


def log1p(x: Any, /) -> Tensor:
    """ln(1 + x), accurate near 0.

    >>> import wengert as wg
    >>> round(float(wg.log1p(1e-7)), 12)
    1e-07
    """
    return _f.log1p(x)


def sqrt(x: Any, /) -> Tensor:
    """√x: NaN for negative x; its derivative at 0 is ∞.

    >>> import wengert as wg
    >>> round(float(wg.sqrt(2.0)), 4)
    1.4142
    """
    return _f.sqrt(x)


def rsqrt(x: Any, /) -> Tensor:
    """1 / √x.

    >>> import wengert as wg
    >>> wg.rsqrt(wg.asarray([4.0, 0.25]))
    Tensor([0.5, 2. ], dtype=float32)
    """
    return reciprocal(_f.sqrt(x))


def cbrt(x: Any, /) -> Tensor:
    """The real cube root.

    >>> import wengert as wg
    >>> round(float(wg.cbrt(-27.0)), 4)
    -3.0
    """
    return _f.cbrt(x)


def hypot(x1: Any, x2: Any, /) -> Tensor:
    """√(x1² + x2²), without overflow in between; its derivative at (0, 0) is NaN.

    >>> import wengert as wg
    >>> wg.hypot(wg.asarray([3.0, 5.0]), wg.asarray([4.0, 12.0]))
    Tensor([ 5., 13.], dtype=float32)
    """
    return _f.hypot(x1, x2)


# -- trigonometric -----------------------------------------------------------------------------


def sin(x: Any, /) -> Tensor:
    """The sine.

    >>> import wengert as wg
    >>> round(float(wg.sin(1.0)), 4)
    0.8415
    """
    return _f.sin(x)


def cos(x: Any, /) -> Tensor:
    """The cosine.

    >>> import wengert as wg
    >>> round(float(wg.cos(1.0)), 4)
    0.5403
    """
    return _f.cos(x)


def tan(x: Any, /) -> Tensor:
    """The tangent.

    >>> import wengert as wg
    >>> round(float(wg.tan(1.0)), 4)
    1.5574
    """
    return _f.tan(x)


def asin(x: Any, /) -> Tensor:
    """The inverse sine, in [−π/2, π/2]; NaN outside [−1, 1].

    >>> import wengert as wg
    >>> round(float(wg.asin(1.0)), 4)
    1.5708
    """
    return _f.asin(x)


def acos(x: Any, /) -> Tensor:
    """The inverse cosine, in [0, π]; NaN outside [−1, 1].

    >>> import wengert as wg
    >>> round(float(wg.acos(0.0)), 4)
    1.5708
    """
    return _f.acos(x)


def atan(x: Any, /) -> Tensor:
    """The inverse tangent, in [−π/2, π/2].

    >>> import wengert as wg
    >>> round(float(wg.atan(1.0)), 4)
    0.7854
    """
    return _f.atan(x)


def atan2(x1: Any, x2: Any, /) -> Tensor:
    """The angle of the point (x2, x1), in [−π, π]; its derivative at (0, 0) is NaN.

    >>> import wengert as wg
    >>> round(float(wg.atan2(1.0, -1.0)), 4)
    2.3562
    """
    return _f.atan2(x1, x2)


# -- hyperbolic --------------------------------------------------------------------------------


def sinh(x: Any, /) -> Tensor:
    """The hyperbolic sine, (eˣ − e⁻ˣ)/2.

    >>> import wengert as wg
    >>> round(float(wg.sinh(1.0)), 4)
    1.1752
    """
    return _f.sinh(x)


def cosh(x: Any, /) -> Tensor:
    """The hyperbolic cosine, (eˣ + e⁻ˣ)/2.

    >>> import wengert as wg
    >>> round(float(wg.cosh(1.0)), 4)
    1.5431
    """
    return _f.cosh(x)


def tanh(x: Any, /) -> Tensor:
    """The hyperbolic tangent, sinh x / cosh x.

    >>> import wengert as wg
    >>> round(float(wg.tanh(1.0)), 4)
    0.7616
    """
    return _f.tanh(x)


def asinh(x: Any, /) -> Tensor:
    """The inverse hyperbolic sine.

    >>> import wengert as wg
    >>> round(float(wg.asinh(1.0)), 4)
    0.8814
    """
    return _f.asinh(x)


def acosh(x: Any, /) -> Tensor:
    """The inverse hyperbolic cosine; NaN below 1.

    >>> import wengert as wg
    >>> round(float(wg.acosh(2.0)), 4)
    1.317
    """
    return _f.acosh(x)


def atanh(x: Any, /) -> Tensor:
    """The inverse hyperbolic tangent: ±∞ at ±1, NaN outside.

    >>> import wengert as wg
    >>> round(float(wg.atanh(0.5)), 4)
    0.5493
    """
    return _f.atanh(x)
