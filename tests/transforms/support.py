"""What the tests of transforms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import wengert as wg
from wengert import Tensor
from wengert.core.node import next_id
from wengert.core.tree import tree_flatten


def f64(*shape: int, seed: int = 0) -> Tensor:
    """A random float64 tensor."""
    return wg.asarray(np.random.default_rng(seed).normal(size=shape))


def same(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Two pytrees of equal structure and shapes, and values equal up to a tolerance."""
    a, a_tree = tree_flatten(found)
    b, b_tree = tree_flatten(expected)
    assert a_tree == b_tree
    for x, y in zip(a, b, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def central(f: Callable[[np.ndarray], Any], x: Any, h: float = 1e-5) -> np.ndarray:
    """The Jacobian of a function of one array by central differences: out.shape + in.shape."""
    x = np.asarray(x, np.float64)
    columns = []
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        columns.append((np.asarray(f(up)) - np.asarray(f(down))) / (2 * h))
    out_shape = np.asarray(f(x)).shape
    return np.stack(columns, -1).reshape((*out_shape, *x.shape))


def nodes_made(f: Callable[[], Any]) -> int:
    """How many nodes a call records."""
    before = next_id()
    f()
    return next_id() - before - 1


def quadratic(x: Tensor) -> Tensor:
    """A smooth scalar function with full Hessian."""
    return wg.sum(wg.sin(x) * x) * wg.sum(x * x)


def values(tensors: Sequence[Tensor]) -> list[Any]:
    return [np.asarray(t) for t in tensors]
