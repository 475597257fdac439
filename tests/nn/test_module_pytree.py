"""Modules as pytrees: gradients, updates, ties, frozen parameters, transforms."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from tests.nn.test_module import Pair
from wengert import nn
from wengert.errors import ArgumentError
from wengert.tree import tree_flatten, tree_leaves, tree_map, tree_paths


def test_leaves_are_values_of_trainable_parameters():
    pair = Pair()
    leaves = tree_leaves(pair)
    assert [leaf.tolist() for leaf in leaves] == [[0.0] * 3, [2.0] * 3]
    assert not any(leaf.requires_grad for leaf in leaves)
    assert tree_paths({"model": pair}) == ["['model'].bias", "['model'].first.weight"]
    pair.freeze("first")
    assert len(tree_leaves(pair)) == 1


def test_gradient_of_a_model_is_a_model_of_gradients():
    pair = Pair()
    value, grads = wg.value_and_grad(lambda model: wg.sum(model(wg.ones(3))))(pair)
    assert float(value) == 12.0
    assert type(grads) is Pair
    assert grads.bias.tolist() == [1.0] * 3
    assert grads.first.weight.tolist() == grads.second.weight.tolist() == [4.0] * 3
    assert pair.bias.grad is None
    assert not value.requires_grad
    assert not grads.bias.requires_grad
    assert [n for n, _ in grads.named_parameters()] == ["bias", "first.weight"]


def test_update_by_tree_map():
    pair = Pair()
    model = pair
    for _ in range(3):
        grads = wg.grad(lambda m: wg.sum(m(wg.ones(3)) ** 2))(model)
        model = tree_map(lambda p, g: p - 0.01 * g, model, grads)
    assert type(model) is Pair
    assert model.first.weight is model.second.weight
    assert not any(leaf.requires_grad for leaf in tree_leaves(model))
    assert pair.bias.tolist() == [0.0] * 3
    by_hand = np.array([0.0, 2.0])
    for _ in range(3):
        b, w = by_hand
        by_hand = by_hand - 0.01 * np.array([2 * (w * w + b), 4 * w * (w * w + b)])
    found = [float(model.bias[0]), float(model.first.weight[0])]
    assert np.allclose(found, by_hand, rtol=1e-5)


def test_copies_share_buffers_and_settings():
    pair = Pair()
    copied = tree_map(lambda p: p * 1, pair)
    copied(wg.ones(3))
    assert int(pair.first.calls) == 1
    assert copied.first.calls is pair.first.calls
    copied.eval()
    assert pair.training


def test_equal_values_are_not_taken_for_ties():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    zero = wg.zeros(())
    same = tree_map(lambda p: zero, model)
    assert len(tree_leaves(same)) == 4
    assert len(list(same.named_parameters())) == 4


def test_shared_modules_stay_shared():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    copied = tree_map(lambda p: p + 1, model)
    assert copied[0] is copied[2]
    assert copied[0] is not layer
    assert len(tree_leaves(model)) == 2


def test_structures_compare_by_class_and_places():
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    assert tree_flatten(one)[1] == tree_flatten(two)[1]
    assert hash(tree_flatten(one)[1]) == hash(tree_flatten(two)[1])
    mean = tree_map(lambda a, b: (a + b) / 2, one, two.eval())
    assert np.allclose(mean.bias.numpy(), (one.bias.numpy() + two.bias.numpy()) / 2)
    assert mean.training
    with pytest.raises(ArgumentError, match="different structures"):
        tree_map(lambda a, b: a, one, nn.Linear(2, 2, bias=False))
    with pytest.raises(ArgumentError, match="different structures"):
        tree_map(lambda a, b: a, one, nn.Linear(2, 2).freeze("bias"))


def test_frozen_parameters_are_constants_of_a_copy():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).freeze("0")
    grads = wg.grad(lambda m: wg.sum(m(wg.ones(2))))(model)
    assert grads[0].weight is model[0].weight
    assert grads[1].bias.tolist() == [1.0]


def test_batch_norm_in_a_functional_gradient():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    x = wg.asarray(np.random.default_rng(0).normal(size=(8, 2)))
    grads = wg.grad(lambda m: wg.sum(m(x) ** 2))(model)
    assert grads[1].weight.shape == (3,)
    assert int(model[1].num_batches_tracked) == 1
    assert not model[1].running_mean.requires_grad


def test_an_ensemble_by_vmap():
    models = [nn.Linear(3, 2) for _ in range(4)]
    stacked = tree_map(lambda *ps: wg.stack(ps), *models)
    x = wg.ones((5, 3))
    out = wg.vmap(lambda m, x: m(x), in_axes=(0, None))(stacked, x)
    assert np.allclose(out.numpy(), np.stack([m(x).numpy() for m in models]), atol=1e-6)


def test_forward_and_second_order_in_a_model():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    x = wg.asarray(np.random.default_rng(1).normal(size=(4, 2)))
    loss = lambda m: wg.mean(m(x) ** 2)
    direction = tree_map(wg.ones_like, model)
    grads = wg.grad(loss)(model)
    _, slope = wg.jvp(loss, (model,), (direction,))
    total = sum(float(wg.sum(g)) for g in tree_leaves(grads))
    assert np.isclose(float(slope), total)
    curved = wg.grad(lambda m: sum(wg.sum(g) for g in tree_leaves(wg.grad(loss)(m))))(model)
    step = 1e-5
    moved = [tree_map(lambda p, s=s: p + s * step, model) for s in (1, -1)]
    up, down = (tree_leaves(wg.grad(loss)(m)) for m in moved)
    for c, a, b in zip(tree_leaves(curved), up, down, strict=True):
        assert np.allclose(c.numpy(), (a.numpy() - b.numpy()) / (2 * step), atol=1e-8)


def test_load_back_from_a_functional_copy():
    model = nn.Linear(2, 1)
    better = tree_map(lambda p: p + 1, model)
    weight = model.weight
    before = weight.numpy().copy()
    model.load_state_dict(better.state_dict())
    assert model.weight is weight
    assert np.allclose(weight.numpy(), before + 1)
