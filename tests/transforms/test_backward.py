"""loss.backward(): gradients at leaves, accumulation, hooks, freeing, rebinding, errors."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same
from wengert.errors import ArgumentError, DtypeError, GradientError, ShapeError, TraceError


def leaf(*shape: int, seed: int = 0) -> wg.Tensor:
    return f64(*shape, seed=seed).requires_grad_()


def test_gradients_arrive_and_add_up() -> None:
    x = leaf(3)
    assert x.grad is None
    wg.sum(x * x).backward()
    same(x.grad, 2 * x.detach())
    assert not x.grad.requires_grad
    wg.sum(x).backward()
    same(x.grad, 2 * x.detach() + 1)
    x.grad = None
    wg.sum(x).backward()
    same(x.grad, np.ones(3))


def test_a_leaf_used_several_times_and_a_diamond() -> None:
    x = leaf(3)
    y = wg.sin(x)
    wg.sum(y * y + y * x).backward()
    d = x.detach()
    same(x.grad, 2 * wg.sin(d) * wg.cos(d) + wg.cos(d) * d + wg.sin(d))


def test_broadcast_and_converted_leaves() -> None:
    row, column = leaf(1, 3), leaf(4, 1, seed=1)
    half = wg.asarray(np.ones(3, np.float16)).requires_grad_()
    wg.sum(row * column * half).backward()
    r, c = row.detach(), column.detach()
    same(row.grad, wg.sum(c) * np.ones((1, 3)))
    same(column.grad, wg.sum(r) * np.ones((4, 1)))
    assert half.grad.dtype == wg.float16
    assert half.grad.shape == (3,)


def test_starting_gradient() -> None:
    x = leaf(3)
    (x * x).backward(gradient=wg.asarray([1.0, 0.0, 2.0]))
    same(x.grad, 2 * x.detach() * np.array([1.0, 0.0, 2.0]))


def test_a_leaf_that_no_gradient_reaches_gets_zeros() -> None:
    x = leaf(3)
    (wg.sum(wg.floor(x)) * 1.0 + wg.sum(x) * 0.0).backward()
    same(x.grad, np.zeros(3))


def test_backward_twice_is_an_error_unless_retained() -> None:
    for f in (lambda x: wg.sum(x * x), lambda x: wg.sum(x) + 1.0):
        x = leaf(3)
        loss = f(x)
        loss.backward()
        with pytest.raises(GradientError, match=r"already walked.*retain_graph=True"):
            loss.backward()
        x.grad = None
        loss = f(x)
        loss.backward(retain_graph=True)
        first = x.grad
        loss.backward()
        same(x.grad, 2 * first)


def test_a_shared_part_cannot_be_walked_twice() -> None:
    x = leaf(3)
    shared = wg.exp(x)
    a, b = wg.sum(shared), wg.sum(shared * shared)
    a.backward()
    with pytest.raises(GradientError, match=r"two losses that share a part.*add the losses up"):
        b.backward()


def test_create_graph_allows_double_backward() -> None:
    x = leaf(3)
    wg.sum(x**3).backward(create_graph=True)
    slope = x.grad
    assert slope.requires_grad
    x.grad = None
    wg.sum(slope**2).backward()  # Σ 9x⁴ → 36x³
    same(x.grad, 36 * x.detach() ** 3)


def test_only_leaves_get_a_gradient_unless_asked() -> None:
    x = leaf(3)
    y = x * 2.0
    z = y * y
    z.retain_grad()
    wg.sum(z).backward()
    assert y.grad is None
    same(z.grad, np.ones(3))
    same(x.grad, 8 * x.detach())


def test_retain_grad_on_a_leaf_does_not_count_twice() -> None:
    x = leaf(3)
    x.retain_grad()
    wg.sum(x).backward()
    same(x.grad, np.ones(3))


def test_hooks_see_the_whole_gradient_and_may_replace_it() -> None:
    x = leaf(3)
    y = x * 2.0
    seen = []
    y.register_hook(seen.append)
    y.register_hook(lambda g: g * 10.0)
    y.register_hook(lambda g: seen.append(g))
    wg.sum(y + y).backward()
    same(seen, [2 * np.ones(3), 20 * np.ones(3)])
    same(x.grad, 40 * np.ones(3))


def test_hook_on_a_leaf() -> None:
    x = leaf(3)
    x.register_hook(lambda g: wg.clip(g, -0.5, 0.5))
    wg.sum(x).backward()
    same(x.grad, 0.5 * np.ones(3))


def test_a_hook_must_keep_the_shape() -> None:
    x = leaf(3)
    y = x * 1.0
    y.register_hook(lambda g: wg.sum(g))
    with pytest.raises(ShapeError, match=r"\[register_hook\].*gradient's shape"):
        wg.sum(y).backward()


def test_detach_and_no_grad_cut() -> None:
    x = leaf(3)
    wg.sum(x * x.detach()).backward()
    same(x.grad, x.detach())
    with wg.no_grad():
        y = x * 2.0
    assert not y.requires_grad
    assert (x * 2.0).requires_grad
    assert not wg.stop_gradient(x * 2.0).requires_grad


# -- rebinding -----------------------------------------------------------------------------------


def test_augmented_assignment_is_differentiable_and_aliases_nothing() -> None:
    x = leaf(3)
    y = x * 1.0
    before, view = y, y[:2]
    old = y + 0.0
    y *= x  # rebinds the handle, which `before` also names
    y += 1.0
    assert before is y
    same(view, x.detach()[:2])
    same(old, x.detach())
    wg.sum(y).backward()
    same(x.grad, 2 * x.detach())


def test_item_assignment_is_differentiable() -> None:
    x, v = leaf(4), leaf(2, seed=1)
    y = x * 2.0
    y[1:3] = v * 3.0
    y[0] = 5.0
    wg.sum(y * y).backward()
    expected = np.zeros(4)
    expected[3] = 8 * float(x[3])
    same(x.grad, expected)
    same(v.grad, 18 * v.detach())


def test_a_tracked_leaf_cannot_be_rebound() -> None:
    x = leaf(3)
    with pytest.raises(GradientError, match="leaf"):
        x += 1.0
    with pytest.raises(GradientError, match="leaf"):
        x[0] = 1.0
    y = f64(3)
    y += 1.0  # an untracked one can
    same(y, f64(3) + 1)


# -- errors --------------------------------------------------------------------------------------


def test_errors() -> None:
    with pytest.raises(GradientError, match=r"nothing is tracked.*requires_grad_"):
        wg.sum(f64(3)).backward()
    with pytest.raises(GradientError, match=r"only a floating scalar.*not reduced"):
        (leaf(3) * 2).backward()
    with pytest.raises(ShapeError, match=r"starting gradient must have the tensor's shape"):
        (leaf(3) * 2).backward(gradient=wg.ones(2))
    with pytest.raises(DtypeError, match="only floating tensors have gradients"):
        wg.asarray([1, 2]).requires_grad_()
    with pytest.raises(ArgumentError, match="must have the tensor's shape"):
        leaf(3).grad = wg.ones(2)
    with pytest.raises(GradientError, match="only a leaf can stop being tracked"):
        (leaf(3) * 2).requires_grad_(False)
    with pytest.raises(GradientError, match="not tracked, so it will have no gradient"):
        f64(3).register_hook(print)


def test_backward_inside_vmap_is_an_error_and_leaves_nothing_behind() -> None:
    w = wg.Parameter(f64(3))

    def row(x: wg.Tensor) -> wg.Tensor:
        loss = wg.sum(w * x)
        loss.backward()
        return loss

    with pytest.raises(TraceError, match=r"backward\(\) inside a mapped function.*use wg.grad"):
        wg.vmap(row)(f64(2, 3))
    assert w.grad is None


def test_a_trace_undoes_gradients() -> None:
    w = wg.Parameter(f64(3))
    w.grad = wg.ones(3)

    def step(x: wg.Tensor) -> wg.Tensor:
        w.grad = None
        loss = wg.sum(w * x)
        loss.backward()
        return w.grad

    graph = wg.trace(step, f64(3, seed=1))
    assert graph.outputs[0].is_symbolic
    same(w.grad, np.ones(3, np.float32))


# -- memory --------------------------------------------------------------------------------------


class Kept(np.ndarray):
    """An array that can be referred to weakly."""


def test_kept_values_are_freed_by_backward() -> None:
    x = leaf(1000)
    y = wg.exp(x)  # keeps its result for the rule
    kept = weakref.ref(y.node)
    data = y.node.out
    loss = wg.sum(y)
    del y
    assert kept().out is data
    loss.backward(retain_graph=True)
    assert kept().out is data
    loss.backward()
    assert kept().out is None
    assert kept().saved is None
    del loss
    assert kept() is None


def test_values_are_freed_while_the_walk_goes_on() -> None:
    x = leaf(10)
    alive = []
    ys = [x]
    for _ in range(5):
        ys.append(wg.exp(ys[-1] * 0.1))
    nodes = [y.node for y in ys[1:]]
    ys[1].register_hook(lambda g: alive.append(sum(n.saved is not None for n in nodes)))
    wg.sum(ys[-1]).backward()
    assert alive == [1]


def test_training_leaves_no_reference_cycles() -> None:
    w = wg.Parameter(f64(4, 4))

    def step() -> None:
        loss = wg.sum(wg.tanh(wg.matmul(f64(2, 4), w)) ** 2)
        loss.backward()
        w.grad = None
        wg.value_and_grad(lambda v: wg.sum(wg.exp(v)))(f64(4))
        wg.jvp(wg.sin, (f64(4),), (f64(4),))
        wg.vmap(wg.grad(lambda v: wg.sum(wg.sin(v))))(f64(3, 4))
        wg.grad(wg.checkpoint(lambda v: wg.sum(wg.exp(wg.exp(v)))))(f64(4))
        wg.hessian(lambda v: wg.sum(v**3))(f64(3))

    step()
    gc.collect()
    gc.disable()
    try:
        step()
        found = gc.collect()
    finally:
        gc.enable()
    assert found == 0
