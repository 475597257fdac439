"""What ops of matrices share: products, masks, checks, test inputs.

Matrices are the last two axes; axes before them are stacks. Products are contractions, so rules
that are built of them can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import DtypeError, LinalgError, ShapeError
from wengert.core.op import Array
from wengert.core.sample import Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.contract import Labels, contract
from wengert.ops.elementwise import add, mul
from wengert.ops.movement import permute, reshape

# -- products ----------------------------------------------------------------------------------


def mm(x: Tensor, y: Tensor, x_turned: bool = False, y_turned: bool = False) -> Tensor:
    """Product of matrices (of stacks of equal shape), each transposed if asked."""
    out: Tensor = contract(x, y, subs=_product(x.ndim - 2, x_turned, y_turned))
    return out


@lru_cache(maxsize=256)
def _product(lead: int, x_turned: bool, y_turned: bool) -> tuple[Labels, Labels, Labels]:
    stack = tuple(range(3, 3 + lead))
    ix = (1, 0) if x_turned else (0, 1)
    iy = (2, 1) if y_turned else (1, 2)
    return (*stack, *ix), (*stack, *iy), (*stack, 0, 2)


def mT(x: Tensor) -> Tensor:
    """The transpose of the last two axes."""
    n = x.ndim
    out: Tensor = permute(x, axes=(*range(n - 2), n - 1, n - 2))
    return out


def times_columns(x: Tensor, s: Tensor) -> Tensor:
    """x · diag(s): column j of each matrix times s[…, j]."""
    out: Tensor = mul(x, reshape(s, shape=(*s.shape[:-1], 1, s.shape[-1])))
    return out


def symmetrized(x: Tensor) -> Tensor:
    """(x + xᵀ) / 2."""
    out: Tensor = mul(add(x, mT(x)), 0.5)
    return out


def symmetric_part(x: Array) -> Array:
    """(x + xᵀ) / 2 of bare arrays: what ops of symmetric matrices read."""
    half: Array = (x + x.swapaxes(-1, -2)) * x.dtype.type(0.5)
    return half


@lru_cache(maxsize=256)
def mask(kind: str, rows: int, columns: int, dtype: DType) -> Tensor:
    """A constant matrix to multiply by: "lower", "upper" (with the diagonal), "below", "above"
    (without), "eye", "off diagonal", or "half lower" (the diagonal counted half)."""
    below, lower = np.tri(rows, columns, -1), np.tri(rows, columns)
    kinds = {
        "lower": lower,
        "upper": 1 - below,
        "below": below,
        "above": 1 - lower,
        "eye": lower - below,
        "off diagonal": 1 - lower + below,
        "half lower": (lower + below) / 2,
    }
    return Tensor(kinds[kind].astype(dtype))


def check_floating(op: str, x: Shaped) -> None:
    """Raise unless the dtype is floating."""
    if not dtypes.is_float(x.dtype):
        raise DtypeError(op, "takes floating matrices", met=describe(x), fix="cast to float32")


def check_matrix(op: str, x: Shaped) -> None:
    """Raise unless x is a matrix or a stack of them, floating."""
    if len(x.shape) < 2:
        raise ShapeError(
            op,
            "takes a matrix or a stack of matrices",
            met=describe(x),
            fix="reshape to two axes or more",
        )
    check_floating(op, x)


def check_square(op: str, x: Shaped) -> Spec:
    """Raise unless x is a square matrix or a stack of them; the spec of a result like it."""
    check_matrix(op, x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            op,
            "takes square matrices",
            met=describe(x),
            cause="a data matrix where its Gram matrix x.mT @ x was meant",
            fix="for least squares use wg.linalg.lstsq or wg.linalg.pinv",
        )
    return Spec.of(x)


def lapack(f: Callable[..., Any]) -> Callable[..., Any]:
    """A reference that runs without floating-point warnings, and for half precision in float32,
    which LAPACK needs."""

    def guarded(*arrays: Array, **params: Any) -> Any:
        dtype = arrays[0].dtype
        with np.errstate(all="ignore"):
            if dtype.itemsize != 2:
                return f(*arrays, **params)
            out = f(*[a.astype(np.float32) for a in arrays], **params)
            if isinstance(out, tuple):
                return tuple(o.astype(dtype) for o in out)
            return out.astype(dtype)

    return guarded


def check_finite(op: str, x: Array) -> None:
    """Raise if an entry is NaN or infinite: the algorithms need finite matrices."""
    if not np.isfinite(x).all():
        raise LinalgError(
            op,
            "the matrix has entries that are NaN or infinite",
            met=describe(x),
            cause="a division by zero or an overflow before",
            fix="look for the first such value with wg.isfinite",
        )


def failing(f: Callable[[Array], Any], x: Array) -> str:
    """Shape and dtype of a stack, and the number of the first matrix that `f` does not take."""
    if x.ndim > 2:
        for index in np.ndindex(x.shape[:-2]):
            try:
                f(x[index])
            except np.linalg.LinAlgError:
                return f"{describe(x)}, at matrix {list(index)} of the stack"
    return describe(x)


def positive_definite(rng: np.random.Generator, *shape: int) -> Array:
    """A test input: well-conditioned symmetric positive definite matrices."""
    x = rng.normal(size=shape)
    found: Array = x @ x.swapaxes(-1, -2) / 2 + np.eye(shape[-1])
    return found


def regular(rng: np.random.Generator, *shape: int) -> Array:
    """A test input: square matrices far from singular."""
    found: Array = rng.normal(size=shape) * 0.5 + 2.0 * np.eye(shape[-1])
    return found


def square_errors(rng: np.random.Generator, **params: Any) -> list[Wrong]:
    """What every op of square matrices refuses."""
    return [
        Wrong((rng.normal(size=(2, 3)),), params, ShapeError, "takes square matrices"),
        *matrix_errors(rng, **params),
    ]


def matrix_errors(rng: np.random.Generator, **params: Any) -> list[Wrong]:
    """What every op of matrices refuses."""
    return [
        Wrong((rng.normal(size=(3,)),), params, ShapeError, "takes a matrix"),
        Wrong((rng.integers(0, 5, (2, 2)),), params, DtypeError, "takes floating matrices"),
    ]


def cube(x: Shaped) -> int:
    """n³ for each matrix of a stack of n×n, the measure of what factorizations cost."""
    return prod(x.shape) * (x.shape[-1] if len(x.shape) else 0)
