"""From values to arrays: `asarray` and its kin.

Python floats become the default float (float32), Python integers int64; NumPy arrays and scalars
keep their dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, WengertError
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor, as_tensor, scalar_data
from wengert.namespaces.arguments import check_device
from wengert.namespaces.joining import stack

__all__ = ["array", "asarray", "from_dlpack", "tensor"]

NUMBERS = {bool, int, float}


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    """A tensor of the values of `obj`.

    `obj` may be a tensor, a NumPy array or scalar, a Python number, a nested list (or tuple) of
    these, or anything with the array, DLPack or buffer protocol. A list that holds tensors is
    stacked, differentiably. Memory is shared where it can be unless `copy=True`: a change made
    later to a shared NumPy array is seen by the tensor. `copy=False` raises where a copy is needed.
    A Python complex number is taken where its imaginary part is 0: dtypes are real.

    >>> import wengert as wg
    >>> wg.asarray([[1, 2], [3, 4]], dtype=wg.float64)
    Tensor([[1., 2.], [3., 4.]], dtype=float64)
    """
    check_device("asarray", device)
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(obj, Tensor):
        return _from_tensor(obj, wanted, copy)
    if obj.__class__ is complex and not obj.imag:
        obj = obj.real
    if obj.__class__ in NUMBERS:
        _refuse_to_share(copy, "a Python number")
        return Tensor(number_data(obj, wanted))
    if isinstance(obj, (list, tuple)):
        _refuse_to_share(copy, "a list")
        return _from_list(obj, wanted)
    return Tensor(_array_data(_as_ndarray(obj), wanted, copy))


def _refuse_to_share(copy: bool | None, what: str) -> None:
    if copy is False:
        raise ArgumentError(
            "asarray",
            "memory cannot be shared, and copy=False forbids a copy",
            met=what,
            fix="leave copy out, or pass copy=True",
        )


def _from_tensor(x: Tensor, dtype: DType | None, copy: bool | None) -> Tensor:
    if dtype is not None and dtype != x.dtype:
        _refuse_to_share(copy, f"a {x.dtype} tensor for dtype {dtype}")
        return cast_to(x, dtype)
    if copy and not x.is_symbolic:
        return Tensor(np.array(x._data), x._node)
    return x


def _array_data(a: np.ndarray[Any, Any], dtype: DType | None, copy: bool | None) -> Any:
    native = a.dtype if a.dtype.isnative else a.dtype.newbyteorder("=")
    dtype = dtypes.as_dtype(native) if dtype is None else dtype
    if a.dtype != dtype:
        dtypes.as_dtype(native)
        _refuse_to_share(copy, f"a {a.dtype} array for dtype {dtype}")
        return a.astype(dtype)
    return np.array(a) if copy else np.asarray(a)


def number_data(value: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    if dtype is None:
        return scalar_data(value, dtypes.bool)
    try:
        return np.array(value, dtype)
    except OverflowError:
        raise does_not_fit(f"{value} with {dtype}") from None


def does_not_fit(met: str) -> ArgumentError:
    return ArgumentError(
        "asarray", "a Python number does not fit the dtype", met=met, fix="choose a wider dtype"
    )


def _as_ndarray(obj: Any) -> np.ndarray[Any, Any]:
    """NumPy's view of an object that says how to be one."""
    if isinstance(obj, (np.ndarray, np.generic, range)):
        return np.asarray(obj)
    exports = hasattr(obj, "__array__") or hasattr(obj, "__dlpack__")
    try:
        if hasattr(obj, "__array__"):
            return np.asarray(obj)
        if hasattr(obj, "__dlpack__"):
            return np.from_dlpack(obj)
        if isinstance(obj, (bool, int, float)):  # subclasses: IntEnum and such
            return np.asarray(obj)
        return np.asarray(memoryview(obj))
    except WengertError:
        raise
    except Exception as problem:
        raise DtypeError(
            "asarray",
            "this object cannot become an array",
            met=f"{type(obj).__name__} {_short(obj)}",
            cause=str(problem) if exports else "text, a complex number, None, a set or an iterator",
            fix="pass numbers, nested lists of numbers, or arrays",
        ) from None


def _leaves(values: Any) -> Iterator[Any]:
    """All elements of nested lists that are no plain Python number."""
    if NUMBERS.issuperset(map(type, values)):
        return
    for v in values:
        if isinstance(v, (list, tuple)):
            yield from _leaves(v)
        elif v.__class__ not in NUMBERS:
            yield v


def _from_list(values: Sequence[Any], dtype: DType | None) -> Tensor:
    arrays = [asarray(v) for v in _leaves(values)]
    if not arrays:
        return Tensor(_numbers(values, dtype, dtypes.bool))
    weak = dtypes.promote(*(a.dtype for a in arrays))
    x = _stacked(values, weak)
    return x if dtype is None else cast_to(x, dtype)


def _numbers(values: Sequence[Any], dtype: DType | None, weak: DType) -> np.ndarray[Any, Any]:
    """Nested lists of Python numbers; without a dtype, `weak` or the default of a wider kind."""
    try:
        if dtype is not None:
            return np.array(values, dtype)
        a = np.array(values)
        if a.dtype.kind == "f" and not dtypes.is_float(weak):
            return a.astype(dtypes.default_float())
        if a.dtype.kind in "iuO" and dtypes.kind(weak) == "bool":
            return np.array(values, dtypes.default_int)
        return np.array(values, weak)
    except ValueError:
        raise ShapeError(
            "asarray",
            "nested lists must be rectangular",
            met=_short(values),
            cause="rows of different lengths",
            fix="pad the rows to one length",
        ) from None
    except OverflowError:
        kept = dtype or (weak if dtypes.is_integer(weak) else dtypes.default_int)
        raise does_not_fit(f"{_short(values)} with {kept}") from None


def _stacked(values: Sequence[Any], weak: DType) -> Tensor:
    """Nested lists with arrays in them, stacked by ops, so that gradients reach the arrays."""
    parts = []
    for v in values:
        if not isinstance(v, (list, tuple)):
            parts.append(as_tensor(v, Tensor(np.empty((), weak))))
        elif any(True for _ in _leaves(v)):
            parts.append(_stacked(v, weak))
        else:
            parts.append(Tensor(_numbers(v, None, weak)))
    shapes = {p.shape for p in parts}
    if len(shapes) > 1:
        raise ShapeError(
            "asarray",
            "nested lists must be rectangular",
            met=" and ".join(map(str, sorted(shapes))),
            cause="arrays of different shapes in one list",
            fix="pad them to one shape",
        )
    return stack(parts)


def _short(values: Any) -> str:
    text = repr(values)
    return text if len(text) <= 60 else text[:57] + "..."


def array(
    obj: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with its own copy of the values of `obj`; see `asarray` for what it takes.

    With `requires_grad=True` it is a tracked leaf (cut from whatever `obj` was computed from).

    >>> import wengert as wg
    >>> wg.array([1.0, 2.0], requires_grad=True)
    Tensor([1., 2.], dtype=float32, requires_grad=True)
    """
    fresh = isinstance(obj, (list, tuple)) or obj.__class__ in NUMBERS
    x = asarray(obj, dtype=dtype, device=device, copy=None if fresh else True)
    return x.detach().requires_grad_() if requires_grad else x


tensor = array


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor of the values of an object with the DLPack protocol, sharing its memory if it can.

    >>> import numpy as np, wengert as wg
    >>> wg.from_dlpack(np.arange(3))
    Tensor([0, 1, 2], dtype=int64)
    """
    check_device("from_dlpack", device)
    if isinstance(x, Tensor):
        return asarray(x.detach(), copy=copy)
    if not hasattr(x, "__dlpack__"):
        raise DtypeError(
            "from_dlpack",
            "the object has no __dlpack__ method",
            met=type(x).__name__,
            fix="use wg.asarray",
        )
    try:
        values = np.from_dlpack(x, copy=copy)
    except WengertError:
        raise
    except Exception as problem:
        raise DtypeError(
            "from_dlpack",
            f"the exporter cannot share this array: {problem}",
            met=type(x).__name__,
            cause="an array on another device, with a gradient, or of a foreign dtype",
            fix="move it to the CPU and detach it first",
        ) from None
    return Tensor(_array_data(values, None, None))
