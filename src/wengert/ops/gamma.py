"""The logarithm of the gamma function and its derivatives, in plain NumPy."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from wengert.ops.numerics import Array, in_double, piecewise, polynomial


class Ratio(NamedTuple):
    """A rational function: the coefficients of its two polynomials, highest power first."""

    top: tuple[float, ...]
    bottom: tuple[float, ...]


# -- log Γ -------------------------------------------------------------------------------------
# W. J. Cody and K. E. Hillstrom, Chebyshev approximations for the natural logarithm of the gamma
# function, Math. Comp. 21 (1967).


LGAMMA_ONE = Ratio(
    top=(
        *(4.945235359296727046734888e0, 2.018112620856775083915565e2, 2.290838373831346393026739e3),
        *(1.131967205903380828685045e4, 2.855724635671635335736389e4, 3.848496228443793359990269e4),
        *(2.637748787624195437963534e4, 7.225813979700288197698961e3),
    ),
    bottom=(
        *(1.0, 6.748212550303777196073036e1, 1.113332393857199323513008e3),
        *(7.738757056935398733233834e3, 2.763987074403340708898585e4, 5.499310206226157329794414e4),
        *(6.161122180066002127833352e4, 3.635127591501940507276287e4, 8.785536302431013170870835e3),
    ),
)


def _lgamma_one(z: Array) -> Array:
    """log Γ(1 + z) for −0.32 ≤ z ≤ 0.5."""
    top = polynomial(z, *LGAMMA_ONE.top)
    bottom = polynomial(z, *LGAMMA_ONE.bottom)
    return z * (-5.772156649015328605195174e-1 + z * (top / bottom))


LGAMMA_TWO = Ratio(
    top=(
        *(4.974607845568932035012064e0, 5.424138599891070494101986e2, 1.550693864978364947665077e4),
        *(1.847932904445632425417223e5, 1.088204769468828767498470e6, 3.338152967987029735917223e6),
        *(5.106661678927352456275255e6, 3.074109054850539556250927e6),
    ),
    bottom=(
        *(1.0, 1.830328399370592604055942e2, 7.765049321445005871323047e3),
        *(1.331903827966074194402448e5, 1.136705821321969608938755e6, 5.267964117437946917577538e6),
        *(1.346701454311101692290052e7, 1.782736530353274213975932e7, 9.533095591844353613395747e6),
    ),
)


def _lgamma_two(z: Array) -> Array:
    """log Γ(2 + z) for −0.5 ≤ z ≤ 2."""
    top = polynomial(z, *LGAMMA_TWO.top)
    bottom = polynomial(z, *LGAMMA_TWO.bottom)
    return z * (4.227843350984671393993777e-1 + z * (top / bottom))


LGAMMA_FOUR = Ratio(
    top=(
        *(1.474502166059939948905062e4, 2.426813369486704502836312e6, 1.214755574045093227939592e8),
        *(
            2.663432449630976949898078e9,
            2.940378956634553899906876e10,
            1.702665737765398868392998e11,
        ),
        *(4.926125793377430887588120e11, 5.606251856223951465078242e11),
    ),
    bottom=(
        *(-1.0, 2.690530175870899333379843e3, 6.393885654300092398984238e5),
        *(
            4.135599930241388052042842e7,
            1.120872109616147941376570e9,
            1.488613728678813811542398e10,
        ),
        *(
            1.016803586272438228077304e11,
            3.417476345507377132798597e11,
            4.463158187419713286462081e11,
        ),
    ),
)


def _lgamma_four(z: Array) -> Array:
    """log Γ(4 + z) for 0 ≤ z ≤ 8."""
    top = polynomial(z, *LGAMMA_FOUR.top)
    bottom = polynomial(z, *LGAMMA_FOUR.bottom)
    return 1.791759469228055000094023e0 + z * (top / bottom)


STIRLING = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


def _lgamma_large(x: Array) -> Array:
    """log Γ(x) for x > 12, by Stirling's series."""
    y = 1.0 / x
    tail = y * polynomial(y * y, *STIRLING)
    bulk = np.where(x < 1e300, (x - 0.5) * np.log(x) - x, x * (np.log(x) - 1.0))
    return bulk + 0.5 * math.log(2.0 * math.pi) + tail


def _lgamma_positive(x: Array) -> Array:
    return piecewise(
        x,
        (x < 0.5, lambda x: _lgamma_one(x) - np.log(x)),
        ((x >= 0.5) & (x < 0.6796875), lambda x: _lgamma_two(x - 1.0) - np.log(x)),
        ((x >= 0.6796875) & (x < 1.5), lambda x: _lgamma_one(x - 1.0)),
        ((x >= 1.5) & (x < 4.0), lambda x: _lgamma_two(x - 2.0)),
        ((x >= 4.0) & (x < 12.0), lambda x: _lgamma_four(x - 4.0)),
        (x >= 12.0, _lgamma_large),
    )


def _lgamma_negative(x: Array) -> Array:
    # Γ(x)Γ(1 − x) = π / sin πx; the distance to the nearest integer is exact.
    sine = np.abs(np.sin(math.pi * _fraction(x)))
    return math.log(math.pi) - np.log(sine) - _lgamma_positive(1.0 - x)


def _fraction(x: Array) -> Array:
    """x − the nearest integer, in [−1/2, 1/2]."""
    return x - np.rint(x)


@in_double
def lgamma(x: Array) -> Array:
    """log |Γ(x)|: ∞ at 0, the negative integers and ±∞."""
    infinite = np.isinf(x)
    found = piecewise(
        x,
        (infinite, np.abs),
        ((x > 0) & ~infinite, _lgamma_positive),
        ((x <= 0) & ~infinite, _lgamma_negative),
    )
    return found + 0.0  # no −0 at 1 and 2


# -- ψ, the derivative of log Γ ------------------------------------------------------------------
# W. J. Cody, A. J. Strecok and H. C. Thacher, Chebyshev approximations for the psi function,
# Math. Comp. 27 (1973).

# The positive zero of ψ, in three parts.
PSI_ROOT = (187.0 / 128.0, 6.946449683623413e-4, -1.8257096315963483e-20)


DIGAMMA_MIDDLE = Ratio(
    top=(
        *(4.5104681245762934160e-03, 5.4932855833000385356e00, 3.7646693175929276856e02),
        *(7.9525490849151998065e03, 7.1451595818951933210e04, 3.0655976301987365674e05),
        *(6.3606997788964458797e05, 5.8041312783537569993e05, 1.6585695029761022321e05),
    ),
    bottom=(
        *(1.0, 9.6141654774222358525e01, 2.6287715790581193330e03),
        *(2.9862497022250277920e04, 1.6206566091533671639e05, 4.3487880712768329037e05),
        *(5.4256384537269993733e05, 2.4242185002017985252e05, 6.4155223783576225996e-08),
    ),
)


def _digamma_middle(x: Array) -> Array:
    """ψ(x) for 0.5 ≤ x ≤ 3."""
    top = polynomial(x, *DIGAMMA_MIDDLE.top)
    bottom = polynomial(x, *DIGAMMA_MIDDLE.bottom)
    return (top / bottom) * (((x - PSI_ROOT[0]) - PSI_ROOT[1]) - PSI_ROOT[2])


DIGAMMA_LARGE = Ratio(
    top=(
        *(-2.7103228277757834192e00, -1.5166271776896121383e01, -1.9784554148719218667e01),
        *(-8.8100958828312219821e00, -1.4479614616899842986e00, -7.3689600332394549911e-02),
        -6.5135387732718171306e-21,
    ),
    bottom=(
        *(1.0, 4.4992760373789365846e01, 2.0240955312679931159e02),
        *(2.4736979003315290057e02, 1.0742543875702278326e02, 1.7463965060678569906e01),
        8.8427520398873480342e-01,
    ),
)


def _digamma_large(x: Array) -> Array:
    """ψ(x) for x > 3."""
    w = 1.0 / (x * x)
    top = polynomial(w, *DIGAMMA_LARGE.top)
    bottom = polynomial(w, *DIGAMMA_LARGE.bottom)
    return (top / bottom - 0.5 / x) + np.log(x)


def _digamma_positive(x: Array) -> Array:
    return piecewise(
        x,
        (x < 0.5, lambda x: _digamma_middle(x + 1.0) - 1.0 / x),
        ((x >= 0.5) & (x <= 3.0), _digamma_middle),
        (x > 3.0, _digamma_large),
    )


def _digamma(x: Array) -> Array:
    found = piecewise(
        x,
        (x > 0, _digamma_positive),
        (x < 0, lambda x: _digamma_positive(1.0 - x) - math.pi / np.tan(math.pi * _fraction(x))),
    )
    return _at_poles(found, x, even=True)


def _at_poles(found: Array, x: Array, even: bool) -> Array:
    """The values at 0 and at the negative integers: for even derivatives of ψ the two sides have
    opposite infinities (NaN; at ±0 the sign chooses), for odd ones both are +∞."""
    at_zero = -np.copysign(np.inf, x) if even else np.inf
    below = np.nan if even else np.inf
    found = np.where(x == 0, at_zero, found)
    return np.where((x < 0) & ((x == np.floor(x)) | np.isinf(x)), below, found)


# -- higher derivatives of ψ ---------------------------------------------------------------------

BERNOULLI = (  # B₂, B₄, …, B₂₀
    *(1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66),
    *(-691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330),
)


def _hurwitz(s: int, x: Array) -> Array:
    """ζ(s, x) = Σ (x + k)⁻ˢ for x > 0, by Euler–Maclaurin summation from x + s + 9 on."""
    total = np.zeros_like(x)
    for _ in range(s + 9):
        total += x**-s
        x = x + 1.0
    total += x ** (1 - s) / (s - 1) + 0.5 * x**-s
    factor = 1.0
    for j, b in enumerate(BERNOULLI, start=1):
        # s(s+1)…(s+2j−2) / (2j)!
        factor *= s / 2 if j == 1 else (s + 2 * j - 3) * (s + 2 * j - 2) / ((2 * j - 1) * 2 * j)
        total += b * factor * x ** (1 - s - 2 * j)
    return total


@cache
def cotangent_polynomial(n: int) -> tuple[float, ...]:
    """P with dⁿ/duⁿ cot u = P(cot u), highest power first: P₀ = c, Pₖ₊₁ = −(1 + c²)·Pₖ′."""
    p = [0, 1]  # lowest power first
    for _ in range(n):
        slope = [k * c for k, c in enumerate(p)][1:]
        p = [0] * (len(slope) + 2)
        for k, c in enumerate(slope):
            p[k] -= c
            p[k + 2] -= c
    return tuple(map(float, reversed(p)))


@in_double
def polygamma(x: Array, n: int) -> Array:
    """The n-th derivative of ψ = (log Γ)′.

    Sources: NIST DLMF 5.15 (series, reflection), 25.11.28 (Euler–Maclaurin).
    """
    if n == 0:
        return _digamma(x)
    sign, scale = (-1.0) ** (n + 1), math.factorial(n)

    def positive(x: Array) -> Array:
        return sign * scale * _hurwitz(n + 1, x)

    def negative(x: Array) -> Array:
        cotangent = 1.0 / np.tan(math.pi * _fraction(x))
        turned = math.pi ** (n + 1) * polynomial(cotangent, *cotangent_polynomial(n))
        return -sign * positive(1.0 - x) - turned

    found = piecewise(x, (x > 0, positive), (x < 0, negative))
    return _at_poles(found, x, even=n % 2 == 0)
