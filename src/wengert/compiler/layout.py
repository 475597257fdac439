"""How each term lies in memory: the order of its axes, and the steps along them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wengert.compiler.epilogues import Pieces, carrier_of, fits, form_of, order_of, pieces_of
from wengert.compiler.form import Form, Strides, loop_order, runs_along_columns
from wengert.compiler.ir import Program, Term, apply
from wengert.compiler.kernel_calls import (
    MAKERS,
    Call,
    NeedsCopy,
    NeedsFreedom,
    NeedsTerm,
    NoKernel,
    Order,
    Site,
)
from wengert.compiler.nest import Conflict, Store
from wengert.compiler.schedule import Job, copied, copy_job, followed
from wengert.compiler.units import KernelUnit, LibraryUnit, NestUnit
from wengert.core.index import strides_of


@dataclass
class Wishes:
    """What could not be had as the program stands: terms that must be stored by other means (no
    kernel gives them, none can read them unless they are, no nest adds them up on its way as its
    arrays lie, or no kernel can compute them from its result), those that must be row-major, and
    results that lie as nobody can read them."""

    stored: set[Term] = field(default_factory=set)
    row_major: set[Term] = field(default_factory=set)
    results: set[Term] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.stored or self.row_major or self.results)


class Layout:
    """Steps of the terms that stand in memory, decided job by job.

    What the caller gives or takes is row-major. What a nest writes for others lies in the order in
    which the nest runs, and that follows what it reads; so an order of axes that a kernel prefers
    goes on through all that is computed from its result. Terms in `row_major` are to be that.
    """

    def __init__(self, program: Program, jobs: Sequence[Job], row_major: Iterable[Term]) -> None:
        self.program = program
        self.known: dict[Term, Strides] = {}
        self.calls: dict[Term, Call] = {}
        self.pieces: dict[Term, Pieces] = {}  # of what kernels give to their epilogues
        self.carriers: dict[Term, Term] = {}  # where that stands, if it is not kept
        self.wishes = Wishes()
        self.copies: dict[Any, Term] = {}  # by what is copied, and how
        self.users = program.users()
        self.fixed = {*program.inputs, *program.outputs}
        self.read_row_major = set(row_major)
        self.stored = {*program.inputs}
        for job in jobs:
            self.stored.update(job.writes)
            nest = job.unit.epilogue if isinstance(job.unit, KernelUnit) else job.unit
            if isinstance(nest, NestUnit):
                reads = [a.term for a in nest.nest.reads if a.shape is not None]
                self.read_row_major.update(reads)
            elif isinstance(job.unit, LibraryUnit):
                self.read_row_major.update(job.reads)
                self.fixed.update(job.writes)
        self.fixed |= self.read_row_major

    def strides(self, term: Term) -> Strides:
        """The steps of a term, in entries."""
        found = self.known.get(term)
        if found is None:
            found = self.known[term] = strides_of(term.shape)
        return found

    def place(self, job: Job) -> list[Job]:
        """Decide how the results of a job lie. Gives the job, with those of the copies that it
        needs before and after it."""
        if isinstance(job.unit, NestUnit):
            self._place_nest(job, job.unit)
        elif isinstance(job.unit, KernelUnit):
            try:
                return self._place_kernel(job, job.unit)
            except Conflict as conflict:  # a copy for it cannot read what is not in memory
                if conflict.term is None:
                    raise
                self.wishes.stored.add(conflict.term)
        return [job]

    def _place_nest(self, job: Job, unit: NestUnit) -> None:
        nest = unit.nest
        if nest.across and runs_along_columns(nest, nest.points, self.strides):
            self.wishes.stored |= {r.term for r in nest.reduces if r.over == nest.across}
        if all(t in self.fixed for t in job.writes):
            return
        stores = [Store(t, *nest.roots[t]) for t in job.writes]
        order = loop_order(nest, [s for s in stores if s.term in self.fixed], stores, self.strides)
        rank = {d: i for i, d in enumerate(order)}
        for store in stores:
            if store.term not in self.fixed:
                axes = sorted(range(store.term.ndim), key=lambda a: _last_loop(store, a, rank))
                self.known[store.term] = strides_of(store.term.shape, axes)

    def _place_kernel(self, job: Job, unit: KernelUnit) -> list[Job]:
        (term,) = unit.roots
        if not any(t.size for t in job.writes):  # nothing is written
            return [job]
        before: list[Job] = []
        asked: set[tuple[int, Order]] = set()
        free = {t.params["index"] for t in _picks(job) if t not in self.fixed}
        while True:
            order = None if term in self.fixed else self._preferred(term)
            try:
                call = MAKERS[unit.maker](term, Site(self._in_memory, self.strides, order, free))
                break
            except NeedsCopy as needs:
                wishes = set(needs.orders.items())
                if wishes <= asked:  # the copies do not help
                    self.wishes.stored.add(term)
                    return [job]
                asked |= wishes
                for i, wanted in needs.orders.items():
                    before += self._worked_on(term, i, wanted, "alias", {})
            except NeedsTerm as needs:
                before += self._worked_on(term, needs.operand, None, needs.op, needs.params)
            except NeedsFreedom:
                if term not in self.program.outputs or term in self.read_row_major:
                    self.wishes.results.add(term)
                    return [job]
                self.fixed.discard(term)
            except NoKernel:
                self.wishes.stored.add(term)
                return [job]
        self.calls[term] = call
        self.known[term] = call.strides
        for t in _picks(job):
            self.known[t] = call.results[t.params["index"]]
        job.reads[:] = dict.fromkeys([*(t for t, _ in call.reads), *followed(unit, job.writes)])
        if job.follow and not self._place_epilogue(job, unit, call):
            self.wishes.stored.update(job.follow)
        return [*before, job, *self._given_back(term)]

    def _place_epilogue(self, job: Job, unit: KernelUnit, call: Call) -> bool:
        """Decide how the results of a kernel's epilogue lie, and where the kernel writes its own;
        false where the epilogue cannot go through them as the kernel does."""
        (term,) = unit.roots
        assert unit.epilogue is not None
        found = pieces_of(unit.epilogue, call.grid, call.strides) if call.grid else None
        if found is None:
            return False
        rank = order_of(unit.epilogue, call.strides)
        for t in job.follow:
            if t not in self.fixed:
                store = Store(t, *unit.epilogue.nest.roots[t])
                axes = sorted(range(t.ndim), key=lambda a: _last_loop(store, a, rank))
                self.known[t] = strides_of(t.shape, axes)
        self.pieces[term] = found
        form = form_of(job, found, self.strides, {})
        if not fits(form):
            return False
        if term not in job.writes:
            carrier = carrier_of(job, form)
            if carrier is None:
                job.writes.append(term)
                self.stored.add(term)
            else:
                self.carriers[term] = carrier
        return True

    def epilogue_form(self, job: Job) -> Form | None:
        """What follows a kernel, as loops over the rows and columns of its result."""
        (term,) = job.unit.roots
        if not job.follow:
            return None
        over = self.program.over
        if term in self.carriers:
            over[self.carriers[term]] = term
        return form_of(job, self.pieces[term], self.strides, over)

    def _worked_on(
        self, term: Term, i: int, order: Order | None, op: str, params: dict[str, Any]
    ) -> list[Job]:
        """Let a kernel read what an op makes of operand `i` (a copy, with its axes in an order)."""
        a = term.args[i]
        key = (a, order, op, tuple(params.items()))
        made = self.copies.get(key)
        jobs = []
        if made is None:
            made = self.copies[key] = apply(op, a, origins=term.origins, **params)
            jobs.append(copy_job(made, self._in_memory))
            self._read_in_order(jobs[0])
            self.stored.add(made)
            self.known[made] = strides_of(made.shape, order)
        term.args = (*term.args[:i], made, *term.args[i + 1 :])
        return jobs

    def _read_in_order(self, copy: Job) -> None:
        """Wish for terms to be row-major that a copy reads as if they were."""
        assert isinstance(copy.unit, NestUnit)
        for access in copy.unit.nest.reads:
            steps = strides_of(access.term.shape)
            if access.shape is not None and self.strides(access.term) != steps:
                self.wishes.row_major.add(access.term)

    def _given_back(self, term: Term) -> list[Job]:
        """The copy of a kernel's result to where the caller wants it, if it could not lie there."""
        if term in self.fixed or term not in self.program.outputs:
            return []
        copy = copied(term)
        outputs = self.program.outputs
        outputs[outputs.index(term)] = copy
        self.fixed.add(copy)
        return [copy_job(copy, lambda t: True)]

    def _in_memory(self, term: Term) -> bool:
        return term in self.stored or term.op is None

    def _preferred(self, term: Term) -> Order:
        """The order of axes in which the users of a term permute them, where all do alike."""
        found = set()
        for user in self.users[term]:
            is_permutation = user.op is not None and user.op.name == "permute"
            found.add(tuple(user.params["axes"]) if is_permutation else tuple(range(term.ndim)))
        return found.pop() if len(found) == 1 else tuple(range(term.ndim))


def _picks(job: Job) -> list[Term]:
    """Those results that are written of a term with several."""
    follow = job.follow
    return [t for t in job.writes if t not in job.unit.roots and t not in follow]


def _last_loop(store: Store, axis: int, rank: dict[int, int]) -> int:
    """The innermost loop that moves along an axis of what is stored."""
    return max([rank.get(v, -1) for v, _ in store.index[axis].terms if isinstance(v, int)] or [-1])
