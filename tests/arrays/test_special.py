"""Special functions: accuracy in units of the last place, poles and edges, derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError
from wengert.ops import gamma, numerics

RNG = np.random.default_rng(8)
INF, NAN = math.inf, math.nan


def draw(*ranges: tuple[float, float]) -> np.ndarray[Any, Any]:
    return np.concatenate([RNG.uniform(a, b, 400) for a, b in ranges])


def digamma(x: Any) -> Any:
    return gamma.polygamma(x, n=0)


def trigamma(x: Any) -> Any:
    return gamma.polygamma(x, n=1)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "erf": numerics.erf,
    "erfc": numerics.erfc,
    "erfinv": numerics.erfinv,
    "lgamma": gamma.lgamma,
    "digamma": digamma,
    "trigamma": trigamma,
}
# Values to 18 digits, computed with 50 (mpmath): SciPy's are not good enough at some of these.
TABLE: dict[str, list[tuple[float, float]]] = {
    "erf": [
        (1e-10, 1.12837916709551262e-10),
        (0.4138, 0.441587812063243633),
        (0.46875, 0.492613473217937992),
        (0.5, 0.520499877813046538),
        (1.75, 0.986671671219182444),
        (3.9, 0.999999965207751403),
    ],
    "erfc": [
        (-2.5, 1.99959304798255504),
        (0.25, 0.723673609831763067),
        (0.5, 0.479500122186953462),
        (2.1973, 0.00188707971945521432),
        (3.9339, 2.64606827202201794e-8),
        (4.0, 1.54172579002800189e-8),
        (10.0, 2.08848758376254476e-45),
        (24.59375, 4.74375182109038227e-265),
        (26.5, 2.21090766426373428e-307),
    ],
    "erfinv": [
        (1e-300, 8.86226925452758036e-301),
        (0.0291, 0.0257949235143956609),
        (0.5, 0.476936276204469873),
        (0.85, 1.01790246483202759),
        (0.9375, 1.31715033498613075),
        (0.999, 2.32675376551352449),
        (0.9999999990686774, 4.32802827580094646),
        (0.9999999999999999, 5.86358474875516793),
    ],
    "lgamma": [
        (1e-08, 18.4206807381802089),
        (0.3322, 0.988976782235840582),
        (0.6035, 0.392863891707171242),
        (0.9375, 0.0393909017345823007),
        (1.0625, -0.0329571002935778191),
        (1.40460205, -0.119884567005614586),
        (1.86264777, -0.0518045934944156221),
        (1.96875, -0.0128950259801674106),
        (2.0625, 0.0276675215228570235),
        (7.736998, 7.99970278975697791),
        (72.45, 236.624504062205688),
        (648668.5, 8032246.79465708227),
    ],
    "digamma": [
        (1e-08, -100000000.577215646),
        (0.4576, -2.18922369560876873),
        (1.4375, -0.0236135440052978991),
        (1.4616, -0.0000311062512303416497),
        (1.46163, -2.07562838872245724e-6),
        (1.46164, 7.60106878388787643e-6),
        (1.5805, 0.109172875957633678),
        (78.37, 4.35504764084088914),
        (123431.2, 11.7234351439552849),
    ],
    "trigamma": [
        (0.001, 1000001.64253319583),
        (0.2001, 26.2422481555434157),
        (1.9595, 0.661715819406022548),
        (43.89, 0.0230457650464866151),
        (-0.1865, 30.9913347304104715),
        (-3.25, 19.4740850680821551),
    ],
}


@pytest.mark.parametrize("name", TABLE)
def test_a_few_units_in_the_last_place(name: str) -> None:
    x, expected = np.array(TABLE[name]).T
    error = np.abs(FUNCTIONS[name](x) - expected) / np.spacing(np.abs(expected))
    assert error.max() <= 4.5, f"{name} is off by {error.max():.1f} ulp at {x[error.argmax()]}"


RANGES: dict[str, tuple[Any, list[tuple[float, float]]]] = {
    "erf": (special.erf, [(-0.5, 0.5), (-4, 4), (-7, 7)]),
    "erfc": (special.erfc, [(-0.5, 0.5), (-4, 4), (4, 26)]),
    "erfinv": (special.erfinv, [(-0.85, 0.85), (0.85, 1), (-1, -0.85)]),
    "lgamma": (special.gammaln, [(1e-9, 3), (3, 12), (12, 1e6)]),
    "digamma": (special.psi, [(1e-9, 3), (3, 100), (100, 1e6)]),
    "trigamma": (lambda x: special.polygamma(1, x), [(1e-3, 3), (3, 100), (100, 1e6)]),
}


@pytest.mark.parametrize("name", RANGES)
def test_scipy_agrees(name: str) -> None:
    oracle, ranges = RANGES[name]
    x = draw(*ranges)
    np.testing.assert_allclose(FUNCTIONS[name](x), oracle(x), rtol=2e-13, atol=1e-15)


@pytest.mark.parametrize("name", RANGES)
def test_float32_is_rounded_once(name: str) -> None:
    oracle, ranges = RANGES[name]
    x = draw(*ranges).astype(np.float32)
    exact = oracle(x.astype(np.float64))
    usual = (np.abs(exact) > 1e-30) & np.isfinite(exact)
    error = np.abs(FUNCTIONS[name](x) - exact)[usual] / np.spacing(
        np.abs(exact[usual]).astype(np.float32)
    )
    assert error.max() <= 0.6, f"{name} in float32 is off by {error.max():.2f} ulp"


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_polygamma(n: int) -> None:
    x = draw((1e-3, 0.5), (0.5, 3), (3, 100), (100, 1e5))
    np.testing.assert_allclose(gamma.polygamma(x, n=n), special.polygamma(n, x), rtol=4e-15)


def test_gamma_functions_below_zero() -> None:
    x = draw((-4.95, -0.05))
    np.testing.assert_allclose(gamma.lgamma(x), special.gammaln(x), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(digamma(x), special.psi(x), rtol=1e-12, atol=1e-12)
    # ψ′(x) + ψ′(1 − x) = (π / sin πx)²
    both = gamma.polygamma(x, n=1) + gamma.polygamma(1 - x, n=1)
    np.testing.assert_allclose(both, (math.pi / np.sin(math.pi * x)) ** 2, rtol=1e-11)
    # ψ″(x + 1) = ψ″(x) + 2 / x³
    here, next_one = gamma.polygamma(x, n=2), gamma.polygamma(x + 1, n=2)
    np.testing.assert_allclose(
        here + 2 / x**3, next_one, rtol=1e-12, atol=1e-12 * np.abs(here).max()
    )


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (wg.erf, [0.0, -0.0, INF, -INF, NAN], [0.0, -0.0, 1.0, -1.0, NAN]),
        (wg.erfc, [0.0, INF, -INF, NAN, 30.0], [1.0, 0.0, 2.0, NAN, 0.0]),
        (wg.erfinv, [0.0, 1.0, -1.0, 1.5, NAN], [0.0, INF, -INF, NAN, NAN]),
        (wg.lgamma, [0.0, 1.0, 2.0, -1.0, INF, -INF, NAN], [INF, 0.0, 0.0, INF, INF, INF, NAN]),
        (wg.digamma, [0.0, -0.0, -1.0, INF, -INF, NAN], [-INF, INF, NAN, INF, NAN, NAN]),
        (lambda x: wg.polygamma(1, x), [0.0, -1.0, INF, NAN], [INF, INF, 0.0, NAN]),
        (lambda x: wg.polygamma(2, x), [0.0, -0.0, -1.0, INF], [-INF, INF, NAN, -0.0]),
        (wg.sinc, [0.0, 1e-300, 1.0, NAN], [1.0, 1.0, 0.0, NAN]),
        (wg.sigmoid, [INF, -INF, -1000.0, NAN], [1.0, 0.0, 0.0, NAN]),
        (wg.softplus, [INF, -INF, 1000.0, -1000.0, NAN], [INF, 0.0, 1000.0, 0.0, NAN]),
        (wg.log_sigmoid, [1000.0, -1000.0, -INF], [0.0, -1000.0, -INF]),
        (wg.logit, [0.0, 0.5, 1.0, 2.0], [-INF, 0.0, INF, NAN]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_edges(f: Any, x: list[float], expected: list[float], dtype: Any) -> None:
    found = f(wg.asarray(np.array(x, dtype)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), np.array(expected, dtype), atol=1e-15)


def test_sigmoid_and_softplus_keep_their_digits() -> None:
    x = RNG.uniform(-700, 700, 500)
    np.testing.assert_allclose(wg.sigmoid(x).numpy(), special.expit(x), rtol=4e-16)
    np.testing.assert_allclose(wg.log_sigmoid(x).numpy(), special.log_expit(x), rtol=4e-16)
    np.testing.assert_allclose(wg.softplus(x).numpy(), np.logaddexp(x, 0), rtol=4e-16)
    p = RNG.uniform(0, 1, 500)
    np.testing.assert_allclose(wg.logit(p).numpy(), special.logit(p), rtol=1e-13, atol=1e-15)
    assert wg.logit(wg.asarray([0.0, 1.0]), eps=0.25).tolist() == pytest.approx(
        [-math.log(3), math.log(3)]
    )


def test_xlogy() -> None:
    x, y = np.array([0.0, 0.0, 0.0, 2.0, NAN]), np.array([0.0, INF, NAN, 0.0, 1.0])
    np.testing.assert_array_equal(wg.xlogy(x, y).numpy(), special.xlogy(x, y))
    in_x, in_y = wg.vjp(wg.xlogy, wg.asarray([0.0, 2.0, 0.0]), wg.asarray([0.0, 4.0, 4.0]))[1](
        wg.ones(3)
    )
    np.testing.assert_allclose(in_x.numpy(), [-INF, math.log(4), math.log(4)], rtol=1e-6)
    assert in_y.tolist() == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_sinc_at_zero(order: int) -> None:
    f: Any = wg.sinc
    for _ in range(order):
        f = wg.grad(f)
    # sinc x = Σ (−1)ᵐ (πx)²ᵐ / (2m+1)!
    m = order // 2
    expected = 0.0 if order % 2 else (-1) ** m * math.pi**order / (order + 1)
    assert float(f(wg.asarray(np.array(0.0)))) == pytest.approx(expected, rel=1e-14)


def test_derivatives_of_sinc_elsewhere() -> None:
    x = np.array([1e-6, 0.1, 0.45, 0.5, 0.8, 1.0, 2.5, 10.0])
    assert_derivatives(wg.sinc, x)
    third = numerics.sinc(x, order=3)
    h = 1e-5
    numeric = (numerics.sinc(x + h, order=2) - numerics.sinc(x - h, order=2)) / (2 * h)
    np.testing.assert_allclose(third, numeric, rtol=1e-7, atol=1e-7)


def test_derivatives() -> None:
    assert_derivatives(lambda x: wg.polygamma(1, x), np.array([-1.6, 0.4, 3.0]))
    assert_derivatives(wg.digamma, np.array([-1.6, 0.4, 3.0]))
    assert_derivatives(wg.logit, np.array([0.1, 0.5, 0.8]))
    assert_derivatives(wg.log_sigmoid, np.array([-3.0, 0.0, 3.0]))
    assert_derivatives(lambda x: wg.logit(x, 0.3), np.array([0.4, 0.5, 0.9]))


def test_large_arrays_are_computed_in_blocks() -> None:
    x = RNG.normal(size=(3, numerics._BLOCK // 2 + 5))
    np.testing.assert_allclose(numerics.erf(x), special.erf(x), rtol=1e-14)
    assert numerics.erf(x[:, :0]).shape == (3, 0)
    assert gamma.lgamma(np.array(0.5)).shape == ()


@pytest.mark.parametrize("n", [-1, 1.0, 151])
def test_polygamma_takes_a_whole_order(n: Any) -> None:
    with pytest.raises(ArgumentError, match=r"\[polygamma\] the order must be a whole number"):
        wg.polygamma(n, 1.0)
