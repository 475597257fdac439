"""The base of modules: registration, walks, state, hooks and paths."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import nn
from wengert.errors import ArgumentError, DtypeError, ShapeError, StateError


class Scale(nn.Module):
    """x·w, and counts its calls."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(wg.ones(size) * 2)
        self.register_buffer("calls", wg.asarray(0))
        self.register_buffer("scratch", wg.zeros(1), persistent=False)

    def forward(self, x: Any) -> Any:
        self.calls.assign(self.calls + 1)
        return x * self.weight


class Pair(nn.Module):
    """Two scales with one weight, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Scale()
        self.second = Scale()
        self.second.weight = self.first.weight
        self.bias = nn.Parameter(wg.zeros(3))

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) + self.bias


# -- registration --------------------------------------------------------------------------------


def test_members_are_registered_by_their_type():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(wg.zeros(2))
            self.v = wg.Variable(wg.zeros(2))
            self.m = nn.Linear(2, 1)
            self.t = wg.zeros(2)
            self.n = 3

    model = Model()
    assert [name for name, _ in model.named_parameters()] == ["p", "m.weight", "m.bias"]
    assert [name for name, _ in model.named_buffers()] == ["v"]
    assert list(model.state_dict()) == ["p", "v", "m.weight", "m.bias"]


def test_forgetting_super_init_is_an_error():
    class Model(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 1)

    with pytest.raises(StateError, match=r"\[Model\] .*cannot be assigned yet.*super\(\)"):
        Model()


def test_missing_forward_is_an_error():
    with pytest.raises(ArgumentError, match=r"\[Module\] the module does not say.*def forward"):
        nn.Module()(1)


def test_plain_value_for_a_parameter_is_an_error():
    layer = nn.Linear(2, 1)
    with pytest.raises(DtypeError, match=r"'weight' is registered as a parameter.*assign"):
        layer.weight = wg.zeros((1, 2))
    with pytest.raises(DtypeError, match="'0' is registered as a module"):
        setattr(nn.Sequential(layer), "0", 3)
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
    layer.bias = nn.Parameter(wg.ones(1))
    assert float(layer(wg.zeros(2))[0]) == 1.0


def test_none_and_class_defaults_give_way_to_a_parameter():
    class Model(nn.Module):
        scale: Any = None

        def __init__(self) -> None:
            super().__init__()
            self.layer = None
            self.layer = nn.Linear(2, 1)
            self.scale = nn.Parameter(wg.ones(1))

    assert list(Model().state_dict()) == ["scale", "layer.weight", "layer.bias"]


@pytest.mark.parametrize("name", ["forward", "training", "_members", "_hooks", "parameters"])
def test_names_that_hide_attributes_are_errors(name):
    with pytest.raises(ArgumentError, match="would hide an attribute"):
        nn.ModuleDict({name: nn.Identity()})


@pytest.mark.parametrize("name", ["a.b", ""])
def test_names_with_dots_are_errors(name):
    with pytest.raises(ArgumentError, match=r"not a name for a module.*hold none themselves"):
        nn.ModuleDict({name: nn.Identity()})


def test_register_parameter_takes_parameters_only():
    with pytest.raises(DtypeError, match="'w' must be a Parameter or None"):
        nn.Module().register_parameter("w", wg.zeros(2))
    with pytest.raises(DtypeError, match=r"part '0' is not a module.*instance of nn.Module"):
        nn.Sequential(nn.ReLU)


def test_buffers_are_written_through():
    module = Scale()
    box = module.calls
    module.calls = 5
    module.calls += 2
    assert module.calls is box
    assert int(box) == 7
    with pytest.raises(ShapeError, match="a variable keeps its shape"):
        module.calls = wg.zeros(2)
    module.scratch = wg.Variable(wg.ones(4))
    assert "scratch" not in module.state_dict()


def test_deleting_a_member():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    del model[0].bias
    assert list(model.state_dict()) == ["0.weight"]
    with pytest.raises(AttributeError):
        del model.nothing


def test_modules_in_a_plain_list_are_warned_of():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(2, 2)]

    with pytest.warns(UserWarning, match=r"'layers' is a plain list.*nn.ModuleList"):
        Model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Module().sizes = [1, 2, 3]


# -- walks ---------------------------------------------------------------------------------------


def test_walks_give_paths_parents_first():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1)))
    assert [path for path, _ in model.named_modules()] == ["", "0", "1", "1.0", "1.1"]
    assert [path for path, _ in model.named_modules(prefix="net")][:2] == ["net", "net.0"]
    assert [path for path, _ in model.named_parameters("net")][-1] == "net.1.1.bias"
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert list(model.named_parameters(recurse=False)) == []
    assert len(list(model.modules())) == 5
    assert len(list(model.children())) == 2


def test_tied_weights_and_shared_modules_count_once():
    pair = Pair()
    assert [name for name, _ in pair.named_parameters()] == ["bias", "first.weight"]
    assert pair.num_parameters() == 6
    both = [name for name, _ in pair.named_parameters(remove_duplicate=False)]
    assert both == ["bias", "first.weight", "second.weight"]
    layer = nn.Linear(2, 2)
    shared = nn.Sequential(layer, layer)
    assert len(list(shared.parameters())) == 2
    assert [path for path, _ in shared.named_modules()] == ["", "0"]
    assert [p for p, _ in shared.named_modules(remove_duplicate=False)] == ["", "0", "1"]
    assert list(shared.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_members_are_found_by_path():
    pair = Pair()
    assert pair.get_submodule("") is pair
    assert pair.get_submodule("first") is pair.first
    assert pair.get_parameter("second.weight") is pair.first.weight
    assert pair.get_buffer("first.scratch") is pair.first.scratch
    with pytest.raises(ArgumentError, match=r"there is no 'third' in Pair.*first, second, bias"):
        pair.get_submodule("third.weight")
    with pytest.raises(ArgumentError, match=r"'first.weight' is a parameter, not a buffer"):
        pair.get_buffer("first.weight")


# -- changing everything -------------------------------------------------------------------------


def test_modes():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model[1].train()
    assert [m.training for m in model.modules()] == [False, False, True, True]


def test_freeze_by_path_and_wildcard():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    trainable = lambda: [n for n, p in model.named_parameters() if p.requires_grad]
    model.freeze("0")
    assert trainable() == ["1.weight", "1.bias"]
    assert model.num_parameters(trainable_only=True) == 3
    model.freeze("*.bias")
    assert trainable() == ["1.weight"]
    model.unfreeze("0.bias")
    assert trainable() == ["0.bias", "1.weight"]
    assert model.unfreeze() is model
    assert len(trainable()) == 4
    with pytest.raises(ArgumentError, match=r"\[freeze\] no parameter has such a path.*'2'"):
        model.freeze("2")
    model.requires_grad_(False)
    assert trainable() == []


def test_frozen_parameters_get_no_gradient():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).freeze("0")
    model(wg.ones((3, 2))).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None


def test_zero_grad():
    layer = nn.Linear(2, 1)
    layer(wg.ones(2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0, 0.0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_conversion_keeps_the_boxes():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = model[0].weight
    model(wg.ones((3, 2)) * wg.asarray([[1.0], [2.0], [4.0]])).sum().backward()
    assert model.double() is model
    assert model[0].weight is weight
    assert weight.dtype == weight.grad.dtype == wg.float64
    assert weight.requires_grad
    assert model[1].running_mean.dtype == wg.float64
    assert model[1].num_batches_tracked.dtype == wg.int64
    assert model.half()[0].weight.dtype == wg.float16
    assert model.float()[0].weight.dtype == wg.float32
    assert model.to(wg.bfloat16)[0].weight.dtype == wg.bfloat16
    with pytest.raises(DtypeError, match=r"\[to\] .*floating dtype.*int32"):
        model.to("int32")


def test_apply_visits_children_first():
    seen: list[str] = []
    model = nn.Sequential(nn.ReLU(), nn.Linear(1, 1))
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == ["ReLU", "Linear", "Sequential"]


# -- state ---------------------------------------------------------------------------------------


def test_state_dict_is_a_snapshot():
    layer = nn.Linear(2, 1)
    before = layer.state_dict()
    kept = before["weight"].tolist()
    with wg.no_grad():
        layer.weight -= 1.0
    assert before["weight"].tolist() == kept
    assert not before["weight"].requires_grad
    assert list(layer.state_dict(prefix="net.")) == ["net.weight", "net.bias"]


class Foreign:
    """An array of another library: readable by NumPy once it is detached."""

    def __init__(self, value: Any) -> None:
        self.value, self.tracked = value, True

    def detach(self) -> Foreign:
        free = Foreign(self.value)
        free.tracked = False
        return free

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        assert not self.tracked
        return np.asarray(self.value, dtype)


def test_load_state_dict_takes_any_array():
    layer = nn.Linear(2, 1)
    bias = np.array([3.0])
    found = layer.load_state_dict({"weight": Foreign([[1.0, 2.0]]), "bias": bias})
    bias[0] = -1.0
    assert found == ([], [])
    assert layer.weight.tolist() == [[1.0, 2.0]]
    assert layer.bias.tolist() == [3.0]
    assert layer.weight.dtype == wg.float32
    assert layer.weight.requires_grad


def test_load_state_dict_reports_all_and_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {k: v.tolist() for k, v in model.state_dict().items()}
    state: dict[str, Any] = {k: v + 1 for k, v in model.state_dict().items()}
    del state["0.bias"]
    state["0.weight"] = wg.zeros((3, 2))
    state["1.num_batches_tracked"] = 1.5
    state["1.bias"] = "many"
    state["2.extra"] = wg.zeros(1)
    with pytest.raises(StateError) as caught:
        model.load_state_dict(state)
    for line in (
        "does not fit Sequential; nothing was changed",
        "missing: 0.bias",
        "unexpected: 2.extra",
        r"shape: 0.weight is (2, 2) in the model, (3, 2) in the state",
        "dtype: 1.num_batches_tracked holds int64",
        "not an array of numbers: 1.bias is a str",
    ):
        assert line in str(caught.value)
    assert {k: v.tolist() for k, v in model.state_dict().items()} == before


def test_load_state_dict_not_strict():
    layer = nn.Linear(2, 1)
    found = layer.load_state_dict({"weight": np.ones((1, 2)), "other": 1.0}, strict=False)
    assert found.missing_keys == ["bias"]
    assert found.unexpected_keys == ["other"]
    assert layer.weight.tolist() == [[1.0, 1.0]]
    with pytest.raises(StateError, match="shape: weight"):
        layer.load_state_dict({"weight": np.ones((2, 2))}, strict=False)


@pytest.mark.parametrize("given", [None, "model.safetensors", wg.nn.Linear(2, 1)])
def test_a_state_dict_is_a_mapping(given: Any) -> None:
    with pytest.raises(DtypeError, match=r"mapping from paths to arrays; got .*other.state_dict"):
        wg.nn.Linear(2, 1).load_state_dict(given)


def test_load_state_dict_of_tied_weights():
    pair = Pair()
    state = pair.state_dict()
    del state["second.weight"]
    assert pair.load_state_dict(state) == ([], [])
    state["second.weight"] = wg.zeros(3)
    with pytest.raises(StateError, match=r"tied, but with different values: first.weight and sec"):
        pair.load_state_dict(state)


def test_deepcopy_keeps_ties_and_shares_nothing():
    pair = Pair()
    pair(wg.ones(3))
    copied = copy.deepcopy(pair)
    assert copied.first.weight is copied.second.weight
    assert copied.first.weight is not pair.first.weight
    with wg.no_grad():
        copied.bias += 1.0
    assert pair.bias.tolist() == [0.0, 0.0, 0.0]
    seen: list[str] = []
    copied.first.register_forward_hook(lambda m, a, o: seen.append(wg_path()))
    copied(wg.ones(3))
    assert seen == ["first"]


# -- running -------------------------------------------------------------------------------------


def wg_path() -> str:
    """The path of the module that is running."""
    from wengert.core.state import state

    return state.module


def test_nodes_know_their_module():
    pair = Pair()
    graph = wg.Graph.of(pair(wg.ones(3)))
    paths = [(n.op.name, n.site.module) for n in graph if n.parents]
    assert paths == [("mul", "first"), ("mul", "second"), ("add", "")]


def test_paths_reach_through_containers_that_are_not_called():
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)) for _ in range(2)])

        def forward(self, x: Any) -> Any:
            return self.blocks[1](self.blocks[0](x))

    model = Blocks()
    paths = {n.site.module for n in wg.Graph.of(model(wg.ones(2))) if n.parents}
    assert paths == {"blocks.0.0", "blocks.1.0"}
    model.blocks[1] = nn.Linear(2, 2)
    paths = {n.site.module for n in wg.Graph.of(model(wg.ones(2))) if n.parents}
    assert paths == {"blocks.0.0", "blocks.1"}


def test_path_of_a_module_that_the_running_one_does_not_own():
    head = nn.Sequential(nn.Linear(2, 1))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Pair()

        def forward(self, x: Any) -> Any:
            return head(self.body(x)[:2])

    paths = [n.site.module for n in wg.Graph.of(Model()(wg.ones(3))) if n.parents]
    assert paths[-1] == "Sequential.0"
    assert "body.first" in paths


def test_path_is_put_back_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ShapeError, match=r"\[linear at 0\] expects 2 features.*float32\[3\]"):
        model(wg.ones(3))
    assert wg_path() == ""
    assert {n.site.module for n in wg.Graph.of(wg.ones(2).requires_grad_() * 2)} == {""}


def test_backward_nodes_inherit_the_path():
    pair = Pair()
    x = wg.ones(3).requires_grad_()
    (pair(x) ** 2).sum().backward(create_graph=True)
    paths = {n.site.module for n in wg.Graph.of(x.grad) if n.site.phase == "backward"}
    assert {"first", "second"} <= paths


def test_hooks_see_and_replace():
    layer = nn.Linear(2, 2)
    before = layer.register_forward_pre_hook(lambda module, args: (args[0] * 0,))
    after = layer.register_forward_hook(lambda module, args, out: out + 1)
    assert np.allclose(layer(wg.ones(2)).numpy(), layer.bias.numpy() + 1)
    before.remove()
    before.remove()
    after.remove()
    expected = layer.weight.numpy().sum(1) + layer.bias.numpy()
    assert np.allclose(layer(wg.ones(2)).numpy(), expected)
    with layer.register_forward_pre_hook(lambda module, args: args[0] * 0):
        assert np.allclose(layer(wg.ones(2)).numpy(), layer.bias.numpy())
    assert np.allclose(layer(wg.ones(2)).numpy(), expected)


def test_repr_is_a_tree():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )
