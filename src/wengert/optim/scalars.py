"""Choices between scalars, for formulas whose numbers are Python's or, in a trace, tensors."""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor


def choose(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`."""
    if isinstance(condition, Tensor):
        return xp.where(condition, a, b)
    return a if condition else b


def smaller(xp: Any, a: Any, b: Any) -> Any:
    """The smaller of two numbers."""
    return choose(xp, a < b, a, b)


def larger(xp: Any, a: Any, b: Any) -> Any:
    """The larger of two numbers."""
    return choose(xp, a > b, a, b)


def left_out(weight: Any) -> bool:
    """Whether a term with this weight is left out: a plain zero says so, and no tensor does, since
    its value may change from step to step."""
    return not isinstance(weight, Tensor) and weight == 0.0
