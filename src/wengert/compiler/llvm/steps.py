"""The list of steps that the runtime walks: how it lies in memory, and the class that writes it.

A program is an array of 64-bit words: a header of eight, then eight for each step. The steps of
the body of a loop or a condition follow its own.

    header   COUNT of the steps · STOP: not 0 ends the run at the next iteration of a loop ·
             STATUS of a run that ended early, and the number of the barrier after which threads
             END it · POLL: `i64 poll(ptr)`, asked now and then in loops; it returns in how many
             iterations to ask again, 0 or less to stop · LEFT until then · a word for NOTHING
    step     KIND and flags, then by kind:
    CALL     FUNCTION `void f(ptr args, i64 thread, i64 threads)`, ARGS, LIMIT of threads
    LIBRARY  FUNCTION `i64 f(ptr args)`, called by thread 0, ARGS; not 0 ends the run
    LOOP     address of its COUNT, address of its MOVES, LENGTH of the body in steps, the count
             itself if it is known, address of a CONDITION (where there is none: of the count),
             address of the INDEX (or of NOTHING), number of the barrier after its LAST iteration
    WHEN     FUNCTION: address of a word, VALUE that it must have, LENGTH of the body in steps

A barrier of all threads follows the steps with the flag BARRIER. The flag SERIAL of a loop gives it
to thread 0 alone.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Words = np.ndarray[Any, np.dtype[np.int64]]

WORDS = 8  # of the header, and of each step
COUNT, STOP, STATUS, END, POLL, LEFT, NOTHING = range(7)  # of the header
KIND, FUNCTION, ARGS, LIMIT = range(4)  # of a call
TIMES, MOVES, LENGTH, GIVEN, CONDITION, INDEX, LAST = range(1, 8)  # of a loop
SELECTOR, VALUE = 1, 2  # of a `when`, which has its LENGTH where loops have it
CALL, LIBRARY, LOOP, WHEN = range(4)
BARRIER, SERIAL = 256, 512  # flags of a kind
ANY = 1 << 32  # the limit of a step that any number of threads may share

# Status of a run that was stopped; of one whose Python function raised; of a request whose counts
# did not add up, so that nothing was run.
STOPPED, FAILED, NOT_ALONE = -1, -2, -3
REQUEST = 6  # words of a request, see `emit_request`
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Move:
    """A word that moves with a loop: `*slot = *base + i * stride` before iteration i.

    `slot` and `base` are addresses of words, the stride is in bytes. With a period, i counts modulo
    it: a state that alternates between two buffers has period 2. In a nested loop the base may be
    the slot of the outer one.
    """

    slot: int
    base: int
    stride: int
    period: int = 0


class Callback:
    """A Python function that native code calls, as `i64 f(ptr args)`; what it raises is kept.

    A generator stands between, because Python handles a pending Ctrl-C where a function begins: in
    a plain function that is before any `try`, and the interrupt would be lost. A generator goes on
    inside its `try`.
    """

    signature = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)

    def __init__(self, function: Callable[[int], int | None]) -> None:
        self.function = function
        self.error: BaseException | None = None
        self.begin()

    def begin(self) -> None:
        """Make the native function."""
        self._serving: Any = self._serve()
        next(self._serving)
        self._native = self.signature(self._serving.send)
        self.address = ctypes.cast(self._native, ctypes.c_void_p).value or 0

    def _serve(self) -> Generator[int, int | None, None]:
        status = 0
        while True:
            try:
                while True:
                    args = yield status
                    status = self.function(args or 0) or 0
            except GeneratorExit:
                return
            except BaseException as error:
                self.error, status = error, FAILED

    def is_broken(self) -> bool:
        """Whether a second Ctrl-C has come while `_serve` dealt with the first."""
        return self._serving.gi_frame is None


class Poll:
    """Lets Python handle signals in a long native loop: about every tenth of a second."""

    def __init__(self) -> None:
        self.interval = 1
        self.last = time.perf_counter()

    def __call__(self, args: int) -> int:
        now = time.perf_counter()
        elapsed, self.last = max(now - self.last, 1e-9), now
        fitting = int(self.interval * min(POLL_SECONDS / elapsed, 8.0))
        self.interval = min(max(fitting, 1), 1 << 40)
        return self.interval


@dataclass
class Program:
    """Steps in memory, ready to be run, and what must live as long as they do.

    Its steps write to the buffers that their tables name, so one thread may run it at a time.
    """

    memory: Words
    callbacks: list[Callback] = field(default_factory=list)
    keep: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.address = self.memory.ctypes.data
        self.words = np.zeros(REQUEST, np.int64)  # who runs it, it, on how many threads; no counts
        self.request = self.words.ctypes.data
        self.asked: tuple[int, int] | None = None

    def ask(self, block: int, threads: int) -> None:
        """Write the request of a pool, by the memory that its workers share."""
        self.words[:3] = block, self.address, threads
        self.asked = block, threads

    def stop(self) -> None:
        """End the present run at the next iteration of a loop; from another thread."""
        self.memory[STOP] = 1

    def settle(self, status: int) -> int:
        """The status after a run; raises what a Python function in it has raised."""
        for callback in self.callbacks:
            error, callback.error = callback.error, None
            if callback.is_broken():
                before = callback.address
                callback.begin()
                self.memory[self.memory == before] = callback.address
                error = error or KeyboardInterrupt()
            if error is not None:
                raise error
        return status


class Steps:
    """Writes a program. A step sees all that the steps before it wrote.

        steps = Steps()
        steps.call(library.address("scale"), table.ctypes.data)
        with steps.loop(10):
            steps.call(...)
        program = steps.finish()

    Addresses are plain numbers: the tables that they point to belong to the caller, and must stay
    where they are as long as the program is used.
    """

    def __init__(self) -> None:
        self._records: list[list[int]] = []
        self._open: list[int] = []  # loops and conditions around the next step
        self._overlaps: set[int] = set()
        self._callbacks: list[Callback] = []
        self._keep: list[Any] = []

    def __len__(self) -> int:
        return len(self._records)

    def call(
        self,
        function: int,
        args: int,
        *,
        serial: bool = False,
        limit: int = 0,
        overlap: bool = False,
    ) -> None:
        """All threads call `void f(ptr args, i64 thread, i64 threads)`.

        `limit` is the most threads that share the work (0: all); `serial` is a limit of one. With
        `overlap` the next step may start before this one has ended, so it must need nothing of it,
        nor of those before it with `overlap`.
        """
        if overlap:
            self._overlaps.add(len(self._records))
        self._add(CALL, function, args, 1 if serial else limit or ANY)

    def library(self, function: int | Callable[[int], int | None], args: int = 0) -> None:
        """Thread 0 calls `i64 f(ptr args)`; another status than 0 ends the run at once.

        A Python function gets the address as a number, and returns None, 0, or a status. What it
        raises ends the run, and comes out of `Pool.run`.
        """
        if not isinstance(function, int):
            self._callbacks.append(Callback(function))
            function = self._callbacks[-1].address
        self._add(LIBRARY, function, args)

    @contextmanager
    def loop(
        self,
        count: int = 0,
        *,
        count_at: int = 0,
        condition: int = 0,
        index: int = 0,
        moves: Sequence[Move] = (),
        serial: bool = False,
    ) -> Iterator[None]:
        """Run the steps that are added inside `count` times.

        The count may stand in memory instead: `count_at` is the address of a word. `condition` is
        the address of a word that ends the loop when it is 0. Both are read before each iteration.
        The number of the iteration is written to the word at `index`, -1 after the last. `moves`
        are done before each iteration. A `serial` loop is run by thread 0 alone, without barriers:
        for bodies too small to share. (It is serial anyway if all calls in it are.)
        """
        assert count_at or count >= 0, f"a loop of {count} iterations"
        table = np.array(
            [len(moves), *(w for m in moves for w in (m.slot, m.base, m.stride, m.period))],
            np.int64,
        )
        self._keep.append(table)
        kind = LOOP | (SERIAL if serial else 0)
        record = self._add(kind, count_at, table.ctypes.data, 0, count, condition, index)
        with self._body(record):
            yield

    @contextmanager
    def when(self, selector: int, value: int) -> Iterator[None]:
        """Run the steps that are added inside if the word at an address has a value.

        The word must keep it until the steps of the last `when` on it have run.
        """
        with self._body(self._add(WHEN, selector, value, 0)):
            yield

    def finish(self) -> Program:
        """The program in memory."""
        assert not self._open, "a loop or condition is still open"
        loops = any(r[KIND] & 255 == LOOP for r in self._records)
        callbacks = list(self._callbacks)
        self._place_barriers(0, len(self._records), inside=None)
        memory = aligned_words((len(self._records) + 1) * WORDS)
        memory[COUNT] = len(self._records)
        if loops:
            callbacks.append(Callback(Poll()))
            memory[POLL], memory[LEFT] = callbacks[-1].address, 2
        for record, words in zip(self._records, memory[WORDS:].reshape(-1, WORDS), strict=True):
            words[: len(record)] = record
            if record[KIND] & 255 == LOOP:
                words[TIMES] = record[TIMES] or words[GIVEN:].ctypes.data
                words[CONDITION] = record[CONDITION] or words[TIMES]
                words[INDEX] = record[INDEX] or memory[NOTHING:].ctypes.data
        return Program(memory, callbacks, list(self._keep))

    def _add(self, *words: int) -> int:
        self._records.append(list(words))
        return len(self._records) - 1

    @contextmanager
    def _body(self, record: int) -> Iterator[None]:
        self._open.append(record)
        yield
        self._open.pop()
        body = self._records[record + 1 :]
        self._records[record][LENGTH] = len(body)
        shared = any(r[KIND] & 255 == CALL and r[LIMIT] != 1 for r in body)
        if self._records[record][KIND] == LOOP and not shared:
            self._records[record][KIND] |= SERIAL

    # -- barriers ----------------------------------------------------------------------------

    def _place_barriers(self, start: int, stop: int, inside: int | None) -> None:
        """Mark the calls of one body that need a barrier after them, and those of bodies in it.

        `inside` is the kind of the step whose body it is. Other steps bring barriers of their own:
        a library call and a loop end with one, a condition begins with one; and so does the end of
        the program.
        """
        shared = False  # whether other threads may still be in a step that has no barrier after it
        at = start
        while at < stop:
            record = self._records[at]
            kind = record[KIND] & 255
            after = at + 1 + (record[LENGTH] if kind in (LOOP, WHEN) else 0)
            if kind == CALL:
                shared = shared or record[LIMIT] != 1
                following = self._records[after] if after < stop else None
                if self._needs_barrier(at, following, inside, shared):
                    record[KIND] |= BARRIER
                    shared = False
            else:
                self._place_barriers(at + 1, after, kind)
                shared = False
            at = after

    def _needs_barrier(
        self, at: int, following: list[int] | None, inside: int | None, shared: bool
    ) -> bool:
        """Thread 0 goes on without a barrier where it alone has worked, and alone works next."""
        if following is None:
            return inside == WHEN or (inside == LOOP and shared)
        kind = following[KIND] & 255
        if kind == CALL and at in self._overlaps:
            return False
        serial = kind in (LIBRARY, LOOP) or (kind == CALL and following[LIMIT] == 1)
        return shared or not serial


def aligned_words(count: int) -> Words:
    """So many words of zeros that start at a multiple of 64 bytes."""
    raw = np.zeros(count + 8, np.int64)
    skip = (-raw.ctypes.data % 64) // 8
    return raw[skip : skip + count]
