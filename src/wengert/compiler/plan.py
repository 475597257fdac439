"""The memory plan: where each intermediate result stands in one block of memory, the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wengert.compiler.assembled import Access
from wengert.compiler.ir import Term
from wengert.compiler.kernels.base import padded

SMALL, LARGE = 1024, 1 << 16  # bytes
# Between large neighbours: arrays of whole pages would else stand at one place of a page, all of
# them, and share the same sets of a cache.
GAP = 576


@dataclass
class Plan:
    """Byte offsets in the arena: of terms, and of the workspaces of jobs (by their number)."""

    size: int = 0
    offsets: dict[Term, int] = field(default_factory=dict)
    workspaces: dict[int, int] = field(default_factory=dict)


@dataclass
class _Block:
    owner: Term | int
    nbytes: int
    first: int
    last: int
    offset: int = 0


def plan(jobs: Sequence[Access], outside: set[Term], workspaces: Mapping[int, int]) -> Plan:
    """Offsets for all that jobs write, except for terms that stand `outside` of the arena.

    Two results share memory only if one is used up before the job that writes the other. Large
    blocks are placed first, each at the lowest place that is free during its life.
    """
    blocks = _blocks(jobs, outside, workspaces)
    small = [b for b in blocks if b.nbytes <= SMALL]
    size = 0
    for block in small:  # many, and together next to nothing: each has a place of its own
        block.offset, size = size, size + block.nbytes
    large = [b for b in blocks if b.nbytes > SMALL]
    size = _fit(sorted(large, key=lambda b: (-b.nbytes, b.first)), size)
    found = Plan(size)
    for block in blocks:
        if isinstance(block.owner, int):
            found.workspaces[block.owner] = block.offset
        else:
            found.offsets[block.owner] = block.offset
    return found


def _blocks(
    jobs: Sequence[Access], outside: set[Term], workspaces: Mapping[int, int]
) -> list[_Block]:
    blocks: dict[Term, _Block] = {}
    for i, job in enumerate(jobs):
        for term in job.writes:
            if term not in outside:
                nbytes = max(64, padded(term.spec.nbytes))
                blocks[term] = _Block(term, nbytes + (GAP if nbytes >= LARGE else 0), i, i)
        for term in job.reads:
            if term in blocks:
                blocks[term].last = i
    scratch = [_Block(i, padded(n), i, i) for i, n in workspaces.items() if n]
    return [*blocks.values(), *scratch]


def _fit(blocks: Sequence[_Block], start: int) -> int:
    """Place blocks, one after the other, from an offset on; gives the end of the last."""
    first, last, lower, upper = np.zeros((4, len(blocks)), np.int64)
    for n, block in enumerate(blocks):
        alive = (first[:n] <= block.last) & (last[:n] >= block.first)
        lows, ups = lower[:n][alive], upper[:n][alive]
        order = np.argsort(lows, kind="stable")
        lows, reached = lows[order], np.maximum.accumulate(np.append(start, ups[order]))
        # Before each block in the way, and behind the last: is there room?
        room = np.append(lows, np.iinfo(np.int64).max) - reached
        block.offset = int(reached[int(np.argmax(room >= block.nbytes))])
        first[n], last[n] = block.first, block.last
        lower[n], upper[n] = block.offset, block.offset + block.nbytes
    return int(upper.max(initial=start))
