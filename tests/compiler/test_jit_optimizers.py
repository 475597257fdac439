"""Compiled optimizers round as eager ones do: numbers in float64, arrays in their own dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.test_jit_training import OPTIMIZERS

O = wg.optim
ALL = {
    **OPTIMIZERS,
    "dampening": lambda p: O.SGD(p, lr=0.05, momentum=0.9, dampening=0.1),
    "centered": lambda p: O.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Adagrad decaying": lambda p: O.Adagrad(p, lr=0.01, lr_decay=0.01),
    "NAdam decoupled": lambda p: O.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
    "Muon": lambda p: O.Muon(p, lr=0.01),
}
WHOLE = {"LAMB", "Adafactor", "Muon"}  # formulas with sums, whose order compilers choose
SHAPE = (6, 5)


def steps(name: str, dtype: str, compiled: bool, count: int) -> list[np.ndarray[Any, Any]]:
    """A parameter and its optimizer state after some steps with random gradients."""
    rng = np.random.default_rng(0)
    p = wg.Parameter(wg.asarray(rng.normal(size=SHAPE), dtype=dtype))
    opt = ALL[name]([p])
    step = lambda g: opt.step(grads=[g])
    f = wg.jit(step) if compiled else step
    for g in rng.normal(size=(count, *SHAPE)) * np.exp(rng.normal(size=SHAPE)):
        f(wg.asarray(g, dtype=dtype))
    assert opt.counts.taken(p) == count
    return [p.numpy(), *(box.numpy() for box in opt.state[p].values())]


@pytest.mark.parametrize("name", ALL)
def test_a_hundred_steps_agree(name: str) -> None:
    """Element-wise formulas to a unit in the last place or two (√x̂ of two runs), others to the
    rounding of their sums."""
    eager, compiled = (steps(name, "float32", c, 100) for c in (False, True))
    for a, b in zip(compiled, eager, strict=True):
        assert a.dtype == b.dtype
        room = 4e-6 if name in WHOLE else 3e-7
        np.testing.assert_allclose(a, b, rtol=room, atol=room * np.abs(b).max())


@pytest.mark.parametrize("name", sorted(set(ALL) - {"LAMB", "Muon", "Adafactor"}))
def test_the_numbers_are_those_of_float64(name: str) -> None:
    """One step of float32 arrays is that of float64 arrays, rounded: 1 − β₂ is not 1.0000467e-3."""
    narrow, wide = (steps(name, dtype, True, 1) for dtype in ("float32", "float64"))
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-7, atol=5e-7 * np.abs(b).max())


def test_arrays_stay_narrow_and_numbers_are_worked_out_once() -> None:
    params = [wg.Parameter(wg.ones(shape)) for shape in ((8, 4), (4,), (4, 3))]
    opt = O.Adam(params)
    step = wg.jit(lambda *grads: opt.step(grads=list(grads)))
    found = wg.compiler.dump(step, *(wg.ones(p.shape) for p in params))
    wide = [t for t in found.simplified.terms if t.dtype == wg.float64 and t.ndim]
    assert not wide
    # One count for all three parameters, and one 1 − βᵗ for each β.
    assert sum(t.name == "pow" for t in found.simplified.terms) == 2
    assert len(found.assembly.jobs) == 1 + len(params)


def test_a_formula_of_ones_own_gets_numbers_that_are_weak() -> None:
    class Own(O.Optimizer):
        @staticmethod
        def update(xp: Any, p: Any, g: Any, s: Any, o: Any) -> Any:
            third = o["lr"] / 3.0
            low = xp.minimum(third, 1.0) * xp.ones(p.shape, dtype=xp.float32)
            size = xp.minimum(xp.maximum(g, o["lr"]), o["most"])
            return low * xp.where(g > third, size, o["lr"]) + third**0.5 * g, s

    def run(compiled: bool) -> np.ndarray[Any, Any]:
        p = wg.Parameter(wg.asarray([1.0, -2.0, 3.0]))
        opt = Own([p], {"lr": 0.1, "most": 0.7})
        step = lambda g: opt.step(grads=[g])
        f = wg.jit(step) if compiled else step
        f(wg.asarray([0.3, -0.5, 2.0]))
        return p.numpy()

    found = run(True)
    assert found.dtype == np.float32
    np.testing.assert_array_max_ulp(found, run(False), 1)


def test_a_schedule_and_the_functional_form_know_numbers_too() -> None:
    def run(compiled: bool) -> Any:
        opt = O.functional(O.Adam)
        params: Any = {"w": wg.asarray([1.0, -1.0])}
        state = opt.init(params)
        one = lambda params, state, lr: opt.update(
            wg.tree.tree_map(lambda p: 0.3 * p, params), state, params, lr=lr
        )
        f = wg.jit(one) if compiled else one
        for i in range(20):
            params, state = f(params, state, wg.asarray(0.1 * 0.9**i))
        return params["w"].numpy(), state[0]["exp_avg_sq"].numpy()

    for a, b in zip(run(True), run(False), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_max_ulp(a, b, 2)


def test_parameters_that_are_stepped_in_turns_have_counts_of_their_own() -> None:
    def run(compiled: bool) -> Any:
        params = [wg.Parameter(wg.ones(2)) for _ in range(3)]
        opt = O.Adam(params, lr=0.1)

        def some(which: tuple[int, ...]) -> None:
            for i in which:
                (params[i] ** 2).sum().backward()
            opt.step()
            opt.zero_grad()

        f = wg.jit(some) if compiled else some
        for which in ((0, 1), (0, 1), (1, 2), (0, 1, 2), (2,), (0, 1)):
            f(which)
        return [p.numpy() for p in params], [opt.counts.taken(p) for p in params]

    (found, counts), (expected, eager_counts) = run(True), run(False)
    assert counts == eager_counts == [4, 5, 3]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_max_ulp(a, b, 1)
