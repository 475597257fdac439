"""Parameter groups: sets of parameters with options of their own, as PyTorch's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from wengert.core import live
from wengert.core.errors import ArgumentError, DtypeError, GradientError
from wengert.core.spec import Spec, describe
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Follower
from wengert.optim.checks import nonnegative
from wengert.optim.scalars import scalar

# What a group may hold besides the options of its optimizer.
_OF_GROUPS = ("params", "param_names", "name", "modulation", "initial_lr")


class ParamGroup(dict[str, Any]):
    """The options of some parameters, and under "params" the parameters themselves.

    An option is a plain Python value, so it can be read, printed and stored. For a traced step each
    number also has a `Follower`: a compiled step then reads the present learning rate, not the one
    of the moment of its compilation; and where the step itself changes it, as a schedule does, the
    plain value is told. A weight decay of 0 is left out of a compiled step.
    """

    def __init__(self, owner: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.owner = owner
        self.followers: dict[str, Any] = {}
        for name, value in options.items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if state.trace is not None and _is_symbolic(value):
            self.follower(name)
            _follow(self.followers[name], value)
            return
        if name == "lr":
            nonnegative(self.owner, lr=value)
        if isinstance(value, (np.generic, Tensor)) and name not in _OF_GROUPS:
            value = value.item()
        if name in self.followers:
            _follow(self.followers[name], value)
        if not _is_numeric(value) or (name == "weight_decay" and not (value and self.get(name))):
            live.settings_changed()
        super().__setitem__(name, value)

    def follower(self, name: str) -> Any:
        """The follower of a number, or the followers of a tuple of numbers."""
        if name not in self.followers:
            value = self[name]
            if isinstance(value, tuple):
                tell = [partial(self._tell, name, i) for i in range(len(value))]
                made: Any = tuple(map(_variable, value, tell))
            else:
                made = _variable(value, partial(self._tell, name, None))
            self.followers[name] = made
        return self.followers[name]

    def _tell(self, name: str, i: int | None, value: float) -> None:
        """Take over the number that a compiled program gave to a follower."""
        if i is not None:
            value = (*self[name][:i], value, *self[name][i + 1 :])  # type: ignore[assignment]
        super().__setitem__(name, value)

    def present(self, name: str) -> Any:
        """A number as it is now: in a trace a `Scalar`, which follows it."""
        return self[name] if state.trace is None else _read(self.follower(name))

    def static_options(self) -> list[tuple[str, Any]]:
        """What a compiled step takes for granted."""
        return [
            (name, live.fingerprint(value if name != "weight_decay" else bool(value)))
            for name, value in self.items()
            if name not in _OF_GROUPS and (not _is_numeric(value) or name == "weight_decay")
        ]

    def traced_options(self) -> dict[str, Any]:
        """The options with each number as a `Scalar` that follows it."""
        options: dict[str, Any] = {}
        for name, value in self.items():
            left_out = name == "weight_decay" and not value
            if name not in _OF_GROUPS and _is_numeric(value) and not left_out:
                value = _read(self.follower(name))
            options[name] = value
        return options


def _is_numeric(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_numeric, value))
    return isinstance(value, float)


def _is_symbolic(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_symbolic, value))
    return isinstance(value, Tensor) and value.is_symbolic


def _variable(value: float, tell: Any) -> Follower:
    return Follower(np.array(value, np.float64), tell)


def _read(follower: Any) -> Any:
    if isinstance(follower, tuple):
        return tuple(map(_read, follower))
    return scalar(follower)


def _follow(follower: Any, value: Any) -> None:
    if isinstance(follower, tuple):
        for f, v in zip(follower, value, strict=True):
            _follow(f, v)
    else:
        follower.assign(value if isinstance(value, Tensor) else float(value))


def collect_groups(owner: str, params: Any) -> list[dict[str, Any]]:
    """What a user passes as parameters, as a list of dicts with lists of parameters."""
    if isinstance(params, Tensor):
        raise DtypeError(
            owner,
            "params is an iterable of tensors or dicts",
            met=f"one tensor, {Spec.of(params)}",
            cause="a single parameter passed without a list",
            fix="pass [parameter]",
        )
    if not isinstance(params, Iterable) or isinstance(params, (str, Mapping)):
        asked = " (did you mean model.parameters()?)" if hasattr(params, "parameters") else ""
        raise DtypeError(
            owner,
            "params is an iterable of tensors or dicts",
            met=type(params).__name__,
            fix="pass model.parameters(), a list of tensors, or a list of dicts" + asked,
        )
    entries = list(params)
    if not entries:
        raise ArgumentError(
            owner,
            "there are no parameters to optimize",
            met="an empty list",
            cause="model.parameters() of a model without layers, or a generator that was used up",
            fix="pass the parameters of a model that has some",
        )
    if isinstance(entries[0], Mapping):
        return [dict(entry) for entry in entries]
    return [{"params": entries}]


def parameters_of(owner: str, group: dict[str, Any]) -> tuple[list[Tensor], list[str]]:
    """The parameters of one group, and their names where it was given (name, parameter) pairs."""
    if "params" not in group:
        raise ArgumentError(
            owner,
            "a parameter group needs the key 'params'",
            met=", ".join(map(repr, group)),
            fix="pass {'params': [...], 'lr': ...}",
        )
    given = group["params"]
    entries = [given] if isinstance(given, Tensor) else list(given)
    names: list[str] = []
    params: list[Tensor] = []
    for entry in entries:
        if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
            names.append(entry[0])
            entry = entry[1]
        params.append(entry)
    if names and len(names) != len(params):
        raise ArgumentError(
            owner,
            "either all parameters of a group come with a name, or none does",
            met=f"{len(names)} names for {len(params)} parameters",
            fix="pass model.named_parameters() or model.parameters()",
        )
    for i, p in enumerate(params):
        _check_parameter(owner, i, p)
    return params, names


def _check_parameter(owner: str, index: int, p: Any) -> None:
    if not isinstance(p, Tensor):
        raise DtypeError(
            owner,
            f"parameter {index} is not a tensor",
            met=type(p).__name__,
            cause="an array, or a module in place of its parameters",
            fix="pass model.parameters(), or wg.Parameter(array)",
        )
    if not p.is_leaf:
        assert p.node is not None
        raise GradientError(
            owner,
            f"parameter {index} is not a leaf, so it cannot be optimized",
            met=f"the result of {p.node.op.name}, made at {p.node.site}",
            cause="a parameter that was cast, reshaped or computed after requires_grad_()",
            fix="wrap the final value: wg.Parameter(x.detach())",
        )


def check_distinct(owner: str, params: list[Tensor]) -> None:
    """The error for a parameter that would be updated twice in a step."""
    seen: dict[int, int] = {}
    for i, p in enumerate(params):
        if id(p) in seen:
            raise ArgumentError(
                owner,
                "a parameter appears more than once",
                met=f"positions {seen[id(p)]} and {i}, {describe(p)}",
                cause="tied weights listed twice, or overlapping parameter groups",
                fix="list each parameter once",
            )
        seen[id(p)] = i


def check_options(owner: str, group: dict[str, Any], known: Mapping[str, Any]) -> None:
    """The error for an option that the optimizer does not have: mostly a misspelt one."""
    for name in group:
        if name not in known and name not in _OF_GROUPS:
            raise ArgumentError(
                owner,
                "unknown option in a parameter group",
                met=repr(name),
                fix="choose among " + ", ".join(known),
            )
