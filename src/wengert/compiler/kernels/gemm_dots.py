"""A row times columns that lie in memory from end to end: sums along vectors, in a fixed order.

With L lanes in 64 bytes (16 float32, 8 float64), entry p of k goes to chain p mod 2L; what is
missing at the end counts as zeros. The second L chains are added to the first L, then the upper
half to the lower one until one number is left. Several columns at a time share the loads of a.
"""

from __future__ import annotations

from wengert.compiler.kernels.base import address
from wengert.compiler.kernels.gemm_common import (
    DOTS_ARGS,
    Description,
    call_epilogue,
    dots_name,
    part,
)
from wengert.compiler.kernels.microkernel import multiply_add
from wengert.compiler.llvm import convert, types
from wengert.compiler.llvm.arithmetic import Arithmetic, abilities
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Operand, Value, Variable
from wengert.compiler.llvm.types import F64, I8, I64, PTR, VECTOR_BYTES, size_of, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

DOTS_PANEL = 64  # columns that one thread does in one go


class Dots:
    """Writes c[j] = a·b[:, j] for a piece of a row, with sizes known now or at run time."""

    def __init__(self, f: Function, dtype: DType, target: Target) -> None:
        self.f, self.dtype = f, dtype
        self.rules = Arithmetic(f, dtype, target=target)
        self.fused = abilities(target).fma
        self.stored, self.element = types.stored(dtype), types.computed(dtype)
        self.lanes = VECTOR_BYTES // size_of(self.element)
        self.group = 4 if target.has("avx512f") else 2

    def write(
        self,
        a: Value,
        b: Value,
        c: Value,
        columns: Operand,
        column_b: Operand,
        depth: Value | int,
        alpha: Operand,
        accumulate: Value | bool,
        result: DType,
    ) -> None:
        """Write the code. `a` is contiguous and of the computed type, c contiguous and `result`."""
        f = self.f
        count, last = f.i64(columns), f.i64(columns) - 1
        with f.loop(0, columns, self.group) as j:
            starts = [
                f.at(b, f.smin(j + i, last) * f.i64(column_b), self.stored)
                for i in range(self.group)
            ]
            found = self._reduce(self._chains(a, starts, depth))
            kept = types.stored(result)
            place = f.at(c, j, kept)
            if isinstance(columns, int) and columns % self.group == 0:
                self._store(found, place, alpha, accumulate, result)
            else:
                with f.choice(f.compare("sle", j + self.group, count)) as labels:
                    self._store(found, place, alpha, accumulate, result)
                    f.otherwise(labels)
                    for i in range(self.group - 1):
                        with f.when(f.compare("slt", j + i, count)):
                            one, at = f.extract(found, i), f.at(place, i, kept)
                            self._store(one, at, alpha, accumulate, result)

    def _chains(self, a: Value, starts: list[Value], depth: Value | int) -> list[Value]:
        """The sums of all chains of each column, the upper ones added to the lower."""
        f, block = self.f, 2 * self.lanes
        kind = vector(self.lanes, self.element)
        sums = [[f.variable(kind, 0) for _ in range(2)] for _ in starts]
        whole = depth // block * block
        if not isinstance(whole, int) or whole:
            with f.loop(0, whole, block) as p:
                for half in range(2):
                    self._step(a, starts, sums, p, half, None)
        rest = depth - whole
        if isinstance(rest, int):
            for half in range(2):
                if rest > half * self.lanes:
                    self._step(a, starts, sums, whole, half, rest - half * self.lanes)
        else:
            with f.when(f.compare("sgt", rest, 0)):
                for half in range(2):
                    left = f.smax(rest - half * self.lanes, 0)
                    self._step(a, starts, sums, whole, half, left)
        return [two[0].get() + two[1].get() for two in sums]

    def _step(
        self,
        a: Value,
        starts: list[Value],
        sums: list[list[Variable]],
        p: Operand,
        half: int,
        count: Operand | None,
    ) -> None:
        """One vector of each column, or the first entries of it."""
        f, lanes = self.f, self.lanes
        kind, raw = vector(lanes, self.element), vector(lanes, self.stored)
        mask = None if count is None else f.first_lanes(count, lanes)
        at = f.at(f.at(a, p, self.element), half * lanes, self.element)
        left = f.load(kind, at) if mask is None else f.masked_load(kind, at, mask)
        for start, two in zip(starts, sums, strict=True):
            at = f.at(f.at(start, p, self.stored), half * lanes, self.stored)
            there = f.load(raw, at) if mask is None else self._load_part(raw, at, mask)
            right = convert.unpack(self.rules, there, self.dtype)
            two[half].set(multiply_add(f, left, right, two[half].get(), self.fused))

    def _load_part(self, raw: str, place: Value, mask: Value) -> Value:
        """Some lanes of a vector. Halves are moved as integers: so no processor converts them."""
        if self.stored == self.element:
            return self.f.masked_load(raw, place, mask)
        bits = self.f.masked_load(vector(self.lanes, "i16"), place, mask)
        return self.f.cast("bitcast", bits, raw)

    def _reduce(self, sums: list[Value]) -> Value:
        """One number for each vector; in the last rounds several vectors share one."""
        f = self.f
        lanes = self.lanes
        while lanes > 4:
            lanes //= 2
            lower, upper = range(lanes), range(lanes, 2 * lanes)
            sums = [f.shuffle(x, None, lower) + f.shuffle(x, None, upper) for x in sums]
        sums = [
            f.shuffle(x, y, (0, 1, 4, 5)) + f.shuffle(x, y, (2, 3, 6, 7))
            for x, y in zip(sums[::2], sums[1::2], strict=True)
        ]
        if len(sums) == 1:
            return f.shuffle(sums[0], None, (0, 2)) + f.shuffle(sums[0], None, (1, 3))
        x, y = sums
        return f.shuffle(x, y, (0, 2, 4, 6)) + f.shuffle(x, y, (1, 3, 5, 7))

    def _store(
        self, x: Value, place: Value, alpha: Operand, accumulate: Value | bool, result: DType
    ) -> None:
        f = self.f
        if isinstance(alpha, Value) and x.lanes:
            alpha = f.splat(alpha, x.lanes)
        if isinstance(alpha, Value) or alpha != 1.0:
            x = x * alpha
        raw = vector(x.lanes, types.stored(result))
        if isinstance(accumulate, Value):
            total = f.variable(x.type, x)
            with f.when(accumulate):
                total.set(convert.unpack(self.rules, f.load(raw, place), result) + x)
            x = total.get()
        elif accumulate:
            x = convert.unpack(self.rules, f.load(raw, place), result) + x
        f.store(convert.pack(self.rules, x, result), place)


def emit_dots(module: Module, dtype: DType, target: Target) -> None:
    """Write the library's function: rows of dots, shared by panels of their columns."""
    f = module.function(dots_name(dtype), DOTS_ARGS)
    place, epilogue, args, thread, threads = f.args
    d = Description(f, place)
    dots = Dots(f, dtype, target)
    stored, element = dots.stored, dots.element
    own = f.at(address(f, args, 3), d["own_at"] + thread * d["own_size"], I8)
    bases = [address(f, args, d[slot]) for slot in ("slot_a", "slot_b", "slot_c")]
    alpha = f.cast("fptrunc", f.cast("bitcast", d["alpha"], F64), element)
    panels = (d["columns"] + d["panel"] - 1) // d["panel"]
    first, last = part(f, d["batch"] * panels, thread, threads)
    copied = f.variable(I64, -1)
    with f.loop(first, last) as unit:
        index, column = unit // panels, unit % panels * d["panel"]
        far = d.offsets(index)
        depth = f.smin(d["split_depth"], d["depth"] - (index % d["split"]) * d["split_depth"])
        a = f.variable(PTR, f.at(bases[0], far[0], stored))
        with f.when(d.flag("pack_a")):
            with f.when(f.compare("ne", copied.get(), index)):
                with f.loop(0, depth) as p:
                    raw = f.load(stored, f.at(a.get(), p * d["column_a"], stored))
                    f.store(convert.unpack(dots.rules, raw, dtype), f.at(own, p, element))
                copied.set(index)
            a.set(own)
        b = f.at(bases[1], far[1] + column * d["column_b"], stored)
        width = f.smin(d["columns"] - column, d["panel"])
        cut = f.compare("ne", d["split"], 1)  # its sums are of the computed type, and added later
        factor = f.select(cut, 1.0, alpha)
        add = f.select(cut, f.constant("i1", False), d.flag("accumulate"))

        def write(result: DType) -> None:
            c = f.at(bases[2], far[2] + column, types.stored(result))
            dots.write(a.get(), b, c, width, d["column_b"], depth, factor, add, result)

        if stored == element:
            write(dtype)
        else:
            with f.choice(cut) as labels:
                write(dtypes.float32)
                f.otherwise(labels)
                write(dtype)
        call_epilogue(f, epilogue, args, index, index + 1, column, width)
    f.ret()
