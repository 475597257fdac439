"""Collating: a list of samples becomes one batch, stacked along a new first axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.tensor import Tensor


def stack(samples: Sequence[Any], indices: Any = None) -> Any:
    """Samples as one batch of ndarrays: tuples, lists and dicts are gone into; numbers and arrays
    are stacked; strings and None stay lists. Python floats take the default float dtype. `indices`
    are the samples' numbers in their dataset, for error messages.

    Raises
    ------
    ShapeError
        if arrays of different shapes meet, or samples of different structure.

    Examples
    --------
    >>> from wengert.data import stack
    >>> stack([(1.0, "a"), (2.0, "b")])
    (array([1., 2.], dtype=float32), ['a', 'b'])
    """
    if indices is None:
        names = [f"sample {i} of the batch" for i in range(len(samples))]
    else:
        names = [f"dataset[{i}]" for i in indices]
    return _stack(list(samples), "", names)


def _stack(parts: list[Any], place: str, names: list[str]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        _same_structure(
            parts, place, names, lambda p: isinstance(p, dict) and p.keys() == first.keys()
        )
        return {k: _stack([p[k] for p in parts], f"{place}[{k!r}]", names) for k in first}
    if isinstance(first, (tuple, list)):
        kind = type(first)
        _same_structure(parts, place, names, lambda p: isinstance(p, kind) and len(p) == len(first))
        columns = [_stack([p[i] for p in parts], f"{place}[{i}]", names) for i in range(len(first))]
        if hasattr(first, "_fields"):
            return kind(*columns)
        return tuple(columns) if isinstance(first, tuple) else columns
    if isinstance(first, (str, bytes)) or first is None:
        return parts
    return _stack_arrays(parts, place, names)


def _same_structure(
    parts: list[Any], place: str, names: list[str], fits: Callable[[Any], bool]
) -> None:
    for part, name in zip(parts, names, strict=True):
        if not fits(part):
            raise ShapeError(
                "collate",
                f"the samples of a batch differ in structure{_at(place)}",
                met=f"{_kind(parts[0])} in {names[0]}, {_kind(part)} in {name}",
                fix="return samples of one structure, or pass collate_fn=",
            )


def _kind(part: Any) -> str:
    if isinstance(part, dict):
        return f"a dict with {sorted(map(str, part))}"
    if isinstance(part, (tuple, list)):
        return f"a {type(part).__name__} of {len(part)}"
    return type(part).__name__


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _stack_arrays(parts: list[Any], place: str, names: list[str]) -> Any:
    arrays = [_array(part, place) for part in parts]
    for a, name in zip(arrays, names, strict=True):
        if a.shape != arrays[0].shape:
            raise ShapeError(
                "collate",
                f"samples of different shapes cannot be stacked{_at(place)}",
                met=f"{arrays[0].shape} in {names[0]}, {a.shape} in {name}",
                fix="bring them to one shape with dataset.map(…), or pass collate_fn= that pads",
            )
    return np.stack(arrays)


def _array(part: Any, place: str) -> np.ndarray[Any, Any]:
    if isinstance(part, (np.ndarray, np.generic)):
        return np.asarray(part)
    if isinstance(part, Tensor):
        return part.numpy()
    if isinstance(part, float):
        return np.asarray(part, dtypes.default_float())
    if isinstance(part, (bool, int)):
        return np.asarray(part)
    raise DtypeError(
        "collate",
        f"the samples hold something that cannot be stacked{_at(place)}",
        met=type(part).__name__,
        fix="return numbers, arrays, strings, or tuples and dicts of them; or pass collate_fn=",
    )


def to_tensors(batch: Any) -> Any:
    """The batch with every ndarray in it as a tensor that shares its memory."""
    if isinstance(batch, np.ndarray):
        return Tensor(batch)
    if isinstance(batch, dict):
        return {k: to_tensors(v) for k, v in batch.items()}
    if isinstance(batch, (tuple, list)):
        parts = [to_tensors(v) for v in batch]
        if hasattr(batch, "_fields"):
            return type(batch)(*parts)
        return tuple(parts) if isinstance(batch, tuple) else parts
    return batch
