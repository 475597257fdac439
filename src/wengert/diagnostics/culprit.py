"""Which op is to blame: each recorded node's rules, checked alone on the values it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np

from wengert.core.dtypes import is_float
from wengert.core.node import Node
from wengert.core.op import REGISTRY, add_tangents, bind
from wengert.core.tensor import Tensor
from wengert.diagnostics.differences import Line, Slope, one_sided, slope
from wengert.ops.elementwise import mul
from wengert.ops.reduce import sum as reduce_sum
from wengert.transforms.call import Call
from wengert.transforms.forward import jvp
from wengert.transforms.gradient import vjp

_MOST = 5000  # nodes looked at
_PLUMBING = {"leaf", "alias", "pick", "placeholder"}


def find_culprit(f: Callable[..., Any], point: Sequence[Tensor], order: int) -> str:
    """In words, the first op of `f(point)` whose rules disagree with finite differences up to an
    order; "" if all agree."""
    with _keeping_everything():
        call = Call("gradcheck", point)
        outputs = call.run(f, call.inputs)
    nodes, _ = call.graph(outputs)
    for node in nodes[:_MOST]:
        values = node.saved or ()
        if node.op.name in _PLUMBING or any(v is None for v in values):
            continue
        wrong = _disagreement(node, order)
        if wrong:
            return wrong.format(f"op {node.op.name!r}, called at {node.site},")
    return ""


@contextmanager
def _keeping_everything() -> Iterator[None]:
    """Let nodes keep all operands, whatever the rules ask for."""
    before = [(op, op.keep_all, op.always_keeps, op.kept) for op in REGISTRY.values()]
    try:
        for op, *_ in before:
            op.keep_all, op.always_keeps, op.kept = True, {"all", "out"}, {}
        yield
    finally:
        for op, keep_all, always, kept in before:
            op.keep_all, op.always_keeps, op.kept = keep_all, always, kept


def _disagreement(node: Node, order: int) -> str:
    """What is wrong with the rules of a node's op, with a place for its name; "" if nothing."""
    operands = [Tensor(v) for v in node.saved or ()]
    floating = [i for i, x in enumerate(operands) if is_float(x.dtype)]
    inputs = tuple(operands[i] for i in floating)

    def results(*xs: Tensor) -> tuple[Tensor, ...]:
        args = list(operands)
        for i, x in zip(floating, xs, strict=True):
            args[i] = x
        out = bind(node.op, tuple(args), node.params)
        outs = out if node.op.several else (out,)
        return tuple(o for o in outs if is_float(o.dtype))

    rng = np.random.default_rng(0)
    us = _like(rng, results(*inputs))
    ts = _like(rng, inputs)
    if not us or not inputs:
        return ""

    def value(*xs: Tensor) -> Tensor:
        return _dot(us, results(*xs))

    def pulled(*xs: Tensor) -> Tensor:
        return _dot(ts, vjp(results, *xs)[1](us))

    size = max(float(np.max(np.abs(x._data), initial=0.0)) for x in inputs)
    line = _line(value, inputs, ts)
    numeric = slope(line, size)
    derivatives = {"vjp": pulled(*inputs), "jvp": jvp(value, inputs, ts)[1]}
    for name, derivative in derivatives.items():
        if _far(float(derivative), numeric):
            if one_sided(line, numeric) is not None:
                return "the {} is not smooth at the values that it was given"
            return f"the {name} rule of the {{}} disagrees with finite differences on its own"
    if order > 1:
        numeric = slope(_line(pulled, inputs, ts), size)
        if _far(float(jvp(pulled, inputs, ts)[1]), numeric):
            return "the derivative of the vjp rule of the {} disagrees with finite differences"
    return ""


def _line(f: Callable[..., Tensor], inputs: Sequence[Tensor], ts: Sequence[Tensor]) -> Line:
    """A function of several tensors on the line through a point along a direction."""

    def value(h: float) -> float:
        return float(f(*(Tensor(x._data + h * t._data) for x, t in zip(inputs, ts, strict=True))))

    return value


def _far(analytic: float, numeric: Slope) -> bool:
    room = 1e-5 * max(abs(numeric.value), 1e-2) + 2 * numeric.error
    return bool(numeric.reliable and not abs(analytic - numeric.value) <= room)


def _like(rng: np.random.Generator, xs: Sequence[Tensor]) -> tuple[Any, ...]:
    return tuple(Tensor(rng.normal(size=x.shape).astype(x.dtype)) for x in xs)


def _dot(us: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
    parts = [mul(u, v) for u, v in zip(us, vs, strict=True)]
    total: Tensor = reduce(add_tangents, [reduce_sum(p, axis=tuple(range(p.ndim))) for p in parts])
    return total
