"""Cases of one differentiable function: its value, and its gradients for a given cotangent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.workload import Arrays, Case, Setting


def wengert_case(f: Callable[..., Any], operands: Mapping[str, Any], dy: Any) -> Case:
    """`f(*operands)` and the gradients of all operands."""
    import wengert as wg

    @wg.jit
    def both(dy: Any, *operands: Any) -> tuple[Any, Any]:
        y, pull = wg.vjp(f, *operands)
        return y, pull(dy)

    call = partial(both, wg.asarray(dy), *map(wg.asarray, operands.values()))

    def check() -> Arrays:
        y, gradients = call()
        return {"y": y, **dict(zip(operands, gradients, strict=True))}

    return Case(call, check)


def torch_case(
    f: Callable[..., Any], operands: Mapping[str, Any], dy: Any, setting: Setting
) -> Case:
    """The same, with the gradients in the operands."""
    import torch

    leaves = {name: torch.from_numpy(value).requires_grad_() for name, value in operands.items()}
    cotangent = torch.from_numpy(dy)
    forward = torch.compile(f) if setting.has("compile") else f

    def step() -> Any:
        for leaf in leaves.values():
            leaf.grad = None
        y = forward(*leaves.values())
        y.backward(cotangent)
        return y.detach()

    return Case(step, lambda: {"y": step(), **{name: p.grad for name, p in leaves.items()}})


def jax_case(f: Callable[..., Any], operands: Mapping[str, Any], dy: Any) -> Case:
    """The same."""
    import jax

    @jax.jit
    def both(dy: Any, *operands: Any) -> tuple[Any, Any]:
        y, pull = jax.vjp(f, *operands)
        return y, pull(dy)

    arrays = [jax.numpy.asarray(a) for a in (dy, *operands.values())]

    def call() -> Any:
        return jax.block_until_ready(both(*arrays))

    def check() -> Arrays:
        y, gradients = call()
        return {"y": y, **dict(zip(operands, gradients, strict=True))}

    return Case(call, check)
