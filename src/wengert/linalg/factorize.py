"""Factorizations: a matrix as a product of simpler ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.namespaces import concat, matrix_transpose, zeros
from wengert.namespaces.reductions import floating
from wengert.ops import decompositions as _ops
from wengert.ops.linalg import cholesky as _cholesky
from wengert.ops.matrix import check_matrix


class EighResult(NamedTuple):
    """x = eigenvectors · diag(eigenvalues) · eigenvectorsᵀ."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """x = Q·R."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """x = U · diag(S) · Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with x = L·Lᵀ, or with `upper` the U with x = Uᵀ·U.

    `x` must be symmetric positive definite; its symmetric part is taken, so that the gradient is
    symmetric too. Raises LinalgError where it is not positive definite.

    >>> import wengert as wg
    >>> wg.linalg.cholesky(wg.asarray([[4.0, 2.0], [2.0, 5.0]]))
    Tensor([[2., 0.],
            [1., 2.]], dtype=float32)

    Source of the derivative: Murray 2016, "Differentiation of the Cholesky decomposition".
    """
    factor: Tensor = _cholesky(floating(x))
    return matrix_transpose(factor) if upper else factor


def qr(x: Any, /, mode: str = "reduced") -> QRResult:
    """x = Q·R with orthonormal columns of Q and upper triangular R.

    "reduced" gives min(m, n) columns of Q, "complete" m of them. The derivative needs linearly
    independent columns (of the first m, if there are more), else it raises LinalgError. The columns
    that "complete" adds are not determined by x: they are taken to turn no more than they must, and
    what does not depend on their choice has its true gradient.

    >>> import wengert as wg
    >>> q, r = wg.linalg.qr(wg.asarray([[3.0, 1.0], [4.0, 2.0]]))
    >>> wg.round(q @ r, 3)
    Tensor([[3., 1.],
            [4., 2.]], dtype=float32)

    Source of the derivative: Walter and Lehmann 2010, "Algorithmic differentiation of linear
    algebra functions"; Seeger et al. 2017, "Auto-differentiating linear algebra".
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError("qr", "unknown mode", met=repr(mode), fix="'reduced' or 'complete'")
    x = floating(x)
    check_matrix("qr", x)
    m, n = x.shape[-2:]
    if m < n:  # the first m columns determine Q
        q, left = _ops.qr(x[..., :m])
        return QRResult(q, concat([left, matrix_transpose(q) @ x[..., m:]], axis=-1))
    q, r = _ops.qr(x)
    if mode == "reduced" or m == n:
        return QRResult(q, r)
    below = zeros((*x.shape[:-2], m - n, n), dtype=x.dtype)
    return QRResult(concat([q, _ops.complement(q)], axis=-1), concat([r, below], axis=-2))


def eigh(x: Any, /) -> EighResult:
    """Eigenvalues, ascending, and orthonormal eigenvectors (columns) of a symmetric matrix.

    The symmetric part of `x` is taken. Where eigenvalues coincide their vectors are not determined,
    and 1/(λᵢ − λⱼ) in the derivative is taken as 0: it stays finite, and is true for symmetric
    functions of the eigenvalues and for projectors onto their spaces, but not for a function of the
    matrix that is written as V·f(λ)·Vᵀ. Raises LinalgError for entries that are not finite.

    >>> import wengert as wg
    >>> wg.linalg.eigh(wg.asarray([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    Tensor([1., 2.], dtype=float32)

    Source of the derivative: Giles 2008, "An extended collection of matrix derivative results".
    """
    return EighResult(*_ops.eigh(floating(x)))


def eigvalsh(x: Any, /) -> Tensor:
    """Eigenvalues, ascending, of a symmetric matrix; see `eigh`.

    >>> import wengert as wg
    >>> wg.linalg.eigvalsh(wg.asarray([[2.0, 0.0], [0.0, 1.0]]))
    Tensor([1., 2.], dtype=float32)
    """
    out: Tensor = _ops.eigvalsh(floating(x))
    return out


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """Singular value decomposition x = U·diag(S)·Vh, with S descending.

    With `full_matrices`, U and Vh are square; else they have min(m, n) columns and rows. Where
    singular values coincide or are zero their vectors are not determined: what does not depend on
    their choice has its true first derivative, and what does gets a finite number. The columns that
    `full_matrices` adds are taken to turn no more than they must. Raises LinalgError for entries
    that are not finite.

    >>> import wengert as wg
    >>> u, s, vh = wg.linalg.svd(wg.asarray([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    >>> u.shape, s, vh.shape
    ((3, 3), Tensor([3., 2.], dtype=float32), (2, 2))

    Source of the derivative: Townsend 2016, "Differentiating the singular value decomposition".
    """
    x = floating(x)
    u, s, vh = _ops.svd(x)
    m, n = x.shape[-2:]
    if full_matrices and m > n:
        u = concat([u, _ops.complement(u)], axis=-1)
    if full_matrices and n > m:
        rest = _ops.complement(matrix_transpose(vh))
        vh = concat([vh, matrix_transpose(rest)], axis=-2)
    return SVDResult(u, s, vh)


def svdvals(x: Any, /) -> Tensor:
    """Singular values, descending; see `svd`.

    >>> import wengert as wg
    >>> wg.linalg.svdvals(wg.asarray([[0.0, 2.0], [3.0, 0.0]]))
    Tensor([3., 2.], dtype=float32)
    """
    out: Tensor = _ops.svdvals(floating(x))
    return out
