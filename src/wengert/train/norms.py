"""Norms of gradients, weights and updates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def squared_norm(x: Array) -> float:
    """Σx², in float64 where the array's own precision would overflow or is too small."""
    flat = x.ravel()
    if flat.dtype.itemsize < 4:
        flat = flat.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(np.dot(flat, flat))
    if math.isfinite(total) and total > 1e-30:
        return total
    wide = flat.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.dot(wide, wide))


def norm(x: Array) -> float:
    """The Euclidean norm √Σx²."""
    return math.sqrt(squared_norm(x))


def global_norm(arrays: Iterable[Array]) -> float:
    """The Euclidean norm of several arrays as one vector."""
    return math.sqrt(sum(map(squared_norm, arrays)))
