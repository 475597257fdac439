"""Sliding windows over arrays, and convolution of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.linear import pair
from wengert.ops.convolve import conv
from wengert.ops.movement import permute, reshape
from wengert.ops.pieces import flip as _flip
from wengert.ops.window import windows

__all__ = ["convolve", "correlate", "sliding_window_view"]


def sliding_window_view(
    x: Any, window_shape: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """All windows of a shape, as a view: each place of the window, then the entries in it.

    The axes that the window slides over shrink to the number of places; the window's axes come
    last. Without `axis` the window must cover all axes.

    >>> import wengert as wg
    >>> wg.sliding_window_view(wg.asarray([1, 2, 3, 4]), 3)
    Tensor([[1, 2, 3],
            [2, 3, 4]], dtype=int64)
    """
    x = as_tensor(x)
    size = (window_shape,) if isinstance(window_shape, int) else tuple(window_shape)
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        given = (axis,) if isinstance(axis, int) else tuple(axis)
        axes = tuple(normalize_axis("sliding_window_view", a, x.ndim) for a in given)
    if len(size) != len(axes) or len(set(axes)) != len(axes):
        raise ArgumentError(
            "sliding_window_view",
            "the window must have one size for each axis that it slides over",
            met=f"a window of {size} over the axes {axes} of {x.shape}",
            fix="pass axis= for the axes that the window covers, each once",
        )
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    ones = (1,) * len(size)
    seen = windows(permute(x, axes=(*rest, *axes)), size=size, stride=ones, dilation=ones)
    # (*rest, *places, *size): put the places back where their axes were.
    order = [(*rest, *axes).index(a) for a in range(x.ndim)]
    out: Tensor = permute(seen, axes=(*order, *range(x.ndim, x.ndim + len(size))))
    return out


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """Cross-correlation of two sequences: out[k] = Σₙ a[n + k] · v[n].

    `mode` keeps the places where both overlap fully ("valid"), as many as the longer has ("same"),
    or all ("full").

    >>> import wengert as wg
    >>> wg.correlate(wg.asarray([1.0, 2.0, 3.0]), wg.asarray([0.0, 1.0]))
    Tensor([2., 3.], dtype=float32)
    """
    return _slide("correlate", a, v, mode, flip=False)


def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """Discrete convolution of two sequences: out[k] = Σₙ a[n] · v[k − n].

    >>> import wengert as wg
    >>> wg.convolve(wg.asarray([1.0, 2.0, 3.0]), wg.asarray([1.0, 1.0]))
    Tensor([1., 3., 5., 3.], dtype=float32)
    """
    return _slide("convolve", a, v, mode, flip=True)


def _slide(op: str, a: Any, v: Any, mode: str, flip: bool) -> Tensor:
    """Slide the shorter sequence over the longer one."""
    long, short = pair(a, v)
    if long.ndim != 1 or short.ndim != 1 or not long.size or not short.size:
        raise ShapeError(
            op,
            "takes two sequences that are not empty",
            met=f"{long.shape} and {short.shape}",
            fix="for stacks and images use wg.nn.functional.conv1d, conv2d, conv3d",
        )
    swap = short.size > long.size
    if swap:
        long, short = short, long
    m = short.size
    padding = {"valid": (0, 0), "same": (m // 2, m - 1 - m // 2), "full": (m - 1, m - 1)}
    if mode not in padding:
        raise ArgumentError(op, "unknown mode", met=repr(mode), fix="use 'full', 'same' or 'valid'")
    out = conv(
        reshape(long, shape=(1, 1, long.size)),
        reshape(_flip(short, axes=(0,)) if flip else short, shape=(1, 1, m)),
        stride=(1,),
        padding=(padding[mode],),
        dilation=(1,),
        groups=1,
    )
    line: Tensor = reshape(out, shape=(out.size,))
    # Correlation, unlike convolution, is not symmetric: the other order reverses the result.
    if swap and not flip:
        line = _flip(line, axes=(0,))
    return line
