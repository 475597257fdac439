"""Special functions, element by element: logistic, error, gamma and their relatives.

Integers are converted to the default float.
"""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.namespaces.elementwise import clip
from wengert.namespaces.reductions import floating
from wengert.ops import elementwise as _e
from wengert.ops import functions as _f
from wengert.ops import special as _s

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "lgamma",
    "log_sigmoid",
    "logaddexp",
    "logit",
    "polygamma",
    "sigmoid",
    "sinc",
    "softplus",
    "xlogy",
]

# -- logistic ----------------------------------------------------------------------------------


def sigmoid(x: Any, /) -> Tensor:
    """The logistic function 1 / (1 + e⁻ˣ), without overflow.

    >>> import wengert as wg
    >>> wg.sigmoid(wg.asarray([0.0, -1000.0]))
    Tensor([0.5, 0. ], dtype=float32)
    """
    return _f.sigmoid(x)


def log_sigmoid(x: Any, /) -> Tensor:
    """ln sigmoid(x), accurate also where the sigmoid is 0 or 1.

    >>> import wengert as wg
    >>> round(float(wg.log_sigmoid(-1000.0)), 4)
    -1000.0
    """
    return _e.neg(_f.softplus(_e.neg(floating(x))))


def logit(x: Any, /, eps: float | None = None) -> Tensor:
    """ln(x / (1 − x)), the inverse of `sigmoid`; `eps` clips x to [eps, 1 − eps] first.

    >>> import wengert as wg
    >>> round(float(wg.logit(0.75)), 4)
    1.0986
    """
    x = floating(x)
    if eps is not None:
        x = clip(x, eps, 1.0 - eps)
    return _e.sub(_f.log(x), _f.log1p(_e.neg(x)))


def softplus(x: Any, /) -> Tensor:
    """ln(1 + eˣ), without overflow: a smooth `relu`.

    >>> import wengert as wg
    >>> round(float(wg.softplus(0.0)), 4)
    0.6931
    """
    return _f.softplus(x)


def logaddexp(x1: Any, x2: Any, /) -> Tensor:
    """ln(e^x1 + e^x2), without overflow.

    >>> import wengert as wg
    >>> round(float(wg.logaddexp(1000.0, 1000.0)), 4)
    1000.6932
    """
    return _f.logaddexp(x1, x2)


def xlogy(x1: Any, x2: Any, /) -> Tensor:
    """x1·ln x2, and 0 where x1 = 0 (unless x2 is NaN), as entropies need it.

    >>> import wengert as wg
    >>> round(float(wg.xlogy(2.0, 2.0)), 4)
    1.3863
    """
    return _s.xlogy(x1, x2)


# -- error function ----------------------------------------------------------------------------


def erf(x: Any, /) -> Tensor:
    """The error function, 2/√π ∫₀ˣ exp(−t²) dt, to about 3 units in the last place.

    >>> import wengert as wg
    >>> round(float(wg.erf(1.0)), 4)
    0.8427

    Source: Cody 1969.
    """
    return _s.erf(x)


def erfc(x: Any, /) -> Tensor:
    """1 − erf(x), accurate also where that is tiny.

    >>> import wengert as wg
    >>> round(float(wg.erfc(3.0)), 7)
    2.21e-05

    Source: Cody 1969.
    """
    return _s.erfc(x)


def erfinv(x: Any, /) -> Tensor:
    """The inverse of `erf`: ±∞ at ±1, NaN outside.

    >>> import wengert as wg
    >>> round(float(wg.erfinv(0.5)), 4)
    0.4769

    Source: Wichura 1988 (AS 241).
    """
    return _s.erfinv(x)


# -- gamma function ----------------------------------------------------------------------------


def lgamma(x: Any, /) -> Tensor:
    """ln |Γ(x)|: ∞ at 0 and the negative integers.

    >>> import wengert as wg
    >>> round(float(wg.lgamma(0.5)), 4)
    0.5724

    Source: Cody and Hillstrom 1967.
    """
    return _s.lgamma(x)


def digamma(x: Any, /) -> Tensor:
    """ψ(x) = Γ′(x) / Γ(x), the derivative of `lgamma`.

    >>> import wengert as wg
    >>> round(float(wg.digamma(1.0)), 4)
    -0.5772

    Source: Cody, Strecok and Thacher 1973.
    """
    return _s.polygamma(x, n=0)


def polygamma(n: int, x: Any, /) -> Tensor:
    """ψ⁽ⁿ⁾(x), the n-th derivative of `digamma`.

    >>> import wengert as wg
    >>> round(float(wg.polygamma(1, 1.0)), 4)
    1.6449
    """
    if n.__class__ is not int or not 0 <= n <= 150:
        raise ArgumentError(
            "polygamma",
            "the order must be a whole number from 0 to 150",
            met=repr(n),
            fix="write wg.polygamma(1, x) for the derivative of digamma",
        )
    return _s.polygamma(x, n=n)


def sinc(x: Any, /) -> Tensor:
    """sin(πx) / (πx), and 1 at 0; derivatives of all orders are exact there.

    >>> import wengert as wg
    >>> round(float(wg.sinc(0.5)), 4)
    0.6366
    """
    return _s.sinc(x, order=0)
