"""The weight gradient of a 3×3 convolution by Winograd's filtering: the transpose of `winograd`.

With patches d of x and squares y of the cotangent, both transformed,

    dg = Gᵀ [ Σ (Bᵀ d B) ⊙ (A y Aᵀ) ] G

where the sum runs over all squares of all images: for each of 16 points a matrix product, channels
of x times channels of y, over squares. Squares are cut into *ranges*, the columns into *strips*;
each range and strip has sums of its own, one chain over its squares in order. The second step adds
the ranges' sums in order, and transforms them. Ranges depend on the sizes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from wengert.compiler.kernels.base import Phase, Workspace, address, padded, share, step
from wengert.compiler.kernels.conv_tile import Loop, Pixels, Tile, registers, split_at
from wengert.compiler.kernels.winograd import (
    PATCH,
    POINTS,
    SQUARE,
    TAPS,
    Reader,
    Squares,
    multiply,
    to_kernel,
    twice,
)
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import PTR, computed, size_of, stored, vector
from wengert.core.dtypes import DType

SUMS = 1 << 19  # numbers that the sums of all ranges take together, about
FEWEST_RANGES, MOST_RANGES = 2, 32
STRIP = 4  # vectors of columns that are summed at a time


@dataclass(frozen=True)
class WinogradWeight:
    """The weight gradient; channels of x and columns (channels of y) are whole vectors.

    `steps` are those of the result's axes: filters, channels, kernel rows, kernel columns.
    """

    squares: Squares
    channels: int
    columns: int
    x: Pixels
    y: Pixels
    dtype: DType
    lanes: int
    steps: tuple[int, ...]
    target: Target

    # -- sizes -------------------------------------------------------------------------------

    @property
    def element(self) -> str:
        """Type that is computed in."""
        return computed(self.dtype)

    @cached_property
    def strip(self) -> int:
        """Columns of a strip: equal ones."""
        vectors = self.columns // self.lanes
        fitting = [n for n in range(1, STRIP + 1) if vectors % n == 0]
        return fitting[-1] * self.lanes

    @property
    def strips(self) -> int:
        """Number of strips."""
        return self.columns // self.strip

    @property
    def sums(self) -> int:
        """Numbers that one range sums up for one strip."""
        return POINTS * self.channels * self.strip

    @cached_property
    def chunks(self) -> tuple[int, int, int]:
        """How the squares are cut into chunks, whose transforms stay in the cache."""
        return self.squares.chunks(POINTS * (self.channels + self.strip) * size_of(self.element))

    @cached_property
    def most(self) -> int:
        """Squares of the largest chunk."""
        return self.chunks[1] + (self.chunks[2] > 0)

    @cached_property
    def ranges(self) -> int:
        """Ranges of chunks."""
        wanted = SUMS // (self.sums * self.strips)
        return min(self.chunks[0], max(FEWEST_RANGES, min(MOST_RANGES, wanted)))

    @property
    def workspace(self) -> Workspace:
        """Sums; transformed patches and squares of each thread."""
        size = size_of(self.element)
        each = POINTS * self.most * (self.channels + self.strip) * size
        return Workspace(self.ranges * self.strips * self.sums * size, each)

    # -- code --------------------------------------------------------------------------------

    def emit(self, module: Module, name: str) -> list[Phase]:
        """Write the steps."""
        names = [f"{name}_multiply", f"{name}_add"]
        if not module.has(names[0]):
            self._emit_products(module, names[0])
            self._emit_sum(module, names[1])
        return [Phase(n) for n in names]

    def _emit_products(self, module: Module, name: str) -> None:
        self._emit_range(module, f"{name}_range")
        f, args, thread, threads = step(module, name)
        x, y, work = address(f, args, 0), address(f, args, 1), address(f, args, 3)
        own = thread * padded(self.workspace.per_thread) + padded(self.workspace.shared)
        scratch = f.at(work, own, "i8")
        lo, hi = share(f, self.ranges * self.strips, thread, threads)
        with f.loop(lo, hi) as unit:
            number, strip = unit // self.strips, unit % self.strips
            sums = f.at(work, unit * self.sums, self.element)
            f.clear(sums, self.sums * size_of(self.element), 64)
            first = number * self.chunks[0] // self.ranges
            stop = (number + 1) * self.chunks[0] // self.ranges
            at_y = f.at(y, strip * self.strip, self.element)
            f.call(f"{name}_range", [x, at_y, sums, scratch, first, stop])
        f.ret()

    def _emit_range(self, module: Module, name: str) -> None:
        """`name(x, y, sums, scratch, first, stop)`: the chunks of one range, for one strip."""
        arguments = ["ptr readonly", "ptr readonly", PTR, PTR, "i64", "i64"]
        f = module.function(name, arguments, internal=True, attributes="nounwind noinline")
        x, y, sums, scratch, first, stop = f.args
        size, squares = size_of(self.element), self.squares
        read_x = self._reader(self.x, squares.source, PATCH, self.channels).emit(module)
        read_y = self._reader(self.y, squares.size, SQUARE, self.strip).emit(module)
        patches = scratch
        cotangents = f.at(scratch, POINTS * self.most * self.channels * size, "i8")
        with f.loop(first, stop) as chunk:
            begin, end = (split_at(f, c, self.chunks) for c in (chunk, chunk + 1))
            with f.loop(begin, end) as s:
                image, row, column = squares.locate(f, s)
                at_x = f.at(x, image * self.x.image, self.element)
                at_y = f.at(y, image * self.y.image, self.element)
                to_x = f.at(patches, (s - begin) * self.channels, self.element)
                to_y = f.at(cotangents, (s - begin) * self.strip, self.element)
                above, left = squares.before
                f.call(read_x, [at_x, row - above, column - left, to_x])
                f.call(read_y, [at_y, row, column, to_y])
            with f.loop(0, POINTS) as p:
                a = f.at(patches, p * (self.most * self.channels), self.element)
                b = f.at(cotangents, p * (self.most * self.strip), self.element)
                c = f.at(sums, p * (self.channels * self.strip), self.element)
                multiply(f, self._tile, (self.channels, self.strip), (a, b, c), end - begin)
        f.ret()

    def _reader(self, pixels: Pixels, size: tuple[int, int], side: int, channels: int) -> Reader:
        apart = self.most * channels
        return Reader(pixels, size, side, channels, self.lanes, apart, self.element, self.target)

    @property
    def _tile(self) -> Tile:
        """Channels times columns, added to the sums, over as many squares as it is told."""
        size = registers(self.target, self.strip, self.lanes, self.element)
        width = min(size.vectors * self.lanes, self.strip)
        return Tile(
            rows=size.rows,
            columns=width,
            lanes=self.lanes,
            width=width,
            dtype=self.dtype,
            channels=1,
            depthwise=False,
            loops=(Loop(self.channels, self.strip),),
            joined=False,
            source_step=1,
            result_step=self.strip,
            target=self.target,
            adds=True,
        )

    def _emit_sum(self, module: Module, name: str) -> None:
        """Add up the ranges' sums, transform them, and write them where the user wants them."""
        f, args, thread, threads = step(module, name)
        sums, result = address(f, args, 3), address(f, args, 2)
        memory = stored(self.dtype)
        vectors = self.columns // self.lanes
        each = self.strip // self.lanes
        scratch = f.buffer(TAPS * TAPS * self.lanes, self.element)
        lo, hi = share(f, self.channels * vectors, thread, threads)
        with f.loop(lo, hi) as unit:
            channel, v = unit // vectors, unit % vectors
            start = (v // each) * self.sums + channel * self.strip + (v % each) * self.lanes
            here = f.at(sums, start, self.element)
            found = [
                self._total(f, f.at(here, p * (self.channels * self.strip), self.element))
                for p in range(POINTS)
            ]
            u = [found[PATCH * i : PATCH * (i + 1)] for i in range(PATCH)]
            for e, value in enumerate(v for line in twice(to_kernel, u) for v in line):
                f.store(value, f.at(scratch, e * self.lanes, self.element), 64)
            there = f.at(result, channel * self.steps[1], memory)
            with f.loop(0, self.lanes) as j:
                column = f.at(there, (v * self.lanes + j) * self.steps[0], memory)
                for e in range(TAPS * TAPS):
                    x = f.load(self.element, f.at(scratch, j + e * self.lanes, self.element))
                    place = e // TAPS * self.steps[2] + e % TAPS * self.steps[3]
                    f.store(x, f.at(column, place, memory))
        f.ret()

    def _total(self, f: Function, place: Value) -> Value:
        """The sum over ranges, the first first."""
        kind = vector(self.lanes, self.element)
        total = f.variable(kind, f.load(kind, place, 64))
        if self.ranges > 1:
            with f.loop(1, self.ranges) as r:
                at = f.at(place, r * (self.strips * self.sums), self.element)
                total.set(total.get() + f.load(kind, at, 64))
        return total.get()
