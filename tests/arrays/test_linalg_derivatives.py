"""Derivatives of wg.linalg against finite differences, at degenerate matrices too."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from tests.arrays.matrices import INF, L, close, definite, normal, regular, symmetric

DIFFERENTIABLE: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("cholesky upper", lambda x: L.cholesky(x, upper=True), (definite(3, 3),)),
    (
        "cholesky_solve",
        lambda b, x: L.cholesky_solve(b, L.cholesky(x)),
        (normal(3), definite(3, 3)),
    ),
    ("solve vector", L.solve, (regular(3, 3), normal(3))),
    ("solve stack", L.solve, (regular(3, 3), normal(2, 3, 1))),
    ("solve broadcast", L.solve, (regular(2, 1, 2, 2), normal(2, 2, 1))),
    ("triangular", lambda a, b: L.solve_triangular(a, b, trans="T"), (regular(3, 3), normal(3))),
    ("inv", L.inv, (regular(2, 2, 2),)),
    ("pinv", L.pinv, (normal(3, 2),)),
    ("lstsq", lambda a, b: L.lstsq(a, b)[:2], (normal(4, 2), normal(4))),
    ("qr wide", L.qr, (normal(2, 4),)),
    ("qr square", L.qr, (regular(3, 3),)),
    ("eigh", L.eigh, (symmetric(3, 3),)),
    ("svd thin", lambda x: L.svd(x, full_matrices=False), (normal(4, 2),)),
    ("svd wide", lambda x: L.svd(x, full_matrices=False), (normal(2, 4),)),
    ("slogdet", lambda x: L.slogdet(x).logabsdet, (normal(2, 3, 3),)),
    ("det", L.det, (normal(2, 3, 3),)),
    ("cond", L.cond, (regular(3, 3),)),
    ("cond 1", lambda x: L.cond(x, 1), (regular(3, 3),)),
    ("expm", L.expm, (normal(2, 2, 2),)),
    ("matrix_power", lambda x: L.matrix_power(x, -2), (regular(2, 2),)),
    ("multi_dot", lambda *a: L.multi_dot(a), (normal(2), normal(2, 3), normal(3, 2))),
    ("trace", lambda x: L.trace(x, offset=1), (normal(2, 3, 3),)),
    ("tensorsolve", L.tensorsolve, (regular(4, 4).reshape(2, 2, 4), normal(2, 2))),
]


@pytest.mark.parametrize(
    ("f", "args"), [d[1:] for d in DIFFERENTIABLE], ids=[d[0] for d in DIFFERENTIABLE]
)
def test_derivatives_to_second_order(f: Any, args: Any) -> None:
    assert_derivatives(f, *args)


@pytest.mark.parametrize(
    ("f", "args"), [d[1:] for d in DIFFERENTIABLE], ids=[d[0] for d in DIFFERENTIABLE]
)
def test_vmap_equals_a_loop(f: Any, args: Any) -> None:
    """With all arguments mapped, and with the last one alone."""
    for first in (0, len(args) - 1):
        rows = [
            np.stack([a, a * 1.1, a + 0.1 * a**2 / 10]) if i >= first else a
            for i, a in enumerate(args)
        ]
        axes = tuple(0 if i >= first else None for i in range(len(args)))
        found = wg.vmap(f, in_axes=axes)(*rows)
        found = found if isinstance(found, tuple) else (found,)
        for i in range(3):
            row = f(*[wg.asarray(r[i] if a == 0 else r) for r, a in zip(rows, axes, strict=True)])
            row = row if isinstance(row, tuple) else (row,)
            for a, b in zip(found, row, strict=True):
                close(a[i], b.numpy(), 1e-8)


# -- where derivatives are delicate ------------------------------------------------------------


def minors(x: Any) -> Any:
    """The cofactor matrix by its definition."""
    n = len(x)
    rest = [[j for j in range(n) if j != i] for i in range(n)]
    return np.array(
        [
            [(-1) ** (i + j) * np.linalg.det(x[np.ix_(rest[i], rest[j])]) for j in range(n)]
            for i in range(n)
        ]
    )


SINGULAR = {
    "rank 3 of 4": normal(4, 3) @ normal(3, 4),
    "rank 2 of 4": normal(4, 2) @ normal(2, 4),
    "rank 1 of 3": np.outer([1.0, -2.0, 0.5], [1.0, 1.0, 3.0]),
    "zero": np.zeros((3, 3)),
    "a zero row": np.diag([1.0, 0.0, 2.0]),
    "identity": np.eye(3),
    "nearly singular": np.diag([1.0, 1e-14, 2.0]),
    "reflection": np.diag([1.0, -1.0, 1.0]),
}


@pytest.mark.parametrize("x", SINGULAR.values(), ids=SINGULAR.keys())
def test_det_has_its_true_derivatives_at_singular_matrices(x: Any) -> None:
    close(wg.grad(L.det)(wg.asarray(x)), minors(x), 1e-12)
    assert_derivatives(L.det, x)


def test_third_derivative_of_det() -> None:
    third = lambda f: wg.jacfwd(wg.jacfwd(wg.jacfwd(f)))
    expected = np.zeros((3,) * 6)  # the derivative by three entries is the sign of a permutation
    for p, q in itertools.product(itertools.permutations(range(3)), repeat=2):
        sign = np.linalg.det(np.eye(3)[list(p)]) * np.linalg.det(np.eye(3)[list(q)])
        expected[p[0], q[0], p[1], q[1], p[2], q[2]] = sign
    for x in (normal(3, 3), np.eye(3), np.diag([1.0, 0.0, 2.0])):
        close(third(L.det)(wg.asarray(x)), expected, 1e-8)


def test_equal_eigenvalues() -> None:
    turn = np.linalg.qr(normal(3, 3)).Q

    def projector(x: Any) -> Any:  # onto the space of the two smaller eigenvalues
        v = L.eigh(x).eigenvectors[:, :2]
        return v @ v.mT

    assert_derivatives(projector, turn @ np.diag([2.0, 2.0, 5.0]) @ turn.T, order=1)
    for x in (np.eye(3), np.zeros((3, 3)), turn @ np.diag([2.0, 2.0, 5.0]) @ turn.T):
        assert_derivatives(lambda t: wg.sum(L.eigvalsh(t) ** 3), x, order=1)
        assert_derivatives(lambda t: wg.sum(L.eigh(t).eigenvalues ** 3), x, order=1)
        total = lambda t: wg.sum(L.eigh(t).eigenvectors ** 3)
        for f in (total, lambda t, f=total: wg.sum(wg.grad(f)(t) ** 2)):
            assert np.isfinite(wg.grad(f)(wg.asarray(x)).numpy()).all()


def test_equal_singular_values() -> None:
    def polar(x: Any) -> Any:
        u, _, vh = L.svd(x, full_matrices=False)
        return u @ vh

    for x in (np.eye(3), np.linalg.qr(normal(4, 3)).Q, np.linalg.qr(normal(4, 3)).Q.T):
        assert_derivatives(polar, x, order=1, tolerance=1e-5)
        assert_derivatives(lambda t: L.matrix_norm(t, ord="nuc"), x, order=1)
        assert_derivatives(L.pinv, x)
    # At the identity the polar factor turns by the antisymmetric part.
    t = normal(3, 3)
    close(wg.jvp(polar, (wg.eye(3, dtype=wg.float64),), (wg.asarray(t),))[1], (t - t.T) / 2)
    for x in (np.zeros((2, 3)), np.ones((3, 3))):  # zero singular values
        total = lambda a: sum(wg.sum(wg.sin(p)) for p in L.svd(a))
        assert np.isfinite(wg.grad(total)(wg.asarray(x)).numpy()).all()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_the_columns_that_complete_a_basis_have_invariant_gradients(shape: Any) -> None:
    def null_space(x: Any) -> Any:
        u, _, vh = L.svd(x)
        rest = u[:, 3:] if shape[0] > shape[1] else vh[3:].mT
        return rest @ rest.mT

    def complement(x: Any) -> Any:
        q = L.qr(x if shape[0] > shape[1] else x.mT, mode="complete").Q
        return q[:, 3:] @ q[:, 3:].mT

    x = normal(*shape)
    assert_derivatives(null_space, x)
    assert_derivatives(complement, x)


def test_pinv_of_constant_rank() -> None:
    a, b = normal(4, 2), normal(2, 3)
    assert_derivatives(lambda a, b: L.pinv(a @ b, rtol=1e-8), a, b)  # of rank 2 everywhere nearby


def test_norms_at_zero() -> None:
    zero = wg.zeros((2, 3), dtype=wg.float64)
    for ord in (1, 2, 3, 0.5, INF, -INF, 0, -1):
        f = lambda x, ord=ord: wg.sum(L.vector_norm(x, axis=-1, ord=ord))
        close(wg.grad(f)(zero), np.zeros((2, 3)))
    close(wg.grad(L.matrix_norm)(zero), np.zeros((2, 3)))
    close(wg.hessian(L.vector_norm)(zero[0]), np.zeros((3, 3)))
    row = wg.asarray(np.array([0.0, 3.0, 4.0]))
    close(wg.grad(L.vector_norm)(row), [0, 0.6, 0.8])
    assert float(L.vector_norm(np.zeros(0), ord=INF)) == 0.0
    close(L.vector_norm(np.array([0.0, 2.0]), ord=-1), 0.0)


def test_symmetric_functions_have_symmetric_gradients() -> None:
    for f, x in (
        (L.cholesky, definite(3, 3)),
        (lambda t: L.eigh(t).eigenvectors, symmetric(3, 3)),
        (L.eigvalsh, symmetric(3, 3)),
    ):
        g = wg.grad(lambda t, f=f: wg.sum(wg.sin(f(t))))(wg.asarray(x)).numpy()
        close(g, g.T)
