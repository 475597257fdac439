"""Windows that slide: maxima and sums over them, and back.

`Pool` is one of the computations that pooling consists of, for arrays with channels last:

* `argmax`: x → positions. The place, as an index into the flattened spatial axes of x, of the first
  largest entry of each window. The first NaN is larger than anything else; padding is never chosen.
* `max`: x → positions, values. The values there, too.
* `route`: y, positions → x. Each y is added to x at its position: the transpose of `max`.
* `sum`: x → y. The sum of each window's entries, padding being zero.
* `fold`: y → x. Each entry of each window is added to x where it came from: the transpose of
  `windows`. y may have steps for the window's entries; steps of zero give the transpose of `sum`.

Every result is one sum (or choice) in row-major order of the places that it meets, whichever thread
does it. Halves are widened to float32, and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from wengert.compiler.kernels.base import Array, Epilogue, Phase, Workspace, address, share, step
from wengert.compiler.kernels.conv_axis import Axis, data_axis, forward_axis, table
from wengert.compiler.kernels.conv_tile import read, total
from wengert.compiler.llvm import build, convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value, Variable
from wengert.compiler.llvm.types import I32, I64, computed, is_floating, size_of, stored, vector
from wengert.core import dtypes
from wengert.ops.window import Padding, Sizes

KINDS = ("argmax", "max", "route", "sum", "fold")
AT_ONCE = 4  # vectors of channels that one pass over the places works on


@dataclass(frozen=True)
class Pool:
    """Pooling over windows as a `Kernel`.

    `x` is (N, *spatial, C), and `y` (N, *places, C): the values, where there are any. `positions`
    is shaped as y and int64; sums and folds have none. `entries` are the steps of a folded y along
    each axis of the window. Channels must be next to each other in all of them.

    Operands come first, then results: argmax (x, positions), max (x, positions, values), route
    (y, positions, x), sum (x, y), fold (y, x). The epilogue, which argmax does not take, sees rows
    of channels of y (max, sum) or x (route, fold), one for each pixel.
    """

    kind: str
    x: Array
    y: Array
    size: Sizes
    stride: Sizes
    dilation: Sizes
    padding: Padding
    positions: Array | None = None
    entries: tuple[int, ...] = ()
    target: Target = field(default_factory=build.host)

    @property
    def workspace(self) -> Workspace:
        """None is needed."""
        return Workspace()

    @property
    def gathers(self) -> bool:
        """Whether x is what is made, from y."""
        return self.kind in ("route", "fold")

    @property
    def source(self) -> Array:
        """What is summed or compared."""
        return self.y if self.gathers else self.x

    @property
    def result(self) -> Array:
        """What has a pixel for each sum or choice."""
        return self.x if self.gathers else self.y

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The spatial axes; there is at least one."""
        make = data_axis if self.gathers else forward_axis
        sizes = zip(self.result.shape[1:-1], self.source.shape[1:-1], self.size, strict=True)
        how = zip(self.stride, self.padding, self.dilation, strict=True)
        return tuple(
            make(out, source, taps, stride, before, dilation)
            for (out, source, taps), (stride, (before, _), dilation) in zip(sizes, how, strict=True)
        )

    @property
    def lanes(self) -> int:
        """Lanes of a vector of channels."""
        lanes = 64 // max(4, size_of(computed(self.x.dtype)))
        while lanes > self.x.shape[-1]:
            lanes //= 2
        return lanes

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the step."""
        if not prod(self.result.shape):
            return []
        if not module.has(name):
            f, args, thread, threads = step(module, name)
            _Writer(self, f, args, epilogue).write(thread, threads)
        return [Phase(name)]


class _Writer:
    """The code of a kernel, while it is written."""

    def __init__(self, pool: Pool, f: Function, args: Value, epilogue: Epilogue | None) -> None:
        self.pool, self.f, self.args, self.epilogue = pool, f, args, epilogue
        slots = {
            "argmax": ("source", "positions"),
            "max": ("source", "positions", "result"),
            "route": ("source", "positions", "result"),
            "sum": ("source", "result"),
            "fold": ("source", "result"),
        }[pool.kind]
        self.base = {name: address(f, args, i) for i, name in enumerate(slots)}

    def write(self, thread: Value, threads: Value) -> None:
        """The thread's share of the pixels, row by row of the last axis."""
        f, pool = self.f, self.pool
        length = pool.axes[-1].size
        rows = prod(a.size for a in pool.axes[:-1])
        lo, hi = share(f, pool.result.shape[0] * rows * length, thread, threads)
        with f.loop(lo // length, (hi + (length - 1)) // length) as r:
            image, rest = r // rows, r % rows
            places: list[Value] = []
            for axis in reversed(pool.axes[:-1]):
                places.insert(0, rest % axis.size)
                rest = rest // axis.size
            located = [a.locate(f, i) for a, i in zip(pool.axes[:-1], places, strict=True)]
            begin, end = f.smax(lo - r * length, 0), f.smin(hi - r * length, length)
            with f.loop(begin, end) as i:
                last = pool.axes[-1].locate(f, i)
                self._pixel(image, [*places, i], [*located, last], r * length + i)
        f.ret()

    def _pixel(
        self,
        image: Value,
        places: list[Value],
        located: list[tuple[Value, Value, Value]],
        row: Value,
    ) -> None:
        """All channels of one pixel."""
        f, pool = self.f, self.pool
        channels, lanes = pool.x.shape[-1], pool.lanes
        starts = [at for _, at, _ in located]
        counts = [count for _, _, count in located]
        source, result = pool.source.strides, pool.result.strides
        at = {"source": image * source[0] + total(f, starts, source[1:-1])}
        at["result"] = image * result[0] + total(f, places, result[1:-1])
        if pool.positions:
            steps = pool.positions.strides
            there = starts if pool.kind == "route" else places
            at["positions"] = image * steps[0] + total(f, there, steps[1:-1])
        if pool.entries:
            entries = []
            for axis, (entry, _, _) in zip(pool.axes, located, strict=True):
                known = f.smin(entry, axis.taps - 1)  # none may be left
                entries.append(f.load(I64, f.at(table(f, axis.order), known, I64)))
            at["source"] = at["source"] + total(f, entries, pool.entries)
        spatial = pool.x.shape[1:-1]
        flat = [prod(spatial[a + 1 :]) for a in range(len(spatial))]
        number = total(f, places if pool.gathers else starts, flat)
        whole = channels // lanes
        many = whole // AT_ONCE * AT_ONCE
        for first, stop, vectors in ((0, many, AT_ONCE), (many, whole, 1)):
            if first < stop:
                with f.loop(first, stop, vectors) as v:
                    self._piece(at, counts, flat, number, v * lanes, lanes, vectors)
                    self._finish(row, v * lanes, vectors * lanes)
        if channels % lanes:
            with f.loop(whole * lanes, channels) as c:
                self._piece(at, counts, flat, number, c, 0, 1)
            self._finish(row, f.i64(whole * lanes), channels % lanes)

    def _finish(self, row: Value, column: Value, columns: int) -> None:
        if self.epilogue:
            self.epilogue(self.f, self.args, row, column, columns)

    def _piece(
        self,
        at: dict[str, Value],
        counts: Sequence[Value],
        flat: Sequence[int],
        number: Value,
        channel: Value,
        lanes: int,
        vectors: int,
    ) -> None:
        """Some channels of one pixel, `vectors` vectors of `lanes` lanes (0: one number)."""
        f, pool = self.f, self.pool
        here = {
            name: f.at(self.base[name], index + channel, self._type(name))
            for name, index in at.items()
            if name in self.base
        }
        choice = pool.kind in ("argmax", "max")
        work: _Choice | _Sum = (_Choice if choice else _Sum)(self, here, number, lanes, vectors)
        self._places(work, counts, flat, 0, f.i64(0), f.i64(0), f.i64(0))
        work.store()

    def _places(
        self,
        work: _Choice | _Sum,
        counts: Sequence[Value],
        flat: Sequence[int],
        depth: int,
        source: Value,
        positions: Value,
        number: Value,
    ) -> None:
        """Loops over the places that a pixel meets: steps from the first to each."""
        f, pool = self.f, self.pool
        if depth == len(counts):
            work.take(source, positions, number)
            return
        axis = pool.axes[depth]
        stride = axis.step * pool.source.strides[1 + depth]
        if pool.entries:
            stride -= axis.spacing * pool.entries[depth]
        beside = axis.step * pool.positions.strides[1 + depth] if pool.positions else 0
        with f.loop(0, counts[depth]) as j:
            self._places(
                work,
                counts,
                flat,
                depth + 1,
                source + j * stride,
                positions + j * beside,
                number + j * (axis.step * flat[depth]),
            )

    def _type(self, name: str) -> str:
        """The type in memory of an array."""
        return I64 if name == "positions" else stored(self.pool.x.dtype)


class _Sum:
    """Sums of what a pixel meets; of what was chosen at this pixel, for `route`."""

    def __init__(
        self, writer: _Writer, at: dict[str, Value], number: Value, lanes: int, vectors: int
    ) -> None:
        self.f, self.pool, self.at = writer.f, writer.pool, at
        self.lanes, self.memory = lanes, stored(self.pool.x.dtype)
        kind = vector(lanes, computed(self.pool.x.dtype))
        self.sums = [self.f.variable(kind, 0) for _ in range(vectors)]
        self.number = self.f.splat(number, lanes) if lanes else number

    def take(self, source: Value, positions: Value, number: Value) -> None:
        """Add one place's entries."""
        f, pool = self.f, self.pool
        for v, found in enumerate(self.sums):
            place = f.at(f.at(self.at["source"], source, self.memory), v * self.lanes, self.memory)
            x = read(f, place, pool.x.dtype, pool.target, self.lanes)
            if pool.kind == "route":
                chosen = f.at(f.at(self.at["positions"], positions, I64), v * self.lanes, I64)
                here = f.compare("eq", f.load(vector(self.lanes, I64), chosen), self.number)
                x = f.select(here, x, f.like(x, 0))
            found.set(found.get() + x)

    def store(self) -> None:
        """Write the sums."""
        f, pool = self.f, self.pool
        rules = Arithmetic(f, pool.x.dtype, target=pool.target)
        for v, found in enumerate(self.sums):
            rounded = convert.pack(rules, found.get(), pool.x.dtype)
            f.store(rounded, f.at(self.at["result"], v * self.lanes, self.memory))


class _Choice:
    """The largest of what a pixel meets, and the number of its place."""

    def __init__(
        self, writer: _Writer, at: dict[str, Value], number: Value, lanes: int, vectors: int
    ) -> None:
        self.f, self.pool, self.at, self.number = writer.f, writer.pool, at, number
        self.lanes, self.memory = lanes, stored(self.pool.x.dtype)
        small = prod(self.pool.x.shape[1:-1]) < 2**31
        self.index = I32 if small and size_of(computed(self.pool.x.dtype)) <= 4 else I64
        self.best: list[tuple[Variable, Variable]] = []
        for v in range(vectors):
            place = self.f.at(at["source"], v * lanes, self.memory)
            x = read(self.f, place, self.pool.x.dtype, self.pool.target, lanes)
            first = self.f.variable(vector(lanes, self.index), self._wide(number))
            self.best.append((self.f.variable(x.type, x), first))

    def _wide(self, number: Value) -> Value:
        """A number in all lanes."""
        f = self.f
        if self.index != I64:
            number = f.cast("trunc", number, self.index)
        return f.splat(number, self.lanes) if self.lanes else number

    def take(self, source: Value, positions: Value, number: Value) -> None:
        """Compare with one place's entries."""
        f, pool = self.f, self.pool
        index = self._wide(self.number + number)
        for v, (best, where) in enumerate(self.best):
            place = f.at(f.at(self.at["source"], source, self.memory), v * self.lanes, self.memory)
            x = read(f, place, pool.x.dtype, pool.target, self.lanes)
            old = best.get()
            if is_floating(x.type):  # larger, or the first NaN
                better = f.compare("ugt", x, old) & f.compare("ord", old, old)
            else:
                unsigned = dtypes.kind(pool.x.dtype) == "unsigned"
                better = f.compare("ugt" if unsigned else "sgt", x, old)
            best.set(f.select(better, x, old))
            where.set(f.select(better, index, where.get()))

    def store(self) -> None:
        """Write positions, and values."""
        f, pool = self.f, self.pool
        rules = Arithmetic(f, pool.x.dtype, target=pool.target)
        for v, (best, where) in enumerate(self.best):
            index = f.cast("sext", where.get(), vector(self.lanes, I64))
            f.store(index, f.at(self.at["positions"], v * self.lanes, I64))
            if "result" in self.at:
                x = convert.pack(rules, best.get(), pool.x.dtype)
                f.store(x, f.at(self.at["result"], v * self.lanes, self.memory))
