"""Sorting along one axis, equal entries in their order.

Entries become unsigned integers in the same order: NaN is the largest, and for indices −0 is 0.
Short lines are sorted by counting, for each entry, those that go before it; longer ones by their
bytes, the lowest first, a pass for each byte in which the entries differ. Neither branches on what
it compares. The threads share the lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, padded, share, step
from wengert.compiler.llvm.emit import Module, Value
from wengert.compiler.llvm.types import BITS, I32, I64, PTR, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType

SHORT = 512  # bytes of keys of a line that is sorted by counting
SMALL = 1024  # entries; below it one thread is faster than two
BUCKETS = 256
_EXPONENTS = {
    dtypes.float16: 0x7C00,
    dtypes.bfloat16: 0x7F80,
    dtypes.float32: 0x7F800000,
    dtypes.float64: 0x7FF0000000000000,
}


@dataclass(frozen=True)
class Sort:
    """Lines of (pre, n, post), which have three steps in the operand and are row-major in the
    result, sorted along the middle axis; with `indices`, where each entry comes from, as int64."""

    dtype: DType
    shape: tuple[int, int, int]
    steps: tuple[int, int, int]
    descending: bool
    indices: bool

    @property
    def key(self) -> str:
        """The type of a key."""
        return I64 if self.dtype.itemsize == 8 else I32

    @property
    def lanes(self) -> int:
        """Keys of a vector."""
        return 512 // BITS[self.key]

    @property
    def is_short(self) -> bool:
        """Whether lines are sorted by counting."""
        return self.shape[1] * BITS[self.key] // 8 <= SHORT

    @property
    def parts(self) -> list[int]:
        """Bytes of each thread's arrays: keys and ranks; or, for bytes, two of keys, two of
        numbers, and the counts."""
        n = self.shape[1] + self.lanes
        keys = padded(n * BITS[self.key] // 8)
        if self.is_short:
            return [keys, keys]
        numbers = padded(4 * n) if self.indices else 0
        return [keys, keys, numbers, numbers, 4 * BUCKETS]

    @property
    def workspace(self) -> Workspace:
        """The arrays of each thread."""
        return Workspace(0, sum(self.parts))

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the step."""
        pre, n, post = self.shape
        phases = [Phase(name, pre * n * post < SMALL)]
        if not module.has(name):
            _Writer(self, module, name).write()
        return phases


class _Writer:
    def __init__(self, sort: Sort, module: Module, name: str) -> None:
        self.sort, self.key = sort, sort.key
        self.pre, self.n, self.post = sort.shape
        self.bits = 8 * sort.dtype.itemsize
        self.raw = f"i{self.bits}"
        self.top = 1 << (self.bits - 1)
        self.ones = (1 << self.bits) - 1
        self.f, self.args, self.thread, self.threads = step(module, name)

    def write(self) -> None:
        """The whole function."""
        f, sort = self.f, self.sort
        source, result, work = (address(f, self.args, slot) for slot in range(3))
        place = f.at(work, self.thread * padded(sum(sort.parts)), "i8")
        arrays = []
        for nbytes in sort.parts:
            arrays.append(place)
            place = f.at(place, nbytes, "i8")
        lo, hi = share(f, self.pre * self.post, self.thread, self.threads)
        with f.loop(lo, hi) as line:
            pre, column = line // self.post, line % self.post
            start = pre * sort.steps[0] + column * sort.steps[2]
            self.line = f.at(source, start, self.raw)
            at = pre * (self.n * self.post) + column
            self.target = f.at(result, at, I64 if sort.indices else self.raw)
            if sort.is_short:
                self._count(arrays[0], arrays[1])
            else:
                self._by_bytes(arrays)
        f.ret()

    # -- keys --------------------------------------------------------------------------------

    def _constant(self, x: int) -> int:
        """A number of as many bits as an entry, as LLVM writes it in a key."""
        width = BITS[self.key]
        return x - (1 << width) if x >> (width - 1) else x

    def _key(self, i: Value) -> Value:
        """The key of entry i."""
        f, sort = self.f, self.sort
        raw = f.load(self.raw, f.at(self.line, i * sort.steps[1], self.raw))
        bits = f.cast("zext", raw, self.key)
        kind = dtypes.kind(sort.dtype)
        if kind == "signed":
            bits = bits ^ self._constant(self.top)
        if kind == "float":
            bits = self._float_key(bits)
        return bits ^ self._constant(self.ones) if sort.descending else bits

    def _float_key(self, bits: Value) -> Value:
        f = self.f
        size = bits & (self.top - 1)
        if self.sort.indices:
            bits = f.select(f.compare("eq", size, 0), 0, bits)
        minus = f.compare("ne", bits & self._constant(self.top), 0)
        top = f.constant(self.key, self._constant(self.top))
        flipped = f.select(minus, self._constant(self.ones), top)
        is_nan = f.compare("ugt", size, _EXPONENTS[self.sort.dtype])
        return f.select(is_nan, self._constant(self.ones), bits ^ flipped)

    def _entry(self, key: Value) -> Value:
        """The entry with a key."""
        f, kind = self.f, dtypes.kind(self.sort.dtype)
        if self.sort.descending:
            key = key ^ self._constant(self.ones)
        if kind == "signed":
            key = key ^ self._constant(self.top)
        if kind == "float":
            plus = f.compare("ne", key & self._constant(self.top), 0)
            top = f.constant(self.key, self._constant(self.top))
            key = key ^ f.select(plus, top, self._constant(self.ones))
        return f.cast("trunc", key, self.raw)

    def _put(self, place: Value, key: Value, number: Value) -> None:
        """Write entry `place` of the result."""
        value = number if self.sort.indices else self._entry(key)
        kind = I64 if self.sort.indices else self.raw
        self.f.store(value, self.f.at(self.target, place * self.post, kind))

    # -- by counting -------------------------------------------------------------------------

    def _count(self, keys: Value, ranks: Value) -> None:
        """Sixteen entries at once (or eight) are compared with one after the other of all."""
        f, n, key = self.f, self.n, self.key
        lanes = self.sort.lanes
        wide = vector(lanes, key)
        signed = -(1 << (BITS[key] - 1))  # compared as signed numbers, which all processors do
        with f.loop(0, n) as i:
            f.store(self._key(i) ^ signed, f.at(keys, i, key))
        for behind in range(n, -(-n // lanes) * lanes):  # whole vectors are read
            f.store(f.constant(key, 0), f.at(keys, behind, key))
        numbers = f.constants(key, range(lanes))
        with f.loop(0, n, lanes) as block:
            each = f.load(wide, f.at(keys, block, key))
            before = f.variable(wide, 0)
            stop = f.smin(block + lanes, n)
            for lo, hi, order in ((f.i64(0), block, "sle"), (block, stop, ""), (stop, n, "slt")):
                with f.loop(lo, hi) as j:
                    other = f.splat(f.load(key, f.at(keys, j, key)), lanes)
                    if order:
                        first = f.compare(order, other, each)
                    else:  # of equal entries, those with smaller numbers
                        number = j - block
                        number = number if key == I64 else f.cast("trunc", number, key)
                        later = f.compare("sgt", numbers, f.splat(number, lanes))
                        tied = f.compare("eq", other, each) & later
                        first = f.compare("slt", other, each) | tied
                    before.set(before.get() + f.cast("zext", first, wide))
            f.store(before.get(), f.at(ranks, block, key))
        with f.loop(0, n) as i:
            place = f.load(key, f.at(ranks, i, key))
            place = place if key == I64 else f.cast("zext", place, I64)
            self._put(place, f.load(key, f.at(keys, i, key)) ^ signed, i)

    # -- by bytes ----------------------------------------------------------------------------

    def _by_bytes(self, arrays: list[Value]) -> None:
        f, n, indices = self.f, self.n, self.sort.indices
        counts = arrays[4]
        keys, spare = f.variable(PTR, arrays[0]), f.variable(PTR, arrays[1])
        numbers, spare_numbers = f.variable(PTR, arrays[2]), f.variable(PTR, arrays[3])
        with f.loop(0, n) as i:
            f.store(self._key(i), f.at(arrays[0], i, self.key))
            if indices:
                f.store(f.cast("trunc", i, I32), f.at(arrays[2], i, I32))
        with f.loop(0, self.bits, 8) as shift:
            f.clear(counts, 4 * BUCKETS)
            source, target = keys.get(), spare.get()
            with f.loop(0, n) as i:
                bucket = self._bucket(counts, self._byte(source, i, shift))
                f.store(f.load(I32, bucket) + 1, bucket)
            first = self._bucket(counts, self._byte(source, f.i64(0), shift))
            with f.when(f.compare("ne", f.load(I32, first), n)):  # the byte is not the same for all
                self._sum_up(counts)
                old, new = numbers.get(), spare_numbers.get()
                with f.loop(0, n) as i:
                    bucket = self._bucket(counts, self._byte(source, i, shift))
                    at = f.load(I32, bucket)
                    f.store(at + 1, bucket)
                    place = f.cast("zext", at, I64)
                    key = f.load(self.key, f.at(source, i, self.key))
                    f.store(key, f.at(target, place, self.key))
                    if indices:
                        f.store(f.load(I32, f.at(old, i, I32)), f.at(new, place, I32))
                keys.set(target)
                spare.set(source)
                numbers.set(new)
                spare_numbers.set(old)
        found, order = keys.get(), numbers.get()
        with f.loop(0, n) as i:
            number = i
            if indices:
                number = f.cast("zext", f.load(I32, f.at(order, i, I32)), I64)
            self._put(i, f.load(self.key, f.at(found, i, self.key)), number)

    def _byte(self, keys: Value, i: Value, shift: Value) -> Value:
        f = self.f
        key = f.load(self.key, f.at(keys, i, self.key))
        if self.key == I64:
            return (key >> shift) & (BUCKETS - 1)
        return f.cast("zext", (key >> f.cast("trunc", shift, I32)) & (BUCKETS - 1), I64)

    def _bucket(self, counts: Value, byte: Value) -> Value:
        return self.f.at(counts, byte, I32)

    def _sum_up(self, counts: Value) -> None:
        """From how many there are of each byte to where the first of them goes."""
        f = self.f
        total = f.variable(I32, 0)
        with f.loop(0, BUCKETS) as b:
            place = f.at(counts, b, I32)
            count = f.load(I32, place)
            f.store(total.get(), place)
            total.set(total.get() + count)
