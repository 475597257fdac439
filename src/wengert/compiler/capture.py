"""From a traced graph to a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wengert.compiler.ir import Program, Term
from wengert.core.node import Node
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor


class Importer:
    """Terms for the nodes of a trace, each made once. Nodes in `known` are the program's inputs;
    values that the trace did not record are constants."""

    def __init__(self) -> None:
        self.known: dict[Node, Term] = {}
        self.constants: dict[int, tuple[Any, Term]] = {}  # by identity; the array is kept alive

    def input(self, node: Node) -> Term:
        """Make a node an input of the program."""
        term = Term(None, (), {}, Spec.of(node), (node.origin,))
        self.known[node] = term
        return term

    def add(self, nodes: Sequence[Node]) -> None:
        """Make the terms of nodes in topological order."""
        for node in nodes:
            if node not in self.known:
                self.known[node] = self._term(node)

    def of(self, tensor: Tensor) -> Term:
        """The term of a value of the trace."""
        if tensor._node is not None and tensor._node in self.known:
            return self.known[tensor._node]
        return self._constant(tensor._data, tensor._node)

    def _term(self, node: Node) -> Term:
        assert node.saved is not None
        args = []
        for parent, data in zip(node.parents, node.saved, strict=True):
            if parent is not None and parent in self.known:
                args.append(self.known[parent])
            else:
                args.append(self._constant(data, parent))
        if node.op.several:
            assert node.out is not None
            specs: Any = tuple(Spec.of(o) for o in node.out)
        else:
            specs = Spec(node.shape, node.dtype)
        return Term(node.op, tuple(args), node.params, specs, (node.origin,))

    def _constant(self, data: Any, node: Node | None) -> Term:
        found = self.constants.get(id(data))
        if found is None:
            assert not isinstance(data, Spec), f"{node} is symbolic but was not traced"
            origins = () if node is None else (node.origin,)
            found = data, Term(None, (), {}, Spec.of(data), origins, data)
            self.constants[id(data)] = found
        return found[1]


def program_of(nodes: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Tensor]) -> Program:
    """The program of a traced graph."""
    importer = Importer()
    given = [importer.input(node) for node in inputs]
    importer.add(nodes)
    return Program(given, [importer.of(t) for t in outputs])
