"""`dump`: every stage of a compiled function on its way to native code, with the user's lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.compiler.assemble import Assembly, assemble
from wengert.compiler.footprint import Footprint
from wengert.compiler.frame import Frame
from wengert.compiler.ir import Program
from wengert.compiler.llvm.build import host
from wengert.compiler.readable import job_lines, names_of, where, with_comment
from wengert.compiler.simplify import Report, simplify
from wengert.compiler.threads import get_num_threads
from wengert.compiler.units import LoopUnit


class Dump:
    """The stages of a compiled function. Print it, or one of its parts.

    Attributes
    ----------
    name : of the function
    program, simplified : the traced `Program`, and what the compiler makes of it; both can be run
        with `wengert.compiler.ir.evaluate`
    report : what simplification did
    assembly : jobs, layout and code
    footprint : the memory plan
    sections : the text of each stage, by its title
    """

    def __init__(self, name: str, program: Program, threads: int, llvm: bool = False) -> None:
        self.name, self.program = name, program
        self.report = Report()
        simplified = simplify(program, self.report)
        self.assembly = assemble(simplified)
        self.simplified = self.assembly.program
        frame = _frame(self.assembly, threads)
        self.footprint = Footprint(self.assembly, frame)
        self.sections = {
            "traced": self.traced,
            "simplified": str(self.simplified),
            "simplification": str(self.report),
            "jobs": self.jobs,
            "memory": str(self.footprint),
            "steps": self.steps,
        }
        if llvm:
            self.sections["llvm"] = self.llvm

    @property
    def traced(self) -> str:
        """What the function did when it was traced."""
        return str(self.program)

    @property
    def jobs(self) -> str:
        """What runs at once: loop nests as loops, kernels, library calls."""
        return "\n".join(_job_lines(self.assembly))

    @property
    def memory(self) -> str:
        """Where everything stands."""
        return str(self.footprint)

    @property
    def steps(self) -> str:
        """The list that the threads walk."""
        return "\n".join(_step_lines(self.assembly))

    @property
    def llvm(self) -> str:
        """The code that LLVM gets."""
        return self.assembly.module.text()

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.program)} terms, {len(self.simplified)} simplified, "]
        lines[0] += f"{len(self.assembly.jobs)} jobs, {len(self.assembly.pieces)} steps, "
        lines[0] += f"for {host().cpu}"
        for title, text in self.sections.items():
            lines += ["", f"== {title} ".ljust(100, "="), text]
        return "\n".join(lines)

    __repr__ = __str__


def dump(step: Callable[..., Any], /, *args: Any, llvm: bool = False, **kwargs: Any) -> Dump:
    """Every stage of a compiled function, for a call with such arguments: the traced program, the
    simplified one, its jobs (loop nests, kernels, library calls), the memory plan, and the steps
    that run. Each line names the user's line that it comes from.

    Parameters
    ----------
    step : what `jit` gave, or any function
    args, kwargs : the arguments of a call, which is not made
    llvm : add the code that LLVM gets

    Returns
    -------
    Dump
        print it, or one of its parts: `jobs`, `memory`, `steps`, `llvm` …

    >>> import wengert as wg
    >>> step = wg.jit(lambda x: wg.sum(wg.tanh(x) * 2.0))
    >>> found = wg.compiler.dump(step, wg.ones((4, 8)))
    >>> print(found.jobs)
    0. nest over rows: ... float32[] ← %0
         sum0 = nothing yet
         for i in 32, side by side:
           v0 = %0[i]
           v1 = tanh(v0) ...
    """
    from wengert.compiler.jit import jit

    is_compiled = hasattr(step, "bind") and hasattr(step, "explain")
    compiled: Any = step if is_compiled else jit(step)
    return Dump(compiled.name, compiled.program(*args, **kwargs), get_num_threads(), llvm)


def memory(step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Footprint:
    """What a call of a compiled function takes of memory; the call is not made."""
    return dump(step, *args, **kwargs).footprint


def _frame(made: Assembly, threads: int) -> Frame:
    count = len(made.program.inputs) + len(made.program.outputs)
    return Frame(made, threads, np.zeros(count, np.int64))


def _job_lines(made: Assembly, indent: str = "") -> Iterator[str]:
    names = names_of(made.program)
    bodies = {p.job: p.repeat for p in made.pieces if p.repeat is not None}
    for number, job in enumerate(made.jobs):
        if isinstance(job.unit, LoopUnit):
            (term,) = job.unit.roots
            repeat = bodies[number]
            writes = ", ".join(f"{names[t]} {t.spec}" for t in job.writes)
            text = f"{indent}{number}. loop, {repeat.loop.length} times: {writes}"
            yield with_comment(text, where(term.origins))
            assert isinstance(repeat.body, Assembly)
            yield from _job_lines(repeat.body, indent + "     ")
        else:
            yield from (indent + line for line in job_lines(number, job, made.layout, names))


def _step_lines(made: Assembly, indent: str = "") -> Iterator[str]:
    names = names_of(made.program)
    for number, piece in enumerate(made.pieces):
        if piece.repeat is not None:
            yield f"{indent}{number}. {piece.repeat.loop.length} times (job {piece.job}):"
            assert isinstance(piece.repeat.body, Assembly)
            yield from _step_lines(piece.repeat.body, indent + "     ")
            continue
        given = []
        for slot in piece.slots:
            if slot.term is not None:
                offset = f"+{slot.start}" if slot.start else ""
                given.append(names.get(slot.term, slot.term.name) + offset)
            else:
                given.append("workspace" if slot.check is None else f"check {slot.check}")
        what = f"reference of {piece.call.op.name}" if piece.call else piece.function
        who = "one thread" if piece.serial or piece.call else "all threads"
        origins = made.jobs[piece.job].unit.roots[0].origins
        text = f"{indent}{number}. {what}({', '.join(given)}), {who} (job {piece.job})"
        yield with_comment(text, where(origins))
