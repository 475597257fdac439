"""Padding layers. `padding` is one number for all sides, or (left, right, top, bottom, …)."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn import functional as F
from wengert.nn.functional.arguments import at
from wengert.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """Base of the variants: they differ in the number of axes and the mode."""

    _count: int  # number of spatial axes
    _mode = "constant"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        wanted = 2 * self._count
        numbers = (padding,) * wanted if isinstance(padding, int) else tuple(padding)
        if len(numbers) != wanted or not all(isinstance(n, int) for n in numbers):
            raise ArgumentError(
                type(self).__name__,
                f"padding must be an integer, or {wanted} of them",
                met=repr(padding),
                fix="pass (left, right, top, bottom, …)",
            )
        self.padding = numbers

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if self._mode != "constant" and x.ndim not in (self._count + 1, self._count + 2):
            raise ShapeError(
                at(type(self).__name__),
                f"takes {self._count + 1} or {self._count + 2} axes: channels and space, or a "
                "batch of such",
                met=describe(x),
                fix="add the missing axes, or use the layer for this number of axes",
            )
        return F.pad(x, self.padding, self._mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, x: Any) -> Tensor:
        return F.pad(x, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """A constant before and after the last axis."""

    _count = 1


class ConstantPad2d(_ConstantPad):
    """A constant around the last two axes.

    >>> import wengert as wg
    >>> wg.nn.ConstantPad2d((1, 0, 0, 1), 7.0)(wg.zeros((1, 1, 1))).tolist()
    [[[7.0, 0.0], [7.0, 7.0]]]
    """

    _count = 2


class ConstantPad3d(_ConstantPad):
    """A constant around the last three axes."""

    _count = 3


class ZeroPad1d(_Pad):
    """Zeros before and after the last axis."""

    _count = 1


class ZeroPad2d(_Pad):
    """Zeros around the last two axes.

    >>> import wengert as wg
    >>> wg.nn.ZeroPad2d(1)(wg.ones((1, 1, 2, 2))).shape
    (1, 1, 4, 4)
    """

    _count = 2


class ZeroPad3d(_Pad):
    """Zeros around the last three axes."""

    _count = 3


class ReflectionPad1d(_Pad):
    """The last axis mirrored at its edges, which are not repeated."""

    _count, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """The last two axes mirrored at their edges, which are not repeated."""

    _count, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """The last three axes mirrored at their edges, which are not repeated."""

    _count, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The edge values of the last axis, repeated."""

    _count, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The edge values of the last two axes, repeated."""

    _count, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The edge values of the last three axes, repeated."""

    _count, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The last axis continued from its other side."""

    _count, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """The last two axes continued from their other sides."""

    _count, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """The last three axes continued from their other sides."""

    _count, _mode = 3, "circular"
