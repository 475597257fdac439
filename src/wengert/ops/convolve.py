"""Convolution: a contraction over windows, with its transposes in every operand.

Convolution is one trilinear form of an input x, weights w and an output y,

    T = Σ x[n, c, stride·o + dilation·k − padding] · w[f, c, k] · y[n, f, o],

with o and k running over places and kernel entries in any number of dimensions, and x zero outside
its bounds. Its partial contractions are three ops: `conv` (x, w → y), `conv_input` (w, y → x),
which is the transposed convolution, and `conv_weight` (x, y → w). The transpose of each in an
operand is another of the three with the same static parameters: every order of derivative closes.

Layouts are PyTorch's: x (N, C, *spatial), w (F, C/groups, *kernel), y (N, F, *out). Channels are
split into `groups` that do not mix: with G groups, x is (N, G·c, …), w (G·f, c, …), y (N, G·f, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.lowering import Native
from wengert.core.op import Array, Op
from wengert.core.rules import multilinear
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops import unroll
from wengert.ops.movement import permute, reshape
from wengert.ops.window import Padding, Sizes, places

# -- shapes ------------------------------------------------------------------------------------


def _check_operands(op: str, groups: int, **operands: Shaped) -> None:
    """What holds for any two of x, w and y: ranks, dtypes, channels that the groups divide."""
    (p, a), (q, b) = operands.items()
    if len(a.shape) != len(b.shape) or len(a.shape) < 2:
        raise ShapeError(
            op,
            "both operands must have a batch (or filter) axis, a channel axis, and the same "
            "number of spatial axes",
            met=f"{p}: {tuple(a.shape)}, {q}: {tuple(b.shape)}",
            cause="a missing batch axis",
            fix="add it with x[None]",
        )
    if a.dtype != b.dtype:
        raise DtypeError(op, "takes operands of one dtype", met=describe(a, b), fix="cast one")
    split = {"x": 1, "w": 0, "y": 1}  # the axis that the groups divide
    for name, t in operands.items():
        channels = t.shape[split[name]]
        if groups < 1 or channels % groups:
            raise ArgumentError(
                op,
                "the groups must divide the channels",
                met=f"{groups} groups for {channels} channels of {name}: {tuple(t.shape)}",
                fix="choose groups that divide the numbers of input and output channels",
            )


def _conv_spec(
    x: Shaped, w: Shaped, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Spec:
    _check_operands("conv", groups, x=x, w=w)
    if x.shape[1] != w.shape[1] * groups:
        raise ShapeError(
            "conv",
            "the channels of the input do not fit the weights",
            met=f"input {tuple(x.shape)} with {x.shape[1]} channels, "
            f"weights {tuple(w.shape)} for {w.shape[1]} × {groups} groups",
            cause="channels last instead of first, or a layer built for another input",
            fix="use layout (N, C, *spatial), or set the layer's input channels",
        )
    out = places("conv", tuple(x.shape[2:]), tuple(w.shape[2:]), stride, dilation, padding)
    return Spec((x.shape[0], w.shape[0], *out), x.dtype)


def _conv_input_spec(
    w: Shaped, y: Shaped, stride: Sizes, padding: Padding, dilation: Sizes, groups: int, size: Sizes
) -> Spec:
    _check_operands("conv_input", groups, w=w, y=y)
    if w.shape[0] != y.shape[1]:
        raise ShapeError(
            "conv_input",
            "the channels do not fit the weights",
            met=f"{tuple(y.shape)} with {y.shape[1]} channels, weights {tuple(w.shape)}",
            cause="channels last instead of first, or a layer built for another input",
            fix="use layout (N, C, *spatial), or set the layer's input channels",
        )
    out = places("conv_input", tuple(size), tuple(w.shape[2:]), stride, dilation, padding)
    _check_places("conv_input", size, y, out)
    return Spec((y.shape[0], w.shape[1] * groups, *size), y.dtype)


def _conv_weight_spec(
    x: Shaped, y: Shaped, stride: Sizes, padding: Padding, dilation: Sizes, groups: int, size: Sizes
) -> Spec:
    _check_operands("conv_weight", groups, x=x, y=y)
    if x.shape[0] != y.shape[0]:
        raise ShapeError(
            "conv_weight",
            "input and output have different batch sizes",
            met=describe(x, y),
            fix="pass the output that belongs to the input",
        )
    out = places("conv_weight", tuple(x.shape[2:]), size, stride, dilation, padding)
    _check_places("conv_weight", tuple(x.shape[2:]), y, out)
    return Spec((y.shape[1], x.shape[1] // groups, *size), x.dtype)


def _check_places(op: str, size: Sizes, y: Shaped, out: Shape) -> None:
    if tuple(y.shape[2:]) != out:
        raise ShapeError(
            op,
            "input and output sizes do not belong together",
            met=f"an input of {tuple(size)} gives {out}, not {tuple(y.shape[2:])}",
            cause="an output_padding that is not smaller than the stride",
            fix="choose the input size so that the convolution gives this output",
        )


# -- references --------------------------------------------------------------------------------


def _conv(x: Array, w: Array, **params: Any) -> Array:
    return _filled(unroll.slide, _conv_spec(x, w, **params), x, w, params)


def _conv_input(w: Array, y: Array, **params: Any) -> Array:
    return _filled(unroll.spread, _conv_input_spec(w, y, **params), w, y, params)


def _conv_weight(x: Array, y: Array, **params: Any) -> Array:
    return _filled(unroll.weigh, _conv_weight_spec(x, y, **params), x, y, params)


def _filled(f: Any, out: Spec, a: Array, b: Array, params: dict[str, Any]) -> Array:
    """`f(a, b)`, or zeros where there is nothing to sum."""
    if not a.size or not b.size:
        return np.zeros(out.shape, out.dtype)
    if out.dtype.itemsize == 2 and dtypes.is_float(out.dtype):  # accumulates in float32
        a, b = a.astype(np.float32), b.astype(np.float32)
    found: Array = f(a, b, **params)
    return found.astype(out.dtype, copy=False)


# -- batching ----------------------------------------------------------------------------------

# Which index takes up a new batch axis, by the places among x, w and y that have it.
_ABSORBS = {frozenset("xy"): "n", frozenset("wy"): "f", frozenset("xw"): "c", frozenset("xwy"): "G"}
_LAYOUT = {"x": "nGc", "w": "Gfc", "y": "nGf"}


def _grouped(role: str, groups: int, shape: Shape) -> tuple[int, int, int]:
    """The first two axes of x, w or y as the three of its layout."""
    a, b = shape
    return (groups, a // groups, b) if role == "w" else (a, groups, b // groups)


def _merged(role: str, sizes: Sequence[int]) -> tuple[int, int]:
    """The inverse of `_grouped`."""
    a, b, c = sizes
    return (a * b, c) if role == "w" else (a, b * c)


def _absorb(t: Tensor, role: str, index: str, groups: int) -> Tensor:
    """Merge the leading batch axis of an operand into one of its indices, in front of it."""
    batch, kernel = t.shape[0], t.shape[3:]
    sizes = list(_grouped(role, groups, t.shape[1:3]))
    at = _LAYOUT[role].index(index)
    t = reshape(t, shape=(batch, *sizes, *kernel))
    t = permute(t, axes=(*range(1, at + 1), 0, *range(at + 1, t.ndim)))
    sizes[at] *= batch
    out: Tensor = reshape(t, shape=(*_merged(role, sizes), *kernel))
    return out


def _release(t: Tensor, role: str, index: str, groups: int, batch: int) -> Tensor:
    """The inverse of `_absorb`, for the result; `groups` is the number without the batch."""
    kernel = t.shape[2:]
    at = _LAYOUT[role].index(index)
    inner = groups * batch if index == "G" else groups
    sizes = list(_grouped(role, inner, t.shape[:2]))
    sizes[at] //= max(batch, 1)
    split = (*sizes[:at], batch, *sizes[at:], *kernel)
    t = reshape(t, shape=split)
    t = permute(t, axes=(at, *(a for a in range(t.ndim) if a != at)))
    out: Tensor = reshape(t, shape=(batch, *_merged(role, sizes), *kernel))
    return out


def _batched(
    op: Any,
    roles: str,
    result: str,
    rows: int,
    args: Sequence[Tensor],
    batched: Sequence[bool],
    params: dict[str, Any],
) -> Tensor:
    """The batch rule of an op from operands that stand at `roles` to the place `result`."""
    if rows == 0:
        one = [Spec(t.shape[b:], t.dtype) for t, b in zip(args, batched, strict=True)]
        spec = op.infer(*one, **params)
        return Tensor(np.zeros((0, *spec.shape), spec.dtype))
    have = {r for r, b in zip(roles, batched, strict=True) if b}
    index = _ABSORBS[frozenset(have | {result})]
    groups = params["groups"]
    merged = [
        _absorb(t, r, index, groups) if b else t
        for t, r, b in zip(args, roles, batched, strict=True)
    ]
    inner = params | {"groups": groups * rows} if index == "G" else params
    return _release(op(*merged, **inner), result, index, groups, rows)


# -- the three ops -----------------------------------------------------------------------------


def _samples(op: str) -> Any:
    """Cases of one geometry each, shared by the three ops."""
    return lambda rng: [
        *_case(rng, op, (2, 2, 5), (3, 2, 3)),
        *_case(rng, op, (1, 1, 4, 5), (2, 1, 3, 2), stride=(2, 1), padding=((1, 0), (0, 2))),
        *_case(rng, op, (1, 2, 6), (2, 1, 2), stride=(2,), dilation=(2,), groups=2),
        *_case(rng, op, (2, 4, 2, 2), (2, 2, 1, 1), groups=2),
        *_case(rng, op, (1, 2, 4, 4), (2, 1, 3, 3), padding=((1, 1), (1, 1)), groups=2),
        *_case(rng, op, (1, 2, 3), (2, 2, 3)),
        *_case(rng, op, (1, 1, 2, 3, 2), (2, 1, 2, 2, 1)),
        *_case(rng, op, (0, 2, 3), (1, 2, 2)),
        *_case(rng, op, (2, 3), (2, 3)),
        *_wrong(rng, op),
    ]


def _case(
    rng: np.random.Generator, op: str, x: Shape, w: Shape, groups: int = 1, **given: Any
) -> list[Sample | Wrong]:
    count = len(x) - 2
    params = {
        "stride": (1,) * count,
        "padding": ((0, 0),) * count,
        "dilation": (1,) * count,
        **given,
    }
    outs = places(op, x[2:], w[2:], params["stride"], params["dilation"], params["padding"])
    shapes = {"x": x, "w": w, "y": (x[0], w[0], *outs)}
    size = {"conv": {}, "conv_input": {"size": x[2:]}, "conv_weight": {"size": w[2:]}}[op]
    args = tuple(rng.normal(size=shapes[r]) for r in _ROLES[op])
    return [Sample(args, {**params, "groups": groups, **size})]


_ROLES = {"conv": "xw", "conv_input": "wy", "conv_weight": "xy"}


def _wrong(rng: np.random.Generator, op: str) -> list[Sample | Wrong]:
    def bad(a: Shape, b: Shape, error: type[Exception], match: str, **given: Any) -> Wrong:
        params = {"stride": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1, **given}
        return Wrong((rng.normal(size=a), rng.normal(size=b)), params, error, match)

    common = {} if op == "conv" else {"size": (5,)}
    found: list[Sample | Wrong] = [
        bad((2, 5), (3, 2, 3), ShapeError, "must have a batch", **common),
        bad((2, 3, 5), (2, 3, 3), ArgumentError, "groups must divide", groups=2, **common),
        bad((2, 2, 5), (2, 2, 5), ArgumentError, "one entry", stride=(1, 1), **common),
        bad((2, 2, 5), (2, 2, 5), ArgumentError, "positive", dilation=(0,), **common),
    ]
    if op == "conv":
        found.append(bad((2, 5, 2), (3, 2, 2), ShapeError, "channels of the input do not fit"))
        found.append(bad((2, 2, 5), (3, 2, 6), ShapeError, "window does not fit"))
    if op == "conv_input":
        found.append(bad((3, 2, 2), (1, 2, 4), ShapeError, "channels do not fit", size=(5,)))
        found.append(bad((3, 2, 2), (1, 3, 4), ShapeError, "do not belong together", size=(7,)))
    if op == "conv_weight":
        found.append(bad((2, 2, 5), (1, 2, 4), ShapeError, "different batch sizes", size=(2,)))
        found.append(bad((2, 2, 5), (2, 2, 4), ShapeError, "do not belong together", size=(3,)))
    return found


def _conv_to_x(
    g: Tensor,
    w: Tensor,
    x_spec: Shaped,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Any:
    size = x_spec.shape[2:]
    return conv_input(
        w, g, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size
    )


def _conv_to_w(
    g: Tensor,
    x: Tensor,
    w_spec: Shaped,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Any:
    size = w_spec.shape[2:]
    return conv_weight(
        x, g, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size
    )


def _input_to_w(
    g: Tensor,
    y: Tensor,
    w_spec: Shaped,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Any:
    size = w_spec.shape[2:]
    return conv_weight(
        g, y, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size
    )


def _input_to_y(
    g: Tensor, w: Tensor, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Any:
    return conv(g, w, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _weight_to_x(
    g: Tensor,
    y: Tensor,
    x_spec: Shaped,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Any:
    size = x_spec.shape[2:]
    return conv_input(
        g, y, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size
    )


def _weight_to_y(
    g: Tensor, x: Tensor, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Any:
    return conv(x, g, stride=stride, padding=padding, dilation=dilation, groups=groups)


def _work(y: Shaped, w: Shaped) -> int:
    """A multiply-add for each output, input channel of its group and kernel entry."""
    return 2 * prod(y.shape) * prod(w.shape[1:])


# y[n,f,o] = Σ x[n, c, stride·o + dilation·k − padding] · w[f,c,k]
conv: Op = multilinear(
    "conv",
    _conv,
    _conv_spec,
    _conv_to_x,
    _conv_to_w,
    operands=("x", "w"),
    work=lambda y, x, w, **params: _work(y, w),
    batch=lambda rows, args, batched, **params: _batched(
        conv, "xw", "y", rows, args, batched, params
    ),
    samples=_samples("conv"),
    lower=Native("convolution"),
)

# x[n,c,i] = Σ w[f,c,k] · y[n,f,o] over i = stride·o + dilation·k − padding; `size` is that of x.
conv_input: Op = multilinear(
    "conv_input",
    _conv_input,
    _conv_input_spec,
    _input_to_w,
    _input_to_y,
    operands=("w", "y"),
    work=lambda x, w, y, **params: _work(y, w),
    batch=lambda rows, args, batched, **params: _batched(
        conv_input, "wy", "x", rows, args, batched, params
    ),
    samples=_samples("conv_input"),
    lower=Native("convolution"),
)

# w[f,c,k] = Σ x[n, c, stride·o + dilation·k − padding] · y[n,f,o]; `size` is that of the kernel.
conv_weight: Op = multilinear(
    "conv_weight",
    _conv_weight,
    _conv_weight_spec,
    _weight_to_x,
    _weight_to_y,
    operands=("x", "y"),
    work=lambda w, x, y, **params: _work(y, w),
    batch=lambda rows, args, batched, **params: _batched(
        conv_weight, "xy", "w", rows, args, batched, params
    ),
    samples=_samples("conv_weight"),
    lower=Native("convolution"),
)
