"""Bias and GELU (with the accurate erf) of 4096×3072, forward and backward.

The results have 50 MB each: more than malloc keeps by default, so that a library that allocates
them anew pays for fresh pages in each call. Hence two rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import pulled
from benchmarks.workload import BOTH, Arrays, Case, Setting, Workload

ROWS, WIDTH = 4096, 3072


def inputs() -> Arrays:
    """Rows, the bias, and the cotangent of the result."""
    rng = np.random.default_rng(0)
    shapes = {"x": (ROWS, WIDTH), "bias": (WIDTH,), "dy": (ROWS, WIDTH)}
    return {k: rng.standard_normal(s, dtype=np.float32) for k, s in shapes.items()}


def operands(inputs: Arrays) -> Arrays:
    """What is differentiated."""
    return {name: inputs[name] for name in ("x", "bias")}


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    return pulled.wengert_case(
        lambda x, bias: wg.nn.functional.gelu(x + bias), operands(inputs), inputs["dy"]
    )


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    def f(x: Any, bias: Any) -> Any:
        return torch.nn.functional.gelu(x + bias)

    return pulled.torch_case(f, operands(inputs), inputs["dy"], setting)


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    return pulled.jax_case(
        lambda x, bias: jax.nn.gelu(x + bias, approximate=False), operands(inputs), inputs["dy"]
    )


WORKLOADS = (
    Workload(
        "gelu",
        f"bias + GELU (erf) {ROWS}×{WIDTH}, forward and backward",
        inputs,
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        1.5,
        allocators=BOTH,
    ),
)
