"""Small products, with all sizes in the code: nothing is packed, no call is made.

The rows of c are cut into tiles of nearly equal height, the columns into panels; for each of the at
most four kinds of tile that this gives, there is one piece of straight code around a loop over k.
It serves every dtype, so integers of any size come here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wengert.compiler.kernels.base import (
    Epilogue,
    Phase,
    Workspace,
    address,
    emit_epilogue,
    share,
    step,
)
from wengert.compiler.kernels.gemm_common import PACK_ARGS, pack_name
from wengert.compiler.kernels.gemm_dots import DOTS_PANEL, Dots
from wengert.compiler.kernels.gemm_problem import Problem
from wengert.compiler.kernels.microkernel import multiply_add, tile_for
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Module, Operand, Value
from wengert.compiler.llvm.types import computed, is_floating, stored, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

if TYPE_CHECKING:
    from wengert.compiler.kernels.gemm import Gemm

MOST_WORK = 8192  # multiply-adds of a small product
MOST_B = 4096  # entries of b, which may have to be transposed on the stack
UNROLLED = 4  # k up to here is written out


def is_small(gemm: Gemm, p: Problem) -> bool:
    """Whether a product gets code of its own."""
    if not dtypes.is_float(gemm.dtype):
        return True
    direct = p.dots or p.column_b == 1 or p.depth * p.columns <= MOST_B
    return p.parts == 1 and direct and p.rows * p.columns * p.depth <= MOST_WORK


class Piece(NamedTuple):
    """Neighbouring columns in one vector: where they start, its lanes (0: one number), and how
    many of them are used."""

    start: int
    lanes: int
    used: int


class Source(NamedTuple):
    """Where b is read: its first entry, strides, and the dtype that it has there."""

    place: Value
    row: int
    column: int
    dtype: DType


class Small:
    """Straight code for one product."""

    def __init__(self, gemm: Gemm, p: Problem) -> None:
        self.gemm, self.p, self.dtype = gemm, p, gemm.dtype
        self.stored, self.element = stored(gemm.dtype), computed(gemm.dtype)
        self.is_float = is_floating(self.element)
        self.half = gemm.dtype in (dtypes.float16, dtypes.bfloat16)
        self.work_dtype = dtypes.float32 if self.half else gemm.dtype
        self.tile = tile_for(gemm.target, self.element)
        self.plain = gemm.alpha == 1.0 and not self.half
        assert self.is_float or gemm.alpha == 1.0, "alpha is for floating-point matrices"
        self.panel = min(p.columns, self.tile.vectors * self.tile.lanes)
        self.tiles = -(-p.rows // self.tile.rows)
        self.alone = p.count == 1 and self.is_float

    @property
    def workspace(self) -> Workspace:
        """It needs none."""
        return Workspace()

    def emit(self, module: Module, name: str, epilogue: Epilogue | None) -> list[Phase]:
        """Write the step."""
        phases = [Phase(name, serial=self.alone)]
        if module.has(name):
            return phases
        p = self.p
        self.f, self.args, thread, threads = step(module, name)
        self.finish = emit_epilogue(module, name, epilogue) if epilogue else None
        self.rules = Arithmetic(self.f, self.dtype, target=self.gemm.target)
        f, swapped = self.f, int(p.swapped)
        self.a, self.b, self.c = (address(f, self.args, i) for i in (swapped, 1 - swapped, 2))
        if p.count == 1:
            tiles = (0, self.tiles) if self.alone else share(f, self.tiles, thread, threads)
            self._matrix(f.i64(0), self.a, self.b, self.c, tiles)
        else:
            first, last = share(f, p.count, thread, threads)
            with f.loop(first, last) as index:
                far = self._offsets(index)
                bases = zip((self.a, self.b, self.c), far, strict=True)
                a, b, c = (f.at(base, offset, self.stored) for base, offset in bases)
                self._matrix(index, a, b, c, (0, self.tiles))
        f.ret()
        return phases

    def _finished(self, row: Value, end: Value, column: Value, width: int) -> None:
        """Call the function for finished rows, if there is one."""
        if self.finish is not None:
            self.f.call(self.finish, [self.args, row, end, column, self.f.i64(width)])

    def _offsets(self, index: Value) -> list[Value]:
        """How far a, b and c of a matrix of the batch lie from the first."""
        f = self.f
        found = [f.i64(0)] * 3
        for i, axis in reversed(list(enumerate(self.p.batch))):
            digit = index % axis.size if i else index
            index = index // axis.size
            steps = (axis.a, axis.b, axis.c)
            found = [far + digit * by for far, by in zip(found, steps, strict=True)]
        return found

    def _matrix(
        self, index: Value, a: Value, b: Value, c: Value, tiles: tuple[Operand, Operand]
    ) -> None:
        """One matrix of the batch, or some of its tiles."""
        if self.p.dots and self.is_float:
            self._dots(index, a, b, c)
            return
        source = self._source(b)
        whole = self.p.columns // self.panel
        with self.f.loop(0, whole) as panel:
            self._panel(index, a, source, c, panel * self.panel, self.panel, tiles)
        rest = self.p.columns - whole * self.panel
        if rest:
            column = self.f.i64(whole * self.panel)
            self._panel(index, a, source, c, column, rest, tiles)

    def _source(self, b: Value) -> Source:
        """b where it lies, or transposed on the stack."""
        f, p = self.f, self.p
        if p.column_b == 1 or p.columns == 1 or not p.depth or not self.is_float:
            return Source(b, p.row_b, p.column_b, self.dtype)
        lanes = self.tile.lanes
        pitch = -(-p.columns // lanes) * lanes
        packed = f.buffer(p.depth * pitch + lanes, self.element)
        f.module.libraries.add(pack_name(self.dtype))
        f.module.declare(pack_name(self.dtype), "void", PACK_ARGS)
        sizes = [f.i64(x) for x in (p.depth, p.columns)]
        steps = [f.i64(x) for x in (p.column_b, p.row_b)]
        f.call(pack_name(self.dtype), [*sizes, b, *steps, packed, f.i64(pitch)])
        return Source(packed, pitch, 1, self.work_dtype)

    def _panel(
        self,
        index: Value,
        a: Value,
        b: Source,
        c: Value,
        column: Value,
        width: int,
        tiles: tuple[Operand, Operand],
    ) -> None:
        """All tiles of a panel: the first `higher` ones have one row more."""
        f = self.f
        height, higher = divmod(self.p.rows, self.tiles)
        first, last = tiles
        b = b._replace(place=f.at(b.place, column * b.column, stored(b.dtype)))
        for rows, start, stop, before in (
            (height + 1, first, f.smin(f.i64(last), higher), 0),
            (height, f.smax(f.i64(first), higher), last, higher),
        ):
            if not _is_empty(start, stop):
                with f.loop(start, stop) as t:
                    row = t * rows + before
                    left = f.at(a, row * self.p.row_a, self.stored)
                    place = f.at(c, row * self.p.row_c + column, self.stored)
                    self._tile(left, b, place, rows, width)
                    start_row = index * self.p.rows + row
                    self._finished(start_row, start_row + rows, column, width)

    def _tile(self, a: Value, b: Source, c: Value, rows: int, width: int) -> None:
        """One tile of c."""
        f, p = self.f, self.p
        pieces = self._pieces(width)
        kinds = [vector(piece.lanes, self.element) for piece in pieces]
        places = [
            [f.at(c, i * p.row_c + piece.start, self.stored) for piece in pieces]
            for i in range(rows)
        ]
        resume = self.gemm.accumulate and self.plain
        sums = [[f.variable(kind, 0) for kind in kinds] for _ in range(rows)]
        if resume:
            for line, row in zip(places, sums, strict=True):
                for place, piece, one in zip(line, pieces, row, strict=True):
                    one.set(self._load(place, piece, self.dtype))

        def multiply(k: Value) -> None:
            left = f.at(a, k * p.column_a, self.stored)
            right = [self._load_b(b, k, piece) for piece in pieces]
            for i, row in enumerate(sums):
                raw = f.load(self.stored, f.at(left, i * p.row_a, self.stored))
                x = convert.unpack(self.rules, raw, self.dtype)
                for piece, y, one in zip(pieces, right, row, strict=True):
                    wide = f.splat(x, piece.lanes) if piece.lanes else x
                    one.set(multiply_add(f, wide, y, one.get(), self.tile.fused))

        if p.depth <= UNROLLED:
            for k in range(p.depth):
                multiply(f.i64(k))
        else:
            with f.loop(0, p.depth) as at:
                multiply(at)
        for line, row in zip(places, sums, strict=True):
            for place, piece, one in zip(line, pieces, row, strict=True):
                self._store(one.get(), place, piece)

    def _pieces(self, width: int) -> list[Piece]:
        """Vectors for so many columns: with masks the last is partial, without they get shorter."""
        found, start = [], 0
        lanes = self.tile.lanes
        masks = self.tile.masks and self.is_float and not self.half
        while start < width:
            rest = width - start
            if rest < lanes and masks and rest > 1:
                shortest = 1 << (rest - 1).bit_length()
                found.append(Piece(start, shortest, rest))
                break
            while rest < lanes:
                lanes //= 2
            found.append(Piece(start, lanes if lanes > 1 else 0, lanes))
            start += lanes
        return found

    def _load_b(self, b: Source, k: Value, piece: Piece) -> Value:
        f, kind = self.f, stored(b.dtype)
        row = f.at(b.place, k * b.row, kind)
        place = f.at(row, piece.start * b.column, kind)
        if b.column == 1 or not piece.lanes:
            return self._load(place, piece, b.dtype)
        found = Value(vector(piece.lanes, kind), "poison", f)
        for i in range(piece.used):
            found = f.insert(found, f.load(kind, f.at(place, i * b.column, kind)), i)
        return convert.unpack(self.rules, found, b.dtype)

    def _load(self, place: Value, piece: Piece, dtype: DType) -> Value:
        f, kind = self.f, vector(piece.lanes, stored(dtype))
        if piece.used == max(piece.lanes, 1):
            raw = f.load(kind, place)
        else:
            raw = f.masked_load(kind, place, f.first_lanes(piece.used, piece.lanes))
        return convert.unpack(self.rules, raw, dtype)

    def _store(self, x: Value, place: Value, piece: Piece) -> None:
        f, gemm = self.f, self.gemm
        if gemm.alpha != 1.0:
            x = x * gemm.alpha
        if gemm.accumulate and not self.plain:
            x = self._load(place, piece, self.dtype) + x
        raw = convert.pack(self.rules, x, self.dtype)
        if piece.used == max(piece.lanes, 1):
            f.store(raw, place)
        else:
            f.masked_store(raw, place, f.first_lanes(piece.used, piece.lanes))

    def _dots(self, index: Value, a: Value, b: Value, c: Value) -> None:
        """A row of dots."""
        f, p = self.f, self.p
        if self.half or p.column_a != 1:
            a = self._gathered(a)
        dots = Dots(f, self.dtype, self.gemm.target)
        options = (self.gemm.alpha, self.gemm.accumulate, self.dtype)
        whole = p.columns // DOTS_PANEL

        def write(column: Value, width: int) -> None:
            right = f.at(b, column * p.column_b, self.stored)
            place = f.at(c, column, self.stored)
            dots.write(a, right, place, width, p.column_b, p.depth, *options)
            self._finished(index, index + 1, column, width)

        if whole:
            with f.loop(0, whole) as panel:
                write(panel * DOTS_PANEL, DOTS_PANEL)
        if p.columns % DOTS_PANEL:
            write(f.i64(whole * DOTS_PANEL), p.columns % DOTS_PANEL)

    def _gathered(self, a: Value) -> Value:
        """The row of a, contiguous and widened, on the stack."""
        f, p = self.f, self.p
        row = f.buffer(p.depth, self.element)
        with f.loop(0, p.depth) as k:
            raw = f.load(self.stored, f.at(a, k * p.column_a, self.stored))
            f.store(convert.unpack(self.rules, raw, self.dtype), f.at(row, k, self.element))
        return row


def _is_empty(start: Operand, stop: Operand) -> bool:
    """Whether a range is known to be empty."""
    ends = [str(x) for x in (start, stop)]
    return all(x.isdigit() for x in ends) and int(ends[0]) >= int(ends[1])
