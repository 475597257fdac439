"""Numbers of a loop's steps that are worked out before the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, Y, assert_close, network
from wengert.compiler.ir import Program, evaluate
from wengert.compiler.simplify import simplify
from wengert.compiler.simplify.beforehand import LONGEST

BETA, X0 = np.array(0.97), np.array([1.0, -2.0])


def bodies(program: Program) -> list[list[str]]:
    """The names of the ops in the loops of a program, simplified."""
    loops = [t.params["loop"] for t in simplify(program) if t.name == "scan"]
    return [[t.name for t in simplify(loop.body) if t.op is not None] for loop in loops]


def powers(carry: Any, x: Any, beta: Any) -> Any:
    """A step that multiplies by a power of its number."""
    (t, value), y = carry, x
    return (t + 1, value * beta ** (t + 1).astype("float64") + y), value


@pytest.mark.parametrize("reverse", [False, True])
def test_powers_of_a_counter_are_worked_out_for_all_steps(reverse: bool) -> None:
    rows = np.linspace(0.0, 1.0, 14).reshape(7, 2)

    def f(beta: Any, x: Any, rows: Any) -> Any:
        start = (wg.asarray(3), x)
        return wg.scan(lambda c, y: powers(c, y, beta), start, rows, reverse=reverse)

    arrays = [wg.asarray(a) for a in (BETA, X0, rows)]
    (body,) = bodies(wg.jit(f).program(*arrays))
    assert "pow" not in body
    (t, last), stacked = wg.jit(f)(*arrays)
    (t1, last1), stacked1 = f(*arrays)
    assert int(t) == int(t1) == 10
    assert_close(last, last1)
    assert_close(stacked, stacked1)


@pytest.mark.parametrize(("dtype", "stride"), [("int32", 3), ("int64", -2)])
def test_counters_of_any_stride(dtype: str, stride: int) -> None:
    def f(x: Any) -> Any:
        body = lambda c, _: ((stride + c[0], c[1] + wg.sin(c[0].astype("float64"))), None)
        return wg.scan(body, (wg.asarray(5, dtype=dtype), x), length=6)[0]

    (body,) = bodies(wg.jit(f).program(wg.asarray(X0)))
    assert "sin" not in body
    assert_close(wg.jit(f)(wg.asarray(X0)), f(wg.asarray(X0)))


def test_numbers_given_for_each_step_and_constants() -> None:
    def f(x: Any, rates: Any, a: Any) -> Any:
        body = lambda c, r: (c * wg.exp(r * a) + wg.cos(a), wg.exp(r * a))
        return wg.scan(body, x, rates)

    arrays = [wg.asarray(v) for v in (X0, np.linspace(-1.0, 1.0, 5), BETA)]
    (body,) = bodies(wg.jit(f).program(*arrays))
    assert not {"exp", "cos"} & set(body)
    assert_close(wg.jit(f)(*arrays), f(*arrays))


def test_what_depends_on_other_steps_stays() -> None:
    def f(x: Any) -> Any:
        body = lambda c, _: ((c[0] + 1.0, c[1] * wg.exp(c[0]), c[2] * 2), None)
        return wg.scan(body, (x[0], x, wg.asarray(1)), length=4)[0]

    (body,) = bodies(wg.jit(f).program(wg.asarray(X0)))
    assert "exp" in body
    assert_close(wg.jit(f)(wg.asarray(X0)), f(wg.asarray(X0)))


def test_long_loops_keep_no_numbers() -> None:
    def f(x: Any, n: int) -> Any:
        return wg.fori_loop(0, n, lambda i, v: v + wg.sin(i * 0.1), x)

    for n, inside in ((LONGEST, False), (LONGEST + 1, True)):
        (body,) = bodies(wg.jit(f, static_argnums=1).program(wg.asarray(X0), n))
        assert ("sin" in body) is inside


def test_loops_in_loops() -> None:
    def f(x: Any, a: Any) -> Any:
        inner = lambda i, v: wg.fori_loop(0, 3, lambda k, u: u * wg.exp(a * k + a * i), v)
        return wg.fori_loop(0, 4, inner, x)

    arrays = [wg.asarray(X0), wg.asarray(0.1, dtype="float64")]
    assert_close(wg.jit(f)(*arrays), f(*arrays))
    g = wg.grad(lambda x, a: f(x, a).sum(), argnums=(0, 1))
    assert_close(wg.jit(g)(*arrays), g(*arrays))


def test_values_are_those_of_the_references() -> None:
    def f(x: Any, a: Any) -> Any:
        body = lambda c, _: ((c[0] + 1, c[1] * a ** c[0].astype("float64")), None)
        return wg.scan(body, (wg.asarray(0), x), length=9)[0][1]

    program = wg.jit(f).program(wg.asarray(X0), wg.asarray(BETA))
    arrays = [X0, BETA]
    (before,), (after,) = evaluate(program, arrays), evaluate(simplify(program), arrays)
    assert np.array_equal(before, after)


def test_training_in_a_loop_rounds_as_single_steps() -> None:
    def trained(many: bool) -> list[Any]:
        wg.manual_seed(0)
        net = network()
        opt = wg.optim.Adam(net.parameters(), lr=0.05)

        def step(carry: Any, _: Any) -> Any:
            loss = ((net(X[0]) - Y[0]) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return carry, loss

        if many:
            wg.jit(lambda: wg.scan(step, None, length=20)[1])()
        else:
            once = wg.jit(lambda: step(None, None)[1])
            for _ in range(20):
                once()
        return [p.numpy().copy() for p in net.parameters()]

    for a, b in zip(trained(False), trained(True), strict=True):
        assert np.array_equal(a, b)
