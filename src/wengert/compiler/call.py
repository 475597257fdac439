"""The op `compiled_call`: a compiled function inside of a derivative, or of `vmap`.

It holds a program. Its value, its derivatives and its batched form are programs as well, each
traced from the one before and compiled when it is first needed, so that a derivative of any order
of a compiled function is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compiler.function import Function, check_operands, lean, replay, split, traced_program
from wengert.compiler.ir import Program
from wengert.core.dtypes import is_float
from wengert.core.errors import ShapeError
from wengert.core.graph import ancestors, nodes_of
from wengert.core.node import Node
from wengert.core.op import Array, Op, bind
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_flatten
from wengert.ops.elementwise import mul
from wengert.ops.functions import sin
from wengert.ops.movement import broadcast_to
from wengert.transforms.batch import run_batched
from wengert.transforms.call import fresh, of_each, zeros_like
from wengert.transforms.forward import push
from wengert.transforms.reverse import walk
from wengert.transforms.trace import trace_leaves


class Call:
    """A program as the parameter of a `compiled_call`.

    Attributes
    ----------
    program : the computation, with all that derivatives need
    count : how many of its outputs are results; the others are kept for the backward pass
    backward : the rest of that pass: from these and the cotangents of the floating results to the
        cotangents of the operands in `wanted`
    """

    def __init__(self, program: Program, check_nan: bool = False) -> None:
        self.program, self.check_nan = program, check_nan
        self.count = len(program.outputs)
        self.specs = [t.spec for t in program.inputs]
        self.outputs = [t.spec for t in program.outputs]
        self.floating = [i for i, s in enumerate(self.outputs) if is_float(s.dtype)]
        self.run: Function | None = None
        self.backward: Function | None = None
        self.wanted: tuple[int, ...] = ()
        self.derived: dict[Any, Any] = {}

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        if self.run is None:
            self.run = Function(lean(self.program), self.check_nan)
        return self.run(arrays)

    def _derive(self, key: Any, make: Any) -> Any:
        found = self.derived.get(key)
        if found is None:
            found = self.derived[key] = make()
        return found

    # -- programs from this one --------------------------------------------------------------

    def keeping(self, wanted: tuple[int, ...]) -> Call:
        """The same call, which also gives what the backward pass for some operands needs."""
        found: Call = self._derive(("keeping", wanted), lambda: self._keeping(wanted))
        return found

    def _keeping(self, wanted: tuple[int, ...]) -> Call:
        size = len(self.specs)
        cts = [self.outputs[i] for i in self.floating]
        both = lambda *xs: [
            *replay(self.program, xs[:size]),
            *self._pulled(xs[:size], self.floating, xs[size:], wanted),
        ]
        joint = traced_program(both, [*self.specs, *cts], whole=False)
        results, pulled = joint.outputs[: self.count], joint.outputs[self.count :]
        early, late = split(Program(joint.inputs, pulled), joint.inputs[size:])
        made = Call(self.program, self.check_nan)
        kept = Program(joint.inputs[:size], [*results, *early.outputs])
        made.run = Function(kept, self.check_nan)
        made.backward, made.wanted = Function(late, self.check_nan), wanted
        made.outputs = self.outputs + [t.spec for t in early.outputs]
        return made

    def _pulled(
        self, operands: Sequence[Tensor], given: Sequence[int], cts: Sequence[Tensor], wanted: Any
    ) -> list[Tensor]:
        """Cotangents of the wanted operands, given those of some results."""
        inputs = [fresh(x, connected=True) for x in operands]
        outputs = replay(self.program, inputs)
        starts = nodes_of([inputs[i] for i in wanted])
        nodes = ancestors(nodes_of(outputs), nodes_of(inputs))
        seeds = [(outputs[i]._node, ct) for i, ct in zip(given, cts, strict=True)]
        found = walk(nodes, [(n, ct) for n, ct in seeds if n is not None], starts)
        return of_each([inputs[i] for i in wanted], found)

    def pullback(self, given: tuple[int, ...], wanted: tuple[int, ...]) -> Call:
        """The function (operands, cotangents of some results) → cotangents of some operands."""
        size = len(self.specs)

        def make() -> Call:
            pulled = lambda *xs: self._pulled(xs[:size], given, xs[size:], wanted)
            specs = [*self.specs, *(self.outputs[i] for i in given)]
            return Call(traced_program(pulled, specs), self.check_nan)

        found: Call = self._derive(("pullback", given, wanted), make)
        return found

    def pushforward(self, given: tuple[int, ...]) -> tuple[Call, list[int]]:
        """The function (operands, tangents of some) → tangents of results; and of which."""
        size = len(self.specs)
        reached: list[int] = []

        def pushed(*xs: Tensor) -> list[Tensor]:
            inputs = [fresh(x, connected=True) for x in xs[:size]]
            outputs = replay(self.program, inputs)
            nodes = ancestors(nodes_of(outputs), nodes_of(inputs))
            known = push(nodes, {inputs[i]._node: t for i, t in zip(given, xs[size:])})  # type: ignore[misc]
            reached[:] = [i for i, o in enumerate(outputs) if o._node in known]
            return [known[outputs[i]._node] for i in reached]  # type: ignore[index]

        def make() -> tuple[Call, list[int]]:
            specs = [*self.specs, *(self.specs[i] for i in given)]
            return Call(traced_program(pushed, specs), self.check_nan), reached

        found: tuple[Call, list[int]] = self._derive(("pushforward", given), make)
        return found

    def batched(self, size: int, marks: tuple[bool, ...]) -> Call:
        """The function with a leading batch axis on some operands, and on all results."""

        def rows(*xs: Tensor) -> list[Tensor]:
            specs, (_, tree) = self.specs, tree_flatten((tuple(xs), {}))
            graph, _ = trace_leaves(lambda *ys: replay(self.program, ys), specs, tree)
            found = run_batched(graph, size, xs, marks)
            return [x if b else broadcast_to(x, shape=(size, *x.shape)) for x, b in found]

        def make() -> Call:
            specs = [
                Spec((size, *s.shape), s.dtype) if b else s
                for s, b in zip(self.specs, marks, strict=True)
            ]
            return Call(traced_program(rows, specs), self.check_nan)

        found: Call = self._derive(("batched", size, marks), make)
        return found


def invoke(call: Call, operands: Sequence[Tensor]) -> list[Tensor]:
    """Run a call on tensors; what a derivative will need is kept where one may be taken."""
    wanted = tuple(i for i, x in enumerate(operands) if x._node is not None and is_float(x.dtype))
    if wanted and state.recording and not any(x.is_symbolic for x in operands):
        found = bind(compiled_call, tuple(operands), {"call": call.keeping(wanted)})
    else:
        found = bind(compiled_call, tuple(operands), {"call": call})
    return list(found[: call.count])


class CompiledCall(Op):
    """A compiled function as an op."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        call: Call = node.params["call"]
        wanted = tuple(i for i, need in enumerate(needs) if need and is_float(call.specs[i].dtype))
        given = tuple(i for i in call.floating if ct[i] is not None)
        found: list[Tensor | None] = [None] * len(needs)
        if call.backward is not None and wanted == call.wanted and not state.recording:
            assert node.out is not None
            kept = list(node.out[call.count :])
            parts = [zeros_like(call.outputs[i]) if ct[i] is None else ct[i] for i in call.floating]
            cts = [part._data for part in parts]
            pulled = [Tensor(a) for a in call.backward([*kept, *cts])]
        else:
            operands = [node.value(i) for i in range(len(needs))]
            pulled = invoke(call.pullback(given, wanted), [*operands, *(ct[i] for i in given)])
        for i, part in zip(wanted, pulled, strict=True):
            found[i] = part
        return found

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        call: Call = node.params["call"]
        given = tuple(i for i, t in enumerate(tangents) if t is not None)
        program, reached = call.pushforward(given)
        operands = [node.value(i) for i in range(len(tangents))]
        pushed = invoke(program, [*operands, *(t for t in tangents if t is not None)])
        found: list[Tensor | None] = [None] * len(call.outputs)
        for i, t in zip(reached, pushed, strict=True):
            found[i] = t
        return tuple(found)


def _reference(*arrays: Array, call: Call) -> tuple[Array, ...]:
    check_operands("compiled_call", arrays, call.specs)
    return tuple(call(arrays))


def _infer(*specs: Shaped, call: Call) -> tuple[Spec, ...]:
    check_operands("compiled_call", specs, call.specs)
    return tuple(call.outputs)


def _batch(size: int, args: Sequence[Tensor], batched: Sequence[bool], call: Call) -> Any:
    return tuple(invoke(call.batched(size, tuple(batched)), args))


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(3,))
    program = traced_program(lambda x, y: [mul(sin(x), y)], [Spec.of(x), Spec.of(y)])
    call = Call(program)
    return [
        Sample((x, y), {"call": call}),
        Wrong((y, x), {"call": call}, ShapeError, "not like those that the program was traced for"),
    ]


compiled_call = CompiledCall(
    "compiled_call",
    _reference,
    _infer,
    operands=(),
    vjps=(None,),
    jvps=(None,),
    batch=_batch,
    samples=_samples,
    cost="compute",
    several=True,
)
compiled_call.expand = lambda *operands, call: tuple(replay(call.program, operands))
