"""Writes the points of a loop nest: values, and how they come from memory and go to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wengert.compiler.form import Address, Form
from wengert.compiler.kernels.base import address
from wengert.compiler.llvm import convert, guards, spread
from wengert.compiler.llvm.emit import Function, Value
from wengert.compiler.llvm.kept import kept_points, row_entries
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import I1, I64, computed, size_of, stored, vector
from wengert.compiler.nest import Point, choose
from wengert.core import dtypes
from wengert.core.dtypes import DType

FAR = 1 << 21  # bytes of an array that must come from memory


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


class Points:
    """What a nest computes at the position where its loops stand. In the table of addresses, its
    slots begin with number `first`."""

    def __init__(
        self, f: Function, args: Value, form: Form, slot_dtypes: Sequence[DType], first: int = 0
    ) -> None:
        self.form, self.slot_dtypes = form, slot_dtypes
        self.f, self.args = f, args
        self.lanes = self._lanes()
        count = len(form.slots) + len(form.checks) + (form.partial is not None)
        self.base = [address(f, args, first + i) for i in range(count)]
        self.aligned = self._all_aligned()
        self.depths = {p: form.depth(p) for p in form.points}
        self.loop_values: dict[int, Value] = {}
        self.scope = Scope()
        self.vector_start: Value | None = None  # index of the first lane
        self.mask: Value | None = None  # lanes that exist
        self.copies = 1  # side by side: of the vectors, or of the loop `beside`
        self.beside = form.vector
        self.opened: set[int] = set()
        self.stage = 0
        self.read_in: dict[Point, list[int]] = {}  # the passes that read an entry
        self.truth: dict[Point, bool] = {}  # conditions of which is known whether they hold
        self.kept = kept_points(form)
        self.rows = {p: self._row(p) for p in self.kept}
        self.uses = guards.uses_of(form)
        self.branched = False  # whether we are where only some conditions lead

    def _lanes(self) -> int:
        """Lanes of the vectors: sixteen, or eight where all that is written takes eight bytes."""
        form = self.form
        reduces = form.reduces + (form.partial.reduces if form.partial is not None else [])
        written = [p.dtype for _, p in form.stores] + [r.arg.dtype for r in reduces]
        if all(d.itemsize == 8 for d in written):
            return 8
        return 16

    def _all_aligned(self) -> Value:
        """Whether all arrays that are written past the cache start at a multiple of 16 bytes."""
        f = self.f
        together = f.i64(0)
        for slot in sorted(self.form.streamed):
            place = f.op(I64, f"ptrtoint ptr {self.base[slot]} to i64")
            together = place if together.name == "0" else together | place
        return f.compare("eq", together & 15, 0) if self.form.streamed else f.i64(0)

    # -- stores ------------------------------------------------------------------------------

    def _stores(self, stage: int, inside: bool) -> None:
        """The stores and checks of a stage that happen at each position of the reduced loops, or
        those that do not."""
        self._check_all(stage, inside)
        for number, (at, point) in enumerate(self.form.stores):
            if point.stage == stage and self.form.varies(at, point) == inside:
                for copy in range(self.copies if self._moves(at) else 1):
                    for load in self.form.before.get(number, ()):
                        self.value(load, copy)
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
            for copy in range(self.copies if self.has_copies(check.holds) else 1):
                holds, value = (self.value(check.holds, copy), self.value(check.value, copy))
                if not holds.lanes:
                    bad = holds ^ True
                else:
                    wrong = holds ^ True
                    if self.mask is not None:
                        wrong = wrong & self.mask
                    bits = f.cast("bitcast", wrong, f"i{holds.lanes}")
                    bad = f.compare("ne", bits, 0)
                    value = self._lane_of(bits, self.as_vector(value), holds.lanes)
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
        """Whether copies of a store go to places of their own."""
        return self._copy_step(at) != 0

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
        value = self.as_vector(value)
        if vector_step == 1:
            if self.mask is not None:
                f.masked_store(value, where, self.mask)
            elif self._is_streamed(at):
                with f.choice(self.aligned) as labels:
                    f.streamed_store(value, where)
                    f.otherwise(labels)
                    f.store(value, where)
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

    def _is_streamed(self, at: Address) -> bool:
        """Whether a store goes past the cache: it does in whole pieces of 16 bytes."""
        if at.slot not in self.form.streamed:
            return False
        size = size_of(stored(self.slot_dtypes[at.slot]))
        steps = [c for i, c in enumerate(at.steps) if i != self.form.vector]
        return not at.values and all(c * size % 16 == 0 for c in (*steps, at.const))

    # -- values ------------------------------------------------------------------------------

    def emit_ready(self) -> None:
        """Write all points whose loops are open and which are not written yet."""
        for p in self.form.points:
            if p.kind == "result" or p.stage > self.stage or not self.depths[p] <= self.opened:
                continue
            if not self._lazy(p) and self.scope.find((p, 0)) is None:
                for copy in range(self.copies if self.has_copies(p) else 1):
                    self.value(p, copy)

    def _lazy(self, p: Point) -> bool:
        """In the innermost loop only what is asked for is written, when it is."""
        loops = self.form.reduced if self.form.reduced else {self.form.vector}
        return bool(self.depths[p] & frozenset(x for x in loops if x is not None))

    def is_vector(self, p: Point) -> bool:
        """Whether a point has a value for each lane."""
        return self.form.vector in self.depths[p]

    def has_copies(self, p: Point) -> bool:
        """Whether a point has a value for each copy."""
        return self.beside in self.depths[p]

    def value(self, p: Point, copy: int = 0) -> Value:
        """The value of a point where we are; written now, if it is not yet."""
        f = self.f
        stack = [p]
        while stack:
            top = stack[-1]
            if self.written(top, copy):
                stack.pop()
                continue
            if self.kept.get(top, self.stage) < self.stage:
                wide = vector(self.lanes, computed(top.dtype))
                self.scope.values[self._key(top, copy)] = f.load(wide, self._in_row(top, copy))
                stack.pop()
                continue
            conditions = [] if self.branched else guards.uniform(self, top)
            own = guards.own(self, top, copy) if conditions else []
            asked = [a for x in (own or [top]) for a in self.asked(x) if a not in own]
            asked += [*top.args[::2]] if own else []
            missing = [a for a in asked if not self.written(a, copy)]
            if missing:
                stack += missing
                continue
            made = guards.write(self, top, copy, conditions) if own else self._write(top, copy)
            self.scope.values[self._key(top, copy)] = made
            if top in self.kept:
                f.store(made, self._in_row(top, copy))
            stack.pop()
        found = self.scope.find(self._key(p, copy))
        assert found is not None
        return found

    def written(self, p: Point, copy: int) -> bool:
        """Whether a point has a value where we are."""
        return self.scope.find(self._key(p, copy)) is not None

    def _key(self, p: Point, copy: int) -> tuple[Point, int]:
        return p, copy if self.has_copies(p) else 0

    @contextmanager
    def knowing(self, conditions: frozenset[Point]) -> Iterator[None]:
        """Write a part of the code that is reached only where conditions hold."""
        before = self.scope, self.truth
        self.scope, self.branched = Scope(self.scope), True
        self.truth = {**self.truth, **dict.fromkeys(conditions, True)}
        yield
        (self.scope, self.truth), self.branched = before, False

    def asked(self, p: Point) -> Sequence[Point]:
        """What a point is computed from here: of a choice that is known, one side."""
        if p.kind != "apply" or p.info[0] is not choose or p.args[0] not in self.truth:
            return p.args
        return p.args[1:2] if self.truth[p.args[0]] else p.args[2:]

    def _row(self, p: Point) -> Value:
        """Memory for a value at each position of a row; its last vector may be whole."""
        return self.f.buffer(row_entries(self.form) + self.lanes, computed(p.dtype))

    def _in_row(self, p: Point, copy: int) -> Value:
        """Where a value that is kept stands."""
        f, form = self.f, self.form
        at = f.i64(copy * self.lanes)
        step = 1
        for level in sorted(form.reduced, reverse=True):
            at = at + self.loop_values[level] * step
            step *= form.sizes[level]
        return f.at(self.rows[p], at, computed(p.dtype))

    def _write(self, p: Point, copy: int) -> Value:
        f = self.f
        asked = self.asked(p)
        args = [self.scope.find(self._key(a, copy)) for a in asked]
        given = [a for a in args if a is not None]
        assert len(given) == len(args)
        if asked is not p.args:
            return self.as_vector(given[0])
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
            given = [self.as_vector(a) for a in given]
        if p.kind == "cast":
            source = p.args[0].dtype
            return convert.cast(self.scalars(source, p.dtype), given[0], source, p.dtype)
        rule, params = p.info
        operand = next((a.dtype for a in p.args if a.dtype != dtypes.bool), dtypes.bool)
        k = self.scalars(operand, p.dtype)
        if p.dtype == dtypes.bool:  # what is compared is what memory would hold
            given = [x if x.element == I1 else k.rounded(x) for x in given]
        found: Value = rule(k, *given, **params)
        return found

    def scalars(self, dtype: DType, result: DType) -> Scalars:
        """The builder that pointwise rules write with."""
        return Scalars(self.f, dtype, result)

    def as_vector(self, x: Value) -> Value:
        """A value in all lanes."""
        return x if x.lanes else self.f.splat(x, self.lanes)

    def vector_step(self, a: Address) -> int:
        """How far neighbouring lanes are apart in memory; 0 outside of the vector loop."""
        v = self.form.vector
        return a.steps[v] if v is not None and v in self.opened else 0

    def _copy_step(self, a: Address) -> int:
        """How far neighbouring copies are apart in memory."""
        if self.beside == self.form.vector:
            return self.lanes * self.vector_step(a)
        return a.steps[self.beside] if self.beside is not None else 0

    def _scalar_part(self, a: Address, copy: int) -> Value:
        """The part of a place that all lanes have in common."""
        f = self.f
        total = f.i64(a.const)
        for level, c in enumerate(a.steps):
            if c and level in self.opened:
                total = total + self.loop_values[level] * c
        if copy:
            total = total + copy * self._copy_step(a)
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
        known = [self.truth.get(c) for c in p.info.conditions]
        if False in known:
            return f.constant(vector(self.lanes, computed(p.dtype)), 0)
        left = [c for c, holds in zip(p.info.conditions, known, strict=True) if not holds]
        conditions = [self.value(c, copy) for c in left]
        if not self.is_vector(p):
            return self._from_memory(self._load_one(a, t, conditions, copy), dtype)
        holds = conditions if self.mask is None else [self.mask, *conditions]
        if self._is_spread(a):
            found = spread.load(self, a, t, holds, copy)
            if found is not None:
                return self._from_memory(found, dtype)
        step, lanes = self.vector_step(a), self._lane_part(a, copy)
        mask = spread.mask_of(self, holds)
        wide = vector(self.lanes, t)
        if lanes is None and step in (0, 1):
            where = self._place(a, t, copy)
            if step == 0:  # one entry, but which lanes may have it differs
                if conditions:  # maybe none
                    assert mask is not None
                    where = f.select(
                        self.scalars(dtypes.bool, dtypes.bool).any(mask), where, self._nowhere()
                    )
                return self._from_memory(f.splat(f.load(t, where), self.lanes), dtype)
            if mask is None:
                self._fetch_ahead(p, a, where, t)
                return self._from_memory(f.load(wide, where), dtype)
            return self._from_memory(f.masked_load(wide, where, mask), dtype)
        offsets = self._index(a, copy, True)
        spots = f.op(
            f"<{self.lanes} x ptr>",
            f"getelementptr {t}, ptr {self.base[a.slot]}, {offsets.type} {offsets}",
        )
        every = mask if mask is not None else f.constant(vector(self.lanes, I1), True)
        return self._from_memory(f.gather(wide, spots, every), dtype)

    def _fetch_ahead(self, p: Point, a: Address, where: Value, t: str) -> None:
        """While a row is read again, from the cache, let the next one come from memory."""
        form = self.form
        kept = [i for i in range(len(form.sizes)) if i not in form.reduced]
        step = a.steps[kept[-1]] if form.kind == "row" and kept else 0
        if not step or math.prod(form.sizes) * size_of(t) < FAR:
            return
        stages = self.read_in.setdefault(p, [])
        if self.stage not in stages:
            stages.append(self.stage)
        if len(stages) == 2:
            self.f.fetch(where, step, t)

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
        return f.load(t, f.select(holds, where, self._nowhere()))

    def _nowhere(self) -> Value:
        """The address of a zero, to be read instead of what must not be."""
        spare = self.f.buffer(1, I64, 8)
        self.f.store(self.f.constant(I64, 0), spare)
        return spare

    def _from_memory(self, x: Value, dtype: DType) -> Value:
        """A loaded value as it is computed with."""
        return convert.unpack(self.scalars(dtype, dtype), x, dtype)

    def _to_memory(self, x: Value, dtype: DType, target: DType) -> Value:
        assert dtype == target, f"a point of {dtype} stored as {target}"
        return convert.pack(self.scalars(dtype, dtype), x, dtype)
