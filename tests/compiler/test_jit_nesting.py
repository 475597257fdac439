"""A compiled function inside every transform, and every transform inside a compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, assert_close

pytestmark = pytest.mark.usefixtures("interpreted")

RNG = np.random.default_rng(3)
A, B = (wg.asarray(RNG.normal(size=(3,))) for _ in range(2))
ROWS = wg.asarray(RNG.normal(size=(5, 3)))


def scalar(x: Any, y: Any) -> Any:
    return (wg.sin(x) * y * x).sum()


def vector(x: Any, y: Any) -> Any:
    return wg.sin(x) * y * x


def looped(x: Any, y: Any) -> Any:
    step = lambda c, t: (wg.sin(c) * y + t, c * t)
    last, found = wg.scan(step, x, wg.stack([x, y, x * y]))
    return last.sum() + (found**2).sum()


def twice(f: Any) -> Any:
    return wg.grad(lambda x, y: (wg.grad(f)(x, y) ** 2).sum())


FUNCTIONS = {"scalar": scalar, "looped": looped}
TRANSFORMS: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "value": lambda f: lambda: f(A, B),
    "grad": lambda f: lambda: wg.grad(f, (0, 1))(A, B),
    "grad of one": lambda f: lambda: wg.grad(f)(A, B),
    "second": lambda f: lambda: twice(f)(A, B),
    "third": lambda f: lambda: wg.grad(lambda x, y: twice(f)(x, y).sum())(A, B),
    "hessian": lambda f: lambda: wg.hessian(f)(A, B),
    "jvp": lambda f: lambda: wg.jvp(f, (A, B), (B, A)),
    "vjp": lambda f: lambda: wg.vjp(f, A, B)[1](wg.asarray(2.0, dtype="float64")),
    "jvp of grad": lambda f: lambda: wg.jvp(wg.grad(f), (A, B), (B, A)),
    "vmap": lambda f: lambda: wg.vmap(f, (0, None))(ROWS, B),
    "vmap of grad": lambda f: lambda: wg.vmap(wg.grad(f), (None, 0))(A, ROWS),
    "grad of vmap": lambda f: lambda: wg.grad(lambda r: wg.vmap(f, (0, None))(r, B).sum())(ROWS),
    "checkpoint": lambda f: lambda: wg.grad(wg.checkpoint(f))(A, B),
    "linearize": lambda f: lambda: wg.linearize(f, A, B)[1](B, A),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_products(transform: str, function: str) -> None:
    f, make = FUNCTIONS[function], TRANSFORMS[transform]
    expected = make(f)()
    assert_close(make(wg.jit(f))(), expected, 1e-10)
    assert_close(wg.jit(lambda: make(f)())(), expected, 1e-10)
    assert_close(wg.jit(lambda: make(wg.jit(f))())(), expected, 1e-10)


@pytest.mark.parametrize("jacobian", [wg.jacrev, wg.jacfwd])
def test_jacobians(jacobian: Any) -> None:
    expected = jacobian(vector)(A, B)
    assert_close(jacobian(wg.jit(vector))(A, B), expected, 1e-10)
    assert_close(wg.jit(jacobian(vector))(A, B), expected, 1e-10)


def test_a_cached_program_serves_every_call() -> None:
    f = wg.jit(scalar)
    slope = wg.grad(f)
    for _ in range(3):
        assert_close(slope(A, B), wg.grad(scalar)(A, B), 1e-10)
    assert len(f.history.events) == 1


def test_rules_of_one_s_own() -> None:
    @wg.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return (wg.sin(x) * y).sum()

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda kept, g: (g * 3.0 * kept[0], g * kept[1]))

    @wg.custom_jvp
    def h(x: Any) -> Any:
        return wg.sin(x)

    h.defjvp(lambda primals, tangents: (h(primals[0]), 5.0 * tangents[0]))
    total = lambda x: h(x).sum()
    for jitted in (wg.jit(wg.grad(f, (0, 1))), wg.grad(wg.jit(f), (0, 1))):
        assert_close(jitted(A, B), (3.0 * A, B), 1e-12)
    for jitted in (wg.jit(wg.grad(total)), wg.grad(wg.jit(total))):
        assert_close(jitted(A), 5.0 * wg.ones(3, dtype="float64"), 1e-12)
    assert_close(wg.jit(f)(A, B), f(A, B), 1e-12)


def test_values_closed_over_are_differentiated() -> None:
    outer = lambda w: wg.jit(lambda x: ((w * 2.0) * x).sum() * w[0])(A)
    plain = lambda w: ((w * 2.0) * A).sum() * w[0]
    assert_close(wg.grad(outer)(B), wg.grad(plain)(B), 1e-12)
    rows = lambda f: wg.vmap(lambda r: f(r))(ROWS)
    assert_close(rows(lambda r: wg.jit(lambda y: y * r)(B)), rows(lambda r: B * r), 1e-12)


def test_parameters_of_a_compiled_loss_get_gradients() -> None:
    nn = wg.nn
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    loss = lambda x: (net(x) ** 2).mean()
    start = net.state_dict()

    def train(f: Any) -> Any:
        net.load_state_dict(start)
        found = []
        for i in range(3):
            value = f(X[i])
            assert value.requires_grad
            (value * 2.0).backward()
            found += [value.detach(), *[p.grad for p in net.parameters()]]
            found += [b.detach() for b in net.buffers()]
            if i:
                net.zero_grad()
        return found

    assert_close(train(wg.jit(loss)), train(loss))
    with wg.no_grad():
        assert not wg.jit(loss)(X[0]).requires_grad


def test_higher_derivatives_of_a_compiled_loss_by_backward() -> None:
    w = wg.Parameter(wg.asarray([1.0, 2.0]))
    f = wg.jit(lambda x: (w**3 * x).sum())
    f(wg.ones(2)).backward(create_graph=True)
    grad = w.grad
    w.grad = None
    (grad**2).sum().backward()
    assert_close(w.grad, 36.0 * wg.asarray([1.0, 2.0]) ** 3)


def test_randomness_under_vmap() -> None:
    f = wg.jit(lambda x: x + wg.random.normal(shape=()))
    with pytest.raises(wg.errors.TraceError, match="a random draw inside vmap is ambiguous"):
        wg.vmap(f)(wg.ones(4))
    found = wg.vmap(f, randomness="different")(wg.zeros(4))
    assert len(set(found.tolist())) == 4


def test_writes_under_vmap_are_refused_as_eagerly() -> None:
    box = wg.Variable(wg.asarray(0.0))

    def f(x: Any) -> Any:
        box.assign(x)
        return x

    with pytest.raises(wg.errors.TraceError, match="differs along the mapped axis"):
        wg.vmap(wg.jit(f))(wg.ones(4))


def test_a_module_is_compiled_as_it_is() -> None:
    net = wg.nn.Sequential(wg.nn.Linear(2, 3), wg.nn.Dropout(0.5))
    f = wg.jit(net)
    with wg.no_grad():
        net.eval()
        assert_close(f(X[0]), net(X[0]))
        net.train()
        assert (f(X[0]).numpy() == 0.0).any()
