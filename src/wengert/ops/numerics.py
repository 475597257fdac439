"""Numerics in plain NumPy: special functions that NumPy lacks, and helpers of references."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import ml_dtypes
import numpy as np

from wengert.core.dtypes import DType, bfloat16, float16

Array = np.ndarray[Any, Any]


def in_single(reference: Callable[..., Any]) -> Callable[..., Any]:
    """Let a reference of several steps compute 16-bit floats in float32 and round once."""

    @wraps(reference)
    def compute(*arrays: Array, **params: Any) -> Any:
        dtype = arrays[0].dtype
        if dtype != float16 and dtype != bfloat16:
            return reference(*arrays, **params)
        return reference(*[a.astype(np.float32) for a in arrays], **params).astype(dtype)

    return compute


def largest(dtype: DType) -> float:
    """The largest finite value of a floating dtype."""
    return float(ml_dtypes.finfo(dtype).max)
