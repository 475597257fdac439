"""`scan` and `fori_loop`: as Python loops, and as loops of a compiled program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, Y, assert_close, network
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, TraceError

pytestmark = pytest.mark.usefixtures("interpreted")

ONE = wg.asarray([1.0, 2.0])


def names(f: Any, *args: Any) -> list[str]:
    return [term.name for term in f.program(*args)]


def test_scan_over_trees_in_both_directions() -> None:
    def f(x: Any, reverse: bool) -> Any:
        body = lambda c, t: ({"a": c["a"] * t[0], "n": c["n"] + 1}, (c["a"], [c["n"]]))
        return wg.scan(body, {"a": x, "n": 0}, (wg.stack([x, x + 1.0]), wg.ones(2)), None, reverse)

    for reverse in (False, True):
        eager = f(ONE, reverse)
        compiled = wg.jit(f)
        assert_close(compiled(ONE, reverse), eager)
        assert names(compiled, ONE, reverse).count("scan") == 1
        assert int(eager[0]["n"]) == 2
        assert eager[1][1][0].tolist() == ([1, 0] if reverse else [0, 1])


def test_length_alone_and_no_steps() -> None:
    f = lambda x: wg.scan(lambda c, _: (c * 2.0, None), x, length=3)
    assert_close(wg.jit(f)(ONE), f(ONE))
    none = wg.jit(lambda x: wg.scan(lambda c, t: (c + t, c * t), x, wg.zeros((0, 2))))(ONE)
    assert none[0].tolist() == [1.0, 2.0]
    assert none[1].shape == (0, 2)


def test_fori_loop() -> None:
    f = lambda x: wg.fori_loop(1, 5, lambda i, v: v * 2.0 + i, x)
    assert_close(wg.jit(f)(ONE), f(ONE))
    assert f(ONE).tolist() == [42.0, 58.0]
    assert wg.jit(lambda x: wg.fori_loop(3, 1, lambda i, v: v * 2.0, x))(ONE).tolist() == [1, 2]
    counted = lambda x: wg.fori_loop(0, 4, lambda i, v: (v[0] + i, v[1] * x), (0, x))
    assert_close(wg.jit(counted)(ONE), counted(ONE))


def test_loops_in_loops() -> None:
    def f(x: Any) -> Any:
        inner = lambda i, v: wg.fori_loop(0, 2, lambda k, u: wg.sin(u) * x + k, v) + i
        return wg.fori_loop(0, 3, inner, x).sum()

    assert_close(wg.jit(wg.grad(f))(ONE), wg.grad(f)(ONE))


def test_what_the_body_closes_over() -> None:
    w = wg.Parameter(wg.asarray(3.0))
    f = lambda x: wg.scan(lambda c, t: (c * w + t * x[0], c), x[1], wg.stack([x[0], x[1]]))[0]

    def loss(x: Any) -> Any:
        f(x).backward()
        found, w.grad = w.grad, None
        return found

    assert_close(wg.jit(loss)(ONE), loss(ONE))
    assert_close(wg.jit(wg.grad(f))(ONE), wg.grad(f)(ONE))


def test_a_variable_written_in_the_body() -> None:
    box = wg.Variable(wg.asarray(1.0))

    @wg.jit
    def f(x: Any) -> Any:
        def body(c: Any, t: Any) -> Any:
            box.assign(box * 2.0)
            return c + box * t, box + 0.0

        return wg.scan(body, x, wg.ones(3))

    total, seen = f(wg.asarray(0.0))
    assert (float(total), seen.tolist(), float(box)) == (14.0, [2.0, 4.0, 8.0], 8.0)
    f(wg.asarray(0.0))
    assert float(box) == 64.0
    assert len(f.history.events) == 1


def test_training_steps_in_a_loop() -> None:
    def run(compiled: bool) -> Any:
        wg.manual_seed(0)
        net = network()
        opt = wg.optim.Adam(net.parameters(), lr=0.01)
        plan = wg.optim.StepLR(opt, 4, 0.5)

        def epoch(xs: Any, ys: Any) -> Any:
            def body(count: Any, batch: Any) -> Any:
                loss = ((net(batch[0]) - batch[1]) ** 2).mean()
                loss.backward()
                wg.optim.clip_grad_norm_(net.parameters(), 1.0)
                opt.step()
                plan.step()
                opt.zero_grad()
                return count + 1, loss

            return wg.scan(body, 0, (xs, ys))

        f = wg.jit(epoch) if compiled else epoch
        found = [f(wg.asarray(X), wg.asarray(Y)) for _ in range(2)]
        slots = [box for boxes in opt.state.values() for box in boxes.values()]
        rates = [float(plan.last_epoch), opt.param_groups[0]["lr"]]
        counter = wg.random.default_generator.counter
        state = [*net.parameters(), *net.buffers(), *slots, counter, *rates]
        return [[c, losses.detach()] for c, losses in found], [np.asarray(s) for s in state]

    assert_close(run(True), run(False))


def test_randomness_in_the_body() -> None:
    f = lambda n: wg.scan(lambda c, _: (c, wg.random.normal((2,))), 0.0, length=n)[1]
    wg.manual_seed(3)
    expected = f(4), f(4)
    wg.manual_seed(3)
    compiled = wg.jit(f)
    assert_close((compiled(4), compiled(4)), expected)


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "dtype": (
        lambda x: wg.fori_loop(0, 2, lambda i, v: v * 1.5, 0),
        DtypeError,
        r"\[fori_loop\] carry must keep its .*float32\[\] returned for int64\[\].*0 for 0.0",
    ),
    "shape": (
        lambda x: wg.scan(lambda c, _: ({"a": c["a"] * x}, None), {"a": 0.0}, length=2),
        ShapeError,
        r"\[scan\] carry\['a'\] must keep its shape.*start with wg.zeros\(\(2,\)",
    ),
    "structure": (
        lambda x: wg.scan(lambda c, _: ((c, c), None), x, length=2),
        ArgumentError,
        r"\[scan\] the carry must keep its structure; got tuple\(\*, \*\) returned for \*",
    ),
    "no pair": (
        lambda x: wg.scan(lambda c, _: c, x, length=2),
        ArgumentError,
        r"\[scan\] the body must return a pair",
    ),
    "bound": (
        lambda x: wg.fori_loop(0, wg.astype(x.sum(), "int64"), lambda i, v: v, x),
        TraceError,
        r"\[fori_loop\] upper is a symbolic tensor.*fix: pass it as a static argument",
    ),
    "branch": (
        lambda x: wg.scan(lambda c, _: (c if c.sum() > 0 else -c, None), x, length=2),
        TraceError,
        r"\[bool\] this tensor is symbolic",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bodies_that_do_not_fit(name: str) -> None:
    f, error, message = BAD[name]
    with pytest.raises(error, match="(?s)" + message):
        wg.jit(f)(ONE)


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"xs and length must agree.*xs\[0\] of shape \(2,\)"):
        wg.scan(lambda c, t: (c, t), 0.0, (wg.ones(2), wg.ones(3)))
    with pytest.raises(ArgumentError, match="xs and length must agree"):
        wg.scan(lambda c, t: (c, t), 0.0)
    with pytest.raises(ArgumentError, match="the body must return a pair"):
        wg.scan(lambda c, t: c, 0.0, wg.ones(2))
    with pytest.raises(DtypeError, match=r"\[fori_loop\] upper must be an integer; got 1.5"):
        wg.fori_loop(0, 1.5, lambda i, v: v, 0.0)
    weight = wg.Parameter(wg.ones(2))

    def left(x: Any) -> Any:
        def body(c: Any, t: Any) -> Any:
            (weight * t).sum().backward()
            return c, None

        return wg.scan(body, x, wg.ones(2))

    with pytest.raises(TraceError, match="the body leaves a gradient where there was none"):
        wg.jit(left)(ONE)
    assert weight.grad is None


def test_a_loop_and_its_backward_pass_are_two_loops() -> None:
    f = lambda x: wg.scan(lambda c, t: (wg.sin(c) * t, c), x, wg.ones((3, 2)))[0].sum()
    step = wg.jit(wg.value_and_grad(f))
    assert names(step, ONE).count("scan") == 2  # forwards, which keeps the carries; and backwards
    value, slope = wg.value_and_grad(f)(ONE)
    assert_close(step(ONE), (value, slope))
