"""Small native steps, for tests of what runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from wengert.compiler.kernels.base import address, share, step
from wengert.compiler.llvm import build
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.steps import Program, Steps
from wengert.compiler.llvm.threads import Pool
from wengert.compiler.llvm.types import I64, PTR

SIZE = 64  # entries of the arrays that `rotate` works on
SOURCE = Path(__file__).parents[2] / "src"


@cache
def library() -> build.Library:
    """The steps, compiled.

    rotate(source, target): target[i] = source[i + 1 modulo SIZE] + 1, shared by threads. Each part
    needs entries of the next thread's part: without a barrier between two of them, it goes wrong.
    note(count, log, word): log[count++] = word.
    join(target): target[8 · thread] = threads.
    copy(source, target): a word.
    give(word): a library call that returns the word.
    """
    module = Module()
    f, args, thread, threads = step(module, "rotate")
    source, target = address(f, args, 0), address(f, args, 1)
    lo, hi = share(f, SIZE, thread, threads)
    with f.loop(lo, hi) as i:
        f.store(f.load(I64, f.at(source, (i + 1) % SIZE, I64)) + 1, f.at(target, i, I64))
    f.ret()
    f, args, _, _ = step(module, "note")
    count, log, word = (address(f, args, slot) for slot in range(3))
    at = f.load(I64, count)
    f.store(f.load(I64, word), f.at(log, at, I64))
    f.store(at + 1, count)
    f.ret()
    f, args, thread, threads = step(module, "join")
    f.store(threads, f.at(address(f, args, 0), thread * 8, I64))
    f.ret()
    f, args, _, _ = step(module, "copy")
    f.store(f.load(I64, address(f, args, 0)), address(f, args, 1))
    f.ret()
    f = module.function("give", [PTR], I64)
    f.ret(f.load(I64, address(f, f.args[0], 0)))
    return build.load_cached(module.text())


def at(name: str) -> int:
    """The address of one of the steps."""
    return library().address(name)


def words(count: int, start: int = 0) -> np.ndarray:
    """Memory for a step: so many numbers from `start` on."""
    return np.arange(start, start + count, dtype=np.int64)


class Table:
    """A step's table of addresses, which keeps what it points to."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays
        self.words = np.array([a.ctypes.data for a in arrays], np.int64)
        self.address = self.words.ctypes.data

    def slot(self, number: int) -> int:
        """The address of an entry of the table."""
        return self.address + 8 * number


class Log:
    """What `note` writes down, of a word."""

    def __init__(self, word: np.ndarray | None = None, size: int = 10_000) -> None:
        self.word = np.zeros(1, np.int64) if word is None else word
        self.count, self.memory = np.zeros(1, np.int64), np.zeros(size, np.int64)
        self.table = Table(self.count, self.memory, self.word)

    @property
    def noted(self) -> list[int]:
        return self.memory[: self.count[0]].tolist()


def both_ways(a: np.ndarray, b: np.ndarray) -> tuple[Table, Table]:
    """Tables for `rotate` from a to b and back."""
    return Table(a, b), Table(b, a)


def rotations(count: int) -> tuple[Program, np.ndarray, np.ndarray]:
    """A program of so many rotations, its array, and what the array is to hold after it."""
    array = words(SIZE)
    tables = both_ways(array, words(SIZE))
    program = Steps()
    for i in range(count):
        program.call(at("rotate"), tables[i % 2].address)
    made = program.finish()
    made.keep += tables
    return made, array, (words(SIZE) + count) % SIZE + count


def check(pool: Pool, count: int, steps: int = 40) -> None:
    """A program on so many threads gives what it should."""
    program, array, expected = rotations(steps)
    assert pool.run(program, count) == 0
    np.testing.assert_array_equal(array, expected)


def run_python(code: str, *, timeout: float = 60.0, **environment: str) -> str:
    """What a new Python process prints."""
    paths = os.pathsep.join([str(SOURCE), str(SOURCE.parent)])
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout.strip()
