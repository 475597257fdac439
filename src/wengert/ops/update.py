"""`scatter`: replace the elements at indices. Of several updates of one element the last one wins,
and it alone has a derivative. And `sum_by_index`, which adds up what belongs to one element."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import BoundsError, DtypeError, ShapeError
from wengert.core.lowering import Expand, Native
from wengert.core.node import Node
from wengert.core.op import Array, Op, bind
from wengert.core.rules import custom, normalize_axis
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import equal, sub
from wengert.ops.index import (
    check_index,
    ends_joined,
    ends_parted,
    gather,
    index_axes_first,
    ravel_index,
    rows_index,
    scatter_add,
    scatter_samples,
    scatter_spec,
    wrapped,
)
from wengert.ops.movement import broadcast_to, permute, reshape
from wengert.ops.selection import where


def _scatter_spec(x: Shaped, index: Shaped, u: Shaped, axis: int) -> Spec:
    check_index("scatter", index)
    axis = normalize_axis("scatter", axis, len(x.shape))
    wanted = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    if tuple(u.shape) != wanted:
        raise ShapeError(
            "scatter",
            "the updates must have one entry an index",
            met=f"updates {tuple(u.shape)} where {wanted} are indexed",
            fix="broadcast the updates first",
        )
    return Spec(x.shape, x.dtype)


def _scatter(x: Array, index: Array, u: Array, axis: int) -> Array:
    _scatter_spec(x, index, u, axis)
    flat = wrapped(index, x.shape[axis], axis).reshape(-1)
    out = x.copy()
    values = u.reshape((*x.shape[:axis], flat.size, *x.shape[axis + 1 :]))
    out[(slice(None),) * axis + (flat,)] = values
    return out


def _scatter_batch(rows: int, args: Sequence[Tensor], batched: Sequence[bool], axis: int) -> Tensor:
    x, index, u = args
    if not batched[0]:
        x = broadcast_to(x, shape=(rows, *x.shape))
    if not batched[2]:
        u = broadcast_to(u, shape=(rows, *u.shape))
    if not batched[1]:
        return scatter(x, index, u, axis=axis + 1)
    size = x.shape[axis + 1]
    flat = rows_index(index, rows, size, axis)
    u = index_axes_first(u, axis, index.ndim - 1)
    return ends_parted(scatter(ends_joined(x, axis), flat, u, axis=0), rows, size, axis)


class Scatter(Op):
    """Linear in the array and the updates together; the index has no derivative."""

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        x, _, u = tangents
        if x is None and u is None:
            return None
        index, axis = node.value(1), node.params["axis"]
        if x is None:
            x = Tensor(np.zeros(node.shape, node.dtype))
        if u is None:
            u = _blank(x, index, axis)
        return bind(self, (x, index, u), node.params)


def _blank(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Zero updates for all indexed elements."""
    return Tensor(np.zeros((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype))


def mask_for(found: Tensor, axis: int, ndim: int) -> Tensor:
    """A mask over the index axes, lined up with values of shape pre + B + post."""
    lined_up: Tensor = reshape(found, shape=found.shape + (1,) * (ndim - axis - found.ndim))
    return lined_up


def _scatter_u(g: Tensor, index: Tensor, axis: int) -> Tensor:
    """Only the update that won gets a cotangent."""
    won = winners(index, size=g.shape[axis])
    taken: Tensor = gather(g, index, axis=axis)
    kept: Tensor = where(mask_for(won, axis, taken.ndim), taken, 0.0)
    return kept


def _scatter_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, u = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 4, 2))
    empty = rng.normal(size=(2, 0, 2))
    return [
        Sample((x, np.array([0, 2, 0, -1]), u), {"axis": 1}),
        Sample((x, np.array([[1, 0], [1, 1]]), rng.normal(size=(2, 2, 3, 2))), {"axis": 0}),
        Sample((rng.normal(size=(3,)), np.array(2), rng.normal(size=())), {"axis": 0}),
        Sample((x, np.zeros((0,), int), empty), {"axis": 1}),
        Wrong((x, np.array([0, 2, 3, 0]), u), {"axis": 1}, BoundsError, "index 3 .* size 3"),
        Wrong((x, np.array([0, 1]), u), {"axis": 1}, ShapeError, "one entry an index"),
        Wrong((x, np.array([0.0] * 4), u), {"axis": 1}, DtypeError, "must be integers"),
    ]


scatter: Op = Scatter(
    "scatter",
    _scatter,
    _scatter_spec,
    operands=("x", "index", "u"),
    jvps=(None, None, None),
    vjps=(
        lambda g, index, axis: scatter(g, index, _blank(g, index, axis), axis=axis),
        None,
        _scatter_u,
    ),
    batch=_scatter_batch,
    samples=_scatter_samples,
    lower=Native("scatter", in_place=0),
)


def _latest(index: Array, size: int) -> Array:
    _latest_spec(index, size)
    flat = wrapped(index, size, 0)
    last = np.zeros(size, np.int64)
    last[flat.reshape(-1)] = np.arange(index.size)
    return np.asarray(last[flat])


def _latest_spec(index: Shaped, size: int) -> Spec:
    check_index("latest", index)
    return Spec(index.shape, dtypes.int64)


def _latest_batch(rows: int, args: Sequence[Tensor], batched: Sequence[bool], size: int) -> Tensor:
    (index,) = args
    flat: Tensor = latest(rows_index(index, rows, size, 0), size=rows * size)
    first = np.arange(rows).reshape((rows,) + (1,) * (index.ndim - 1)) * prod(index.shape[1:])
    number: Tensor = sub(flat, Tensor(first))
    return number


# For each entry of an index array the number of the last one with its value.
latest: Op = custom(
    "latest",
    _latest,
    _latest_spec,
    operands=("index",),
    batch=_latest_batch,
    samples=lambda rng: [
        Sample((rng.integers(-3, 3, (2, 4)),), {"size": 3}),
        Sample((np.array(1),), {"size": 2}),
        Sample((np.zeros((0,), np.int32),), {"size": 2}),
        Wrong((np.array([4]),), {"size": 3}, BoundsError, "index 4"),
        Wrong((np.array([0.5]),), {"size": 3}, DtypeError, "must be integers"),
    ],
    lower=Native("latest"),
)


def _winners(index: Array, size: int) -> Array:
    return np.asarray(_latest(index, size) == _numbers(index))


def _winners_spec(index: Shaped, size: int) -> Spec:
    check_index("winners", index)
    return Spec(index.shape, dtypes.bool)


def _numbers(index: Shaped) -> Array:
    """The numbers of the entries of an array."""
    return np.arange(prod(index.shape)).reshape(index.shape)


def _winners_expanded(index: Tensor, size: int) -> Tensor:
    won: Tensor = equal(latest(index, size=size), Tensor(_numbers(index)))
    return won


# Which entries of an index array are the last with their value.
winners: Op = custom(
    "winners",
    _winners,
    _winners_spec,
    operands=("index",),
    batch=lambda rows, args, batched, size: winners(
        rows_index(args[0], rows, size, 0), size=rows * size
    ),
    samples=lambda rng: [
        Sample((rng.integers(0, 3, (2, 4)),), {"size": 3}),
        Sample((np.array(1),), {"size": 2}),
        Wrong((np.array([4]),), {"size": 3}, BoundsError, "index 4"),
    ],
    lower=Expand(_winners_expanded),
)


# -- sums over equal indices -------------------------------------------------------------------


def _sum_by_index(u: Array, index: Array, axis: int, size: int) -> Array:
    scatter_spec("sum_by_index", u, index, axis, size)
    places = wrapped(index, size, axis).reshape(-1)
    met, number = np.unique(places, return_inverse=True)
    number = number.reshape(index.shape)
    totals: Array = scatter_add.reference(u, number, axis=axis, size=met.size)
    return totals.take(number, axis)


def _sum_by_index_spec(u: Shaped, index: Shaped, axis: int, size: int) -> Spec:
    scatter_spec("sum_by_index", u, index, axis, size)
    return Spec(u.shape, u.dtype)


def _sum_by_index_batch(
    rows: int, args: Sequence[Tensor], batched: Sequence[bool], axis: int, size: int
) -> Tensor:
    u, index = args
    if not batched[1]:
        found: Tensor = sum_by_index(u, index, axis=axis + 1, size=size)
        return found
    if not batched[0]:
        u = broadcast_to(u, shape=(rows, *u.shape))
    width = index.ndim - 1
    flat = rows_index(index, rows, size, axis)
    found = sum_by_index(index_axes_first(u, axis, width), flat, axis=0, size=rows * size)
    back = (0, *range(width + 1, width + 1 + axis), *range(1, width + 1))
    return permute(found, axes=(*back, *range(width + 1 + axis, found.ndim)))


def _sum_by_index_expanded(u: Tensor, index: Tensor, axis: int, size: int) -> Tensor:
    flat = ravel_index(index, shape=(size,), axes=(axis,))
    number = latest(flat, size=size)
    totals = scatter_add(u, number, axis=axis, size=prod(index.shape))
    found: Tensor = gather(totals, number, axis=axis)
    return found


# For each entry the sum of all entries with the same index: scatter_add, gathered at the indices,
# without the array in between. A sparse gradient is used so: see `compiler.simplify.sparse`.
sum_by_index: Op = custom(
    "sum_by_index",
    _sum_by_index,
    _sum_by_index_spec,
    operands=("u", "index"),
    jvps=(lambda t, index, axis, size: sum_by_index(t, index, axis=axis, size=size), None),
    vjps=(lambda g, index, axis, size: sum_by_index(g, index, axis=axis, size=size), None),
    work=lambda out, u, index, **params: prod(u.shape),
    batch=_sum_by_index_batch,
    samples=scatter_samples,
    lower=Expand(_sum_by_index_expanded),
)
