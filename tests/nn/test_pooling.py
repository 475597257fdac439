"""Pooling against loops over windows; ties, padding, ceil_mode, indices, adaptive regions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.nn.derivatives import check_derivatives
from wengert import nn
from wengert.errors import ArgumentError, DtypeError, ShapeError
from wengert.nn import functional as F


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def windows_of(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> list[list[int]]:
    """Places that each window along an axis covers, padding included (negative, or from n on)."""
    room = n + 2 * p - d * (k - 1) - 1
    count = (math.ceil(room / s) if ceil else room // s) + 1
    if ceil and (count - 1) * s >= n + p:
        count -= 1
    return [[i * s - p + j * d for j in range(k)] for i in range(count)]


def pooled(
    x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, f: Any
) -> Any:
    """`f(values, window)` for each window of (N, C, *spatial); values are those inside x."""
    axes = [
        windows_of(*a, ceil)
        for a in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    ]
    out = np.zeros((*x.shape[:2], *map(len, axes)))
    for place in np.ndindex(out.shape):
        window = [axis[i] for axis, i in zip(axes, place[2:], strict=True)]
        inside = [[j for j in js if 0 <= j < n] for js, n in zip(window, x.shape[2:], strict=True)]
        out[place] = f(x[place[:2]][np.ix_(*inside)], window)
    return out


GEOMETRIES = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1},
    {"kernel_size": 2, "stride": 3, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
]


def geometry(options: dict[str, Any], count: int) -> tuple[Any, ...]:
    full = lambda name, default: (options.get(name, default),) * count
    kernel = full("kernel_size", 1)
    return (
        kernel,
        full("stride", kernel[0]),
        full("padding", 0),
        full("dilation", 1),
        options.get("ceil_mode", False),
    )


@pytest.mark.parametrize("options", [*GEOMETRIES, {"kernel_size": 2, "dilation": 2, "stride": 1}])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_max_pool(count, options):
    x = normal(2, 2, *(7, 6, 5)[:count])
    layer = getattr(nn, f"MaxPool{count}d")(**options, return_indices=True)
    y, where = layer(wg.asarray(x))
    expected = pooled(x, *geometry(options, count), lambda values, window: values.max())
    assert np.array_equal(y.numpy(), expected)
    flat = x.reshape(2, 2, -1)
    found = np.take_along_axis(flat, where.numpy().reshape(2, 2, -1), 2)
    assert np.array_equal(found.reshape(y.shape), y.numpy())
    check_derivatives(lambda x: layer(x)[0], x)


@pytest.mark.parametrize("options", GEOMETRIES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_avg_pool(count, options, include):
    x = normal(2, 2, *(7, 6, 5)[:count])
    layer = getattr(nn, f"AvgPool{count}d")(**options, count_include_pad=include)
    padding = options.get("padding", 0)

    def mean(values: Any, window: Any) -> float:
        if not include:
            return float(values.mean())
        padded = [[j for j in js if j < n + padding] for js, n in zip(window, x.shape[2:])]
        return float(values.sum() / math.prod(map(len, padded)))

    assert np.allclose(layer(wg.asarray(x)).numpy(), pooled(x, *geometry(options, count), mean))
    check_derivatives(layer, x, order=1)


def test_avg_pool_divisor():
    x = wg.ones((1, 1, 4, 4))
    assert F.avg_pool2d(x, 2, divisor_override=8).tolist() == [[[[0.5, 0.5], [0.5, 0.5]]]]
    assert nn.AvgPool3d(2, divisor_override=2)(wg.ones((1, 1, 2, 2, 2))).tolist() == [[[[[4.0]]]]]


def test_ties_go_to_the_first():
    x = wg.asarray([[[1.0, 1.0, 0.0, 2.0, 2.0, 2.0]]]).requires_grad_()
    y = F.max_pool1d(x, 3)
    y.sum().backward()
    assert x.grad.tolist() == [[[1, 0, 0, 1, 0, 0]]]
    image = wg.ones((1, 1, 3, 3)).requires_grad_()
    F.max_pool2d(image, 2, stride=1).sum().backward()
    assert image.grad[0, 0].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    _, where = F.max_pool2d(wg.zeros((1, 1, 2, 2)), 2, return_indices=True)
    assert where.tolist() == [[[[0]]]]


def test_padding_counts_as_minus_infinity():
    x = wg.full((1, 1, 2), -5.0)
    y, where = F.max_pool1d(x, 2, stride=2, padding=1, return_indices=True)
    assert y.tolist() == [[[-5.0, -5.0]]]
    assert where.tolist() == [[[0, 1]]]
    low = wg.full((1, 1, 2), -np.inf)
    assert F.max_pool1d(low, 2, padding=1, return_indices=True)[1].tolist() == [[[0, 1]]]


def test_nan_wins():
    x = wg.asarray([[[1.0, np.nan, 3.0, 4.0]]])
    y = F.max_pool1d(x, 2)
    assert np.isnan(y.numpy()[0, 0, 0])
    assert float(y[0, 0, 1]) == 4.0


def test_overlapping_windows_add_up():
    x = wg.asarray([[[0.0, 5.0, 0.0]]]).requires_grad_()
    F.max_pool1d(x, 2, stride=1).sum().backward()
    assert x.grad.tolist() == [[[0, 2, 0]]]


@pytest.mark.parametrize("power", [1, 2, 3, math.inf])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_lp_pool(count, power):
    x = np.abs(normal(2, 2, *(6, 4, 5)[:count])) + 0.1
    layer = getattr(nn, f"LPPool{count}d")(power, 2)
    norm = lambda values, window: np.linalg.norm(values.reshape(-1), power)
    expected = pooled(x, *geometry({"kernel_size": 2}, count), norm)
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_derivatives(layer, x, order=1)


def test_lp_pool_of_zeros_has_gradient_zero():
    x = wg.zeros((1, 1, 4)).requires_grad_()
    F.lp_pool1d(x, 2.0, 2).sum().backward()
    assert x.grad.tolist() == [[[0, 0, 0, 0]]]
    with pytest.raises(ArgumentError, match="norm_type must be positive"):
        F.lp_pool1d(x, 0, 2)


@pytest.mark.parametrize("out", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("count", [1, 2])
def test_adaptive_pools(count, out):
    x = normal(2, 2, *(6, 7)[:count])
    regions = [
        [range(i * n // out, -(-(i + 1) * n // out)) for i in range(out)] for n in x.shape[2:]
    ]
    mean = np.zeros((2, 2, *(out,) * count))
    largest = mean.copy()
    for place in itertools.product(range(out), repeat=count):
        inside = np.ix_(*(axis[i] for axis, i in zip(regions, place, strict=True)))
        for n, c in np.ndindex(2, 2):
            mean[(n, c, *place)] = x[n, c][inside].mean()
            largest[(n, c, *place)] = x[n, c][inside].max()
    avg = getattr(nn, f"AdaptiveAvgPool{count}d")(out)
    top = getattr(nn, f"AdaptiveMaxPool{count}d")(out, return_indices=True)
    assert np.allclose(avg(wg.asarray(x)).numpy(), mean)
    y, where = top(wg.asarray(x))
    assert np.array_equal(y.numpy(), largest)
    found = np.take_along_axis(x.reshape(2, 2, -1), where.numpy().reshape(2, 2, -1), 2)
    assert np.array_equal(found.reshape(y.shape), largest)
    check_derivatives(avg, x, order=1)
    check_derivatives(lambda x: top(x)[0], x, order=1)


def test_adaptive_pool_sizes():
    x = wg.ones((2, 3, 6, 7, 5))
    assert nn.AdaptiveAvgPool3d((2, None, 1))(x).shape == (2, 3, 2, 7, 1)
    assert nn.AdaptiveMaxPool3d(2)(x[0]).shape == (3, 2, 2, 2)
    with pytest.raises(ArgumentError, match=r"output_size must be an integer of at least 1, or 3"):
        nn.AdaptiveAvgPool3d((2, 2))(x)


def test_without_a_batch():
    x = normal(3, 6, 6)
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(4)):
        assert np.allclose(layer(wg.asarray(x)).numpy(), layer(wg.asarray(x[None])).numpy()[0])


def test_vmap_over_pooling():
    x = wg.asarray(normal(4, 2, 3, 6))
    for f in (lambda x: F.max_pool1d(x, 3, 2, 1), lambda x: F.avg_pool1d(x, 2)):
        together = wg.vmap(f)(x).numpy()
        assert np.allclose(together, np.stack([f(row).numpy() for row in x]))


def test_errors():
    x = wg.ones((1, 3, 4, 4))
    model = nn.Sequential(nn.MaxPool2d(5))
    with pytest.raises(ShapeError, match=r"\[max_pool2d at 0\] the window does not fit.*too many"):
        model(x)
    with pytest.raises(ArgumentError, match="padding must be at most half the window"):
        F.max_pool2d(x, 2, padding=2)
    with pytest.raises(ShapeError, match=r"takes \(batch, channels, length\)"):
        F.max_pool1d(x, 2)
    with pytest.raises(ArgumentError, match="kernel_size must be an integer of at least 1, or 2"):
        F.avg_pool2d(x, 0)
    with pytest.raises(ArgumentError, match="divisor_override must not be 0"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(DtypeError, match="takes a floating array"):
        F.max_pool2d(wg.ones((1, 1, 4, 4), dtype=wg.int64), 2)
