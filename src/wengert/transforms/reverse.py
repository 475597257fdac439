"""Reverse mode: the walk from a result back to its inputs that is called backpropagation.

A recorded computation is a list of nodes in the order of their making (Wengert's list). `walk` goes
through it once, from the last node to the first. On its way it keeps, for each node that it has
still to pass, the *cotangent*: the derivative of the final result with respect to that node's
result. At a node it asks the op's rule for the cotangents of the operands, and adds each to what
the operand's node has already received from its other uses. That is the whole algorithm:

    cotangent[parent] += rule(cotangent[node])

Four things are taken care of here, so that no rule needs to:

* zero cotangents do not exist: a node that none has reached is not visited;
* an operand that was broadcast or converted gets its cotangent summed and converted back;
* the branch that a `where` did not take keeps the cotangent 0 through all element-wise steps, where
  0 times an infinite slope would be NaN: the walk is the exact transpose of forward mode;
* cotangents are tensors and rules are made of ops. Where something further out tracks the values
  that a rule touches, the walk itself is recorded, and so derivatives of any order come for free.

Sources: Wengert 1964 (the list); Linnainmaa 1976; Speelpenning 1980; Rumelhart, Hinton and
Williams 1986.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wengert.core.dtypes import is_float
from wengert.core.errors import ShapeError
from wengert.core.node import Node, freed
from wengert.core.op import add_tangents, cast_to
from wengert.core.rules import Elementwise
from wengert.core.spec import describe
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.ops.movement import unbroadcast
from wengert.ops.selection import annul, where

# A node's cotangent is a tensor; for an op with several results a tuple, in which None is zero.
Cotangents = dict[Node, Any]


def walk(
    nodes: Sequence[Node],
    seeds: Iterable[tuple[Node, Tensor]],
    wanted: Iterable[Node],
    release: bool = False,
) -> Cotangents:
    """Cotangents of the `wanted` nodes, given those of some results (the seeds).

    `nodes` are the ancestors of the results in topological order. A wanted node that no cotangent
    reaches is left out. `release` makes each node forget its kept values once it is passed.
    """
    goals = set(wanted)
    useful = _leading_to(goals, nodes)
    cotangents: Cotangents = {}
    chosen: set[Node] = set()
    for node, seed in seeds:
        _accumulate(cotangents, node, seed)
    before = state.origin
    try:
        for node in reversed(nodes):
            if node in cotangents and node in useful:
                if node.hooks:
                    cotangents[node] = _run_hooks(node, cotangents[node])
                if node not in goals:
                    _pass_on(node, cotangents.pop(node), useful, cotangents, chosen)
            if release and node not in goals:
                node.release()
    finally:
        state.origin = before
    return {node: ct for node, ct in cotangents.items() if node in goals}


def _leading_to(goals: set[Node], nodes: Sequence[Node]) -> set[Node]:
    """The goals, and the nodes from which a cotangent can reach one of them."""
    found = set(goals)
    for node in nodes:
        if not found.isdisjoint(node.parents) and carries_cotangent(node):
            found.add(node)
    return found


def carries_cotangent(node: Node) -> bool:
    """Not a comparison or another step function, and no integers: those have no derivative."""
    return bool(node.op.vjps) and (node.op.several or is_float(node.dtype))


def _pass_on(
    node: Node, ct: Any, useful: set[Node], cotangents: Cotangents, chosen: set[Node]
) -> None:
    """Hand the cotangent of a node on to its parents, by the rule of its op. `chosen` are the nodes
    above a `where`: a 0 in their cotangent may stand for "not taken"."""
    if node.saved is None:
        raise freed(node)
    code, instruction, module, _ = node.origin
    state.origin = (code, instruction, module, "backward")
    needs = [parent in useful for parent in node.parents]
    below = node in chosen
    spreads = below or node.op is where or node.op is annul
    for parent, part in zip(node.parents, node.op.vjp(node, ct, needs)):
        if part is None or parent is None or parent not in useful:
            continue
        if isinstance(part, Tensor):
            if below and part is not ct and isinstance(node.op, Elementwise):
                part = annul(part, ct)
            if part.shape != parent.shape:
                part = unbroadcast(part, parent.shape)
            if part.dtype is not parent.dtype:
                part = cast_to(part, parent.dtype)
        if spreads:
            chosen.add(parent)
        _accumulate(cotangents, parent, part)


def _accumulate(cotangents: Cotangents, node: Node, part: Any) -> None:
    have = cotangents.get(node)
    cotangents[node] = part if have is None else add_tangents(have, part)


def _run_hooks(node: Node, ct: Any) -> Any:
    """Show a cotangent to the hooks that a user registered; each may replace it."""
    state.origin = None  # hooks are user code: what they compute has their own site
    for hook in node.hooks or ():
        if hook is not None:
            replaced = hook(ct)
            ct = ct if replaced is None else _checked(replaced, ct)
        elif node.parents:  # retain_grad() was called (backward() fills the leaves' .grad itself)
            node.grad = add_tangents(node.grad, ct)
    return ct


def _checked(replaced: Any, ct: Tensor) -> Tensor:
    if not isinstance(replaced, Tensor) or replaced.shape != ct.shape:
        raise ShapeError(
            "register_hook",
            "a hook must return None, or a tensor of the gradient's shape",
            met=f"{describe(replaced)} for a gradient {describe(ct)}",
            fix="return the changed gradient, or nothing",
        )
    return cast_to(replaced, ct.dtype)
