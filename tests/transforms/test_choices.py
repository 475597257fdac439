"""The branch that `where` does not take has no derivative, whatever its slope is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg

NAN, INF = float("nan"), float("inf")
BRANCHES: dict[str, Callable[[Any], Any]] = {
    "log": wg.log,
    "sqrt": wg.sqrt,
    "quotient": lambda x: 1 / x,
    "rsqrt": wg.rsqrt,
    "power": lambda x: x**0.5,
    "entropy": lambda x: -x * wg.log(x),
    "nested": lambda x: wg.exp(wg.sqrt(x)) / (1 + wg.log(x)) * x,
    "scaled and summed": lambda x: wg.sum(wg.sqrt(wg.stack([x, 2 * x]))) + wg.log(x),
}


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("point", [-1.0, 0.0])
def test_the_branch_not_taken_gives_zero(name: str, point: float) -> None:
    f = lambda x: wg.where(x > 0, BRANCHES[name](x), 3 * x)
    assert float(wg.grad(f)(point)) == 3.0
    assert float(wg.jvp(f, (point,), (1.0,))[1]) == 3.0
    assert wg.vmap(wg.grad(f))(wg.full((2,), point)).tolist() == [3.0, 3.0]
    assert float(wg.grad(wg.grad(f))(point)) == 0.0
    assert float(wg.hvp(f, (point,), (1.0,))) == 0.0
    leaf = wg.asarray(point).requires_grad_()
    f(leaf).backward()
    assert float(leaf.grad) == 3.0


@pytest.mark.parametrize("name", BRANCHES)
def test_the_branch_taken_keeps_its_derivatives(name: str) -> None:
    f = BRANCHES[name]
    chosen = lambda x: wg.where(x > 0, f(x), 0.0)
    x = wg.asarray(0.7, dtype=wg.float64)
    assert float(wg.grad(chosen)(x)) == float(wg.grad(f)(x))
    wg.gradcheck(chosen, (x,), order=2)


def test_entries_are_chosen_one_by_one() -> None:
    f = lambda x, w: wg.sum(wg.where(x > 0, wg.sqrt(x) * w, wg.log(-x) * w))
    x, w = wg.asarray([4.0, -2.0, 0.0]), wg.asarray([1.0, 2.0, 0.0])
    by_x, by_w = wg.grad(f, argnums=(0, 1))(x, w)
    assert by_x.tolist() == [0.25, -1.0, 0.0]  # at 0 the slope of log is infinite, but times w = 0
    assert by_w.tolist() == [2.0, float(wg.log(2.0)), -INF]


def test_a_zero_that_no_choice_made_stays_what_it_is() -> None:
    assert np.isnan(float(wg.grad(lambda x: wg.sqrt(x) * 0.0)(0.0)))
    assert np.isnan(float(wg.grad(lambda x: wg.sqrt(x) * 0.0 + wg.where(x > 0, x, 0.0))(0.0)))


def test_infinite_slopes_of_the_branch_taken_are_not_hidden() -> None:
    assert float(wg.grad(lambda x: wg.where(x >= 0, wg.sqrt(x), 0.0))(0.0)) == INF
    assert np.isnan(float(wg.grad(lambda x: wg.where(x < 0, wg.sqrt(x), 0.0))(-1.0)))


def test_curvature_at_a_perfect_fit_is_kept() -> None:
    # The cotangent of the chosen value is 0 here, and not because it was not chosen.
    f = lambda x: (wg.where(x > 0, x * x, 0.0) - 4.0) ** 2 / 2
    assert float(wg.grad(f)(2.0)) == 0.0
    assert float(wg.grad(wg.grad(f))(2.0)) == 16.0
    assert float(wg.hvp(f, (2.0,), (1.0,))) == 16.0


def test_a_model_trains_through_a_masked_logarithm() -> None:
    x, y = wg.asarray([[1.0, 0.0], [0.0, 0.0]]), wg.asarray([0.5, 0.0])
    model = wg.nn.Linear(2, 1, bias=False)
    model.weight.assign(wg.ones((1, 2)))
    rate = model(x)[:, 0]
    loss = wg.sum(wg.where(rate > 0, y * wg.log(rate) - rate, 0.0))
    loss.backward()
    assert model.weight.grad.tolist() == [[-0.5, 0.0]]
