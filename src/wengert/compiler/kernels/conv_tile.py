"""The innermost piece of a gather: some pixels of the result times some channels, in registers.

A tile holds `rows` pixels, which lie evenly spaced in the operand and in the result (the same pixel
of several images, or neighbours of one image), and `columns` channels, padded to whole vectors. For
each entry of the kernel and each channel of the operand, one vector of packed weights meets one
number of each pixel. How many entries there are is known at run time, so pixels at the border leave
out what falls outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from wengert.compiler.kernels.microkernel import multiply_add
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic, abilities
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value, Variable
from wengert.compiler.llvm.types import I64, PTR, computed, size_of, stored, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

MOST_ROWS = 24
LONG_BODY = 14  # multiplications in a loop's body that hide what the loop itself costs


@dataclass(frozen=True)
class Pixels:
    """Where pixels lie: their dtype, and the steps from image to image and along each axis.
    Channels are next to each other."""

    dtype: DType
    image: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Loop:
    """One loop over kernel entries: steps over the operand and over the weights."""

    source: int
    weights: int


@dataclass(frozen=True)
class Tile:
    """A tile's sizes, and how its code steps through memory (in entries)."""

    rows: int
    columns: int
    lanes: int  # of one vector
    width: int  # of the panels of weights, from channel to channel
    dtype: DType  # of the result
    channels: int  # summed over
    depthwise: bool  # each column has a channel of its own
    loops: tuple[Loop, ...]
    joined: bool  # the last loop runs over entries and channels at once
    source_step: int  # from row to row
    result_step: int
    target: Target
    adds: bool = False  # to what the result holds
    packed: bool = True  # whether the weights are panels: whole vectors, aligned

    @property
    def element(self) -> str:
        """Type that is computed in."""
        return computed(self.dtype)

    @property
    def vectors(self) -> int:
        """Vectors that hold the columns."""
        return -(-self.columns // self.lanes)

    @property
    def type(self) -> str:
        """The vector's type."""
        return vector(self.lanes, self.element)


def emit_tile(module: Module, tile: Tile) -> str:
    """The name of `tile(source, weights, result, count, …)`, with one count for each loop; that of
    a joined loop is the number of entries times channels. Written if the module lacks it."""
    name = shared_name("tile", tile)
    if not module.has(name):
        arguments = ["ptr readonly", "ptr readonly", PTR, *[I64] * len(tile.loops)]
        f = module.function(name, arguments, internal=True, attributes="nounwind noinline")
        _Writer(f, tile).write()
    return name


class _Writer:
    """The code of a tile, while it is written."""

    def __init__(self, f: Function, tile: Tile) -> None:
        self.f, self.tile = f, tile
        self.fused = abilities(tile.target).fma
        self.sums: list[list[Variable]] = []

    def write(self) -> None:
        f, tile = self.f, self.tile
        kind, memory = tile.type, stored(tile.dtype)
        places = [
            [
                f.at(f.args[2], i * tile.result_step + j * tile.lanes, memory)
                for j in range(tile.vectors)
            ]
            for i in range(tile.rows)
        ]
        self.sums = [
            [f.variable(kind, f.load(kind, at) if tile.adds else 0) for at in row] for row in places
        ]
        self._loops(0, f.args[0], f.args[1])
        for row, ats in zip(self.sums, places, strict=True):
            for j, (value, at) in enumerate(zip(row, ats, strict=True)):
                count = tile.lanes if tile.adds else tile.columns - j * tile.lanes
                store_lanes(f, value.get(), at, count, tile.dtype, tile.target)
        f.ret()

    def _loops(self, depth: int, source: Value, weights: Value) -> None:
        """The loops over kernel entries from `depth` on, then that over channels."""
        f, tile = self.f, self.tile
        if depth == len(tile.loops):
            self._channels(source, weights, f.i64(tile.channels))
            return
        count, loop = f.args[3 + depth], tile.loops[depth]
        if tile.joined and depth == len(tile.loops) - 1:
            self._channels(source, weights, count)
            return
        with f.loop(0, count) as i:
            inner = f.at(source, i * loop.source, tile.element)
            self._loops(depth + 1, inner, f.at(weights, i * loop.weights, tile.element))

    def _channels(self, source: Value, weights: Value, count: Value) -> None:
        f, tile = self.f, self.tile
        if tile.depthwise:
            self._lanewise(source, weights)
            return
        if tile.channels == 1 and not tile.joined:
            self._outer(source, weights)
            return
        short = tile.rows * tile.vectors < LONG_BODY
        unroll = 2 if short and tile.channels % 2 == 0 else 1
        with f.loop(0, count, unroll) as k:
            inner = f.at(source, k, tile.element)
            there = f.at(weights, k * tile.width, tile.element)
            for u in range(unroll):
                a, b = f.at(inner, u, tile.element), f.at(there, u * tile.width, tile.element)
                self._outer(a, b)

    def _outer(self, source: Value, weights: Value) -> None:
        """One number of each row times vectors of weights."""
        f, tile = self.f, self.tile
        ws = self._weights(weights)
        for i, row in enumerate(self.sums):
            x = f.load(tile.element, f.at(source, i * tile.source_step, tile.element))
            wide = f.splat(x, tile.lanes)
            for w, total in zip(ws, row, strict=True):
                total.set(multiply_add(f, wide, w, total.get(), self.fused))

    def _lanewise(self, source: Value, weights: Value) -> None:
        """Depth-wise: each channel of the operand meets its own weight."""
        f, tile = self.f, self.tile
        ws = self._weights(weights)
        for i, row in enumerate(self.sums):
            for j, (w, total) in enumerate(zip(ws, row, strict=True)):
                place = f.at(source, i * tile.source_step + j * tile.lanes, tile.element)
                x = load_lanes(f, place, tile.columns - j * tile.lanes, tile.lanes, tile.element)
                total.set(multiply_add(f, x, w, total.get(), self.fused))

    def _weights(self, place: Value) -> list[Value]:
        f, tile = self.f, self.tile
        found = []
        for j in range(tile.vectors):
            at = f.at(place, j * tile.lanes, tile.element)
            if tile.packed:
                found.append(f.load(tile.type, at, tile.lanes * size_of(tile.element)))
            else:
                count = tile.columns - j * tile.lanes
                found.append(load_lanes(f, at, count, tile.lanes, tile.element))
        return found


# -- pieces that the convolution kernels share ---------------------------------------------------


def shared_name(stem: str, *what: object) -> str:
    """A name for code that `what` determines, whichever kernel asks for it."""
    return f"{stem}_{sha256(repr(what).encode()).hexdigest()[:16]}"


def read(f: Function, place: Value, dtype: DType, target: Target, lanes: int = 0) -> Value:
    """Entries as they are computed with: halves as float32."""
    raw = f.load(vector(lanes, stored(dtype)), place)
    return convert.unpack(Arithmetic(f, dtype, target=target), raw, dtype)


def load_lanes(f: Function, place: Value, count: int, lanes: int, element: str) -> Value:
    """A vector of the `count` entries at a place, followed by zeros."""
    kind = vector(lanes, element)
    if count >= lanes:
        return f.load(kind, place)
    return f.masked_load(kind, place, f.first_lanes(count, lanes))


def store_lanes(
    f: Function, x: Value, place: Value, count: int, dtype: DType, target: Target
) -> None:
    """Store the first `count` lanes, rounded to the type in memory."""
    x = convert.pack(Arithmetic(f, dtype, target=target), x, dtype)
    if count >= x.lanes:
        f.store(x, place)
    elif dtype in (dtypes.float32, dtypes.float64):
        f.masked_store(x, place, f.first_lanes(count, x.lanes))
    else:  # few processors mask 16-bit stores
        for i in range(count):
            f.store(f.extract(x, i), f.at(place, i, x.element))


@dataclass(frozen=True)
class Registers:
    """How many vectors wide and how many rows high tiles can be on a processor."""

    vectors: int
    rows: int


def registers(target: Target, columns: int, lanes: int, element: str) -> Registers:
    """The tile for so many columns: as many sums as there are registers for, short of what holds
    the weights and one number."""
    if target.has("avx512f"):
        count, nbytes = 32, 64
    elif target.triple.startswith(("aarch64", "arm64")):
        count, nbytes = 32, 16
    else:
        count, nbytes = 16, 32 if target.has("avx") else 16
    each = max(1, lanes * size_of(element) // nbytes)
    vectors = 2 if each == 1 and columns > lanes else 1
    most = (count - vectors * each - 1) // (vectors * each)
    return Registers(vectors, min(most, MOST_ROWS // vectors))


def lanes_for(columns: int, element: str) -> int:
    """Lanes of a vector for so few columns: a whole vector, or a part of it that holds them."""
    lanes = 64 // size_of(element)
    while lanes > 4 and lanes // 2 >= columns:
        lanes //= 2
    return lanes


def evenly(count: int, most: int) -> tuple[int, int, int]:
    """Cut `count` into parts of at most `most`: number of parts, size, how many have one more."""
    parts = -(-count // most) if count else 0
    return (parts, count // parts, count % parts) if parts else (0, 0, 0)


def split_at(f: Function, index: Value, parts: tuple[int, int, int]) -> Value:
    """Where part `index` of such a cut starts."""
    _, size, longer = parts
    return index * size + f.smin(index, longer) if longer else index * size


def total(f: Function, indices: Sequence[Value], steps: Sequence[int]) -> Value:
    """Σ index · step, over as many as there are indices."""
    found = f.i64(0)
    for index, s in zip(indices, steps, strict=False):
        found = found + index * s
    return found
