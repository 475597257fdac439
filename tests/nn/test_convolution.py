"""Convolutions against sums entry by entry, transposed ones as transposes, patches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.nn.derivatives import check_derivatives, check_module
from wengert import nn
from wengert.errors import ArgumentError, DtypeError, ShapeError
from wengert.nn import functional as F


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def direct_conv(x: Any, w: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """y[n,f,o] = Σ x[n, c, s·o + d·k − p]·w[f,c,k], entry by entry."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    count = len(stride)
    out = tuple(
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    )
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_in, per_out = w.shape[1], w.shape[0] // groups
    for f in range(w.shape[0]):
        first = f // per_out * per_in
        for o, k in itertools.product(np.ndindex(out), np.ndindex(w.shape[2:])):
            at = tuple(stride[a] * o[a] + dilation[a] * k[a] for a in range(count))
            values = x[(slice(None), slice(first, first + per_in), *at)]
            y[(slice(None), f, *o)] += values @ w[(f, slice(None), *k)]
    return y


CONVS = [
    (1, {"kernel_size": 3}),
    (1, {"kernel_size": 2, "stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
    (2, {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
    (2, {"kernel_size": 3, "groups": 4, "padding": 1}),
    (3, {"kernel_size": 2, "padding": 1, "stride": 2}),
]


@pytest.mark.parametrize(("count", "options"), CONVS)
def test_conv(count, options):
    layer = getattr(nn, f"Conv{count}d")(4, 8, **options).double()
    x = normal(2, 4, *(5, 6, 4)[:count])
    y = direct_conv(
        x, layer.weight.numpy(), layer.stride, layer.padding, layer.dilation, layer.groups
    )
    y = y + layer.bias.numpy().reshape(-1, *(1,) * count)
    assert np.allclose(layer(wg.asarray(x)).numpy(), y)
    assert np.allclose(layer(wg.asarray(x[0])).numpy(), y[0])
    check_module(layer, x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_conv_padding_modes(mode):
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    layer = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode).double()
    x = normal(1, 2, 4, 5)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)), mode=names[mode])
    y = direct_conv(padded, layer.weight.numpy(), (1, 1), (0, 0), (1, 1), 1)
    y = y + layer.bias.numpy().reshape(-1, 1, 1)
    assert np.allclose(layer(wg.asarray(x)).numpy(), y)
    check_module(layer, x, order=1)
    assert "padding_mode" in repr(layer)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, (3, 2)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_conv_same_keeps_the_size_with_the_odd_zero_behind(kernel, dilation):
    layer = nn.Conv2d(1, 1, kernel, padding="same", dilation=dilation, bias=False).double()
    x = normal(1, 1, 6, 7)
    y = layer(wg.asarray(x))
    assert y.shape == x.shape
    total = [dilation * (k - 1) for k in layer.kernel_size]
    padded = np.pad(x[0, 0], [(t // 2, t - t // 2) for t in total])[None, None]
    expected = direct_conv(padded, layer.weight.numpy(), (1, 1), (0, 0), layer.dilation, 1)
    assert np.allclose(y.numpy(), expected)


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (1, {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}),
        (1, {"kernel_size": 2, "stride": 2, "output_padding": 1}),
        (2, {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "groups": 2}),
        (2, {"kernel_size": 1, "dilation": 3, "output_padding": 2}),
        (3, {"kernel_size": 2, "stride": 2}),
    ],
)
def test_conv_transpose_is_the_transpose(count, options):
    layer = getattr(nn, f"ConvTranspose{count}d")(4, 6, bias=False, **options).double()
    x = normal(2, 4, *(3, 4, 2)[:count])
    y = layer(wg.asarray(x)).numpy()
    # ⟨convT(x), z⟩ = ⟨x, conv(z)⟩ for every z, with the same weights
    z = normal(*y.shape, seed=1)
    conv = direct_conv(
        z, layer.weight.numpy(), layer.stride, layer.padding, layer.dilation, layer.groups
    )
    inside = (slice(None), slice(None), *(slice(n) for n in x.shape[2:]))
    assert np.isclose(np.sum(y * z), np.sum(x * conv[inside]))
    sizes = [
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, s, p, d, k, e in zip(
            x.shape[2:],
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.kernel_size,
            layer.output_padding,
            strict=True,
        )
    ]
    assert list(y.shape[2:]) == sizes
    check_module(layer, x)


def test_conv_transpose_output_size():
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = wg.ones((1, 2, 4, 5))
    assert layer(x).shape == (1, 3, 7, 9)
    assert layer(x, output_size=(8, 9)).shape == (1, 3, 8, 9)
    assert layer(x, output_size=(1, 3, 7, 10)).shape == (1, 3, 7, 10)
    with pytest.raises(ShapeError, match=r"cannot come from the input; got \(9, 9\).*\(7, 9\)"):
        layer(x, output_size=(9, 9))


def test_conv_errors():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ShapeError, match=r"\[Conv2d at 0\] expects 3 channels.*channels last"):
        model(wg.ones((1, 8, 8, 3)))
    with pytest.raises(ShapeError, match=r"\[conv2d at 0\] takes \(batch, channels, height"):
        model(wg.ones((1, 1, 3, 8, 8)))
    with pytest.raises(ShapeError, match="window does not fit"):
        model(wg.ones((1, 3, 2, 8)))
    with pytest.raises(DtypeError, match=r"takes a floating array.*integer pixels"):
        model(wg.ones((1, 3, 8, 8), dtype=wg.uint8))
    with pytest.raises(ArgumentError, match=r"\[Conv2d\] the groups must divide"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match="padding='same' needs a stride of 1"):
        nn.Conv2d(3, 4, 3, padding="same", stride=2)
    with pytest.raises(ArgumentError, match="unknown padding; got 'full'"):
        nn.Conv2d(3, 4, 3, padding="full")
    with pytest.raises(ArgumentError, match="unknown padding_mode"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(ArgumentError, match="kernel_size must be an integer of at least 1, or 2"):
        nn.Conv2d(3, 4, (1, 2, 3))
    with pytest.raises(ArgumentError, match="takes padding_mode 'zeros' only"):
        nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect")
    with pytest.raises(ArgumentError, match="output_padding must be smaller"):
        nn.ConvTranspose2d(3, 4, 3, stride=2, output_padding=2)(wg.ones((1, 3, 4, 4)))
    with pytest.raises(ShapeError, match="the padding leaves nothing"):
        nn.ConvTranspose1d(1, 1, 1, padding=2)(wg.ones((1, 1, 4)))
    with pytest.raises(ShapeError, match="the weight must have 4 axes"):
        F.conv2d(wg.ones((1, 3, 8, 8)), wg.ones((3, 3)))


def test_unfold_and_fold_are_transposes():
    unfold = nn.Unfold((2, 3), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
    x = normal(2, 3, 5, 6)
    columns = unfold(wg.asarray(x)).numpy()
    assert columns.shape == (2, 18, 6)
    # place (1, 1): rows 1 and 2 (padding 1), columns 1, 3 and 5
    assert np.array_equal(columns[0, :6, 3], x[0, 0][np.ix_([1, 2], [1, 3, 5])].reshape(-1))
    fold = nn.Fold((5, 6), (2, 3), dilation=(1, 2), padding=(1, 0), stride=(2, 1))
    z = normal(2, 18, 6, seed=1)
    assert np.isclose(np.sum(columns * z), np.sum(x * fold(wg.asarray(z)).numpy()))
    assert fold(wg.asarray(z[0])).shape == (3, 5, 6)
    check_derivatives(unfold, x, order=1)
    check_derivatives(fold, z, order=1)
    with pytest.raises(ShapeError, match=r"\[fold\] expects columns"):
        fold(wg.ones((2, 18, 7)))
