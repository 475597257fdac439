"""Copies of activations that the convolution kernels can read: dense, wide, padded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from wengert.compiler.kernels.base import share
from wengert.compiler.kernels.conv_tile import read
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Value
from wengert.compiler.llvm.types import computed, size_of, stored
from wengert.core.dtypes import DType


@dataclass(frozen=True)
class Copy:
    """Activations copied to (images, *places, channels) without gaps, widened, with zeros around
    the last axis."""

    dtype: DType
    batch: int
    sizes: tuple[int, ...]
    channels: int
    steps: tuple[int, ...]  # of the operand: image, *places, channel
    target: Target
    before: int = 0  # zeros around the last axis
    behind: int = 0

    @property
    def element(self) -> str:
        """Type of the copy's entries."""
        return computed(self.dtype)

    @property
    def length(self) -> int:
        """Places along the last axis, with the zeros."""
        return self.before + self.sizes[-1] + self.behind

    @property
    def target_steps(self) -> tuple[int, ...]:
        """Steps of the copy: image, *places."""
        sizes = [*self.sizes[:-1], self.length, self.channels]
        return tuple(prod(sizes[a:]) for a in range(len(sizes)))

    @property
    def nbytes(self) -> int:
        """Size of the copy."""
        return self.batch * self.target_steps[0] * size_of(self.element)


def emit_copy(
    f: Function, copy: Copy, source: Value, target: Value, thread: Value, threads: Value
) -> None:
    """The thread's share of the copy, row by row of the last axis."""
    size = size_of(copy.element)
    rows = copy.batch * prod(copy.sizes[:-1])
    lo, hi = share(f, rows, thread, threads)
    with f.loop(lo, hi) as row:
        rest, place = row, f.i64(0)
        for n, s in list(zip(copy.sizes[:-1], copy.steps[1:-2], strict=True))[::-1]:
            place = place + (rest % n) * s
            rest = rest // n
        a = f.at(source, place + rest * copy.steps[0], stored(copy.dtype))
        b = f.at(target, row * (copy.length * copy.channels), copy.element)
        if copy.before:
            f.clear(b, copy.before * copy.channels * size, size)
            b = f.at(b, copy.before * copy.channels, copy.element)
        if copy.behind:
            end = f.at(b, copy.sizes[-1] * copy.channels, copy.element)
            f.clear(end, copy.behind * copy.channels * size, size)
        if copy.steps[-1] == 1 and copy.steps[-2] == copy.channels:
            _line(f, copy, a, b, copy.sizes[-1] * copy.channels, 1)
        else:
            with f.loop(0, copy.sizes[-1]) as i:
                from_ = f.at(a, i * copy.steps[-2], stored(copy.dtype))
                to = f.at(b, i * copy.channels, copy.element)
                _line(f, copy, from_, to, copy.channels, copy.steps[-1])


def _line(f: Function, copy: Copy, a: Value, b: Value, count: int, step: int) -> None:
    """`count` numbers, one `step` apart."""
    memory = stored(copy.dtype)
    if step == 1 and memory == copy.element:
        f.copy(b, a, count * size_of(copy.element), size_of(copy.element))
        return
    lanes = 16
    whole = count // lanes * lanes if step == 1 else 0
    if whole:
        with f.loop(0, whole, lanes) as i:
            x = read(f, f.at(a, i, memory), copy.dtype, copy.target, lanes)
            f.store(x, f.at(b, i, copy.element))
    if whole < count:
        with f.loop(whole, count) as i:
            x = read(f, f.at(a, i * step, memory), copy.dtype, copy.target)
            f.store(x, f.at(b, i, copy.element))
