"""Matrices to test linear algebra with."""

from __future__ import annotations

from typing import Any

import numpy as np

import wengert as wg

L = wg.linalg
RNG = np.random.default_rng(5)
INF = float("inf")


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def regular(*shape: int) -> Any:
    return normal(*shape) * 0.4 + 2 * np.eye(shape[-1])


def symmetric(*shape: int) -> Any:
    x = normal(*shape)
    return x + x.swapaxes(-1, -2) + np.diag(3.0 * np.arange(shape[-1]))


def definite(*shape: int) -> Any:
    x = normal(*shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-1])


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=tolerance)


def mT(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)
