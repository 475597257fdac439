"""Forward mode: tangents pushed along the recorded graph, by the same rules and node identities.

A node's *tangent* is the derivative of its result along the direction given by the tangents of the
inputs. The walk goes through the nodes in the order of their making; a node that no tangent has
reached is not visited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.node import Node, freed
from wengert.core.op import cast_to
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.ops.movement import broadcast_to
from wengert.transforms.call import LinearMap, match, of_each

__all__ = ["jvp", "linearize"]


def push(nodes: Sequence[Node], tangents: dict[Node, Any]) -> dict[Node, Any]:
    """Tangents of all nodes that depend on those given; `nodes` are in topological order."""
    known = dict(tangents)
    before = state.origin
    try:
        for node in nodes:
            if node in tangents or not node.op.vjps or known.keys().isdisjoint(node.parents):
                continue
            if node.saved is None:
                raise freed(node)
            code, instruction, module, _ = node.origin
            state.origin = (code, instruction, module, "tangent")
            t = node.op.jvp(node, [None if p is None else known.get(p) for p in node.parents])
            if isinstance(t, Tensor):
                if t.shape != node.shape:
                    t = broadcast_to(t, shape=node.shape)
                if t.dtype is not node.dtype:
                    t = cast_to(t, node.dtype)
            if t is not None:
                known[node] = t
    finally:
        state.origin = before
    return known


class _Pushforward(LinearMap):
    """What `linearize` returns: tangents of the primals to the tangent of the result."""

    def __call__(self, *tangents: Any) -> Any:
        inputs = self.call.inputs
        ts = match("jvp", tangents, inputs, self.in_tree, "tangent")
        given = {x._node: t for x, t in zip(inputs, ts, strict=True) if x._node is not None}
        connected = self.connected or any(t._node is not None for t in ts)
        with recording(connected and state.recording):
            known = push(self.nodes, given)
        return self.out_tree.unflatten(of_each(self.outputs, known))


def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Evaluate `f(*primals)` and return the result with the linear map of its tangents.

    `f_jvp(*tangents)` gives `J·t`, and can be called many times at the cost of the linear part.
    With `has_aux`, returns `(result, f_jvp, aux)`.

    >>> import wengert as wg
    >>> y, f_jvp = wg.linearize(lambda x: x**2, 3.0)
    >>> float(f_jvp(1.0)), float(f_jvp(0.5))
    (6.0, 3.0)
    """
    return _Pushforward.at("jvp", f, primals, has_aux)


def jvp(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> Any:
    """Evaluate `f(*primals)` and the directional derivative `J·tangents`: `(result, tangent)`.

    >>> import wengert as wg
    >>> value, slope = wg.jvp(lambda x: x**2, (3.0,), (1.0,))
    >>> float(value), float(slope)
    (9.0, 6.0)

    Source: Wengert 1964.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError(
            "jvp",
            "primals and tangents must be tuples",
            met=f"{type(primals).__name__} and {type(tangents).__name__}",
            fix="write jvp(f, (x,), (t,))",
        )
    value, pushforward, *aux = linearize(f, *primals, has_aux=has_aux)
    return (value, pushforward(*tangents), *aux)
