"""Layers: values against direct sums, derivatives against differences, errors, first values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.nn.derivatives import check_derivatives, check_module
from wengert import nn
from wengert.errors import ArgumentError, BoundsError, DtypeError, ShapeError
from wengert.nn import functional as F


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


# -- linear --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (5,), (2, 0), (2, 3, 4)])
def test_linear(lead):
    layer = nn.Linear(3, 2).double()
    x = normal(*lead, 3)
    expected = x @ layer.weight.numpy().T + layer.bias.numpy()
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_module(layer, x)


def test_linear_is_two_nodes():
    layer = nn.Linear(3, 2)
    graph = wg.Graph.of(layer(wg.ones((4, 3))))
    assert [n.op.name for n in graph if n.parents] == ["contract", "add"]


def test_linear_without_bias_and_errors():
    layer = nn.Linear(3, 2, bias=False)
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(in_features=3, out_features=2, bias=False)"
    with pytest.raises(ShapeError, match=r"\[linear\] expects 3 features.*float32\[2,4\]"):
        layer(wg.ones((2, 4)))
    with pytest.raises(ShapeError, match="expects 3 features"):
        layer(wg.asarray(1.0))
    for size in (2.5, -1, "2", None):
        message = r"in_features must be an integer of at least 0; got .*fix: pass an integer\n"
        with pytest.raises(ArgumentError, match=message):
            wg.nn.Linear(size, 2)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"\[Linear\] in_features must be an integer"):
        nn.Linear(-1, 2)
    with pytest.raises(ShapeError, match="the weight must be a matrix"):
        F.linear(wg.ones(2), wg.ones(2))


def test_linear_promotes():
    layer = nn.Linear(3, 2)
    assert layer(wg.ones(3, dtype=wg.float64)).dtype == wg.float64
    assert layer(wg.asarray([1, 2, 3])).dtype == wg.float32
    assert nn.Linear(3, 2, dtype=wg.float16)(wg.ones(3, dtype=wg.float16)).dtype == wg.float16


def test_bilinear():
    layer = nn.Bilinear(3, 4, 2).double()
    x, y = normal(5, 3), normal(5, 4, seed=1)
    expected = np.einsum("ni,kij,nj->nk", x, layer.weight.numpy(), y) + layer.bias.numpy()
    assert np.allclose(layer(wg.asarray(x), wg.asarray(y)).numpy(), expected)
    check_module(layer, x, y)
    with pytest.raises(ShapeError, match=r"\[bilinear\] expects"):
        layer(wg.asarray(y), wg.asarray(x))


def test_shape_layers():
    x = wg.asarray(normal(2, 3, 4, 5))
    assert nn.Identity(1, unused=2)(x) is x
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Unflatten(-1, (5, -1))(x).shape == (2, 3, 4, 5, 1)
    assert nn.Unflatten(1, (3, 1))(x).shape == (2, 3, 1, 4, 5)
    with pytest.raises(ShapeError, match=r"axis 1 cannot be split into \(2, 2\)"):
        nn.Unflatten(1, (2, 2))(x)
    with pytest.raises(ShapeError, match="there is no axis 4"):
        nn.Unflatten(4, (2, 2))(x)


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Linear(400, 300), 400),
        (nn.Conv2d(8, 64, 5), 200),
        (nn.Conv1d(8, 128, 5, groups=2), 20),
        (nn.ConvTranspose2d(64, 16, 5, groups=2), 200),
        (nn.Bilinear(100, 20, 10), 100),
    ],
)
def test_first_values_are_uniform(layer, fan_in):
    bound = 1 / math.sqrt(fan_in)
    for p in layer.parameters():
        values = p.numpy().reshape(-1)
        assert np.abs(values).max() <= bound
        assert abs(values.mean()) < 5 * bound / math.sqrt(3 * values.size)
        assert np.abs(values).max() > bound * (1 - 10 / values.size)


# -- embedding -----------------------------------------------------------------------------------


def test_embedding():
    layer = nn.Embedding(7, 3).double()
    index = np.array([[1, 6], [1, 0]])
    assert np.array_equal(layer(wg.asarray(index)).numpy(), layer.weight.numpy()[index])
    layer(wg.asarray(index)).sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [1, 2, 0, 0, 0, 0, 1]
    check_derivatives(lambda w: F.embedding(wg.asarray(index), w), normal(7, 3))
    assert layer(wg.zeros((0,), dtype=wg.int64)).shape == (0, 3)


def test_embedding_padding():
    layer = nn.Embedding(5, 2, padding_idx=-2)
    assert layer.padding_idx == 3
    assert layer.weight.numpy()[3].tolist() == [0.0, 0.0]
    layer(wg.asarray([3, 1, 3])).sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 1, 0, 0, 0]


def test_embedding_max_norm_shortens_rows_that_are_looked_up():
    table = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
    layer = nn.Embedding.from_pretrained(table, max_norm=1.0)
    out = layer(wg.asarray([0, 1, 0]))
    assert np.allclose(out.numpy(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], atol=1e-6)
    assert np.allclose(layer.weight.numpy()[2], [6.0, 8.0])
    assert not layer.weight.requires_grad
    with pytest.raises(ArgumentError, match="must be a Parameter or a Variable"):
        F.embedding([0], table, max_norm=1.0)


def test_embedding_errors():
    layer = nn.Embedding(5, 2)
    with pytest.raises(BoundsError, match=r"index 5 is not a row.*from 0 to 5 for 5 rows.*=6"):
        layer(wg.asarray([0, 5]))
    with pytest.raises(
        BoundsError, match=r"index -1 is not a row.*padding; fix: use indices from 0 to 4\n"
    ):
        layer(wg.asarray([-1]))
    with pytest.raises(DtypeError, match="indices must be integers"):
        layer(wg.ones(2))
    with pytest.raises(ArgumentError, match="padding_idx is not a row"):
        nn.Embedding(5, 2, padding_idx=5)
    with pytest.raises(ArgumentError, match="scale_grad_by_freq is not offered"):
        nn.Embedding(5, 2, scale_grad_by_freq=True)
    with pytest.raises(ShapeError, match="the table must be a matrix"):
        nn.Embedding.from_pretrained(wg.ones(3))


# -- dropout -------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean():
    wg.manual_seed(0)
    layer = nn.Dropout(0.25)
    y = layer(wg.ones(100_000)).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.005
    x = wg.ones(3)
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).tolist() == [0.0, 0.0, 0.0]
    assert nn.Dropout(0.0)(x) is x


def test_dropout_gradient_uses_the_same_mask():
    wg.manual_seed(1)
    x = wg.ones(50).requires_grad_()
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())


def test_dropout_is_repeatable():
    wg.manual_seed(3)
    first = F.dropout(wg.ones(20)).tolist()
    wg.manual_seed(3)
    assert F.dropout(wg.ones(20)).tolist() == first
    generator = wg.random.Generator(3)
    assert F.dropout(wg.ones(20), generator=generator).shape == (20,)


@pytest.mark.parametrize(
    ("layer", "shape", "lead"),
    [
        (nn.Dropout1d(), (3, 40, 5), 2),
        (nn.Dropout1d(), (40, 5), 1),
        (nn.Dropout2d(), (3, 40, 5, 2), 2),
        (nn.Dropout2d(), (3, 40, 5), 2),
        (nn.Dropout3d(), (3, 40, 5, 2, 2), 2),
        (nn.Dropout3d(), (40, 5, 2, 2), 1),
    ],
)
def test_channel_dropout(layer, shape, lead):
    wg.manual_seed(0)
    y = layer(wg.ones(shape)).numpy().reshape(*shape[:lead], -1)
    assert np.array_equal(y, np.broadcast_to(y[..., :1], y.shape))
    assert set(np.unique(y)) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance():
    wg.manual_seed(0)
    x = wg.random.normal(shape=(200_000,))
    y = nn.AlphaDropout(0.3)(x).numpy()
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02
    z = nn.FeatureAlphaDropout(0.3)(wg.ones((4, 50, 6))).numpy()
    assert np.array_equal(z, np.broadcast_to(z[..., :1], z.shape))
    assert len(np.unique(z)) == 2
    assert nn.AlphaDropout(1.0)(x).numpy().any() == np.False_


def test_dropout_errors():
    with pytest.raises(ArgumentError, match=r"\[Dropout\] p is the probability.*1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ShapeError, match=r"\[dropout2d\] takes 3 or 4 axes"):
        nn.Dropout2d()(wg.ones((2, 2)))
    with pytest.raises(DtypeError, match="takes a floating array"):
        nn.Dropout()(wg.asarray([1, 2]))


# -- padding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("ZeroPad", "constant"),
        ("ReflectionPad", "reflect"),
        ("ReplicationPad", "edge"),
        ("CircularPad", "wrap"),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_padding(name, mode, count):
    x = normal(2, 3, *(4, 5, 3)[:count])
    widths = (1, 2, 0, 1, 2, 1)[: 2 * count]
    layer = getattr(nn, f"{name}{count}d")(widths)
    pairs = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    expected = np.pad(x, [(0, 0), (0, 0), *pairs], mode=mode)
    assert np.array_equal(layer(wg.asarray(x)).numpy(), expected)
    assert np.array_equal(layer(wg.asarray(x[0])).numpy(), expected[0])
    check_derivatives(layer, x)


def test_padding_with_a_constant_and_cutting_off():
    x = wg.asarray([[1.0, 2.0, 3.0]])
    assert nn.ConstantPad1d((1, -1), 9.0)(x).tolist() == [[9.0, 1.0, 2.0]]
    assert F.pad(x, (0, 0, 1, 0), value=5.0).tolist() == [[5.0] * 3, [1.0, 2.0, 3.0]]
    assert F.pad(x, (-1, -1)).tolist() == [[2.0]]
    assert F.pad(x, (0, 0)) is x
    assert F.pad(x, (-1, 2), mode="circular").tolist() == [[2.0, 3.0, 2.0, 3.0]]
    assert nn.ZeroPad2d(1)(wg.ones((1, 1, 1))).shape == (1, 3, 3)


def test_padding_errors():
    x = wg.ones((1, 2, 4))
    with pytest.raises(ShapeError, match="mode 'reflect' can add at most 3 to an axis of size 4"):
        nn.ReflectionPad1d(4)(x)
    with pytest.raises(ShapeError, match="mode 'circular' can add at most 4"):
        nn.CircularPad1d(5)(x)
    with pytest.raises(ShapeError, match=r"\[ReflectionPad1d\] takes 2 or 3 axes"):
        nn.ReflectionPad1d(1)(wg.ones(4))
    with pytest.raises(ArgumentError, match="padding must be an integer, or 4 of them"):
        nn.ZeroPad2d((1, 2))
    with pytest.raises(ArgumentError, match="unknown mode; got 'mirror'"):
        F.pad(x, (1, 1), mode="mirror")
    with pytest.raises(ArgumentError, match="pad must be pairs"):
        F.pad(x, (1, 1, 1))
    with pytest.raises(ArgumentError, match="more pairs than the array has axes"):
        F.pad(x, (1,) * 8)
    with pytest.raises(ShapeError, match="more is cut off"):
        F.pad(x, (-3, -2))
    with pytest.raises(ArgumentError, match="only mode 'constant' takes a value"):
        F.pad(x, (1, 1), mode="reflect", value=1.0)


# -- resizing ------------------------------------------------------------------------------------


def test_upsample_nearest():
    x = wg.asarray([[[1.0, 2.0, 3.0]]])
    assert nn.Upsample(scale_factor=2)(x).tolist() == [[[1, 1, 2, 2, 3, 3]]]
    assert nn.Upsample(size=2)(x).tolist() == [[[1, 2]]]
    assert nn.Upsample(size=2, mode="nearest-exact")(x).tolist() == [[[1, 3]]]
    image = wg.asarray(normal(2, 3, 4, 5))
    assert np.array_equal(
        nn.UpsamplingNearest2d(scale_factor=(2, 3))(image).numpy(),
        image.numpy().repeat(2, 2).repeat(3, 3),
    )


def test_upsample_linear():
    x = wg.asarray([[[0.0, 4.0, 8.0]]])
    assert nn.Upsample(scale_factor=2, mode="linear")(x).tolist() == [[[0, 1, 3, 5, 7, 8]]]
    aligned = nn.Upsample(size=5, mode="linear", align_corners=True)
    assert aligned(x).tolist() == [[[0, 2, 4, 6, 8]]]
    rows, columns = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    plane = wg.asarray((2 * rows - columns)[None, None])
    found = nn.UpsamplingBilinear2d(size=(5, 7))(plane).numpy()
    rows, columns = np.meshgrid(np.linspace(0, 2, 5), np.linspace(0, 3, 7), indexing="ij")
    assert np.allclose(found[0, 0], 2 * rows - columns)


def test_upsample_bicubic():
    # PyTorch 2.13: interpolate([0, 1, 4, 9], size=6, mode="bicubic"), one row
    x = wg.asarray(np.array([[[[0.0, 1.0, 4.0, 9.0]]]]))
    found = F.interpolate(x, size=(1, 6), mode="bicubic").numpy()[0, 0, 0]
    expected = [-0.08680555555555536, 0.21875, 1.430555555555559]
    expected += [3.1527777777777795, 6.78125, 9.43402777777778]
    assert np.allclose(found, expected, atol=1e-12)
    aligned = F.interpolate(x, size=(1, 4), mode="bicubic", align_corners=True)
    assert np.allclose(aligned.numpy(), x.numpy())


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("nearest", (2, 2, 5)),
        ("linear", (2, 2, 5)),
        ("bilinear", (1, 2, 3, 4)),
        ("trilinear", (1, 1, 2, 3, 4)),
        ("bicubic", (1, 1, 4, 5)),
        ("area", (1, 2, 4, 6)),
    ],
)
@pytest.mark.parametrize("factor", [2, 0.5])
def test_upsample_derivatives(mode, shape, factor):
    check_derivatives(lambda x: F.interpolate(x, scale_factor=factor, mode=mode), normal(*shape))


def test_pixel_shuffle():
    x = np.arange(16.0).reshape(1, 4, 2, 2)
    y = nn.PixelShuffle(2)(wg.asarray(x))
    assert y[0, 0].tolist() == [[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]]
    assert np.array_equal(nn.PixelUnshuffle(2)(y).numpy(), x)
    check_derivatives(nn.PixelShuffle(2), normal(2, 8, 3, 2), order=1)


def test_resizing_errors():
    x = wg.ones((1, 2, 4))
    with pytest.raises(ArgumentError, match="either size or scale_factor"):
        nn.Upsample()(x)
    with pytest.raises(ArgumentError, match="unknown mode; got 'cubic'"):
        F.interpolate(x, 2, mode="cubic")
    with pytest.raises(ShapeError, match="mode 'bilinear' takes 4 axes"):
        F.interpolate(x, 2, mode="bilinear")
    with pytest.raises(ArgumentError, match="align_corners has a meaning"):
        F.interpolate(x, 2, align_corners=True)
    with pytest.raises(ArgumentError, match="scale_factor must be a positive number, or 1"):
        F.interpolate(x, scale_factor=(1, 2))
    with pytest.raises(ShapeError, match=r"divisible by 2² = 4"):
        nn.PixelShuffle(2)(wg.ones((1, 6, 2, 2)))
    with pytest.raises(ShapeError, match="height and width must be divisible by 2"):
        nn.PixelUnshuffle(2)(wg.ones((1, 1, 3, 2)))
