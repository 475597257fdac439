"""The memory plan: where each intermediate result stands in one block of memory, the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wengert.compiler.ir import Term
from wengert.compiler.kernels.base import padded
from wengert.compiler.schedule import Job


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


def plan(
    jobs: Sequence[Job], outside: set[Term], workspaces: Mapping[int, int], lag: int = 0
) -> Plan:
    """Offsets for all that jobs write, except for terms that stand `outside` of the arena.

    Two results share memory only if one is used up before the job that writes the other. Large
    blocks are placed first, each at the lowest place that is free during its life.
    """
    blocks = _blocks(jobs, outside, workspaces)
    placed: list[_Block] = []
    size = 0
    for block in sorted(blocks, key=lambda b: (-b.nbytes, b.first)):
        block.offset = _lowest_gap(block, placed)
        placed.append(block)
        size = max(size, block.offset + block.nbytes)
    found = Plan(size)
    for block in placed:
        if isinstance(block.owner, int):
            found.workspaces[block.owner] = block.offset
        else:
            found.offsets[block.owner] = block.offset
    return found


def _blocks(jobs: Sequence[Job], outside: set[Term], workspaces: Mapping[int, int]) -> list[_Block]:
    blocks: dict[Term, _Block] = {}
    for i, job in enumerate(jobs):
        for term in job.writes:
            if term not in outside:
                blocks[term] = _Block(term, max(64, padded(term.spec.nbytes)), i, i)
        for term in job.reads:
            if term in blocks:
                blocks[term].last = i
    scratch = [_Block(i, padded(n), i, i) for i, n in workspaces.items() if n]
    return [*blocks.values(), *scratch]


def _lowest_gap(block: _Block, placed: Sequence[_Block]) -> int:
    rivals = [b for b in placed if b.first <= block.last and block.first <= b.last]
    offset = 0
    for b in sorted(rivals, key=lambda b: b.offset):
        if offset + block.nbytes <= b.offset:
            break
        offset = max(offset, b.offset + b.nbytes)
    return offset
