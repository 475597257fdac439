"""State dicts of optimizers: written as a snapshot, checked as a whole before they are loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core import live
from wengert.core.errors import StateError, WengertError
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Variable

if TYPE_CHECKING:
    from wengert.optim.optimizer import Optimizer


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    """See `Optimizer.state_dict`."""
    number = {p: i for i, p in enumerate(optimizer.parameters())}
    groups = []
    for group in optimizer.param_groups:
        options = {k: v for k, v in group.items() if k != "params"}
        groups.append({**options, "params": [number[p] for p in group["params"]]})
    return {
        "state": {
            number[p]: optimizer.export_state(p, group)
            for group in optimizer.param_groups
            for p in group["params"]
            if p in optimizer.state
        },
        "param_groups": groups,
        "modulation": {number[p]: Tensor(m._data) for p, m in optimizer.modulation.items()},
    }


def load_state_dict(optimizer: Optimizer, given: Mapping[str, Any]) -> None:
    """See `Optimizer.load_state_dict`."""
    if not isinstance(given, Mapping) or not {"state", "param_groups"} <= set(given):
        raise StateError(
            optimizer.name,
            "this is no state dict of an optimizer",
            met=f"keys {sorted(map(str, given))}" if isinstance(given, Mapping) else repr(given),
            fix="pass what state_dict() returned",
        )
    params = list(optimizer.parameters())
    options = _checked_groups(optimizer, given["param_groups"])
    states = _checked_states(optimizer, given["state"], params, options)
    factors = _checked_factors(optimizer, given.get("modulation", {}), params)
    for group, new in zip(optimizer.param_groups, options, strict=True):
        for name, value in new.items():
            group[name] = value
    for p in list(optimizer.state):
        if p not in states:
            del optimizer.state[p]
    optimizer.counts.load(
        {p: int(slots.pop("step")) for p, slots in states.items() if "step" in slots}
    )
    for p, slots in states.items():
        boxes = optimizer.state.setdefault(p, {})
        for name, value in slots.items():
            _fill(boxes, name, value)
    for p in params:
        optimizer.modulate(p, factors.get(p))
    live.settings_changed()


def _fill(boxes: dict[str, Any], name: str, value: Any) -> None:
    """Put a loaded value into its box; a box that fits stays the same object."""
    if not isinstance(value, Tensor):
        boxes[name] = value
    elif name in boxes and boxes[name].shape == value.shape and boxes[name].dtype == value.dtype:
        boxes[name].assign(value)
    else:
        boxes[name] = Variable(value)


def _checked_groups(optimizer: Optimizer, groups: Any) -> list[dict[str, Any]]:
    """The options of each group, once it is clear that all of them fit."""
    have = [len(group["params"]) for group in optimizer.param_groups]
    met = [len(group["params"]) for group in groups]
    if have != met:
        raise StateError(
            optimizer.name,
            "the state dict is of an optimizer with other parameter groups",
            met=f"groups of {met} parameters for groups of {have}",
            fix="build the optimizer with the same groups as when the state was saved",
        )
    checked = []
    for group in groups:
        options = {k: _as_tuple(v) for k, v in group.items() if k not in ("params", "modulation")}
        known = {*optimizer.defaults, "param_names", "name", "initial_lr"}
        unknown = sorted(set(options) - known)
        missing = sorted(set(optimizer.defaults) - set(options))
        if unknown or missing:
            raise StateError(
                optimizer.name,
                "the state dict is of another kind of optimizer",
                met=f"options missing: {missing}, unknown: {unknown}",
                fix=f"load it into the optimizer that saved it, not into {optimizer.name}",
            )
        if "param_names" in options:
            options["param_names"] = list(options["param_names"])
        try:
            # A schedule may have brought the learning rate to 0; a new optimizer may not start so.
            optimizer.check({**options, "lr": options.get("lr") or 1.0})
        except WengertError as problem:
            raise StateError(
                optimizer.name,
                f"the state dict is damaged: {problem.what}",
                met=problem.met,
                fix="load one that was not changed",
            ) from None
        checked.append(options)
    return checked


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples


def _checked_states(
    optimizer: Optimizer,
    states: Mapping[Any, Any],
    params: list[Tensor],
    options: list[dict[str, Any]],
) -> dict[Tensor, dict[str, Any]]:
    """Parameter → slot → value, once it is clear that all of them fit."""
    options_of: dict[Tensor, dict[str, Any]] = {}
    for group, new in zip(optimizer.param_groups, options, strict=True):
        options_of.update(dict.fromkeys(group["params"], new))
    checked: dict[Tensor, dict[str, Any]] = {}
    for key, slots in states.items():
        p = _parameter(optimizer, key, params)
        checked[p] = optimizer.import_state(p, options_of[p], slots)
    return checked


def same_entries(name: str, given: Mapping[str, Any], expected: Collection[str]) -> None:
    """The error for the state of a parameter that has other entries than it should."""
    if set(given) != set(expected):
        raise StateError(
            name,
            "the state of a parameter has other entries than expected",
            met=f"{sorted(given)} for {sorted(expected)}",
            fix="load it into an optimizer with the same options",
        )


def fitting(name: str, slot: str, value: Any, like: np.ndarray[Any, Any]) -> Tensor:
    """A loaded array in the shape and dtype of its slot."""
    array = np.asarray(value)
    if array.shape != like.shape or array.dtype.kind not in "iuf":
        raise StateError(
            name,
            f"{slot} does not fit its parameter",
            met=f"{array.dtype}{list(array.shape)} for {like.dtype}{list(like.shape)}",
            cause="a state of another model",
            fix="load the state dict that was saved with this model",
        )
    return Tensor(array.astype(like.dtype))


def _checked_factors(
    optimizer: Optimizer, factors: Mapping[Any, Any], params: list[Tensor]
) -> dict[Tensor, Tensor]:
    checked: dict[Tensor, Tensor] = {}
    for key, factor in factors.items():
        p = _parameter(optimizer, key, params)
        checked[p] = as_tensor(factor)
        optimizer.check_modulation(checked[p], p)
    return checked


def _parameter(optimizer: Optimizer, key: Any, params: list[Tensor]) -> Tensor:
    """The parameter that a number (or, from JSON, its text) stands for."""
    try:
        return params[int(key)] if int(key) >= 0 else params[len(params)]
    except (ValueError, IndexError):
        raise StateError(
            optimizer.name,
            "the state dict has state of a parameter that the optimizer does not have",
            met=f"parameter {key!r} of {len(params)}",
            fix="load the state dict that was saved with this model",
        ) from None
