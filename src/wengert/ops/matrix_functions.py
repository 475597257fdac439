"""Functions of matrices: determinants, the pseudo-inverse, the exponential.

The derivative of a determinant is its cofactor matrix, which exists for every matrix; so det has
its true gradient where det(x)·x⁻ᵀ would be 0·∞. Sources: Giles 2008 (determinant), Golub and
Pereyra 1973 (pseudo-inverse), Higham 2005 and Mathias 1996 (exponential and its derivative).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from wengert.core.errors import DtypeError, LinalgError, ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.contract import contract, diagonal, diagonal_embed
from wengert.ops.decompositions import svd, svdvals
from wengert.ops.elementwise import add, greater, mul, sign, sub
from wengert.ops.linalg import inv
from wengert.ops.matrix import (
    check_finite,
    check_matrix,
    check_square,
    cube,
    lapack,
    mask,
    mm,
    mT,
    regular,
    square_errors,
)
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.pieces import concatenate
from wengert.ops.pieces import slice as _slice
from wengert.ops.reduce import prod as reduce_prod
from wengert.ops.selection import where
from wengert.ops.structure import stop_gradient

# -- determinants ------------------------------------------------------------------------------


def _det_spec(op: str, x: Shaped) -> Spec:
    return Spec(check_square(op, x).shape[:-2], x.dtype)


@lapack
def _det(x: Array) -> Any:
    _det_spec("det", x)
    return np.linalg.det(x)


def _as_matrix(s: Tensor) -> Tensor:
    """A number for each matrix, as a 1×1 matrix that broadcasts."""
    out: Tensor = reshape(s, shape=(*s.shape, 1, 1))
    return out


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Σᵢⱼ x·y for each pair of matrices."""
    labels = tuple(range(x.ndim))
    out: Tensor = contract(x, y, subs=(labels, labels, labels[:-2]))
    return out


def _det_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    rank_2 = rng.normal(size=(3, 2)) @ rng.normal(size=(2, 3))
    return [
        Sample((regular(rng, 3, 3),)),
        Sample((rng.normal(size=(2, 2, 2)),)),
        Sample((rank_2,)),
        Sample((np.zeros((2, 2)),)),
        Sample((np.diag([1.0, -1.0, 1.0]),)),
        Sample((rng.normal(size=(1, 1)),)),
        Sample((np.zeros((0, 0)),)),
        *square_errors(rng),
    ]


det: Op = custom(
    "det",
    _det,
    lambda x: _det_spec("det", x),
    jvps=(lambda t, x: _inner(t, cofactor(x)),),
    vjps=(lambda g, x: mul(_as_matrix(g), cofactor(x)),),
    batch=lambda rows, args, batched: det(args[0]),
    samples=_det_samples,
    cost="compute",
    work=lambda out, x: 2 * cube(x) // 3,
)


@lapack
def _cofactor(x: Array) -> Array:
    """det(x)·x⁻ᵀ; for matrices where that would lose digits, by singular values."""
    check_square("cofactor", x)
    if x.shape[-1] < 2 or not x.size:
        return np.ones_like(x)
    check_finite("det", x)
    try:
        inverse = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return _cofactor_by_svd(x)
    found: Array = np.linalg.det(x)[..., None, None] * inverse.swapaxes(-1, -2)
    size = [np.abs(a).sum(-1).max(-1) for a in (x, inverse, found)]
    fine = (size[0] * size[1] < np.finfo(x.dtype).eps ** -0.5) & (size[2] > 0) & (size[2] < np.inf)
    if not fine.all():
        found[~fine] = _cofactor_by_svd(x[~fine])
    return found


def _cofactor_by_svd(x: Array) -> Array:
    u, s, vh = np.linalg.svd(x)
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    turn = np.round(np.linalg.det(u) * np.linalg.det(vh))  # ±1
    others = before * after * turn[..., None]  # the product of all singular values but one
    found: Array = (u * others[..., None, :]) @ vh
    return found


def _cofactor_slope(t: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """The derivative of the cofactors C along t, which is its own transpose.

    For a regular matrix tr(x⁻¹·t)·C − C·tᵀ·x⁻ᵀ. Near a singular one, with P = Uᵀ·t·V and γᵢⱼ the
    product of all singular values but two, U·M·Vᵀ with Mᵢᵢ = Σⱼ γᵢⱼ·Pⱼⱼ and Mᵢⱼ = −γᵢⱼ·Pⱼᵢ.
    """
    n = x.shape[-1]
    if n < 2 or not x.size:
        return mul(t, 0.0)
    s = stop_gradient(svdvals(x))
    ends = [_slice(s, **_range(s, i, i + 1)) for i in (0, n - 1)]
    wide = np.float32 if s.dtype.itemsize == 2 else s.dtype  # what the reference computed in
    fine = greater(ends[1], mul(ends[0], float(np.finfo(wide).eps ** 0.5)))
    fine = reshape(fine, shape=(*fine.shape, 1))
    safe = inv(where(fine, x, mask("eye", n, n, x.dtype)), asked_by="det")
    of_regular = sub(
        mul(_as_matrix(_inner(mT(safe), t)), out),
        mm(mm(out, t, y_turned=True), safe, y_turned=True),
    )
    result: Tensor = where(fine, of_regular, _singular_slope(t, x))
    return result


def _singular_slope(t: Tensor, x: Tensor) -> Tensor:
    u, s, vh = svd(x)
    n = s.shape[-1]
    gamma = _all_but_two(s)
    p = mm(mm(u, t, x_turned=True), vh, y_turned=True)
    own = diagonal(p, offset=0)
    column = mm(gamma, reshape(own, shape=(*own.shape, 1)))
    on_diagonal = diagonal_embed(reshape(column, shape=own.shape), offset=0, shape=(n, n))
    inner = sub(on_diagonal, mul(gamma, mT(p)))
    turn = sign(mul(stop_gradient(det(u)), stop_gradient(det(vh))))
    return mul(_as_matrix(turn), mm(mm(u, inner), vh))


def _all_but_two(s: Tensor) -> Tensor:
    """γᵢⱼ = the product of all of s but i and j; 0 on the diagonal."""
    n = s.shape[-1]
    shape = (*s.shape[:-1], n, n, n)
    every = broadcast_to(reshape(s, shape=(*s.shape[:-1], 1, 1, n)), shape=shape)
    eye = np.eye(n, dtype=bool)
    left_out = Tensor(eye[:, None, :] | eye[None, :, :])  # [i, j, k]: k is i or j
    product = reduce_prod(where(left_out, 1.0, every), axis=len(shape) - 1)
    out: Tensor = mul(product, mask("off diagonal", n, n, s.dtype))
    return out


def _range(x: Tensor, start: int, stop: int) -> dict[str, Any]:
    """Parameters of a slice of the last axis."""
    lead = x.shape[:-1]
    zeros = (0,) * len(lead)
    return {"start": (*zeros, start), "stop": (*lead, stop), "step": (1,) * x.ndim}


# The matrix of cofactors, which is the gradient of the determinant.
cofactor: Op = custom(
    "cofactor",
    _cofactor,
    lambda x: check_square("cofactor", x),
    jvps=(_cofactor_slope,),
    vjps=(_cofactor_slope,),
    batch=lambda rows, args, batched: cofactor(args[0]),
    # That of a 1×1 matrix is 1, whatever is in it; det tests that case.
    samples=lambda rng: [s for s in _det_samples(rng) if s.args[0].shape != (1, 1)],
    cost="compute",
    work=lambda out, x: 22 * cube(x),
)


def _slogdet_spec(x: Shaped) -> tuple[Spec, Spec]:
    spec = _det_spec("slogdet", x)
    return spec, spec


@lapack
def _slogdet(x: Array) -> tuple[Any, Any]:
    _slogdet_spec(x)
    turn, size = np.linalg.slogdet(x)
    return np.where(np.isnan(size), size, turn), np.asarray(size)


def _slogdet_jvp(t: Tensor, x: Tensor) -> tuple[None, Tensor]:
    return None, _inner(mT(inv(x, asked_by="slogdet")), t)


def _slogdet_vjp(g: tuple[Tensor | None, ...], x: Tensor) -> Tensor | None:
    size = g[1]
    if size is None:
        return None
    out: Tensor = mul(_as_matrix(size), mT(inv(x, asked_by="slogdet")))
    return out


# Sign and logarithm of the magnitude of the determinant.
slogdet: Op = custom(
    "slogdet",
    _slogdet,
    _slogdet_spec,
    jvps=(_slogdet_jvp,),
    vjps=(_slogdet_vjp,),
    batch=lambda rows, args, batched: slogdet(args[0]),
    samples=lambda rng: [
        Sample((regular(rng, 3, 3),)),
        Sample((rng.normal(size=(2, 2, 2)),)),
        Sample((-np.ones((1, 1)),)),
        Sample((np.zeros((0, 0)),)),
        *square_errors(rng),
    ],
    cost="compute",
    several=True,
    work=lambda out, x: 2 * cube(x) // 3,
)


# -- the pseudo-inverse ------------------------------------------------------------------------


def _pinv_spec(x: Shaped, rtol: Shaped) -> Spec:
    check_matrix("pinv", x)
    *lead, m, n = x.shape
    if tuple(rtol.shape) != tuple(lead) or rtol.dtype != x.dtype:
        raise ShapeError(
            "pinv",
            "the op needs one tolerance for each matrix, of its dtype",
            met=describe(x, rtol),
            fix="use wg.linalg.pinv, which broadcasts it",
        )
    return Spec((*lead, n, m), x.dtype)


@lapack
def _pinv(x: Array, rtol: Array) -> Array:
    _pinv_spec(x, rtol)
    if not x.size:
        return np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    check_finite("pinv", x)
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    large = s > rtol[..., None] * s[..., :1]
    inverse = np.divide(1, s, where=large, out=np.zeros_like(s))
    found: Array = vh.swapaxes(-1, -2) @ (inverse[..., :, None] * u.swapaxes(-1, -2))
    return found


def _pinv_jvp(t: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """−P·ẋ·P + P·Pᵀ·ẋᵀ·(I − x·P) + (I − P·x)·ẋᵀ·Pᵀ·P."""
    first = mm(mm(out, t), out)
    second = mm(out, mm(out, t, x_turned=True, y_turned=True))
    third = mm(mm(t, out, x_turned=True, y_turned=True), out)
    second = sub(second, mm(mm(second, x), out))
    third = sub(third, mm(out, mm(x, third)))
    return sub(add(second, third), first)


def _pinv_vjp(g: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """The transpose: −Pᵀ·g·Pᵀ + (I − x·P)·gᵀ·P·Pᵀ + Pᵀ·P·gᵀ·(I − P·x)."""
    first = mm(mm(out, g, x_turned=True), out, y_turned=True)
    second = mm(mm(g, out, x_turned=True), out, y_turned=True)
    third = mm(out, mm(out, g, y_turned=True), x_turned=True)
    second = sub(second, mm(x, mm(out, second)))
    third = sub(third, mm(mm(third, out), x))
    return sub(add(second, third), first)


def _pinv_batch(rows: int, args: Any, batched: Any) -> Tensor:
    x, rtol = (
        t if b else broadcast_to(t, shape=(rows, *t.shape))
        for t, b in zip(args, batched, strict=True)
    )
    out: Tensor = pinv(x, rtol)
    return out


def _pinv_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    small = np.asarray(1e-10)
    return [
        Sample((rng.normal(size=(4, 2)), small)),
        Sample((rng.normal(size=(2, 2, 3)), np.full(2, 1e-10))),
        Sample((regular(rng, 3, 3), small)),
        Sample((rng.normal(size=(3, 1)) @ rng.normal(size=(1, 3)), small), smooth=False),
        Sample((np.zeros((0, 2)), small)),
        Wrong((rng.normal(size=(3,)), small), {}, ShapeError, "takes a matrix"),
        Wrong((rng.integers(0, 5, (2, 2)), small), {}, DtypeError, "takes floating matrices"),
        Wrong((rng.normal(size=(3, 3)), np.ones(3)), {}, ShapeError, "one tolerance"),
        Wrong((np.full((2, 3), np.nan), small), {}, LinalgError, "NaN or infinite"),
    ]


# The Moore-Penrose inverse; singular values up to rtol times the largest count as zero. The rule
# holds where the rank stays the same nearby; at a change of rank there is no derivative.
pinv: Op = custom(
    "pinv",
    _pinv,
    _pinv_spec,
    operands=("x", "rtol"),
    jvps=(_pinv_jvp, None),
    vjps=(_pinv_vjp, None),
    batch=_pinv_batch,
    samples=_pinv_samples,
    cost="compute",
    work=lambda out, x, rtol: 16 * prod(x.shape) * min(x.shape[-2:]),
)


# -- the exponential ---------------------------------------------------------------------------

# Coefficients of the Padé approximant of degree 13, and the norm up to which it is exact (Higham).
_PADE = (
    64764752532480000,
    32382376266240000,
    7771770303897600,
    1187353796428800,
    129060195264000,
    10559470521600,
    670442572800,
    33522128640,
    1323241920,
    40840800,
    960960,
    16380,
    182,
    1,
)
_PADE_NORM = 5.371920351148152


@lapack
def _expm(x: Array) -> Array:
    check_square("expm", x)
    if not x.size:
        return x.copy()
    norm = np.abs(x).sum(-2).max(-1)
    finite = np.isfinite(norm)
    halvings = np.ceil(np.log2(np.maximum(np.where(finite, norm, 1), _PADE_NORM) / _PADE_NORM))
    result = _pade(np.where(finite[..., None, None], x, 0) / 2 ** halvings[..., None, None])
    for step in range(int(halvings.max())):
        more = halvings > step
        result[more] = result[more] @ result[more]
    result[~finite] = np.nan
    return result.astype(x.dtype, copy=False)


def _pade(x: Array) -> Array:
    """The Padé approximant (13, 13) of exp."""
    b = _PADE
    eye = np.eye(x.shape[-1])
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (
        x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * eye
    )
    even = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2
    even = even + b[0] * eye
    found: Array = np.linalg.solve(even - odd, even + odd)
    return found


def _expm_slope(t: Tensor, x: Tensor) -> Tensor:
    """The derivative along t is the upper right block of exp([[x, t], [0, x]]) (Mathias)."""
    n, last = x.shape[-1], x.ndim - 1
    top = concatenate(x, t, axis=last, sizes=(n, n))
    bottom = concatenate(mul(x, 0.0), x, axis=last, sizes=(n, n))
    block = expm(concatenate(top, bottom, axis=last - 1, sizes=(n, n)))
    lead, zeros = x.shape[:-2], (0,) * (last - 1)
    found: Tensor = _slice(block, start=(*zeros, 0, n), stop=(*lead, n, 2 * n), step=(1,) * x.ndim)
    return found


# The matrix exponential Σ xᵏ/k!, by scaling and squaring.
expm: Op = custom(
    "expm",
    _expm,
    lambda x: check_square("expm", x),
    jvps=(_expm_slope,),
    vjps=(lambda g, x: _expm_slope(g, mT(x)),),
    batch=lambda rows, args, batched: expm(args[0]),
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 3)),)),
        Sample((rng.normal(size=(2, 2, 2)) * np.array([0.1, 2.0])[:, None, None],)),
        Sample((rng.normal(size=(1, 1)),)),
        Sample((np.zeros((2, 2)),)),
        Sample((np.zeros((0, 0)),)),
        *square_errors(rng),
    ],
    cost="compute",
    work=lambda out, x: 16 * cube(x),
)
