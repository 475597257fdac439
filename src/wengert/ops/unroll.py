"""The NumPy reference of convolution: windows are laid out as a matrix and multiplied.

A few images at a time are laid out, so that their windows stay in the cache. Of the two layouts,
"rows" (places, kernel × channels) copies runs of channels, and "columns" (channels × kernel,
places) runs of places; the longer runs win. All operands here fit and are not empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from wengert.core.op import Array
from wengert.core.spec import Shape
from wengert.ops.window import Padding, Sizes, add_windows, places, view_windows

CHUNK = 1 << 20  # bytes of windows that are laid out at a time


def _rows_win(channels: int, kernel: Shape, outs: Shape, groups: int) -> bool:
    return groups == 1 and len(outs) > 0 and channels * kernel[-1] >= 2 * outs[-1]


def _pad(x: Array, padding: Padding, first: int) -> Array:
    """`x` with zeros around the spatial axes, which begin at axis `first`."""
    if not any(map(sum, padding)):
        return x
    last = first + len(padding)
    widths = [n + sum(p) for n, p in zip(x.shape[first:last], padding, strict=True)]
    full = np.zeros((*x.shape[:first], *widths, *x.shape[last:]), x.dtype)
    full[_inside(x.shape[first:last], padding, first)] = x
    return full


def _inside(size: Shape, padding: Padding, first: int) -> tuple[Any, ...]:
    """The index of what padding surrounds."""
    middle = [slice(lo, lo + n) for n, (lo, _) in zip(size, padding, strict=True)]
    return (*(slice(None),) * first, *middle)


def _channels_last(x: Array) -> Array:
    return x.transpose(0, *range(2, x.ndim), 1)


def _channels_first(x: Array) -> Array:
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def _rows(x: Array, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes) -> Array:
    """A view of the windows of x as (N, *o, *k, C)."""
    last = np.ascontiguousarray(_pad(_channels_last(x), padding, 1))
    return view_windows(last, size, stride, dilation, 1)


def _columns(x: Array, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes) -> Array:
    """A view of the windows of x as (N, C, *k, *o)."""
    seen = view_windows(_pad(x, padding, 2), size, stride, dilation, 2)
    middle = 2 + len(size)
    return seen.transpose(0, 1, *range(middle, seen.ndim), *range(2, middle))


def _chunks(count: int, nbytes: int) -> Iterator[slice]:
    """Slices of `count` images such that each holds about CHUNK of the `nbytes` of all."""
    step = max(1, CHUNK * count // max(nbytes, 1))
    for first in range(0, count, step):
        yield slice(first, min(first + step, count))


def _laid_out(seen: Array) -> Iterator[tuple[slice, Array]]:
    """Contiguous copies of some images' windows at a time; they share one buffer."""
    if seen.flags.c_contiguous:
        yield slice(0, len(seen)), seen
        return
    buffer: Array | None = None
    for images in _chunks(len(seen), seen.nbytes):
        part = seen[images]
        if buffer is None:
            buffer = np.empty(part.shape, part.dtype)
        filled = buffer[: len(part)]
        np.copyto(filled, part)
        yield images, filled


def slide(
    x: Array, w: Array, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Array:
    """The output: windows of x times the weights."""
    count, kernel, filters, depth = len(x), w.shape[2:], w.shape[0], prod(w.shape[1:])
    outs = places("conv", x.shape[2:], kernel, stride, dilation, padding)
    if _rows_win(x.shape[1], kernel, outs, groups):
        right = np.ascontiguousarray(_channels_last(w).reshape(filters, depth).T)
        rows = np.empty((count, prod(outs), filters), x.dtype)
        for images, part in _laid_out(_rows(x, kernel, stride, padding, dilation)):
            np.dot(part.reshape(-1, depth), right, out=rows[images].reshape(-1, filters))
        return _channels_first(rows.reshape(count, *outs, filters))
    left = w.reshape(groups, filters // groups, depth)
    columns = np.empty((count, groups, filters // groups, prod(outs)), x.dtype)
    for images, part in _laid_out(_columns(x, kernel, stride, padding, dilation)):
        stacked = part.reshape(len(part), groups, depth, prod(outs))
        np.matmul(left, stacked, out=columns[images])
    return columns.reshape(count, filters, *outs)


def weigh(
    x: Array, y: Array, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Array:
    """The weights' partial contraction: windows of x times y, summed over images and places."""
    filters, channels, outs = y.shape[1], x.shape[1], y.shape[2:]
    depth = channels // groups * prod(size)
    if _rows_win(channels, size, outs, groups):
        total = np.zeros((filters, depth), x.dtype)
        left: Array = np.ascontiguousarray(_channels_last(y)).reshape(len(y), -1, filters)
        for images, part in _laid_out(_rows(x, size, stride, padding, dilation)):
            total += left[images].reshape(-1, filters).T.dot(part.reshape(-1, depth))
        return _channels_first(total.reshape(filters, *size, channels))
    total = np.zeros((groups, filters // groups, depth), x.dtype)
    left = y.reshape(len(y), groups, filters // groups, prod(outs))
    for images, part in _laid_out(_columns(x, size, stride, padding, dilation)):
        right = part.reshape(len(part), groups, depth, prod(outs))
        total += np.matmul(left[images], right.swapaxes(2, 3)).sum(0)
    return total.reshape(filters, channels // groups, *size)


def spread(
    w: Array, y: Array, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Array:
    """The input's partial contraction: y times the weights, added up where its windows lie."""
    around = _padding_of_the_transpose(w.shape[2:], stride, padding, dilation)
    if around is not None and w.shape[0] <= 4 * w.shape[1] * groups:
        return slide(y, _turned(w, groups), (1,) * len(size), around, dilation, groups)
    count, channels = len(y), w.shape[1] * groups
    kernel, outs, filters = w.shape[2:], y.shape[2:], y.shape[1]
    full = [n + sum(p) for n, p in zip(size, padding, strict=True)]
    nbytes = prod((count, channels, *kernel, *outs)) * y.itemsize
    if _rows_win(channels, kernel, outs, groups):
        right: Array = np.ascontiguousarray(_channels_last(w)).reshape(filters, -1)
        left = np.ascontiguousarray(_channels_last(y)).reshape(count, -1, filters)
        total = np.zeros((count, *full, channels), y.dtype)
        for images in _chunks(count, nbytes):
            rows = left[images].reshape(-1, filters).dot(right)
            seen = rows.reshape(-1, *outs, *kernel, channels)
            add_windows(total[images], seen, kernel, stride, dilation, 1)
        return _channels_first(total[_inside(size, padding, 1)])
    turned = w.reshape(groups, filters // groups, -1).swapaxes(1, 2)
    right = y.reshape(count, groups, filters // groups, prod(outs))
    total = np.zeros((count, channels, *full), y.dtype)
    middle = 2 + len(kernel)
    places_first = (0, 1, *range(middle, middle + len(kernel)), *range(2, middle))
    for images in _chunks(count, nbytes):
        columns = np.matmul(turned, right[images]).reshape(-1, channels, *kernel, *outs)
        seen = columns.transpose(places_first)
        add_windows(total[images], seen, kernel, stride, dilation, 2)
    return total[_inside(size, padding, 2)]


def _padding_of_the_transpose(
    kernel: Shape, stride: Sizes, padding: Padding, dilation: Sizes
) -> Padding | None:
    """Without a stride the transpose is a convolution with turned weights; its padding."""
    around = tuple(
        (d * (k - 1) - lo, d * (k - 1) - hi)
        for k, d, (lo, hi) in zip(kernel, dilation, padding, strict=True)
    )
    plain = max(stride, default=1) == 1 and min(sum(around, ()), default=0) >= 0
    return around if plain else None


def _turned(w: Array, groups: int) -> Array:
    """Weights with input and output channels exchanged and the kernel reversed."""
    filters, depth, *kernel = w.shape
    w = np.flip(w, tuple(range(2, w.ndim))).reshape(groups, filters // groups, depth, *kernel)
    return w.swapaxes(1, 2).reshape(groups * depth, filters // groups, *kernel)
