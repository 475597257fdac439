"""One call that holds all derivatives of a composed function against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import wengert as wg
from tests.registry.checks import assert_close, dot, gradient, like, numeric_gradient
from wengert.core.tensor import Tensor


def assert_derivatives(
    f: Callable[..., Any], *args: Any, order: int = 2, tolerance: float = 1e-6
) -> None:
    """First (and second) derivatives of `f` in float64: reverse, forward, and their mixtures.

    `f` may return a tensor or a tuple of tensors of any shapes.
    """
    rng = np.random.default_rng(11)
    xs = [Tensor(np.array(a, np.float64)) for a in args]

    def outputs(*xs: Tensor) -> tuple[Tensor, ...]:
        found = f(*xs)
        return tuple(found) if isinstance(found, (tuple, list)) else (found,)

    us, vs = like(rng, outputs(*xs)), tuple(like(rng, xs))
    phi = lambda *xs: dot(us, outputs(*xs))
    numeric = numeric_gradient(phi, xs)
    for i, (a, n) in enumerate(zip(gradient(phi, xs), numeric, strict=True)):
        assert_close(a, n, tolerance, f"gradient of argument {i}")
    slope = float(wg.jvp(phi, tuple(xs), vs)[1])
    expected = sum(float(np.sum(n * v.numpy())) for n, v in zip(numeric, vs, strict=True))
    assert_close(slope, expected, 10 * tolerance, "forward mode")
    if order < 2:
        return
    along = lambda *xs: dot(vs, gradient(phi, xs))
    pushed = lambda *xs: wg.jvp(phi, xs, vs)[1]
    numeric = numeric_gradient(along, xs)
    mixed = wg.jvp(lambda *xs: gradient(phi, xs), tuple(xs), vs)[1]
    for name, found in (
        ("reverse over reverse", gradient(along, xs)),
        ("reverse over forward", gradient(pushed, xs)),
        ("forward over reverse", mixed),
    ):
        for i, (a, n) in enumerate(zip(found, numeric, strict=True)):
            assert_close(a, n, 10 * tolerance, f"{name}, argument {i}")
