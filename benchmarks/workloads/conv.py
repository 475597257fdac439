"""Convolutions of 3×3 with stride 1: forward, gradient of the data, gradient of the weights.

Images are channels last in memory (NHWC) in all libraries, and PyTorch and wengert also take them
channels first: the better one counts.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import peak as multiply_add
from benchmarks.workload import Arrays, Case, Setting, Workload

BATCH = 32
SHAPES = ((64, 32), (16, 32), (128, 16))  # channels, side
KINDS = {"forward": 1.0, "data": 1.0, "weight": 1.1}


def inputs(channels: int, side: int, kind: str) -> Arrays:
    """Images, weights and the cotangent of the result, NHWC and HWIO."""
    rng = np.random.default_rng(0)
    shapes = {
        "x": (BATCH, side, side, channels),
        "w": (3, 3, channels, channels),
        "dy": (BATCH, side, side, channels),
    }
    arrays = {k: rng.standard_normal(s, dtype=np.float32) for k, s in shapes.items()}
    return {**arrays, "kind": np.array(list(KINDS).index(kind))}


def kind_of(inputs: Arrays) -> str:
    """What is to be computed."""
    return list(KINDS)[int(inputs["kind"])]


def first(x: Any) -> Any:
    """NHWC as NCHW."""
    return x.transpose(0, 3, 1, 2)


def last(x: Any) -> Any:
    """NCHW as NHWC."""
    return x.transpose(0, 2, 3, 1)


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    kind, nchw = kind_of(inputs), setting.has("nchw")
    arrays = [inputs["x"], inputs["w"], inputs["dy"]]
    if nchw:
        arrays = [first(arrays[0]), arrays[1].transpose(3, 2, 0, 1), first(arrays[2])]
    x, w, dy = (wg.asarray(np.ascontiguousarray(a)) for a in arrays)

    def conv(x: Any, w: Any) -> Any:
        if nchw:
            return wg.nn.functional.conv2d(x, w, padding=1)
        return last(wg.nn.functional.conv2d(first(x), w.transpose(3, 2, 0, 1), padding=1))

    calls = {
        "forward": lambda x, w, dy: conv(x, w),
        "data": lambda x, w, dy: wg.vjp(lambda x: conv(x, w), x)[1](dy)[0],
        "weight": lambda x, w, dy: wg.vjp(lambda w: conv(x, w), w)[1](dy)[0],
    }
    call = partial(wg.jit(calls[kind]), x, w, dy)

    def check() -> Arrays:
        found = call().numpy()
        if not nchw:
            return {"result": found}
        return {"result": found.transpose(2, 3, 1, 0) if kind == "weight" else last(found)}

    return Case(call, check)


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    kind = kind_of(inputs)
    x, dy = (torch.from_numpy(inputs[k]).permute(0, 3, 1, 2) for k in ("x", "dy"))
    w = torch.from_numpy(inputs["w"]).permute(3, 2, 0, 1)
    layout = torch.channels_last if setting.has("channels-last") else torch.contiguous_format
    x, w, dy = (t.contiguous(memory_format=layout) for t in (x, w, dy))
    calls = {
        "forward": lambda: torch.nn.functional.conv2d(x, w, padding=1),
        "data": lambda: torch.nn.grad.conv2d_input(x.shape, w, dy, padding=1),
        "weight": lambda: torch.nn.grad.conv2d_weight(x, w.shape, dy, padding=1),
    }
    step = calls[kind]
    turn = (2, 3, 1, 0) if kind == "weight" else (0, 2, 3, 1)
    return Case(step, lambda: {"result": step().permute(turn)})


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    def conv(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    calls = {
        "forward": lambda x, w, dy: conv(x, w),
        "data": lambda x, w, dy: jax.vjp(lambda x: conv(x, w), x)[1](dy)[0],
        "weight": lambda x, w, dy: jax.vjp(lambda w: conv(x, w), w)[1](dy)[0],
    }
    f = jax.jit(calls[kind_of(inputs)])
    x, w, dy = (jax.numpy.asarray(inputs[k]) for k in ("x", "w", "dy"))
    step = lambda: f(x, w, dy).block_until_ready()
    return Case(step, lambda: {"result": step()})


def peak(inputs: Arrays, setting: Setting) -> Case:
    n, h, w, channels = inputs["x"].shape
    return multiply_add.case(2.0 * n * h * w * 9 * channels**2, setting.threads)


WORKLOADS = tuple(
    Workload(
        f"conv-{kind}-{channels}",
        f"convolution 3×3, {channels} channels, {side}×{side}, {kind}",
        partial(inputs, channels, side, kind),
        {
            "wengert": wengert,
            "wengert nchw": wengert,
            "torch": torch,
            "torch channels-last": torch,
            "jax": jax,
            "peak": peak,
        },
        least,
    )
    for channels, side in SHAPES
    for kind, least in KINDS.items()
)
