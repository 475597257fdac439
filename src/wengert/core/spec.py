"""`Spec`: shape and dtype of an array without its values. Symbolic tensors carry one as data."""

from __future__ import annotations

import math
from typing import Any, Protocol

from wengert.core.dtypes import DType

Shape = tuple[int, ...]


class Shaped(Protocol):
    """Anything with a shape and a dtype: an ndarray, a `Spec`, a `Node`, a `Tensor`."""

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> DType: ...


class Spec:
    """Shape and dtype, standing in for an array while a function is traced."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype

    @classmethod
    def of(cls, x: Any) -> Spec:
        """The spec of anything that has a shape and a dtype."""
        return cls(x.shape, x.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def describe(*values: Any) -> str:
    """The shapes and dtypes of some values, as error messages show them."""
    return ", ".join(
        repr(Spec.of(v)) if hasattr(v, "shape") and hasattr(v, "dtype") else repr(v) for v in values
    )
