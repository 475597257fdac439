"""Adam on one parameter of a million numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Case, Setting, Workload

SIZE = 1_000_000
LR = 1e-3
CHECKED = 3  # steps


def inputs() -> Arrays:
    """A parameter and its gradient."""
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(SIZE, dtype=np.float32) for k in ("p", "g")}


def case(
    step: Callable[[], Any], parts: Callable[[], dict[str, Any]], wait: Callable[[], Any]
) -> Case:
    """A case that is checked by parameter and moments after a few steps."""

    def check() -> dict[str, Any]:
        for _ in range(CHECKED):
            step()
        wait()
        return {name: np.array(part, copy=True) for name, part in parts().items()}

    return Case(step, check, wait)


def nothing() -> None:
    """What there is to wait for in a library that computes at once."""


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    p, g = wg.Parameter(wg.asarray(inputs["p"])), wg.asarray(inputs["g"])
    opt = wg.optim.Adam([p], lr=LR)

    @wg.jit
    def step(g: Any) -> None:
        opt.step(grads=[g])

    def parts() -> dict[str, Any]:
        slots = opt.state[p]
        return {"p": p.numpy(), "m": slots["exp_avg"].numpy(), "v": slots["exp_avg_sq"].numpy()}

    return case(partial(step, g), parts, nothing)


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    p = torch.nn.Parameter(torch.from_numpy(inputs["p"]).clone())
    p.grad = torch.from_numpy(inputs["g"])
    opt = torch.optim.Adam([p], lr=LR, fused=setting.has("fused"))
    step = torch.compile(opt.step) if setting.has("compile") else opt.step

    def parts() -> dict[str, Any]:
        slots = opt.state[p]
        return {"p": p.detach().numpy(), "m": slots["exp_avg"], "v": slots["exp_avg_sq"]}

    return case(step, parts, nothing)


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax

    from benchmarks.training import jax_adam

    optimizer = jax_adam(LR)
    p, g = jax.numpy.array(inputs["p"]), jax.numpy.asarray(inputs["g"])
    state = p, optimizer.init(p)

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, g: Any) -> Any:
        return optimizer.update(g, state[1], state[0])

    def step() -> None:
        nonlocal state
        state = update(state, g)

    def parts() -> dict[str, Any]:
        return {"p": state[0], "m": state[1][0], "v": state[1][1]}

    return case(step, parts, lambda: jax.block_until_ready(state))


def numpy(inputs: Arrays, setting: Setting) -> Case:
    """In blocks that stay in the cache, with no array made."""
    p, g = inputs["p"].copy(), inputs["g"]
    m, v = np.zeros_like(p), np.zeros_like(p)
    block, t = 1 << 14, 0
    a, b = np.empty(block, p.dtype), np.empty(block, p.dtype)

    def step() -> None:
        nonlocal t
        t += 1
        rate, scale = LR / (1 - 0.9**t), 1 / (1 - 0.999**t) ** 0.5
        for start in range(0, SIZE, block):
            here = slice(start, start + block)
            pp, gg, mm, vv = p[here], g[here], m[here], v[here]
            aa, bb = a[: pp.size], b[: pp.size]
            mm *= 0.9
            mm += np.multiply(gg, 0.1, out=aa)
            vv *= 0.999
            np.multiply(gg, gg, out=aa)
            vv += np.multiply(aa, 0.001, out=aa)
            np.sqrt(vv, out=aa)
            aa *= scale
            aa += 1e-8
            np.divide(mm, aa, out=bb)
            pp -= np.multiply(bb, rate, out=bb)

    return case(step, lambda: {"p": p, "m": m, "v": v}, nothing)


WORKLOADS = (
    Workload(
        "adam",
        "Adam, a parameter of 1,000,000",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch fused": torch,
            "torch compile": torch,
            "jax": jax,
            "numpy": numpy,
        },
        1.2,
    ),
)
