"""What users may write for a shape, axes, a device, made canonical or refused."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError, AxisError
from wengert.core.rules import as_integer, normalize_axis
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor


def check_device(op: str, device: Any) -> None:
    """Raise unless `device` is None or "cpu", the only device."""
    if device is not None and device != "cpu":
        raise ArgumentError(
            op, "the only device is 'cpu'", met=f"device={device!r}", fix="leave device out"
        )


def as_tuple(op: str, value: Any) -> tuple[Any, ...]:
    """An integer, or integers in a sequence or a 1-d array, as a tuple."""
    if isinstance(value, (tuple, list, range)):
        return tuple(value)
    if getattr(value, "ndim", 0) == 1:
        return tuple(value.tolist())
    return (as_integer(op, "a size, axis or count", value),)


def normalize_axes(op: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """One axis or several as a tuple of distinct axes in [0, ndim)."""
    axes = tuple(normalize_axis(op, a, ndim) for a in as_tuple(op, axis))
    if len(set(axes)) != len(axes):
        raise AxisError(op, "an axis is named twice", met=repr(axis), fix="name each axis once")
    return axes


def as_shape(op: str, shape: Any) -> Shape:
    """A shape given as an integer or a sequence of integers."""
    given = shape if isinstance(shape, (tuple, list)) else as_tuple(op, shape)
    sizes = tuple(as_integer(op, "a size", n) for n in given)
    if min(sizes, default=0) < 0:
        raise ArgumentError(
            op, "sizes must not be negative", met=repr(sizes), fix="pass sizes such as (2, 3)"
        )
    return sizes


def new_handle(x: Tensor) -> Tensor:
    """The same value as another object: what a function returns where it has nothing to do, so
    that an update of the result in place does not reach the argument."""
    return Tensor(x._data, x._node)
