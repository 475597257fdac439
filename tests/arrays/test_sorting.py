"""Sorting, searching, sets and segments: NumPy's values, exact derivatives, errors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import (
    ArgumentError,
    AxisError,
    BoundsError,
    DtypeError,
    ShapeError,
    TraceError,
)

RNG = np.random.default_rng(9)
X = RNG.permutation(24).reshape(2, 3, 4) * 0.5
DTYPES = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", ml_dtypes.bfloat16]

small = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, -0.0, 1.0, 2.0, np.inf, np.nan]),
)

# -- sorting -----------------------------------------------------------------------------------


@given(small, st.booleans(), st.data())
def test_sorting_agrees_with_numpy(a: Any, descending: bool, data: Any) -> None:
    """NaN counts as the largest; equal elements keep their order in both directions."""
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    expected = np.sort(a, axis)
    expected = np.flip(expected, axis) if descending else expected
    found = wg.sort(a, axis=axis, descending=descending)
    np.testing.assert_array_equal(found.numpy(), expected)
    order = wg.argsort(a, axis=axis, descending=descending)
    np.testing.assert_array_equal(np.take_along_axis(a, order.numpy(), axis), expected)
    keys, places = np.moveaxis(expected, axis, -1), np.moveaxis(order.numpy(), axis, -1)
    after, before = keys[..., 1:], keys[..., :-1]
    equal = (after == before) | (np.isnan(after) & np.isnan(before))
    assert (places[..., 1:][equal] > places[..., :-1][equal]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_dtypes_sort(dtype: Any) -> None:
    a = np.array([3, 0, 1, 1, 2, 0], dtype)
    assert wg.sort(a).dtype == a.dtype
    assert wg.sort(a).tolist() == sorted(a.tolist())
    assert wg.argsort(a, descending=True).tolist() == sorted(range(6), key=lambda i: -float(a[i]))
    values, indices = wg.top_k(a, 2)
    assert values.dtype == a.dtype
    assert values.tolist() == sorted(a.tolist())[::-1][:2]
    assert indices.dtype == wg.int64


def test_bfloat16_sorts_nan_last() -> None:
    a = np.array([3, np.nan, 1, -np.inf, np.nan, 2], ml_dtypes.bfloat16)
    assert wg.sort(a).astype(wg.float32).tolist()[:4] == [-np.inf, 1.0, 2.0, 3.0]
    assert wg.argsort(a).tolist() == [3, 2, 5, 0, 1, 4]
    assert wg.searchsorted(wg.sort(a[[0, 2, 5]]), a[[5]]).tolist() == [1]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_derivatives_of_sorting(axis: int, descending: bool) -> None:
    weights = RNG.normal(size=X.shape)
    f = lambda x: wg.sort(x, axis=axis, descending=descending) ** 2 * weights
    assert_derivatives(f, X)
    assert_derivatives(lambda x: wg.top_k(x, 2, axis=axis, largest=descending)[0] ** 2, X)
    rows = wg.vmap(lambda x: wg.sort(x, axis=axis, descending=descending))(np.stack([X, -X]))
    np.testing.assert_array_equal(rows.numpy()[1], wg.sort(-X, axis, descending).numpy())


def test_top_k_takes_the_earlier_of_equal_elements() -> None:
    values, indices = wg.top_k([1.0, 3.0, 3.0, np.nan, 3.0], 3)
    assert (np.isnan(values.numpy()[0]), values.tolist()[1:]) == (True, [3.0, 3.0])
    assert indices.tolist() == [3, 1, 2]
    values, indices = wg.top_k([2, 1, 1], 2, largest=False)
    assert (values.tolist(), indices.tolist()) == ([1, 1], [1, 2])
    assert wg.top_k(X, 0)[0].shape == (2, 3, 0)


def test_lexsort() -> None:
    keys = RNG.integers(0, 3, (3, 20))
    assert wg.lexsort(keys).tolist() == np.lexsort(keys).tolist()


# -- searching ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: Any) -> None:
    a, v = np.array([1.0, 2.0, 2.0, 5.0]), np.array([[0.0, 2.0], [5.0, 9.0]])
    found = wg.searchsorted(a, v, side=side)
    np.testing.assert_array_equal(found.numpy(), np.searchsorted(a, v, side))
    shuffled = a[[3, 1, 0, 2]]
    found = wg.searchsorted(shuffled, v, side=side, sorter=np.argsort(shuffled))
    np.testing.assert_array_equal(found.numpy(), np.searchsorted(a, v, side))
    stacked = np.stack([a, a + 1])
    rows = wg.vmap(lambda a, v: wg.searchsorted(a, v, side=side))(stacked, v)
    expected = [np.searchsorted(a, v[0], side), np.searchsorted(a + 1, v[1], side)]
    np.testing.assert_array_equal(rows.numpy(), expected)
    twice = wg.vmap(wg.vmap(lambda v: wg.searchsorted(a, v, side=side)))(v)
    np.testing.assert_array_equal(twice.numpy(), np.searchsorted(a, v, side))
    crossed = wg.vmap(lambda a: wg.vmap(lambda v: wg.searchsorted(a, v, side=side))(v[0]))(stacked)
    expected = [np.searchsorted(a, v[0], side), np.searchsorted(a + 1, v[0], side)]
    np.testing.assert_array_equal(crossed.numpy(), expected)
    assert wg.searchsorted([1, 3], 2).item() == 1


@pytest.mark.parametrize("right", [False, True])
def test_digitize(right: bool) -> None:
    bins, x = np.array([0.0, 1.0, 2.5]), np.array([-1.0, 0.0, 0.5, 1.0, 2.5, 3.0])
    for edges in (bins, bins[::-1]):
        found = wg.digitize(x, edges, right=right)
        np.testing.assert_array_equal(found.numpy(), np.digitize(x, edges, right))


def test_nonzero_and_positions() -> None:
    a = RNG.integers(0, 2, (3, 4))
    for found, expected in zip(wg.nonzero(a), np.nonzero(a), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    np.testing.assert_array_equal(wg.argwhere(a).numpy(), np.argwhere(a))
    np.testing.assert_array_equal(wg.flatnonzero(a).numpy(), np.flatnonzero(a))
    flat = np.array([[0, 5], [11, 7]])
    for found, expected in zip(
        wg.unravel_index(flat, (3, 4)), np.unravel_index(flat, (3, 4)), strict=True
    ):
        np.testing.assert_array_equal(found.numpy(), expected)
    places = wg.unravel_index(flat, (3, 4))
    np.testing.assert_array_equal(wg.ravel_multi_index(places, (3, 4)).numpy(), flat)
    np.testing.assert_array_equal(wg.indices((2, 3)).numpy(), np.indices((2, 3)))
    for name in ("tril_indices", "triu_indices"):
        for found, expected in zip(
            getattr(wg, name)(3, 1, 4), getattr(np, name)(3, 1, 4), strict=True
        ):
            np.testing.assert_array_equal(found.numpy(), expected)
    rows, mask = [2, 0], [True, False, True, True]
    np.testing.assert_array_equal(wg.asarray(a)[wg.ix_(rows, mask)].numpy(), a[np.ix_(rows, mask)])
    assert wg.eye(3)[wg.diag_indices(3)].tolist() == [1.0] * 3


def test_counting() -> None:
    x, w = np.array([0, 2, 2, 5]), np.array([1.0, 2.0, 0.5, 3.0])
    np.testing.assert_array_equal(wg.bincount(x).numpy(), np.bincount(x))
    np.testing.assert_array_equal(wg.bincount(x, w).numpy(), np.bincount(x, w))
    assert wg.bincount(x, minlength=8).shape == wg.bincount(x, length=8).shape == (8,)
    assert wg.bincount([]).shape == (0,)
    assert_derivatives(lambda w: wg.bincount(x, w) ** 2, w)
    rows = wg.vmap(lambda x: wg.bincount(x, length=6))(np.stack([x, x // 2]))
    np.testing.assert_array_equal(rows.numpy()[1], np.bincount(x // 2, minlength=6))
    data = RNG.normal(size=50)
    for bins in (5, [-1.0, 0.0, 2.0]):
        for density in (False, True):
            found, edges = wg.histogram(data, bins, density=density)
            expected, at = np.histogram(data, bins, density=density)
            np.testing.assert_allclose(found.numpy(), expected)
            np.testing.assert_allclose(edges.numpy(), at)


# -- sets --------------------------------------------------------------------------------------


@given(small)
def test_unique_agrees_with_numpy(a: Any) -> None:
    found, expected = wg.unique_all(a), np.unique_all(a)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    restored = wg.take(found.values, found.inverse_indices)
    np.testing.assert_array_equal(restored.numpy(), a)
    np.testing.assert_array_equal(wg.unique_values(a).numpy(), expected.values)
    np.testing.assert_array_equal(wg.unique_counts(a).counts.numpy(), expected.counts)
    np.testing.assert_array_equal(wg.unique_inverse(a)[1].numpy(), expected.inverse_indices)
    for axis in (None, 0):
        ours = wg.unique(a, True, True, True, axis)
        theirs = np.unique(a, True, True, True, axis)
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x.numpy(), y)


def test_set_operations_agree_with_numpy() -> None:
    a, b = RNG.integers(0, 9, (3, 4)), RNG.integers(0, 9, 5)
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
        found, expected = getattr(wg, name)(a, b), getattr(np, name)(a, b)
        np.testing.assert_array_equal(found.numpy(), expected, strict=True, err_msg=name)
    np.testing.assert_array_equal(wg.isin(a, b).numpy(), np.isin(a, b))
    np.testing.assert_array_equal(wg.isin(a, b, invert=True).numpy(), ~np.isin(a, b))
    assert wg.isin(np.nan, [np.nan]).item() is False


def test_distinct_elements_carry_gradients() -> None:
    x = wg.asarray([3.0, 1.0, 3.0])
    assert wg.grad(lambda x: wg.sum(wg.unique_values(x) ** 2))(x).tolist() == [6.0, 2.0, 0.0]


# -- segments ----------------------------------------------------------------------------------

IDS = np.array([2, 0, 2, 2, 4, 0])


@pytest.mark.parametrize(
    ("name", "reduce", "empty"),
    [
        ("segment_sum", np.sum, 0.0),
        ("segment_prod", np.prod, 1.0),
        ("segment_max", np.max, -np.inf),
        ("segment_min", np.min, np.inf),
        ("segment_mean", np.mean, 0.0),
    ],
)
def test_segments(name: str, reduce: Any, empty: float) -> None:
    f = getattr(wg, name)
    data = RNG.normal(size=(6, 3))
    expected = np.full((6, 3), empty)
    for k in (0, 2, 4):
        expected[k] = reduce(data[k == IDS], axis=0)
    np.testing.assert_allclose(f(data, IDS, 6).numpy(), expected)
    np.testing.assert_allclose(f(data, IDS).numpy(), expected[:5])
    nested = f(data.reshape(2, 3, 3), IDS.reshape(2, 3), 6)
    np.testing.assert_allclose(nested.numpy(), expected)
    full = np.array([0, 2, 4])
    assert_derivatives(lambda x: wg.take(f(x, IDS, 6), full, axis=0) ** 2, data)
    rows = wg.vmap(lambda x, ids: f(x, ids, 6))(np.stack([data, data]), np.stack([IDS, IDS[::-1]]))
    np.testing.assert_allclose(rows.numpy()[0], expected)
    np.testing.assert_allclose(rows.numpy()[1], f(data[::-1], IDS, 6).numpy())
    assert f(wg.zeros((0, 2)), wg.zeros((0,), dtype=wg.int32), 3).shape == (3, 2)


def test_segments_of_integers() -> None:
    data = wg.asarray([3, 1, 2], dtype=wg.int8)
    assert wg.segment_max(data, [0, 2, 0]).tolist() == [3, -128, 1]
    assert wg.segment_min(data, [0, 2, 0]).tolist() == [2, 127, 1]
    assert wg.segment_mean(data, [0, 2, 0]).tolist() == [2.5, 0.0, 1.0]
    assert wg.segment_max(wg.asarray([True, False]), [0, 1]).tolist() == [True, False]


def test_half_precision_is_accumulated_in_float32() -> None:
    ones, ids = wg.ones(3000, dtype=wg.bfloat16), wg.zeros(3000, dtype=wg.int64)
    assert wg.segment_sum(ones, ids).item() == 3008  # 3000 rounded, where bfloat16 stops at 256
    assert wg.segment_mean(wg.ones(70_000, dtype=wg.float16), [0] * 70_000).item() == 1.0


def test_ties_and_infinities_in_segments() -> None:
    g = wg.grad(lambda x: wg.sum(wg.segment_max(x, [0, 0, 1, 1, 1], 3)[:2]))
    found = g(wg.asarray([2.0, 2.0, -np.inf, -np.inf, -np.inf]))
    np.testing.assert_allclose(found.numpy(), [0.5, 0.5, 1 / 3, 1 / 3, 1 / 3])
    second = wg.grad(lambda x: wg.sum(g(x) * x))(wg.asarray([2.0, 1.0, 3.0, 3.0, 0.0]))
    np.testing.assert_allclose(second.numpy(), [1.0, 0.0, 0.5, 0.5, 0.0])


def test_segment_softmax() -> None:
    data = np.array([0.0, 5.0, 1.0, -1.0, 1000.0, 5.0])
    expected = np.empty(6)
    for k in (0, 2, 4):
        chosen = data[k == IDS]
        weights = np.exp(chosen - chosen.max())
        expected[k == IDS] = weights / weights.sum()
    np.testing.assert_allclose(wg.segment_softmax(data, IDS).numpy(), expected)
    assert_derivatives(lambda x: wg.segment_softmax(x, IDS) ** 2, RNG.normal(size=(6, 2)))


# -- errors ------------------------------------------------------------------------------------

Z = wg.zeros((3, 4))

WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: wg.sort(Z, axis=2), AxisError, "no such axis"),
    (lambda: wg.sort(wg.asarray(1.0)), AxisError, "the array is 0-d"),
    (lambda: wg.argsort(Z, axis=-3), AxisError, "no such axis"),
    (lambda: wg.top_k(Z, 5), ArgumentError, "k must be between 0 and the size.*k=5 for axis 1"),
    (lambda: wg.lexsort([]), ArgumentError, "no key"),
    (lambda: wg.nonzero(wg.asarray(1.0)), ShapeError, "a 0-d array has no axis"),
    (lambda: wg.searchsorted(Z, 1.0), ShapeError, "takes a 1-d array"),
    (lambda: wg.searchsorted([1], [1], side="up"), ArgumentError, "unknown side; got 'up'"),
    (lambda: wg.digitize([1.0], [0.0, 2.0, 1.0]), ArgumentError, "must rise or fall"),
    (lambda: wg.bincount([-1]), BoundsError, "index -1 is out of bounds"),
    (lambda: wg.bincount([1.0]), DtypeError, "must be integers"),
    (lambda: wg.bincount([[1]]), ShapeError, "takes a 1-d array"),
    (lambda: wg.bincount([1], [1.0, 2.0]), ShapeError, "one weight an element"),
    (lambda: wg.histogram([np.nan]), ArgumentError, "not finite.*fix: pass a range"),
    (lambda: wg.unravel_index([6], (2, 3)), BoundsError, "index 6 .* size 6"),
    (lambda: wg.ravel_multi_index(([0], [3]), (2, 3)), BoundsError, "index 3 .* axis 1 of size 3"),
    (lambda: wg.ravel_multi_index(([0],), (2, 3)), ArgumentError, "for each axis is needed"),
    (lambda: wg.ix_([[1]]), ShapeError, "takes 1-d arrays"),
    (lambda: wg.segment_sum(Z, [0, 1]), ShapeError, r"leading axes.*ids \(2,\) for data \(3, 4\)"),
    (lambda: wg.segment_sum(Z, [0, -1, 0]), BoundsError, "index -1 .* use 0 to 0"),
    (lambda: wg.segment_max(Z, [0, 1, 2], 2), BoundsError, "index 2 is out of bounds .* size 2"),
    (lambda: wg.segment_sum(Z, [0.0, 1.0, 2.0]), DtypeError, "must be integers"),
    (lambda: wg.segment_sum(Z, [0, 1, 2], -1), ArgumentError, "must not be negative"),
    (
        lambda: wg.vmap(lambda i: wg.segment_sum(Z, i))(wg.zeros((2, 3), dtype=wg.int64)),
        TraceError,
        "number of segments depends on values.*num_segments",
    ),
]
TRACED = ["nonzero", "argwhere", "unique", "unique_all", "unique_values", "histogram"]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        call()


@pytest.mark.parametrize("name", TRACED)
def test_shapes_that_depend_on_values_cannot_be_traced(name: str) -> None:
    with pytest.raises(TraceError, match="shape of the result depends on values"):
        wg.vmap(lambda x: getattr(wg, name)(x)[0])(Z)
