"""Activations: closed forms, derivatives at kinks and far out, and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert import nn

F = nn.functional
RNG = np.random.default_rng(3)
X = RNG.normal(size=(3, 4)) * 2
FAR = np.array([-1e4, -100.0, -30.0, 30.0, 100.0, 1e4])


def sig(x: Any) -> Any:
    return special.expit(x)


# name → (settings, closed form in NumPy)
CLOSED: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "relu": [({}, lambda x: np.maximum(x, 0))],
    "relu6": [({}, lambda x: np.clip(x, 0, 6))],
    "leaky_relu": [
        ({}, lambda x: np.where(x > 0, x, 0.01 * x)),
        ({"negative_slope": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
    ],
    "rrelu": [({"lower": 0.2, "upper": 0.4}, lambda x: np.where(x > 0, x, 0.3 * x))],
    "elu": [({"alpha": 1.5}, lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0))))],
    "selu": [
        (
            {},
            lambda x: (
                1.0507009873554805
                * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
            ),
        )
    ],
    "celu": [
        ({"alpha": 0.7}, lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0) / 0.7)))
    ],
    "gelu": [
        ({}, lambda x: x * special.ndtr(x)),
        (
            {"approximate": "tanh"},
            lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
    ],
    "silu": [({}, lambda x: x * sig(x))],
    "swish": [({}, lambda x: x * sig(x))],
    "mish": [({}, lambda x: x * np.tanh(np.logaddexp(x, 0)))],
    "softplus": [
        ({}, lambda x: np.where(x > 20, x, np.logaddexp(x, 0))),
        (
            {"beta": 2.0, "threshold": 1.0},
            lambda x: np.where(2 * x > 1, x, np.logaddexp(2 * x, 0) / 2),
        ),
    ],
    "softsign": [({}, lambda x: x / (1 + np.abs(x)))],
    "tanhshrink": [({}, lambda x: x - np.tanh(x))],
    "hardtanh": [({"min_val": -0.5, "max_val": 2.0}, lambda x: np.clip(x, -0.5, 2.0))],
    "hardsigmoid": [({}, lambda x: np.clip(x + 3, 0, 6) / 6)],
    "hardswish": [({}, lambda x: x * np.clip(x + 3, 0, 6) / 6)],
    "hardshrink": [({"lambd": 0.8}, lambda x: np.where(np.abs(x) > 0.8, x, 0))],
    "softshrink": [({"lambd": 0.8}, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.8, 0))],
    "threshold": [({"threshold": 0.5, "value": -7.0}, lambda x: np.where(x > 0.5, x, -7.0))],
    "sigmoid": [({}, sig)],
    "logsigmoid": [({}, special.log_expit)],
    "tanh": [({}, np.tanh)],
}
CASES = [(name, *case) for name, cases in CLOSED.items() for case in cases]


@pytest.mark.parametrize(("name", "settings", "closed"), CASES)
def test_values_and_derivatives(name: str, settings: dict[str, Any], closed: Any) -> None:
    f = getattr(F, name)
    for x in (X, FAR, np.array(0.3), np.zeros((0, 2))):
        y = f(wg.asarray(x), **settings)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y.numpy(), closed(x), rtol=1e-12, atol=1e-12)
    assert_derivatives(lambda x: f(x, **settings), X, tolerance=1e-5)


@pytest.mark.parametrize(("name", "settings", "closed"), CASES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_no_nan_far_out(name: str, settings: dict[str, Any], closed: Any, dtype: str) -> None:
    x = wg.asarray([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4], dtype=dtype)
    f = lambda x: wg.sum(getattr(F, name)(x, **settings))
    y, slope = wg.value_and_grad(f)(x)
    curvature = wg.grad(lambda x: wg.sum(wg.grad(f)(x)))(x)
    assert y.dtype == slope.dtype == x.dtype
    if dtype != "float16":  # whose sum of values up to 1e4 is at the edge of its range
        assert wg.isfinite(y)
    assert wg.all(wg.isfinite(slope))
    assert wg.all(wg.isfinite(curvature))


@pytest.mark.parametrize(
    ("name", "x", "slope"),
    [
        ("relu", 0.0, 0.0),
        ("relu6", 0.0, 0.0),
        ("relu6", 6.0, 0.0),
        ("leaky_relu", 0.0, 0.01),
        ("elu", 0.0, 1.0),
        ("celu", 0.0, 1.0),
        ("selu", 0.0, 1.0507009873554805 * 1.6732632423543772),
        ("hardtanh", -1.0, 0.0),
        ("hardtanh", 1.0, 0.0),
        ("hardsigmoid", -3.0, 0.0),
        ("hardsigmoid", 3.0, 0.0),
        ("hardswish", -3.0, 0.0),
        ("hardswish", 3.0, 1.0),
        ("hardshrink", 0.5, 0.0),
        ("hardshrink", -0.5, 0.0),
        ("softshrink", 0.5, 0.0),
        ("softshrink", -0.5, 0.0),
    ],
)
def test_slope_at_kinks(name: str, x: float, slope: float) -> None:
    found = wg.grad(getattr(F, name))(wg.asarray(x, dtype=wg.float64))
    assert float(found) == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("relu", 0.0, math.inf),
        ("elu", -1.0, math.inf),
        ("softplus", 0.0, math.inf),
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("logsigmoid", -math.inf, 0.0),
        ("hardtanh", -1.0, 1.0),
        ("leaky_relu", -math.inf, math.inf),
        ("softshrink", -math.inf, math.inf),
    ],
)
def test_at_infinity(name: str, below: float, above: float) -> None:
    x = wg.asarray([-math.inf, math.inf, math.nan])
    y = getattr(F, name)(x).tolist()
    assert y[:2] == [below, above]
    assert math.isnan(y[2])
    slope = wg.grad(lambda x: wg.sum(getattr(F, name)(x)))(x[:2])
    assert wg.all(wg.isfinite(slope))


def test_gelu_keeps_its_digits_in_the_left_tail() -> None:
    x = np.array([-5.0, -10.0, -30.0])
    np.testing.assert_allclose(F.gelu(wg.asarray(x)).numpy(), x * special.ndtr(x), rtol=1e-12)


def test_integers_become_floats_where_needed() -> None:
    assert F.relu(wg.asarray([-1, 2])).dtype == np.int64
    assert F.gelu(wg.asarray([-1, 2])).dtype == np.float32


# -- slopes that are learnt or random --------------------------------------------------------------


def test_prelu() -> None:
    x = RNG.normal(size=(2, 3, 4))
    for weight in (np.array([0.3]), np.array([0.1, -0.2, 0.3])):
        slope = weight.reshape(-1, 1)
        found = F.prelu(wg.asarray(x), wg.asarray(weight))
        np.testing.assert_allclose(found.numpy(), np.where(x > 0, x, slope * x))
        assert_derivatives(F.prelu, x, weight)
    assert F.prelu(wg.asarray(-2.0), wg.asarray([0.5])).shape == ()


def test_prelu_gives_no_nan_where_the_slope_is_not_used() -> None:
    slope = wg.grad(lambda w: F.prelu([math.inf, -2.0], w)[1])(wg.ones(1))
    assert slope.tolist() == [-2.0]


def test_rrelu_draws_a_slope_an_element() -> None:
    g = wg.random.Generator(5)
    x = -np.ones(20_000)
    slope = -F.rrelu(wg.asarray(x), 0.1, 0.5, training=True, generator=g).numpy()
    assert slope.min() >= 0.1
    assert slope.max() <= 0.5
    assert abs(slope.mean() - 0.3) < 0.005
    again = -F.rrelu(
        wg.asarray(x), 0.1, 0.5, training=True, generator=wg.random.Generator(5)
    ).numpy()
    np.testing.assert_array_equal(slope, again)
    layer = nn.RReLU(0.1, 0.5)
    assert len(np.unique(layer(wg.asarray(x)).numpy())) > 1000
    np.testing.assert_allclose(layer.eval()(wg.asarray(x)).numpy(), -0.3 * np.ones(20_000))


# -- along an axis ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_family(dim: int) -> None:
    x = wg.asarray(X)
    expected = special.softmax(X, axis=dim)
    np.testing.assert_allclose(F.softmax(x, dim).numpy(), expected)
    np.testing.assert_allclose(F.log_softmax(x, dim).numpy(), np.log(expected))
    np.testing.assert_allclose(F.softmin(x, dim).numpy(), special.softmax(-X, axis=dim))
    for f in (F.softmax, F.log_softmax, F.softmin):
        assert_derivatives(lambda x, f=f: f(x, dim), X)
        assert f(wg.asarray([1, 2]), -1, dtype="float64").dtype == np.float64


def test_log_softmax_keeps_its_digits_at_large_offsets() -> None:
    x = np.array([1e4, 1e4 + 1, 1e4 - 2], np.float32)
    expected = special.log_softmax(x.astype(np.float64))
    np.testing.assert_allclose(F.log_softmax(wg.asarray(x)).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("glu", sig),
        ("reglu", lambda b: np.maximum(b, 0)),
        ("geglu", lambda b: b * special.ndtr(b)),
        ("swiglu", lambda b: b * sig(b)),
    ],
)
def test_gated_units(name: str, gate: Any) -> None:
    x = RNG.normal(size=(2, 6, 3))
    f = getattr(F, name)
    np.testing.assert_allclose(f(wg.asarray(x), dim=1).numpy(), x[:, :3] * gate(x[:, 3:]))
    np.testing.assert_allclose(f(wg.asarray(x[..., :2])).numpy(), x[..., :1] * gate(x[..., 1:2]))
    assert_derivatives(lambda x: f(x, dim=1), x)


def test_gumbel_softmax_samples_the_distribution() -> None:
    p = np.array([0.1, 0.2, 0.7])
    logits = wg.broadcast_to(wg.asarray(np.log(p)), (20_000, 3))
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True, generator=wg.random.Generator(0))
    assert set(np.unique(hard.numpy())) == {0.0, 1.0}
    np.testing.assert_array_equal(hard.numpy().sum(-1), 1.0)
    np.testing.assert_allclose(hard.numpy().mean(0), p, atol=0.012)
    soft = F.gumbel_softmax(logits, tau=0.5, generator=wg.random.Generator(0))
    np.testing.assert_allclose(soft.numpy().sum(-1), 1.0)
    np.testing.assert_array_equal(soft.numpy().argmax(-1), hard.numpy().argmax(-1))


def test_hard_gumbel_softmax_has_the_derivative_of_the_soft_one() -> None:
    x, u = wg.asarray(RNG.normal(size=(4, 3))), wg.asarray(RNG.normal(size=(4, 3)))

    def loss(x: Any, hard: bool) -> Any:
        g = wg.random.Generator(1)
        return wg.sum(u * F.gumbel_softmax(x, 0.7, hard, dim=0, generator=g))

    np.testing.assert_allclose(
        wg.grad(loss)(x, True).numpy(), wg.grad(loss)(x, False).numpy(), rtol=1e-12
    )


def test_one_hot() -> None:
    t = wg.asarray([[0, 2], [1, 1]])
    np.testing.assert_array_equal(F.one_hot(t).numpy(), np.eye(3, dtype=int)[t.numpy()])
    assert F.one_hot(t, 5).shape == (2, 2, 5)
    assert F.one_hot(t).dtype == np.int64
    assert F.one_hot(wg.zeros((0,), dtype="int64"), 2).shape == (0, 2)


# -- distances -------------------------------------------------------------------------------------


def test_distances() -> None:
    a, b = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 5))
    for p in (1.0, 2.0, 3.0, math.inf):
        np.testing.assert_allclose(
            F.pairwise_distance(wg.asarray(a), wg.asarray(b), p).numpy(),
            np.linalg.norm(a - b + 1e-6, ord=p, axis=-1),
        )
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(F.cosine_similarity(wg.asarray(a), wg.asarray(b)).numpy(), cosine)
    assert F.pairwise_distance(wg.asarray(a), wg.asarray(b), keepdim=True).shape == (3, 1)
    assert_derivatives(F.pairwise_distance, a, b)
    assert_derivatives(lambda a, b: F.pairwise_distance(a, b, p=3.0), a, b)
    assert_derivatives(F.cosine_similarity, a, b)
    assert_derivatives(lambda a, b: F.cosine_similarity(a, b, dim=-1), a, b[0])


def test_distances_at_zero_have_finite_slopes() -> None:
    zero = wg.zeros((1, 3))
    for f in (
        lambda x: wg.sum(F.pairwise_distance(x, x * 0, eps=0.0)),
        lambda x: wg.sum(F.cosine_similarity(x, wg.ones((1, 3)))),
    ):
        assert wg.all(wg.isfinite(wg.grad(f)(zero)))


# -- modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.ReLU(inplace=True), F.relu),
        (nn.ReLU6(), F.relu6),
        (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
        (nn.Threshold(0.1, 2.0), lambda x: F.threshold(x, 0.1, 2.0)),
        (nn.Hardtanh(-0.5, 0.7), lambda x: F.hardtanh(x, -0.5, 0.7)),
        (nn.ELU(0.5), lambda x: F.elu(x, 0.5)),
        (nn.SELU(), F.selu),
        (nn.CELU(0.5), lambda x: F.celu(x, 0.5)),
        (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh")),
        (nn.SiLU(), F.silu),
        (nn.Mish(), F.mish),
        (nn.Softplus(2.0, 1.0), lambda x: F.softplus(x, 2.0, 1.0)),
        (nn.Softsign(), F.softsign),
        (nn.Sigmoid(), F.sigmoid),
        (nn.LogSigmoid(), F.logsigmoid),
        (nn.Tanh(), F.tanh),
        (nn.Tanhshrink(), F.tanhshrink),
        (nn.Hardsigmoid(), F.hardsigmoid),
        (nn.Hardswish(), F.hardswish),
        (nn.Hardshrink(0.3), lambda x: F.hardshrink(x, 0.3)),
        (nn.Softshrink(0.3), lambda x: F.softshrink(x, 0.3)),
        (nn.PReLU(init=0.1), lambda x: F.prelu(x, [0.1])),
        (nn.Softmax(0), lambda x: F.softmax(x, 0)),
        (nn.LogSoftmax(0), lambda x: F.log_softmax(x, 0)),
        (nn.Softmin(0), lambda x: F.softmin(x, 0)),
        (nn.GLU(), F.glu),
        (nn.ReGLU(), F.reglu),
        (nn.GEGLU(), F.geglu),
        (nn.SwiGLU(), F.swiglu),
    ],
    ids=lambda v: type(v).__name__,
)
def test_modules_are_their_functions(module: Any, function: Any) -> None:
    x = wg.asarray(X.astype(np.float32))
    np.testing.assert_array_equal(module(x).numpy(), function(x).numpy())
    np.testing.assert_array_equal(x.numpy(), X.astype(np.float32))  # also with inplace=True


def test_distance_modules_are_their_functions() -> None:
    a, b = wg.asarray(X), wg.asarray(X[::-1])
    cosine = nn.CosineSimilarity(0, 0.5)(a, b)
    np.testing.assert_array_equal(cosine.numpy(), F.cosine_similarity(a, b, 0, 0.5).numpy())
    distance = nn.PairwiseDistance(3.0, 0.1, True)(a, b)
    expected = F.pairwise_distance(a, b, 3.0, 0.1, True)
    np.testing.assert_array_equal(distance.numpy(), expected.numpy())
    assert repr(nn.PairwiseDistance()) == "PairwiseDistance(p=2.0, eps=1e-06, keepdim=False)"


def test_modules_show_their_settings() -> None:
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nn.GELU()) == "GELU(approximate='none')"
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)"
    assert repr(nn.ReLU()) == "ReLU()"


def test_prelu_trains_its_slopes() -> None:
    layer = nn.PReLU(2)
    wg.sum(layer(-wg.ones((3, 2)))).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [-3.0, -3.0]
    layer.weight.assign(wg.zeros(2))
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.25, 0.25]


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.gelu(x, "erf"), ValueError, r"\[gelu\] unknown approximation; got 'erf'"),
        (lambda x: F.hardtanh(x, 1.0, 1.0), ValueError, "min_val must be less than max_val"),
        (lambda x: F.softshrink(x, -1.0), ValueError, "lambd must not be negative"),
        (lambda x: F.celu(x, 0.0), ValueError, "alpha must not be 0"),
        (lambda x: F.rrelu(x, 0.5, 0.1), ValueError, "lower must not be greater than upper"),
        (lambda x: F.prelu(x, wg.ones(3)), ValueError, "neither 1 nor the number of channels"),
        (lambda x: F.prelu(x, wg.ones((2, 2))), ValueError, "one number, or one a channel"),
        (lambda x: F.glu(x[:, :3]), ValueError, r"\[glu\] the halved axis must have an even size"),
        (lambda x: F.swiglu(x, 5), IndexError, r"\[swiglu\] no such axis; got axis 5 of 2"),
        (lambda x: F.softmax(x, 2), IndexError, "no such axis"),
        (lambda x: F.gumbel_softmax(x, 0.0), ValueError, "tau must be positive"),
        (lambda x: F.one_hot(x), TypeError, "class indices must be integers"),
        (lambda x: F.one_hot(wg.asarray([3]), 3), IndexError, "index 3 at target.0., with 3 class"),
        (
            lambda x: F.one_hot(wg.zeros(0, dtype="int64")),
            ValueError,
            "cannot be read off an empty",
        ),
        (lambda x: nn.Softmax2d()(x), ValueError, "height, width"),
        (lambda x: nn.Hardtanh(2, 1), ValueError, "must be less.*min_val=2, max_val=1"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(wg.ones((2, 4)))
