"""Winograd's minimal filtering: convolutions of 3×3 with 16 products for 4 results, not 36.

The result is cut into *squares* of 2×2 pixels. Each depends on a *patch* of 4×4 pixels d of the
operand and on the kernel g of 3×3,

    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A,        F(2×2, 3×3) of Lavin and Gray 2016

so that, summed over channels, each of the 16 entries of the bracket is a matrix product of patches
and kernels: 2.25 times fewer multiplications. The transformations take only additions and halves.
Forward and data are this computation; the weight gradient (`winograd_weight`) is its transpose in
g.

Work goes in *chunks* of squares whose transformed patches and products stay in the cache of one
thread; chunks depend on the sizes alone, and no sum crosses one: the bits are the same for any
number of threads, and on any processor with fused multiply-add.

Where it differs from the plain sum: sums of neighbours of d and of entries of g are rounded, too,
so results whose large terms cancel are less exact (in networks the errors are about as large); and
where the plain sum would be infinite it may be NaN. What is not finite reaches the same results.

Source: Winograd 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, padded, share, step
from wengert.compiler.kernels.conv_pack import Packing, emit_packing
from wengert.compiler.kernels.conv_tile import (
    Pixels,
    Tile,
    emit_tile,
    evenly,
    registers,
    shared_name,
    split_at,
)
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR, size_of, vector

PATCH, SQUARE, TAPS = 4, 2, 3  # sizes of one patch, of its results, and of the kernel
POINTS = PATCH * PATCH  # products for one square
CHUNK_BYTES = 400_000  # of transformed patches and products: they are to stay in the L2 cache
MANY_CHUNKS = 16  # to share between threads, if there are squares enough for
FEW_SQUARES = 24  # of a chunk that is no smaller for that

Vectors = list[Value]


def allowed() -> bool:
    """Whether programs may use it: unless the variable WENGERT_WINOGRAD is 0."""
    return os.environ.get("WENGERT_WINOGRAD", "1") != "0"


@dataclass(frozen=True)
class Squares:
    """The squares of all images, numbered through: result and operand of one convolution."""

    batch: int
    size: tuple[int, int]  # of the result
    source: tuple[int, int]  # of the operand
    before: tuple[int, int]  # padding

    @property
    def rows(self) -> int:
        """Squares along the first axis."""
        return -(-self.size[0] // SQUARE)

    @property
    def columns(self) -> int:
        """Squares along the second axis."""
        return -(-self.size[1] // SQUARE)

    @property
    def count(self) -> int:
        """Squares in all."""
        return self.batch * self.rows * self.columns

    def locate(self, f: Function, square: Value) -> tuple[Value, Value, Value]:
        """The image of a square, and the pixel of the result where it starts."""
        line, column = square // self.columns, square % self.columns
        return line // self.rows, (line % self.rows) * SQUARE, column * SQUARE

    def chunks(self, nbytes: int) -> tuple[int, int, int]:
        """How the squares are cut, if each takes so many bytes: see `evenly`."""
        most = max(FEW_SQUARES, CHUNK_BYTES // nbytes)
        wanted = max(-(-self.count // most), min(MANY_CHUNKS, self.count // FEW_SQUARES), 1)
        return evenly(self.count, -(-self.count // wanted))


# -- the transformations, on vectors of channels ---------------------------------------------------


def twice(
    transform: Callable[[Sequence[Value]], Vectors], x: Sequence[Sequence[Value]]
) -> list[Vectors]:
    """M x Mᵀ: a transformation of the columns, then of the rows."""
    columns = [transform(column) for column in zip(*x, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


def of_patch(d: Sequence[Value]) -> Vectors:
    """Bᵀ d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def of_kernel(g: Sequence[Value]) -> Vectors:
    """G g."""
    ends = (g[0] + g[2]) * 0.5
    middle = g[1] * 0.5
    return [g[0], ends + middle, ends - middle, g[2]]


def to_square(m: Sequence[Value]) -> Vectors:
    """Aᵀ m."""
    return [(m[0] + m[1]) + m[2], (m[1] - m[2]) - m[3]]


def of_square(y: Sequence[Value]) -> Vectors:
    """A y, the transpose of `to_square`."""
    return [y[0], y[0] + y[1], y[0] - y[1], -y[1]]


def to_kernel(u: Sequence[Value]) -> Vectors:
    """Gᵀ u, the transpose of `of_kernel`."""
    both, apart = (u[1] + u[2]) * 0.5, (u[1] - u[2]) * 0.5
    return [u[0] + both, apart, both + u[3]]


# -- pieces of both kernels ------------------------------------------------------------------------


@dataclass(frozen=True)
class Reader:
    """Reads squares of `side` pixels of an array, zeros outside of it, and transforms them."""

    pixels: Pixels
    size: tuple[int, int]
    side: int
    channels: int
    lanes: int
    apart: int  # entries from one point's results to the next's
    element: str
    target: Target

    def emit(self, module: Module) -> str:
        """The name of `read(source, row, column, to)`: the square that starts at a pixel, which may
        lie outside, becomes 16 points of `channels` each."""
        name = shared_name("winograd_read", self)
        if not module.has(name):
            arguments = ["ptr readonly", I64, I64, PTR]
            f = module.function(name, arguments, internal=True, attributes="nounwind noinline")
            self._write(f)
        return name

    def _write(self, f: Function) -> None:
        source, row, column, to = f.args
        steps = self.pixels.steps
        start = f.at(source, row * steps[0] + column * steps[1], self.element)
        places = [
            [f.at(start, i * steps[0] + j * steps[1], self.element) for j in range(self.side)]
            for i in range(self.side)
        ]
        all_inside = self._inside(f, row, 0, 0) & self._inside(f, row, 0, self.side - 1)
        all_inside = all_inside & self._inside(f, column, 1, 0)
        all_inside = all_inside & self._inside(f, column, 1, self.side - 1)
        nothing = f.buffer(self.channels, self.element)
        with f.choice(all_inside) as labels:
            self._transform(f, places, to)
            f.otherwise(labels)
            f.clear(nothing, self.channels * size_of(self.element), 64)
            rows = [self._inside(f, row, 0, i) for i in range(self.side)]
            columns = [self._inside(f, column, 1, j) for j in range(self.side)]
            for i, j in product(range(self.side), repeat=2):
                places[i][j] = f.select(rows[i] & columns[j], places[i][j], nothing)
            self._transform(f, places, to)
        f.ret()

    def _inside(self, f: Function, start: Value, axis: int, offset: int) -> Value:
        """Whether a pixel's place along an axis is there (negative places are large, unsigned)."""
        return f.compare("ult", start + offset, self.size[axis])

    def _transform(self, f: Function, places: list[list[Value]], to: Value) -> None:
        kind = vector(self.lanes, self.element)
        transform = of_patch if self.side == PATCH else of_square
        with f.loop(0, self.channels, self.lanes) as c:
            x = [[f.load(kind, f.at(at, c, self.element)) for at in line] for line in places]
            there = f.at(to, c, self.element)
            for p, value in enumerate(v for line in twice(transform, x) for v in line):
                f.store(value, f.at(there, p * self.apart, self.element), 64)


def multiply(
    f: Function,
    tile: Tile,
    total: tuple[int, int],
    arrays: tuple[Value, Value, Value],
    *more: Value,
) -> None:
    """One point's product, tile by tile: `total` rows and columns. `tile` says how the arrays lie;
    its rows and columns are the most that one takes. `more` is handed to each tile."""
    rows, columns = total
    a, b, c = arrays
    parts, size, longer = evenly(rows, tile.rows)
    heights = [(0, longer, size + 1), (longer * (size + 1), parts - longer, size)]
    panels = [(0, columns // tile.columns, tile.columns)]
    if columns % tile.columns:
        panels.append((columns // tile.columns, 1, columns % tile.columns))
    for first_panel, number, wide in panels:
        with f.loop(0, number) as q:
            panel = q + first_panel
            for first_row, count, high in heights:
                if not count:
                    continue
                name = emit_tile(f.module, replace(tile, rows=high, columns=wide))
                with f.loop(0, count) as r:
                    row = r * high + first_row
                    at_a = f.at(a, row * tile.source_step, tile.element)
                    at_b = f.at(b, panel * _panel(tile), tile.element)
                    at_c = f.at(c, row * tile.result_step + panel * tile.columns, tile.element)
                    f.call(name, [at_a, at_b, at_c, *more])


def _panel(tile: Tile) -> int:
    """From one panel of columns to the next, in what a tile takes as weights."""
    return tile.columns if tile.loops else tile.channels * tile.width


# -- forward and data ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Winograd:
    """A forward convolution with a kernel of 3×3, or a transpose in the data of one.

    `packing` puts the kernel's entries into the order in which patches meet them. Channels and
    columns are whole vectors.
    """

    squares: Squares
    channels: int
    columns: int
    operand: Pixels
    result: Pixels
    packing: Packing
    operand_slot: int
    weight_slot: int
    target: Target

    # -- sizes -------------------------------------------------------------------------------

    @property
    def element(self) -> str:
        """Type that is computed in."""
        return self.packing.element

    @cached_property
    def chunks(self) -> tuple[int, int, int]:
        """How the squares are cut into chunks."""
        return self.squares.chunks(POINTS * (self.channels + self.columns) * size_of(self.element))

    @cached_property
    def most(self) -> int:
        """Squares of the largest chunk."""
        return self.chunks[1] + (self.chunks[2] > 0)

    @property
    def weights(self) -> int:
        """Transformed numbers for one point: panels of columns."""
        return self.packing.panels * self.channels * self.packing.width

    @property
    def workspace(self) -> Workspace:
        """Packed weights, and transformed ones; patches and products of each thread."""
        size = size_of(self.element)
        shared = padded(self.packing.nbytes) + POINTS * self.weights * size
        return Workspace(shared, POINTS * self.most * (self.channels + self.columns) * size)

    # -- code --------------------------------------------------------------------------------

    def emit(self, module: Module, name: str, epilogue: Epilogue | None) -> list[Phase]:
        """Write the steps."""
        names = [f"{name}_{what}" for what in ("pack", "transform", "multiply")]
        if not module.has(names[0]):
            self._emit_packing(module, names[0])
            self._emit_weights(module, names[1])
            self._emit_chunks(module, names[2], epilogue)
        return [Phase(n) for n in names]

    def _emit_packing(self, module: Module, name: str) -> None:
        f, args, thread, threads = step(module, name)
        weights, packed = address(f, args, self.weight_slot), address(f, args, 3)
        emit_packing(f, self.packing, weights, packed, thread, threads)
        f.ret()

    def _emit_weights(self, module: Module, name: str) -> None:
        """Transform the packed kernels: panels [entry][channel] become [point][panel][channel]."""
        f, args, thread, threads = step(module, name)
        pack = self.packing
        line = self.channels * pack.width
        packed = address(f, args, 3)
        made = f.at(packed, padded(pack.nbytes), "i8")
        kind = vector(pack.lanes, self.element)
        lo, hi = share(f, pack.panels * line, thread, threads, pack.lanes)
        with f.loop(lo, hi, pack.lanes) as i:
            here = f.at(packed, (i // line) * pack.panel + i % line, self.element)
            g = [
                [f.load(kind, f.at(here, (3 * a + b) * line, self.element), 64) for b in range(3)]
                for a in range(3)
            ]
            there = f.at(made, i, self.element)
            for p, value in enumerate(v for row in twice(of_kernel, g) for v in row):
                f.store(value, f.at(there, p * self.weights, self.element), 64)
        f.ret()

    def _emit_chunks(self, module: Module, name: str, epilogue: Epilogue | None) -> None:
        f, args, thread, threads = step(module, name)
        squares, size = self.squares, size_of(self.element)
        reader = Reader(
            self.operand,
            squares.source,
            PATCH,
            self.channels,
            self.packing.lanes,
            self.most * self.channels,
            self.element,
            self.target,
        ).emit(module)
        writer = self._emit_writer(module, f"{name}_square", epilogue)
        source, result = address(f, args, self.operand_slot), address(f, args, 2)
        work = address(f, args, 3)
        weights = f.at(work, padded(self.packing.nbytes), "i8")
        own = thread * padded(self.workspace.per_thread) + padded(self.workspace.shared)
        patches = f.at(work, own, "i8")
        products = f.at(patches, POINTS * self.most * self.channels * size, "i8")
        lo, hi = share(f, self.chunks[0], thread, threads)
        with f.loop(lo, hi) as chunk:
            first = split_at(f, chunk, self.chunks)
            stop = split_at(f, chunk + 1, self.chunks)
            with f.loop(first, stop) as s:
                image, row, column = squares.locate(f, s)
                here = f.at(source, image * self.operand.image, self.element)
                to = f.at(patches, (s - first) * self.channels, self.element)
                y, x = (a - b for a, b in zip((row, column), squares.before, strict=True))
                f.call(reader, [here, y, x, to])
            with f.loop(0, POINTS) as p:
                a = f.at(patches, p * (self.most * self.channels), self.element)
                b = f.at(weights, p * self.weights, self.element)
                c = f.at(products, p * (self.most * self.columns), self.element)
                multiply(f, self._tile, (self.most, self.columns), (a, b, c))
            with f.loop(first, stop) as s:
                image, row, column = squares.locate(f, s)
                here = f.at(products, (s - first) * self.columns, self.element)
                f.call(writer, [args, here, result, image, row, column])
        f.ret()

    @property
    def _tile(self) -> Tile:
        pack = self.packing
        return Tile(
            rows=registers(self.target, self.columns, pack.lanes, self.element).rows,
            columns=min(pack.width, self.columns),
            lanes=pack.lanes,
            width=pack.width,
            dtype=pack.dtype,
            channels=self.channels,
            depthwise=False,
            loops=(),
            joined=False,
            source_step=self.channels,
            result_step=self.columns,
            target=self.target,
        )

    def _emit_writer(self, module: Module, name: str, epilogue: Epilogue | None) -> str:
        """The name of `write(args, products, result, image, row, column)`: one square's pixels."""
        arguments = [PTR, "ptr readonly", PTR, I64, I64, I64]
        f = module.function(name, arguments, internal=True, attributes="nounwind noinline")
        args, products, result, image, row, column = f.args
        kind, steps = vector(self.packing.lanes, self.element), self.result.steps
        apart, (height, width) = self.most * self.columns, self.squares.size
        start = image * self.result.image + row * steps[0] + column * steps[1]
        start_at = f.at(result, start, self.element)
        below = f.compare("slt", row + 1, height) if height % SQUARE else None
        beside = f.compare("slt", column + 1, width) if width % SQUARE else None
        with f.loop(0, self.columns, self.packing.lanes) as c:
            here = f.at(products, c, self.element)
            m = [
                [
                    f.load(kind, f.at(here, (PATCH * i + j) * apart, self.element), 64)
                    for j in range(PATCH)
                ]
                for i in range(PATCH)
            ]
            there = f.at(start_at, c, self.element)
            for (i, j), value in zip(
                product(range(SQUARE), repeat=2),
                (v for line in twice(to_square, m) for v in line),
                strict=True,
            ):
                with _where(f, [below] * i + [beside] * j):
                    f.store(value, f.at(there, i * steps[0] + j * steps[1], self.element))
        if epilogue:
            for i, j in product(range(SQUARE), repeat=2):
                with _where(f, [below] * i + [beside] * j):
                    pixel = (image * height + row + i) * width + column + j
                    epilogue(f, args, pixel, f.i64(0), self.columns)
        f.ret()
        return name


@contextmanager
def _where(f: Function, conditions: Sequence[Value | None]) -> Iterator[None]:
    """Do something where all conditions hold that there are."""
    with ExitStack() as stack:
        for condition in conditions:
            if condition is not None:
                stack.enter_context(f.when(condition))
        yield
