"""Making arrays: from shapes and from ranges; triangles and classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import as_integer
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import as_shape, check_device
from wengert.namespaces.conversion import NUMBERS, asarray, does_not_fit, number_data
from wengert.namespaces.manipulation import moveaxis
from wengert.ops import index as _index
from wengert.ops.movement import broadcast_to as _broadcast
from wengert.ops.movement import reshape as _reshape
from wengert.ops.selection import where

__all__ = [
    "arange",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "geomspace",
    "identity",
    "linspace",
    "logspace",
    "meshgrid",
    "one_hot",
    "ones",
    "ones_like",
    "tri",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]


def _float_or(dtype: Any) -> DType:
    return dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype)


# -- from a shape ------------------------------------------------------------------------------


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of a shape; float32 unless a dtype is given.

    >>> import wengert as wg
    >>> wg.zeros((2, 1))
    Tensor([[0.], [0.]], dtype=float32)
    """
    check_device("zeros", device)
    return Tensor(np.zeros(as_shape("zeros", shape), _float_or(dtype)))


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of a shape; float32 unless a dtype is given.

    >>> import wengert as wg
    >>> wg.ones(2, dtype=wg.int32)
    Tensor([1, 1], dtype=int32)
    """
    check_device("ones", device)
    return Tensor(np.ones(as_shape("ones", shape), _float_or(dtype)))


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor whose values do not matter. They are zeros, so that no run depends on chance.

    >>> import wengert as wg
    >>> wg.empty((2, 3)).shape
    (2, 3)
    """
    check_device("empty", device)
    return Tensor(np.zeros(as_shape("empty", shape), _float_or(dtype)))


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` (a number, or a tensor that broadcasts; differentiable) at every place.

    >>> import wengert as wg
    >>> wg.full((2,), 7)
    Tensor([7, 7], dtype=int64)
    """
    check_device("full", device)
    shape = as_shape("full", shape)
    if fill_value.__class__ in NUMBERS:
        value = number_data(fill_value, None if dtype is None else dtypes.as_dtype(dtype))
        return Tensor(np.full(shape, value, value.dtype))
    filled: Tensor = _broadcast(asarray(fill_value, dtype=dtype), shape=shape)
    return filled


def _like(op: str, x: Any, dtype: Any, device: Any) -> tuple[Shape, DType]:
    check_device(op, device)
    x = as_tensor(x)
    return x.shape, x.dtype if dtype is None else dtypes.as_dtype(dtype)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape (and dtype) of `x`.

    >>> import wengert as wg
    >>> wg.zeros_like(wg.asarray([1, 2]))
    Tensor([0, 0], dtype=int64)
    """
    return Tensor(np.zeros(*_like("zeros_like", x, dtype, device)))


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of the shape (and dtype) of `x`.

    >>> import wengert as wg
    >>> wg.ones_like(wg.asarray([1, 2]))
    Tensor([1, 1], dtype=int64)
    """
    return Tensor(np.ones(*_like("ones_like", x, dtype, device)))


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of the shape (and dtype) of `x`; its values do not matter (they are zeros).

    >>> import wengert as wg
    >>> wg.empty_like(wg.ones((2, 3))).shape
    (2, 3)
    """
    return Tensor(np.zeros(*_like("empty_like", x, dtype, device)))


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """`fill_value` at every place, in the shape (and dtype) of `x`.

    >>> import wengert as wg
    >>> wg.full_like(wg.zeros(2), 7)
    Tensor([7., 7.], dtype=float32)
    """
    shape, found = _like("full_like", x, dtype, device)
    return full(shape, fill_value, dtype=found)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """Ones on the `k`-th diagonal (above the main one for k > 0), zeros elsewhere.

    >>> import wengert as wg
    >>> wg.eye(2, 3, k=1)
    Tensor([[0., 1., 0.], [0., 0., 1.]], dtype=float32)
    """
    check_device("eye", device)
    rows, cols = as_shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(np.eye(rows, cols, as_integer("eye", "k", k), _float_or(dtype)))


def identity(n: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The identity matrix of size n.

    >>> import wengert as wg
    >>> wg.identity(2)
    Tensor([[1., 0.], [0., 1.]], dtype=float32)
    """
    return eye(n, dtype=dtype, device=device)


def tri(n_rows: int, n_cols: int | None = None, k: int = 0, *, dtype: Any = None) -> Tensor:
    """Ones on and below the `k`-th diagonal, zeros above.

    >>> import wengert as wg
    >>> wg.tri(2, 3)
    Tensor([[1., 0., 0.], [1., 1., 0.]], dtype=float32)
    """
    rows, cols = as_shape("tri", (n_rows, n_rows if n_cols is None else n_cols))
    return Tensor(np.tri(rows, cols, as_integer("tri", "k", k), _float_or(dtype)))


# -- ranges ------------------------------------------------------------------------------------


def _number(op: str, name: str, value: Any) -> Any:
    """A bound of a range as a Python number (a 0-d tensor or NumPy scalar gives its value)."""
    if hasattr(value, "item"):
        value = value.item()
    if value.__class__ not in NUMBERS:
        raise DtypeError(
            op, f"{name} must be a number", met=repr(value), fix="pass an int or a float"
        )
    return value


def arange(
    start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """Evenly spaced values in `[start, stop)`; `arange(n)` counts 0, …, n-1.

    Integers give int64, any float among the arguments the default float. As with all float
    ranges, rounding decides whether `stop` is just reached: use `linspace` where that matters.

    >>> import wengert as wg
    >>> wg.arange(1, 7, 2)
    Tensor([1, 3, 5], dtype=int64)
    """
    check_device("arange", device)
    start, step = _number("arange", "start", start), _number("arange", "step", step)
    if stop is None:
        start, stop = 0, start
    stop = _number("arange", "stop", stop)
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        raise ArgumentError(
            "arange",
            "the range must be finite and step must not be 0",
            met=f"start={start}, stop={stop}, step={step}",
            fix="pass finite numbers",
        )
    whole = all(isinstance(v, int) for v in (start, stop, step))
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
    else:
        dtype = dtypes.default_int if whole else dtypes.default_float()
    if whole and dtypes.is_integer(dtype):
        return Tensor(_whole_range(range(start, stop, step), dtype))
    return Tensor(np.arange(start, stop, step).astype(dtype, copy=False))


def _whole_range(numbers: range, dtype: DType) -> np.ndarray[Any, Any]:
    """A range of integers, each of which must fit the dtype."""
    if not numbers:
        return np.zeros(0, dtype)
    limits = np.iinfo(dtype)
    low, high = sorted((numbers[0], numbers[-1]))
    if low < limits.min or high > limits.max:
        raise does_not_fit(f"{low} to {high} with {dtype}")
    wide = dtypes.int64 if high <= np.iinfo(np.int64).max else dtypes.uint64
    counted = np.arange(len(numbers), dtype=wide)
    start, step = (np.array(n % 2**64, np.uint64).astype(wide) for n in (numbers[0], numbers.step))
    return (start + step * counted).astype(dtype, copy=False)  # in two's complement, so exact


def linspace(
    start: Any,
    stop: Any,
    /,
    num: int = 50,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` evenly spaced values from `start` to `stop` (without `stop` if not `endpoint`).

    Tensors as bounds give a differentiable result with the new axis in front.

    >>> import wengert as wg
    >>> wg.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    check_device("linspace", device)
    (num,) = as_shape("linspace", num)
    found = _float_or(dtype)
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        start, stop = _number("linspace", "start", start), _number("linspace", "stop", stop)
        return Tensor(np.linspace(start, stop, num, endpoint=endpoint, dtype=found))
    start, stop = as_tensor(start), as_tensor(stop)
    dtype = dtypes.promote(start.dtype, stop.dtype) if dtype is None else found
    dtype = dtype if dtypes.is_float(dtype) else dtypes.default_float()
    part = np.linspace(0.0, 1.0, num, endpoint=endpoint)
    width = max(start.ndim, stop.ndim)
    weight = Tensor(part.reshape((num,) + (1,) * width).astype(dtype))
    mixed: Tensor = start * (1 - weight) + stop * weight
    return cast_to(mixed, dtype)


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    *,
    base: float = 10.0,
    endpoint: bool = True,
    dtype: Any = None,
) -> Tensor:
    """`base ** linspace(start, stop, num)`.

    >>> import wengert as wg
    >>> wg.logspace(0, 2, 3)
    Tensor([  1.,  10., 100.], dtype=float32)
    """
    start, stop = _number("logspace", "start", start), _number("logspace", "stop", stop)
    values = np.logspace(start, stop, num, endpoint=endpoint, base=base)
    return Tensor(values.astype(_float_or(dtype)))


def geomspace(
    start: Any, stop: Any, num: int = 50, *, endpoint: bool = True, dtype: Any = None
) -> Tensor:
    """`num` values from `start` to `stop`, each the same multiple of the one before.

    >>> import wengert as wg
    >>> wg.geomspace(1, 8, 4)
    Tensor([1., 2., 4., 8.], dtype=float32)
    """
    start, stop = _number("geomspace", "start", start), _number("geomspace", "stop", stop)
    if start == 0 or stop == 0 or (start < 0) != (stop < 0):
        raise ArgumentError(
            "geomspace",
            "the bounds must be nonzero and of one sign",
            met=f"{start} and {stop}",
            fix="use linspace to cross zero",
        )
    return Tensor(np.geomspace(start, stop, num, endpoint=endpoint).astype(_float_or(dtype)))


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of a grid, from one-dimensional coordinates; differentiable.

    With `indexing="ij"` axis i of every result belongs to array i; with "xy" the first two axes
    are swapped.

    >>> import wengert as wg
    >>> x, y = wg.meshgrid(wg.arange(3), wg.arange(2))
    >>> x.shape, y.tolist()
    ((2, 3), [[0, 0, 0], [1, 1, 1]])
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(
            "meshgrid", "unknown indexing", met=repr(indexing), fix="use 'xy' or 'ij'"
        )
    tensors = [as_tensor(a) for a in arrays]
    for t in tensors:
        if t.ndim > 1:
            raise ShapeError(
                "meshgrid", "takes 1-d arrays", met=str(t.shape), fix="flatten the coordinates"
            )
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]
    shape = tuple(tensors[i].size for i in order)
    grids = []
    for i, t in enumerate(tensors):
        line = tuple(t.size if a == i else 1 for a in order)
        grids.append(_broadcast(_reshape(t, shape=line), shape=shape))
    return grids


# -- triangles and classes ---------------------------------------------------------------------


def _triangle(op: str, x: Any, k: int, lower: bool) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(
            op, "takes a matrix or a stack of matrices", met=str(x.shape), fix="pass 2 or more axes"
        )
    k = as_integer(op, "k", k)
    mask = np.tri(x.shape[-2], x.shape[-1], k if lower else k - 1, bool)
    kept: Tensor = where(Tensor(mask if lower else ~mask), x, Tensor(np.zeros((), x.dtype)))
    return kept


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The elements on and below the `k`-th diagonal of the last two axes; zeros above.

    >>> import wengert as wg
    >>> wg.tril(wg.ones((2, 2)))
    Tensor([[1., 0.], [1., 1.]], dtype=float32)
    """
    return _triangle("tril", x, k, True)


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The elements on and above the `k`-th diagonal of the last two axes; zeros below.

    >>> import wengert as wg
    >>> wg.triu(wg.ones((2, 2)), k=1)
    Tensor([[0., 1.], [0., 0.]], dtype=float32)
    """
    return _triangle("triu", x, k, False)


def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Tensor:
    """1 at the place of each class index and 0 elsewhere, along a new axis of `num_classes`.

    Not differentiable (class indices are integers). An index outside [0, num_classes) is an error.

    >>> import wengert as wg
    >>> wg.one_hot([2, 0], 3)
    Tensor([[0., 0., 1.], [1., 0., 0.]], dtype=float32)
    """
    size = as_integer("one_hot", "the number of classes", num_classes)
    hot: Tensor = cast_to(_index.one_hot(as_tensor(x), size=size), _float_or(dtype))
    return moveaxis(hot, -1, axis)
