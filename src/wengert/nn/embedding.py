"""A table of vectors that is looked up by number."""

from __future__ import annotations

from typing import Any, Self

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.state import recording
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.functional.arguments import sizes
from wengert.nn.module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for each of `num_embeddings` numbers: (…) integers → (…, embedding_dim).

    Parameter: `weight` (num_embeddings, embedding_dim), drawn from N(0, 1). The row `padding_idx`
    starts as zeros and gets no gradient. Rows longer than `max_norm` are shortened when looked up.

    `sparse` is accepted and changes no number: a gradient is an array like the table, zero in the
    rows that were not looked up. A compiled step does not make it. With plain SGD, which leaves a
    row without gradient as it is, that step reads and writes the rows that were looked up alone.

    >>> import wengert as wg
    >>> wg.nn.Embedding(10, 4)(wg.asarray([[1, 5, 1]])).shape
    (1, 3, 4)

    Source: Bengio, Ducharme and Vincent 2000.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if scale_grad_by_freq:
            raise ArgumentError(
                "Embedding",
                "scale_grad_by_freq is not offered",
                fix="leave it False, or divide what is looked up by the counts",
            )
        (self.num_embeddings,) = sizes("Embedding", "num_embeddings", num_embeddings, 1)
        (self.embedding_dim,) = sizes("Embedding", "embedding_dim", embedding_dim, 1)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(
                "Embedding",
                "padding_idx is not a row of the table",
                met=f"{padding_idx} for {num_embeddings} rows",
                fix="choose a row from 0 on",
            )
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.sparse = max_norm, norm_type, bool(sparse)
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = Parameter(xp.zeros(shape, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with recording(False):
                self.weight.assign(self.weight.at[self.padding_idx].set(0.0))

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Self:
        """A layer with a given table, frozen by default."""
        table = as_tensor(embeddings)
        if table.ndim != 2:
            raise ShapeError(
                "Embedding",
                "the table must be a matrix (number of rows, features)",
                met=describe(table),
                fix="reshape it",
            )
        rows, features = table.shape
        layer = cls(rows, features, **{"dtype": table.dtype, **options})
        layer.weight.assign(table)
        layer.requires_grad_(not freeze)
        return layer

    def forward(self, x: Any) -> Tensor:
        return F.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        norm = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{norm}"
