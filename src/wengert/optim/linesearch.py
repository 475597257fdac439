"""A line search for the strong Wolfe conditions; Nocedal and Wright 2006, chapter 3.5."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_DECREASE, _CURVATURE = 1e-4, 0.9  # c₁ and c₂ of the book
_GROWTH = 10.0  # how much longer than the last one a step may be


@dataclass
class Point:
    """A step length with the loss, its gradient, and its slope along the line there."""

    t: float
    loss: float
    grad: Array
    slope: float


Evaluate = Callable[[float], Point]


def strong_wolfe(
    evaluate: Evaluate, start: Point, first: float, tolerance: float, max_evals: int
) -> tuple[Point, int]:
    """A point with a sufficient decrease (c₁ = 10⁻⁴) and a flattened slope (c₂ = 0.9).

    `start` is the point at t = 0, where the slope is negative. Returns the point and the number of
    evaluations. If the evaluations or the interval run out, it is the best point so far, which may
    be `start`. A loss that is not finite counts as too long a step.
    """
    before, t = start, first
    for evals in range(1, max_evals + 1):
        here = evaluate(t)
        if _too_long(here, start) or (evals > 1 and here.loss >= before.loss):
            return _zoom(evaluate, start, before, here, tolerance, evals, max_evals)
        if abs(here.slope) <= -_CURVATURE * start.slope:
            return here, evals
        if here.slope >= 0.0:
            return _zoom(evaluate, start, here, before, tolerance, evals, max_evals)
        shortest = here.t + 0.01 * (here.t - before.t)
        t = _cubic_minimum(before, here, shortest, _GROWTH * here.t)
        before = here
    return before, max(max_evals, 0)


def _too_long(here: Point, start: Point) -> bool:
    return not here.loss <= start.loss + _DECREASE * here.t * start.slope


def _zoom(
    evaluate: Evaluate,
    start: Point,
    low: Point,
    high: Point,
    tolerance: float,
    evals: int,
    max_evals: int,
) -> tuple[Point, int]:
    """Shrink an interval that holds a good point; `low` is its better end."""
    while evals < max_evals and abs(high.t - low.t) > tolerance:
        left, right = sorted((low.t, high.t))
        margin = 0.1 * (right - left)
        here = evaluate(_cubic_minimum(low, high, left + margin, right - margin))
        evals += 1
        if _too_long(here, start) or here.loss >= low.loss:
            high = here
            continue
        if abs(here.slope) <= -_CURVATURE * start.slope:
            return here, evals
        if here.slope * (high.t - low.t) >= 0.0:
            high = low
        low = here
    return low, evals


def _cubic_minimum(a: Point, b: Point, left: float, right: float) -> float:
    """The minimum in [left, right] of the cubic through two points with their slopes (book, 3.59);
    the middle where there is none."""
    middle = 0.5 * (left + right)
    if not math.isfinite(a.loss + b.loss + a.slope + b.slope) or a.t == b.t:
        return middle
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0.0:
        return middle
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    below = b.slope - a.slope + 2.0 * d2
    if below == 0.0:
        return middle
    return min(max(b.t - (b.t - a.t) * (b.slope + d2 - d1) / below, left), right)
