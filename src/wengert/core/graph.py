"""`Graph`: a recorded or traced computation as a list of nodes, and the walks that collect it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wengert.core import live
from wengert.core.node import Node
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor

if TYPE_CHECKING:
    from wengert.core.variable import Variable


def ancestors(outputs: Iterable[Node], stop: Iterable[Node] = ()) -> list[Node]:
    """All nodes that `outputs` were made from, in the order of their making; the walk does not
    go above the nodes in `stop`."""
    seen: set[Node] = set()
    stopped = set(stop)
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node not in stopped:
            stack.extend([p for p in node.parents if p is not None])
    return sorted(seen, key=_by_id)


def nodes_of(values: Iterable[Any]) -> list[Node]:
    """The nodes of those values that are tracked tensors."""
    found = [getattr(v, "_node", None) for v in values]
    return [node for node in found if node is not None]


def _by_id(node: Node) -> int:
    return node.id


class Trace:
    """Collects what a function does to variables while it runs on symbolic tensors, and undoes it.

    Used as a context; afterwards `writes` holds each written variable and the value it was given,
    `grads` each leaf whose `.grad` was written.
    Under `vmap` it also knows the number of rows, what random draws are to do (`randomness`), and
    collects in `drawn` the symbolic tensors that stand for a row of random values, with the values.
    """

    def __init__(self, size: int | None = None, randomness: str = "same") -> None:
        self.size, self.randomness = size, randomness
        self.drawn: list[tuple[Tensor, Tensor]] = []
        self.outer: Trace | None = None
        self.before: dict[int, tuple[Variable, Any, Node | None]] = {}
        self.writes: list[tuple[Variable, Tensor]] = []
        self.grads_before: dict[Node, Tensor | None] = {}
        self.grads: list[tuple[Node, Tensor | None]] = []

    def on_write(self, variable: Variable) -> None:
        """Remember what a variable holds, before the first and every later change."""
        self.before.setdefault(id(variable), (variable, variable._data, variable._node))

    def write(self, variable: Variable, new: Tensor) -> None:
        """Called by `Variable.assign`: give a variable its new value."""
        self.on_write(variable)
        if new.is_symbolic:
            live.stands_in(new._data, variable)
            variable._node = new._node
        variable._data = new._data

    def on_create(self, variable: Variable, value: Tensor) -> None:
        """Called where a variable is made inside, once it holds its first value."""
        if self.outer is not None:
            self.outer.on_create(variable, value)
        elif variable.is_symbolic and variable._node is None:
            variable._node = value._node

    def on_leaf(self, x: Tensor) -> None:
        """Called where a symbolic tensor inside is to be a tracked leaf."""
        if self.outer is not None:
            self.outer.on_leaf(x)

    def reach(self, holder: Any) -> None:
        """Called by what has settings (a module, an optimizer) when it takes part."""
        if self.outer is not None:
            self.outer.reach(holder)

    def on_new_holder(self, holder: Any) -> None:
        """Called where a module is made inside."""
        if self.outer is not None:
            self.outer.on_new_holder(holder)

    def on_setting(self, holder: Any, name: str) -> None:
        """Called before an attribute of such a holder changes."""
        if self.outer is not None:
            self.outer.on_setting(holder, name)

    def on_release(self, nodes: list[Node]) -> None:
        """Called where an eager backward pass would forget what these nodes keep."""
        if self.outer is not None:
            self.outer.on_release(nodes)

    def on_grad(self, node: Node, value: Tensor | None) -> None:
        """Called before the `.grad` of a leaf changes to a value."""
        self.grads_before.setdefault(node, node.grad)

    def __enter__(self) -> Trace:
        self.outer = state.trace
        state.trace = self
        return self

    def __exit__(self, *exc: object) -> None:
        state.trace = self.outer
        for variable, data, node in self.before.values():
            self.writes.append((variable, Tensor(variable._data, variable._node)))
            variable._data, variable._node = data, node
        for leaf, grad in self.grads_before.items():
            self.grads.append((leaf, leaf.grad))
            leaf.grad = grad


class Watch:
    """Used as a context, collects the values that variables had before they were written inside."""

    def __init__(self) -> None:
        self.outer: Watch | None = None
        self.before: dict[int, tuple[Variable, Any, Node | None]] = {}

    def on_write(self, variable: Variable) -> None:
        """Called by `Variable.assign`, before the change."""
        self.before.setdefault(id(variable), (variable, variable._data, variable._node))
        if self.outer is not None:
            self.outer.on_write(variable)

    def __enter__(self) -> Watch:
        self.outer = state.watch
        state.watch = self
        return self

    def __exit__(self, *exc: object) -> None:
        state.watch = self.outer


@dataclass
class Graph:
    """Nodes in topological order, with the inputs and outputs of the function they came from."""

    nodes: list[Node]
    inputs: list[Node]
    outputs: list[Tensor]
    writes: list[tuple[Variable, Tensor]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *outputs: Tensor) -> Graph:
        """The recorded graph above some tensors.

        >>> import wengert as wg
        >>> x = wg.ones(2).requires_grad_()
        >>> [node.op.name for node in wg.Graph.of(wg.sum(x * x)).nodes]
        ['leaf', 'mul', 'sum']
        """
        nodes = ancestors(nodes_of(outputs))
        return cls(nodes, [n for n in nodes if not n.parents], list(outputs))

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __str__(self) -> str:
        """One line a node: name, op, operands, static parameters, shape, and the user's line."""
        short = {node: f"%{i}" for i, node in enumerate(self.nodes)}
        lines = []
        for node in self.nodes:
            inside = ["const" if p is None else short.get(p, "…") for p in node.parents]
            inside += [f"{k}={v}" for k, v in node.params.items() if k != "call"]
            site = node.site
            phase = f" ({site.phase})" if site.phase else ""
            spec = "several" if node.op.several else repr(Spec(node.shape, node.dtype))
            call = f"{node.op.name}({', '.join(inside)})"
            lines.append(f"{short[node]} = {call} {spec}{phase}  # {site}")
        return "\n".join(lines)
