"""Forward convolution and its transpose in the data: each pixel of the result gathers its sum.

Pixels are worked on in tiles (`conv_tile`). The rows of a tile are a *run* of neighbours along the
last axis all of whose kernel entries fall inside; or, for pixels at the border and where runs would
be short, *images*: the same pixel of several images. Since all rows of a tile then meet the same
entries, what falls outside is left out exactly, and nothing is ever padded.

Two steps: weights are packed into panels [entry][channel][column], and the operand is copied where
tiles cannot read it as it lies (16-bit types, steps between channels); then the tiles are shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from wengert.compiler.kernels.base import (
    Epilogue,
    Phase,
    Workspace,
    address,
    emit_epilogue,
    padded,
    share,
    step,
)
from wengert.compiler.kernels.conv_axis import Axis, table
from wengert.compiler.kernels.conv_copy import Copy, emit_copy
from wengert.compiler.kernels.conv_pack import Packing, emit_packing
from wengert.compiler.kernels.conv_tile import (
    Loop,
    Pixels,
    Registers,
    Tile,
    emit_tile,
    evenly,
    registers,
    shared_name,
    split_at,
    total,
)
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR, stored

HIGH = 6  # rows of a tile that keep the multipliers busy
FEW_ROWS = 4  # of a tile that will do where there are few
FEW_CLASSES = 4  # along the last axis, up to which each has runs of its own
MANY_UNITS = 64  # to share between threads; with fewer, panels are shared too

Parts = tuple[int, int, int]  # of `evenly`


@dataclass(frozen=True)
class Run:
    """Neighbours along the last axis that use the same entries, all inside: where they start, in
    the result and in the operand, the steps from one to the next, the first entry and the number of
    entries, and how the neighbours are cut into tiles."""

    start: int
    source: int
    step: int
    advance: int
    entry: int
    count: int
    parts: Parts


@dataclass(frozen=True)
class Gather:
    """A forward convolution or a transpose in the data, as axes, panels and tiles.

    `channels` are summed over and `columns` made, in each of `groups`. Depth-wise, each of the
    columns is made of its own channel: one group, and one channel to sum over.
    """

    batch: int
    groups: int
    channels: int
    columns: int
    axes: tuple[Axis, ...]
    operand: Pixels
    result: Pixels
    packing: Packing
    copy: Copy | None
    operand_slot: int
    weight_slot: int
    depthwise: bool
    target: Target

    # -- sizes -------------------------------------------------------------------------------

    @property
    def element(self) -> str:
        """Type that is computed in."""
        return self.packing.element

    @property
    def lanes(self) -> int:
        """Lanes of a vector."""
        return self.packing.lanes

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.packing.width

    @cached_property
    def registers(self) -> Registers:
        """Size of a full tile."""
        return registers(self.target, self.columns, self.lanes, self.element)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Runs along the last axis; none where tiles are images."""
        axis = self.axes[-1]
        if axis.period > FEW_CLASSES:
            return ()
        found = (self._run(which) for which in range(axis.period))
        return tuple(run for run in found if run and run.parts[1] >= min(HIGH, self.batch))

    def _run(self, which: int) -> Run | None:
        axis = self.axes[-1]
        own = range((which - axis.shift) % axis.period, axis.size, axis.period)
        inside = [i for i in own if axis.inside(i)]
        if len(inside) < 2:
            return None
        parts = evenly(len(inside), self.registers.rows)
        at = axis.classes[which]
        first = axis.first(inside[0])
        steps = (axis.period, axis.advance)
        return Run(inside[0], first, *steps, at.entry, at.count, parts)

    @cached_property
    def singles(self) -> tuple[int, ...]:
        """Places along the last axis that no run holds."""
        held = {
            run.start + run.step * k
            for run in self.runs
            for k in range(run.parts[0] * run.parts[1] + run.parts[2])
        }
        return tuple(i for i in range(self.axes[-1].size) if i not in held)

    @cached_property
    def images(self) -> Parts:
        """How the images are cut into groups that tiles hold at once: equal ones where that does
        not make them too small, since each size has code of its own."""
        if self.runs and not self.singles:
            return (self.batch, 1, 0)
        most = self.registers.rows
        least = min(HIGH, most) if not self.runs else FEW_ROWS  # then only the border needs them
        even = [m for m in range(least, most + 1) if self.batch % m == 0]
        return (self.batch // even[-1], even[-1], 0) if even else evenly(self.batch, most)

    @cached_property
    def panels(self) -> int:
        """Panels of one group of channels."""
        return -(-self.columns // self.width)

    @property
    def tail(self) -> int:
        """Columns of the last panel."""
        return self.columns - (self.panels - 1) * self.width

    @property
    def rows(self) -> int:
        """Rows of pixels along the last axis in one image."""
        return prod(a.size for a in self.axes[:-1])

    def jobs(self, images: int) -> int:
        """Tiles in one row of pixels of a group of images."""
        return sum(images * run.parts[0] for run in self.runs) + len(self.singles)

    @cached_property
    def copied(self) -> int:
        """Bytes of the operand's copy."""
        return padded(self.copy.nbytes) if self.copy else 0

    @property
    def workspace(self) -> Workspace:
        """The copy of the operand, then the packed weights."""
        return Workspace(self.copied + padded(self.packing.nbytes))

    # -- code --------------------------------------------------------------------------------

    def emit(self, module: Module, name: str, epilogue: Epilogue | None) -> list[Phase]:
        """Write the steps."""
        first, second = f"{name}_pack", f"{name}_multiply"
        if not module.has(first):
            self._emit_preparation(module, first)
            self._emit_multiplication(module, second, epilogue)
        return [Phase(first), Phase(second)]

    def _emit_preparation(self, module: Module, name: str) -> None:
        f, args, thread, threads = step(module, name)
        work = address(f, args, 3)
        if self.copy:
            emit_copy(f, self.copy, address(f, args, self.operand_slot), work, thread, threads)
        packed = f.at(work, self.copied, "i8")
        emit_packing(f, self.packing, address(f, args, self.weight_slot), packed, thread, threads)
        f.ret()

    def _emit_multiplication(self, module: Module, name: str, epilogue: Epilogue | None) -> None:
        count, size, longer = self.images
        sizes = [(size + 1, longer)] if longer else []
        sizes += [(size, count - longer)] if count > longer else []
        finish = emit_epilogue(module, name, epilogue) if epilogue else None
        f, args, thread, threads = step(module, name)
        image = 0
        for images, groups in sizes:
            row = self._emit_row(module, images, finish is not None)
            given = (args, Value(PTR, f"@{finish}", f) if finish else None, thread, threads)
            self._share_rows(f, row, images, groups, image, given)
            image += images * groups
        f.ret()

    def _share_rows(
        self,
        f: Function,
        row: str,
        images: int,
        groups: int,
        first: int,
        given: tuple[Value, Value | None, Value, Value],
    ) -> None:
        """The thread's share of the tiles of `groups` groups of images, row by row."""
        args, finish, thread, threads = given
        jobs, panels = self.jobs(images), self.groups * self.panels
        if finish:
            jobs = 1  # only whole rows are finished
        units = groups * self.rows * jobs
        shares = min(panels, -(-MANY_UNITS // units))
        lo, hi = share(f, shares * units, thread, threads)
        work = address(f, args, 3)
        source = work if self.copy else address(f, args, self.operand_slot)
        arrays = [args, source, f.at(work, self.copied, "i8"), address(f, args, 2)]
        with f.loop(lo // jobs, (hi + (jobs - 1)) // jobs) as r:
            begin = f.smax(lo - r * jobs, 0)
            end = f.smin(hi - r * jobs, jobs)
            if finish:
                begin, end = f.i64(0), f.i64(self.jobs(images))
            which, within = r // (groups * self.rows), r % (groups * self.rows)
            image = (within // self.rows) * images + first
            p = which * panels // shares
            q = (which + 1) * panels // shares
            last = [finish] if finish else []
            f.call(row, [*arrays, image, within % self.rows, begin, end, p, q, *last])

    def _emit_row(self, module: Module, images: int, finishes: bool) -> str:
        """The name of `row(args, source, weights, result, image, row, begin, end, panel, stop)`:
        jobs of one row of pixels; one that `finishes` has another argument, the function to call
        for finished pixels. Kernels that only differ in that function, or in how they pack, share
        it."""
        name = shared_name("row", images, finishes, *self._essence)
        if module.has(name):
            return name
        arguments = [*[PTR] * 4, *[I64] * 6, *[PTR] * finishes]
        f = module.function(name, arguments, internal=True, attributes="nounwind noinline")
        begin, end, panel, stop = f.args[6:10]
        work = Row(self, f, images)
        with f.loop(panel, stop) as p:
            group, within = p // self.panels, p % self.panels
            if self.tail == self.width:
                work.panel(p, group, within, self.width, begin, end)
            elif self.panels == 1:
                work.panel(p, group, within, self.tail, begin, end)
            else:
                last = f.compare("eq", within, self.panels - 1)
                with f.choice(last) as labels:
                    work.panel(p, group, within, self.tail, begin, end)
                    f.otherwise(labels)
                    work.panel(p, group, within, self.width, begin, end)
        if finishes:
            work.finish(f.args[10], panel, stop)
        f.ret()
        return name

    @property
    def _essence(self) -> tuple[object, ...]:
        """What determines the code of rows, beside the number of images."""
        axes = [(a.size, a.source, a.step, a.classes, a.advance, a.shift) for a in self.axes]
        sizes = (self.groups, self.channels, self.columns, self.lanes, self.width, self.depthwise)
        return (self.batch, sizes, axes, self.operand, self.result, self.target)


class Row:
    """Code for the tiles of one row of pixels, while it is written."""

    def __init__(self, gather: Gather, f: Function, images: int) -> None:
        self.gather, self.f, self.images = gather, f, images
        self.args, source, weights, result, image, row = f.args[:6]
        g = gather
        places: list[Value] = []
        rest = row
        for axis in reversed(g.axes[:-1]):
            places.insert(0, rest % axis.size)
            rest = rest // axis.size
        located = [a.locate(f, i) for a, i in zip(g.axes[:-1], places, strict=True)]
        self.counts = [count for _, _, count in located]
        into = total(f, [at for _, at, _ in located], g.operand.steps)
        packed = total(f, [entry for entry, _, _ in located], g.packing.entry_steps)
        onto = total(f, places, g.result.steps)
        self.memory = stored(g.result.dtype)
        self.source = f.at(source, image * g.operand.image + into, g.element)
        self.weights = f.at(weights, packed, g.element)
        self.result = f.at(result, image * g.result.image + onto, self.memory)
        self.pixel = (image * g.rows + row) * g.axes[-1].size

    def panel(
        self, p: Value, group: Value, within: Value, columns: int, begin: Value, end: Value
    ) -> None:
        """Jobs `begin` to `end` for one panel of weights."""
        f, g = self.f, self.gather
        self.columns = columns
        self.column = group * g.columns + within * g.width
        from_ = within * g.width if g.depthwise else group * g.channels
        self.at = (
            f.at(self.source, from_, g.element),
            f.at(self.weights, p * g.packing.panel, g.element),
            f.at(self.result, self.column, self.memory),
        )
        passed = 0
        for run in g.runs:
            count = self.images * run.parts[0]
            with f.loop(f.smax(begin - passed, 0), f.smin(end - passed, count)) as job:
                self._run_tile(run, job)
            passed += count
        if g.singles:
            everywhere = len(g.singles) == g.axes[-1].size
            with f.loop(f.smax(begin - passed, 0), f.smin(end - passed, len(g.singles))) as job:
                place = job
                if not everywhere:
                    place = f.load(I64, f.at(table(f, g.singles), job, I64))
                steps = (g.operand.image, g.result.image)
                located = g.axes[-1].locate(f, place)
                self._tile(place, located, f.i64(0), self.images, steps)

    def finish(self, function: Value, panel: Value, stop: Value) -> None:
        """Call a function for some panels of the finished row, image by image: its pixels are in
        the cache, and next to each other as those of a tile are not."""
        f, g = self.f, self.gather
        length = g.axes[-1].size
        column, end = (p // g.panels * g.columns + p % g.panels * g.width for p in (panel, stop))
        with f.loop(0, self.images) as image:
            first = self.pixel + image * (g.rows * length)
            row = (first, first + length, column, end - column)
            given = ", ".join(f"i64 {x}" for x in row)
            f.write(f"call void {function}(ptr {self.args}, {given})")

    def _run_tile(self, run: Run, job: Value) -> None:
        """One tile of neighbours: tile `job` of the images' tiles."""
        f, g = self.f, self.gather
        count, size, longer = run.parts
        image, tile = job // count, job % count
        member = split_at(f, tile, run.parts)
        place = member * run.step + run.start
        located = (f.i64(run.entry), member * run.advance + run.source, f.i64(run.count))
        steps = (run.advance * g.operand.steps[-1], run.step * g.result.steps[-1])
        if longer:
            with f.choice(f.compare("slt", tile, longer)) as labels:
                self._tile(place, located, image, size + 1, steps)
                f.otherwise(labels)
                self._tile(place, located, image, size, steps)
        else:
            self._tile(place, located, image, size, steps)

    def _tile(
        self,
        place: Value,
        located: tuple[Value, Value, Value],
        image: Value,
        rows: int,
        steps: tuple[int, int],
    ) -> None:
        """Multiply one tile whose first pixel is at a place of the last axis."""
        f, g = self.f, self.gather
        entry, at, count = located
        a = f.at(self.at[0], image * g.operand.image + at * g.operand.steps[-1], g.element)
        b = f.at(self.at[1], entry * g.packing.entry_steps[-1], g.element)
        c = f.at(self.at[2], image * g.result.image + place * g.result.steps[-1], self.memory)
        tile = self._tile_of(rows, steps)
        count = count * g.channels if tile.joined else count
        f.call(emit_tile(f.module, tile), [a, b, c, *self.counts, count])

    def _tile_of(self, rows: int, steps: tuple[int, int]) -> Tile:
        g = self.gather
        loops = tuple(
            Loop(axis.step * s, w)
            for axis, s, w in zip(g.axes, g.operand.steps, g.packing.entry_steps, strict=True)
        )
        return Tile(
            rows,
            self.columns,
            g.lanes,
            g.width,
            g.result.dtype,
            g.channels,
            g.depthwise,
            loops,
            not g.depthwise and loops[-1].source == g.channels,
            *steps,
            g.target,
        )
