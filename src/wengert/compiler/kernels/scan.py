"""Running results along one axis: sums, products, extremes, and the first-order recurrence.

Seen as (pre, n, post), with the axis in the middle, an array has pre · post *lines* along it. Each
is gone through from its first entry to its last, as the references do; neighbouring lines go side
by side in vectors, and the threads share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, share, step
from wengert.compiler.kernels.pieces import SMALL, Entries, split_lanes
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module, Value, Variable
from wengert.compiler.llvm.types import vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

Values = list[Value]


@dataclass(frozen=True)
class Rule:
    """How a line goes on: what it carries from its first entries, and then from entry to entry. The
    first carried value is the result. Operands come one entry each; `position` counts entries."""

    first: Callable[[Any, Values, Value], Values]
    step: Callable[[Any, Values, Values, Value], Values]
    light: bool = True  # whether several vectors should go side by side


def _extreme(beats: str) -> Rule:
    """Where the extreme of the entries so far stands: the latest of equal ones, then the latest
    NaN."""

    def go_on(k: Any, carried: Values, x: Values, position: Value) -> Values:
        index, best = carried
        best = getattr(k, beats)(best, x[0])
        hit = k.either(k.isnan(x[0]), k.eq(x[0], best))
        return [k.select(hit, position, index), best]

    return Rule(lambda k, x, position: [position, x[0]], go_on)


RULES = {
    "cumsum": Rule(lambda k, x, _: x, lambda k, s, x, _: [k.add(s[0], x[0])]),
    "cumprod": Rule(lambda k, x, _: x, lambda k, s, x, _: [k.mul(s[0], x[0])]),
    "logcumsumexp": Rule(
        lambda k, x, _: x, lambda k, s, x, _: [k.logaddexp(s[0], x[0])], light=False
    ),
    "recurrence": Rule(lambda k, x, _: [x[1]], lambda k, s, x, _: [k.add(x[1], k.mul(x[0], s[0]))]),
    "cummax_index": _extreme("maximum"),
    "cummin_index": _extreme("minimum"),
}

SIDE_BY_SIDE = 4  # vectors of lines
LINES = 8  # lines that are apart in memory and go side by side nevertheless


@dataclass(frozen=True)
class Lanes:
    """Lines that go side by side: the first one's place in each operand and in the result, and how
    far the others are behind it (None: next to each other)."""

    operands: tuple[Value, ...]
    result: Value
    count: int
    apart: tuple[Values, ...] | None = None


@dataclass(frozen=True)
class Scan:
    """Running results as a `Kernel`.

    The operands are seen as (pre, n, post), each with three steps, of which the last is 1 (or post
    is); the result is row-major.

    Attributes
    ----------
    rule : a name in `RULES`
    reverse : whether lines run from their ends
    """

    rule: str
    dtype: DType
    shape: tuple[int, int, int]
    steps: tuple[tuple[int, int, int], ...]
    reverse: bool
    target: Target = field(default_factory=build.host)

    @property
    def workspace(self) -> Workspace:
        """It needs none."""
        return Workspace()

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the step."""
        pre, n, post = self.shape
        phases = [Phase(name, pre * n * post < SMALL)]
        if not module.has(name):
            _Writer(self, module, name).write()
        return phases


class _Writer:
    def __init__(self, scan: Scan, module: Module, name: str) -> None:
        self.scan, self.rule = scan, RULES[scan.rule]
        self.pre, self.n, self.post = scan.shape
        self.f, self.args, self.thread, self.threads = step(module, name)
        f, count = self.f, len(scan.steps)
        self.source = Entries(f, scan.dtype, scan.target)
        is_index = scan.rule.endswith("index")
        self.target = Entries(f, dtypes.int64 if is_index else scan.dtype, scan.target)
        self.bases = [address(f, self.args, i) for i in range(count)]
        self.result = address(f, self.args, count)
        self.lanes = min(self.source.lanes, 16)

    def write(self) -> None:
        """The whole function."""
        if self.post >= LINES:
            self._columns()
        else:
            self._lines()
        self.f.ret()

    # -- lines next to each other ------------------------------------------------------------

    def _columns(self) -> None:
        f, post = self.f, self.post
        most = SIDE_BY_SIDE if self.rule.light else 1
        vectors = max(1, min(most, post // self.lanes // 8))
        tile = vectors * self.lanes
        tiles = -(-post // tile)
        lo, hi = share(f, self.pre * tiles, self.thread, self.threads)
        with f.loop(lo, hi) as part:
            pre, start = part // tiles, (part % tiles) * tile
            whole, rest = divmod(post, tile)
            if not rest:
                self._side_by_side(pre, start, [self.lanes] * vectors)
            elif not whole:
                self._rest(pre, start, rest)
            else:
                with f.choice(f.compare("slt", part % tiles, whole)) as labels:
                    self._side_by_side(pre, start, [self.lanes] * vectors)
                    f.otherwise(labels)
                    self._rest(pre, start, rest)

    def _rest(self, pre: Value, start: Value, count: int) -> None:
        whole, rest = divmod(count, self.lanes)
        self._side_by_side(
            pre, start, [self.lanes] * whole + [length for _, length in split_lanes(rest)]
        )

    def _side_by_side(self, pre: Value, start: Value, lengths: Sequence[int]) -> None:
        """Neighbouring lines from `start` on, in vectors of these lengths."""
        groups = []
        for length in lengths:
            operands = tuple(
                [
                    self.source.at(base, pre * steps[0] + start)
                    for base, steps in zip(self.bases, self.scan.steps, strict=True)
                ]
            )
            result = self.target.at(self.result, pre * (self.n * self.post) + start)
            groups.append(Lanes(operands, result, length))
            start = start + length
        self._run(groups)

    # -- lines apart -------------------------------------------------------------------------

    def _lines(self) -> None:
        """Several lines in one vector, entry by entry; then those that are left, one by one."""
        f = self.f
        count = self.pre * self.post
        lo, hi = share(f, count, self.thread, self.threads, LINES)
        whole = count // LINES * LINES
        with f.loop(lo, f.smin(hi, whole), LINES) as line:
            self._run([self._apart(line, LINES)])
        if whole < count:
            with f.loop(f.smax(lo, whole), hi) as line:
                self._run([self._apart(line, 1)])

    def _apart(self, line: Value, count: int) -> Lanes:
        places = [self._line(line + i) for i in range(count)]
        first, *_ = places
        apart = tuple([[p[i] - first[i] for p in places] for i in range(len(first))])
        operands = tuple(
            [self.source.at(base, at) for base, at in zip(self.bases, first[:-1], strict=True)]
        )
        return Lanes(operands, self.target.at(self.result, first[-1]), count, apart)

    def _line(self, line: Value) -> Values:
        """Where a line starts: in each operand, and in the result."""
        pre, column = line // self.post, line % self.post
        starts = [pre * s[0] + column * s[2] for s in self.scan.steps]
        return [*starts, pre * (self.n * self.post) + column]

    # -- along the lines ---------------------------------------------------------------------

    def _run(self, groups: Sequence[Lanes]) -> None:
        """Go through all entries of some lines."""
        f, k = self.f, self.source.rules
        carried: list[list[Variable]] = []
        first = self._at(f.i64(0))
        for g in groups:
            values = self.rule.first(k, self._load(g, first), self._position(f.i64(0), g))
            self._store(values[0], g, first)
            carried.append([f.variable(v.type, v) for v in values])
        with f.loop(1, f.i64(self.n)) as i:
            at = self._at(i)
            for g, variables in zip(groups, carried, strict=True):
                old = [v.get() for v in variables]
                values = self.rule.step(k, old, self._load(g, at), self._position(i, g))
                for v, value in zip(variables, values, strict=True):
                    v.set(value)
                self._store(values[0], g, at)

    def _at(self, i: Value) -> Value:
        """The entry that comes as number i."""
        return self.f.i64(self.n - 1) - i if self.scan.reverse else i

    def _position(self, i: Value, g: Lanes) -> Value:
        return self.f.splat(i, g.count) if g.count > 1 else i

    def _load(self, g: Lanes, at: Value) -> Values:
        found = []
        for number, (base, steps) in enumerate(zip(g.operands, self.scan.steps, strict=True)):
            place = self.source.at(base, at * steps[1])
            if g.apart is None or g.count == 1:
                found.append(self.source.load(place, g.count))
                continue
            found.append(self._joined(place, g.apart[number]))
        return found

    def _joined(self, place: Value, apart: Values) -> Value:
        """One entry of each of several lines."""
        values = [self.source.load(self.source.at(place, d), 1) for d in apart]
        joined = Value(vector(len(values), values[0].type), "poison", self.f)
        for lane, value in enumerate(values):
            joined = self.f.insert(joined, value, lane)
        return joined

    def _store(self, x: Value, g: Lanes, at: Value) -> None:
        place = self.target.at(g.result, at * self.post)
        if g.apart is None or g.count == 1:
            self.target.store(x, place)
            return
        for lane, d in enumerate(g.apart[-1]):
            self.target.store(self.f.extract(x, lane), self.target.at(place, d))
