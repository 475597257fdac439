"""Factorizing and solving: cholesky, solve, triangular_solve, inv.

The references are NumPy's (LAPACK); half precision is computed in float32. Sources of the rules:
Giles 2008 (solve, inverse), Murray 2016 (Cholesky).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from wengert.core.errors import DtypeError, LinalgError, ShapeError
from wengert.core.node import Node
from wengert.core.op import REGISTRY, Array, Op
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import mul, neg, sub
from wengert.ops.matrix import (
    check_finite,
    check_matrix,
    check_square,
    cube,
    failing,
    lapack,
    mask,
    mm,
    mT,
    positive_definite,
    regular,
    square_errors,
    symmetric_part,
    symmetrized,
)
from wengert.ops.movement import broadcast_to, permute, reshape

# -- cholesky ----------------------------------------------------------------------------------


@lapack
def _cholesky(x: Array) -> Array:
    check_square("cholesky", x)
    x = symmetric_part(x)
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        check_finite("cholesky", x)
        raise LinalgError(
            "cholesky",
            "the matrix is not positive definite",
            met=failing(np.linalg.cholesky, x),
            cause="a covariance whose smallest eigenvalue is lost in rounding, or a sign error",
            fix="add a multiple of the identity: x + 1e-6 * wg.eye(n)",
        ) from None


def _cholesky_jvp(t: Tensor, out: Tensor) -> Tensor:
    """L̇ = L·Φ(L⁻¹·Ȧ·L⁻ᵀ), where Φ keeps the lower triangle and half of the diagonal."""
    half = triangular_solve(out, symmetrized(t), lower=True, **PLAIN)
    inner = triangular_solve(out, mT(half), lower=True, **PLAIN)
    return mm(out, mul(inner, mask("half lower", *out.shape[-2:], out.dtype)))


def _cholesky_vjp(g: Tensor, out: Tensor) -> Tensor:
    """Ā = sym(L⁻ᵀ·Φ(Lᵀ·L̄)·L⁻¹)."""
    inner = mul(mm(out, g, x_turned=True), mask("half lower", *out.shape[-2:], out.dtype))
    left = triangular_solve(out, inner, lower=True, **TURNED)
    both = triangular_solve(out, mT(left), lower=True, **TURNED)
    return symmetrized(both)


# x = L·Lᵀ with L lower triangular, of the symmetric part of x. Source: Murray 2016.
cholesky: Op = custom(
    "cholesky",
    _cholesky,
    lambda x: check_square("cholesky", x),
    jvps=(_cholesky_jvp,),
    vjps=(_cholesky_vjp,),
    batch=lambda rows, args, batched: cholesky(args[0]),
    samples=lambda rng: [
        Sample((positive_definite(rng, 3, 3),)),
        Sample((positive_definite(rng, 2, 2, 2),)),
        Sample((positive_definite(rng, 1, 1),)),
        Sample((np.zeros((0, 0)),)),
        *square_errors(rng),
        Wrong((-np.eye(2),), {}, LinalgError, "not positive definite.*multiple of the identity"),
        Wrong((np.stack([np.eye(2), -np.eye(2)]),), {}, LinalgError, r"at matrix \[1\]"),
    ],
    cost="compute",
    work=lambda out, x: cube(x) // 3,
)


# -- solving -----------------------------------------------------------------------------------


class Solver(Op):
    """X = op(A)⁻¹·B, with op(A) = A or Aᵀ. The cotangent of B is a solve with the transpose, and
    that of A follows from it: B̄ = op(A)⁻ᵀ·X̄ and, for op(A) = A, Ā = −B̄·Xᵀ (Giles 2008)."""

    def read(self, a: Tensor, params: dict[str, Any]) -> Tensor:
        """The entries of A (or of its cotangent) that the op reads; zeros elsewhere."""
        return a

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        transpose = node.params["transpose"]
        other = {**node.params, "transpose": not transpose}
        to_b = self(node.value(0), ct, **other)
        if not needs[0]:
            return [None, to_b]
        x = node.output()
        outer = mm(x, to_b, y_turned=True) if transpose else mm(to_b, x, y_turned=True)
        return [neg(self.read(outer, node.params)), to_b if needs[1] else None]

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        of_a, right = tangents
        if of_a is not None:
            read = self.read(of_a, node.params)
            shift = mm(read, node.output(), x_turned=node.params["transpose"])
            right = neg(shift) if right is None else sub(right, shift)
        return None if right is None else self(node.value(0), right, **node.params)


def solver(name: str, kind: type[Solver], reference: Any, infer: Any, **options: Any) -> Solver:
    """Declare a solver; the class has its rules, so those listed here only mark operands."""
    marks = (lambda g: g, lambda g: g)
    return kind(
        name,
        reference,
        infer,
        operands=("a", "b"),
        vjps=marks,
        jvps=marks,
        batch=lambda rows, args, batched, **params: _solve_stack(
            REGISTRY[name], rows, args, batched, params
        ),
        keeps=("a", "out"),
        cost="compute",
        **options,
    )


def _solve_stack(
    op: Op, rows: int, args: Sequence[Tensor], batched: Sequence[bool], params: dict[str, Any]
) -> Any:
    a, b = args
    if not batched[1]:
        b = broadcast_to(b, shape=(rows, *b.shape))
    if batched[0]:
        return op(a, b, **params)
    return solve_columns(op, a, b, params)  # factorize once: the batch becomes columns


def solve_columns(op: Op, a: Tensor, b: Tensor, params: dict[str, Any]) -> Tensor:
    """op(a)⁻¹·b where b has more leading axes than a: they become columns of one solve."""
    extra, inner = b.ndim - a.ndim, a.ndim - 2
    order = (*range(extra, extra + inner + 1), *range(extra), b.ndim - 1)
    wide = permute(b, axes=order)
    flat = reshape(wide, shape=(*wide.shape[: inner + 1], prod(wide.shape[inner + 1 :])))
    out = reshape(op(a, flat, **params), shape=wide.shape)
    back: Tensor = permute(out, axes=tuple(sorted(range(b.ndim), key=order.__getitem__)))
    return back


def _solve_spec(op: str, a: Shaped, b: Shaped) -> Spec:
    check_square(op, a)
    check_matrix(op, b)
    if a.shape[:-1] != b.shape[:-1]:
        raise ShapeError(
            op,
            "the right-hand sides do not fit the matrices",
            met=describe(a, b),
            cause="a vector for each matrix of a stack: they must be columns",
            fix="append an axis with b[..., None]",
        )
    if a.dtype != b.dtype:
        raise DtypeError(op, "takes operands of one dtype", met=describe(a, b), fix="cast one")
    return Spec.of(b)


def singular(op: str, x: Array) -> LinalgError:
    """The error for a matrix that cannot be inverted."""
    check_finite(op, x)
    return LinalgError(
        op,
        "the matrix is singular",
        met=failing(np.linalg.inv, x),
        cause="linearly dependent rows, or a row of zeros",
        fix="use wg.linalg.lstsq or wg.linalg.pinv, or add a multiple of the identity",
    )


@lapack
def _solve(a: Array, b: Array, transpose: bool) -> Array:
    _solve_spec("solve", a, b)
    a = a.swapaxes(-1, -2) if transpose else a
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise singular("solve", a) from None


def _solve_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    a, b = regular(rng, 3, 3), rng.normal(size=(3, 2))
    no, yes = {"transpose": False}, {"transpose": True}
    return [
        Sample((a, b), no),
        Sample((regular(rng, 2, 2, 2), rng.normal(size=(2, 2, 1))), yes),
        Sample((regular(rng, 1, 1), rng.normal(size=(1, 1))), no),
        Sample((a, np.zeros((3, 0))), no),
        Sample((np.zeros((0, 0)), np.zeros((0, 2))), no),
        Wrong((rng.normal(size=(2, 3)), b), no, ShapeError, "takes square matrices"),
        Wrong((a, rng.normal(size=(2, 2))), no, ShapeError, "do not fit the matrices"),
        Wrong((np.zeros((2, 2)), np.ones((2, 1))), no, LinalgError, "is singular"),
        Wrong((a, b.astype(np.float32)), no, DtypeError, "one dtype"),
    ]


solve = solver(
    "solve",
    Solver,
    _solve,
    lambda a, b, transpose: _solve_spec("solve", a, b),
    samples=_solve_samples,
    work=lambda out, a, b, transpose: 2 * cube(a) // 3 + 2 * prod(out.shape) * a.shape[-1],
)


# -- triangular solve --------------------------------------------------------------------------

PLAIN = {"transpose": False, "unit_diagonal": False, "asked_by": "solve_triangular"}
TURNED = {**PLAIN, "transpose": True}
BLOCK = 64  # rows that are solved at a time; the rest is matrix products


class TriangularSolver(Solver):
    """A solver that reads one triangle of A, and not the diagonal if that is taken as ones."""

    def read(self, a: Tensor, params: dict[str, Any]) -> Tensor:
        if params["unit_diagonal"]:
            kind = "below" if params["lower"] else "above"
        else:
            kind = "lower" if params["lower"] else "upper"
        return mul(a, mask(kind, *a.shape[-2:], a.dtype))


@lapack
def _triangular_solve(
    a: Array, b: Array, lower: bool, transpose: bool, unit_diagonal: bool, asked_by: str
) -> Array:
    _solve_spec(asked_by, a, b)
    a = np.tril(a) if lower else np.triu(a)
    places = np.arange(a.shape[-1])
    if unit_diagonal:
        a[..., places, places] = 1
    elif not a[..., places, places].all():
        raise _zero_on_the_diagonal(asked_by, a)
    if transpose:
        a, lower = a.swapaxes(-1, -2), not lower
    x = np.empty(b.shape, b.dtype)
    starts = range(0, a.shape[-1], BLOCK)
    for first in starts if lower else reversed(starts):
        last = first + BLOCK
        known = slice(0, first) if lower else slice(last, None)
        right = b[..., first:last, :] - np.matmul(a[..., first:last, known], x[..., known, :])
        x[..., first:last, :] = _substitute(a[..., first:last, first:last], right, lower)
    return x


def _substitute(a: Array, b: Array, lower: bool) -> Array:
    """The solve of a small block. LU leaves an upper triangle as it is, so it substitutes; a lower
    one becomes an upper one when both axes are reversed."""
    if not lower:
        return np.linalg.solve(a, b)
    reversed_: Array = np.linalg.solve(a[..., ::-1, ::-1], b[..., ::-1, :])
    return reversed_[..., ::-1, :]


def _zero_on_the_diagonal(op: str, a: Array) -> LinalgError:
    zeros = np.argwhere(np.diagonal(a, 0, -2, -1) == 0)[0]
    where = f", at matrix {zeros[:-1].tolist()} of the stack" if len(zeros) > 1 else ""
    return LinalgError(
        op,
        f"the matrix is singular: entry {zeros[-1]} of the diagonal is 0",
        met=describe(a) + where,
        cause="a factor of a matrix without full rank",
        fix="add a multiple of the identity before factorizing, or use wg.linalg.pinv",
    )


def _triangular_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    def case(a: Array, b: Array, lower: bool, transpose: bool, unit: bool) -> Sample:
        params = {"lower": lower, "transpose": transpose, "unit_diagonal": unit}
        return Sample((a, b), {**params, "asked_by": "solve_triangular"})

    a, b = regular(rng, 3, 3), rng.normal(size=(3, 2))
    low = {"lower": True, **PLAIN}
    return [
        case(a, b, lower=True, transpose=False, unit=False),
        case(a, b, lower=False, transpose=True, unit=False),
        case(a, b, lower=True, transpose=True, unit=True),
        case(regular(rng, 2, 2, 2), rng.normal(size=(2, 2, 1)), False, False, True),
        case(np.zeros((0, 0)), np.zeros((0, 1)), lower=True, transpose=False, unit=False),
        Wrong((rng.normal(size=(2, 3)), b), low, ShapeError, "takes square matrices"),
        Wrong((a, rng.normal(size=(2, 2))), low, ShapeError, "do not fit the matrices"),
        Wrong((np.diag([1.0, 0.0]), np.ones((2, 1))), low, LinalgError, "entry 1 of the diagonal"),
    ]


triangular_solve = solver(
    "triangular_solve",
    TriangularSolver,
    _triangular_solve,
    lambda a, b, lower, transpose, unit_diagonal, asked_by: _solve_spec(asked_by, a, b),
    samples=_triangular_samples,
    work=lambda out, a, b, **params: prod(out.shape) * a.shape[-1],
)


# -- inverses ----------------------------------------------------------------------------------


@lapack
def _inv(x: Array, asked_by: str) -> Array:
    check_square(asked_by, x)
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        raise singular(asked_by, x) from None


# The inverse; `asked_by` is the function that errors speak of. Source: Giles 2008.
inv: Op = custom(
    "inv",
    _inv,
    lambda x, asked_by: check_square(asked_by, x),
    jvps=(lambda t, out: neg(mm(mm(out, t), out)),),
    vjps=(lambda g, out: neg(mm(mm(out, g, x_turned=True), out, y_turned=True)),),
    batch=lambda rows, args, batched, asked_by: inv(args[0], asked_by=asked_by),
    samples=lambda rng: [
        Sample((regular(rng, 3, 3),), {"asked_by": "inv"}),
        Sample((regular(rng, 2, 1, 1),), {"asked_by": "inv"}),
        Sample((np.zeros((0, 0)),), {"asked_by": "inv"}),
        *square_errors(rng, asked_by="inv"),
        Wrong((np.ones((2, 2)),), {"asked_by": "inv"}, LinalgError, "is singular.*lstsq"),
    ],
    cost="compute",
    work=lambda out, x, asked_by: 2 * cube(x),
)
