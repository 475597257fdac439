"""How much memory a compiled program takes, by what stands in it, before it has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wengert.compiler.assemble import Assembly
from wengert.compiler.frame import Frame
from wengert.compiler.ir import Term
from wengert.compiler.kernels.base import padded
from wengert.compiler.readable import names_of, sizes, where, with_comment


@dataclass(frozen=True)
class Block:
    """Something that stands in the arena.

    Attributes
    ----------
    name : a term of the program, by its number in the listing, with its op; or a job's workspace
    nbytes, offset : where it stands
    first, last : the jobs during which it does
    site : the user's line, or ""
    """

    name: str
    nbytes: int
    offset: int
    first: int
    last: int
    site: str


class Footprint:
    """What a compiled program will take of memory. Print it.

    Attributes
    ----------
    arena : bytes of the one block that all intermediate results share
    inputs, outputs, constants : bytes of what stands outside of it. An output that is updated in
        place (a parameter) counts as an input only
    total : all of these
    blocks : what stands in the arena, the largest first
    busiest : the number of the job during which the most of it is used
    """

    def __init__(self, made: Assembly, frame: Frame) -> None:
        program = made.program
        aliased = set(program.aliases)
        self.arena = frame.plan.size
        self.inputs = sum(t.nbytes for t in program.inputs)
        self.outputs = sum(t.nbytes for i, t in enumerate(program.outputs) if i not in aliased)
        self.constants = sum(t.nbytes for t in _constants(made))
        self.blocks = _blocks(made, frame)
        jobs = range(len(made.jobs))
        used = [sum(b.nbytes for b in self.alive(job)) for job in jobs]
        self.busiest = max(jobs, key=used.__getitem__, default=0)
        self.busy = max(used, default=0)

    @property
    def total(self) -> int:
        """All bytes that the program needs."""
        return self.arena + self.inputs + self.outputs + self.constants

    def alive(self, job: int) -> list[Block]:
        """What stands in the arena during a job."""
        return [b for b in self.blocks if b.first <= job <= b.last]

    def __str__(self) -> str:
        lines = [
            f"{sizes(self.total)} in all: {sizes(self.inputs)} inputs and state, "
            f"{sizes(self.outputs)} results, {sizes(self.constants)} constants, "
            f"{sizes(self.arena)} in between",
            f"most of it in job {self.busiest}: {sizes(self.busy)}",
        ]
        for b in self.blocks:
            life = f"jobs {b.first}–{b.last}" if b.first < b.last else f"job {b.first}"
            text = f"  at {b.offset:>10}  {sizes(b.nbytes):>10}  {b.name}, {life}"
            lines.append(with_comment(text, b.site))
        return "\n".join(lines)

    __repr__ = __str__


def _constants(made: Assembly) -> set[Term]:
    """The arrays that the code reads from memory."""
    slots = {s.term for p in made.pieces for s in p.slots}
    return {t for t in slots if t is not None and t.is_constant}


def _blocks(made: Assembly, frame: Frame) -> list[Block]:
    names = names_of(made.program)
    life: dict[Term, list[int]] = {}
    for number, job in enumerate(made.jobs):
        for term in (*job.writes, *job.reads):
            life.setdefault(term, []).append(number)
    found = []
    for term, offset in frame.plan.offsets.items():
        name = f"{names.get(term, '')} {term.name} {term.spec}"
        nbytes = max(64, padded(term.spec.nbytes))
        site = where(term.origins)
        found.append(Block(name, nbytes, offset, min(life[term]), max(life[term]), site))
    for number, offset in frame.plan.workspaces.items():
        root = made.jobs[number].unit.roots[0]
        name, site = f"workspace of {root.name}", where(root.origins)
        found.append(Block(name, frame.scratch[number], offset, number, number, site))
    return sorted(found, key=lambda b: (-b.nbytes, b.offset))


def largest(blocks: Sequence[Block], count: int = 3) -> str:
    """The largest of some blocks, in words."""
    return ", ".join(
        f"{sizes(b.nbytes)} for {b.name}" + f" ({b.site})" * bool(b.site) for b in blocks[:count]
    )
