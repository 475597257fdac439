"""The op `scan`: a loop whose body is a program, with the loops that are its derivatives.

Its operands are the body's constants, the first carry, and arrays whose leading axis the loop runs
over; its results are the last carry and the stacked rows that the body gives. The derivative of a
loop is a loop: forwards for tangents; backwards for cotangents, over the carries of a second
forward loop that keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from wengert.compiler.function import Function, check_operands, lean, replay, traced_program
from wengert.compiler.ir import Program
from wengert.core.dtypes import is_float
from wengert.core.errors import ShapeError
from wengert.core.graph import ancestors, nodes_of
from wengert.core.lowering import Repeated
from wengert.core.node import Node
from wengert.core.op import Array, Op, bind
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_structure
from wengert.ops.elementwise import add, mul
from wengert.ops.functions import sin
from wengert.ops.movement import broadcast_to
from wengert.ops.structure import pick
from wengert.transforms.batch import move_axis, run_batched
from wengert.transforms.call import fresh, of_each, zeros_like
from wengert.transforms.forward import push
from wengert.transforms.reverse import walk
from wengert.transforms.trace import trace_leaves

Tensors = Sequence[Tensor]


class Loop:
    """A body and how often it runs: what a control-flow term holds.

    Attributes
    ----------
    body : program (constants, carry, rows) → (carry, rows)
    constants, carried : how many of its inputs are constants, and carry
    length : the number of steps
    reverse : whether the steps go from the last row to the first
    """

    def __init__(
        self, body: Program, constants: int, carried: int, length: int, reverse: bool
    ) -> None:
        self.body, self.constants, self.carried = body, constants, carried
        self.length, self.reverse = length, reverse
        self.specs = [t.spec for t in body.inputs]
        self.outputs = [t.spec for t in body.outputs]
        self.first_row = constants + carried
        self.run: Function | None = None
        self.derived: dict[Any, Any] = {}

    @property
    def operands(self) -> list[Spec]:
        """The specs of the op's operands."""
        rows = self.specs[self.first_row :]
        stacked = [Spec((self.length, *s.shape), s.dtype) for s in rows]
        return [*self.specs[: self.first_row], *stacked]

    @property
    def results(self) -> tuple[Spec, ...]:
        """The specs of the op's results."""
        rows = self.outputs[self.carried :]
        stacked = [Spec((self.length, *s.shape), s.dtype) for s in rows]
        return (*self.outputs[: self.carried], *stacked)

    @property
    def compiled(self) -> Function:
        """The body as a function of arrays."""
        if self.run is None:
            self.run = Function(lean(self.body))
        return self.run

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        constants = arrays[: self.constants]
        carry = [np.asarray(a) for a in arrays[self.constants : self.first_row]]
        rows = arrays[self.first_row :]
        stacked = [np.empty(s.shape, s.dtype) for s in self.results[self.carried :]]
        steps = range(self.length)[::-1] if self.reverse else range(self.length)
        for i in steps:
            found = self.compiled([*constants, *carry, *(np.asarray(x[i]) for x in rows)])
            carry = found[: self.carried]
            for whole, row in zip(stacked, found[self.carried :], strict=True):
                whole[i] = row
        return [*(a.copy() for a in carry), *stacked] if not self.length else [*carry, *stacked]

    def apply(self, *xs: Tensor) -> list[Tensor]:
        """One step of the body, as ops."""
        return replay(self.body, xs)

    def derive(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made from this loop, once."""
        if key not in self.derived:
            self.derived[key] = make()
        return self.derived[key]

    def parts(self, xs: Tensors) -> tuple[Tensors, Tensors, Tensors]:
        """Values for the body's inputs as constants, carry and rows."""
        return xs[: self.constants], xs[self.constants : self.first_row], xs[self.first_row :]

    # -- loops from this one -----------------------------------------------------------------

    def keeping(self) -> Loop:
        """The same loop, which also stacks the carry that each step began with."""

        def step(*xs: Tensor) -> list[Tensor]:
            return [*self.apply(*xs), *self.parts(xs)[1]]

        def make() -> Loop:
            body = traced_program(step, self.specs)
            return Loop(body, self.constants, self.carried, self.length, self.reverse)

        found: Loop = self.derive("keeping", make)
        return found

    def pullback(self, wanted: tuple[int, ...]) -> Loop:
        """The loop that runs backwards. Constants: those of this loop. Carry: cotangents of the
        floating carry, then the sums so far for the wanted constants. Rows: the carries that were
        kept, this loop's rows, cotangents of its floating stacked results. Its own rows are
        cotangents of the wanted rows."""
        size = self.constants
        floats = self.floating_carry
        sums = [i for i in wanted if i < size]
        row_numbers = [i for i in wanted if i >= self.first_row]

        def step(*xs: Tensor) -> list[Tensor]:
            constants, rest = xs[:size], list(xs[size:])
            cts, rest = rest[: len(floats)], rest[len(floats) :]
            totals, rest = rest[: len(sums)], rest[len(sums) :]
            inner = len(self.specs) - size
            values, row_cts = rest[:inner], rest[inner:]
            inputs = [fresh(x, connected=True) for x in (*constants, *values)]
            outputs = self.apply(*inputs)
            seeds = [*zip(floats, cts, strict=True), *zip(self.floating_rows, row_cts, strict=True)]
            goals = [size + i for i in floats]
            found = _pulled(inputs, outputs, seeds, [*goals, *sums, *row_numbers])
            carried = found[: len(goals)]
            added = [add(t, ct) for t, ct in zip(totals, found[len(goals) :])]
            return [*carried, *added, *found[len(goals) + len(sums) :]]

        def make() -> Loop:
            specs = [*self.specs[:size], *(self.outputs[i] for i in floats)]
            specs += [self.specs[i] for i in sums] + self.specs[size:]
            specs += [self.outputs[i] for i in self.floating_rows]
            carried = len(floats) + len(sums)
            return Loop(traced_program(step, specs), size, carried, self.length, not self.reverse)

        found: Loop = self.derive(("pullback", wanted), make)
        return found

    @property
    def floating_carry(self) -> list[int]:
        """Which of the carry are floating."""
        return [i for i in range(self.carried) if is_float(self.outputs[i].dtype)]

    @property
    def floating_rows(self) -> list[int]:
        """Which of the body's outputs are floating rows."""
        return [
            i for i in range(self.carried, len(self.outputs)) if is_float(self.outputs[i].dtype)
        ]

    def pushforward(self) -> Loop:
        """The loop of values and tangents: each floating input is followed, within its group, by
        the tangents of that group's floating ones."""

        def step(*xs: Tensor) -> list[Tensor]:
            groups = _cut(xs, [n for size, fl in self._groups() for n in (size, len(fl))])
            values = [x for group in groups[::2] for x in group]
            tangents = [t for group in groups[1::2] for t in group]
            inputs = [fresh(x, connected=True) for x in values]
            outputs = self.apply(*inputs)
            nodes = ancestors(nodes_of(outputs), nodes_of(inputs))
            chosen = [inputs[i] for i in self.floating_inputs]
            given: Any = {x._node: t for x, t in zip(chosen, tangents, strict=True)}
            known = push(nodes, given)
            ts = of_each(outputs, known)
            first, last = range(self.carried), range(self.carried, len(outputs))
            return [
                *(outputs[i] for i in first),
                *(ts[i] for i in first if i in self.floating_carry),
                *(outputs[i] for i in last),
                *(ts[i] for i in last if i in self.floating_rows),
            ]

        def make() -> Loop:
            specs: list[Spec] = []
            at = 0
            for size, floats in self._groups():
                specs += self.specs[at : at + size] + [self.specs[at + i] for i in floats]
                at += size
            constants, carry, _ = self._groups()
            body = traced_program(step, specs)
            size, carried = constants[0] + len(constants[1]), carry[0] + len(carry[1])
            return Loop(body, size, carried, self.length, self.reverse)

        found: Loop = self.derive("pushforward", make)
        return found

    @property
    def floating_inputs(self) -> list[int]:
        """Which of the body's inputs are floating."""
        return [i for i, s in enumerate(self.specs) if is_float(s.dtype)]

    def _groups(self) -> list[tuple[int, list[int]]]:
        """Constants, carry and rows: how many, and which of them are floating."""
        bounds = (0, self.constants, self.first_row, len(self.specs))
        groups = []
        for a, b in pairwise(bounds):
            floats = [i - a for i in range(a, b) if is_float(self.specs[i].dtype)]
            groups.append((b - a, floats))
        return groups

    def batched(self, size: int, marks: tuple[bool, ...]) -> Loop:
        """The loop with a leading batch axis on all carry and results, and on marked inputs."""
        full = (*marks[: self.constants], *[True] * self.carried, *marks[self.first_row :])

        def rows(*xs: Tensor) -> list[Tensor]:
            tree = tree_structure((tuple(xs), {}))
            graph, _ = trace_leaves(self.apply, self.specs, tree)
            found = run_batched(graph, size, xs, full)
            return [x if b else broadcast_to(x, shape=(size, *x.shape)) for x, b in found]

        def make() -> Loop:
            specs = [
                Spec((size, *s.shape), s.dtype) if b else s
                for s, b in zip(self.specs, full, strict=True)
            ]
            body = traced_program(rows, specs)
            return Loop(body, self.constants, self.carried, self.length, self.reverse)

        found: Loop = self.derive(("batched", size, marks), make)
        return found


def share_loops(program: Program) -> Program:
    """Where a loop runs twice, once keeping its carries for a backward pass, run that one alone.
    The program is changed in place; nobody else may have its terms yet."""
    terms = program.terms
    found = {(t.params["loop"], t.args): t for t in terms if t.op is scan_op}
    for term in terms:
        if term.op is pick and term.args[0].op is scan_op:
            source = term.args[0]
            keeping = found.get((source.params["loop"].derived.get("keeping"), source.args))
            if keeping is not None:
                term.args = (keeping,)
                term.params = {**term.params, "count": len(keeping.specs)}
    return program


def _pulled(
    inputs: Tensors, outputs: Tensors, seeds: Sequence[tuple[int, Tensor]], wanted: Sequence[int]
) -> list[Tensor]:
    """Cotangents of the wanted inputs, given those of some outputs by number."""
    nodes = ancestors(nodes_of(outputs), nodes_of(inputs))
    pairs = [(outputs[i]._node, ct) for i, ct in seeds]
    found = walk(
        nodes, [(n, ct) for n, ct in pairs if n is not None], nodes_of(inputs[i] for i in wanted)
    )
    return of_each([inputs[i] for i in wanted], found)


def _cut(xs: Tensors, sizes: Sequence[int]) -> list[list[Tensor]]:
    groups, at = [], 0
    for n in sizes:
        groups.append(list(xs[at : at + n]))
        at += n
    return groups


class Scan(Op):
    """A loop as an op; its parameter `loop` has the body."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        loop: Loop = node.params["loop"]
        wanted = tuple(i for i, need in enumerate(needs) if need and is_float(loop.specs[i].dtype))
        operands = [node.value(i) for i in range(len(needs))]
        constants, _, rows = loop.parts(operands)
        kept = bind(scan_op, tuple(operands), {"loop": loop.keeping()})[len(loop.outputs) :]
        results = loop.results
        cts = [zeros_like(results[i]) if c is None else c for i, c in enumerate(ct)]
        back = loop.pullback(wanted)
        sums = [i for i in wanted if i < loop.constants]
        found = bind(
            scan_op,
            (
                *constants,
                *(cts[i] for i in loop.floating_carry),
                *(zeros_like(loop.specs[i]) for i in sums),
                *kept,
                *rows,
                *(cts[i] for i in loop.floating_rows),
            ),
            {"loop": back},
        )
        parts: list[Tensor | None] = [None] * len(needs)
        given = [loop.constants + i for i in loop.floating_carry] + sums
        given += [i for i in wanted if i >= loop.first_row]
        for i, part in zip(given, found, strict=True):
            parts[i] = part
        return parts

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        loop: Loop = node.params["loop"]
        operands: list[Tensor] = []
        at = 0
        for size, floats in loop._groups():
            values = [node.value(at + i) for i in range(size)]
            operands += values
            for i in floats:
                t = tangents[at + i]
                operands.append(zeros_like(values[i]) if t is None else t)
            at += size
        found = list(bind(scan_op, tuple(operands), {"loop": loop.pushforward()}))
        carry, rows = loop.floating_carry, loop.floating_rows
        _, t_carry, _, t_rows = _cut(
            found, [loop.carried, len(carry), len(loop.outputs) - loop.carried, len(rows)]
        )
        ts: list[Tensor | None] = [None] * len(loop.outputs)
        for i, t in zip((*carry, *rows), (*t_carry, *t_rows), strict=True):
            ts[i] = t
        return tuple(ts)


def _reference(*arrays: Array, loop: Loop) -> tuple[Array, ...]:
    check_operands("scan", arrays, loop.operands)
    return tuple(loop(arrays))


def _infer(*specs: Shaped, loop: Loop) -> tuple[Spec, ...]:
    check_operands("scan", specs, loop.operands)
    return loop.results


def _batch(size: int, args: Tensors, batched: Sequence[bool], loop: Loop) -> Any:
    operands = []
    for i, (x, mark) in enumerate(zip(args, batched, strict=True)):
        if loop.constants <= i < loop.first_row and not mark:
            x = broadcast_to(x, shape=(size, *x.shape))
        elif i >= loop.first_row and mark:
            x = move_axis(x, 0, 1)  # the loop runs over the leading axis
        operands.append(x)
    found = bind(scan_op, tuple(operands), {"loop": loop.batched(size, tuple(batched))})
    return tuple(x if i < loop.carried else move_axis(x, 0, 1) for i, x in enumerate(found))


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    w, c, rows = rng.normal(size=(3,)), rng.normal(size=(3,)), rng.normal(size=(4, 3))
    specs = [Spec.of(w), Spec.of(c), Spec((3,), rows.dtype)]

    def step(w: Tensor, c: Tensor, x: Tensor) -> list[Tensor]:
        new = sin(add(mul(w, c), x))
        return [new, mul(new, x)]

    body = traced_program(step, specs)
    return [
        Sample((w, c, rows), {"loop": Loop(body, 1, 1, 4, False)}),
        Sample((w, c, rows), {"loop": Loop(body, 1, 1, 4, True)}),
        Sample((w, c, rows[:0]), {"loop": Loop(body, 1, 1, 0, False)}),
        Wrong(
            (w, c, rows[:2]),
            {"loop": Loop(body, 1, 1, 4, False)},
            ShapeError,
            "not like those that the program was traced for",
        ),
    ]


scan_op = Scan(
    "scan",
    _reference,
    _infer,
    operands=(),
    vjps=(None,),
    jvps=(None,),
    batch=_batch,
    samples=_samples,
    cost="compute",
    several=True,
    lower=Repeated(),
)
