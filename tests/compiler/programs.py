"""Whole programs that the compiler is tested with, traced from the public interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import wengert as wg
import wengert.nn.functional as F
from wengert import nn
from wengert.compiler.capture import program_of
from wengert.compiler.ir import Program

Traced = tuple[Program, list[np.ndarray[Any, Any]]]


def traced(f: Callable[..., Any], *args: Any) -> Traced:
    """The program of `f`, and the arrays of its arguments."""
    graph = wg.trace(f, *args)
    inputs = [wg.Tensor(wg.Spec(n.shape, n.dtype), n) for n in graph.inputs]
    arrays = [np.asarray(a) for a in wg.tree.tree_leaves(args)]
    return program_of(inputs, graph.outputs), arrays


def _draw(seed: int) -> Callable[..., np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return lambda *shape: (0.3 * rng.standard_normal(shape)).astype(np.float32)


def mlp() -> Traced:
    """A step of Adam on an MLP with cross-entropy."""
    draw = _draw(0)
    params = [(draw(20, 32), draw(32)), (draw(32, 32), draw(32)), (draw(32, 10), draw(10))]
    labels = np.arange(16) % 10

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = wg.tanh(x @ w + b)
        w, b = params[-1]
        return F.cross_entropy(x @ w + b, y)

    opt = wg.optim.functional(wg.optim.Adam, lr=1e-2)

    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        value, grads = wg.value_and_grad(loss)(params, x, y)
        return value, opt.update(grads, state, params)

    return traced(step, params, opt.init(params), draw(16, 20), labels)


def cnn() -> Traced:
    """The gradient of a convolutional network with batch norm and pooling."""
    wg.random.seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )

    def loss(model: Any, x: Any, y: Any) -> Any:
        return F.cross_entropy(model(x), y)

    return traced(wg.value_and_grad(loss), model, _draw(1)(4, 3, 16, 16), np.arange(4))


def attention() -> Traced:
    """The gradient of a block of causal attention with layer norm and GELU."""
    draw, width, heads = _draw(2), 32, 4
    params = [draw(width, 3 * width), draw(width, width), draw(width), draw(width)]

    def split(t: Any) -> Any:
        b, n, _ = t.shape
        return wg.permute_dims(wg.reshape(t, (b, n, heads, width // heads)), (0, 2, 1, 3))

    def loss(params: Any, x: Any) -> Any:
        h = F.layer_norm(x, (width,), params[2] + 1.0, params[3])
        q, k, v = (split(t) for t in wg.split(h @ params[0], 3, axis=-1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = wg.reshape(wg.permute_dims(y, (0, 2, 1, 3)), x.shape) @ params[1]
        return wg.mean(F.gelu(x + y) ** 2)

    return traced(wg.value_and_grad(loss), params, draw(2, 16, width))


def pinn() -> Traced:
    """The gradient of a loss of second derivatives, over a batch of points."""
    draw = _draw(3)
    params = [(draw(2, 16), draw(16)), (draw(16, 16), draw(16)), (draw(16, 1), draw(1))]

    def net(params: Any, x: Any) -> Any:
        for w, b in params[:-1]:
            x = wg.tanh(x @ w + b)
        w, b = params[-1]
        return wg.sum(x @ w + b)

    def residual(params: Any, x: Any) -> Any:
        h = wg.hessian(net, argnums=1)(params, x)
        return h[0, 0] + h[1, 1] - wg.sin(x[0])

    def loss(params: Any, points: Any) -> Any:
        return wg.mean(wg.vmap(lambda x: residual(params, x))(points) ** 2)

    return traced(wg.value_and_grad(loss), params, draw(64, 2))


def linear_algebra() -> Traced:
    """The gradient of a function of factorisations: library calls among loop nests."""
    x = _draw(4)(5, 5)

    def loss(x: Any) -> Any:
        spd = x @ wg.matrix_transpose(x) + 3.0 * wg.eye(5)
        return wg.sum(wg.linalg.cholesky(spd)) + wg.linalg.det(spd) * 1e-3 + wg.sum(wg.sort(x))

    return traced(wg.value_and_grad(loss), x)


ALL: dict[str, Callable[[], Traced]] = {
    f.__name__: f for f in (mlp, cnn, attention, pinn, linear_algebra)
}
