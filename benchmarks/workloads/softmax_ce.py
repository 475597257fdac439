"""Softmax and cross-entropy with its gradient, in one call."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Case, Setting, Workload

SHAPES = ((128, 1000), (4096, 1000))


def inputs(rows: int, classes: int) -> Arrays:
    """Logits and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, classes), dtype=np.float32)
    return {"x": x, "y": rng.integers(0, classes, rows)}


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])
    call = partial(wg.jit(wg.value_and_grad(wg.nn.functional.cross_entropy)), x, y)
    return Case(call, lambda: dict(zip(("loss", "gradient"), call(), strict=True)))


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    x, y = torch.from_numpy(inputs["x"]).requires_grad_(), torch.from_numpy(inputs["y"])
    objective = torch.nn.functional.cross_entropy
    if setting.has("compile"):
        objective = torch.compile(objective)

    def step() -> Any:
        x.grad = None
        loss = objective(x, y)
        loss.backward()
        return loss.detach()

    return Case(step, lambda: {"loss": step(), "gradient": x.grad})


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    def objective(x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1))

    x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])
    call = partial(jax.jit(jax.value_and_grad(objective)), x, y)
    step = lambda: jax.block_until_ready(call())
    return Case(step, lambda: dict(zip(("loss", "gradient"), call(), strict=True)))


WORKLOADS = tuple(
    Workload(
        f"softmax-{rows}",
        f"softmax cross-entropy {rows}×{classes}, with gradient",
        partial(inputs, rows, classes),
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        3.0,
    )
    for rows, classes in SHAPES
)
