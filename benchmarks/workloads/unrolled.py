"""The gradient of 5 to 60 layers of 32×32 that are written out one after another.

Source of long compilations in practice: unrolled recurrences, deep residual networks. `compile`
and `unrolled` time the first call; no row of the table times the later ones.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Case, Setting, Workload

WIDTH, DEPTHS = 32, (5, 20, 60)


def inputs(depth: int) -> Arrays:
    """One batch and a matrix for each layer."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((depth, WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5
    return {"x": rng.standard_normal((WIDTH, WIDTH), dtype=np.float32), "weights": weights}


def objective(tanh: Any, weights: list[Any], x: Any) -> Any:
    """The mean of the last layer; the same expression in all three libraries."""
    for w in weights:
        x = tanh(x @ w)
    return x.mean()


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    weights, x = [wg.asarray(w) for w in inputs["weights"]], wg.asarray(inputs["x"])
    call = partial(wg.jit(wg.grad(partial(objective, wg.tanh))), weights, x)
    return Case(call, lambda: {"gradient": np.stack([np.asarray(g) for g in call()])})


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    weights, x = [torch.from_numpy(w) for w in inputs["weights"]], torch.from_numpy(inputs["x"])
    f = torch.func.grad(partial(objective, torch.tanh))
    call = partial(torch.compile(f) if setting.has("compile") else f, weights, x)
    return Case(call, lambda: {"gradient": torch.stack(call())})


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    weights = [jax.numpy.asarray(w) for w in inputs["weights"]]
    x = jax.numpy.asarray(inputs["x"])
    f = jax.jit(jax.grad(partial(objective, jax.numpy.tanh)))
    call = lambda: jax.block_until_ready(f(weights, x))
    return Case(call, lambda: {"gradient": np.stack(call())})


WORKLOADS = tuple(
    Workload(
        f"unrolled-{depth}",
        f"{depth} unrolled layers of 32×32, gradient",
        partial(inputs, depth),
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
    )
    for depth in DEPTHS
)
