"""Dtypes of arrays: casting, promotion, and what a dtype can hold."""

from __future__ import annotations

from typing import Any

from wengert.core import dtypes
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.elementwise import positive

__all__ = ["astype"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x with another dtype; differentiable between floating dtypes."""
    x, dtype = as_tensor(x), dtypes.as_dtype(dtype)
    if x.dtype == dtype:
        return positive(x) if copy else x
    return cast_to(x, dtype)
