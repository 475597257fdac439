"""A physics-informed network: 2-64-64-64-64-64-1 with tanh, the residual of Poisson's equation with
its second derivatives at 4096 points, zero on the edges, Adam.

The second derivatives along both axes are derivatives of derivatives in forward mode (what costs
least in each of the libraries); the gradient of the parameters goes backward through them.

Source: Raissi, Perdikaris and Karniadakis 2019.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.training import Layout
from benchmarks.workload import Arrays, Case, Setting, Workload, parameters_of, with_parameters

POINTS, EDGE_POINTS, WIDTH, LAYERS = 4096, 256, 64, 5
NAMES = ("x", "force", "along", "edge")
LR = 1e-3


def network(nn: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    widths = [2, *[WIDTH] * LAYERS]
    hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 1))


def inputs() -> Arrays:
    """Points of the unit square, the right-hand side there, the two directions, and the edges."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    points = rng.random((POINTS, 2), dtype=np.float32)
    edge = rng.random((EDGE_POINTS, 2), dtype=np.float32)
    edge[np.arange(EDGE_POINTS), rng.integers(0, 2, EDGE_POINTS)] = rng.integers(0, 2, EDGE_POINTS)
    force = np.sin(np.pi * points).prod(axis=1, keepdims=True)
    along = np.zeros((2, POINTS, 2), np.float32)
    along[0, :, 0] = along[1, :, 1] = 1.0
    return with_parameters(
        network(wg.nn).state_dict(), x=points, force=force, along=along, edge=edge
    )


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.Adam(model.parameters(), lr=LR)
    batch = [wg.asarray(inputs[name]) for name in NAMES]

    def second(x: Any, v: Any) -> Any:
        first = lambda x: wg.jvp(model, (x,), (v,))[1]
        return wg.jvp(first, (x,), (v,))[1]

    @wg.jit
    def step(x: Any, force: Any, along: Any, edge: Any) -> Any:
        residual = second(x, along[0]) + second(x, along[1]) + force
        loss = (residual**2).mean() + (model(edge) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return training.wengert_case(partial(step, *batch), model, opt, "exp_avg")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    opt = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    batch = tuple(torch.from_numpy(inputs[name]) for name in NAMES)

    def forward_second(x: Any, v: Any) -> Any:
        first = lambda x: torch.func.jvp(model, (x,), (v,))[1]
        return torch.func.jvp(first, (x,), (v,))[1]

    def reverse_laplacian(x: Any) -> Any:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        parts = [
            torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in (0, 1)
        ]
        return (parts[0] + parts[1])[:, None]

    def objective(x: Any, force: Any, along: Any, edge: Any) -> Any:
        if setting.has("reverse"):
            laplacian = reverse_laplacian(x)
        else:
            laplacian = forward_second(x, along[0]) + forward_second(x, along[1])
        return ((laplacian + force) ** 2).mean() + (model(edge) ** 2).mean()

    return training.torch_case(model, opt, objective, [batch], setting, "exp_avg")


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    layout = Layout()

    def u(p: Any, x: Any) -> Any:
        for i in range(LAYERS):
            x = jnp.tanh(x @ p[f"{2 * i}.weight"] + p[f"{2 * i}.bias"])
        return x @ p[f"{2 * LAYERS}.weight"] + p[f"{2 * LAYERS}.bias"]

    def second(p: Any, x: Any, v: Any) -> Any:
        if setting.has("jet"):
            from jax.experimental.jet import jet

            return jet(partial(u, p), (x,), ((v, jnp.zeros_like(v)),))[1][1]
        first = lambda x: jax.jvp(partial(u, p), (x,), (v,))[1]
        return jax.jvp(first, (x,), (v,))[1]

    def objective(p: Any, aux: Any, x: Any, force: Any, along: Any, edge: Any) -> tuple[Any, Any]:
        laplacian = second(p, x, along[0]) + second(p, x, along[1])
        return jnp.mean((laplacian + force) ** 2) + jnp.mean(u(p, edge) ** 2), aux

    params = layout.inside(parameters_of(inputs))
    batch = tuple(inputs[name] for name in NAMES)
    return training.jax_case(objective, params, training.jax_adam(LR), [batch], layout.outside)


WORKLOADS = (
    Workload(
        "pinn",
        "PINN: second derivatives of a 5×64 tanh MLP at 4096 points, Adam",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch reverse": torch,
            "torch compile": torch,
            "jax": jax,
            "jax jet": jax,
        },
        1.5,
        3.0,
        tolerance=1e-3,  # gradients of second derivatives
    ),
)
