"""`loss.backward()`: reverse mode that leaves the gradients at the tracked leaves."""

from __future__ import annotations

from typing import Any

from wengert.core.dtypes import is_float
from wengert.core.errors import GradientError, ShapeError, TraceError
from wengert.core.graph import ancestors
from wengert.core.node import Node
from wengert.core.op import add_tangents, cast_to
from wengert.core.spec import describe
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.structure import leaf
from wengert.transforms.call import ones_like, zeros_like
from wengert.transforms.reverse import walk

__all__ = ["backward"]


def backward(
    loss: Tensor, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """See `Tensor.backward`."""
    start = _tracked_node(loss)
    seed = _seed(loss, gradient)
    nodes = ancestors([start])
    leaves = [node for node in nodes if node.op is leaf]
    if not leaves:  # in a trace every tensor has a node
        raise _untracked(loss)
    with recording(create_graph):
        release = not (retain_graph or create_graph)
        if release and loss.is_symbolic and state.trace is not None:
            state.trace.on_release(nodes)  # they are the graph that will be compiled
            release = False
        found = walk(nodes, [(start, seed)], leaves, release=release)
        for node in leaves:
            ct = found.get(node)
            new = add_tangents(node.grad, zeros_like(node) if ct is None else ct)
            if state.trace is not None:
                state.trace.on_grad(node, new)
            node.grad = new


def _tracked_node(loss: Tensor) -> Node:
    if loss._node is None:
        raise _untracked(loss)
    trace = state.trace if loss.is_symbolic else None
    while trace is not None:
        if trace.size is not None:
            raise TraceError(
                "backward",
                "backward() inside a mapped function has no meaning: .grad has one place for "
                "the gradients of all rows",
                met=f"vmap over {trace.size} rows",
                fix="use wg.grad or wg.vjp inside vmap, or call backward() on vmap's result",
            )
        trace = trace.outer
    return loss._node


def _untracked(loss: Tensor) -> GradientError:
    return GradientError(
        "backward",
        "nothing is tracked: this tensor does not depend on a tracked leaf",
        met=describe(loss),
        cause="no parameter went into it; or it was detached, made under no_grad, passed "
        "through NumPy, or returned by wg.grad of a Parameter",
        fix="call requires_grad_() on the inputs before the computation",
    )


def _seed(loss: Tensor, gradient: Any) -> Tensor:
    if gradient is None:
        if loss.size != 1 or not is_float(loss.dtype):
            raise GradientError(
                "backward",
                "only a floating scalar has a gradient to start from",
                met=describe(loss),
                cause="a loss that was not reduced",
                fix="call loss.mean().backward(), or pass gradient=",
            )
        return ones_like(loss)
    seed = cast_to(as_tensor(gradient, loss), loss.dtype)
    if seed.shape != loss.shape:
        raise ShapeError(
            "backward",
            "the starting gradient must have the tensor's shape",
            met=f"{seed.shape} for a tensor of {loss.shape}",
            fix="pass ones_like(tensor)",
        )
    return seed
