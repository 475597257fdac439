"""Reductions over axes. The primitives take a sorted tuple of axes and drop them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, AxisError
from wengert.core.lowering import Reduction
from wengert.core.op import Array, Op, cast_to
from wengert.core.rules import custom, linear, no_such_axis, normalize_axis, one_an_input
from wengert.core.sample import Sample, Sampler, Wrong
from wengert.core.spec import Shape, Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import div, equal, mul
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.numerics import in_single
from wengert.ops.selection import where

Axes = tuple[int, ...]
Axis = int | tuple[int, ...] | None


def axes_of(op: str, axis: Axis, ndim: int) -> Axes:
    """The axes that a reduction goes over, sorted and without negative ones; None means all."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        axes = sorted([normalize_axis(op, a, ndim) for a in axis])
        if len(set(axes)) != len(axes):
            raise AxisError(op, "an axis is named twice", repr(axis), fix="name each axis once")
        return tuple(axes)
    return (normalize_axis(op, axis, ndim),)


def kept_shape(shape: Shape, axis: Axes) -> Shape:
    """The shape after a reduction that keeps reduced axes with size 1."""
    return tuple([1 if i in axis else n for i, n in enumerate(shape)])


def kept(g: Tensor, shape: Shape, axis: Axes) -> Tensor:
    """The result of a reduction of `shape`, with the axes that it dropped put back as size 1
    (or, where they are the leading ones, left to broadcasting)."""
    if axis == tuple(range(len(axis))):
        return g
    out: Tensor = reshape(g, shape=kept_shape(shape, axis))
    return out


def spread(g: Tensor, shape: Shape, axis: Axes) -> Tensor:
    """Broadcast the result of a reduction back over the axes that it dropped."""
    g = kept(g, shape, axis)
    out: Tensor = g if g.shape == shape else broadcast_to(g, shape=shape)
    return out


def reduced_spec(x: Shaped, axis: Axes, op: str = "sum") -> Spec:
    """Shape rule of reductions that keep the dtype."""
    for a in axis:
        if not 0 <= a < len(x.shape):
            raise no_such_axis(op, a, len(x.shape))
    return Spec(tuple(n for i, n in enumerate(x.shape) if i not in axis), x.dtype)


def reduce_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    """Shapes and axes that each reduction is tested with."""
    x = rng.normal(size=(2, 3, 4))
    return [
        Sample((x,), {"axis": (1,)}),
        Sample((x,), {"axis": (0, 2)}),
        Sample((x,), {"axis": (0, 1, 2)}),
        Sample((x,), {"axis": ()}),
        Sample((rng.normal(size=()),), {"axis": ()}),
        Wrong((x,), {"axis": (3,)}, AxisError, "no such axis"),
    ]


def shift(axis: Axes) -> Axes:
    """The same axes behind a leading batch axis."""
    return tuple([a + 1 for a in axis])


def _as_is(k: Any, x: Any, position: Any) -> tuple[Any, ...]:
    return (x,)


def _folding(start: Any, combine: Any) -> Reduction:
    """The lowering of a reduction that carries one number: what to begin with, and two into one."""
    begin = start if callable(start) else lambda dtype: start
    return Reduction(
        lambda dtype: (begin(dtype),), _as_is, lambda k, a, b: (combine(k, a[0], b[0]),)
    )


def _least(dtype: Any) -> Any:
    """The neutral element of the maximum."""
    if dtype == dtypes.bool:
        return False
    return -math.inf if dtypes.is_float(dtype) else int(np.iinfo(dtype).min)


def _greatest(dtype: Any) -> Any:
    """The neutral element of the minimum."""
    if dtype == dtypes.bool:
        return True
    return math.inf if dtypes.is_float(dtype) else int(np.iinfo(dtype).max)


# -- sum and product ---------------------------------------------------------------------------


def _sum(x: Any, axis: Axes) -> Any:
    if x.dtype.itemsize == 2 and x.dtype in dtypes.FLOATS:  # add up in float32, round once
        return np.add.reduce(x, axis=axis, dtype=np.float32).astype(x.dtype)
    return np.add.reduce(x, axis=axis, dtype=x.dtype)


sum: Op = linear(
    "sum",
    _sum,
    reduced_spec,
    lambda g, x_spec, axis: spread(g, x_spec.shape, axis),
    work=one_an_input,
    lower=_folding(0, lambda k, a, b: k.add(a, b)),
    batch=lambda size, args, batched, axis: sum(args[0], axis=shift(axis)),
    samples=lambda rng: [*reduce_samples(rng), Sample((rng.normal(size=(0, 2)),), {"axis": (0,)})],
)


@in_single
def _prod(x: Array, axis: int) -> Any:
    return np.multiply.reduce(x, axis=axis, dtype=x.dtype)


def _others(x: Tensor, axis: int) -> Tensor:
    """For each entry the product of all others along the axis, right where entries are zero."""
    from wengert.ops.cumulative import product_before

    out: Tensor = mul(product_before(x, axis, False), product_before(x, axis, True))
    return out


def _prod_tangent(t: Tensor, x: Tensor, axis: int) -> Tensor:
    out: Tensor = sum(mul(t, _others(x, axis)), axis=(axis,))
    return out


def _prod_cotangent(g: Tensor, x: Tensor, axis: int) -> Tensor:
    out: Tensor = mul(kept(g, x.shape, (axis,)), _others(x, axis))
    return out


# Over one axis; the namespace merges several into one first.
prod: Op = custom(
    "prod",
    _prod,
    lambda x, axis: reduced_spec(x, (axis,), "prod"),
    jvps=(_prod_tangent,),
    vjps=(_prod_cotangent,),
    work=one_an_input,
    lower=_folding(1, lambda k, a, b: k.mul(a, b)),
    batch=lambda size, args, batched, axis: prod(args[0], axis=axis + 1),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3, 2)),), {"axis": 1}),
        Sample((rng.normal(size=(3,)),), {"axis": 0}),
        Sample((np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]]),), {"axis": 1}),
        Sample((rng.normal(size=(0, 2)),), {"axis": 0}),
        Wrong((rng.normal(size=(2,)),), {"axis": 1}, AxisError, "no such axis"),
    ],
)


# -- largest and smallest ----------------------------------------------------------------------


def _nonempty(x: Shaped, axis: Axes, op: str) -> Spec:
    spec = reduced_spec(x, axis, op)
    if math.prod([x.shape[a] for a in axis]) == 0:
        raise ArgumentError(
            op,
            "an empty axis has no such element",
            met=f"axes {axis} of {tuple(x.shape)}",
            fix="reduce only where x.size > 0, or concatenate a starting value first",
        )
    return spec


def _hits(x: Tensor, out: Tensor, axis: Axes) -> tuple[Tensor, Tensor]:
    """Where the extreme value stands, and how many times it does."""
    hit: Tensor = equal(x, kept(out, x.shape, axis))
    count: Tensor = sum(cast_to(hit, x.dtype), axis=axis)
    return hit, count


# Ties share equally. A NaN result equals nothing: its gradient is 0/0, NaN as well.
def _extreme_tangent(t: Tensor, x: Tensor, out: Tensor, axis: Axes) -> Tensor:
    hit, count = _hits(x, out, axis)
    tangent: Tensor = div(sum(where(hit, t, 0.0), axis=axis), count)
    return tangent


def _extreme_cotangent(g: Tensor, x: Tensor, out: Tensor, axis: Axes) -> Tensor:
    hit, count = _hits(x, out, axis)
    shape = x.shape
    cotangent: Tensor = div(where(hit, kept(g, shape, axis), 0.0), kept(count, shape, axis))
    return cotangent


def _extreme_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    ties = np.array([[1.0, 1.0, 0.0], [2.0, np.nan, 3.0], [np.inf, np.inf, np.inf]])
    return [
        *reduce_samples(rng),
        Sample((ties,), {"axis": (1,)}, smooth=False),
        Sample((rng.normal(size=(0, 2)),), {"axis": (1,)}),
        Wrong((np.zeros((0, 2)),), {"axis": (0,)}, ArgumentError, "an empty axis"),
        Wrong((np.zeros((0, 0)),), {"axis": (1,)}, ArgumentError, "an empty axis"),
    ]


def _extreme(name: str, ufunc: Any, lower: Reduction) -> Op:
    def batch(size: int, args: Any, batched: Any, axis: Axes) -> Any:
        return op(args[0], axis=shift(axis))

    op: Op = custom(
        name,
        lambda x, axis: ufunc.reduce(x, axis=axis),
        lambda x, axis: _nonempty(x, axis, name),
        jvps=(_extreme_tangent,),
        vjps=(_extreme_cotangent,),
        work=one_an_input,
        batch=batch,
        samples=_extreme_samples,
        lower=lower,
    )
    return op


max = _extreme("max", np.maximum, _folding(_least, lambda k, a, b: k.maximum(a, b)))
min = _extreme("min", np.minimum, _folding(_greatest, lambda k, a, b: k.minimum(a, b)))


# -- without derivative ------------------------------------------------------------------------


def _truth(name: str, ufunc: Any, neutral: bool) -> Op:
    def infer(x: Shaped, axis: Axes) -> Spec:
        return Spec(reduced_spec(x, axis, name).shape, dtypes.bool)

    def batch(size: int, args: Any, batched: Any, axis: Axes) -> Any:
        return op(args[0], axis=shift(axis))

    draw: Sampler = lambda rng: [
        Sample((rng.integers(0, 2, (2, 3, 4)).astype(bool),), {"axis": (0, 2)}),
        Sample((rng.integers(0, 2, (3,)),), {"axis": (0,)}),
        Sample((np.zeros((0, 2)),), {"axis": (0,)}),
        Wrong((np.zeros(2),), {"axis": (1,)}, AxisError, "no such axis"),
    ]
    op: Op = custom(
        name,
        lambda x, axis: ufunc.reduce(x, axis=axis, dtype=bool),
        infer,
        batch=batch,
        samples=draw,
        lower=Reduction(
            lambda dtype: (neutral,),
            lambda k, x, position: (k.truthy(x),),
            lambda k, a, b: (a[0] & b[0] if neutral else a[0] | b[0],),
            carries=lambda dtype: (dtypes.bool,),
        ),
    )
    return op


all = _truth("all", np.logical_and, True)
any = _truth("any", np.logical_or, False)


def _further(sign: int) -> Any:
    """Which of two (value, place) is taken: NaN before all, then the more extreme value, then the
    one that stands first."""

    def combine(k: Any, a: Any, b: Any) -> Any:
        (x, i), (y, j) = a, b
        beyond = k.gt(y, x) if sign > 0 else k.lt(y, x)
        same = k.eq(x, y)
        if dtypes.is_float(k.dtype):
            x_nan, y_nan = k.isnan(x), k.isnan(y)
            beyond = k.either(beyond, k.both(y_nan, k.negated(x_nan)))
            same = k.either(same, k.both(x_nan, y_nan))
        earlier = k.f.compare("slt", j, i)
        take = k.either(beyond, k.both(same, earlier))
        return k.select(take, y, x), k.select(take, j, i)

    return combine


def _arg(name: str, reference: Any, sign: int) -> Op:
    def infer(x: Shaped, axis: int) -> Spec:
        return Spec(_nonempty(x, (axis,), name).shape, dtypes.int64)

    def batch(size: int, args: Any, batched: Any, axis: int) -> Any:
        return op(args[0], axis=axis + 1)

    draw: Sampler = lambda rng: [
        Sample((rng.normal(size=(2, 3, 4)),), {"axis": 1}),
        Sample((np.array([1.0, 3.0, 3.0, 0.0, 0.0]),), {"axis": 0}),
        Wrong((np.zeros(2),), {"axis": 1}, AxisError, "no such axis"),
        Wrong((np.zeros((0, 2)),), {"axis": 0}, ArgumentError, "an empty axis"),
        Wrong((np.zeros((0, 0)),), {"axis": 1}, ArgumentError, "an empty axis"),
    ]
    neutral = _least if sign > 0 else _greatest
    op: Op = custom(
        name,
        lambda x, axis: reference(x, axis=axis),
        infer,
        batch=batch,
        samples=draw,
        lower=Reduction(
            lambda dtype: (neutral(dtype), np.iinfo(np.int64).max),
            lambda k, x, position: (x, position),
            _further(sign),
            lambda k, a: a[1],
            lambda dtype: (dtype, dtypes.int64),
        ),
    )
    return op


argmax = _arg("argmax", np.argmax, 1)
argmin = _arg("argmin", np.argmin, -1)
