"""What is left of a program once its code is written: its steps, and what they read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from wengert.compiler.executable import view
from wengert.compiler.ir import Program, Term
from wengert.compiler.kernels.base import Workspace
from wengert.core import dtypes
from wengert.core.op import Op
from wengert.core.spec import Spec
from wengert.core.state import recording

if TYPE_CHECKING:
    from wengert.compiler.loop import Loop


class Access(Protocol):
    """The terms that a job reads from memory, and those that it writes there."""

    @property
    def reads(self) -> list[Term]: ...
    @property
    def writes(self) -> list[Term]: ...


@dataclass(frozen=True)
class Slot:
    """An entry of a step's table of addresses: a term, from some entry on; the report of a check
    (by its number); or, with neither, the job's workspace."""

    term: Term | None
    start: int = 0
    check: int | None = None


@dataclass
class Piece:
    """One step of a program before addresses are known: a native function or a library call."""

    job: int
    function: str
    slots: list[Slot]
    serial: bool = False
    call: LibraryCall | None = None
    repeat: Repeat | None = None


@dataclass
class Repeat:
    """A loop: its body, which runs on buffers of its own and on those of the slots: first all
    operands of the loop, then all its results."""

    loop: Loop
    body: Assembled


@dataclass
class Assembled:
    """A program without its code: the jobs by what they access, and their steps."""

    program: Program
    jobs: Sequence[Access]
    pieces: list[Piece] = field(default_factory=list)
    workspaces: dict[int, Workspace] = field(default_factory=dict)


class LibraryCall:
    """Runs the reference of an op on the arrays at the addresses of a table: those of operands,
    then those of results. `which` are the results that are asked for, of an op with several."""

    def __init__(
        self,
        op: Op,
        params: dict[str, Any],
        operands: Sequence[Spec],
        results: Sequence[Spec],
        which: Sequence[int] = (),
    ) -> None:
        self.op, self.params = op, params
        self.operands, self.results, self.which = list(operands), list(results), list(which)
        self.specs = self.operands + self.results
        self.count = Spec((len(self.specs),), dtypes.int64)

    def __call__(self, args: int) -> None:
        table = view(args, self.count).tolist()
        arrays = [view(a, s) for a, s in zip(table, self.specs, strict=True)]
        given, targets = arrays[: len(self.operands)], arrays[len(self.operands) :]
        with recording(False):
            found = self.op.reference(*given, **self.params)
        if not self.op.several:
            (target,) = targets
            target[...] = found
            return
        for target, i in zip(targets, self.which, strict=True):
            target[...] = found[i]
