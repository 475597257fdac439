"""Dtypes of arrays: casting, promotion, and what a dtype can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType, as_dtype
from wengert.core.errors import ArgumentError, DtypeError
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor, as_tensor, scalar_data
from wengert.namespaces.arguments import check_device
from wengert.ops.elementwise import positive

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "promote_types", "result_type"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x with another dtype; differentiable between floating dtypes.

    Floats become integers by dropping the fraction; numbers other than 0 become True. Values are
    immutable, so `copy` decides only whether an array that already has the dtype gets a new handle.

    >>> import wengert as wg
    >>> wg.astype(wg.asarray([1.7, -1.7]), wg.int32)
    Tensor([ 1, -1], dtype=int32)
    """
    check_device("astype", device)
    x, dtype = as_tensor(x), as_dtype(dtype)
    if x.dtype == dtype:
        return positive(x) if copy else x
    return cast_to(x, dtype)


def promote_types(type1: Any, type2: Any, /) -> DType:
    """The dtype in which arrays of these two dtypes meet.

    Within a kind it is the smallest that holds both. A float and an integer meet in the float's
    dtype, float16 and bfloat16 in float32; uint64 and a signed integer raise `DtypeError`.

    >>> import wengert as wg
    >>> wg.promote_types(wg.int64, wg.float32)
    dtype('float32')
    """
    return dtypes.promote(as_dtype(type1), as_dtype(type2))


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of a computation with these arrays, dtypes and Python numbers.

    Python numbers are weak: they only choose between kinds (bool, integer, float).

    >>> import wengert as wg
    >>> wg.result_type(wg.asarray([1, 2]), wg.float32, 3.5)
    dtype('float32')
    """
    numbers = [v for v in arrays_and_dtypes if v.__class__ in (bool, int, float)]
    strong = [_dtype_of(v) for v in arrays_and_dtypes if v.__class__ not in (bool, int, float)]
    if not strong:
        if not numbers:
            raise ArgumentError(
                "result_type", "needs at least one array, dtype or number", fix="pass an argument"
            )
        strong = [as_tensor(numbers[0]).dtype]
    found = dtypes.promote(*strong)
    for number in numbers:
        found = dtypes.promote(found, scalar_data(number.__class__(0), found).dtype)
    return found


def _dtype_of(value: Any) -> DType:
    return as_dtype(value.dtype) if isinstance(value, (Tensor, np.ndarray)) else as_dtype(value)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether every value of a dtype (or of an array's dtype) has a place in another one.

    >>> import wengert as wg
    >>> wg.can_cast(wg.int32, wg.int64), wg.can_cast(wg.float64, wg.float32)
    (True, False)
    """
    start, end = _dtype_of(from_), as_dtype(to)
    return bool(np.can_cast(start, end, casting="safe"))


_KINDS: dict[str, tuple[DType, ...]] = {
    "bool": (dtypes.bool,),
    "signed integer": dtypes.SIGNED,
    "unsigned integer": dtypes.UNSIGNED,
    "integral": dtypes.INTEGERS,
    "real floating": dtypes.FLOATS,
    "complex floating": (),
    "numeric": dtypes.NUMERIC,
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, one of "bool", "signed integer", "unsigned integer",
    "integral", "real floating", "complex floating", "numeric", or a tuple of these.

    >>> import wengert as wg
    >>> wg.isdtype(wg.float32, ("integral", "real floating"))
    True
    """
    dtype = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ArgumentError(
                "isdtype",
                "unknown kind of dtype",
                met=repr(kind),
                fix="use one of " + ", ".join(map(repr, _KINDS)),
            )
        return dtype in _KINDS[kind]
    return dtype == as_dtype(kind)


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating dtype; see `finfo`."""

    dtype: DType
    bits: int
    eps: float  # the gap between 1 and the next larger number
    max: float
    min: float
    smallest_normal: float
    smallest_subnormal: float
    tiny: float  # NumPy's name of smallest_normal
    resolution: float  # 10 to the power of minus the number of reliable decimals


@dataclass(frozen=True)
class IntegerInfo:
    """Limits of an integer dtype; see `iinfo`."""

    dtype: DType
    bits: int
    max: int
    min: int


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's dtype, as Python numbers.

    >>> import wengert as wg
    >>> wg.finfo(wg.float32).eps, wg.finfo(wg.float32).bits
    (1.1920928955078125e-07, 32)
    """
    dtype = _dtype_of(type)
    if not dtypes.is_float(dtype):
        raise DtypeError(
            "finfo", "takes floating dtypes", met=str(dtype), fix="use wg.iinfo for integers"
        )
    info: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return FloatInfo(
        dtype=dtype,
        bits=int(info.bits),
        eps=float(info.eps),
        max=float(info.max),
        min=float(info.min),
        smallest_normal=float(info.smallest_normal),
        smallest_subnormal=float(info.smallest_subnormal),
        tiny=float(info.smallest_normal),
        resolution=float(info.resolution),
    )


def iinfo(type: Any, /) -> IntegerInfo:
    """The limits of an integer dtype, or of an array's dtype.

    >>> import wengert as wg
    >>> wg.iinfo(wg.int8).max
    127
    """
    dtype = _dtype_of(type)
    if not dtypes.is_integer(dtype):
        raise DtypeError(
            "iinfo", "takes integer dtypes", met=str(dtype), fix="use wg.finfo for floats"
        )
    info = np.iinfo(dtype)
    return IntegerInfo(dtype, int(info.bits), int(info.max), int(info.min))
