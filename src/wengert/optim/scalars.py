"""The numbers of formulas: Python's, or in a trace `Scalar`s, which behave as Python's do.

A learning rate or 1 − β₂ is a float64 number wherever it meets other numbers, and takes the dtype
of an array where it meets one. So a compiled step rounds as the eager one does, and works such
numbers out once a step, not once an entry.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from wengert.core import dtypes, methods
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor


class Scalar(Tensor):
    """A number that is not known yet: a 0-d tensor of float64 (or bool, for a condition) that is
    weak, as Python's numbers are. Computing with Scalars and numbers alone gives a Scalar."""

    __slots__ = ()


def scalar(value: Any) -> Scalar:
    """A number or a 0-d tensor as a `Scalar`."""
    if not isinstance(value, Tensor):
        return Scalar(np.array(value, np.float64))
    if value.dtype != dtypes.bool:
        value = cast_to(value, dtypes.float64)
    return Scalar(value._data, value._node)


def meeting(f: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`f` of arrays, numbers and Scalars: a Scalar takes the dtype of the arrays that it meets."""
    given = (*args, *options.values())
    if not any(isinstance(x, Scalar) for x in given):
        return f(*args, **options)
    arrays = [x.dtype for x in given if _is_array(x)]
    floats = [dtype for dtype in arrays if dtypes.is_float(dtype)]
    dtype = dtypes.promote(*floats) if floats else dtypes.float64

    def met(x: Any) -> Any:
        if isinstance(x, Scalar):
            return cast_to(x, dtype) if x.dtype == dtypes.float64 else x
        return scalar(x) if isinstance(x, float) and not arrays else x

    found = f(*map(met, args), **{name: met(x) for name, x in options.items()})
    return Scalar(found._data, found._node) if isinstance(found, Tensor) and not arrays else found


def _is_array(x: Any) -> bool:
    return isinstance(x, (Tensor, np.ndarray)) and not isinstance(x, Scalar)


def _operator(name: str) -> Any:
    plain = getattr(Tensor, name)

    def operator(self: Scalar, *other: Any) -> Any:
        return meeting(plain, self, *other)

    return operator


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _side in ("", "r"):
        setattr(Scalar, f"__{_side}{_name}__", _operator(f"__{_side}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "invert", "neg", "pos", "abs"):
    setattr(Scalar, f"__{_name}__", _operator(f"__{_name}__"))
Scalar.__hash__ = Tensor.__hash__  # type: ignore[method-assign]


class _Functions:
    """The functions of `wengert` as formulas use them: they know what a `Scalar` is."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(methods._F, name)
        return partial(meeting, found) if callable(found) and not isinstance(found, type) else found


traced = _Functions()  # the namespace of formulas in a trace


def choose(condition: Any, a: Any, b: Any) -> Any:
    """`a` where a condition on numbers holds, else `b`."""
    if not isinstance(condition, Tensor):
        return a if condition else b
    a, b = (x if isinstance(x, Tensor) else scalar(x) for x in (a, b))
    return traced.where(scalar(condition), a, b)


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers."""
    return choose(a < b, a, b)


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers."""
    return choose(a > b, a, b)


def left_out(weight: Any) -> bool:
    """Whether a term with this weight is left out: a plain zero says so, and no tensor does, since
    its value may change from step to step."""
    return not isinstance(weight, Tensor) and weight == 0.0


def cosine_of(x: Any) -> Any:
    """cos(x) of a number."""
    return traced.cos(x) if isinstance(x, Tensor) else math.cos(x)


def reached(milestones: Sequence[float], t: Any) -> Any:
    """How many of some sorted numbers are at most `t`."""
    if not isinstance(t, Tensor):
        return bisect_right(milestones, t)
    count: Any = 0.0
    for milestone in milestones:
        count = count + choose(t >= milestone, 1.0, 0.0)
    return count
