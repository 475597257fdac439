"""Test inputs that an op declares next to its rules. Drawn only by tests, never at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Sample:
    """One call of an op: `op(*args, **params)`.

    `smooth` is False where finite differences cannot be trusted (ties, edges of the domain);
    values and the agreement of the two modes are tested all the same.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True


@dataclass
class Wrong:
    """A call that must fail with `error`, with a message that matches the pattern `match`."""

    args: tuple[Any, ...]
    params: dict[str, Any]
    error: type[Exception]
    match: str


# The generator is named in quotes: NumPy imports numpy.random (10 ms) when it is first asked for.
Sampler = Callable[["np.random.Generator"], Sequence[Sample | Wrong]]
