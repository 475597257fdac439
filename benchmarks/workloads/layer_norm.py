"""Layer norm of 4096 rows of 768, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import pulled
from benchmarks.workload import BOTH, Arrays, Case, Setting, Workload

ROWS, WIDTH = 4096, 768


def inputs() -> Arrays:
    """Rows, weights, and the cotangent of the result."""
    rng = np.random.default_rng(0)
    shapes = {"x": (ROWS, WIDTH), "weight": (WIDTH,), "bias": (WIDTH,), "dy": (ROWS, WIDTH)}
    return {k: rng.standard_normal(s, dtype=np.float32) for k, s in shapes.items()}


def operands(inputs: Arrays) -> Arrays:
    """What is differentiated."""
    return {name: inputs[name] for name in ("x", "weight", "bias")}


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    def f(x: Any, weight: Any, bias: Any) -> Any:
        return wg.nn.functional.layer_norm(x, (WIDTH,), weight, bias)

    return pulled.wengert_case(f, operands(inputs), inputs["dy"])


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    def f(x: Any, weight: Any, bias: Any) -> Any:
        return torch.nn.functional.layer_norm(x, (WIDTH,), weight, bias)

    return pulled.torch_case(f, operands(inputs), inputs["dy"], setting)


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    def f(x: Any, weight: Any, bias: Any) -> Any:
        mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * weight + bias

    return pulled.jax_case(f, operands(inputs), inputs["dy"])


WORKLOADS = (
    Workload(
        "layernorm",
        f"layer norm {ROWS}×{WIDTH}, forward and backward",
        inputs,
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        1.5,
        allocators=BOTH,
    ),
)
