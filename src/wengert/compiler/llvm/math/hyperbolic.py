"""sinh, cosh, tanh and their inverses, from eˣ − 1 and the logarithm of a pair."""

from __future__ import annotations

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.exact import quotient, two_product, two_sum
from wengert.compiler.llvm.math.exponential import LOG2_E, TABLES, as_power, exp_less, nearest
from wengert.compiler.llvm.math.logarithm import log_of_sum, natural, reduce
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64

# (tanh r − r) / r³ in r² for |r| ≤ ½ log 2, highest power first; minimax, fitted for this file
_TANH = {
    F32: (1.946786e-02, -5.3732995e-02, 1.3332419e-01, -3.3333322e-01),
    F64: (
        *(0.00047601618387512574, -0.0014313163698586623, 0.003589231950465832),
        *(-0.008863035366348655, 0.021869480438980654, -0.05396825378657597),
        *(0.1333333333313586, -0.333333333333326),
    ),
}


def tanh(k: Arithmetic, x: Value) -> Value:
    """(e²ˣ − 1) / (e²ˣ + 1).

    With 2|x| = n·log 2 + 2r, 0 ≤ r ≤ ½ log 2, and u = tanh r, e²ˣ is 2ⁿ(1 + u) / (1 − u). For n = 0
    that gives u itself, and for all n sums of positive terms: no digit is lost."""
    size = k.at_most(k.abs(x), 9.1 if x.element == F32 else 19.1)  # where it is 1
    table = TABLES[x.element]
    n, bits = nearest(k, k.fma(size, 2.0 * LOG2_E, -0.4995), 1.0, FORMATS[x.element].bias)
    r = k.fma(n, -0.5 * table.log2_lo, k.fma(n, -0.5 * table.log2_hi, size))
    z = r * r
    u = k.fma(r * z, k.poly(z, _TANH[x.element]), r)
    power = as_power(k, bits)
    top = k.fma(u, power + 1.0, power - 1.0)
    return k.copysign(top / (top + k.fma(u, -2.0, 2.0)), x)


def _own(k: Arithmetic, x: Value, found: Value) -> Value:
    """`found` with the sign of x, but x itself where x is so small that it is the result."""
    tiny = k.lt(k.abs(x), 2.0 ** -(FORMATS[x.element].digits // 2 + 2))
    return k.select(tiny, x, k.copysign(found, x))


# (sinh x − x) / x³ in x² for |x| ≤ 1
_SINH = {
    F32: (2.7822673e-06, 1.9842891e-04, 8.3333105e-03, 1.6666667e-01),
    F64: (
        *(7.776598779099021e-13, 1.605665920333332e-10, 2.505213099837306e-08),
        *(2.7557319106758227e-06, 0.00019841269841593408, 0.008333333333332912),
        0.16666666666666669,
    ),
}


@once
def sinh(k: Arithmetic, x: Value) -> Value:
    """(eˣ − e⁻ˣ) / 2; a polynomial for |x| ≤ 1."""
    size = k.abs(x)
    half = exp_less(k, size, 1)
    far = k.copysign(half - 0.25 / half, x)
    z = x * x
    return k.select(k.gt(size, 1.0), far, k.fma(x * z, k.poly(z, _SINH[x.element]), x))


@once
def cosh(k: Arithmetic, x: Value) -> Value:
    """(eˣ + e⁻ˣ) / 2."""
    half = exp_less(k, k.abs(x), 1)
    return half + 0.25 / half


def _doubled(k: Arithmetic, x: Value, hi: Value, lo: Value) -> Value:
    """log(hi + lo), or log 2x where x is so large that it is that."""
    large = k.gt(x, 2.0 ** (FORMATS[x.element].digits // 2 + 3))
    inf = k.eq(x, float("inf"))
    far = reduce(k, x, subnormal=False)
    near = log_of_sum(k, k.select(large, 1.0, hi), k.select(large, 0.0, lo))
    return k.select(inf, x, k.select(large, natural(k, far.e + 1.0, far.f), near))


@once
def asinh(k: Arithmetic, x: Value) -> Value:
    """log(x + √(x² + 1)), as log(1 + |x| + x² / (1 + √(x² + 1)))."""
    size = k.abs(x)
    square = size * size
    first = two_sum(size, k.constant(x, 1.0))
    second = two_sum(first.hi, square / (k.sqrt(square + 1.0) + 1.0))
    return _own(k, x, _doubled(k, size, second.hi, first.lo + second.lo))


@once
def acosh(k: Arithmetic, x: Value) -> Value:
    """log(x + √(x² − 1)), as log(1 + t + √(t² + 2t)) with t = x − 1."""
    t = k.at_most(x - 1.0, 2.0 ** FORMATS[x.element].digits)  # beyond, log 2x is taken
    product = two_product(k, t, t)
    radicand = two_sum(t + t, product.hi)
    root = k.sqrt(radicand.hi)
    square = two_product(k, root, root)
    rest = ((radicand.hi - square.hi) - square.lo) + (radicand.lo + product.lo)
    rest = k.select(k.gt(root, 0.0), rest * 0.5 / root, 0.0)  # what the root is short of
    first = two_sum(root, k.constant(x, 1.0))
    second = two_sum(first.hi, t)
    found = _doubled(k, x, second.hi, first.lo + second.lo + rest)
    return k.select(k.ge(x, 1.0), found, float("nan"))


@once
def atanh(k: Arithmetic, x: Value) -> Value:
    """½ log((1 + x) / (1 − x)), the quotient as a pair."""
    size = k.abs(x)
    one = k.constant(x, 1.0)
    ratio = quotient(k, two_sum(one, size), two_sum(one, -size))
    inside = k.lt(size, 1.0)
    found = log_of_sum(k, k.select(inside, ratio.hi, 1.0), k.select(inside, ratio.lo, 0.0)) * 0.5
    edge = k.select(k.eq(size, 1.0), k.constant(x, float("inf")), float("nan"))
    return _own(k, x, k.select(inside, found, edge))
