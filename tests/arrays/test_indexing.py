"""Reading and writing by every kind of key: NumPy's semantics, exact gradients, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from tests.arrays.keys import keys, shapes
from wengert.core.errors import BoundsError, DtypeError, ShapeError, TraceError, WengertError

RNG = np.random.default_rng(5)


def grid(shape: tuple[int, ...]) -> Any:
    return np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)


def attempt(f: Any) -> tuple[Any, Exception | None]:
    try:
        return f(), None
    except (IndexError, ValueError) as problem:
        return None, problem


# -- equality with NumPy -----------------------------------------------------------------------


@settings(max_examples=600)
@given(st.data())
def test_reading_and_writing_agree_with_numpy(data: Any) -> None:
    """Values, and failures, of x[key], x[key] = v and the updates, for random keys."""
    shape = data.draw(shapes(), label="shape")
    key = data.draw(keys(shape), label="key")
    a = grid(shape)
    expected, refused = attempt(lambda: a[key])
    found, problem = attempt(lambda: wg.asarray(a)[key])
    tracked, problem_tracked = attempt(lambda: wg.asarray(a).requires_grad_()[key])
    assert (problem is None) == (problem_tracked is None)
    if problem is not None:
        assert isinstance(problem, WengertError)
        # NumPy lets wrong indices pass where nothing would be read.
        assert refused is not None or expected.size == 0
        return
    assert refused is None, f"NumPy refuses: {refused}"
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    np.testing.assert_array_equal(tracked.detach().numpy(), expected, strict=True)
    v = np.random.default_rng(0).normal(size=expected.shape)
    new = a.copy()
    new[key] = v
    np.testing.assert_array_equal(wg.asarray(a).at[key].set(v).numpy(), new)
    for name, ufunc in (("add", np.add), ("multiply", np.multiply), ("max", np.maximum)):
        new = a.copy()
        ufunc.at(new, key, v)
        updated = getattr(wg.asarray(a).at[key], name)(v)
        np.testing.assert_allclose(updated.numpy(), new, err_msg=name)
    scattered = np.zeros_like(a)
    np.add.at(scattered, key, v)
    gradient = wg.grad(lambda x: wg.sum(x[key] * v))(wg.asarray(a))
    np.testing.assert_allclose(gradient.numpy(), scattered)


@settings(max_examples=200)
@given(st.data())
def test_traced_reading_agrees_with_eager(data: Any) -> None:
    """Under vmap the index arrays, and the array, have a batch axis."""
    shape = data.draw(shapes(3, 1), label="shape")
    key = data.draw(keys(shape), label="key")
    a = np.stack([grid(shape), -grid(shape)])
    expected, refused = attempt(lambda: np.stack([row[key] for row in a]))
    found, problem = attempt(lambda: wg.vmap(lambda x: x[key])(a))
    if refused is None and (problem is None or expected.size):
        np.testing.assert_array_equal(found.numpy(), expected)


def test_batched_indices() -> None:
    x, rows = RNG.normal(size=(5, 3, 4)), RNG.integers(-3, 3, (5, 2))
    columns, u = RNG.integers(-4, 4, (5, 2)), RNG.normal(size=(5, 2))
    index = np.arange(5)[:, None]
    read = wg.vmap(lambda x, i, j: x[i, j])(x, rows, columns)
    np.testing.assert_array_equal(read.numpy(), x[index, rows, columns])
    swapped = wg.vmap(lambda x, j: x[:, j], in_axes=(0, 0), out_axes=2)(x, columns)
    expected = np.stack([x[b][:, columns[b]] for b in range(5)], axis=2)
    np.testing.assert_array_equal(swapped.numpy(), expected)
    shared = wg.vmap(lambda i: wg.asarray(x[0])[i])(rows)
    np.testing.assert_array_equal(shared.numpy(), x[0][rows])
    for name, ufunc in (("add", np.add), ("multiply", np.multiply), ("min", np.minimum)):
        found = wg.vmap(lambda x, i, j, u, n=name: getattr(x.at[i, j], n)(u))(x, rows, columns, u)
        new = x.copy()
        ufunc.at(new, (index, rows, columns), u)
        np.testing.assert_allclose(found.numpy(), new, err_msg=name)
    one = wg.vmap(lambda x, i, u: x.at[i].set(u))(x, rows[:, 0], u[:, 0])
    new = x.copy()
    new[np.arange(5), rows[:, 0]] = u[:, :1, None][:, 0]
    np.testing.assert_array_equal(one.numpy(), new)


def test_keys_of_every_type() -> None:
    a = grid((3, 4))
    x = wg.asarray(a)
    assert x[wg.asarray(1)].tolist() == a[1].tolist()
    assert x[np.int32(2), np.uint8(1)].item() == a[2, 1]
    assert x[[0, 2]].tolist() == a[[0, 2]].tolist()
    assert x[[]].shape == (0, 4)
    assert x[[[], []]].shape == (2, 0, 4)
    assert x[range(2)].tolist() == a[[0, 1]].tolist()
    assert x[[wg.asarray(1), 0]].tolist() == a[[1, 0]].tolist()
    assert x[wg.asarray(1) : wg.asarray(3)].tolist() == a[1:3].tolist()
    assert x[(0, 1), :].tolist() == a[(0, 1), :].tolist()
    assert x[True].shape == (1, 3, 4)
    assert x[np.False_].shape == (0, 3, 4)
    assert x[wg.asarray(True)].shape == (1, 3, 4)
    assert x[wg.asarray([0, 1], dtype=wg.uint8)].tolist() == a[:2].tolist()
    assert [row.tolist() for row in x] == a.tolist()


def test_an_empty_axis_of_a_mask_fits_any_axis() -> None:
    assert wg.zeros((3, 4))[wg.zeros((0,), dtype=wg.bool)].shape == (0, 4)
    assert wg.zeros((3, 4))[wg.zeros((3, 0), dtype=wg.bool)].shape == (0,)


def test_indices_of_every_dtype() -> None:
    for dtype in ("int8", "uint16", "uint64"):
        index = np.array([2, 0], dtype)
        assert wg.arange(3)[index].tolist() == [2, 0]
        assert wg.zeros(3).at[index].add(1.0).tolist() == [1.0, 0.0, 1.0]
        assert wg.take_along_axis(wg.arange(3), index, axis=0).tolist() == [2, 0]


# -- gradients ---------------------------------------------------------------------------------

KEYS = [
    (1,),
    (slice(None, None, -2), None, 1),
    (Ellipsis, [0, 2, 0]),
    ([0, 1, 1], slice(None), [2, 2, 0]),
    (slice(0, 2), [[0, 3], [3, 3]]),
    (RNG.normal(size=(3, 4)) > 0,),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_derivatives_of_reading_and_updates(key: Any) -> None:
    x = RNG.normal(size=(3, 4, 3))
    u = RNG.normal(size=x[key].shape)
    assert_derivatives(lambda x: wg.sin(x)[key] * x[key], x)
    for name in ("set", "add", "subtract", "multiply", "divide", "min", "max"):
        assert_derivatives(lambda x, u, n=name: getattr((x * x).at[key], n)(u * u + 0.5), x, u)
    assert_derivatives(lambda x, u: (x * x + 0.5).at[key].power(u), x, u)
    assert_derivatives(lambda x: x.at[key].apply(wg.sin), x)


def test_of_several_values_for_one_place_the_last_wins() -> None:
    x, u = wg.zeros(3), wg.asarray([1.0, 2.0, 3.0])
    f = lambda x, u: x.at[[0, 1, 0]].set(u)
    assert f(x, u).tolist() == [3.0, 2.0, 0.0]
    weights = wg.asarray([10.0, 20.0, 30.0])
    gx, gu = wg.grad(lambda x, u: wg.sum(f(x, u) * weights), argnums=(0, 1))(x, u)
    assert gx.tolist() == [0.0, 0.0, 30.0]
    assert gu.tolist() == [0.0, 20.0, 10.0]


def test_ties_share_the_gradient_among_all() -> None:
    x, u = wg.asarray([1.0, 2.0, 3.0]), wg.asarray([1.0, 1.0, 2.0, 9.0])
    for name in ("max", "min"):
        f = lambda x, u, n=name: wg.sum(getattr(x.at[[0, 0, 1, 2]], n)(u))
        gx, gu = wg.grad(f, argnums=(0, 1))(x, u)
        np.testing.assert_allclose(gx.numpy()[:2], [1 / 3, 1 / 2], rtol=1e-6)
        np.testing.assert_allclose(gu.numpy()[:3], [1 / 3, 1 / 3, 1 / 2], rtol=1e-6)
        assert (gx.tolist()[2], gu.tolist()[3]) == ((0.0, 1.0) if name == "max" else (1.0, 0.0))


def test_products_with_zeros_have_exact_derivatives_to_third_order() -> None:
    x, u = wg.asarray([2.0, 5.0]), wg.asarray([0.0, 3.0, 0.0])
    f = lambda v: wg.sum(v[:2].at[[0, 0, 0]].multiply(v[2:]))
    v = wg.concat([x, u])
    one_zero = wg.asarray([2.0, 5.0, 0.0, 3.0, 4.0])
    assert wg.grad(f)(v).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert wg.grad(f)(one_zero).tolist() == [0.0, 1.0, 24.0, 0.0, 0.0]
    mixed = lambda v: wg.grad(lambda v: wg.grad(f)(v)[2])(v)[4]
    assert mixed(v).item() == 6.0  # ∂²(x₀u₀u₁u₂)/∂u₀∂u₂ = x₀u₁
    assert wg.grad(mixed)(v)[3].item() == 2.0


# -- rebinding ---------------------------------------------------------------------------------


def test_assignment_rebinds_the_handle_and_nothing_else() -> None:
    x = wg.asarray([1.0, 2.0, 3.0])
    view, alias = x[:2], x
    x[0] = 9.0
    assert x.tolist() == [9.0, 2.0, 3.0]
    assert alias is x
    assert view.tolist() == [1.0, 2.0]
    x[x > 2.5] = 0.0
    assert x.tolist() == [0.0, 2.0, 0.0]
    x[[0, 2]] += 1.0
    assert x.tolist() == [1.0, 2.0, 1.0]


def test_assignment_is_differentiable() -> None:
    def f(v: wg.Tensor) -> wg.Tensor:
        x = v * 2.0
        x[0] = v[1] * v[2]
        return wg.sum(x * x)

    found = wg.grad(f)(wg.asarray([1.0, 2.0, 3.0]))
    assert found.tolist() == [0.0, 2 * 6 * 3 + 8 * 2.0, 2 * 6 * 2 + 8 * 3.0]


def test_assignment_casts_and_broadcasts() -> None:
    x = wg.zeros((2, 3), dtype=wg.int32)
    x[:, 1:] = wg.asarray([[7.9], [8.1]])
    assert x.dtype == wg.int32
    assert x.tolist() == [[0, 7, 7], [0, 8, 8]]
    x[0] = wg.ones((1, 1, 3))
    assert x.tolist() == [[1, 1, 1], [0, 8, 8]]


def test_a_mask_with_a_constant_value_can_be_traced() -> None:
    f = lambda x: x.at[x > 1.0].set(0.0)
    found = wg.vmap(f)(wg.asarray([[0.5, 2.0], [3.0, 1.0]]))
    assert found.tolist() == [[0.5, 0.0], [0.0, 1.0]]


def test_writing_a_masked_value_does_not_leak_nan() -> None:
    x = wg.asarray([1.0, np.nan])
    gradient = wg.grad(lambda x: wg.sum(x.at[wg.isnan(x)].set(0.0) ** 2))(x)
    assert gradient.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("tracked", [False, True])
def test_results_are_never_the_argument_itself(tracked: bool) -> None:
    """Or `y += 1` would change x too."""
    x = wg.ones((2, 2))
    x = x.requires_grad_() * 1.0 if tracked else x
    for f in (
        lambda x: x[...],
        lambda x: x[:, :],
        lambda x: x.at[...].set(x),
        lambda x: wg.roll(x, 0, axis=0),
        lambda x: wg.rot90(x, 4),
        lambda x: wg.pad(x, 0),
        lambda x: wg.diff(x, 0),
        lambda x: wg.broadcast_to(x, (2, 2)),
        lambda x: wg.broadcast_arrays(x)[0],
        lambda x: wg.atleast_2d(x),
        lambda x: wg.reshape(x, (2, 2)),
        lambda x: wg.concat([x]),
        lambda x: wg.squeeze(x),
        lambda x: wg.repeat(x, 1, axis=0),
        lambda x: wg.tile(x, 1),
        lambda x: wg.flatten(x, 1),
    ):
        y = f(x)
        y += 1.0
        assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


# -- take and its kin --------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("index", [2, [0, -1], [[1, 1], [0, 2]], []])
def test_take(axis: int | None, index: Any) -> None:
    x = RNG.normal(size=(3, 4, 3))
    found = wg.take(x, index, axis=axis)
    expected = np.take(x, np.array(index, np.int64), axis=axis)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    assert_derivatives(lambda x: wg.take(x, index, axis=axis) ** 2, x)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis(axis: int) -> None:
    x = RNG.normal(size=(3, 4, 5))
    index = np.argsort(x, axis=axis)
    found = wg.take_along_axis(x, index, axis=axis)
    np.testing.assert_array_equal(found.numpy(), np.sort(x, axis=axis))
    narrow = np.take(index, [0, -1], axis=axis)
    found = wg.take_along_axis(x, narrow, axis=axis)
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(x, narrow, axis=axis))
    assert_derivatives(lambda x: wg.take_along_axis(x, narrow, axis=axis) ** 2, x)


def test_take_along_axis_broadcasts() -> None:
    x, index = RNG.normal(size=(3, 4)), np.array([[1, 0]])
    found = wg.take_along_axis(x, index, axis=1)
    np.testing.assert_array_equal(found.numpy(), x[:, [1, 0]])
    found = wg.take_along_axis(x[:1], np.array([[1], [2], [3]]), axis=1)
    np.testing.assert_array_equal(found.numpy(), x[:1, [1, 2, 3]].T)


# -- errors ------------------------------------------------------------------------------------

X = wg.zeros((3, 4))

WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: X[3], BoundsError, "index 3 is out of bounds for axis 0 of size 3.*-3 to 2"),
    (lambda: X[0, -5], BoundsError, "index -5 is out of bounds for axis 1 of size 4"),
    (lambda: X[:, [0, 4]], BoundsError, "index 4 is out of bounds for axis 1 of size 4"),
    (lambda: X[0, [0, 4]], BoundsError, "index 4 is out of bounds for axis 1 of size 4"),
    (lambda: X[[0, 3], [0, 0]], BoundsError, "index 3 is out of bounds for axis 0 of size 3"),
    (lambda: X[0, 0, 0], BoundsError, "too many indices; got 3 for an array of shape"),
    (lambda: X[..., ...], BoundsError, "may stand once"),
    (lambda: X[1.0], BoundsError, "not with a float"),
    (lambda: X["a"], BoundsError, "not with a str"),
    (lambda: X[np.array([0.5])], BoundsError, "float64 array.*astype"),
    (lambda: X[::0], BoundsError, "step not 0"),
    (lambda: X[0.5:], BoundsError, "bounds of a slice must be integers"),
    (lambda: X[[True, False]], BoundsError, "a mask of shape .2,. for axes of shape .3,."),
    (lambda: X[[0, 1], [0, 1, 2]], ShapeError, "cannot be broadcast together"),
    (lambda: X.at[0].set(wg.ones(3)), ShapeError, "cannot be broadcast to what the key selects"),
    (lambda: X.at[[0, 3]].add(1.0), BoundsError, "index 3"),
    (lambda: X.at[X > 0].set(wg.ones(2)), ShapeError, r"a value of shape \(2,\) for \(0,\)"),
    (lambda: wg.zeros(2, dtype=wg.int8).at[0].divide(2), DtypeError, "takes floating arrays"),
    (lambda: wg.vmap(lambda x: x[x > 0])(X), TraceError, "mask.*not known inside a trace.*where"),
    (lambda: wg.take(X, [4], axis=0), BoundsError, "index 4 is out of bounds for axis 0"),
    (lambda: wg.take(X, [0.0]), DtypeError, "indices must be integers"),
    (lambda: wg.take(X, 0, axis=2), IndexError, "no such axis"),
    (lambda: wg.take_along_axis(X, [0]), ShapeError, "rank of the array"),
    (lambda: wg.take_along_axis(X, [[4]]), BoundsError, "index 4 is out of bounds for axis 1"),
    (lambda: wg.take_along_axis(X, wg.zeros((2, 2), dtype=wg.int64)), ShapeError, "broadcast"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        call()
