"""Data types: NumPy dtypes under the standard's names, and one table of promotions.

float32 is the default float (`set_default_dtype` changes it), int64 the default integer. Promotion
follows the array API standard inside a kind; where the standard leaves a mix open, the floating
side wins (`int64 + float32 → float32`), and Python scalars never widen an array.
"""

from __future__ import annotations

import builtins
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from wengert.core import live
from wengert.core.errors import ArgumentError, DtypeError

DType = np.dtype[Any]

bool = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
bfloat16: DType = np.dtype(ml_dtypes.bfloat16)

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
FLOATS: tuple[DType, ...] = (float16, bfloat16, float32, float64)
NUMERIC = INTEGERS + FLOATS
ALL: tuple[DType, ...] = (bool, *NUMERIC)

default_int = int64
_default_float: DType = float32

_KINDS: dict[DType, str] = {
    bool: "bool",
    **dict.fromkeys(SIGNED, "signed"),
    **dict.fromkeys(UNSIGNED, "unsigned"),
    **dict.fromkeys(FLOATS, "float"),
}


def default_float() -> DType:
    """The dtype of floats made from Python numbers (float32 unless changed)."""
    return _default_float


def set_default_dtype(dtype: Any) -> None:
    """Choose the dtype of floats made from Python numbers: `float32` (the default) or `float64`.

    >>> import wengert as wg
    >>> wg.set_default_dtype(wg.float64); wg.asarray(1.5).dtype
    dtype('float64')
    >>> wg.set_default_dtype(wg.float32)
    """
    global _default_float
    dtype = as_dtype(dtype)
    if not is_float(dtype):
        raise ArgumentError(
            "set_default_dtype",
            "the default must be a floating dtype",
            met=str(dtype),
            fix="pass wg.float32 or wg.float64",
        )
    _default_float = dtype
    live.settings_changed()


def as_dtype(dtype: Any) -> DType:
    """Any spelling of a dtype (`wg.float32`, `np.float32`, `"float32"`, `float`) as a dtype.

    `float` means the default float and `int` the default integer.
    """
    if isinstance(dtype, np.dtype) and dtype in _KINDS:
        return dtype
    if dtype is float:
        return _default_float
    if dtype is int:
        return default_int
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        found = np.dtype(object)
    if isinstance(dtype, str) and dtype == "bfloat16":
        found = bfloat16
    if found not in _KINDS:
        raise DtypeError(
            "dtype",
            "not a dtype that arrays can have",
            met=repr(dtype),
            cause="complex, object and string arrays are not supported",
            fix="use one of " + ", ".join(map(str, ALL)),
        )
    return found


def kind(dtype: DType) -> str:
    """ "bool", "signed", "unsigned" or "float"."""
    return _KINDS[dtype]


def is_float(dtype: DType) -> builtins.bool:
    """Whether `dtype` is a real floating dtype (float16, bfloat16, float32, float64)."""
    return _KINDS.get(dtype) == "float"


def is_integer(dtype: DType) -> builtins.bool:
    """Whether `dtype` is a signed or unsigned integer dtype."""
    return _KINDS.get(dtype) in ("signed", "unsigned")


@cache
def _promote(a: DType, b: DType) -> DType:
    if a == b:
        return a
    ka, kb = _KINDS[a], _KINDS[b]
    if "float" in (ka, kb):
        if ka != kb:
            return a if ka == "float" else b
        if {a, b} == {float16, bfloat16}:
            return float32
        return max(a, b, key=lambda d: d.itemsize)
    if "bool" in (ka, kb):
        return a if kb == "bool" else b
    if {ka, kb} == {"signed", "unsigned"} and uint64 in (a, b):
        raise DtypeError(
            "promotion",
            "uint64 and a signed integer have no common integer dtype",
            met=f"{a} and {b}",
            fix="cast one side, for example wg.astype(x, wg.int64)",
        )
    return np.promote_types(a, b)


def promote(a: DType, *rest: DType) -> DType:
    """The dtype that holds all of the given ones."""
    for b in rest:
        a = _promote(a, b)
    return a
