"""Checks of hyperparameters: one sentence each, before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from wengert.core.errors import ArgumentError, DtypeError


def number(op: str, name: str, value: Any) -> float:
    """A hyperparameter as a Python float; tensors and arrays with one element count as numbers."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DtypeError(
            op, f"{name} is a number", met=repr(value), fix=f"pass a float for {name}"
        ) from None


def _refuse(op: str, name: str, wanted: str, value: float, cause: str = "") -> ArgumentError:
    return ArgumentError(
        op,
        f"{name} must be {wanted}",
        met=f"{name}={value:g}",
        cause=cause or ("it was computed from something not finite" if value != value else ""),
        fix=f"pass {name} {wanted}",
    )


def positive(op: str, **values: Any) -> None:
    """The error for a value that is not a finite number above 0."""
    for name, value in values.items():
        x = number(op, name, value)
        if not 0.0 < x < math.inf:
            raise _refuse(op, name, "> 0 and finite", x)


def nonnegative(op: str, **values: Any) -> None:
    """The error for a value that is not a finite number of at least 0."""
    for name, value in values.items():
        x = number(op, name, value)
        if not 0.0 <= x < math.inf:
            raise _refuse(op, name, "≥ 0 and finite", x)


def fraction(op: str, **values: Any) -> None:
    """The error for a value outside of [0, 1)."""
    for name, value in values.items():
        x = number(op, name, value)
        if not 0.0 <= x < 1.0:
            raise _refuse(op, name, "in [0, 1)", x, "a decay of 1 never forgets" * (x == 1.0))


def betas(op: str, value: Any) -> None:
    """The error for anything but two decay rates in [0, 1)."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ArgumentError(
            op, "betas are two numbers", met=repr(value), fix="pass betas=(0.9, 0.999)"
        )
    fraction(op, **{"betas[0]": value[0], "betas[1]": value[1]})


def adaptive(op: str, o: Mapping[str, Any]) -> None:
    """What the options of Adam and its relatives have in common."""
    positive(op, lr=o["lr"])
    betas(op, o["betas"])
    nonnegative(op, eps=o["eps"], weight_decay=o["weight_decay"])


def one_of(op: str, name: str, value: Any, *choices: Any) -> None:
    """The error for a value that is none of the choices."""
    if value not in choices:
        raise ArgumentError(
            op,
            f"unknown {name}",
            met=repr(value),
            fix="choose among " + ", ".join(map(repr, choices)),
        )


def positive_integer(op: str, **values: Any) -> None:
    """The error for a value that is not an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(
                op, f"{name} must be an integer ≥ 1", met=f"{name}={value!r}", fix="pass an int"
            )
