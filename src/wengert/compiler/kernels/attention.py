"""Attention: the weights of some queries at a time, for a block of keys after the other.

A unit of work are 32 queries of one matrix. For each block of keys it computes their scores, takes
the largest of each query so far, and what has been added up before is scaled down to it (Milakov
and Gimelshein 2018). So each result is one computation in one order, whichever thread does it. What
lies wholly behind the causal mask is not computed.
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compiler.kernels.attention_tile import Layout, Problem, Writer, whole_lanes
from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, padded, step
from wengert.compiler.llvm.emit import Module, Value
from wengert.compiler.llvm.types import I8, computed, size_of

WIDTH = 32  # queries of a unit
COLUMNS = 128  # keys of a block


@dataclass(frozen=True)
class Attention:
    """Attention as a `Kernel`: (q, k, v, mask?, key and counter?) → (out, lse); the lse is
    row-major."""

    problem: Problem

    @property
    def workspace(self) -> Workspace:
        """The tiles of each thread."""
        return Workspace(0, _Rooms(self.problem).size)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the step."""
        if not module.has(name):
            f, args, thread, threads = step(module, name)
            p = self.problem
            rooms = _Rooms(p)
            scratch = f.at(address(f, args, p.operands + 2), thread * padded(rooms.size), I8)
            _Forward(Writer(p, f, args, WIDTH, COLUMNS, scratch), rooms).write(thread, threads)
            f.ret()
        return [Phase(name)]


class _Rooms(Layout):
    """The scratch memory of a thread."""

    def __init__(self, p: Problem) -> None:
        super().__init__()
        size = size_of(computed(p.dtype))
        self.q = self.take(p.features * WIDTH, size)
        self.scores = self.take(COLUMNS * WIDTH, size)
        self.out = self.take(p.values * WIDTH, size)  # transposed
        self.rows = self.take(whole_lanes(p, p.values) * WIDTH, size)
        self.lse = self.take(WIDTH, size)
        self.mask = self.take(COLUMNS * WIDTH if p.mask and p.mask[-2] else 0, size)
        self.bits = self.take((COLUMNS + 16) * WIDTH if p.dropout else 0, 4)


class _Forward:
    def __init__(self, w: Writer, rooms: _Rooms) -> None:
        self.w, self.f, self.p = w, w.f, w.p
        slot = w.p.operands
        self.out, self.lse = address(w.f, w.args, slot), address(w.f, w.args, slot + 1)
        self.packed, self.scores = w.room(rooms.q), w.room(rooms.scores)
        self.sums, self.rows = w.room(rooms.out), w.room(rooms.rows)
        self.lse_row, self.mask, self.bits = (
            w.room(x) for x in (rooms.lse, rooms.mask, rooms.bits)
        )
        self.top = [w.f.variable(w.kind) for _ in range(w.vectors)]
        self.total = [w.f.variable(w.kind) for _ in range(w.vectors)]

    def write(self, thread: Value, threads: Value) -> None:
        """All units of a thread. Every other matrix begins with its last queries: under the causal
        mask they take longer, and so each thread gets as many of them."""
        f, blocks = self.f, -(-self.p.rows // WIDTH)
        with f.loop(thread, self.p.count * blocks, threads) as unit:
            matrix, block = unit // blocks, unit % blocks
            odd = f.compare("ne", matrix & 1, 0)
            self._unit(matrix, f.select(odd, f.i64(blocks - 1) - block, block) * WIDTH)

    def _unit(self, matrix: Value, row: Value) -> None:
        """Some queries: from number `row` on."""
        f, w, p = self.f, self.w, self.p
        live = f.smin(f.i64(p.rows) - row, WIDTH)
        q, k, v = p.strides[:3]
        source = w.at(w.q, w.offset(matrix, q) + row * q[-2])
        w.pack(p.features, live, source, q[-2], q[-1], self.packed, WIDTH)
        w.scale(self.packed, p.features * WIDTH, p.scale)
        for top, total in zip(self.top, self.total, strict=True):
            top.set(float("-inf"))
            total.set(0.0)
        keys = w.at(w.k, w.offset(matrix, k))
        values = w.at(w.v, w.offset(matrix, v))
        end = f.smin(row + WIDTH, p.columns) if p.causal else f.i64(p.columns)
        with f.loop(0, end, COLUMNS) as column:
            count = f.smin(end - column, COLUMNS)
            a = w.at(keys, column * k[-2]), k[-2], k[-1]
            tail = p.columns % w.height
            w.product(
                (count, WIDTH, p.features), a, (self.packed, WIDTH), (self.scores, WIDTH), 0, tail
            )
            w.fill_mask(self.mask, matrix, row, live, column, count)
            w.fill_bits(self.bits, matrix, row, live, column, count)
            again = f.compare("sgt", column, 0)
            self._weigh(matrix, row, column, count, again)
            a = w.at(values, column * v[-2]), v[-1], v[-2]
            w.product((p.values, WIDTH, count), a, (self.scores, WIDTH), (self.sums, WIDTH), again)
        self._finish(matrix, row, live)

    def _weigh(self, matrix: Value, row: Value, column: Value, count: Value, again: Value) -> None:
        """Scores become weights, relative to the largest score so far."""
        f, w = self.f, self.w
        queries = [w.queries(row, j) for j in range(w.vectors)]
        fresh = [f.variable(w.kind, top.get()) for top in self.top]

        def look(c: Value, j: int, place: Value) -> None:
            s = f.load(w.kind, w.at(self.scores, place))
            if self.p.causal or self.p.mask is not None:
                s = w.masked(s, self.mask, matrix, column, c, place)
                s = w.causal(s, queries[j], column, c)
                f.store(s, w.at(self.scores, place))
            best = fresh[j].get()
            fresh[j].set(f.select(f.compare("ogt", s, best), s, best))

        w.each(count, look)
        shift = [self._finite(x.get()) for x in fresh]
        down = [w.rules.exp(old.get() - x) for old, x in zip(self.top, shift, strict=True)]
        with f.when(again), f.loop(0, self.p.values) as i:
            for j, factor in enumerate(down):
                at = w.at(self.sums, i * WIDTH + j * w.lanes)
                f.store(f.load(w.kind, at) * factor, at)
        for total, factor, top, x in zip(self.total, down, self.top, fresh, strict=True):
            total.set(total.get() * factor)
            top.set(x.get())

        def weigh(c: Value, j: int, place: Value) -> None:
            at = w.at(self.scores, place)
            e = w.rules.exp(f.load(w.kind, at) - shift[j])
            self.total[j].set(self.total[j].get() + e)
            f.store(w.dropped(self.bits, place, [e])[0], at)

        w.each(count, weigh)

    def _finite(self, top: Value) -> Value:
        """The largest score, 0 where every key is masked: so that no infinities are subtracted."""
        return self.f.select(self.f.compare("oeq", top, float("-inf")), 0.0, top)

    def _finish(self, matrix: Value, row: Value, live: Value) -> None:
        """Divide by the sums of weights, and write the results."""
        f, w, p = self.f, self.w, self.p
        totals = [x.get() for x in self.total]
        nothing = [f.compare("oeq", x, 0.0) for x in totals]
        whole = [f.select(n, 1.0, x) for n, x in zip(nothing, totals, strict=True)]
        with f.loop(0, p.values) as i:
            for j, x in enumerate(whole):
                at = w.at(self.sums, i * WIDTH + j * w.lanes)
                f.store(f.load(w.kind, at) / x, at)
        pitch = whole_lanes(p, p.values)
        w.pack(WIDTH, p.values, self.sums, WIDTH, 1, self.rows, pitch)
        steps = p.results[0]
        to = w.at(self.out, w.offset(matrix, steps) + row * steps[-2])
        w.copy_rows(self.rows, pitch, to, steps[-2], live, p.values)
        for j, (top, x) in enumerate(zip(self.top, whole, strict=True)):
            lse = self._finite(top.get()) + w.rules.log(x)
            lse = f.select(nothing[j], float("-inf"), lse)
            f.store(lse, w.at(self.lse_row, j * w.lanes))
        first = matrix * p.rows + row
        f.copy(w.at(self.lse, first), self.lse_row, live * w.size, align=w.size)
