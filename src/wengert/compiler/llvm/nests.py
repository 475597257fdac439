"""Writes the code of a loop nest.

Loops are opened from the outside in. Each point is written in the outermost loop in which it can
be: what does not change in the inner loops is computed before them, as a scalar; what varies along
the vector loop is a vector of neighbouring positions. At the end of a vector loop that does not
divide, a mask keeps the lanes beyond from memory and from the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from wengert.compiler.form import Form
from wengert.compiler.kernels.base import share, step
from wengert.compiler.llvm.emit import Module, Value, Variable
from wengert.compiler.llvm.points import Points, Scope
from wengert.compiler.llvm.types import computed, vector
from wengert.compiler.nest import Point, Reduce
from wengert.core.dtypes import DType

ACCUMULATORS = 4  # partial sums of a row, next to each other, so that additions overlap
MOST_LIMITS = 8  # conditions by which a loop is cut
TILE = 4  # vectors side by side in a column
SERIAL = 32_768  # entries times steps; below it one thread is faster than two


def work_of(form: Form) -> int:
    """Entries that a nest goes through, times what it does with each."""
    applied = sum(p.kind in ("apply", "load") for p in form.points)
    if form.partial is not None:
        applied += len(form.partial.reduces) * (1 if form.after else form.partial.blocks.count)
    return math.prod(form.sizes) * max(1, applied)


class Writer(Points):
    """Writes the step of one nest that reduces nothing across."""

    def __init__(self, module: Module, name: str, form: Form, slot_dtypes: Sequence[DType]) -> None:
        f, args, self.thread, self.threads = step(module, name)
        super().__init__(f, args, form, slot_dtypes)

    # -- the loops ---------------------------------------------------------------------------

    def write(self) -> None:
        """Write the whole function."""
        f, form = self.f, self.form
        self.emit_ready()
        outer = [i for i in range(len(form.sizes)) if i not in form.reduced and i != form.vector]
        if form.kind == "column":
            self._column(outer)
        elif form.vector is None:
            with f.when(f.compare("eq", self.thread, 0)):
                self._inside_kept()
        else:
            self._open_outer(outer)
        self._end()

    def _end(self) -> None:
        if self.form.streamed:
            self.f.fence()
        self.f.ret()

    def _open_outer(self, outer: list[int]) -> None:
        """The loops around the vector loop of a map or row; the threads share the outer ones."""
        f, sizes = self.f, self.form.sizes
        vector = self.form.vector
        assert vector is not None
        total = math.prod(sizes[i] for i in outer)
        if self.form.kind == "map" and (not outer or (total < 8 and sizes[vector] > 64)):
            lo, hi = share(f, sizes[vector], self.thread, self.threads, 4 * self.lanes)
            self._nested(outer, lambda: self._vector_loop(lo, hi, self._map_body))
            return
        if not outer:
            with f.when(f.compare("eq", self.thread, 0)):
                self._inside_kept()
            return
        self._shared(outer, self._inside_kept)

    def _shared(self, outer: list[int], body: Callable[[], None], tiles: int = 1) -> None:
        """Open loops so that each thread has its part of the outermost ones."""
        f, sizes = self.f, self.form.sizes
        count = 1
        while count < len(outer) and math.prod(sizes[i] for i in outer[:count]) < 16:
            count += 1
        first, rest = outer[:count], outer[count:]
        lo, hi = share(f, math.prod(sizes[i] for i in first), self.thread, self.threads)
        with f.loop(lo, hi) as p:
            left = p
            for i in reversed(first[1:]):
                self.loop_values[i] = left % sizes[i]
                left = left // sizes[i]
            self.loop_values[first[0]] = left
            self._enter(first)
            self._nested(rest, body)
            self._leave(first)

    def _nested(self, loops: list[int], body: Callable[[], None]) -> None:
        """Open plain loops, each inside the one before."""
        if not loops:
            body()
            return
        with self.f.loop(0, self.form.sizes[loops[0]]) as i:
            self.loop_values[loops[0]] = i
            self._enter(loops[:1])
            self._nested(loops[1:], body)
            self._leave(loops[:1])

    def _enter(self, loops: Sequence[int]) -> None:
        self.scope = Scope(self.scope)
        self.opened.update(loops)
        self.emit_ready()

    def _leave(self, loops: Sequence[int]) -> None:
        assert self.scope.outer is not None
        self.scope = self.scope.outer
        self.opened.difference_update(loops)

    def _inside_kept(self) -> None:
        """All kept loops are open (of a map or a row)."""
        if self.form.kind == "map":
            vector = self.form.vector
            if vector is None:
                self._map_body()
                return
            self._vector_loop(0, self.form.sizes[vector], self._map_body)
            return
        self._stages(self._row_pass)

    def _map_body(self) -> None:
        self._stores(0, inside=False)

    def _vector_loop(
        self, lo: Value | int, hi: Value | int, body: Callable[[], None], copies: int = 1
    ) -> None:
        """The vector loop over [lo, hi): whole vectors, then the lanes that are left. A map's is
        cut where conditions begin or cease to hold."""
        if self.form.kind == "map" and copies == 1 and isinstance(lo, int) and isinstance(hi, int):
            limits = self._limits()
            cuts = sorted({at for limit in limits.values() for at in limit if lo < at < hi})
            for start, stop in pairwise([lo, *cuts, hi]):
                self.truth = {p: low <= start < high for p, (low, high) in limits.items()}
                self._vectors(start, stop, body)
            self.truth = {}
            return
        self._vectors(lo, hi, body, copies)

    def _limits(self) -> dict[Point, tuple[int, int]]:
        """Conditions that hold in whole vectors or not at all, whatever the other loops' positions:
        from where to where in the vector loop."""
        form, found = self.form, {}
        steps = tuple([int(i == form.vector) for i in range(len(form.sizes))])
        for p in form.points:
            if p.kind != "inside" or form.indices[p.number].values:
                continue
            place, (_, low, high) = form.indices[p.number], p.info
            limits = low - place.const, high - place.const
            inside = [at for at in limits if 0 < at < form.sizes[form.vector or 0]]
            if place.steps == steps and not any(at % self.lanes for at in inside):
                found[p] = limits
        return found if len(found) <= MOST_LIMITS else {}

    def _vectors(
        self, lo: Value | int, hi: Value | int, body: Callable[[], None], copies: int = 1
    ) -> None:
        """The same for a part in which no condition changes."""
        f = self.f
        vector = self.form.vector
        assert vector is not None
        width = self.lanes * copies
        start, stop = f.i64(lo), f.i64(hi)
        static = isinstance(lo, int) and isinstance(hi, int)
        if static:
            assert isinstance(lo, int)
            assert isinstance(hi, int)
            whole_lanes = (hi - lo) // width * width
            middle: Value | int = lo + whole_lanes
            some, rest = whole_lanes > 0, whole_lanes < hi - lo
        else:
            whole = ((stop - start) // width) * width
            middle, some = start + whole, True
            rest = bool(self.form.sizes[vector] % width)
        if some:
            self._lanes_at(start, middle, width, copies, body)
        if rest and copies > 1:
            self._vectors(middle, hi, body, 1)
        elif rest:
            if static:
                self._tail(f.i64(middle), f.i64(hi) - middle, body)
            else:
                left = stop - middle
                with f.when(f.compare("sgt", left, 0)):
                    self._tail(f.i64(middle), left, body)

    def _lanes_at(
        self, lo: Value, hi: Value | int, width: int, copies: int, body: Callable[[], None]
    ) -> None:
        vector = self.form.vector
        assert vector is not None
        with self.f.loop(lo if not lo.name.isdigit() else int(lo.name), hi, width) as i:
            self._positions(i, copies, None, body)

    def _tail(self, at: Value, count: Value, body: Callable[[], None]) -> None:
        lanes = int(count.name) if count.name.isdigit() else count
        self._positions(at, 1, self.f.first_lanes(lanes, self.lanes), body)

    def _positions(
        self, at: Value, copies: int, mask: Value | None, body: Callable[[], None]
    ) -> None:
        """Run `body` with the vector loop standing at `at`."""
        vector = self.form.vector
        assert vector is not None
        self.loop_values[vector] = at
        before = self.mask, self.copies
        self.mask = mask
        if self.beside == vector:
            self.copies = copies
        self._enter((vector,))
        body()
        self._leave((vector,))
        self.mask, self.copies = before

    # -- reductions --------------------------------------------------------------------------

    def _stages(self, run: Callable[[int, list[Reduce]], None]) -> None:
        """The passes over the reduced loops, and what lies between them."""
        before = self.scope
        for stage in range(self._last_stage() + 1):
            self.stage = stage
            self.scope = Scope(self.scope)
            self.emit_ready()
            self._stores(stage, inside=False)
            now = [r for r in self.form.reduces if r.stage == stage]
            if now or self._is_pass(stage):
                run(stage, now)
        self.scope = before
        self.stage = 0

    def _last_stage(self) -> int:
        stages = [p.stage for _, p in self.form.stores] + [r.stage for r in self.form.reduces]
        return max(stages, default=0)

    def _is_pass(self, stage: int) -> bool:
        """Whether something is stored all along the reduced loops at a stage."""
        return any(p.stage == stage and self.form.varies(a, p) for a, p in self.form.stores)

    def _row_pass(self, stage: int, reduces: list[Reduce]) -> None:
        """One pass over a row: partial results in vectors, joined in a fixed order at its end."""
        form = self.form
        vector = form.vector
        assert vector is not None
        loops = [i for i in sorted(form.reduced) if i != vector]
        size = form.sizes[vector]
        copies = ACCUMULATORS if size >= 2 * ACCUMULATORS * self.lanes and reduces else 1
        totals = {id(r): self._accumulators(r, copies, self.lanes) for r in reduces}

        def body() -> None:
            self._accumulate(reduces, totals)
            self._stores(stage, inside=True)

        self._nested(loops, lambda: self._vector_loop(0, size, body, copies))
        for r in reduces:
            self._finish(r, self._joined_lanes(r, self._joined_copies(r, totals[id(r)])), 0)

    def _column(self, outer: list[int]) -> None:
        """Columns: the vector loop is cut into tiles, which the threads share with the outer
        loops; each tile runs down the reduced loops."""
        f, form = self.f, self.form
        vector = form.vector
        assert vector is not None
        size = form.sizes[vector]
        heavy = len([p for p in form.points if p.kind == "apply"]) > 24
        few = math.prod(form.sizes[i] for i in outer) * size < 8 * TILE * self.lanes
        tile = self.lanes * (1 if heavy or few else TILE)
        tiles = -(-size // tile)
        total = math.prod(form.sizes[i] for i in outer) * tiles
        lo, hi = share(f, total, self.thread, self.threads)
        with f.loop(lo, hi) as p:
            left = p // tiles
            for i in reversed(outer[1:]):
                self.loop_values[i] = left % form.sizes[i]
                left = left // form.sizes[i]
            if outer:
                self.loop_values[outer[0]] = left
            self._enter(outer)
            start = (p % tiles) * tile
            whole, rest = divmod(size, tile)
            if not rest:
                self._positions(start, tile // self.lanes, None, self._down)
            elif not whole:
                self._partial(start, rest)
            else:
                full = f.compare("slt", p % tiles, whole)
                with f.choice(full) as labels:
                    self._positions(start, tile // self.lanes, None, self._down)
                    f.otherwise(labels)
                    self._partial(start, rest)
            self._leave(outer)

    def _partial(self, start: Value, rest: int) -> None:
        """A tile that is not whole: vectors one by one, the last one masked."""
        for at in range(0, rest, self.lanes):
            left = rest - at
            mask = self.f.first_lanes(left, self.lanes) if left < self.lanes else None
            self._positions(start + at, 1, mask, self._down)

    def _down(self) -> None:
        self._stages(self._column_pass)

    def _column_pass(self, stage: int, reduces: list[Reduce]) -> None:
        totals = {id(r): self._accumulators(r, self.copies, self.lanes) for r in reduces}

        def body() -> None:
            self._accumulate(reduces, totals)
            self._stores(stage, inside=True)

        self._nested(sorted(self.form.reduced), body)
        for r in reduces:
            for copy in range(self.copies):
                values = [v.get() for v in totals[id(r)][copy]]
                self._finish(r, values, copy)

    def _accumulators(self, r: Reduce, copies: int, lanes: int) -> list[list[Variable]]:
        starts = r.rule.start(r.arg.dtype)
        kinds = r.rule.carries(r.arg.dtype)
        return [
            [
                self.f.variable(vector(lanes, computed(d)), s)
                for s, d in zip(starts, kinds, strict=True)
            ]
            for _ in range(copies)
        ]

    def _accumulate(self, reduces: list[Reduce], totals: dict[int, list[list[Variable]]]) -> None:
        for copy in range(self.copies):
            for r in reduces:
                k = self.scalars(r.arg.dtype, r.arg.dtype)
                x = self.as_vector(self.value(r.arg, copy))
                at = self.as_vector(self.value(r.position, copy))
                fed = r.rule.feed(k, x, at)
                variables = totals[id(r)][copy]
                have = [v.get() for v in variables]
                new = r.rule.combine(k, have, fed)
                for v, old, value in zip(variables, have, new, strict=True):
                    if self.mask is not None and self.form.kind == "row":
                        value = self.f.select(self.mask, value, old)
                    v.set(value)

    def _joined_copies(self, r: Reduce, totals: list[list[Variable]]) -> list[Value]:
        groups = [[v.get() for v in copy] for copy in totals]
        k = self.scalars(r.arg.dtype, r.arg.dtype)
        while len(groups) > 1:
            groups = [
                list(r.rule.combine(k, groups[i], groups[i + 1])) for i in range(0, len(groups), 2)
            ]
        return groups[0]

    def _joined_lanes(self, r: Reduce, values: list[Value]) -> list[Value]:
        """A tree over the lanes: the lower half with the upper one, and again."""
        f = self.f
        k = self.scalars(r.arg.dtype, r.arg.dtype)
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            low = [f.shuffle(v, None, list(range(lanes))) for v in values]
            high = [f.shuffle(v, None, list(range(lanes, 2 * lanes))) for v in values]
            values = list(r.rule.combine(k, low, high))
        return [f.extract(v, 0) for v in values]

    def _finish(self, r: Reduce, values: list[Value], copy: int) -> None:
        k = self.scalars(r.arg.dtype, r.result.dtype)
        found = r.rule.finish(k, values)
        key = (r.result, copy if self.is_vector(r.result) else 0)
        self.scope.values[key] = found


__all__ = ["SERIAL", "Writer", "work_of"]
