"""Products of square matrices in float32, plain and with one factor transposed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import peak as multiply_add
from benchmarks.workload import Arrays, Case, Setting, Workload

PLAIN, LEFT, RIGHT = "A·B", "Aᵀ·B", "A·Bᵀ"
ROWS = ((512, PLAIN), (1024, PLAIN), (2048, PLAIN), (1024, LEFT), (1024, RIGHT))


def inputs(size: int, kind: str) -> Arrays:
    """Two matrices, and which of them is to be transposed."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, size, size), dtype=np.float32)
    return {"a": a, "b": b, "transposed": np.array([kind == LEFT, kind == RIGHT])}


def product(a: Any, b: Any, transposed: Any) -> Any:
    """The product, as all four libraries write it."""
    return (a.T if transposed[0] else a) @ (b.T if transposed[1] else b)


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    f = wg.jit(lambda a, b: product(a, b, inputs["transposed"]))
    call = partial(f, wg.asarray(inputs["a"]), wg.asarray(inputs["b"]))
    return Case(call, lambda: {"c": call()})


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    a, b = torch.from_numpy(inputs["a"]), torch.from_numpy(inputs["b"])
    left, right = inputs["transposed"]
    a, b, out = a.T if left else a, b.T if right else b, torch.empty_like(a)
    step = lambda: torch.mm(a, b, out=out)
    return Case(step, lambda: {"c": step()})


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    f = jax.jit(lambda a, b: product(a, b, inputs["transposed"]))
    a, b = jax.numpy.asarray(inputs["a"]), jax.numpy.asarray(inputs["b"])
    step = lambda: f(a, b).block_until_ready()
    return Case(step, lambda: {"c": step()})


def numpy(inputs: Arrays, setting: Setting) -> Case:
    a, b, (left, right) = inputs["a"], inputs["b"], inputs["transposed"]
    a, b, out = a.T if left else a, b.T if right else b, np.empty_like(a)
    step = lambda: np.matmul(a, b, out=out)
    return Case(step, lambda: {"c": step()})


def peak(inputs: Arrays, setting: Setting) -> Case:
    return multiply_add.case(2.0 * inputs["a"].shape[0] ** 3, setting.threads)


WORKLOADS = tuple(
    Workload(
        f"gemm-{size}-{kind}",
        f"GEMM {size}, {kind}",
        partial(inputs, size, kind),
        {"wengert": wengert, "torch": torch, "jax": jax, "numpy": numpy, "peak": peak},
        0.98,
    )
    for size, kind in ROWS
)
