"""The weight gradient: each kernel entry is a matrix product over the images and places it meets.

For one entry, rows are channels of x and columns are channels of y, and the sum runs over all
images and places where the entry falls inside. The images are cut into *ranges* of a size that
depends on the geometry alone; each range has sums of its own, which the second step adds up in
order. Within a range the work goes *block* by block, so that the pixels of a block stay in the
cache for all tiles of channels; a tile takes its sums from memory and puts them back, which changes
no bit.

With few channels of x, and depth-wise, the entries along the last axis are rows, too. Then all of
them must fall inside at all places: where they do not, x is copied with zeros around that axis.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from math import prod

from wengert.compiler.kernels.base import Phase, Workspace, address, padded, share, step
from wengert.compiler.kernels.conv_axis import table
from wengert.compiler.kernels.conv_copy import Copy, emit_copy
from wengert.compiler.kernels.conv_tile import (
    Loop,
    Pixels,
    Registers,
    Tile,
    emit_tile,
    evenly,
    registers,
    split_at,
)
from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64, PTR, computed, size_of, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

BLOCK = 256  # pixels that are worked on at a time
PARTIAL = 1 << 17  # numbers that the sums of all ranges take together, about
MOST_RANGES = 32


@dataclass(frozen=True)
class Sliding:
    """One spatial axis: sizes of y and x, kernel entries, and how the kernel slides."""

    places: int
    source: int
    entries: int
    stride: int
    padding: int
    dilation: int

    @property
    def behind(self) -> int:
        """Places behind x that the kernel reaches."""
        reach = (self.places - 1) * self.stride + self.dilation * (self.entries - 1) + 1
        return max(0, reach - self.padding - self.source)

    def meets(self, f: Function, entry: Value) -> tuple[Value, Value]:
        """The range of places at which an entry falls inside."""
        ahead = f.i64(self.padding) - entry * self.dilation  # of place 0, from the start of x
        if self.stride == 1:
            lo, hi = f.smax(ahead, 0), ahead + self.source
        else:
            up = self.stride - 1
            lo = f.smax(ahead + up, 0) // self.stride
            hi = f.smax(ahead + (self.source + up), 0) // self.stride
        return lo, f.smin(hi, f.i64(self.places))

    def source_of(self, place: Value, entry: Value) -> Value:
        """The place of x that an entry meets."""
        return place * self.stride + entry * self.dilation - self.padding


@dataclass(frozen=True)
class Weigh:
    """A weight gradient as axes, ranges and tiles.

    `rows` are channels of x, and entries along the last axis where those are rows, and `columns`
    are channels of y, in each of `groups`. Depth-wise there is one group, and each column has a
    channel of its own. Rows are `row_step` apart in x; `row_offsets`, `column_step`, `group_step`
    and `kernel_steps` say where results go.
    """

    batch: int
    groups: int
    rows: int
    columns: int
    axes: tuple[Sliding, ...]
    x: Pixels
    y: Pixels
    x_copy: Copy | None
    y_copy: Copy | None
    dtype: DType
    lanes: int
    row_step: int
    row_offsets: tuple[int, ...]
    column_step: int
    group_step: int
    kernel_steps: tuple[int, ...]
    depthwise: bool
    target: Target

    # -- sizes -------------------------------------------------------------------------------

    @property
    def element(self) -> str:
        """Type that is computed in."""
        return computed(self.dtype)

    @cached_property
    def registers(self) -> Registers:
        """Size of a full tile."""
        return registers(self.target, self.columns, self.lanes, self.element)

    @property
    def width(self) -> int:
        """Columns of a panel."""
        return self.registers.vectors * self.lanes

    @property
    def panels(self) -> int:
        """Panels of one group."""
        return -(-self.columns // self.width)

    @cached_property
    def split(self) -> tuple[int, int, int]:
        """How the rows are cut into tiles."""
        return evenly(self.rows, self.registers.rows)

    @property
    def height(self) -> int:
        """Rows that are set aside for each tile."""
        return self.split[1] + (self.split[2] > 0)

    @property
    def entries(self) -> int:
        """Number of kernel entries."""
        return prod(a.entries for a in self.axes)

    @property
    def parts(self) -> int:
        """Tiles of channels: they are what threads share, in each range."""
        return self.groups * self.panels * self.split[0]

    @property
    def part(self) -> int:
        """Sums of one such tile, for all kernel entries."""
        return self.entries * self.height * self.width

    @cached_property
    def ranges(self) -> tuple[int, int]:
        """Ranges of images, and of places along the first axis in each image."""
        sums = self.groups * self.rows * self.columns * self.entries
        wanted = min(MOST_RANGES, -(-PARTIAL // sums))
        if wanted <= self.batch:
            return wanted, 1
        images = max(self.batch, 1)
        return images, min(-(-wanted // images), self.axes[0].places)

    @cached_property
    def block(self) -> tuple[int, int]:
        """Images, and places along the first axis, that are worked on at a time."""
        line = prod(a.places for a in self.axes[1:])
        image = line * self.axes[0].places
        if image <= BLOCK:
            return BLOCK // image, self.axes[0].places
        return 1, max(1, BLOCK // line)

    @property
    def _offsets(self) -> tuple[int, int, int]:
        """Where the copies of x and y and the sums start in the workspace."""
        after_x = padded(self.x_copy.nbytes) if self.x_copy else 0
        return 0, after_x, after_x + (padded(self.y_copy.nbytes) if self.y_copy else 0)

    @property
    def workspace(self) -> Workspace:
        """Copies, and the sums of all ranges."""
        sums = prod(self.ranges) * self.parts * self.part * size_of(self.element)
        return Workspace(self._offsets[2] + sums)

    # -- code --------------------------------------------------------------------------------

    def emit(self, module: Module, name: str) -> list[Phase]:
        """Write the steps."""
        names = [f"{name}_multiply", f"{name}_add"]
        if self.x_copy or self.y_copy:
            names.insert(0, f"{name}_copy")
        if not module.has(names[-1]):
            if len(names) == 3:
                self._emit_copies(module, names[0])
            self._emit_products(module, names[-2])
            self._emit_sum(module, names[-1])
        return [Phase(n) for n in names]

    def _emit_copies(self, module: Module, name: str) -> None:
        f, args, thread, threads = step(module, name)
        work = address(f, args, 3)
        for slot, copy in enumerate((self.x_copy, self.y_copy)):
            if copy:
                there = f.at(work, self._offsets[slot], "i8")
                emit_copy(f, copy, address(f, args, slot), there, thread, threads)
        f.ret()

    def _emit_products(self, module: Module, name: str) -> None:
        self._emit_block(module, f"{name}_block")
        f, args, thread, threads = step(module, name)
        work = address(f, args, 3)
        x = f.at(work, self._offsets[0], "i8") if self.x_copy else address(f, args, 0)
        y = f.at(work, self._offsets[1], "i8") if self.y_copy else address(f, args, 1)
        sums = f.at(work, self._offsets[2], "i8")
        images, bands = self.ranges
        first = self.axes[0].places
        lo, hi = share(f, images * bands * self.parts, thread, threads)
        size = size_of(self.element)
        with f.loop(lo // self.parts, (hi + (self.parts - 1)) // self.parts) as r:
            begin = f.smax(lo - r * self.parts, 0)
            end = f.smin(hi - r * self.parts, self.parts)
            n, band = r // bands, r % bands
            here = f.at(sums, r * (self.parts * self.part), self.element)
            start = f.at(here, begin * self.part, self.element)
            f.clear(start, (end - begin) * (self.part * size), 64)
            image_stop = (n + 1) * self.batch // images
            place_stop = (band + 1) * first // bands
            with f.loop(n * self.batch // images, image_stop, self.block[0]) as i:
                count = f.smin(image_stop - i, self.block[0])
                with f.loop(band * first // bands, place_stop, self.block[1]) as o:
                    last = f.smin(o + self.block[1], place_stop)
                    at_x = f.at(x, i * self.x.image, self.element)
                    at_y = f.at(y, i * self.y.image, self.element)
                    given = [at_x, at_y, here, count, o, last, begin, end]
                    f.call(f"{name}_block", given)
        f.ret()

    def _emit_block(self, module: Module, name: str) -> None:
        """`name(x, y, sums, images, first, last, part, stop)`: one block of pixels, for some parts;
        first and last bound the places along the first axis."""
        f = module.function(
            name, [PTR, PTR, PTR, *[I64] * 5], internal=True, attributes="nounwind noinline"
        )
        part, stop = f.args[6], f.args[7]
        tiles, _, longer = self.split
        with f.loop(part, stop) as p:
            tile = p % tiles
            panel = p // tiles % self.panels
            last = self.columns - (self.panels - 1) * self.width
            cases: list[tuple[int, Value | None]] = [(self.height, None)]
            if longer:
                cases = [(self.height, f.compare("slt", tile, longer))]
                cases += [(self.height - 1, f.compare("sge", tile, longer))]
            for rows, fits in cases:
                with nullcontext() if fits is None else f.when(fits):
                    if self.panels == 1 or last == self.width:
                        self._part(f, p, tile, panel, rows, last)
                    else:
                        with f.choice(f.compare("eq", panel, self.panels - 1)) as labels:
                            self._part(f, p, tile, panel, rows, last)
                            f.otherwise(labels)
                            self._part(f, p, tile, panel, rows, self.width)
        f.ret()

    def _part(
        self, f: Function, part: Value, tile: Value, panel: Value, rows: int, columns: int
    ) -> None:
        """All kernel entries of one tile of channels, over the pixels of a block."""
        x, y, sums, images, first, last = f.args[:6]
        group = part // (self.panels * self.split[0])
        channel = panel * self.width
        row = split_at(f, tile, self.split) * self.row_step
        x = f.at(x, (channel if self.depthwise else group * self.rows) + row, self.element)
        y = f.at(y, group * self.columns + channel, self.element)
        sums = f.at(sums, part * self.part, self.element)
        callee = self._tile(f.module, rows, columns)
        with ExitStack() as loops:
            number, counts = f.i64(0), [images]
            for axis, x_step, y_step in zip(self.axes, self.x.steps, self.y.steps, strict=True):
                entry = f.i64(0)
                if axis.entries > 1:
                    entry = loops.enter_context(f.loop(0, axis.entries))
                lo, hi = axis.meets(f, entry)
                if axis is self.axes[0]:
                    lo, hi = f.smax(lo, first), f.smin(hi, last)
                x = f.at(x, axis.source_of(lo, entry) * x_step, self.element)
                y = f.at(y, lo * y_step, self.element)
                number = number * axis.entries + entry
                counts.append(hi - lo)
            here = f.at(sums, number * (self.height * self.width), self.element)
            f.call(callee, [x, y, here, *counts])

    def _tile(self, module: Module, rows: int, columns: int) -> str:
        """The function that multiplies a tile."""
        steps = [(self.x.image, self.y.image)]
        for axis, x_step, y_step in zip(self.axes, self.x.steps, self.y.steps, strict=True):
            steps.append((axis.stride * x_step, y_step))
        tile = Tile(
            rows,
            columns,
            self.lanes,
            self.width,
            dtypes.float64 if self.dtype == dtypes.float64 else dtypes.float32,
            1,
            self.depthwise,
            tuple(Loop(*s) for s in steps),
            False,
            self.row_step,
            self.width,
            self.target,
            adds=True,
            packed=False,
        )
        return emit_tile(module, tile)

    def _emit_sum(self, module: Module, name: str) -> None:
        """Add up the ranges' sums, and write them where the user wants them."""
        f, args, thread, threads = step(module, name)
        sums = f.at(address(f, args, 3), self._offsets[2], "i8")
        result = address(f, args, 2)
        kind = vector(self.lanes, self.element)
        rules = Arithmetic(f, self.dtype, target=self.target)
        # A line is one row of one tile: `width` sums for one kernel entry.
        lo, hi = share(f, self.parts * self.entries * self.height, thread, threads)
        scratch = f.buffer(self.width, self.element)
        with f.loop(lo, hi) as line:
            here = f.at(sums, line * self.width, self.element)
            for j in range(0, self.width, self.lanes):
                found = f.variable(kind, f.load(kind, f.at(here, j, self.element)))
                if prod(self.ranges) > 1:
                    with f.loop(1, prod(self.ranges)) as r:
                        at = f.at(here, r * (self.parts * self.part) + j, self.element)
                        found.set(found.get() + f.load(kind, at))
                f.store(found.get(), f.at(scratch, j, self.element))
            row, rest = line % self.height, line // self.height
            entry, part = rest % self.entries, rest // self.entries
            tile, rest = part % self.split[0], part // self.split[0]
            panel, group = rest % self.panels, rest // self.panels
            rows = f.cast("zext", f.compare("slt", tile, f.i64(self.split[2])), I64) + self.split[1]
            with f.when(f.compare("slt", row, rows)):
                row = split_at(f, tile, self.split) + row
                place = group * self.group_step + f.load(
                    I64, f.at(table(f, self.row_offsets), row, I64)
                )
                for axis, s in zip(reversed(self.axes), reversed(self.kernel_steps), strict=True):
                    place = place + (entry % axis.entries) * s
                    entry = entry // axis.entries
                column = panel * self.width
                count = f.smin(f.i64(self.columns) - column, self.width)
                with f.loop(0, count) as i:
                    number = f.load(self.element, f.at(scratch, i, self.element))
                    number = convert.pack(rules, number, self.dtype)
                    to = place + (column + i) * self.column_step
                    f.store(number, f.at(result, to, number.type))
        f.ret()
