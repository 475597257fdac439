"""A recommender: two tables of 100,000 × 64, an MLP on both vectors, sparse gradients, SGD.

A batch touches few rows of a table. Plain SGD leaves the others as they are, so that dense and
sparse gradients give the same numbers, and only the time tells them apart.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.workload import (
    RELU_TOLERANCE,
    Arrays,
    Case,
    Setting,
    Workload,
    check_training,
    parameters_of,
    with_parameters,
)

ROWS, WIDTH, HIDDEN, BATCH = 100_000, 64, 128, 1024
LR = 0.1


def network(nn: Any, **table: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""

    class Recommender(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users = nn.Embedding(ROWS, WIDTH, **table)
            self.items = nn.Embedding(ROWS, WIDTH, **table)
            self.mlp = nn.Sequential(
                nn.Linear(2 * WIDTH, HIDDEN),
                nn.ReLU(),
                nn.Linear(HIDDEN, WIDTH),
                nn.ReLU(),
                nn.Linear(WIDTH, 1),
            )

        def forward(self, users: Any, items: Any, concatenate: Any) -> Any:
            return self.mlp(concatenate((self.users(users), self.items(items)), axis=1))

    return Recommender()


def inputs() -> Arrays:
    """Pairs of random users and items, and whether they like each other."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, ROWS, (2, BATCH))
    y = rng.integers(0, 2, (BATCH, 1)).astype(np.float32)
    return with_parameters(network(wg.nn).state_dict(), users=users, items=items, y=y)


def changes(step: Any, tables: Any, inputs: Arrays) -> Arrays:
    """The losses, and what five steps changed in the rows that were used."""
    users, items, parameters = inputs["users"], inputs["items"], parameters_of(inputs)
    losses = check_training(step, dict)
    after_users, after_items = (np.asarray(t) for t in tables())
    return {
        **losses,
        "users": after_users[users] - parameters["users.weight"][users],
        "items": after_items[items] - parameters["items.weight"][items],
        "sums": np.array([np.abs(after_users).sum(), np.abs(after_items).sum()], np.float64),
    }


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.SGD(model.parameters(), lr=LR)
    batch = [wg.asarray(inputs[name]) for name in ("users", "items", "y")]

    @wg.jit
    def step(users: Any, items: Any, y: Any) -> Any:
        logits = model(users, items, wg.concat)
        loss = wg.nn.functional.binary_cross_entropy_with_logits(logits, y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    call = partial(step, *batch)
    tables = lambda: (model.users.weight.numpy(), model.items.weight.numpy())
    return Case(call, lambda: changes(call, tables, inputs))


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn, sparse=setting.has("sparse")), inputs)
    opt = torch.optim.SGD(model.parameters(), lr=LR)
    users, items, y = (torch.from_numpy(inputs[name]) for name in ("users", "items", "y"))

    def objective(users: Any, items: Any, y: Any) -> Any:
        logits = model(users, items, torch.concatenate)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, y)

    case = training.torch_case(model, opt, objective, [(users, items, y)], setting, "")
    tables = lambda: (model.users.weight.detach(), model.items.weight.detach())
    return Case(case.step, lambda: changes(case.step, tables, inputs))


def jax(inputs: Arrays, setting: Setting) -> Case:
    """Gradients of the rows that are looked up, added to donated tables."""
    import jax
    from jax import numpy as jnp

    p = {name: jnp.array(value) for name, value in parameters_of(inputs).items()}
    tables = p.pop("users.weight"), p.pop("items.weight")
    state = tables, {k: v.T if v.ndim == 2 else v for k, v in p.items()}
    batch = [jnp.asarray(inputs[name]) for name in ("users", "items", "y")]

    def objective(rows: Any, p: Any, y: Any) -> Any:
        h = jnp.concatenate(rows, axis=1)
        h = jax.nn.relu(h @ p["mlp.0.weight"] + p["mlp.0.bias"])
        h = jax.nn.relu(h @ p["mlp.2.weight"] + p["mlp.2.bias"])
        z = h @ p["mlp.4.weight"] + p["mlp.4.bias"]
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))

    def train(state: Any, users: Any, items: Any, y: Any) -> Any:
        (table1, table2), p = state
        gradient = jax.value_and_grad(objective, argnums=(0, 1))
        loss, (rows, grads) = gradient((table1[users], table2[items]), p, y)
        tables = table1.at[users].add(-LR * rows[0]), table2.at[items].add(-LR * rows[1])
        return (tables, jax.tree.map(lambda p, g: p - LR * g, p, grads)), loss

    train = jax.jit(train, donate_argnums=0)

    def step() -> Any:
        nonlocal state
        state, loss = train(state, *batch)
        return loss

    return Case(
        step, lambda: changes(step, lambda: state[0], inputs), lambda: jax.block_until_ready(state)
    )


WORKLOADS = (
    Workload(
        "recommender",
        "recommender, two tables 100,000 × 64, MLP 128-128-64-1, batch 1024, sparse gradients, SGD",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch sparse": torch,
            "torch compile sparse": torch,
            "jax": jax,
        },
        1.5,
        5.0,
        tolerance=RELU_TOLERANCE,
    ),
)
