"""An assembled program with its code in memory, ready to run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from wengert.compiler.assembled import Assembled
from wengert.compiler.executable import Executable
from wengert.compiler.frame import Frame
from wengert.compiler.ir import Program
from wengert.compiler.llvm import steps
from wengert.compiler.llvm.build import Library
from wengert.compiler.llvm.steps import Words
from wengert.compiler.llvm.threads import Request, pool
from wengert.compiler.threads import get_num_threads

if TYPE_CHECKING:
    from wengert.compiler.assemble import Assembly

FAULTS = "any_fault"
FAULT = 7  # the status of a run that a check has ended


class Linked(Executable):
    """A program as native code; see `Executable`.

    Parameters
    ----------
    program : its inputs, outputs and aliases count
    made, code, checks : how it runs; the code, which is loaded; and the number of its checks
    threads : on which it runs; None for as many as `get_num_threads` says at each call
    """

    def __init__(
        self,
        program: Program,
        made: Assembled,
        code: Library,
        checks: int,
        threads: int | None = None,
    ) -> None:
        super().__init__(program)
        self.made, self.code, self.checks = made, code, checks
        self.wanted = threads if is_shared(made) else 1
        self.reports = np.zeros((checks + 1, 2), np.int64)
        self.faults = np.array([self.reports.ctypes.data, checks], np.int64)
        self.pool = pool()
        self._settle(self.wanted or get_num_threads())

    @abstractmethod
    def whole(self) -> Assembly:
        """All that was known of the program when its code was written: errors tell of it."""

    def _settle(self, threads: int) -> None:
        """Make the memory that so many threads need, and the steps that run on it."""
        frame = Frame(self.made, threads, self.table)
        try:
            arena = np.empty(frame.plan.size + 64, np.uint8)
        except MemoryError:
            from wengert.compiler.refusals import out_of_memory

            whole = self.whole()
            raise out_of_memory(whole, Frame(whole, threads, self.table)) from None
        self.threads = threads  # the most that there is memory for
        self.frame, self.plan, self.arena = frame, frame.plan, arena
        start = self.arena.ctypes.data
        self.frame.settle(start + (-start % 64), self.reports.ctypes.data)
        self.steps = self._steps()

    def _steps(self) -> steps.Program:
        written = steps.Steps()
        code = self.code.address
        self.frame.place(written, code, range(len(self.table)))
        guard = self._first_guarded()

        def before(number: int) -> None:
            if number == guard:
                written.library(code(FAULTS), self.faults.ctypes.data)

        self.frame.write(written, code, before)
        if self.checks and guard is None:
            written.library(code(FAULTS), self.faults.ctypes.data)
        return written.finish()

    def _first_guarded(self) -> int | None:
        """The first step that changes what the caller shares, and so must not run after a fault."""
        if not self.checks:
            return None
        made = self.made
        shared = {made.program.outputs[o] for o in made.program.aliases}
        for number, piece in enumerate(made.pieces):
            if not shared.isdisjoint(made.jobs[piece.job].writes):
                return number
        return None

    def __call__(self) -> None:
        threads = self.wanted or get_num_threads()
        if threads > self.threads:
            self._settle(threads)
        status = self.pool.run(self.steps, threads)
        if status == FAULT:
            self._raise()
        elif status == steps.STOPPED:
            raise KeyboardInterrupt

    def request(self, counts: Words, total: int) -> Request | None:
        if self.steps.callbacks or self.checks:  # what they raise is seen to after a plain run
            return None
        threads = self.wanted or get_num_threads()
        return self.pool.request(self.steps, threads, counts, total)

    def run_alone(self, request: Request) -> bool:
        threads = request.threads
        if threads != (self.wanted or get_num_threads()) or request.program is not self.steps:
            return False
        return self.pool.is_ready(threads) and request.run(request.address) != steps.NOT_ALONE

    def _raise(self) -> None:
        """Raise the error of the first check that did not hold."""
        reports = self.reports.tolist()
        self.reports[...] = 0
        for check, (failed, value) in enumerate(reports):
            if failed:
                raise self.whole().checks[check].error(value)


def is_shared(made: Assembled) -> bool:
    """Whether any step of a program has work for more than one thread."""
    return any(
        is_shared(p.repeat.body) if p.repeat is not None else p.call is None and not p.serial
        for p in made.pieces
    )


def begin_libraries(names: Collection[str]) -> None:
    """Let shared code that a program calls be loaded in the background."""
    if names:
        from wengert.compiler.kernels import library

        library.begin(names)


def load_libraries(names: Collection[str]) -> None:
    """Load the shared code that a program calls."""
    if names:
        from wengert.compiler.kernels import library

        library.load_all(names)
