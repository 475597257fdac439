"""Random bits: Philox4x64-10 (Salmon et al., 2011), bit for bit as `ops.random` has them.

Each stream has a key and a counter; its blocks of four 64-bit words are numbered from the counter
on. A block takes twenty products of 64 bits with 64, which processors have as one instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.compiler.kernels.base import Epilogue, Phase, Workspace, address, share, step
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.types import I64
from wengert.ops.random import BUMPS, MULTIPLIERS, ROUNDS

I128 = "i128"
BLOCK = 32  # bytes
FEW_STREAMS = 8  # below, the threads share the blocks of each stream


@dataclass(frozen=True)
class Philox:
    """Streams of random bits as a `Kernel`.

    Operands: keys (pairs of words, `key_word` apart) and counters; both have steps along the axes
    of `lead`, one stream for each place there. The result has `nbytes` for each stream, row-major.
    """

    lead: tuple[int, ...]
    key_steps: tuple[int, ...]
    key_word: int
    counter_steps: tuple[int, ...]
    nbytes: int
    domain: int

    @property
    def workspace(self) -> Workspace:
        """It needs none."""
        return Workspace()

    @property
    def streams(self) -> int:
        """How many streams there are."""
        total = 1
        for n in self.lead:
            total *= n
        return total

    @property
    def blocks(self) -> int:
        """Blocks of each stream, the last of which may be cut."""
        return -(-self.nbytes // BLOCK)

    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]:
        """Write the step."""
        phases = [Phase(name, self.streams * self.blocks < 64)]
        if module.has(name):
            return phases
        f, args, thread, threads = step(module, name)
        keys, counters, result = (address(f, args, slot) for slot in range(3))
        split_streams = self.streams >= FEW_STREAMS
        first, last = f.i64(0), f.i64(self.streams)
        lo, hi = f.i64(0), f.i64(self.blocks)
        if split_streams:
            first, last = share(f, self.streams, thread, threads)
        else:
            lo, hi = share(f, self.blocks, thread, threads, 2)
        with f.loop(first, last) as stream:
            key, counter = self._places(f, stream)
            k0 = f.load(I64, f.at(keys, key, I64))
            k1 = f.load(I64, f.at(keys, key + self.key_word, I64))
            start = f.load(I64, f.at(counters, counter, I64))
            target = f.at(result, stream * self.nbytes, "i8")
            self._stream(f, round_keys(f, k0, k1), start, target, lo, hi)
        f.ret()
        return phases

    def _places(self, f: Function, stream: Value) -> tuple[Value, Value]:
        """Where the key and the counter of a stream stand."""
        key = counter = f.i64(0)
        for axis in reversed(range(len(self.lead))):
            digit = stream % self.lead[axis] if axis else stream
            stream = stream // self.lead[axis]
            key = key + digit * self.key_steps[axis]
            counter = counter + digit * self.counter_steps[axis]
        return key, counter

    def _stream(
        self,
        f: Function,
        keys: list[tuple[Value, Value]],
        start: Value,
        target: Value,
        lo: Value,
        hi: Value,
    ) -> None:
        """Blocks lo to hi of one stream."""
        whole, rest = divmod(self.nbytes, BLOCK)
        with f.loop(lo, f.smin(hi, whole)) as block:
            place = f.at(target, block * BLOCK, "i8")
            for i, word in enumerate(block_words(f, keys, start, block, self.domain)):
                f.store(word, f.at(place, i, I64), align=4)
        if not rest:
            return
        with f.when(f.compare("sgt", hi, whole)):
            place = f.at(target, whole * BLOCK, "i8")
            words = block_words(f, keys, start, f.i64(whole), self.domain)
            for i in range(rest // 8):
                f.store(words[i], f.at(place, i, I64), align=4)
            if rest % 8:
                half = f.cast("trunc", words[rest // 8], "i32")
                f.store(half, f.at(place, rest // 4 - 1, "i32"), align=4)


def block_words(
    f: Function, keys: list[tuple[Value, Value]], start: Value, block: Value, domain: int
) -> list[Value]:
    """The four words of a block, counted from the counter that a stream starts at."""
    low = f.op(I64, f"add i64 {start}, {block}")
    c0, c1 = low, f.cast("zext", f.compare("ult", low, start), I64)
    c2, c3 = f.constant(I64, 0), f.constant(I64, domain)
    for k0, k1 in keys:
        high0, low0 = _product(f, c0, int(MULTIPLIERS[0]))
        high1, low1 = _product(f, c2, int(MULTIPLIERS[1]))
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return [c0, c1, c2, c3]


def round_keys(f: Function, k0: Value, k1: Value) -> list[tuple[Value, Value]]:
    """The keys of all rounds."""
    keys = []
    for _ in range(ROUNDS):
        keys.append((k0, k1))
        k0 = f.op(I64, f"add i64 {k0}, {_signed(int(BUMPS[0]))}")
        k1 = f.op(I64, f"add i64 {k1}, {_signed(int(BUMPS[1]))}")
    return keys


def _product(f: Function, x: Value, factor: int) -> tuple[Value, Value]:
    """High and low word of a product."""
    wide = f.cast("zext", x, I128)
    product = f.op(I128, f"mul i128 {wide}, {factor}")
    high = f.op(I128, f"lshr i128 {product}, 64")
    return f.cast("trunc", high, I64), f.cast("trunc", product, I64)


def _signed(x: int) -> int:
    """A 64-bit word as LLVM writes it."""
    return x - (1 << 64) if x >> 63 else x
