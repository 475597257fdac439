"""A program as native code: jobs become steps, terms become places in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.compiler.executable import Executable, view
from wengert.compiler.form import Form, finalise, signature
from wengert.compiler.fuse import NestUnit
from wengert.compiler.ir import Array, Program, Term
from wengert.compiler.layout import Layout
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.nests import SERIAL, emit_nest, work_of
from wengert.compiler.nest import Store
from wengert.compiler.plan import plan
from wengert.compiler.schedule import Job, schedule
from wengert.core.op import Op
from wengert.core.state import recording


@dataclass
class Piece:
    """One step of a program before addresses are known: a native function or a library call, with
    the terms behind its table of addresses."""

    function: str
    slots: list[Term]
    serial: bool = False
    call: LibraryCall | None = None


@dataclass
class Assembly:
    """All that a program is made of: its code, its steps, its memory."""

    program: Program
    jobs: list[Job]
    layout: Layout
    module: Module
    pieces: list[Piece]
    known: dict[Any, str] = field(default_factory=dict)


def assemble(program: Program) -> Assembly:
    """Divide a program into jobs, lay out its memory, and write its code."""
    program, jobs = schedule(program)
    layout = Layout(program, jobs)
    made = Assembly(program, jobs, layout, Module(), [])
    for job in jobs:
        layout.place(job)
        if all(t.size == 0 for t in job.writes):
            continue
        if isinstance(job.unit, NestUnit):
            made.pieces.append(_nest_piece(made, job.unit, job))
        else:
            made.pieces.append(_library_piece(job))
    return made


def _nest_piece(made: Assembly, unit: NestUnit, job: Job) -> Piece:
    stores = [Store(t, *unit.nest.roots[t]) for t in job.writes]
    form = finalise(unit.nest, stores, made.layout.strides)
    key = signature(form, {t: t.dtype for t in form.slots})
    name = made.known.get(key)
    if name is None:
        name = made.known[key] = f"nest_{len(made.known)}"
        emit_nest(made.module, name, form, [t.dtype for t in form.slots])
    return Piece(name, form.slots, serial=work_of(form) < SERIAL)


# -- library calls -----------------------------------------------------------------------------


class LibraryCall:
    """Runs the reference of an op on arrays at the addresses of a table."""

    def __init__(self, op: Op, params: dict[str, Any], reads: Sequence[Term], writes: list[Term]):
        self.op, self.params, self.reads, self.writes = op, params, reads, writes

    def __call__(self, args: int) -> None:
        count = len(self.reads) + len(self.writes)
        table = view(args, _words(count))
        arrays = [
            view(int(a), t.spec) for a, t in zip(table, (*self.reads, *self.writes), strict=True)
        ]
        given, targets = arrays[: len(self.reads)], arrays[len(self.reads) :]
        with recording(False):
            found = self.op.reference(*given, **self.params)
        if self.op.several:
            for target, term in zip(targets, self.writes, strict=True):
                target[...] = found[term.params["index"]]
        else:
            targets[0][...] = found


def _words(count: int) -> Any:
    from wengert.core import dtypes
    from wengert.core.spec import Spec

    return Spec((count,), dtypes.int64)


def _library_piece(job: Job) -> Piece:
    (term,) = job.unit.roots
    assert term.op is not None
    call = LibraryCall(term.op, term.params, term.args, job.writes)
    return Piece("", [*term.args, *job.writes], call=call)


# -- the executable ----------------------------------------------------------------------------


class Native(Executable):
    """A program as native code; see `Executable`."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        from wengert.compiler.llvm import build

        made = assemble(program)
        self.assembly = made
        self.library = build.load(made.module.text()) if made.module.bodies else None
        outside = {*made.program.outputs}
        self.plan = plan(made.jobs, outside, {})
        self.arena = np.empty(self.plan.size + 64, np.uint8)
        start = self.arena.ctypes.data
        self.start = start + (-start % 64)
        self._tables(made)

    def _tables(self, made: Assembly) -> None:
        """One table of addresses a step; what the caller gives is filled in at each call."""
        external = {t: i for i, t in enumerate((*made.program.inputs, *made.program.outputs))}
        self.keep: list[Array] = []
        constants: dict[Term, int] = {}
        count = sum(len(p.slots) for p in made.pieces)
        self.addresses = np.zeros(count, np.int64)
        where, source = [], []
        at = 0
        self.steps: list[tuple[Any, int]] = []
        for piece in made.pieces:
            table = self.addresses.ctypes.data + 8 * at
            for term in piece.slots:
                if term in external:
                    where.append(at)
                    source.append(external[term])
                elif term in self.plan.offsets:
                    self.addresses[at] = self.start + self.plan.offsets[term]
                else:
                    self.addresses[at] = self._constant(term, constants)
                at += 1
            self.steps.append((piece, table))
        self.where = np.array(where, np.int64)
        self.source = np.array(source, np.int64)

    def _constant(self, term: Term, known: dict[Term, int]) -> int:
        assert term.data is not None, f"{term} has no place"
        if term not in known:
            kept = np.ascontiguousarray(term.data).reshape(term.shape)
            self.keep.append(kept)
            known[term] = kept.ctypes.data
        return known[term]

    def __call__(self) -> None:
        import ctypes

        self.addresses[self.where] = self.table[self.source]
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        for piece, table in self.steps:
            if piece.call is not None:
                piece.call(table)
            else:
                assert self.library is not None
                kind(self.library.address(piece.function))(table, 0, 1)


__all__ = ["Assembly", "Form", "Native", "assemble"]
