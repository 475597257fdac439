"""jvp, linearize, and the Jacobians, Hessians and products built on both modes."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import central, f64, quadratic, same
from wengert.errors import ArgumentError, DtypeError, GradientError, ShapeError


def test_jvp_of_trees() -> None:
    x, y = f64(3), f64(3, seed=1)
    f = lambda p, z: {"a": p["x"] * z, "b": (wg.sum(z),)}
    value, tangent = wg.jvp(f, ({"x": x}, y), ({"x": y}, x))
    same(value, {"a": x * y, "b": (wg.sum(y),)})
    same(tangent, {"a": y * y + x * x, "b": (wg.sum(x),)})


def test_jvp_of_broadcast_and_converted_operands() -> None:
    x, y = f64(3, 1), wg.asarray(np.ones(4, np.float32))
    value, tangent = wg.jvp(lambda x, y: x + y, (x, y), (x, y))
    assert tangent.shape == value.shape == (3, 4)
    assert tangent.dtype == wg.float64
    tangent = wg.jvp(lambda x: x + wg.zeros((3, 4)), (x,), (x,))[1]
    assert tangent.shape == (3, 4)


def test_jvp_with_aux_and_results_are_cut() -> None:
    value, tangent, aux = wg.jvp(lambda x: (x * x, x), (f64(2),), (f64(2),), has_aux=True)
    same(tangent, 2 * f64(2) ** 2)
    assert value.node is None
    assert tangent.node is None
    assert aux.node is None


def test_linearize_many_times() -> None:
    x = f64(3)
    value, push = wg.linearize(lambda x: wg.sin(x) * x, x)
    same(value, wg.sin(x) * x)
    slope = wg.cos(x) * x + wg.sin(x)
    for t in (f64(3, seed=1), f64(3, seed=2)):
        same(push(t), slope * t)
    same(wg.vmap(push)(wg.asarray(np.eye(3))), wg.asarray(np.diag(np.asarray(slope))))


def test_forward_mode_sees_stop_gradient_and_detach() -> None:
    x = f64(3)
    for cut in (wg.stop_gradient, lambda v: v.detach()):
        same(wg.jvp(lambda x, cut=cut: cut(x * x) * x, (x,), (x,))[1], x**3)
    same(wg.jvp(lambda x: wg.stop_gradient({"a": x, "n": 1})["a"], (x,), (x,))[1], np.zeros(3))


def test_forward_over_forward_and_mixed_orders() -> None:
    x = wg.asarray(np.float64(0.3))
    d = lambda f: lambda x: wg.jvp(f, (x,), (1.0,))[1]
    same(d(d(d(wg.sin)))(x), -wg.cos(x))
    same(wg.grad(d(wg.grad(wg.sin)))(x), -wg.cos(x))
    same(d(wg.grad(d(wg.sin)))(x), -wg.cos(x))


def test_errors() -> None:
    x = f64(3)
    with pytest.raises(ArgumentError, match=r"\[jvp\] primals and tangents must be tuples"):
        wg.jvp(wg.sin, x, (x,))
    with pytest.raises(ArgumentError, match="tangents must have the structure"):
        wg.jvp(wg.sin, (x,), (x, x))
    with pytest.raises(
        ShapeError, match=r"the tangent\[0\] must have the shape.*\(2,\) for \(3,\)"
    ):
        wg.jvp(wg.sin, (x,), (f64(2),))


# -- Jacobians -----------------------------------------------------------------------------------


def test_jacobians_agree_with_differences_and_each_other() -> None:
    x = f64(2, 3)
    f = lambda x: wg.sin(x) @ wg.asarray(np.ones((3, 2))) * wg.sum(x)
    expected = central(lambda v: f(wg.asarray(v)), x)
    for jac in (wg.jacfwd, wg.jacrev):
        found = jac(f)(x)
        assert found.shape == (2, 2, 2, 3)
        same(found, expected, 1e-8)
        assert found.node is None


def test_jacobians_of_trees() -> None:
    p = {"w": f64(3), "b": f64(), "k": (f64(2, 2),)}
    f = lambda p: (wg.sin(p["w"]) * p["b"], {"s": wg.sum(p["k"][0]) * p["w"][0]})
    forward, reverse = wg.jacfwd(f)(p), wg.jacrev(f)(p)
    same(forward, reverse)
    assert forward[0]["w"].shape == (3, 3)
    assert forward[0]["b"].shape == (3,)
    assert forward[1]["s"]["k"][0].shape == (2, 2)
    same(forward[0]["b"], wg.sin(p["w"]))


def test_jacobian_arguments() -> None:
    x, y = f64(3), f64(3, seed=1)
    f = lambda x, y, *, c: x * y * c
    for jac in (wg.jacfwd, wg.jacrev):
        same(jac(f, argnums=1)(x, y, c=2.0), wg.asarray(np.diag(2 * np.asarray(x))))
        both = jac(f, argnums=(0, 1))(x, y, c=1.0)
        same(both, tuple(wg.asarray(np.diag(np.asarray(v))) for v in (y, x)))
        found, aux = jac(lambda x: (x * x, x), has_aux=True)(x)
        same(found, wg.asarray(np.diag(2 * np.asarray(x))))
        same(aux, x)
        with pytest.raises(DtypeError, match=r"\[jac...\] the result is not floating"):
            jac(lambda x: wg.argmax(x))(x)


def test_jacobian_dtypes_and_empty() -> None:
    mixed = {"a": wg.ones(2), "b": wg.asarray(np.ones(2))}
    for jac in (wg.jacfwd, wg.jacrev):
        found = jac(lambda p: (p["a"] * 2, p["b"] * 2))(mixed)
        assert found[0]["a"].dtype == wg.float32
        assert found[1]["b"].dtype == wg.float64
        assert jac(lambda x: x * 2)(wg.zeros((0,))).shape == (0, 0)


def test_hessian_against_differences_symmetric_and_in_blocks() -> None:
    x = f64(4)
    found = wg.hessian(quadratic)(x)
    same(found, found.T)
    same(found, central(lambda v: wg.grad(quadratic)(wg.asarray(v)), x), 1e-6)
    blocks = wg.hessian(lambda x, y: wg.sum(x * x * y), argnums=(0, 1))(x, x)
    same(blocks[0][1], wg.asarray(np.diag(2 * np.asarray(x))))
    same(blocks[1][1], np.zeros((4, 4)))
    value, aux = wg.hessian(lambda x: (wg.sum(x**3), 7.0), has_aux=True)(x)
    same(value, wg.asarray(np.diag(6 * np.asarray(x))))
    assert float(aux) == 7.0


def test_hvp_equals_hessian_times_vector() -> None:
    x, v = f64(4), f64(4, seed=1)
    same(wg.hvp(quadratic, (x,), (v,)), wg.hessian(quadratic)(x) @ v)
    f = lambda p, s: quadratic(p["w"]) * s
    s, t = f64(seed=2), f64(seed=3)
    found = wg.hvp(f, ({"w": x}, s), ({"w": v}, t))
    same(found[0]["w"], s * (wg.hessian(quadratic)(x) @ v) + wg.grad(quadratic)(x) * t)
    same(found[1], wg.sum(wg.grad(quadratic)(x) * v))


def test_hvp_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[hvp\] primals and vectors must be tuples"):
        wg.hvp(quadratic, f64(3), (f64(3),))
    with pytest.raises(GradientError, match="must return a floating scalar"):
        wg.hvp(wg.sin, (f64(3),), (f64(3),))
