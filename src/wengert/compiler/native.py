"""A program as native code, ready to run."""

from __future__ import annotations

import numpy as np

from wengert.compiler.assemble import Assembly, assemble
from wengert.compiler.executable import Executable
from wengert.compiler.frame import Frame, emit_copying, emit_placing
from wengert.compiler.ir import Program
from wengert.compiler.llvm import build, steps
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.threads import pool
from wengert.compiler.llvm.types import I64, PTR
from wengert.compiler.refusals import out_of_memory, refusal
from wengert.compiler.threads import get_num_threads

FAULTS = "any_fault"
FAULT = 7  # the status of a run that a check has ended


class Native(Executable):
    """A program as native code; see `Executable`. Without a number of threads, each call runs on
    as many as `get_num_threads` says then."""

    def __init__(self, program: Program, threads: int | None = None) -> None:
        super().__init__(program)
        made = self.assembly = assemble(program)
        self.wanted = threads if is_shared(made) else 1
        if made.module.libraries:
            from wengert.compiler.kernels import library

            for name in sorted(made.module.libraries):
                library.load(name)
        for emit in (emit_placing, emit_copying, _emit_faults):
            emit(made.module)
        try:
            self.code = build.load_cached(made.module.text())
        except RuntimeError as refused:
            raise refusal(made, refused) from refused
        self.reports = np.zeros((len(made.checks) + 1, 2), np.int64)
        self.faults = np.array([self.reports.ctypes.data, len(made.checks)], np.int64)
        self.pool = pool()
        self._settle(self.wanted or get_num_threads())

    def _settle(self, threads: int) -> None:
        """Make the memory that so many threads need, and the steps that run on it."""
        frame = Frame(self.assembly, threads, self.table)
        try:
            arena = np.empty(frame.plan.size + 64, np.uint8)
        except MemoryError:
            raise out_of_memory(self.assembly, frame) from None
        self.threads = threads  # the most that there is memory for
        self.frame, self.plan, self.arena = frame, frame.plan, arena
        start = self.arena.ctypes.data
        self.frame.settle(start + (-start % 64), self.reports.ctypes.data)
        self.steps = self._steps(self.assembly)

    def _steps(self, made: Assembly) -> steps.Program:
        written = steps.Steps()
        code = self.code.address
        self.frame.place(written, code, range(len(self.table)))
        guard = self._first_guarded(made)

        def before(number: int) -> None:
            if number == guard:
                written.library(code(FAULTS), self.faults.ctypes.data)

        self.frame.write(written, code, before)
        if made.checks and guard is None:
            written.library(code(FAULTS), self.faults.ctypes.data)
        return written.finish()

    def _first_guarded(self, made: Assembly) -> int | None:
        """The first step that changes what the caller shares, and so must not run after a fault."""
        if not made.checks:
            return None
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

    def _raise(self) -> None:
        """Raise the error of the first check that did not hold."""
        reports, checks = self.reports.copy(), self.assembly.checks
        self.reports[...] = 0
        for check, (failed, value) in zip(checks, reports.tolist(), strict=False):
            if failed:
                raise check.error(value)


def is_shared(made: Assembly) -> bool:
    """Whether any step of a program has work for more than one thread."""
    return any(
        is_shared(p.repeat.body) if p.repeat is not None else p.call is None and not p.serial
        for p in made.pieces
    )


def _emit_faults(module: Module) -> None:
    """`i64 any_fault(ptr)`: whether one of the reports, whose place and number it gets, is set."""
    f = module.function(FAULTS, [PTR], I64)
    (args,) = f.args
    reports = f.load(PTR, args)
    found = f.variable(I64, 0)
    with f.loop(0, f.load(I64, f.at(args, 1, I64))) as i:
        found.set(found.get() | f.load(I64, f.at(reports, i * 2, I64)))
    f.ret(f.select(f.compare("ne", found.get(), 0), f.i64(FAULT), f.i64(0)))
