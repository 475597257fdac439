"""Products too large for code of their own: blocks and packing are chosen, the library computes.

What is chosen here has no influence on results.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, emit_epilogue, padded, step
from wengert.compiler.kernels.gemm_common import (
    DOTS_ARGS,
    DRIVER_ARGS,
    FIELDS,
    SUM_ARGS,
    dots_name,
    driver_name,
    sum_name,
)
from wengert.compiler.kernels.gemm_dots import DOTS_PANEL
from wengert.compiler.kernels.gemm_grid import grid_table
from wengert.compiler.kernels.gemm_problem import Axis, Problem
from wengert.compiler.kernels.microkernel import MICRO_ARGS, Micro, tile_for
from wengert.compiler.kernels.packing import pitch_of
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import PTR, computed, size_of
from wengert.core import dtypes

if TYPE_CHECKING:
    from wengert.compiler.kernels.gemm import Gemm

NEVER = 1 << 40

DEPTH_WHOLE = 768  # k up to here is one block,
DEPTH_BLOCK = 512  # longer ones are cut into about so much
BYTES_OF_A = 1 << 18  # of a block of rows, to stay in a core's L2 cache
BYTES_OF_B = 1 << 21  # of a packed block of columns
BYTES_OF_C = 1 << 19  # of a block of the result that an epilogue follows
FITS_L1 = 1 << 15  # bytes
LARGE_A = 3 << 19  # bytes of all of a or b that are too many for the L2 cache
LARGE_B = 5 << 18


class Blocked:
    """A product by the library's driver: this is where blocks and packing are decided."""

    def __init__(self, gemm: Gemm, p: Problem) -> None:
        self.gemm, self.p = gemm, p
        self.element = computed(gemm.dtype)
        self.tile = tile_for(gemm.target, self.element)
        self.half = gemm.dtype in (dtypes.float16, dtypes.bfloat16)
        self.cut = p.parts > 1
        size = size_of(self.element)
        self.shared = p.count * p.parts * p.rows * p.columns * size if self.cut else 0
        self._decide()

    def _decide(self) -> None:
        """Choose the blocks, and lay out the workspace of a thread."""
        p, tile, size = self.p, self.tile, size_of(self.element)
        self.staged = not self.cut and (self.half or self.gemm.alpha != 1.0)
        self.vectors = min(tile.panel(p.rows), -(-p.columns // tile.lanes))
        self.panel = self.vectors * tile.lanes
        self.panels = -(-p.columns // self.panel)
        self.depth = max(1, p.depth if self.staged else _depth_block(p.cut))
        self.tiles = -(-p.rows // tile.rows)
        rows = BYTES_OF_A // (tile.rows * self.depth * size)
        panels = BYTES_OF_B // (self.panel * self.depth * size)
        self.row_block = max(1, min(self.tiles, rows))
        self.column_block = max(1, min(self.panels, panels))
        self.pack_a, self.pack_b = self._packing()
        narrow = not tile.masks and p.columns % tile.lanes > 0
        self.packs_b = narrow or p.column_b != 1 or self.tiles >= self.pack_b
        slack = tile.lanes * size
        pitch = pitch_of(tile.rows, tile.lanes)
        a = self.row_block * pitch * self.depth * size + slack if self.pack_a < NEVER else 0
        b = self.column_block * self.panel * self.depth * size + slack if self.packs_b else 0
        self.b_at = padded(a)
        self.buffer_at = self.b_at + padded(b)
        self.own = self.buffer_at + (tile.rows * self.panel * size if self.staged else 0)

    def _packing(self) -> tuple[int, int]:
        """From how many panels on a is packed, and from how many tiles on b.

        To pack a panel takes about as long as a tile. With 64-byte vectors, little enough is read
        for each multiply-add that caches bear strides well: it pays only where a panel is used
        often and does not stay in the L2 cache, or where its rows, some power of two apart, compete
        for few places in it. With narrower ones it pays soon, unless all fits the L1 cache.
        """
        p, size = self.p, size_of(self.element)
        if self.half:
            return 0, 0
        bytes_a, bytes_b = p.depth * p.rows * size, p.depth * p.columns * size
        along = p.column_a != 1 and p.rows > 1
        if self.tile.lanes * size < 64:
            a = 8 if along and bytes_a > FITS_L1 else NEVER
            return (a if self.panels >= a else NEVER), 12 if bytes_b > FITS_L1 else 128
        a, b = NEVER, 64 if bytes_b > LARGE_B else 128
        fresh = p.count > 1 and not along and self.depth >= 128  # no b is there for long
        if fresh or (self.depth >= 512 and p.row_b * size % 4096 == 0):
            b = 32
        far = p.depth * p.column_a * size >= LARGE_A and p.column_a * size % 2048 == 0
        if along and (p.row_a != 1 or far):
            a = 4
        return (a if self.panels >= a else NEVER), b

    @property
    def workspace(self) -> Workspace:
        """Packed panels, the tile's buffer, and the sums of a cut k."""
        return Workspace(self.shared, self.own)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None) -> list[Phase]:
        """Write a call of the driver, and the epilogue that it calls back."""
        phases = [Phase(name), Phase(f"{name}_sum")] if self.cut else [Phase(name)]
        if module.has(name):
            return phases
        dtype = self.gemm.dtype
        back = self._epilogue(module, name, epilogue)
        self._multiply(module, name, None if self.cut else back)
        if self.cut:
            place = _integers(module, f"{name}_result", self._description(False))
            f, args, thread, threads = step(module, f"{name}_sum")
            module.libraries.add(sum_name(dtype))
            module.declare(sum_name(dtype), "void", SUM_ARGS)
            f.call(sum_name(dtype), [_symbol(f, place), _symbol(f, back), args, thread, threads])
            f.ret()
        return phases

    def _multiply(self, module: Module, name: str, epilogue: str | None) -> None:
        """The step that multiplies."""
        p, dtype = self.p, self.gemm.dtype
        shape = (p.count * p.parts, self.tiles, self.panels, self.packs_b)
        grid = _bytes(module, f"{name}_grid", grid_table(*shape))
        place = _integers(module, f"{name}_sizes", self._description(self.cut, bool(epilogue)))
        f, args, thread, threads = step(module, name)
        module.libraries.add(driver_name(dtype))
        module.declare(driver_name(dtype), "void", DRIVER_ARGS)
        given = [_symbol(f, x) for x in (place, grid, self._micros(module, name), epilogue)]
        f.call(driver_name(dtype), [*given, args, thread, threads])
        f.ret()

    def _micros(self, module: Module, name: str) -> str:
        """A table of the micro-kernels: of full panels, higher and lower; of the last panel."""
        p, lanes = self.p, self.tile.lanes
        height, higher = divmod(p.rows, self.tiles)
        tail = p.columns % self.panel
        widths = [self.panel if p.columns >= self.panel else 0, tail]
        found = []
        for width in widths:
            for rows, there in ((height + 1, higher > 0), (height, higher < self.tiles)):
                if width and there:
                    partial = width % lanes > 0
                    micro = Micro(self.element, rows, -(-width // lanes), partial)
                    module.libraries.add(micro.name)
                    module.declare(micro.name, "void", MICRO_ARGS)
                    found.append(f"@{micro.name}")
                else:
                    found.append("null")
        inside = ", ".join(f"ptr {x}" for x in found)
        module.globals.append(f"@{name}_tiles = internal constant [4 x ptr] [{inside}]")
        return f"{name}_tiles"

    def _rows_at_once(self) -> int:
        """The tiles of a block of rows that an epilogue follows: few enough that what it reads is
        still in the L2 cache."""
        columns = min(self.p.columns, self.column_block * self.panel)
        most = BYTES_OF_C // (self.tile.rows * columns * size_of(self.element))
        return max(1, min(self.row_block, most))

    def _description(self, parts: bool, follows: bool = False) -> list[int]:
        """The driver's table; of the parts of a cut k, or of the result."""
        p, gemm = self.p, self.gemm
        axes = list(p.batch)
        row_c, slot_c, count = p.row_c, 2, p.count
        if parts:
            size = p.rows * p.columns
            counts = [axis.size for axis in axes]
            steps = [size * p.parts * prod(counts[i + 1 :]) for i in range(len(axes))]
            axes = [Axis(x.size, x.a, x.b, c) for x, c in zip(axes, steps, strict=True)]
            axes.append(Axis(p.parts, p.cut * p.column_a, p.cut * p.row_b, size))
            row_c, slot_c, count = p.columns, 3, p.count * p.parts
        fields = {
            "rows": p.rows,
            "columns": p.columns,
            "depth": p.depth,
            "row_a": p.row_a,
            "column_a": p.column_a,
            "row_b": p.row_b,
            "column_b": p.column_b,
            "row_c": row_c,
            "slot_a": int(p.swapped),
            "slot_b": int(not p.swapped),
            "slot_c": slot_c,
            "accumulate": int(gemm.accumulate and not parts),
            "alpha": struct.unpack("<q", struct.pack("<d", gemm.alpha))[0],
            "staged": int(self.staged),
            "panel": self.panel,
            "tiles": self.tiles,
            "height": p.rows // self.tiles,
            "higher": p.rows % self.tiles,
            "depth_block": self.depth,
            "row_block": self._rows_at_once() if follows else self.row_block,
            "column_block": self.column_block,
            "pack_a": self.pack_a,
            "pack_b": self.pack_b,
            "own_at": padded(self.shared),
            "own_size": padded(self.own),
            "b_at": self.b_at,
            "buffer_at": self.buffer_at,
            "split": p.parts,
            "split_depth": p.cut,
            "batch": count,
            "dims": len(axes),
        }
        assert tuple(fields) == FIELDS
        return [
            *fields.values(),
            *(x for axis in axes for x in (axis.size, axis.a, axis.b, axis.c)),
        ]

    def _epilogue(self, module: Module, name: str, epilogue: Epilogue | None) -> str | None:
        """The function for finished rows that the driver calls back."""
        if epilogue is None:
            return None
        return emit_epilogue(module, name, epilogue)


class DotRows(Blocked):
    """Rows of dots: b is read where it lies, a is made contiguous if it is not."""

    def _decide(self) -> None:
        p = self.p
        size = size_of(self.element)
        self.staged = False
        self.panel = min(p.columns, DOTS_PANEL)
        self.depth = p.depth
        self.row_block = self.column_block = self.tiles = 1
        self.pack_a = int(self.half or p.column_a != 1)
        self.pack_b = NEVER
        self.b_at = self.buffer_at = 0
        self.own = p.cut * size if self.pack_a else 0

    def _multiply(self, module: Module, name: str, epilogue: str | None) -> None:
        dtype = self.gemm.dtype
        place = _integers(module, f"{name}_sizes", self._description(self.cut))
        f, args, thread, threads = step(module, name)
        module.libraries.add(dots_name(dtype))
        module.declare(dots_name(dtype), "void", DOTS_ARGS)
        f.call(dots_name(dtype), [_symbol(f, place), _symbol(f, epilogue), args, thread, threads])
        f.ret()


def _depth_block(depth: int) -> int:
    """Entries of a block of k: equal blocks."""
    if depth <= DEPTH_WHOLE:
        return depth
    blocks = -(-depth // DEPTH_BLOCK)
    return -(-depth // (8 * blocks)) * 8


def _integers(module: Module, name: str, values: list[int]) -> str:
    """A table of 64-bit integers in a module."""
    inside = ", ".join(f"i64 {x}" for x in values)
    module.globals.append(f"@{name} = internal constant [{len(values)} x i64] [{inside}]")
    return name


def _bytes(module: Module, name: str, values: bytes) -> str:
    """A table of bytes in a module."""
    inside = "".join(f"\\{x:02X}" for x in values)
    module.globals.append(f'@{name} = internal constant [{len(values)} x i8] c"{inside}"')
    return name


def _symbol(f: Function, name: str | None) -> Value:
    """The address of a function or a table; null for none."""
    return Value(PTR, "null" if name is None else f"@{name}", f)
