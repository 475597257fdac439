"""The units of a program: what runs at once, and which terms can be part of a loop nest."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from math import prod

from wengert.compiler.ir import Term
from wengert.compiler.nest import Builder, Conflict, Nest, reduced_axes
from wengert.core.index import ZERO, Index, Indices, NeedsSplit
from wengert.core.lowering import MOST_ENTRIES, Indexed, Native, Pointwise, Reduction, View
from wengert.core.spec import Shape

SHORT, LONG = 32, 1 << 16  # entries of a row, of those whose sum is worth to go across a nest
MANY = 1 << 15  # entries of all rows


@dataclass(eq=False)
class Unit:
    """Something that runs at once."""

    number: int
    roots: list[Term]


@dataclass(eq=False)
class NestUnit(Unit):
    """A loop nest. `space` is the index of an array of `shape`, the positions that it runs over;
    `outer` that of what is left of it after its reductions."""

    builder: Builder
    shape: Shape
    space: Indices
    outer_shape: Shape = ()
    outer: Indices = ()
    given: Term | None = None  # the result of a kernel that this nest goes over piece by piece

    @property
    def nest(self) -> Nest:
        return self.builder.nest


@dataclass(eq=False)
class KernelUnit(Unit):
    """A term with a kernel of its own; and what is done with each piece of its result as soon as it
    is finished, its *epilogue*."""

    epilogue: NestUnit | None = None

    @property
    def maker(self) -> str:
        """The name of the kernel's maker."""
        lowering = self.roots[0].op.lower if self.roots[0].op is not None else None
        assert isinstance(lowering, Native)
        return lowering.maker


@dataclass(eq=False)
class LibraryUnit(Unit):
    """A term that calls its reference."""


@dataclass(eq=False)
class LoopUnit(LibraryUnit):
    """A loop whose body is a program."""


@dataclass
class Units:
    """The units of a program, and where each stored term comes from."""

    units: list[Unit]
    home: dict[Term, Unit] = field(default_factory=dict)


def is_fusible(term: Term) -> bool:
    """Whether a term can be part of an expression in a loop nest."""
    if term.op is None:
        return term.is_constant and term.number is not None
    lowering = term.op.lower
    if isinstance(lowering, Reduction):
        return _count(term) <= 1
    if isinstance(lowering, Pointwise):
        return all(a.dtype in lowering.dtypes for a in term.args)
    if entries_of(term) > MOST_ENTRIES:
        return False
    return isinstance(lowering, (View, Indexed)) and len(term.specs) == 1


def entries_of(term: Term) -> int:
    """How many entries of its operands one entry of a term is computed from; 1 where it is
    computed from one of each."""
    if term.op is None or not isinstance(term.op.lower, Indexed):
        return 1
    return term.op.lower.entries(*term.args, **term.params)


def is_view(term: Term) -> bool:
    return term.op is not None and isinstance(term.op.lower, View)


def is_late(term: Term) -> bool:
    """Whether a term belongs to the backward pass alone."""
    return bool(term.origins) and all(origin[3] == "backward" for origin in term.origins)


def is_reduction(term: Term) -> bool:
    """Whether a term is reduced by a loop nest."""
    return term.op is not None and isinstance(term.op.lower, Reduction) and _count(term) > 1


def positions(term: Term) -> int:
    """At how many positions a root is computed."""
    return term.args[0].size if is_reduction(term) else term.size


def _count(term: Term) -> int:
    """How many entries a reduction combines into one."""
    return prod(term.args[0].shape[a] for a in reduced_axes(term))


# -- nests of their own -------------------------------------------------------------------------


def add_root(unit: NestUnit, term: Term, index: Indices, apart: Container[Term] = ()) -> None:
    """Compute a root in a nest, at an index of its (or its operand's) shape. Reductions `apart` go
    across no nest."""
    builder, nest = unit.builder, unit.nest
    if term is unit.given:
        nest.roots[term] = (index, builder.load(term, index))
        return
    if not is_reduction(term):
        builder.add_element(term, index)
        return
    axes = reduced_axes(term)
    reduced = {v for a in axes for v, _ in index[a].terms if isinstance(v, int)}
    kept = tuple([i for a, i in enumerate(index) if a not in axes])
    left = {v for i in kept for v, _ in i.terms if isinstance(v, int)}
    over = frozenset([d for d in reduced if nest.dims[d] > 1])
    if over & left:
        raise Conflict("a dimension is both kept and reduced")
    before = nest.reduced
    if before and before != over:
        _set_across(nest, over, frozenset(left), apart, term)
    builder.add_reduction(term, index, axes, over)
    if over == nest.across:
        return
    nest.reduced = over
    if before != over or (not unit.outer_shape and not unit.outer):
        unit.outer_shape, unit.outer = term.shape, kept


def _set_across(
    nest: Nest, over: frozenset[int], left: frozenset[int], apart: Container[Term], term: Term
) -> None:
    """Let a nest that reduces take in a reduction over other dimensions, if it can: the one that
    runs through memory stays (or becomes) what its passes reduce, and the other goes across."""
    rows, across = nest.reduced, over
    last = max(d for d, n in enumerate(nest.dims) if n > 1)
    if last in over:
        rows, across = across, rows
        if nest.across or any(p.stage and p.kind != "result" for p in nest.points):
            raise Conflict("a nest that needs the results of its reductions")
    crossing = [(term, left)]
    if across != over:
        crossing = [(r.term, r.result.dims) for r in nest.reduces]
    if not all(rows <= kept for _, kept in crossing) or nest.across not in (across, frozenset()):
        raise Conflict("another reduction goes over other dimensions")
    if last not in rows or any(t in apart for t, _ in crossing):
        raise Conflict("reductions that are better apart")
    if not _is_worth_crossing(nest, rows, across):
        raise Conflict("rows that are too few, too short or too long")
    nest.reduced, nest.across = rows, across


def _is_worth_crossing(nest: Nest, rows: frozenset[int], across: frozenset[int]) -> bool:
    """Whether to add up rows while they are at hand: they are neither few nor short, nor so long
    that their sums would not stay in the cache."""
    length = prod(nest.dims[d] for d in rows)
    count = prod(nest.dims[d] for d in across)
    return SHORT <= length <= LONG and count >= SHORT and prod(nest.dims) >= MANY


def lone_nest(number: int, term: Term, stored: Callable[[Term], bool]) -> NestUnit:
    """A nest for one root."""
    shape = term.args[0].shape if is_reduction(term) else term.shape
    dims = list(shape)
    while True:
        builder = Builder(Nest(list(dims)), stored)
        space = identity(dims, shape)
        unit = NestUnit(number, [term], builder, shape, space)
        try:
            add_root(unit, term, space)
            return unit
        except NeedsSplit as split:
            dims = split_dims(dims, split)


def split_dims(dims: Sequence[int], split: NeedsSplit) -> list[int]:
    """Sizes of dimensions with one divided in two; the inner part comes right behind."""
    n = dims[split.dim]
    return [*dims[: split.dim], n // split.inner, split.inner, *dims[split.dim + 1 :]]


def identity(dims: Sequence[int], shape: Shape) -> Indices:
    """The index of an array of `shape` over dimensions that are its axes, some of them divided."""
    index: list[Index] = []
    d = 0
    for n in shape:
        if n == 1:
            index.append(ZERO)
            d += 1
            continue
        parts = [d]
        total = dims[d]
        d += 1
        while total < n:
            parts.append(d)
            total *= dims[d]
            d += 1
        assert total == n
        expression = ZERO
        for part in parts:
            expression = expression * dims[part] + Index.of(part)
        index.append(expression)
    return tuple(index)


def check_loads(nest: Nest, first: int) -> None:
    """Refuse a root of another shape whose points, from number `first` on, read what the nest reads
    at other places. The two have nothing in common but their number of entries."""
    size = prod(nest.dims)
    known = {p.info.term for p in nest.points[:first] if p.kind == "load"}
    fresh = {p.info.term for p in nest.points[first:] if p.kind == "load"}
    if any(2 * term.size > size for term in known & fresh):
        raise Conflict("an array that is read at other places")
