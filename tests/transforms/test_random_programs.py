"""Whole random programs: every mode and transform must agree on each of them.

A program is a list of instructions; each takes values from a pool by number (modulo the size of
the pool), applies an op that fits their shapes, and puts the result into the pool. The result of
the program is a sum over all of the pool, so nothing that it computes is without effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.transforms.support import same
from wengert import Tensor
from wengert.transforms.trace import interpret

Instruction = tuple[str, int, int, int]

SHAPES = [(), (3,), (2, 3), (2, 1), (1, 3), (3, 2), (2, 2, 3), (1,)]

UNARY = {
    "sin": wg.sin,
    "tanh": wg.tanh,
    "exp": lambda x: wg.exp(wg.tanh(x)),
    "square": lambda x: x * x * 0.5,
    "log": lambda x: wg.log(x * x + 0.5),
    "sqrt": lambda x: wg.sqrt(x * x + 0.5),
    "flip": wg.flip,
    "flatten": lambda x: wg.reshape(x, (-1,)),
    "transpose": lambda x: wg.permute_dims(x, tuple(range(x.ndim))[::-1]),
    "unsqueeze": lambda x: wg.expand_dims(x, axis=0),
    "checkpoint": wg.checkpoint(lambda x: wg.sin(x) * x),
    "rebind": lambda x: rebound(x),
}
BINARY = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (y * y + 1.0),
    "atan2": lambda x, y: wg.atan2(x, y * y + 0.5),
    "where": lambda x, y: wg.where(x > y, x * y, y),
    "maximum": wg.maximum,
}
REDUCING = {
    "sum": wg.sum,
    "mean": wg.mean,
    "max": wg.max,
    "prod": lambda x, axis: wg.prod(wg.tanh(x), axis=axis),
    "logsumexp": lambda x, axis: wg.log(wg.sum(wg.exp(wg.tanh(x)), axis=axis)),
}
ALONG = {
    "cumsum": lambda x, axis: wg.cumulative_sum(x, axis=axis),
    "sort": lambda x, axis: wg.sort(x, axis=axis),
    "take": lambda x, axis: wg.take(x, wg.asarray([0, x.shape[axis] - 1, 0]), axis=axis),
    "twice": lambda x, axis: wg.concat([x, x * 2.0], axis=axis),
    "stack": lambda x, axis: wg.stack([x, wg.sin(x)], axis=axis),
    "first": lambda x, axis: wg.take(x, wg.asarray([0]), axis=axis),
}
NAMES = [*UNARY, *BINARY, *REDUCING, *ALONG, "matmul", "index"]

programs = st.lists(
    st.tuples(st.sampled_from(NAMES), *[st.integers(0, 11)] * 3), min_size=1, max_size=8
)
shapes = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)


def rebound(x: Tensor) -> Tensor:
    y = x * 1.0
    y += wg.sin(x)
    if y.ndim and y.shape[0]:
        y[0] = y[-1] * 2.0
    return y


def compatible(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def apply(instruction: Instruction, pool: list[Tensor]) -> Tensor:
    name, i, j, k = instruction
    x, y = pool[i % len(pool)], pool[j % len(pool)]
    if name in UNARY:
        return UNARY[name](x)
    if name in BINARY:
        return BINARY[name](x, y if compatible(x.shape, y.shape) else wg.mean(y))
    if name == "matmul":
        return wg.matmul(x[..., None], y[..., None].mT) if x.ndim == y.ndim == 1 else outer(x, y)
    if not x.ndim:
        return wg.sin(x) + y
    if name == "index":
        return x[k % x.shape[0]] if k % 2 else x[..., k % x.shape[-1] :]
    return {**REDUCING, **ALONG}[name](x, axis=k % x.ndim)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """A matrix product of what the operands can be reshaped to."""
    return wg.matmul(wg.reshape(x, (-1, 1)), wg.reshape(y, (1, -1)))


def run(program: list[Instruction], inputs: list[Tensor]) -> Tensor:
    pool = list(inputs)
    for instruction in program:
        value = apply(instruction, pool)
        if value.size <= 200:
            pool.append(wg.tanh(value) + 0.1 * value)
    parts = [wg.sum(wg.sin(value + 0.3 * k)) for k, value in enumerate(pool)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def draw_inputs(some_shapes: list[tuple[int, ...]], seed: int, rows: int = 0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    lead = (rows,) if rows else ()
    return [wg.asarray(rng.uniform(-1.5, 1.5, lead + shape)) for shape in some_shapes]


def dot(us: Any, vs: Any) -> float:
    return sum(float(wg.sum(u * v)) for u, v in zip(us, vs, strict=True))


def check(program: list[Instruction], some_shapes: list[tuple[int, ...]]) -> None:
    inputs = draw_inputs(some_shapes, 1)
    vs = draw_inputs(some_shapes, 2)
    f = lambda *xs: run(program, list(xs))
    numbers = tuple(range(len(inputs)))
    slopes = wg.grad(f, numbers)(*inputs)

    # reverse against forward, against finite differences (sort, max and where have kinks: their
    # distance from a random point is far larger than the step)
    along = float(wg.jvp(f, inputs, vs)[1])
    assert along == pytest.approx(dot(slopes, vs), rel=1e-9, abs=1e-9)
    h = 1e-6
    up, down = ([x + s * h * v for x, v in zip(inputs, vs, strict=True)] for s in (1, -1))
    numeric = (float(f(*up)) - float(f(*down))) / (2 * h)
    assert along == pytest.approx(numeric, rel=1e-5, abs=1e-6)

    # second order, both ways, against differences of the gradient
    curve = wg.hvp(f, inputs, vs) if len(inputs) > 1 else (wg.hvp(f, inputs, vs),)
    reverse = wg.grad(lambda *xs: wg.jvp(f, xs, vs)[1], numbers)(*inputs)
    same(curve, reverse)
    ahead, behind = wg.grad(f, numbers)(*up), wg.grad(f, numbers)(*down)
    for c, a, b in zip(curve, ahead, behind, strict=True):
        same(c, (a - b) / (2 * h), 1e-4)

    # the same through a traced graph, a checkpoint, and backward()
    graph = wg.trace(f, *inputs)
    same(interpret(graph, inputs)[0], f(*inputs))
    same(wg.grad(wg.checkpoint(f), numbers)(*inputs), slopes)
    leaves = [x.detach().requires_grad_() for x in inputs]
    f(*leaves).backward()
    same(tuple(x.grad for x in leaves), slopes)

    # vmap against a loop: values, gradients, products; all inputs mapped, and only the first
    rows = draw_inputs(some_shapes, 3, rows=3)
    for mapped in (len(inputs), 1):
        axes = tuple(0 if k < mapped else None for k in numbers)
        given = [r if a == 0 else r[0] for r, a in zip(rows, axes, strict=True)]
        row = lambda i, given=given, axes=axes: [
            g[i] if a == 0 else g for g, a in zip(given, axes, strict=True)
        ]
        looped = wg.stack([f(*row(i)) for i in range(3)])
        same(wg.vmap(f, in_axes=axes)(*given), looped)
        looped_slopes = [wg.grad(f)(*row(i)) for i in range(3)]
        same(wg.vmap(wg.grad(f), in_axes=axes)(*given), wg.stack(looped_slopes))
        whole = wg.grad(lambda x, *rest, axes=axes: wg.sum(wg.vmap(f, in_axes=axes)(x, *rest)))
        same(whole(*given), wg.stack(looped_slopes))


@given(programs, shapes)
@settings(max_examples=150)
def test_random_programs(program: list[Instruction], some_shapes: list[tuple[int, ...]]) -> None:
    check(program, some_shapes)


@pytest.mark.slow
@given(programs, shapes)
@settings(max_examples=5000)
def test_many_random_programs(program: Any, some_shapes: Any) -> None:
    check(program, some_shapes)
