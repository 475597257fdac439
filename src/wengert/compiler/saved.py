"""Assembled programs on disk: a program that was compiled before is not compiled again.

An entry of the cache (`llvm/cache`) is named by a program's fingerprint, the source of the compiler
and the processor. It says how the program runs once its code is loaded: the jobs by what they
access, the steps with their slots, and the name of the code's own entry. All else that was known
when it was compiled is found anew where somebody asks (an error, `dump`).

The content is a line of JSON, and behind it the bytes of constants. Terms are told by number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.compiler.assembled import Access, Assembled, LibraryCall, Piece, Repeat, Slot
from wengert.compiler.fingerprint import Fingerprint, Unknown, compact
from wengert.compiler.ir import Array, Program, Term
from wengert.compiler.kernels.base import Workspace
from wengert.compiler.linked import Linked, begin_libraries, load_libraries
from wengert.compiler.llvm import build, cache
from wengert.compiler.loop import Loop
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec

if TYPE_CHECKING:
    from wengert.compiler.assemble import Assembly
    from wengert.compiler.native import Native

# What the way from a program to its code is written in, besides the libraries in the key.
ROOMS = ("core", "ops", "transforms", "compiler")
MOST = 1 << 24  # bytes of constants that the compiler has computed: with more, nothing is kept
NO_MATTER = (cache.SWITCH, "WENGERT_NUM_THREADS", "WENGERT_POOL")
WORKSPACE, CHECK = -1, -2  # slots that are no term


@dataclass
class Entry:
    """The place of a program in the cache, and the constants that it was traced with."""

    name: str
    constants: list[Array]


class Saved(Linked):
    """A program as an earlier process has compiled it; see `Linked`."""

    def __init__(self, program: Program, made: Assembled, code: build.Library, checks: int) -> None:
        self.source = program
        super().__init__(program, made, code, checks)

    def whole(self) -> Assembly:
        from wengert.compiler.assemble import assemble
        from wengert.compiler.simplify import simplify

        return assemble(simplify(self.source))


def entry(program: Program) -> Entry | None:
    """Where a program is kept; None if it cannot be, or there is no cache."""
    if cache.folder() is None:
        return None
    try:
        told = Fingerprint(program)
    except Unknown:
        return None
    means = [build.host().key, build.PIPELINE, f"numpy-{np.__version__}", *_switches()]
    key = "\n".join(["program", *means, cache.written_in(*ROOMS), told.text])
    return Entry(cache.name_of(key), told.constants)


def _switches() -> list[str]:
    """What the environment tells this package, but for what is no matter of code."""
    return sorted(
        f"{name}={value}"
        for name, value in os.environ.items()
        if name.startswith("WENGERT_") and not name.startswith(NO_MATTER)
    )


def load(entry: Entry, program: Program) -> Saved | None:
    """A program from the cache, ready to run; None if it is not there."""
    content = cache.load(entry.name)
    if content is None:
        return None
    head, _, blobs = content.partition(b"\n")
    told = json.loads(head)
    code = cache.load(told["code"])
    if code is None:
        return None
    begin_libraries(told["libraries"])
    made = _Reader(blobs, entry.constants).assembled(told["main"])
    load_libraries(told["libraries"])
    return Saved(program, made, build.Library(code), told["checks"])


def keep(entry: Entry, native: Native) -> None:
    """Write a program that was compiled to the cache."""
    writer = _Writer(entry.constants)
    made = native.assembly
    try:
        told = {
            "code": native.name,
            "libraries": sorted(made.module.libraries),
            "checks": len(made.checks),
            "main": writer.assembled(made),
        }
        head = json.dumps(told, separators=(",", ":"))
    except Unknown:
        return
    if writer.size <= MOST:
        cache.keep(entry.name, head.encode() + b"\n" + b"".join(writer.blobs))


class _Writer:
    """Tells an assembled program in lists and numbers."""

    def __init__(self, constants: Sequence[Array]) -> None:
        self.traced = {id(a): i for i, a in enumerate(constants)}
        self.blobs: list[bytes] = []
        self.size = 0

    def assembled(self, made: Assembled) -> dict[str, Any]:
        terms = _Terms()
        jobs = [[terms.all(j.reads), terms.all(j.writes)] for j in made.jobs]
        pieces = [self._piece(p, terms) for p in made.pieces]
        inputs, outputs = terms.all(made.program.inputs), terms.all(made.program.outputs)
        return {
            "inputs": inputs,
            "outputs": outputs,
            "aliases": list(made.program.aliases.items()),
            "jobs": jobs,
            "pieces": pieces,
            "workspaces": [[i, w.shared, w.per_thread] for i, w in made.workspaces.items()],
            "terms": [[*_spec(t.spec), self._data(t)] for t in terms.numbers],
        }

    def _piece(self, piece: Piece, terms: _Terms) -> list[Any]:
        slots = []
        for slot in piece.slots:
            if slot.check is not None:
                slots += [CHECK, slot.check]
            else:
                slots += [WORKSPACE if slot.term is None else terms.of(slot.term), slot.start]
        told: list[Any] = [piece.job, piece.function, slots, piece.serial]
        if piece.call is not None:
            told.append({"call": self._call(piece.call)})
        elif piece.repeat is not None:
            loop = piece.repeat.loop
            numbers = [loop.constants, loop.carried, loop.length, loop.reverse]
            told.append({"loop": numbers, "body": self.assembled(piece.repeat.body)})
        return told

    def _call(self, call: LibraryCall) -> list[Any]:
        params = {name: _plain(value) for name, value in call.params.items()}
        specs = [[_spec(s) for s in specs] for specs in (call.operands, call.results)]
        return [call.op.name, params, *specs, call.which]

    def _data(self, term: Term) -> Any:
        """The array of a constant: one that the program was traced with, or its bytes."""
        if term.data is None:
            return None
        traced = self.traced.get(id(term.data))
        if traced is not None:
            return traced
        base = compact(term.data)
        found = [self.size, list(base.shape)]
        self.blobs.append(np.ascontiguousarray(base).tobytes())
        self.size += len(self.blobs[-1])
        return found


class _Terms:
    """Numbers for terms, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.numbers: dict[Term, int] = {}

    def of(self, term: Term) -> int:
        return self.numbers.setdefault(term, len(self.numbers))

    def all(self, terms: Sequence[Term]) -> list[int]:
        return [self.of(t) for t in terms]


@dataclass
class _Job:
    """A job by what it accesses."""

    reads: list[Term]
    writes: list[Term]


class _Reader:
    """Makes an assembled program of what a `_Writer` told."""

    def __init__(self, blobs: bytes, constants: Sequence[Array]) -> None:
        self.blobs, self.constants = blobs, constants

    def assembled(self, told: dict[str, Any]) -> Assembled:
        terms = [self._term(*each) for each in told["terms"]]
        inputs, outputs = ([terms[i] for i in told[side]] for side in ("inputs", "outputs"))
        jobs: list[Access] = [
            _Job([terms[i] for i in reads], [terms[i] for i in writes])
            for reads, writes in told["jobs"]
        ]
        return Assembled(
            Program(inputs, outputs, dict(told["aliases"])),
            jobs,
            [self._piece(terms, *each) for each in told["pieces"]],
            {i: Workspace(shared, per_thread) for i, shared, per_thread in told["workspaces"]},
        )

    def _term(self, dtype: str, shape: list[int], data: Any) -> Term:
        spec = _spec_of([dtype, shape])
        array: Array | None = None
        if isinstance(data, int):
            array = self.constants[data]
        elif data is not None:
            start, base = data
            count = int(np.prod(base, dtype=np.int64))
            found = np.frombuffer(self.blobs, spec.dtype, count, start).reshape(base)
            array = np.broadcast_to(found, spec.shape)
        return Term(None, (), {}, spec, (), array)

    def _piece(
        self,
        terms: list[Term],
        job: int,
        function: str,
        slots: list[int],
        serial: bool,
        more: dict[str, Any] | None = None,
    ) -> Piece:
        made = Piece(job, function, [], serial)
        for term, start in zip(slots[::2], slots[1::2], strict=True):
            if term == CHECK:
                made.slots.append(Slot(None, check=start))
            else:
                made.slots.append(Slot(None if term == WORKSPACE else terms[term], start))
        if more is not None and "call" in more:
            name, params, operands, results, which = more["call"]
            values = {key: _value_of(told) for key, told in params.items()}
            specs = [_spec_of(s) for s in operands], [_spec_of(s) for s in results]
            made.call = LibraryCall(REGISTRY[name], values, *specs, which)
        elif more is not None:
            body = self.assembled(more["body"])
            made.repeat = Repeat(Loop(body.program, *more["loop"]), body)
        return made


# -- values --------------------------------------------------------------------------------------


def _spec(spec: Spec) -> list[Any]:
    return [spec.dtype.name, list(spec.shape)]


def _spec_of(told: list[Any]) -> Spec:
    return Spec(tuple(told[1]), np.dtype(told[0]))


def _plain(value: Any) -> Any:
    """A static parameter of an op in terms of JSON; all but plain values are told by a name."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is tuple:
        return {"tuple": [_plain(v) for v in value]}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    raise Unknown(value)


def _value_of(told: Any) -> Any:
    if not isinstance(told, dict):
        return told
    if "dtype" in told:
        return np.dtype(told["dtype"])
    return tuple([_value_of(v) for v in told["tuple"]])
