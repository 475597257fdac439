"""What users of `jit` meet first: methods, threads, gradients, names bound anew, errors."""

from __future__ import annotations

import functools
import gc
import pickle
import sys
import weakref
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.core.errors import ArgumentError, DtypeError, RecompileWarning, TraceError


def compiled(f: Any) -> int:
    return len(f.history.events)


# -- threads -------------------------------------------------------------------------------------


def test_the_number_of_threads_is_that_at_the_call(threads: None) -> None:
    f = wg.jit(lambda x, y: (wg.exp(x @ y).sum(0), x @ y))
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(150, 150)).astype(np.float32) / 10 for _ in range(2))
    wg.set_num_threads(1)
    expected = [a.numpy().tobytes() for a in f(x, y)]
    (cached,) = f.cache[next(iter(f.cache))]
    executable = cached.entry.executable
    used: list[int] = []
    pool = executable.pool

    class Watched:
        def run(self, steps: Any, threads: int) -> int:
            used.append(threads)
            return int(pool.run(steps, threads))

        def request(self, *given: Any) -> None:
            """Every run is to come by here."""

    executable.pool = Watched()
    for count in (3, 1, 2, 4):
        wg.set_num_threads(count)
        assert [a.numpy().tobytes() for a in f(x, y)] == expected
    assert used == [3, 1, 2, 4]
    assert executable.threads == 4
    assert compiled(f) == 1


# -- methods -------------------------------------------------------------------------------------


class Scale:
    def __init__(self, by: float) -> None:
        self.by = by

    @wg.jit
    def f(self, x: Any) -> Any:
        """Scale it."""
        return x * self.by


@pytest.mark.usefixtures("interpreted")
def test_a_method_of_a_temporary_object() -> None:
    assert Scale(2.0).f(wg.ones(2)).tolist() == [2.0, 2.0]
    assert functools.partial(Scale(2.0).f, wg.ones(2))().tolist() == [2.0, 2.0]
    method = Scale(3.0).f
    gc.collect()
    assert method(wg.ones(1)).tolist() == [3.0]
    assert method.name == "Scale.f"
    assert "compiled once" in str(method.explain())


@pytest.mark.usefixtures("interpreted")
def test_a_method_has_the_programs_of_its_object_and_does_not_keep_it() -> None:
    thing, other = Scale(2.0), Scale(2.0)
    thing.f(wg.ones(1))
    thing.f(wg.ones(1))
    assert compiled(thing.f) == 1
    assert compiled(other.f) == 0
    assert thing.f == thing.f != other.f
    assert len({thing.f, thing.f, other.f}) == 2
    assert pickle.loads(pickle.dumps(thing.f))(wg.ones(1)).tolist() == [2.0]
    alive = weakref.ref(thing)
    del thing
    gc.collect()
    assert alive() is None


# -- gradients -----------------------------------------------------------------------------------


def training(whole: bool) -> tuple[Any, Any, Any]:
    wg.random.seed(0)
    net = wg.nn.Linear(2, 1)
    opt = wg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        (opt if whole else net).zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return net, opt, step


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("whole", [True, False])
def test_gradients_that_are_cleared_unread_do_not_matter(whole: bool) -> None:
    x = np.ones((3, 2), np.float32)
    net, _, eager = training(whole)
    other, _, step = training(whole)
    step = wg.jit(step)
    for _ in range(4):
        np.testing.assert_allclose(step(x).numpy(), eager(x).numpy(), rtol=1e-5)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(q.grad.numpy(), p.grad.numpy(), rtol=1e-5)
    assert compiled(step) == 1


@pytest.mark.usefixtures("interpreted")
def test_a_gradient_that_is_only_cleared_is_cleared() -> None:
    weight = wg.Parameter(wg.ones(2))

    @wg.jit
    def clear(x: Any) -> Any:
        weight.grad = None
        return x * 2.0

    for given in (None, wg.ones(2), None, wg.ones(2)):
        weight.grad = given
        clear(wg.ones(1))
        assert weight.grad is None
    assert compiled(clear) == 1


@pytest.mark.usefixtures("interpreted")
def test_gradients_that_are_added_to_matter() -> None:
    weight = wg.Parameter(wg.ones(2))

    @wg.jit
    def add(x: Any) -> Any:
        (weight * x).sum().backward()
        seen = weight.grad
        weight.grad = None
        return seen

    for given in (None, wg.ones(2), None, wg.ones(2)):
        weight.grad = given
        assert add(wg.ones(2)).tolist() == ([1.0, 1.0] if given is None else [2.0, 2.0])
        assert weight.grad is None
    assert compiled(add) == 2


# -- names that are bound anew -------------------------------------------------------------------

FACTOR: Any = 2.0


def helper(x: Any) -> Any:
    return x + 1.0


@pytest.mark.usefixtures("interpreted")
def test_a_global_that_is_bound_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    f = wg.jit(lambda x: helper(x) * FACTOR)
    x = wg.ones(1)
    assert f(x).tolist() == [4.0]
    for value, expected in ((3.0, 6.0), (np.array([5.0], np.float32), 10.0), (2.0, 4.0)):
        monkeypatch.setitem(globals(), "FACTOR", value)
        assert f(x).tolist() == f(x).tolist() == [expected]
    assert compiled(f) == 3, "the first is used again"
    assert "the name 'FACTOR' that the function reads: 2.0 → 3.0" in str(f.explain())
    monkeypatch.setitem(globals(), "FACTOR", float("2.0"))  # another object, equal
    assert f(x).tolist() == [4.0]
    assert compiled(f) == 3
    monkeypatch.setitem(globals(), "helper", lambda x: x + 2.0)
    assert f(x).tolist() == [6.0]
    assert compiled(f) == 4
    bound = f.bind(np.ones(1, np.float32))
    assert bound().tolist() == [6.0]
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    with pytest.warns(RecompileWarning, match="'FACTOR' .*: 2.0 → 3.0; fix: pass FACTOR"):
        assert bound().tolist() == [9.0]


@pytest.mark.usefixtures("interpreted")
@pytest.mark.filterwarnings("ignore::wengert.core.errors.RecompileWarning")
def test_a_closed_over_variable_that_is_bound_anew() -> None:
    table: Any = wg.ones(2)
    model = wg.nn.Linear(2, 2)
    kept = [model]

    @wg.jit
    def f(x: Any) -> Any:
        return model(x) + table

    for _ in range(2):
        for table in (wg.ones(2), wg.zeros(2)):
            model = wg.nn.Linear(2, 2)
            kept.append(model)
            x = np.ones((1, 2), np.float32)
            np.testing.assert_allclose(f(x).numpy(), (model(x) + table).numpy(), rtol=1e-5)
            np.testing.assert_allclose(f(x).numpy(), (model(x) + table).numpy(), rtol=1e-5)
    assert compiled(f) == 4


@pytest.mark.usefixtures("interpreted")
def test_names_inside_of_a_transform() -> None:
    power = 2

    def loss(x: Any) -> Any:
        return (x**power).sum()

    f = wg.jit(wg.grad(loss))
    assert f(wg.full(1, 2.0)).tolist() == [4.0]
    power = 3
    assert f(wg.full(1, 2.0)).tolist() == [12.0]


# -- reports -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("interpreted")
def test_a_change_of_mode_is_one_reason() -> None:
    net = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Dropout(0.5), wg.nn.Linear(2, 2))
    f = wg.jit(lambda x: net(x))
    f(wg.ones((1, 2)))
    net.eval()
    f(wg.ones((1, 2)))
    (reason,) = f.history.events[1].reasons
    assert str(reason) == "Sequential.training (and 3 more): True → False"


@pytest.mark.usefixtures("interpreted")
def test_two_arguments_that_change_together_warn_once() -> None:
    f = wg.jit(lambda x, y: x + y)
    for n in (1, 2, 3):
        f(np.ones(n), np.ones(n))
    with pytest.warns(RecompileWarning, match="because of x: .* and y: .*; fix: .* of y") as caught:
        f(np.ones(4), np.ones(4))
    assert len(caught) == 1


# -- what is said when a function is decorated ---------------------------------------------------


def step(x: Any, kind: str = "a") -> Any:
    return x


def test_static_arguments_that_are_not_there() -> None:
    with pytest.raises(ArgumentError, match=r"static_argnames names .*'kin', .*parameters x, kind"):
        wg.jit(step, static_argnames="kin")
    for n in (2, -3):
        with pytest.raises(ArgumentError, match=rf"static_argnums names .* got {n}, and 2 pos"):
            wg.jit(static_argnums=n)(step)
    wg.jit(lambda *args, **kwargs: args[0], static_argnums=5, static_argnames="any")
    wg.jit(step, static_argnums=-1, static_argnames=("kind",))


def test_functions_whose_body_runs_later() -> None:
    def generator(x: Any) -> Any:
        yield x

    async def coroutine(x: Any) -> Any:
        return x

    async def both(x: Any) -> AsyncIterator[Any]:
        yield x

    for f, kind in ((generator, "generator"), (coroutine, "coroutine"), (both, "asynchronous")):
        with pytest.raises(ArgumentError, match=rf"an? {kind}.* cannot be compiled: its body runs"):
            wg.jit(f)


@wg.jit
def doubled(x: Any) -> Any:
    return x * 2.0


@pytest.mark.usefixtures("interpreted")
def test_a_decorated_function_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    other = wg.jit(step)
    assert pickle.loads(pickle.dumps(other))(wg.ones(1)).tolist() == [1.0]


# -- loops, and what a trace does not know -------------------------------------------------------


@pytest.mark.usefixtures("interpreted")
def test_loops_say_the_same_eagerly_and_compiled() -> None:
    rows = wg.ones(3)

    def scanned(xs: Any) -> Any:
        return wg.scan(lambda c, x: (c + x, c), 0, xs)

    def counted(xs: Any) -> Any:
        return wg.fori_loop(0, 3, lambda i, c: c + xs, 0.0)

    for f, kind, match in (
        (scanned, DtypeError, r"\[scan\] carry must keep its shape and dtype; .*0 for 0\.0"),
        (counted, ValueError, r"\[fori_loop\] carry must keep its shape and dtype"),
    ):
        said = []
        for run in (f, wg.jit(f)):
            with pytest.raises(kind, match=match) as caught:
                run(rows)
            said.append(str(caught.value).partition("\n")[0])
        assert said[0] == said[1]
    with pytest.raises(ArgumentError, match=r"one of them must say it; got neither; .*length=10"):
        wg.scan(lambda c, x: (c, x), 0.0)


@pytest.mark.parametrize(
    "f", [lambda x: x[x > 0], wg.nonzero, wg.unique_values], ids=["mask", "nonzero", "unique"]
)
def test_shapes_that_depend_on_values(f: Any) -> None:
    with pytest.raises(TraceError, match="inside jit, vmap or trace"):
        wg.jit(lambda x: f(x))(wg.ones(3))


def test_the_warning_of_the_cache_is_one_of_the_library() -> None:
    from wengert.compiler.llvm import cache

    assert wg.errors.CacheWarning is cache.CacheWarning


# -- arguments and results that are no arrays of ours ------------------------------------------


@dataclass
class Pair:
    first: Any
    second: Any


def _set(x: Any) -> Any:
    return {x.sum()}


def _object(x: Any) -> Any:
    return Pair(x, x * 2.0)


def _queue(x: Any) -> Any:
    return [x, deque([(x, 1)])]


@pytest.mark.parametrize("f", [_set, _object, _queue])
def test_results_that_would_keep_tensors_of_the_trace(f: Any) -> None:
    message = (
        rf"\[jit\] {f.__name__} returns a \w+ that holds a tensor.*fix: .*register_pytree_node"
    )
    with pytest.raises(TraceError, match=message):
        wg.jit(f)(wg.ones(2))


def test_results_that_would_run_later() -> None:
    for f in (lambda x: (r * 2.0 for r in x), lambda x: map(wg.sin, x)):
        with pytest.raises(TraceError, match="which would run after the call; fix: return a list"):
            wg.jit(f)(wg.ones(2))


def test_results_that_are_objects_without_tensors() -> None:
    found = wg.jit(lambda x: (x * 2.0, Pair(1, "a"), {3}))(wg.ones(2))
    assert found[0].tolist() == [2.0, 2.0]
    assert found[1:] == (Pair(1, "a"), {3})


UNKNOWN = [
    np.array([1j]),
    np.array(["a"]),
    np.array([None, 1]),
    np.zeros(2, [("a", "f4")]),
    np.array(["2020-01-01"], "M8[D]"),
    np.complex64(1),
]


@pytest.mark.parametrize("x", UNKNOWN, ids=lambda x: str(x.dtype))
def test_arrays_of_other_dtypes_are_refused_as_they_are_eagerly(x: Any) -> None:
    f = wg.jit(lambda x: x)
    for call in (wg.asarray, f, f.bind):
        with pytest.raises(DtypeError, match="not a dtype that arrays can have"):
            call(x)


def test_arrays_of_another_byte_order_are_read() -> None:
    f = wg.jit(lambda x, y: x * y)
    there, here = np.arange(3, dtype=">f4"), np.arange(3, dtype="<f4")
    for x, y in ((there, here), (here, there), (there, there), (here, here), (there, here)):
        assert f(x, y).tolist() == [0.0, 1.0, 4.0]
        assert f(x, y).dtype == wg.float32
    assert compiled(f) == 1
    foreign = there if sys.byteorder == "little" else here
    with pytest.raises(ArgumentError, match=r"foreign byte order; fix: .*\(x, 'float32'\)"):
        f.bind(foreign, foreign)
    tracked = wg.grad(lambda w: wg.sum(f(foreign, w)))(wg.ones(3))
    assert tracked.tolist() == [0.0, 1.0, 2.0]
