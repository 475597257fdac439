"""Finite differences that know how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Line = Callable[[float], float]
_EPS = float(np.finfo(np.float64).eps)


@dataclass
class Slope:
    """An estimate of a derivative, with an estimate of its own error."""

    value: float
    error: float
    step: float
    reliable: bool = True

    @property
    def relative(self) -> float:
        """The error as a part of the value."""
        return self.error / max(abs(self.value), 1e-2)


def slope(f: Line, size: float = 1.0, step: float | None = None, rtol: float = 1e-5) -> Slope:
    """f′(0) by central differences with Richardson's extrapolation.

    `size` is the magnitude of what is moved. The step starts at ε^(1/5) · max(1, size), which
    balances truncation against rounding for a formula of order h⁴. Where steps h and h/2 disagree
    by more than a small part of `rtol` (a kink nearby, a fast change) smaller ones are tried.
    `step` fixes it. The estimate is unreliable if no step gives agreement.

    Source: Richardson 1911.
    """
    best: Slope | None = None
    for h in _steps(size) if step is None else [step]:
        found = _extrapolated(f, h)
        if best is None or found.relative < best.relative or np.isnan(best.relative):
            best = found
        if found.relative <= 0.01 * rtol:
            break
    assert best is not None
    best.reliable = not best.error > 1e-2 * max(abs(best.value), 1.0)
    return best


def _steps(size: float) -> list[float]:
    first = _EPS**0.2 * max(1.0, size)
    steps = [first * 10.0**-k for k in range(5)]
    return steps if size == 0.0 or size > 1e-3 else [*steps, _EPS**0.2 * size]


def _extrapolated(f: Line, h: float) -> Slope:
    up, down, up_half, down_half = f(h), f(-h), f(h / 2), f(-h / 2)
    whole, half = (up - down) / (2 * h), (up_half - down_half) / h
    value = (4 * half - whole) / 3
    rounding = 4 * _EPS * max(map(abs, (up, down, up_half, down_half))) / h
    return Slope(value, abs(value - half) / 10 + rounding, h)


def one_sided(f: Line, at: Slope) -> tuple[float, float] | None:
    """The slopes to the left and to the right, if they differ however small the step: a kink."""
    middle = f(0.0)
    gaps = []
    left = right = 0.0
    for h in (at.step, at.step / 16):
        left, right = (middle - f(-h)) / h, (f(h) - middle) / h
        gaps.append(abs(right - left))
    size = max(abs(left), abs(right))
    same = not gaps[1] > max(0.25 * gaps[0], 1e-4 * size, 1e-6)
    return None if same else (left, right)
