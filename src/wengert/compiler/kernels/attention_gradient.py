"""The gradient of attention: weights are computed again, a tile at a time, and used five times.

With the scores s, the weights p = exp(s − lse), the cotangent g of the result and each query's
d = Σ g·out, the cotangent of the scores is ds = p·(g·vᵀ − d), and

    dv = pᵀ·g,   dk = scale·dsᵀ·q,   dq = scale·ds·k

(with dropout, p in dv and g·vᵀ in ds are multiplied by its factors). A unit of work are some blocks
of keys of one matrix. It adds up dk and dv of a block over all queries, and dq over its blocks; a
second step adds up the dq of all units of a matrix. With many matrices each is one unit, with few
it is cut into several: sizes alone decide, so results do not depend on threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compiler.kernels.attention_tile import Layout, Problem, Writer, whole_lanes
from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, padded, share, step
from wengert.compiler.llvm.emit import Module, Operand, Value
from wengert.compiler.llvm.types import I8, computed, size_of

WIDTH = 32  # queries of a tile
COLUMNS = 64  # keys of a block
UNITS = 16  # with fewer matrices than that, each is cut


@dataclass(frozen=True)
class AttentionGradient:
    """The gradient as a `Kernel`: (q, k, v, mask?, key and counter?, out, lse, g) → (dq, dk, dv).
    The problem has the strides of q, k, v, out and g."""

    problem: Problem

    @property
    def units(self) -> int:
        """Units of each matrix."""
        p = self.problem
        return max(1, min(-(-p.columns // COLUMNS), -(-UNITS // max(1, p.count))))

    @property
    def shared(self) -> int:
        """Bytes of the sums of dq, which are made for each unit."""
        p = self.problem
        entries = self.units * p.count * _padded_rows(p) * whole_lanes(p, p.features)
        return entries * size_of(computed(p.dtype))

    @property
    def workspace(self) -> Workspace:
        """The sums of dq, and each thread's own memory."""
        return Workspace(self.shared, _Rooms(self.problem).size)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write both steps."""
        last = f"{name}_sum"
        if not module.has(name):
            p, rooms = self.problem, _Rooms(self.problem)
            f, args, thread, threads = step(module, name)
            sums = address(f, args, p.operands + 6)
            own = padded(self.shared) + thread * padded(rooms.size)
            w = Writer(p, f, args, WIDTH, COLUMNS, f.at(sums, own, I8))
            _Backward(w, rooms, self.units, sums).write(thread, threads)
            f.ret()
            self._emit_sum(module, last)
        return [Phase(name), Phase(last)]

    def _emit_sum(self, module: Module, name: str) -> None:
        """The step that adds up dq over the units of each matrix."""
        p = self.problem
        f, args, thread, threads = step(module, name)
        to, sums = address(f, args, p.operands + 3), address(f, args, p.operands + 6)
        w = Writer(p, f, args, WIDTH, COLUMNS, sums)
        pitch = whole_lanes(p, p.features)
        first, last = share(f, p.count * p.rows, thread, threads)
        with f.loop(first, last) as row:
            matrix, r = row // p.rows, row % p.rows
            start = (matrix * (self.units * _padded_rows(p)) + r) * pitch
            line = w.at(sums, start)
            with f.loop(0, pitch, w.lanes) as i:
                total = f.load(w.kind, w.at(line, i))
                for unit in range(1, self.units):
                    at = w.at(line, i + unit * _padded_rows(p) * pitch)
                    total = total + f.load(w.kind, at)
                f.store(total * p.scale, w.at(line, i))
            steps = p.results[0]
            place = w.at(to, w.offset(matrix, steps) + r * steps[-2])
            w.copy_rows(line, pitch, place, steps[-2], 1, p.features)
        f.ret()


def _padded_rows(p: Problem) -> int:
    return -(-p.rows // WIDTH) * WIDTH


def _is_direct(p: Problem, operand: int) -> bool:
    """Whether rows of an operand can be read as vectors where they lie."""
    columns = p.values if operand in (2, 4) else p.features
    return p.strides[operand][-1] == 1 and columns == whole_lanes(p, columns)


class _Rooms(Layout):
    """The scratch memory of a thread."""

    def __init__(self, p: Problem) -> None:
        super().__init__()
        size, rows = size_of(computed(p.dtype)), _padded_rows(p)
        features, values = whole_lanes(p, p.features), whole_lanes(p, p.values)
        self.q = self.take(p.features * rows, size)  # transposed, in tiles of queries
        self.g = self.take(p.values * rows, size)
        self.lse, self.means = self.take(rows, size), self.take(rows, size)
        self.q_rows = self.take(0 if _is_direct(p, 0) else rows * features, size)
        self.g_rows = self.take(0 if _is_direct(p, 4) else rows * values, size)
        self.k_rows = self.take(0 if _is_direct(p, 1) else COLUMNS * features, size)
        self.weights = self.take(max(COLUMNS, p.values) * WIDTH, size)
        self.slopes = self.take(COLUMNS * WIDTH, size)
        self.dk, self.dv = self.take(COLUMNS * features, size), self.take(COLUMNS * values, size)
        self.mask = self.take(COLUMNS * WIDTH if p.mask and p.mask[-2] else 0, size)
        self.bits = self.take((COLUMNS + 16) * WIDTH if p.dropout else 0, 4)


class _Backward:
    def __init__(self, w: Writer, rooms: _Rooms, units: int, sums: Value) -> None:
        self.w, self.f, self.p, self.units, self.sums = w, w.f, w.p, units, sums
        self.features, self.values = whole_lanes(w.p, w.p.features), whole_lanes(w.p, w.p.values)
        slot = w.p.operands
        self.out, self.lse, self.g, _, self.dk, self.dv = (
            address(w.f, w.args, slot + i) for i in range(6)
        )
        self.room = {name: w.room(at) for name, at in vars(rooms).items() if name != "size"}

    def write(self, thread: Value, threads: Value) -> None:
        """All units of a thread."""
        f, w, p = self.f, self.w, self.p
        entries = _padded_rows(p) * self.features
        with f.loop(thread, p.count * self.units, threads) as unit:
            matrix, part = unit // self.units, unit % self.units
            sums = w.at(self.sums, unit * entries)
            f.clear(sums, entries * w.size)
            self._prepare(matrix)
            q, k = self._rows(0, matrix, w.q, "q_rows"), w.at(w.k, w.offset(matrix, p.strides[1]))
            g, v = (
                self._rows(4, matrix, self.g, "g_rows"),
                w.at(w.v, w.offset(matrix, p.strides[2])),
            )
            with f.loop(part * COLUMNS, p.columns, self.units * COLUMNS) as column:
                self._block(matrix, column, sums, (q, k, v, g))

    def _prepare(self, matrix: Value) -> None:
        """Queries and cotangents transposed, and what each query's weights are made with."""
        f, w, p, room = self.f, self.w, self.p, self.room
        f.clear(room["lse"], _padded_rows(p) * w.size)
        first = matrix * p.rows
        f.copy(room["lse"], w.at(self.lse, first), p.rows * w.size, align=w.size)
        with f.loop(0, p.rows, WIDTH) as row:
            live = f.smin(f.i64(p.rows) - row, WIDTH)
            tiles = []
            for i, base, n, to in (
                (0, w.q, p.features, w.at(room["q"], row * p.features)),
                (4, self.g, p.values, w.at(room["g"], row * p.values)),
                (3, self.out, p.values, room["weights"]),
            ):
                steps = p.strides[i]
                if p.rows % WIDTH:
                    f.clear(to, n * WIDTH * w.size)
                source = w.at(base, w.offset(matrix, steps) + row * steps[-2])
                w.pack(n, live, source, steps[-2], steps[-1], to, WIDTH)
                tiles.append(to)
            w.scale(tiles[0], p.features * WIDTH, p.scale)
            self._means(row, tiles[1], tiles[2])

    def _means(self, row: Value, g: Value, out: Value) -> None:
        """Each query's Σ g·out; and an lse of −∞, where there are no weights, becomes +∞."""
        f, w = self.f, self.w
        totals = [f.variable(w.kind, 0) for _ in range(w.vectors)]

        def multiply(i: Value, j: int, place: Value) -> None:
            a, b = (f.load(w.kind, w.at(x, place)) for x in (g, out))
            totals[j].set(totals[j].get() + a * b)

        w.each(self.p.values, multiply)
        for j, total in enumerate(totals):
            at = row + j * w.lanes
            f.store(total.get(), w.at(self.room["means"], at))
            place = w.at(self.room["lse"], at)
            x = f.load(w.kind, place)
            none = f.compare("oeq", x, float("-inf"))
            f.store(f.select(none, float("inf"), x), place)

    def _rows(self, operand: int, matrix: Value, base: Value, room: str) -> tuple[Value, int]:
        """The rows of queries or cotangents as vectors, and the step from one to the next."""
        p, w, steps = self.p, self.w, self.p.strides[operand]
        source = w.at(base, w.offset(matrix, steps))
        if _is_direct(p, operand):
            return source, steps[-2]
        pitch, n = (self.values, p.values) if operand == 4 else (self.features, p.features)
        w.pack(p.rows, n, source, steps[-1], steps[-2], self.room[room], pitch)
        return self.room[room], pitch

    def _block(
        self,
        matrix: Value,
        column: Value,
        sums: Value,
        operands: tuple[tuple[Value, int], Value, Value, tuple[Value, int]],
    ) -> None:
        """dk and dv of a block of keys, and its part of dq."""
        f, w, p, room = self.f, self.w, self.p, self.room
        q, k_base, v_base, g = operands
        k_steps, v_steps = p.strides[1], p.strides[2]
        keys = w.at(k_base, column * k_steps[-2])
        k = keys, k_steps[-2], k_steps[-1]
        v = w.at(v_base, column * v_steps[-2]), v_steps[-2], v_steps[-1]
        count = f.smin(f.i64(p.columns) - column, COLUMNS)
        k_rows = keys, k_steps[-2]
        if not _is_direct(p, 1):
            k_rows = room["k_rows"], self.features
            w.pack(count, p.features, keys, k_steps[-1], k_steps[-2], *k_rows)
        f.clear(room["dk"], COLUMNS * self.features * w.size)
        f.clear(room["dv"], COLUMNS * self.values * w.size)
        first: Operand = column // WIDTH * WIDTH if p.causal else 0
        weights, slopes = (room["weights"], WIDTH), (room["slopes"], WIDTH)
        with f.loop(first, p.rows, WIDTH) as row:
            live = f.smin(f.i64(p.rows) - row, WIDTH)
            n = f.smin(row + WIDTH - column, count) if p.causal else count
            tail = p.columns % w.height
            q_tile, g_tile = w.at(room["q"], row * p.features), w.at(room["g"], row * p.values)
            w.product((n, WIDTH, f.i64(p.features)), k, (q_tile, WIDTH), weights, 0, tail)
            w.product((n, WIDTH, f.i64(p.values)), v, (g_tile, WIDTH), slopes, 0, tail)
            w.fill_mask(room["mask"], matrix, row, live, column, n)
            w.fill_bits(room["bits"], matrix, row, live, column, n)
            self._slopes(matrix, row, column, n)
            g_line, q_line = w.at(g[0], row * g[1]), w.at(q[0], row * q[1])
            a = room["weights"], WIDTH, 1
            dv = room["dv"], self.values
            w.product((n, self.values, live), a, (g_line, g[1]), dv, 1, tail)
            a = room["slopes"], WIDTH, 1
            dk = room["dk"], self.features
            w.product((n, self.features, live), a, (q_line, q[1]), dk, 1, tail)
            a = room["slopes"], 1, WIDTH
            dq = w.at(sums, row * self.features), self.features
            w.product((WIDTH, self.features, n), a, k_rows, dq, 1)
        w.scale(room["dk"], COLUMNS * self.features, p.scale)
        for name, base, pitch, columns, steps in (
            ("dk", self.dk, self.features, p.features, p.results[1]),
            ("dv", self.dv, self.values, p.values, p.results[2]),
        ):
            to = w.at(base, w.offset(matrix, steps) + column * steps[-2])
            w.copy_rows(room[name], pitch, to, steps[-2], count, columns)

    def _slopes(self, matrix: Value, row: Value, column: Value, count: Value) -> None:
        """Scores become weights, and the cotangents of weights those of scores."""
        f, w, p, room = self.f, self.w, self.p, self.room
        queries = [w.queries(row, j) for j in range(w.vectors)]
        lse, means = (
            [f.load(w.kind, w.at(room[x], row + j * w.lanes)) for j in range(w.vectors)]
            for x in ("lse", "means")
        )

        def slope(c: Value, j: int, place: Value) -> None:
            s = f.load(w.kind, w.at(room["weights"], place))
            s = w.masked(s, room["mask"], matrix, column, c, place)
            s = w.causal(s, queries[j], column, c)
            e = w.rules.exp(s - lse[j])
            if p.rows % WIDTH:
                e = f.select(f.compare("slt", queries[j], p.rows), e, 0.0)
            d = f.load(w.kind, w.at(room["slopes"], place))
            d, used = w.dropped(room["bits"], place, [d, e])
            f.store(used, w.at(room["weights"], place))
            f.store(e * (d - means[j]), w.at(room["slopes"], place))

        w.each(count, slope)
