"""Special functions: error function, gamma function, sinc, x·log y."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core.errors import ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.tensor import Tensor
from wengert.ops import gamma, numerics
from wengert.ops.elementwise import div, equal, logical_and, mul, neg, square
from wengert.ops.functions import exp, log
from wengert.ops.selection import where

# -- error function ----------------------------------------------------------------------------


def _bell(g: Tensor, x: Tensor) -> Tensor:
    out: Tensor = mul(g, mul(exp(neg(square(x))), 2.0 / math.sqrt(math.pi)))
    return out


erf: Op = elementwise("erf", numerics.erf, _bell, lower=lambda k, x: k.erf(x))
erfc: Op = elementwise(
    "erfc", numerics.erfc, lambda g, x: neg(_bell(g, x)), lower=lambda k, x: k.erfc(x)
)
erfinv: Op = elementwise(
    "erfinv",
    numerics.erfinv,
    lambda g, out: mul(g, mul(exp(square(out)), 0.5 * math.sqrt(math.pi))),
    domain=(-0.9, 0.9),
    lower=lambda k, x: k.erfinv(x),
)

# -- gamma function ----------------------------------------------------------------------------


def _polygamma_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    return [
        Sample((rng.uniform(0.3, 4.0, (3, 4)),), {"n": 0}),
        Sample((rng.uniform(0.3, 4.0, ()),), {"n": 1}),
        Sample((rng.uniform(-1.8, -1.2, (2,)),), {"n": 2}),
        Sample((np.array([0.0, -1.0, 30.0]),), {"n": 0}, smooth=False),
    ]


lgamma: Op = elementwise(
    "lgamma",
    gamma.lgamma,
    lambda g, x: mul(g, polygamma(x, n=0)),
    domain=(0.3, 4.0),
    lower=lambda k, x: k.lgamma(x),
)
polygamma: Op = elementwise(
    "polygamma",
    gamma.polygamma,
    lambda g, x, n: mul(g, polygamma(x, n=n + 1)),
    samples=_polygamma_samples,
    lower=lambda k, x, n: k.polygamma(x, n),
)

# -- sinc: the n-th derivative is an op of its own, so that all orders are right at 0 -------------

sinc: Op = elementwise(
    "sinc",
    numerics.sinc,
    lambda g, x, order: mul(g, sinc(x, order=order + 1)),
    samples=lambda rng: [
        Sample((rng.uniform(-3.0, 3.0, (3, 4)),), {"order": 0}),
        Sample((np.array([0.0, 1e-3, 0.4, 1.0]),), {"order": 0}),
        Sample((rng.uniform(-1.0, 1.0, ()),), {"order": 2}),
    ],
    lower=lambda k, x, order: k.sinc(x, order),
)

# -- x·log y -----------------------------------------------------------------------------------


def _xlogy(x: Array, y: Array) -> Any:
    nothing = np.logical_and(x == 0, ~np.isnan(y))
    return np.where(nothing, x.dtype.type(0), np.multiply(x, np.log(y)))


def _xlogy_slope(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    both = logical_and(equal(x, 0.0), equal(y, 0.0))  # 0·log y is constant in y
    out: Tensor = mul(g, div(x, where(both, 1.0, y)))
    return out


def _xlogy_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.uniform(-2.0, 2.0, (3, 4)), rng.uniform(0.3, 3.0, (3, 4))
    return [
        Sample((x, y)),
        Sample((x[:, :1], y[0])),
        Sample((x[0, 0], y[:0])),
        Sample((np.array([0.0, 0.0, 1.0]), np.array([0.0, 2.0, 0.0])), smooth=False),
        Wrong((x[:2], y), {}, ShapeError, "cannot be broadcast"),
    ]


xlogy: Op = elementwise(
    "xlogy",
    _xlogy,
    lambda g, y: mul(g, log(y)),
    _xlogy_slope,
    samples=_xlogy_samples,
    lower=lambda k, x, y: k.xlogy(x, y),
)
