"""`Arithmetic`: what a rule for one position may ask for beyond `+ - * /`.

The same code serves a scalar and a vector of any width. Results are those of the reference: signed
and unsigned integers wrap, division by an integer zero gives 0, comparisons with NaN are false,
minimum and maximum pass NaN on. Nothing here calls a library: what the processor lacks (fused
multiply-add, rounding, halves) is written with what it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

from wengert.compiler.llvm import types
from wengert.compiler.llvm.build import Target, host
from wengert.compiler.llvm.emit import Function, Number, Operand, Value
from wengert.compiler.llvm.types import F32, F64, I1, I32, I64, is_floating, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType


class Format(NamedTuple):
    """A floating format: the integer of its size, stored digits, and the bias of its exponent."""

    integer: str
    digits: int
    bias: int

    @property
    def exponent_mask(self) -> int:
        """The bits of an infinity."""
        return (2 * self.bias + 1) << self.digits

    @property
    def least_normal(self) -> float:
        """The smallest number with all of its digits."""
        return 2.0 ** (1 - self.bias)


FORMATS = {F32: Format(I32, 23, 127), F64: Format(I64, 52, 1023)}


class Abilities(NamedTuple):
    """What the processor does in one instruction, and others need several for."""

    fma: bool
    rounding: bool
    halves: bool
    scaling: bool  # by powers of 2


@lru_cache(maxsize=32)
def abilities(target: Target) -> Abilities:
    """The abilities of a target."""
    if target.triple.startswith(("aarch64", "arm64")):
        return Abilities(True, True, True, False)
    rounding = target.has("sse4.1") or target.has("avx")
    return Abilities(target.has("fma"), rounding, target.has("f16c"), target.has("avx512f"))


class Arithmetic:
    """Writes arithmetic into a function, for operands of one dtype.

    Parameters
    ----------
    f : the function being written
    dtype : dtype of the operands (halves are float32 in registers, bools single bits)
    result : dtype of the result; the operands' unless told
    target : the processor that the code is for; this one unless told
    """

    def __init__(
        self, f: Function, dtype: DType, result: DType | None = None, target: Target | None = None
    ) -> None:
        self.f = f
        self.dtype = dtype
        self.result = dtype if result is None else result
        self.target = target or host()
        self.can = abilities(self.target)
        kind = dtypes.kind(dtype)
        self.is_float = kind == "float"
        self.is_bool = kind == "bool"
        self.unsigned = kind in ("unsigned", "bool")

    def within(self, f: Function) -> Self:
        """The same for another function."""
        return type(self)(f, self.dtype, self.result, self.target)

    # -- constants ---------------------------------------------------------------------------

    def constant(self, like: Value, x: Operand) -> Value:
        """A number as a value of another's type."""
        return self.f.like(like, x)

    def truth(self, like: Value, holds: bool) -> Value:
        """True or False, in as many lanes as another value has."""
        return self.f.constant(vector(like.lanes, I1), holds)

    # -- comparisons and choices -------------------------------------------------------------

    def _compare(self, order: str, x: Value, y: Operand) -> Value:
        if is_floating(x.type):
            return self.f.compare("o" + order, x, y)
        return self.f.compare(("u" if self.unsigned else "s") + order, x, y)

    def lt(self, x: Value, y: Operand) -> Value:
        """x < y; false with NaN."""
        return self._compare("lt", x, y)

    def le(self, x: Value, y: Operand) -> Value:
        """x ≤ y; false with NaN."""
        return self._compare("le", x, y)

    def gt(self, x: Value, y: Operand) -> Value:
        """x > y; false with NaN."""
        return self._compare("gt", x, y)

    def ge(self, x: Value, y: Operand) -> Value:
        """x ≥ y; false with NaN."""
        return self._compare("ge", x, y)

    def eq(self, x: Value, y: Operand) -> Value:
        """x = y; false with NaN."""
        return self.f.compare("oeq" if is_floating(x.type) else "eq", x, y)

    def ne(self, x: Value, y: Operand) -> Value:
        """x ≠ y; true with NaN."""
        return self.f.compare("une" if is_floating(x.type) else "ne", x, y)

    def unordered(self, x: Value, y: Operand) -> Value:
        """Whether one of two floats is NaN."""
        return self.f.compare("uno", x, y)

    def select(self, condition: Value, x: Operand, y: Operand) -> Value:
        """x where the condition holds, else y; one of the two must be a `Value`."""
        return self.f.select(condition, x, y)

    def both(self, a: Value, b: Value) -> Value:
        """Whether two conditions hold."""
        return a & b

    def either(self, a: Value, b: Value) -> Value:
        """Whether one of two conditions holds."""
        return a | b

    def negated(self, a: Value) -> Value:
        """Whether a condition does not hold."""
        return a ^ self.truth(a, True)

    def truthy(self, x: Value) -> Value:
        """x ≠ 0, which NaN is."""
        return x if x.element == I1 else self.ne(x, 0)

    def any(self, mask: Value) -> Value:
        """Whether a condition holds in some lane."""
        if not mask.lanes:
            return mask
        name = f"llvm.vector.reduce.or.v{mask.lanes}i1"
        self.f.module.declare(name, I1, [mask.type])
        return self.f.op(I1, f"call i1 @{name}({mask.type} {mask})")

    # -- tests of floats ---------------------------------------------------------------------

    def isnan(self, x: Value) -> Value:
        """Whether x is NaN."""
        return self.unordered(x, x) if is_floating(x.type) else self.truth(x, False)

    def isinf(self, x: Value) -> Value:
        """Whether x is ±∞."""
        return self.eq(self.abs(x), float("inf")) if is_floating(x.type) else self.truth(x, False)

    def isfinite(self, x: Value) -> Value:
        """Whether x is neither infinite nor NaN."""
        return self.lt(self.abs(x), float("inf")) if is_floating(x.type) else self.truth(x, True)

    def signbit(self, x: Value) -> Value:
        """Whether x has a minus sign, also as −0."""
        if self.unsigned:
            return self.truth(x, False)
        bits = self.bits(x) if is_floating(x.type) else x
        return self.f.compare("slt", bits, 0)

    # -- bits --------------------------------------------------------------------------------

    def bits(self, x: Value) -> Value:
        """The bits of a float, as an integer of its size."""
        return self.f.cast("bitcast", x, vector(x.lanes, FORMATS[x.element].integer))

    def from_bits(self, bits: Value) -> Value:
        """The float with these bits."""
        return self.f.cast("bitcast", bits, vector(bits.lanes, F32 if bits.element == I32 else F64))

    def ashr(self, x: Value, by: Operand) -> Value:
        """Shift to the right that keeps the sign; `by` less than the width."""
        return self.f.ashr(x, by)

    def power_of_two(self, exponent: Value) -> Value:
        """2ⁿ for an integer n for which it is a normal number."""
        form = FORMATS[F32 if exponent.element == I32 else F64]
        return self.from_bits((exponent + form.bias) << form.digits)

    def double(self, x: Value) -> Value:
        """A float32 as a float64."""
        return self.f.cast("fpext", x, vector(x.lanes, F64))

    def single(self, x: Value) -> Value:
        """A float64 rounded to float32."""
        return self.f.cast("fptrunc", x, vector(x.lanes, F32))

    # -- arithmetic --------------------------------------------------------------------------

    def add(self, x: Value, y: Value) -> Value:
        """x + y; for bools, or."""
        return x | y if x.element == I1 else x + y

    def mul(self, x: Value, y: Value) -> Value:
        """x · y; for bools, and."""
        return x & y if x.element == I1 else x * y

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """a·b + c, rounded once where the processor can."""
        return self.f.fma(a, b, c) if self.can.fma else a * b + c

    def poly(self, x: Value, coefficients: Sequence[Number], then: Sequence[Operand] = ()) -> Value:
        """Horner's rule, highest power first; `then` are further coefficients."""
        out: Operand = coefficients[0]
        for c in (*coefficients[1:], *then):
            out = self.fma(x, out, c)
        assert isinstance(out, Value)
        return out

    def abs(self, x: Value) -> Value:
        """|x|; the least signed integer stays as it is."""
        if is_floating(x.type):
            return self.f.intrinsic("fabs", x)
        return x if self.unsigned else self.select(self.lt(x, 0), self.constant(x, 0) - x, x)

    def copysign(self, x: Operand, y: Value) -> Value:
        """|x| with the sign of y."""
        return self.f.intrinsic("copysign", self.constant(y, x), y)

    def flip_sign(self, x: Value, y: Value) -> Value:
        """x, negated where y has a minus sign."""
        return self.from_bits(self.bits(x) ^ (self.bits(y) & _sign_bit(y)))

    def sign(self, x: Value) -> Value:
        """−1, 0 or 1; NaN for NaN."""
        one, zero = self.constant(x, 1), self.constant(x, 0)
        found = self.select(self.gt(x, 0), one, zero)
        if self.unsigned:
            return found
        found = self.select(self.lt(x, 0), self.constant(x, -1), found)
        return self.select(self.isnan(x), x, found) if is_floating(x.type) else found

    def sqrt(self, x: Value) -> Value:
        """√x, correctly rounded."""
        return self.f.intrinsic("sqrt", x)

    def maximum(self, x: Value, y: Value) -> Value:
        """The larger; NaN if one is. Of two zeros it may be either."""
        if x.element == I1:
            return x | y
        larger = self.select(self.gt(x, y), x, y)  # y where one is NaN
        return self.select(self.isnan(x), x, larger) if is_floating(x.type) else larger

    def minimum(self, x: Value, y: Value) -> Value:
        """The smaller; NaN if one is. Of two zeros it may be either."""
        if x.element == I1:
            return x & y
        smaller = self.select(self.lt(x, y), x, y)
        return self.select(self.isnan(x), x, smaller) if is_floating(x.type) else smaller

    def at_most(self, x: Value, bound: Number) -> Value:
        """The smaller of x and a constant; NaN stays."""
        return self.select(self.gt(x, bound), self.constant(x, bound), x)

    def at_least(self, x: Value, bound: Number) -> Value:
        """The larger of x and a constant; NaN stays."""
        return self.select(self.lt(x, bound), self.constant(x, bound), x)

    # -- rounding ----------------------------------------------------------------------------

    def rint(self, x: Value) -> Value:
        """The nearest integer, halves to the even one."""
        if not is_floating(x.type):
            return x
        if self.can.rounding:
            return self.f.intrinsic("roundeven", x)
        whole = 2.0 ** FORMATS[x.element].digits  # from here on every number is an integer
        size = self.abs(x)
        near = self.copysign(size + whole - whole, x)
        return self.select(self.lt(size, whole), near, x)

    def floor(self, x: Value) -> Value:
        """The largest integer not above x."""
        if not is_floating(x.type):
            return x
        if self.can.rounding:
            return self.f.intrinsic("floor", x)
        near = self.rint(x)
        return self.copysign_of_zero(self.select(self.gt(near, x), near - 1.0, near), x)

    def ceil(self, x: Value) -> Value:
        """The smallest integer not below x."""
        if not is_floating(x.type):
            return x
        if self.can.rounding:
            return self.f.intrinsic("ceil", x)
        near = self.rint(x)
        return self.copysign_of_zero(self.select(self.lt(near, x), near + 1.0, near), x)

    def trunc(self, x: Value) -> Value:
        """The integer next to x towards 0."""
        if not is_floating(x.type):
            return x
        if self.can.rounding:
            return self.f.intrinsic("trunc", x)
        size = self.abs(x)
        near = self.rint(size)
        return self.copysign(self.select(self.gt(near, size), near - 1.0, near), x)

    def copysign_of_zero(self, found: Value, x: Value) -> Value:
        """`found`, but a zero takes the sign of x."""
        return self.select(self.eq(found, 0.0), self.copysign(0.0, x), found)

    # -- integers ----------------------------------------------------------------------------

    def integer_divmod(self, x: Value, y: Value, floor: bool) -> tuple[Value, Value]:
        """Quotient and remainder; both 0 for y = 0. The quotient is rounded down if `floor`, else
        towards 0; the least integer divided by −1 is itself."""
        zero = self.eq(y, 0)
        if self.unsigned:
            safe = self.select(zero, self.constant(y, 1), y)
            q = self.select(zero, 0, x // safe)
            return q, self.select(zero, 0, x % safe)
        minus = self.eq(y, -1)  # by −1 the division could overflow, and trap
        safe = self.select(self.either(zero, minus), self.constant(y, 1), y)
        q = x / safe
        r = x - q * safe
        if floor:
            low = self.both(self.ne(r, 0), self.lt(r ^ y, 0))
            q = self.select(low, q - 1, q)
            r = self.select(low, r + y, r)
        q = self.select(minus, self.constant(x, 0) - x, q)
        return self.select(zero, 0, q), r

    def shift_left(self, x: Value, by: Value) -> Value:
        """x·2ᵇʸ in wrapping integers; 0 where `by` is negative or not less than the width."""
        width = types.BITS[x.element]
        inside = self.f.compare("ult", by, width)
        return self.select(inside, x << self.select(inside, by, 0), 0)

    def shift_right(self, x: Value, by: Value) -> Value:
        """⌊x / 2ᵇʸ⌋; where `by` is negative or not less than the width, 0 or (x < 0) −1."""
        width = types.BITS[x.element]
        inside = self.f.compare("ult", by, width)
        if self.unsigned:
            return self.select(inside, x >> self.select(inside, by, 0), 0)
        return self.ashr(x, self.select(inside, by, self.constant(by, width - 1)))

    def invert(self, x: Value) -> Value:
        """All bits flipped."""
        return self.negated(x) if x.element == I1 else x ^ -1

    def integer_power(self, x: Value, exponent: int) -> Value:
        """x to a constant power ≥ 0 by repeated squaring, wrapping."""
        out: Value | None = None
        while exponent:
            if exponent & 1:
                out = x if out is None else out * x
            exponent >>= 1
            if exponent:
                x = x * x
        return self.constant(x, 1) if out is None else out


def _sign_bit(x: Value) -> int:
    return -(1 << (types.BITS[FORMATS[x.element].integer] - 1))
