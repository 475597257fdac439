"""The final form of a loop nest: an order of loops, and every access as an address.

Once it is known how each array lies in memory, the dimensions of a nest are put in the order that
walks through memory, neighbours that all accesses run through alike are merged into one loop, and
one loop becomes the *vector loop*: many positions side by side. Three shapes arise:

* `map`    outer loops, then the vector loop;
* `row`    outer loops, then reduced loops, of which the last is the vector loop;
* `column` outer loops, then the vector loop, then reduced loops within.

Maps and rows may also add up across their outer loops, each block of positions for itself: then a
second form joins what the blocks have given. See `crossing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wengert.compiler.crossing import Blocks, Crossing, crossing_of, settled
from wengert.compiler.ir import Term
from wengert.compiler.nest import Access, Check, Nest, Point, Reduce, Store
from wengert.core.dtypes import DType
from wengert.core.index import Index, flat, strides_of

Strides = tuple[int, ...]


@dataclass
class Address:
    """A place in memory: `const + Σ steps[level] · loop[level] + Σ factor · value`, in entries."""

    slot: int
    steps: tuple[int, ...]
    const: int
    values: tuple[tuple[Point, int], ...] = ()


@dataclass
class Form:
    """What is needed to write a nest down as code.

    Attributes
    ----------
    sizes : of the loops, outermost first
    vector : number of the vector loop; None where there is no loop at all
    reduced : numbers of the reduced loops
    points : in order; all that the stores and reductions need
    addresses : of each load (by the point's number) and of each store
    slots : the term behind each entry of the table of addresses: first what is read, then written
    before : loads that a later store needs, and that must happen before a store of this number,
        which writes over what they read
    partial : what is reduced across the outer loops: made here, or joined here
    after : the form of a second step, which joins the partial results of this one
    streamed : slots that are written past the cache
    """

    sizes: tuple[int, ...]
    vector: int | None
    reduced: frozenset[int]
    points: list[Point]
    reduces: list[Reduce]
    loads: dict[int, Address]
    stores: list[tuple[Address, Point]]
    indices: dict[int, Address]
    checks: list[Check]
    levels: dict[int, int]  # dimension of the nest → loop
    slots: list[Term]
    writes: int  # how many of the slots, at the end, are written
    before: dict[int, list[Point]]  # by a store's number: loads of what it writes over
    partial: Partial | None = None
    after: Form | None = None
    streamed: frozenset[int] = frozenset()

    @property
    def kind(self) -> str:
        """`map`, `row` or `column`."""
        if not self.reduced:
            return "map"
        return "row" if self.vector in self.reduced else "column"

    def depth(self, point: Point) -> frozenset[int]:
        """The loops along which a point varies."""
        return frozenset([self.levels[d] for d in point.dims if d in self.levels])

    def varies(self, at: Address, point: Point) -> bool:
        """Whether a store happens at each position of the reduced loops."""
        return bool(self.depth(point) & self.reduced) or any(at.steps[i] for i in self.reduced)

    @cached_property
    def last_pass(self) -> int:
        """The stage of the last pass over the reduced loops: all that is added up across is known
        in it."""
        stored = [p.stage for a, p in self.stores if self.varies(a, p)]
        return max([*stored, *[r.stage for r in (*self.reduces, *self.across)]], default=0)

    @property
    def across(self) -> list[Reduce]:
        """What is reduced across the outer loops."""
        return self.partial.reduces if self.partial is not None else []


@dataclass
class Partial:
    """Partial results of reductions across a nest: for each of `blocks` an array of `entries`, in
    which those of a position stand at `place`.

    Attributes
    ----------
    across : the loops that are reduced; none in the step that joins
    inner : the loops inside of them, outermost first
    """

    reduces: list[Reduce]
    blocks: Blocks
    place: Address
    across: tuple[int, ...]
    inner: tuple[int, ...]


Placed = Callable[[Term], Strides]


def place_of(access: Access, strides: Placed) -> Index:
    """Where an access goes in memory."""
    steps = strides(access.term) if access.shape is None else strides_of(access.shape)
    return flat(access.index, steps)


def finalise(
    nest: Nest, stores: Sequence[Store], strides: Placed, over: Mapping[Term, Term] | None = None
) -> Form:
    """The form of a nest, given where its operands lie and what it writes. Some of that may be
    written `over` terms that it reads."""
    points, reduces = _needed(nest, stores)
    nest = settled(nest, reduces)
    order = loop_order(nest, stores, stores, strides)
    columns = runs_along_columns(nest, points, strides)
    crossing = crossing_of(nest, reduces, stores, order, columns)
    if crossing is None:
        return _written(_Flattening(nest, points, reduces, stores, strides, order, columns), over)
    first = [s for s in stores if crossing.moves(s)]
    points, reduces = _needed(nest, first, crossing.reduces)
    form = _written(_crossed(crossing, points, reduces, first, strides), over)
    last = [s for s in stores if not crossing.moves(s)]
    points, _ = _needed(nest, last, (), within=False)
    form.after = _crossed(crossing.joined(), points, [], last, strides).form()
    return form


def by_rows(
    nest: Nest,
    stores: Sequence[Store],
    strides: Placed,
    over: Mapping[Term, Term],
    pieces: tuple[list[int], list[int]],
) -> Form:
    """The form of a nest that goes over the rows of a kernel's result: some of its dimensions, in
    order, make up a row's number, the others that of a column."""
    points, _ = _needed(nest, stores)
    rows, columns = pieces
    found = _Flattening(nest, points, [], stores, strides, [*rows, *columns], False)
    found.first_column = columns[0]
    return _written(found, over)


def _crossed(
    crossing: Crossing,
    points: list[Point],
    reduces: list[Reduce],
    stores: Sequence[Store],
    strides: Placed,
) -> _Flattening:
    """One of the two steps of a nest that reduces across."""
    order = crossing.order
    return _Flattening(crossing.nest, points, reduces, stores, strides, order, False, crossing)


def _written(found: _Flattening, over: Mapping[Term, Term] | None) -> Form:
    """A form, with what must be read before it is written over."""
    form, stores = found.form(), found.stores
    for number, store in enumerate(stores):
        old = (over or {}).get(store.term)
        later = _needed(found.nest, stores[number + 1 :])[0] if old is not None else []
        loads = [p for p in later if p.kind == "load" and p.info.term is old]
        if loads:
            form.before[number] = loads
    return form


def _needed(
    nest: Nest, stores: Sequence[Store], more: Sequence[Reduce] = (), within: bool = True
) -> tuple[list[Point], list[Reduce]]:
    """The points and reductions that the stores, and `more` reductions, depend on: what reductions
    are `within` is needed too."""
    seen: set[Point] = set()
    used: set[int] = set()
    stack = [s.point for s in stores] + [p for r in more for p in (r.arg, r.position)]
    while stack:
        point = stack.pop()
        if point in seen:
            continue
        seen.add(point)
        stack.extend(point.args)
        if point in nest.checks:
            stack += [nest.checks[point].holds, nest.checks[point].value]
        if point.kind == "result" and within:
            used.add(point.info)
            stack += [nest.reduces[point.info].arg, nest.reduces[point.info].position]
    points = [p for p in nest.points if p in seen]
    return points, [r for i, r in enumerate(nest.reduces) if i in used]


# -- the order of loops ------------------------------------------------------------------------


def loop_order(
    nest: Nest, placed: Sequence[Store], stores: Sequence[Store], strides: Placed
) -> list[int]:
    """Dimensions from the outermost loop to the innermost one, by what is read for all stores, and
    by those stores whose place is known (`placed`)."""
    points, _ = _needed(nest, stores)
    live = [d for d, n in enumerate(nest.dims) if n > 1]
    weights: list[tuple[float, dict[int, int]]] = []
    for p in points:
        if p.kind == "load":
            weights.append((1.0, _steps(place_of(p.info, strides))))
    for s in placed:
        weights.append((1.5, _steps(flat(s.index, strides(s.term)))))
    return _by_steps(live, weights, nest)


def _steps(place: Index) -> dict[int, int]:
    """How far a step along each dimension goes; with a computed index that moves along some, as far
    as a step of that index."""
    found: dict[int, int] = {}
    for v, c in place.terms:
        for d in (v,) if isinstance(v, int) else v.dims if isinstance(v, Point) else ():
            found[d] = max(found.get(d, 0), abs(c))
    return found


def _by_steps(
    live: list[int], accesses: list[tuple[float, dict[int, int]]], nest: Nest
) -> list[int]:
    """Dimensions sorted by how far a step along each goes in the accesses, those of the most
    entries first asked. A dimension that an access does not move along is left to the next."""

    def entries(access: tuple[float, dict[int, int]]) -> float:
        total = access[0]
        for d in access[1]:
            total *= nest.dims[d]
        return total

    ranked = [steps for _, steps in sorted(accesses, key=entries, reverse=True)]
    order: list[int] = []
    for steps in ranked:
        fresh = sorted([d for d in live if d in steps and d not in order], key=lambda d: -steps[d])
        for d in fresh:  # in front of the first dimension with a smaller step, else at the end
            at = next((i for i, e in enumerate(order) if e in steps and steps[e] < steps[d]), None)
            if at is None:
                at = len(order) if not order or order[-1] in steps else 0
            order.insert(at, d)
    order += [d for d in live if d not in order]
    return order


def runs_along_columns(nest: Nest, points: Sequence[Point], strides: Placed) -> bool:
    """Whether memory runs along a kept dimension: a column, not a row, is reduced."""
    votes = 0
    for p in points:
        if p.kind != "load" or not nest.reduced:
            continue
        steps = _steps(place_of(p.info, strides))
        steps = {d: c for d, c in steps.items() if nest.dims[d] > 1}
        if not steps or not any(d in nest.reduced for d in steps):
            continue
        weight = 1
        for d in steps:
            weight *= nest.dims[d]
        fastest = min(steps, key=lambda d: steps[d])
        votes += weight if fastest not in nest.reduced else -weight
    return votes > 0 and any(d not in nest.reduced for d, n in enumerate(nest.dims) if n > 1)


# -- merging loops, and addresses --------------------------------------------------------------


class _Flattening:
    """Works out the loops of a form."""

    def __init__(
        self,
        nest: Nest,
        points: list[Point],
        reduces: list[Reduce],
        stores: Sequence[Store],
        strides: Placed,
        order: list[int],
        columns: bool,
        crossing: Crossing | None = None,
    ) -> None:
        self.nest, self.points, self.reduces, self.stores = nest, points, reduces, stores
        self.strides, self.columns, self.crossing = strides, columns, crossing
        self.across = crossing.across if crossing is not None else frozenset[int]()
        self.order = order if crossing is not None else self._grouped(order)
        self.first_column: int | None = None  # starts a loop of its own

    def _grouped(self, order: list[int]) -> list[int]:
        """Outer dimensions first, then the reduced ones (inside of the vector loop's, if that is
        a kept one)."""
        kept = [d for d in order if d not in self.nest.reduced]
        reduced = [d for d in order if d in self.nest.reduced]
        return kept + reduced

    def form(self) -> Form:
        places = self._places()
        groups = self._merged(places)
        sizes = tuple([self._size(g) for g in groups])
        levels = {d: i for i, g in enumerate(groups) for d in g}
        reduced = frozenset([i for i, g in enumerate(groups) if g[0] in self.nest.reduced])
        vector: int | None = len(groups) - 1 if groups else None
        if self.columns:
            vector = max([i for i in range(len(groups)) if i not in reduced])
        slots, loads, indices, stores = self._addresses(groups)
        return Form(
            sizes,
            vector,
            reduced,
            self.points,
            self.reduces,
            loads,
            stores,
            indices,
            [self.nest.checks[p] for p in self.points if p in self.nest.checks],
            levels,
            slots,
            len({id(s.term) for s in self.stores}),
            {},
            self._partial(groups),
        )

    def _partial(self, groups: list[list[int]]) -> Partial | None:
        crossing = self.crossing
        if crossing is None:
            return None
        across = [i for i, g in enumerate(groups) if g[0] in self.across]
        inner = range(across[-1] + 1 if across else 0, len(groups))
        place = self._address(-1, crossing.place, groups)
        return Partial(crossing.reduces, crossing.blocks, place, tuple(across), tuple(inner))

    def _places(self) -> list[Index]:
        """All expressions that move with the loops."""
        found = [place_of(p.info, self.strides) for p in self.points if p.kind == "load"]
        found += [p.info for p in self.points if p.kind == "index"]
        found += [p.info[0] for p in self.points if p.kind == "inside"]
        found += [flat(s.index, self.strides(s.term)) for s in self.stores]
        return found if self.crossing is None else [*found, self.crossing.place]

    def _merged(self, places: list[Index]) -> list[list[int]]:
        """Runs of dimensions that every access goes through as if they were one."""
        groups: list[list[int]] = []
        for d in self.order:
            if groups and self._joins(groups[-1][-1], d, places):
                groups[-1].append(d)
            else:
                groups.append([d])
        return groups

    def _joins(self, a: int, b: int, places: list[Index]) -> bool:
        if any((a in among) != (b in among) for among in (self.nest.reduced, self.across)):
            return False
        if b == self.first_column:
            return False
        n = self.nest.dims[b]
        return all(p.coefficient(a) == p.coefficient(b) * n for p in places)

    def _size(self, group: list[int]) -> int:
        total = 1
        for d in group:
            total *= self.nest.dims[d]
        return total

    def _addresses(
        self, groups: list[list[int]]
    ) -> tuple[list[Term], dict[int, Address], dict[int, Address], list[tuple[Address, Point]]]:
        slots: list[Term] = []
        number: dict[Term, int] = {}

        def slot(term: Term) -> int:
            if term not in number:
                number[term] = len(slots)
                slots.append(term)
            return number[term]

        loads, indices = {}, {}
        for p in self.points:
            if p.kind == "load":
                place = place_of(p.info, self.strides)
                loads[p.number] = self._address(slot(p.info.term), place, groups)
            elif p.kind in ("index", "inside"):
                index = p.info if p.kind == "index" else p.info[0]
                indices[p.number] = self._address(-1, index, groups)
        # A term that is both read and written (in place) has a slot of its own for each.
        written: dict[Term, int] = {}
        stores = []
        for s in self.stores:
            if s.term not in written:
                written[s.term] = len(slots)
                slots.append(s.term)
            place = flat(s.index, self.strides(s.term))
            stores.append((self._address(written[s.term], place, groups), s.point))
        return slots, loads, indices, stores

    def _address(self, slot: int, place: Index, groups: list[list[int]]) -> Address:
        steps = tuple([place.coefficient(g[-1]) for g in groups])
        values = tuple([(v, c) for v, c in place.terms if isinstance(v, Point)])
        return Address(slot, steps, place.const, values)


def signature(form: Form, dtypes_of: Mapping[Term, DType]) -> tuple[Any, ...]:
    """Equal for two forms whose code is the same."""
    number = {p: i for i, p in enumerate(form.points)}

    def address(a: Address) -> tuple[Any, ...]:
        return a.slot, a.steps, a.const, tuple((number[v], c) for v, c in a.values)

    def info(p: Point) -> Any:
        if p.kind == "number":
            return p.dtype.type(p.info).tobytes()
        if p.kind == "apply":
            rule, params = p.info
            return rule, tuple(sorted((k, repr(v)) for k, v in params.items()))
        if p.kind == "load":
            conditions = tuple(number[c] for c in p.info.conditions)
            return address(form.loads[p.number]), conditions
        if p.kind == "index":
            return address(form.indices[p.number])
        if p.kind == "inside":
            return address(form.indices[p.number]), p.info[1:]
        return p.info

    points = tuple(
        (p.kind, tuple(number[a] for a in p.args), info(p), p.dtype.num, form.depth(p), p.stage)
        for p in form.points
    )
    reduces = tuple(
        (r.rule, number[r.arg], number.get(r.position), number.get(r.result), r.stage)
        for r in form.reduces
    )
    stores = tuple((address(a), number[p]) for a, p in form.stores)
    slots = tuple(dtypes_of[t].num for t in form.slots)
    checks = tuple((number[c.holds], number[c.value]) for c in form.checks)
    before = tuple((n, tuple(number[p] for p in loads)) for n, loads in form.before.items())
    partial: Any = None
    if form.partial is not None:
        q = form.partial
        across = tuple(
            (r.rule, *map(number.get, (r.arg, r.position, r.result)), r.arg.dtype.num)
            for r in q.reduces
        )
        partial = across, q.blocks, address(q.place), q.across, q.inner
    loops = form.sizes, form.vector, form.reduced, form.streamed
    return *loops, points, reduces, stores, checks, slots, before, partial
