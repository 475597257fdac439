"""The program of a traced function, and what is to be done with its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.compiler.capture import Importer
from wengert.compiler.ir import Program, Term, in_order
from wengert.compiler.loop import share_loops
from wengert.compiler.session import Box
from wengert.compiler.tracing import Traced, is_result
from wengert.core.tensor import Tensor
from wengert.core.tree import TreeDef
from wengert.ops.structure import leaf


@dataclass
class Write:
    """A box that the program assigns: the positions of its output and of its input."""

    box: Any
    output: int
    input: int | None


@dataclass
class Gradient:
    """A `.grad` that the program reads (its `input`) or sets: to an output, or to None.

    It is that of a box, or of the call's argument that is leaf number `argument`.
    """

    box: Any
    argument: int | None
    input: int | None
    output: int | None
    changed: bool


@dataclass
class Leaf:
    """How a leaf of the result is made: from output `index`, or it is `value` itself (a box or a
    static value) or a copy of it (an array that does not depend on the inputs)."""

    index: int | None
    value: Any = None

    def of(self, tensors: Sequence[Tensor]) -> Any:
        """The leaf, from the results as tensors."""
        if self.index is not None:
            return tensors[self.index]
        if type(self.value) is Tensor:
            return Tensor(self.value._data)
        return self.value.copy() if isinstance(self.value, np.ndarray) else self.value


@dataclass
class Wiring:
    """What goes where.

    Attributes
    ----------
    arguments : (leaf of the call, input) of those arrays that the program needs
    reads : (box, input)
    extra : (tracked tensor that the function closed over, input)
    writes, grads : see `Write` and `Gradient`
    results : how many outputs, the first ones, are results of the function
    leaves : how each leaf of the result is made
    out_tree : their structure
    """

    out_tree: TreeDef
    leaves: list[Leaf]
    results: int
    arguments: list[tuple[int, int]] = field(default_factory=list)
    reads: list[tuple[Any, int]] = field(default_factory=list)
    extra: list[tuple[Tensor, int]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    grads: list[Gradient] = field(default_factory=list)

    def result(self, tensors: Sequence[Tensor]) -> Any:
        """The function's result, from the program's results as tensors."""
        leaves = self.leaves
        if self.out_tree.kind is None:
            return leaves[0].of(tensors)
        return self.out_tree.unflatten([leaf.of(tensors) for leaf in leaves])


class Assembly:
    """Makes the program of a trace, and its wiring.

    Inputs that the program does not need are left out, except those of boxes that it writes: a box
    that is updated in place is input and output.
    """

    def __init__(self, traced: Traced, names: Sequence[str], whole: bool = False) -> None:
        self.traced, self.names = traced, names
        session = traced.session
        captured = traced.is_captured if traced.recorded else None
        self.importer = Importer(whole, traced.is_outside, captured)
        self.importer.versions = session.versions
        self.boxes = [b for b in session.all_boxes() if not b.computed]
        self.boxes = [b for b in self.boxes if b.tensor is not None or b.made]
        self.arguments = session.arguments
        for x in traced.inputs:
            if x is not None:
                self._declare(x)
        for box in self.boxes:
            term = self._declare(box.first)
            if box.tensor is None:  # made by the function, and dead again
                term.data = box.data
        for box in (*self.boxes, *self.arguments):
            if box.grad_start is not None:
                self._declare(box.grad_start)
        self.boxes = [b for b in self.boxes if b.tensor is not None]

    def _declare(self, x: Tensor) -> Term:
        assert x._node is not None
        return self.importer.input(x._node, x._data if x._node.op is leaf else None)

    def build(self) -> tuple[Program, Wiring]:
        """The program and its wiring."""
        traced = self.traced
        written = self._in_order([b for b in self.boxes if b.was_written])
        changed = [b for b in (*self.boxes, *self.arguments) if b.grad_replaced]
        values = traced.tensors + [b.value for b in written]
        values += [b.grad_end for b in changed if b.grad_end is not None]
        self.program = Program([], self.importer.terms(values))
        if not self.importer.whole:
            share_loops(self.program)
        self.position: dict[Term, int] = {}
        self.needed = set(self.program.terms)
        self.wiring = Wiring(traced.out_tree, self._leaves(), len(traced.tensors))
        self._inputs(written)
        self._outputs(written, changed)
        return self.program, self.wiring

    def _in_order(self, written: Sequence[Box]) -> list[Box]:
        """The boxes that are written in the order in which the backward pass came by: programs run
        in the order of what they give, and a gradient that is used soon need not be kept."""
        values = self.importer.terms([b.value for b in written])
        latest: dict[Term, int] = {}
        for term in in_order(values):
            is_late = any(origin[3] == "backward" for origin in term.origins)
            own = term.id if is_late else -1
            latest[term] = max([own, *(latest[a] for a in term.args)])
        order = sorted(range(len(written)), key=lambda i: latest[values[i]])
        return [written[i] for i in order]

    def _leaves(self) -> list[Leaf]:
        found, count = [], 0
        for value in self.traced.outputs:
            if is_result(value):
                found.append(Leaf(count))
                count += 1
            else:
                found.append(Leaf(None, value))
        return found

    def _listed(self, term: Term, name: str) -> int:
        """Make a term an input of the program; its position."""
        if term not in self.position:
            self.position[term] = len(self.program.inputs)
            self.program.inputs.append(term)
            self.program.names[term.id] = name
        return self.position[term]

    def _inputs(self, written: Sequence[Box]) -> None:
        wiring, given = self.wiring, self.importer.terms
        for i, x in enumerate(self.traced.inputs):
            if x is not None and (term := given([x])[0]) in self.needed:
                wiring.arguments.append((i, self._listed(term, self.names[i])))
        for tensor, term in self.importer.extra:
            wiring.extra.append((tensor, self._listed(term, "closed over")))
        names = self.traced.box_names()
        for box in self.boxes:
            term = given([box.first])[0]
            if term in self.needed or box.was_written:
                box.used = True
                name = names.get(id(box.tensor), "state")
                wiring.reads.append((box.tensor, self._listed(term, name)))

    def _outputs(self, written: Sequence[Box], changed: Sequence[Box]) -> None:
        wiring, count = self.wiring, self.wiring.results
        for box in written:
            at = self.position[self.importer.terms([box.first])[0]]
            wiring.writes.append(Write(box.tensor, count, at))
            self.program.aliases[count] = at
            count += 1
        for box in (*self.boxes, *self.arguments):
            read, output = None, None
            if box.grad_start is not None:
                term = self.importer.terms([box.grad_start])[0]
                read = self._listed(term, "gradient") if term in self.needed else None
            if box in changed and box.grad_end is not None:
                output, count = count, count + 1
            if read is not None or box in changed:
                number = self.traced.number_of(box)
                tensor = box.tensor if number is None else None
                box.used = True
                wiring.grads.append(Gradient(tensor, number, read, output, box in changed))
