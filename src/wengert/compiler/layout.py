"""How each term lies in memory: the order of its axes, and the steps along them."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.compiler.form import Strides, loop_order
from wengert.compiler.fuse import LibraryUnit, NestUnit
from wengert.compiler.ir import Program, Term
from wengert.compiler.nest import Store
from wengert.compiler.schedule import Job
from wengert.core.index import strides_of


class Layout:
    """Steps of the terms that stand in memory, decided job by job.

    What the caller gives or takes is row-major. What a nest writes for others lies in the order in
    which the nest runs, and that follows what it reads; so an order of axes that a kernel prefers
    goes on through all that is computed from its result.
    """

    def __init__(self, program: Program, jobs: Sequence[Job]) -> None:
        self.known: dict[Term, Strides] = {}
        self.fixed = {*program.inputs, *program.outputs}
        for job in jobs:
            if isinstance(job.unit, NestUnit):
                self.fixed.update(a.term for a in job.unit.nest.reads if a.shape is not None)
            elif isinstance(job.unit, LibraryUnit):
                self.fixed.update(job.reads)

    def strides(self, term: Term) -> Strides:
        """The steps of a term, in entries."""
        found = self.known.get(term)
        if found is None:
            found = self.known[term] = strides_of(term.shape)
        return found

    def place(self, job: Job) -> None:
        """Decide how the results of a job lie."""
        if not isinstance(job.unit, NestUnit):
            return
        free = [t for t in job.writes if t not in self.fixed]
        if not free:
            return
        nest = job.unit.nest
        stores = [Store(t, *nest.roots[t]) for t in job.writes]
        order = loop_order(nest, [s for s in stores if s.term in self.fixed], stores, self.strides)
        rank = {d: i for i, d in enumerate(order)}
        for store in stores:
            if store.term in self.fixed:
                continue

            def key(axis: int, store: Store = store) -> int:
                places = [rank[v] for v, _ in store.index[axis].terms if isinstance(v, int)]
                return max(places, default=-1)

            axes = sorted(range(store.term.ndim), key=key)
            self.known[store.term] = strides_of(store.term.shape, axes)
