"""Where a kernel's entries fall along one spatial axis, for static sizes and in generated code.

Forward and data are the same computation, a *gather*: each pixel of the result sums over pixels of
the operand. Along one axis, place i of the result meets the places

    first + step·j,  j = 0 … count − 1

of the operand, through the kernel entries `order[entry + j]`. Forward, all places use the same
entries, in their own order. The transpose with stride s has classes: places whose i + padding is
the same modulo s meet the same entries, and the operand advances by one place from one member of a
class to the next. Entries are sorted such that each class has a run of its own, along which the
operand's places ascend.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR


@dataclass(frozen=True)
class Class:
    """Places with the same kernel entries: a run of the sorted entries, and the place that the
    first of them falls on, from where the class's zeroth member stands."""

    entry: int
    count: int
    offset: int


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a gather. Place i is member (i + shift) // period of class
    (i + shift) % period, and moves over the operand by `advance` from member to member."""

    size: int  # of the result
    source: int  # of the operand
    order: tuple[int, ...]  # kernel entries
    step: int
    classes: tuple[Class, ...]
    advance: int
    shift: int = 0

    @property
    def period(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def taps(self) -> int:
        """Number of kernel entries."""
        return len(self.order)

    def first(self, i: int) -> int:
        """Where the first entry falls for place i; it may lie outside."""
        member, which = divmod(i + self.shift, self.period)
        return member * self.advance + self.classes[which].offset

    def inside(self, i: int) -> bool:
        """Whether all entries of place i fall on the operand."""
        at = self.classes[(i + self.shift) % self.period]
        first = self.first(i)
        return first >= 0 and first + (at.count - 1) * self.step < self.source

    def locate(self, f: Function, i: Value) -> tuple[Value, Value, Value]:
        """The number of the first entry that falls inside, the place where, and how many do."""
        entry, count, first = self._start(f, i)
        if self.step == 1:
            skip = f.smax(f.i64(0) - first, 0)
            end = f.i64(self.source) - first
        else:
            skip = f.smax(f.i64(self.step - 1) - first, 0) // self.step
            end = f.smax(f.i64(self.source + self.step - 1) - first, 0) // self.step
        end = f.smin(end, count)
        return entry + skip, first + skip * self.step, f.smax(end - skip, 0)

    def _start(self, f: Function, i: Value) -> tuple[Value, Value, Value]:
        """First entry, number of entries and first place, inside or not."""
        if self.period == 1:
            only = self.classes[0]
            first = i * self.advance + only.offset
            return f.i64(only.entry), f.i64(only.count), first
        moved = i + self.shift
        which = moved % self.period
        found = []
        for part in ("entry", "count", "offset"):
            values = tuple(getattr(c, part) for c in self.classes)
            place = f.at(table(f, values), which, I64)
            found.append(f.load(I64, place))
        return found[0], found[1], (moved // self.period) * self.advance + found[2]


def forward_axis(
    out: int, source: int, taps: int, stride: int, padding: int, dilation: int
) -> Axis:
    """Of the convolution itself: y gathers from x."""
    one = Class(0, taps, -padding)
    return Axis(out, source, tuple(range(taps)), dilation, (one,), stride)


def data_axis(size: int, source: int, taps: int, stride: int, padding: int, dilation: int) -> Axis:
    """Of the transpose: x gathers from y. Entry k of place i meets place
    (i + padding − dilation·k)/stride where that is whole."""
    common = gcd(stride, dilation)
    order: list[int] = []
    classes = []
    for residue in range(stride):
        entries = [k for k in range(taps) if (residue - dilation * k) % stride == 0][::-1]
        offset = (residue - dilation * entries[0]) // stride if entries else 0
        classes.append(Class(len(order), len(entries), offset))
        order += entries
    step = dilation // common
    if stride == 1:  # written as a convolution is, so that both share their code
        one = Class(0, taps, padding + classes[0].offset)
        return Axis(size, source, tuple(order), step, (one,), 1)
    return Axis(size, source, tuple(order), step, tuple(classes), 1, padding)


def table(f: Function, values: tuple[int, ...]) -> Value:
    """The address of a constant array of indices; equal ones are shared within a module."""
    return Value(PTR, "@" + _constant(f.module, values), f)


def _constant(module: Module, values: tuple[int, ...]) -> str:
    inside = ", ".join(f"i64 {v}" for v in values)
    body = f" = internal unnamed_addr constant [{len(values)} x i64] [{inside}]"
    for line in module.globals:
        if line.endswith(body):
            return line[1 : -len(body)]
    name = f"indices{len(module.globals)}"
    module.globals.append(f"@{name}{body}")
    return name
