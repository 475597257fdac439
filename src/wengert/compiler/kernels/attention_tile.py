"""What the kernels of attention and of its gradient share: the problem, and pieces of their code.

Both work on tiles of the scores *transposed*: rows are keys, and queries lie side by side in the
lanes of vectors. So maxima and sums over keys need no shuffles, products take keys and values from
where they lie, one entry at a time, and only queries are packed. Products are made of the tiles of
matrix multiplication (`microkernel`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from wengert.compiler.kernels.base import address, padded
from wengert.compiler.kernels.gemm_common import PACK_ARGS, pack_name
from wengert.compiler.kernels.microkernel import MICRO_ARGS, Micro, tile_for
from wengert.compiler.kernels.philox import block_words, round_keys
from wengert.compiler.kernels.pieces import split_lanes
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Operand, Value
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import I8, I32, I64, computed, size_of, vector
from wengert.core.dtypes import DType
from wengert.ops.attention_blocks import kept_words
from wengert.ops.random import DRAW

Strides = tuple[int, ...]
BLOCK_WORDS = 8  # 32-bit words of a block of random bits
SLACK = 64  # bytes that packing may write beyond its end


@dataclass(frozen=True)
class Problem:
    """Sizes and strides (in entries, one for each axis) of an attention.

    `q` is (*lead, rows, features), `k` (*lead, columns, features), `v` (*lead, columns, values),
    `mask`, if there is one, (*lead, rows, columns) with strides of 0 where it is broadcast.
    `strides` has the three, for the gradient also those of the result and of its cotangent.
    `results` are the strides of what is written (but for the lse), with rows next to each other.
    """

    dtype: DType
    lead: tuple[int, ...]
    rows: int
    columns: int
    features: int
    values: int
    strides: tuple[Strides, ...]
    results: tuple[Strides, ...]
    mask: Strides | None
    mask_is_bool: bool
    scale: float
    causal: bool
    dropout: float
    target: Target = field(default_factory=build.host)

    @property
    def count(self) -> int:
        """Matrices of scores."""
        return prod(self.lead)

    @property
    def operands(self) -> int:
        """Entries of the table of addresses before those that only one of the kernels has."""
        return 3 + (self.mask is not None) + 2 * bool(self.dropout)


class Layout:
    """Offsets in a workspace, in bytes."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, entries: int, size: int) -> int:
        """Room for so many entries of a size, and for what packing writes beyond them."""
        at = self.size
        self.size += padded(entries * size + SLACK)
        return at


class Writer:
    """The code of one function: `width` queries at a time."""

    def __init__(
        self, p: Problem, f: Function, args: Value, width: int, most_columns: int, scratch: Value
    ) -> None:
        self.p, self.f, self.args, self.width = p, f, args, width
        self.element = computed(p.dtype)
        self.size = size_of(self.element)
        self.lanes = 64 // self.size
        self.vectors = width // self.lanes
        self.kind = vector(self.lanes, self.element)
        self.tile = tile_for(p.target, self.element)
        self.height = height_of(p)
        self.rules = Scalars(f, p.dtype, target=p.target)
        self.scratch, self.most_columns = scratch, most_columns
        self.q, self.k, self.v = (address(f, args, slot) for slot in range(3))
        slot = 3
        if p.mask is not None:
            self.mask, slot = address(f, args, slot), slot + 1
        if p.dropout:
            key, counter = address(f, args, slot), address(f, args, slot + 1)
            words = [f.load(I64, f.at(key, i, I64)) for i in range(2)]
            self.keys = round_keys(f, *words)
            self.counter = f.load(I64, counter)

    # -- memory ------------------------------------------------------------------------------

    def at(self, base: Value, index: Operand) -> Value:
        """The address of an entry."""
        return self.f.at(base, index, self.element)

    def room(self, offset: int) -> Value:
        """A part of the thread's scratch memory."""
        return self.f.at(self.scratch, offset, I8)

    def offset(self, matrix: Value, strides: Strides) -> Value:
        """How far a matrix lies from the first one."""
        far = self.f.i64(0)
        lead = self.p.lead
        for axis in reversed(range(len(lead))):
            digit = matrix % lead[axis] if axis else matrix
            matrix = matrix // lead[axis]
            far = far + digit * strides[axis]
        return far

    def pack(
        self, k: Operand, count: Operand, source: Value, item: int, step: int, to: Value, pitch: int
    ) -> None:
        """`count` items of length k become k rows; see `packing`."""
        f, name = self.f, pack_name(self.p.dtype)
        f.module.libraries.add(name)
        f.module.declare(name, "void", PACK_ARGS)
        sizes = [f.i64(x) for x in (k, count)]
        f.call(name, [*sizes, source, f.i64(item), f.i64(step), to, f.i64(pitch)])

    def scale(self, place: Value, entries: int, factor: float) -> None:
        """Multiply entries that fill whole vectors."""
        if factor == 1.0:
            return
        with self.f.loop(0, entries, self.lanes) as i:
            at = self.at(place, i)
            self.f.store(self.f.load(self.kind, at) * factor, at)

    def copy_rows(
        self, source: Value, pitch: int, to: Value, step: int, count: Operand, columns: int
    ) -> None:
        """Rows of neighbouring entries; nothing else is written."""
        f, whole = self.f, columns // self.lanes * self.lanes
        with f.loop(0, count) as r:
            line, target = self.at(source, r * pitch), self.at(to, r * step)
            with f.loop(0, whole, self.lanes) as c:
                f.store(f.load(self.kind, self.at(line, c)), self.at(target, c))
            for start, length in split_lanes(columns - whole):
                kind = vector(length if length > 1 else 0, self.element)
                x = f.load(kind, self.at(line, whole + start))
                f.store(x, self.at(target, whole + start))

    # -- products ----------------------------------------------------------------------------

    def product(
        self,
        sizes: tuple[Operand, int, Operand],
        a: tuple[Value, int, int],
        b: tuple[Value, int],
        c: tuple[Value, int],
        go_on: Operand,
        tail: int = 0,
    ) -> None:
        """c = a·b, or c += a·b with `go_on`, of sizes (rows, columns, depth).

        a comes with its two strides, b and c with that of their rows. Columns fill whole vectors of
        the processor. Rows that are known only at run time are a multiple of the tile's, or `tail`
        more."""
        f, (rows, columns, depth) = self.f, sizes
        panel = self.tile.vectors * self.tile.lanes
        whole = columns // panel
        widths = [(0, whole, self.tile.vectors)] if whole else []
        if columns % panel:
            widths.append((whole, whole + 1, columns % panel // self.tile.lanes))
        if isinstance(rows, int):
            tail = rows % self.height
        given = f.i64(depth), f.cast("zext", go_on, I64) if isinstance(go_on, Value) else go_on
        for first, last, vectors in widths:
            with f.loop(first, last) as i:
                right, to = self.at(b[0], i * panel), self.at(c[0], i * panel)
                full = f.i64(rows) // self.height
                with f.loop(0, rows // self.height if isinstance(rows, int) else full) as t:
                    row = t * self.height
                    self._micro(self.height, vectors, row, a, (right, b[1]), (to, c[1]), given)
                if tail:
                    row = full * self.height
                    with f.when(f.compare("sgt", f.i64(rows), row)):
                        self._micro(tail, vectors, row, a, (right, b[1]), (to, c[1]), given)

    def _micro(
        self,
        rows: int,
        vectors: int,
        row: Value,
        a: tuple[Value, int, int],
        b: tuple[Value, int],
        c: tuple[Value, int],
        given: tuple[Value, Operand],
    ) -> None:
        """A tile of a product."""
        f, micro = self.f, Micro(self.element, rows, vectors, False)
        f.module.libraries.add(micro.name)
        f.module.declare(micro.name, "void", MICRO_ARGS)
        depth, go_on = given
        left, to = self.at(a[0], row * a[1]), self.at(c[0], row * c[1])
        steps = [f.i64(x) for x in (a[1], a[2], b[1], c[1], go_on, 0)]
        f.call(micro.name, [depth, left, b[0], to, *steps])

    # -- scores ------------------------------------------------------------------------------

    def each(self, count: Operand, write: Callable[[Value, int, Value], None]) -> None:
        """For each key of a tile and each vector of queries: `write(key, vector, place)`, the place
        being that in a tile, in entries."""
        with self.f.loop(0, count) as c:
            for j in range(self.vectors):
                write(c, j, c * self.width + j * self.lanes)

    def queries(self, first: Value, j: int) -> Value:
        """The numbers of the queries in a vector, as 32-bit integers."""
        f = self.f
        start = f.splat(f.cast("trunc", first, I32), self.lanes)
        return start + f.constants(I32, range(j * self.lanes, (j + 1) * self.lanes))

    def fill_mask(
        self, to: Value, matrix: Value, row: Value, live: Operand, column: Value, count: Value
    ) -> None:
        """The mask of a tile, transposed, if it is not the same for all queries."""
        f, p = self.f, self.p
        if p.mask is None or p.mask[-2] == 0:
            return
        start = self.offset(matrix, p.mask) + row * p.mask[-2] + column * p.mask[-1]
        if not p.mask_is_bool:
            source = self.at(self.mask, start)
            self.pack(count, live, source, p.mask[-2], p.mask[-1], to, self.width)
            return
        source = f.at(self.mask, start, I8)
        with f.loop(0, live) as r:
            line, column_to = f.at(source, r * p.mask[-2], I8), f.at(to, r, I8)
            with f.loop(0, count) as c:
                x = f.load(I8, f.at(line, c * p.mask[-1], I8))
                f.store(x, f.at(column_to, c * self.width, I8))

    def masked(
        self, s: Value, filled: Value, matrix: Value, column: Value, c: Value, place: Value
    ) -> Value:
        """A vector of scores under the mask; `filled` is what `fill_mask` has written."""
        f, p = self.f, self.p
        if p.mask is None:
            return s
        if p.mask[-2]:
            if not p.mask_is_bool:
                return s + f.load(self.kind, self.at(filled, place))
            x = f.load(vector(self.lanes, I8), f.at(filled, place, I8))
        else:
            start = self.offset(matrix, p.mask) + (column + c) * p.mask[-1]
            if not p.mask_is_bool:
                return s + f.splat(f.load(self.element, self.at(self.mask, start)), self.lanes)
            x = f.splat(f.load(I8, f.at(self.mask, start, I8)), self.lanes)
        return f.select(f.compare("ne", x, 0), s, f.constant(self.kind, float("-inf")))

    def causal(self, s: Value, queries: Value, column: Value, c: Value) -> Value:
        """A vector of scores, without those of keys that come after their queries."""
        f = self.f
        if not self.p.causal:
            return s
        key = f.splat(f.cast("trunc", column + c, I32), self.lanes)
        return f.select(f.compare("sle", key, queries), s, f.constant(self.kind, float("-inf")))

    def fill_bits(
        self, to: Value, matrix: Value, row: Value, live: Operand, column: Value, count: Value
    ) -> None:
        """The random words of a tile, transposed. A block of them may begin before the tile and end
        behind it: there is room for that on both sides."""
        f, p = self.f, self.p
        if not p.dropout:
            return
        to = f.at(to, BLOCK_WORDS * self.width, I32)
        with f.loop(0, live) as r:
            first = (matrix * p.rows + row + r) * p.columns + column
            lo, hi = first >> 3, (first + count + (BLOCK_WORDS - 1)) >> 3
            start = f.at(to, (lo * BLOCK_WORDS - first) * self.width + r, I32)
            with f.loop(lo, hi) as block:
                place = f.at(start, (block - lo) * (BLOCK_WORDS * self.width), I32)
                for i, word in enumerate(block_words(f, self.keys, self.counter, block, DRAW)):
                    low, high = f.cast("trunc", word, I32), f.cast("trunc", word >> 32, I32)
                    f.store(low, f.at(place, 2 * i * self.width, I32))
                    f.store(high, f.at(place, (2 * i + 1) * self.width, I32))

    def bits_room(self) -> int:
        """Entries of 32 bits that `fill_bits` needs."""
        return (self.most_columns + 2 * BLOCK_WORDS) * self.width if self.p.dropout else 0

    def dropped(self, bits: Value, place: Value, xs: list[Value]) -> list[Value]:
        """Vectors after dropout."""
        f, p = self.f, self.p
        if not p.dropout:
            return xs
        start = f.at(bits, BLOCK_WORDS * self.width, I32)
        words = f.load(vector(self.lanes, I32), f.at(start, place, I32))
        most = kept_words(p.dropout)  # as LLVM writes it: with a sign
        keep = f.compare("ule", words, most - (most >> 31 << 32))
        return [f.select(keep, x * (1.0 / (1.0 - p.dropout)), 0.0) for x in xs]


def height_of(p: Problem) -> int:
    """Rows of a tile of a product: a power of two, so that they divide blocks of keys."""
    return 8 if tile_for(p.target, computed(p.dtype)).rows >= 8 else 4


def whole_lanes(p: Problem, n: int) -> int:
    """A number of columns, rounded up to whole vectors."""
    lanes = 64 // size_of(computed(p.dtype))
    return -(-n // lanes) * lanes
