"""Affine and bilinear maps, and looking rows up in a table."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert.core.dtypes import is_integer
from wengert.core.errors import ArgumentError, BoundsError, DtypeError, ShapeError
from wengert.core.spec import describe
from wengert.core.state import recording
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Variable
from wengert.nn.functional.arguments import at, same_dtype
from wengert.ops.contract import contract
from wengert.ops.index import gather

__all__ = ["bilinear", "embedding", "linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """x·Wᵀ + b over the last axis: (…, in) with W (out, in) and b (out) gives (…, out).

    >>> import wengert as wg
    >>> wg.nn.functional.linear([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]], [0.5, 0.0])
    Tensor([11.5, 17. ], dtype=float32)
    """
    x, weight = same_dtype(as_tensor(input), as_tensor(weight))
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise _wrong_features("linear", x, weight)
    last = x.ndim
    lead = tuple(range(last - 1))
    out: Tensor = contract(x, weight, subs=((*lead, last - 1), (last, last - 1), (*lead, last)))
    return out if bias is None else out + as_tensor(bias)


def _wrong_features(op: str, x: Tensor, weight: Tensor) -> ShapeError:
    if weight.ndim != 2:
        return ShapeError(
            at(op),
            "the weight must be a matrix (out features, in features)",
            met=describe(weight),
            fix="reshape the weight",
        )
    return ShapeError(
        at(op),
        f"expects {weight.shape[1]} features in the last axis",
        met=describe(x),
        cause="images that were not flattened, or a layer built for another input",
        fix=f"flatten with nn.Flatten(), or set in_features={x.shape[-1] if x.ndim else 1}",
    )


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """y_k = x₁ᵀ·W_k·x₂ + b_k: (…, in1) and (…, in2) with W (out, in1, in2) give (…, out).

    >>> import wengert as wg
    >>> wg.nn.functional.bilinear([1.0, 2.0], [3.0], [[[1.0], [1.0]]])
    Tensor([9.], dtype=float32)
    """
    x, y, weight = same_dtype(as_tensor(input1), as_tensor(input2), as_tensor(weight))
    fits = weight.ndim == 3 and x.ndim and y.ndim and x.shape[:-1] == y.shape[:-1]
    if not fits or (x.shape[-1], y.shape[-1]) != weight.shape[1:]:
        raise ShapeError(
            at("bilinear"),
            "expects (…, in1) and (…, in2) with the same leading axes and a weight (out, in1, in2)",
            met=describe(x, y, weight),
            fix="check the numbers of features",
        )
    n = x.ndim - 1
    lead = tuple(range(n))
    # Σ_i x_i·W_kij first, so that the result needs one more contraction over j only.
    half: Tensor = contract(x, weight, subs=((*lead, n), (n + 1, n, n + 2), (*lead, n + 1, n + 2)))
    out: Tensor = contract(half, y, subs=((*lead, n + 1, n + 2), (*lead, n + 2), (*lead, n + 1)))
    return out if bias is None else out + as_tensor(bias)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
) -> Tensor:
    """Rows of a table: indices of any shape (…) with a weight (num, dim) give (…, dim).

    The row `padding_idx` gets no gradient. With `max_norm`, rows that are looked up and longer
    than it (in the norm of order `norm_type`) are first shortened to it, in the weight itself,
    which must be a `Parameter` or `Variable` then.

    Raises `BoundsError` for an index that the table does not have.

    >>> import wengert as wg
    >>> wg.nn.functional.embedding([[1, 0]], [[1.0, 2.0], [3.0, 4.0]])
    Tensor([[[3., 4.], [1., 2.]]], dtype=float32)
    """
    index, table = as_tensor(input), as_tensor(weight)
    _check_rows(index, table)
    if max_norm is not None:
        _shorten_rows(index, table, max_norm, norm_type)
    rows: Tensor = gather(table, index, axis=0)
    if padding_idx is None or not rows.requires_grad:
        return rows
    padding = padding_idx % table.shape[0]
    return xp.where(xp.expand_dims(index == padding, axis=-1), rows.detach(), rows)


def _check_rows(index: Tensor, table: Tensor) -> None:
    if not is_integer(index.dtype):
        raise DtypeError(
            at("embedding"),
            "indices must be integers",
            met=describe(index),
            fix="cast with wg.astype(i, wg.int64)",
        )
    if table.ndim != 2:
        raise ShapeError(
            at("embedding"),
            "the weight must be a matrix (number of rows, features)",
            met=describe(table),
            fix="reshape the weight",
        )
    if index.is_symbolic or index.size == 0:
        return
    values = index.numpy()
    low, high, rows = int(values.min()), int(values.max()), table.shape[0]
    if low < 0 or high >= rows:
        raise BoundsError(
            at("embedding"),
            f"index {low if low < 0 else high} is not a row of the table",
            met=f"indices from {low} to {high} for {rows} rows",
            cause="a mark such as -1 for padding"
            if low < 0
            else "a vocabulary larger than num_embeddings, or ids that start at 1",
            fix=f"use indices from 0 to {rows - 1}"
            + ("" if low < 0 else f", or set num_embeddings={high + 1}"),
        )


def _shorten_rows(index: Tensor, table: Tensor, max_norm: float, norm_type: float) -> None:
    if not isinstance(table, Variable):
        raise ArgumentError(
            at("embedding"),
            "max_norm changes the weight, which must be a Parameter or a Variable",
            met=type(table).__name__,
            fix="wrap it: nn.Parameter(weight)",
        )
    with recording(False):
        flat = index.reshape((-1,))
        rows = gather(table.detach(), flat, axis=0)
        size = xp.abs(rows) ** norm_type
        norms = xp.sum(size, axis=-1, keepdims=True) ** (1.0 / norm_type)
        shortened = rows * (max_norm / (norms + 1e-7))
        table.assign(table.detach().at[flat].set(xp.where(norms > max_norm, shortened, rows)))
