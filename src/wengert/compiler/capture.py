"""From a traced graph to a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wengert.compiler.ir import Program, Term
from wengert.core.graph import Trace
from wengert.core.node import Node
from wengert.core.op import leaked
from wengert.core.spec import Spec
from wengert.core.state import recording
from wengert.core.tensor import Tensor
from wengert.ops.structure import alias, leaf, pick, placeholder, stop_gradient
from wengert.transforms.trace import symbolic

_IDENTITIES = (alias, stop_gradient)


class Importer:
    """Terms for the nodes of a trace, each made once.

    A value of a trace is a tensor: a node, and data. The data of a box in a trace of `jit` is a
    `Spec` of its own for each value that the box takes, since its node, a leaf, stays the same;
    such data are looked up first (`inputs` and `versions`, by identity). Values that the trace did
    not record are constants.

    Parameters
    ----------
    whole : keep what only derivatives need: cuts of gradients, and functions with rules of their
        own as one op. Else those are left out, or written out.
    outside : tells of a node whether it is older than the trace
    captured : tells of a value that is known but tracked, whether it is to be an input. Those are
        collected in `extra`, with the symbolic values of an outer trace.
    """

    def __init__(
        self,
        whole: bool = False,
        outside: Callable[[Node], bool] | None = None,
        captured: Callable[[Node], bool] | None = None,
    ) -> None:
        self.whole, self.outside, self.captured = whole, outside, captured
        self.known: dict[Node, list[Term]] = {}  # one term, or one a result
        self.inputs: dict[int, tuple[Spec, Term]] = {}
        self.versions: dict[int, tuple[Spec, Tensor]] = {}
        self.extra: list[tuple[Tensor, Term]] = []
        self.constants: dict[int, tuple[Any, Term]] = {}  # by identity; the array is kept alive

    def input(self, node: Node, data: Spec | None = None) -> Term:
        """Make a node an input of the program (a leaf: where it stands with these data)."""
        term = Term(None, (), {}, Spec.of(node), (node.origin,))
        if data is not None:
            self.inputs[id(data)] = data, term
        else:
            self.known[node] = [term]
        return term

    def terms(self, tensors: Sequence[Tensor]) -> list[Term]:
        """The terms of some values, with all that they need."""
        for node in self._needed(tensors):
            self.known[node] = self._made(node)
        return [self._of(t._data, t._node) for t in tensors]

    def _needed(self, tensors: Iterable[Tensor]) -> list[Node]:
        """The nodes without terms that some values were made from, operands first."""
        found: set[Node] = set()
        stack: list[tuple[Any, Node | None]] = [(t._data, t._node) for t in tensors]
        while stack:
            data, node = stack.pop()
            version = self.versions.get(id(data))
            if version is not None:
                stack.append((version[1]._data, version[1]._node))
                continue
            outside = data.__class__ is not Spec and data is not None
            if node is None or outside or id(data) in self.inputs:
                continue
            if node in found or node in self.known:
                continue
            if self.outside is not None and self.outside(node):
                self._capture(Tensor(data, node))
                continue
            if node.op is leaf or node.op is placeholder or node.saved is None:
                raise leaked([node])
            found.add(node)
            stack.extend(zip(node.saved, node.parents, strict=True))
        return sorted(found, key=lambda n: n.id)

    def _of(self, data: Any, node: Node | None) -> Term:
        version = self.versions.get(id(data))
        while version is not None:
            data, node = version[1]._data, version[1]._node
            version = self.versions.get(id(data))
        given = self.inputs.get(id(data))
        if given is not None:
            return given[1]
        if node is not None and (data is None or data.__class__ is Spec):
            return self.known[node][0]
        return self._outside(data, node)

    def _capture(self, x: Tensor) -> Term:
        """Make a tracked value from outside of the trace an input."""
        assert x._node is not None
        term = Term(None, (), {}, Spec.of(x), (x._node.origin,))
        self.known[x._node] = [term]
        self.extra.append((x, term))
        return term

    def _outside(self, data: Any, node: Node | None) -> Term:
        """A value that the trace did not make."""
        found = self.constants.get(id(data))
        if found is None:
            if data.__class__ is Spec:
                raise leaked([])
            origins = () if node is None else (node.origin,)
            if node is not None and self.captured is not None and self.captured(node):
                term = self._capture(Tensor(data, node))
            else:
                term = Term(None, (), {}, Spec.of(data), origins, data)
            self.constants[id(data)] = found = data, term
        return found[1]

    def _made(self, node: Node) -> list[Term]:
        """The term or terms of a node whose operands have theirs."""
        assert node.saved is not None
        if node.op is pick:
            parent = node.parents[0]
            assert parent is not None
            results = self.known[parent]
            if len(results) == 1 and results[0].op is not None and results[0].op.several:
                spec = Spec(node.shape, node.dtype)
                return [Term(pick, (results[0],), node.params, spec, (node.origin,))]
            return [results[node.params["index"]]]
        args = [self._of(d, p) for d, p in zip(node.saved, node.parents, strict=True)]
        if not self.whole:
            if node.op in _IDENTITIES:
                return args
            if node.op.expand is not None:
                return self._expanded(node, args)
        if node.op.several:
            assert node.out is not None
            specs: Any = tuple(Spec.of(o) for o in node.out)
        else:
            specs = Spec(node.shape, node.dtype)
        return [Term(node.op, tuple(args), node.params, specs, (node.origin,))]

    def _expanded(self, node: Node, args: list[Term]) -> list[Term]:
        """A function that is one op, written out in the ops that it is made of."""
        assert node.op.expand is not None
        with Trace(), recording(False):
            inputs = [symbolic(a.spec) for a in args]
            outputs = node.op.expand(*inputs, **node.params)
        for x, a in zip(inputs, args, strict=True):
            assert x._node is not None
            self.known[x._node] = [a]
        return self.terms(list(outputs))


def program_of(inputs: Sequence[Tensor], outputs: Sequence[Tensor], whole: bool = False) -> Program:
    """The program of a traced graph, from symbolic inputs to outputs."""
    importer = Importer(whole)
    given = []
    for x in inputs:
        assert x._node is not None
        given.append(importer.input(x._node))
    return Program(given, importer.terms(outputs))
