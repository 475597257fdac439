"""x to the power of y: 2^(y·log₂|x|), with the special cases of C99."""

from __future__ import annotations

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.exact import Pair, plus, product, quotient, times, two_sum
from wengert.compiler.llvm.math.exponential import TABLES, as_power, nearest, times_power
from wengert.compiler.llvm.math.logarithm import reduce, tail
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64

INF, NAN = float("inf"), float("nan")

_LOG2_E = (1.4426950408889634, 2.0355273740931033e-17)
_LN2 = 0.6931471805599453
# 2ʳ to 32 binary digits, and (log((1+s)/(1−s)) − 2s − ⅔s³) / s⁵ in s²; highest power first
_EXP2_SHORT = (
    *(1.3359949791189117e-05, 0.00015461480806885667, 0.0013341967636040016),
    *(0.009618056636758805, 0.05550400333423336, 0.24022650922105204),
    *(0.6931471838362664, 1.0),
)
_LOG_TAIL = (
    *(0.12013845902098706, 0.11671819294789004, 0.13336466012867385),
    *(0.15384552987209488, 0.18181818927549157, 0.22222222217067591),
    *(0.2857142857144705, 0.39999999999999974),
)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


@once
def pow(k: Arithmetic, x: Value, y: Value) -> Value:
    """xʸ."""
    size = k.abs(x)
    found = _single_power(k, size, y) if x.element == F32 else _double_power(k, size, y)
    half = y * 0.5
    whole = k.eq(k.trunc(y), y)
    odd = k.both(whole, k.ne(k.trunc(half), half))
    found = k.select(k.both(odd, k.signbit(x)), -found, found)
    root_of_negative = k.both(k.both(k.lt(x, 0.0), k.isfinite(x)), k.negated(whole))
    found = k.select(root_of_negative, NAN, found)
    one = k.either(k.eq(y, 0.0), k.either(k.eq(x, 1.0), k.both(k.eq(x, -1.0), k.isinf(y))))
    return k.select(one, 1.0, found)


def _single_power(k: Arithmetic, size: Value, y: Value) -> Value:
    """|x|ʸ of float32 in float64, whose range holds every intermediate result."""
    wide = k.double(size)
    r = reduce(k, wide, subnormal=False)
    log2 = k.fma(r.f + tail(k, r.f), _LOG2_E[0], r.e)
    log2 = k.select(k.eq(wide, 0.0), -INF, k.select(k.eq(wide, INF), INF, log2))
    log2 = k.select(k.isnan(wide), NAN, log2)
    exponent = k.at_most(k.at_least(k.double(y) * log2, -200.0), 200.0)
    n, bits = nearest(k, exponent, 1.0, FORMATS[F64].bias)
    return k.single(k.poly(exponent - n, _EXP2_SHORT) * as_power(k, bits))


def _double_power(k: Arithmetic, size: Value, y: Value) -> Value:
    """|x|ʸ of float64; the logarithm has some 68 binary digits."""
    form = FORMATS[F64]
    r = reduce(k, size)
    log_f = _pair_log(k, r.f)
    hi, lo = (k.constant(size, c) for c in _LOG2_E)
    log2 = plus(Pair(r.e, k.constant(size, 0.0)), product(k, log_f, Pair(hi, lo)))
    # Beyond these bounds the result is 0 or infinite, whatever the digits of the exponent.
    bounded = k.at_most(k.at_least(y, -(2.0**80)), 2.0**80)
    exponent = times(k, log2, bounded)
    special = k.select(k.eq(size, 0.0), k.constant(y, -INF), INF) * y
    special = k.select(k.isnan(size), NAN, special)
    usual = k.both(k.gt(size, 0.0), k.isfinite(size))
    main = k.select(usual, exponent.hi, special)
    rest = k.select(usual, exponent.lo, 0.0)
    main = k.at_most(k.at_least(main, -1100.0), 1100.0)
    rest = k.select(k.lt(k.abs(main), 1099.0), rest, 0.0)
    n, bits = nearest(k, main, 1.0, 2 * form.bias)
    first = main - n
    power = k.poly(first, TABLES[F64].exp2)
    power = k.fma(power, rest * _LN2, power)
    return times_power(k, power, bits, main, 1.0)


def _pair_log(k: Arithmetic, f: Value) -> Pair:
    """log(1 + f) as a pair: 2s + ⅔s³ + s⁵p(s²) with s = f/(2 + f), the first two terms exactly."""
    s = quotient(k, Pair(f, k.constant(f, 0.0)), two_sum(k.constant(f, 2.0), f))
    square = product(k, s, s)
    hi, lo = (k.constant(f, c) for c in _TWO_THIRDS)
    poly = k.poly(square.hi, _LOG_TAIL)
    inner = plus(Pair(hi, lo), times(k, square, poly))
    cubic = product(k, product(k, square, s), inner)
    return plus(Pair(s.hi * 2.0, s.lo * 2.0), cubic)


def root(k: Arithmetic, x: Value) -> Value:
    """x^½ of IEEE 754: √x, but for −∞ (∞) and −0 (0)."""
    return k.abs(k.sqrt(k.select(k.eq(x, -INF), INF, x)))


def constant_power(k: Arithmetic, x: Value, exponent: float) -> Value:
    """x to the power of a number that is known: by products and roots where they do."""
    short = {
        0.5: lambda: root(k, x),
        -0.5: lambda: 1.0 / root(k, x),
        0.0: lambda: k.constant(x, 1.0),
        1.0: lambda: x,
        2.0: lambda: x * x,
        3.0: lambda: x * x * x,
        4.0: lambda: (x * x) * (x * x),
        -1.0: lambda: 1.0 / x,
        -2.0: lambda: (1.0 / x) * (1.0 / x),
    }
    return short[exponent]() if exponent in short else pow(k, x, k.f.like(x, exponent))
