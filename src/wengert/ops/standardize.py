"""Standardising along axes: what every normalisation layer computes before it scales and shifts.

Written out of mean, subtraction, square and root it is eleven nodes that keep four arrays; as an op
it keeps one. Its derivative is a projection, which is the op `project`: linear and symmetric in its
first operand, so that the pair is closed under derivatives of any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import AxisError, DtypeError, ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import add, div, mul, neg, reciprocal, square, sub
from wengert.ops.functions import sqrt
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.reduce import Axes, kept_shape, reduced_spec, shift
from wengert.ops.reduce import sum as reduce_sum
from wengert.ops.softmax import steps


def _count(shape: Sequence[int], axis: Axes) -> int:
    return math.prod([shape[a] for a in axis])


def _mean(x: Tensor, axis: Axes) -> Tensor:
    """The mean over axes, which stay with size 1."""
    total = reshape(reduce_sum(x, axis=axis), shape=kept_shape(x.shape, axis))
    out: Tensor = div(total, float(_count(x.shape, axis)))
    return out


def _reduced(x: Array, axis: Axes) -> Array:
    total = np.add.reduce(x, axis=axis, keepdims=True)
    total /= x.dtype.type(_count(x.shape, axis))
    return total


def _in_single(arrays: Sequence[Array]) -> list[Array]:
    """16-bit floats as float32, in which references of several steps work."""
    return [a.astype(np.float32) if a.dtype.itemsize == 2 else a for a in arrays]


# -- standardize -------------------------------------------------------------------------------


def _standardize_spec(x: Shaped, axis: Axes, eps: float, center: bool) -> tuple[Spec, Spec, Spec]:
    reduced_spec(x, axis, "standardize")
    if not dtypes.is_float(x.dtype):
        raise DtypeError(
            "standardize", "takes a floating array", met=describe(x), fix="cast it to float32"
        )
    kept = Spec(kept_shape(x.shape, axis), x.dtype)
    return Spec(x.shape, x.dtype), kept, kept


def _standardize(x: Array, axis: Axes, eps: float, center: bool) -> tuple[Array, Array, Array]:
    dtype = x.dtype
    (x,) = _in_single((x,))
    mean = _reduced(x, axis)
    y = x - mean if center else x.copy()
    variance = _reduced(np.square(y), axis)
    y *= 1.0 / np.sqrt(variance + x.dtype.type(eps))
    if y.dtype == dtype:
        return y, mean, variance
    return y.astype(dtype), mean.astype(dtype), variance.astype(dtype)


def _factor(variance: Tensor, eps: float) -> Tensor:
    out: Tensor = reciprocal(sqrt(add(variance, eps)))
    return out


def _tangent(
    t: Tensor, out: tuple[Tensor, Tensor, Tensor], axis: Axes, eps: float, center: bool
) -> tuple[Tensor, Tensor, Tensor]:
    y, _, variance = out
    factor = _factor(variance, eps)
    return (
        project(t, y, factor, axis=axis, center=center),
        _mean(t, axis),
        div(mul(_mean(mul(t, y), axis), 2.0), factor),
    )


def _cotangent(
    g: tuple[Tensor | None, Tensor | None, Tensor | None],
    out: tuple[Tensor, Tensor, Tensor],
    axis: Axes,
    eps: float,
    center: bool,
) -> Tensor | None:
    g_y, g_mean, g_variance = g
    y, _, variance = out
    factor = _factor(variance, eps)
    count = float(_count(y.shape, axis))
    parts = []
    if g_y is not None:
        parts.append(project(g_y, y, factor, axis=axis, center=center))
    if g_variance is not None:  # ∂variance/∂x = 2·(x − mean) / n, and x − mean = y / factor
        parts.append(mul(y, div(mul(g_variance, 2.0 / count), factor)))
    if g_mean is not None:
        parts.append(broadcast_to(div(g_mean, count), shape=y.shape))
    total: Tensor | None = None
    for part in parts:
        total = part if total is None else add(total, part)
    return total


def _standardize_steps(
    x: Tensor, axis: Axes, eps: float, center: bool
) -> tuple[Tensor, Tensor, Tensor]:
    mean = _mean(x, axis)
    y = sub(x, mean) if center else x
    variance = _mean(square(y), axis)
    return mul(y, _factor(variance, eps)), mean, variance


def _standardize_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    rows = {"axis": (1,), "eps": 1e-5, "center": True}
    return [
        Sample((rng.normal(size=(3, 4)),), rows),
        Sample((rng.normal(size=(3, 2, 4)) + 5,), {"axis": (0, 2), "eps": 0.1, "center": True}),
        Sample((rng.normal(size=(2, 4)),), {**rows, "center": False}),
        Sample((rng.normal(size=(2, 0)),), {**rows, "axis": (0,)}),
        Sample((np.ones((2, 3)),), {**rows, "eps": 1.0}),
        Wrong((np.ones((2, 3)),), {**rows, "axis": (2,)}, AxisError, "no such axis"),
        Wrong((np.ones((2, 3), int),), rows, DtypeError, "takes a floating"),
    ]


# (y, mean, variance) with y = (x − mean) / √(variance + eps). Without `center` the mean is not
# subtracted, and "variance" is the mean square. Reduced axes stay with size 1.
standardize: Op = custom(
    "standardize",
    _standardize,
    _standardize_spec,
    jvps=(_tangent,),
    vjps=(_cotangent,),
    work=lambda out, x, **params: 5 * math.prod(x.shape),
    batch=lambda size, args, batched, axis, **params: standardize(
        args[0], axis=shift(axis), **params
    ),
    samples=_standardize_samples,
    lower=steps(_standardize_steps),
    several=True,
)


# -- project -----------------------------------------------------------------------------------


def _project_spec(g: Shaped, y: Shaped, factor: Shaped, axis: Axes, center: bool) -> Spec:
    reduced_spec(g, axis, "project")
    if y.shape != g.shape or tuple(factor.shape) != kept_shape(g.shape, axis):
        raise ShapeError(
            "project",
            "takes two arrays of one shape, and a factor with the reduced axes of size 1",
            met=describe(g, y, factor),
            fix="give the factor one entry for each set of reduced entries",
        )
    if not g.dtype == y.dtype == factor.dtype or not dtypes.is_float(g.dtype):
        raise DtypeError(
            "project", "takes floats of one dtype", met=describe(g, y, factor), fix="cast them"
        )
    return Spec(g.shape, g.dtype)


def _project(g: Array, y: Array, factor: Array, axis: Axes, center: bool) -> Array:
    _project_spec(g, y, factor, axis, center)
    dtype = g.dtype
    g, y, factor = _in_single((g, y, factor))
    out = g * y
    along = _reduced(out, axis)
    np.multiply(y, along, out=out)
    np.subtract(g, out, out=out)
    if center:
        out -= _reduced(g, axis)
    out *= factor
    return out.astype(dtype, copy=False)


def _unscaled(g: Tensor, y: Tensor, factor: Tensor, axis: Axes, center: bool) -> Tensor:
    """`project` with a factor of 1."""
    one = Tensor(np.ones(factor.shape, factor.dtype))
    out: Tensor = project(g, y, one, axis=axis, center=center)
    return out


def _direction_tangent(t: Tensor, g: Tensor, y: Tensor, factor: Tensor, axis: Axes) -> Tensor:
    along = add(mul(t, _mean(mul(g, y), axis)), mul(y, _mean(mul(g, t), axis)))
    out: Tensor = neg(mul(along, factor))
    return out


def _direction_cotangent(h: Tensor, g: Tensor, y: Tensor, factor: Tensor, axis: Axes) -> Tensor:
    along = add(mul(h, _mean(mul(g, y), axis)), mul(g, _mean(mul(h, y), axis)))
    out: Tensor = neg(mul(along, factor))
    return out


def _factor_cotangent(
    h: Tensor, g: Tensor, y: Tensor, factor: Tensor, axis: Axes, center: bool
) -> Tensor:
    total = reduce_sum(mul(h, _unscaled(g, y, factor, axis, center)), axis=axis)
    out: Tensor = reshape(total, shape=factor.shape)
    return out


def _project_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], axis: Axes, center: bool
) -> Tensor:
    full = [
        t if b else broadcast_to(t, shape=(size, *t.shape))
        for t, b in zip(args, batched, strict=True)
    ]
    out: Tensor = project(*full, axis=shift(axis), center=center)
    return out


def _project_steps(g: Tensor, y: Tensor, factor: Tensor, axis: Axes, center: bool) -> Tensor:
    out = sub(g, mul(y, _mean(mul(g, y), axis)))
    if center:
        out = sub(out, _mean(g, axis))
    projected: Tensor = mul(out, factor)
    return projected


def _project_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    g, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    good = {"axis": (1,), "center": True}
    return [
        Sample((g, y, rng.normal(size=(2, 1))), good),
        Sample((g, y, rng.normal(size=(1, 3))), {"axis": (0,), "center": False}),
        Sample((g, y, np.zeros((1, 1))), {"axis": (0, 1), "center": True}),
        Sample((g[:, :0], y[:, :0], np.ones((1, 0))), {"axis": (0,), "center": True}),
        Wrong((g, y, np.ones((2, 3))), good, ShapeError, "of size 1"),
        Wrong((g, y.astype(np.float32), np.ones((2, 1))), good, DtypeError, "one dtype"),
        Wrong((g, y, np.ones((2, 1))), {"axis": (2,), "center": True}, AxisError, "no such axis"),
    ]


# factor·(g − mean(g) − y·mean(g·y)), the first mean only with `center`: the derivative of
# `standardize` along g, and its transpose, for y = standardize(x) and factor = 1/√(variance + eps).
project: Op = custom(
    "project",
    _project,
    _project_spec,
    operands=("g", "y", "factor"),
    jvps=(
        lambda t, y, factor, axis, center: project(t, y, factor, axis=axis, center=center),
        _direction_tangent,
        lambda t, g, y, factor, axis, center: mul(t, _unscaled(g, y, factor, axis, center)),
    ),
    vjps=(
        lambda h, y, factor, axis, center: project(h, y, factor, axis=axis, center=center),
        _direction_cotangent,
        _factor_cotangent,
    ),
    work=lambda out, g, y, factor, **params: 7 * math.prod(g.shape),
    batch=_project_batch,
    samples=_project_samples,
    lower=steps(_project_steps),
)
