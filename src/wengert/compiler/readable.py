"""Parts of a compiled program in words: terms, loop nests as loops, kernels, library calls."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.compiler.form import Address, Form, finalise
from wengert.compiler.ir import Origins, Program, Term
from wengert.compiler.layout import Layout
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.kept import kept_points
from wengert.compiler.nest import Point, Reduce, Store
from wengert.compiler.schedule import Job
from wengert.compiler.units import KernelUnit, NestUnit
from wengert.core import site
from wengert.core.lowering import Native, Pointwise

Names = Mapping[Term, str]
LOOPS = "ijklmnopqrst"
_MOST_SITES = 3
_COLUMN = 64  # where comments begin


def names_of(program: Program) -> dict[Term, str]:
    """What each term of a program is called in its listing."""
    return {t: f"%{i}" for i, t in enumerate(program.terms)}


def where(origins: Origins) -> str:
    """The user's lines that something comes from."""
    found = list(dict.fromkeys(map(_place, origins)))
    more = f" and {len(found) - _MOST_SITES} more" if len(found) > _MOST_SITES else ""
    return ", ".join(found[:_MOST_SITES]) + more


def _place(origin: site.Origin) -> str:
    found = site.resolve(origin)
    near = os.path.relpath(found.file) if os.path.isabs(found.file) else found.file
    file = near if len(near) < len(found.file) else found.file
    return f"{file}:{found.line}" + f" ({found.phase})" * bool(found.phase)


def with_comment(text: str, comment: str) -> str:
    """A line with a comment, where there is one."""
    return f"{text:{_COLUMN}}  # {comment}" if comment else text


def sizes(nbytes: float) -> str:
    """A number of bytes for a reader.

    >>> sizes(300), sizes(5 << 20)
    ('300 B', '5.0 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"


def job_lines(number: int, job: Job, layout: Layout, names: Names) -> Iterator[str]:
    """A job: what it is, what it reads and writes, and what it does."""
    unit = job.unit
    writes = ", ".join(f"{names[t]} {t.spec}{_order(t, layout)}" for t in job.writes)
    reads = ", ".join(names[t] for t in job.reads)
    if isinstance(unit, NestUnit):
        form = _form(job, unit, layout)
        kind = {"map": "nest", "row": "nest over rows", "column": "nest over columns"}[form.kind]
        kind += " and across" * bool(form.across)
        yield f"{number}. {kind}: {writes} ← {reads or 'nothing'}"
        yield from ("     " + line for line in Loops(form, unit, names).lines())
        return
    (term,) = unit.roots
    comment = where(term.origins)
    if isinstance(unit, KernelUnit):
        yield with_comment(f"{number}. kernel {term.name}: {writes} ← {reads}", comment)
        yield f"     {_geometry(layout.calls[term].kernel)}"
        follows = layout.epilogue_form(job)
        if follows is not None and unit.epilogue is not None:
            yield f"     and for each finished piece of {names[term]}:"
            yield from ("     " + line for line in Loops(follows, unit.epilogue, names).lines())
        return
    yield with_comment(f"{number}. library call {term.name}: {writes} ← {reads}", comment)
    yield f"     {_why_library(term)}"


def _order(term: Term, layout: Layout) -> str:
    """How a term lies in memory, unless it is row-major."""
    steps = layout.strides(term)
    order = sorted(range(term.ndim), key=lambda a: (-steps[a], a))
    return (
        ""
        if order == sorted(order) or term.size < 2
        else f" (axes {','.join(map(str, order))} in memory)"
    )


def _geometry(kernel: Any) -> str:
    """A kernel's class and what it was made for."""
    if not dataclasses.is_dataclass(kernel):
        return type(kernel).__name__
    given = []
    for f in dataclasses.fields(kernel):
        value = getattr(kernel, f.name)
        if f.repr and value not in (None, f.default) and not isinstance(value, Target):
            given.append(f"{f.name}={value}")
    return f"{type(kernel).__name__}({', '.join(given)})"


def _why_library(term: Term) -> str:
    """Why a term is computed by its reference."""
    assert term.op is not None
    lowering = term.op.lower
    if lowering is None:
        return f"{term.name} has no native code: its NumPy reference runs, from inside the program"
    if isinstance(lowering, Pointwise):
        others = {str(a.dtype) for a in term.args if a.dtype not in lowering.dtypes}
        return f"{term.name} has no native code for {', '.join(sorted(others))}"
    if isinstance(lowering, Native):
        return f"no kernel of {lowering.maker} serves these dtypes and sizes"
    return "it reads too many entries for each of its own"


def _form(job: Job, unit: NestUnit, layout: Layout) -> Form:
    stores = [Store(t, *unit.nest.roots[t]) for t in job.writes]
    return finalise(unit.nest, stores, layout.strides)


class Loops:
    """A loop nest as loops: each point where it is computed, with the user's line it is for."""

    def __init__(self, form: Form, unit: NestUnit, names: Names) -> None:
        self.form, self.names, self.kept = form, names, kept_points(form)
        self.terms: dict[Point, Term] = {}
        for key, point in unit.builder.memo.items():
            if isinstance(key, tuple) and key[0] == "term":
                self.terms.setdefault(point, key[1])
        self.short: dict[Point, str] = {}
        self.done: set[Point] = set()
        self.found: list[str] = []

    def lines(self) -> list[str]:
        """The nest."""
        form = self.form
        outer = [i for i in range(len(form.sizes)) if i not in form.reduced]
        depth = 0
        self._points([], depth, 0)
        for n, loop in enumerate(outer):
            self._open(loop, depth)
            depth += 1
            self._points(outer[: n + 1], depth, 0)
        if form.reduced:
            last = max([p.stage for _, p in form.stores] + [r.stage for r in form.reduces])
            for stage in range(max(last, form.last_pass) + 1):
                self._stage(stage, outer, depth)
        else:
            self._points(outer, depth, max((p.stage for p in form.points), default=0))
            self._add_up(form.across, depth)
            self._stores(form.stores, depth)
        if form.after is None:
            return self.found
        self.form = form.after
        self._say(0, "and when all have run:")
        inside = self.found
        self.found = []
        inside += ["  " + line for line in self.lines()]
        return inside

    def _add_up(self, across: Sequence[Reduce], depth: int) -> None:
        """What is reduced across the outer loops."""
        if self.form.after is None:
            return  # the partial results are joined already
        assert self.form.partial is not None
        for r in across:
            number = len(self.form.reduces) + self.form.across.index(r)
            name = self.short[r.result] = f"{r.term.name}{number}"
            entry = self._at(name, self.form.partial.place)
            text = f"{entry} = {r.term.name} of {entry} and {self._name(r.arg)}"
            self._say(depth, text, where(r.term.origins))

    def _stage(self, stage: int, outer: Sequence[int], depth: int) -> None:
        """A pass over the reduced loops, and what can be done before it."""
        form = self.form
        self._points(outer, depth, stage)
        stores = [(a, p) for a, p in form.stores if p.stage == stage]
        inside = [s for s in stores if form.varies(*s)]
        self._stores([s for s in stores if not form.varies(*s)], depth)
        reduces = [r for r in form.reduces if r.stage == stage]
        across = form.across if stage == form.last_pass else []
        if not reduces and not inside and not across:
            return
        for r in reduces:
            name = self.short[r.result] = f"{r.term.name}{form.reduces.index(r)}"
            self._say(depth, f"{name} = nothing yet")
        inner = sorted(form.reduced)
        for n, loop in enumerate(inner):
            self._open(loop, depth + n)
        deep = depth + len(inner)
        self.done |= {p for p, made in self.kept.items() if made < stage}
        before = set(self.done)
        self._points([*outer, *inner], deep, stage, self._needed([*reduces, *across], inside))
        for r in reduces:
            text = f"{r.term.name} of {self.short[r.result]} and {self._name(r.arg)}"
            self._say(deep, f"{self.short[r.result]} = {text}", where(r.term.origins))
            self.done.add(r.result)
        self._add_up(across, deep)
        self._stores(inside, deep)
        self.done = before | {r.result for r in form.reduces if r.stage <= stage}

    def _needed(
        self, reduces: Iterable[Reduce], stores: Iterable[tuple[Address, Point]]
    ) -> set[Point]:
        """What one pass computes."""
        stack = [p for r in reduces for p in (r.arg, r.position)] + [p for _, p in stores]
        found: set[Point] = set()
        while stack:
            point = stack.pop()
            if point not in found and point not in self.done:
                found.add(point)
                stack.extend(point.args)
        return found

    def _open(self, loop: int, depth: int) -> None:
        form = self.form
        how = ", side by side" if loop == form.vector else ""
        self._say(depth, f"for {LOOPS[loop]} in {form.sizes[loop]}{how}:")

    def _points(
        self, opened: Sequence[int], depth: int, stage: int, needed: set[Point] | None = None
    ) -> None:
        """The points that can be computed once these loops are open."""
        for point in self.form.points:
            ready = self.form.depth(point) <= set(opened) and point.stage <= stage
            if point in self.done or point.kind == "result" or not ready:
                continue
            if needed is not None and point not in needed:
                continue
            self.done.add(point)
            if point.kind in ("number", "index"):
                continue
            self.short[point] = f"v{point.number}"
            term = self.terms.get(point)
            comment = where(term.origins) if term is not None and point.kind != "load" else ""
            kept = ", kept for the row" if point in self.kept else ""
            self._say(depth, f"v{point.number} = {self._text(point)}{kept}", comment)

    def _stores(self, stores: Iterable[tuple[Address, Point]], depth: int) -> None:
        for at, point in stores:
            term = self.form.slots[at.slot]
            text = f"{self._at(self.names[term], at)} = {self._name(point)}"
            self._say(depth, text, where(term.origins))

    def _say(self, depth: int, text: str, comment: str = "") -> None:
        self.found.append(with_comment("  " * depth + text, comment))

    # -- expressions -------------------------------------------------------------------------

    def _name(self, point: Point) -> str:
        """What stands for a point in an expression."""
        if point.kind == "number":
            return f"{np.asarray(point.info)}"
        if point.kind == "index":
            return self._index(self.form.indices[point.number])
        return self.short.get(point, f"v{point.number}")

    def _text(self, point: Point) -> str:
        """How a point is computed."""
        given = [self._name(a) for a in point.args]
        if point.kind == "load":
            at = self.form.loads[point.number]
            conditions = " and ".join(self._name(c) for c in point.info.conditions)
            loaded = self._at(self.names[point.info.term], at)
            return loaded + f" where {conditions}" * bool(conditions)
        if point.kind == "cast":
            return f"{point.dtype}({given[0]})"
        if point.kind == "inside":
            _, low, high = point.info
            return f"{low} ≤ {self._index(self.form.indices[point.number])} < {high}"
        rule, params = point.info
        term = self.terms.get(point)
        lowering = term.op.lower if term is not None and term.op is not None else None
        own = isinstance(lowering, Pointwise) and lowering.rule is rule
        name = term.name if term is not None and own else rule.__name__.strip("_")
        given += [f"{k}={v}" for k, v in params.items()]
        return f"{name}({', '.join(given)})"

    def _at(self, name: str, address: Address) -> str:
        return f"{name}[{self._index(address)}]"

    def _index(self, address: Address) -> str:
        """An affine expression of the loops and of computed indices."""
        parts = []
        named = [(LOOPS[i], step) for i, step in enumerate(address.steps)]
        named += [(self._name(v), c) for v, c in address.values]
        for name, step in named:
            if step:
                factor = {1: "", -1: "−"}.get(step, f"{step}·".replace("-", "−"))
                parts.append(factor + name)
        if address.const or not parts:
            parts.append(str(address.const).replace("-", "−"))
        return " + ".join(parts).replace("+ −", "− ")
