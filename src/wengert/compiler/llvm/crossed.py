"""Writes nests that reduce across their outer loops, in two steps; see `compiler.crossing`.

The first step goes through each block of rows and keeps its partial results up to date in the
workspace. A few rows that need no passes of their own are worked on side by side, so that partial
results are read and written once for all of them. The second step joins the blocks in their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wengert.compiler.crossing import JAM
from wengert.compiler.form import Form, Partial
from wengert.compiler.kernels.base import padded, share
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.compiler.llvm.nests import Writer
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import computed, stored, vector
from wengert.compiler.nest import Reduce
from wengert.core import dtypes
from wengert.core.dtypes import DType

LIGHT = 12  # operations at a position, up to which rows are worked on side by side


def emit_nest(module: Module, name: str, form: Form, slot_dtypes: Sequence[DType]) -> None:
    """Write the step of a nest into a module."""
    kind = Writer
    if form.partial is not None:
        kind = Crossed if form.after is not None else Joined
    kind(module, name, form, slot_dtypes).write()


def workspace_of(form: Form) -> int:
    """Bytes that the two steps of a nest share."""
    return 0 if form.partial is None else _sections(form.partial)[-1]


def _sections(partial: Partial) -> list[int]:
    """Where partial results start, in bytes, and where all end: of each reduction, and of each
    number that it carries, those of all blocks."""
    starts = [0]
    entries = partial.blocks.count * partial.blocks.entries
    for r in partial.reduces:
        for dtype in r.rule.carries(r.arg.dtype):
            starts.append(starts[-1] + padded(entries * _kept_as(dtype).itemsize))
    return starts


def _kept_as(dtype: DType) -> DType:
    """The dtype of a partial result in memory: halves stay float32."""
    return dtypes.float32 if dtype in convert.HALVES else dtype


class Partials:
    """The partial results in a workspace."""

    def __init__(self, f: Function, partial: Partial, workspace: Value) -> None:
        self.f = f
        starts = iter(_sections(partial))
        self.places = {
            id(r): [
                (f.at(workspace, next(starts), "i8"), _kept_as(d))
                for d in r.rule.carries(r.arg.dtype)
            ]
            for r in partial.reduces
        }

    def load(self, r: Reduce, entry: Value, lanes: int, mask: Value | None) -> list[Value]:
        """The numbers that a reduction carries, for neighbouring entries."""
        f, found = self.f, []
        for base, dtype in self.places[id(r)]:
            t = stored(dtype)
            where = f.at(base, entry, t)
            wide = vector(lanes, t)
            x = f.load(wide, where) if mask is None else f.masked_load(wide, where, mask)
            found.append(convert.unpack(Scalars(f, dtype, dtype), x, dtype))
        return found

    def store(self, r: Reduce, entry: Value, values: Sequence[Value], mask: Value | None) -> None:
        """Keep them."""
        f = self.f
        for (base, dtype), value in zip(self.places[id(r)], values, strict=True):
            where = f.at(base, entry, stored(dtype))
            x = convert.pack(Scalars(f, dtype, dtype), value, dtype)
            if mask is None:
                f.store(x, where)
            else:
                f.masked_store(x, where, mask)


class Crossed(Writer):
    """Writes the first step."""

    def write(self) -> None:
        """Write the whole function."""
        f, form = self.f, self.form
        assert form.partial is not None
        partial = self.partial = form.partial
        self.memory = Partials(f, partial, self.base[-1])
        self.emit_ready()
        outer = list(range(partial.across[0]))
        count = partial.blocks.count
        tasks = math.prod(form.sizes[i] for i in outer) * count
        lo, hi = share(f, tasks, self.thread, self.threads)
        with f.loop(lo, hi) as task:
            self._stand_at(outer, task // count)
            self._enter(outer)
            block = task % count
            self.first = block * partial.blocks.entries
            self._clear()
            start = block * partial.blocks.size
            self._rows(start, f.smin(start + partial.blocks.size, partial.blocks.rows))
            self._leave(outer)
        self._end()

    def _stand_at(self, loops: Sequence[int], position: Value) -> None:
        """Let loops stand at a position of all of them together."""
        for i in reversed(loops[1:]):
            self.loop_values[i] = position % self.form.sizes[i]
            position = position // self.form.sizes[i]
        if loops:
            self.loop_values[loops[0]] = position

    def _clear(self) -> None:
        """Begin a block: nothing is combined yet."""
        f, lanes = self.f, self.lanes
        entries = math.prod(self.form.sizes[i] for i in self.partial.inner)
        whole = entries // lanes * lanes
        base = self.first + self._scalar_part(self.partial.place, 0)

        def start(at: Operand, mask: Value | None) -> None:
            for r in self.partial.reduces:
                d = r.arg.dtype
                values = [
                    f.constant(vector(lanes, computed(c)), s)
                    for s, c in zip(r.rule.start(d), r.rule.carries(d), strict=True)
                ]
                self.memory.store(r, base + at, values, mask)

        if whole:
            with f.loop(0, whole, lanes) as i:
                start(i, None)
        if whole < entries:
            start(whole, f.first_lanes(entries - whole, lanes))

    def _rows(self, start: Value, stop: Value) -> None:
        """The rows of a block, side by side where that pays."""
        blocks = self.partial.blocks
        applied = sum(p.kind == "apply" for p in self.form.points)
        if self.form.reduced or len(self.partial.across) > 1 or applied > LIGHT:
            self._walk(start, stop, 1)
            return
        if blocks.rows % JAM == 0:
            self._walk(start, stop, JAM)
            return
        middle = start + ((stop - start) // JAM) * JAM
        self._walk(start, middle, JAM)
        self._walk(middle, stop, 1)

    def _walk(self, start: Value, stop: Value, count: int) -> None:
        """Go through rows, `count` of them at once."""
        across, inner = self.partial.across, self.partial.inner
        before = self.beside, self.copies
        if count > 1:
            self.beside, self.copies = across[0], count
        with self.f.loop(start, stop, count) as row:
            self._stand_at(across, row)
            self._enter(across)
            if self.form.reduced:
                self._inside_kept()
            else:
                self._nested(list(inner[:-1]), self._inside_kept)
            self._leave(across)
        self.beside, self.copies = before

    # -- what is added up at a position --------------------------------------------------------

    def _map_body(self) -> None:
        self._add_up()
        super()._map_body()

    def _stores(self, stage: int, inside: bool) -> None:
        if inside and stage == self.form.last_pass:
            self._add_up()
        super()._stores(stage, inside)

    def _last_stage(self) -> int:
        return max(self.form.last_pass, super()._last_stage())

    def _is_pass(self, stage: int) -> bool:
        return stage == self.form.last_pass or super()._is_pass(stage)

    def _add_up(self) -> None:
        """Combine what is at hand with the partial results."""
        for r in self.partial.reduces:
            k = self.scalars(r.arg.dtype, r.arg.dtype)
            fed = []
            for copy in range(self.copies):
                x = self.as_vector(self.value(r.arg, copy))
                at = self.as_vector(self.value(r.position, copy))
                fed.append(list(r.rule.feed(k, x, at)))
            if self.beside == self.partial.across[0]:  # copies are rows: into one
                for other in fed[1:]:
                    fed[0] = list(r.rule.combine(k, fed[0], other))
                del fed[1:]
            for copy, one in enumerate(fed):
                entry = self.first + self._scalar_part(self.partial.place, copy)
                have = self.memory.load(r, entry, self.lanes, self.mask)
                self.memory.store(r, entry, r.rule.combine(k, have, one), self.mask)


class Joined(Writer):
    """Writes the second step."""

    def write(self) -> None:
        """Write the whole function."""
        assert self.form.partial is not None
        self.partial = self.form.partial
        self.memory = Partials(self.f, self.partial, self.base[-1])
        self.stage = max(p.stage for p in self.form.points)
        super().write()

    def _map_body(self) -> None:
        for r in self.partial.reduces:
            self._join(r)
        for stage in range(self.stage + 1):
            self._stores(stage, inside=False)

    def _join(self, r: Reduce) -> None:
        """The result of a reduction from those of all blocks."""
        f, blocks = self.f, self.partial.blocks
        k = self.scalars(r.arg.dtype, r.arg.dtype)
        totals = self._accumulators(r, 1, self.lanes)[0]
        place = self._scalar_part(self.partial.place, 0)
        with f.loop(0, blocks.count) as block:
            entry = block * blocks.entries + place
            found = self.memory.load(r, entry, self.lanes, self.mask)
            for total, value in zip(
                totals, r.rule.combine(k, [t.get() for t in totals], found), strict=True
            ):
                total.set(value)
        self._finish(r, [t.get() for t in totals], 0)
