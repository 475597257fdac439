"""Programs as functions of arrays, and programs made of programs: derivatives, batches, parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.compiler import buffers, forks
from wengert.compiler.buffers import Array, address
from wengert.compiler.capture import program_of
from wengert.compiler.compile import compile_program
from wengert.compiler.executable import Executable
from wengert.compiler.ir import Program, Term
from wengert.compiler.trap import Trapped
from wengert.core.errors import ShapeError
from wengert.core.graph import Trace
from wengert.core.op import bind
from wengert.core.spec import Shaped, Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.ops.structure import pick
from wengert.transforms.trace import symbolic


class Function:
    """A program without state, compiled at its first call, as a function of arrays."""

    def __init__(self, program: Program, check_nan: bool = False) -> None:
        self.program, self.check_nan = program, check_nan
        self.lock = forks.lock_of(self)
        self.executable: Executable | None = None

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        with self.lock:
            if self.executable is None:
                from wengert.compiler.loop import share_loops  # which stands on this module

                program = share_loops(self.program)
                self.executable = compile_program(program)
                if self.check_nan:
                    self.executable = Trapped(self.executable, program)
            executable = self.executable
            given = [buffers.readable(a) for a in arrays]
            made = [buffers.fresh(spec) for spec in executable.outputs]
            for i, a in enumerate((*given, *made)):
                executable.table[i] = address(a)
            executable()
            return made


def check_operands(name: str, operands: Sequence[Shaped], specs: Sequence[Spec]) -> None:
    """The error for operands that are not those that a program was traced for."""
    found = [Spec.of(x) for x in operands]
    if found != list(specs):
        raise ShapeError(
            name,
            "the operands are not like those that the program was traced for",
            met=f"{', '.join(map(repr, found))} for {', '.join(map(repr, specs))}",
            fix="trace the function again for them",
        )


def replay(program: Program, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run a program on tensors, op by op; the results are differentiable."""
    known: dict[Term, Any] = dict(zip(program.inputs, inputs, strict=True))
    before = state.origin
    try:
        for term in program.terms:
            if term in known:
                continue
            if term.op is None:
                known[term] = Tensor(term.data)
                continue
            state.origin = term.origins[0] if term.origins else before
            args = tuple([known[a] for a in term.args])
            if term.op is pick:
                known[term] = args[0][term.params["index"]]
            else:
                known[term] = bind(term.op, args, term.params)
    finally:
        state.origin = before
    return [known[o] for o in program.outputs]


def record(
    f: Callable[..., Sequence[Tensor]], specs: Sequence[Spec]
) -> tuple[list[Tensor], list[Tensor]]:
    """Trace a function of tensors that depends on nothing else: symbolic inputs and outputs."""
    with Trace(), recording(True):
        inputs = [symbolic(s) for s in specs]
        outputs = list(f(*inputs))
    return inputs, outputs


def traced_program(
    f: Callable[..., Sequence[Tensor]], specs: Sequence[Spec], whole: bool = True
) -> Program:
    """The program of a function of tensors."""
    return program_of(*record(f, specs), whole)


def lean(program: Program) -> Program:
    """The same program without what only derivatives need."""
    return traced_program(
        lambda *inputs: replay(program, inputs), [t.spec for t in program.inputs], whole=False
    )


def split(program: Program, late: Sequence[Term]) -> tuple[Program, Program]:
    """Cut a program in two: what can be computed without the `late` inputs, and the rest.

    Returns the first part, whose outputs are the values that the rest needs (its *residuals*), and
    the rest, whose inputs are these residuals and then the late inputs.
    """
    dependent = set(late)
    residuals: dict[Term, None] = {}
    for term in program.terms:
        if any(a in dependent for a in term.args):
            dependent.add(term)
            for a in term.args:
                if a not in dependent and not a.is_constant:
                    residuals[a] = None
    for out in program.outputs:
        if out not in dependent and not out.is_constant:
            residuals[out] = None
    early = [t for t in program.inputs if t not in dependent]
    kept = list(residuals)
    renamed = {t: Term(None, (), {}, t.specs, t.origins) for t in kept}
    for term in program.terms:
        if term in dependent and term not in late:
            args = tuple([renamed.get(a, a) for a in term.args])
            renamed[term] = Term(term.op, args, term.params, term.specs, term.origins)
    outputs = [renamed.get(o, o) for o in program.outputs]
    return Program(early, kept), Program([*(renamed[t] for t in kept), *late], outputs)
