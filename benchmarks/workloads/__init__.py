"""The workloads, one file a part: the versions of wengert, PyTorch and JAX side by side.

Each file is written as a user of the library would write it, and as well as we know how: every
peer has the variants that are its best on some machine, and the best of them counts.
"""

from __future__ import annotations

import importlib

from benchmarks.workload import Workload

# Part → module, in the order of the table.
PARTS: dict[str, str] = {
    "tiny": "tiny_mlp",
    "mlp": "mlp",
    "resnet": "resnet",
    "gpt": "gpt",
    "unet": "unet",
    "recommender": "recommender",
    "pinn": "pinn",
    "hessian": "hessian",
    "softmax": "softmax_ce",
    "layernorm": "layer_norm",
    "gelu": "gelu",
    "adam": "adam",
    "gemm": "gemm",
    "conv": "conv",
}
UNTIMED = {"unrolled": "unrolled"}  # of which other things than the time of a step are measured


def workloads(part: str) -> tuple[Workload, ...]:
    """The rows of a part."""
    module = importlib.import_module(f"benchmarks.workloads.{(PARTS | UNTIMED)[part]}")
    return tuple(module.WORKLOADS)


def find(part: str, name: str) -> Workload:
    """One row."""
    return next(w for w in workloads(part) if w.name == name)
