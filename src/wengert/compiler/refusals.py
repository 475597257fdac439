"""Errors of the back end: no memory for a program, code that LLVM does not take, or none at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wengert.compiler.ir import Term
from wengert.compiler.readable import sizes, where
from wengert.compiler.schedule import Job
from wengert.core.errors import CompileError, OutOfMemoryError, WengertError
from wengert.core.spec import Spec

if TYPE_CHECKING:
    from wengert.compiler.assemble import Assembly
    from wengert.compiler.frame import Frame

_REPORT = "this is a defect of the compiler: call the function without jit, and report it"


def out_of_memory(made: Assembly, frame: Frame) -> OutOfMemoryError:
    """There is no memory for the arena of a program."""
    from wengert.compiler.footprint import Footprint, largest

    found = Footprint(made, frame)
    return OutOfMemoryError(
        "jit",
        "there is not enough memory for what the program keeps between its steps",
        met=f"{sizes(found.arena)} ({found.arena} bytes) planned, beside {sizes(found.inputs)} of "
        f"inputs and state; the largest: {largest(found.alive(found.busiest))}",
        cause="intermediate results that the backward pass needs, for a batch of this size",
        fix="a smaller batch, wg.checkpoint around parts of the model, or fewer processes; nothing "
        "was changed by this call",
    )


def no_memory_for(spec: Spec) -> OutOfMemoryError:
    """There is no memory for a result of a program, or the new value of a variable."""
    return OutOfMemoryError(
        "jit",
        "there is not enough memory for a result of the function, or for a variable that it sets",
        met=f"{sizes(spec.nbytes)} for {spec}",
        cause="an array that is returned as a whole, or operands that broadcast against each other",
        fix="a smaller batch, or return what is needed: a sum, a part; nothing was changed by "
        "this call",
    )


def refusal(made: Assembly, refused: RuntimeError) -> CompileError:
    """LLVM does not take the code of a program: which op it was for, and where that is used."""
    name = _function(made, str(refused))
    piece = next((p for p in made.pieces if p.function == name), None)
    if piece is None:
        return CompileError(
            "jit",
            "LLVM refuses the code of the program",
            met=_brief(refused),
            cause=_REPORT,
            fix="unset WENGERT_CPU, if it is set; install the newest llvmlite",
        )
    return _of_job(made.jobs[piece.job], f"LLVM refuses its code (function {name})", refused)


def unwritten(job: Job, problem: Exception) -> CompileError:
    """No code could be written for a job."""
    return _of_job(job, "no code could be written for it", problem)


def _of_job(job: Job, what: str, problem: Exception) -> CompileError:
    terms = job.writes or job.unit.roots
    specs = ", ".join(f"{t.name} {t.spec}" for t in terms)
    return CompileError(
        _main(job).name,
        f"{what}, for {specs}, used at {where(_main(job).origins) or 'an unknown line'}",
        met=_brief(problem) or type(problem).__name__,
        cause=_REPORT,
        fix="nothing was changed by this call; the same function runs without jit",
    )


def _main(job: Job) -> Term:
    return (job.writes or job.unit.roots)[0]


def _function(made: Assembly, message: str) -> str:
    """The function that LLVM's message is about: by the line that it names, else the one that is
    refused alone."""
    from wengert.compiler.llvm import build

    place = re.search(r":(\d+):\d+: error", message)
    if place:
        before = made.module.text().splitlines()[: int(place[1])]
        starts = [m[1] for m in map(_START.match, before) if m]
        return starts[-1] if starts else ""
    text = made.module.text()
    for piece in made.pieces:
        if piece.function:
            try:
                build.emit_object(_alone(text, piece.function))
            except (RuntimeError, WengertError):
                return piece.function
    return ""


_START = re.compile(r"define .*?@([\w.$-]+)\(")


def _alone(text: str, name: str) -> str:
    """A module in which all functions but one are internal, so that those it does not use go."""
    return re.sub(
        r"^define (?!internal)(?=.*?@([\w.$-]+)\()",
        lambda m: m[0] if m[1] == name else "define internal ",
        text,
        flags=re.M,
    )


def _brief(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0][:200] if lines else ""
