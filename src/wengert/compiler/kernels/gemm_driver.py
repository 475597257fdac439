"""Matrix products of any size: the loops around the micro-kernels, compiled once per machine.

All sizes and strides stand in a description (see `gemm_common`); what a program adds of its own is
a call and its epilogue. Per thread and matrix:

    for a block of columns (its packed part of b fits the L2/L3 cache)
      for a block of k
        pack b in panels
        for a block of rows (its part of a fits the L2 cache)
          pack a, where its rows run along memory
          for each panel, for each tile: micro-kernel; after the last k, the epilogue

Partial results of a block of k wait in c, and its chain goes on from there.
"""

from __future__ import annotations

from wengert.compiler.kernels.base import address
from wengert.compiler.kernels.gemm_common import (
    DRIVER_ARGS,
    FINISH_ARGS,
    GRID_THREADS,
    PACK_ARGS,
    SUM_ARGS,
    Description,
    call_epilogue,
    driver_name,
    finish_name,
    pack_name,
    part,
    sum_name,
)
from wengert.compiler.kernels.microkernel import Tile
from wengert.compiler.kernels.packing import pitch_of
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module, Value
from wengert.compiler.llvm.types import F64, I8, I64, PTR, computed, size_of, stored, vector
from wengert.core.dtypes import DType


class Driver:
    """The writer of the driver for one dtype."""

    def __init__(self, module: Module, tile: Tile, dtype: DType, target: Target) -> None:
        self.module, self.tile, self.dtype, self.target = module, tile, dtype, target
        self.stored, self.element = stored(dtype), computed(dtype)

    def emit(self) -> None:
        """Write the driver; it calls the library's packing."""
        emit_finish(self.module, self.tile, self.dtype, self.target)
        f = self.f = self.module.function(driver_name(self.dtype), DRIVER_ARGS)
        place, grid, self.micros, self.epilogue, self.args, thread, threads = f.args
        self.d = Description(f, place)
        self._share(grid, thread, threads)
        self.module.declare(pack_name(self.dtype), "void", PACK_ARGS)
        f.ret()

    def _share(self, grid: Value, thread: Value, threads: Value) -> None:
        """Find the thread's rectangle of each of its matrices."""
        f, d = self.f, self.d
        row = f.at(grid, (f.smin(threads, GRID_THREADS) - 1) * 3, I8)
        over_batch, over_rows, over_panels = (
            f.cast("zext", f.load(I8, f.at(row, i, I8)), I64) for i in range(3)
        )
        with f.when(f.compare("slt", thread, over_batch * over_rows * over_panels)):
            rest = thread // over_panels
            self.tile_first, self.tile_end = part(f, d["tiles"], rest % over_rows, over_rows)
            panels = (d["columns"] + d["panel"] - 1) // d["panel"]
            self.panel, self.panel_end = part(f, panels, thread % over_panels, over_panels)
            first, last = part(f, d["batch"], rest // over_rows, over_batch)
            own = address(f, self.args, 3)  # a product without workspace has any address here
            own = f.at(own, d["own_at"] + thread * d["own_size"], I8)
            self.packed_a, self.packed_b = own, f.at(own, d["b_at"], I8)
            self.buffer = f.at(own, d["buffer_at"], I8)
            many = f.compare("sge", self.tile_end - self.tile_first, d["pack_b"])
            self.pack_b = many | f.compare("ne", d["column_b"], 1)
            self.pack_a = f.compare("sge", self.panel_end - self.panel, d["pack_a"])
            bases = [address(f, self.args, d[slot]) for slot in ("slot_a", "slot_b", "slot_c")]
            with f.loop(first, last) as index:
                self._matrix(bases, index)

    def _matrix(self, bases: list[Value], index: Value) -> None:
        f, d = self.f, self.d
        far = d.offsets(index)
        self.a, self.b = (
            f.at(base, o, self.stored) for base, o in zip(bases[:2], far[:2], strict=True)
        )
        # The partial results of a cut k are in the computed type.
        cut = f.compare("ne", d["split"], 1)
        size = f.select(cut, f.i64(size_of(self.element)), f.i64(size_of(self.stored)))
        self.c = f.at(bases[2], far[2] * size, I8)
        self.cut = cut
        depth = f.smin(d["split_depth"], d["depth"] - (index % d["split"]) * d["split_depth"])
        self.first_row = index // d["split"] * d["rows"]
        with f.loop(self.panel, self.panel_end, d["column_block"]) as panel:
            end = f.smin(self.panel_end, panel + d["column_block"])
            blocks = f.smax((depth + d["depth_block"] - 1) // d["depth_block"], 1)
            with f.loop(0, blocks) as block:
                k = block * d["depth_block"]
                self.last = f.compare("eq", block + 1, blocks)
                later = f.cast("zext", f.compare("ne", block, 0), I64)
                self.go_on = f.select(d.flag("staged"), f.i64(0), later | d["accumulate"])
                self._block(panel, end, k, f.smin(d["depth_block"], depth - k))

    def _block(self, panel: Value, end: Value, k: Value, length: Value) -> None:
        """Some panels of c, for one block of k."""
        f, d = self.f, self.d
        b = f.at(self.b, k * d["row_b"], self.stored)
        with f.loop(panel, end) as p:
            with f.when(self._packs_b(self._width(p))):
                source = f.at(b, p * d["panel"] * d["column_b"], self.stored)
                to = f.at(self.packed_b, (p - panel) * d["panel"] * length, self.element)
                steps = (d["column_b"], d["row_b"])
                f.call(
                    pack_name(self.dtype),
                    [length, self._width(p), source, *steps, to, self._pitch(p)],
                )
        with f.loop(self.tile_first, self.tile_end, d["row_block"]) as tile:
            stop = f.smin(self.tile_end, tile + d["row_block"])
            a = f.at(self.a, k * d["column_a"], self.stored)
            with f.when(self.pack_a), f.loop(tile, stop) as t:
                row, height = self._tile_row(t), self._height(t)
                source = f.at(a, row * d["row_a"], self.stored)
                to = f.at(self.packed_a, self._offset(t, tile, length), self.element)
                steps = (d["row_a"], d["column_a"])
                f.call(
                    pack_name(self.dtype),
                    [length, height, source, *steps, to, self._tile_pitch(height)],
                )
            with f.loop(panel, end) as p:
                self._panel(p, panel, tile, stop, a, b, length)
            with f.when(self.last):
                rows = [self.first_row + self._tile_row(t) for t in (tile, stop)]
                column = panel * d["panel"]
                columns = f.smin(d["columns"], end * d["panel"]) - column
                call_epilogue(f, self.epilogue, self.args, rows[0], rows[1], column, columns)

    def _panel(
        self, p: Value, first: Value, tile: Value, stop: Value, a: Value, b: Value, length: Value
    ) -> None:
        """The tiles of one panel, for one block of rows."""
        f, d, lanes = self.f, self.d, self.tile.lanes
        width, column = self._width(p), p * d["panel"]
        vectors = (width + lanes - 1) // lanes
        last = width - (vectors - 1) * lanes
        packed = self._packs_b(width)
        packed_place = f.at(self.packed_b, (p - first) * d["panel"] * length, self.element)
        plain_place = f.at(b, column, self.stored)
        right = f.select(packed, packed_place, plain_place)
        row_b = f.select(packed, vectors * lanes, d["row_b"])
        size = f.select(self.cut, f.i64(size_of(self.element)), f.i64(size_of(self.stored)))
        staged = d.flag("staged")
        full = f.compare("eq", width, d["panel"])
        low = f.select(full, f.i64(1), 3)
        with f.loop(tile, stop) as t:
            row, height = self._tile_row(t), self._height(t)
            plain = f.at(a, row * d["row_a"], self.stored)
            packed_a = f.at(self.packed_a, self._offset(t, tile, length), self.element)
            left = f.select(self.pack_a, packed_a, plain)
            row_a = f.select(self.pack_a, f.i64(1), d["row_a"])
            column_a = f.select(self.pack_a, self._tile_pitch(height), d["column_a"])
            target = f.at(self.c, (row * d["row_c"] + column) * size, I8)
            c = f.select(staged, self.buffer, target)
            row_c = f.select(staged, d["panel"], d["row_c"])
            more = f.cast("zext", f.compare("slt", t, d["higher"]), I64)
            micro = f.load(PTR, f.at(self.micros, low - more, PTR))
            given = (length, left, right, c, row_a, column_a, row_b, row_c, self.go_on, last)
            f.write(f"call void {micro}({', '.join(f'{x.type} {x}' for x in given)})")
            with f.when(self.last):
                with f.when(staged):
                    alpha = f.cast("bitcast", d["alpha"], F64)
                    shape = (height, width, alpha, d["accumulate"])
                    f.call(finish_name(self.dtype), [c, row_c, target, d["row_c"], *shape])

    def _packs_b(self, width: Value) -> Value:
        """Whether a panel is packed: without masks, a narrow one must be, to be loaded whole."""
        if self.tile.masks:
            return self.pack_b
        return self.pack_b | self.f.compare("ne", width % self.tile.lanes, 0)

    def _width(self, panel: Value) -> Value:
        return self.f.smin(self.d["panel"], self.d["columns"] - panel * self.d["panel"])

    def _pitch(self, panel: Value) -> Value:
        lanes = self.tile.lanes
        return (self._width(panel) + (lanes - 1)) // lanes * lanes

    def _tile_row(self, t: Value) -> Value:
        return t * self.d["height"] + self.f.smin(self.d["higher"], t)

    def _height(self, t: Value) -> Value:
        more = self.f.compare("slt", t, self.d["higher"])
        return self.d["height"] + self.f.cast("zext", more, I64)

    def _tile_pitch(self, height: Value) -> Value:
        lanes = self.tile.lanes
        if self.tile.rows <= lanes:
            return height
        wide = (height + (lanes - 1)) // lanes * lanes
        return self.f.select(self.f.compare("sle", height, lanes), height, wide)

    def _offset(self, t: Value, first: Value, length: Value) -> Value:
        """Where a packed tile starts."""
        return (t - first) * pitch_of(self.tile.rows, self.tile.lanes) * length


def emit_finish(module: Module, tile: Tile, dtype: DType, target: Target) -> None:
    """Write `void finish(from, pitch, to, row stride, rows, columns, alpha, accumulate)`.

    It stores alpha times a part of a result, added to what is there already if told so.
    """
    if module.has(finish_name(dtype)):
        return
    f = module.function(finish_name(dtype), FINISH_ARGS, internal=True)
    source, pitch, to, step, rows, columns, factor, accumulate = f.args
    rules, kept, element = Arithmetic(f, dtype, target=target), stored(dtype), computed(dtype)
    alpha = f.cast("fptrunc", factor, element)
    add = f.compare("ne", accumulate, 0)
    whole = columns // tile.lanes * tile.lanes
    with f.loop(0, rows) as row:
        line, out = f.at(source, row * pitch, element), f.at(to, row * step, kept)
        for start, stop, lanes in ((f.i64(0), whole, tile.lanes), (whole, columns, 0)):
            with f.loop(start, stop, max(lanes, 1)) as column:
                place = f.at(out, column, kept)
                x = f.load(vector(lanes, element), f.at(line, column, element))
                x = x * (f.splat(alpha, lanes) if lanes else alpha)
                sum_ = f.variable(x.type, x)
                with f.when(add):
                    before = f.load(vector(lanes, kept), place)
                    sum_.set(convert.unpack(rules, before, dtype) + x)
                f.store(convert.pack(rules, sum_.get(), dtype), place)
    f.ret()


def emit_sum(module: Module, tile: Tile, dtype: DType, target: Target) -> None:
    """Write `void wengert_gemm_sum(description, epilogue, args, thread, threads)`.

    The parts of k lie one after the other in the shared workspace; they are added in this order.
    """
    emit_finish(module, tile, dtype, target)
    f = module.function(sum_name(dtype), SUM_ARGS)
    place, epilogue, args, thread, threads = f.args
    d = Description(f, place)
    element = computed(dtype)
    parts, result = address(f, args, 3), address(f, args, d["slot_c"])
    size = d["rows"] * d["columns"]
    line = f.buffer(max(tile.vectors, *tile.thin) * tile.lanes, element)
    alpha = f.cast("bitcast", d["alpha"], F64)
    first, last = part(f, d["batch"] * d["rows"], thread, threads)
    with f.loop(first, last) as index:
        matrix, row = index // d["rows"], index % d["rows"]
        far = d.offsets(matrix)
        with f.loop(0, d["columns"], d["panel"]) as column:
            width = f.smin(d["columns"] - column, d["panel"])
            source = f.at(parts, matrix * d["split"] * size + row * d["columns"] + column, element)
            whole = width // tile.lanes * tile.lanes
            for start, stop, lanes in ((f.i64(0), whole, tile.lanes), (whole, width, 0)):
                kind = vector(lanes, element)
                with f.loop(start, stop, max(lanes, 1)) as i:
                    total = f.variable(kind, f.load(kind, f.at(source, i, element)))
                    with f.loop(1, d["split"]) as s:
                        one = f.load(kind, f.at(source, s * size + i, element))
                        total.set(total.get() + one)
                    f.store(total.get(), f.at(line, i, element))
            to = f.at(result, far[2] + row * d["row_c"] + column, stored(dtype))
            shape = (f.i64(1), width, alpha, d["accumulate"])
            f.call(finish_name(dtype), [line, f.i64(0), to, d["row_c"], *shape])
            call_epilogue(f, epilogue, args, index, index + 1, column, width)
    f.ret()
