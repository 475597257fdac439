"""Softmax, its logarithm, and the logarithm of a sum of exponentials.

Written out of exp, max and sum each of these would keep four arrays and walk back nine steps; as
ops they keep one array and walk back four or five. Softmax losses and attention live on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.lowering import Expand
from wengert.core.op import Array, Op, cast_to
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import add, div, isinf, mul, sub
from wengert.ops.functions import exp, log
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.numerics import in_single, largest
from wengert.ops.reduce import Axes, kept, max, reduce_samples, reduced_spec, shift, sum
from wengert.ops.selection import clip, where


def _shifted(x: Array, axis: Axes) -> tuple[Array, Array]:
    """x minus its maximum, so that exp cannot overflow, and that maximum."""
    top = np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    return np.asarray(np.subtract(x, top)), top


@in_single
def _softmax(x: Array, axis: Axes) -> Any:
    e, _ = _shifted(x, axis)
    np.exp(e, out=e)
    e /= np.add.reduce(e, axis=axis, keepdims=True)
    return e


@in_single
def _log_softmax(x: Array, axis: Axes) -> Any:
    z, _ = _shifted(x, axis)
    return np.subtract(z, np.log(np.add.reduce(np.exp(z), axis=axis, keepdims=True)), out=z)


@in_single
def _logsumexp(x: Array, axis: Axes) -> Any:
    z, top = _shifted(x, axis)
    infinite = np.isinf(top)
    if infinite.any():  # an infinite maximum is the result
        z[np.broadcast_to(infinite, z.shape)] = 0
    total = np.add.reduce(np.exp(z), axis=axis)
    return np.add(np.log(total), np.reshape(top, np.shape(total)))


# The same steps as ops, which the compiler fuses with what stands before and behind them.


def steps(rule: Callable[..., Any]) -> Expand:
    """An expression that computes 16-bit floats in float32 and rounds its results once, as
    references of several steps do."""

    def expand(*operands: Tensor, **params: Any) -> Any:
        dtype = operands[0].dtype
        if dtype.itemsize != 2:
            return rule(*operands, **params)
        found = rule(*[cast_to(x, dtypes.float32) for x in operands], **params)
        if isinstance(found, tuple):
            return tuple(cast_to(y, dtype) for y in found)
        return cast_to(found, dtype)

    return Expand(expand)


def _below_top(x: Tensor, axis: Axes) -> tuple[Tensor, Tensor]:
    top = kept(max(x, axis=axis), x.shape, axis)
    return sub(x, top), top


def _softmax_steps(x: Tensor, axis: Axes) -> Tensor:
    if not x.size:
        return x
    e = exp(_below_top(x, axis)[0])
    out: Tensor = div(e, kept(sum(e, axis=axis), x.shape, axis))
    return out


def _log_softmax_steps(x: Tensor, axis: Axes) -> Tensor:
    if not x.size:
        return x
    z, _ = _below_top(x, axis)
    out: Tensor = sub(z, kept(log(sum(exp(z), axis=axis)), x.shape, axis))
    return out


def _logsumexp_steps(x: Tensor, axis: Axes) -> Tensor:
    if not x.size:  # log 0
        return broadcast_to(Tensor(np.array(-np.inf, x.dtype)), shape=reduced_spec(x, axis).shape)
    z, top = _below_top(x, axis)
    total = sum(exp(where(isinf(top), 0.0, z)), axis=axis)
    out: Tensor = add(log(total), reshape(top, shape=total.shape))
    return out


def _softmax_slope(g: Tensor, out: Tensor, axis: Axes) -> Tensor:
    mean = kept(sum(mul(g, out), axis=axis), out.shape, axis)
    slope: Tensor = mul(out, sub(g, mean))
    return slope


def _log_softmax_tangent(t: Tensor, out: Tensor, axis: Axes) -> Tensor:
    mean = kept(sum(mul(t, exp(out)), axis=axis), out.shape, axis)
    tangent: Tensor = sub(t, mean)
    return tangent


def _log_softmax_cotangent(g: Tensor, out: Tensor, axis: Axes) -> Tensor:
    total = kept(sum(g, axis=axis), out.shape, axis)
    cotangent: Tensor = sub(g, mul(exp(out), total))
    return cotangent


def _weights(x: Tensor, axis: Axes) -> Tensor:
    """The softmax, with infinities taken as the largest numbers: so that equal ones share."""
    limit = largest(x.dtype)
    weights: Tensor = softmax(clip(x, -limit, limit), axis=axis)
    return weights


def _logsumexp_tangent(t: Tensor, x: Tensor, axis: Axes) -> Tensor:
    tangent: Tensor = sum(mul(t, _weights(x, axis)), axis=axis)
    return tangent


def _logsumexp_cotangent(g: Tensor, x: Tensor, axis: Axes) -> Tensor:
    cotangent: Tensor = mul(kept(g, x.shape, axis), _weights(x, axis))
    return cotangent


def _row_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    far = np.array([[1e3, 999.0, 0.0], [-1e3, -1e3, -999.0], [-np.inf, 2.0, 1.0]])
    return [
        *reduce_samples(rng),
        Sample((np.zeros((0, 2)),), {"axis": (0,)}),
        Sample((far,), {"axis": (1,)}, smooth=False),
    ]


def _same_shape(x: Shaped, axis: Axes, op: str) -> Spec:
    reduced_spec(x, axis, op)
    return Spec(x.shape, x.dtype)


softmax: Op = custom(
    "softmax",
    _softmax,
    lambda x, axis: _same_shape(x, axis, "softmax"),
    jvps=(_softmax_slope,),
    vjps=(_softmax_slope,),  # the Jacobian diag(p) − p·pᵀ is symmetric
    work=lambda out, x, axis: 5 * math.prod(x.shape),
    batch=lambda size, args, batched, axis: softmax(args[0], axis=shift(axis)),
    samples=_row_samples,
    lower=steps(_softmax_steps),
)
log_softmax: Op = custom(
    "log_softmax",
    _log_softmax,
    lambda x, axis: _same_shape(x, axis, "log_softmax"),
    jvps=(_log_softmax_tangent,),
    vjps=(_log_softmax_cotangent,),
    work=lambda out, x, axis: 5 * math.prod(x.shape),
    batch=lambda size, args, batched, axis: log_softmax(args[0], axis=shift(axis)),
    samples=_row_samples,
    lower=steps(_log_softmax_steps),
)
logsumexp: Op = custom(
    "logsumexp",
    _logsumexp,
    lambda x, axis: reduced_spec(x, axis, "logsumexp"),
    jvps=(_logsumexp_tangent,),
    vjps=(_logsumexp_cotangent,),
    work=lambda out, x, axis: 4 * math.prod(x.shape),
    batch=lambda size, args, batched, axis: logsumexp(args[0], axis=shift(axis)),
    samples=_row_samples,
    lower=steps(_logsumexp_steps),
)
