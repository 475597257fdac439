"""Convolution layers, transposed ones, and patches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.functional.arguments import Sizes, at, sizes
from wengert.nn.functional.conv import conv_padding
from wengert.nn.module import Module

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Fold",
    "Unfold",
]

_PADDING_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}


class _Convolution(Module):
    """What convolutions and transposed ones share: arguments, parameters and their first values."""

    bias: Parameter | None
    _count: int  # number of spatial axes

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        transposed: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        layer, count = type(self).__name__, self._count
        (self.in_channels,) = sizes(layer, "in_channels", in_channels, 1)
        (self.out_channels,) = sizes(layer, "out_channels", out_channels, 1)
        (self.groups,) = sizes(layer, "groups", groups, 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                layer,
                "the groups must divide the channels",
                met=f"{groups} groups for {in_channels} input and {out_channels} output channels",
                fix="choose groups that divide both",
            )
        self.kernel_size = sizes(layer, "kernel_size", kernel_size, count)
        self.stride = sizes(layer, "stride", stride, count)
        self.dilation = sizes(layer, "dilation", dilation, count)
        first, second = self.out_channels, self.in_channels // self.groups
        if transposed:
            first, second = self.in_channels, self.out_channels // self.groups
        shape = (first, second, *self.kernel_size)
        self.weight = Parameter(xp.zeros(shape, dtype=dtype, device=device))
        self.register_parameter(
            "bias", Parameter(xp.zeros(self.out_channels, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, from U(−1/√fan_in, 1/√fan_in)."""
        bound = 1.0 / math.sqrt(math.prod(self.weight.shape[1:]))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _check(self, x: Tensor) -> None:
        axis = -self._count - 1
        if x.ndim < -axis or x.shape[axis] != self.in_channels:
            shape = ", ".join(["*"] * self._count)
            raise ShapeError(
                at(type(self).__name__),
                f"expects {self.in_channels} channels: (N, {self.in_channels}, {shape})",
                met=describe(x),
                cause="channels last instead of first, or a layer built for another input",
                fix="move the channels to axis 1, or change in_channels",
            )

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        parts += [f"{name}={getattr(self, name)!r}" for name in self._settings()]
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

    def _settings(self) -> list[str]:
        """Names of the settings that are not the usual ones."""
        one = (1,) * self._count
        found = []
        if self.dilation != one:
            found.append("dilation")
        if self.groups != 1:
            found.append("groups")
        return found


class _Conv(_Convolution):
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer = type(self).__name__
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(
                layer,
                "unknown padding_mode",
                met=repr(padding_mode),
                fix="use " + ", ".join(map(repr, _PADDING_MODES)),
            )
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            dilation,
            groups,
            bias,
            False,
            device,
            dtype,
        )
        self.padding_mode = padding_mode
        self.padding = (
            padding
            if isinstance(padding, str)
            else sizes(layer, "padding", padding, self._count, least=0)
        )
        around = conv_padding(layer, padding, self.kernel_size, self.stride, self.dilation)
        # In the order that nn.functional.pad takes: the last axis first.
        self._around = tuple(n for pair in reversed(around) for n in pair)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        self._check(x)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._around, mode=_PADDING_MODES[self.padding_mode])
            padding = 0
        return type(self)._function(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _settings(self) -> list[str]:
        found = super()._settings()
        if self.padding != (0,) * self._count:
            found.insert(0, "padding")
        if self.padding_mode != "zeros":
            found.append("padding_mode")
        return found


class Conv1d(_Conv):
    """Convolution over (N, in_channels, L); see `Conv2d`.

    >>> import wengert as wg
    >>> wg.nn.Conv1d(2, 4, 3)(wg.ones((1, 2, 10))).shape
    (1, 4, 8)
    """

    _count, _function = 1, staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Convolution over (N, in_channels, H, W), or one image without N.

    `padding` is a number of rows on each side, "same" or "valid"; `padding_mode` is "zeros",
    "reflect", "replicate" or "circular". Parameters: `weight` (out_channels, in_channels/groups,
    *kernel_size) and `bias` (out_channels), drawn from U(−1/√fan_in, 1/√fan_in).

    >>> import wengert as wg
    >>> layer = wg.nn.Conv2d(3, 8, 3, padding="same")
    >>> layer(wg.ones((1, 3, 16, 16))).shape, layer.num_parameters()
    ((1, 8, 16, 16), 224)

    Source: LeCun et al. 1989.
    """

    _count, _function = 2, staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Convolution over (N, in_channels, D, H, W); see `Conv2d`."""

    _count, _function = 3, staticmethod(F.conv3d)


class _ConvTranspose(_Convolution):
    _function: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer = type(self).__name__
        if padding_mode != "zeros":
            raise ArgumentError(
                layer,
                "a transposed convolution takes padding_mode 'zeros' only",
                met=repr(padding_mode),
                fix="drop padding_mode",
            )
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            dilation,
            groups,
            bias,
            True,
            device,
            dtype,
        )
        self.padding = sizes(layer, "padding", padding, self._count, least=0)
        self.output_padding = sizes(layer, "output_padding", output_padding, self._count, least=0)

    def forward(self, x: Any, output_size: Any = None) -> Tensor:
        x = as_tensor(x)
        self._check(x)
        extra = self.output_padding if output_size is None else self._extra_for(x, output_size)
        return type(self)._function(
            x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra_for(self, x: Tensor, output_size: Any) -> Sizes:
        """The output_padding that gives the wanted size."""
        wanted = tuple(output_size)[-self._count :]
        least = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                x.shape[-self._count :],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        )
        fits = len(wanted) == self._count and all(
            0 <= w - n < max(s, d)
            for w, n, s, d in zip(wanted, least, self.stride, self.dilation, strict=True)
        )
        if not fits:
            raise ShapeError(
                at(type(self).__name__),
                "this output_size cannot come from the input",
                met=f"{wanted} from {describe(x)}",
                fix=f"use at least {least}, and less than a stride more",
            )
        return tuple(w - n for w, n in zip(wanted, least, strict=True))

    def _settings(self) -> list[str]:
        zero = (0,) * self._count
        found = [n for n in ("padding", "output_padding") if getattr(self, n) != zero]
        return found + super()._settings()


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over (N, in_channels, L); see `ConvTranspose2d`."""

    _count, _function = 1, staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over (N, in_channels, H, W): the layer that undoes the sizes of a
    `Conv2d` with the same arguments.

    A strided convolution maps several sizes to one; `output_padding`, or `output_size` in the call,
    says which one comes back. Parameters: `weight` (in_channels, out_channels/groups,
    *kernel_size) and `bias` (out_channels).

    >>> import wengert as wg
    >>> up = wg.nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1, output_padding=1)
    >>> up(wg.ones((1, 8, 4, 4))).shape
    (1, 3, 8, 8)

    Source: Zeiler, Krishnan, Taylor and Fergus 2010.
    """

    _count, _function = 2, staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over (N, in_channels, D, H, W); see `ConvTranspose2d`."""

    _count, _function = 3, staticmethod(F.conv_transpose3d)


class Unfold(Module):
    """Sliding patches of (N, C, H, W) as columns (N, C·kernel, places); see
    `nn.functional.unfold`."""

    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Any) -> Tensor:
        return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """Sums columns of patches back into images; see `nn.functional.fold`."""

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Any) -> Tensor:
        return F.fold(
            x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
