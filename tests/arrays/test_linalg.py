"""wg.linalg against NumPy and SciPy: values, dtypes, errors."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.linalg

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from tests.arrays.matrices import INF, L, close, definite, mT, normal, regular, symmetric
from wengert.core.errors import ArgumentError, DtypeError, LinalgError, ShapeError, WengertError

# -- values ------------------------------------------------------------------------------------

UNARY: list[tuple[str, Any, Any]] = [
    ("cholesky", np.linalg.cholesky, definite),
    ("det", np.linalg.det, normal),
    ("inv", np.linalg.inv, regular),
    ("pinv", np.linalg.pinv, regular),
    ("eigvalsh", np.linalg.eigvalsh, symmetric),
    ("svdvals", np.linalg.svdvals, normal),
    ("expm", scipy.linalg.expm, normal),
    ("matrix_transpose", mT, normal),
    ("trace", lambda x: np.trace(x, axis1=-2, axis2=-1), normal),
    ("diagonal", lambda x: np.diagonal(x, axis1=-2, axis2=-1), normal),
    ("matrix_rank", np.linalg.matrix_rank, normal),
    ("cond", np.linalg.cond, regular),
    ("matrix_norm", lambda x: np.linalg.norm(x, axis=(-2, -1)), normal),
]


@pytest.mark.parametrize(("name", "reference", "draw"), UNARY, ids=[u[0] for u in UNARY])
@pytest.mark.parametrize("shape", [(4, 4), (3, 2, 2), (2, 3, 1, 1), (0, 2, 2)])
def test_unary_functions_agree_with_numpy(name: str, reference: Any, draw: Any, shape: Any) -> None:
    x = draw(*shape)
    close(getattr(L, name)(x), reference(x))


@pytest.mark.parametrize("name", ["det", "inv", "expm", "cholesky", "eigvalsh", "svdvals"])
def test_empty_matrices(name: str) -> None:
    found = getattr(L, name)(np.zeros((2, 0, 0)))
    expected = np.ones(2) if name == "det" else np.zeros((2, 0, 0)[: found.ndim])
    close(found, expected)
    assert L.pinv(np.zeros((0, 3))).shape == (3, 0)
    assert L.matrix_rank(np.zeros((2, 0, 3))).tolist() == [0, 0]
    assert L.svd(np.zeros((0, 3))).Vh.shape == (3, 3)
    assert L.qr(np.zeros((3, 0)), mode="complete").Q.shape == (3, 3)
    assert L.solve(np.zeros((0, 0)), np.zeros((0, 2))).shape == (0, 2)
    assert [float(v[0]) for v in L.slogdet(np.zeros((1, 0, 0)))] == [1.0, 0.0]


@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5), (1, 1), (2, 1, 3)])
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr(shape: Any, mode: Any) -> None:
    x = normal(*shape)
    q, r = L.qr(x, mode=mode)
    expected = np.linalg.qr(x, mode=mode)
    assert q.shape == expected.Q.shape
    close(r, expected.R)
    close(q @ r, x)
    close(
        mT(q.numpy()) @ q.numpy(),
        np.broadcast_to(np.eye(q.shape[-1]), (mT(q.numpy()) @ q.numpy()).shape),
    )


@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (3, 5), (1, 1), (2, 1, 3)])
@pytest.mark.parametrize("full", [True, False])
def test_svd(shape: Any, full: bool) -> None:
    x = normal(*shape)
    u, s, vh = L.svd(x, full_matrices=full)
    expected = np.linalg.svd(x, full_matrices=full)
    assert u.shape == expected.U.shape
    assert vh.shape == expected.Vh.shape
    close(s, expected.S)
    k = s.shape[-1]
    close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x)
    for basis in (u.numpy(), mT(vh.numpy())):
        gram = mT(basis) @ basis
        close(gram, np.broadcast_to(np.eye(gram.shape[-1]), gram.shape))


def test_eigh_and_slogdet() -> None:
    x = symmetric(3, 4, 4)
    w, v = L.eigh(x)
    close(w, np.linalg.eigh(x).eigenvalues)
    close((v * w[..., None, :]) @ v.mT, x)
    sign, size = L.slogdet(x)
    close(sign * wg.exp(size), np.linalg.det(x), 1e-9)
    close(L.slogdet(np.zeros((2, 2))).logabsdet, -np.inf)
    assert L.eigh(x)._fields == ("eigenvalues", "eigenvectors")


def test_solve_follows_the_rule_for_vectors_and_broadcasts() -> None:
    for a, b in itertools.product(
        [(3, 3), (2, 3, 3), (4, 1, 3, 3)], [(3,), (3, 2), (2, 3, 1), (3, 0)]
    ):
        x, y = regular(*a), normal(*b)
        close(L.solve(x, y), np.linalg.solve(x, y))
        lower = np.tril(x)
        close(L.solve_triangular(x, y, lower=True), np.linalg.solve(lower, y))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [0, "T"])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("n", [1, 5, 150])
def test_solve_triangular_agrees_with_scipy(lower: bool, trans: Any, unit: bool, n: int) -> None:
    a, b = normal(n, n) / n + 2 * np.eye(n), normal(n, 2)
    found = L.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit)
    close(found, scipy.linalg.solve_triangular(a, b, trans, lower, unit))


def test_cholesky_solve() -> None:
    a, b = definite(3, 3), normal(3, 2)
    for upper in (True, False):
        close(L.cholesky_solve(b, L.cholesky(a, upper=upper), upper=upper), np.linalg.solve(a, b))
    close(L.cholesky(a, upper=True), np.linalg.cholesky(a).T)


def test_lstsq_and_pinv() -> None:
    for shape in ((5, 3), (3, 5), (4, 4)):
        a, b = normal(*shape), normal(shape[0], 2)
        x, _, rank, s = np.linalg.lstsq(a, b)
        found = L.lstsq(a, b)
        close(found.solution, x)
        assert int(found.rank) == rank
        close(found.singular_values, s)
        close(found.residuals, ((a @ x - b) ** 2).sum(0))
        close(L.lstsq(a, b[:, 0]).solution, x[:, 0])
    stack = normal(3, 4, 2)
    close(L.lstsq(stack, normal(4, 1) * 0 + 1.0).solution, np.linalg.pinv(stack) @ np.ones((4, 1)))
    a = np.diag([1.0, 1e-3, 1e-9])
    close(L.pinv(a, rtol=1e-6), np.linalg.pinv(a, rtol=1e-6))
    stack = np.stack([a, a])
    close(
        L.pinv(stack, rtol=np.array([1e-2, 1e-12])),
        np.linalg.pinv(stack, rtol=np.array([1e-2, 1e-12])),
    )
    assert L.matrix_rank(stack, rtol=np.array([1e-2, 1e-12])).tolist() == [1, 3]


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 0.5, -1, -2.5, INF, -INF])
def test_vector_norm(ord: Any) -> None:
    x = normal(2, 3, 4)
    x[0, 0, 0] = 0
    for axis, keepdims in ((None, False), ((0, 2), True), (1, False), (-1, True)):
        options: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "ord": ord}
        with np.errstate(divide="ignore"):
            expected = np.linalg.vector_norm(x, **options)
        close(L.vector_norm(x, **options), expected)
    if ord not in (0,):
        assert_derivatives(lambda t: L.vector_norm(t, ord=ord, axis=-1), normal(2, 3))


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, INF, -INF])
def test_matrix_norm(ord: Any) -> None:
    x = normal(3, 4, 2)
    close(L.matrix_norm(x, ord=ord), np.linalg.matrix_norm(x, ord=ord))
    close(
        L.matrix_norm(x, ord=ord, keepdims=True), np.linalg.matrix_norm(x, ord=ord, keepdims=True)
    )
    close(L.norm(x, ord, (0, 2)), np.linalg.norm(x, ord, (0, 2)))
    close(L.norm(x, ord, (-1, 1), True), np.linalg.norm(x, ord, (-1, 1), True))
    close(
        L.cond(regular(3, 3) if ord not in (2, -2) else x, None if ord == "fro" else ord).shape,
        ((3,) if ord in (2, -2) else ()),
    )
    assert_derivatives(lambda t: L.matrix_norm(t, ord=ord), normal(3, 2))


def test_norm_is_numpys() -> None:
    x = normal(3, 4)
    for args in ((), (None, 0), (1, 1), (INF,), ("nuc",), (2, (0, 1))):
        close(L.norm(x, *args), np.linalg.norm(x, *args))
    close(L.norm(normal(2, 2, 2) * 0 + 1), np.sqrt(8))
    close(L.norm(x[0], 3), np.linalg.norm(x[0], 3))


@pytest.mark.parametrize("p", [None, 2, -2, 1, INF, "fro", "nuc"])
def test_condition_numbers(p: Any) -> None:
    x = np.stack([regular(3, 3), np.ones((3, 3))])
    found = L.cond(x, p)
    close(found[0], np.linalg.cond(x[0], p))
    assert float(found[1]) > 1e15 if p != -2 else float(found[1]) < 1e-15
    assert np.isfinite(wg.grad(lambda t: L.cond(t, p)[0])(wg.asarray(x)).numpy()).all()


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 7])
def test_matrix_power(n: int) -> None:
    x = regular(2, 3, 3)
    close(L.matrix_power(x, n), np.linalg.matrix_power(x, n))
    if n >= 0:
        i = np.array([[1, 2], [3, 4]])
        assert (L.matrix_power(i, n).numpy() == np.linalg.matrix_power(i, n)).all()


def test_multi_dot_and_its_order() -> None:
    shapes = [(2, 30), (30, 3), (3, 40), (40, 5)]
    terms = [normal(*s) for s in shapes]
    close(L.multi_dot(terms), np.linalg.multi_dot(terms))
    ends = [normal(30), terms[1], terms[2], normal(40)]
    close(L.multi_dot(ends), np.linalg.multi_dot(ends))
    tracked = [wg.asarray(t).requires_grad_() for t in terms]
    shapes_met = [n.shape for n in wg.Graph.of(L.multi_dot(tracked)).nodes if n.parents]
    assert sorted(shapes_met) == [(2, 3), (2, 5), (3, 5)]


def test_tensor_equations() -> None:
    a = normal(2, 3, 6)
    close(L.tensorsolve(a, normal(2, 3) * 0 + 1), np.linalg.tensorsolve(a, np.ones((2, 3))))
    moved = normal(6, 2, 3)
    close(
        L.tensorsolve(moved, np.ones((2, 3)), axes=(0,)),
        np.linalg.tensorsolve(moved, np.ones((2, 3)), axes=(0,)),
    )
    close(L.tensorinv(moved, 1), np.linalg.tensorinv(moved, 1))


def test_expm_of_small_large_and_mixed_matrices() -> None:
    x = np.stack([normal(3, 3) * scale for scale in (1e-9, 0.1, 3.0, 40.0)])
    for row, found in zip(x, L.expm(x), strict=True):
        close(found, scipy.linalg.expm(row), 1e-8)
    assert np.isnan(L.expm(np.full((2, 2), INF)).numpy()).all()
    close(L.expm(np.array([[0.0, np.pi], [-np.pi, 0.0]])), -np.eye(2), 1e-12)


# -- dtypes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        L.inv,
        L.det,
        L.cholesky,
        L.expm,
        L.pinv,
        L.svdvals,
        L.eigvalsh,
        L.vector_norm,
        L.matrix_norm,
        L.cond,
        lambda x: L.solve(x, x),
        lambda x: L.lstsq(x, x).solution,
        lambda x: L.qr(x, mode="complete").R,
        lambda x: L.svd(x).U,
    ],
)
def test_dtypes_are_kept_and_integers_become_the_default_float(f: Any) -> None:
    x = np.array([[4, 1], [1, 3]])
    exact = f(x.astype(np.float64))
    assert exact.dtype == wg.float64
    for dtype, wanted in (
        (np.float32, wg.float32),
        (np.int64, wg.float32),
        (np.float16, wg.float16),
        (ml_dtypes.bfloat16, wg.bfloat16),
    ):
        found = f(x.astype(dtype))
        assert found.dtype == wanted
        np.testing.assert_allclose(
            found.numpy().astype(np.float64), exact.numpy(), rtol=2e-2, atol=2e-2
        )


def test_half_precision_norms_do_not_overflow() -> None:
    assert float(L.vector_norm(np.array([300.0, 400.0], np.float16))) == 500.0
    assert float(L.matrix_norm(np.array([[300.0, 400.0]], np.float16))) == 500.0


def test_results_do_not_change_operands() -> None:
    x = definite(3, 3)
    before = x.copy()
    for f in (L.cholesky, L.inv, L.eigh, L.svd, L.expm, L.det, L.qr):
        f(wg.asarray(x))
    L.solve_triangular(wg.asarray(x), wg.asarray(x), unit_diagonal=True)
    np.testing.assert_array_equal(x, before)


# -- errors ------------------------------------------------------------------------------------

NAN = np.full((2, 2), np.nan)
STACK = np.stack([np.eye(2), np.zeros((2, 2))])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: L.cholesky(-np.eye(2)),
            LinalgError,
            r"\[cholesky\].*not positive definite.*multiple of the identity",
        ),
        (lambda: L.cholesky(STACK), LinalgError, r"at matrix \[1\] of the stack"),
        (lambda: L.inv(np.ones((2, 2))), LinalgError, r"\[inv\] the matrix is singular.*pinv"),
        (lambda: L.inv(STACK), LinalgError, r"at matrix \[1\] of the stack"),
        (lambda: L.inv(normal(2, 3)), ShapeError, "takes square matrices"),
        (
            lambda: L.solve(np.zeros((2, 2)), np.ones(2)),
            LinalgError,
            r"\[solve\] the matrix is sing",
        ),
        (lambda: L.solve(np.eye(3), np.ones(2)), ShapeError, "right-hand side does not fit"),
        (
            lambda: L.solve(np.eye(3), np.ones((4, 2))),
            ShapeError,
            r"append an axis with b\[\.\.\., None\]",
        ),
        (lambda: L.solve(np.ones((2, 3)), np.ones(2)), ShapeError, r"\[solve\] takes square"),
        (
            lambda: L.solve(np.stack([np.eye(2)] * 2), np.ones((3, 2, 1))),
            ShapeError,
            "cannot be broadcast",
        ),
        (
            lambda: L.solve_triangular(np.diag([1.0, 0.0]), np.ones(2)),
            LinalgError,
            "entry 1 of the diagonal is 0",
        ),
        (
            lambda: L.solve_triangular(STACK, np.ones((2, 1))),
            LinalgError,
            r"entry 0 of the diagonal.*at matrix \[1\]",
        ),
        (
            lambda: L.solve_triangular(np.eye(2), np.ones(2), trans=2),
            ArgumentError,
            "unknown trans",
        ),
        (lambda: L.qr(np.eye(2), mode="r"), ArgumentError, "unknown mode"),
        (lambda: L.qr(np.ones(3)), ShapeError, r"\[qr\] takes a matrix"),
        (lambda: L.eigh(NAN), LinalgError, r"\[eigh\].*NaN or infinite"),
        (lambda: L.eigvalsh(NAN), LinalgError, r"\[eigvalsh\].*NaN or infinite"),
        (lambda: L.svd(NAN), LinalgError, r"\[svd\].*NaN or infinite"),
        (lambda: L.svdvals(NAN), LinalgError, r"\[svdvals\].*NaN or infinite"),
        (lambda: L.pinv(NAN), LinalgError, r"\[pinv\].*NaN or infinite"),
        (lambda: L.det(np.ones(3)), ShapeError, r"\[det\] takes a matrix"),
        (lambda: L.slogdet(np.ones((2, 3))), ShapeError, r"\[slogdet\] takes square"),
        (lambda: L.expm(np.ones((2, 3))), ShapeError, r"\[expm\] takes square"),
        (lambda: L.lstsq(np.ones((3, 2)), np.ones(2)), ShapeError, "one row for each row"),
        (lambda: L.vector_norm(np.ones(2), ord="fro"), ArgumentError, "unknown order"),
        (lambda: L.vector_norm(np.ones(2), axis=1), WengertError, "no such axis"),
        (lambda: L.matrix_norm(np.ones((2, 2)), ord=3), ArgumentError, "unknown order"),
        (lambda: L.matrix_norm(np.ones(2)), ShapeError, r"\[matrix_norm\] takes a matrix"),
        (lambda: L.norm(np.ones((2, 2, 2)), 2), ShapeError, "one axis"),
        (lambda: L.norm(np.ones((2, 2)), 2, (0, -2)), ArgumentError, "must differ"),
        (lambda: L.cond(np.ones((0, 2))), ShapeError, "no condition"),
        (lambda: L.cond(np.ones((3, 2)), 1), ShapeError, r"\[cond\] takes square"),
        (lambda: L.matrix_power(np.eye(2), 0.5), DtypeError, "must be an integer"),
        (lambda: L.matrix_power(np.ones((2, 3)), 2), ShapeError, "takes square"),
        (lambda: L.multi_dot([np.eye(2)]), ArgumentError, "two arrays or more"),
        (lambda: L.multi_dot([np.eye(2), np.ones(2), np.eye(2)]), ShapeError, "only as first"),
        (lambda: L.tensorinv(np.ones((2, 3)), 1), ShapeError, "two halves"),
        (lambda: L.tensorsolve(np.ones((2, 3)), np.ones(2)), ShapeError, "does not split"),
        (
            lambda: wg.grad(lambda x: L.slogdet(x).logabsdet)(wg.ones((2, 2))),
            LinalgError,
            r"\[slogdet\] the matrix is singular",
        ),
        (
            lambda: wg.grad(lambda x: wg.sum(L.qr(x).Q))(wg.zeros((3, 2))),
            LinalgError,
            r"\[qr\] the matrix is singular",
        ),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_numpys_error_class_catches_ours() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        L.inv(np.zeros((2, 2)))
