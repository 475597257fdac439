"""What the tests of `jit` share: running something eagerly and compiled, and comparing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import wengert as wg

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 16, 2)).astype(np.float32)
Y = (X[..., :1] * X[..., 1:]).astype(np.float32)


def network() -> wg.nn.Module:
    """A small network with everything that has state or randomness. (No bias before the batch
    normalisation: its gradient is pure rounding, which Adam would make large.)"""
    nn = wg.nn
    return nn.Sequential(
        nn.Linear(2, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.LayerNorm(8),
        nn.Linear(8, 1),
    )


def arrays(tree: Any) -> list[np.ndarray]:
    """Copies of the arrays and numbers in a tree."""
    leaves = wg.tree.tree_leaves(tree)
    return [np.array(x.detach() if isinstance(x, wg.Tensor) else x) for x in leaves]


def assert_close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Equal structure, shapes and dtypes; values within a tolerance."""
    a, b = arrays(found), arrays(expected)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        if x.dtype.kind in "fiub":
            np.testing.assert_allclose(
                x.astype(np.float64), y.astype(np.float64), rtol=tolerance, atol=tolerance
            )


def run(build: Callable[[], Any], compiled: bool, steps: int = 5) -> tuple[Any, Any, Any]:
    """Build a step function, take some steps, and return results, state and the function."""
    wg.manual_seed(7)
    step, state, batch = build()
    f = wg.jit(step) if compiled else step
    results = [arrays(f(*batch(i))) for i in range(steps)]
    return results, arrays(state()), f


def assert_same_run(build: Callable[[], Any], steps: int = 5, tolerance: float = 2e-5) -> Any:
    """Compiled and eager training agree, in all results and in the state that is left."""
    eager, state, _ = run(build, False, steps)
    compiled, compiled_state, f = run(build, True, steps)
    assert_close(compiled, eager, tolerance)
    assert_close(compiled_state, state, tolerance)
    return f


def training(
    optimizer: Callable[[Any], Any],
    schedule: Callable[[Any], Any] | None = None,
    clip: Callable[[Any], Any] | None = None,
    model: Callable[[], wg.nn.Module] = network,
) -> Callable[[], Any]:
    """A training step with an optimizer, a schedule and clipping, for `run`."""

    def build() -> Any:
        net = model()
        opt = optimizer(net.parameters())
        plan = schedule(opt) if schedule else None

        def step(x: Any, y: Any) -> Any:
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            norm = clip(net.parameters()) if clip else None
            opt.step()
            if plan is not None:
                plan.step()
            opt.zero_grad()
            return loss, norm

        def state() -> Any:
            slots = [box for boxes in opt.state.values() for box in boxes.values()]
            rates = [group["lr"] for group in opt.param_groups]
            epoch = [] if plan is None else [float(plan.last_epoch)]
            counter = wg.random.default_generator.counter
            return [*net.parameters(), *net.buffers(), *slots, counter, *rates, *epoch]

        return step, state, lambda i: (X[i], Y[i])

    return build
