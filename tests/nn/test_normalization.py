"""Normalisation layers against their formulas, and batch statistics over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.nn.derivatives import check_derivatives, check_module
from wengert import nn
from wengert.errors import ArgumentError, ShapeError, TraceError
from wengert.nn import functional as F


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(1.0, 2.0, size=shape)


def standardized(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def with_random_weights(layer: nn.Module) -> nn.Module:
    rng = np.random.default_rng(7)
    for p in layer.double().parameters():
        p.assign(rng.normal(size=p.shape))
    return layer


def column(p: Any, ndim: int) -> Any:
    return p.numpy().reshape(1, -1, *(1,) * (ndim - 2))


BATCH = [
    (nn.BatchNorm1d, (6, 3)),
    (nn.BatchNorm1d, (4, 3, 5)),
    (nn.BatchNorm2d, (4, 3, 2, 5)),
    (nn.BatchNorm3d, (2, 3, 2, 2, 2)),
]


@pytest.mark.parametrize(("kind", "shape"), BATCH)
def test_batch_norm_in_training(kind, shape):
    layer = with_random_weights(kind(3))
    x = normal(*shape)
    axes = (0, *range(2, x.ndim))
    expected = standardized(x, axes) * column(layer.weight, x.ndim) + column(layer.bias, x.ndim)
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    count = x.size // 3
    assert np.allclose(layer.running_mean.numpy(), 0.1 * x.mean(axes))
    assert np.allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(axes) * count / (count - 1))
    assert int(layer.num_batches_tracked) == 1
    check_module(layer, x)


@pytest.mark.parametrize(("kind", "shape"), BATCH)
def test_batch_norm_in_evaluation(kind, shape):
    layer = with_random_weights(kind(3)).eval()
    layer.running_mean.assign(wg.asarray([1.0, 2.0, 3.0]))
    layer.running_var.assign(wg.asarray([4.0, 1.0, 0.25]))
    x = normal(*shape)
    mean, var = column(layer.running_mean, x.ndim), column(layer.running_var, x.ndim)
    expected = (x - mean) / np.sqrt(var + 1e-5) * column(layer.weight, x.ndim)
    expected = expected + column(layer.bias, x.ndim)
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    assert int(layer.num_batches_tracked) == 0
    check_module(layer, x)


def test_batch_norm_cumulative_average():
    layer = nn.BatchNorm1d(2, momentum=None).double()
    batches = [normal(5, 2, seed=i) for i in range(4)]
    for x in batches:
        layer(wg.asarray(x))
    assert np.allclose(layer.running_mean.numpy(), np.mean([x.mean(0) for x in batches], 0))
    assert np.allclose(layer.running_var.numpy(), np.mean([x.var(0, ddof=1) for x in batches], 0))
    assert int(layer.num_batches_tracked) == 4
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert int(layer.num_batches_tracked) == 0


def test_batch_norm_without_statistics_or_weights():
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False).double().eval()
    x = normal(5, 3)
    assert np.allclose(layer(wg.asarray(x)).numpy(), standardized(x, 0))
    assert list(layer.state_dict()) == []
    assert repr(layer).endswith("affine=False, track_running_stats=False)")


def test_batch_norm_names():
    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(nn.BatchNorm2d(3).state_dict()) == names


def test_batch_norm_is_untouched_by_a_trace():
    layer = nn.BatchNorm1d(3)
    graph = wg.trace(layer, wg.ones((4, 3)))
    assert len(graph.writes) == 3
    assert layer.running_mean.tolist() == [0.0] * 3
    assert int(layer.num_batches_tracked) == 0
    with pytest.raises(TraceError, match=r"differs along the mapped axis.*batch normalisation"):
        wg.vmap(layer)(wg.ones((2, 4, 3)))
    assert wg.vmap(layer.eval())(wg.ones((2, 4, 3))).shape == (2, 4, 3)


def test_batch_norm_errors():
    model = nn.Sequential(nn.BatchNorm2d(3))
    with pytest.raises(ShapeError, match=r"\[BatchNorm2d at 0\] expects 3 channels; got 8"):
        model(wg.ones((2, 8, 8, 3)))
    with pytest.raises(ShapeError, match=r"takes \(batch, channels, height, width\)"):
        model(wg.ones((2, 3, 8)))
    with pytest.raises(ShapeError, match=r"more than one value per channel.*drop_last"):
        nn.BatchNorm1d(3)(wg.ones((1, 3)))
    with pytest.raises(ArgumentError, match="momentum lies from 0 to 1"):
        nn.BatchNorm1d(3, momentum=2.0)
    with pytest.raises(ArgumentError, match="without training it needs running statistics"):
        F.batch_norm(wg.ones((2, 3)), None, None)
    with pytest.raises(ArgumentError, match="must be Variables"):
        F.batch_norm(wg.ones((2, 3)), wg.zeros(3), wg.ones(3), training=True)
    with pytest.raises(ShapeError, match=r"takes \(batch, channels, …\)"):
        F.batch_norm(wg.ones(3), None, None, training=True)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.InstanceNorm1d, (2, 3, 5)),
        (nn.InstanceNorm2d, (2, 3, 4, 2)),
        (nn.InstanceNorm3d, (2, 3, 2, 2, 3)),
    ],
)
def test_instance_norm(kind, shape):
    x = normal(*shape)
    axes = tuple(range(2, x.ndim))
    plain = kind(3)
    assert list(plain.state_dict()) == []
    assert np.allclose(plain(wg.asarray(x)).numpy(), standardized(x, axes))
    assert np.allclose(plain(wg.asarray(x[0])).numpy(), standardized(x, axes)[0])
    layer = with_random_weights(kind(3, affine=True, track_running_stats=True))
    expected = standardized(x, axes) * column(layer.weight, x.ndim) + column(layer.bias, x.ndim)
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    assert np.allclose(layer.running_mean.numpy(), 0.1 * x.mean(axes).mean(0))
    assert np.allclose(layer.running_var.numpy(), 0.9 + 0.1 * x.var(axes, ddof=1).mean(0))
    check_module(layer, x)
    mean, var = column(layer.running_mean, x.ndim), column(layer.running_var, x.ndim)
    expected = (x - mean) / np.sqrt(var + 1e-5)
    expected = expected * column(layer.weight, x.ndim) + column(layer.bias, x.ndim)
    assert np.allclose(layer.eval()(wg.asarray(x)).numpy(), expected)


def test_instance_norm_errors():
    with pytest.raises(ShapeError, match="more than one spatial element"):
        nn.InstanceNorm1d(3)(wg.ones((2, 3, 1)))
    with pytest.raises(ShapeError, match="expects 3 channels"):
        nn.InstanceNorm1d(3)(wg.ones((2, 4, 5)))


@pytest.mark.parametrize("shape", [4, (4,), [3, 4], (2, 3, 4)])
def test_layer_norm(shape):
    layer = with_random_weights(nn.LayerNorm(shape))
    x = normal(2, 3, 4)
    axes = tuple(range(3 - len(layer.normalized_shape), 3))
    expected = standardized(x, axes) * layer.weight.numpy() + layer.bias.numpy()
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_module(layer, x)


def test_layer_norm_options_and_errors():
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(4, elementwise_affine=False).state_dict()) == []
    model = nn.Sequential(nn.LayerNorm(4))
    with pytest.raises(ShapeError, match=r"\[layer_norm at 0\] expects the last axes to be \(4,\)"):
        model(wg.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"the weight must be of shape \(3,\)"):
        F.layer_norm(wg.ones(3), 3, weight=wg.ones(1))


@pytest.mark.parametrize("eps", [None, 0.1])
def test_rms_norm(eps):
    layer = with_random_weights(nn.RMSNorm(4, eps=eps))
    x = normal(2, 3, 4)
    used = np.finfo(np.float64).eps if eps is None else eps
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + used) * layer.weight.numpy()
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_module(layer, x)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (3, 6, 2, 3)])
def test_group_norm(groups, shape):
    layer = with_random_weights(nn.GroupNorm(groups, 6))
    x = normal(*shape)
    grouped = x.reshape(shape[0], groups, -1)
    expected = standardized(grouped, 2).reshape(shape)
    expected = expected * column(layer.weight, x.ndim) + column(layer.bias, x.ndim)
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_module(layer, x)


def test_group_norm_errors():
    with pytest.raises(ArgumentError, match=r"\[GroupNorm\] the groups must divide the channels"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ShapeError, match=r"expects \(batch, 6, …\)"):
        nn.GroupNorm(2, 6)(wg.ones((2, 5, 6)))
    with pytest.raises(ShapeError, match="groups must divide the channels"):
        F.group_norm(wg.ones((2, 5)), 2)


def test_local_response_norm():
    layer = nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=1.5)
    x = normal(2, 5, 3)
    expected = np.empty_like(x)
    for c in range(5):
        near = (x[:, max(c - 1, 0) : c + 2] ** 2).sum(1) / 3
        expected[:, c] = x[:, c] / (1.5 + 0.5 * near) ** 0.6
    assert np.allclose(layer(wg.asarray(x)).numpy(), expected)
    check_derivatives(layer, x)
    with pytest.raises(ShapeError, match=r"takes \(batch, channels, \*spatial\)"):
        layer(wg.ones((2, 5)))


def test_normalize():
    x = normal(3, 4)
    assert np.allclose(
        F.normalize(wg.asarray(x)).numpy(), x / np.linalg.norm(x, axis=1, keepdims=True)
    )
    expected = x / np.abs(x).sum(0, keepdims=True)
    assert np.allclose(F.normalize(wg.asarray(x), p=1.0, dim=0).numpy(), expected)
    check_derivatives(F.normalize, x)
    zero = wg.zeros((1, 3)).requires_grad_()
    F.normalize(zero).sum().backward()
    assert np.isfinite(zero.grad.numpy()).all()


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    x = wg.astype(wg.asarray(100 + normal(4, 64)), dtype)
    expected = standardized(x.numpy().astype(np.float64), -1)
    for layer in (nn.LayerNorm(64, dtype=dtype), nn.LayerNorm(64, elementwise_affine=False)):
        y = layer(x)
        assert y.dtype == dtype
        assert np.abs(y.numpy().astype(np.float64) - expected).max() < 0.03


def test_a_layer_norm_keeps_one_array():
    graph = wg.Graph.of(nn.LayerNorm(4)(wg.ones((2, 4)).requires_grad_()))
    names = [n.op.name for n in graph if n.parents]
    assert names == ["standardize", "pick", "mul", "add"]
    kept = next(n for n in graph if n.op.name == "standardize")
    assert kept.saved == (None,)
