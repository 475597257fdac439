"""Initial values: moments, bounds and structure of what is drawn, and errors."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn

init = nn.init
WIDE = (300, 200)  # a matrix: fan_out 300, fan_in 200
KERNEL = (40, 20, 5, 3)  # a convolution: fan_out 40·15, fan_in 20·15


def parameter(*shape: int, dtype: Any = "float32") -> Any:
    return nn.Parameter(wg.full(shape, 7.0, dtype=dtype))


def drawn(name: str, *args: Any, shape: tuple[int, ...] = WIDE, **options: Any) -> Any:
    p = parameter(*shape)
    assert getattr(init, name)(p, *args, generator=wg.random.Generator(1), **options) is p
    assert p.requires_grad
    assert p.dtype == np.float32
    return p.numpy()


def assert_uniform(x: Any, low: float, high: float) -> None:
    width = high - low
    assert x.min() >= low - 1e-6 * width
    assert x.max() <= high + 1e-6 * width
    assert x.mean() == pytest.approx((low + high) / 2, abs=0.01 * width)
    assert x.std() == pytest.approx(width / math.sqrt(12), rel=0.02)


def assert_normal(x: Any, mean: float, std: float) -> None:
    assert x.mean() == pytest.approx(mean, abs=0.02 * std)
    assert x.std() == pytest.approx(std, rel=0.02)
    assert (np.abs(x - mean) > 2 * std).mean() == pytest.approx(0.0455, abs=0.006)


def test_plain_distributions() -> None:
    assert_uniform(drawn("uniform_", -2.0, 3.0), -2.0, 3.0)
    assert_normal(drawn("normal_", 1.0, 0.5), 1.0, 0.5)
    x = drawn("trunc_normal_", 1.0, 0.5, 0.0, 1.5)
    assert x.min() >= 0.0
    assert x.max() <= 1.5
    within = np.random.default_rng(0).normal(1.0, 0.5, 400_000)
    within = within[(within >= 0.0) & (within <= 1.5)]
    assert x.mean() == pytest.approx(within.mean(), abs=0.01)
    assert x.std() == pytest.approx(within.std(), rel=0.02)


@pytest.mark.parametrize("shape", [WIDE, KERNEL])
def test_scaled_distributions(shape: tuple[int, ...]) -> None:
    fan_in, fan_out = shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])
    gain, slope = math.sqrt(2.0), math.sqrt(2 / (1 + 0.3**2))
    xavier = math.sqrt(2 / (fan_in + fan_out))
    cases = [
        ("xavier", (), {}, xavier),
        ("glorot", (), {"gain": 3.0}, 3.0 * xavier),
        ("kaiming", (), {}, gain / math.sqrt(fan_in)),
        ("kaiming", (0.3,), {}, slope / math.sqrt(fan_in)),
        ("he", (), {"mode": "fan_out", "nonlinearity": "relu"}, gain / math.sqrt(fan_out)),
        ("he", (), {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(fan_in)),
        ("lecun", (), {}, 1 / math.sqrt(fan_in)),
    ]
    for name, args, options, std in cases:
        assert_normal(drawn(f"{name}_normal_", *args, shape=shape, **options), 0.0, std)
        bound = math.sqrt(3.0) * std
        assert_uniform(drawn(f"{name}_uniform_", *args, shape=shape, **options), -bound, bound)


def test_constants() -> None:
    assert init.constant_(parameter(2), 0.5).tolist() == [0.5, 0.5]
    assert init.ones_(parameter(2)).tolist() == [1.0, 1.0]
    assert init.zeros_(parameter(2)).tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(init.eye_(parameter(3, 2)).numpy(), np.eye(3, 2))


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_passes_channels(ndim: int, groups: int) -> None:
    w = init.dirac_(parameter(4, 2, *(3,) * ndim), groups).numpy()
    middle = (1,) * ndim
    expected = np.zeros_like(w)
    for g in range(groups):
        for c in range(2):
            expected[(g * (4 // groups) + c, c, *middle)] = 1
    np.testing.assert_array_equal(w, expected)


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    p = nn.Parameter(wg.zeros(shape, dtype="float64"))
    w = (
        init.orthogonal_(p, gain=2.0, generator=wg.random.Generator(0))
        .numpy()
        .reshape(shape[0], -1)
    )
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4.0 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_is_not_biased_by_the_decomposition() -> None:
    """Q of a plain QR has a diagonal of one sign more often than not; Haar's has none."""
    g = wg.random.Generator(0)
    diagonal = [init.orthogonal_(parameter(2, 2), generator=g).numpy()[0, 0] for _ in range(400)]
    assert abs(np.mean(np.sign(diagonal))) < 0.15


def test_sparse() -> None:
    w = drawn("sparse_", 0.3, 0.5, shape=(50, 400))
    np.testing.assert_array_equal((w == 0).sum(0), 15)
    assert w[w != 0].std() == pytest.approx(0.5, rel=0.02)
    assert len({tuple(np.flatnonzero(column == 0)) for column in w.T}) > 300  # places differ
    assert (drawn("sparse_", 1.0, shape=(3, 2)) == 0).all()
    assert (drawn("sparse_", 0.0, shape=(3, 2)) != 0).all()


def test_gains_and_fans() -> None:
    gain = init.calculate_gain
    assert [gain(n) for n in ("linear", "sigmoid", "conv2d", "conv_transpose1d")] == [1.0] * 4
    assert gain("tanh") == 5 / 3
    assert gain("relu") == math.sqrt(2)
    assert gain("selu") == 0.75
    assert gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert gain("leaky_relu", 0.2) == math.sqrt(2 / (1 + 0.2**2))
    assert init.calculate_fan_in_and_fan_out(parameter(*KERNEL)) == (300, 600)


RANDOM = [
    ("uniform_", ()),
    ("normal_", ()),
    ("trunc_normal_", ()),
    ("xavier_uniform_", ()),
    ("xavier_normal_", ()),
    ("kaiming_uniform_", ()),
    ("kaiming_normal_", ()),
    ("lecun_uniform_", ()),
    ("lecun_normal_", ()),
    ("orthogonal_", ()),
    ("sparse_", (0.5,)),
]


@pytest.mark.parametrize(("name", "args"), RANDOM)
def test_draws_follow_the_generator(name: str, args: Any) -> None:
    f = getattr(init, name)
    assert "generator" in inspect.signature(f).parameters
    draw = lambda seed: f(parameter(8, 4), *args, generator=wg.random.Generator(seed)).numpy()
    np.testing.assert_array_equal(draw(3), draw(3))
    assert (draw(3) != draw(4)).any()
    wg.random.seed(5)
    first = f(parameter(8, 4), *args).numpy()
    assert (f(parameter(8, 4), *args).numpy() != first).any()
    wg.random.seed(5)
    np.testing.assert_array_equal(f(parameter(8, 4), *args).numpy(), first)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_dtype_of_the_parameter_stays(dtype: str) -> None:
    for name, args in (*RANDOM, ("constant_", (1.0,)), ("eye_", ())):
        p = parameter(4, 3, dtype=dtype)
        kept = p.numpy()
        getattr(init, name)(p, *args)
        assert p.dtype == wg.zeros(1, dtype=dtype).dtype
        assert (kept == 7.0).all()  # the old values were not written into


def test_nothing_is_recorded() -> None:
    p = parameter(3, 3)
    init.xavier_normal_(p)
    assert p.is_leaf
    wg.sum(p * p).backward()
    np.testing.assert_allclose(p.grad.numpy(), 2 * p.numpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.normal_(wg.zeros(3)), TypeError, r"\[normal_\] only a Parameter or Variable"),
        (lambda: init.zeros_(np.zeros(3)), TypeError, "got ndarray"),
        (lambda: init.xavier_uniform_(parameter(3)), ValueError, "2 or more axes.*a bias"),
        (
            lambda: init.kaiming_normal_(parameter(3)),
            ValueError,
            r"\[kaiming_normal_\] takes a wei",
        ),
        (lambda: init.orthogonal_(parameter(3)), ValueError, "2 or more axes"),
        (lambda: init.eye_(parameter(2, 2, 2)), ValueError, "takes a matrix"),
        (lambda: init.sparse_(parameter(2, 2, 2), 0.1), ValueError, "takes a matrix"),
        (lambda: init.sparse_(parameter(2, 2), 1.5), ValueError, "fraction from 0 to 1"),
        (lambda: init.dirac_(parameter(2, 2)), ValueError, "3 to 5 axes"),
        (lambda: init.dirac_(parameter(3, 2, 3), 2), ValueError, "3 channels in 2 groups"),
        (lambda: init.trunc_normal_(parameter(3), a=2.0, b=1.0), ValueError, "a < b"),
        (lambda: init.kaiming_uniform_(parameter(2, 2), mode="in"), ValueError, "'fan_in' or"),
        (lambda: init.calculate_gain("swish"), ValueError, "no gain is known .*'swish'"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
