"""no_grad, enable_grad, set_grad_enabled, stop_gradient: contexts, decorators, nesting, threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.core.state import state
from wengert.errors import ArgumentError


def tracks() -> bool:
    return (wg.ones(2).requires_grad_() * 2.0).requires_grad


def test_contexts_nest_and_are_put_back_after_errors() -> None:
    assert tracks()
    with wg.no_grad():
        assert not tracks()
        with wg.enable_grad():
            assert tracks()
        assert not tracks()
    with pytest.raises(RuntimeError), wg.no_grad():
        raise RuntimeError
    assert tracks()


def test_one_context_object_can_be_used_again_and_inside_itself() -> None:
    off = wg.no_grad()
    with off:
        with off:
            assert not tracks()
        assert not tracks()
    assert tracks()


def test_decorators_with_and_without_parentheses() -> None:
    for decorate in (wg.no_grad, wg.no_grad(), lambda f: wg.set_grad_enabled(False)(f)):

        @decorate
        def f(x: wg.Tensor, *, k: float) -> wg.Tensor:
            """Documented."""
            return x * k

        assert f.__doc__ == "Documented."
        assert not f(wg.ones(2).requires_grad_(), k=2.0).requires_grad
        assert tracks()
    with wg.no_grad():
        assert wg.enable_grad(tracks)()


def test_set_grad_enabled_acts_at_once() -> None:
    switch = wg.set_grad_enabled(False)
    assert not tracks()
    assert not wg.is_grad_enabled()
    wg.set_grad_enabled(True)
    assert tracks()
    with wg.set_grad_enabled(False):
        assert not tracks()
    assert tracks()
    assert switch.on is False


def test_generators_cannot_be_decorated() -> None:
    with pytest.raises(ArgumentError, match=r"generator or coroutine.*with wg.no_grad\(\)"):

        @wg.no_grad
        def rows() -> object:
            yield 1


def test_gradients_inside_no_grad_are_values() -> None:
    x = f64(3).requires_grad_()
    with wg.no_grad():
        slope = wg.grad(lambda x: wg.sum(x**2))(x)
    same(slope, 2 * f64(3))
    assert not slope.requires_grad


def test_stop_gradient_takes_trees() -> None:
    tree = {"a": f64(3).requires_grad_() * 1.0, "n": 3, "s": "text", "none": None}
    cut = wg.stop_gradient(tree)
    assert not cut["a"].requires_grad
    assert cut["n"] == 3
    assert cut["s"] == "text"
    assert cut["none"] is None


def test_stop_gradient_in_every_mode() -> None:
    x = f64(3)
    f = lambda x: wg.sum(wg.stop_gradient(x) * x)
    same(wg.grad(f)(x), x)
    same(wg.jvp(f, (x,), (wg.asarray(np.ones(3)),))[1], wg.sum(x))
    same(wg.hessian(f)(x), np.zeros((3, 3)))
    same(wg.grad(wg.checkpoint(f))(x), x)
    same(wg.vmap(wg.grad(f))(f64(2, 3)), f64(2, 3))


def test_state_belongs_to_its_thread() -> None:
    seen: dict[str, object] = {}
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with wg.no_grad():
            inside.set()
            leave.wait(10)
            seen["off"] = tracks()
        seen["on"] = tracks()

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert tracks()
    assert state.recording
    leave.set()
    thread.join()
    assert seen == {"off": False, "on": True}


def test_threads_differentiate_side_by_side() -> None:
    results: dict[int, float] = {}

    def work(k: int) -> None:
        for _ in range(50):
            f = lambda x: wg.sum(wg.vmap(lambda v: wg.sin(v) ** k)(x))
            results[k] = float(wg.sum(wg.grad(f)(f64(4))))

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    x = np.asarray(f64(4))
    for k, found in results.items():
        same(found, np.sum(k * np.sin(x) ** (k - 1) * np.cos(x)))
