"""grad, value_and_grad, vjp: values, structure, nesting, closures and errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import central, f64, nodes_made, same
from wengert.errors import ArgumentError, DtypeError, GradientError, ShapeError


class Point(NamedTuple):
    x: object
    y: object


def test_gradient_of_a_pytree_has_its_structure() -> None:
    w, b = f64(3), f64(3, seed=1)
    tree = {"w": [w, (b,)], "point": Point(w, None)}

    def f(p: dict) -> wg.Tensor:
        return wg.sum(p["w"][0] * p["w"][1][0]) + wg.sum(p["point"].x ** 2)

    found = wg.grad(f)(tree)
    same(found, {"w": [b, (w,)], "point": Point(2 * w, None)})
    assert isinstance(found["point"], Point)


def test_argnums_chooses_and_negative_counts_from_the_end() -> None:
    f = lambda x, y, z: wg.sum(x * y * z)
    x, y, z = f64(2), f64(2, seed=1), f64(2, seed=2)
    same(wg.grad(f, argnums=1)(x, y, z), x * z)
    same(wg.grad(f, argnums=-1)(x, y, z), x * y)
    same(wg.grad(f, argnums=(2, 0))(x, y, z), (x * y, y * z))
    same(wg.grad(f, argnums=[0])(x, y, z), (y * z,))


def test_keyword_arguments_are_constants() -> None:
    value, slope = wg.value_and_grad(lambda x, *, power: wg.sum(x**power))(f64(3), power=2)
    same(slope, 2 * f64(3))
    same(value, wg.sum(f64(3) ** 2))


def test_aux_is_returned_and_untracked() -> None:
    x = f64(3)
    f = lambda x: (wg.sum(x * x), {"double": 2 * x, "name": "aux"})
    (value, aux), slope = wg.value_and_grad(f, has_aux=True)(x)
    same(slope, 2 * x)
    same(aux["double"], 2 * x)
    assert aux["name"] == "aux"
    assert not aux["double"].requires_grad
    assert not value.requires_grad
    slope, aux = wg.grad(f, has_aux=True)(x)
    same(slope, 2 * x)


def test_results_of_a_top_level_gradient_are_cut_from_the_graph() -> None:
    value, slope = wg.value_and_grad(lambda x: wg.sum(wg.sin(x)))(f64(3))
    assert value.node is None
    assert slope.node is None
    result, pullback = wg.vjp(wg.sin, f64(3))
    assert result.node is None
    assert pullback(f64(3))[0].node is None


def test_a_function_that_ignores_its_input_has_gradient_zero() -> None:
    x = f64(3)
    same(wg.grad(lambda x: wg.asarray(1.0))(x), np.zeros(3))
    same(wg.grad(lambda x: 3.0)(x), np.zeros(3))
    same(wg.grad(lambda x, y: wg.sum(y), argnums=(0, 1))(x, x), (np.zeros(3), np.ones(3)))
    _result, pullback = wg.vjp(lambda x: wg.ones(2), x)
    same(pullback(wg.ones(2)), (np.zeros(3),))


def test_python_floats_and_arrays_are_inputs() -> None:
    assert float(wg.grad(lambda x: x**2)(3.0)) == 6.0
    same(wg.grad(lambda x: wg.sum(x**2))(np.ones(2)), 2 * np.ones(2))


def test_first_order_walk_is_not_recorded() -> None:
    def chain(x: wg.Tensor) -> wg.Tensor:
        for _ in range(50):
            x = wg.sin(x)
        return x

    x = f64()
    forward = nodes_made(lambda: chain(x.detach().requires_grad_()))
    assert forward <= 52
    assert nodes_made(lambda: wg.grad(chain)(x)) <= forward + 2


def test_gradient_with_respect_to_parameters_passed_by_position_is_not_recorded() -> None:
    w = wg.Parameter(np.ones(3))
    slope = wg.grad(lambda w: wg.sum(w**3))(w)
    same(slope, 3 * np.ones(3))
    assert slope.node is None
    assert w.grad is None


# -- nesting -----------------------------------------------------------------------------------


def test_derivatives_to_the_fifth_order() -> None:
    f = wg.sin
    for expected in (np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin, np.cos):
        f = wg.grad(f)
        same(f(wg.asarray(np.float64(0.7))), expected(0.7))


def test_perturbations_are_not_confused() -> None:
    # Siskind and Pearlmutter 2005: d/dx (x · d/dy (x + y)) = 1
    assert float(wg.grad(lambda x: x * wg.grad(lambda y: x + y)(1.0))(1.0)) == 1.0
    assert (
        float(wg.jvp(lambda x: x * wg.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1])
        == 1.0
    )
    mixed = lambda x: x * wg.jvp(lambda y: x * y, (2.0,), (1.0,))[1]  # x · x
    assert float(wg.grad(mixed)(3.0)) == 6.0
    mixed = lambda x: x * wg.grad(lambda y: x * y * y)(2.0)  # x · 4x
    assert float(wg.jvp(mixed, (3.0,), (1.0,))[1]) == 24.0


def test_the_same_variable_at_two_levels() -> None:
    # d/dx [x² · d/dx (x³)] where the inner derivative is taken of the same name
    f = lambda x: x**2 * wg.grad(lambda x: x**3)(x)
    assert float(wg.grad(f)(2.0)) == 12 * 2.0**3


def test_closures_over_tracked_values_at_each_level() -> None:
    x, y = f64(3), f64(3, seed=1)

    def outer(x: wg.Tensor) -> wg.Tensor:
        inner = wg.grad(lambda z: wg.sum(wg.sin(z * x)))(y)  # x·cos(xy)
        return wg.sum(inner * x)  # Σ x² cos(xy)

    expected = 2 * x * wg.cos(x * y) - x**2 * y * wg.sin(x * y)
    same(wg.grad(outer)(x), expected)


def test_gradient_inside_a_recorded_computation_can_be_differentiated_by_backward() -> None:
    w = wg.Parameter(f64(3))
    x = f64(3, seed=1)
    penalty = wg.sum(wg.grad(lambda x: wg.sum(wg.sin(w * x)))(x) ** 2)  # Σ w² cos²(wx)
    penalty.backward()
    expected = 2 * w * wg.cos(w * x) ** 2 - 2 * w**2 * x * wg.cos(w * x) * wg.sin(w * x)
    same(w.grad, expected.detach())


def test_hessian_by_nested_gradients_against_differences() -> None:
    x = f64(3)
    f = lambda x: wg.sum(wg.exp(x) * x[::-1])
    for k in range(3):
        row = wg.grad(lambda x, k=k: wg.grad(f)(x)[k])(x)
        expected = central(lambda v, k=k: wg.grad(f)(wg.asarray(v))[k], x)
        same(row, expected, 1e-6)


def test_no_grad_around_and_inside() -> None:
    x = f64(3)
    with wg.no_grad():
        same(wg.grad(lambda x: wg.sum(x * x))(x), 2 * x)

    def inside(x: wg.Tensor) -> wg.Tensor:
        with wg.no_grad():
            constant = x * x
        return wg.sum(constant * x)

    same(wg.grad(inside)(x), x * x)
    same(wg.jvp(inside, (x,), (wg.ones_like(x),))[1], wg.sum(x * x))


# -- vjp ---------------------------------------------------------------------------------------


def test_pullback_of_trees_many_times() -> None:
    x, y = f64(3), f64(3, seed=1)
    result, pullback = wg.vjp(lambda x, y: {"a": x * y, "b": (wg.sum(x),)}, x, y)
    same(result, {"a": x * y, "b": (wg.sum(x),)})
    for scale in (1.0, 2.0):
        found = pullback({"a": wg.ones(3) * scale, "b": (scale,)})
        same(found, (scale * y + scale, scale * x))


def test_pullback_is_linear_and_differentiable_in_its_cotangent() -> None:
    x, u = f64(3), f64(3, seed=1)
    _, pullback = wg.vjp(wg.sin, x)
    same(wg.grad(lambda u: wg.sum(pullback(u)[0] ** 2))(u), 2 * u * wg.cos(x) ** 2)


def test_vjp_with_aux() -> None:
    _result, pullback, aux = wg.vjp(lambda x: (x * x, x + 1), f64(2), has_aux=True)
    same(aux, f64(2) + 1)
    assert not aux.requires_grad
    same(pullback(wg.ones(2)), (2 * f64(2),))


def test_integer_results_have_no_cotangent() -> None:
    x = f64(3)
    (_value, _index), pullback = wg.vjp(lambda x: (x * 2, wg.argmax(x)), x)
    same(pullback((wg.ones(3), wg.asarray(0))), (2 * np.ones(3),))


# -- errors ------------------------------------------------------------------------------------


def test_integer_input_is_refused_with_its_place() -> None:
    with pytest.raises(DtypeError, match=r"\[grad\] the input\[0\]\['n'\] is not floating.*int64"):
        wg.grad(lambda p: wg.sum(p["x"]))({"x": f64(2), "n": wg.asarray([1, 2])})
    with pytest.raises(DtypeError, match=r"is not floating.*; fix: "):
        wg.grad(lambda x: x * 1.0)(3)
    with pytest.raises(DtypeError, match=r"\[vjp\].*close over the others"):
        wg.vjp(lambda x: x, wg.asarray([1, 2]))
    with pytest.raises(DtypeError, match=r"\[jvp\].*is not floating"):
        wg.jvp(lambda x: x, (wg.asarray(True),), (1.0,))


def test_result_must_be_a_floating_scalar() -> None:
    with pytest.raises(GradientError, match=r"must return a floating scalar.*reduce with"):
        wg.grad(lambda x: x * 2)(f64(3))
    with pytest.raises(GradientError, match="must return a floating scalar"):
        wg.grad(lambda x: wg.argmax(x))(f64(3))
    with pytest.raises(GradientError, match="scalar tensor; got tuple"):
        wg.grad(lambda x: (wg.sum(x), 1))(f64(3))
    with pytest.raises(GradientError, match="scalar tensor; got NoneType"):
        wg.grad(lambda x: None)(f64(3))


def test_aux_must_be_a_pair() -> None:
    with pytest.raises(ArgumentError, match=r"has_aux=True the function must return a pair"):
        wg.grad(lambda x: wg.sum(x), has_aux=True)(f64(3))


def test_argnums_must_name_positional_arguments() -> None:
    with pytest.raises(ArgumentError, match="argnums=1 with 1 positional arguments"):
        wg.grad(lambda x: wg.sum(x), argnums=1)(f64(3))
    with pytest.raises(ArgumentError, match="with 0 positional"):
        wg.grad(lambda x: wg.sum(x))(x=f64(3))
    with pytest.raises(ArgumentError, match="names an argument twice"):
        wg.grad(lambda x, y: wg.sum(x), argnums=(0, -2))(f64(3), f64(3))


def test_cotangent_must_fit_the_result() -> None:
    _, pullback = wg.vjp(lambda x: {"y": x}, f64(3))
    with pytest.raises(ArgumentError, match="cotangents must have the structure"):
        pullback(wg.ones(3))
    with pytest.raises(
        ShapeError, match=r"cotangent\['y'\] must have the shape.*\(2,\) for \(3,\)"
    ):
        pullback({"y": wg.ones(2)})


def test_numpy_inside_a_derivative_is_an_error_not_a_silent_zero() -> None:
    with pytest.raises(GradientError, match="NumPy function met a tensor"):
        wg.grad(lambda x: wg.sum(wg.asarray(np.sin(x))))(f64(3))


def test_a_value_in_place_of_a_function() -> None:
    x = f64(3)
    for transform in (wg.grad, wg.vjp, wg.vmap, wg.jacfwd, wg.jacrev, wg.checkpoint, wg.trace):
        with pytest.raises(DtypeError, match=r"must be a function; got float64\[\].*\(f\)\(x\)"):
            transform(wg.sum(x))
    with pytest.raises(DtypeError, match=r"\[jvp\] the first argument must be a function; got int"):
        wg.jvp(3, (x,), (x,))
    with pytest.raises(DtypeError, match=r"\[custom_vjp\] the first argument must be a function"):
        wg.custom_vjp(3)


def test_errors_leave_the_state_as_it_was() -> None:
    def fails(x: wg.Tensor) -> wg.Tensor:
        raise RuntimeError("user error")

    for run in (wg.grad(fails), wg.vmap(fails), wg.checkpoint(fails), wg.jacfwd(fails)):
        with pytest.raises(RuntimeError, match="user error"):
            run(f64(3))
    same(wg.grad(lambda x: wg.sum(x))(f64(3)), np.ones(3))
