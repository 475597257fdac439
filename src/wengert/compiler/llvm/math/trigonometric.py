"""sin, cos, tan.

An angle is reduced to j·π/2 + r with |r| ≤ π/4: for usual sizes by subtracting j times the parts of
π/2, and where some lane is larger by multiplying with as many bits of 2/π as matter (M. H. Payne
and R. N. Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter 18, 1983). The
polynomials are minimax, fitted for this file, highest power first.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Module, Value
from wengert.compiler.llvm.math.exact import Pair, ordered_sum, product, two_product, two_sum
from wengert.compiler.llvm.math.exponential import nearest
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64, I32, I64, PTR, vector

_SIN = {  # (sin r − r) / r³ in r²
    F32: (-1.9517897e-04, 8.332187e-03, -1.6666655e-01),
    F64: (
        *(1.5895434205452262e-10, -2.5050734401823806e-08, 2.7557313538569825e-06),
        *(-0.00019841269829358606, 0.00833333333332184, -0.1666666666666663),
    ),
}
_COS = {  # (cos r − 1 + r²/2) / r⁴ in r²
    F32: (2.4432327e-05, -1.388731e-03, 4.1666646e-02),
    F64: (
        *(-1.1358616836863901e-11, 2.0875703136804036e-09, -2.755731420306446e-07),
        *(2.4801587288965203e-05, -0.0013888888888873307, 0.041666666666666595),
    ),
}
_TAN = {  # (tan r − r) / r³ in r²
    F32: (
        *(4.3803654e-03, 8.3862884e-05, 1.0837703e-02, 2.128277e-02),
        *(5.4059446e-02, 1.3332672e-01, 3.333335e-01),
    ),
    F64: (
        *(2.096039183808759e-05, -4.527936867371e-05, 9.01965159843929e-05),
        *(-2.7193748456035974e-05, 0.00013709699645669522, 0.00022210308060934407),
        *(0.0005951583843050558, 0.0014547357551602704, 0.0035922927288510775),
        *(0.008863218760275082, 0.021869489637639798, 0.053968253925474725),
        *(0.13333333333417116, 0.3333333333333276),
    ),
}
# π/2 in parts. With a fused multiply-add their products with j may be long; else they are exact,
# since the first ones have 33 digits and j at most 20.
_FUSED = {
    F32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    F64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
_SHORT = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
_LARGE = {F32: 1.0e5, F64: 1.5e6}  # from here on the bits of 2/π are used


class Angle(NamedTuple):
    """j·π/2 + r + lo, |r| ≤ π/4; of j the low bits count."""

    j: Value
    r: Value
    lo: Value | None = None


def reduce(k: Arithmetic, x: Value, pair: bool) -> Angle:
    """The angle x, with `lo` if it is to be a pair; NaN for infinities."""
    usual = _by_parts(k, x, pair)
    large = k.f.compare("ugt", k.abs(x), _LARGE[x.element])
    slots = [k.f.variable(v.type, v) for v in usual if v is not None]
    with k.f.when(k.any(large)):
        for slot, small, big in zip(slots, usual, _by_bits(k, x, pair)):
            assert small is not None
            assert big is not None
            slot.set(k.select(large, big, small))
    found = [slot.get() for slot in slots]
    return Angle(*found)


def _by_parts(k: Arithmetic, x: Value, pair: bool) -> Angle:
    if x.element == F32 and not k.can.fma:
        return _narrow(k, _by_parts(k, k.double(x), pair), pair)
    n, j = nearest(k, x, 2.0 / math.pi, 0)
    if not pair:
        r = x
        for part in _FUSED[x.element]:
            r = k.fma(n, -part, r)
        return Angle(j, r)
    if k.can.fma:
        first, second, third = _FUSED[x.element]
        over = two_product(k, n, second)
        r, lo = two_sum(k.fma(n, -first, x), -over.hi)
        lo = k.fma(n, -third, lo - over.lo)
    else:
        r, lo = two_sum(x - n * _SHORT[0], n * -_SHORT[1])
        r, rest = two_sum(r, n * -_SHORT[2])
        lo = lo + rest - n * _SHORT[3]
    hi = r + lo
    return Angle(j, hi, (r - hi) + lo)


def _narrow(k: Arithmetic, wide: Angle, pair: bool) -> Angle:
    """An angle in float64 as one in float32."""
    j = k.f.cast("trunc", wide.j, vector(wide.j.lanes, I32))
    r = k.single(wide.r)
    return Angle(j, r, k.single(wide.r - k.double(r))) if pair else Angle(j, r)


# -- large angles --------------------------------------------------------------------------------


def _by_bits(k: Arithmetic, x: Value, pair: bool) -> Angle:
    """Lane by lane, through memory: this is rare."""
    f, lanes = k.f, x.lanes or 1
    _write_reduction(k, f.module)
    places = [f.buffer(lanes, kind) for kind in (F64, I64, F64, F64)]
    given, j, r, lo = places
    f.store(x if x.element == F64 else k.double(x), given, 8)
    with f.loop(0, lanes) as i:
        f.call(
            "reduce_angle",
            [f.load(F64, f.at(given, i, F64)), *(f.at(p, i, F64) for p in places[1:])],
        )
    quadrant = f.load(vector(x.lanes, I64), j, 8)
    found = Angle(quadrant, *[f.load(vector(x.lanes, F64), place, 8) for place in (r, lo)])
    return found if x.element == F64 else _narrow(k, found, pair)


_WORDS = 20  # of 64 bits: enough for the largest exponent


@cache
def _two_over_pi() -> list[int]:
    """The bits of 2/π as 64-bit words, behind one word of zeros."""
    bits = 64 * _WORDS
    guard = 1 << (bits + 64)

    def arctan_of_inverse(n: int) -> int:
        total = term = guard // n
        i, sign = 3, -1
        while term:
            term //= n * n
            total += sign * (term // i)
            i, sign = i + 2, -sign
        return total

    pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))  # J. Machin, 1706
    fraction = (2 * guard * guard // pi) >> 64  # bits after the point; 2/π < 1
    words = [(fraction >> (64 * i)) & (2**64 - 1) for i in reversed(range(_WORDS))]
    return [0, *words[:-1]]


def _write_reduction(k: Arithmetic, module: Module) -> None:
    """`reduce_angle(x, &j, &r, &lo)` of one float64, in integers.

    |x| = m·2ᵉ with m of 53 bits. Of 2/π, 192 bits from place e − 2 on matter: those before give
    multiples of 4 when multiplied by m, those behind are too small.
    """
    if module.has("reduce_angle"):
        return
    table = ", ".join(f"i64 {w - 2**64 if w >= 2**63 else w}" for w in _two_over_pi())
    module.globals.append(f"@two_over_pi = internal constant [{_WORDS} x i64] [{table}]")
    f = module.function(
        "reduce_angle", [F64, PTR, PTR, PTR], internal=True, attributes="nounwind noinline"
    )
    x = f.args[0]
    g = k.within(f)
    bits = g.bits(x)
    exponent = (bits >> 52) & 0x7FF
    m = (bits & (2**52 - 1)) | 2**52
    start = exponent - (1075 + 2 - 64)  # counted from the word of zeros on
    word, shift = start >> 6, start & 63
    base = Value(PTR, "@two_over_pi", f)
    # In range for all finite numbers; of others the result is not used.
    word = f.select(f.compare("ult", word, _WORDS - 3), word, 0)
    raw = [f.load(I64, f.at(base, word + i, I64)) for i in range(4)]
    back = f.constant(I64, 63) - shift
    a, b, c = [(raw[i] << shift) | ((raw[i + 1] >> 1) >> back) for i in range(3)]
    # p = m · 0.abc modulo 1, as 192 bits p2 p1 p0
    low0, high0 = _wide_product(g, m, c)
    low1, high1 = _wide_product(g, m, b)
    p1 = low1 + high0
    carry = f.cast("zext", f.compare("ult", p1, low1), I64)
    p2 = m * a + high1 + carry
    # j = 4p rounded, the rest signed: −½ … ½ as q2 q1 q0 / 2¹⁹⁰
    j = (p2 + 2**61) >> 62
    q2 = p2 - (j << 62)
    pieces = [
        g.f.cast("sitofp", f.ashr(q2, 32), F64) * 2.0**-30,
        g.f.cast("sitofp", q2 & 0xFFFFFFFF, F64) * 2.0**-62,
        g.f.cast("sitofp", p1 >> 32, F64) * 2.0**-94,
        g.f.cast("sitofp", p1 & 0xFFFFFFFF, F64) * 2.0**-126,
        g.f.cast("sitofp", low0 >> 32, F64) * 2.0**-158,
    ]
    hi, lo = two_sum(pieces[0], pieces[1])
    for piece in pieces[2:]:
        hi, rest = two_sum(hi, piece)
        lo = lo + rest
    first, second, _ = _FUSED[F64]
    angle = product(g, Pair(hi, lo), Pair(f.constant(F64, first), f.constant(F64, second)))
    finite = g.isfinite(x)
    negative = g.signbit(x)
    j = f.select(negative, f.constant(I64, 0) - j, j)
    f.store(j, f.args[1])
    for value, place in zip(angle, f.args[2:]):
        value = g.select(finite, g.flip_sign(value, x), float("nan"))
        f.store(value, place)
    f.ret()


def _wide_product(k: Arithmetic, a: Value, b: Value) -> tuple[Value, Value]:
    """Low and high 64 bits of an unsigned product."""
    f = k.f
    wide = f.cast("zext", a, "i128") * f.cast("zext", b, "i128")
    return f.cast("trunc", wide, I64), f.cast("trunc", wide >> 64, I64)


# -- the functions -------------------------------------------------------------------------------


def _sine(k: Arithmetic, r: Value, lo: Value | None, z: Value) -> Value:
    """sin(r + lo), z = r²."""
    tail = z * k.poly(z, _SIN[r.element])
    if lo is None:
        return k.fma(r, tail, r)
    return r + k.fma(r, tail, k.fma(z * -0.5, lo, lo))


def _cosine(k: Arithmetic, r: Value, lo: Value | None, z: Value) -> Value:
    """cos(r + lo), z = r²."""
    half = z * 0.5
    first = 1.0 - half
    small = z * z * k.poly(z, _COS[r.element])
    if lo is not None:
        small = k.fma(-r, lo, small)
    return first + (((1.0 - first) - half) + small)


def _sine_or_cosine(k: Arithmetic, x: Value, turn: int) -> Value:
    angle = reduce(k, x, pair=x.element == F64)
    j = angle.j + turn if turn else angle.j
    z = angle.r * angle.r
    sine, cosine = _sine(k, angle.r, angle.lo, z), _cosine(k, angle.r, angle.lo, z)
    found = k.select(k.f.compare("ne", j & 1, 0), cosine, sine)
    width = {F32: 32, F64: 64}[x.element]
    flipped = k.from_bits(k.bits(found) ^ ((j & 2) << (width - 2)))
    return flipped if turn else k.select(k.eq(x, 0.0), x, flipped)


@once
def sin(k: Arithmetic, x: Value) -> Value:
    """The sine."""
    return _sine_or_cosine(k, x, 0)


@once
def cos(k: Arithmetic, x: Value) -> Value:
    """The cosine."""
    return _sine_or_cosine(k, x, 1)


@once
def tan(k: Arithmetic, x: Value) -> Value:
    """The tangent: tan r, or −1/tan r a quarter turn further, with tan r as a pair."""
    angle = reduce(k, x, pair=True)
    z = angle.r * angle.r
    rest = angle.r * z * k.poly(z, _TAN[x.element])
    if angle.lo is not None:
        rest = rest + k.fma(z, angle.lo, angle.lo)  # the slope at r is about 1 + r²
    hi, lo = ordered_sum(angle.r, rest)
    odd = k.f.compare("ne", angle.j & 1, 0)
    found = k.select(odd, -1.0, hi) / k.select(odd, hi, 1.0)
    found = k.fma(k.select(odd, found * found, 1.0), lo, found)
    return k.select(k.eq(x, 0.0), x, found)
