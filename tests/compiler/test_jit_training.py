"""Compiled training is eager training: every optimizer, schedule and kind of state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, Y, assert_close, assert_same_run, network, run, training
from wengert.compiler import cached, function
from wengert.compiler.executable import Interpreted
from wengert.core.errors import GradientError, TraceError

O = wg.optim

OPTIMIZERS = {
    "SGD": lambda p: O.SGD(p, lr=0.05),
    "momentum": lambda p: O.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: O.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: O.Adam(p, lr=0.01),
    "amsgrad": lambda p: O.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "AdamW": lambda p: O.AdamW(p, lr=0.01),
    "RMSprop": lambda p: O.RMSprop(p, lr=0.01),
    "Adagrad": lambda p: O.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: O.Adadelta(p, lr=0.5),
    "Adamax": lambda p: O.Adamax(p, lr=0.01),
    "NAdam": lambda p: O.NAdam(p, lr=0.01),
    "RAdam": lambda p: O.RAdam(p, lr=0.01),
    "Lion": lambda p: O.Lion(p, lr=0.01),
    "LAMB": lambda p: O.LAMB(p, lr=0.01),
    "Adafactor": lambda p: O.Adafactor(p, lr=0.01),
}

SCHEDULES = {
    "StepLR": lambda o: O.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: O.MultiStepLR(o, [1, 3], 0.5),
    "ExponentialLR": lambda o: O.ExponentialLR(o, 0.8),
    "ConstantLR": lambda o: O.ConstantLR(o, 0.5, 3),
    "LinearLR": lambda o: O.LinearLR(o, 0.25, total_iters=3),
    "WarmupLR": lambda o: O.WarmupLR(o, 3),
    "PolynomialLR": lambda o: O.PolynomialLR(o, 4, 2.0),
    "CosineAnnealingLR": lambda o: O.CosineAnnealingLR(o, 4),
    "WarmRestarts": lambda o: O.CosineAnnealingWarmRestarts(o, 2),
    "WarmRestarts growing": lambda o: O.CosineAnnealingWarmRestarts(o, 1, T_mult=2),
    "OneCycleLR": lambda o: O.OneCycleLR(o, 0.1, total_steps=8),
    "OneCycleLR three": lambda o: O.OneCycleLR(
        o, 0.1, total_steps=8, three_phase=True, anneal_strategy="linear"
    ),
    "LambdaLR": lambda o: O.LambdaLR(o, lambda t: 0.9**t),
    "SequentialLR": lambda o: O.SequentialLR(o, [O.WarmupLR(o, 2), O.ExponentialLR(o, 0.5)], [2]),
    "ChainedScheduler": lambda o: O.ChainedScheduler([O.WarmupLR(o, 2), O.ExponentialLR(o, 0.5)]),
}


@pytest.fixture(autouse=True)
def interpreted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are interpreted, unless a test is marked otherwise: this is about the front."""
    if "native" not in request.fixturenames:
        monkeypatch.setattr(cached, "compile_program", Interpreted)
        monkeypatch.setattr(function, "compile_program", Interpreted)


@pytest.fixture
def native() -> None:
    """The test runs native code."""


def test_every_optimizer_is_tested() -> None:
    known = {name.partition(" ")[0] for name in OPTIMIZERS} | {"Muon", "LBFGS", "Optimizer"}
    found = {
        name
        for name in vars(O)
        if isinstance(getattr(O, name), type) and issubclass(getattr(O, name), O.Optimizer)
    }
    assert found <= known


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    f = assert_same_run(training(OPTIMIZERS[name]))
    assert len(f.history.events) == 1


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_natively(name: str, native: None) -> None:
    clip = lambda params: O.clip_grad_norm_(params, 0.5)
    assert_same_run(training(OPTIMIZERS[name], SCHEDULES["StepLR"], clip))


def test_muon() -> None:
    model = lambda: wg.nn.Sequential(
        wg.nn.Linear(2, 4, bias=False), wg.nn.Tanh(), wg.nn.Linear(4, 1, bias=False)
    )
    assert_same_run(training(lambda p: O.Muon(p, lr=0.01), model=model))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule(name: str) -> None:
    f = assert_same_run(training(OPTIMIZERS["momentum"], SCHEDULES[name]), 6)
    assert len(f.history.events) == 1


def test_a_momentum_that_is_cycled() -> None:
    assert_same_run(training(OPTIMIZERS["Adam"], SCHEDULES["OneCycleLR"]))


def test_a_schedule_stepped_outside() -> None:
    def build() -> Any:
        net = network()
        opt = O.SGD(net.parameters(), lr=0.1)
        plan = O.StepLR(opt, 2, 0.5)

        def step(x: Any, y: Any) -> Any:
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        def batch(i: int) -> Any:
            if i:
                plan.step()
            return X[i], Y[i]

        return step, lambda: list(net.parameters()), batch

    f = assert_same_run(build)
    assert len(f.history.events) == 1


@pytest.mark.parametrize("kind", [2.0, 1.0, float("inf")])
def test_clipping_by_norm(kind: float) -> None:
    assert_same_run(
        training(OPTIMIZERS["Adam"], clip=lambda p: O.clip_grad_norm_(p, 0.3, norm_type=kind))
    )


def test_clipping_by_value() -> None:
    assert_same_run(training(OPTIMIZERS["Adam"], clip=lambda p: O.clip_grad_value_(p, 0.01)))


def test_gradients_that_are_left_accumulate() -> None:
    def build() -> Any:
        net = network()

        def step(x: Any, y: Any) -> Any:
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            return loss

        return step, lambda: [p.grad for p in net.parameters()], lambda i: (X[i], Y[i])

    f = assert_same_run(build, 4)
    assert len(f.history.events) == 2  # without gradients, and with


def test_several_steps_in_one_call_and_an_average() -> None:
    def build() -> Any:
        net = network()
        opt, ema = O.Adam(net.parameters(), lr=0.01), O.EMA(net, 0.9, warmup=True)

        def step(x: Any, y: Any) -> Any:
            for _ in range(2):
                loss = ((net(x) - y) ** 2).mean()
                loss.backward()
                opt.step()
                opt.zero_grad(set_to_none=False)
                ema.update()
            return {"loss": loss, "rows": len(x), "name": "step"}["loss"]

        grads = lambda: [p.grad for p in net.parameters()]
        return step, lambda: [*net.parameters(), *ema.averages, *grads()], lambda i: (X[i], Y[i])

    assert_same_run(build)


def test_two_losses_before_the_steps() -> None:
    """The second backward pass goes through values from before the first optimizer's step."""

    def build() -> Any:
        a, b = wg.nn.Linear(2, 3), wg.nn.Linear(3, 1)
        first, second = O.SGD(a.parameters(), lr=0.1), O.SGD(b.parameters(), lr=0.1)

        def step(x: Any, y: Any) -> Any:
            hidden = a(x)
            one, two = (hidden**2).mean(), ((b(hidden) - y) ** 2).mean()
            one.backward(retain_graph=True)
            first.step()
            two.backward()
            second.step()
            first.step()
            first.zero_grad()
            second.zero_grad()
            return one, two

        return step, lambda: [*a.parameters(), *b.parameters()], lambda i: (X[i], Y[i])

    assert_same_run(build)


def test_the_functional_style() -> None:
    def build() -> Any:
        net = network()
        opt = O.Adam(net.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            loss, grads = wg.value_and_grad(lambda m: ((m(x) - y) ** 2).mean())(net)
            opt.step(grads=grads)
            return loss

        return step, lambda: list(net.parameters()), lambda i: (X[i], Y[i])

    assert_same_run(build)


def test_a_pure_function_of_a_model_and_its_gradients() -> None:
    net = wg.nn.Linear(2, 1)
    loss = lambda m, x, y: ((m(x) - y) ** 2).mean()
    value, grads = wg.jit(wg.value_and_grad(loss))(net, X[0], Y[0])
    expected, wanted = wg.value_and_grad(loss)(net, X[0], Y[0])
    assert_close([value, grads.weight, grads.bias], [expected, wanted.weight, wanted.bias])
    assert type(grads) is wg.nn.Linear


def test_models_as_arguments_are_state() -> None:
    def build() -> Any:
        net = network()
        opt = O.Adam(net.parameters(), lr=0.01)

        def step(model: Any, opt: Any, x: Any, y: Any) -> Any:
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        return step, lambda: list(net.parameters()), lambda i: (net, opt, X[i], Y[i])

    assert_same_run(build)


def test_generators_as_arguments() -> None:
    draw = wg.jit(lambda g: wg.random.normal((3,), generator=g))
    a, b = wg.random.Generator(3), wg.random.Generator(3)
    for _ in range(3):
        np.testing.assert_array_equal(draw(a).numpy(), wg.random.normal((3,), generator=b).numpy())
    assert int(a.counter) == int(b.counter)


def test_plain_tracked_tensors_are_trained() -> None:
    def build() -> Any:
        w = wg.asarray([1.0, -2.0]).requires_grad_()
        opt = O.SGD([w], lr=0.1)

        def step(x: Any) -> Any:
            loss = ((x @ w) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        return step, lambda: [w], lambda i: (X[i],)

    assert_same_run(build)


def test_half_precision_parameters() -> None:
    def build() -> Any:
        net = wg.nn.Linear(2, 1).half()
        opt = O.Adam(net.parameters(), lr=0.01)

        def step(x: Any, y: Any) -> Any:
            loss = ((net(wg.astype(x, "float16")) - wg.astype(y, "float16")) ** 2).mean()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        return step, lambda: list(net.parameters()), lambda i: (X[i], Y[i])

    assert_same_run(build, tolerance=5e-3)


def test_lbfgs_says_what_is_in_the_way() -> None:
    net = wg.nn.Linear(2, 1)
    opt = O.LBFGS(net.parameters())

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        def closure() -> Any:
            opt.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            return loss

        return opt.step(closure)

    before = net.state_dict()
    with pytest.raises(TraceError, match=r"\[LBFGS\] a step looks at values.*wg.jit\(closure\)"):
        step(X[0], Y[0])
    assert_close(net.state_dict(), before, 0.0)
    assert net.weight.grad is None


def test_lbfgs_takes_a_compiled_closure(native: None) -> None:
    def run(compiled: bool) -> list[float]:
        wg.manual_seed(0)
        net = wg.nn.Linear(2, 1)
        opt = O.LBFGS(net.parameters())

        def closure() -> Any:
            opt.zero_grad()
            loss = ((net(X[0]) - Y[0]) ** 2).mean()
            loss.backward()
            return loss

        f = wg.jit(closure) if compiled else closure
        return [float(opt.step(f)) for _ in range(3)]

    np.testing.assert_allclose(run(True), run(False), rtol=1e-4)


def test_a_plateau_is_looked_for_outside() -> None:
    net = wg.nn.Linear(2, 1)
    opt = O.SGD(net.parameters(), lr=0.1)
    plan = O.ReduceLROnPlateau(opt, patience=0)
    with pytest.raises(TraceError, match=r"ReduceLROnPlateau\] .*call step\(metric\) outside"):
        wg.jit(lambda x: plan.step(net(x).sum()))(X[0])
    assert plan.num_bad_epochs == 0


def test_a_frozen_parameter_has_no_gradient_in_a_trace_either() -> None:
    net = wg.nn.Linear(2, 1)
    net.weight.requires_grad_(False)

    def give(x: Any) -> Any:
        net.weight.grad = x
        return x

    for f in (give, wg.jit(give)):
        with pytest.raises(GradientError, match=r"not tracked has no gradient.*frozen parameter"):
            f(wg.ones((1, 2)))

    @wg.jit
    def forget(x: Any) -> Any:
        net.weight.grad = None
        return x

    forget(wg.ones(1))


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
def test_sparse_embeddings_are_dense_ones_with_fewer_rows_touched(
    options: Any, native: None
) -> None:
    index = np.array([[3, 0], [3, -0], [39, 3]])

    def run(compiled: bool, sparse: bool) -> list[Any]:
        wg.manual_seed(0)
        table = wg.nn.Embedding(40, 3, padding_idx=1, sparse=sparse)
        opt = O.SGD(table.parameters(), lr=0.1, **options)

        def step(i: Any) -> Any:
            loss = (table(i) ** 2).sum()
            loss.backward()
            opt.step()
            opt.zero_grad()
            return loss

        f = wg.jit(step) if compiled else step
        return [*(float(f(index)) for _ in range(3)), table.weight.numpy()]

    results = [run(*flags) for flags in ((False, False), (True, False), (True, True))]
    for found in results[1:]:
        assert_close(found, results[0], 1e-6)
    np.testing.assert_array_equal(results[1][-1], results[2][-1])


def test_a_changed_learning_rate_needs_no_new_program() -> None:
    net = wg.nn.Linear(2, 1, bias=False)
    opt = O.SGD(net.parameters(), lr=0.1)

    @wg.jit
    def step(x: Any) -> Any:
        net(x).sum().backward()
        opt.step()
        opt.zero_grad()

    x = np.ones((1, 2), np.float32)
    before = net.weight.numpy().copy()
    step(x)
    np.testing.assert_allclose(net.weight.numpy(), before - 0.1, atol=1e-6)
    opt.param_groups[0]["lr"] = 0.5
    step(x)
    np.testing.assert_allclose(net.weight.numpy(), before - 0.6, atol=1e-6)
    assert len(step.history.events) == 1


def test_optimizer_state_is_loaded_and_saved_around_compiled_steps() -> None:
    results, state, _ = run(training(OPTIMIZERS["Adam"]), True, 4)
    wg.manual_seed(7)
    net = network()
    opt = O.Adam(net.parameters(), lr=0.01)

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    for i in range(2):
        step(X[i], Y[i])
    saved = net.state_dict(), opt.state_dict(), wg.random.get_state()
    for i in range(2, 6):
        step(X[i], Y[i])
    net.load_state_dict(saved[0])
    opt.load_state_dict(saved[1])
    wg.random.set_state(saved[2])
    again = [float(step(X[i], Y[i])) for i in range(2, 4)]
    np.testing.assert_allclose(again, [float(r[0]) for r in results[2:]], rtol=1e-6)
    slots = [box for boxes in opt.state.values() for box in boxes.values()]
    assert_close([*net.parameters(), *net.buffers(), *slots], state[: len(state) - 2], 1e-6)
