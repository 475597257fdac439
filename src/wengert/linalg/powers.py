"""Products and powers of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import index
from typing import Any

from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.rules import as_integer
from wengert.core.tensor import Tensor, as_tensor
from wengert.linalg.solve import inv
from wengert.namespaces import broadcast_to, eye, matmul
from wengert.namespaces.joining import listed
from wengert.namespaces.reductions import floating
from wengert.ops.contract import diagonal as _diagonal
from wengert.ops.matrix_functions import expm as _expm


def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The entries x[…, i, i + offset].

    >>> import wengert as wg
    >>> wg.linalg.diagonal(wg.asarray([[1, 2], [3, 4]]))
    Tensor([1, 4], dtype=int64)
    """
    out: Tensor = _diagonal(as_tensor(x), offset=as_integer("diagonal", "the offset", offset))
    return out


def matrix_power(x: Any, n: int, /) -> Tensor:
    """Square matrices to an integer power, by repeated squaring; a negative one of the inverse.

    >>> import wengert as wg
    >>> wg.linalg.matrix_power(wg.asarray([[1, 1], [0, 1]]), 5)
    Tensor([[1, 5],
            [0, 1]], dtype=int64)
    """
    x = as_tensor(x)
    try:
        n = index(n)
    except TypeError:
        raise DtypeError(
            "matrix_power", "the power must be an integer", met=repr(n), fix="pass an int"
        ) from None
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            "matrix_power", "takes square matrices", met=str(x.shape), fix="pass (…, n, n)"
        )
    if n == 0:
        return broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    if n < 0:
        x, n = inv(x), -n
    out: Tensor | None = None
    while n:
        if n % 2:
            out = x if out is None else matmul(out, x)
        n //= 2
        if n:
            x = matmul(x, x)
    assert out is not None
    return out


def expm(x: Any, /) -> Tensor:
    """The matrix exponential Σₖ xᵏ/k!, by scaling and squaring.

    >>> import wengert as wg
    >>> wg.linalg.expm(wg.asarray([[0.0, 1.0], [0.0, 0.0]]))
    Tensor([[1., 1.],
            [0., 1.]], dtype=float32)

    Source: Higham 2005, "The scaling and squaring method for the matrix exponential revisited";
    the derivative from Mathias 1996, "A chain rule for matrix functions".
    """
    out: Tensor = _expm(floating(x))
    return out


def multi_dot(arrays: Sequence[Any]) -> Tensor:
    """The product of two or more matrices, in the order that needs the fewest multiplications.

    The first may be a row vector and the last a column vector (1-d).

    >>> import wengert as wg
    >>> wg.linalg.multi_dot([wg.ones((2, 30)), wg.ones((30, 3)), wg.ones(3)])
    Tensor([90., 90.], dtype=float32)

    Source: Cormen et al., "Introduction to Algorithms", matrix-chain multiplication.
    """
    terms = [as_tensor(a) for a in listed("multi_dot", arrays)]
    if len(terms) < 2:
        raise ArgumentError(
            "multi_dot", "takes two arrays or more", met=str(len(terms)), fix="pass a longer list"
        )
    fits = all(
        t.ndim == 2 or (t.ndim == 1 and i in (0, len(terms) - 1)) for i, t in enumerate(terms)
    )
    if not fits:
        raise ShapeError(
            "multi_dot",
            "takes matrices, and vectors only as first and last",
            met=", ".join(str(t.shape) for t in terms),
            fix="use wg.matmul for stacks",
        )
    first, last = terms[0], terms[-1]
    if first.ndim == 1:
        terms[0] = first[None, :]
    if last.ndim == 1:
        terms[-1] = last[:, None]
    sizes = (terms[0].shape[0], *(t.shape[1] for t in terms))
    out = _chain(terms, _splits(sizes), 0, len(terms) - 1)
    wanted = first.shape[:-1] + last.shape[1:]
    return out if out.shape == wanted else out.reshape(wanted)


def _chain(terms: list[Tensor], splits: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    """The product of terms i to j. As deep as the list is long, which is short."""
    if i == j:
        return terms[i]
    k = splits[i, j]
    return matmul(_chain(terms, splits, i, k), _chain(terms, splits, k + 1, j))


@lru_cache(maxsize=256)
def _splits(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Where to split the product of matrices i to j, whose shapes are (sizes[i], sizes[i + 1])."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            outer = sizes[i] * sizes[j + 1]
            totals = {k: cost[i, k] + cost[k + 1, j] + outer * sizes[k + 1] for k in range(i, j)}
            splits[i, j] = min(totals, key=totals.__getitem__)
            cost[i, j] = totals[splits[i, j]]
    return splits
