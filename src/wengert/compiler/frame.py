"""Where a program runs: its arena, the tables of addresses of its steps, and the steps themselves.

A `Frame` belongs to one assembled program. The body of a loop has a frame inside that of the
program around it: its arena is part of the other's, and what it reads and writes outside comes from
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from wengert.compiler.assembled import Assembled, Piece, Slot
from wengert.compiler.ir import Array, Term
from wengert.compiler.kernels.base import address, padded, step
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.steps import Move, Steps
from wengert.compiler.llvm.types import I64
from wengert.compiler.plan import Plan, plan

Words = np.ndarray[Any, np.dtype[np.int64]]
PLACING, COPYING = "place_outside_buffers", "copy_first_carry"


class Frame:
    """Memory and tables of an assembled program.

    Attributes
    ----------
    table : the addresses of the program's inputs and outputs, which somebody fills in
    plan : where all else stands in the arena
    scratch : bytes of the workspaces of jobs
    """

    def __init__(self, made: Assembled, threads: int, table: Words) -> None:
        self.made, self.table = made, table
        self.inner: dict[int, Frame] = {}
        scratch = self.scratch = {i: w.size(threads) for i, w in made.workspaces.items()}
        for piece in made.pieces:
            if piece.repeat is not None:
                body = piece.repeat.body
                count = len(body.program.inputs) + len(body.program.outputs)
                inner = Frame(body, threads, np.zeros(2 * count, np.int64))
                self.inner[piece.job] = inner
                scratch[piece.job] += padded(inner.plan.size)
        self.plan: Plan = plan(made.jobs, set(made.program.outputs), scratch)
        self.keep: list[Array] = []
        self._constants: dict[Term, int] = {}
        self.given: list[tuple[int, int, int]] = []  # place in `addresses`, in `table`, first byte

    def settle(self, base: int, reports: int) -> None:
        """Fill in all that is known once the arena's address and that of the reports are."""
        program = self.made.program
        outside = {t: i for i, t in enumerate((*program.inputs, *program.outputs))}
        self.addresses = np.zeros(max(1, sum(len(p.slots) for p in self.made.pieces)), np.int64)
        self.segments: list[int] = []
        at = 0
        for piece in self.made.pieces:
            self.segments.append(self.addresses.ctypes.data + 8 * at)
            for slot in piece.slots:
                if slot.term in outside:
                    start = slot.start * slot.term.dtype.itemsize
                    self.given.append((at, outside[slot.term], start))
                else:
                    self.addresses[at] = self._address(slot, piece.job, base, reports)
                at += 1
            if piece.repeat is not None:
                used = padded(self.made.workspaces[piece.job].shared)
                start = base + self.plan.workspaces.get(piece.job, 0) + used
                self.inner[piece.job].settle(start, reports)

    def _address(self, slot: Slot, job: int, base: int, reports: int) -> int:
        term = slot.term
        if slot.check is not None:
            return reports + 16 * slot.check
        if term is None:
            return base + self.plan.workspaces.get(job, 0) + slot.start
        start = slot.start * term.dtype.itemsize
        if term in self.plan.offsets:
            return base + self.plan.offsets[term] + start
        assert term.data is not None, f"{term} has no place"
        if term not in self._constants:
            kept = np.ascontiguousarray(term.data).reshape(term.shape)
            self.keep.append(kept)
            self._constants[term] = kept.ctypes.data
        return self._constants[term] + start

    def place(self, steps: Steps, code: Callable[[str], int], which: Iterable[int]) -> None:
        """The step that writes the addresses of some inputs and outputs into all tables."""
        wanted = set(which)
        moves = [m for m in self.given if m[1] in wanted]
        self._placing(steps, code, self.addresses, self.table.ctypes.data, moves)

    def _placing(
        self,
        steps: Steps,
        code: Callable[[str], int],
        target: Words,
        source: int,
        moves: list[tuple[int, int, int]],
    ) -> None:
        if not moves:
            return
        columns = np.array(moves, np.int64).T.copy()
        lists = [c.ctypes.data for c in columns]
        args = np.array([target.ctypes.data, source, *lists, len(moves)], np.int64)
        self.keep += [columns, args]
        steps.call(code(PLACING), args.ctypes.data, serial=True)

    def write(
        self, steps: Steps, code: Callable[[str], int], before: Callable[[int], None]
    ) -> None:
        """Write the steps of all pieces; `before` is told the number of each."""
        for number, (piece, segment) in enumerate(
            zip(self.made.pieces, self.segments, strict=True)
        ):
            before(number)
            if piece.call is not None:
                steps.library(piece.call, segment)
            elif piece.repeat is not None:
                self._write_loop(steps, code, piece, segment)
            else:
                steps.call(code(piece.function), segment, serial=piece.serial)

    def _write_loop(
        self, steps: Steps, code: Callable[[str], int], piece: Piece, segment: int
    ) -> None:
        assert piece.repeat is not None
        loop, inner = piece.repeat.loop, self.inner[piece.job]
        inputs, outputs = len(loop.specs), len(loop.outputs)
        count, still = inputs + outputs, []
        fill: list[tuple[int, int, int]] = []
        moves: list[Move] = []
        table = inner.table.ctypes.data
        for i in range(count):  # operands and results of the loop stand in this order in its slots
            rows = i >= loop.first_row if i < inputs else i - inputs >= loop.carried
            if not rows:
                carried = loop.constants <= i < inputs
                fill.append((i, inputs + i - loop.constants if carried else i, 0))
                still.append(i)
                continue
            spec = loop.specs[i] if i < inputs else loop.outputs[i - inputs]
            last = (loop.length - 1) * spec.nbytes if loop.reverse else 0
            fill.append((count + i, i, last))
            stride = -spec.nbytes if loop.reverse else spec.nbytes
            moves.append(Move(table + 8 * i, table + 8 * (count + i), stride))
        for c in range(loop.carried):
            nbytes = loop.outputs[c].nbytes
            args = np.array([segment, loop.constants + c, inputs + c, nbytes], np.int64)
            self.keep.append(args)
            steps.call(code(COPYING), args.ctypes.data, serial=True)
        self._placing(steps, code, inner.table, segment, fill)
        inner.place(steps, code, still)
        alone = all(p.serial for p in inner.made.pieces)
        with steps.loop(loop.length, moves=moves, serial=alone):
            inner.place(steps, code, set(range(count)) - set(still))
            inner.write(steps, code, lambda number: None)


def emit_placing(module: Module) -> None:
    """The function of a step that writes given addresses into the tables of other steps. Its own
    table holds: tables, given addresses, where, which, from which byte on, and how many."""
    f, args, _, _ = step(module, PLACING)
    tables, given, places, sources, starts = (address(f, args, i) for i in range(5))
    with f.loop(0, f.load(I64, f.at(args, 5, I64))) as i:
        source = f.load(I64, f.at(sources, i, I64))
        place = f.load(I64, f.at(places, i, I64))
        found = f.load(I64, f.at(given, source, I64)) + f.load(I64, f.at(starts, i, I64))
        f.store(found, f.at(tables, place, I64))
    f.ret()


def emit_copying(module: Module) -> None:
    """The function of a step that copies memory. Its table holds: a table of addresses, the places
    in it of source and target, and the number of bytes."""
    f, args, _, _ = step(module, COPYING)
    table = address(f, args, 0)
    source, target, nbytes = (f.load(I64, f.at(args, i, I64)) for i in (1, 2, 3))
    a, b = (f.load("ptr", f.at(table, i, I64)) for i in (source, target))
    with f.when(f.compare("ne", a, b)):
        f.copy(b, a, nbytes)
    f.ret()
