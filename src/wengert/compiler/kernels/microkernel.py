"""The innermost loops of a matrix product: tiles of the result that stay in registers.

A micro-kernel computes a tile of `rows × vectors·lanes` entries of c = a·b. For each k it loads
one row of b as `vectors` vectors, and multiplies it by one broadcast entry of each row of a. Every
entry of c is thus one chain of fused multiply-adds over k in increasing order, whatever the tile.
Strides are given at run time, so that a handful of functions serves all products; on tiles as wide
as these that costs nothing that one could measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import F32, F64, I64, PTR, is_floating, size_of, vector

LINE = "ptr noalias"
READ = "ptr noalias readonly"
MICRO_ARGS = (I64, READ, READ, LINE, I64, I64, I64, I64, I64, I64)
MOST_ROWS = MOST_VECTORS = 8  # of a tile on any processor
ROWS_PER_POINTER = 3  # so many rows of a hang on one pointer: itself, + stride, + 2 strides


@dataclass(frozen=True)
class Tile:
    """The tiles that suit a processor: rows, vectors a row, lanes of one of its own vectors.

    `thin` has the vectors of the tiles that problems of 1, 2 or 3 rows in all use. `masks` says
    whether part of a vector can be loaded at the price of a whole one, `fused` whether there is a
    fused multiply-add (if not, the product is rounded before it is added).
    """

    rows: int
    vectors: int
    lanes: int
    thin: tuple[int, int, int]
    masks: bool
    fused: bool

    def panel(self, m: int) -> int:
        """Vectors of a tile for a problem with so many rows."""
        return self.thin[m - 1] if 0 < m <= len(self.thin) else self.vectors


def tile_for(target: Target, element: str) -> Tile:
    """The tile for a processor. It has no influence on results, only on speed.

    Sixteen 64-byte registers hold 8 × 2 vectors of results, of 32 in all: more would only lower
    the traffic of b. Eight rows, since the entries of a that one k needs lie in as many lines, and
    with a stride of a power of two they compete for the eight places of one set of the L1 cache.
    """
    size = size_of(element)
    if target.has("avx512f"):
        return Tile(8, 2, 64 // size, (8, 8, 6), True, True)
    if target.has("avx2"):
        return Tile(6, 2, 32 // size, (8, 4, 3), True, target.has("fma"))
    if target.triple.startswith(("aarch64", "arm64")):
        return Tile(6, 4, 16 // size, (8, 8, 6), False, True)
    return Tile(4, 2, 16 // size, (8, 4, 3), False, target.has("fma"))


def multiply_add(f: Function, a: Value, b: Value, c: Value, fused: bool) -> Value:
    """a·b + c in one rounding where the processor can (integers wrap around)."""
    return f.fma(a, b, c) if fused and is_floating(a.type) else a * b + c


class Micro(NamedTuple):
    """A micro-kernel: the type that it computes in, the rows of its tile, the vectors of a row, and
    whether the last vector may be partial."""

    element: str
    rows: int
    vectors: int
    partial: bool

    @property
    def name(self) -> str:
        """Its function, and the library that has it."""
        return f"wengert_tile_{self.element}_{self.rows}x{self.vectors}{'p' * self.partial}"


def all_micros() -> Iterator[Micro]:
    """All that there are."""
    for element in (F32, F64):
        for rows, vectors in product(range(1, MOST_ROWS + 1), range(1, MOST_VECTORS + 1)):
            yield Micro(element, rows, vectors, False)
            yield Micro(element, rows, vectors, True)


def emit_micro(micro: Micro, module: Module, target: Target) -> None:
    """Write `void name(k, a, b, c, row a, column a, row b, row c, go on, last)`.

    Strides are in entries. With `go on` the chains start from what is in c, otherwise from zero.
    The tile is as wide as its vectors; of a `partial` one, the last vector has only `last` columns
    (what lies to the right of them in c is not touched, and in b not read).
    """
    element, rows, vectors, partial = micro
    tile = tile_for(target, element)
    f = module.function(micro.name, MICRO_ARGS)
    k, a, b, c, row_a, column_a, row_b, row_c, go_on, last = f.args
    kind = vector(tile.lanes, element)
    mask = f.first_lanes(last, tile.lanes) if partial else None
    sums = [[f.variable(kind, 0) for _ in range(vectors)] for _ in range(rows)]
    places = _row_places(f, c, row_c, rows, element)
    with f.when(f.compare("ne", go_on, 0)):
        for place, row in zip(places, sums, strict=True):
            for j, one in enumerate(row):
                one.set(
                    _load(f, kind, f.at(place, j * tile.lanes, element), mask, j == vectors - 1)
                )
    _fetch(f, places, vectors * tile.lanes * size_of(element))
    groups = [f.variable(PTR) for _ in range(0, rows, ROWS_PER_POINTER)]
    for g, group in enumerate(groups):
        group.set(f.at(a, row_a * (g * ROWS_PER_POINTER), element))
    b_row = f.variable(PTR, b)
    twice = row_a * 2
    cover = mask if tile.masks else None  # without masks, b is packed in whole vectors
    with f.loop(0, k):
        place = b_row.get()
        right = [
            _load(f, kind, f.at(place, j * tile.lanes, element), cover, j == vectors - 1)
            for j in range(vectors)
        ]
        b_row.set(f.at(place, row_b, element))
        for i, row in enumerate(sums):
            group, inner = groups[i // ROWS_PER_POINTER], i % ROWS_PER_POINTER
            start = group.get()
            at = f.at(start, (0, row_a, twice)[inner], element)
            left = f.splat(f.load(element, at), tile.lanes)
            for one, each in zip(row, right, strict=True):
                one.set(multiply_add(f, left, each, one.get(), tile.fused))
            if inner == ROWS_PER_POINTER - 1 or i == rows - 1:
                group.set(f.at(start, column_a, element))
    for place, row in zip(places, sums, strict=True):
        for j, one in enumerate(row):
            at = f.at(place, j * tile.lanes, element)
            if mask is not None and j == vectors - 1:
                f.masked_store(one.get(), at, mask)
            else:
                f.store(one.get(), at)
    f.ret()


def _fetch(f: Function, places: Sequence[Value], nbytes: int) -> None:
    """Ask for the lines of c early: they come while the tile is computed."""
    f.module.declare("llvm.prefetch.p0", "void", [PTR, "i32", "i32", "i32"])
    for place in places:
        for start in range(0, nbytes, 64):
            at = f.at(place, start, "i8")
            f.write(f"call void @llvm.prefetch.p0(ptr {at}, i32 1, i32 3, i32 1)")


def _row_places(f: Function, c: Value, row_c: Value, rows: int, element: str) -> Sequence[Value]:
    places = [c]
    for _ in range(rows - 1):
        places.append(f.at(places[-1], row_c, element))
    return places


def _load(f: Function, kind: str, place: Value, mask: Value | None, last: bool) -> Value:
    """A vector, or the part of it that is there."""
    return f.masked_load(kind, place, mask) if mask is not None and last else f.load(kind, place)
