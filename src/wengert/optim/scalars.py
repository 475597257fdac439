"""Choices between scalars, for formulas whose numbers are Python's or, in a trace, tensors."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import methods
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


def cosine_of(x: Any) -> Any:
    """cos(x) of a number or, in a trace, of a tensor."""
    return methods._F.cos(x) if isinstance(x, Tensor) else math.cos(x)


def pick(condition: Any, a: Any, b: Any) -> Any:
    """`a` where a condition on numbers holds, else `b`; in a trace with Python's precision."""
    if not isinstance(condition, Tensor):
        return a if condition else b
    a, b = (x if isinstance(x, Tensor) else Tensor(np.array(float(x))) for x in (a, b))
    return methods._F.where(condition, a, b)


def lesser(a: Any, b: Any) -> Any:
    """The smaller of two numbers."""
    return pick(a < b, a, b)


def reached(milestones: Sequence[float], t: Any) -> Any:
    """How many of some sorted numbers are at most `t`."""
    if not isinstance(t, Tensor):
        return bisect_right(milestones, t)
    count: Any = 0.0
    for milestone in milestones:
        count = count + methods._F.astype(t >= milestone, t.dtype)
    return count
