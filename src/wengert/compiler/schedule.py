"""What each unit reads and writes, and the order in which units run.

From the outputs backwards: a root is written to memory only if another unit, or the caller, needs
it; what only fed such a root is not even computed. The order is that of the program, as far as what
each unit reads allows; a buffer that the caller gives for an input and an output at once is written
by the last of all units that touch it, or through a copy.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

from wengert.compiler.fuse import fuse
from wengert.compiler.ir import Program, Term, apply
from wengert.compiler.nest import Nest, Point
from wengert.compiler.units import KernelUnit, LibraryUnit, NestUnit, Unit, Units, lone_nest
from wengert.core.lowering import Native, View
from wengert.core.op import REGISTRY


@dataclass
class Job:
    """A unit with the terms that it reads from memory and those that it writes there."""

    unit: Unit
    reads: list[Term]
    writes: list[Term]

    @property
    def follow(self) -> list[Term]:
        """What the epilogue of a kernel writes."""
        if not isinstance(self.unit, KernelUnit) or self.unit.epilogue is None:
            return []
        return [t for t in self.writes if t is not self.unit.roots[0]]


def with_own_outputs(program: Program) -> Program:
    """The program with every output a term of its own, which some unit writes."""
    seen: set[Term] = set()
    outputs = []
    for out in program.outputs:
        if out.op is None or out in seen or out.op.name == "pick":
            out = apply(REGISTRY["alias"], out, origins=out.origins)
        seen.add(out)
        outputs.append(out)
    return Program(program.inputs, outputs, program.aliases, program.names)


def schedule(
    program: Program, makers: Container[str], forced: set[Term]
) -> tuple[Program, list[Job]]:
    """The jobs of a program in the order in which they run, and the program that they belong to
    (in which outputs that share a buffer with an input may have become copies). See `fuse` for
    `makers` and `forced`."""
    jobs = _jobs(program, fuse(program, makers, forced))
    after, unsafe = _constraints(program, jobs)
    outputs = list(program.outputs)
    makers_of, readers = _makers(jobs), _readers(jobs)
    failing = {n for n, job in enumerate(jobs) if may_fail(job)}
    for i in unsafe:
        old = program.inputs[program.aliases[i]]
        after.append(failing | readers.get(old, set()) | {makers_of[outputs[i]]})
        outputs[i] = copied(outputs[i])
        jobs.append(copy_job(outputs[i], lambda t: True))
    program = Program(program.inputs, outputs, program.aliases, program.names)
    return program, [jobs[i] for i in _lean_order(jobs, after)]


def copied(term: Term) -> Term:
    """A copy of a term."""
    return apply(REGISTRY["alias"], term, origins=term.origins)


def copy_job(copy: Term, stored: Callable[[Term], bool]) -> Job:
    """The job of an element-wise term that is made by a nest of its own."""
    unit = lone_nest(-1, copy, stored)
    return Job(unit, loaded(unit, [copy]), [copy])


def _jobs(program: Program, units: Units) -> list[Job]:
    """What each unit reads and writes, found from the outputs backwards."""
    needed: set[Term] = set(program.outputs)
    jobs = []
    for unit in reversed(_by_reads(units)):
        if isinstance(unit, NestUnit):
            writes = [r for r in unit.roots if r in needed]
            reads = loaded(unit, writes)
        elif isinstance(unit, KernelUnit) and unit.epilogue is not None:
            writes = [r for r in unit.epilogue.roots if r in needed]
            reads = operands(unit, writes, units)
        else:
            (term,) = unit.roots
            writes = [term] if term in needed else []
            if term.op is not None and term.op.several:
                writes = [t for t in needed if t.op and t.op.name == "pick" and t.args[0] is term]
                writes.sort(key=lambda t: t.params["index"])
            reads = bases(term.args, units)
        if writes:
            needed.update(reads)
            jobs.append(Job(unit, reads, writes))
    return jobs[::-1]


def _by_reads(units: Units) -> list[Unit]:
    """All units, each behind those that it may read from."""
    number = {u: i for i, u in enumerate(units.units)}
    found: dict[Unit, set[int]] = {}
    for unit in units.units:
        if isinstance(unit, NestUnit):
            sources: Iterable[Term] = [a.term for a in unit.nest.reads]
        else:
            sources = bases(unit.roots[0].args, units)
            if isinstance(unit, KernelUnit) and unit.epilogue is not None:
                sources += [a.term for a in unit.epilogue.nest.reads]
        homes = {_home(t, units) for t in sources}
        found[unit] = {number[h] for h in homes if h is not None and h is not unit}
    order = _topological([found[u] for u in units.units])
    return [units.units[i] for i in order]


def _home(term: Term, units: Units) -> Unit | None:
    if term.op is not None and term.op.name == "pick":
        term = term.args[0]
    return units.home.get(term)


def bases(args: Sequence[Term], units: Units) -> list[Term]:
    """The terms in memory behind the operands of a kernel, which may be views of them."""
    found: list[Term] = []
    for term in args:
        while term.op is not None and term not in units.home and term.op.name != "pick":
            (term,) = term.args
        found.append(term)
    return list(dict.fromkeys(found))


def operands(unit: KernelUnit, writes: Sequence[Term], units: Units) -> list[Term]:
    """The terms that a kernel with an epilogue reads to write some results."""
    found = dict.fromkeys(bases(unit.roots[0].args, units))
    return [*found, *[t for t in followed(unit, writes) if t not in found]]


def followed(unit: KernelUnit, writes: Sequence[Term]) -> list[Term]:
    """The terms beside its own result that a kernel's epilogue reads."""
    (term,) = unit.roots
    if unit.epilogue is None:
        return []
    return [t for t in loaded(unit.epilogue, [t for t in writes if t is not term]) if t is not term]


def loaded(unit: NestUnit, writes: Sequence[Term]) -> list[Term]:
    """The terms that a nest reads from memory to write some of its roots."""
    seen: set[Point] = set()
    stack = [unit.nest.roots[r][1] for r in writes]
    found: dict[Term, None] = {}
    while stack:
        point = stack.pop()
        if point in seen:
            continue
        seen.add(point)
        stack.extend(point.args)
        if point in unit.nest.checks:
            stack += [unit.nest.checks[point].holds, unit.nest.checks[point].value]
        if point.kind == "load":
            found[point.info.term] = None
        if point.kind == "result":
            reduce = unit.nest.reduces[point.info]
            stack += [reduce.arg, reduce.position]
    return list(found)


# -- the order ---------------------------------------------------------------------------------


def _constraints(program: Program, jobs: list[Job]) -> tuple[list[set[int]], list[int]]:
    """For each job those that run before it, and the outputs whose buffer cannot be shared as they
    stand: they need a copy at the end."""
    maker, readers = _makers(jobs), _readers(jobs)
    after = [{maker[t] for t in job.reads if t in maker} - {i} for i, job in enumerate(jobs)]
    reach = _reach(after)
    failing = {i for i, job in enumerate(jobs) if may_fail(job)}
    unsafe = []
    for out, given in program.aliases.items():
        writer = maker[program.outputs[out]]
        old = program.inputs[given]
        before = failing | readers.get(old, set())
        before.discard(writer)
        clash = any(reach[i] >> writer & 1 for i in before)
        if clash or not _reads_in_place(jobs[writer], program.outputs[out], old):
            unsafe.append(out)
            continue
        fresh = before - after[writer]
        after[writer] |= fresh
        gained = 0
        for i in fresh:
            gained |= reach[i] | (1 << i)
        for j in range(len(jobs)):
            if j == writer or reach[j] >> writer & 1:
                reach[j] |= gained
    return after, unsafe


def _makers(jobs: Sequence[Job]) -> dict[Term, int]:
    """For each term in memory the job that writes it."""
    return {t: i for i, job in enumerate(jobs) for t in job.writes}


def _readers(jobs: Sequence[Job]) -> dict[Term, set[int]]:
    """For each term in memory the jobs that read it."""
    found: dict[Term, set[int]] = {}
    for i, job in enumerate(jobs):
        for t in job.reads:
            found.setdefault(t, set()).add(i)
    return found


def may_fail(job: Job) -> bool:
    """Whether a job can end the program with an error."""
    if isinstance(job.unit, NestUnit):
        return bool(job.unit.nest.checks)
    return isinstance(job.unit, LibraryUnit)


def _reads_in_place(job: Job, written: Term, old: Term) -> bool:
    """Whether a job that reads an input and writes an output to the same buffer reads each entry
    only where it writes it."""
    if old not in job.reads:
        return True
    if isinstance(job.unit, KernelUnit):
        (term,) = job.unit.roots  # an epilogue writes no output over an input
        return old not in followed(job.unit, job.writes) and _kernel_in_place(term, old)
    if not isinstance(job.unit, NestUnit):
        return False
    place = job.unit.nest.roots[written][0]
    moving = {v for i in place for v, _ in i.terms}
    if moving & job.unit.nest.reduced:
        return False  # a later pass over the reduced dimensions may read what an earlier one wrote
    if job.unit.nest.reduced:
        later = [t for t in job.writes if not _is_stored_by(job.unit.nest, t, written)]
        if old in loaded(job.unit, later):
            return False  # another result of the nest is computed after this one is stored
    index = [i.key() for i in place]
    reads = [a for a in job.unit.nest.reads if a.term is old]
    return all([i.key() for i in a.index] == index for a in reads)


def _is_stored_by(nest: Nest, term: Term, other: Term) -> bool:
    """Whether a nest that reduces stores a result no later than another one, which it does not
    store all along the reduced dimensions."""
    index, point = nest.roots[term]
    inside = nest.reduced & {*point.dims, *(v for i in index for v, _ in i.terms)}
    last = nest.roots[other][1].stage
    return not nest.across and point.stage < last + (not inside)


def _kernel_in_place(term: Term, old: Term) -> bool:
    """Whether a kernel reads an input only as the operand that it may write its result over."""
    assert term.op is not None
    assert isinstance(term.op.lower, Native)
    places = [i for i, a in enumerate(term.args) if old in _behind(a)]
    return places == [term.op.lower.in_place] and term.args[places[0]] is old


def _behind(term: Term) -> set[Term]:
    """All terms that a term may be a view of."""
    found = {term}
    while term.op is not None and isinstance(term.op.lower, View):
        (term,) = term.args
        found.add(term)
    return found


def _reach(after: list[set[int]]) -> list[int]:
    """For each job all that run before it, as bits."""
    reach = [0] * len(after)
    for i in _topological(after):
        for j in after[i]:
            reach[i] |= reach[j] | (1 << j)
    return reach


def _lean_order(jobs: Sequence[Job], after: Sequence[set[int]]) -> list[int]:
    """The order of the program, with two exceptions. What frees at least as much memory as it takes
    runs as soon as it can: an update of a parameter follows its gradient at once. What frees
    nothing runs as late as it can: just before the first job that reads its results."""
    waiting = [len(a) for a in after]
    users: list[list[int]] = [[] for _ in after]
    for i, before in enumerate(after):
        for j in before:
            users[j].append(i)
    made = {t for job in jobs for t in job.writes}
    readers: dict[Term, int] = {}
    for job in jobs:
        for t in job.reads:
            readers[t] = readers.get(t, 0) + 1
    ready: list[tuple[int, float, int]] = []
    position = _positions(jobs, users, made)

    def push(i: int) -> None:
        frees = sum(t.spec.nbytes for t in jobs[i].reads if t in made and readers[t] == 1)
        takes = sum(t.spec.nbytes for t in jobs[i].writes if readers.get(t))
        heapq.heappush(ready, (0 if frees > 0 and frees >= takes else 1, position[i], i))

    for i, n in enumerate(waiting):
        if n == 0:
            push(i)
    order = []
    while ready:
        i = heapq.heappop(ready)[2]
        order.append(i)
        for t in jobs[i].reads:
            readers[t] -= 1
        for j in users[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                push(j)
    assert len(order) == len(after), "units that wait for each other"
    return order


def _positions(jobs: Sequence[Job], users: Sequence[Sequence[int]], made: set[Term]) -> list[float]:
    """Where each job would like to run: at its own place, or just before its first user; but not
    when all others are done with something larger than what it makes."""
    last = {t: i for i, job in enumerate(jobs) for t in job.reads}
    until: dict[Term, float] = {}  # when those behind a job are done with a term
    position = [float(i) for i in range(len(jobs))]
    for i in range(len(jobs) - 1, -1, -1):
        size = sum(t.spec.nbytes for t in jobs[i].writes)
        read = [t for t in jobs[i].reads if t in made]
        frees = any(last[t] == i and 4 * t.spec.nbytes > size for t in read)
        later = [position[j] for j in users[i] if j > i]
        if later and not frees:
            held = [until[t] for t in read if t.spec.nbytes > size and t in until]
            position[i] = max(position[i], min([min(later) - 1e-3, *held]))
        for t in read:
            until[t] = max(until.get(t, 0.0), position[i])
    return position


def _topological(after: Sequence[set[int]]) -> list[int]:
    """An order in which each comes behind those before it, otherwise by number."""
    waiting = [len(a) for a in after]
    users: list[list[int]] = [[] for _ in after]
    for i, before in enumerate(after):
        for j in before:
            users[j].append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in users[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready, j)
    assert len(order) == len(after), "units that wait for each other"
    return order
