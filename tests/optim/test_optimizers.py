"""Every optimizer against its published update, for many steps, in every way that it can be run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import wengert as wg
from tests.optim import published
from tests.optim.problems import Wavy, rosenbrock, rosenbrock_gradient
from wengert.core.errors import StateError
from wengert.core.graph import Graph
from wengert.core.spec import Spec
from wengert.optim import optimizer as machinery
from wengert.transforms.trace import interpret

STEPS = 60

# Optimizer, its options, the published update, and the options under the paper's names.
TABLE = [
    ("SGD", {"lr": 0.05}, published.sgd, {}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}, published.sgd, {}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}, published.sgd, {}),
    (
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        published.sgd,
        {},
    ),
    ("SGD", {"lr": 0.02, "momentum": 0.8, "nesterov": True}, published.sgd, {}),
    ("Adagrad", {"lr": 0.1}, published.adagrad, {}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.01, "weight_decay": 0.1, "initial_accumulator_value": 0.3},
        published.adagrad,
        {"initial_accumulator_value": "initial"},
    ),
    ("RMSprop", {"lr": 0.01}, published.rmsprop, {}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True, "eps": 1e-4}, published.rmsprop, {}),
    (
        "RMSprop",
        {"lr": 0.003, "momentum": 0.9, "centered": True, "weight_decay": 0.1, "eps": 1e-4},
        published.rmsprop,
        {},
    ),
    ("Adadelta", {}, published.adadelta, {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}, published.adadelta, {}),
    ("Adam", {"lr": 0.02}, published.adam, {}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}, published.adam, {}),
    ("Adam", {"lr": 0.02, "amsgrad": True, "betas": (0.9, 0.9)}, published.adam, {}),
    (
        "Adam",
        {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True},
        published.adam,
        {"decoupled_weight_decay": "decoupled"},
    ),
    ("AdamW", {"lr": 0.02}, published.adam, {"": {"decoupled": True, "weight_decay": 0.01}}),
    (
        "AdamW",
        {"lr": 0.02, "weight_decay": 0.5, "amsgrad": True},
        published.adam,
        {"": {"decoupled": True}},
    ),
    ("Adamax", {"lr": 0.02}, published.adamax, {}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}, published.adamax, {}),
    ("NAdam", {"lr": 0.02}, published.nadam, {}),
    (
        "NAdam",
        {"lr": 0.02, "weight_decay": 0.1, "momentum_decay": 0.1},
        published.nadam,
        {"momentum_decay": "ψ"},
    ),
    (
        "NAdam",
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
        published.nadam,
        {"decoupled_weight_decay": "decoupled"},
    ),
    ("RAdam", {"lr": 0.02}, published.radam, {}),
    ("RAdam", {"lr": 0.02, "betas": (0.9, 0.95), "weight_decay": 0.1}, published.radam, {}),
    (
        "RAdam",
        {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True},
        published.radam,
        {"decoupled_weight_decay": "decoupled"},
    ),
    ("Lion", {"lr": 0.003}, published.lion, {}),
    ("Lion", {"lr": 0.003, "betas": (0.95, 0.98), "weight_decay": 0.5}, published.lion, {}),
    ("LAMB", {"lr": 0.02}, published.lamb, {}),
    ("LAMB", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1}, published.lamb, {}),
    ("Adafactor", {"lr": 0.05}, published.adafactor, {}),
    (
        "Adafactor",
        {"lr": 0.3, "eps": (1e-3, 1e-2), "d": 1.2, "weight_decay": 0.05, "beta2_decay": -0.5},
        published.adafactor,
        {"beta2_decay": "decay", "eps": {"eps1": 1e-3, "eps2": 1e-2}},
    ),
    ("Muon", {"lr": 0.02}, published.muon, {}),
    (
        "Muon",
        {"lr": 0.02, "nesterov": False, "momentum": 0.8, "weight_decay": 0.0, "ns_steps": 3},
        published.muon,
        {"ns_steps": "steps"},
    ),
    (
        "Muon",
        {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw"},
        published.muon,
        {"adjust_lr_fn": {"match": True}},
    ),
]
NAMES = [f"{name}-{i}" for i, (name, *_) in enumerate(TABLE)]
PROBLEM = Wavy()


def as_published(options, names):
    """The options as the transcription calls them."""
    found = dict(names.get("", {}))
    for option, value in options.items():
        renamed = names.get(option, option)
        found.update(renamed if isinstance(renamed, dict) else {renamed: value})
    return found


def expected_path(row, steps=STEPS):
    name, options, update, names = row
    params = PROBLEM.start()
    kept = [{}, {}]
    moving = range(1 if name == "Muon" else 2)
    path = []
    for t in range(1, steps + 1):
        grads = PROBLEM.gradient(params)
        for i in moving:
            extra = as_published({"lr": 1.0, **options} if name == "Adadelta" else options, names)
            params[i] = update(params[i], grads[i], t, kept[i], **extra)
        path.append([p.copy() for p in params])
    return path


def start(name, options):
    """Fresh parameters in float64 and their optimizer; Muon gets the matrix only."""
    params = [wg.Parameter(wg.asarray(p)) for p in PROBLEM.start()]
    held = params[:1] if name == "Muon" else params
    return params, getattr(wg.optim, name)(held, **options)


def set_gradients(params):
    for p, g in zip(params, PROBLEM.gradient([p.numpy() for p in params]), strict=True):
        p.grad = wg.asarray(g)


def stateful(name, options, steps):
    params, opt = start(name, options)
    for _ in range(steps):
        set_gradients(params)
        opt.step()
        yield [p.numpy() for p in params]


def in_blocks(name, options, steps, monkeypatch):
    """Element-wise formulas cut large arrays into pieces: here into pieces of four."""
    monkeypatch.setattr(machinery, "_BLOCK", 4)
    yield from stateful(name, options, steps)


def traced(name, options, steps):
    """The step recorded as a graph on symbolic gradients, then run, and its writes done."""
    params, opt = start(name, options)
    held = list(opt.parameters())
    for _ in range(steps):
        grads = PROBLEM.gradient([p.numpy() for p in params])[: len(held)]
        graph = wg.trace(lambda g: opt.step(grads=g), [Spec(g.shape, g.dtype) for g in grads])
        boxes = [box for box, _ in graph.writes]
        program = Graph(graph.nodes, graph.inputs, [value for _, value in graph.writes])
        for box, value in zip(boxes, interpret(program, list(map(wg.asarray, grads))), strict=True):
            box.assign(value)
        yield [p.numpy() for p in params]


def functional(name, options, steps):
    params = [wg.asarray(p) for p in PROBLEM.start()]
    held = 1 if name == "Muon" else 2
    opt = wg.optim.functional(getattr(wg.optim, name), **options)
    state = opt.init(params[:held])
    for _ in range(steps):
        grads = list(map(wg.asarray, PROBLEM.gradient([p.numpy() for p in params])))[:held]
        params[:held], state = opt.update(grads, state, params[:held])
        yield [p.numpy() for p in params]


@pytest.mark.parametrize("run", [stateful, in_blocks, traced, functional])
@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_every_step_is_the_published_one(row, run, monkeypatch):
    name, options, *_ = row
    extra = (monkeypatch,) if run is in_blocks else ()
    found = list(run(name, options, STEPS, *extra))
    for t, (mine, theirs) in enumerate(zip(found, expected_path(row), strict=True), start=1):
        for a, b in zip(mine, theirs, strict=True):
            assert np.abs(a - b).max() < 1e-10, f"step {t}"
    moved = np.abs(found[-1][0] - PROBLEM.w)
    assert moved.max() > 1e-3
    assert moved.max() < 10.0


@pytest.mark.parametrize("history", [2, 100])
def test_lbfgs_is_the_published_one(history):
    params, _ = start("SGD", {"lr": 1.0})
    opt = wg.optim.LBFGS(
        params, lr=0.3, max_iter=4, history_size=history, tolerance_change=0.0, tolerance_grad=0.0
    )

    def gradient(flat):
        w, b = flat[:15].reshape(5, 3), flat[15:]
        return np.concatenate([g.ravel() for g in PROBLEM.gradient([w, b])])

    def closure():
        set_gradients(params)
        return PROBLEM.loss([p.numpy() for p in params])

    begin = np.concatenate([p.ravel() for p in PROBLEM.start()])
    expected = list(published.lbfgs(begin, gradient, 40, 0.3, history))
    for k in range(10):
        opt.step(closure)
        found = np.concatenate([p.numpy().ravel() for p in params])
        assert np.abs(found - expected[4 * k + 3]).max() < 1e-9


# -- checkpoints ---------------------------------------------------------------------------------


def through_json(state):
    """A state dict as a checkpoint stores it: arrays apart, all else as JSON."""
    arrays = {}

    def lift(value, path):
        if isinstance(value, wg.Tensor):
            arrays[path] = value.numpy().copy()
            return {"array": path}
        if isinstance(value, dict):
            return {str(k): lift(v, f"{path}/{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [lift(v, f"{path}/{i}") for i, v in enumerate(value)]
        return value

    def lower(value):
        if isinstance(value, dict):
            return (
                arrays[value["array"]]
                if "array" in value
                else {k: lower(v) for k, v in value.items()}
            )
        return [lower(v) for v in value] if isinstance(value, list) else value

    return lower(json.loads(json.dumps(lift(state, ""))))


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_a_resumed_run_is_bitwise_the_same(row):
    name, options, *_ = row
    whole = list(stateful(name, options, 30))
    params, opt = start(name, options)
    for _ in range(17):
        set_gradients(params)
        opt.step()
    saved = through_json(opt.state_dict())
    other, resumed = start(name, {**options, "lr": 123.0})
    for p, q in zip(other, params, strict=True):
        p.assign(q)
    resumed.load_state_dict(saved)
    for _ in range(13):
        set_gradients(other)
        resumed.step()
    for p, expected in zip(other, whole[-1], strict=True):
        assert (p.numpy() == expected).all()


def test_a_resumed_lbfgs_is_bitwise_the_same():
    def run(splits):
        params, _ = start("SGD", {"lr": 1.0})
        opt = wg.optim.LBFGS(params, max_iter=5, line_search_fn="strong_wolfe")

        def closure():
            set_gradients(params)
            return PROBLEM.loss([p.numpy() for p in params])

        for i in range(4):
            if i in splits:
                saved = through_json(opt.state_dict())
                opt = wg.optim.LBFGS(params, max_iter=99)
                opt.load_state_dict(saved)
            opt.step(closure)
        return [p.numpy() for p in params]

    for a, b in zip(run(()), run((1, 3)), strict=True):
        assert (a == b).all()


def test_a_state_dict_is_a_snapshot():
    params, opt = start("Adam", {"lr": 0.1})
    set_gradients(params)
    opt.step()
    state = opt.state_dict()
    before = state["state"][0]["exp_avg"].numpy().copy()
    set_gradients(params)
    opt.step()
    assert (state["state"][0]["exp_avg"].numpy() == before).all()
    assert int(state["state"][0]["step"]) == 1


def damaged(change):
    params, opt = start("Adam", {"lr": 0.1})
    set_gradients(params)
    opt.step()
    state = through_json(opt.state_dict())
    change(state)
    return opt, state


BROKEN = [
    (lambda s: s.pop("state"), "no state dict of an optimizer"),
    (lambda s: s["param_groups"].append(s["param_groups"][0]), "other parameter groups"),
    (lambda s: s["param_groups"][0]["params"].pop(), "other parameter groups"),
    (lambda s: s["param_groups"][0].pop("betas"), r"another kind.*missing: \['betas'\]"),
    (lambda s: s["param_groups"][0].update(rho=0.9), r"another kind.*unknown: \['rho'\]"),
    (lambda s: s["param_groups"][0].update(betas=[2.0, 0.9]), "damaged: betas"),
    (lambda s: s["param_groups"][0].update(lr=-1.0), "damaged: lr"),
    (lambda s: s["state"]["0"].pop("exp_avg"), "other entries than expected"),
    (lambda s: s["state"]["0"].update(exp_avg=np.zeros((3, 5))), "exp_avg does not fit"),
    (lambda s: s["state"].update({"7": s["state"]["0"]}), "that the optimizer does not have"),
    (lambda s: s["state"].update({"x": s["state"]["0"]}), "that the optimizer does not have"),
    (lambda s: s["modulation"].update({"0": np.zeros(7)}), "modulation"),
]


@pytest.mark.parametrize("case", range(len(BROKEN)))
def test_a_bad_state_dict_changes_nothing(case):
    change, message = BROKEN[case]
    opt, state = damaged(change)
    before = through_json(opt.state_dict())
    with pytest.raises((StateError, ValueError), match=message):
        opt.load_state_dict(state)
    after = through_json(opt.state_dict())
    assert before["param_groups"] == after["param_groups"]
    assert (before["state"]["0"]["exp_avg"] == after["state"]["0"]["exp_avg"]).all()


# -- convergence ---------------------------------------------------------------------------------

ROSENBROCK = [
    ("SGD", {"lr": 1e-3, "momentum": 0.9}, 3000, 1e-3),
    ("SGD", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}, 3000, 1e-3),
    ("Adagrad", {"lr": 0.5}, 3000, 1e-2),
    ("RMSprop", {"lr": 1e-3}, 3000, 1e-1),
    ("Adam", {"lr": 0.02}, 3000, 1e-3),
    ("AdamW", {"lr": 0.02, "weight_decay": 0.0}, 3000, 1e-3),
    ("Adamax", {"lr": 0.05}, 3000, 1e-2),
    ("NAdam", {"lr": 0.02}, 3000, 1e-3),
    ("Lion", {"lr": 1e-3}, 4000, 1e-3),
    ("LAMB", {"lr": 0.01}, 4000, 1e-1),
    ("Adafactor", {"lr": 0.01}, 4000, 1e-1),
]


@pytest.mark.parametrize(("name", "options", "steps", "below"), ROSENBROCK)
def test_rosenbrock(name, options, steps, below):
    x = wg.Parameter(wg.asarray(np.array([-1.2, 1.0])))
    opt = getattr(wg.optim, name)([x], **options)
    for _ in range(steps):
        opt.step(grads=[rosenbrock_gradient(x.numpy())])
    assert rosenbrock(x.numpy()) < below


def test_rosenbrock_with_lbfgs():
    x = wg.Parameter(wg.asarray(np.array([-1.2, 1.0])))
    opt = wg.optim.LBFGS([x], max_iter=100, tolerance_change=0.0, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    first = opt.step(closure)
    assert float(first) == pytest.approx(24.2)
    assert rosenbrock(x.numpy()) < 1e-12


QUADRATIC = [(name, options) for name, options, *_ in TABLE if name != "Muon"]


@pytest.mark.parametrize(("name", "options"), QUADRATIC, ids=NAMES[: len(QUADRATIC)])
def test_the_loss_of_a_quadratic_falls(name, options):
    """A thousand steps bring a badly scaled quadratic form (1 : 30) down by a factor of ten."""
    scale = np.linspace(0.1, 3.0, 8)
    x = wg.Parameter(wg.asarray(np.full(8, 0.5)))
    opt = getattr(wg.optim, name)([x], **{**options, "weight_decay": 0.0})
    first = (scale * x.numpy() ** 2).sum()
    for _ in range(1000):
        opt.step(grads=[2.0 * scale * x.numpy()])
    assert (scale * x.numpy() ** 2).sum() < 0.1 * first


def test_muon_brings_a_matrix_to_its_target():
    target = np.random.default_rng(0).normal(size=(6, 4))
    w = wg.Parameter(wg.zeros((6, 4), dtype=wg.float64))
    opt = wg.optim.Muon([w], lr=0.1, weight_decay=0.0)
    schedule = wg.optim.LinearLR(opt, 1.0, 0.0, total_iters=300)
    for _ in range(300):
        opt.step(grads=[w.numpy() - target])
        schedule.step()
    assert np.abs(w.numpy() - target).max() < 0.02
