"""Convolution: what is to be computed, and how it is cut up.

`Convolution` describes one partial contraction of the trilinear form of `ops/convolve.py`:
`forward` (x, w → y), `data` (w, y → x) or `weight` (x, y → w). Activations are channels last, that
is x (N, *spatial, C) and y (N, *out, F), each with steps of its own, so that a slice of a larger
array's channels will do. Weights are (F, C/groups, *kernel) with any steps.

Every sum has one order, which the sizes alone determine:

* *forward* and *data*: one chain s ← a·b + s from zero, each step rounded once, over the pixels of
  the operand that meet the result's pixel, in row-major order, and over the channels of each.
  (Kernel entries thus ascend in forward, and descend in data.) Entries that fall outside of the
  operand are left out: no product with padding is formed.
* *weight*: the images are cut into R ranges; range r starts at ⌊N·r/R⌋. R is 2¹⁷ over the number
  of weights, rounded up, and at most 32. If R > N, each image is cut instead, along its first axis
  and in the same way, into ⌈R/N⌉ ranges or one for each place. Each range is one chain over its
  images and places in row-major order, without those at which the entry falls outside. The ranges'
  sums are added one after the other, the first first. With at most four channels of x, and
  depth-wise, places outside along the last axis do count, as zeros.

Kernels of 3×3 without steps or dilation may instead be computed by Winograd's filtering, with 2.25
times fewer multiplications and orders of their own: `winograd`.

Threads, registers and tiles change nothing. Halves are widened to float32, and the result is
rounded once. A processor without fused multiply-add rounds each step twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import cast

from wengert.compiler.kernels.base import Array, Epilogue, Grid, Phase, Workspace
from wengert.compiler.kernels.conv_axis import data_axis, forward_axis
from wengert.compiler.kernels.conv_copy import Copy
from wengert.compiler.kernels.conv_gather import Gather
from wengert.compiler.kernels.conv_pack import Packing
from wengert.compiler.kernels.conv_tile import Pixels, lanes_for, registers
from wengert.compiler.kernels.conv_weight import Sliding, Weigh
from wengert.compiler.kernels.winograd import FEW_SQUARES, TAPS, Squares, Winograd
from wengert.compiler.kernels.winograd_weight import WinogradWeight
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.types import computed, size_of, stored
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.ops.window import Padding, Sizes

KINDS = ("forward", "data", "weight")
FEW_CHANNELS = 4  # of x, for which the weight gradient's tiles join entries and channels


@dataclass(frozen=True)
class Convolution:
    """A convolution, or its transpose in the data or in the weights, as a `Kernel`.

    Operands: forward (x, w), data (w, y), weight (x, y); then the result, and the workspace. The
    channels of a result x or y must be next to each other; all other steps are free. The epilogue
    of forward and data sees the result as rows of channels, one for each pixel of the flattened
    (N, *places); weight takes none.
    """

    kind: str
    x: Array
    w: Array
    y: Array
    stride: Sizes
    padding: Padding
    dilation: Sizes
    groups: int = 1
    target: Target = field(default_factory=build.host)
    winograd: bool = False  # allowed: see `Convolution.suits`

    @property
    def result(self) -> Array:
        """The array that is computed."""
        return {"forward": self.y, "data": self.x, "weight": self.w}[self.kind]

    @property
    def grid(self) -> Grid | None:
        """The rows and columns that the epilogue sees; None for the weight gradient."""
        if self.kind == "weight":
            return None
        *sizes, columns = self.result.shape
        return Grid(tuple(zip(sizes, self.result.strides, strict=False)), columns)

    @property
    def workspace(self) -> Workspace:
        """Scratch memory."""
        return self.plan.workspace if prod(self.result.shape) else Workspace()

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the steps into a module: none where the result has no entries."""
        if not prod(self.result.shape):
            return []
        plan = self.plan
        if isinstance(plan, Gather | Winograd):
            return plan.emit(module, name, epilogue)
        assert epilogue is None, "the weight gradient takes no epilogue"
        return plan.emit(module, name)

    @cached_property
    def plan(self) -> Gather | Weigh | Winograd | WinogradWeight:
        """The kernel that computes it."""
        if self.winograd and self.suits:
            return self._filtered_weight() if self.kind == "weight" else self._filtered()
        spec = self if self.stride else self._with_an_axis()
        return spec._weigh() if self.kind == "weight" else spec._gather()

    @property
    def depthwise(self) -> bool:
        """Whether each channel has a filter of its own: then channels fill the vectors."""
        return self.groups > 1 and self.x.shape[-1] == self.y.shape[-1] == self.groups

    @property
    def suits(self) -> bool:
        """Whether Winograd's filtering can compute it, and pays."""
        whole = 64 // size_of(computed(self.w.dtype))
        readable = (self.x, self.y, self.w)
        return (
            self.w.shape[2:] == (TAPS, TAPS)
            and self.groups == 1
            and all(n == 1 for n in (*self.stride, *self.dilation))
            and all(computed(a.dtype) == stored(a.dtype) for a in readable)
            and _dense(self.x)
            and _dense(self.y)
            and all(a.shape[-1] > 0 and a.shape[-1] % whole == 0 for a in (self.x, self.y))
            and self._squares.count >= FEW_SQUARES
        )

    @property
    def _squares(self) -> Squares:
        """The squares of y, or of x for the transpose in the data."""
        before = tuple(lo for lo, _ in self.padding)
        result, source = self.y, self.x
        if self.kind == "data":
            result, source = source, result
            before = tuple(TAPS - 1 - lo for lo in before)
        sizes = result.shape[1:-1], source.shape[1:-1], before
        return Squares(self.x.shape[0], *(cast("tuple[int, int]", tuple(s)) for s in sizes))

    def _filtered(self) -> Winograd:
        """Forward and data by Winograd's filtering."""
        forward = self.kind == "forward"
        operand, result = (self.x, self.y) if forward else (self.y, self.x)
        channels, columns = operand.shape[-1], result.shape[-1]
        element = computed(self.w.dtype)
        lanes = 64 // size_of(element)
        filter_step, channel_step, *kernel_steps = self.w.strides
        order = tuple(range(TAPS)) if forward else tuple(range(TAPS))[::-1]
        packing = Packing(
            dtype=self.w.dtype,
            groups=1,
            channels=channels,
            columns=columns,
            lanes=lanes,
            width=lanes * registers(self.target, columns, lanes, element).vectors,
            orders=(order, order),
            group_step=0,
            channel_step=channel_step if forward else filter_step,
            column_step=filter_step if forward else channel_step,
            kernel_steps=tuple(kernel_steps),
            target=self.target,
        )
        return Winograd(
            squares=self._squares,
            channels=channels,
            columns=columns,
            operand=_pixels(operand),
            result=_pixels(result),
            packing=packing,
            operand_slot=0 if forward else 1,
            weight_slot=1 if forward else 0,
            target=self.target,
        )

    def _filtered_weight(self) -> WinogradWeight:
        """The weight gradient by Winograd's filtering."""
        return WinogradWeight(
            squares=self._squares,
            channels=self.x.shape[-1],
            columns=self.y.shape[-1],
            x=_pixels(self.x),
            y=_pixels(self.y),
            dtype=self.w.dtype,
            lanes=64 // size_of(computed(self.w.dtype)),
            steps=self.w.strides,
            target=self.target,
        )

    def _with_an_axis(self) -> Convolution:
        """The same with one spatial axis of size 1, for a convolution that has none."""

        def longer(a: Array, at: int) -> Array:
            shape = (*a.shape[:at], 1, *a.shape[at:])
            return Array(a.dtype, shape, (*a.strides[:at], a.shape[1], *a.strides[at:]))

        x, w, y = longer(self.x, 1), longer(self.w, 2), longer(self.y, 1)
        return replace(self, x=x, w=w, y=y, stride=(1,), padding=((0, 0),), dilation=(1,))

    def _gather(self) -> Gather:
        """Forward and data, which are one computation."""
        forward = self.kind == "forward"
        operand, result = (self.x, self.y) if forward else (self.y, self.x)
        assert _dense(result), "the result's channels must be next to each other"
        element = computed(operand.dtype)
        groups = 1 if self.depthwise else self.groups
        channels = 1 if self.depthwise else operand.shape[-1] // groups
        columns = result.shape[-1] // groups
        make = forward_axis if forward else data_axis
        sizes = zip(result.shape[1:-1], operand.shape[1:-1], self.w.shape[2:], strict=True)
        how = zip(self.stride, self.padding, self.dilation, strict=True)
        axes = tuple(
            make(out, source, taps, stride, before, dilation)
            for (out, source, taps), (stride, (before, _), dilation) in zip(sizes, how, strict=True)
        )
        filter_step, channel_step, *kernel_steps = self.w.strides
        pixels, copy = _readable(operand, self.target)
        lanes = lanes_for(columns, element)
        packing = Packing(
            dtype=self.w.dtype,
            groups=groups,
            channels=channels,
            columns=columns,
            lanes=lanes,
            width=lanes * registers(self.target, columns, lanes, element).vectors,
            orders=tuple(axis.order for axis in axes),
            group_step=self.w.shape[0] // groups * filter_step,
            channel_step=channel_step if forward else filter_step,
            column_step=filter_step if forward or self.depthwise else channel_step,
            kernel_steps=tuple(kernel_steps),
            target=self.target,
        )
        return Gather(
            batch=operand.shape[0],
            groups=groups,
            channels=channels,
            columns=columns,
            axes=axes,
            operand=pixels,
            result=Pixels(result.dtype, result.strides[0], result.strides[1:-1]),
            packing=packing,
            copy=copy,
            operand_slot=0 if forward else 1,
            weight_slot=1 if forward else 0,
            depthwise=self.depthwise,
            target=self.target,
        )

    def _weigh(self) -> Weigh:
        """The weight gradient."""
        groups = 1 if self.depthwise else self.groups
        rows = 1 if self.depthwise else self.x.shape[-1] // groups
        columns = self.y.shape[-1] // groups
        sizes = zip(self.y.shape[1:-1], self.x.shape[1:-1], self.w.shape[2:], strict=True)
        how = zip(self.stride, self.padding, self.dilation, strict=True)
        axes = [
            Sliding(places, source, taps, stride, before, dilation)
            for (places, source, taps), (stride, (before, _), dilation) in zip(
                sizes, how, strict=True
            )
        ]
        column_step, row_step, *kernel_steps = self.w.strides
        offsets = [c * row_step for c in range(rows)]
        x, x_copy = _readable(self.x, self.target)
        y, y_copy = _readable(self.y, self.target)
        last = axes[-1]
        few = self.groups == 1 and self.x.shape[-1] <= FEW_CHANNELS and last.dilation == 1
        row_step = 1
        if few or self.depthwise:  # entries along the last axis are rows of a tile, too
            length = last.source
            if last.padding or last.behind or (few and not _tight(self.x)):
                x_copy = _copy(self.x, self.target, last.padding, last.behind)
                x = Pixels(_wide(self.x.dtype), x_copy.target_steps[0], x_copy.target_steps[1:])
                length = x_copy.length
            axes[-1] = Sliding(last.places, length, 1, last.stride, 0, 1)
            offsets = [k * kernel_steps[-1] + o for k in range(last.entries) for o in offsets]
            row_step = last.dilation * x.steps[-1] if self.depthwise else 1
        return Weigh(
            batch=self.x.shape[0],
            groups=groups,
            rows=len(offsets),
            columns=columns,
            axes=tuple(axes),
            x=x,
            y=y,
            x_copy=x_copy,
            y_copy=y_copy,
            dtype=self.w.dtype,
            lanes=lanes_for(columns, computed(self.w.dtype)),
            row_step=row_step,
            row_offsets=tuple(offsets),
            column_step=column_step,
            group_step=self.w.shape[0] // groups * column_step,
            kernel_steps=tuple(kernel_steps),
            depthwise=self.depthwise,
            target=self.target,
        )


def _wide(dtype: DType) -> DType:
    """The dtype that is computed in."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32


def _dense(a: Array) -> bool:
    """Whether an array's channels are next to each other."""
    return a.shape[-1] <= 1 or a.strides[-1] == 1


def _pixels(a: Array) -> Pixels:
    """An array's pixels as they lie."""
    return Pixels(a.dtype, a.strides[0], a.strides[1:-1])


def _tight(a: Array) -> bool:
    """Whether there are no gaps between neighbours along the last axis."""
    return a.strides[-2] == a.shape[-1]


def _readable(a: Array, target: Target) -> tuple[Pixels, Copy | None]:
    """Pixels whose channels are next to each other and of the type that is computed in: those of an
    array itself where possible, else of a copy."""
    if computed(a.dtype) == stored(a.dtype) and _dense(a):
        return _pixels(a), None
    copy = _copy(a, target)
    return Pixels(_wide(a.dtype), copy.target_steps[0], copy.target_steps[1:]), copy


def _copy(a: Array, target: Target, before: int = 0, behind: int = 0) -> Copy:
    batch, *sizes, channels = a.shape
    return Copy(a.dtype, batch, tuple(sizes), channels, a.strides, target, before, behind)
