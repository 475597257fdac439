"""vmap: axes, prefixes, pytrees, nesting, closures, randomness, variables and errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.errors import ArgumentError, AxisError, ShapeError, TraceError


class Pair(NamedTuple):
    a: object
    b: object


def test_axes_in_and_out() -> None:
    x, y = f64(4, 3), f64(3, 5, seed=1)
    f = lambda u, v: wg.sum(u) * v
    looped = np.stack([np.sum(np.asarray(x)[:, i]) * np.asarray(y)[i] for i in range(3)], 1)
    same(wg.vmap(f, in_axes=(1, 0), out_axes=1)(x, y), looped)
    same(wg.vmap(f, in_axes=(-1, -2), out_axes=-1)(x, y), looped)
    same(wg.vmap(f, in_axes=[1, 0], out_axes=1)(x, y), looped)
    same(wg.vmap(f, in_axes=(None, 0))(x, y), wg.sum(x) * y)


def test_prefixes_of_pytrees() -> None:
    tree = {"w": Pair(f64(3, 2), f64(2, 3)), "scale": 2.0, "rest": (f64(3), None)}
    f = lambda t: {"s": wg.sum(t["w"].a) * t["scale"], "p": [t["w"].b * t["rest"][0]]}
    axes = ({"w": Pair(0, 1), "scale": None, "rest": 0},)
    found = wg.vmap(f, in_axes=axes, out_axes={"s": 0, "p": [1]})(tree)
    w, rest = tree["w"], tree["rest"][0]
    same(found, {"s": wg.sum(w.a, axis=1) * 2.0, "p": [w.b * rest]})
    found = wg.vmap(f, in_axes=axes, out_axes={"s": 0, "p": -1})(tree)
    same(found["p"], [w.b * rest])


def test_an_unmapped_leaf_is_passed_as_it_is() -> None:
    seen = []

    def f(x: wg.Tensor, options: dict) -> wg.Tensor:
        seen.append(options)
        return x * options["n"]

    same(wg.vmap(f, in_axes=(0, None))(f64(3), {"n": 2, "name": "text"}), 2 * f64(3))
    assert seen == [{"n": 2, "name": "text"}]


def test_keyword_arguments_are_mapped_over_axis_zero() -> None:
    x, y = f64(3, 2), f64(3, seed=1)
    same(wg.vmap(lambda x, *, y: wg.sum(x) * y)(x, y=y), wg.sum(x, axis=1) * y)


def test_results_that_do_not_depend_on_the_mapped_axis() -> None:
    x = f64(3)
    found = wg.vmap(lambda v: (v, 1.0, wg.ones(2)), out_axes=(0, None, 0))(x)
    same(found, (x, np.float32(1.0), np.ones((3, 2), np.float32)))
    same(wg.vmap(lambda v: 2.0)(x), 2 * np.ones(3, np.float32))


def test_nested_with_each_axis() -> None:
    a, b = f64(3), f64(4, seed=1)
    outer = wg.vmap(lambda x: wg.vmap(lambda y: x * y + x)(b))(a)
    same(outer, a[:, None] * b + a[:, None])
    matrix = f64(2, 3, 4)
    same(wg.vmap(wg.vmap(wg.sum, in_axes=1), in_axes=0)(matrix), wg.sum(matrix, axis=1))
    same(wg.vmap(wg.vmap(wg.sum, in_axes=1), in_axes=2)(matrix), wg.sum(matrix, axis=0).T)


def test_gradient_through_vmap_reaches_closures_and_arguments() -> None:
    x, w = f64(3, 2), f64(2, seed=1)
    f = lambda x, w: wg.sum(wg.vmap(lambda row: wg.sum(wg.sin(row * w)))(x))
    found = wg.grad(f, argnums=(0, 1))(x, w)
    cosine = wg.cos(x * w)
    same(found, (cosine * w, wg.sum(cosine * x, axis=0)))


def test_gradient_inside_vmap_per_row() -> None:
    x, w = f64(5, 3), f64(3, seed=1)
    rows = wg.vmap(wg.grad(lambda w, row: wg.sum(w * row) ** 2), in_axes=(None, 0))(w, x)
    expected = 2 * wg.matmul(x, w)[:, None] * x
    same(rows, expected)


def test_parameters_closed_over_get_gradients() -> None:
    w = wg.Parameter(f64(2))
    wg.sum(wg.vmap(lambda row: wg.sum(w * row) ** 2)(f64(3, 2, seed=1))).backward()
    x = f64(3, 2, seed=1)
    same(w.grad, wg.sum(2 * wg.matmul(x, w.detach())[:, None] * x, axis=0))


def test_no_grad_inside_a_mapped_function_cuts() -> None:
    def row(v: wg.Tensor) -> wg.Tensor:
        with wg.no_grad():
            constant = v * v
        return constant * v

    x = f64(3)
    same(wg.grad(lambda x: wg.sum(wg.vmap(row)(x)))(x), x * x)
    same(wg.vmap(wg.grad(row))(x), x * x)
    with wg.no_grad():
        same(wg.vmap(wg.grad(lambda v: v**3))(x), 3 * x * x)
        assert not wg.vmap(row)(f64(3).requires_grad_()).requires_grad


def test_stop_gradient_and_detach_inside_a_mapped_function() -> None:
    x = f64(3)
    for cut in (wg.stop_gradient, lambda v: v.detach()):
        same(wg.grad(lambda x, cut=cut: wg.sum(wg.vmap(lambda v: cut(v * v) * v)(x)))(x), x * x)


def test_size_zero_and_one() -> None:
    f = lambda v: wg.sum(wg.sin(v)) * v
    same(wg.vmap(f)(f64(1, 3)), f(f64(1, 3)[0])[None])
    assert wg.vmap(f)(wg.zeros((0, 3))).shape == (0, 3)


def test_random_draws_follow_the_policy() -> None:
    x = wg.ones(4)
    draw = lambda v: v * wg.random.uniform()
    with pytest.raises(TraceError, match=r"random draw inside vmap is ambiguous.*randomness="):
        wg.vmap(draw)(x)
    wg.random.seed(0)
    one = np.asarray(wg.vmap(draw, randomness="same")(x))
    many = np.asarray(wg.vmap(draw, randomness="different")(x))
    assert len(set(one.tolist())) == 1
    assert len(set(many.tolist())) == 4


def test_variables() -> None:
    total = wg.Variable(wg.asarray(0.0))

    def counts(v: wg.Tensor) -> wg.Tensor:
        total.assign(total + 1.0)
        return v

    wg.vmap(counts)(wg.ones(3))
    assert float(total) == 1.0

    def differs(v: wg.Tensor) -> wg.Tensor:
        total.assign(v)
        return v

    with pytest.raises(TraceError, match=r"differs along the mapped axis.*model.eval"):
        wg.vmap(differs)(wg.ones(3))
    assert float(total) == 1.0
    assert not total.is_symbolic


# -- errors --------------------------------------------------------------------------------------


def test_branching_on_a_value_names_the_line_and_the_way_out() -> None:
    with pytest.raises(TraceError, match=r"\[bool\] this tensor is symbolic.*wg.where"):
        wg.vmap(lambda v: v if v > 0 else -v)(wg.ones(3))
    with pytest.raises(TraceError, match=r"\[item\]"):
        wg.vmap(lambda v: float(v))(wg.ones(3))


def test_errors_of_axes_name_the_argument() -> None:
    f = lambda x, y: x
    with pytest.raises(
        AxisError, match=r"argument \[1\]\['k'\]\[0\] has no such axis.*axis 1 of shape \(3,\)"
    ):
        wg.vmap(f, in_axes=(0, 1))(wg.ones(3), {"k": [wg.ones(3)]})
    with pytest.raises(AxisError, match=r"argument \[0\] has no such axis.*axis 0 of shape \(\)"):
        wg.vmap(f, in_axes=(0, None))(1.0, 2.0)
    with pytest.raises(
        ShapeError, match=r"different sizes.*3 for argument \[0\], 4 for argument \['y'\]"
    ):
        wg.vmap(f)(wg.ones(3), y=wg.ones(4))
    with pytest.raises(ArgumentError, match=r"one entry a positional argument.*1 entries for 2"):
        wg.vmap(f, in_axes=(0,))(wg.ones(3), wg.ones(3))
    with pytest.raises(ArgumentError, match="no argument is mapped over"):
        wg.vmap(f, in_axes=None)(1.0, 2.0)
    with pytest.raises(ArgumentError, match="in_axes does not fit the structure"):
        wg.vmap(f, in_axes=(0, {"a": 0}))(wg.ones(3), {"b": wg.ones(3)})
    with pytest.raises(ArgumentError, match="in_axes does not fit the structure"):
        wg.vmap(f, in_axes=(0, (0, 0)))(wg.ones(3), (wg.ones(3),))
    with pytest.raises(ArgumentError, match="in_axes does not fit"):
        wg.vmap(f, in_axes=("0", 0))(wg.ones(3), wg.ones(3))
    with pytest.raises(ArgumentError, match="out_axes does not fit the structure"):
        wg.vmap(lambda x: x, out_axes=(0, 0))(wg.ones(3))
    with pytest.raises(ArgumentError, match="out_axes is None for a result that differs"):
        wg.vmap(lambda x: x, out_axes=None)(wg.ones(3))
    with pytest.raises(AxisError, match=r"no such axis for the mapped axis to go to.*out_axes 1"):
        wg.vmap(lambda x: x, out_axes=1)(wg.ones(3))
    with pytest.raises(ArgumentError, match="unknown randomness"):
        wg.vmap(lambda x: x, randomness="often")
