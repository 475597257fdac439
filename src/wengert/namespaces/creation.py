"""Making arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.tensor import Tensor

__all__ = ["asarray", "ones", "zeros"]


def asarray(
    obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None
) -> Tensor:
    if isinstance(obj, Tensor):
        return obj
    if dtype is None and not isinstance(obj, np.ndarray):
        a = np.asarray(obj)
        dtype = (
            dtypes.default_float()
            if a.dtype.kind == "f" and not isinstance(obj, np.generic)
            else a.dtype
        )
    return Tensor(np.array(obj, dtype=dtypes.as_dtype(dtype) if dtype is not None else None))


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return Tensor(
        np.ones(shape, dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype))
    )


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return Tensor(
        np.zeros(shape, dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype))
    )
