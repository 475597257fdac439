"""Activations that work along an axis, as modules: softmax and gated linear units."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ShapeError
from wengert.core.tensor import Tensor
from wengert.nn import functional as F
from wengert.nn.activation import Activation
from wengert.nn.functional.arguments import at, floating

__all__ = ["GEGLU", "GLU", "LogSoftmax", "ReGLU", "Softmax", "Softmax2d", "Softmin", "SwiGLU"]


class Softmax(Activation):
    """Exponentials that sum to 1 along `dim`; see `functional.softmax`.

    >>> import wengert as wg
    >>> wg.nn.Softmax()([1.0, 1.0])
    Tensor([0.5, 0.5], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(Activation):
    """The logarithm of softmax; see `functional.log_softmax`.

    >>> import wengert as wg
    >>> wg.nn.LogSoftmax()([0.0])
    Tensor([0.], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmax2d(Activation):
    """Softmax over the channels of images (batch, channels, height, width), or one image.

    >>> import wengert as wg
    >>> wg.nn.Softmax2d()(wg.zeros((2, 1, 1))).tolist()
    [[[0.5]], [[0.5]]]
    """

    def forward(self, input: Any) -> Tensor:
        x = floating("Softmax2d", input)
        if x.ndim not in (3, 4):
            raise ShapeError(
                at("Softmax2d"),
                "takes (batch, channels, height, width) or (channels, height, width)",
                met=f"{x.shape}",
                fix="use Softmax(dim) for other arrays",
            )
        return F.softmax(x, -3)


class Softmin(Activation):
    """Softmax of −x; see `functional.softmin`.

    >>> import wengert as wg
    >>> wg.nn.Softmin()([1.0, 1.0])
    Tensor([0.5, 0.5], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.softmin(input, self.dim)


class GLU(Activation):
    """`a ⊗ σ(b)` of the halves along `dim`; see `functional.glu`.

    >>> import wengert as wg
    >>> wg.nn.GLU()([3.0, 0.0])
    Tensor([1.5], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.glu(input, self.dim)


class ReGLU(Activation):
    """`a ⊗ relu(b)` of the halves along `dim`; see `functional.reglu`.

    >>> import wengert as wg
    >>> wg.nn.ReGLU()([3.0, 2.0])
    Tensor([6.], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.reglu(input, self.dim)


class GEGLU(Activation):
    """`a ⊗ gelu(b)` of the halves along `dim`; see `functional.geglu`.

    >>> import wengert as wg
    >>> wg.nn.GEGLU()([3.0, 100.0])
    Tensor([300.], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.geglu(input, self.dim)


class SwiGLU(Activation):
    """`a ⊗ silu(b)` of the halves along `dim`; see `functional.swiglu`.

    >>> import wengert as wg
    >>> wg.nn.SwiGLU()([3.0, 100.0])
    Tensor([300.], dtype=float32)
    """

    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return F.swiglu(input, self.dim)
