"""Element-wise functions: exponentials, logarithms, roots, trigonometric and hyperbolic ones."""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor
from wengert.ops import functions as _f

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
    "logaddexp",
    "rsqrt",
    "sigmoid",
    "sin",
    "sinh",
    "softplus",
    "sqrt",
    "tan",
    "tanh",
]


def exp(x: Any, /) -> Tensor:
    """eˣ."""
    return _f.exp(x)


def exp2(x: Any, /) -> Tensor:
    """2ˣ."""
    return _f.exp2(x)


def expm1(x: Any, /) -> Tensor:
    """eˣ − 1, accurate near 0."""
    return _f.expm1(x)


def log(x: Any, /) -> Tensor:
    """ln x."""
    return _f.log(x)


def log2(x: Any, /) -> Tensor:
    """The logarithm to base 2."""
    return _f.log2(x)


def log10(x: Any, /) -> Tensor:
    """The logarithm to base 10."""
    return _f.log10(x)


def log1p(x: Any, /) -> Tensor:
    """ln(1 + x), accurate near 0."""
    return _f.log1p(x)


def sqrt(x: Any, /) -> Tensor:
    """√x."""
    return _f.sqrt(x)


def rsqrt(x: Any, /) -> Tensor:
    """1 / √x."""
    from wengert.ops.elementwise import reciprocal

    return reciprocal(_f.sqrt(x))


def cbrt(x: Any, /) -> Tensor:
    """The real cube root."""
    return _f.cbrt(x)


def hypot(x1: Any, x2: Any, /) -> Tensor:
    """√(x1² + x2²), without overflow in between."""
    return _f.hypot(x1, x2)


def logaddexp(x1: Any, x2: Any, /) -> Tensor:
    """ln(e^x1 + e^x2), without overflow in between."""
    return _f.logaddexp(x1, x2)


def sigmoid(x: Any, /) -> Tensor:
    """1 / (1 + e⁻ˣ)."""
    return _f.sigmoid(x)


def softplus(x: Any, /) -> Tensor:
    """ln(1 + eˣ)."""
    return _f.softplus(x)


def sin(x: Any, /) -> Tensor:
    """The sine."""
    return _f.sin(x)


def cos(x: Any, /) -> Tensor:
    """The cosine."""
    return _f.cos(x)


def tan(x: Any, /) -> Tensor:
    """The tangent."""
    return _f.tan(x)


def asin(x: Any, /) -> Tensor:
    """The inverse sine, in [−π/2, π/2]."""
    return _f.asin(x)


def acos(x: Any, /) -> Tensor:
    """The inverse cosine, in [0, π]."""
    return _f.acos(x)


def atan(x: Any, /) -> Tensor:
    """The inverse tangent, in [−π/2, π/2]."""
    return _f.atan(x)


def atan2(x1: Any, x2: Any, /) -> Tensor:
    """The angle of the point (x2, x1), in [−π, π]."""
    return _f.atan2(x1, x2)


def sinh(x: Any, /) -> Tensor:
    """The hyperbolic sine."""
    return _f.sinh(x)


def cosh(x: Any, /) -> Tensor:
    """The hyperbolic cosine."""
    return _f.cosh(x)


def tanh(x: Any, /) -> Tensor:
    """The hyperbolic tangent."""
    return _f.tanh(x)


def asinh(x: Any, /) -> Tensor:
    """The inverse hyperbolic sine."""
    return _f.asinh(x)


def acosh(x: Any, /) -> Tensor:
    """The inverse hyperbolic cosine."""
    return _f.acosh(x)


def atanh(x: Any, /) -> Tensor:
    """The inverse hyperbolic tangent."""
    return _f.atanh(x)
