"""sin(πx) / (πx) and its derivatives, by the formulas of the reference (`ops.numerics.sinc`)."""

from __future__ import annotations

import math

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math import trigonometric
from wengert.compiler.llvm.types import F32


def sinc(k: Arithmetic, x: Value, order: int) -> Value:
    """The `order`-th derivative; float32 is computed in float64."""
    if x.element == F32:
        return k.single(sinc(k, k.double(x), order))
    t = x * math.pi
    near = k.le(k.abs(t), order + 1.5)
    small = k.select(near, t, 0.0)
    found = k.select(near, _series(k, small, order), _recurrence(k, t, order))
    return found * math.pi**order


def _series(k: Arithmetic, t: Value, order: int) -> Value:
    """Σ (−1)ᵐ tʲ / (j! (2m + 1)) with j = 2m − order ≥ 0."""
    terms = [
        (j, (-1) ** m / (math.factorial(j) * (2 * m + 1)))
        for j in range(2 * order + 30)
        if (j + order) % 2 == 0
        for m in [(j + order) // 2]
    ]
    found = k.poly(t * t, [c for _, c in reversed(terms)])
    return found * t if order % 2 else found


def _recurrence(k: Arithmetic, t: Value, order: int) -> Value:
    """t·s⁽ᵏ⁾ = sin(t + kπ/2) − k·s⁽ᵏ⁻¹⁾."""
    sine = trigonometric.sin(k, t)
    found = sine / t
    if order:
        cosine = trigonometric.cos(k, t)
        for n in range(1, order + 1):
            turned = (sine, cosine, -sine, -cosine)[n % 4]
            found = (turned - found * float(n)) / t
    return found
