"""Convolutions and their transposes in one, two and three dimensions, and patches.

Inputs are (N, C, *spatial), or (C, *spatial) without a batch; weights (out, in/groups, *kernel),
for the transposed ones (in, out/groups, *kernel). As everywhere in the field, "convolution" does
not flip the kernel: it is a cross-correlation.
"""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import (
    Sizes,
    at,
    floating,
    per_channel,
    same_dtype,
    sizes,
    spatial,
    unbatched,
)
from wengert.ops.convolve import conv, conv_input
from wengert.ops.window import Padding, windows
from wengert.ops.window import fold as fold_windows

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fold",
    "unfold",
]


def conv_padding(op: str, padding: Any, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Padding:
    """Zeros before and after each spatial axis. "same" puts the odd one behind."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ArgumentError(
                at(op),
                "padding='same' needs a stride of 1",
                met=f"stride {stride}",
                fix="give the padding in numbers",
            )
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((n // 2, n - n // 2) for n in totals)
    if isinstance(padding, str):
        raise ArgumentError(
            at(op), "unknown padding", met=repr(padding), fix="pass 'same', 'valid' or integers"
        )
    return tuple((p, p) for p in sizes(op, "padding", padding, len(kernel), least=0))


def _check_weight(op: str, weight: Tensor, count: int) -> None:
    if weight.ndim != count + 2:
        raise ShapeError(
            at(op),
            f"the weight must have {count + 2} axes: channels, channels, and the kernel's {count}",
            met=describe(weight),
            fix="reshape the weight",
        )


def _conv(
    op: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    x, weight = same_dtype(floating(op, input), as_tensor(weight))
    _check_weight(op, weight, count)
    x, single = spatial(op, x, count, weight.shape[1] * groups)
    stride, dilation = sizes(op, "stride", stride, count), sizes(op, "dilation", dilation, count)
    around = conv_padding(op, padding, weight.shape[2:], stride, dilation)
    out: Tensor = conv(x, weight, stride=stride, padding=around, dilation=dilation, groups=groups)
    if bias is not None:
        out = out + per_channel(as_tensor(bias), out.ndim)
    return unbatched(out, single)


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over (N, C, L). Waibel et al. 1989.

    >>> import wengert as wg
    >>> wg.nn.functional.conv1d([[[1.0, 2.0, 4.0, 8.0]]], [[[-1.0, 1.0]]])
    Tensor([[[1., 2., 4.]]], dtype=float32)
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over (N, C, H, W):
    y[n, f, o] = Σ x[n, c, stride·o + dilation·k − padding]·w[f, c, k] + b[f].

    `padding` is a number of zeros on both sides of each axis, "valid" (none) or "same" (as many as
    keep the size, for stride 1). Fukushima 1980; LeCun et al. 1989.

    >>> import wengert as wg
    >>> image, kernels = wg.ones((1, 3, 8, 8)), wg.ones((4, 3, 3, 3))
    >>> wg.nn.functional.conv2d(image, kernels, padding=1, stride=2).shape
    (1, 4, 4, 4)
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over (N, C, D, H, W); see `conv2d`."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


# -- transposed --------------------------------------------------------------------------------


def _conv_transpose(
    op: str,
    count: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    y, weight = same_dtype(floating(op, input), as_tensor(weight))
    _check_weight(op, weight, count)
    y, single = spatial(op, y, count, weight.shape[0])
    stride, dilation = sizes(op, "stride", stride, count), sizes(op, "dilation", dilation, count)
    padding = sizes(op, "padding", padding, count, least=0)
    extra = sizes(op, "output_padding", output_padding, count, least=0)
    _check_output_padding(op, extra, stride, dilation)
    # Extra size first uncovers what the padding cut off at the end; what is left is zeros.
    uncovered = tuple(min(e, p) for e, p in zip(extra, padding, strict=True))
    size = tuple(
        (o - 1) * s + d * (k - 1) + 1 - 2 * p + u
        for o, s, d, k, p, u in zip(
            y.shape[2:], stride, dilation, weight.shape[2:], padding, uncovered, strict=True
        )
    )
    if min(size) < 1:
        raise ShapeError(
            at(op),
            "the padding leaves nothing of the result",
            met=f"{describe(y)} with padding {padding}: a result of size {size}",
            fix="use a smaller padding",
        )
    around = tuple((p, p - u) for p, u in zip(padding, uncovered, strict=True))
    out: Tensor = conv_input(
        weight, y, stride=stride, padding=around, dilation=dilation, groups=groups, size=size
    )
    if uncovered != extra:
        after = tuple((0, e - u) for e, u in zip(extra, uncovered, strict=True))
        out = xp.pad(out, ((0, 0), (0, 0), *after))
    if bias is not None:
        out = out + per_channel(as_tensor(bias), out.ndim)
    return unbatched(out, single)


def _check_output_padding(op: str, extra: Sizes, stride: Sizes, dilation: Sizes) -> None:
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ArgumentError(
            at(op),
            "output_padding must be smaller than the stride or the dilation",
            met=f"output_padding {extra} with stride {stride} and dilation {dilation}",
            cause="it only chooses among the input sizes that a strided convolution maps to one",
            fix="use at most stride − 1",
        )


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution over (N, C, L); see `conv_transpose2d`.

    >>> import wengert as wg
    >>> wg.nn.functional.conv_transpose1d([[[1.0, 2.0]]], [[[1.0, 10.0]]], stride=2)
    Tensor([[[ 1., 10., 2., 20.]]], dtype=float32)
    """
    return _conv_transpose(
        "conv_transpose1d",
        1,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d` in its input, applied to (N, C, H, W): each value spreads the
    kernel around its place. Sizes are (n − 1)·stride − 2·padding + dilation·(kernel − 1) +
    output_padding + 1. Zeiler et al. 2010.

    >>> import wengert as wg
    >>> small, kernels = wg.ones((1, 3, 4, 4)), wg.ones((3, 8, 2, 2))
    >>> wg.nn.functional.conv_transpose2d(small, kernels, stride=2).shape
    (1, 8, 8, 8)
    """
    return _conv_transpose(
        "conv_transpose2d",
        2,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution over (N, C, D, H, W); see `conv_transpose2d`."""
    return _conv_transpose(
        "conv_transpose3d",
        3,
        input,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


# -- patches -----------------------------------------------------------------------------------


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Sliding patches of (N, C, H, W) as columns: (N, C·kernel, places).

    >>> import wengert as wg
    >>> wg.nn.functional.unfold(wg.ones((1, 2, 4, 4)), 3).shape
    (1, 18, 4)
    """
    x, single = spatial("unfold", floating("unfold", input), 2)
    kernel, stride, dilation, padding = _patch_sizes(
        "unfold", kernel_size, stride, dilation, padding
    )
    if any(padding):
        x = xp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    seen = windows(x, size=kernel, stride=stride, dilation=dilation)  # (N, C, oh, ow, kh, kw)
    columns = xp.permute_dims(seen, (0, 1, 4, 5, 2, 3))
    out = columns.reshape((x.shape[0], x.shape[1] * math.prod(kernel), math.prod(seen.shape[2:4])))
    return unbatched(out, single)


def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """The transpose of `unfold`: sums columns (N, C·kernel, places) into (N, C, *output_size).

    >>> import wengert as wg
    >>> wg.nn.functional.fold(wg.ones((1, 4, 4)), (3, 3), 2)[0, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    columns = floating("fold", input)
    single = columns.ndim == 2
    if single:
        columns = columns.reshape((1, *columns.shape))
    kernel, stride, dilation, padding = _patch_sizes("fold", kernel_size, stride, dilation, padding)
    size = sizes("fold", "output_size", output_size, 2)
    full = tuple(n + 2 * p for n, p in zip(size, padding, strict=True))
    places = tuple(
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(full, dilation, kernel, stride, strict=True)
    )
    depth = math.prod(kernel)
    if columns.ndim != 3 or columns.shape[1] % depth or columns.shape[2] != math.prod(places):
        raise ShapeError(
            at("fold"),
            "expects columns (N, C·kernel, places)",
            met=f"{describe(columns)} for a kernel of {kernel} and {places} places",
            fix="pass what unfold gives for an image of output_size",
        )
    channels = columns.shape[1] // depth
    seen = columns.reshape((columns.shape[0], channels, *kernel, *places))
    seen = xp.permute_dims(seen, (0, 1, 4, 5, 2, 3))
    out: Tensor = fold_windows(seen, shape=full, stride=stride, dilation=dilation)
    if any(padding):
        out = out[(..., *(slice(p, p + n) for n, p in zip(size, padding, strict=True)))]
    return unbatched(out, single)


def _patch_sizes(
    op: str, kernel: Any, stride: Any, dilation: Any, padding: Any
) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    return (
        sizes(op, "kernel_size", kernel, 2),
        sizes(op, "stride", stride, 2),
        sizes(op, "dilation", dilation, 2),
        sizes(op, "padding", padding, 2, least=0),
    )
