"""Element-wise choices: `where`, `maximum`, `minimum`, `clip`, `relu`.

Their derivatives are themselves choices: a cotangent that is not taken is replaced by 0, never
multiplied by 0, so an infinity or NaN from the other branch cannot leak through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.lowering import Pointwise
from wengert.core.op import NO_PARAMS, Array, Op, bind, cast_to
from wengert.core.rules import ZERO, broadcast, custom, elementwise, move_batch_in_front
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.elementwise import (
    equal,
    flat,
    greater,
    greater_equal,
    isfinite,
    less,
    less_equal,
    logical_and,
    logical_not,
)

# -- where -------------------------------------------------------------------------------------

_BITS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}  # by size in bytes
_SMALL = 4096  # entries; below, one call costs less than four


def _where(condition: Array, x: Array, y: Array) -> Any:
    """`np.where`, without its branch an entry, which a processor cannot foresee in masks as those
    of ReLU: the two values' bits are mixed under a mask of all ones or all zeros."""
    if condition.size < _SMALL:
        return np.where(condition, x, y)
    ones = np.negative(condition.view(np.int8))  # −1, which is all ones, where true
    bits = _BITS[x.dtype.itemsize]
    other = y.view(bits)
    return (((x.view(bits) ^ other) & ones) ^ other).view(x.dtype)


def _where_spec(condition: Shaped, x: Shaped, y: Shaped) -> Spec:
    if condition.dtype != dtypes.bool:
        raise DtypeError(
            "where",
            "the condition must be a bool array",
            met=describe(condition),
            fix="compare first, for example wg.where(condition != 0, x, y)",
        )
    return Spec(broadcast("where", condition.shape, x.shape, y.shape), x.dtype)


class Where(Op):
    """The choice between two operands of one dtype; Python numbers are weak, as in arithmetic."""

    def __call__(self, condition: Any, x: Any, y: Any) -> Tensor:
        condition = as_tensor(condition)
        x, y = promoted(x, y)
        if condition._data.dtype != dtypes.bool:
            self.infer(condition, x, y)
        out: Tensor = bind(self, (condition, x, y), NO_PARAMS)
        return out


def promoted(*operands: Any) -> list[Tensor]:
    """Operands as tensors of one dtype; Python numbers are weak."""
    arrays = [x if isinstance(x, (int, float)) else as_tensor(x) for x in operands]
    like = next((x for x in arrays if isinstance(x, Tensor)), None)
    tensors = [as_tensor(x, like) for x in arrays]
    first = tensors[0]._data.dtype
    if all(t._data.dtype is first for t in tensors):
        return tensors
    dtype = dtypes.promote(*(t.dtype for t in tensors))
    return [cast_to(t, dtype) for t in tensors]


def _where_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    mask = rng.integers(0, 2, (3, 4)).astype(bool)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    unsafe = np.where(mask, 1.0, np.nan), np.where(mask, np.inf, 2.0)
    return [
        Sample((mask, x, y)),
        Sample((mask, x[0], y[:, :1])),
        Sample((mask[0, 0], x[0, 0], y[0])),
        Sample((mask[:0], x[:0], y[:0])),
        Sample((mask, *unsafe), smooth=False),
        Wrong((x, x, y), {}, DtypeError, "condition must be a bool"),
        Wrong((mask, x[:2], y), {}, ShapeError, "cannot be broadcast"),
    ]


where: Op = Where(
    "where",
    _where,
    _where_spec,
    operands=("c", "x", "y"),
    jvps=(None, lambda t, c: where(c, t, 0.0), lambda t, c: where(c, 0.0, t)),
    vjps=(None, lambda g, c: where(c, g, 0.0), lambda g, c: where(c, 0.0, g)),
    batch=lambda size, args, batched: where(*move_batch_in_front(args, batched)),
    samples=_where_samples,
    lower=Pointwise(lambda k, c, x, y: k.select(c, x, y)),
)


def _annul(v: Array, y: Array) -> Any:
    if v.shape == y.shape and np.isfinite(np.add.reduce(v, axis=None)):
        return v  # finite throughout, as nearly always
    return np.where((y == 0) & ~np.isfinite(v), np.zeros((), v.dtype), v)


# v, but 0 where v is not finite and y is 0. The reverse walk needs it above a `where`: a branch
# that was not taken has the cotangent 0, and keeps it though its slope be infinite or NaN.
annul: Op = elementwise(
    "annul",
    _annul,
    lambda g, x, y: annul(where(logical_and(equal(y, 0), logical_not(isfinite(x))), 0.0, g), y),
    ZERO,
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))),
        Sample((rng.normal(size=(3, 1)), rng.normal(size=4))),
        Sample(
            (np.array([np.nan, np.inf, 1.0, np.nan]), np.array([0.0, 0.0, 0.0, 1.0])), {}, False
        ),
        Sample((np.zeros((0, 2)), np.zeros((0, 2)))),
        Wrong((np.zeros(2), np.zeros(3)), {}, ShapeError, "cannot be broadcast"),
    ],
    lower=lambda k, x, y: k.select(k.eq(y, 0) & k.negated(k.isfinite(x)), 0, x),
)


# -- maximum and minimum -----------------------------------------------------------------------


def _share(v: Array, x: Array, y: Array) -> Any:
    half = np.multiply(v, v.dtype.type(0.5))
    return _where(x < y, np.zeros((), v.dtype), _where(x == y, half, v))


# What x in `maximum(x, y)` gets of v: nothing where x < y, half of it in a tie, else (also where
# one is NaN) all of it.
share: Op = custom(
    "share",
    _share,
    lambda v, x, y: Spec(broadcast("share", v.shape, x.shape, y.shape), v.dtype),
    operands=("v", "x", "y"),
    jvps=(lambda t, x, y: share(t, x, y), None, None),
    vjps=(lambda g, x, y: share(g, x, y), None, None),
    batch=lambda size, args, batched: share(*move_batch_in_front(args, batched)),
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 1)), rng.normal(size=(4,)))),
        Sample((np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 2.0]), np.ones(3)), smooth=False),
        Wrong((np.zeros(3), np.zeros(2), np.zeros(3)), {}, ShapeError, "cannot be broadcast"),
    ],
    lower=lambda k, v, x, y: k.select(k.lt(x, y), 0.0, k.select(k.eq(x, y), v * 0.5, v)),
)


def _pairs(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    ties = np.array([1.0, 2.0, -np.inf, np.inf, 0.0]), np.array([1.0, 0.0, -np.inf, 0.0, -0.0])
    return [
        Sample((x, y)),
        Sample((x[:, :1], y[0])),
        Sample((x[0, 0], y[0])),
        Sample((x[:0], y[:0])),
        Sample(ties, smooth=False),
        Wrong((x[:2], y), {}, ShapeError, "cannot be broadcast"),
    ]


maximum: Op = elementwise(
    "maximum",
    np.maximum,
    lambda g, x, y: share(g, x, y),
    lambda g, x, y: share(g, y, x),
    takes="any",
    samples=_pairs,
    lower=lambda k, x, y: k.maximum(x, y),
)
minimum: Op = elementwise(
    "minimum",
    np.minimum,
    lambda g, x, y: share(g, y, x),
    lambda g, x, y: share(g, x, y),
    takes="any",
    samples=_pairs,
    lower=lambda k, x, y: k.minimum(x, y),
)

# relu'(0) = 0, where the tie of maximum(x, 0) would give 1/2.
relu: Op = elementwise(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, out: where(less_equal(out, 0.0), 0.0, g),
    takes="numeric",
    lower=lambda k, x: k.at_least(x, 0),
)


# -- clip --------------------------------------------------------------------------------------


def _clip(x: Array, lower: Array, upper: Array) -> Any:
    return np.minimum(np.maximum(x, lower), upper)


def _inside(g: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    out: Tensor = where(logical_and(greater_equal(x, lower), less_equal(x, upper)), g, 0.0)
    return out


def _below(g: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    out: Tensor = where(logical_and(less(x, lower), less_equal(lower, upper)), g, 0.0)
    return out


def _above(g: Tensor, x: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    out: Tensor = where(greater(maximum(x, lower), upper), g, 0.0)
    return out


class Clip(Op):
    """`x` held between two bounds of its dtype."""

    def __call__(self, x: Any, lower: Any, upper: Any) -> Tensor:
        out: Tensor = bind(self, tuple(promoted(x, lower, upper)), NO_PARAMS)
        return out


clip: Op = Clip(
    "clip",
    _clip,
    lambda x, lower, upper: Spec(broadcast("clip", x.shape, lower.shape, upper.shape), x.dtype),
    operands=("x", "lower", "upper"),
    jvps=(_inside, _below, _above),
    vjps=(_inside, _below, _above),
    batch=lambda size, args, batched: clip(*move_batch_in_front(args, batched)),
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 4)), np.array(-0.5), np.array(0.5))),
        Sample((rng.normal(size=(3, 4)), rng.uniform(-1, 0, (3, 1)), rng.uniform(0, 1, 4))),
        Sample((np.array([-1.0, 0.0, 1.0, np.nan]), np.array(-1.0), np.array(1.0)), smooth=False),
        Sample((np.array([-1.0, 0.5, 3.0]), np.array(2.0), np.array(0.0))),
        Wrong((np.zeros(3), np.zeros(2), np.ones(())), {}, ShapeError, "cannot be broadcast"),
    ],
    lower=Pointwise(lambda k, x, lower, upper: k.minimum(k.maximum(x, lower), upper)),
)

# 1 above 0, 0 below, and `y` at 0 itself: the derivative in x is 0 wherever it exists.
heaviside: Op = elementwise(
    "heaviside",
    np.heaviside,
    flat,
    lambda g, x: where(equal(x, 0.0), g, 0.0),
    lower=lambda k, x, y: k.heaviside(x, y),
)
