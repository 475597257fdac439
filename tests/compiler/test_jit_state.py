"""What belongs to whom: kept tensors, boxes, buffers, threads, and state after an error."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import X, Y, assert_close, network
from wengert.compiler import cached
from wengert.compiler.executable import Interpreted
from wengert.core.errors import GradientError

pytestmark = pytest.mark.usefixtures("interpreted")


def stepper(net: Any, opt: Any) -> Any:
    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step


@pytest.fixture
def parts() -> Any:
    net = wg.nn.Linear(2, 1)
    opt = wg.optim.Adam(net.parameters(), lr=0.1)
    return net, opt, stepper(net, opt)


def test_a_kept_tensor_never_changes(parts: Any) -> None:
    net, opt, step = parts
    step(X[0], Y[0])
    step(X[0], Y[0])
    kept = {
        "detached": net.weight.detach(),
        "view": net.weight.numpy(),
        "row": net.weight.numpy()[0],
        "state": opt.state[net.weight]["exp_avg"].detach(),
        "loss": step(X[0], Y[0]),
        "snapshot": net.state_dict()["bias"],
        "memory": np.asarray(memoryview(net.bias.numpy())),
    }
    copies = {name: np.array(value) for name, value in kept.items()}
    for i in range(4):
        step(X[i], Y[i])
    for name, value in kept.items():
        np.testing.assert_array_equal(np.asarray(value), copies[name], err_msg=name)
    assert not np.array_equal(net.weight.numpy(), copies["view"])


def test_arrays_are_updated_in_place_where_nobody_holds_them(parts: Any) -> None:
    net, _, step = parts
    step(X[0], Y[0])
    step(X[0], Y[0])
    array = id(net.weight._data)
    for i in range(3):
        step(X[i], Y[i])
        assert id(net.weight._data) == array
    kept = net.weight.detach()
    step(X[0], Y[0])
    assert net.weight._data is not kept._data
    array = id(net.weight._data)
    del kept
    step(X[1], Y[1])
    assert id(net.weight._data) == array


def test_results_are_reused_only_when_dropped() -> None:
    double = wg.jit(lambda x: x * 2.0)
    x = np.arange(4.0)
    kept = [double(x + i) for i in range(6)]
    for i, value in enumerate(kept):
        np.testing.assert_array_equal(value.numpy(), 2.0 * (x + i))
    del kept, value
    places = {id(double(x)._data) for _ in range(6)}
    assert len(places) <= 2


def test_values_assigned_outside_are_seen(parts: Any) -> None:
    net, _, step = parts
    step(X[0], Y[0])
    net.weight.assign(np.zeros((1, 2)))
    net.bias.assign(np.zeros(1))
    expected = float((Y[0] ** 2).mean())
    assert float(step(X[0], Y[0])) == pytest.approx(expected, rel=1e-6)


def test_two_programs_of_one_state_take_turns() -> None:
    net = network()
    opt = wg.optim.Adam(net.parameters(), lr=0.01)
    twin = network()
    twin.load_state_dict(net.state_dict())
    other = wg.optim.Adam(twin.parameters(), lr=0.01)
    step = stepper(net, opt)

    def eager(x: Any, y: Any) -> Any:
        loss = ((twin(x) - y) ** 2).mean()
        loss.backward()
        other.step()
        other.zero_grad()
        return loss

    found, expected = [], []
    wg.manual_seed(1)
    for i in range(6):
        rows = 16 if i % 2 else 8
        found.append(step(X[i][:rows], Y[i][:rows]))
    wg.manual_seed(1)
    for i in range(6):
        rows = 16 if i % 2 else 8
        expected.append(eager(X[i][:rows], Y[i][:rows]))
    assert_close(found, [e.detach() for e in expected])
    assert_close(list(net.parameters()), list(twin.parameters()))


def test_training_and_evaluation_mode() -> None:
    net = network()
    f = wg.jit(lambda x: net(x))
    with wg.no_grad():
        for _ in range(2):
            net.train()
            before = net[1].running_mean.numpy().copy()
            f(X[0])
            assert not np.array_equal(net[1].running_mean.numpy(), before)
            net.eval()
            before = net[1].running_mean.numpy().copy()
            assert_close(f(X[0]), net(X[0]))
            np.testing.assert_array_equal(net[1].running_mean.numpy(), before)
    assert len(f.history.events) == 2


def test_settings_of_modules_are_part_of_the_key() -> None:
    net = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.LeakyReLU(0.5))
    f = wg.jit(lambda x: net(x))
    with wg.no_grad():
        assert_close(f(X[0]), net(X[0]))
        net[1].negative_slope = 0.1
        assert_close(f(X[0]), net(X[0]))
        net[0].weight = wg.nn.Parameter(wg.ones((2, 2)))
        assert_close(f(X[0]), net(X[0]))
        net.double()
        assert f(X[0].astype(np.float64)).dtype == np.float64
        hook = net.register_forward_hook(lambda m, args, out: out * 3.0)
        assert_close(f(X[0]), net(X[0]))
        hook.remove()
        assert_close(f(X[0]), net(X[0]))


def test_frozen_parameters() -> None:
    net = wg.nn.Linear(2, 1)
    opt = wg.optim.SGD(net.parameters(), lr=0.1)
    step = stepper(net, opt)
    step(X[0], Y[0])
    net.freeze("weight")
    before = net.weight.numpy().copy(), net.bias.numpy().copy()
    step(X[0], Y[0])
    np.testing.assert_array_equal(net.weight.numpy(), before[0])
    assert not np.array_equal(net.bias.numpy(), before[1])
    net.unfreeze()
    step(X[0], Y[0])
    assert not np.array_equal(net.weight.numpy(), before[0])


def test_a_step_without_tracked_leaves_is_an_error_as_eagerly() -> None:
    w = wg.Parameter(np.ones(3, np.float32))

    def f() -> Any:
        loss = w.sum()
        loss.backward()
        return loss

    step = wg.jit(f)
    step()
    w.requires_grad_(False)
    for each in (f, step, wg.jit(f)):
        with pytest.raises(GradientError, match="nothing is tracked"):
            each()


def test_gradients_from_outside_are_taken_in() -> None:
    net = wg.nn.Linear(2, 1)
    opt = wg.optim.SGD(net.parameters(), lr=1.0)
    step = stepper(net, opt)
    before = net.bias.numpy().copy()
    step(X[0], Y[0])
    taken = before - net.bias.numpy()
    net.bias.assign(before)
    net.bias.grad = wg.asarray([10.0])
    weight = net.weight.numpy().copy()
    step(X[0], Y[0])
    assert net.bias.grad is None
    assert float(before[0] - net.bias.numpy()[0]) == pytest.approx(10.0 + taken[0], abs=2.0)
    assert not np.array_equal(net.weight.numpy(), weight)


def test_an_error_in_the_trace_leaves_everything_as_it_was() -> None:
    net = network()
    opt = wg.optim.Adam(net.parameters(), lr=0.1)
    net[0].weight.grad = wg.ones((8, 2))

    @wg.jit
    def step(x: Any) -> Any:
        net(x).sum().backward()
        opt.step()
        opt.zero_grad()
        raise KeyError("stop")

    before, counter = net.state_dict(), int(wg.random.default_generator.counter)
    grad = net[0].weight.grad
    with pytest.raises(KeyError):
        step(X[0])
    assert_close(net.state_dict(), before, 0.0)
    assert net[0].weight.grad is grad
    assert net[5].weight.grad is None
    assert int(wg.random.default_generator.counter) == counter
    assert all(not v.is_symbolic for v in [*net.parameters(), *net.buffers()])
    assert all(opt.counts.taken(p) == 0 for p in opt.state)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_error_in_the_program_leaves_state_untouched(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    failing = False

    class Failing(Interpreted):
        def __call__(self) -> None:
            if failing:
                raise error("in the middle")
            super().__call__()

    monkeypatch.setattr(cached, "compile_program", Failing)
    net = wg.nn.Linear(2, 1)
    opt = wg.optim.Adam(net.parameters(), lr=0.1)
    step = stepper(net, opt)
    step(X[0], Y[0])
    kept = net.weight.detach()  # the next run writes to a new array
    before, state = net.state_dict(), opt.state_dict()["state"]
    failing = True
    for _ in range(2):
        with pytest.raises(error):
            step(X[0], Y[0])
    failing = False
    assert_close(net.state_dict(), before, 0.0)
    assert_close(opt.state_dict()["state"], state, 0.0)
    assert net.weight._data is kept._data
    step(X[0], Y[0])
    assert not np.array_equal(net.weight.numpy(), kept.numpy())


def test_variables_made_inside() -> None:
    @wg.jit
    def count(x: Any) -> Any:
        total = wg.Variable(wg.zeros(2))
        for i in range(3):
            total.assign(total + x * float(i))
        return total + 0.0

    for scale in (1.0, 2.0):
        np.testing.assert_allclose(count(np.full(2, scale, np.float32)).numpy(), 3.0 * scale)


def test_methods_have_programs_of_their_own() -> None:
    class Scale(wg.nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = wg.nn.Parameter(wg.asarray(factor))

        @wg.jit
        def forward(self, x: Any, power: int = 1) -> Any:
            """Scaled."""
            return x * self.factor**power

    a, b = Scale(2.0), Scale(3.0)
    x = wg.asarray([1.0, 2.0])
    assert a(x).tolist() == [2.0, 4.0]
    assert b(x).tolist() == [3.0, 6.0]
    assert a(x, power=2).tolist() == [4.0, 8.0]
    assert Scale.forward.__doc__ == "Scaled."
    a(x).sum().backward()
    assert float(a.factor.grad) == 3.0
    assert b.factor.grad is None
    dead = weakref.ref(a)
    del a
    gc.collect()
    assert dead() is None


def test_tracked_arguments_get_their_gradient() -> None:
    @wg.jit
    def f(x: Any) -> Any:
        loss = (x**2).sum()
        loss.backward()
        return loss

    x = wg.asarray([1.0, 2.0]).requires_grad_()
    f(x)
    assert x.grad.tolist() == [2.0, 4.0]
    f(x)
    assert x.grad.tolist() == [4.0, 8.0]
    y = wg.asarray([3.0, 4.0]).requires_grad_()
    f(y)
    assert y.grad.tolist() == [6.0, 8.0]


def test_an_argument_may_be_made_a_leaf_inside() -> None:
    @wg.jit
    def f(x: Any) -> Any:
        x.requires_grad_()
        (x**3).sum().backward()
        return x.grad

    assert f(wg.asarray([1.0, 2.0])).tolist() == [3.0, 12.0]


def test_handles_may_be_rebound_inside() -> None:
    @wg.jit
    def f(x: Any) -> Any:
        before = x * 1.0
        x += 1.0
        x[0] = 5.0
        return before, x

    given = wg.asarray([1.0, 2.0])
    before, after = f(given)
    assert (before.tolist(), after.tolist(), given.tolist()) == ([1, 2], [5, 3], [1, 2])


def test_inputs_of_every_layout() -> None:
    f = lambda x: wg.jit(lambda x: x + 1.0)(x)
    base = np.arange(24.0).reshape(4, 6)
    shifted = np.frombuffer(b"\0" + base[:2, :3].tobytes(), np.uint8)[1:].view(np.float64)
    for x in (base[:2, :3], base.T[:2, :3], base[::2, ::2], base[1::-1, :3]):
        np.testing.assert_array_equal(f(x).numpy(), x + 1.0)
        read_only = np.ascontiguousarray(x)
        read_only.flags.writeable = False
        np.testing.assert_array_equal(f(read_only).numpy(), x + 1.0)
    np.testing.assert_array_equal(f(shifted.reshape(2, 3)).numpy(), shifted.reshape(2, 3) + 1.0)
    assert f(np.zeros((0, 3))).shape == (0, 3)
    assert float(f(np.float32(2.0))) == 3.0
    assert float(f(np.array(2.0))) == 3.0


def test_bind_reads_the_arrays_anew(parts: Any) -> None:
    net, _, step = parts
    x, y = X[0].copy(), Y[0].copy()
    bound = step.bind(x, y)
    first = float(bound())
    x[:], y[:] = 0.0, 0.0
    assert float(bound()) == pytest.approx(float(net.bias.numpy()[0]) ** 2, abs=0.5)
    assert first != float(bound())
    net.eval()
    bound()
    with pytest.raises(ValueError, match=r"\[bind\] array 0 of the arguments cannot be read"):
        step.bind(X[0][:, ::-1], Y[0])
    with pytest.raises(ValueError, match=r"\[bind\] a call that is differentiated from outside"):
        wg.jit(lambda v: net(v)).bind(x)


def test_two_threads_call_one_step() -> None:
    count = wg.Variable(wg.asarray(0.0))

    @wg.jit
    def step(x: Any) -> Any:
        count.assign(count + x)
        return count * 1.0

    one = wg.asarray(1.0)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(100):
                step(one)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert float(count) == 300.0


def test_another_thread_computes_while_one_traces() -> None:
    weight = wg.Parameter(wg.ones(3))
    inside, done = threading.Event(), threading.Event()
    found: list[Any] = []

    def other() -> None:
        inside.wait(10)
        handle = wg.Tensor(weight._data)  # symbolic now
        found.append(weight * 2.0)
        found.append(weight.numpy().copy())
        found.append((handle + 1.0).numpy())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    @wg.jit
    def f(x: Any) -> Any:
        inside.set()
        for _ in range(50):
            threading.Event().wait(0.001)
        return x * weight

    with wg.no_grad():
        assert f(wg.ones(3)).tolist() == [1.0, 1.0, 1.0]
    thread.join(10)
    assert done.is_set()
    assert found[0].tolist() == [2.0, 2.0, 2.0]
    assert found[0].requires_grad
    assert found[1].tolist() == [1.0, 1.0, 1.0]
    assert found[2].tolist() == [2.0, 2.0, 2.0]


def test_a_thread_that_draws_while_another_traces_draws() -> None:
    drop = wg.jit(lambda x: wg.nn.functional.dropout(x, 0.5) + wg.random.normal(shape=(3,)))
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            wg.random.uniform(shape=(2,))

    thread = threading.Thread(target=draw)
    thread.start()
    for _ in range(30):
        drop(wg.ones(3))
        drop.clear_cache()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not wg.random.default_generator.counter.is_symbolic


def test_a_thread_that_meets_a_value_of_a_trace_waits_for_its_end() -> None:
    wg.manual_seed(3)
    drawn: list[Any] = []
    thread = threading.Thread(target=lambda: drawn.append(wg.random.uniform(shape=(2,))))

    def draw() -> Any:
        found = wg.random.uniform(shape=(2,))
        if thread.ident is None:
            thread.start()
            time.sleep(0.1)  # the generator's counter has a value of this trace now
        return found

    step = wg.jit(draw)
    step.prepare()
    thread.join(10)
    assert len(drawn) == 1
    assert drawn[0].numpy().shape == (2,)


def test_a_gradient_that_is_only_read() -> None:
    weight = wg.Parameter(wg.ones(2))
    norm = wg.jit(lambda: wg.zeros(()) if weight.grad is None else (weight.grad**2).sum())
    assert float(norm()) == 0.0
    weight.grad = wg.asarray([3.0, 4.0])
    assert float(norm()) == 25.0
    weight.grad = wg.asarray([1.0, 0.0])
    assert float(norm()) == 1.0
