"""Reductions over indices: rows of values are combined with the rows of a result that indices name.

With an index array of m entries in place of an axis of size n: values (pre, m, post), result
(pre, n, post). Each entry of the result takes in its values in the order of their indices, whatever
the number of threads: a thread has ranges of leading places, of columns (parts of `post`) and, if
these are too few, of rows of the result; it goes through all indices in order, and leaves out the
rows that are another thread's.

The indices are int64, and known to be in [0, n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, share, step
from wengert.compiler.kernels.pieces import SMALL, Entries, split_lanes, wide
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.compiler.llvm.types import I64, size_of, stored
from wengert.core.dtypes import DType

LINE = 64  # bytes; where a row has fewer, threads do not share rows of one array


@dataclass(frozen=True)
class Scatter:
    """A reduction over indices as a `Kernel`.

    Operands: the indices, the values, and with `start` None a base array, shaped and row-major as
    the result, from which it starts; the base and the result may be the same memory. Values have
    steps along `pre` and m, and stand next to each other along `post`. 16-bit floats are added and
    multiplied in float32, and rounded once.

    Attributes
    ----------
    how : "add", "mul", "maximum", "minimum", or "set" (the last value of equal indices stays)
    """

    how: str
    dtype: DType
    pre: int
    count: int
    size: int
    post: int
    steps: tuple[int, int]
    index_step: int
    start: float | int | bool | None
    target: Target = field(default_factory=build.host)

    @property
    def widened(self) -> bool:
        """Whether the result is collected in a wider dtype first."""
        return self.how in ("add", "mul") and wide(self.dtype) != self.dtype

    @property
    def total(self) -> int:
        """Entries of the result."""
        return self.pre * self.size * self.post

    @property
    def workspace(self) -> Workspace:
        """The wider result."""
        nbytes = size_of(stored(wide(self.dtype)))
        return Workspace(self.total * nbytes if self.widened else 0)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the steps: start, combine, and round where that is needed."""
        small = self.total + self.pre * self.count * self.post < SMALL
        phases = [Phase(f"{name}_start", small), Phase(f"{name}_combine", small)]
        if self.widened:
            phases.append(Phase(f"{name}_round", small))
        if not module.has(name + "_start"):
            self._start(module, name + "_start")
            _Combine(self, module, name + "_combine").write()
            if self.widened:
                self._round(module, name + "_round")
        return phases

    @property
    def slots(self) -> tuple[int, int]:
        """Where the result, and what is collected, stand in the table of addresses."""
        result = 2 if self.start is not None else 3
        return result, result + 1 if self.widened else result

    def _start(self, module: Module, name: str) -> None:
        f, args, thread, threads = step(module, name)
        entries = Entries(f, wide(self.dtype) if self.widened else self.dtype, self.target)
        lo, hi = share(f, self.total, thread, threads, LINE)
        target = entries.at(address(f, args, self.slots[1]), lo)
        more = f.smax(hi - lo, 0)
        nbytes = more * size_of(stored(entries.dtype))
        if self.start is None:
            base = address(f, args, 2)
            apart = f.compare("ne", f.cast("ptrtoint", base, I64), self._place(f, args))
            with f.when(apart):
                f.copy(target, entries.at(base, lo), nbytes)
        elif self.start == 0:
            f.clear(target, nbytes, 1)
        else:
            lanes = entries.lanes
            whole = (more // lanes) * lanes
            with f.loop(0, whole, lanes) as i:
                entries.store(f.constant(entries.type(lanes), self.start), entries.at(target, i))
            with f.loop(whole, more) as i:
                entries.store(f.constant(entries.type(1), self.start), entries.at(target, i))
        f.ret()

    def _place(self, f: Function, args: Value) -> Value:
        return f.cast("ptrtoint", address(f, args, self.slots[0]), I64)

    def _round(self, module: Module, name: str) -> None:
        f, args, thread, threads = step(module, name)
        source = Entries(f, wide(self.dtype), self.target)
        target = Entries(f, self.dtype, self.target)
        result, collected = (address(f, args, slot) for slot in self.slots)
        lo, hi = share(f, self.total, thread, threads, LINE)
        whole = lo + (f.smax(hi - lo, 0) // source.lanes) * source.lanes
        for start, stop, length in ((lo, whole, source.lanes), (whole, hi, 1)):
            with f.loop(start, stop, length) as i:
                target.store(source.load(source.at(collected, i), length), target.at(result, i))
        f.ret()


class _Combine:
    """The step that goes through the indices."""

    def __init__(self, kernel: Scatter, module: Module, name: str) -> None:
        self.k = kernel
        self.f, self.args, self.thread, self.threads = step(module, name)
        self.source = Entries(self.f, kernel.dtype, kernel.target)
        collected = wide(kernel.dtype) if kernel.widened else kernel.dtype
        self.target = Entries(self.f, collected, kernel.target)
        self.lanes = self.source.lanes
        self.index, self.values = (address(self.f, self.args, slot) for slot in range(2))
        self.result = address(self.f, self.args, kernel.slots[1])

    def write(self) -> None:
        """Share the work, and write the loops over a thread's part."""
        f, k = self.f, self.k
        columns = -(-k.post // self.lanes)
        splits_rows = k.post * size_of(stored(k.dtype)) >= LINE
        column_parts = f.smin(self._parts(k.pre), columns)
        row_parts: Operand = 1
        if splits_rows:
            row_parts = f.smin(self._parts(column_parts * k.pre), k.size)
        total = column_parts * row_parts * k.pre
        first, last = self.thread * total // self.threads, (self.thread + 1) * total // self.threads
        with f.loop(first, last) as part:
            pre = part % k.pre
            part = part // k.pre
            column = part % column_parts
            lo = (column * columns // column_parts) * self.lanes
            hi = ((column + 1) * columns // column_parts) * self.lanes
            rows = None
            if splits_rows:
                row = part // column_parts
                rows = row * k.size // row_parts, (row + 1) * k.size // row_parts
            self._part(pre, lo, f.smin(hi, k.post), rows)
        f.ret()

    def _parts(self, have: Operand) -> Value:
        """In how many parts each of `have` must be cut, so that there is one for each thread."""
        return (self.threads + have - 1) // self.f.i64(have)

    def _part(self, pre: Value, lo: Value, hi: Value, rows: tuple[Value, Value] | None) -> None:
        f, k = self.f, self.k
        values = self.source.at(self.values, pre * k.steps[0])
        result = self.target.at(self.result, pre * (k.size * k.post))
        with f.loop(0, k.count) as i:
            row = f.load(I64, f.at(self.index, i * k.index_step, I64))
            source = self.source.at(values, i * k.steps[1])
            target = self.target.at(result, row * k.post)
            if rows is None:
                self._row(source, target, lo, hi)
            else:
                mine = f.compare("ult", row - rows[0], rows[1] - rows[0])
                with f.when(mine):
                    self._row(source, target, lo, hi)

    def _row(self, source: Value, target: Value, lo: Value, hi: Value) -> None:
        """Columns lo to hi of one row."""
        f, post = self.f, self.k.post
        whole, rest = divmod(post, self.lanes)
        if whole:
            stop = f.smin(hi, whole * self.lanes)
            with f.loop(lo, stop, self.lanes) as j:
                self._entries(source, target, j, self.lanes)
        if not rest:
            return
        start = f.i64(whole * self.lanes)
        if not whole:
            self._rest(source, target, start, rest)
        else:
            with f.when(f.compare("eq", hi, post)):
                self._rest(source, target, start, rest)

    def _rest(self, source: Value, target: Value, start: Value, rest: int) -> None:
        for at, length in split_lanes(rest):
            self._entries(source, target, start + at, length)

    def _entries(self, source: Value, target: Value, j: Value, length: int) -> None:
        value = self.source.load(self.source.at(source, j), length)
        place = self.target.at(target, j)
        if self.k.how != "set":
            have = self.target.load(place, length)
            combine: Callable[[Value, Value], Value] = getattr(self.source.rules, self.k.how)
            value = combine(have, value)
        self.target.store(value, place)


@dataclass(frozen=True)
class Latest:
    """For each entry of an array of indices in [0, size), the number of the last entry equal to it.

    Operand: the indices, `step` apart. What stands in the table of places before does not matter:
    each place that is looked up has been written.
    """

    count: int
    size: int
    step: int

    @property
    def workspace(self) -> Workspace:
        """A number for each possible index."""
        return Workspace(8 * self.size)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the steps: enter all, one after the other, then look each up."""
        phases = [Phase(f"{name}_enter", True), Phase(f"{name}_look", self.count < SMALL)]
        if module.has(phases[0].name):
            return phases
        f, args, thread, threads = step(module, phases[0].name)
        index, table = address(f, args, 0), address(f, args, 2)
        with f.loop(0, self.count) as i:
            f.store(i, f.at(table, f.load(I64, f.at(index, i * self.step, I64)), I64))
        f.ret()
        f, args, thread, threads = step(module, phases[1].name)
        index, result, table = (address(f, args, slot) for slot in range(3))
        lo, hi = share(f, self.count, thread, threads, 8)
        with f.loop(lo, hi) as i:
            place = f.load(I64, f.at(index, i * self.step, I64))
            f.store(f.load(I64, f.at(table, place, I64)), f.at(result, i, I64))
        f.ret()
        return phases
