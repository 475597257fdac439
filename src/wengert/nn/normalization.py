"""Normalisation layers."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter, Variable
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.functional.arguments import at, sizes
from wengert.nn.module import Module

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class _Affine(Module):
    """Base of the layers that scale and shift after normalising: weights of 1, biases of 0."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, shape: Any, weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            value = xp.zeros(shape, dtype=dtype, device=device) if wanted else None
            self.register_parameter(name, None if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


# -- over the batch ----------------------------------------------------------------------------


class _Running(_Affine):
    """Base of batch and instance normalisation: per-channel weights and running statistics."""

    running_mean: Variable | None
    running_var: Variable | None
    num_batches_tracked: Variable | None
    _ranks: tuple[int, ...]  # numbers of axes that the layer takes
    _layout: str

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        (self.num_features,) = sizes(type(self).__name__, "num_features", num_features, 1)
        if momentum is not None and not 0.0 <= momentum <= 1.0:
            raise ArgumentError(
                type(self).__name__,
                "momentum lies from 0 to 1, or is None for a cumulative average",
                met=repr(momentum),
                fix="use 0.1",
            )
        self.eps, self.momentum, self.affine = eps, momentum, affine
        self.track_running_stats = track_running_stats
        n = self.num_features
        tracked = track_running_stats
        self.register_buffer("running_mean", xp.zeros(n, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", xp.ones(n, dtype=dtype) if tracked else None)
        count = xp.asarray(0, dtype="int64") if tracked else None
        self.register_buffer("num_batches_tracked", count)
        self._make(n, affine, affine, device, dtype)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count to 0."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.assign(xp.zeros_like(self.running_mean.detach()))
            self.running_var.assign(xp.ones_like(self.running_var.detach()))
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.assign(0)

    def _check(self, x: Tensor, channel_axis: int) -> None:
        if x.ndim not in self._ranks:
            raise ShapeError(
                at(type(self).__name__),
                f"takes {self._layout}",
                met=describe(x),
                cause="a layer for another number of spatial axes, or a missing batch axis",
                fix="use the layer for this number of axes, or x[None]",
            )
        if x.shape[channel_axis] != self.num_features:
            raise ShapeError(
                at(type(self).__name__),
                f"expects {self.num_features} channels",
                met=f"{x.shape[channel_axis]} channels in {describe(x)}",
                cause="channels last instead of first, or a layer built for another width",
                fix=f"set num_features={x.shape[channel_axis]}, or move the channels",
            )

    def _count_batch(self) -> Any:
        """Count one batch; the weight that its statistics get in the running ones."""
        if self.num_batches_tracked is None or not self.training:
            return self.momentum
        count = self.num_batches_tracked.detach() + 1
        self.num_batches_tracked.assign(count)
        if self.momentum is not None:
            return self.momentum
        assert self.running_mean is not None
        return 1.0 / xp.astype(count, self.running_mean.dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        self._check(x, 1)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self._count_batch(),
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """(x − mean) / √(var + eps)·weight + bias per channel of (N, C) or (N, C, L).

    In training mode mean and variance are those of the batch, and the buffers `running_mean` and
    `running_var` move towards them by `momentum` (None: the average over all batches, counted in
    `num_batches_tracked`); in evaluation mode the buffers take their place.

    >>> import wengert as wg
    >>> layer = wg.nn.BatchNorm1d(2)
    >>> y = layer(wg.asarray([[1.0, 0.0], [3.0, 4.0]]))
    >>> layer.running_mean.tolist()
    [0.2..., 0.2...]

    Source: Ioffe and Szegedy 2015.
    """

    _ranks, _layout = (2, 3), "(batch, channels) or (batch, channels, length)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); see `BatchNorm1d`.

    >>> import wengert as wg
    >>> wg.nn.BatchNorm2d(3)(wg.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    _ranks, _layout = (4,), "(batch, channels, height, width)"


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); see `BatchNorm1d`."""

    _ranks, _layout = (5,), "(batch, channels, depth, height, width)"


class _InstanceNorm(_Running):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        single = x.ndim == self._ranks[0]
        self._check(x, 0 if single else 1)
        out = F.instance_norm(
            x.reshape((1, *x.shape)) if single else x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self._count_batch() if self.momentum is None else self.momentum,
            self.eps,
        )
        return out.reshape(x.shape) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Normalises each channel of each sample of (N, C, L) or (C, L) by itself.

    Unlike `BatchNorm1d` it has no weights (`affine`) and no running statistics by default.

    >>> import wengert as wg
    >>> wg.nn.InstanceNorm1d(2)(wg.ones((3, 2, 5))).shape
    (3, 2, 5)

    Source: Ulyanov, Vedaldi and Lempitsky 2016.
    """

    _ranks, _layout = (2, 3), "(batch, channels, length), or the same without the batch"


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W); see `InstanceNorm1d`."""

    _ranks, _layout = (3, 4), "(batch, channels, height, width), or the same without the batch"


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); see `InstanceNorm1d`."""

    _ranks = (4, 5)
    _layout = "(batch, channels, depth, height, width), or the same without the batch"


# -- over the features -------------------------------------------------------------------------


def _as_shape(layer: str, normalized_shape: Any) -> tuple[int, ...]:
    given = normalized_shape
    given = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    return sizes(layer, "normalized_shape", given, max(len(given), 1))


class LayerNorm(_Affine):
    """(x − mean) / √(var + eps)·weight + bias over the last axes, those of `normalized_shape`.

    >>> import wengert as wg
    >>> wg.nn.LayerNorm(4)(wg.ones((2, 3, 4))).shape
    (2, 3, 4)

    Source: Ba, Kiros and Hinton 2016.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        affine = elementwise_affine
        self._make(self.normalized_shape, affine, affine and bias, device, dtype)

    def forward(self, x: Any) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(_Affine):
    """x / √(mean(x²) + eps)·weight over the last axes; `eps` is that of the dtype by default.

    >>> import wengert as wg
    >>> wg.nn.RMSNorm(2, eps=3.5)(wg.asarray([3.0, 4.0])).tolist()
    [0.75, 1.0]

    Source: Zhang and Sennrich 2019.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make(self.normalized_shape, elementwise_affine, False, device, dtype)

    def forward(self, x: Any) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Normalises each of `num_groups` groups of channels of (N, C, …), sample by sample.

    >>> import wengert as wg
    >>> wg.nn.GroupNorm(2, 6)(wg.ones((3, 6, 5))).shape
    (3, 6, 5)

    Source: Wu and He 2018.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.num_groups,) = sizes("GroupNorm", "num_groups", num_groups, 1)
        (self.num_channels,) = sizes("GroupNorm", "num_channels", num_channels, 1)
        if self.num_channels % self.num_groups:
            raise ArgumentError(
                "GroupNorm",
                "the groups must divide the channels",
                met=f"{num_groups} groups for {num_channels} channels",
                fix="choose num_groups that divides num_channels",
            )
        self.eps, self.affine = eps, affine
        self._make(self.num_channels, affine, affine, device, dtype)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(
                at("GroupNorm"),
                f"expects (batch, {self.num_channels}, …)",
                met=describe(x),
                cause="channels last instead of first, or a layer built for another width",
                fix="move the channels, or change num_channels",
            )
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """x / (k + alpha·mean of x² over `size` neighbouring channels)^beta, for (N, C, …).

    Krizhevsky, Sutskever and Hinton 2012.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
