"""Derivatives of functions and modules against differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import wengert as wg
from wengert.core.tree import tree_flatten

STEP = 1e-6


def check_derivatives(f: Callable[..., Any], *trees: Any, order: int = 2, seed: int = 0) -> None:
    """Reverse and forward mode of `f` at some pytrees of float64, along random directions; with
    order 2 those of its gradient as well."""
    rng = np.random.default_rng(seed)
    leaves, treedef = tree_flatten(trees)
    arrays = [np.asarray(leaf) for leaf in leaves]
    assert all(a.dtype == np.float64 for a in arrays)

    def flat(*xs: Any) -> Any:
        return f(*treedef.unflatten(xs))

    weights = wg.asarray(rng.normal(size=flat(*map(wg.asarray, arrays)).shape))

    def weighted(*xs: Any) -> Any:
        return wg.sum(weights * flat(*xs))

    _check(weighted, arrays, rng)
    if order > 1:
        directions = [wg.asarray(rng.normal(size=a.shape)) for a in arrays]

        def slope(*xs: Any) -> Any:
            grads = wg.grad(weighted, argnums=tuple(range(len(arrays))))(*xs)
            total = wg.asarray(0.0, dtype=wg.float64)
            for g, d in zip(grads, directions, strict=True):
                total = total + wg.sum(g * d)
            return total

        _check(slope, arrays, rng)


def _check(f: Callable[..., Any], arrays: list[Any], rng: np.random.Generator) -> None:
    directions = [rng.normal(size=a.shape) for a in arrays]

    def at(t: float) -> float:
        moved = [wg.asarray(a + t * d) for a, d in zip(arrays, directions, strict=True)]
        return float(f(*moved))

    expected = (at(STEP) - at(-STEP)) / (2 * STEP)
    primals = tuple(map(wg.asarray, arrays))
    tangents = tuple(map(wg.asarray, directions))
    _, forward = wg.jvp(f, primals, tangents)
    grads = wg.grad(f, argnums=tuple(range(len(arrays))))(*primals)
    reverse = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(grads, directions, strict=True))
    scale = 1e-6 * max(1.0, abs(expected))
    assert abs(reverse - expected) <= scale, f"reverse mode: {reverse}, differences: {expected}"
    assert abs(float(forward) - reverse) <= 1e-9 * max(1.0, abs(expected)), "the modes differ"


def check_module(module: wg.nn.Module, *inputs: Any, order: int = 2) -> None:
    """`check_derivatives` of a module in its parameters and its floating inputs."""
    module.double()
    given = [np.asarray(x) for x in inputs]
    floating = [i for i, x in enumerate(given) if x.dtype.kind == "f"]

    def run(model: Any, xs: Any) -> Any:
        full: list[Any] = [wg.asarray(x) for x in given]
        for i, x in zip(floating, xs, strict=True):
            full[i] = x
        return model(*full)

    check_derivatives(run, module, [given[i] for i in floating], order=order)
