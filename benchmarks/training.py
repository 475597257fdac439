"""What the training workloads share: cases made of steps, and the optimizers for JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.workload import Arrays, Case, Setting, check_training, parameters_of

Batches = Sequence[tuple[Any, ...]]  # used in turn

# -- wengert and PyTorch: the same modules, the same names ---------------------------------------


def wengert_model(model: Any, inputs: Arrays) -> Any:
    """Give a model of `wengert.nn` the parameters among the inputs, in their precision."""
    parameters = parameters_of(inputs)
    model.to(_precision(parameters))
    model.load_state_dict(parameters, strict=False)  # buffers keep their first values
    return model


def wengert_case(step: Callable[[], Any], model: Any, opt: Any, slot: str) -> Case:
    """A case of a training step; `slot` is where the optimizer keeps the first moments."""

    def moments() -> dict[str, Any]:
        return {name: opt.state[p][slot].numpy() for name, p in model.named_parameters()}

    return Case(step, lambda: check_training(step, moments))


def torch_model(model: Any, inputs: Arrays) -> Any:
    """Give a model of `torch.nn` the parameters among the inputs, in their precision."""
    import torch

    parameters = {name: torch.from_numpy(value) for name, value in parameters_of(inputs).items()}
    model.to(getattr(torch, str(_precision(parameters_of(inputs)))))
    model.load_state_dict(parameters, strict=False)  # buffers keep their first values
    return model


def torch_case(
    model: Any,
    opt: Any,
    objective: Callable[..., Any],
    batches: Batches,
    setting: Setting,
    slot: str,
) -> Case:
    """A case of PyTorch's usual step, compiled where the variant says so."""
    import torch

    turns = cycle(batches)
    forward = torch.compile(objective) if setting.has("compile") else objective

    def step() -> Any:
        loss = forward(*next(turns))
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss.detach()

    def moments() -> dict[str, Any]:
        return {name: opt.state[p][slot].numpy() for name, p in model.named_parameters()}

    return Case(step, lambda: check_training(step, moments))


def _precision(parameters: Arrays) -> np.dtype[Any]:
    return next(v.dtype for v in parameters.values() if v.dtype.kind == "f")


# -- JAX -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimizer:
    """An optimizer for pytrees: `init(params)`, `update(grads, state, params)`; the first entry of
    its state are the first moments."""

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


def jax_adam(lr: float, weight_decay: float = 0.0) -> Optimizer:
    """Adam, and AdamW where there is weight decay."""
    import jax
    from jax import numpy as jnp

    def zeros(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    def init(params: Any) -> Any:
        return zeros(params), zeros(params), jnp.zeros((), jnp.int32)

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        rate = lr / (1 - 0.9**t)
        scale = 1 / jnp.sqrt(1 - 0.999**t)

        def move(p: Any, m: Any, v: Any) -> Any:
            return p - rate * m / (jnp.sqrt(v) * scale + 1e-8) - lr * weight_decay * p

        return jax.tree.map(move, params, m, v), (m, v, t)

    return Optimizer(init, update)


def jax_sgd(lr: float, momentum: float) -> Optimizer:
    """Gradient descent with momentum."""
    import jax
    from jax import numpy as jnp

    def init(params: Any) -> Any:
        return (jax.tree.map(jnp.zeros_like, params),)

    def update(grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        m = jax.tree.map(lambda m, g: momentum * m + g, state[0], grads)
        return jax.tree.map(lambda p, m: p - lr * m, params, m), (m,)

    return Optimizer(init, update)


def jax_case(
    objective: Callable[..., Any],
    params: Any,
    optimizer: Optimizer,
    batches: Batches,
    named: Callable[[Any], Mapping[str, Any]],
    aux: Any = None,
) -> Case:
    """A case of one jitted step that owns its state (donated): `objective(params, aux, *batch)`
    gives the loss and the new `aux` (running statistics, a random key)."""
    import jax

    params = jax.tree.map(lambda p: jax.numpy.array(p, copy=True), params)
    state = (params, optimizer.init(params), aux)
    turns = cycle([tuple(jax.numpy.asarray(b) for b in batch) for batch in batches])

    def train(state: Any, *batch: Any) -> tuple[Any, Any]:
        params, slots, aux = state
        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, aux), grads = gradient(params, aux, *batch)
        params, slots = optimizer.update(grads, slots, params)
        return (params, slots, aux), loss

    train = jax.jit(train, donate_argnums=0)

    def step() -> Any:
        nonlocal state
        state, loss = train(state, *next(turns))
        return loss

    def wait() -> None:
        jax.block_until_ready(state)

    return Case(step, lambda: check_training(step, lambda: named(state[1][0])), wait)


class Layout:
    """Parameters as JAX computes fastest with them: linear weights (in, out), kernels HWIO.

    Names and shapes outside are PyTorch's; `keep` names matrices that stay as they are (tables).
    """

    def __init__(self, keep: tuple[str, ...] = ()) -> None:
        self.keep = keep

    def inside(self, parameters: Arrays) -> Arrays:
        """From PyTorch's shapes."""
        return {name: self._turn(name, v, (2, 3, 1, 0)) for name, v in parameters.items()}

    def outside(self, parameters: Mapping[str, Any]) -> Arrays:
        """To PyTorch's shapes."""
        turned = {name: np.asarray(value) for name, value in parameters.items()}
        return {name: self._turn(name, v, (3, 2, 0, 1)) for name, v in turned.items()}

    def _turn(self, name: str, value: Any, kernel: tuple[int, ...]) -> Any:
        if value.ndim == 4:
            return np.ascontiguousarray(value.transpose(kernel))
        if value.ndim == 2 and name not in self.keep:
            return np.ascontiguousarray(value.T)
        return value
