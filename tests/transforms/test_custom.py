"""custom_vjp and custom_jvp: rules in all modes, orders, batches, trees; and errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.errors import ArgumentError, GradientError, ShapeError


def plain(x: wg.Tensor, y: wg.Tensor) -> wg.Tensor:
    return wg.sin(x) * y


def by_vjp() -> Callable[..., wg.Tensor]:
    f = wg.custom_vjp(plain)
    f.defvjp(
        lambda x, y: (wg.sin(x) * y, (x, wg.sin(x), y)),
        lambda kept, g: (g * wg.cos(kept[0]) * kept[2], g * kept[1]),
    )
    return f


def by_vjp_with_itself_inside() -> Callable[..., wg.Tensor]:
    f = wg.custom_vjp(plain)

    def fwd(x: wg.Tensor, y: wg.Tensor) -> tuple:
        out = f(x, y)
        return out, (x, out, y)

    f.defvjp(fwd, lambda kept, g: (g * wg.cos(kept[0]) * kept[2], g * kept[1] / kept[2]))
    return f


def by_jvp() -> Callable[..., wg.Tensor]:
    f = wg.custom_jvp(plain)

    @f.defjvp
    def rule(primals: tuple, tangents: tuple) -> tuple:
        (x, y), (s, t) = primals, tangents
        return f(x, y), wg.cos(x) * y * s + wg.sin(x) * t

    return f


def by_jvps() -> Callable[..., wg.Tensor]:
    f = wg.custom_jvp(plain)
    f.defjvps(lambda s, out, x, y: wg.cos(x) * y * s, lambda t, out, x, y: wg.sin(x) * t)
    return f


KINDS = pytest.mark.parametrize("make", [by_vjp, by_vjp_with_itself_inside, by_jvp, by_jvps])


@KINDS
def test_equals_the_derived_rule_in_every_combination(make: Callable) -> None:
    f, x, y = make(), f64(3), f64(3, seed=1)
    total = lambda f: lambda x, y: wg.sum(f(x, y) ** 2)
    both = (0, 1)
    for transform in (
        lambda h: h(x, y),
        lambda h: wg.grad(h, both)(x, y),
        lambda h: wg.jvp(h, (x, y), (y, x)),
        lambda h: wg.hessian(h, both)(x, y),
        lambda h: wg.jacfwd(wg.jacfwd(h, both), both)(x, y),
        lambda h: wg.jacrev(wg.jacrev(h, both), both)(x, y),
        lambda h: wg.jacrev(wg.jacfwd(h, both), both)(x, y),
        lambda h: wg.grad(lambda x: wg.sum(wg.grad(lambda x: wg.sum(wg.grad(h)(x, y) ** 2))(x)))(x),
    ):
        same(transform(total(f)), transform(total(plain)))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
@KINDS
def test_vmap_with_each_choice_of_batched_arguments(make: Callable, axes: tuple) -> None:
    f, rows = make(), (f64(4, 3), f64(4, 3, seed=1))
    x, y = (v if a == 0 else v[0] for v, a in zip(rows, axes, strict=True))

    def all_of(f: Callable) -> list:
        mapped = wg.vmap(f, in_axes=axes)
        total = lambda x, y: wg.sum(mapped(x, y) ** 2)
        row_slopes = wg.grad(lambda x, y: wg.sum(f(x, y) ** 2), (0, 1))
        return [
            mapped(x, y),
            wg.grad(total, (0, 1))(x, y),
            wg.hvp(total, (x, y), (x, y)),
            wg.vmap(row_slopes, in_axes=axes)(x, y),
            wg.jvp(mapped, (x, y), (x, y)),
        ]

    same(all_of(f), all_of(plain))


@KINDS
def test_nested_vmap(make: Callable) -> None:
    f, x, y = make(), f64(3), f64(2, seed=1)
    outer = lambda f: lambda x, y: wg.vmap(lambda a: wg.vmap(lambda b: f(a, b))(y))(x)
    same(outer(f)(x, y), outer(plain)(x, y))
    total = lambda f: lambda x, y: wg.sum(outer(f)(x, y) ** 2)
    same(wg.grad(total(f), (0, 1))(x, y), wg.grad(total(plain), (0, 1))(x, y))


@KINDS
def test_backward_and_checkpoint_around_it(make: Callable) -> None:
    f, x = make(), f64(3).requires_grad_()
    wg.sum(wg.checkpoint(lambda x: f(x, x) * x)(x)).backward()
    d = f64(3)
    same(x.grad, wg.grad(lambda x: wg.sum(plain(x, x) * x))(d))


def test_the_rule_is_what_counts() -> None:
    doubled = wg.custom_vjp(lambda x: x)
    doubled.defvjp(lambda x: (x, None), lambda _, g: (g * 2.0,))
    same(wg.grad(lambda x: wg.sum(doubled(x)))(f64(3)), 2 * np.ones(3))
    same(wg.jvp(doubled, (f64(3),), (wg.asarray(np.ones(3)),))[1], 2 * np.ones(3))
    tripled = wg.custom_jvp(lambda x: x)
    tripled.defjvp(lambda primals, tangents: (primals[0], tangents[0] * 3.0))
    same(wg.grad(lambda x: wg.sum(tripled(x)))(f64(3)), 3 * np.ones(3))


def test_the_plain_function_runs_where_nothing_is_tracked() -> None:
    calls = []
    f = wg.custom_vjp(lambda x: calls.append("f") or x)
    f.defvjp(lambda x: calls.append("fwd") or (x, None), lambda _, g: (g,))
    f(f64(3))
    with wg.no_grad():
        f(f64(3).requires_grad_())
    assert calls == ["f", "f"]
    wg.grad(lambda x: wg.sum(f(x)))(f64(3))
    assert calls == ["f", "f", "fwd"]


def test_first_order_runs_fwd_once_and_higher_orders_again() -> None:
    calls = []
    f = wg.custom_vjp(wg.sin)
    f.defvjp(lambda x: calls.append(1) or (wg.sin(x), wg.cos(x)), lambda c, g: (g * c,))
    wg.grad(lambda x: wg.sum(f(x)))(f64(3))
    assert len(calls) == 1
    same(wg.grad(wg.grad(f))(f64()), -wg.sin(f64()))  # fwd's own residual is differentiated


def test_trees_defaults_keywords_and_constants() -> None:
    @wg.custom_vjp
    def f(p: dict, power: int = 2, *rest: float) -> dict:
        return {"y": p["w"] ** power, "n": (p["b"],)}

    def fwd(p: dict, power: int = 2, *rest: float) -> tuple:
        return f(p, power), (p["w"], power, "label")

    def bwd(kept: tuple, g: dict) -> tuple:
        w, power, label = kept
        assert label == "label"
        return {"w": g["y"] * power * w ** (power - 1), "b": g["n"][0]}, None

    f.defvjp(fwd, bwd)
    p = {"w": f64(3), "b": f64()}
    total = lambda p, **k: wg.sum(f(p, **k)["y"]) + f(p, **k)["n"][0]
    same(wg.grad(total)(p), {"w": 2 * p["w"], "b": np.float64(1.0)})
    same(wg.grad(lambda p: total(p, power=3))(p)["w"], 3 * p["w"] ** 2)


def test_nondiff_argnums_pass_anything() -> None:
    f = wg.custom_vjp(lambda g, x, n: g(x) * n, nondiff_argnums=(0, 2))
    f.defvjp(lambda g, x, n: (g(x) * n, x), lambda g, n, x, ct: (ct * n * wg.cos(x),))
    x = f64(3)
    same(wg.grad(lambda x: wg.sum(f(wg.sin, x, 3)))(x), 3 * wg.cos(x))
    same(wg.vmap(wg.grad(lambda x: f(wg.sin, x, 3)))(x), 3 * wg.cos(x))

    @wg.custom_jvp(nondiff_argnums=(0,))
    def h(n: int, x: wg.Tensor) -> wg.Tensor:
        return x**n

    h.defjvp(lambda n, primals, tangents: (h(n, *primals), n * primals[0] ** (n - 1) * tangents[0]))
    same(wg.grad(lambda x: wg.sum(h(3, x)))(x), 3 * x**2)


def test_integer_arguments_and_results() -> None:
    @wg.custom_vjp
    def f(x: wg.Tensor, index: wg.Tensor) -> tuple:
        return wg.take(x, index), index + 1

    def bwd(kept: tuple, ct: tuple) -> tuple:
        x, index = kept
        return x.at[index].set(ct[0]) * 0 + wg.zeros_like(x).at[index].add(ct[0]), None

    f.defvjp(lambda x, i: (f(x, i), (x, i)), bwd)
    index = wg.asarray([2, 0])
    same(wg.grad(lambda x: wg.sum(f(x, index)[0]))(f64(3)), np.array([1.0, 0.0, 1.0]))
    assert f(f64(3).requires_grad_(), index)[1].dtype == wg.int64
    jac = wg.jacfwd(lambda x: f(x, index)[0])(f64(3))
    same(jac, np.array([[0.0, 0, 1], [1, 0, 0]]))


def test_numpy_is_welcome_inside_the_functions() -> None:
    f = wg.custom_vjp(lambda x: wg.asarray(np.sin(np.asarray(x))))
    f.defvjp(
        lambda x: (wg.asarray(np.sin(np.asarray(x))), x),
        lambda x, g: (wg.asarray(np.asarray(g) * np.cos(np.asarray(x))),),
    )
    same(wg.grad(lambda x: wg.sum(f(x)))(f64(3)), wg.cos(f64(3)))


def test_random_numbers_in_fwd_are_drawn_once() -> None:
    def fwd(x: wg.Tensor) -> tuple:
        mask = wg.random.uniform(shape=(5,), dtype=wg.float64)
        return x * mask, mask

    f = wg.custom_vjp(lambda x: fwd(x)[0])
    f.defvjp(fwd, lambda mask, g: (g * mask,))
    x = f64(5)

    def g(x: wg.Tensor) -> wg.Tensor:
        wg.random.seed(3)
        return wg.sum(f(x) ** 2)

    wg.random.seed(3)
    mask = wg.random.uniform(shape=(5,), dtype=wg.float64)
    same(wg.grad(g)(x), 2 * x * mask**2)
    same(wg.hessian(g)(x), wg.asarray(np.diag(2 * np.asarray(mask) ** 2)))


# -- errors --------------------------------------------------------------------------------------


def test_missing_rule() -> None:
    with pytest.raises(
        ArgumentError, match=r"\[custom_vjp\] the function has no derivative rule yet.*defvjp"
    ):
        wg.custom_vjp(plain)(f64(3), f64(3))
    with pytest.raises(ArgumentError, match=r"\[custom_jvp\] the function has no derivative rule"):
        wg.custom_jvp(plain)(f64(3), f64(3))


def test_closures_over_tracked_tensors_are_refused() -> None:
    w = wg.Parameter(f64(3))
    x = f64(3).requires_grad_()
    f = wg.custom_vjp(lambda x: x * w)
    f.defvjp(lambda x: (x * w, None), lambda _, g: (g,))
    h = wg.custom_jvp(lambda x: x * w)
    h.defjvp(lambda p, t: (p[0] * w, t[0]))
    for custom in (f, h):
        with pytest.raises(
            GradientError,
            match=r"closes over a tracked tensor.*test_custom.py.*pass it as an argument",
        ):
            custom(x)
        with pytest.raises(GradientError, match="closes over a tracked tensor"):
            wg.vmap(custom)(x)


def wrong_vjp(fwd: Callable, bwd: Callable) -> None:
    f = wg.custom_vjp(lambda x, y: x * y)
    f.defvjp(fwd, bwd)
    wg.grad(lambda x, y: wg.sum(f(x, y)))(f64(3), f64(3))


def test_malformed_vjp_rules() -> None:
    fwd = lambda x, y: (x * y, None)
    with pytest.raises(ArgumentError, match=r"fwd must return a pair.*got Tensor"):
        wrong_vjp(lambda x, y: x * y, lambda _, g: (g, g))
    with pytest.raises(ArgumentError, match=r"bwd must return a tuple.*got Tensor for 2 arguments"):
        wrong_vjp(fwd, lambda _, g: g)
    with pytest.raises(ArgumentError, match="tuple of 1 for 2 arguments"):
        wrong_vjp(fwd, lambda _, g: (g,))
    with pytest.raises(ArgumentError, match="does not have the structure of its argument"):
        wrong_vjp(fwd, lambda _, g: ((g, g), g))
    with pytest.raises(
        ShapeError, match=r"does not have the shape of its argument.*\(\) for \(3,\)"
    ):
        wrong_vjp(fwd, lambda _, g: (wg.sum(g), g))


def test_malformed_jvp_rules() -> None:
    def wrong(rule: Callable) -> None:
        f = wg.custom_jvp(lambda x: x * 2)
        f.defjvp(rule)
        wg.jvp(f, (f64(3),), (f64(3),))

    with pytest.raises(ArgumentError, match=r"rule must return a pair.*got Tensor"):
        wrong(lambda p, t: t[0])
    with pytest.raises(ArgumentError, match="structure of the function's result"):
        wrong(lambda p, t: (p[0], (t[0], t[0])))
    with pytest.raises(ShapeError, match=r"tangent must have the shape of the result"):
        wrong(lambda p, t: (p[0], wg.sum(t[0])))
    with pytest.raises(ArgumentError, match="defjvps cannot be used with nondiff_argnums"):
        wg.custom_jvp(lambda n, x: x, nondiff_argnums=(0,)).defjvps(None)


def test_keyword_only_arguments_and_bad_positions() -> None:
    f = wg.custom_vjp(lambda x, *, k: x * k)
    f.defvjp(lambda x, *, k: (x, None), lambda _, g: (g,))
    with pytest.raises(
        ArgumentError, match=r"keyword-only arguments have no place.*nondiff_argnums"
    ):
        f(f64(3), k=2)
    f = wg.custom_vjp(lambda x: x, nondiff_argnums=(3,))
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))
    with pytest.raises(ArgumentError, match="nondiff_argnums names an argument that there is not"):
        f(f64(3))
