"""Sequential, lists, dicts and residual connections."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.errors import ArgumentError, BoundsError, DtypeError
from wengert.tree import tree_map


def test_sequential_runs_in_order_with_names():
    model = nn.Sequential({"twice": Times(2.0), "shift": Plus(1.0)})
    assert float(model(wg.asarray(3.0))) == 7.0
    assert [name for name, _ in model.named_children()] == ["twice", "shift"]
    assert model[0] is model.twice
    assert model[-1] is model.shift


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class Plus(nn.Module):
    def __init__(self, term: float) -> None:
        super().__init__()
        self.term = term

    def forward(self, x):
        return x + self.term


def test_sequential_slices_keep_names_and_mode():
    layers = [Times(float(i)) for i in range(4)]
    model = nn.Sequential(*layers).eval()
    part = model[1:3]
    assert [name for name, _ in part.named_children()] == ["1", "2"]
    assert list(part) == layers[1:3]
    assert not part.training
    assert len(model) == 4
    assert layers[0] in model
    assert bool(nn.Sequential())


def test_sequential_editing():
    a, b, c = Times(1.0), Times(2.0), Times(3.0)
    model = nn.Sequential(a)
    assert model.append(c) is model
    model.insert(1, b)
    assert list(model) == [a, b, c]
    assert model.pop(0) is a
    del model[0]
    assert list(model) == [c]
    model.extend([a, b])
    model[1] = c
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]
    with pytest.raises(BoundsError, match=r"\[Sequential\] no part has this number; got 3 of 3"):
        model[3]


def test_module_list():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers += [nn.Linear(2, 1)]
    layers.append(nn.Linear(1, 1))
    assert [name for name, _ in layers.named_parameters()][-2:] == ["2.weight", "2.bias"]
    assert isinstance(layers[:2], nn.ModuleList)
    assert len(layers[1:]) == 2
    with pytest.raises(ArgumentError, match="does not say what it computes"):
        layers(wg.ones(2))
    with pytest.raises(DtypeError, match="is not a module"):
        layers.append(wg.ones(2))


def test_module_dict():
    heads = nn.ModuleDict({"a": Times(1.0)})
    heads["b"] = Times(2.0)
    heads.update([("c", Times(3.0))])
    assert list(heads) == heads.keys() == ["a", "b", "c"]
    assert "b" in heads
    assert len(heads) == 3
    assert float(heads["c"](1.0)) == 3.0
    assert heads.pop("a").factor == 1.0
    del heads["b"]
    assert [key for key, _ in heads.items()] == ["c"]
    assert [m.factor for m in heads.values()] == [3.0]
    with pytest.raises(BoundsError, match=r"no part has this name; got 'z'; fix: it has: c"):
        heads["z"]
    heads.clear()
    assert not list(heads)


def test_parameter_containers():
    scales = nn.ParameterList([wg.ones(2), nn.Parameter(wg.zeros(3))])
    scales.append(np.ones((1, 2)))
    assert all(isinstance(p, nn.Parameter) for p in scales)
    assert [name for name, _ in scales.named_parameters()] == ["0", "1", "2"]
    constants = nn.ParameterDict({"g": 9.81})
    constants["m"] = wg.ones(2)
    assert list(constants.state_dict()) == ["g", "m"]
    assert float(constants["g"]) == pytest.approx(9.81)
    assert repr(scales) == "ParameterList((2,), (3,), (1, 2))"
    assert repr(constants) == "ParameterDict(g: (), m: (2,))"


def test_containers_are_pytrees():
    model = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(2, 2)), "b": nn.ParameterList([wg.ones(2)])}
    )
    grads = wg.grad(lambda m: wg.sum(m["a"](wg.ones(2)) * m["b"][0]))(model)
    assert grads["b"][0].shape == (2,)
    assert np.allclose(grads["a"][0].bias.numpy(), 1.0)
    moved = tree_map(lambda p, g: p - g, model, grads)
    assert len(moved["a"]) == 1


def test_residual():
    x = wg.asarray([1.0, 2.0])
    assert nn.Residual(Times(3.0))(x).tolist() == [4.0, 8.0]
    assert nn.Residual(Times(3.0), shortcut=Plus(1.0))(x).tolist() == [5.0, 9.0]
    with pytest.raises(ArgumentError, match=r"must keep the shape.*\(3,\) from \(2,\).*shortcut="):
        nn.Residual(nn.Linear(2, 3))(x)
