"""Reductions and running reductions against NumPy: values, dtypes, axes, gradients."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, AxisError, DtypeError

RNG = np.random.default_rng(6)
INF, NAN = math.inf, math.nan
X = RNG.normal(size=(2, 3, 4))
TIES = np.round(X * 1.5)
WITH_NAN = np.where(X > 1.0, NAN, X)
WITH_ZEROS = np.where(np.abs(X) < 0.5, 0.0, X)
AXES: list[Any] = [None, 0, -1, 1, (0, 2), (-1, 1), (0, 1, 2), ()]


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    top = np.max(x, axis=axis, keepdims=True)
    out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else out.reshape(np.sum(x, axis=axis).shape)


def median(x: Any, axis: Any, keepdims: bool) -> Any:
    return x if axis == () else np.median(x, axis=axis, keepdims=keepdims)


def count_nonzero(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.sum(x != 0, axis=axis, keepdims=keepdims)


REDUCTIONS = {
    "all": np.all, "any": np.any, "count_nonzero": count_nonzero, "logsumexp": logsumexp,
    "max": np.max, "mean": np.mean, "median": median, "min": np.min, "nanmax": np.nanmax,
    "nanmean": np.nanmean, "nanmin": np.nanmin, "nanprod": np.nanprod, "nanstd": np.nanstd,
    "nansum": np.nansum, "nanvar": np.nanvar, "prod": np.prod, "ptp": np.ptp, "std": np.std,
    "sum": np.sum, "var": np.var,
}  # fmt: skip
NEVER_EMPTY = {"max", "min", "nanmax", "nanmin", "ptp", "median", "argmax", "argmin"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_numpys(name: str, axis: Any, keepdims: bool) -> None:
    for x in (X, TIES, WITH_NAN):
        if name == "logsumexp" and x is WITH_NAN:
            continue
        expected = np.asarray(REDUCTIONS[name](x, axis=axis, keepdims=keepdims))
        found = getattr(wg, name)(wg.asarray(x), axis=axis, keepdims=keepdims)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-14)
        again = getattr(wg, name)(x, axis, keepdims=keepdims)
        np.testing.assert_array_equal(again.numpy(), found.numpy())


@pytest.mark.parametrize("axis", [None, 0, -1, 1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_positions(axis: Any, keepdims: bool) -> None:
    for x in (X, TIES, WITH_NAN, TIES.astype(np.int8), TIES > 0):
        for name in ("argmax", "argmin"):
            found = getattr(wg, name)(wg.asarray(x), axis=axis, keepdims=keepdims)
            assert found.dtype == wg.int64
            expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
            np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "max", "min", "logsumexp", "var", "std", "median", "nansum"]
)
@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_gradients(name: str, axis: Any) -> None:
    assert_derivatives(lambda x: getattr(wg, name)(x, axis=axis), X)


# -- dtypes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bool", "int64"),
        ("int8", "int64"),
        ("int64", "int64"),
        ("uint8", "uint64"),
        ("uint64", "uint64"),
        ("float16", "float16"),
        ("bfloat16", "bfloat16"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_dtype_of_sums(given: str, expected: str) -> None:
    x = wg.astype(wg.ones((2, 2)), given)
    for f in (wg.sum, wg.prod, wg.cumsum, wg.cumprod, wg.nansum):
        assert f(x).dtype == expected
        assert f(x, dtype=wg.float64).dtype == wg.float64
    floating = expected if "float" in expected else "float32"
    for f in (wg.mean, wg.var, wg.std, wg.logsumexp, wg.softmax, wg.median):
        assert f(x).dtype == floating
    assert wg.max(x).dtype == given


def test_small_integers_do_not_overflow() -> None:
    x = wg.full((300,), 100, dtype=wg.int8)
    assert int(wg.sum(x)) == 30_000
    assert float(wg.mean(x)) == 100.0
    assert int(wg.prod(wg.full((9,), 100, dtype=wg.uint8))) == 10**18


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_adds_up_in_float32(dtype: Any) -> None:
    ones = wg.ones(4096, dtype=dtype)
    assert float(wg.sum(ones)) == 4096.0  # added up one by one it would stay at 2048 (or 256)
    big = wg.full((4096,), 100.0, dtype=dtype)
    assert float(wg.mean(big)) == 100.0  # its sum would overflow float16
    assert float(wg.var(big)) == 0.0
    assert float(wg.cumsum(ones)[-1]) == 4096.0
    assert wg.grad(lambda x: wg.mean(x))(big).dtype == dtype


# -- empty and 0-d -----------------------------------------------------------------------------


def test_empty_arrays() -> None:
    x = wg.zeros((0, 3))
    assert wg.sum(x, 0).tolist() == [0.0] * 3
    assert wg.prod(x, 0).tolist() == [1.0] * 3
    assert wg.logsumexp(x, 0).tolist() == [-INF] * 3
    assert np.isnan(wg.mean(x, 0).numpy()).all()
    assert np.isnan(float(wg.var(x)))
    assert (bool(wg.all(x)), bool(wg.any(x))) == (True, False)
    assert wg.softmax(x, 0).shape == (0, 3)
    assert wg.cumsum(x, 0).shape == (0, 3)
    assert wg.max(x, 1).shape == (0,)
    assert wg.argmax(x, 1).shape == (0,)
    for name in NEVER_EMPTY:
        for axis in (0, None):
            with pytest.raises(ArgumentError, match=r"empty axis has no .*fix: reduce only where"):
                getattr(wg, name)(x, axis=axis)


def test_zero_dimensional_arrays() -> None:
    x = wg.asarray(3.0)
    for name in ("sum", "prod", "mean", "max", "min", "logsumexp", "median"):
        assert float(getattr(wg, name)(x)) == 3.0
        assert getattr(wg, name)(x, keepdims=True).shape == ()
    assert float(wg.var(x)) == 0.0
    assert int(wg.argmax(x)) == 0
    assert wg.cumsum(x).tolist() == [3.0]
    assert wg.cumulative_sum(x, axis=-1, include_initial=True).tolist() == [0.0, 3.0]


def test_more_correction_than_entries() -> None:
    assert float(wg.var(wg.asarray([1.0, 3.0]), correction=2)) == INF
    assert np.isnan(float(wg.var(wg.asarray([1.0]), correction=1)))
    assert np.isnan(float(wg.var(wg.asarray([1.0]), correction=5)))
    assert float(wg.var(wg.asarray([1.0, 2.0, 4.0]), correction=0.5)) == pytest.approx(28 / 15)


@pytest.mark.parametrize(
    "name", ["sum", "prod", "mean", "max", "any", "argmax", "var", "softmax", "cumsum", "median"]
)
def test_axes_that_do_not_exist(name: str) -> None:
    f = getattr(wg, name)
    for axis in (2, -3):
        with pytest.raises(AxisError, match=rf"\[{name}\] no such axis; got axis {axis} of 2"):
            f(wg.ones((2, 2)), axis=axis)
    if name != "cumsum":  # which counts 0-d as 1-d, as NumPy does
        with pytest.raises(AxisError, match="no axis: the array is 0-d"):
            f(wg.asarray(1.0), axis=1)


def test_an_axis_named_twice() -> None:
    with pytest.raises(AxisError, match=r"\[sum\] an axis is named twice; got \(0, -2\)"):
        wg.sum(wg.ones((2, 2)), axis=(0, -2))
    with pytest.raises(DtypeError, match="not a dtype"):
        wg.sum(wg.ones(2), dtype="complex64")


# -- gradients at ties and zeros ----------------------------------------------------------------


def test_ties_share_equally() -> None:
    x = wg.asarray([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    third = pytest.approx(1 / 3)
    assert wg.grad(lambda x: wg.sum(wg.max(x, axis=1)))(x).tolist() == [[0, 0.5, 0.5], [third] * 3]
    assert wg.grad(wg.max)(x).tolist() == [[0, 0.5, 0.5], [0, 0, 0]]
    assert wg.grad(wg.min)(x).tolist() == [[1, 0, 0], [0, 0, 0]]
    tangent = wg.jvp(lambda x: wg.max(x, axis=1), (x,), (wg.asarray([[9.0, 1, 3], [1, 2, 3]]),))[1]
    assert tangent.tolist() == [2.0, 2.0]
    infinite = wg.asarray([INF, INF, 0.0])
    assert wg.grad(wg.max)(infinite).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_gradient_of_products_with_zeros(zeros: int) -> None:
    x = np.array([2.0, -3.0, 0.5, 4.0])
    x[:zeros] = 0.0
    others = [float(np.prod(np.delete(x, i))) for i in range(4)]
    assert wg.grad(wg.prod)(wg.asarray(x)).tolist() == others
    pairs = [
        [0.0 if i == j else float(np.prod(np.delete(x, [i, j]))) for j in range(4)]
        for i in range(4)
    ]
    np.testing.assert_allclose(wg.hessian(wg.prod)(wg.asarray(x)).numpy(), pairs)
    assert_derivatives(wg.cumprod, x)
    assert_derivatives(lambda x: wg.prod(wg.reshape(x, (2, 2)), axis=(0, 1)), x)


def test_third_derivative_of_a_product() -> None:
    f = lambda x: wg.prod(x)
    third = wg.jacrev(wg.jacfwd(wg.grad(f)))(wg.asarray([0.0, 0.0, 0.0]))
    expected = [
        [[float(len({i, j, k}) == 3) for k in range(3)] for j in range(3)] for i in range(3)
    ]
    assert third.tolist() == expected


# -- softmax and logsumexp -----------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, -1, (0, 2), None])
def test_softmax(axis: Any) -> None:
    p = np.exp(X) / np.sum(np.exp(X), axis=axis, keepdims=True)
    np.testing.assert_allclose(wg.softmax(X, axis).numpy(), p, rtol=1e-14)
    np.testing.assert_allclose(wg.log_softmax(X, axis).numpy(), np.log(p), rtol=1e-13)
    assert_derivatives(lambda x: wg.softmax(x, axis), X)
    assert_derivatives(lambda x: wg.log_softmax(x, axis), X)


def test_softmax_of_composed_ops_has_the_same_gradient() -> None:
    def composed(x: Any) -> Any:
        e = wg.exp(x - wg.stop_gradient(wg.max(x, -1, keepdims=True)))
        return e / wg.sum(e, -1, keepdims=True)

    u = wg.asarray(RNG.normal(size=X.shape))
    x = wg.asarray(X)
    for f, g in (
        (wg.softmax, composed),
        (wg.log_softmax, lambda x: wg.log(composed(x))),
        (lambda x: wg.logsumexp(x, -1, keepdims=True) * x, lambda x: (x - wg.log(composed(x))) * x),
    ):
        (a,), (b,) = wg.vjp(f, x)[1](u), wg.vjp(g, x)[1](u)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("x", "value", "gradient"),
    [
        ([1e3, 1e3], 1e3 + math.log(2), [0.5, 0.5]),
        ([-1e3, -1e3], -1e3 + math.log(2), [0.5, 0.5]),
        ([-1e3, 1e3], 1e3, [0.0, 1.0]),
        ([-INF, 0.0], 0.0, [0.0, 1.0]),
        ([-INF, -INF], -INF, [0.5, 0.5]),
        ([INF, 0.0], INF, [1.0, 0.0]),
        ([INF, -INF, INF], INF, [0.5, 0.0, 0.5]),
        ([NAN, 0.0], NAN, [NAN, NAN]),
    ],
)
def test_logsumexp_far_out(x: list[float], value: float, gradient: list[float]) -> None:
    t = wg.asarray(np.array(x))
    np.testing.assert_equal(float(wg.logsumexp(t)), value)
    np.testing.assert_array_equal(wg.grad(wg.logsumexp)(t).numpy(), gradient)


def test_softmax_far_out() -> None:
    assert wg.softmax(wg.asarray([1e4, -1e4, 0.0])).tolist() == [1.0, 0.0, 0.0]
    assert wg.log_softmax(wg.asarray([1e4, 0.0])).tolist() == [0.0, -1e4]
    assert wg.softmax(wg.asarray([0.0, -INF])).tolist() == [1.0, 0.0]
    assert np.isnan(wg.softmax(wg.asarray([-INF, -INF])).numpy()).all()


# -- running reductions -------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running_sums_and_products(name: str, axis: int) -> None:
    for x in (X, WITH_ZEROS, WITH_NAN, TIES.astype(np.int32), TIES.astype(np.uint8)):
        expected = getattr(np, name)(x, axis=axis)
        found = getattr(wg, name)(wg.asarray(x), axis=axis)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
    np.testing.assert_allclose(getattr(wg, name)(X).numpy(), getattr(np, name)(X), rtol=1e-13)
    assert_derivatives(lambda x: getattr(wg, name)(x, axis), WITH_ZEROS)


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_the_standards_running_reductions(name: str) -> None:
    f, numpys = getattr(wg, name), getattr(np, name)
    for axis in (0, 1, -1):
        for initial in (False, True):
            expected = numpys(X, axis=axis, include_initial=initial)
            found = f(wg.asarray(X), axis=axis, include_initial=initial)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13)
    assert f(wg.asarray([1, 2, 3], dtype=wg.int8), include_initial=True).dtype == wg.int64
    assert_derivatives(lambda x: f(x, axis=1, include_initial=True), X)
    with pytest.raises(ArgumentError, match=rf"\[{name}\] an array of several axes .*; fix: pass"):
        f(wg.ones((2, 2)))


def test_running_extremes() -> None:
    for x in (X, TIES, WITH_NAN, TIES.astype(np.int8)):
        for axis in (0, 1, -1):
            np.testing.assert_array_equal(
                wg.cummax(x, axis).numpy(), np.maximum.accumulate(x, axis=axis)
            )
            np.testing.assert_array_equal(
                wg.cummin(x, axis).numpy(), np.minimum.accumulate(x, axis=axis)
            )
    assert_derivatives(wg.cummax, X)
    tie = wg.asarray([1.0, 2.0, 2.0, 0.0])
    assert wg.grad(lambda x: wg.sum(wg.cummax(x)))(tie).tolist() == [1.0, 1.0, 2.0, 0.0]


def test_logcumsumexp() -> None:
    expected = np.logaddexp.accumulate(X, axis=1)
    np.testing.assert_allclose(wg.logcumsumexp(X, 1).numpy(), expected, rtol=1e-13)
    assert_derivatives(lambda x: wg.logcumsumexp(x, 1), X)
    far = wg.asarray(np.array([-INF, -1e3, 1e3, 1e3]))
    assert wg.logcumsumexp(far).tolist() == pytest.approx([-INF, -1e3, 1e3, 1e3 + math.log(2)])
    last = wg.grad(lambda x: wg.logcumsumexp(x)[-1])(far)
    assert last.tolist() == pytest.approx([0.0, 0.0, 0.5, 0.5])


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("reverse", [False, True])
def test_recurrence(rows: int, reverse: bool) -> None:
    from wengert.ops.cumulative import recurrence

    a, b = RNG.normal(size=(2, rows, 7))
    expected, h = np.zeros_like(b), np.zeros(rows)
    for t in reversed(range(7)) if reverse else range(7):
        h = a[:, t] * h + b[:, t]
        expected[:, t] = h
    found = recurrence(wg.asarray(a), wg.asarray(b), axis=1, reverse=reverse)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


def test_delay() -> None:
    from wengert.ops.cumulative import delay

    x = wg.asarray([[1.0, 2.0, 3.0]])
    for by, expected in (
        (0, [1, 2, 3]),
        (1, [0, 1, 2]),
        (-2, [3, 0, 0]),
        (3, [0, 0, 0]),
        (-9, [0] * 3),
    ):
        assert delay(x, axis=1, by=by).tolist() == [expected]
