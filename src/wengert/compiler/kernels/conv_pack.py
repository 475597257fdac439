"""Weights in the order in which tiles meet them, and copies of activations that tiles can read."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from wengert.compiler.kernels.base import share
from wengert.compiler.kernels.conv_axis import table
from wengert.compiler.kernels.conv_tile import load_lanes, read, shared_name
from wengert.compiler.kernels.packing import transpose
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR, computed, size_of, stored, vector
from wengert.core.dtypes import DType

BLOCK = 16  # channels that are packed at a time, so that what is written stays in the cache
LONG_LINE = 8  # weights next to each other in memory that make transposing pay
FEW_ENTRIES = 9  # kernel entries up to which packing is written out


@dataclass(frozen=True)
class Packing:
    """Weights as panels [group][panel][*entries][channels][width], zero in columns that are none.

    Steps lead through the user's array: from group to group, channel to channel, column to column,
    and along each axis of the kernel, whose entries come in the given orders.
    """

    dtype: DType
    groups: int
    channels: int
    columns: int
    lanes: int
    width: int
    orders: tuple[tuple[int, ...], ...]
    group_step: int
    channel_step: int
    column_step: int
    kernel_steps: tuple[int, ...]
    target: Target

    @property
    def element(self) -> str:
        """Type of a panel's entries."""
        return computed(self.dtype)

    @property
    def entries(self) -> int:
        """Number of kernel entries."""
        return prod(map(len, self.orders))

    @property
    def panel(self) -> int:
        """Numbers in a panel."""
        return self.entries * self.channels * self.width

    @property
    def panels(self) -> int:
        """Number of panels of all groups."""
        return self.groups * -(-self.columns // self.width)

    @property
    def entry_steps(self) -> tuple[int, ...]:
        """Steps in a panel along each axis of the kernel."""
        sizes = [len(o) for o in self.orders]
        return tuple(prod(sizes[a + 1 :]) * self.channels * self.width for a in range(len(sizes)))

    @property
    def nbytes(self) -> int:
        """Size of all panels."""
        return self.panels * self.panel * size_of(self.element)

    @property
    def places(self) -> tuple[int, ...]:
        """Where in a panel each entry goes, in the order of a kernel without gaps."""
        sizes = [len(o) for o in self.orders]
        numbers = np.arange(self.entries).reshape(sizes)
        for a, order in enumerate(self.orders):
            numbers = numbers.take(np.argsort(order), a)
        return tuple((numbers.reshape(-1) * self.channels * self.width).tolist())

    @property
    def lines(self) -> tuple[int, int]:
        """How many lines without gaps a column has, and their length: each holds all entries of
        some channels; the length is 0 if there are none such."""
        sizes = [len(o) for o in self.orders]
        tight = all(
            n == 1 or s == prod(sizes[a + 1 :])
            for a, (n, s) in enumerate(zip(sizes, self.kernel_steps, strict=True))
        )
        if not tight:
            return 0, 0
        if self.channel_step == self.entries or self.channels == 1:
            return 1, self.channels * self.entries
        return self.channels, self.entries

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each entry of the packed order stands in the user's array."""
        steps = np.zeros((1,), np.int64)
        for order, s in zip(self.orders, self.kernel_steps, strict=True):
            steps = (steps[:, None] + np.asarray(order, np.int64) * s).reshape(-1)
        return tuple(steps.tolist())


def emit_packing(
    f: Function, pack: Packing, source: Value, target: Value, thread: Value, threads: Value
) -> None:
    """The thread's share of the packing."""
    outer, line = pack.lines
    if line >= LONG_LINE and (line >= pack.lanes or pack.element == stored(pack.dtype)):
        _Transposing(f, pack, outer, line).write(source, target, thread, threads)
    else:
        _one_by_one(f, pack, source, target, thread, threads)


class _Transposing:
    """Packing of lines that lie in memory without gaps, a square block of them at a time.

    Blocks of the last columns take some column again, and those of the end of a line overlap."""

    def __init__(self, f: Function, pack: Packing, outer: int, line: int) -> None:
        self.f, self.pack, self.outer, self.line = f, pack, outer, line
        self.blocks = -(-line // pack.lanes)
        self.length = min(line, pack.lanes)  # of a block's columns
        self.buffer = f.buffer(pack.lanes * pack.lanes, pack.element)

    def write(self, source: Value, target: Value, thread: Value, threads: Value) -> None:
        f, pack = self.f, self.pack
        per_group = -(-pack.columns // pack.width)
        slices = pack.width // pack.lanes  # of a panel
        block = _emit_block(f.module, pack, self.length)
        lo, hi = share(f, pack.panels * slices * self.outer, thread, threads)
        with f.loop(lo, hi) as unit:
            channel, rest = unit % self.outer, unit // self.outer
            slice_, panel = rest % slices, rest // slices
            group, within = panel // per_group, panel % per_group
            column = within * pack.width + slice_ * pack.lanes
            with f.when(f.compare("slt", column, pack.columns)):
                last = f.smin(f.i64(pack.columns - 1) - column, pack.lanes - 1)
                place = group * pack.group_step + column * pack.column_step
                place = place + channel * pack.channel_step
                from_ = f.at(source, place, stored(pack.dtype))
                to = f.at(target, panel * pack.panel + slice_ * pack.lanes, pack.element)
                with f.loop(0, self.blocks) as b:
                    first = f.smin(b * pack.lanes, max(0, self.line - pack.lanes))
                    f.call(block, [f.at(from_, first, stored(pack.dtype)), last, self.buffer])
                    self._spread(to, channel, first)

    def _spread(self, to: Value, channel: Value, first: Value) -> None:
        """Put a block's vectors where their entry and channel belong."""
        f, pack = self.f, self.pack
        kind = vector(pack.lanes, pack.element)
        places = pack.places
        entry = f.variable(I64, first % pack.entries)
        at = f.variable(I64, channel + first // pack.entries)
        with f.loop(0, self.length) as i:
            x = f.load(kind, f.at(self.buffer, i * pack.lanes, pack.element))
            e = entry.get()
            place = f.load(I64, f.at(table(f, places), e, I64))
            c = at.get()
            f.store(x, f.at(to, place + c * pack.width, pack.element))
            end = f.compare("eq", e, pack.entries - 1)
            entry.set(f.select(end, f.i64(0), e + 1))
            at.set(f.select(end, c + 1, c))


def _emit_block(module: Module, pack: Packing, length: int) -> str:
    """`block(source, last, buffer)`: as many columns as lanes, transposed into a buffer; columns
    behind the last one are taken for it."""
    what = (pack.dtype, pack.lanes, pack.column_step, length, pack.target)
    name = shared_name("transpose", *what)
    if not module.has(name):
        args = ["ptr readonly", I64, PTR]
        f = module.function(name, args, internal=True, attributes="nounwind noinline")
        source, last, buffer = f.args
        rows = []
        for j in range(pack.lanes):
            column = f.smin(last, j) if j else f.i64(0)
            place = f.at(source, column * pack.column_step, stored(pack.dtype))
            if length == pack.lanes:
                rows.append(read(f, place, pack.dtype, pack.target, pack.lanes))
            else:
                rows.append(load_lanes(f, place, length, pack.lanes, pack.element))
        for i, x in enumerate(transpose(f, rows)):
            f.store(x, f.at(buffer, i * pack.lanes, pack.element))
        f.ret()
    return name


def _one_by_one(
    f: Function, pack: Packing, source: Value, target: Value, thread: Value, threads: Value
) -> None:
    """Packing of weights with any steps: blocks of channels of one panel."""
    blocks = -(-pack.channels // BLOCK)
    per_group = -(-pack.columns // pack.width)
    lo, hi = share(f, pack.panels * blocks, thread, threads)
    with f.loop(lo, hi) as unit:
        panel, block = unit // max(blocks, 1), unit % max(blocks, 1)
        first = block * BLOCK
        last = f.smin(first + BLOCK, pack.channels)
        group, within = panel // per_group, panel % per_group
        column = within * pack.width
        count = f.smin(f.i64(pack.columns) - column, pack.width)
        place = group * pack.group_step + column * pack.column_step
        here = f.at(source, place, stored(pack.dtype))
        there = f.at(target, panel * pack.panel, pack.element)
        if pack.columns % pack.width:
            _clear_lanes(f, pack, there, first, last, count)
        with f.loop(0, count) as j, f.loop(first, last) as c:
            a = f.at(here, j * pack.column_step + c * pack.channel_step, stored(pack.dtype))
            b = f.at(there, c * pack.width + j, pack.element)
            _entries(f, pack, a, b)


def _entries(f: Function, pack: Packing, a: Value, b: Value) -> None:
    """All kernel entries of one channel and column."""
    step = pack.channels * pack.width
    if pack.entries <= FEW_ENTRIES:
        for t, offset in enumerate(pack.offsets):
            x = read(f, f.at(a, offset, stored(pack.dtype)), pack.dtype, pack.target)
            f.store(x, f.at(b, t * step, pack.element))
        return
    with f.loop(0, pack.entries) as entry:
        place = f.load(I64, f.at(table(f, pack.offsets), entry, I64))
        x = read(f, f.at(a, place, stored(pack.dtype)), pack.dtype, pack.target)
        f.store(x, f.at(b, entry * step, pack.element))


def _clear_lanes(
    f: Function, pack: Packing, there: Value, first: Value, last: Value, count: Value
) -> None:
    """Zeros in the columns behind the last, of some channels of a panel."""
    with f.loop(0, pack.entries) as t, f.loop(first, last) as c, f.loop(count, pack.width) as j:
        place = (t * pack.channels + c) * pack.width + j
        f.store(f.constant(pack.element, 0.0), f.at(there, place, pack.element))


@dataclass(frozen=True)
class Copy:
    """Activations copied to (images, *places, channels) without gaps, widened, with zeros around
    the last axis."""

    dtype: DType
    batch: int
    sizes: tuple[int, ...]
    channels: int
    steps: tuple[int, ...]  # of the operand: image, *places, channel
    target: Target
    before: int = 0  # zeros around the last axis
    behind: int = 0

    @property
    def element(self) -> str:
        """Type of the copy's entries."""
        return computed(self.dtype)

    @property
    def length(self) -> int:
        """Places along the last axis, with the zeros."""
        return self.before + self.sizes[-1] + self.behind

    @property
    def target_steps(self) -> tuple[int, ...]:
        """Steps of the copy: image, *places."""
        sizes = [*self.sizes[:-1], self.length, self.channels]
        return tuple(prod(sizes[a:]) for a in range(len(sizes)))

    @property
    def nbytes(self) -> int:
        """Size of the copy."""
        return self.batch * self.target_steps[0] * size_of(self.element)


def emit_copy(
    f: Function, copy: Copy, source: Value, target: Value, thread: Value, threads: Value
) -> None:
    """The thread's share of the copy, row by row of the last axis."""
    size = size_of(copy.element)
    rows = copy.batch * prod(copy.sizes[:-1])
    lo, hi = share(f, rows, thread, threads)
    with f.loop(lo, hi) as row:
        rest, place = row, f.i64(0)
        for n, s in list(zip(copy.sizes[:-1], copy.steps[1:-2], strict=True))[::-1]:
            place = place + (rest % n) * s
            rest = rest // n
        a = f.at(source, place + rest * copy.steps[0], stored(copy.dtype))
        b = f.at(target, row * (copy.length * copy.channels), copy.element)
        if copy.before:
            f.clear(b, copy.before * copy.channels * size, size)
            b = f.at(b, copy.before * copy.channels, copy.element)
        if copy.behind:
            end = f.at(b, copy.sizes[-1] * copy.channels, copy.element)
            f.clear(end, copy.behind * copy.channels * size, size)
        if copy.steps[-1] == 1 and copy.steps[-2] == copy.channels:
            _line(f, copy, a, b, copy.sizes[-1] * copy.channels, 1)
        else:
            with f.loop(0, copy.sizes[-1]) as i:
                from_ = f.at(a, i * copy.steps[-2], stored(copy.dtype))
                to = f.at(b, i * copy.channels, copy.element)
                _line(f, copy, from_, to, copy.channels, copy.steps[-1])


def _line(f: Function, copy: Copy, a: Value, b: Value, count: int, step: int) -> None:
    """`count` numbers, one `step` apart."""
    memory = stored(copy.dtype)
    if step == 1 and memory == copy.element:
        f.copy(b, a, count * size_of(copy.element), size_of(copy.element))
        return
    lanes = 16
    whole = count // lanes * lanes if step == 1 else 0
    if whole:
        with f.loop(0, whole, lanes) as i:
            x = read(f, f.at(a, i, memory), copy.dtype, copy.target, lanes)
            f.store(x, f.at(b, i, copy.element))
    if whole < count:
        with f.loop(whole, count) as i:
            x = read(f, f.at(a, i * step, memory), copy.dtype, copy.target)
            f.store(x, f.at(b, i, copy.element))
