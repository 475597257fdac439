"""Sums and products without error, as pairs: what a `Pair` stands for is `hi + lo`, unrounded.

Sources: T. J. Dekker, A floating-point technique for extending the available precision, Numer.
Math. 18 (1971); D. E. Knuth, The Art of Computer Programming 2, 4.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Operand, Value
from wengert.compiler.llvm.types import F32


class Pair(NamedTuple):
    """hi + lo, with lo at most half a unit in the last place of hi."""

    hi: Value
    lo: Value


def ordered_sum(a: Value, b: Operand) -> Pair:
    """a + b for |a| ≥ |b| (or a = 0)."""
    hi = a + b
    return Pair(hi, (a - hi) + b)


def two_sum(a: Value, b: Value) -> Pair:
    """a + b for any a and b."""
    hi = a + b
    part = hi - a
    return Pair(hi, (a - (hi - part)) + (b - part))


def two_product(k: Arithmetic, a: Value, b: Operand) -> Pair:
    """a · b. Without a fused multiply-add |a| and |b| must stay below 2⁹⁹⁶ in float64."""
    b = k.constant(a, b)
    hi = a * b
    if k.can.fma:
        return Pair(hi, k.fma(a, b, -hi))
    if a.element == F32:  # a product of two float32 is a float64
        return Pair(hi, k.single(k.double(a) * k.double(b) - k.double(hi)))
    (a1, a0), (b1, b0) = _halves(a), _halves(b)
    return Pair(hi, ((a1 * b1 - hi) + a1 * b0 + a0 * b1) + a0 * b0)


def _halves(a: Value) -> tuple[Value, Value]:
    """A float64 as the sum of two numbers of 26 digits."""
    scaled = a * (2.0**27 + 1.0)
    upper = scaled - (scaled - a)
    return upper, a - upper


def times(k: Arithmetic, a: Pair, b: Value) -> Pair:
    """A pair times a number."""
    hi, lo = two_product(k, a.hi, b)
    return ordered_sum(hi, k.fma(a.lo, b, lo))


def product(k: Arithmetic, a: Pair, b: Pair) -> Pair:
    """The product of two pairs."""
    hi, lo = two_product(k, a.hi, b.hi)
    return ordered_sum(hi, k.fma(a.hi, b.lo, k.fma(a.lo, b.hi, lo)))


def plus(a: Pair, b: Pair) -> Pair:
    """The sum of two pairs."""
    hi, lo = two_sum(a.hi, b.hi)
    return ordered_sum(hi, lo + (a.lo + b.lo))


def quotient(k: Arithmetic, a: Pair, b: Pair) -> Pair:
    """The quotient of two pairs."""
    q = a.hi / b.hi
    hi, lo = two_product(k, q, b.hi)
    rest = ((a.hi - hi) - lo) + a.lo
    return ordered_sum(q, k.fma(-q, b.lo, rest) / b.hi)
