"""log Γ and its derivatives, by the formulas and coefficients of the reference (`ops.gamma`), in
float64. As there, near a zero of the function the error is some units of the terms that cancel."""

from __future__ import annotations

import math

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.logarithm import log
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.math.trigonometric import sin, tan
from wengert.compiler.llvm.types import F32
from wengert.ops.gamma import (
    BERNOULLI,
    DIGAMMA_LARGE,
    DIGAMMA_MIDDLE,
    LGAMMA_FOUR,
    LGAMMA_ONE,
    LGAMMA_TWO,
    PSI_ROOT,
    STIRLING,
    Ratio,
    cotangent_polynomial,
)

INF, NAN = math.inf, math.nan


def _ratio(k: Arithmetic, x: Value, r: Ratio) -> Value:
    return k.poly(x, r.top) / k.poly(x, r.bottom)


def _fraction(k: Arithmetic, x: Value) -> Value:
    """x − the nearest integer, in [−½, ½]."""
    return x - k.rint(x)


@once
def lgamma(k: Arithmetic, x: Value) -> Value:
    """log |Γ(x)|: ∞ at 0, the negative integers and ±∞; float32 is computed in float64."""
    if x.element == F32:
        return k.single(lgamma(k, k.double(x)))
    negative = k.le(x, 0.0)
    positive = _lgamma_positive(k, k.select(negative, 1.0 - x, x))
    # Γ(x)Γ(1 − x) = π / sin πx
    sine = k.abs(sin(k, _fraction(k, x) * math.pi))
    reflected = math.log(math.pi) - log(k, sine) - positive
    found = k.select(negative, reflected, positive)
    return k.select(k.isinf(x), INF, found) + 0.0  # no −0 at 1 and 2


def _lgamma_positive(k: Arithmetic, x: Value) -> Value:
    """log Γ(x) for x > 0. Each formula is given an argument that it can take."""
    logarithm = log(k, x)
    tiny, small = k.lt(x, 0.5), k.lt(x, 0.6796875)
    # about 1: log Γ(1 + z), below ½ as log Γ(1 + x) − log x
    z = k.select(tiny, x, x - 1.0)
    near_one = z * (z * _ratio(k, z, LGAMMA_ONE) - 0.5772156649015329)
    near_one = k.select(tiny, near_one - logarithm, near_one)
    # about 2: log Γ(2 + z), between ½ and 0.68 as log Γ(1 + x) − log x
    z = k.select(small, x - 1.0, x - 2.0)
    near_two = z * (z * _ratio(k, z, LGAMMA_TWO) + 0.42278433509846714)
    near_two = k.select(small, near_two - logarithm, near_two)
    z = x - 4.0
    middle = z * _ratio(k, z, LGAMMA_FOUR) + 1.791759469228055
    y = 1.0 / x
    tail = y * k.poly(y * y, STIRLING)
    bulk = k.select(k.lt(x, 1e300), (x - 0.5) * logarithm - x, x * (logarithm - 1.0))
    large = bulk + 0.5 * math.log(2.0 * math.pi) + tail
    found = k.select(k.lt(x, 12.0), middle, large)
    found = k.select(k.lt(x, 4.0), near_two, found)
    about_one = k.either(tiny, k.both(k.negated(small), k.lt(x, 1.5)))
    return k.select(about_one, near_one, found)


def polygamma(k: Arithmetic, x: Value, n: int) -> Value:
    """The n-th derivative of ψ = (log Γ)′; float32 is computed in float64."""
    if x.element == F32:
        return k.single(polygamma(k, k.double(x), n))
    return _digamma(k, x) if n == 0 else _higher(k, x, n)


@once
def _digamma(k: Arithmetic, x: Value) -> Value:
    negative = k.lt(x, 0.0)
    positive = _digamma_positive(k, k.select(negative, 1.0 - x, x))
    reflected = positive - math.pi / tan(k, _fraction(k, x) * math.pi)
    return _at_poles(k, k.select(negative, reflected, positive), x, even=True)


def _digamma_positive(k: Arithmetic, x: Value) -> Value:
    small = k.lt(x, 0.5)
    z = k.at_most(k.select(small, x + 1.0, x), 3.0)
    middle = _ratio(k, z, DIGAMMA_MIDDLE)
    middle = middle * (((z - PSI_ROOT[0]) - PSI_ROOT[1]) - PSI_ROOT[2])
    middle = k.select(small, middle - 1.0 / x, middle)
    big = k.at_least(x, 3.0)
    large = (_ratio(k, 1.0 / (big * big), DIGAMMA_LARGE) - 0.5 / big) + log(k, big)
    return k.select(k.gt(x, 3.0), large, middle)


def _at_poles(k: Arithmetic, found: Value, x: Value, even: bool) -> Value:
    """The values at 0 and at the negative integers, as the reference has them."""
    at_zero = k.copysign(INF, -x) if even else k.constant(x, INF)
    found = k.select(k.eq(x, 0.0), at_zero, found)
    pole = k.both(k.lt(x, 0.0), k.eq(x, k.floor(x)))
    return k.select(pole, NAN if even else INF, found)


def _higher(k: Arithmetic, x: Value, n: int) -> Value:
    sign, scale = (-1.0) ** (n + 1), float(math.factorial(n))
    negative = k.lt(x, 0.0)
    # ζ(n + 1, x) by Euler–Maclaurin summation, NIST DLMF 25.11.28
    positive = _hurwitz(k, n + 1, k.select(negative, 1.0 - x, x)) * (sign * scale)
    cotangent = 1.0 / tan(k, _fraction(k, x) * math.pi)
    turned = k.poly(cotangent, cotangent_polynomial(n)) * math.pi ** (n + 1)
    reflected = positive * -sign - turned
    return _at_poles(k, k.select(negative, reflected, positive), x, even=n % 2 == 0)


def _hurwitz(k: Arithmetic, s: int, x: Value) -> Value:
    """ζ(s, x) = Σ (x + i)⁻ˢ for x > 0."""

    def inverse_power(x: Value) -> Value:
        return 1.0 / k.integer_power(x, s)

    total = inverse_power(x)
    for _ in range(s + 8):
        x = x + 1.0
        total = total + inverse_power(x)
    x = x + 1.0
    last = inverse_power(x)
    total = total + k.fma(last, x * (1.0 / (s - 1)), last * 0.5)
    step = 1.0 / (x * x)
    term = last * x
    factor = 1.0
    for j, b in enumerate(BERNOULLI, start=1):
        factor *= s / 2 if j == 1 else (s + 2 * j - 3) * (s + 2 * j - 2) / ((2 * j - 1) * 2 * j)
        term = term * step
        total = k.fma(term, b * factor, total)
    return total
