"""Element-wise functions against NumPy: values, dtypes, edge values, and the subgradient table."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.tensor import Tensor

RNG = np.random.default_rng(5)
INF, NAN = math.inf, math.nan
EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1e3, -1e3, INF, -INF, NAN])
VALUES = np.concatenate([EDGES, RNG.normal(size=20), RNG.uniform(-1, 1, 20)])

UNARY = {  # name: NumPy's
    "abs": np.abs, "acos": np.arccos, "acosh": np.arccosh, "asin": np.arcsin, "asinh": np.arcsinh,
    "atan": np.arctan, "atanh": np.arctanh, "cbrt": np.cbrt, "ceil": np.ceil, "cos": np.cos,
    "cosh": np.cosh, "deg2rad": np.deg2rad, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "floor": np.floor, "isfinite": np.isfinite, "isinf": np.isinf, "isnan": np.isnan, "log": np.log,
    "log10": np.log10, "log1p": np.log1p, "log2": np.log2, "logical_not": np.logical_not,
    "nan_to_num": np.nan_to_num, "negative": np.negative, "positive": np.positive,
    "rad2deg": np.rad2deg, "reciprocal": np.reciprocal, "round": np.round, "sign": np.sign,
    "signbit": np.signbit, "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt, "square": np.square,
    "tan": np.tan, "tanh": np.tanh, "trunc": np.trunc,
}  # fmt: skip
BINARY = {
    "add": np.add, "atan2": np.arctan2, "copysign": np.copysign, "divide": np.divide,
    "equal": np.equal, "floor_divide": np.floor_divide, "fmax": np.fmax, "fmin": np.fmin,
    "fmod": np.fmod, "greater": np.greater, "greater_equal": np.greater_equal,
    "heaviside": np.heaviside, "hypot": np.hypot, "less": np.less, "less_equal": np.less_equal,
    "logaddexp": np.logaddexp, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor, "maximum": np.maximum, "minimum": np.minimum,
    "multiply": np.multiply, "nextafter": np.nextafter, "not_equal": np.not_equal, "pow": np.power,
    "remainder": np.remainder, "subtract": np.subtract,
}  # fmt: skip


def check(found: Any, expected: Any) -> None:
    """Equal in shape, dtype and value; the sign of zero counts."""
    expected = np.asarray(expected)
    assert isinstance(found, Tensor)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14, atol=0)
    np.testing.assert_array_equal(np.signbit(found.numpy()), np.signbit(expected))


def slopes(f: Any, *xs: Any) -> list[Any]:
    """The derivatives of Σ f with respect to each argument."""
    tensors = [wg.asarray(np.asarray(x, np.float64)) for x in xs]
    out, pullback = wg.vjp(f, *tensors)
    return [ct.tolist() for ct in pullback(wg.ones(out.shape, dtype=wg.float64))]


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_are_numpys(name: str) -> None:
    with np.errstate(all="ignore"):
        check(getattr(wg, name)(wg.asarray(VALUES)), UNARY[name](VALUES))


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_are_numpys(name: str) -> None:
    a, b = VALUES[:, None], VALUES[None, :]
    with np.errstate(all="ignore"):
        check(getattr(wg, name)(wg.asarray(a), wg.asarray(b)), BINARY[name](a, b))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "uint64"])
@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bits(name: str, dtype: str) -> None:
    a, b = (RNG.integers(0, 2 if dtype == "bool" else 100, (2, 5)).astype(dtype) for _ in range(2))
    check(getattr(wg, name)(a, b), getattr(np, name)(a, b))
    check(wg.bitwise_invert(a), np.invert(a))


def test_shifts() -> None:
    x = np.array([1, -3, 100], np.int32)
    check(wg.bitwise_left_shift(x, 2), x << 2)
    check(wg.bitwise_right_shift(x, 1), x >> 1)


# -- dtypes and Python numbers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "dtype"),
    [
        (np.zeros(2, np.int8), 2, "int8"),
        (2, np.zeros(2, np.int8), "int8"),
        (np.zeros(2, np.int8), 2.5, "float32"),
        (True, np.zeros(2, np.float64), "float64"),
        (np.zeros(2, bool), 1, "int64"),
        (1, 2, "int64"),
        (1, 2.0, "float32"),
        (2.0, 1, "float32"),
        (np.zeros(2, np.int64), np.zeros(2, np.float32), "float32"),
        (np.zeros(2, np.int8), np.zeros(2, np.uint8), "int16"),
        (np.zeros(2, np.float16), np.zeros(2, ml_dtypes.bfloat16), "float32"),
        ([1, 2], [0.5, 0.5], "float32"),
    ],
)
def test_promotion(x: Any, y: Any, dtype: str) -> None:
    assert wg.add(x, y).dtype == dtype
    assert wg.maximum(x, y).dtype == dtype
    assert wg.where(True, x, y).dtype == dtype


def test_integers_become_floats_where_needed() -> None:
    assert wg.divide(wg.asarray([1, 2]), wg.asarray([2, 2])).dtype == wg.float32
    assert wg.sqrt(wg.asarray([1, 4])).tolist() == [1.0, 2.0]
    assert wg.exp(True).dtype == wg.float32
    assert wg.floor(wg.asarray([1, 2], dtype=wg.int8)).dtype == wg.int8


def test_operands_that_do_not_fit() -> None:
    with pytest.raises(DtypeError, match=r"\[sub\] takes signed or unsigned or float"):
        wg.subtract(wg.asarray([True]), wg.asarray([True]))
    with pytest.raises(DtypeError, match=r"\[bitwise_and\] takes .*; got float32\[1\]"):
        wg.bitwise_and(wg.asarray([1.0]), 1)
    with pytest.raises(ShapeError, match=r"\[mul\] the shapes cannot be broadcast.*\(2,\) and \(3"):
        wg.ones(2) * wg.ones(3)
    with pytest.raises(DtypeError, match=r"condition must be a bool array.*condition != 0"):
        wg.where(wg.asarray([1, 0]), 1.0, 2.0)
    with pytest.raises(ArgumentError, match=r"negative exponent.*cast the base"):
        wg.pow(wg.asarray([2, 3]), -1)
    with pytest.raises(ArgumentError, match="negative exponent"):
        wg.pow(wg.asarray([2, 3]), wg.asarray([1, -1]))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, 0.5, -0.5, 2.5])
def test_pow_with_a_python_number(exponent: float) -> None:
    x = np.array([0.5, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(wg.pow(wg.asarray(x), exponent).numpy(), x**exponent, rtol=1e-15)
    np.testing.assert_allclose((wg.asarray(x) ** exponent).numpy(), x**exponent, rtol=1e-15)
    assert_derivatives(lambda x: x**exponent, x)
    assert_derivatives(lambda x: exponent**x, x) if exponent > 0 else None
    assert wg.pow(wg.ones(2, dtype=wg.bfloat16), exponent).dtype == wg.bfloat16


def test_round_with_decimals() -> None:
    x = np.array([1.255, -2.5, 0.05, 1234.5])
    for decimals in (0, 1, 2, -2):
        check(wg.round(wg.asarray(x), decimals), np.round(x, decimals))
    check(wg.round(wg.asarray([15, 25]), -1), np.array([20, 20]))


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.5), (-0.5, None), (None, None), (1, -1)])
def test_clip(bounds: tuple[Any, Any]) -> None:
    low, high = bounds
    expected = VALUES if bounds == (None, None) else np.clip(VALUES, low, high)
    check(wg.clip(wg.asarray(VALUES), low, high), expected)
    check(wg.clip(wg.asarray(VALUES), min=low, max=high), expected)
    whole = np.arange(-3, 4)
    low, high = (None if b is None else int(np.sign(b)) for b in bounds)
    check(wg.clip(whole, low, high), whole if low is high is None else np.clip(whole, low, high))


def test_clip_with_arrays() -> None:
    x, low, high = RNG.normal(size=(3, 4)), RNG.uniform(-1, 0, 4), RNG.uniform(0, 1, (3, 1))
    check(wg.clip(x, low, high), np.clip(x, low, high))
    assert_derivatives(wg.clip, x, low, high)


def test_nan_to_num() -> None:
    x = np.array([NAN, INF, -INF, 2.0], np.float16)
    check(wg.nan_to_num(x), np.nan_to_num(x))
    check(wg.nan_to_num(x, 1.0, 5.0, -5.0), np.array([1, 5, -5, 2], np.float16))
    check(wg.nan_to_num(np.array([1, 2])), np.array([1, 2]))


@pytest.mark.parametrize("equal_nan", [False, True])
def test_isclose_and_its_relatives(equal_nan: bool) -> None:
    a = np.array([1.0, 1.0, INF, INF, NAN, 0.0, 1e10, 1.0])
    b = np.array([1.0, 1.00001, INF, -INF, NAN, 1e-9, 1.00001e10, INF])
    check(wg.isclose(a, b, equal_nan=equal_nan), np.isclose(a, b, equal_nan=equal_nan))
    check(wg.isclose(a, b, 1e-3, 1e-3), np.isclose(a, b, 1e-3, 1e-3))
    assert wg.allclose(a, b, equal_nan=equal_nan) is np.allclose(a, b, equal_nan=equal_nan)
    assert wg.array_equal(a, a, equal_nan) is np.array_equal(a, a, equal_nan)
    big = np.array([2**52, 2**40])
    check(wg.isclose(big, big + 1, rtol=0, atol=0), np.array([False, False]))
    assert wg.array_equal([1, 2], [1, 2, 3]) is False


def test_lerp_and_frac() -> None:
    a, b, w = RNG.normal(size=(3, 4))
    check(wg.lerp(a, b, w), a + w * (b - a))
    assert_derivatives(wg.lerp, a, b, w)
    check(wg.frac(np.array([1.25, -1.25])), np.array([0.25, -0.25]))


# -- derivatives where they are a matter of choice ------------------------------------------------


@pytest.mark.parametrize(
    ("f", "xs", "expected"),
    [
        (wg.abs, [[0.0, -2.0, 3.0]], [[0.0, -1.0, 1.0]]),
        (wg.relu, [[0.0, -1.0, 2.0]], [[0.0, 0.0, 1.0]]),
        (wg.maximum, [[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]], [[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]),
        (wg.minimum, [[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]], [[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]]),
        (wg.maximum, [[INF, -INF], [INF, 0.0]], [[0.5, 0.0], [0.5, 1.0]]),
        (lambda x: wg.clip(x, -1, 1), [[-1.0, 1.0, 0.0, -3.0]], [[1.0, 1.0, 1.0, 0.0]]),
        (wg.clip, [[1.0], [1.0], [2.0]], [[1.0], [0.0], [0.0]]),
        (wg.clip, [[1.0], [2.0], [0.0]], [[0.0], [0.0], [1.0]]),
        (wg.floor, [[0.5, 1.0]], [[0.0, 0.0]]),
        (wg.round, [[0.5, 1.2]], [[0.0, 0.0]]),
        (wg.sign, [[0.0, 1.2]], [[0.0, 0.0]]),
        (wg.heaviside, [[0.0, 1.0], [0.5, 0.5]], [[0.0, 0.0], [1.0, 0.0]]),
        (wg.floor_divide, [[5.0], [2.0]], [[0.0], [0.0]]),
        (wg.remainder, [[5.0, -5.0], [2.0, 2.0]], [[1.0, 1.0], [-2.0, 3.0]]),
        (wg.fmod, [[5.0, -5.0], [2.0, 2.0]], [[1.0, 1.0], [-2.0, 2.0]]),
        (wg.copysign, [[2.0, 2.0, -2.0, 0.0], [1.0, -1.0, 1.0, 1.0]], [[1, -1, -1, 0], [0] * 4]),
        (wg.fmax, [[1.0, NAN, 2.0], [3.0, 3.0, NAN]], [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
        (wg.sqrt, [[0.0, 4.0]], [[INF, 0.25]]),
        (wg.hypot, [[0.0, 3.0], [0.0, 4.0]], [[NAN, 0.6], [NAN, 0.8]]),
        (wg.hypot, [[1e200], [0.0]], [[1.0], [0.0]]),
        (wg.atan2, [[0.0, 1e200], [0.0, 1e200]], [[NAN, 5e-201], [NAN, -5e-201]]),
        (wg.log, [[0.0]], [[INF]]),
        (wg.logaddexp, [[INF, -INF, 0.0], [INF, -INF, -INF]], [[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]]),
        (wg.logaddexp, [[1e3, -1e3], [-1e3, -1e3]], [[1.0, 0.5], [0.0, 0.5]]),
        (wg.softplus, [[1e3, -1e3, 0.0, INF, -INF]], [[1.0, 0.0, 0.5, 1.0, 0.0]]),
        (wg.sigmoid, [[1e3, -1e3, 0.0, INF, -INF]], [[0.0, 0.0, 0.25, 0.0, 0.0]]),
    ],
)
def test_subgradients(f: Any, xs: list[Any], expected: list[Any]) -> None:
    np.testing.assert_allclose(slopes(f, *xs), expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("x", "y", "in_x", "in_y"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0),
        (0.0, 0.5, INF, 0.0),
        (0.0, -1.0, -INF, -INF),
        (-2.0, 3.0, 12.0, NAN),
        (-2.0, 0.0, -0.0, NAN),
        (2.0, 0.0, 0.0, math.log(2.0)),
        (1.0, INF, INF, 0.0),
    ],
)
def test_pow_at_its_edges(x: float, y: float, in_x: float, in_y: float) -> None:
    np.testing.assert_allclose(slopes(wg.pow, x, y), [in_x, in_y])
    np.testing.assert_allclose(slopes(lambda x: wg.pow(x, wg.asarray(y)), x), [in_x])
    if not math.isinf(y):
        np.testing.assert_allclose(slopes(lambda x: x**y, x), [in_x])


def test_second_derivative_of_pow_at_zero() -> None:
    bend = wg.grad(wg.grad(lambda x, y: wg.pow(x, y)))
    cross = wg.grad(wg.grad(lambda x, y: wg.pow(x, y)), argnums=1)
    for y, expected in ((2.0, 2.0), (3.0, 0.0), (1.0, 0.0), (0.0, 0.0)):
        assert float(bend(0.0, y)) == expected
        assert float(wg.grad(wg.grad(lambda x, y=y: x**y))(0.0)) == expected
    assert float(bend(-2.0, 3.0)) == -12.0
    assert float(cross(2.0, 0.0)) == pytest.approx(0.5)  # ∂²xʸ/∂x∂y = xʸ⁻¹(1 + y·log x)


ALL_SIZES = [wg.bool, wg.uint64, wg.float16, wg.bfloat16, wg.float32, wg.float64]


@pytest.mark.parametrize("dtype", ALL_SIZES, ids=str)
def test_where_of_large_arrays_is_a_choice_of_bits(dtype: Any) -> None:
    mask = RNG.integers(0, 2, (80, 90)).astype(bool)
    x, y = (VALUES[RNG.integers(0, 13, s)] for s in ((80, 90), (90, 80)))
    if not wg.isdtype(dtype, "real floating"):
        x, y = (np.nan_to_num(v, posinf=7, neginf=2) % 100 for v in (x, y))
    x, y = x.astype(dtype), y.astype(dtype).T
    for a, b in ((x, y), (x[0], y[:, :1]), (x, y[0, 0]), (np.asarray(x[1, 1]), y)):
        found = wg.where(mask, wg.asarray(a), wg.asarray(b)).numpy()
        assert found.dtype == dtype
        assert found.tobytes() == np.where(mask, a, b).tobytes()


def test_where_does_not_leak() -> None:
    x = wg.asarray([-1.0, 0.0, 4.0])
    safe = lambda x: wg.sum(wg.where(x > 0, wg.sqrt(wg.where(x > 0, x, 1.0)), 0.0))
    assert wg.grad(safe)(x).tolist() == [0.0, 0.0, 0.25]
    branch = wg.asarray([NAN, INF, 1.0])
    pick = lambda a, b: wg.sum(wg.where(wg.asarray([True, True, False]), a, b))
    in_a, in_b = wg.grad(pick, argnums=(0, 1))(x, branch)
    assert (in_a.tolist(), in_b.tolist()) == ([1.0, 1.0, 0.0], [0.0, 0.0, 1.0])


def test_a_cotangent_that_is_not_taken_does_not_matter() -> None:
    # 1/max(x, ε): where x is cut off, the infinite cotangent of the quotient must not reach it.
    f = lambda x: wg.sum(1.0 / wg.maximum(x, 0.0))
    assert wg.grad(f)(wg.asarray([-1.0, 2.0])).tolist() == [0.0, -0.25]
    g = lambda x: wg.sum(wg.sqrt(wg.relu(x)))
    assert wg.grad(g)(wg.asarray([-1.0, 4.0])).tolist() == [0.0, 0.25]


def test_steps_stay_tracked() -> None:
    x = wg.asarray([1.5, -0.5]).requires_grad_()
    loss = wg.sum(wg.floor(x) + wg.sign(x) + wg.round(x))
    assert loss.requires_grad
    loss.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0]
    assert not (x > 0).requires_grad


def test_functions_of_second_order() -> None:
    x = np.array([-1.3, -0.4, 0.3, 1.7])
    assert_derivatives(lambda x: wg.rsqrt(x * x), x)
    assert_derivatives(lambda x: wg.logaddexp(x, x), x)
    assert_derivatives(wg.logaddexp, x, x)  # ties are smooth here
    assert_derivatives(wg.nan_to_num, x)
    assert_derivatives(lambda a, b: wg.fmax(a, b) * wg.fmin(a, b) * a, x, x[::-1].copy())


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16])
def test_half_precision_rounds_once(dtype: Any) -> None:
    x = wg.astype(wg.linspace(-12.0, 12.0, 97), dtype)
    for f in (wg.sigmoid, wg.softplus, wg.softmax, wg.log_softmax):
        exact = np.asarray(f(wg.astype(x, wg.float64)))
        assert np.array_equal(np.asarray(f(x)), exact.astype(dtype)), f.__name__
