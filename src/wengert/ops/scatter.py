"""Reductions over indices other than the sum: products, and the larger or smaller of many.

They serve `x.at[i].multiply/min/max` and the segment functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lowering import Native
from wengert.core.op import REGISTRY, Array, Op, cast_to
from wengert.core.rules import custom, elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import div, equal, mul
from wengert.ops.index import (
    element_index,
    gather,
    in_float32,
    ravel_index,
    scatter_add,
    scatter_batch,
    scatter_samples,
    scatter_spec,
    wrapped,
)
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.pieces import concatenate, flip
from wengert.ops.pieces import slice as take_slice
from wengert.ops.selection import maximum, where
from wengert.ops.update import mask_for

# -- product -----------------------------------------------------------------------------------


def _scatter_prod(u: Array, index: Array, axis: int, size: int) -> Array:
    out = np.ones(scatter_spec("scatter_prod", u, index, axis, size).shape, u.dtype)
    places = element_index(
        wrapped(index, size, axis), u.shape[:axis], size, u.shape[axis + index.ndim :]
    )
    np.multiply.at(out.reshape(-1), places, u.reshape(-1))
    return out


def _along(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    lo, hi = [0] * x.ndim, list(x.shape)
    lo[axis], hi[axis] = start, stop
    piece: Tensor = take_slice(x, start=tuple(lo), stop=tuple(hi), step=(1,) * x.ndim)
    return piece


def _shifted(x: Tensor, axis: int, by: int, fill: float) -> Tensor:
    """`x` moved `by` places up along an axis, with `fill` in the places that become free."""
    n = x.shape[axis]
    shape = (*x.shape[:axis], by, *x.shape[axis + 1 :])
    filler = broadcast_to(Tensor(np.array(fill, x.dtype)), shape=shape)
    moved: Tensor = concatenate(filler, _along(x, axis, 0, n - by), axis=axis, sizes=(by, n - by))
    return moved


def _product_of_earlier(u: Tensor, ids: Tensor, axis: int) -> Tensor:
    """For each entry, the product of those before it with the same id; equal ids are neighbours.

    A running product in log₂ n rounds, each of which doubles how far back it reaches.
    """
    n = ids.shape[0]

    def from_same(values: Tensor, by: int) -> Tensor:
        # Ids are not negative, so -1 equals none of them.
        same = mask_for(equal(ids, _shifted(ids, 0, by, -1)), axis, values.ndim)
        chosen: Tensor = where(same, _shifted(values, axis, by, 1), 1)
        return chosen

    reach = 1
    running = u
    while reach < n:
        running = mul(running, from_same(running, reach))
        reach *= 2
    return from_same(running, 1) if n else u


def product_of_others(u: Tensor, index: Tensor, axis: int, size: int) -> Tensor:
    """For each entry, the product of all others with the same index. Made of products alone, so
    it is exact, to any order of derivative, also where entries are zero."""
    m = index.size
    shape = u.shape
    u = reshape(u, shape=(*shape[:axis], m, *shape[axis + index.ndim :]))
    flat = ravel_index(reshape(index, shape=(m,)), shape=(size,), axes=(axis,))
    order = REGISTRY["argsort"](flat, axis=0, descending=False)
    back = REGISTRY["argsort"](order, axis=0, descending=False)
    u, ids = gather(u, order, axis=axis), gather(flat, order, axis=0)
    earlier = _product_of_earlier(u, ids, axis)
    later = _product_of_earlier(flip(u, axes=(axis,)), flip(ids, axes=(0,)), axis)
    others = mul(earlier, flip(later, axes=(axis,)))
    found: Tensor = reshape(gather(others, back, axis=axis), shape=shape)
    return found


scatter_prod: Op = custom(
    "scatter_prod",
    in_float32(_scatter_prod),
    lambda u, index, axis, size: scatter_spec("scatter_prod", u, index, axis, size),
    operands=("u", "index"),
    jvps=(
        lambda t, u, index, axis, size: scatter_add(
            mul(t, product_of_others(u, index, axis, size)), index, axis=axis, size=size
        ),
        None,
    ),
    vjps=(
        lambda g, u, index, axis, size: mul(
            gather(g, index, axis=axis), product_of_others(u, index, axis, size)
        ),
        None,
    ),
    batch=scatter_batch("scatter_prod"),
    samples=lambda rng: [
        *scatter_samples(rng),
        Sample(
            (np.array([0.0, 2.0, 0.0, 3.0, 0.0]), np.array([0, 0, 1, 1, 1])), {"axis": 0, "size": 3}
        ),
    ],
    lower=Native("scatter"),
)


# -- larger and smaller ------------------------------------------------------------------------

# Equal, or both NaN: which elements a maximum can have come from.
same: Op = elementwise(
    "same",
    lambda x, y: (x == y) | ((x != x) & (y != y)),
    None,
    None,
    takes="any",
    gives="bool",
    lower=lambda k, x, y: k.eq(x, y) | (k.isnan(x) & k.isnan(y)),
)


def _shares(
    v: Tensor, u: Tensor, index: Tensor, out: Tensor, axis: int, size: int
) -> tuple[Tensor, Tensor]:
    """`v` divided by how many entries are tied for each result, and which entries they are."""
    tied: Tensor = same(u, gather(out, index, axis=axis))
    ties = scatter_add(cast_to(tied, v.dtype), index, axis=axis, size=size)
    share: Tensor = div(v, maximum(ties, 1.0))  # nobody is tied where nothing was indexed
    return share, tied


def _cotangent(g: Tensor, u: Tensor, index: Tensor, out: Tensor, axis: int, size: int) -> Any:
    share, tied = _shares(g, u, index, out, axis, size)
    return where(tied, gather(share, index, axis=axis), 0.0)


def _tangent(t: Tensor, u: Tensor, index: Tensor, out: Tensor, axis: int, size: int) -> Any:
    one = broadcast_to(Tensor(np.ones((), t.dtype)), shape=out.shape)
    share, tied = _shares(one, u, index, out, axis, size)
    return mul(scatter_add(where(tied, t, 0.0), index, axis=axis, size=size), share)


def lowest(dtype: DType) -> Any:
    """What every value of a dtype is at least: where a maximum starts from."""
    if dtype == dtypes.bool:
        return False
    return np.iinfo(dtype).min if dtypes.is_integer(dtype) else -np.inf


def highest(dtype: DType) -> Any:
    """What every value of a dtype is at most: where a minimum starts from."""
    if dtype == dtypes.bool:
        return True
    return np.iinfo(dtype).max if dtypes.is_integer(dtype) else np.inf


def _extreme_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    """Where nothing is indexed the result is infinite: no finite differences there."""
    u = rng.normal(size=(2, 3, 4))
    ties = np.array([1.0, 1.0, 2.0, np.nan, -np.inf])
    return [
        Sample((u, np.array([1, 0, 1])), {"axis": 1, "size": 2}),
        Sample((u, np.array([[2, 0, 1], [-1, 1, 1]])), {"axis": 0, "size": 3}),
        Sample((ties, np.array([0, 0, 1, 1, 3])), {"axis": 0, "size": 5}, smooth=False),
        *[replace(s, smooth=False) if isinstance(s, Sample) else s for s in scatter_samples(rng)],
    ]


def _extreme(name: str, ufunc: Any, start: Any) -> Op:
    """The largest (smallest) entry for each index; all that are tied share the gradient."""

    def reference(u: Array, index: Array, axis: int, size: int) -> Array:
        shape = scatter_spec(name, u, index, axis, size).shape
        out = np.full(shape, start(u.dtype), u.dtype)
        index, post = wrapped(index, size, axis), u.shape[axis + index.ndim :]
        ufunc.at(out.reshape(-1), element_index(index, u.shape[:axis], size, post), u.reshape(-1))
        return out

    op: Op = custom(
        name,
        reference,
        lambda u, index, axis, size: scatter_spec(name, u, index, axis, size),
        operands=("u", "index"),
        jvps=(_tangent, None),
        vjps=(_cotangent, None),
        batch=scatter_batch(name),
        samples=_extreme_samples,
        lower=Native("scatter"),
    )
    return op


scatter_max: Op = _extreme("scatter_max", np.maximum, lowest)
scatter_min: Op = _extreme("scatter_min", np.minimum, highest)
