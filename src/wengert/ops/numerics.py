"""Special functions in plain NumPy, and helpers of references.

All are vectorised rational or asymptotic approximations from the literature, computed in float64
(narrower floats are widened and rounded once) and accurate to a few units in the last place; near
a zero of the function, to a few units of the terms that cancel there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import ml_dtypes
import numpy as np

from wengert.core.dtypes import DType, bfloat16, float16, float64

Array = np.ndarray[Any, Any]


def in_single(reference: Callable[..., Any]) -> Callable[..., Any]:
    """Let a reference of several steps compute 16-bit floats in float32 and round once."""

    @wraps(reference)
    def compute(*arrays: Array, **params: Any) -> Any:
        dtype = arrays[0].dtype
        if dtype != float16 and dtype != bfloat16:
            return reference(*arrays, **params)
        return reference(*[a.astype(np.float32) for a in arrays], **params).astype(dtype)

    return compute


def in_double(function: Callable[..., Array]) -> Callable[..., Array]:
    """Let a special function compute in float64, in blocks that stay in the cache, and round once
    to the dtype of its operand. The function may ask for that `dtype`."""
    asks = "dtype" in function.__annotations__

    @wraps(function)
    def compute(x: Array, **params: Any) -> Array:
        if asks:
            params["dtype"] = x.dtype
        flat = np.asarray(x, float64).reshape(-1)
        found = np.empty(flat.shape, x.dtype)
        for start in range(0, flat.size, _BLOCK):
            found[start : start + _BLOCK] = function(flat[start : start + _BLOCK], **params)
        return found.reshape(x.shape)

    return compute


_BLOCK = 16384


def largest(dtype: DType) -> float:
    """The largest finite value of a floating dtype."""
    return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]


def polynomial(x: Array, *coefficients: float) -> Array:
    """Horner's rule, highest power first."""
    out = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        out *= x
        out += c
    return out


def piecewise(x: Array, *pieces: tuple[Array, Callable[[Array], Array]]) -> Array:
    """Each function evaluated on the entries that its mask selects; NaN where none does."""
    out = np.full_like(x, np.nan)
    for mask, function in pieces:
        if mask.all():
            return function(x)
        if mask.any():
            out[mask] = function(x[mask])
    return out


# -- error function ----------------------------------------------------------------------------
# W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969).

_ROOT_PI_INVERSE = 1.0 / math.sqrt(math.pi)


def _erf_small(x: Array) -> Array:
    """erf for |x| ≤ 0.46875."""
    y = x * x
    top = polynomial(
        y,
        1.85777706184603153e-1,
        3.16112374387056560e00,
        1.13864154151050156e02,
        3.77485237685302021e02,
        3.20937758913846947e03,
    )
    bottom = polynomial(
        y,
        1.0,
        2.36012909523441209e01,
        2.44024637934444173e02,
        1.28261652607737228e03,
        2.84423683343917062e03,
    )
    return x * (top / bottom)


def _gauss(y: Array) -> Array:
    """exp(−y²), with y² split in two so that its rounding does not spoil the result."""
    head = np.trunc(y * 16.0) / 16.0
    return np.exp(-head * head) * np.exp(-(y - head) * (y + head))


def _erfc_middle(y: Array) -> Array:
    """erfc for 0.46875 ≤ y ≤ 4."""
    top = polynomial(
        y,
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e00,
        6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02,
        1.71204761263407058e03,
        2.05107837782607147e03,
        1.23033935479799725e03,
    )
    bottom = polynomial(
        y,
        1.0,
        1.57449261107098347e01,
        1.17693950891312499e02,
        5.37181101862009858e02,
        1.62138957456669019e03,
        3.29079923573345963e03,
        4.36261909014324716e03,
        3.43936767414372164e03,
        1.23033935480374942e03,
    )
    return _gauss(y) * (top / bottom)


def _erfc_large(y: Array) -> Array:
    """erfc for y > 4; 0 from 27.3 on."""
    y = np.minimum(y, 28.0)
    z = 1.0 / (y * y)
    top = polynomial(
        z,
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    )
    bottom = polynomial(
        z,
        1.0,
        2.56852019228982242e00,
        1.87295284992346725e00,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    )
    return _gauss(y) * ((_ROOT_PI_INVERSE - z * (top / bottom)) / y)


def _erf_single(x: Array) -> Array:
    """erf to a relative error of 2·10⁻⁹, for the narrower dtypes: one rational function in x²,
    fitted by Lawson's iteration on [0, 3.93], where erf rounds to 1 in float32."""
    y = np.clip(x, -3.93, 3.93)
    z = y * y
    top = polynomial(
        z,
        -1.285653147911e-08,
        4.619737292885e-06,
        3.771576006271e-04,
        3.840365762928e-03,
        5.425482064780e-02,
        1.851503484184e-01,
        1.128379169171e00,
    )
    bottom = polynomial(
        z,
        6.249780269082e-05,
        1.302410668562e-03,
        1.543495299013e-02,
        1.138878082707e-01,
        4.974186311494e-01,
        1.0,
    )
    return y * (top / bottom)


@in_double
def erf(x: Array, dtype: DType) -> Array:
    """2/√π ∫₀ˣ exp(−t²) dt."""
    if dtype != float64:
        return _erf_single(x)
    # The middle formula still gives erfc beyond 4 to twelve digits; there erf needs only one.
    y = np.minimum(np.abs(x), 6.0)
    outer = np.copysign(1.0 - _erfc_middle(y), x)
    return np.where(y <= 0.46875, _erf_small(np.clip(x, -1.0, 1.0)), outer)


@in_double
def erfc(x: Array) -> Array:
    """1 − erf(x), accurate where that is small."""

    def mirrored(tail: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda x: np.where(x > 0, tail(np.abs(x)), 2.0 - tail(np.abs(x)))

    y = np.abs(x)
    return piecewise(
        x,
        (y <= 0.46875, lambda x: 1.0 - _erf_small(x)),
        ((y > 0.46875) & (y <= 4.0), mirrored(_erfc_middle)),
        (y > 4.0, mirrored(_erfc_large)),
    )


# M. J. Wichura, Algorithm AS 241: the percentage points of the normal distribution, Applied
# Statistics 37 (1988), in terms of x = 2p − 1, so that no digit is lost near 0 or ±1.


def _erfinv_central(x: Array) -> Array:
    """erfinv(x) for |x| ≤ 0.85."""
    q = 0.5 * x
    r = 0.180625 - q * q
    top = polynomial(
        r,
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    )
    bottom = polynomial(
        r,
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    )
    return q * (top / bottom) * math.sqrt(0.5)


def _erfinv_tail(x: Array) -> Array:
    """erfinv(x) for 0.85 < |x| ≤ 1, with one step of Newton's method on erfc."""
    rest = 1.0 - np.abs(x)
    r = np.sqrt(-np.log(0.5 * rest))
    near, far = r - 1.6, r - 5.0
    middle = polynomial(
        near,
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ) / polynomial(
        near,
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    )
    outer = polynomial(
        far,
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ) / polynomial(
        far,
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    )
    y = np.where(r <= 5.0, middle, outer) * math.sqrt(0.5)
    y += (erfc(y) - rest) / (2.0 * _ROOT_PI_INVERSE * np.exp(-y * y))
    return np.copysign(np.where(rest == 0.0, np.inf, y), x)


@in_double
def erfinv(x: Array) -> Array:
    """The inverse of erf: ±∞ at ±1, NaN outside [−1, 1]."""
    y = np.abs(x)
    central = y <= 0.85
    tail = (y > 0.85) & (y <= 1.0)
    return piecewise(x, (central, _erfinv_central), (tail, _erfinv_tail))


# -- sinc --------------------------------------------------------------------------------------


@in_double
def sinc(x: Array, order: int) -> Array:
    """The `order`-th derivative of sin(πx) / (πx), which is smooth at 0."""

    def series(t: Array) -> Array:
        # Σ (−1)ᵐ tʲ / (j! (2m + 1)) with j = 2m − order ≥ 0
        total, power = np.zeros_like(t), np.ones_like(t)
        for j in range(2 * order + 30):
            if (j + order) % 2 == 0:
                m = (j + order) // 2
                total += (-1) ** m / (math.factorial(j) * (2 * m + 1)) * power
            power *= t
        return total

    def recurrence(t: Array) -> Array:
        # t·s⁽ᵏ⁾ = sin(t + kπ/2) − k·s⁽ᵏ⁻¹⁾
        sine, cosine = np.sin(t), np.cos(t)
        found = sine / t
        for k in range(1, order + 1):
            turned = (sine, cosine, -sine, -cosine)[k % 4]
            found = (turned - k * found) / t
        return found

    t = math.pi * x
    near = np.abs(t) <= order + 1.5
    return math.pi**order * piecewise(t, (near, series), (~near, recurrence))
