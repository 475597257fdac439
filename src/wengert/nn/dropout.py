"""Dropout layers: random zeros in training mode, the identity in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.core.tensor import Tensor
from wengert.nn import functional as F
from wengert.nn.functional.dropout import check_probability
from wengert.nn.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """Base of the variants: they differ in `_drop`, the function that they apply."""

    _drop: Callable[..., Tensor]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p, self.inplace = p, inplace

    def forward(self, x: Any) -> Tensor:
        return type(self)._drop(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each element becomes zero with probability p, and the others are divided by 1 − p.

    Only in training mode; the random numbers come from `wengert.random`'s default generator.

    >>> import wengert as wg
    >>> wg.nn.Dropout(0.2).eval()(wg.ones(3))
    Tensor([1., 1., 1.], dtype=float32)

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014.
    """

    _drop = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L)."""

    _drop = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """Dropout of whole channels of (N, C, H, W) or (N, C, L). Tompson et al. 2015."""

    _drop = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    _drop = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean 0 and variance 1, for networks of SELU. Klambauer et al. 2017."""

    _drop = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of (N, C, …)."""

    _drop = staticmethod(F.feature_alpha_dropout)
