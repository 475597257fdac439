"""Pooling: the largest, or the average, of each window. And resizing, its opposite.

Inputs are (N, C, *spatial), or (C, *spatial) without a batch. Where several values of a window
are the largest, the derivative goes to the first of them, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor
from wengert.nn.functional.arguments import Sizes, at, floating, sizes, spatial, unbatched
from wengert.ops.contract import contract
from wengert.ops.index import gather
from wengert.ops.pool import argmax_windows, take_windows
from wengert.ops.window import Padding, windows

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


class _Windows:
    """The places of pooling windows: PyTorch's arguments worked out for one input."""

    def __init__(
        self,
        op: str,
        x: Tensor,
        count: int,
        kernel: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: bool,
    ) -> None:
        self.size = sizes(op, "kernel_size", kernel, count)
        self.stride = self.size if stride is None else sizes(op, "stride", stride, count)
        self.pad = sizes(op, "padding", padding, count, least=0)
        self.dilation = sizes(op, "dilation", dilation, count)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.size, strict=True)]
        if any(2 * p > n for p, n in zip(self.pad, reach, strict=True)):
            raise ArgumentError(
                at(op),
                "padding must be at most half the window",
                met=f"padding {self.pad} for a window of {self.size}",
                fix="use a smaller padding, or nn.functional.pad before",
            )
        self.places = tuple(
            self._count(op, x, axis, n, ceil_mode) for axis, n in enumerate(x.shape[2:])
        )

    def _count(self, op: str, x: Tensor, axis: int, n: int, ceil_mode: bool) -> int:
        """Number of places along an axis. With `ceil_mode` a last window may stick out at the end,
        but must start inside the array or its padding in front."""
        s, p = self.stride[axis], self.pad[axis]
        room = n + 2 * p - self.dilation[axis] * (self.size[axis] - 1) - 1
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        if count < 1:
            raise ShapeError(
                at(op),
                "the window does not fit into the array",
                met=f"a window of {self.size} over {describe(x)} with padding {self.pad}",
                cause="too many pooling layers before, or swapped axes",
                fix="pad more, or use a smaller window",
            )
        return count

    def around(self, shape: Sizes) -> Padding:
        """Padding in front and behind, so that exactly `places` windows fit."""
        return tuple(
            (p, max((o - 1) * s + d * (k - 1) + 1 - n - p, 0))
            for n, o, s, d, k, p in zip(
                shape, self.places, self.stride, self.dilation, self.size, self.pad, strict=True
            )
        )


# -- maximum -----------------------------------------------------------------------------------


def _max_pool(
    op: str,
    count: int,
    input: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x, single = spatial(op, floating(op, input), count)
    at_ = _Windows(op, x, count, kernel, stride, padding, dilation, ceil_mode)
    how: dict[str, Any] = {"size": at_.size, "stride": at_.stride, "dilation": at_.dilation}
    how["padding"] = at_.around(x.shape[2:])
    where: Tensor = argmax_windows(x, **how)
    out = unbatched(take_windows(x, where, **how), single)
    return (out, unbatched(where, single)) if return_indices else out


def _values_at(x: Tensor, where: Tensor, single: bool, return_indices: bool) -> Any:
    """The values at indices into the flattened spatial axes."""
    rows = x.shape[:2]
    flat = x.reshape((*rows, math.prod(x.shape[2:])))
    found = xp.take_along_axis(flat, where.reshape((*rows, math.prod(where.shape[2:]))), axis=2)
    out = unbatched(found.reshape(where.shape), single)
    return (out, unbatched(where, single)) if return_indices else out


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, L); see `max_pool2d`.

    >>> import wengert as wg
    >>> wg.nn.functional.max_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2)
    Tensor([[[3., 2.]]], dtype=float32)
    """
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, H, W); `stride` is the window's size by default.

    Padding counts as −∞. With `ceil_mode` a last window may stick out at the end. With
    `return_indices` also the place of each value, as index into the flattened H·W.
    Ranzato et al. 2007; LeCun et al. 1998 for pooling.

    >>> import wengert as wg
    >>> wg.nn.functional.max_pool2d(wg.reshape(wg.arange(16.0), (1, 1, 4, 4)), 2).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, D, H, W); see `max_pool2d`."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


# -- average -----------------------------------------------------------------------------------


def _sum_windows(x: Tensor, at_: _Windows) -> Tensor:
    """Sums over windows, padding counting as 0."""
    around = at_.around(x.shape[2:])
    if any(map(sum, around)):
        x = xp.pad(x, ((0, 0), (0, 0), *around))
    seen: Tensor = windows(x, size=at_.size, stride=at_.stride, dilation=at_.dilation)
    count = len(at_.size)
    # Entries of the window in front, made one axis: the sum then runs over long rows.
    axes = (*range(2 + count, 2 + 2 * count), *range(2 + count))
    stacked = xp.permute_dims(seen, axes).reshape((math.prod(at_.size), *seen.shape[: 2 + count]))
    return xp.sum(stacked, axis=0)


def _divisors(shape: Sizes, at_: _Windows, count_include_pad: bool) -> Any:
    """Number of entries that each window's average counts: those that fall on the array or, with
    `count_include_pad`, on its padding too (but not what `ceil_mode` adds behind it)."""
    total: Any = np.ones(())
    for n, o, s, k, p in zip(shape, at_.places, at_.stride, at_.size, at_.pad, strict=True):
        start = np.arange(o) * s - p
        end = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        total = np.asarray(total)[..., None] * (end - start)
    return total


def _avg_pool(
    op: str,
    count: int,
    input: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    x, single = spatial(op, floating(op, input), count)
    at_ = _Windows(op, x, count, kernel, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise ArgumentError(at(op), "divisor_override must not be 0", fix="pass None for the size")
    divisor = _divisors(x.shape[2:], at_, count_include_pad)
    total = _sum_windows(x, at_)
    if divisor_override is not None:
        out = total * (1.0 / divisor_override)
    elif np.all(divisor == divisor.flat[0]):
        out = total * (1.0 / float(divisor.flat[0]))
    else:
        out = total * Tensor((1.0 / divisor).astype(x.dtype))
    return unbatched(out, single)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The average of each window of (N, C, L); see `avg_pool2d`.

    >>> import wengert as wg
    >>> wg.nn.functional.avg_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2)
    Tensor([[[2., 1.]]], dtype=float32)
    """
    return _avg_pool(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of each window of (N, C, H, W); `stride` is the window's size by default.

    Padding counts as zeros with `count_include_pad`, else not at all. `divisor_override` divides
    the sum in place of the number of entries. LeCun et al. 1989.

    >>> import wengert as wg
    >>> wg.nn.functional.avg_pool2d(wg.reshape(wg.arange(16.0), (1, 1, 4, 4)), 2).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    return _avg_pool(
        "avg_pool2d",
        2,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The average of each window of (N, C, D, H, W); see `avg_pool2d`."""
    return _avg_pool(
        "avg_pool3d",
        3,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


def _lp_pool(
    op: str, count: int, input: Any, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    if not norm_type > 0:
        raise ArgumentError(at(op), "norm_type must be positive", met=repr(norm_type), fix="use 2")
    x = floating(op, input)
    if norm_type == math.inf:
        largest: Tensor = _max_pool(op, count, xp.abs(x), kernel, stride, 0, 1, ceil_mode, False)
        return largest
    powers = xp.pow(x, float(norm_type))
    mean = _avg_pool(op, count, powers, kernel, stride, 0, ceil_mode, True, None)
    total = mean * float(math.prod(sizes(op, "kernel_size", kernel, count)))
    zero = total == 0  # where the root has no derivative: it is taken as 0
    return xp.where(zero, 0.0, xp.pow(xp.where(zero, 1.0, total), 1.0 / norm_type))


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over each window of (N, C, L)."""
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over each window of (N, C, H, W). Sermanet, Chintala, LeCun 2012.

    >>> import wengert as wg
    >>> wg.nn.functional.lp_pool2d([[[3.0], [4.0]]], 2.0, (2, 1)).tolist()
    [[[5.0]]]
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """(Σ xᵖ)^(1/p) over each window of (N, C, D, H, W)."""
    return _lp_pool("lp_pool3d", 3, input, norm_type, kernel_size, stride, ceil_mode)


# -- adaptive ----------------------------------------------------------------------------------


def _output_size(op: str, output_size: Any, shape: Sizes) -> Sizes:
    """The wanted sizes; None keeps an axis as it is."""
    count = len(shape)
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * count
    if len(wanted) == count:
        wanted = tuple(n if w is None else w for w, n in zip(wanted, shape, strict=True))
    return sizes(op, "output_size", wanted, count)


def _regions(n: int, out: int) -> tuple[Any, Any]:
    """Where each of `out` regions of an axis of size n starts and ends: they cover it evenly."""
    place = np.arange(out)
    return place * n // out, -(-(place + 1) * n // out)


def _adaptive_avg(op: str, count: int, input: Any, output_size: Any) -> Tensor:
    x, single = spatial(op, floating(op, input), count)
    out = _output_size(op, output_size, x.shape[2:])
    if all(n % o == 0 for n, o in zip(x.shape[2:], out, strict=True)):
        kernel = tuple(n // o for n, o in zip(x.shape[2:], out, strict=True))
        return unbatched(_even_mean(x, out, kernel), single)
    for axis, (n, o) in enumerate(zip(x.shape[2:], out, strict=True), start=2):
        start, end = _regions(n, o)
        inside = (np.arange(n) >= start[:, None]) & (np.arange(n) < end[:, None])
        weights = inside / (end - start)[:, None]
        x = weighted_axis(x, Tensor(weights.astype(x.dtype)), axis)
    return unbatched(x, single)


def _even_mean(x: Tensor, out: Sizes, kernel: Sizes) -> Tensor:
    """Averages over blocks that divide the array."""
    if all(n == 1 for n in out):
        return xp.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True)
    split = [n for pair in zip(out, kernel, strict=True) for n in pair]
    blocks = x.reshape((*x.shape[:2], *split))
    return xp.mean(blocks, axis=tuple(range(3, blocks.ndim, 2)))


def weighted_axis(x: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Σ_j weights[i, j]·x[…, j, …] along one axis."""
    labels = tuple(range(x.ndim))
    result = (*labels[:axis], x.ndim, *labels[axis + 1 :])
    out: Tensor = contract(x, weights, subs=(labels, (x.ndim, axis), result))
    return out


def _adaptive_max(op: str, count: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    x, single = spatial(op, floating(op, input), count)
    shape = x.shape[2:]
    out = _output_size(op, output_size, shape)
    if all(n % o == 0 for n, o in zip(shape, out, strict=True)):
        kernel = tuple(n // o for n, o in zip(shape, out, strict=True))
        return unbatched_pair(
            _max_pool(op, count, x, kernel, None, 0, 1, False, return_indices), single
        )
    place: Any = np.zeros((), np.int64)  # of each entry of each region: (*out, entries)
    for n, o in zip(shape, out, strict=True):
        start, end = _regions(n, o)
        entry = np.minimum(start[:, None] + np.arange(np.max(end - start)), end[:, None] - 1)
        place = place[..., None, None] * n + entry
    order = (*range(0, 2 * count, 2), *range(1, 2 * count, 2))
    place = place.transpose(order).reshape(*out, -1)
    flat = x.detach().reshape((*x.shape[:2], math.prod(shape)))
    first = xp.argmax(gather(flat, Tensor(place), axis=2), axis=-1)
    table = xp.broadcast_to(Tensor(place), (*first.shape, place.shape[-1]))
    where = xp.take_along_axis(table, xp.expand_dims(first, axis=-1), axis=-1)
    return _values_at(x, where.reshape(first.shape), single, return_indices)


def unbatched_pair(found: Any, single: bool) -> Any:
    """`unbatched` for a result, or for each of a pair of results."""
    if isinstance(found, tuple):
        return tuple(unbatched(t, single) for t in found)
    return unbatched(found, single)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Tensor:
    """Averages of (N, C, L) over `output_size` regions that cover it evenly.

    >>> import wengert as wg
    >>> wg.nn.functional.adaptive_avg_pool1d([[[1.0, 3.0, 2.0, 0.0]]], 2)
    Tensor([[[2., 1.]]], dtype=float32)
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Averages of (N, C, H, W) over a grid of regions; None in `output_size` keeps an axis.

    Region i of n along an axis of size L is ⌊i·L/n⌋ … ⌈(i+1)·L/n⌉ − 1. Lin, Chen and Yan 2014 for
    the global average, `output_size=1`.

    >>> import wengert as wg
    >>> wg.nn.functional.adaptive_avg_pool2d(wg.ones((2, 3, 7, 5)), (3, None)).shape
    (2, 3, 3, 5)
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Tensor:
    """Averages of (N, C, D, H, W) over a grid of regions; see `adaptive_avg_pool2d`."""
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of (N, C, L) in regions that cover it evenly."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of (N, C, H, W) in a grid of regions; see `adaptive_avg_pool2d`.

    >>> import wengert as wg
    >>> wg.nn.functional.adaptive_max_pool2d(wg.reshape(wg.arange(6.0), (1, 2, 3)), (1, 2)).tolist()
    [[[4.0, 5.0]]]
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of (N, C, D, H, W) in a grid of regions."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)
