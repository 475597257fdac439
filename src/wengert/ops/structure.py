"""Ops that carry no arithmetic: leaves, identities, and the choice of one of several results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.lowering import View
from wengert.core.node import Node
from wengert.core.op import Array, Op
from wengert.core.rules import custom, linear
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor


def _one_array(rng: np.random.Generator) -> list[Sample | Wrong]:
    return [Sample((rng.normal(size=(2, 3)),)), Sample((rng.normal(size=()),))]


def _no_call(*args: Any, **params: Any) -> Any:
    raise AssertionError("leaves are made, not called")


# A tensor whose gradient is wanted, and an input of a trace: nodes without parents.
leaf: Op = custom("leaf", _no_call, _no_call, operands=(), batch=_no_call, samples=lambda rng: [])
placeholder: Op = custom(
    "placeholder", _no_call, _no_call, operands=(), batch=_no_call, samples=lambda rng: []
)

# The identity. Each derivative that is taken starts by giving its inputs new nodes of this op, so
# that nested derivatives of the same variable are told apart by node identity.
alias: Op = linear(
    "alias",
    lambda x: x,
    lambda x: Spec.of(x),
    lambda g: g,
    batch=lambda size, args, batched: args[0],
    samples=_one_array,
    cost="view",
    lower=View(lambda place, x: place.index),
)

stop_gradient: Op = custom(
    "stop_gradient",
    lambda x: x,
    lambda x: Spec.of(x),
    batch=lambda size, args, batched: stop_gradient(args[0]),
    samples=_one_array,
    cost="view",
    lower=View(lambda place, x: place.index),
)

# The identity, in front of what is computed for the second time on purpose (`checkpoint`): `run`,
# which equals only itself, keeps the compiler from finding that it knows the value already.
once_more: Op = linear(
    "once_more",
    lambda x, run: x,
    lambda x, run: Spec.of(x),
    lambda g: g,
    batch=lambda size, args, batched, run: once_more(args[0], run=run),
    samples=lambda rng: [Sample((rng.normal(size=(2, 3)),), {"run": None})],
    cost="view",
    lower=View(lambda place, x, run: place.index),
)


class Pick(Op):
    """Result number `index` of an op with several results. The reverse walk gathers the
    cotangents of a node's picks into one tuple; see `transforms.reverse`."""

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Any]:
        parts: list[Tensor | None] = [None] * node.params["count"]
        parts[node.params["index"]] = ct
        return [tuple(parts)]

    def jvp(self, node: Node, tangents: Sequence[Any]) -> Any:
        return None if tangents[0] is None else tangents[0][node.params["index"]]


def _pick(x: tuple[Array, ...], index: int, count: int) -> Array:
    return x[index]


pick = Pick(
    "pick",
    _pick,
    _pick,
    operands=("x",),
    vjps=(lambda g: g,),
    jvps=(lambda g: g,),
    batch=lambda size, args, batched, index, count: args[0][index],
    samples=lambda rng: [],
    cost="view",
)
