"""gradcheck: what it accepts, what it finds, and how it says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64
from wengert.core.op import REGISTRY, Op, Rule
from wengert.diagnostics.differences import one_sided, slope
from wengert.errors import ArgumentError, GradientError


@contextmanager
def rules(op: Op, vjp: Any = None, jvp: Any = None) -> Iterator[None]:
    """Replace the rules of an op of one operand."""
    before = op.vjps, op.jvps, op.kept
    op.kept = {}
    op.vjps = (Rule(vjp, op.operands),) if vjp else op.vjps
    op.jvps = (Rule(jvp, op.operands),) if jvp else op.jvps
    try:
        yield
    finally:
        op.vjps, op.jvps, op.kept = before


def model(p: dict, x: wg.Tensor) -> dict:
    h = wg.tanh(wg.matmul(x, p["w"]) + p["b"])
    return {"h": h, "total": (wg.sum(h**2),)}


PARAMS = {"w": wg.ones((3, 2)) * 0.3, "b": wg.zeros(2)}


def test_correct_derivatives_pass_in_all_orders_and_modes() -> None:
    for modes in (("rev",), ("fwd",), ("rev", "fwd"), ("fwd", "rev")):
        result = wg.gradcheck(model, (PARAMS, f64(4, 3)), order=2, modes=modes)
        assert result
        assert result.worst < 1e-3
        # 20 entries, in both orders; reverse over forward comes on top
        assert result.checked == 20 * {1: 2, 2: 5}[len(modes)]
        assert "all of" in str(result)
    assert wg.gradcheck(lambda x: wg.sum(x**4), f64(3), order=4)


def test_inputs_of_any_kind() -> None:
    f = lambda p, n, s, label: p[0] * n * s if label == "x" else None
    assert wg.gradcheck(f, ((wg.ones(2), None), wg.asarray([1, 2]), 2.5, "x"))
    assert wg.gradcheck(wg.sin, np.ones(3, np.float32))
    assert wg.gradcheck(lambda x: x * 2, wg.zeros((0, 3)))
    w = wg.Parameter(wg.ones(3))
    assert wg.gradcheck(lambda w: wg.sum(w * w), (w,))
    assert w.grad is None


def test_it_works_in_float64_whatever_it_is_given() -> None:
    seen = set()
    wg.gradcheck(lambda x: seen.add(x.dtype) or x * x, (wg.ones(3),))
    assert seen == {wg.float64}


def test_magnitudes_choose_the_step() -> None:
    x = wg.asarray(np.array([1e-8, 1e-3, 1.0, 1e4, 1e8]))
    assert wg.gradcheck(wg.log, x, order=2)
    assert wg.gradcheck(wg.sqrt, x, order=2)
    assert wg.gradcheck(lambda x: wg.sum(wg.sin(x * 30.0)), f64(4), order=2)


def test_a_kink_nearby_is_stepped_around() -> None:
    x = wg.asarray(np.array([1e-5, -1e-6, 1.0]))
    assert wg.gradcheck(wg.abs, x)
    assert wg.gradcheck(wg.relu, x)


def test_random_draws_repeat_and_variables_stay() -> None:
    count = wg.Variable(wg.asarray(1.0))

    def f(x: wg.Tensor) -> wg.Tensor:
        count.assign(count + 1.0)
        return x**2 * wg.random.uniform(shape=(3,)) * count

    wg.random.seed(0)
    expected = float(wg.random.uniform())
    wg.random.seed(0)
    assert wg.gradcheck(f, f64(3), order=2)
    assert float(count) == 1.0
    assert float(wg.random.uniform()) == expected


def test_many_entries_are_sampled_and_covered_by_a_direction() -> None:
    x = f64(40, 40)
    result = wg.gradcheck(lambda x: wg.sum(x**3), x, max_entries=10, modes=("rev",))
    assert result.checked == 11
    cut = lambda x: wg.sum(x**3) + wg.stop_gradient(x[17, 23]) * 100.0
    found = wg.gradcheck(cut, x, max_entries=10, modes=("rev",), raise_exception=False)
    assert [m.entry for m in found.mismatches] == [None]


# -- what it finds -------------------------------------------------------------------------------


def failure(*args: Any, **options: Any) -> str:
    with pytest.raises(GradientError) as caught:
        wg.gradcheck(*args, **options)
    text = str(caught.value)
    assert re.match(r"\[gradcheck\] .*; likely cause: .*; fix: ", text, re.DOTALL)
    return text


def test_a_wrong_reverse_rule_is_named_with_its_line() -> None:
    with rules(REGISTRY["tanh"], vjp=lambda g, out: g * (1.0 - out)):
        text = failure(model, (PARAMS, f64(4, 3)))
    assert "a derivative is wrong: input[0]['b'] at entry (0,): order 1, reverse mode:" in text
    assert "also off: input[0]['w'], input[1]" in text
    assert "the vjp rule of the op 'tanh'" in text
    assert 'h = wg.tanh(wg.matmul(x, p["w"]) + p["b"])' in text
    assert "test_gradcheck.py:" in text


def test_a_wrong_forward_rule_is_told_from_a_wrong_reverse_rule() -> None:
    with rules(REGISTRY["tanh"], jvp=lambda g, out: g * (1.0 - out)):
        assert wg.gradcheck(model, (PARAMS, f64(4, 3)), modes=("rev",))
        text = failure(model, (PARAMS, f64(4, 3)))
    assert "forward mode" in text
    assert "the jvp rule of the op 'tanh'" in text


def test_the_first_wrong_op_of_several_is_named() -> None:
    wrong = lambda g, x: g * wg.sin(x)
    with rules(REGISTRY["sin"], vjp=wrong), rules(REGISTRY["cos"], vjp=wrong):
        text = failure(lambda x: wg.sum(wg.cos(wg.sin(wg.exp(x)))), f64(3))
    assert "'sin'" in text
    assert "'cos'" not in text


def test_a_rule_that_is_right_only_to_first_order() -> None:
    frozen = lambda g, x: g * wg.stop_gradient(wg.cos(x))
    with rules(REGISTRY["sin"], vjp=frozen, jvp=frozen):
        assert wg.gradcheck(lambda x: wg.sum(wg.sin(x)), f64(3))
        text = failure(lambda x: wg.sum(wg.sin(x)), f64(3), order=2)
    assert "order 2, reverse over reverse mode" in text
    assert "the derivative of the vjp rule of the op 'sin'" in text


def test_a_custom_rule_is_checked_like_any_other() -> None:
    f = wg.custom_vjp(lambda x: wg.sin(x))
    f.defvjp(lambda x: (wg.sin(x), x), lambda x, g: (g * wg.sin(x),))
    text = failure(lambda x: wg.sum(wg.exp(f(wg.exp(x)))), f64(3))
    assert "the vjp rule of the op 'custom_vjp'" in text


def test_a_kink_is_called_a_kink() -> None:
    text = failure(lambda x: wg.sum(wg.relu(x)), wg.zeros(2))
    assert "not smooth at this point: the slope is 0 from the left and 1 from the right" in text
    assert "the op 'relu'" in text
    assert "fix: check at another point, away from the kink" in text
    found = wg.gradcheck(lambda x: wg.sum(wg.relu(x)), wg.zeros(2), raise_exception=False)
    assert found.mismatches[0].kink == pytest.approx((0.0, 1.0))
    assert wg.gradcheck(wg.max, wg.ones(2))  # a tie is split, as central differences have it


def test_a_cut_gradient_is_called_cut() -> None:
    text = failure(lambda x: wg.sum(wg.stop_gradient(x * x)), f64(3))
    assert "the gradient is cut on its way" in text
    text = failure(lambda x: wg.sum(wg.stop_gradient(x) * x), f64(3))
    assert "each op's rule agrees" in text
    assert "the derivative is changed between the ops" in text


def test_the_result_lists_all_mismatches() -> None:
    f = lambda x, y: wg.sum(wg.stop_gradient(x)) + wg.sum(y)
    found = wg.gradcheck(f, (f64(2), f64(2)), raise_exception=False)
    assert not found
    assert {(m.input, m.entry, m.mode) for m in found.mismatches} == {
        ("[0]", (i,), mode) for i in (0, 1) for mode in ("reverse mode", "forward mode")
    }
    assert found.mismatches[0].error == pytest.approx(1.0)
    text = str(found)
    assert text.startswith("4 of 8 derivatives are off\n  input[0] at entry (0,): order 1")
    assert "likely cause: the gradient is cut" in text


def test_a_small_error_is_found_and_a_tolerance_forgives_it() -> None:
    f = wg.custom_vjp(lambda x: wg.sum(x**2))
    f.defvjp(lambda x: (wg.sum(x**2), x), lambda x, g: (g * x * 2.0001,))
    with pytest.raises(GradientError):
        wg.gradcheck(f, f64(3))
    assert wg.gradcheck(f, f64(3), rtol=1e-3)


def test_registry_is_put_back() -> None:
    before = {name: (op.keep_all, op.always_keeps) for name, op in REGISTRY.items()}
    failure(lambda x: wg.sum(wg.relu(x)), wg.zeros(2))
    assert before == {name: (op.keep_all, op.always_keeps) for name, op in REGISTRY.items()}


# -- errors --------------------------------------------------------------------------------------


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"there is no floating input to check.*int64"):
        wg.gradcheck(lambda x: x, wg.asarray([1]))
    with pytest.raises(ArgumentError, match=r"returns nothing floating; got int64\[\]"):
        wg.gradcheck(lambda x: wg.argmax(x), wg.ones(2))
    rng = np.random.default_rng(0)
    with pytest.raises(GradientError, match=r"different results for the same input.*wg.random"):
        wg.gradcheck(lambda x: x * float(rng.uniform()), wg.ones(2))
    with pytest.raises(ArgumentError, match=r"unknown modes; got 'rev'"):
        wg.gradcheck(wg.sin, wg.ones(2), modes="rev")
    with pytest.raises(ArgumentError, match="the order starts at 1"):
        wg.gradcheck(wg.sin, wg.ones(2), order=0)
    with pytest.raises(ArgumentError, match="the step must be positive"):
        wg.gradcheck(wg.sin, wg.ones(2), eps=-1e-3)


# -- finite differences --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda t: np.sin(0.3 + t), np.cos(0.3)),
        (lambda t: np.exp(20 * t), 20.0),
        (lambda t: 1e8 * (1 + t) ** 2, 2e8),
        (lambda t: 1e-8 * np.sin(t), 1e-8),
        (lambda t: abs(t - 1e-5), -1.0),
    ],
)
def test_slopes_and_their_own_error(f: Any, expected: float) -> None:
    found = slope(f)
    assert abs(found.value - expected) <= max(10 * found.error, 1e-12)
    assert found.error <= 1e-6 * max(abs(expected), 1e-2)
    assert found.reliable


def test_one_sided_slopes() -> None:
    for f, kink in (
        (abs, (-1.0, 1.0)),
        (lambda t: max(t, 0.0), (0.0, 1.0)),
        (np.sin, None),
        (lambda t: 1e4 * t * t, None),
    ):
        found = one_sided(f, slope(f))
        assert found == (None if kink is None else pytest.approx(kink))
