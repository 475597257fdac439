"""Resizing of images and signals, and moving channels to space and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor
from wengert.nn.functional.arguments import Sizes, at, floating, sizes
from wengert.nn.functional.pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from wengert.ops.index import gather

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle"]

_RANK_OF = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4}
_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Tensor:
    """Resize the spatial axes of (N, C, *spatial) to `size`, or by `scale_factor`.

    Modes: "nearest" (as PyTorch, at the lower edge of each cell), "nearest-exact" (at its middle),
    "linear", "bilinear", "trilinear" and "bicubic" (Keys 1981, a = −0.75), "area" (averages).
    `align_corners` puts the first and last samples on top of each other, not the outer edges.

    >>> import wengert as wg
    >>> wg.nn.functional.interpolate([[[1.0, 2.0]]], scale_factor=2, mode="linear")
    Tensor([[[1. , 1.25, 1.75, 2. ]]], dtype=float32)
    """
    x = floating("interpolate", input)
    _check(x, mode, align_corners)
    out, factors = _target(x.shape[2:], size, scale_factor, recompute_scale_factor)
    if mode == "area":
        average = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[x.ndim - 3]
        return average(x, out)
    for axis, (o, factor) in enumerate(zip(out, factors, strict=True), start=2):
        n = x.shape[axis]
        if mode.startswith("nearest"):
            x = _nearest(x, axis, n, o, factor, 0.5 if mode == "nearest-exact" else 0.0)
        elif n != o or (factor is not None and factor != 1.0):
            source = _sources(n, o, factor, bool(align_corners))
            cubic = mode == "bicubic"
            x = _cubic(x, axis, n, source) if cubic else _linear(x, axis, n, source)
    return x


def _check(x: Tensor, mode: str, align_corners: bool | None) -> None:
    if mode not in _MODES:
        raise ArgumentError(
            at("interpolate"),
            "unknown mode",
            met=repr(mode),
            fix="use " + ", ".join(map(repr, _MODES)),
        )
    if x.ndim not in (3, 4, 5) or x.ndim != _RANK_OF.get(mode, x.ndim):
        raise ShapeError(
            at("interpolate"),
            f"mode {mode!r} takes {_RANK_OF.get(mode, '3, 4 or 5')} axes, (N, C, *spatial)",
            met=describe(x),
            cause="a missing batch or channel axis",
            fix="add an axis with x[None], or choose the mode for this number of axes",
        )
    if align_corners is not None and mode not in _RANK_OF:
        raise ArgumentError(
            at("interpolate"),
            "align_corners has a meaning for the linear and cubic modes only",
            met=f"mode {mode!r}",
            fix="drop it",
        )


def _target(
    shape: Sizes, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[Sizes, tuple[float | None, ...]]:
    """The new sizes, and the scale factors that positions are worked out with (None: from the
    sizes)."""
    count = len(shape)
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            at("interpolate"),
            "takes either size or scale_factor",
            met=f"size={size!r}, scale_factor={scale_factor!r}",
            fix="pass one of them",
        )
    if size is not None:
        return sizes("interpolate", "size", size, count), (None,) * count
    given = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * count
    if len(given) != count or not all(f > 0 for f in given):
        raise ArgumentError(
            at("interpolate"),
            f"scale_factor must be a positive number, or {count} of them",
            met=repr(scale_factor),
            fix="pass one factor for each spatial axis",
        )
    factors = tuple(float(f) for f in given)
    out = tuple(math.floor(n * f) for n, f in zip(shape, factors, strict=True))
    return sizes("interpolate", "size", out, count), (None,) * count if recompute else factors


def _nearest(x: Tensor, axis: int, n: int, out: int, factor: float | None, shift: float) -> Tensor:
    step = np.float32(n / out if factor is None else 1.0 / factor)
    place = (np.arange(out, dtype=np.float32) + np.float32(shift)) * step
    place = np.floor(place).astype(np.int64)
    found: Tensor = gather(x, Tensor(np.minimum(place, n - 1)), axis=axis)
    return found


def _sources(n: int, out: int, factor: float | None, align_corners: bool) -> Any:
    """Where each new sample lies among the old ones."""
    if align_corners:
        return np.arange(out) * ((n - 1) / (out - 1) if out > 1 else 0.0)
    step = n / out if factor is None else 1.0 / factor
    return (np.arange(out) + 0.5) * step - 0.5


def _weights(x: Tensor, axis: int, values: Any) -> Tensor:
    shape = [1] * x.ndim
    shape[axis] = len(values)
    return Tensor(values.astype(x.dtype).reshape(shape))


def _linear(x: Tensor, axis: int, n: int, source: Any) -> Tensor:
    source = np.maximum(source, 0.0)
    low = np.minimum(source.astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    left: Tensor = gather(x, Tensor(low), axis=axis)
    right: Tensor = gather(x, Tensor(high), axis=axis)
    return left * _weights(x, axis, 1.0 - (source - low)) + right * _weights(x, axis, source - low)


def _cubic(x: Tensor, axis: int, n: int, source: Any) -> Tensor:
    """Four neighbours with the weights of cubic convolution."""
    base = np.floor(source).astype(np.int64)
    t = source - base
    a = -0.75
    total: Any = None
    for offset in range(-1, 3):
        d = np.abs(t - offset)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        place = np.clip(base + offset, 0, n - 1)
        part = gather(x, Tensor(place), axis=axis) * _weights(x, axis, np.where(d <= 1, near, far))
        total = part if total is None else total + part
    out: Tensor = total
    return out


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(…, C·r², H, W) to (…, C, H·r, W·r): each group of r² channels becomes an r × r block.

    Shi et al. 2016.

    >>> import wengert as wg
    >>> wg.nn.functional.pixel_shuffle(wg.ones((1, 8, 3, 3)), 2).shape
    (1, 2, 6, 6)
    """
    x = floating("pixel_shuffle", input)
    (r,) = sizes("pixel_shuffle", "upscale_factor", upscale_factor, 1)
    if x.ndim < 3 or x.shape[-3] % (r * r):
        raise ShapeError(
            at("pixel_shuffle"),
            f"the number of channels must be divisible by {r}² = {r * r}",
            met=describe(x),
            fix="give the layer before r² times as many channels",
        )
    *lead, channels, height, width = x.shape
    blocks = x.reshape((*lead, channels // (r * r), r, r, height, width))
    k = len(lead)
    moved = xp.permute_dims(blocks, (*range(k + 1), k + 3, k + 1, k + 4, k + 2))
    return moved.reshape((*lead, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`: (…, C, H·r, W·r) to (…, C·r², H, W).

    >>> import wengert as wg
    >>> wg.nn.functional.pixel_unshuffle(wg.ones((1, 2, 6, 6)), 2).shape
    (1, 8, 3, 3)
    """
    x = floating("pixel_unshuffle", input)
    (r,) = sizes("pixel_unshuffle", "downscale_factor", downscale_factor, 1)
    if x.ndim < 3 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(
            at("pixel_unshuffle"),
            f"height and width must be divisible by {r}",
            met=describe(x),
            fix="pad or crop the image",
        )
    *lead, channels, height, width = x.shape
    blocks = x.reshape((*lead, channels, height // r, r, width // r, r))
    k = len(lead)
    moved = xp.permute_dims(blocks, (*range(k + 1), k + 2, k + 4, k + 1, k + 3))
    return moved.reshape((*lead, channels * r * r, height // r, width // r))
