"""A classifier of 784-512-512-10 neurons on batches of 128, Adam."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.training import Layout
from benchmarks.workload import (
    RELU_TOLERANCE,
    Arrays,
    Case,
    Setting,
    Workload,
    parameters_of,
    with_parameters,
)

BATCH, PIXELS, HIDDEN, CLASSES = 128, 784, 512, 10
LR = 1e-5  # in thousands of steps on one batch nothing dies out: subnormal moments would be slow


def network(nn: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    return nn.Sequential(
        nn.Linear(PIXELS, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, CLASSES),
    )


def inputs() -> Arrays:
    """Noise with labels."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, PIXELS), dtype=np.float32)
    return with_parameters(network(wg.nn).state_dict(), x=x, y=rng.integers(0, CLASSES, BATCH))


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.Adam(model.parameters(), lr=LR)
    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = wg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return training.wengert_case(partial(step, x, y), model, opt, "exp_avg")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    opt = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    batch = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), y)

    return training.torch_case(model, opt, objective, [batch], setting, "exp_avg")


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    layout = Layout()

    def objective(p: Any, aux: Any, x: Any, y: Any) -> tuple[Any, Any]:
        h = jax.nn.relu(x @ p["0.weight"] + p["0.bias"])
        h = jax.nn.relu(h @ p["2.weight"] + p["2.bias"])
        logits = jax.nn.log_softmax(h @ p["4.weight"] + p["4.bias"])
        return -jnp.mean(jnp.take_along_axis(logits, y[:, None], axis=1)), aux

    params, batch = layout.inside(parameters_of(inputs)), (inputs["x"], inputs["y"])
    return training.jax_case(objective, params, training.jax_adam(LR), [batch], layout.outside)


WORKLOADS = (
    Workload(
        "mlp",
        "MLP 784-512-512-10, batch 128, Adam",
        inputs,
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        1.25,
        1.4,
        tolerance=RELU_TOLERANCE,
    ),
)
