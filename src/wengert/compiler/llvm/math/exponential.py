"""exp and what is made of it: exp2, expm1, sigmoid, softplus, logaddexp.

All split x = n·log 2 + r with |r| ≤ ½ log 2 and take a minimax polynomial of eʳ, fitted for this
file. Adding 1½·2ᵐ (m the digits of the format) rounds to an integer n and leaves it in the low
bits; a bias added with it makes these bits, moved up, the float 2ⁿ.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Number, Value
from wengert.compiler.llvm.math.logarithm import log1p
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64, I32, vector

LOG2_E = 1.0 / math.log(2.0)


class Table(NamedTuple):
    """The constants of one format; polynomials have their highest power first."""

    lowest: float  # below it exp is 0, and above `highest` it is infinite
    highest: float
    smallest: float  # below it expm1 is −1
    log2_hi: float  # few digits: its product with n is exact
    log2_lo: float
    exp: tuple[float, ...]  # eʳ
    expm1: tuple[float, ...]  # (eʳ − 1 − r) / r²
    exp2: tuple[float, ...]  # 2ʳ


TABLES = {
    F32: Table(
        -104.0,
        89.0,
        -18.0,
        0.693359375,
        -2.12194440054690581e-4,
        (1.3841619e-03, 8.369374e-03, 4.166808e-02, 1.6666515e-01, 4.9999994e-01, 1.0, 1.0),
        (1.389826e-03, 8.366164e-03, 4.1666854e-02, 1.6666548e-01, 0.5),
        (
            *(1.5813563e-04, 1.3418027e-03, 9.617069e-03, 5.5502728e-02),
            *(2.4022655e-01, 6.9314724e-01, 1.0),
        ),
    ),
    F64: Table(
        -746.0,
        710.0,
        -38.0,
        6.93147180369123816490e-01,
        1.90821492927058770002e-10,
        (
            *(2.5011025274127377e-08, 2.763082584444094e-07, 2.755755751274131e-06),
            *(2.4801491585221394e-05, 0.00019841269532334076, 0.0013888888944976264),
            *(0.008333333333485632, 0.04166666666652554, 0.16666666666666421),
            *(0.5000000000000011, 1.0, 1.0),
        ),
        (
            *(2.073085744965168e-09, 2.5110615609665475e-08, 2.7557840207104463e-07),
            *(2.7557240276777434e-06, 2.4801586711442276e-05, 0.00019841269889259137),
            *(0.0013888888889155527, 0.008333333333320809, 0.04166666666666627),
            *(0.16666666666666677, 0.5),
        ),
        (
            *(4.058507487878959e-10, 7.0728536480030755e-09, 1.0180799386523125e-07),
            *(1.3215441254839127e-06, 1.5252726962511031e-05, 0.00015403530443908376),
            *(0.0013333558153949372, 0.00961812910760561, 0.055504108664787916),
            *(0.240226506959101, 0.6931471805599457, 1.0),
        ),
    ),
}


class Split(NamedTuple):
    """x = n·log 2 + r; `bits` holds n + bias in its low end."""

    n: Value
    r: Value
    bits: Value


def nearest(k: Arithmetic, x: Value, factor: Number, bias: int) -> tuple[Value, Value]:
    """n = x·factor rounded to an integer, and bits with n + bias in their low end; |n| < 2²¹."""
    magic = 1.5 * 2.0 ** FORMATS[x.element].digits + bias
    shifted = k.fma(x, factor, magic) if factor != 1.0 else x + magic
    return shifted - magic, k.bits(shifted)


def split(k: Arithmetic, x: Value, bias: int, sign: int = 1) -> Split:
    """The split of sign·x. With sign = −1, `r` is that of x: the opposite."""
    table = TABLES[x.element]
    n, bits = nearest(k, x, sign * LOG2_E, bias)
    r = k.fma(n, -sign * table.log2_hi, x)
    return Split(n, k.fma(n, -sign * table.log2_lo, r), bits)


def as_power(k: Arithmetic, bits: Value) -> Value:
    """2ⁿ from bits whose low end is n + the format's bias: n within the normal exponents."""
    form = FORMATS[{"i32": F32, "i64": F64}[bits.element]]
    return k.from_bits(bits << form.digits)


def times_power(
    k: Arithmetic, y: Value, bits: Value, exponent: Value, factor: Number = LOG2_E
) -> Value:
    """y·2ⁿ rounded once, from bits whose low end is n + twice the bias, as `nearest` gives them for
    an exponent and a factor: n may lie beyond the normal exponents."""
    form = FORMATS[y.element]
    if k.can.scaling and y.lanes:
        zero = ((form.digits + form.bias) << form.digits) + (1 << (form.digits - 1))  # 1½·2ᵐ
        n = bits - (zero + 2 * form.bias)
        return k.f.scale(y, n if n.element == I32 else k.f.cast("trunc", n, vector(n.lanes, I32)))
    _, half = nearest(k, exponent, factor / 2, form.bias)
    return y * as_power(k, half) * as_power(k, bits - half)


def exp(k: Arithmetic, x: Value) -> Value:
    """eˣ."""
    return exp_less(k, x, 0)


def exp_less(k: Arithmetic, x: Value, less: int) -> Value:
    """eˣ / 2^less, which overflows later."""
    table, bias = TABLES[x.element], FORMATS[x.element].bias
    x = k.at_most(k.at_least(x, table.lowest), table.highest + less)
    s = split(k, x, 2 * bias - less)
    return times_power(k, k.poly(s.r, table.exp), s.bits, x)


def exp2(k: Arithmetic, x: Value) -> Value:
    """2ˣ."""
    table, form = TABLES[x.element], FORMATS[x.element]
    x = k.at_most(k.at_least(x, -1.5 * form.bias), form.bias + 2.0)
    n, bits = nearest(k, x, 1.0, 2 * form.bias)
    return times_power(k, k.poly(x - n, table.exp2), bits, x, 1.0)


def expm1(k: Arithmetic, x: Value) -> Value:
    """eˣ − 1."""
    table, form = TABLES[x.element], FORMATS[x.element]
    bounded = k.at_most(k.at_least(x, table.smallest), table.highest + 0.5)
    n, bits = nearest(k, bounded, LOG2_E, form.bias - 2)
    above = k.fma(n, -table.log2_hi, bounded)
    r = k.fma(n, -table.log2_lo, above)
    lost = k.fma(n, -table.log2_lo, above - r)  # by the rounding of r
    rest = k.fma(r * r, k.poly(r, table.expm1), lost)
    quarter = as_power(k, bits)
    found = k.fma(quarter, rest, k.fma(quarter, r, quarter - 0.25)) * 4.0
    # Tiny numbers are their own result: by the quarter a subnormal would lose digits, −0 its sign.
    return k.select(k.lt(k.abs(x), 2.0 ** -(form.digits + 3)), x, found)


def sigmoid(k: Arithmetic, x: Value) -> Value:
    """1 / (1 + e⁻ˣ), to subnormals."""
    table, form = TABLES[x.element], FORMATS[x.element]
    x = k.at_most(k.at_least(x, table.lowest), 60.0)  # where it is 0 and 1
    down = form.digits + 2  # all is divided by a power of 2, so that e⁻ˣ cannot overflow
    s = split(k, x, form.bias - down, sign=-1)
    power, one = as_power(k, s.bits), 2.0**-down
    rest = s.r * k.poly(s.r, _mirrored(table.exp)[:-1])  # e⁻ʳ − 1
    larger, smaller = k.at_least(power, one), k.at_most(power, one)
    return one / (larger + k.fma(power, rest, smaller))


def _mirrored(poly: tuple[float, ...]) -> list[float]:
    """The coefficients of p(−x)."""
    degree = len(poly) - 1
    return [-c if (degree - i) % 2 else c for i, c in enumerate(poly)]


@once
def softplus(k: Arithmetic, x: Value) -> Value:
    """log(1 + eˣ)."""
    return k.at_least(x, 0.0) + log1p(k, exp(k, -k.abs(x)))


@once
def logaddexp(k: Arithmetic, x: Value, y: Value) -> Value:
    """log(eˣ + eʸ)."""
    larger = k.maximum(x, y)
    apart = k.abs(x - y)
    # Of two equal infinities the difference is NaN, but it is 0.
    apart = k.select(k.eq(x, y), k.constant(x, 0.0), apart)
    return larger + log1p(k, exp(k, -apart))
