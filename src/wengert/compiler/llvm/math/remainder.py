"""Remainders and whole quotients of floats, exactly as NumPy has them."""

from __future__ import annotations

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32


@once
def fmod(k: Arithmetic, x: Value, y: Value) -> Value:
    """x − n·y for the whole n towards 0: exact, with the sign of x.

    Long division with as many binary digits of the quotient at once as a number holds, until in
    every lane the rest is less than |y|: one round for quotients below 2²² (2⁵¹).
    """
    form, f = FORMATS[x.element], k.f
    size, by = k.abs(x), k.abs(y)
    valid = k.both(k.isfinite(x), k.both(k.gt(by, 0.0), k.negated(k.isnan(y))))
    by = k.select(valid, by, k.constant(x, 1.0))
    rest = f.variable(x.type, k.select(valid, size, k.constant(x, 0.0)))
    again, done = f.label("divide"), f.label("divided")
    f.jump(again)
    f.place(again)
    rest.set(_one_round(k, rest.get(), by, form.digits))
    f.branch(k.any(k.ge(rest.get(), by)), again, done)
    f.place(done)
    return k.select(valid, k.copysign(rest.get(), x), float("nan"))


def _exponent(k: Arithmetic, x: Value) -> Value:
    """The biased exponent of a positive number, also of a subnormal one."""
    form = FORMATS[x.element]
    small = k.lt(x, form.least_normal)
    bits = k.bits(k.select(small, x * 2.0**form.digits, x))
    return (bits >> form.digits) - k.select(small, k.constant(bits, form.digits), 0)


def _one_round(k: Arithmetic, rest: Value, by: Value, digits: int) -> Value:
    """rest − q·by·2ˢ with q < 2^digits whole and s as large as need be."""
    apart = _exponent(k, rest) - _exponent(k, by)
    s = k.f.smax(apart - (digits - 1), 0)
    half = s >> 1  # in two steps, since 2ˢ need not be a number
    step = by * k.power_of_two(half) * k.power_of_two(s - half)
    q = k.trunc(rest / step)
    if k.can.fma:
        found = k.fma(-q, step, rest)
    else:
        found = _exact_difference(k, rest, q, step)
    found = k.select(k.lt(found, 0.0), found + step, found)
    found = k.select(k.ge(found, step), found - step, found)
    return k.select(k.lt(rest, by), rest, found)


def _exact_difference(k: Arithmetic, rest: Value, q: Value, step: Value) -> Value:
    """rest − q·step without a fused multiply-add, when it is a number: q in two halves, so that
    each product with the halves of `step` is exact."""
    if rest.element == F32:
        return k.single(k.double(rest) - k.double(q) * k.double(step))
    mask = -(1 << 27)
    upper, head = (k.from_bits(k.bits(v) & mask) for v in (q, step))
    lower, tail = q - upper, step - head
    found = rest - upper * head
    found = found - upper * tail
    found = found - lower * head
    return found - lower * tail


def divmod_floor(k: Arithmetic, x: Value, y: Value) -> tuple[Value, Value]:
    """⌊x/y⌋ and x − ⌊x/y⌋·y with the sign of y, by the steps of NumPy's `divmod`."""
    rest = fmod(k, x, y)
    quotient = x / y
    zero = k.constant(x, 0.0)
    nonzero = k.ne(rest, 0.0)
    turn = k.both(nonzero, k.f.compare("ne", k.lt(y, 0.0), k.lt(rest, 0.0)))
    whole = (x - rest) / y
    whole = k.select(turn, whole - 1.0, whole)
    remainder = k.select(turn, rest + y, rest)
    remainder = k.select(nonzero, remainder, k.copysign(zero, y))
    near = k.floor(whole)
    near = k.select(k.gt(whole - near, 0.5), near + 1.0, near)
    near = k.select(k.eq(whole, 0.0), k.copysign(zero, quotient), near)
    by_zero = k.eq(y, 0.0)
    return k.select(by_zero, quotient, near), k.select(by_zero, rest, remainder)


@once
def floor_divide(k: Arithmetic, x: Value, y: Value) -> Value:
    """⌊x/y⌋."""
    return divmod_floor(k, x, y)[0]


@once
def remainder(k: Arithmetic, x: Value, y: Value) -> Value:
    """x − ⌊x/y⌋·y."""
    return divmod_floor(k, x, y)[1]
