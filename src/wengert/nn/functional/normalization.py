"""Normalisations: subtract a mean, divide by a standard deviation, scale and shift.

They differ only in the axes that share one mean. In half precision all is worked out in float32
and rounded once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import linalg
from wengert import namespaces as xp
from wengert.core.dtypes import float32
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Variable
from wengert.nn.functional.arguments import at, floating, per_channel, sizes
from wengert.nn.functional.pooling import weighted_axis
from wengert.ops.standardize import standardize

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]

Axes = tuple[int, ...]


def _wide(x: Tensor) -> Tensor:
    """Half precision as float32, all else as it is."""
    return cast_to(x, float32) if x.dtype.itemsize == 2 else x


def _standardized(
    x: Tensor, axes: Axes, eps: float, center: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """(x − mean) / √(variance + eps), the mean, and the (biased) variance; reduced axes stay."""
    results: tuple[Tensor, Tensor, Tensor] = standardize(x, axis=axes, eps=eps, center=center)
    return results


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, given: Tensor) -> Tensor:
    """x·weight + bias in the dtype of the argument that was given."""
    out = x if weight is None else x * weight
    out = out if bias is None else out + bias
    return cast_to(out, given.dtype)


# -- over the batch ----------------------------------------------------------------------------


def batch_norm(
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x − mean) / √(var + eps)·weight + bias, per channel of (N, C, …).

    With `training`, mean and variance are those of the batch, and the running statistics, if
    given, move towards them: new = (1 − momentum)·old + momentum·batch (with the unbiased
    variance). They are `Variable`s then. Without it, the running statistics take their place.

    Ioffe and Szegedy 2015.

    >>> import wengert as wg
    >>> wg.nn.functional.batch_norm([[1.0], [3.0]], None, None, training=True, eps=0.0)
    Tensor([[-1.], [ 1.]], dtype=float32)
    """
    given = floating("batch_norm", input)
    x = _wide(given)
    if x.ndim < 2:
        raise ShapeError(
            at("batch_norm"),
            "takes (batch, channels, …)",
            met=describe(x),
            fix="add a batch axis with x[None]",
        )
    weight = None if weight is None else per_channel(as_tensor(weight), x.ndim)
    bias = None if bias is None else per_channel(as_tensor(bias), x.ndim)
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError(
                at("batch_norm"),
                "without training it needs running statistics",
                fix="pass running_mean and running_var, or training=True",
            )
        mean, variance = per_channel(running_mean, x.ndim), per_channel(running_var, x.ndim)
        factor = xp.rsqrt(variance + eps) if weight is None else xp.rsqrt(variance + eps) * weight
        shift = -mean * factor if bias is None else bias - mean * factor
        return cast_to(x * factor + shift, given.dtype)
    axes = (0, *range(2, x.ndim))
    count = math.prod([x.shape[a] for a in axes])
    if count < 2:
        raise ShapeError(
            at("batch_norm"),
            "training needs more than one value per channel",
            met=describe(x),
            cause="a last batch of one sample",
            fix="use DataLoader(drop_last=True), or model.eval()",
        )
    out, mean, variance = _standardized(x, axes, eps)
    _move(running_mean, mean, momentum, 1.0)
    _move(running_var, variance, momentum, count / (count - 1))
    return _affine(out, weight, bias, given)


def _move(running: Tensor | None, batch: Tensor, momentum: Any, factor: float) -> None:
    """running ← (1 − momentum)·running + momentum·factor·batch, not tracked."""
    if running is None:
        return
    if not isinstance(running, Variable):
        raise ArgumentError(
            at("batch_norm"),
            "running statistics that training updates must be Variables",
            met=type(running).__name__,
            fix="wrap them: wg.Variable(value)",
        )
    old, new = running.detach(), batch.detach().reshape(running.shape)
    running.assign(old * (1.0 - momentum) + new * (momentum * factor))


def instance_norm(
    input: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel of each sample of (N, C, *spatial) by itself.

    Ulyanov, Vedaldi and Lempitsky 2016.

    >>> import wengert as wg
    >>> wg.nn.functional.instance_norm([[[1.0, 3.0]]], eps=0.0)
    Tensor([[[-1., 1.]]], dtype=float32)
    """
    given = floating("instance_norm", input)
    x = _wide(given)
    if x.ndim < 3:
        raise ShapeError(
            at("instance_norm"),
            "takes (batch, channels, *spatial)",
            met=describe(x),
            fix="add a batch axis with x[None]",
        )
    if not use_input_stats:
        return batch_norm(given, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, x.ndim))
    count = math.prod(x.shape[2:])
    if count < 2:
        raise ShapeError(
            at("instance_norm"),
            "needs more than one spatial element",
            met=describe(x),
            fix="use layer_norm or group_norm for arrays of this size",
        )
    out, mean, variance = _standardized(x, axes, eps)
    _move(running_mean, xp.mean(mean, axis=0), momentum, 1.0)
    _move(running_var, xp.mean(variance, axis=0), momentum, count / (count - 1))
    weight = None if weight is None else per_channel(as_tensor(weight), x.ndim)
    bias = None if bias is None else per_channel(as_tensor(bias), x.ndim)
    return _affine(out, weight, bias, given)


# -- over the features -------------------------------------------------------------------------


def _trailing(op: str, x: Tensor, normalized_shape: Any, weight: Any) -> Axes:
    """The axes that `normalized_shape` names, the last ones."""
    shape: Shape = (
        tuple(normalized_shape)
        if isinstance(normalized_shape, (tuple, list))
        else (int(normalized_shape),)
    )
    count = len(shape)
    if not count or x.shape[x.ndim - count :] != shape or x.ndim < count:
        raise ShapeError(
            at(op),
            f"expects the last axes to be {shape}",
            met=describe(x),
            cause="features on another axis, or a layer built for another width",
            fix="move the features to the last axis, or change normalized_shape",
        )
    if weight is not None and as_tensor(weight).shape != shape:
        raise ShapeError(
            at(op), f"the weight must be of shape {shape}", met=describe(weight), fix="reshape it"
        )
    return tuple(range(x.ndim - count, x.ndim))


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """(x − mean) / √(var + eps)·weight + bias over the last axes, those of `normalized_shape`.

    Ba, Kiros and Hinton 2016.

    >>> import wengert as wg
    >>> wg.nn.functional.layer_norm([1.0, 3.0], 2, eps=0.0)
    Tensor([-1., 1.], dtype=float32)
    """
    given = floating("layer_norm", input)
    axes = _trailing("layer_norm", given, normalized_shape, weight)
    out, _, _ = _standardized(_wide(given), axes, eps)
    weight = None if weight is None else as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    return _affine(out, weight, bias, given)


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    """x / √(mean(x²) + eps)·weight over the last axes, those of `normalized_shape`.

    `eps` is the machine epsilon of the input's dtype by default. Zhang and Sennrich 2019.

    >>> import wengert as wg
    >>> wg.nn.functional.rms_norm([3.0, 4.0], 2, eps=3.5)
    Tensor([0.75, 1. ], dtype=float32)
    """
    given = floating("rms_norm", input)
    axes = _trailing("rms_norm", given, normalized_shape, weight)
    smallest = float(xp.finfo(given.dtype).eps) if eps is None else eps
    out, _, _ = _standardized(_wide(given), axes, smallest, center=False)
    return _affine(out, None if weight is None else as_tensor(weight), None, given)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Normalisation of each group of channels of (N, C, …), sample by sample.

    Wu and He 2018.

    >>> import wengert as wg
    >>> wg.nn.functional.group_norm([[1.0, 3.0, 5.0, 9.0]], 2, eps=0.0)
    Tensor([[-1., 1., -1., 1.]], dtype=float32)
    """
    given = floating("group_norm", input)
    if given.ndim < 2 or num_groups < 1 or given.shape[1] % num_groups:
        raise ShapeError(
            at("group_norm"),
            "the groups must divide the channels of (batch, channels, …)",
            met=f"{num_groups} groups for {describe(given)}",
            fix="choose num_groups that divides the number of channels",
        )
    x = _wide(given)
    # Groups as an axis of their own, so that weights need one shape only.
    grouped = x.reshape((x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:]))
    out, _, _ = _standardized(grouped, tuple(range(2, grouped.ndim)), eps)
    shape = (num_groups, grouped.shape[2]) + (1,) * (x.ndim - 2)
    weight = None if weight is None else as_tensor(weight).reshape(shape)
    bias = None if bias is None else as_tensor(bias).reshape(shape)
    return _affine(out, weight, bias, given).reshape(x.shape)


# -- others ------------------------------------------------------------------------------------


def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha·mean of x² over `size` neighbouring channels)^beta, for (N, C, …).

    Krizhevsky, Sutskever and Hinton 2012.
    """
    x = floating("local_response_norm", input)
    (size,) = sizes("local_response_norm", "size", size, 1)
    if x.ndim < 3:
        raise ShapeError(
            at("local_response_norm"),
            "takes (batch, channels, *spatial)",
            met=describe(x),
            fix="add the missing axes",
        )
    channels = x.shape[1]
    place = np.arange(channels)
    near = (place >= place[:, None] - size // 2) & (place <= place[:, None] + (size - 1) // 2)
    mean = weighted_axis(xp.square(x), Tensor((near / size).astype(x.dtype)), axis=1)
    return x / xp.pow(k + alpha * mean, beta)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """x / max(‖x‖_p, eps) along an axis.

    >>> import wengert as wg
    >>> wg.nn.functional.normalize([[3.0, 4.0]])
    Tensor([[0.6, 0.8]], dtype=float32)
    """
    x = floating("normalize", input)
    norm = linalg.vector_norm(x, axis=dim, keepdims=True, ord=p)
    return x / xp.clip(norm, eps, None)
