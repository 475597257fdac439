"""log, log1p, log2, log10.

All write x = 2ᵉ·(1 + f) with √½ ≤ 1 + f < √2 and take log(1 + f) as f plus a small tail: in float32
a polynomial in f, in float64 one in s² for s = f/(2 + f), with 1 + f = (1 + s)/(1 − s). Minimax
polynomials, fitted for this file; the second form is that of fdlibm (Sun Microsystems, 1993).
"""

from __future__ import annotations

from typing import NamedTuple

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Operand, Value
from wengert.compiler.llvm.math.exact import ordered_sum, two_product, two_sum
from wengert.compiler.llvm.types import F32, F64


class Table(NamedTuple):
    """The constants of one format; products with `_hi` and an exponent are exact."""

    root_half: int  # the bits of √½
    log2_hi: float
    log2_lo: float
    log10_2_hi: float
    log10_2_lo: float
    poly: tuple[float, ...]


TABLES = {
    F32: Table(
        0x3F3504F3,
        0.693359375,
        -2.12194440054690581e-4,
        0.301025390625,
        4.6050389811952137e-06,
        (
            *(-7.642544e-02, 1.2773854e-01, -1.3163008e-01, 1.4200316e-01),
            *(-1.6622941e-01, 2.0001273e-01, -2.500083e-01, 3.333333e-01),
        ),
    ),
    F64: Table(
        0x3FE6A09E667F3BCD,
        6.93147180369123816490e-01,
        1.90821492927058770002e-10,
        3.01029995663611771306e-01,
        3.69423907715893078616e-13,
        (
            *(0.14802150989652577, 0.1531346687524923, 0.18183585657644094),
            *(0.22222198192848314, 0.28571428745781996, 0.3999999999940092),
            0.6666666666666736,
        ),
    ),
}


class Reduced(NamedTuple):
    """x = 2ᵉ·(1 + f), with e a float; `scale` is 2⁻ᵉ but for subnormals."""

    e: Value
    f: Value
    bits: Value


def reduce(k: Arithmetic, x: Value, subnormal: bool = True) -> Reduced:
    """Exponent and fraction of a positive number; `subnormal` if it may be one."""
    table, form = TABLES[x.element], FORMATS[x.element]
    extra: Operand = 0.0
    if subnormal:
        small = k.lt(x, form.least_normal)
        raised = form.digits + 2
        x = k.select(small, x * 2.0**raised, x)
        extra = k.select(small, k.constant(x, -float(raised)), 0.0)
    bits = k.bits(x)
    e = k.ashr(bits - table.root_half, form.digits)
    up = e << form.digits
    f = k.from_bits(bits - up) - 1.0
    exponent = k.f.cast("sitofp", e, x.type)
    return Reduced(exponent + extra if subnormal else exponent, f, up)


def tail(k: Arithmetic, f: Value) -> Value:
    """log(1 + f) − f for √½ ≤ 1 + f ≤ √2."""
    table = TABLES[f.element]
    if f.element == F32:
        square = f * f
        return k.fma(square, -0.5, k.poly(f, table.poly) * f * square)
    half = 0.5 * f * f
    s = f / (f + 2.0)
    z = s * s
    return k.fma(s, k.fma(z, k.poly(z, table.poly), half), -half)


def finished(k: Arithmetic, x: Value, found: Value) -> Value:
    """The logarithm of x where it is positive and finite, and what it is elsewhere."""
    inf = float("inf")
    found = k.select(k.eq(x, inf), k.constant(x, inf), found)
    other = k.select(k.eq(x, 0.0), k.constant(x, -inf), float("nan"))
    return k.select(k.gt(x, 0.0), found, other)


def log(k: Arithmetic, x: Value) -> Value:
    """The natural logarithm."""
    r = reduce(k, x)
    return finished(k, x, natural(k, r.e, r.f))


def natural(k: Arithmetic, e: Value, f: Value) -> Value:
    """e·log 2 + log(1 + f)."""
    table = TABLES[f.element]
    inner = k.fma(e, table.log2_lo, tail(k, f))
    return k.fma(e, table.log2_hi, f + inner)


def log1p(k: Arithmetic, x: Value) -> Value:
    """log(1 + x), accurate where x is small."""
    found = log_of_sum(k, *two_sum(x, k.constant(x, 1.0)))
    found = k.select(k.eq(x, float("inf")), x, found)
    other = k.select(k.eq(x, -1.0), k.constant(x, -float("inf")), float("nan"))
    return k.copysign(k.select(k.gt(x, -1.0), found, other), x)


def log_of_sum(k: Arithmetic, hi: Value, lo: Value) -> Value:
    """log(hi + lo) for a positive, finite pair that is not subnormal."""
    r = reduce(k, hi, subnormal=False)
    form = FORMATS[hi.element]
    rest = k.constant(r.bits, form.bias << form.digits) - r.bits
    scale = k.from_bits(k.f.smax(rest, 0))  # 2⁻ᵉ, or 0 where lo is too small to count
    return natural(k, r.e, k.fma(lo, scale, r.f))


def _in_base(k: Arithmetic, x: Value, hi: float, lo: float, inverse: Inverse) -> Value:
    """e·(hi + lo) + log(1 + f)·inverse, the second product to twice the digits."""
    r = reduce(k, x)
    log_f = ordered_sum(r.f, tail(k, r.f))
    main = two_product(k, log_f.hi, inverse.hi)
    low = k.fma(log_f.lo, inverse.hi, k.fma(log_f.hi, inverse.lo, main.lo))
    if lo:
        low = k.fma(r.e, lo, low)
    total = two_sum(r.e * hi if hi != 1.0 else r.e, main.hi)
    return finished(k, x, total.hi + (total.lo + low))


class Inverse(NamedTuple):
    """1 / log b in two numbers of a format."""

    hi: float
    lo: float


_BASE_2 = {
    F32: Inverse(1.44269502162933349609375, 1.925963033500862e-08),
    F64: Inverse(1.4426950408889634, 2.0355273740931033e-17),
}
_BASE_10 = {
    F32: Inverse(0.4342944920063018798828125, -1.010305012e-08),
    F64: Inverse(0.4342944819032518, 1.098319650216765e-17),
}


def log2(k: Arithmetic, x: Value) -> Value:
    """The logarithm to base 2; exact for powers of 2."""
    return _in_base(k, x, 1.0, 0.0, _BASE_2[x.element])


def log10(k: Arithmetic, x: Value) -> Value:
    """The logarithm to base 10."""
    table = TABLES[x.element]
    return _in_base(k, x, table.log10_2_hi, table.log10_2_lo, _BASE_10[x.element])
