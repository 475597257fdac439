"""Distances and angles between vectors."""

from __future__ import annotations

from typing import Any

from wengert import linalg
from wengert import namespaces as xp
from wengert.core.rules import broadcast, normalize_axis
from wengert.core.tensor import Tensor, as_tensor

__all__ = ["cosine_similarity", "pairwise_distance"]


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors along `dim`: `x1·x2 / (max(‖x1‖, eps)·max(‖x2‖, eps))`.

    The shapes are broadcast; `dim` counts in the common shape.

    >>> import wengert as wg
    >>> wg.nn.functional.cosine_similarity([[1.0, 0.0]], [[1.0, 1.0]])
    Tensor([0.70710677], dtype=float32)
    """
    a, b = as_tensor(x1), as_tensor(x2)
    shape = broadcast("cosine_similarity", a.shape, b.shape)
    axis = normalize_axis("cosine_similarity", dim, len(shape)) - len(shape)
    a, b = _with_axis(a, axis, shape[axis]), _with_axis(b, axis, shape[axis])
    length_a = xp.maximum(linalg.vector_norm(a, axis=axis), eps)
    length_b = xp.maximum(linalg.vector_norm(b, axis=axis), eps)
    return xp.sum(a * b, axis=axis) / (length_a * length_b)


def _with_axis(x: Tensor, axis: int, size: int) -> Tensor:
    """`x` broadcast to have all `size` entries along a (negative) axis, so that its norm is that
    of the whole vector."""
    have = (1,) * (-axis - x.ndim) + x.shape
    return xp.broadcast_to(x, (*have[:axis], size, *have[len(have) + axis + 1 :]))


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """`‖x1 − x2 + eps‖ₚ` along the last axis; `eps` keeps the derivative finite at distance 0.

    >>> import wengert as wg
    >>> wg.nn.functional.pairwise_distance([[0.0, 0.0]], [[3.0, 4.0]], eps=0.0)
    Tensor([5.], dtype=float32)
    """
    difference = as_tensor(x1) - as_tensor(x2) + eps
    return linalg.vector_norm(difference, axis=-1, keepdims=keepdim, ord=p)
