"""Element-wise functions: exponentials, logarithms, roots, trigonometric and hyperbolic ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core.errors import ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import add, div, equal, isinf, logical_and, mul, neg, square, sub
from wengert.ops.numerics import in_single

LN2, LN10 = math.log(2.0), math.log(10.0)

# -- exponentials, logarithms, roots -----------------------------------------------------------

exp: Op = elementwise("exp", np.exp, lambda g, out: mul(g, out), lower=lambda k, x: k.exp(x))
exp2: Op = elementwise(
    "exp2", np.exp2, lambda g, out: mul(g, mul(out, LN2)), lower=lambda k, x: k.exp2(x)
)
expm1: Op = elementwise(
    "expm1", np.expm1, lambda g, x: mul(g, exp(x)), lower=lambda k, x: k.expm1(x)
)
log: Op = elementwise(
    "log", np.log, lambda g, x: div(g, x), domain=(0.2, 4.0), lower=lambda k, x: k.log(x)
)
log2: Op = elementwise(
    "log2",
    np.log2,
    lambda g, x: div(g, mul(x, LN2)),
    domain=(0.2, 4.0),
    lower=lambda k, x: k.log2(x),
)
log10: Op = elementwise(
    "log10",
    np.log10,
    lambda g, x: div(g, mul(x, LN10)),
    domain=(0.2, 4.0),
    lower=lambda k, x: k.log10(x),
)
log1p: Op = elementwise(
    "log1p",
    np.log1p,
    lambda g, x: div(g, add(x, 1.0)),
    domain=(-0.8, 4.0),
    lower=lambda k, x: k.log1p(x),
)
sqrt: Op = elementwise(
    "sqrt",
    np.sqrt,
    lambda g, out: div(g, add(out, out)),
    domain=(0.2, 4.0),
    lower=lambda k, x: k.sqrt(x),
)
cbrt: Op = elementwise(
    "cbrt",
    np.cbrt,
    lambda g, out: div(g, mul(square(out), 3.0)),
    domain=(0.2, 4.0),
    lower=lambda k, x: k.cbrt(x),
)


def _log_weight(x: Tensor, y: Tensor) -> Tensor:
    # x − y, but 0 where both are the same infinity, so that they share the derivative equally.
    from wengert.ops.selection import where

    same = logical_and(equal(x, y), isinf(x))
    out: Tensor = sub(where(same, 0.0, x), where(same, 0.0, y))
    return out


def _log_pairs(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    far = np.array([1e3, -1e3, -np.inf, np.inf, -np.inf]), np.array([-1e3, -1e3, 0, 0, -np.inf])
    return [
        Sample((x, y)),
        Sample((x[:, :1], y[0])),
        Sample((x[:0], y[:0])),
        Sample(far, smooth=False),
        Wrong((x[:2], y), {}, ShapeError, "cannot be broadcast"),
    ]


logaddexp: Op = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda g, x, y: mul(g, sigmoid(_log_weight(x, y))),
    lambda g, x, y: mul(g, sigmoid(_log_weight(y, x))),
    samples=_log_pairs,
    lower=lambda k, x, y: k.logaddexp(x, y),
)


# -- the logistic function ----------------------------------------------------------------------


@in_single
def _sigmoid(x: Array) -> Any:
    # For very negative x the exponential overflows to inf and the result is 0, as it should be.
    e = np.exp(np.negative(x))
    return np.reciprocal(np.add(e, x.dtype.type(1)))


def _sigmoid_slope(g: Tensor, out: Tensor) -> Tensor:
    slope: Tensor = mul(g, mul(out, sub(1.0, out)))
    return slope


sigmoid: Op = elementwise("sigmoid", _sigmoid, _sigmoid_slope, lower=lambda k, x: k.sigmoid(x))


@in_single
def _softplus(x: Array) -> Any:
    return np.logaddexp(x, x.dtype.type(0))


softplus: Op = elementwise(
    "softplus", _softplus, lambda g, x: mul(g, sigmoid(x)), lower=lambda k, x: k.softplus(x)
)


# -- trigonometric -----------------------------------------------------------------------------

sin: Op = elementwise("sin", np.sin, lambda g, x: mul(g, cos(x)), lower=lambda k, x: k.sin(x))
cos: Op = elementwise("cos", np.cos, lambda g, x: neg(mul(g, sin(x))), lower=lambda k, x: k.cos(x))
tan: Op = elementwise(
    "tan",
    np.tan,
    lambda g, out: mul(g, add(square(out), 1.0)),
    domain=(-1.2, 1.2),
    lower=lambda k, x: k.tan(x),
)


def _root(x: Tensor) -> Tensor:
    # √(1 − x²) as √((1 − x)(1 + x)), which keeps its digits near x = ±1.
    out: Tensor = sqrt(mul(sub(1.0, x), add(x, 1.0)))
    return out


asin: Op = elementwise(
    "asin",
    np.arcsin,
    lambda g, x: div(g, _root(x)),
    domain=(-0.9, 0.9),
    lower=lambda k, x: k.asin(x),
)
acos: Op = elementwise(
    "acos",
    np.arccos,
    lambda g, x: neg(div(g, _root(x))),
    domain=(-0.9, 0.9),
    lower=lambda k, x: k.acos(x),
)
atan: Op = elementwise(
    "atan", np.arctan, lambda g, x: div(g, add(square(x), 1.0)), lower=lambda k, x: k.atan(x)
)

# Divided by r twice rather than by r², which overflows long before r does.
hypot: Op = elementwise(
    "hypot",
    np.hypot,
    lambda g, x, out: mul(g, div(x, out)),
    lambda g, y, out: mul(g, div(y, out)),
    lower=lambda k, x, y: k.hypot(x, y),
)


def _turn(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r = hypot(x, y)
    out: Tensor = mul(g, div(div(y, r), r))
    return out


atan2: Op = elementwise(
    "atan2",
    np.arctan2,
    lambda g, x, y: _turn(g, x, y),
    lambda g, x, y: neg(_turn(g, y, x)),
    lower=lambda k, x, y: k.atan2(x, y),
)

# -- hyperbolic --------------------------------------------------------------------------------

sinh: Op = elementwise("sinh", np.sinh, lambda g, x: mul(g, cosh(x)), lower=lambda k, x: k.sinh(x))
cosh: Op = elementwise("cosh", np.cosh, lambda g, x: mul(g, sinh(x)), lower=lambda k, x: k.cosh(x))
tanh: Op = elementwise(
    "tanh", np.tanh, lambda g, out: mul(g, sub(1.0, square(out))), lower=lambda k, x: k.tanh(x)
)
asinh: Op = elementwise(
    "asinh", np.arcsinh, lambda g, x: div(g, hypot(x, 1.0)), lower=lambda k, x: k.asinh(x)
)
acosh: Op = elementwise(
    "acosh",
    np.arccosh,
    lambda g, x: div(g, mul(sqrt(sub(x, 1.0)), sqrt(add(x, 1.0)))),
    domain=(1.2, 4.0),
    lower=lambda k, x: k.acosh(x),
)
atanh: Op = elementwise(
    "atanh",
    np.arctanh,
    lambda g, x: div(g, mul(sub(1.0, x), add(x, 1.0))),
    domain=(-0.9, 0.9),
    lower=lambda k, x: k.atanh(x),
)
