"""Reductions."""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor, as_tensor
from wengert.ops import reduce as _r

__all__ = ["sum"]


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    x = as_tensor(x)
    return _r.sum(x, axis=tuple(range(x.ndim)) if axis is None else (axis % x.ndim,))  # type: ignore
