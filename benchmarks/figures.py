"""The arithmetic of the table: ratios of rounds, and errors against the reference."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FLOOR = 1e-3  # of the largest array's norm: what is below it is measured against it
FIRST_LOSS = 1e-5  # relative error of the first loss that is accepted


@dataclass(frozen=True)
class Ratio:
    """How many times slower another is than we are: median, least and largest of the rounds."""

    median: float
    least: float
    largest: float


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """The ratio of two series of times, round by round.

    >>> ratio([2.0, 4.0, 3.0], [1.0, 1.0, 1.0])
    Ratio(median=3.0, least=2.0, largest=4.0)
    """
    found = [a / b for a, b in zip(theirs, ours, strict=True)]
    return Ratio(statistics.median(found), min(found), max(found))


def relative_errors(found: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, float]:
    """‖found − reference‖ / ‖reference‖ of each array; infinite where it is missing or not finite.

    An array that is nearly zero beside the others (a gradient that vanishes by symmetry) is
    measured against a thousandth of the largest.

    >>> import numpy as np
    >>> relative_errors({"a": np.array([4.0, 3.0])}, {"a": np.array([4.0, 4.0])})["a"] < 0.2
    True
    """
    norms = {name: float(np.linalg.norm(value)) for name, value in reference.items()}
    least = FLOOR * max(norms.values())
    errors = dict.fromkeys(set(found) ^ set(reference), float("inf"))
    for name in set(found) & set(reference):
        mine, exact = found[name], reference[name]
        if mine.shape != exact.shape or not np.all(np.isfinite(mine)):
            errors[name] = float("inf")
        else:
            difference = float(np.linalg.norm(mine - exact))
            errors[name] = difference / (max(norms[name], least) or 1.0)
    return errors


def wrong(errors: Mapping[str, float], tolerance: float) -> dict[str, float]:
    """The errors that are too large. The first loss comes before anything can grow, so its bound
    is always tight.

    >>> wrong({"first loss": 1e-3, "losses": 1e-3}, tolerance=1e-2)
    {'first loss': 0.001}
    """
    return {
        name: error
        for name, error in errors.items()
        if not error <= (min(FIRST_LOSS, tolerance) if name == "first loss" else tolerance)
    }
