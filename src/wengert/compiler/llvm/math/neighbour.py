"""The next number: a step of one in the bits."""

from __future__ import annotations

from wengert.compiler.llvm import convert, types
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.types import vector


def nextafter(k: Arithmetic, x: Value, y: Value) -> Value:
    """The number of the operands' dtype next to x in the direction of y; NaN if one is."""
    stored = convert.pack(k, x, k.dtype)
    width = 8 * k.dtype.itemsize
    integer = vector(x.lanes, f"i{width}")
    bits = k.f.cast("bitcast", stored, integer)
    # Away from 0 the bits grow by one, towards 0 they shrink; from 0 the step is to the smallest.
    outwards = k.eq(k.lt(x, y), k.gt(x, 0.0))
    stepped = k.f.select(outwards, bits + 1, bits - 1)
    least = -(2 ** (width - 1))
    smallest = k.f.select(k.lt(y, 0.0), k.constant(bits, least + 1), 1)
    stepped = k.f.select(k.eq(x, 0.0), smallest, stepped)
    raw = k.f.cast("bitcast", stepped, vector(x.lanes, types.stored(k.dtype)))
    found = k.select(k.eq(x, y), y, convert.unpack(k, raw, k.dtype))
    return k.select(k.isnan(x), x, k.select(k.isnan(y), y, found))
