"""Loading a state dict into a model: everything is checked first, then everything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, StateError, WengertError
from wengert.core.tensor import Tensor, as_data
from wengert.core.variable import Variable
from wengert.nn.owner import BUFFER, PARAMETER, Owner

_Array = np.ndarray[Any, Any]


class IncompatibleKeys(NamedTuple):
    """Entries that a state dict lacked, and entries that the model has no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def saved_boxes(module: Owner) -> Iterator[tuple[str, Variable]]:
    """Parameters and persistent buffers with their paths; tied ones at each of their places."""
    return module._named((PARAMETER,), (BUFFER,), remove_duplicate=False)


def load(module: Owner, state_dict: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """See `Module.load_state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise DtypeError(
            "load_state_dict",
            "a state dict is a mapping from paths to arrays",
            met=type(state_dict).__name__,
            cause="a model in place of its state_dict(), or a file's name",
            fix="pass other.state_dict(), or use wengert.train.load_weights for a file",
        )
    boxes = dict(saved_boxes(module))
    missing, unexpected = _compare_keys(boxes, state_dict)
    problems: list[str] = []
    if strict:
        problems += [f"missing: {name}" for name in missing]
        problems += [f"unexpected: {name}" for name in unexpected]
    values: dict[int, tuple[str, Variable, _Array]] = {}
    for name, box in boxes.items():
        if name not in state_dict:
            continue
        value = _read(name, box, state_dict[name], problems)
        if value is None:
            continue
        before = values.get(id(box))
        if before is not None and not np.array_equal(before[2], value, equal_nan=True):
            problems.append(f"tied, but with different values: {before[0]} and {name}")
        values[id(box)] = (name, box, value)
    if problems:
        raise StateError(
            "load_state_dict",
            f"the state does not fit {type(module).__name__}; nothing was changed",
            met="".join(f"\n  {line}" for line in problems),
            cause="a state dict of another model, or of another configuration of it",
            fix="build the model as it was when saved; strict=False skips missing and "
            "unexpected entries",
        )
    for _, box, value in values.values():
        box.assign(Tensor(value))
    return IncompatibleKeys(missing, unexpected)


def _compare_keys(
    boxes: dict[str, Variable], state_dict: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Missing and unexpected names. A tied parameter needs only one of its names."""
    given = {id(box) for name, box in boxes.items() if name in state_dict}
    missing = [name for name, box in boxes.items() if id(box) not in given]
    unexpected = [str(name) for name in state_dict if name not in boxes]
    return missing, unexpected


def _read(name: str, box: Variable, value: Any, problems: list[str]) -> _Array | None:
    """A copy of the value with the box's dtype; None and a new problem where it does not fit."""
    try:
        if hasattr(value, "detach"):  # a tracked tensor, also of other libraries
            value = value.detach()
        array = value._values("load_state_dict") if isinstance(value, Tensor) else np.asarray(value)
        array = as_data(array)
    except (TypeError, ValueError, RuntimeError, WengertError):
        problems.append(f"not an array of numbers: {name} is a {type(value).__name__}")
        return None
    if array.shape != box.shape:
        problems.append(f"shape: {name} is {box.shape} in the model, {array.shape} in the state")
        return None
    converted = array.astype(box.dtype)
    if not dtypes.is_float(box.dtype) and not np.array_equal(converted, array):
        problems.append(f"dtype: {name} holds {box.dtype}, which the state's values do not fit")
        return None
    return converted
