"""Encodings of positions: attention alone cannot tell the order of its tokens."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert.core.errors import ShapeError
from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.nn import functional as F
from wengert.nn.dropout import Dropout
from wengert.nn.functional.arguments import at, floating
from wengert.nn.module import Module

__all__ = ["PositionalEncoding", "RotaryEmbedding"]


class PositionalEncoding(Module):
    """Add sinusoidal positions to a sequence, then dropout; nothing is trained.

    >>> import wengert as wg
    >>> encode = wg.nn.PositionalEncoding(2, dropout=0.0, batch_first=True)
    >>> encode(wg.zeros((1, 2, 2)))
    Tensor([[[0.        , 1.        ],
             [0.84147096, 0.5403023 ]]], dtype=float32)

    Source: Vaswani et al. 2017.
    """

    pe: Variable

    def __init__(
        self,
        d_model: int,
        dropout: float = 0.1,
        max_len: int = 5000,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.d_model, self.max_len, self.batch_first = d_model, max_len, batch_first
        encoding = F.sinusoidal_encoding(max_len, d_model, dtype=dtype)
        self.register_buffer("pe", encoding, persistent=False)

    def forward(self, x: Any) -> Tensor:
        """`x + positions`, for (length, batch, d_model), the same with the batch in front where
        `batch_first`, or (length, d_model)."""
        x = floating("PositionalEncoding", x)
        time = 1 if self.batch_first and x.ndim == 3 else 0
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model or x.shape[time] > self.max_len:
            raise ShapeError(
                at("PositionalEncoding"),
                f"takes sequences of up to {self.max_len} tokens of {self.d_model} features",
                met=f"{x.shape}, with the length on axis {time}",
                cause="batch_first does not fit the layout" if x.ndim == 3 else "",
                fix="raise max_len, or set batch_first to fit the input",
            )
        encoding = self.pe[: x.shape[time]].astype(x.dtype)
        if x.ndim == 3 and time == 0:
            encoding = xp.expand_dims(encoding, axis=1)
        out: Tensor = self.dropout(x + encoding)
        return out


class RotaryEmbedding(Module):
    """Rotate queries or keys (…, length, features) by their positions; see
    `functional.rotary_embedding`.

    >>> import wengert as wg
    >>> rotate = wg.nn.RotaryEmbedding()
    >>> rotate(wg.ones((2, 4, 5, 8))).shape
    (2, 4, 5, 8)

    Source: Su et al. 2021 (RoFormer).
    """

    def __init__(self, base: float = 10000.0, interleaved: bool = True) -> None:
        super().__init__()
        self.base, self.interleaved = base, interleaved

    def forward(self, x: Any, positions: Any = None) -> Tensor:
        return F.rotary_embedding(x, positions, self.base, self.interleaved)

    def extra_repr(self) -> str:
        return f"base={self.base}, interleaved={self.interleaved}"
