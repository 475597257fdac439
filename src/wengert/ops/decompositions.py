"""Decompositions: qr, eigh, svd, and the spectra alone.

Where eigenvalues or singular values coincide, their vectors are not determined, and 1/(λᵢ − λⱼ) in
the rules is taken as 0, so that derivatives stay finite. They are true for symmetric functions of
the values (norms, traces of powers) and for what depends on those vectors through their span or
polar factor alone (projectors, U·Vᴴ). They are not for other functions V·f(λ)·Vᵀ: what f does
between two equal values cannot be seen from the cotangents of λ and V.

Sources: Walter and Lehmann 2010 and Seeger et al. 2017 (QR), Giles 2008 (symmetric eigenproblem),
Townsend 2016 (SVD).
"""

from __future__ import annotations

from math import prod

import numpy as np

from wengert.core.errors import LinalgError, ShapeError
from wengert.core.op import Array, Op, add_tangents
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.contract import diagonal, diagonal_embed
from wengert.ops.elementwise import abs, add, div, less_equal, mul, neg, sub
from wengert.ops.linalg import TURNED, triangular_solve
from wengert.ops.matrix import (
    check_finite,
    check_matrix,
    check_square,
    cube,
    lapack,
    mask,
    matrix_errors,
    mm,
    mT,
    square_errors,
    symmetric_part,
    symmetrized,
    times_columns,
)
from wengert.ops.movement import reshape
from wengert.ops.reduce import max as reduce_max
from wengert.ops.selection import where

Pair = tuple[Tensor | None, ...]

# -- qr ----------------------------------------------------------------------------------------


def _qr_spec(x: Shaped) -> tuple[Spec, Spec]:
    check_matrix("qr", x)
    *lead, m, n = x.shape
    if m < n:
        raise ShapeError(
            "qr",
            "the op takes matrices with at least as many rows as columns",
            met=describe(x),
            fix="use wg.linalg.qr, which takes any",
        )
    return Spec((*lead, m, n), x.dtype), Spec((*lead, n, n), x.dtype)


@lapack
def _qr(x: Array) -> tuple[Array, Array]:
    _qr_spec(x)
    q, r = np.linalg.qr(x)
    return q, r


def _right_solve(x: Tensor, r: Tensor, transpose: bool) -> Tensor:
    """x·R⁻ᵀ, or x·R⁻¹ where `transpose` is False, for upper triangular R."""
    params = {**TURNED, "transpose": not transpose, "asked_by": "qr"}
    out: Tensor = triangular_solve(r, mT(x), lower=False, **params)
    return mT(out)


def _qr_jvp(t: Tensor, out: tuple[Tensor, Tensor]) -> Pair:
    """With B = Ȧ·R⁻¹, M = Qᵀ·B and Ω = M below the diagonal, made antisymmetric:
    Q̇ = B + Q·(Ω − M) and Ṙ = (M − Ω)·R."""
    q, r = out
    b = _right_solve(t, r, transpose=False)
    m = mm(q, b, x_turned=True)
    below = mul(m, mask("below", *m.shape[-2:], m.dtype))
    rest = sub(m, sub(below, mT(below)))
    return sub(b, mm(q, rest)), mm(rest, r)


def _qr_vjp(g: Pair, out: tuple[Tensor, Tensor]) -> Tensor | None:
    """Ā = (Q̄ + Q·C)·R⁻ᵀ, where C is M = R·R̄ᵀ − Q̄ᵀ·Q with its lower triangle mirrored."""
    q, r = out
    to_q, to_r = g
    m = None if to_r is None else mm(r, to_r, y_turned=True)
    if to_q is not None:
        m = add_tangents(m, neg(mm(to_q, q, x_turned=True)))
    if m is None:
        return None
    shape = m.shape[-2:]
    lower, below = mask("lower", *shape, m.dtype), mask("below", *shape, m.dtype)
    mirrored = add(mul(m, lower), mT(mul(m, below)))
    return _right_solve(add_tangents(to_q, mm(q, mirrored)), r, transpose=True)


def _tall_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    return [
        Sample((rng.normal(size=(4, 3)),)),
        Sample((rng.normal(size=(2, 2, 2)) + 2 * np.eye(2),)),
        Sample((rng.normal(size=(3, 1)),)),
        Sample((np.zeros((3, 0)),)),
        Wrong((rng.normal(size=(2, 3)),), {}, ShapeError, "at least as many rows as columns"),
        *matrix_errors(rng),
    ]


# x = Q·R for x with at least as many rows as columns and independent columns.
qr: Op = custom(
    "qr",
    _qr,
    _qr_spec,
    jvps=(_qr_jvp,),
    vjps=(_qr_vjp,),
    batch=lambda rows, args, batched: qr(args[0]),
    samples=_tall_samples,
    cost="compute",
    several=True,
    work=lambda out, x: 4 * prod(x.shape) * x.shape[-1],
)


def _complement_spec(q: Shaped) -> Spec:
    check_matrix("orthogonal_complement", q)
    *lead, m, n = q.shape
    if m < n:
        raise ShapeError(
            "orthogonal_complement",
            "there are more columns than dimensions",
            met=describe(q),
            fix="transpose the matrix",
        )
    return Spec((*lead, m, m - n), q.dtype)


@lapack
def _complement(q: Array) -> Array:
    _complement_spec(q)
    full: Array = np.linalg.qr(q, mode="complete")[0]
    return full[..., q.shape[-1] :]


# Orthonormal columns that complete those of q to a basis. Which ones is open; as q moves they turn
# no more than they must: Ṅ = −q·q̇ᵀ·N.
complement: Op = custom(
    "orthogonal_complement",
    _complement,
    _complement_spec,
    jvps=(lambda t, x, out: neg(mm(x, mm(t, out, x_turned=True))),),
    vjps=(lambda g, x, out: neg(mm(out, mm(g, x, x_turned=True))),),
    batch=lambda rows, args, batched: complement(args[0]),
    samples=lambda rng: [
        Sample((np.linalg.qr(rng.normal(size=(4, 2)))[0],), smooth=False),
        Sample((np.linalg.qr(rng.normal(size=(2, 3, 2)))[0],), smooth=False),
        Sample((np.linalg.qr(rng.normal(size=(2, 2)))[0],), smooth=False),
        Wrong((rng.normal(size=(2, 3)),), {}, ShapeError, "more columns than dimensions"),
        *matrix_errors(rng),
    ],
    cost="compute",
    work=lambda out, x: 4 * prod(x.shape) * x.shape[-2],
)


# -- differences of spectra --------------------------------------------------------------------


GAP = 32.0  # values that differ by less than this many ulp of the largest count as equal


def reciprocals(d: Tensor, scale: Tensor) -> Tensor:
    """1/d, and 0 where d is 0 up to the rounding of a spectrum whose largest value is `scale`."""
    wide = np.float32 if d.dtype.itemsize == 2 else d.dtype  # what the reference computed in
    zero = less_equal(abs(d), mul(scale, GAP * float(np.finfo(wide).eps)))
    out: Tensor = where(zero, 0.0, div(1.0, where(zero, 1.0, d)))
    return out


def _largest(s: Tensor) -> Tensor:
    """The largest magnitude of each spectrum, as a 1×1 matrix."""
    if not s.shape[-1]:
        return Tensor(np.zeros((*s.shape[:-1], 1, 1), s.dtype))
    out: Tensor = reduce_max(abs(s), axis=(s.ndim - 1,))
    return reshape(out, shape=(*out.shape, 1, 1))


def _rows_and_columns(s: Tensor) -> tuple[Tensor, Tensor]:
    """sᵢ and sⱼ as matrices to broadcast."""
    return reshape(s, shape=(*s.shape, 1)), reshape(s, shape=(*s.shape[:-1], 1, s.shape[-1]))


def _inverse_gaps(s: Tensor) -> Tensor:
    """1/(sⱼ − sᵢ), and 0 where they coincide."""
    rows, columns = _rows_and_columns(s)
    return reciprocals(sub(columns, rows), _largest(s))


# -- eigh --------------------------------------------------------------------------------------


def _eigh_spec(x: Shaped) -> tuple[Spec, Spec]:
    square = check_square("eigh", x)
    return Spec(square.shape[:-1], x.dtype), square


@lapack
def _eigh(x: Array) -> tuple[Array, Array]:
    _eigh_spec(x)
    check_finite("eigh", x)
    try:
        w, v = np.linalg.eigh(symmetric_part(x))
    except np.linalg.LinAlgError as problem:
        raise _no_convergence("eigh", x, problem) from None
    return w, v


def _no_convergence(op: str, x: Array, problem: Exception) -> LinalgError:
    return LinalgError(
        op,
        f"the iteration did not converge ({problem})",
        met=describe(x),
        cause="entries of very different magnitude",
        fix="scale the matrix, or compute in float64",
    )


def _eigh_jvp(t: Tensor, out: tuple[Tensor, Tensor]) -> Pair:
    """With E = Vᵀ·Ȧ·V: ẇ = diag(E), V̇ = V·(F∘E), F = 1/(wⱼ − wᵢ)."""
    w, v = out
    e = mm(v, mm(symmetrized(t), v), x_turned=True)
    return diagonal(e, offset=0), mm(v, mul(_inverse_gaps(w), e))


def _eigh_vjp(g: Pair, out: tuple[Tensor, Tensor]) -> Tensor | None:
    """Ā = V·(diag(w̄) + F∘(Vᵀ·V̄))·Vᵀ, symmetrized."""
    w, v = out
    to_w, to_v = g
    if to_v is None:
        return None if to_w is None else mm(times_columns(v, to_w), v, y_turned=True)
    inner: Tensor = mul(_inverse_gaps(w), mm(v, to_v, x_turned=True))
    if to_w is not None:
        inner = add(inner, diagonal_embed(to_w, offset=0, shape=v.shape[-2:]))
    return symmetrized(mm(mm(v, inner), v, y_turned=True))


def _symmetric(rng: np.random.Generator, *shape: int) -> Array:
    x = rng.normal(size=shape) * 0.3
    found: Array = x + x.swapaxes(-1, -2) + np.diag(np.arange(shape[-1]) * 1.5)
    return found


def _eigh_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    return [
        Sample((_symmetric(rng, 3, 3),)),
        Sample((_symmetric(rng, 2, 2, 2),)),
        Sample((rng.normal(size=(1, 1)),)),
        Sample((np.zeros((0, 0)),)),
        Sample((np.eye(3),), smooth=False),
        *square_errors(rng),
        Wrong((np.full((2, 2), np.nan),), {}, LinalgError, "NaN or infinite"),
    ]


# x = V·diag(w)·Vᵀ of the symmetric part of x, eigenvalues ascending.
eigh: Op = custom(
    "eigh",
    _eigh,
    _eigh_spec,
    jvps=(_eigh_jvp,),
    vjps=(_eigh_vjp,),
    batch=lambda rows, args, batched: eigh(args[0]),
    samples=_eigh_samples,
    cost="compute",
    several=True,
    work=lambda out, x: 9 * cube(x),
)


@lapack
def _eigvalsh(x: Array) -> Array:
    _eigh_spec(x)
    check_finite("eigvalsh", x)
    try:
        return np.linalg.eigvalsh(symmetric_part(x))
    except np.linalg.LinAlgError as problem:
        raise _no_convergence("eigvalsh", x, problem) from None


def _eigvalsh_jvp(t: Tensor, x: Tensor) -> Tensor:
    _, v = eigh(x)
    out: Tensor = diagonal(mm(v, mm(symmetrized(t), v), x_turned=True), offset=0)
    return out


def _eigvalsh_vjp(g: Tensor, x: Tensor) -> Tensor:
    _, v = eigh(x)
    return mm(times_columns(v, g), v, y_turned=True)


# The eigenvalues alone, which is faster; a derivative computes the vectors.
eigvalsh: Op = custom(
    "eigvalsh",
    _eigvalsh,
    lambda x: _eigh_spec(x)[0],
    jvps=(_eigvalsh_jvp,),
    vjps=(_eigvalsh_vjp,),
    batch=lambda rows, args, batched: eigvalsh(args[0]),
    samples=_eigh_samples,
    cost="compute",
    work=lambda out, x: 4 * cube(x) // 3,
)


# -- svd ---------------------------------------------------------------------------------------


def _svd_spec(x: Shaped) -> tuple[Spec, Spec, Spec]:
    check_matrix("svd", x)
    *lead, m, n = x.shape
    k = min(m, n)
    shapes: tuple[Shape, ...] = ((*lead, m, k), (*lead, k), (*lead, k, n))
    u, s, vh = (Spec(shape, x.dtype) for shape in shapes)
    return u, s, vh


@lapack
def _svd(x: Array) -> tuple[Array, Array, Array]:
    _svd_spec(x)
    check_finite("svd", x)
    try:
        u, s, vh = np.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError as problem:
        raise _no_convergence("svd", x, problem) from None
    return u, s, vh


def _weights(s: Tensor) -> tuple[Tensor, Tensor]:
    """1/(sⱼ − sᵢ) and 1/(sⱼ + sᵢ), each 0 where it is not defined.

    The usual 1/(sⱼ² − sᵢ²) is split in two, so that for equal singular values only the part is
    dropped in which U and V turn alike."""
    rows, columns = _rows_and_columns(s)
    scale = _largest(s)
    return reciprocals(sub(columns, rows), scale), reciprocals(add(columns, rows), scale)


def _inverses(s: Tensor) -> Tensor:
    """1/s, and 0 for singular values that are 0 up to rounding."""
    scale = _largest(s)
    return reciprocals(s, reshape(scale, shape=scale.shape[:-1]))


def _outside(u: Tensor, t: Tensor) -> Tensor:
    """The part of t that is orthogonal to the columns of u: (I − u·uᵀ)·t."""
    out: Tensor = sub(t, mm(u, mm(u, t, x_turned=True)))
    return out


def _svd_jvp(t: Tensor, x_spec: Shaped, out: tuple[Tensor, Tensor, Tensor]) -> Pair:
    u, s, vh = out
    p = mm(mm(u, t, x_turned=True), vh, y_turned=True)
    gaps, sums = _weights(s)
    both, difference = mul(add(p, mT(p)), gaps), mul(sub(p, mT(p)), sums)
    du = mm(u, mul(add(both, difference), 0.5))
    dv = mm(vh, mul(sub(both, difference), 0.5), x_turned=True)
    m, n = x_spec.shape[-2:]
    inverse = _inverses(s)
    if m > n:
        du = add(du, _outside(u, times_columns(mm(t, vh, y_turned=True), inverse)))
    if n > m:
        right = times_columns(mm(t, u, x_turned=True), inverse)
        dv = add(dv, _outside(mT(vh), right))
    return du, diagonal(p, offset=0), mT(dv)


def _svd_vjp(g: Pair, x_spec: Shaped, out: tuple[Tensor, Tensor, Tensor]) -> Tensor | None:
    u, s, vh = out
    to_u, to_s, to_vh = g
    if to_u is None and to_vh is None:
        return None if to_s is None else mm(times_columns(u, to_s), vh)
    of_u = Tensor(np.zeros((), s.dtype)) if to_u is None else mm(u, to_u, x_turned=True)
    of_v = Tensor(np.zeros((), s.dtype)) if to_vh is None else mm(vh, to_vh, y_turned=True)
    gaps, sums = _weights(s)
    both, difference = mul(add(of_u, of_v), gaps), mul(sub(of_u, of_v), sums)
    inner = mul(add(add(both, mT(both)), sub(difference, mT(difference))), 0.5)
    if to_s is not None:
        k = s.shape[-1]
        inner = add(inner, diagonal_embed(to_s, offset=0, shape=(k, k)))
    total: Tensor = mm(mm(u, inner), vh)
    m, n = x_spec.shape[-2:]
    inverse = _inverses(s)
    if to_u is not None and m > n:
        total = add(total, mm(_outside(u, times_columns(to_u, inverse)), vh))
    if to_vh is not None and n > m:
        right = _outside(mT(vh), times_columns(mT(to_vh), inverse))
        total = add(total, mm(u, right, y_turned=True))
    return total


def _svd_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    spread = np.diag([1.0, 3.0, 5.0])
    return [
        Sample((rng.normal(size=(3, 3)) * 0.3 + spread,)),
        Sample((rng.normal(size=(4, 2)),)),
        Sample((rng.normal(size=(2, 2, 3)),)),
        Sample((rng.normal(size=(1, 1)),)),
        Sample((np.zeros((0, 2)),)),
        Sample((np.eye(3),), smooth=False),
        Sample((np.zeros((2, 3)),), smooth=False),
        *matrix_errors(rng),
        Wrong((np.full((2, 3), np.nan),), {}, LinalgError, "NaN or infinite"),
    ]


# x = U·diag(s)·Vᴴ with min(m, n) columns of U and rows of Vᴴ; s descending.
svd: Op = custom(
    "svd",
    _svd,
    _svd_spec,
    jvps=(_svd_jvp,),
    vjps=(_svd_vjp,),
    batch=lambda rows, args, batched: svd(args[0]),
    samples=_svd_samples,
    cost="compute",
    several=True,
    work=lambda out, x: 14 * prod(x.shape) * min(x.shape[-2:]),
)


@lapack
def _svdvals(x: Array) -> Array:
    _svd_spec(x)
    check_finite("svdvals", x)
    try:
        return np.linalg.svd(x, compute_uv=False)
    except np.linalg.LinAlgError as problem:
        raise _no_convergence("svdvals", x, problem) from None


def _svdvals_jvp(t: Tensor, x: Tensor) -> Tensor:
    u, _, vh = svd(x)
    out: Tensor = diagonal(mm(mm(u, t, x_turned=True), vh, y_turned=True), offset=0)
    return out


def _svdvals_vjp(g: Tensor, x: Tensor) -> Tensor:
    u, _, vh = svd(x)
    return mm(times_columns(u, g), vh)


# The singular values alone, which is faster; a derivative computes the vectors.
svdvals: Op = custom(
    "svdvals",
    _svdvals,
    lambda x: _svd_spec(x)[1],
    jvps=(_svdvals_jvp,),
    vjps=(_svdvals_vjp,),
    batch=lambda rows, args, batched: svdvals(args[0]),
    samples=_svd_samples,
    cost="compute",
    work=lambda out, x: 2 * prod(x.shape) * min(x.shape[-2:]),
)
