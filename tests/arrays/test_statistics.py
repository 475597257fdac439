"""Quantiles, averages, covariances and reductions without NaN, against NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(9)
INF, NAN = math.inf, math.nan
X = RNG.normal(size=(3, 4, 5))
HOLES = np.where(RNG.uniform(size=X.shape) < 0.3, NAN, X)
METHODS: list[Any] = ["linear", "lower", "higher", "midpoint", "nearest"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_quantile(method: Any, axis: Any, keepdims: bool) -> None:
    for q in (0.5, 0.13, [0.0, 1.0], [[0.2, 0.9], [0.3, 0.31]]):
        expected = np.quantile(X, q, axis=axis, keepdims=keepdims, method=method)
        found = wg.quantile(wg.asarray(X), q, axis=axis, keepdims=keepdims, method=method)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(wg.percentile(X, [25, 99.5]).numpy(), np.percentile(X, [25, 99.5]))


@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_quantile(method: Any) -> None:
    assert_derivatives(lambda x: wg.quantile(x, [0.1, 0.5, 0.95], axis=1, method=method), X)


def test_median_of_ties_nan_and_infinities() -> None:
    assert wg.grad(wg.median)(wg.asarray([3.0, 1.0, 2.0, 10.0])).tolist() == [0.5, 0.0, 0.5, 0.0]
    assert np.isnan(float(wg.median(wg.asarray([1.0, NAN, 2.0]))))
    assert float(wg.quantile(wg.asarray([-INF, 1.0, INF]), 0.5)) == 1.0
    assert wg.quantile(wg.asarray([-INF, 1.0, INF]), [0.0, 1.0]).tolist() == [-INF, INF]
    assert float(wg.median(wg.asarray([1, 2]))) == 1.5


def test_quantile_refuses() -> None:
    x = wg.asarray([1.0, 2.0])
    with pytest.raises(ArgumentError, match=r"\[quantile\] the level must lie between 0 and 1;"):
        wg.quantile(x, 50)
    with pytest.raises(ArgumentError, match=r"\[percentile\] .* between 0 and 100; got .*101"):
        wg.percentile(x, 101.0)
    with pytest.raises(ArgumentError, match=r"unknown method; got 'median'.*use one of linear"):
        wg.quantile(x, 0.5, method="median")
    with pytest.raises(ArgumentError, match=r"\[median\] an empty axis has no quantiles"):
        wg.median(wg.zeros(0))
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        wg.quantile(x, NAN)


def test_average() -> None:
    w = RNG.uniform(0.1, 1.0, 4)
    full = RNG.uniform(0.1, 1.0, X.shape)
    for weights, axis in ((None, 1), (w, 1), (w, -2), (full, 1), (full, None), (full, (0, 2))):
        expected = np.average(X, axis=axis, weights=weights)
        np.testing.assert_allclose(wg.average(X, axis, weights).numpy(), expected, rtol=1e-13)
    assert wg.average(X, 1, w, keepdims=True).shape == (3, 1, 5)
    assert_derivatives(lambda x, w: wg.average(x, 1, w), X, w)
    with pytest.raises(ShapeError, match=r"\[average\] the weights must have the shape"):
        wg.average(X, 0, w)


def test_covariance_and_correlation() -> None:
    m = RNG.normal(size=(3, 8))
    np.testing.assert_allclose(wg.cov(m).numpy(), np.cov(m), rtol=1e-13)
    np.testing.assert_allclose(wg.cov(m, 0).numpy(), np.cov(m, ddof=0), rtol=1e-13)
    np.testing.assert_allclose(wg.cov(m[0]).numpy(), np.cov(m[0]), rtol=1e-13)
    np.testing.assert_allclose(wg.corrcoef(m).numpy(), np.corrcoef(m), rtol=1e-13)
    assert float(wg.corrcoef(m[0])) == 1.0
    assert_derivatives(wg.cov, m)
    assert_derivatives(wg.corrcoef, m)
    with pytest.raises(ShapeError, match=r"\[cov\] takes one variable"):
        wg.cov(X)


@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_nan_reductions(axis: Any) -> None:
    for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"):
        expected = getattr(np, name)(HOLES, axis=axis)
        found = getattr(wg, name)(wg.asarray(HOLES), axis=axis)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
        slope = wg.grad(lambda x, name=name: wg.sum(getattr(wg, name)(x, axis)))(wg.asarray(HOLES))
        assert np.all(slope.numpy()[np.isnan(HOLES)] == 0.0), name
        assert_derivatives(lambda x, name=name: getattr(wg, name)(x, axis), X)
    np.testing.assert_allclose(
        wg.nanvar(HOLES, axis, correction=1).numpy(), np.nanvar(HOLES, axis=axis, ddof=1)
    )


def test_nothing_but_nan() -> None:
    x = wg.asarray([[NAN, NAN], [1.0, NAN]])
    for name in ("nanmax", "nanmin", "nanmean", "nanvar"):
        found = getattr(wg, name)(x, axis=1).numpy()
        assert np.isnan(found[0]), name
        assert not np.isnan(found[1]), name
    assert wg.nansum(x, 1).tolist() == [0.0, 1.0]
    assert wg.nanprod(x, 1).tolist() == [1.0, 1.0]
    assert int(wg.nanmax(wg.asarray([1, 3]))) == 3


def test_variance_is_accurate_far_from_zero() -> None:
    x = RNG.normal(size=1000) + 1e8  # the formula E[x²] − E[x]² would leave no digit
    assert float(wg.var(x)) == pytest.approx(float(np.var(x)), rel=1e-12)
    assert_derivatives(lambda x: wg.std(x, axis=1, correction=1), X)


def test_quantile_in_a_trace() -> None:
    rows = wg.vmap(lambda v: wg.quantile(v, [0.25, 0.5]))(wg.asarray(X[0]))
    np.testing.assert_allclose(rows.numpy(), np.quantile(X[0], [0.25, 0.5], axis=1).T, rtol=1e-13)
