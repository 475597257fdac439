"""Searching in sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.index import ZERO, Place
from wengert.core.lowering import Indexed
from wengert.core.op import Array, Op
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.movement import broadcast_to
from wengert.ops.sort import sortable


def _searchsorted_spec(x: Shaped, v: Shaped, side: str, lead: int) -> Spec:
    if len(x.shape) != lead + 1 or x.shape[:lead] != v.shape[:lead]:
        raise ShapeError(
            "searchsorted",
            "takes a 1-d array to search in",
            met=describe(x, v),
            fix="flatten it, or map over rows with wg.vmap",
        )
    if x.dtype != v.dtype:
        raise DtypeError(
            "searchsorted", "the two arrays must share a dtype", met=describe(x, v), fix="cast one"
        )
    return Spec(v.shape, dtypes.int64)


def _searchsorted(x: Array, v: Array, side: str, lead: int) -> Array:
    out = np.empty(_searchsorted_spec(x, v, side, lead).shape, np.int64)
    x, v = sortable(x), sortable(v)
    for row in np.ndindex(x.shape[:lead]):
        out[row] = np.searchsorted(x[row], v[row], side)  # type: ignore[call-overload]
    return out


def _searchsorted_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], side: str, lead: int
) -> Tensor:
    x, v = args
    if not batched[0] and lead == 0:
        return searchsorted(x, v, side=side, lead=0)
    x, v = (
        a if b else broadcast_to(a, shape=(size, *a.shape))
        for a, b in zip(args, batched, strict=True)
    )
    return searchsorted(x, v, side=side, lead=lead + 1)


def _searched_entry(b: Any, place: Place, x: Any, v: Any, side: str, lead: int) -> Any:
    """Binary search: from the largest power of two down, a step is taken where the entry before
    its end still belongs in front."""
    n = x.shape[-1]
    row, value = place.index[:lead], b.read(v, place.index)
    found = b.position(ZERO)
    step = 1 << (n.bit_length() - 1) if n else 0
    while step:
        params = {"step": step, "n": n}
        at = b.variable(b.apply(_last, found, dtype=dtypes.int64, params=params))
        before = b.apply(
            _precedes, b.read(x, (*row, at)), value, dtype=dtypes.bool, params={"side": side}
        )
        found = b.apply(_taken, before, found, dtype=dtypes.int64, params=params)
        step //= 2
    return found


def _last(k: Any, x: Any, step: int, n: int) -> Any:
    """The entry before the end of a step, or the last one of all."""
    return k.select(k.le(x, n - step), x + (step - 1), n - 1)


def _precedes(k: Any, x: Any, v: Any, side: str) -> Any:
    """Whether x goes before v; NaN is larger than all else."""
    if side == "left":
        return k.either(k.lt(x, v), k.both(k.isnan(v), k.negated(k.isnan(x))))
    return k.negated(k.either(k.lt(v, x), k.both(k.isnan(x), k.negated(k.isnan(v)))))


def _taken(k: Any, before: Any, x: Any, step: int, n: int) -> Any:
    return k.select(k.both(before, k.le(x, n - step)), x + step, x)


# Where elements of `v` would go in the sorted last axis of `x`, before ("left") or behind ("right")
# equal ones. The first `lead` axes of both are rows, which batching adds.
searchsorted: Op = custom(
    "searchsorted",
    _searchsorted,
    _searchsorted_spec,
    operands=("x", "v"),
    batch=_searchsorted_batch,
    samples=lambda rng: [
        Sample((np.sort(rng.normal(size=6)), rng.normal(size=(2, 3))), {"side": "left", "lead": 0}),
        Sample((np.array([1.0, 2.0, 2.0, 4.0]), np.array(2.0)), {"side": "right", "lead": 0}),
        Sample((np.zeros(0), np.zeros(3)), {"side": "left", "lead": 0}),
        Sample(
            (np.sort(rng.normal(size=(2, 4))), rng.normal(size=(2, 3))), {"side": "left", "lead": 1}
        ),
        Wrong((np.zeros((2, 2)), np.zeros(3)), {"side": "left", "lead": 0}, ShapeError, "a 1-d"),
        Wrong(
            (np.zeros(2), np.zeros(3, int)),
            {"side": "left", "lead": 0},
            DtypeError,
            "share a dtype",
        ),
    ],
    cost="compute",
    lower=Indexed(_searched_entry),
)
