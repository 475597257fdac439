"""How each term lies in memory: the order of its axes, and the steps along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wengert.compiler.form import Strides, loop_order
from wengert.compiler.fuse import KernelUnit, LibraryUnit, NestUnit
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
from wengert.compiler.nest import Store
from wengert.compiler.schedule import Job
from wengert.core.index import strides_of


@dataclass
class Wishes:
    """What could not be had as the program stands: operands of terms (by number) that need a copy
    with their axes in some order, operands that an op must work on before, results that need a
    copy, terms without a kernel."""

    operands: dict[tuple[Term, int], Order] = field(default_factory=dict)
    terms: dict[tuple[Term, int], Term] = field(default_factory=dict)
    results: set[Term] = field(default_factory=set)
    library: set[Term] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.operands or self.terms or self.results or self.library)


class Layout:
    """Steps of the terms that stand in memory, decided job by job.

    What the caller gives or takes is row-major. What a nest writes for others lies in the order in
    which the nest runs, and that follows what it reads; so an order of axes that a kernel prefers
    goes on through all that is computed from its result. `wanted` are orders that are asked for.
    """

    def __init__(self, program: Program, jobs: Sequence[Job], wanted: dict[Term, Order]) -> None:
        self.known: dict[Term, Strides] = {}
        self.calls: dict[Term, Call] = {}
        self.wishes = Wishes()
        self.wanted = wanted
        self.users = program.users()
        self.fixed = {*program.inputs, *program.outputs}
        self.stored = {*program.inputs}
        for job in jobs:
            self.stored.update(job.writes)
            if isinstance(job.unit, NestUnit):
                self.fixed.update(a.term for a in job.unit.nest.reads if a.shape is not None)
            elif isinstance(job.unit, LibraryUnit):
                self.fixed.update(job.reads)
                self.fixed.update(job.writes)

    def strides(self, term: Term) -> Strides:
        """The steps of a term, in entries."""
        found = self.known.get(term)
        if found is None:
            found = self.known[term] = strides_of(term.shape)
        return found

    def place(self, job: Job) -> None:
        """Decide how the results of a job lie."""
        if isinstance(job.unit, NestUnit):
            self._place_nest(job, job.unit)
        elif isinstance(job.unit, KernelUnit):
            self._place_kernel(job.unit)

    def _place_nest(self, job: Job, unit: NestUnit) -> None:
        if all(t in self.fixed for t in job.writes):
            return
        nest = unit.nest
        stores = [Store(t, *nest.roots[t]) for t in job.writes]
        for t in job.writes:
            if t not in self.fixed and t in self.wanted:
                self.known[t] = strides_of(t.shape, self.wanted[t])
        decided = [s for s in stores if s.term in self.fixed or s.term in self.wanted]
        order = loop_order(nest, decided, stores, self.strides)
        rank = {d: i for i, d in enumerate(order)}
        for store in stores:
            if store.term not in self.fixed and store.term not in self.wanted:
                axes = sorted(range(store.term.ndim), key=lambda a: _last_loop(store, a, rank))
                self.known[store.term] = strides_of(store.term.shape, axes)

    def _place_kernel(self, unit: KernelUnit) -> None:
        (term,) = unit.roots
        order = None if term in self.fixed else self.wanted.get(term, self._preferred(term))
        try:
            call = MAKERS[unit.maker](term, Site(self._in_memory, self.strides, order))
        except NeedsCopy as needs:
            for i, wanted in needs.orders.items():
                self.wishes.operands[term, i] = wanted
        except NeedsTerm as needs:
            a = term.args[needs.operand]
            made = apply(needs.op, a, origins=term.origins, **needs.params)
            self.wishes.terms[term, needs.operand] = made
        except NeedsFreedom:
            self.wishes.results.add(term)
        except NoKernel:
            self.wishes.library.add(term)
        else:
            self.calls[term] = call
            self.known[term] = call.strides

    def _in_memory(self, term: Term) -> bool:
        return term in self.stored or term.op is None

    def _preferred(self, term: Term) -> Order:
        """The order of axes in which the users of a term permute them, where all do alike."""
        found = set()
        for user in self.users[term]:
            is_permutation = user.op is not None and user.op.name == "permute"
            found.add(tuple(user.params["axes"]) if is_permutation else tuple(range(term.ndim)))
        return found.pop() if len(found) == 1 else tuple(range(term.ndim))


def _last_loop(store: Store, axis: int, rank: dict[int, int]) -> int:
    """The innermost loop that moves along an axis of what is stored."""
    return max([rank.get(v, -1) for v, _ in store.index[axis].terms if isinstance(v, int)] or [-1])
