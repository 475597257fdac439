"""Second derivatives of a network of 200 parameters: a Hessian-vector product, and the Hessian."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Case, Setting, Workload

SIZES, BATCH = (4, 12, 8, 4), 64


def inputs() -> Arrays:
    """A flat vector of parameters, a direction, and data."""
    rng = np.random.default_rng(0)
    count = sum((a + 1) * b for a, b in pairwise(SIZES))
    assert count == 200
    return {
        "w": 0.4 * rng.standard_normal(count, dtype=np.float32),
        "v": rng.standard_normal(count, dtype=np.float32),
        "x": rng.standard_normal((BATCH, SIZES[0]), dtype=np.float32),
        "y": rng.standard_normal((BATCH, SIZES[-1]), dtype=np.float32),
    }


def objective(tanh: Any, w: Any, x: Any, y: Any) -> Any:
    """The mean square error of the network; the same expression in all three libraries."""
    at = 0
    for layer, (a, b) in enumerate(pairwise(SIZES)):
        weight, bias = w[at : at + a * b].reshape((a, b)), w[at + a * b : at + (a + 1) * b]
        x = (tanh(x) if layer else x) @ weight + bias
        at += (a + 1) * b
    return ((x - y) ** 2).mean()


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    w, v, x, y = (wg.asarray(inputs[name]) for name in ("w", "v", "x", "y"))
    f = partial(objective, wg.tanh)
    if "hessian" in inputs:
        call = partial(wg.jit(wg.hessian(f)), w, x, y)
    else:
        product = wg.jit(lambda w, v, x, y: wg.hvp(lambda w: f(w, x, y), (w,), (v,)))
        call = partial(product, w, v, x, y)
    return Case(call, lambda: {"result": call().numpy()})


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    w, v, x, y = (torch.from_numpy(inputs[name]) for name in ("w", "v", "x", "y"))
    f = partial(objective, torch.tanh)

    def reverse_product(w: Any, v: Any, x: Any, y: Any) -> Any:
        w = w.detach().requires_grad_()
        (g,) = torch.autograd.grad(f(w, x, y), w, create_graph=True)
        return torch.autograd.grad(g, w, v)[0]

    def product(w: Any, v: Any, x: Any, y: Any) -> Any:
        return torch.func.jvp(lambda w: torch.func.grad(f)(w, x, y), (w,), (v,))[1]

    if "hessian" in inputs:
        made, args = torch.func.hessian(f), (w, x, y)
    else:
        made, args = (reverse_product if setting.has("reverse") else product), (w, v, x, y)
    if setting.has("compile"):
        made = torch.compile(made)
    return Case(partial(made, *args), lambda: {"result": made(*args).detach().numpy()})


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    w, v, x, y = (jax.numpy.asarray(inputs[name]) for name in ("w", "v", "x", "y"))
    f = partial(objective, jax.numpy.tanh)
    if "hessian" in inputs:
        call = partial(jax.jit(jax.hessian(f)), w, x, y)
    else:
        product = jax.jit(lambda w, v, x, y: jax.jvp(lambda w: jax.grad(f)(w, x, y), (w,), (v,))[1])
        call = partial(product, w, v, x, y)
    last = None

    def step() -> Any:
        nonlocal last
        last = call()
        return last

    return Case(step, lambda: {"result": call()}, lambda: jax.block_until_ready(last))


WORKLOADS = (
    Workload(
        "hvp",
        "Hessian-vector product, network of 200 parameters",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch reverse": torch,
            "torch compile": torch,
            "jax": jax,
        },
        2.0,
        5.0,
    ),
    Workload(
        "hessian",
        "full Hessian, network of 200 parameters",
        lambda: {**inputs(), "hessian": np.array(1)},
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        2.0,
        5.0,
    ),
)
