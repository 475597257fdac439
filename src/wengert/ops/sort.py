"""Sorting. NaN counts as larger than all else; equal elements keep their order."""

from __future__ import annotations

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import AxisError
from wengert.core.lowering import Native
from wengert.core.op import Array, Op
from wengert.core.rules import custom, normalize_axis
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.index import add_along, take_along


def sortable(x: Array) -> Array:
    """`x` in a dtype that NumPy sorts with NaN last: bfloat16 is widened, which loses nothing."""
    return x.astype(np.float32) if x.dtype == dtypes.bfloat16 else x


def _argsort(x: Array, axis: int, descending: bool) -> Array:
    normalize_axis("argsort", axis, x.ndim)
    x = sortable(x)
    if not descending:
        return np.argsort(x, axis, kind="stable")
    # The reverse of an ascending order would put equal elements last to first: turn them round.
    backward = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - backward, axis)


def _argsort_spec(x: Shaped, axis: int, descending: bool) -> Spec:
    normalize_axis("argsort", axis, len(x.shape))
    return Spec(x.shape, dtypes.int64)


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x = rng.permutation(24).reshape(2, 3, 4) * 0.25
    return [
        Sample((x,), {"axis": 1, "descending": False}),
        Sample((x,), {"axis": 2, "descending": True}),
        Sample((x[:, :0],), {"axis": 1, "descending": False}),
        Sample((np.array([2.0, 1.0, 2.0, 1.0]),), {"axis": 0, "descending": True}, smooth=False),
        Sample((np.array([np.nan, 1.0, np.inf]),), {"axis": 0, "descending": False}, smooth=False),
        Wrong((x,), {"axis": 3, "descending": False}, AxisError, "no such axis"),
    ]


argsort: Op = custom(
    "argsort",
    _argsort,
    _argsort_spec,
    batch=lambda size, args, batched, axis, descending: argsort(
        args[0], axis=axis + 1, descending=descending
    ),
    samples=_samples,
    cost="compute",
    lower=Native("sort"),
)


def _sort(x: Array, axis: int, descending: bool) -> Array:
    normalize_axis("sort", axis, x.ndim)
    ordered = np.sort(sortable(x), axis).astype(x.dtype, copy=False)
    return np.flip(ordered, axis) if descending else ordered


def _sort_spec(x: Shaped, axis: int, descending: bool) -> Spec:
    normalize_axis("sort", axis, len(x.shape))
    return Spec(x.shape, x.dtype)


def _sort_tangent(t: Tensor, x: Tensor, axis: int, descending: bool) -> Tensor:
    return take_along(t, argsort(x, axis=axis, descending=descending), axis)


def _sort_cotangent(g: Tensor, x: Tensor, axis: int, descending: bool) -> Tensor:
    order = argsort(x, axis=axis, descending=descending)
    return add_along(g, order, axis, g.shape[axis])


sort: Op = custom(
    "sort",
    _sort,
    _sort_spec,
    jvps=(_sort_tangent,),
    vjps=(_sort_cotangent,),
    batch=lambda size, args, batched, axis, descending: sort(
        args[0], axis=axis + 1, descending=descending
    ),
    samples=_samples,
    cost="compute",
    lower=Native("sort"),
)
