"""Writes the code of a loop nest.

Loops are opened from the outside in. Each point is written in the outermost loop in which it can
be: what does not change in the inner loops is computed before them, as a scalar; what varies along
the vector loop is a vector of neighbouring positions. At the end of a vector loop that does not
divide, a mask keeps the lanes beyond from memory and from the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from wengert.compiler.form import Address, Form
from wengert.compiler.kernels.base import address, share, step
from wengert.compiler.llvm import convert, spread
from wengert.compiler.llvm.emit import Module, Value, Variable
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import I1, I64, computed, stored, vector
from wengert.compiler.nest import Point, Reduce
from wengert.core import dtypes
from wengert.core.dtypes import DType

ACCUMULATORS = 4  # partial sums of a row, next to each other, so that additions overlap
TILE = 4  # vectors side by side in a column
SERIAL = 32_768  # entries times steps; below it one thread is faster than two


class Scope:
    """Values by point (and by copy, where the body of a loop is written several times)."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.values: dict[Any, Value] = {}

    def find(self, key: Any) -> Value | None:
        """The value of a key, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.values.get(key)
            if found is not None:
                return found
            scope = scope.outer
        return None


def work_of(form: Form) -> int:
    """Entries that a nest goes through, times what it does with each."""
    applied = sum(p.kind in ("apply", "load") for p in form.points)
    return math.prod(form.sizes) * max(1, applied)


def emit_nest(module: Module, name: str, form: Form, slot_dtypes: Sequence[DType]) -> None:
    """Write the step of a nest into a module."""
    Writer(module, name, form, slot_dtypes).write()


class Writer:
    """Writes the step of one nest."""

    def __init__(self, module: Module, name: str, form: Form, slot_dtypes: Sequence[DType]) -> None:
        self.form, self.slot_dtypes = form, slot_dtypes
        self.f, self.args, self.thread, self.threads = step(module, name)
        self.lanes = self._lanes()
        count = len(form.slots) + len(form.checks)
        self.base = [address(self.f, self.args, i) for i in range(count)]
        self.depths = {p: form.depth(p) for p in form.points}
        self.loop_values: dict[int, Value] = {}
        self.scope = Scope()
        self.vector_start: Value | None = None  # index of the first lane
        self.mask: Value | None = None  # lanes that exist
        self.copies = 1
        self.copy = 0
        self.opened: set[int] = set()
        self.stage = 0

    def _lanes(self) -> int:
        """Lanes of the vectors: sixteen, or eight where all that is written takes eight bytes."""
        written = [p.dtype for _, p in self.form.stores] + [r.arg.dtype for r in self.form.reduces]
        if all(d.itemsize == 8 for d in written):
            return 8
        return 16

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
        f.ret()

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
        """The vector loop over [lo, hi): whole vectors, then the lanes that are left."""
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
            self._vector_loop(middle, hi, body, 1)
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
        self.mask, self.copies = mask, copies
        self._enter((vector,))
        body()
        self._leave((vector,))
        self.mask, self.copies = before

    # -- reductions --------------------------------------------------------------------------

    def _stages(self, run: Callable[[int, list[Reduce]], None]) -> None:
        """The passes over the reduced loops, and what lies between them."""
        stages = [p.stage for _, p in self.form.stores] + [r.stage for r in self.form.reduces]
        before = self.scope
        for stage in range(max(stages) + 1):
            self.stage = stage
            self.scope = Scope(self.scope)
            self.emit_ready()
            self._stores(stage, inside=False)
            now = [r for r in self.form.reduces if r.stage == stage]
            within = any(self._varies(p, a) and p.stage == stage for a, p in self.form.stores)
            if now or within:
                run(stage, now)
        self.scope = before
        self.stage = 0

    def _varies(self, point: Point, at: Address) -> bool:
        """Whether a store happens at each position of the reduced loops."""
        reduced = self.form.reduced
        return bool(self.depths[point] & reduced) or any(at.steps[i] for i in reduced)

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
                x = self._as_vector(self.value(r.arg, copy))
                at = self._as_vector(self.value(r.position, copy))
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

    # -- stores ------------------------------------------------------------------------------

    def _stores(self, stage: int, inside: bool) -> None:
        """The stores and checks of a stage that happen at each position of the reduced loops, or
        those that do not."""
        self._check_all(stage, inside)
        for at, point in self.form.stores:
            if point.stage == stage and self._varies(point, at) == inside:
                for copy in range(self.copies if self._moves(at) else 1):
                    self._store(at, point, copy)

    def _check_all(self, stage: int, inside: bool) -> None:
        """The checks of a stage: the first offending integer is reported, and the fault marked."""
        f = self.f
        reduced = self.form.reduced
        for number, check in enumerate(self.form.checks):
            here = bool(self.depths[check.holds] & reduced) == inside
            if check.holds.stage != stage or not here:
                continue
            report = self.base[len(self.form.slots) + number]
            for copy in range(self.copies if self.is_vector(check.holds) else 1):
                holds, value = (self.value(check.holds, copy), self.value(check.value, copy))
                if not holds.lanes:
                    bad = holds ^ True
                else:
                    wrong = holds ^ True
                    if self.mask is not None:
                        wrong = wrong & self.mask
                    bits = f.cast("bitcast", wrong, f"i{holds.lanes}")
                    bad = f.compare("ne", bits, 0)
                    value = self._lane_of(bits, self._as_vector(value), holds.lanes)
                with f.when(bad):
                    f.store(value, f.at(report, 1, I64))
                    f.store(f.constant(I64, 1), report)

    def _lane_of(self, bits: Value, values: Value, lanes: int) -> Value:
        """The value of the first lane whose bit is set (lane 0, if none is)."""
        f = self.f
        first = f.intrinsic("cttz", bits, extra="i1 false")
        wide = f.cast("zext", first, I64) & (lanes - 1)
        return f.op(I64, f"extractelement {values.type} {values}, i64 {wide}")

    def _moves(self, at: Address) -> bool:
        return self.vector_step(at) != 0

    def _store(self, at: Address, point: Point, copy: int) -> None:
        f = self.f
        value = self.value(point, copy)
        dtype = self.slot_dtypes[at.slot]
        t = stored(dtype)
        value = self._to_memory(value, point.dtype, dtype)
        where = self._place(at, t, copy)
        vector_step = self.vector_step(at)
        if vector_step == 0:
            assert not value.lanes
            f.store(value, where)
            return
        value = self._as_vector(value)
        if vector_step == 1:
            if self.mask is not None:
                f.masked_store(value, where, self.mask)
            else:
                f.store(value, where)
            return
        for lane in range(self.lanes):  # apart in memory: one by one
            there = f.at(where, lane * vector_step, t)
            if self.mask is None:
                f.store(f.extract(value, lane), there)
            else:
                with f.when(f.extract(self.mask, lane)):
                    f.store(f.extract(value, lane), there)

    # -- values ------------------------------------------------------------------------------

    def emit_ready(self) -> None:
        """Write all points whose loops are open and which are not written yet."""
        for p in self.form.points:
            if p.kind == "result" or p.stage > self.stage or not self.depths[p] <= self.opened:
                continue
            if not self._lazy(p) and self.scope.find((p, 0)) is None:
                for copy in range(self.copies if self.is_vector(p) else 1):
                    self.value(p, copy)

    def _lazy(self, p: Point) -> bool:
        """In the innermost loop only what is asked for is written, when it is."""
        loops = self.form.reduced if self.form.reduced else {self.form.vector}
        return bool(self.depths[p] & frozenset(x for x in loops if x is not None))

    def is_vector(self, p: Point) -> bool:
        """Whether a point has a value for each lane."""
        return self.form.vector in self.depths[p]

    def value(self, p: Point, copy: int = 0) -> Value:
        """The value of a point where we are; written now, if it is not yet."""
        stack = [p]
        while stack:
            top = stack[-1]
            key = (top, copy if self.is_vector(top) else 0)
            if self.scope.find(key) is not None:
                stack.pop()
                continue
            missing = [
                a
                for a in top.args
                if self.scope.find((a, copy if self.is_vector(a) else 0)) is None
            ]
            if missing:
                stack += missing
                continue
            self.scope.values[key] = self._write(top, copy)
            stack.pop()
        found = self.scope.find((p, copy if self.is_vector(p) else 0))
        assert found is not None
        return found

    def _write(self, p: Point, copy: int) -> Value:
        f = self.f
        args = [self.scope.find((a, copy if self.is_vector(a) else 0)) for a in p.args]
        given = [a for a in args if a is not None]
        assert len(given) == len(args)
        if p.kind == "number":
            return f.constant(
                computed(p.dtype), p.info.item() if hasattr(p.info, "item") else p.info
            )
        if p.kind == "load":
            return self._load(p, copy)
        if p.kind == "index":
            return self._index(self.form.indices[p.number], copy, self.is_vector(p))
        if p.kind == "inside":
            return self._inside(p, copy)
        if self.is_vector(p):
            given = [self._as_vector(a) for a in given]
        if p.kind == "cast":
            source = p.args[0].dtype
            return convert.cast(self.scalars(source, p.dtype), given[0], source, p.dtype)
        rule, params = p.info
        operand = next((a.dtype for a in p.args if a.dtype != dtypes.bool), dtypes.bool)
        found: Value = rule(self.scalars(operand, p.dtype), *given, **params)
        return found

    def scalars(self, dtype: DType, result: DType) -> Scalars:
        """The builder that pointwise rules write with."""
        return Scalars(self.f, dtype, result)

    def _as_vector(self, x: Value) -> Value:
        return x if x.lanes else self.f.splat(x, self.lanes)

    def vector_step(self, a: Address) -> int:
        """How far neighbouring lanes are apart in memory; 0 outside of the vector loop."""
        v = self.form.vector
        return a.steps[v] if v is not None and v in self.opened else 0

    def _scalar_part(self, a: Address, copy: int) -> Value:
        """The part of a place that all lanes have in common."""
        f = self.f
        total = f.i64(a.const)
        for level, c in enumerate(a.steps):
            if c and level in self.opened:
                total = total + self.loop_values[level] * c
        if copy and self.vector_step(a):
            total = total + copy * self.lanes * self.vector_step(a)
        for point, c in a.values:
            value = self.value(point, copy)
            if not value.lanes:
                total = total + self._as_i64(value, point.dtype) * c
        return total

    def _as_i64(self, x: Value, dtype: DType) -> Value:
        if x.element == I64:
            return x
        how = "sext" if dtypes.kind(dtype) == "signed" else "zext"
        return self.f.cast(how, x, vector(x.lanes, I64))

    def _lane_part(self, a: Address, copy: int) -> Value | None:
        """The part of a place that differs between lanes in no regular way, as a vector."""
        total = None
        for point, c in a.values:
            value = self.value(point, copy)
            if value.lanes:
                part = self._as_i64(value, point.dtype) * c
                total = part if total is None else total + part
        return total

    def _place(self, a: Address, t: str, copy: int) -> Value:
        return self.f.at(self.base[a.slot], self._scalar_part(a, copy), t)

    def _index(self, a: Address, copy: int, wide: bool) -> Value:
        f = self.f
        total = self._scalar_part(a, copy)
        if not wide:
            return total
        step = self.vector_step(a)
        lanes = self._lane_part(a, copy)
        out = f.splat(total, self.lanes)
        if step:
            out = out + f.constants(I64, [i * step for i in range(self.lanes)])
        return out if lanes is None else out + lanes

    def _inside(self, p: Point, copy: int) -> Value:
        f = self.f
        index = self._index(self.form.indices[p.number], copy, self.is_vector(p))
        _, low, high = p.info
        shifted = index - low if low else index
        return f.compare("ult", shifted, high - low)

    def _load(self, p: Point, copy: int) -> Value:
        """An entry, or the entries of the lanes; under conditions, zeros where they do not hold."""
        f = self.f
        a = self.form.loads[p.number]
        dtype = self.slot_dtypes[a.slot]
        t = stored(dtype)
        conditions = [self.value(c, copy) for c in p.info.conditions]
        if not self.is_vector(p):
            return self._from_memory(self._load_one(a, t, conditions, copy), dtype)
        if self._is_spread(a):
            holds = conditions if self.mask is None else [self.mask, *conditions]
            found = spread.load(self, a, t, holds, copy)
            if found is not None:
                return self._from_memory(found, dtype)
        step, lanes = self.vector_step(a), self._lane_part(a, copy)
        mask = self.mask
        for c in conditions:
            c = self._as_vector(c)
            mask = c if mask is None else mask & c
        wide = vector(self.lanes, t)
        if lanes is None and step in (0, 1):
            where = self._place(a, t, copy)
            if step == 0:  # one entry, but which lanes may have it differs
                one = f.splat(f.load(t, where), self.lanes)
                return self._from_memory(one, dtype)
            if mask is None:
                return self._from_memory(f.load(wide, where), dtype)
            return self._from_memory(f.masked_load(wide, where, mask), dtype)
        offsets = self._index(a, copy, True)
        spots = f.op(
            f"<{self.lanes} x ptr>",
            f"getelementptr {t}, ptr {self.base[a.slot]}, {offsets.type} {offsets}",
        )
        every = mask if mask is not None else f.constant(vector(self.lanes, I1), True)
        return self._from_memory(f.gather(wide, spots, every), dtype)

    def _is_spread(self, a: Address) -> bool:
        """Whether the lanes' entries are neither all one nor next to each other."""
        return self.vector_step(a) not in (0, 1) or any(self.is_vector(v) for v, _ in a.values)

    def first_place(self, a: Address, t: str, copy: int) -> Value:
        """The address of the first lane's entry."""
        f = self.f
        total = self._scalar_part(a, copy)
        for point, c in a.values:
            value = self.value(point, copy)
            if value.lanes:
                total = total + self._as_i64(f.extract(value, 0), point.dtype) * c
        return f.at(self.base[a.slot], total, t)

    def _load_one(self, a: Address, t: str, conditions: list[Value], copy: int) -> Value:
        f = self.f
        where = self._place(a, t, copy)
        if not conditions:
            return f.load(t, where)
        holds = conditions[0]
        for c in conditions[1:]:
            holds = holds & c
        spare = f.buffer(1, I64, 8)
        f.store(f.constant(I64, 0), spare)
        return f.load(t, f.select(holds, where, spare))

    def _from_memory(self, x: Value, dtype: DType) -> Value:
        """A loaded value as it is computed with."""
        return convert.unpack(self.scalars(dtype, dtype), x, dtype)

    def _to_memory(self, x: Value, dtype: DType, target: DType) -> Value:
        assert dtype == target, f"a point of {dtype} stored as {target}"
        return convert.pack(self.scalars(dtype, dtype), x, dtype)


__all__ = ["SERIAL", "emit_nest", "work_of"]
