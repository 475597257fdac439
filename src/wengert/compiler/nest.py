"""Loop nests: what is computed at each point of an iteration space.

A `Nest` has dimensions, and *points*: values at each position of the space, made from entries of
arrays (`Load`), numbers, indices, and pointwise rules. `Builder.pull` turns a term of the program
into a point at a given index: views only change the index, element-wise terms are computed where
they are needed, and terms that stand in memory are loaded. So a chain of element-wise ops, slices,
broadcasts and pads becomes one expression, and nothing in between is ever stored.

A nest may reduce: then some of its dimensions are `reduced`, and the results of its reductions are
points that no longer vary along them. What depends on such a result belongs to a later *stage*, a
further pass over the reduced dimensions.

It may also reduce across: over the other dimensions, and not over those. Such results (the column
sums of what a nest does with rows) are there only when all of it has run, so nothing in it may use
them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wengert.compiler.ir import Term
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.index import ZERO, Index, Indices, NotAffine, Place
from wengert.core.lowering import Indexed, Pointwise, Reduction, View
from wengert.core.spec import Shape

WHOLE = 16  # lanes that a vector has at most
_ANY = (-(1 << 62), 1 << 62)  # what a computed index may be


class Conflict(Exception):
    """A term cannot be part of this nest, or must be stored first: `term` names the latter."""

    def __init__(self, why: str, term: Term | None = None) -> None:
        super().__init__(why)
        self.term = term


class Point:
    """A value at each position of an iteration space.

    Attributes
    ----------
    kind : "number", "load", "index", "inside", "apply", "result" or "cast"
    args : points that it is computed from
    info : what else it is made of, by kind
    dtype : of the value
    dims : the dimensions along which it varies
    stage : how many passes over the reduced dimensions come before it
    """

    __slots__ = ("args", "dims", "dtype", "info", "kind", "number", "stage")

    def __init__(
        self,
        kind: str,
        args: tuple[Point, ...],
        info: Any,
        dtype: DType,
        dims: frozenset[int],
        number: int,
    ) -> None:
        self.kind, self.args, self.info, self.dtype = kind, args, info, dtype
        self.dims, self.number = dims, number
        self.stage: int = max([a.stage for a in args], default=0)


@dataclass
class Reduce:
    """One reduction of a nest: a term, the point that it reads, where that stands along the reduced
    axes, the point of its result, and the dimensions that it goes over."""

    term: Term
    rule: Reduction
    arg: Point
    position: Point
    stage: int
    result: Point
    over: frozenset[int]


@dataclass
class Access:
    """How a term in memory is read: at which index, under which conditions. With a `shape`, the
    index is into the row-major array of that shape which has the same entries."""

    term: Term
    index: Indices
    conditions: tuple[Point, ...]
    shape: Shape | None = None


@dataclass
class Check:
    """Something that must hold at every position: a point, the integer to report where it does not,
    and the error to raise with that integer. It belongs to a term, and is made when that is."""

    holds: Point
    value: Point
    error: Callable[[int], Exception]


@dataclass
class Store:
    """A point that is written to memory: entry `index` of a term."""

    term: Term
    index: Indices
    point: Point


@dataclass
class Nest:
    """Dimensions, points, reductions and stores; see the module."""

    dims: list[int]
    reduced: frozenset[int] = frozenset()
    across: frozenset[int] = frozenset()  # what other reductions go over
    points: list[Point] = field(default_factory=list)
    roots: dict[Term, tuple[Indices, Point]] = field(default_factory=dict)
    reduces: list[Reduce] = field(default_factory=list)
    checks: dict[Point, Check] = field(default_factory=dict)  # by the point that relies on them

    def is_across(self, point: Point) -> bool:
        """Whether a point is the result of a reduction across the nest."""
        if point.kind != "result" or not self.across:
            return False
        return self.reduces[point.info].over == self.across

    @property
    def reads(self) -> list[Access]:
        """All loads."""
        return [p.info for p in self.points if p.kind == "load"]


class Builder:
    """Fills a nest with the points of terms. `stored(term)` says whether a term stands in memory
    (or will, when this nest runs)."""

    def __init__(self, nest: Nest, stored: Callable[[Term], bool]) -> None:
        self.nest, self.stored = nest, stored
        self.memo: dict[Any, Point] = {}
        self.conditions: tuple[Point, ...] = ()
        self.limits: dict[Point, tuple[int, int]] = {}  # of computed indices that are known

    def size(self, dim: int) -> int:
        """The size of a dimension."""
        return self.nest.dims[dim]

    # -- terms -------------------------------------------------------------------------------

    def pull(self, term: Term, index: Indices) -> Point:
        """The value of a term at an index."""
        known = self.nest.roots.get(term)
        if known is not None:
            if [i.key() for i in known[0]] != [i.key() for i in index]:
                raise Conflict("a term of this nest is needed at another position")
            if self.nest.is_across(known[1]):
                raise Conflict("a result that is there only when the nest has run")
            return self._as_stored(known[1])
        if self.stored(term):
            return self.load(term, index)
        return self.compute(term, index)

    def _as_stored(self, x: Point) -> Point:
        """A result of this nest as the others read it: a half is rounded. A term is one number
        wherever it is used, so that the entry that is the maximum equals the maximum."""
        return self.apply(_rounded, x, dtype=x.dtype) if _is_half(x.dtype) else x

    def compute(self, term: Term, index: Indices) -> Point:
        """The same for a term that is computed here."""
        key = ("term", term, tuple([i.key() for i in index]), self.conditions)
        found = self.memo.get(key)
        if found is None:
            found = self.memo[key] = self._compute(term, index)
        return found

    def _compute(self, term: Term, index: Indices) -> Point:
        if term.op is None:
            number = term.number
            if number is None:
                raise Conflict("an array that must stand in memory", term)
            return self.number(number, term.dtype)
        lowering = term.op.lower
        place = Place(index, term.shape, self.size)
        if isinstance(lowering, Reduction):
            return self._reduce_nothing(term, lowering, index)
        try:
            if isinstance(lowering, Pointwise):
                args = tuple([self.pull(a, place.broadcast(a.shape)) for a in term.args])
                return self.apply(lowering.rule, *args, dtype=term.dtype, params=term.params)
            if isinstance(lowering, View):
                (x,) = term.args
                return self.pull(x, lowering.rule(place, x, **term.params))
            if isinstance(lowering, Indexed):
                return self._gather(term, lowering, place)
        except NotAffine:
            (x,) = term.args
            if x in self.nest.roots:  # it is not in memory before this nest has run
                raise Conflict("a term of this nest is needed at another position") from None
            if not self.stored(x):
                raise Conflict("an index that is not affine", x) from None
            return self.load(x, index, term.shape)
        raise Conflict("a term that is no part of a loop nest", term)

    def _gather(self, term: Term, lowering: Indexed, place: Place) -> Point:
        before = len(self.nest.checks)
        found: Point = lowering.rule(self, place, *term.args, **term.params)
        made = list(self.nest.checks)[before:]
        if any(
            not self._is_whole(c) or c.dims & index.dims for c in self.conditions for index in made
        ):
            # Which entries are read would differ from lane to lane: slow, if rows are copied.
            raise Conflict("computed indices where a condition holds", term)
        return found

    def _limits(self, condition: Point) -> tuple[int, int] | None:
        """From where to where a condition on a single dimension holds; no limit is 0."""
        if condition.kind != "inside" or len(condition.info[0].terms) != 1:
            return None
        index, low, high = condition.info
        ((dim, step),) = index.terms
        low, high = max(low - index.const, 0), high - index.const
        if not isinstance(dim, int) or step != 1 or low >= min(high, self.size(dim)):
            return None
        return low, high if high < self.size(dim) else 0

    def _is_whole(self, condition: Point) -> bool:
        """Whether a condition is met by all lanes of a vector, or by none."""
        limits = self._limits(condition)
        return limits is not None and limits[0] % WHOLE == limits[1] % WHOLE == 0

    def _binding(self, dims: frozenset[int]) -> tuple[Point, ...]:
        """The conditions that matter for what varies along some dimensions: not those on another
        one that are met somewhere, since then it is needed at each of its positions."""
        found = []
        for c in self.conditions:
            others = any(c.dims & other.dims for other in self.conditions if other is not c)
            if c.dims & dims or others or self._limits(c) is None:
                found.append(c)
        return tuple(found)

    def _reduce_nothing(self, term: Term, lowering: Reduction, index: Indices) -> Point:
        """A reduction over one entry, or over none."""
        (x,) = term.args
        axes = reduced_axes(term)
        if any(x.shape[a] == 0 for a in axes):
            (start,) = lowering.start(x.dtype)
            return self.number(start, term.dtype)
        kept = iter(index)
        places = tuple([ZERO if a in axes else next(kept) for a in range(x.ndim)])
        params = {"rule": lowering}
        args = self.pull(x, places), self.position(ZERO)
        return self.apply(_fed, *args, dtype=term.dtype, params=params)

    # -- points ------------------------------------------------------------------------------

    def make(
        self,
        kind: str,
        args: tuple[Point, ...],
        info: Any,
        dtype: DType,
        dims: frozenset[int],
        key: Any,
    ) -> Point:
        """A point, made once for equal keys."""
        found = self.memo.get(key)
        if found is None:
            found = Point(kind, args, info, dtype, dims, len(self.nest.points))
            self.nest.points.append(found)
            self.memo[key] = found
        return found

    def number(self, value: Any, dtype: DType) -> Point:
        """A constant."""
        bits = dtypes.as_dtype(dtype).type(value).tobytes()
        return self.make("number", (), value, dtype, frozenset(), ("number", bits, dtype))

    def load(self, term: Term, index: Indices, shape: Shape | None = None) -> Point:
        """An entry of a term in memory, under the conditions that hold here; see `Access`."""
        dims, values = _variables(index)
        conditions = self._binding(dims)
        for c in conditions:
            dims = dims | c.dims
        key = ("load", term, tuple([i.key() for i in index]), conditions, shape)
        access = Access(term, index, conditions, shape)
        args = (*values, *conditions)
        return self.make("load", args, access, term.dtype, dims, key)

    def read(self, operand: Term, index: Sequence[Index]) -> Point:
        """An operand of an `Indexed` op, at an index."""
        return self.pull(operand, tuple(index))

    def position(self, index: Index) -> Point:
        """An index as an int64 value."""
        dims, values = _variables((index,))
        return self.make("index", values, index, dtypes.int64, dims, ("index", index.key()))

    def inside(self, index: Index, low: int, high: int) -> Point | None:
        """Whether `low <= index < high`; None where it always is."""
        least, most = self.bounds(index)
        if low <= least and most < high:
            return None
        dims, values = _variables((index,))
        info = (index, low, high)
        return self.make("inside", values, info, dtypes.bool, dims, ("in", index.key(), low, high))

    def guarded(
        self, conditions: Sequence[Point | None], make: Callable[[], Point], other: Point
    ) -> Point:
        """`make()` where all conditions hold, else `other`; nothing is read where they do not."""
        real = tuple([c for c in conditions if c is not None and c not in self.conditions])
        if not real:
            return make()
        before = self.conditions
        self.conditions = (*before, *real)
        try:
            value = make()
        finally:
            self.conditions = before
        holds = functools.reduce(lambda a, b: self.apply(both, a, b, dtype=dtypes.bool), real)
        return self.apply(choose, holds, value, other, dtype=value.dtype)

    def divided(self, index: Index, n: int) -> tuple[Index, Point | None]:
        """An index over n, and whether that is whole; None where it always is."""
        if index.const % n == 0 and all(c % n == 0 for _, c in index.terms):
            terms = tuple([(v, c // n) for v, c in index.terms])
            return Index(terms, index.const // n), None
        place = self.position(index)
        whole = self.apply(floor_divide, place, dtype=dtypes.int64, params={"n": n})
        return Index.of(whole), self.apply(_divides, place, dtype=dtypes.bool, params={"n": n})

    def quotient(self, index: Index, n: int) -> Index:
        """An index that is never negative over n, rounded down."""
        whole = Index(tuple([t for t in index.terms if t[1] % n == 0]), index.const // n * n)
        rest = Index(tuple([t for t in index.terms if t[1] % n]), index.const % n)
        low, high = self.bounds(rest)
        if low >= 0 and high < n:
            return Index(tuple([(v, c // n) for v, c in whole.terms]), whole.const // n)
        params = {"n": n}
        found = self.apply(floor_divide, self.position(index), dtype=dtypes.int64, params=params)
        low, high = self.bounds(index)
        self.limits[found] = low // n, high // n
        return Index.of(found)

    def bounds(self, index: Index) -> tuple[int, int]:
        """Between what an index lies."""
        low = high = index.const
        for var, c in index.terms:
            least, most = self.limits.get(var, _ANY) if isinstance(var, Point) else self._span(var)
            low, high = low + min(c * least, c * most), high + max(c * least, c * most)
        return low, high

    def _span(self, dim: Any) -> tuple[int, int]:
        return 0, self.size(dim) - 1

    def checked(
        self, value: Point, low: int, high: int, error: Callable[[int], Exception]
    ) -> Point:
        """An integer, once it is checked to be in [low, high): where it is not, the program ends
        with `error(value)`, and goes on with `low` until then."""
        params = {"low": low, "high": high}
        wide = self.cast(value, dtypes.int64)
        holds = self.apply(_between, wide, dtype=dtypes.bool, params=params)
        for c in self._binding(wide.dims):
            holds = self.apply(_unless, c, holds, dtype=dtypes.bool)
        safe = self.apply(_or_low, holds, wide, dtype=dtypes.int64, params={"low": low})
        self.nest.checks[safe] = Check(holds, wide, error)
        return safe

    def variable(self, value: Point) -> Index:
        """A computed integer as an index, to gather with."""
        return Index.of(value)

    def apply(
        self,
        rule: Callable[..., Any],
        *args: Point,
        dtype: DType,
        params: dict[str, Any] | None = None,
    ) -> Point:
        """A pointwise rule applied to points."""
        dims = frozenset().union(*[a.dims for a in args]) if args else frozenset()
        given = params or {}
        try:
            key: Any = ("apply", rule, args, dtype, tuple(sorted(given.items())))
            hash(key)
        except TypeError:
            key = ("apply", rule, args, dtype, id(params))
        return self.make("apply", args, (rule, given), dtype, dims, key)

    def cast(self, x: Point, dtype: DType) -> Point:
        """The value in another dtype."""
        if x.dtype == dtype:
            return x
        return self.make("cast", (x,), None, dtype, x.dims, ("cast", x, dtype))

    # -- roots -------------------------------------------------------------------------------

    def add_element(self, term: Term, index: Indices) -> None:
        """Let the nest compute an element-wise term at each of its positions."""
        point = self.compute(term, index)
        self.nest.roots[term] = (index, point)

    def add_reduction(
        self, term: Term, index: Indices, axes: Sequence[int], over: frozenset[int]
    ) -> None:
        """Let the nest reduce the operand of a term, which is read at `index`, over some axes, that
        are the dimensions `over`."""
        (x,) = term.args
        lowering = term.op.lower if term.op is not None else None
        assert isinstance(lowering, Reduction)
        arg = self.pull(x, index)
        place = ZERO
        for a in axes:
            place = place * x.shape[a] + index[a]
        position = self.position(place)
        kept = tuple([i for a, i in enumerate(index) if a not in axes])
        dims, _ = _variables(kept)
        result = Point(
            "result", (), len(self.nest.reduces), term.dtype, dims, len(self.nest.points)
        )
        stage = max(arg.stage, position.stage)
        result.stage = stage + 1
        self.nest.points.append(result)
        made = Reduce(term, lowering, arg, position, stage, result, over)
        self.nest.reduces.append(made)
        self.nest.roots[term] = (kept, result)


def reduced_axes(term: Term) -> tuple[int, ...]:
    """The axes of its operand that a reduction goes over."""
    axis = term.params["axis"]
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _fed(k: Any, x: Any, position: Any, rule: Reduction) -> Any:
    if x.lanes and not position.lanes:
        position = k.f.splat(position, x.lanes)
    return rule.finish(k, rule.feed(k, x, position))


def _is_half(dtype: DType) -> bool:
    return dtypes.is_float(dtype) and dtype.itemsize == 2


def _rounded(k: Any, x: Any) -> Any:
    return k.rounded(x)


def floor_divide(k: Any, x: Any, n: int) -> Any:
    """x over n, for indices."""
    return x // n


def _divides(k: Any, x: Any, n: int) -> Any:
    return k.f.compare("eq", x % n, 0)


def _between(k: Any, x: Any, low: int, high: int) -> Any:
    return k.f.compare("ult", x - low, high - low)


def _unless(k: Any, a: Any, b: Any) -> Any:
    return k.either(k.negated(a), b)


def _or_low(k: Any, holds: Any, x: Any, low: int) -> Any:
    return k.select(holds, x, low)


def both(k: Any, a: Any, b: Any) -> Any:
    """Whether two conditions hold."""
    return a & b


def choose(k: Any, condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`."""
    return k.select(condition, a, b)


def _variables(index: Sequence[Index]) -> tuple[frozenset[int], tuple[Point, ...]]:
    """The dimensions that an index varies along, and the computed values in it."""
    dims: set[int] = set()
    values: list[Point] = []
    for i in index:
        for var, _ in i.terms:
            if isinstance(var, int):
                dims.add(var)
            else:
                assert isinstance(var, Point)
                values.append(var)
                dims |= var.dims
    return frozenset(dims), tuple(dict.fromkeys(values))
