"""LLVM types as the strings that they are written as, and the vectors that all kernels share.

One *vector* is 64 bytes everywhere: sixteen float32 or eight float64. The processor's own registers
may be smaller; LLVM then uses several. So the number of partial sums of a reduction, and with it
every bit of the result, is the same on a machine with 128-, 256- or 512-bit registers.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from wengert.core import dtypes
from wengert.core.dtypes import DType

VECTOR_BYTES = 64

PTR = "ptr"
I1, I8, I32, I64 = "i1", "i8", "i32", "i64"
F16, BF16, F32, F64 = "half", "bfloat", "float", "double"

BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "half": 16, "bfloat": 16} | {
    "float": 32,
    "double": 64,
    "ptr": 64,
}
_STORED = {
    dtypes.bool: "i8",
    dtypes.int8: "i8",
    dtypes.int16: "i16",
    dtypes.int32: "i32",
    dtypes.int64: "i64",
    dtypes.uint8: "i8",
    dtypes.uint16: "i16",
    dtypes.uint32: "i32",
    dtypes.uint64: "i64",
    dtypes.float16: "i16",  # its bits; `convert` knows what they mean
    dtypes.bfloat16: "i16",
    dtypes.float32: "float",
    dtypes.float64: "double",
}


def stored(dtype: DType) -> str:
    """The type that an array of this dtype has in memory. Bools take a byte, 0 or 1; halves are
    loaded and stored as bits, since LLVM has gaps where a processor does not know them."""
    return _STORED[dtype]


def computed(dtype: DType) -> str:
    """The type that its entries have in registers: halves as float32, bools as single bits."""
    if dtype == dtypes.bool:
        return I1
    return F32 if dtype in (dtypes.float16, dtypes.bfloat16) else _STORED[dtype]


@lru_cache(maxsize=256)
def vector(lanes: int, element: str) -> str:
    """The type of so many entries; the element itself for 0 lanes."""
    return f"<{lanes} x {element}>" if lanes else element


@lru_cache(maxsize=256)
def lanes_of(t: str) -> int:
    """The number of entries of a vector type; 0 for a scalar."""
    return int(t[1 : t.index(" ")]) if t[0] == "<" else 0


@lru_cache(maxsize=256)
def element_of(t: str) -> str:
    """The type of the entries of a vector type; a scalar's own."""
    return t[t.index("x ") + 2 : -1] if t[0] == "<" else t


@lru_cache(maxsize=256)
def is_floating(t: str) -> bool:
    """Whether it is a floating-point type, or a vector of such."""
    return element_of(t) in (F16, BF16, F32, F64)


def size_of(t: str) -> int:
    """Bytes of one entry in memory."""
    return max(1, BITS[element_of(t)] // 8)


def width(dtype: DType) -> int:
    """Lanes of one vector of this dtype as it is computed (at most 64 bytes of its entries)."""
    return VECTOR_BYTES // max(size_of(computed(dtype)), 1) if dtype != dtypes.bool else 16


def mangled(t: str) -> str:
    """A type as the names of intrinsics contain it."""
    short = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16", "ptr": "p0"}
    element = short.get(element_of(t), element_of(t))
    return f"v{lanes_of(t)}{element}" if lanes_of(t) else element


def alignment(t: str) -> int:
    """The alignment of one entry, in bytes."""
    return max(1, {"float": 4, "double": 8, "ptr": 8}.get(element_of(t), 0) or _bits(t) // 8)


def _bits(t: str) -> int:
    return {"half": 16, "bfloat": 16}.get(element_of(t)) or int(element_of(t)[1:])


def literal(type: str, x: float) -> str:
    """A number as LLVM writes it: floats by their bits, so that nothing is lost."""
    if type == "float":
        try:
            (x,) = struct.unpack("f", struct.pack("f", x))
        except OverflowError:
            x = float("inf") if x > 0 else float("-inf")
    if type in ("float", "double"):
        return f"0x{struct.unpack('<Q', struct.pack('<d', float(x)))[0]:016X}"
    if type == "i1":
        return "true" if x else "false"
    return str(int(x))
