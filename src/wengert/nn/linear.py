"""Layers that are affine or bilinear maps, and layers that only change the shape."""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.functional.arguments import at, sizes
from wengert.nn.module import Module

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


class Identity(Module):
    """Returns its input. Arguments are accepted and ignored, so that it can stand in for any layer.

    >>> import wengert as wg
    >>> wg.nn.Identity()(wg.ones(2))
    Tensor([1., 1.], dtype=float32)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Linear(Module):
    """x·Wᵀ + b over the last axis: (…, in_features) → (…, out_features).

    Parameters: `weight` (out_features, in_features) and `bias` (out_features), both drawn from
    U(−1/√in_features, 1/√in_features).

    >>> import wengert as wg
    >>> layer = wg.nn.Linear(3, 2)
    >>> layer(wg.ones((5, 3))).shape, [name for name, _ in layer.named_parameters()]
    ((5, 2), ['weight', 'bias'])
    """

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.in_features,) = sizes("Linear", "in_features", in_features, 1, least=0)
        (self.out_features,) = sizes("Linear", "out_features", out_features, 1, least=0)
        shape = (self.out_features, self.in_features)
        self.weight = Parameter(xp.zeros(shape, dtype=dtype, device=device))
        self.register_parameter(
            "bias", Parameter(xp.zeros(shape[0], dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1.0 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    """y_k = x₁ᵀ·W_k·x₂ + b_k: (…, in1_features), (…, in2_features) → (…, out_features).

    Parameters: `weight` (out_features, in1_features, in2_features) and `bias` (out_features), both
    drawn from U(−1/√in1_features, 1/√in1_features).

    >>> import wengert as wg
    >>> wg.nn.Bilinear(3, 4, 2)(wg.ones((5, 3)), wg.ones((5, 4))).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.in1_features,) = sizes("Bilinear", "in1_features", in1_features, 1)
        (self.in2_features,) = sizes("Bilinear", "in2_features", in2_features, 1, least=0)
        (self.out_features,) = sizes("Bilinear", "out_features", out_features, 1, least=0)
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = Parameter(xp.zeros(shape, dtype=dtype, device=device))
        self.register_parameter(
            "bias", Parameter(xp.zeros(shape[0], dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1.0 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim` into one; by default all but the batch.

    >>> import wengert as wg
    >>> wg.nn.Flatten()(wg.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        return as_tensor(x).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split an axis into several; one size may be −1, to be worked out.

    >>> import wengert as wg
    >>> wg.nn.Unflatten(1, (3, 4))(wg.ones((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(
                at("Unflatten"),
                f"there is no axis {self.dim} to split",
                met=describe(x),
                fix="choose dim among the array's axes",
            )
        axis = self.dim % x.ndim
        known = math.prod(n for n in self.unflattened_size if n != -1)
        n = x.shape[axis]
        if self.unflattened_size.count(-1) > 1 or (
            n % known if -1 in self.unflattened_size and known else n != known
        ):
            raise ShapeError(
                at("Unflatten"),
                f"axis {axis} cannot be split into {self.unflattened_size}",
                met=describe(x),
                fix="choose sizes whose product is the axis's size",
            )
        split = tuple(n // known if k == -1 else k for k in self.unflattened_size)
        return x.reshape((*x.shape[:axis], *split, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
