"""Running a function again: the same call, with the same random numbers and variables.

The ops `checkpoint`, `custom_vjp` and `custom_jvp` hold functions. Their derivative rules run these
functions once more and walk the graph that this records; so they are differentiable to any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from wengert.core.graph import Trace
from wengert.core.node import Node
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.variable import Variable
from wengert.ops.structure import placeholder

Before = dict[int, tuple[Variable, Any, Node | None]]  # as `Watch.before`


@contextmanager
def own_sites() -> Iterator[None]:
    """Run user code inside a walk: its nodes get their own sites, not that of the walk's node."""
    origin, state.origin = state.origin, None
    try:
        yield
    finally:
        state.origin = origin


@contextmanager
def rewound(before: Before) -> Iterator[None]:
    """Run the body as if the variables had the values of `before`, and undo what it writes.

    The counters of random generators are variables, so the body draws the same numbers again: on
    values, also where the walk that needs them is itself being traced.
    """
    trace, state.trace = state.trace, None
    try:
        with own_sites(), Trace() as session:
            for variable, data, node in before.values():
                session.on_write(variable)
                variable._data, variable._node = data, node
            yield
    finally:
        state.trace = trace


def made_since(start: int, outputs: Iterable[Node]) -> tuple[list[Node], list[Node]]:
    """The nodes above `outputs` that are newer than number `start`, and the older nodes (or inputs
    of a trace) that those were made from. Both in topological order."""
    inside: set[Node] = set()
    boundary: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node.id < start or node.op is placeholder:
            boundary.add(node)
        elif node not in inside:
            inside.add(node)
            stack.extend([p for p in node.parents if p is not None])
    return sorted(inside, key=_by_id), sorted(boundary, key=_by_id)


def _by_id(node: Node) -> int:
    return node.id


def is_symbolic(node: Node) -> bool:
    """Whether the node stands in a trace, where nothing has values."""
    out = node.out[0] if isinstance(node.out, tuple) else node.out
    return out.__class__ is Spec
