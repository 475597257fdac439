"""The pool of threads that run programs, and how they are called.

Workers are Python threads that stay inside one native function (see `runtime`), without the GIL.
They start when a program first asks for them, look out for the next program for a millisecond, and
sleep after that: on Linux by a futex, elsewhere (or with WENGERT_POOL=python) by a lock of Python.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from wengert.compiler.llvm import build, runtime
from wengert.compiler.llvm.ahead import Ahead
from wengert.compiler.llvm.runtime import block
from wengert.compiler.llvm.steps import REQUEST, Program, Words, aligned_words
from wengert.compiler.threads import MAX_THREADS
from wengert.core.errors import ArgumentError
from wengert.system import cores

VARIABLE = "WENGERT_POOL"
KINDS = ("futex", "python")
SPIN_SECONDS = 50e-6  # in a barrier, before the processor is offered to other threads
IDLE_SECONDS = 1e-3  # without work, before sleep
START_SECONDS = 2.0  # the longest that is waited for a worker to start or to end
# Numbers of the system call, by `platform.machine()`.
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221, "s390x": 238}
_WAKER = ctypes.CFUNCTYPE(None)

_pools: list[Pool] = []


class Pool:
    """Worker threads, and the memory that they share with those who call them.

    `kind` says how workers sleep: "futex" (Linux) or "python" (everywhere). A pool lives as long as
    the process: its workers may look at its memory until the very end.
    """

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind or default_kind()
        self._native = _Native.get()
        self._memory = aligned_words(block.BLOCK_BYTES // 8)
        self._block = self._memory.ctypes.data
        self._run = self._native.run
        self._closed = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        # Number of a worker → what it sleeps on in Python, and the function that ends that.
        self._beds: dict[int, tuple[Any, Any]] = {}
        self._asked = 1
        self._configure()
        _pools.append(self)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def run(self, program: Program, threads: int = 1) -> int:
        """Run a program on so many threads, or fewer if the system does not give so many, or if the
        workers are busy with a program of another thread. Results do not depend on that.

        Returns 0, or the status of the library call that ended the run, or `steps.STOPPED`. Raises
        what a Python function in the program has raised, KeyboardInterrupt among it.
        """
        if threads > self._asked:
            self.start(threads)
        if program.asked != (self._block, threads):
            program.ask(self._block, threads)
        status: int = self._run(program.request)
        return program.settle(status) if program.callbacks else status

    def request(self, program: Program, threads: int, counts: Words, total: int) -> Request:
        """A run of a program that takes place only if the numbers at some addresses add up to a
        total."""
        words = np.zeros(REQUEST, np.int64)
        words[:] = self._block, program.address, threads, len(counts), counts.ctypes.data, total
        return Request(program, threads, (words, counts), words.ctypes.data, self._run)

    def is_ready(self, threads: int) -> bool:
        """Whether nobody need be started for so many threads."""
        return threads <= self._asked

    @property
    def workers(self) -> int:
        """Threads that are ready, beside the caller's."""
        return int(self._memory[block.READY // 8])

    def start(self, threads: int) -> None:
        """Start workers for so many threads in all, and wait until they are ready."""
        with self._lock:
            self._asked = min(threads, MAX_THREADS)
            try:
                while not self._closed and len(self._threads) < self._asked - 1:
                    self._start_one()
            except RuntimeError:  # the system gives no more threads: those there are will do
                pass
            give_up = time.monotonic() + START_SECONDS
            while self.workers < len(self._threads) and time.monotonic() < give_up:
                time.sleep(5e-5)

    def close(self) -> None:
        """Send the workers home. Programs run on one thread from then on."""
        with self._lock:
            self._closed, self._asked = True, sys.maxsize
            while not self._native.close(self._block):
                time.sleep(1e-4)
            for worker in self._threads:
                worker.join(START_SECONDS)
            self._threads = []

    # -- inside ------------------------------------------------------------------------------

    def _start_one(self) -> None:
        number = len(self._threads) + 1
        bed = threading.Lock()
        bed.acquire()
        waker = _WAKER(bed.release)
        self._beds[number] = (bed, waker)
        self._memory[(block.line(number) + block.WAKER) // 8] = _address(waker)
        worker = threading.Thread(target=self._serve, name=f"wengert-{number}", daemon=True)
        worker.start()
        self._threads.append(worker)

    def _serve(self) -> None:
        """What a worker does. It gets its number when it is ready, by the order of arrival."""
        number = self._native.work(self._block, 0)
        while number:  # 0 when the pool is closed; else it is to sleep here
            self._beds[number][0].acquire()
            number = self._native.work(self._block, number)

    def _configure(self) -> None:
        """Write the settings into the block."""
        values = {
            block.SPIN: int(SPIN_SECONDS / self._native.pause_seconds),
            block.IDLE: int(IDLE_SECONDS / self._native.pause_seconds),
            block.CORES: int(cores()["usable"] or 1),
            **_system_functions(self.kind),
        }
        for place, value in values.items():
            self._memory[place // 8] = value

    def _forget_workers(self) -> None:
        """In the child of a fork, where none of them exists. The parent may have been in a run."""
        self._memory[block.LOCK // 8] = 0
        self._memory[block.READY // 8] = 0
        self._memory[block.EPOCH // 8] += 1 << 40  # past all that the parent may have announced
        self._memory[block.THREADS // 8 : block.line(len(self._threads) + 1) // 8] = 0
        self._lock = threading.Lock()
        self._threads, self._beds, self._asked = [], {}, 1


@dataclass(frozen=True)
class Request:
    """See `Pool.request`. `run(address)` runs it, and gives `steps.NOT_ALONE` where it may not."""

    program: Program
    threads: int
    keep: tuple[Words, Words]
    address: int
    run: Callable[[int], int]


class _Native:
    """The functions of the runtime, as Python calls them."""

    def __init__(self) -> None:
        address, word = ctypes.c_void_p, ctypes.c_int64
        library = _runtime().result()
        self.library = library  # the code lives as long as this
        self.run = ctypes.CFUNCTYPE(word, address)(library.address("wengert_request"))
        self.work = ctypes.CFUNCTYPE(word, address, word)(library.address("wengert_work"))
        self.close = ctypes.CFUNCTYPE(word, address)(library.address("wengert_close"))
        self.pauses = ctypes.CFUNCTYPE(None, word)(library.address("wengert_pauses"))
        self.pause_seconds = min(self._timed(1000) for _ in range(3)) / 1000

    def _timed(self, count: int) -> float:
        start = time.perf_counter()
        self.pauses(count)
        return max(time.perf_counter() - start, 1e-7)

    @staticmethod
    @lru_cache(maxsize=1)
    def get() -> _Native:
        """The runtime of this process."""
        return _Native()


@lru_cache(maxsize=1)
def _runtime() -> Ahead[build.Library]:
    """The code of the runtime, once it is there."""
    return Ahead(partial(build.load_cached, runtime.text(build.host().triple)))


def prepare() -> None:
    """Let the code of the runtime be compiled, or loaded, in the background: a program will come
    that needs it."""
    _runtime()


@lru_cache(maxsize=1)
def pool() -> Pool:
    """The pool of this process."""
    return Pool()


def default_kind() -> str:
    """How workers sleep on this system, or as WENGERT_POOL says."""
    futex = sys.platform == "linux" and platform.machine() in _FUTEX and sys.maxsize > 1 << 32
    chosen = os.environ.get(VARIABLE) or ("futex" if futex else "python")
    if chosen not in KINDS or (chosen == "futex" and not futex):
        raise ArgumentError(
            "threads",
            "there is no such kind of thread pool on this system",
            met=f"{VARIABLE}={chosen!r}",
            fix=f"{VARIABLE}=python works everywhere; without it, the best one is taken",
        )
    return chosen


def _system_functions(kind: str) -> dict[int, int]:
    """Addresses of the system's functions, by their places in the block."""
    if sys.platform == "win32":
        system = ctypes.WinDLL("kernel32")
        yielding, nap, unit = system.SwitchToThread, system.Sleep, 1000
    else:
        system = ctypes.CDLL(None)
        yielding, nap, unit = system.sched_yield, system.usleep, 1
    found = {
        block.YIELD: _address(yielding),
        block.NAP: _address(nap),
        block.NAP_UNIT: unit,
        block.SYSCALL: 0,
    }
    if kind == "futex":
        found[block.SYSCALL] = _address(system.syscall)
        found[block.FUTEX] = _FUTEX[platform.machine()]
    return found


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _after_fork() -> None:
    for each in _pools:
        each._forget_workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
