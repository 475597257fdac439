"""A network of 2-16-16-1 neurons on batches of 16, Adam: what is left beside the arithmetic."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.training import Layout
from benchmarks.workload import (
    Arrays,
    Case,
    Setting,
    Version,
    Workload,
    check_training,
    parameters_of,
    with_parameters,
)

SIZES = (2, 16, 16, 1)
BATCH = 16
MANY = 1000  # steps of one call, in the rows of loops
CHECKED = 100  # of them, whose losses are compared
LR = 1e-3


def network(nn: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    a, b, c, d = SIZES
    return nn.Sequential(nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Tanh(), nn.Linear(c, d))


def inputs(steps: int | None = None) -> Arrays:
    """Values of a smooth function of two variables: one batch, or one for each step."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    shape = (BATCH,) if steps is None else (steps, BATCH)
    x = rng.standard_normal((*shape, SIZES[0]), dtype=np.float32)
    y = np.sin(2 * x[..., :1]) * x[..., 1:]
    return with_parameters(network(wg.nn).state_dict(), x=x, y=y)


def batches_of(x: Any, y: Any) -> list[tuple[Any, Any]]:
    """One batch, or the many."""
    return [(x, y)] if x.ndim == 2 else [(x[i], y[i]) for i in range(x.shape[0])]


# -- one step a call ---------------------------------------------------------------------------


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.Adam(model.parameters(), lr=LR)
    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = wg.nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    call = step.bind(x, y) if setting.has("bound") else partial(step, x, y)
    return training.wengert_case(call, model, opt, "exp_avg")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    opt = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    batches = batches_of(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"]))

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.mse_loss(model(x), y)

    return training.torch_case(model, opt, objective, batches, setting, "exp_avg")


def torch_whole(inputs: Arrays, setting: Setting) -> Case:
    """Gradient and update in one compiled graph, on one flat vector of parameters."""
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    named = dict(model.named_parameters())
    sizes = [p.numel() for p in named.values()]
    flat = torch.cat([p.detach().reshape(-1) for p in named.values()])
    m, v, t = torch.zeros_like(flat), torch.zeros_like(flat), torch.zeros((), dtype=flat.dtype)

    def split(flat: Any) -> dict[str, Any]:
        parts = zip(named.items(), flat.split(sizes), strict=True)
        return {name: part.reshape(p.shape) for (name, p), part in parts}

    def objective(flat: Any, x: Any, y: Any) -> Any:
        out = torch.func.functional_call(model, split(flat), (x,))
        return torch.nn.functional.mse_loss(out, y)

    @torch.compile(fullgraph=True)
    def update(x: Any, y: Any) -> Any:
        g, loss = torch.func.grad_and_value(objective)(flat, x, y)
        t.add_(1)
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        flat.sub_(LR / (1 - 0.9**t) * m / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
        return loss

    update = torch.no_grad()(update)
    batches = cycle(batches_of(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])))
    step = lambda: update(*next(batches))
    return Case(step, lambda: check_training(step, lambda: split(m)))


def jax(inputs: Arrays, setting: Setting) -> Case:
    objective, params, named = jax_parts(inputs, flat=setting.has("flat"))
    batches = batches_of(inputs["x"], inputs["y"])
    return training.jax_case(objective, params, training.jax_adam(LR), batches, named)


def jax_parts(inputs: Arrays, flat: bool) -> tuple[Any, Any, Any]:
    """Objective, parameters, and how moments get their names. One flat vector of parameters has
    fewer buffers to hand over."""
    from jax import numpy as jnp
    from jax.flatten_util import ravel_pytree

    layout = Layout()
    params = layout.inside(parameters_of(inputs))
    vector, unravel = ravel_pytree(params)

    def objective(params: Any, aux: Any, x: Any, y: Any) -> tuple[Any, Any]:
        p = unravel(params) if flat else params
        h = jnp.tanh(x @ p["0.weight"] + p["0.bias"])
        h = jnp.tanh(h @ p["2.weight"] + p["2.bias"])
        out = h @ p["4.weight"] + p["4.bias"]
        return jnp.mean((out - y) ** 2), aux

    def named(moments: Any) -> Arrays:
        return layout.outside(unravel(moments) if flat else moments)

    return objective, vector if flat else params, named


# -- many steps a call -------------------------------------------------------------------------


def wengert_many(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.Adam(model.parameters(), lr=LR)
    xs, ys = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    def step(carry: None, batch: Any) -> Any:
        x, y = batch
        loss = wg.nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return carry, loss

    @wg.jit
    def train(xs: Any, ys: Any) -> Any:
        return wg.scan(step, None, (xs, ys))[1]

    call = partial(train, xs, ys)
    return Case(call, lambda: {"losses": call().numpy()[:CHECKED]}, steps=MANY)


def wengert_functional(inputs: Arrays, setting: Setting) -> Case:
    """The same with parameters and state handed from step to step."""
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.functional(wg.optim.Adam, lr=LR)
    start = {name: p.detach() for name, p in model.named_parameters()}
    state = opt.init(start)
    xs, ys = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    def objective(p: Any, x: Any, y: Any) -> Any:
        h = wg.tanh(wg.nn.functional.linear(x, p["0.weight"], p["0.bias"]))
        h = wg.tanh(wg.nn.functional.linear(h, p["2.weight"], p["2.bias"]))
        out = wg.nn.functional.linear(h, p["4.weight"], p["4.bias"])
        return wg.nn.functional.mse_loss(out, y)

    @wg.jit
    def train(params: Any, state: Any, xs: Any, ys: Any) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            params, state = carry
            loss, grads = wg.value_and_grad(objective)(params, *batch)
            return opt.update(grads, state, params), loss

        return wg.scan(step, (params, state), (xs, ys))

    call = partial(train, start, state, xs, ys)
    return Case(call, lambda: {"losses": call()[1].numpy()[:CHECKED]}, steps=MANY)


def jax_many(inputs: Arrays, setting: Setting) -> Case:
    import jax

    objective, params, _ = jax_parts(inputs, flat=setting.has("flat"))
    optimizer = training.jax_adam(LR)
    params = jax.tree.map(jax.numpy.asarray, params)
    start = params, optimizer.init(params)
    xs, ys = jax.numpy.asarray(inputs["x"]), jax.numpy.asarray(inputs["y"])

    @jax.jit
    def train(start: Any, xs: Any, ys: Any) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            params, slots = carry
            gradient = jax.value_and_grad(objective, has_aux=True)
            (loss, _), grads = gradient(params, None, *batch)
            return optimizer.update(grads, slots, params), loss

        return jax.lax.scan(step, start, (xs, ys), unroll=4)

    def call() -> Any:
        return jax.block_until_ready(train(start, xs, ys))

    return Case(call, lambda: {"losses": call()[1][:CHECKED]}, steps=MANY)


def stepwise(version: Version) -> Version:
    """A version that is called step by step, compared by its losses."""

    def build(inputs: Arrays, setting: Setting) -> Case:
        case = version(inputs, setting)
        return replace(case, check=lambda: {"losses": [float(case.step()) for _ in range(CHECKED)]})

    return build


SINGLE: dict[str, Version] = {
    "torch": torch,
    "torch compile": torch,
    "torch compile whole": torch_whole,
    "jax": jax,
    "jax flat": jax,
}
LOOPS: dict[str, Version] = {"wengert": wengert_many, "wengert functional": wengert_functional}
MANY_STEPWISE = {name: stepwise(version) for name, version in SINGLE.items()}

WORKLOADS = (
    Workload(
        "tiny",
        "tiny MLP 2-16-16-1, batch 16, Adam: one step a call",
        inputs,
        {"wengert": wengert, "wengert bound": wengert, **SINGLE},
        5.0,
        10.0,
    ),
    Workload(
        "tiny-many",
        "the same, 1000 steps a call; peers called step by step",
        partial(inputs, MANY),
        {**LOOPS, **MANY_STEPWISE},
        25.0,
        40.0,
    ),
    Workload(
        "tiny-loop",
        "the same, 1000 steps a call; peers too (`lax.scan`)",
        partial(inputs, MANY),
        {**LOOPS, "jax": jax_many, "jax flat": jax_many},
    ),
)
