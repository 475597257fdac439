"""Distributions that are drawn by trial: gamma and what is made of it, and Poisson."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as F
from wengert.core import dtypes
from wengert.core.errors import ShapeError
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.variates import random_loggamma, random_poisson
from wengert.random.floats import Draw, as_shape
from wengert.random.generator import START, Generator

__all__ = ["beta", "dirichlet", "gamma", "poisson"]


def gamma(
    concentration: Any,
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Gamma with density ∝ x^(α−1)·e^(−x/scale), α = concentration > 0; differentiable in both.

    The derivative in α is that of the quantile: dx/dα = −(∂F/∂α)/f for the distribution function F
    and the density f, to any order.

    >>> import wengert as wg
    >>> wg.random.gamma(2.0, shape=(3,), key=wg.random.key(0)).shape
    (3,)

    Source: Marsaglia and Tsang 2000; Figurnov, Mohamed and Mnih 2018 (the derivative).
    """
    draw = Draw("gamma", shape, dtype, key, generator, concentration=concentration, scale=scale)
    draw.require("concentration", 0.0, open=True)
    draw.require("scale", 0.0)
    draw.params["loc"] = 0.0
    return draw.affine(F.exp(_loggamma(draw, "concentration")), "loc", "scale")


def _loggamma(draw: Draw, concentration: str) -> Tensor:
    """Logarithms of standard gamma numbers, under a key of their own."""
    own = draw.source.bits((2,), dtypes.uint64)
    alpha = as_tensor(draw.cast(draw.params[concentration]))
    drawn: Tensor = random_loggamma(own, START, F.astype(alpha, draw.working), shape=draw.shape)
    return drawn


def beta(
    a: Any,
    b: Any,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Beta with density ∝ x^(a−1)·(1 − x)^(b−1): G_a/(G_a + G_b) of two gamma numbers, formed from
    their logarithms. Differentiable in a and b.

    >>> import wengert as wg
    >>> x = wg.random.beta(0.5, 0.5, (100,), key=wg.random.key(0))
    >>> bool(wg.all((x >= 0) & (x <= 1)))
    True
    """
    draw = Draw("beta", shape, dtype, key, generator, a=a, b=b)
    draw.require("a", 0.0, open=True)
    draw.require("b", 0.0, open=True)
    return draw.finish(F.sigmoid(F.subtract(_loggamma(draw, "a"), _loggamma(draw, "b"))))


def dirichlet(
    concentration: Any,
    shape: Any = None,
    *,
    axis: int = -1,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Dirichlet: gamma numbers divided by their sum along an axis; differentiable.

    `shape` is that of the whole result, which ends with the axes of `concentration`.

    >>> import wengert as wg
    >>> p = wg.random.dirichlet(wg.ones(3), (5, 3), key=wg.random.key(0))
    >>> bool(wg.max(wg.abs(wg.sum(p, axis=-1) - 1)) < 1e-6)
    True
    """
    alpha = as_tensor(concentration)
    axis = normalize_axis("dirichlet", axis, alpha.ndim) - alpha.ndim
    if shape is not None and as_shape("dirichlet", shape)[axis:] != alpha.shape[axis:]:
        raise ShapeError(
            "dirichlet",
            "the result ends with the axes of concentration",
            met=f"shape={shape} for {alpha.shape}",
            fix=f"end the shape with {alpha.shape}",
        )
    draw = Draw("dirichlet", shape, dtype, key, generator, concentration=alpha)
    draw.require("concentration", 0.0, open=True)
    logs = _loggamma(draw, "concentration")
    powers = F.exp(F.subtract(logs, F.max(logs, axis=axis, keepdims=True)))
    return draw.finish(F.divide(powers, F.sum(powers, axis=axis, keepdims=True)))


def poisson(
    rate: Any, shape: Any = None, *, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """Counts (int64) with mean `rate` ≥ 0, a number or a tensor; up to about 10¹⁵.

    >>> import wengert as wg
    >>> wg.random.poisson(wg.asarray([0.0, 3.0])).shape
    (2,)

    Source: Hörmann 1993, "The transformed rejection method for generating Poisson random
    variables".
    """
    draw = Draw("poisson", shape, None, key, generator, rate=rate)
    draw.require("rate", 0.0, 1e15)
    own = draw.source.bits((2,), dtypes.uint64)
    mean = F.astype(as_tensor(draw.params["rate"]), dtypes.float64)
    drawn: Tensor = random_poisson(own, START, mean, shape=draw.shape)
    return drawn
