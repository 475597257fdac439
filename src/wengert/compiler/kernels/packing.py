"""Packing: a part of a matrix is copied so that a micro-kernel reads it from end to end.

One function does it for both operands and all layouts: `count` items (rows of a, columns of b) of
length k become k rows of `pitch` entries. So packing also absorbs every transposition and every
conversion of half precision to float32.
"""

from __future__ import annotations

from wengert.compiler.kernels.gemm_common import PACK_ARGS
from wengert.compiler.kernels.microkernel import Tile
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.compiler.llvm.types import computed, lanes_of, size_of, stored, vector
from wengert.core.dtypes import DType


def transpose(f: Function, rows: list[Value]) -> list[Value]:
    """A square block of vectors, transposed in registers.

    Each round doubles the length of the runs that stand right, first inside of the 16-byte blocks
    that every processor can interleave, then by whole blocks.
    """
    lanes = lanes_of(rows[0].type)
    block = min(lanes, 16 // size_of(rows[0].type))  # entries of a 16-byte block
    distance = block // 2
    while distance:
        rows = _exchange(f, rows, distance, _interleaved(lanes, block))
        distance //= 2
    distance = block
    while distance < lanes:
        rows = _exchange(f, rows, distance, _alternating(lanes, block))
        distance *= 2
    return rows


def _exchange(
    f: Function, rows: list[Value], distance: int, picks: tuple[list[int], list[int]]
) -> list[Value]:
    """Replace each pair of rows that far apart by two mixtures of them."""
    out = list(rows)
    for i in range(len(rows)):
        if not i & distance:
            a, b = rows[i], rows[i + distance]
            out[i], out[i + distance] = f.shuffle(a, b, picks[0]), f.shuffle(a, b, picks[1])
    return out


def _interleaved(lanes: int, block: int) -> tuple[list[int], list[int]]:
    """In each block, the first (second) half of a's entries, alternating with b's."""
    half = block // 2
    low = [s + i + b for s in range(0, lanes, block) for i in range(half) for b in (0, lanes)]
    return low, [i + half for i in low]


def _alternating(lanes: int, block: int) -> tuple[list[int], list[int]]:
    """The even (odd) blocks of a, then those of b."""
    even = [s + i for s in range(0, 2 * lanes, 2 * block) for i in range(block)]
    return even, [i + block for i in even]


def pitch_of(rows: int, lanes: int) -> int:
    """Entries from one k to the next of a packed tile of a."""
    return rows if rows <= lanes else -(-rows // lanes) * lanes


class Packing:
    """The writer of a packing function for one dtype of the source."""

    def __init__(self, module: Module, name: str, tile: Tile, dtype: DType, target: Target) -> None:
        self.f = f = module.function(name, PACK_ARGS)
        self.k, self.count, self.source, self.item, self.step, self.to, self.pitch = f.args
        self.tile, self.dtype = tile, dtype
        self.stored, self.element = stored(dtype), computed(dtype)
        self.rules = Arithmetic(f, dtype, target=target)

    def emit(self) -> None:
        """Write `void name(k, count, from, item stride, k stride, to, pitch)`.

        With more items than lanes, the pitch must be a multiple of the lanes. What lies between the
        count and the pitch becomes anything, and so does up to one vector beyond the last entry.
        """
        f, lanes = self.f, self.tile.lanes
        along_items, other = f.label("items"), f.label("other")
        along_k, neither, done = f.label("along"), f.label("neither"), f.label("done")
        f.branch(f.compare("eq", self.item, 1), along_items, other)
        f.place(along_items)
        self._copy_rows()
        f.jump(done)
        f.place(other)
        blocks = f.compare("sge", self.k, lanes) & f.compare("eq", self.step, 1)
        f.branch(blocks, along_k, neither)
        f.place(along_k)
        with f.loop(0, self.count, lanes) as first:
            self._transpose_items(first)
        f.jump(done)
        f.place(neither)
        self._copy_entries(f.i64(0))
        f.jump(done)
        f.place(done)
        f.ret()

    def _load(self, place: Value, lanes: int, mask: Value | None = None) -> Value:
        f, kind = self.f, vector(lanes, self.stored)
        raw = f.load(kind, place) if mask is None else f.masked_load(kind, place, mask)
        return convert.unpack(self.rules, raw, self.dtype)

    def _from(self, k: Operand, item: Value) -> Value:
        return self.f.at(self.source, self.step * k + item * self.item, self.stored)

    def _to(self, k: Operand, item: Value) -> Value:
        return self.f.at(self.to, self.pitch * k + item, self.element)

    def _copy_rows(self) -> None:
        """Neighbouring items: two vectors at a time, then one, then what is left."""
        f, lanes = self.f, self.tile.lanes
        double = self.count // (2 * lanes) * (2 * lanes)
        single = self.count // lanes * lanes
        with f.loop(0, double, 2 * lanes) as item, f.loop(0, self.k) as k:
            source, to = self._from(k, item), self._to(k, item)
            pair = [self._load(f.at(source, s, self.stored), lanes) for s in (0, lanes)]
            f.store(pair[0], to)
            f.store(pair[1], f.at(to, lanes, self.element))
        with f.loop(double, single, lanes) as item, f.loop(0, self.k) as k:
            f.store(self._load(self._from(k, item), lanes), self._to(k, item))
        with f.when(f.compare("slt", single, self.count)):
            if self.tile.masks and self.stored == self.element:
                mask = f.first_lanes(self.count - single, lanes)
                with f.loop(0, self.k) as k:
                    f.store(self._load(self._from(k, single), lanes, mask), self._to(k, single))
            else:
                self._copy_entries(single)

    def _transpose_items(self, first: Value) -> None:
        """As many items as there are lanes, of which k runs along memory."""
        f, lanes = self.f, self.tile.lanes
        last = self.count - first - 1
        steps = [f.smin(last, i) * self.item for i in range(lanes)]  # missing items repeat the last
        source, to = self._from(0, first), self._to(0, first)
        end = self.k - lanes
        with f.loop(0, self.k, lanes) as i:
            k = f.smin(end, i)  # the last block overlaps the one before
            start = f.at(source, k, self.stored)
            block = [self._load(f.at(start, s, self.stored), lanes) for s in steps]
            place = f.at(to, k * self.pitch, self.element)
            for row in transpose(f, block):
                f.store(row, place)
                place = f.at(place, self.pitch, self.element)

    def _copy_entries(self, first: Value) -> None:
        """One entry at a time, for what has no order that vectors can use."""
        f = self.f
        with f.loop(0, self.k) as k:
            source, to = self._from(k, f.i64(0)), self._to(k, f.i64(0))
            with f.loop(first, self.count) as item:
                x = self._load(f.at(source, item * self.item, self.stored), 0)
                f.store(x, f.at(to, item, self.element))
