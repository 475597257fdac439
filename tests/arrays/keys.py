"""Hypothesis strategies: random index keys for an array, valid and invalid ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def shapes(max_dims: int = 4, min_dims: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0, max_side=4)


@st.composite
def keys(draw: Any, shape: tuple[int, ...], arrays: bool = True) -> tuple[Any, ...]:
    """A key for an array of `shape`: mostly within bounds, sometimes not."""
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    entries: list[Any] = []
    axis = 0
    while axis < len(shape):
        kinds = ["int", "slice", "none", "stop"]
        if arrays:
            kinds += ["array", "array", "mask", "bool"]
        kind = draw(st.sampled_from(kinds))
        if kind == "stop":
            break
        if kind == "none":
            entries.append(None)
            continue
        if kind == "bool":
            entries.append(draw(st.booleans()))
            continue
        if kind == "mask":
            ndim = draw(st.integers(1, len(shape) - axis))
            entries.append(draw(hnp.arrays(bool, shape[axis : axis + ndim])))
            axis += ndim
            continue
        entries.append(_one_axis(draw, kind, shape[axis], common))
        axis += 1
    if draw(st.booleans()):
        entries.insert(draw(st.integers(0, len(entries))), Ellipsis)
    return tuple(entries)


def _one_axis(draw: Any, kind: str, n: int, common: tuple[int, ...]) -> Any:
    """An entry about one axis of size n."""
    reach = 1 if draw(st.integers(0, 9)) == 0 else 0  # one in ten may be out of bounds
    places = st.integers(-n - reach, max(n - 1 + reach, -n - reach))
    if kind == "int":
        return draw(places)
    if kind == "slice":
        bound = st.none() | st.integers(-n - 2, n + 2)
        step = draw(st.none() | st.integers(-3, 3).filter(bool))
        return slice(draw(bound), draw(bound), step)
    # Index arrays broadcast: drop leading axes, or make some of size 1.
    sizes = common[draw(st.integers(0, len(common))) :]
    sizes = tuple(1 if draw(st.integers(0, 3)) == 0 else s for s in sizes)
    if n == 0 and reach == 0:
        sizes = (*sizes[:-1], 0)
    values = draw(st.lists(places, min_size=int(np.prod(sizes)), max_size=int(np.prod(sizes))))
    return np.array(values, np.int64).reshape(sizes)
