"""Reductions across a nest: over its outer loops, while a row is at hand.

A nest that goes through memory row by row may add up columns on the way. The rows are cut into
blocks, by their sizes alone; each block has sums of its own, in memory that stays in the cache, and
a second step joins those of all blocks, in order. So memory is read once, as it lies, threads share
the blocks, and no bit depends on how many threads there are.

That serves a nest whose passes reduce rows (a normalisation with the gradients of its weights), and
one that only reduces across (the gradient of a bias, with what it is the gradient of). Where that
would add up only a few rows at a position (the entries of a window), it goes down columns instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from wengert.compiler.nest import Nest, Reduce, Store
from wengert.core.index import ZERO, Index

ROWS = 16  # the least of a block
JAM = 4  # rows that may be added up together: blocks are multiples of it
TASKS = 64  # about so many blocks in all
SHORT, LONG = 32, 1 << 16  # entries of a row, that is whose sums stay in the cache
MANY = 1 << 17  # entries of a nest that only reduces across


@dataclass(frozen=True)
class Blocks:
    """Rows in blocks of a size, with so many partial results each."""

    rows: int
    size: int
    entries: int

    @property
    def count(self) -> int:
        """How many blocks there are; the last one may be shorter."""
        return -(-self.rows // self.size)


@dataclass(frozen=True)
class Crossing:
    """How a nest reduces across.

    Attributes
    ----------
    nest : what the step does: without the dimensions `across`, where it joins partial results
    reduces : the reductions over the dimensions across
    order : of the loops: those around, those across, those of a row
    place : where the partial results of a position stand in those of a block
    """

    nest: Nest
    across: frozenset[int]
    reduces: list[Reduce]
    order: list[int]
    place: Index
    blocks: Blocks

    def moves(self, store: Store) -> bool:
        """Whether a store belongs to the first step, since it moves with the rows."""
        return any(v in self.across for i in store.index for v, _ in i.terms)

    def joined(self) -> Crossing:
        """The step that joins the partial results."""
        dims = [1 if d in self.across else n for d, n in enumerate(self.nest.dims)]
        nest = replace(self.nest, dims=dims, reduced=frozenset())
        order = [d for d in self.order if d not in self.across]
        return replace(self, nest=nest, across=frozenset(), order=order)


def settled(nest: Nest, reduces: Sequence[Reduce]) -> Nest:
    """The nest as it is with those reductions that are needed: with others, across may be all."""
    if any(r.over == nest.reduced for r in reduces) or not nest.across:
        return nest
    return replace(nest, reduced=nest.across, across=frozenset())


def crossing_of(
    nest: Nest,
    reduces: Sequence[Reduce],
    stores: Sequence[Store],
    order: Sequence[int],
    columns: bool,
) -> Crossing | None:
    """How a nest reduces across, if it does, given the reductions that are needed, the order of
    loops by which memory is walked through, and whether that runs along `columns`."""
    across, rows = nest.across, nest.reduced
    if not any(r.over == across for r in reduces):
        few = prod(nest.dims[d] for d in nest.reduced) < 2 * ROWS
        if few or not columns or not _in_one_pass(nest, reduces, stores):
            return None
        across, rows = nest.reduced, frozenset()
    kept = [d for d in order if d not in across]
    inner = [d for d in kept if d in rows] if rows else _row(nest, order, across)
    if not inner:
        return None
    outer = [d for d in kept if d not in inner]
    place, entries = ZERO, 1
    for d in reversed([*outer, *inner]):
        place, entries = Index.of(d, entries) + place, entries * nest.dims[d]
    count = prod(nest.dims[d] for d in across)
    wanted = -(-TASKS // prod(nest.dims[d] for d in outer))
    size = max(ROWS, -(-count // wanted))
    blocks = Blocks(count, -(-size // JAM) * JAM, -(-entries // 16) * 16)
    return Crossing(
        replace(nest, reduced=rows, across=frozenset()),
        across,
        [r for r in reduces if r.over == across],
        [*outer, *[d for d in order if d in across], *inner],
        place,
        blocks,
    )


def _in_one_pass(nest: Nest, reduces: Sequence[Reduce], stores: Sequence[Store]) -> bool:
    """Whether a nest of columns is large, and done with them after a single pass."""
    if prod(nest.dims) < MANY or any(r.stage for r in reduces):
        return False
    again = [s for s in stores if s.point.stage and s.point.dims & nest.reduced]
    return not again


def _row(nest: Nest, order: Sequence[int], across: frozenset[int]) -> list[int]:
    """The dimensions of a row: as many as lie inside of those across, while it is not too long."""
    row: list[int] = []
    for d in reversed(order):
        if d in across or nest.dims[d] * prod(nest.dims[i] for i in row) > LONG:
            break
        row.insert(0, d)
    kept = [d for d in order if d not in across]
    return row if row == kept or prod(nest.dims[d] for d in row) >= SHORT else []
