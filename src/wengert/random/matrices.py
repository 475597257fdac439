"""Random vectors and matrices that need linear algebra."""

from __future__ import annotations

from typing import Any

from wengert import namespaces as F
from wengert.core import methods
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.random.continuous import normal
from wengert.random.floats import Draw, as_shape, standard_normal
from wengert.random.generator import Generator

__all__ = ["multivariate_normal", "orthogonal"]


def orthogonal(
    n: int,
    shape: Any = (),
    *,
    m: int | None = None,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Orthogonal matrices, uniform under rotations (Haar measure): result (*shape, n, m).

    With `m` ≠ `n`, the columns (n > m) or the rows are orthonormal. The Q of a normal matrix, with
    its signs set by R.

    >>> import wengert as wg
    >>> q = wg.random.orthogonal(3, key=wg.random.key(0))
    >>> bool(wg.max(wg.abs(q.T @ q - wg.eye(3))) < 1e-5)
    True

    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups".
    """
    m = n if m is None else m
    for size in (n, m):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ArgumentError(
                "orthogonal", "a matrix has a size ≥ 1", met=repr(size), fix="pass n ≥ 1"
            )
    lead = as_shape("orthogonal", shape)
    tall, wide = max(n, m), min(n, m)
    z = normal(shape=(*lead, tall, wide), dtype=dtype, key=key, generator=generator)
    q, r = methods._F.linalg.qr(z)
    diagonal = F.diagonal(r, axis1=-2, axis2=-1)
    signs = F.where(F.less(diagonal, 0), -1.0, 1.0)
    q = F.multiply(q, F.astype(F.expand_dims(signs, axis=-2), q.dtype))
    return q if n >= m else F.matrix_transpose(q)


def multivariate_normal(
    mean: Any,
    cov: Any,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal vectors with a mean (…, n) and a covariance (…, n, n): mean + L·z, L·Lᵀ = cov.

    `shape` is that of the batch: the result has (*shape, n). Differentiable in mean and cov (of
    which the lower triangle is used), through the Cholesky factor; cov is positive definite.

    >>> import wengert as wg
    >>> wg.random.multivariate_normal(wg.zeros(2), wg.eye(2), (5,)).shape
    (5, 2)
    """
    mean, cov = as_tensor(mean), as_tensor(cov)
    if mean.ndim < 1 or cov.ndim < 2 or cov.shape[-2:] != (mean.shape[-1],) * 2:
        raise ShapeError(
            "multivariate_normal",
            "takes a mean (…, n) and a covariance (…, n, n)",
            met=describe(mean, cov),
            fix="pass wg.eye(n) · σ² for independent entries",
        )
    n = mean.shape[-1]
    if shape is None:
        full = F.broadcast_shapes(mean.shape, cov.shape[:-1])
    else:
        full = (*as_shape("multivariate_normal", shape), n)
    # The rows of cov take part only in the dtype and in the check of the shapes.
    draw = Draw("multivariate_normal", full, dtype, key, generator, mean=mean, rows=cov[..., :, 0])
    factor = methods._F.linalg.cholesky(draw.cast(cov))
    z = standard_normal(draw.source, draw.shape, draw.working)
    moved = F.matmul(factor, F.expand_dims(z, axis=-1))
    return draw.finish(F.add(draw.cast(mean), F.reshape(moved, moved.shape[:-1])))
