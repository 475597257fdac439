"""From a program to jobs with code: fusion, layout and kernels settled together.

A kernel may need an operand, or a result, in another order of axes than it lies in: then a job that
copies it comes before or after. Only where a kernel that was counted on is not there, or a result
cannot lie as several readers need it, the program is divided anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wengert.compiler.assembled import Assembled, LibraryCall, Piece, Repeat, Slot
from wengert.compiler.epilogues import FIRST
from wengert.compiler.form import Form, finalise, signature
from wengert.compiler.ir import Program, Term, apply
from wengert.compiler.kernel_calls import MAKERS
from wengert.compiler.kernels.base import Workspace, padded
from wengert.compiler.layout import Layout
from wengert.compiler.linked import begin_libraries
from wengert.compiler.llvm.crossed import emit_nest, workspace_of
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.nests import SERIAL, work_of
from wengert.compiler.llvm.pieces import Epilogue
from wengert.compiler.nest import Check, Store
from wengert.compiler.refusals import unwritten
from wengert.compiler.remat import rematerialise
from wengert.compiler.schedule import Job, schedule, with_own_outputs
from wengert.compiler.simplify.beforehand import simple_body
from wengert.compiler.units import KernelUnit, LoopUnit, NestUnit
from wengert.core.op import REGISTRY

if TYPE_CHECKING:
    from wengert.compiler.loop import Loop


_DEFECTS = (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError)
STREAM = 32 << 20  # bytes that no cache holds
SMALL = 40_000  # operations of a kernel; below it one thread is faster than two


@dataclass
class Assembly(Assembled):
    """All that a program is made of: its jobs, their steps, its code."""

    jobs: list[Job]
    layout: Layout = field(kw_only=True)
    module: Module = field(default_factory=Module)
    names: dict[Any, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @cached_property
    def over(self) -> dict[Term, Term]:
        """The outputs that are written over inputs, and those."""
        return self.program.over


def assemble(program: Program, around: Assembly | None = None) -> Assembly:
    """Divide a program into jobs, decide how everything lies in memory, and write its code; that of
    the body of a loop belongs to the program `around` it."""
    program = with_own_outputs(rematerialise(_own(program), MAKERS))
    forced: set[Term] = set()
    row_major: set[Term] = set()
    while True:
        program, jobs = schedule(program, MAKERS, forced)
        layout = Layout(program, jobs, row_major)
        jobs = [placed for job in jobs for placed in layout.place(job)]
        if not layout.wishes:
            break
        forced |= layout.wishes.stored
        row_major |= layout.wishes.row_major
        for term in layout.wishes.results:
            copy = _read_through_copy(program, term)
            forced.add(copy)
            row_major.discard(term)
            row_major.add(copy)
    made = Assembly(program, jobs, layout=layout)
    if around is not None:
        made.module, made.names, made.checks = around.module, around.names, around.checks
    for number, job in enumerate(jobs):
        if any(t.size for t in job.writes):
            try:
                _write(made, number, job)
            except _DEFECTS as problem:
                raise unwritten(job, problem) from problem
    return made


def _own(program: Program) -> Program:
    """A copy whose terms may be changed."""
    new: dict[Term, Term] = {}
    for t in program.terms:
        args = tuple([new[a] for a in t.args])
        new[t] = Term(t.op, args, t.params, t.specs, t.origins, t.data)
    for t in program.inputs:
        if t not in new:
            new[t] = Term(None, (), {}, t.spec, t.origins)
    inputs, outputs = [new[t] for t in program.inputs], [new[t] for t in program.outputs]
    names = {new[t].id: program.names[t.id] for t in program.inputs if t.id in program.names}
    return Program(inputs, outputs, program.aliases, names)


def _read_through_copy(program: Program, term: Term) -> Term:
    """Let all users of a term read a copy of it, which is returned."""
    copy = apply(REGISTRY["alias"], term, origins=term.origins)
    for user in program.terms:
        if term in user.args:
            user.args = tuple([copy if a is term else a for a in user.args])
    return copy


# -- steps -------------------------------------------------------------------------------------


def _write(made: Assembly, number: int, job: Job) -> None:
    if isinstance(job.unit, NestUnit):
        _write_nest(made, number, job, job.unit)
    elif isinstance(job.unit, KernelUnit):
        _write_kernel(made, number, job)
    elif isinstance(job.unit, LoopUnit):
        _write_loop(made, number, job)
    else:
        _write_library(made, number, job)


def _write_nest(made: Assembly, number: int, job: Job, unit: NestUnit) -> None:
    stores = [Store(t, *unit.nest.roots[t]) for t in job.writes]
    form = finalise(unit.nest, stores, made.layout.strides, made.over)
    form.streamed = _streamed(made, job, form)
    if form.after is not None:
        made.workspaces[number] = Workspace(workspace_of(form))
    for step in (form, form.after):
        if step is not None:
            _write_form(made, number, step)


def _streamed(made: Assembly, job: Job, form: Form) -> frozenset[int]:
    """Slots of results that are written past the cache: they are for the caller alone, and would
    drive out what the job reads and writes, which is too much to stay."""
    if sum(t.spec.nbytes for t in {*job.reads, *job.writes}) < STREAM:
        return frozenset()
    kept = {*made.over, *(t for j in made.jobs for t in j.reads)}
    large = {t for t in job.writes if t in made.program.outputs and t.spec.nbytes >= STREAM // 8}
    first = len(form.slots) - form.writes
    return frozenset([i for i, t in enumerate(form.slots) if i >= first and t in large - kept])


def _write_form(made: Assembly, number: int, form: Form) -> None:
    key = signature(form, {t: t.dtype for t in form.slots})
    name = made.names.get(key)
    if name is None:
        name = made.names[key] = f"nest_{len(made.names)}"
        emit_nest(made.module, name, form, [t.dtype for t in form.slots])
    slots = [Slot(t) for t in form.slots]
    for check in form.checks:
        slots.append(Slot(None, check=len(made.checks)))
        made.checks.append(check)
    if form.partial is not None:
        slots.append(Slot(None))
    made.pieces.append(Piece(number, name, slots, serial=work_of(form) < SERIAL))


def _write_kernel(made: Assembly, number: int, job: Job) -> None:
    (term,) = job.unit.roots
    call = made.layout.calls[term]
    slots = [Slot(t, start) for t, start in call.reads]
    results, spare = _results(made.layout.carriers.get(term, term), job)
    slots += [*results, Slot(None, spare)]
    workspace = call.kernel.workspace
    made.workspaces[number] = Workspace(spare + padded(workspace.shared), workspace.per_thread)
    form = made.layout.epilogue_form(job)
    key: Any = call.kernel
    if form is not None:
        slots += [Slot(made.layout.carriers.get(t, t)) for t in form.slots]
        key = key, signature(form, {t: t.dtype for t in form.slots})
    if key not in made.names:
        name = f"kernel_{len(made.names)}"
        kinds = [t.dtype for t in form.slots] if form else []
        then = Epilogue(form, kinds, FIRST) if form else None
        made.names[key] = call.kernel.emit(made.module, name, then)
        begin_libraries(made.module.libraries)
    small = _work(term) + (work_of(form) if form else 0) < SMALL
    for phase in made.names[key]:
        made.pieces.append(Piece(number, phase.name, slots, phase.serial or small))


def _results(term: Term, job: Job) -> tuple[list[Slot], int]:
    """Where the results of a term go, and how many bytes of its workspace that takes: what nobody
    asked for stands there."""
    assert term.op is not None
    if not term.op.several:
        return [Slot(term)], 0
    written = {t.params["index"]: t for t in job.writes}
    slots, spare = [], 0
    for i, spec in enumerate(term.specs):
        if i in written:
            slots.append(Slot(written[i]))
        else:
            slots.append(Slot(None, spare))
            spare += padded(spec.nbytes)
    return slots, spare


def _work(term: Term) -> float:
    """Operations of a kernel, or the entries that it goes through."""
    assert term.op is not None
    if term.op.work is not None:
        return term.op.work(term, *term.args, **term.params)
    return 4 * sum(t.size for t in (term, *term.args))


def _write_loop(made: Assembly, number: int, job: Job) -> None:
    """A loop: its carry is updated in place, in the buffers of its results."""
    (term,) = job.unit.roots
    loop: Loop = term.params["loop"]
    aliases = {i: loop.constants + i for i in range(loop.carried)}
    simple = simple_body(loop)
    body = assemble(Program(simple.inputs, simple.outputs, aliases, simple.names), made)
    results, spare = _results(term, job)
    slots = [*(Slot(a) for a in term.args), *results]
    made.workspaces[number] = Workspace(spare)
    made.pieces.append(Piece(number, "", slots, repeat=Repeat(loop, body)))


def _write_library(made: Assembly, number: int, job: Job) -> None:
    (term,) = job.unit.roots
    assert term.op is not None
    which = [t.params["index"] for t in job.writes] if term.op.several else []
    operands, results = [t.spec for t in term.args], [t.spec for t in job.writes]
    call = LibraryCall(term.op, term.params, operands, results, which)
    slots = [Slot(t) for t in (*term.args, *job.writes)]
    made.pieces.append(Piece(number, "", slots, call=call))
