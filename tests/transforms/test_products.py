"""Products of transforms: whatever is nested in whatever gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import central, f64, same

Function = Callable[[wg.Tensor], wg.Tensor]  # (3,) → ()

WEIGHTS = f64(3, 3, seed=9)


def smooth(x: wg.Tensor) -> wg.Tensor:
    """A scalar function with contraction, indexing, reduction and broadcasting."""
    h = wg.tanh(wg.matmul(WEIGHTS, x)) + wg.sin(x[::-1])
    return wg.sum(h * x[0]) / (1.0 + wg.sum(x * x))


def custom_smooth(x: wg.Tensor) -> wg.Tensor:
    """The same, with its sine replaced by functions with their own rules."""
    h = wg.tanh(wg.matmul(WEIGHTS, x)) + sine(x[::-1])
    return total(h * x[0]) / (1.0 + wg.sum(x * x))


@wg.custom_jvp
def sine(x: wg.Tensor) -> wg.Tensor:
    return wg.sin(x)


sine.defjvps(lambda t, out, x: wg.cos(x) * t)


@wg.custom_vjp
def total(x: wg.Tensor) -> wg.Tensor:
    return wg.sum(x)


total.defvjp(lambda x: (wg.sum(x), x), lambda x, g: (g + wg.zeros_like(x),))


def through_vmap(f: Function) -> Function:
    """The same function of a row, computed among other rows."""

    def mapped(x: wg.Tensor) -> wg.Tensor:
        rows = wg.stack([x, 2.0 * x, x + 1.0])
        return wg.vmap(f)(rows)[0]

    return mapped


def through_linearize(f: Function) -> Function:
    def value(x: wg.Tensor) -> wg.Tensor:
        return wg.linearize(f, x)[0]

    return value


def through_vjp(f: Function) -> Function:
    """f again, from the pullback of t ↦ t·f(x) (which is f(x))."""

    def value(x: wg.Tensor) -> wg.Tensor:
        return wg.vjp(lambda t: t * f(x), wg.asarray(np.float64(1.0)))[1](1.0)[0]

    return value


def through_jvp(f: Function) -> Function:
    def value(x: wg.Tensor) -> wg.Tensor:
        one = wg.asarray(np.float64(1.0))
        return wg.jvp(lambda t: t * f(x), (one,), (one,))[1]

    return value


WRAPPERS: dict[str, Callable[[Function], Function]] = {
    "checkpoint": wg.checkpoint,
    "vmap": through_vmap,
    "vjp": through_vjp,
    "jvp": through_jvp,
    "linearize": through_linearize,
}

DERIVATIVES: dict[str, Callable[[Function], Callable]] = {
    "grad": wg.grad,
    "jacfwd": wg.jacfwd,
    "jacrev": wg.jacrev,
    "hessian": wg.hessian,
    "grad of jvp": lambda f: wg.grad(lambda x: wg.jvp(f, (x,), (WEIGHTS[0],))[1]),
    "jvp of grad": lambda f: lambda x: wg.jvp(wg.grad(f), (x,), (WEIGHTS[0],))[1],
    "vmap of grad": lambda f: lambda x: wg.vmap(wg.grad(f))(wg.stack([x, x * 0.5])),
    "vmap of hessian": lambda f: lambda x: wg.vmap(wg.hessian(f))(wg.stack([x, x * 0.5])),
    "vmap of hvp": lambda f: lambda x: wg.vmap(lambda v: wg.hvp(f, (x,), (v,)))(WEIGHTS),
    "grad of vmap of grad": lambda f: wg.grad(
        lambda x: wg.sum(wg.vmap(wg.grad(f))(wg.stack([x, x * 0.5])) ** 2)
    ),
}

EXPECTED = {name: transform(smooth)(f64(3)) for name, transform in DERIVATIVES.items()}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("wrappers", list(product(WRAPPERS, WRAPPERS)), ids=" of ".join)
def test_wrapping_changes_no_derivative(derivative: str, wrappers: tuple[str, str]) -> None:
    outer, inner = wrappers
    f = WRAPPERS[outer](WRAPPERS[inner](smooth))
    same(DERIVATIVES[derivative](f)(f64(3)), EXPECTED[derivative])


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("wrapper", ["itself", *WRAPPERS])
def test_custom_rules_inside_all(derivative: str, wrapper: str) -> None:
    f = WRAPPERS.get(wrapper, lambda f: f)(custom_smooth)
    same(DERIVATIVES[derivative](f)(f64(3)), EXPECTED[derivative])


def test_the_expected_values_agree_with_differences() -> None:
    x = f64(3)
    slope = central(lambda v: smooth(wg.asarray(v)), x)
    curve = central(lambda v: wg.grad(smooth)(wg.asarray(v)), x)
    for name in ("grad", "jacfwd", "jacrev"):
        same(EXPECTED[name], slope, 1e-8)
    same(EXPECTED["hessian"], curve, 1e-7)
    for name in ("grad of jvp", "jvp of grad"):
        same(EXPECTED[name], curve @ np.asarray(WEIGHTS[0]), 1e-7)
    same(EXPECTED["vmap of hvp"], np.asarray(WEIGHTS) @ curve, 1e-7)
    squares = lambda v: wg.sum(wg.grad(smooth)(wg.asarray(v)) ** 2)
    both = lambda v: squares(v) + squares(v * 0.5)
    same(EXPECTED["grad of vmap of grad"], central(both, x), 1e-7)


def test_third_order_in_all_mixtures() -> None:
    x = f64(3)
    contract = lambda jac: lambda f: lambda x: wg.sum(jac(f)(x) * WEIGHTS[1])
    expected = None
    for modes in product((wg.jacfwd, wg.jacrev, wg.grad), repeat=3):
        f = smooth
        for jac in modes:
            f = contract(jac)(f)
        found = float(f(x))
        expected = found if expected is None else expected
        same(found, expected, 1e-9)


def test_per_example_gradients_of_a_model_equal_a_loop() -> None:
    params = {"w": f64(4, 3), "b": f64(4, seed=1)}
    xs, ys = f64(6, 3, seed=2), f64(6, 4, seed=3)
    loss = lambda p, x, y: wg.sum((wg.tanh(wg.matmul(p["w"], x) + p["b"]) - y) ** 2)
    rows = wg.vmap(wg.grad(loss), in_axes=(None, 0, 0))(params, xs, ys)
    for i in range(6):
        row = wg.grad(loss)(params, xs[i], ys[i])
        same({k: v[i] for k, v in rows.items()}, row)
    whole = wg.grad(lambda p: wg.sum(wg.vmap(loss, in_axes=(None, 0, 0))(p, xs, ys)))(params)
    same({k: wg.sum(v, axis=0) for k, v in rows.items()}, whole)


def test_a_learning_step_can_be_differentiated() -> None:
    # the derivative of the loss after a gradient step with respect to the step's length
    loss = lambda w: smooth(w)
    after = lambda rate, w: loss(w - rate * wg.grad(loss)(w))
    w = f64(3)
    found = wg.grad(after)(wg.asarray(np.float64(0.1)), w)
    same(found, central(lambda r: after(wg.asarray(r), w), np.float64(0.1)), 1e-8)
