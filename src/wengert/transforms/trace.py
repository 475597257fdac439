"""Tracing: run a function on symbolic tensors and keep the graph that it records."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from wengert.core import site
from wengert.core.graph import Graph, Trace, ancestors, nodes_of
from wengert.core.node import Node
from wengert.core.op import NO_PARAMS, bind
from wengert.core.spec import Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_paths
from wengert.ops.structure import pick, placeholder
from wengert.transforms.call import check_function


def symbolic(spec: Spec) -> Tensor:
    """A tensor that stands for any value of this shape and dtype."""
    origin = state.origin or site.capture(state.module)
    return Tensor(spec, Node(placeholder, NO_PARAMS, (), (), spec, spec.shape, spec.dtype, origin))


def trace_leaves(
    f: Callable[..., Any], leaves: Sequence[Any], treedef: TreeDef, session: Trace | None = None
) -> tuple[Graph, TreeDef]:
    """Trace `f(*args, **kwargs)`, with `(args, kwargs)` given as leaves: a `Spec` becomes an input
    of the graph, anything else is passed as it is. All is recorded: whether what it computes is
    tracked will be decided where the graph is run."""
    inputs = [symbolic(x) if isinstance(x, Spec) else x for x in leaves]
    starts = nodes_of(x for x, given in zip(inputs, leaves, strict=True) if isinstance(given, Spec))
    args, kwargs = treedef.unflatten(inputs)
    with session or Trace() as session, recording(True):
        outputs, out_tree = tree_flatten(f(*args, **kwargs))
        outputs = [as_tensor(o) for o in outputs]
    starts += nodes_of(row for row, _ in session.drawn)
    ends = nodes_of(outputs + [value for _, value in session.writes])
    nodes = dependents(ancestors(ends, starts), starts)
    return Graph(nodes, starts, outputs, session.writes), out_tree


def dependents(nodes: Sequence[Node], starts: Sequence[Node]) -> list[Node]:
    """Those of `nodes` (in topological order) that depend on `starts`, and `starts` themselves.
    All else is constant for the trace, though it may be tracked by something further out."""
    found = set(starts)
    for node in nodes:
        if any(p in found for p in node.parents):
            found.add(node)
    return sorted(found, key=lambda n: n.id)


def interpret(graph: Graph, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run a traced graph on values for its inputs, op by op; the results are differentiable."""
    known: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    before = state.origin
    try:
        for node in graph.nodes:
            if node in known:
                continue
            state.origin = node.origin
            args = operands(node, known)
            if node.op is pick:
                known[node] = args[0][node.params["index"]]
            else:
                known[node] = bind(node.op, tuple(args), node.params)
    finally:
        state.origin = before
    return [t if t._node is None else known.get(t._node, t) for t in graph.outputs]


def operands(node: Node, known: dict[Node, Any]) -> list[Any]:
    """The operands of a traced node: results that are known already, or the trace's constants."""
    assert node.saved is not None
    return [
        known[p] if p in known else Tensor(data, p)
        for p, data in zip(node.parents, node.saved, strict=True)
    ]


def trace(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The graph of `f` on arguments like these; nothing is computed.

    Arrays among the arguments (and `wg.Spec`s) become inputs of the graph. Variables that `f`
    writes are put back afterwards; what it wrote is in `graph.writes`.

    >>> import wengert as wg
    >>> print(len(wg.trace(lambda x: wg.sum(x * 2.0), wg.ones(3))))
    3
    """
    check_function("trace", f)
    leaves, treedef = tree_flatten((args, kwargs))
    specs = [x if isinstance(x, Spec) else Spec.of(x) if hasattr(x, "dtype") else x for x in leaves]
    graph = trace_leaves(f, specs, treedef)[0]
    places = zip(_places(f, args, kwargs), specs, strict=True)
    given = [place for place, x in places if isinstance(x, Spec)]
    graph.names = {n.id: name for n, name in zip(graph.inputs, given, strict=False)}
    return graph


def _places(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """How a reader would name each leaf of a call's arguments: `model.fc.weight`, `x`."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    own = code.co_varnames[: code.co_argcount] if code else ()
    named = [(own[i] if i < len(own) else f"arg{i}", a) for i, a in enumerate(args)]
    named += [(k, kwargs[k]) for k in sorted(kwargs)]
    return [name + path for name, value in named for path in tree_paths(value)]


__all__ = ["trace"]
