"""checkpoint: equal derivatives, less memory, randomness, variables, closures and honesty."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.errors import GradientError

W = f64(3, 3, seed=5)


def block(x: wg.Tensor, w: wg.Tensor) -> wg.Tensor:
    return wg.tanh(wg.matmul(w, wg.sin(x))) * x


both = pytest.mark.parametrize(
    "transform",
    [
        lambda f: f(f64(3), W),
        lambda f: wg.grad(lambda x, w: wg.sum(f(x, w)), (0, 1))(f64(3), W),
        lambda f: wg.jvp(f, (f64(3), W), (f64(3, seed=1), W)),
        lambda f: wg.jacfwd(f)(f64(3), W),
        lambda f: wg.jacrev(f, argnums=1)(f64(3), W),
        lambda f: wg.hessian(lambda x: wg.sum(f(x, W)))(f64(3)),
        lambda f: wg.grad(lambda x: wg.sum(wg.jacrev(lambda x: f(x, W))(x) ** 2))(f64(3)),
        lambda f: wg.vmap(f, in_axes=(0, None))(f64(4, 3), W),
        lambda f: wg.vmap(wg.grad(lambda x: wg.sum(f(x, W))))(f64(4, 3)),
        lambda f: wg.grad(lambda w: wg.sum(wg.vmap(f, in_axes=(0, None))(f64(4, 3), w)))(W),
        lambda f: wg.grad(lambda w: wg.sum(wg.vmap(lambda x: f(x, w))(f64(4, 3))))(W),
        lambda f: wg.vmap(wg.hessian(lambda x: wg.sum(f(x, W))))(f64(2, 3)),
        lambda f: wg.vmap(wg.vmap(f, in_axes=(None, 0)), in_axes=(0, None))(
            f64(2, 3), f64(4, 3, 3)
        ),
    ],
)


@both
def test_equals_the_function_itself(transform: Callable) -> None:
    same(transform(wg.checkpoint(block)), transform(block))
    same(transform(wg.checkpoint(wg.checkpoint(block))), transform(block))


def test_backward_reaches_arguments_closures_and_parameters() -> None:
    x, w, b = f64(3).requires_grad_(), wg.Parameter(W), wg.Parameter(f64(3, seed=2))
    wg.sum(wg.checkpoint(lambda x: block(x, w) + b)(x * 2.0)).backward()
    expected = wg.grad(lambda x, w, b: wg.sum(block(x * 2.0, w) + b), (0, 1, 2))(
        f64(3), W, b.detach()
    )
    same((x.grad, w.grad, b.grad), expected)


def test_double_backward() -> None:
    x = f64(3).requires_grad_()
    wg.sum(wg.checkpoint(lambda x: wg.sin(x) ** 2)(x)).backward(create_graph=True)
    slope, x.grad = x.grad, None
    wg.sum(slope**2).backward()
    same(
        x.grad, wg.grad(lambda x: wg.sum(wg.grad(lambda x: wg.sum(wg.sin(x) ** 2))(x) ** 2))(f64(3))
    )


def test_trees_aux_outputs_and_constants() -> None:
    def f(p: dict, scale: float, *, name: str) -> dict:
        return {"y": wg.sin(p["a"]) * scale, "same": p["a"], "n": wg.argmax(p["a"]), "name": name}

    p = {"a": f64(3)}
    run = lambda g: lambda p: wg.sum(g(p, 2.0, name="x")["y"]) + wg.sum(g(p, 2.0, name="x")["same"])
    same(wg.grad(run(wg.checkpoint(f)))(p), wg.grad(run(f))(p))
    assert wg.checkpoint(f)(p, 2.0, name="x")["name"] == "x"


def test_nothing_between_is_kept() -> None:
    made = []

    def f(x: wg.Tensor) -> wg.Tensor:
        y = wg.exp(x)
        made.append(weakref.ref(y.node))
        return wg.exp(y) * 0.1

    x = f64(3).requires_grad_()
    loss = wg.sum(wg.checkpoint(f)(x))
    assert made[0]() is None  # the record of the first run is gone
    loss.backward()
    assert made[1]() is None
    assert len(made) == 2
    assert loss.node.parents[0].parents[0].params == {}  # nor is the function kept, once walked
    same(x.grad, wg.grad(lambda x: wg.sum(wg.exp(wg.exp(x)) * 0.1))(f64(3)))


def test_backward_twice() -> None:
    x = f64(3).requires_grad_()
    loss = wg.sum(wg.checkpoint(wg.sin)(x))
    loss.backward(retain_graph=True)
    loss.backward()
    same(x.grad, 2 * wg.cos(f64(3)))
    with pytest.raises(GradientError, match="already walked"):
        loss.backward()


def test_random_numbers_are_drawn_again_and_the_stream_goes_on() -> None:
    f = lambda x: wg.sum(wg.random.normal(shape=(4,), dtype=wg.float64) * x**2)
    x, found = f64(4), {}
    for name, g in {"plain": f, "checkpoint": wg.checkpoint(f)}.items():
        wg.random.seed(7)
        slopes = wg.grad(lambda x, g=g: g(x) + g(x))(x)
        tangent = wg.jvp(g, (x,), (x,))[1]
        curve = wg.hvp(g, (x,), (x,))
        found[name] = (slopes, tangent, curve, wg.random.uniform())
    same(found["checkpoint"], found["plain"])


def test_random_numbers_under_vmap() -> None:
    f = lambda x: x**2 * wg.random.uniform(dtype=wg.float64)
    found = []
    for g in (f, wg.checkpoint(f)):
        for policy in ("same", "different"):
            wg.random.seed(7)
            found.append(wg.vmap(wg.grad(g), randomness=policy)(f64(4)))
    same(found[:2], found[2:])


def test_random_numbers_of_unmapped_values_inside_vmap() -> None:
    w = f64(3)
    f = lambda w: wg.sum(w**2 * wg.random.uniform(dtype=wg.float64))
    found = []
    for g in (f, wg.checkpoint(f)):
        wg.random.seed(7)
        mapped = wg.vmap(lambda x, g=g: x * wg.grad(g)(w), randomness="same")
        found.append((mapped(f64(2)), wg.random.uniform()))
    same(found[0], found[1])


def test_what_the_second_run_writes_is_undone() -> None:
    count = wg.Variable(wg.asarray(0.0))

    def f(x: wg.Tensor) -> wg.Tensor:
        count.assign(count + 1.0)
        return wg.sum(x**2) * count

    x = f64(3)
    same(wg.grad(wg.checkpoint(f))(x), 2 * x)
    assert float(count) == 1.0
    same(wg.grad(wg.checkpoint(f))(x), 4 * x)
    assert float(count) == 2.0


def test_arguments_rebound_later_do_not_matter() -> None:
    x = f64(3).requires_grad_()
    y = x * 1.0
    loss = wg.sum(wg.checkpoint(lambda y: wg.sin(y))(y))
    y *= 3.0
    loss.backward()
    same(x.grad, wg.cos(f64(3)))


def test_values_that_change_between_the_runs_are_an_error() -> None:
    w = wg.Parameter(f64(3))
    loss = wg.sum(wg.checkpoint(lambda x: wg.sin(x * w))(f64(3)))
    w.assign(w * 2.0)
    with pytest.raises(
        GradientError, match=r"second run.*did not repeat the first.*before the optimizer"
    ):
        loss.backward()
    y = wg.Parameter(f64(3)) * 1.0
    loss = wg.sum(wg.checkpoint(lambda x: wg.sin(x * y))(f64(3)))
    y *= 2.0
    with pytest.raises(GradientError, match="did not repeat"):
        loss.backward()
    runs = []
    unstable = wg.checkpoint(
        lambda x: runs.append(1) or (x * x if len(runs) > 1 else wg.stop_gradient(x) + w)
    )
    loss = wg.sum(unstable(f64(3)))
    with pytest.raises(GradientError, match="did not repeat"):
        loss.backward()


def test_without_recording_it_is_the_function() -> None:
    with wg.no_grad():
        assert not wg.checkpoint(wg.sin)(f64(3).requires_grad_()).requires_grad
    assert wg.checkpoint(wg.sin)(f64(3)).node is None


def test_a_chain_of_checkpoints() -> None:
    f = lambda x: wg.sin(x) * 1.1
    g = wg.checkpoint(f)

    def chain(step: Callable, x: wg.Tensor) -> wg.Tensor:
        for _ in range(30):
            x = step(x)
        return wg.sum(x)

    same(wg.grad(lambda x: chain(g, x))(f64(3)), wg.grad(lambda x: chain(f, x))(f64(3)))


def test_sites_of_the_second_run_are_the_users_own() -> None:
    seen = []

    def f(x: wg.Tensor) -> wg.Tensor:
        y = wg.sin(x)  # this line
        seen.append(y.site.text)
        return y

    wg.grad(wg.checkpoint(f))(f64())
    assert seen == ["y = wg.sin(x)  # this line"] * 2
