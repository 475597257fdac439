"""Reductions over indices other than the sum: products, and the larger or smaller of many.

They serve `x.at[i].multiply/min/max` and the segment functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.op import REGISTRY, Array, Op, cast_to
from wengert.core.rules import custom, elementwise
from wengert.core.sample import Sample
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import add, div, equal, mul
from wengert.ops.index import (
    check_updates,
    element_index,
    gather,
    mask_for,
    ravel_index,
    scatter_add,
    scatter_batch,
    scatter_samples,
    scatter_spec,
    update_batch,
    update_samples,
    wrapped,
)
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.pieces import concatenate, flip
from wengert.ops.pieces import slice as take_slice
from wengert.ops.selection import where

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
    _scatter_prod,
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
)


# -- larger and smaller ------------------------------------------------------------------------

# Equal, or both NaN: which elements a maximum can have come from.
same: Op = elementwise(
    "same", lambda x, y: (x == y) | ((x != x) & (y != y)), None, None, takes="any", gives="bool"
)


def _shares(
    v: Tensor, x: Tensor, index: Tensor, u: Tensor, out: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`v` divided by how many entries are tied for each result, and who they are, in x and u."""
    tied_x, tied_u = same(x, out), same(u, gather(out, index, axis=axis))
    ties = scatter_add(cast_to(tied_u, v.dtype), index, axis=axis, size=x.shape[axis])
    return div(v, add(cast_to(tied_x, v.dtype), ties)), tied_x, tied_u


def _x_share(v: Tensor, x: Tensor, index: Tensor, u: Tensor, out: Tensor, axis: int) -> Any:
    share, tied, _ = _shares(v, x, index, u, out, axis)
    return where(tied, share, 0.0)


def _u_share(g: Tensor, x: Tensor, index: Tensor, u: Tensor, out: Tensor, axis: int) -> Any:
    share, _, tied = _shares(g, x, index, u, out, axis)
    return where(tied, gather(share, index, axis=axis), 0.0)


def _u_tangent(t: Tensor, x: Tensor, index: Tensor, u: Tensor, out: Tensor, axis: int) -> Any:
    one = Tensor(np.ones((), t.dtype))
    share, _, tied = _shares(broadcast_to(one, shape=x.shape), x, index, u, out, axis)
    sums = scatter_add(where(tied, t, 0.0), index, axis=axis, size=x.shape[axis])
    return mul(sums, share)


def _extreme(name: str, ufunc: Any) -> Op:
    """`x` with each indexed element replaced by the largest (smallest) of it and its updates; all
    that are tied share the gradient equally."""

    def infer(x: Shaped, index: Shaped, u: Shaped, axis: int) -> Spec:
        check_updates(name, x, index, u, axis)
        return Spec(x.shape, x.dtype)

    def reference(x: Array, index: Array, u: Array, axis: int) -> Array:
        infer(x, index, u, axis)
        size, out = x.shape[axis], np.array(x, order="C")
        index = wrapped(index, size, axis)
        places = element_index(index, x.shape[:axis], size, x.shape[axis + 1 :])
        ufunc.at(out.reshape(-1), places, u.reshape(-1))
        return out

    op: Op = custom(
        name,
        reference,
        infer,
        operands=("x", "index", "u"),
        jvps=(_x_share, None, _u_tangent),
        vjps=(_x_share, None, _u_share),
        batch=update_batch(name),
        samples=lambda rng: [
            *update_samples(rng),
            Sample(
                (np.array([1.0, 2.0, 3.0]), np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0])),
                {"axis": 0},
                smooth=False,
            ),
        ],
    )
    return op


scatter_max: Op = _extreme("scatter_max", np.maximum)
scatter_min: Op = _extreme("scatter_min", np.minimum)
