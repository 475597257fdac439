"""Conversions between dtypes, and between memory and registers, with the results of NumPy.

In registers a half is a float32 and a bool a single bit. A value of a half dtype need not have been
rounded to it: `rounded` does that, and so does `pack`, which makes what is stored.

Floats outside of the range of an integer have no defined integer; here, as on x86, they become the
least one of 32 or 64 bits, and narrower integers are the low bits of that.
"""

from __future__ import annotations

from wengert.compiler.llvm import types
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.types import F32, I1, I32, I64, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

HALVES = (dtypes.float16, dtypes.bfloat16)


# -- between dtypes ----------------------------------------------------------------------------


def cast(k: Arithmetic, x: Value, source: DType, target: DType) -> Value:
    """A value of dtype `source` as one of dtype `target`, as `astype` gives it."""
    if source == target:
        return x
    if target == dtypes.bool:
        return k.ne(x, 0)
    if dtypes.is_float(target):
        return _to_float(k, x, source, target)
    t = vector(x.lanes, types.computed(target))
    if dtypes.is_float(source):
        return _to_integer(k, x, target)
    if types.size_of(t) <= types.size_of(x.type) and x.element != I1:
        return k.f.cast("trunc", x, t)
    return k.f.cast("sext" if dtypes.kind(source) == "signed" else "zext", x, t)


def _to_float(k: Arithmetic, x: Value, source: DType, target: DType) -> Value:
    t = vector(x.lanes, types.computed(target))
    if not dtypes.is_float(source):
        x = k.f.cast("sitofp" if dtypes.kind(source) == "signed" else "uitofp", x, t)
    elif x.element == F32:
        x = k.f.cast("fpext", x, t)
    elif target == dtypes.float16:
        x = _single_to_odd(k, x)
    else:
        x = k.f.cast("fptrunc", x, t)
    return rounded(k, x, target)


def _single_to_odd(k: Arithmetic, x: Value) -> Value:
    """A float64 as a float32 from which it can be rounded again: if not exact, the last bit is set,
    so that it stays on its side of every half-way point of a narrower format."""
    near = k.single(x)
    bits = k.bits(near)
    inexact = k.ne(k.double(near), x)
    beyond = k.gt(k.abs(k.double(near)), k.abs(x))  # rounded away from 0: step back
    odd = k.f.select(beyond, bits - 1, bits) | 1
    return k.select(k.both(inexact, k.isfinite(near)), k.from_bits(odd), near)


def _to_integer(k: Arithmetic, x: Value, target: DType) -> Value:
    """A float rounded towards 0."""
    t = vector(x.lanes, types.computed(target))
    if target == dtypes.uint64:
        half = 2.0**63
        upper = _signed(k, x - half, I64) ^ -(2**63)
        return k.select(k.lt(x, half), _signed(k, x, I64), upper)
    wide = I64 if target in (dtypes.int64, dtypes.uint32) else I32
    return k.f.cast("trunc", _signed(k, x, wide), t)


def _signed(k: Arithmetic, x: Value, integer: str) -> Value:
    """A float as a signed integer; the least one for what is out of range."""
    least = -(2 ** (types.BITS[integer] - 1))
    inside = k.both(k.f.compare("ogt", x, least), k.lt(x, -least))  # what is left out is `least`
    return k.select(inside, k.f.cast("fptosi", x, vector(x.lanes, integer)), least)


# -- halves ------------------------------------------------------------------------------------


def rounded(k: Arithmetic, x: Value, dtype: DType) -> Value:
    """A value in registers rounded to what its dtype can hold; not itself for halves alone."""
    if dtype == dtypes.bfloat16:
        return k.from_bits(_upper_half(k, x) << 16)
    if dtype != dtypes.float16:
        return x
    if k.can.halves:
        return k.f.cast("fpext", k.f.cast("fptrunc", x, vector(x.lanes, types.F16)), x.type)
    return _round_float16(k, x)


def _upper_half(k: Arithmetic, x: Value) -> Value:
    """The bits of a bfloat16, at the low end of 32: rounded to even, NaN kept."""
    bits = k.bits(x)
    even = bits + ((bits >> 16) & 1) + 0x7FFF
    return k.select(k.isnan(x), bits | 0x400000, even) >> 16


def _round_float16(k: Arithmetic, x: Value) -> Value:
    """To the nearest float16, as a float32, by integer arithmetic."""
    size = k.abs(x)
    bits = k.bits(size)
    even = (bits + ((bits >> 13) & 1) + 0xFFF) & ~0x1FFF
    normal = k.from_bits(even)
    normal = k.select(k.ge(normal, 65536.0), float("inf"), normal)
    small = (size + 0.5) - 0.5  # the last place of 0.5 is the step of float16's smallest numbers
    found = k.select(k.lt(size, 2.0**-14), small, normal)
    return k.copysign(k.select(k.isnan(x), x, found), x)


def pack(k: Arithmetic, x: Value, dtype: DType) -> Value:
    """What is stored for a value in registers: of type `types.stored(dtype)`."""
    t = vector(x.lanes, types.stored(dtype))
    if dtype == dtypes.bool:
        return k.f.cast("zext", x, t)
    if dtype == dtypes.bfloat16:
        return k.f.cast("trunc", _upper_half(k, x), t)
    if dtype != dtypes.float16:
        return x
    if k.can.halves:
        return k.f.cast("bitcast", k.f.cast("fptrunc", x, vector(x.lanes, types.F16)), t)
    even = _round_float16(k, x)
    # Scaled so that float16's bits stand at the upper end: its small numbers are float32's.
    bits = k.bits(k.abs(even) * 2.0**-112) >> 13
    special = k.select(k.isnan(x), k.constant(bits, 0x7E00), k.constant(bits, 0x7C00))
    bits = k.select(k.isfinite(even), bits, special) | ((k.bits(even) >> 16) & 0x8000)
    return k.f.cast("trunc", bits, t)


def unpack(k: Arithmetic, raw: Value, dtype: DType) -> Value:
    """The value in registers of what is stored."""
    if dtype == dtypes.bool:
        return k.f.compare("ne", raw, 0)
    if dtype not in HALVES:
        return raw
    if dtype == dtypes.float16 and k.can.halves:
        half = k.f.cast("bitcast", raw, vector(raw.lanes, types.F16))
        return k.f.cast("fpext", half, vector(raw.lanes, F32))
    bits = k.f.cast("zext", raw, vector(raw.lanes, I32))
    if dtype == dtypes.bfloat16:
        return k.from_bits(bits << 16)
    size = bits & 0x7FFF
    value = k.from_bits(size << 13) * 2.0**112
    special = k.from_bits((size << 13) | 0x7F800000)
    value = k.select(k.f.compare("ult", size, 0x7C00), value, special)
    return k.from_bits(k.bits(value) | ((bits & 0x8000) << 16))
