"""A program as native code, ready to run."""

from __future__ import annotations

import numpy as np

from wengert.compiler.assemble import Assembly, Slot, assemble
from wengert.compiler.executable import Executable
from wengert.compiler.ir import Array, Program, Term
from wengert.compiler.kernels.base import address, step
from wengert.compiler.llvm import build, steps
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.steps import Steps
from wengert.compiler.llvm.threads import pool
from wengert.compiler.llvm.types import I64, PTR
from wengert.compiler.plan import plan


class Native(Executable):
    """A program as native code; see `Executable`."""

    def __init__(self, program: Program, threads: int) -> None:
        super().__init__(program)
        self.threads = threads
        made = self.assembly = assemble(program)
        if made.module.libraries:
            from wengert.compiler.kernels import library

            for name in sorted(made.module.libraries):
                library.load(name)
        _emit_placing(made.module)
        _emit_faults(made.module)
        self.code = build.load_cached(made.module.text())
        scratch = {i: w.size(threads) for i, w in made.workspaces.items()}
        self.plan = plan(made.jobs, set(made.program.outputs), scratch)
        self.arena = np.empty(self.plan.size + 64, np.uint8)
        self.base = self.arena.ctypes.data + (-self.arena.ctypes.data % 64)
        self.keep: list[Array] = []
        self.reports = np.zeros((len(made.checks) + 1, 2), np.int64)
        self._constants: dict[Term, int] = {}
        self._fill_tables(made)
        self.pool = pool()
        self.steps = self._steps(made)

    def _fill_tables(self, made: Assembly) -> None:
        """One table of addresses a step; what the caller gives is filled in at each call."""
        outside = (*made.program.inputs, *made.program.outputs)
        external = {t: i for i, t in enumerate(outside)}
        self.addresses = np.zeros(max(1, sum(len(p.slots) for p in made.pieces)), np.int64)
        places, sources, starts = [], [], []
        at = 0
        for piece in made.pieces:
            for slot in piece.slots:
                if slot.term in external:
                    places.append(at)
                    sources.append(external[slot.term])
                    starts.append(slot.start * slot.term.dtype.itemsize)
                else:
                    self.addresses[at] = self._address(slot, piece.job)
                at += 1
        self.moves = np.array([places, sources, starts], np.int64)
        head = (self.addresses, self.table, *self.moves)
        self.faults = np.array([self.reports.ctypes.data, len(made.checks)], np.int64)
        self.placing = np.array([*(a.ctypes.data for a in head), len(places)], np.int64)

    def _address(self, slot: Slot, job: int) -> int:
        term = slot.term
        if slot.check is not None:
            return int(self.reports.ctypes.data) + 16 * slot.check
        if term is None:
            return self.base + self.plan.workspaces.get(job, 0)
        start = slot.start * term.dtype.itemsize
        if term in self.plan.offsets:
            return self.base + self.plan.offsets[term] + start
        assert term.data is not None, f"{term} has no place"
        if term not in self._constants:
            kept = np.ascontiguousarray(term.data).reshape(term.shape)
            self.keep.append(kept)
            self._constants[term] = kept.ctypes.data
        return self._constants[term] + start

    def _steps(self, made: Assembly) -> steps.Program:
        written = Steps()
        written.call(self.code.address(PLACING), self.placing.ctypes.data, serial=True)
        at = 0
        guard = self._first_guarded(made)
        for number, piece in enumerate(made.pieces):
            if number == guard:
                written.library(self.code.address(FAULTS), self.faults.ctypes.data)
            table = self.addresses.ctypes.data + 8 * at
            if piece.call is not None:
                written.library(piece.call, table)
            else:
                written.call(self.code.address(piece.function), table, serial=piece.serial)
            at += len(piece.slots)
        if made.checks and guard is None:
            written.library(self.code.address(FAULTS), self.faults.ctypes.data)
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
        if self.pool.run(self.steps, self.threads) == FAULT:
            self._raise()

    def _raise(self) -> None:
        """Raise the error of the first check that did not hold."""
        reports, checks = self.reports.copy(), self.assembly.checks
        self.reports[...] = 0
        for check, (failed, value) in zip(checks, reports.tolist(), strict=False):
            if failed:
                raise check.error(value)


PLACING, FAULTS = "place_outside_buffers", "any_fault"
FAULT = 7  # the status of a run that a check has ended


def _emit_faults(module: Module) -> None:
    """`i64 any_fault(ptr)`: whether one of the reports, whose place and number it gets, is set."""
    f = module.function(FAULTS, [PTR], I64)
    (args,) = f.args
    reports = f.load(PTR, args)
    found = f.variable(I64, 0)
    with f.loop(0, f.load(I64, f.at(args, 1, I64))) as i:
        found.set(found.get() | f.load(I64, f.at(reports, i * 2, I64)))
    f.ret(f.select(f.compare("ne", found.get(), 0), f.i64(FAULT), f.i64(0)))


def _emit_placing(module: Module) -> None:
    """The first step: write the addresses of the caller's buffers into the tables of all steps.
    Its own table holds: tables, given addresses, where, which, from which byte on, and how many."""
    f, args, _, _ = step(module, PLACING)
    tables, given, places, sources, starts = (address(f, args, i) for i in range(5))
    with f.loop(0, f.load(I64, f.at(args, 5, I64))) as i:
        source = f.load(I64, f.at(sources, i, I64))
        place = f.load(I64, f.at(places, i, I64))
        found = f.load(I64, f.at(given, source, I64)) + f.load(I64, f.at(starts, i, I64))
        f.store(found, f.at(tables, place, I64))
    f.ret()
