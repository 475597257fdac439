"""Numbers that measure matrices and vectors: norms, determinants, rank, condition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces import (
    abs,
    equal,
    expand_dims,
    greater,
    less_equal,
    max,
    min,
    moveaxis,
    pow,
    sqrt,
    sum,
    where,
    zeros,
)
from wengert.namespaces.reductions import floating, keep
from wengert.ops import matrix_functions as _ops
from wengert.ops.contract import diagonal
from wengert.ops.decompositions import svdvals
from wengert.ops.linalg import inv
from wengert.ops.matrix import check_matrix, check_square, mask
from wengert.ops.reduce import axes_of

INFINITY = float("inf")


class SlogdetResult(NamedTuple):
    """det(x) = sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


def wide(x: Tensor) -> Tensor:
    """Half precision in float32, where squares would overflow."""
    return cast_to(x, dtypes.float32) if x.dtype.itemsize == 2 else x


# -- norms -------------------------------------------------------------------------------------


def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: int | float = 2
) -> Tensor:
    """The norm (Σ|xᵢ|ᵖ)^(1/p) of vectors along one or more axes (all by default), with p = `ord`.

    inf and -inf give the largest and smallest magnitude, 0 the number of entries that are not 0.
    The gradient at the zero vector is 0, and where |xᵢ|ᵖ has no derivative at xᵢ = 0 that entry's.

    >>> import wengert as wg
    >>> float(wg.linalg.vector_norm(wg.asarray([3.0, 4.0])))
    5.0
    """
    given = floating(x)
    axes = axes_of("vector_norm", axis, given.ndim)
    if not isinstance(ord, (int, float)) or ord != ord:
        raise ArgumentError(
            "vector_norm",
            "unknown order",
            met=repr(ord),
            cause="an order of matrices",
            fix="pass a number or inf, or use wg.linalg.matrix_norm",
        )
    out = _vector_norm(wide(given), axes, float(ord))
    return keep(cast_to(out, given.dtype), given, axes, keepdims)


def _vector_norm(x: Tensor, axes: tuple[int, ...], p: float) -> Tensor:
    if p == 2:
        total = sum(x * x, axis=axes)
        return _root(total, 0.5)
    if p == 0:
        return sum(cast_to(x != 0, x.dtype), axis=axes)
    size = abs(x)
    if p == 1:
        return sum(size, axis=axes)
    if p == INFINITY:
        empty = any(x.shape[a] == 0 for a in axes)
        return sum(size, axis=axes) if empty else max(size, axis=axes)
    if p == -INFINITY:
        return min(size, axis=axes)
    zero = equal(size, 0)
    powers = where(zero, 0.0 if p > 0 else INFINITY, pow(where(zero, 1.0, size), p))
    return _root(sum(powers, axis=axes), 1 / p)


def _root(x: Tensor, power: float) -> Tensor:
    """x to a power, with slope 0 where the result is 0."""
    zero = equal(x, 0 if power > 0 else INFINITY)
    safe = where(zero, 1.0, x)
    return where(zero, 0.0, sqrt(safe) if power == 0.5 else pow(safe, power))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of matrices.

    "fro": √Σx² · "nuc": the sum of singular values · 2, -2: the largest, smallest singular value ·
    1, -1: the largest, smallest sum of magnitudes of a column · inf, -inf: the same of a row.

    >>> import wengert as wg
    >>> float(wg.linalg.matrix_norm(wg.asarray([[3.0, 0.0], [0.0, 4.0]]), ord=2))
    4.0
    """
    given = floating(x)
    check_matrix("matrix_norm", given)
    axes = (given.ndim - 2, given.ndim - 1)
    out = _matrix_norm(wide(given), ord, axes)
    return keep(cast_to(out, given.dtype), given, axes, keepdims)


def _matrix_norm(x: Tensor, ord: Any, axes: tuple[int, ...]) -> Tensor:
    if ord == "fro":
        return _vector_norm(x, axes, 2)
    if ord == "nuc":
        return sum(svdvals(x), axis=-1)
    if ord in (2, -2):
        return _extreme(svdvals(x), -1, ord > 0)
    if ord in (1, -1):
        return _extreme(sum(abs(x), axis=-2), -1, ord > 0)
    if ord in (INFINITY, -INFINITY):
        return _extreme(sum(abs(x), axis=-1), -1, ord > 0)
    raise ArgumentError(
        "matrix_norm",
        "unknown order",
        met=repr(ord),
        cause="an order of vectors",
        fix="use 'fro', 'nuc', 1, -1, 2, -2, inf or -inf",
    )


def _extreme(x: Tensor, axis: int, largest: bool) -> Tensor:
    """The largest of numbers that are not negative (0 if there are none), or the smallest."""
    if largest:
        return sum(x, axis=axis) if x.shape[axis] == 0 else max(x, axis=axis)
    return min(x, axis=axis)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """NumPy's `norm`: of a vector along one axis, of a matrix over a pair of axes.

    Without `axis`, of all of x: as a vector or matrix if `ord` is given, else √Σx².

    >>> import wengert as wg
    >>> wg.linalg.norm(wg.asarray([[3.0, 4.0], [6.0, 8.0]]), axis=1)
    Tensor([ 5., 10.], dtype=float32)
    """
    x = floating(x)
    if axis is None:
        if ord is None:
            return vector_norm(x, keepdims=keepdims)
        axis = tuple(range(x.ndim))
    axes = (axis,) if not isinstance(axis, (tuple, list)) else tuple(axis)
    if len(axes) == 1:
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=2 if ord is None else ord)
    if len(axes) != 2:
        raise ShapeError(
            "norm",
            "a norm is that of vectors (one axis) or of matrices (two)",
            met=f"axis={axis}, ord={ord!r} for {x.shape}",
            fix="name one or two axes, or leave ord out",
        )
    rows, columns = (normalize_axis("norm", a, x.ndim) for a in axes)
    if rows == columns:
        raise ArgumentError("norm", "the axes must differ", met=f"axis={axis}", fix="name two axes")
    moved = moveaxis(x, (rows, columns), (-2, -1))
    out = matrix_norm(moved, ord="fro" if ord is None else ord)
    return expand_dims(out, axis=tuple(sorted((rows, columns)))) if keepdims else out


# -- determinants and trace --------------------------------------------------------------------


def det(x: Any, /) -> Tensor:
    """Determinants of square matrices.

    The gradient is the matrix of cofactors, also where the matrix is singular. Its own derivatives
    are exact too, but for a third derivative at a matrix whose rank is smaller by two or more.

    >>> import wengert as wg
    >>> float(wg.linalg.det(wg.asarray([[1.0, 2.0], [3.0, 5.0]])))
    -1.0

    Source of the derivative: Giles 2008.
    """
    out: Tensor = _ops.det(floating(x))
    return out


def slogdet(x: Any, /) -> SlogdetResult:
    """Sign and logarithm of the magnitude of determinants: (0, -inf) for a singular matrix.

    The gradient of logabsdet is x⁻ᵀ, and raises LinalgError where x is singular.

    >>> import wengert as wg
    >>> sign, size = wg.linalg.slogdet(wg.asarray([[0.0, 1.0], [1.0, 0.0]]))
    >>> float(sign), float(size)
    (-1.0, 0.0)
    """
    return SlogdetResult(*_ops.slogdet(floating(x)))


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal number `offset`; integers add up in int64 unless `dtype` is given.

    >>> import wengert as wg
    >>> int(wg.linalg.trace(wg.asarray([[1, 2], [3, 4]])))
    5
    """
    x = as_tensor(x)
    return sum(diagonal(x, offset=int(offset)), axis=-1, dtype=dtype)


# -- rank and condition ------------------------------------------------------------------------


def default_rtol(x: Tensor) -> float:
    """Singular values up to this part of the largest are zero up to rounding: max(m, n) · eps."""
    return float(np.max(x.shape[-2:])) * float(np.finfo(wide(x).dtype).eps)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """Number of singular values greater than `rtol` times the largest, as int64.

    `rtol` is a number or one a matrix, max(m, n) · eps by default.

    >>> import wengert as wg
    >>> int(wg.linalg.matrix_rank(wg.ones((3, 3))))
    1
    """
    x = wide(floating(x))
    check_matrix("matrix_rank", x)
    s = svdvals(x)
    if not s.shape[-1]:
        return zeros(s.shape[:-1], dtype=dtypes.int64)
    limit = as_tensor(default_rtol(x) if rtol is None else rtol, x) * s[..., 0]
    return sum(cast_to(greater(s, limit[..., None]), dtypes.int64), axis=-1)


def cond(x: Any, /, p: Any = None) -> Tensor:
    """The condition number ‖x‖·‖x⁻¹‖ in the norm `p` of `matrix_norm` (2 by default).

    inf where the matrix is singular up to rounding. With p = 2 or -2 the matrix may be rectangular.

    >>> import wengert as wg
    >>> float(wg.linalg.cond(wg.asarray([[4.0, 0.0], [0.0, 2.0]])))
    2.0
    """
    given = floating(x)
    check_matrix("cond", given)
    if 0 in given.shape[-2:]:
        raise ShapeError(
            "cond", "an empty matrix has no condition", met=str(given.shape), fix="pass entries"
        )
    x = wide(given)
    s = svdvals(x)
    if p in (None, 2, -2):
        ratio = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
        return cast_to(ratio, given.dtype)
    check_square("cond", x)
    singular = less_equal(s[..., -1], s[..., 0] * float(np.finfo(x.dtype).eps))
    n = x.shape[-1]
    regular = where(singular[..., None, None], mask("eye", n, n, x.dtype), x)
    inverse = inv(regular, asked_by="cond")
    ratio = matrix_norm(x, ord=p) * matrix_norm(inverse, ord=p)
    return cast_to(where(singular, INFINITY, ratio), given.dtype)
