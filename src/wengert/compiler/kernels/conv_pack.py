"""Weights in the order in which tiles meet them.

Two functions do it for all geometries of a program: they take sizes and steps from a table. One
transposes square blocks, where weights of a filter (or channel) lie in memory without gaps. The
other goes through weights with any steps, one by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

import numpy as np

from wengert.compiler.kernels.conv_axis import table
from wengert.compiler.kernels.conv_tile import read, shared_name
from wengert.compiler.kernels.packing import transpose
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR, computed, size_of, stored, vector
from wengert.core.dtypes import DType

BLOCK = 16  # channels that are packed at a time, so that what is written stays in the cache
LONG_LINE = 8  # weights next to each other in memory that make transposing pay

ARGS = ("ptr readonly", PTR, "ptr readonly", "ptr readonly", I64, I64)


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
    _, line = pack.lines
    whole = line >= pack.lanes or pack.element == stored(pack.dtype)
    writer: type[_Writer] = _Transposing if line >= LONG_LINE and whole else _OneByOne
    name = shared_name(writer.stem, pack.dtype, pack.lanes, pack.target)
    if not f.module.has(name):
        writer(f.module, name, pack).write()
    sizes = table(f, tuple(writer.sizes(pack).values()))
    entries = table(f, pack.places if writer is _Transposing else pack.offsets)
    f.call(name, [source, target, sizes, entries, thread, threads])


class _Writer(ABC):
    """The writer of `pack(source, target, sizes, entries, thread, threads)`."""

    stem: str

    def __init__(self, module: Module, name: str, pack: Packing) -> None:
        self.f = module.function(name, ARGS, internal=True, attributes="nounwind noinline")
        self.dtype, self.lanes, self.target = pack.dtype, pack.lanes, pack.target
        self.element, self.memory = pack.element, stored(pack.dtype)
        self.source, self.packed, sizes, self.entries, self.thread, self.threads = self.f.args
        self.given = {
            name: self.f.load(I64, self.f.at(sizes, i, I64))
            for i, name in enumerate(self.sizes(pack))
        }

    @staticmethod
    @abstractmethod
    def sizes(pack: Packing) -> dict[str, int]:
        """What the function needs to know, in the order of its table."""

    @abstractmethod
    def write(self) -> None:
        """Write the function."""

    def _share(self, units: Value) -> tuple[Value, Value]:
        """The thread's part of `range(units)`."""
        return self.thread * units // self.threads, (self.thread + 1) * units // self.threads


class _Transposing(_Writer):
    """Packing of lines that lie in memory without gaps, a square block of them at a time.

    Blocks of the last columns take some column again, and those of the end of a line overlap."""

    stem = "pack_blocks"

    @staticmethod
    def sizes(pack: Packing) -> dict[str, int]:
        outer, line = pack.lines
        return {
            "channels": outer,
            "blocks": -(-line // pack.lanes),
            "slices": pack.width // pack.lanes,
            "panels": -(-pack.columns // pack.width),
            "groups": pack.groups,
            "columns": pack.columns,
            "width": pack.width,
            "group_step": pack.group_step,
            "channel_step": pack.channel_step,
            "column_step": pack.column_step,
            "panel": pack.panel,
            "length": min(line, pack.lanes),
            "last": max(0, line - pack.lanes),
            "entries": pack.entries,
        }

    def write(self) -> None:
        f, given = self.f, self.given
        block = _emit_block(f.module, self.dtype, self.lanes, self.target)
        buffer = f.buffer(self.lanes * self.lanes, self.element)
        units = given["channels"] * given["blocks"] * given["slices"]
        lo, hi = self._share(units * given["panels"] * given["groups"])
        with f.loop(lo, hi) as unit:
            channel, rest = unit % given["channels"], unit // given["channels"]
            number, rest = rest % given["blocks"], rest // given["blocks"]
            part, panel = rest % given["slices"], rest // given["slices"]
            group, within = panel // given["panels"], panel % given["panels"]
            column = within * given["width"] + part * self.lanes
            with f.when(f.compare("slt", column, given["columns"])):
                last = f.smin(given["columns"] - column - 1, self.lanes - 1)
                first = f.smin(number * self.lanes, given["last"])
                place = group * given["group_step"] + column * given["column_step"]
                place = place + channel * given["channel_step"] + first
                here = f.at(self.source, place, self.memory)
                f.call(block, [here, given["column_step"], last, given["length"], buffer])
                there = panel * given["panel"] + part * self.lanes
                self._spread(buffer, f.at(self.packed, there, self.element), channel, first)
        f.ret()

    def _spread(self, buffer: Value, to: Value, channel: Value, first: Value) -> None:
        """Put a block's vectors where their entry and channel belong."""
        f, given = self.f, self.given
        kind = vector(self.lanes, self.element)
        entry = f.variable(I64, first % given["entries"])
        at = f.variable(I64, channel + first // given["entries"])
        with f.loop(0, given["length"]) as i:
            x = f.load(kind, f.at(buffer, i * self.lanes, self.element))
            e, c = entry.get(), at.get()
            place = f.load(I64, f.at(self.entries, e, I64))
            f.store(x, f.at(to, place + c * given["width"], self.element))
            end = f.compare("eq", e + 1, given["entries"])
            entry.set(f.select(end, f.i64(0), e + 1))
            at.set(f.select(end, c + 1, c))


def _emit_block(module: Module, dtype: DType, lanes: int, target: Target) -> str:
    """The name of `block(source, step, last, length, buffer)`: as many columns as lanes, `step`
    apart, are transposed into a buffer. Columns behind the last one are taken for it, and of each
    only the first entries are read, `length` of them."""
    name = shared_name("transpose", dtype, lanes, target)
    element, memory = computed(dtype), stored(dtype)
    if module.has(name):
        return name
    args = ["ptr readonly", I64, I64, I64, PTR]
    f = module.function(name, args, internal=True, attributes="nounwind noinline")
    source, step, last, length, buffer = f.args
    rows = []
    for j in range(lanes):
        place = f.at(source, f.smin(last, j) * step if j else 0, memory)
        if element != memory:  # halves have no masked loads: their lines are long enough
            rows.append(read(f, place, dtype, target, lanes))
        else:
            kind = vector(lanes, element)
            rows.append(f.masked_load(kind, place, f.first_lanes(length, lanes)))
    for i, x in enumerate(transpose(f, rows)):
        f.store(x, f.at(buffer, i * lanes, element))
    f.ret()
    return name


class _OneByOne(_Writer):
    """Packing of weights with any steps: blocks of channels of one panel."""

    stem = "pack_entries"

    @staticmethod
    def sizes(pack: Packing) -> dict[str, int]:
        return {
            "channels": pack.channels,
            "blocks": max(1, -(-pack.channels // BLOCK)),
            "panels": -(-pack.columns // pack.width),
            "groups": pack.groups,
            "columns": pack.columns,
            "width": pack.width,
            "group_step": pack.group_step,
            "channel_step": pack.channel_step,
            "column_step": pack.column_step,
            "panel": pack.panel,
            "entries": pack.entries,
            "entry": pack.channels * pack.width,
        }

    def write(self) -> None:
        f, given = self.f, self.given
        lo, hi = self._share(given["blocks"] * given["panels"] * given["groups"])
        with f.loop(lo, hi) as unit:
            panel, block = unit // given["blocks"], unit % given["blocks"]
            first = block * BLOCK
            last = f.smin(first + BLOCK, given["channels"])
            group, within = panel // given["panels"], panel % given["panels"]
            column = within * given["width"]
            count = f.smin(given["columns"] - column, given["width"])
            place = group * given["group_step"] + column * given["column_step"]
            here = f.at(self.source, place, self.memory)
            there = f.at(self.packed, panel * given["panel"], self.element)
            with f.loop(0, given["width"]) as j, f.loop(first, last) as c:
                b = f.at(there, c * given["width"] + j, self.element)
                with f.choice(f.compare("slt", j, count)) as labels:
                    place = j * given["column_step"] + c * given["channel_step"]
                    self._entries(f.at(here, place, self.memory), b)
                    f.otherwise(labels)
                    with f.loop(0, given["entries"]) as e:
                        nothing = f.constant(self.element, 0.0)
                        f.store(nothing, f.at(b, e * given["entry"], self.element))
        f.ret()

    def _entries(self, a: Value, b: Value) -> None:
        """All kernel entries of one channel and column."""
        f = self.f
        with f.loop(0, self.given["entries"]) as e:
            place = f.load(I64, f.at(self.entries, e, I64))
            x = read(f, f.at(a, place, self.memory), self.dtype, self.target)
            f.store(x, f.at(b, e * self.given["entry"], self.element))
