"""`checkpoint` in compiled steps: what is not kept takes no memory, and values stay the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import wengert as wg

nn = wg.nn
RNG = np.random.default_rng(0)


def linear_block() -> wg.nn.Module:
    parts = [part for _ in range(4) for part in (nn.Linear(32, 32), nn.Tanh())]
    return nn.Sequential(*parts, nn.Dropout(0.2))


def conv_block() -> wg.nn.Module:
    parts = [nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*parts, nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid())


CASES = {"linear": (linear_block, (1024, 32)), "conv": (conv_block, (4, 4, 32, 32))}


def training(kind: str, again: bool, depth: int = 8) -> tuple[Any, Any, Any]:
    """A step of a chain of blocks, its input, and the model."""
    wg.manual_seed(0)
    make, shape = CASES[kind]
    model = nn.Sequential(*(make() for _ in range(depth)))
    opt = wg.optim.Adam(model.parameters(), lr=0.01)
    blocks = [wg.checkpoint(block) if again else block for block in model]

    def step(x: Any) -> Any:
        for block in blocks:
            x = block(x)
        loss = (x * x).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step, RNG.normal(size=shape).astype(np.float32), model


@pytest.mark.parametrize("kind", CASES)
def test_less_is_kept(kind: str) -> None:
    arena = {}
    for again in (False, True):
        step, x, _ = training(kind, again)
        arena[again] = wg.jit(step).memory(x).arena
    assert arena[True] < 0.8 * arena[False]


@pytest.mark.parametrize("kind", CASES)
def test_values_are_the_same(kind: str) -> None:
    found = []
    for again, compiled in ((False, True), (True, True), (True, False)):
        step, _, model = training(kind, again, depth=3)
        f = wg.jit(step, check=True) if compiled else step
        x = np.random.default_rng(1).normal(size=CASES[kind][1]).astype(np.float32)
        losses = [float(f(x)) for _ in range(3)]
        found.append([np.array(losses), *(p.numpy() for p in model.parameters())])
    for a, b, c in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(b, c, rtol=1e-4, atol=1e-5)


def count(step: Any, *args: Any) -> Counter[str]:
    return Counter(t.name for t in wg.compiler.dump(step, *args).simplified.terms)


def test_it_is_computed_twice_and_the_marks_are_gone() -> None:
    f = lambda x: wg.exp(wg.sin(wg.exp(x)))
    x = wg.ones(3)
    loss = lambda f: lambda x: wg.sum(f(x))
    assert count(wg.jit(wg.value_and_grad(loss(f))), x)["exp"] == 2
    again = count(wg.jit(wg.value_and_grad(loss(wg.checkpoint(f)))), x)
    assert again["exp"] == 4
    assert "once_more" not in again
    # Where the value is not asked for, only the second run is left.
    assert count(wg.jit(wg.grad(loss(wg.checkpoint(f)))), x)["exp"] == 2


def test_calls_of_one_function_are_runs_of_their_own() -> None:
    f = wg.checkpoint(lambda x: wg.exp(wg.sin(x)))
    step = wg.jit(wg.value_and_grad(lambda x: wg.sum(f(f(x)))))
    assert count(step, wg.ones(3))["sin"] == 4
    value, slope = step(wg.ones(3))
    g = lambda x: wg.exp(wg.sin(x))
    expected, wanted = wg.value_and_grad(lambda x: wg.sum(g(g(x))))(wg.ones(3))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, wanted, rtol=1e-6)


def test_backward_through_what_it_closes_over() -> None:
    w = wg.Parameter(wg.asarray(RNG.normal(size=(4, 4)), dtype="float32"))
    f = wg.checkpoint(lambda h: wg.tanh(h @ w))

    def step(x: Any) -> Any:
        f(f(x)).sum().backward()
        found, w.grad = w.grad, None
        return found

    x = wg.asarray(RNG.normal(size=(3, 4)), dtype="float32")
    np.testing.assert_allclose(wg.jit(step)(x), step(x), rtol=1e-5, atol=1e-6)


def test_further_derivatives_and_loops() -> None:
    f = wg.checkpoint(lambda x: wg.sin(x) * x)
    plain = lambda x: wg.sin(x) * x
    total = lambda f: lambda x: wg.sum(f(x))
    x = wg.asarray([0.3, 0.7])
    for transform in (
        lambda f: wg.hessian(total(f)),
        lambda f: wg.vmap(wg.grad(f)),
        lambda f: wg.grad(lambda x: wg.sum(wg.scan(lambda c, r: (f(c) + r, None), x, x)[0])),
    ):
        found, expected = wg.jit(transform(f))(x), transform(plain)(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(wg.grad(wg.jit(total(f)))(x), wg.grad(total(plain))(x), rtol=1e-6)
