"""Linear systems, least squares and inverses."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import Op, cast_to
from wengert.core.rules import broadcast
from wengert.core.tensor import Tensor, as_tensor
from wengert.linalg.measure import default_rtol, matrix_rank
from wengert.namespaces import broadcast_to, matmul, moveaxis, sum
from wengert.namespaces.linear import pair
from wengert.namespaces.reductions import floating
from wengert.ops import linalg as _ops
from wengert.ops.decompositions import svdvals
from wengert.ops.matrix import check_matrix, check_square
from wengert.ops.matrix_functions import pinv as _pinv


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _solve_with(name: str, op: Op, x1: Any, x2: Any, **params: Any) -> Tensor:
    """Solve for a vector or for columns, over stacks that broadcast."""
    x, y = pair(x1, x2)
    a, b = floating(x), floating(y)
    check_square(name, a)
    vector = b.ndim == 1
    if vector:
        b = b[:, None]
    check_matrix(name, b)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            name,
            "the right-hand side does not fit the matrix",
            met=f"matrices {a.shape} and right-hand side {as_tensor(x2).shape}",
            cause="a stack of vectors: only a 1-d right-hand side is a vector, else it has columns",
            fix="append an axis with b[..., None], and drop it from the result",
        )
    if a.ndim == 2 and b.ndim > 2:
        out = _ops.solve_columns(op, a, b, params)
    else:
        lead = broadcast(name, a.shape[:-2], b.shape[:-2])
        out = op(_to_stack(a, lead), _to_stack(b, lead), **params)
    return out[..., 0] if vector else out


def _to_stack(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    return x if x.shape[:-2] == lead else broadcast_to(x, (*lead, *x.shape[-2:]))


def solve(x1: Any, x2: Any, /) -> Tensor:
    """The solution of x1 · out = x2 for square matrices x1.

    `x2` is a vector if it is 1-d, else a stack of matrices whose columns are right-hand sides.
    Stacks broadcast. Raises LinalgError where x1 is singular.

    >>> import wengert as wg
    >>> wg.linalg.solve(wg.asarray([[2.0, 0.0], [0.0, 4.0]]), wg.asarray([2.0, 2.0]))
    Tensor([1. , 0.5], dtype=float32)
    """
    return _solve_with("solve", _ops.solve, x1, x2, transpose=False)


def solve_triangular(
    a: Any, b: Any, *, lower: bool = False, trans: int | str = 0, unit_diagonal: bool = False
) -> Tensor:
    """The solution of a · out = b (with trans=1 or "T", of aᵀ · out = b) for triangular a.

    Only the upper triangle of `a` is read (with `lower`, the lower), and with `unit_diagonal` not
    even the diagonal. `b` and stacks are as in `solve`. Raises LinalgError for a zero on the
    diagonal.

    >>> import wengert as wg
    >>> a = wg.asarray([[2.0, 0.0], [1.0, 1.0]])
    >>> wg.linalg.solve_triangular(a, wg.asarray([2.0, 3.0]), lower=True)
    Tensor([1., 2.], dtype=float32)
    """
    if trans not in (0, 1, "N", "T"):
        raise ArgumentError(
            "solve_triangular", "unknown trans", met=repr(trans), fix="use 0 or 'N', 1 or 'T'"
        )
    return _solve_with(
        "solve_triangular",
        _ops.triangular_solve,
        a,
        b,
        lower=bool(lower),
        transpose=trans in (1, "T"),
        unit_diagonal=bool(unit_diagonal),
        asked_by="solve_triangular",
    )


def cholesky_solve(b: Any, factor: Any, *, upper: bool = False) -> Tensor:
    """The solution of a · out = b, given the factor of a that `cholesky(a, upper=upper)` returned.

    >>> import wengert as wg
    >>> factor = wg.linalg.cholesky(wg.asarray([[4.0, 2.0], [2.0, 5.0]]))
    >>> wg.linalg.cholesky_solve(wg.asarray([8.0, 8.0]), factor)
    Tensor([1.5, 1. ], dtype=float32)
    """
    first = solve_triangular(factor, b, lower=not upper, trans=1 if upper else 0)
    return solve_triangular(factor, first, lower=not upper, trans=0 if upper else 1)


def inv(x: Any, /) -> Tensor:
    """The inverse of square matrices. Raises LinalgError where one is singular.

    To solve a system use `solve`, which is faster and more accurate.

    >>> import wengert as wg
    >>> wg.linalg.inv(wg.asarray([[2.0, 0.0], [0.0, 4.0]]))
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]], dtype=float32)
    """
    out: Tensor = _ops.inv(floating(x), asked_by="inv")
    return out


def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """The Moore-Penrose pseudo-inverse.

    Singular values up to `rtol` times the largest count as zero; `rtol` is a number or one a
    matrix, max(m, n) · eps by default. The derivative holds where the rank stays the same nearby.

    >>> import wengert as wg
    >>> wg.linalg.pinv(wg.asarray([[2.0, 0.0], [0.0, 0.0]]))
    Tensor([[0.5, 0. ],
            [0. , 0. ]], dtype=float32)

    Source of the derivative: Golub and Pereyra 1973, "The differentiation of pseudo-inverses".
    """
    x = floating(x)
    check_matrix("pinv", x)
    rtol = as_tensor(default_rtol(x) if rtol is None else rtol, x)
    tolerances = broadcast_to(cast_to(rtol, x.dtype), x.shape[:-2])
    out: Tensor = _pinv(x, tolerances)
    return out


def lstsq(a: Any, b: Any, rcond: Any = None) -> LstsqResult:
    """The `out` of least norm among those that minimize ‖a·out − b‖₂.

    `b` is a vector or has columns. Returns (solution, residuals, rank, singular_values), where
    residuals are the sums of squares ‖a·out − b‖² of each column (always, unlike in NumPy).
    `rcond` is the `rtol` of `pinv`.

    >>> import wengert as wg
    >>> a = wg.asarray([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> wg.round(wg.linalg.lstsq(a, wg.asarray([1.0, 3.0, 5.0])).solution, 3)
    Tensor([1., 2.], dtype=float32)
    """
    x, y = pair(a, b)
    x, y = floating(x), floating(y)
    check_matrix("lstsq", x)
    vector = y.ndim == 1
    columns = y[:, None] if vector else y
    if columns.ndim < 2 or columns.shape[-2] != x.shape[-2]:
        raise ShapeError(
            "lstsq",
            "the right-hand side must have one row for each row of the matrix",
            met=f"matrix {x.shape}, right-hand side {y.shape}",
            cause="a transposed matrix, or samples along another axis",
            fix="put samples along the rows of both",
        )
    solution = matmul(pinv(x, rtol=rcond), columns)
    off = matmul(x, solution) - columns
    residuals = sum(off * off, axis=-2)
    rank = matrix_rank(x, rtol=rcond)
    if vector:
        solution, residuals = solution[..., 0], residuals[..., 0]
    return LstsqResult(solution, residuals, rank, svdvals(x))


def tensorinv(a: Any, ind: int = 2) -> Tensor:
    """The inverse of `tensordot(a, ·, ind)`: with it, tensordot(out, tensordot(a, b, ind)) = b.

    The sizes of the first `ind` axes must multiply to the same number as the others'.

    >>> import wengert as wg
    >>> wg.linalg.tensorinv(wg.reshape(wg.eye(6), (6, 2, 3)), ind=1).shape
    (2, 3, 6)
    """
    x = floating(a)
    first, rest = x.shape[:ind], x.shape[ind:]
    if not 0 < ind < x.ndim or prod(first) != prod(rest):
        raise ShapeError(
            "tensorinv",
            "the axes do not split into two halves of equal size",
            met=f"{x.shape} at axis {ind}",
            fix="choose ind so that the sizes before and after it have equal products",
        )
    return inv(x.reshape((prod(first), prod(rest)))).reshape((*rest, *first))


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tensor:
    """The `out` with tensordot(a, out, out.ndim) = b; `axes` of a are moved to its end before.

    >>> import wengert as wg
    >>> a = wg.reshape(wg.eye(6), (2, 3, 6))
    >>> wg.linalg.tensorsolve(a, wg.ones((2, 3)))
    Tensor([1., 1., 1., 1., 1., 1.], dtype=float32)
    """
    x, y = pair(a, b)
    x = floating(x)
    if axes is not None:
        x = moveaxis(x, tuple(axes), tuple(range(x.ndim - len(axes), x.ndim)))
    wanted = x.shape[y.ndim :]
    if prod(wanted) != y.size or x.shape[: y.ndim] != y.shape:
        raise ShapeError(
            "tensorsolve",
            "the tensor does not split into the shape of b and one of the same size",
            met=f"{x.shape} for b {y.shape}",
            fix="pass axes= with the axes of a that belong to the solution",
        )
    return solve(x.reshape((y.size, y.size)), floating(y).reshape((y.size,))).reshape(wanted)
