"""Losses between numbers: squared and absolute errors, and likelihoods of counts and noise."""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at
from wengert.nn.functional.reduction import as_pair, check_same_shape, reduced

__all__ = [
    "gaussian_nll_loss",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def _weights(op: str, weight: Any, x: Tensor) -> Tensor | None:
    if weight is None:
        return None
    w = as_tensor(weight, x)
    check_same_shape(op, x, w, "weight")
    return w


def mse_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Squared error `(x − t)²`.

    The shapes must be equal: they are not broadcast. With `weight` (of the same shape), "mean" is
    the weighted mean. Raises `ShapeError` for unequal shapes, `ArgumentError` for NaN targets.

    >>> import wengert as wg
    >>> float(wg.nn.functional.mse_loss([1.0, 2.0], [1.0, 4.0]))
    2.0

    Source: Legendre 1805; Gauss 1809.
    """
    x, t = as_pair("mse_loss", input, target, reduction)
    return reduced("mse_loss", xp.square(x - t), reduction, _weights("mse_loss", weight, x))


def l1_loss(input: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Tensor:
    """Absolute error `|x − t|`, with derivative 0 where the two are equal.

    >>> import wengert as wg
    >>> float(wg.nn.functional.l1_loss([1.0, 2.0], [1.0, 4.0]))
    1.0
    """
    x, t = as_pair("l1_loss", input, target, reduction)
    return reduced("l1_loss", xp.abs(x - t), reduction, _weights("l1_loss", weight, x))


def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    """With d = x − t: `d²/2` where |d| ≤ delta, else `delta·(|d| − delta/2)`.

    >>> import wengert as wg
    >>> wg.nn.functional.huber_loss([0.5, 3.0], [0.0, 0.0], reduction="none")
    Tensor([0.125, 2.5  ], dtype=float32)

    Source: Huber 1964.
    """
    if not delta > 0:
        raise ArgumentError(at("huber_loss"), "delta must be positive", str(delta), fix="pass 1.0")
    x, t = as_pair("huber_loss", input, target, reduction)
    return reduced("huber_loss", _huber(x - t, delta), reduction, _weights("huber_loss", weight, x))


def _huber(d: Tensor, delta: float) -> Tensor:
    # With d limited to c, both branches are one product: c = d gives d²/2, c = ±delta the line.
    c = xp.clip(d, -delta, delta)
    return c * (d - c / 2)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = x − t: `d²/(2·beta)` where |d| < beta, else `|d| − beta/2`; `|d|` for beta = 0.

    >>> import wengert as wg
    >>> wg.nn.functional.smooth_l1_loss([0.5, 3.0], [0.0, 0.0], reduction="none")
    Tensor([0.125, 2.5  ], dtype=float32)

    Source: Girshick 2015.
    """
    if beta < 0:
        raise ArgumentError(
            at("smooth_l1_loss"), "beta must not be negative", met=f"{beta}", fix="pass 1.0"
        )
    if beta == 0:
        return l1_loss(input, target, reduction)
    x, t = as_pair("smooth_l1_loss", input, target, reduction)
    return reduced("smooth_l1_loss", _huber(x - t, beta) / beta, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of counts t under Poisson's law: `eˣ − t·x` for a predicted log rate
    x, or `x − t·log(x + eps)` for a rate (`log_input=False`).

    `full` adds Stirling's approximation of log t!, `t·log t − t + log(2πt)/2`, where t > 1.

    >>> import wengert as wg
    >>> float(wg.nn.functional.poisson_nll_loss([0.0], [3.0]))
    1.0
    """
    x, t = as_pair("poisson_nll_loss", input, target, reduction)
    loss = xp.exp(x) - t * x if log_input else x - t * xp.log(x + eps)
    if full:
        many = t > 1
        count = xp.where(many, t, 1)
        stirling = count * xp.log(count) - count + 0.5 * xp.log(2 * math.pi * count)
        loss = loss + xp.where(many, stirling, 0)
    return reduced("poisson_nll_loss", loss, reduction)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of t under N(x, var): `(log var + (x − t)²/var) / 2`.

    `var` has the shape of the input, or 1 in place of its last axis, or lacks that axis. It is
    taken to be at least `eps`, which the derivative ignores. `full` adds `log(2π)/2`.

    >>> import wengert as wg
    >>> float(wg.nn.functional.gaussian_nll_loss([0.0], [2.0], [1.0]))
    2.0

    Source: Nix and Weigend 1994.
    """
    x, t = as_pair("gaussian_nll_loss", input, target, reduction)
    v = _variance(as_tensor(var, x), x)
    v = v + (xp.maximum(v, eps) - v).detach()
    loss = 0.5 * (xp.log(v) + xp.square(x - t) / v)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced("gaussian_nll_loss", loss, reduction)


def _variance(v: Tensor, x: Tensor) -> Tensor:
    """The variance in a shape that is broadcast along the input's last axis at most."""
    if v.ndim and v.shape == x.shape[:-1]:
        v = v.reshape((*v.shape, 1))
    if v.ndim and v.shape not in (x.shape, (*x.shape[:-1], 1)):
        raise ShapeError(
            at("gaussian_nll_loss"),
            "the variance must have the input's shape, or differ from it in the last axis alone",
            met=f"var {v.shape} for input {x.shape}",
            fix=f"use a shape of {x.shape} or {(*x.shape[:-1], 1)}",
        )
    if not v.is_symbolic and v.size and v._data.min() < 0:
        raise ArgumentError(
            at("gaussian_nll_loss"),
            "a variance is negative",
            met=f"{float(v._data.min()):g}",
            cause="an unconstrained output used as the variance",
            fix="predict log var and pass wg.exp of it, or use softplus",
        )
    return v
