"""What goes wrong behind the compiler: NaN, no memory, refused code. State is untouched."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.small import run_python
from wengert.compiler import assemble, linked
from wengert.compiler.llvm import build
from wengert.errors import CompileError, NaNError, OutOfMemoryError

nn = wg.nn
HERE = "test_trouble.py"


class Training:
    """A model that learns, and all of its state."""

    def __init__(self, **options: Any) -> None:
        wg.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.opt = wg.optim.Adam(self.model.parameters(), lr=0.1)
        self.step = wg.jit(self._step, **options)

    def _step(self, x: Any) -> Any:
        y = self.model(x)
        loss = wg.mean(wg.sqrt(y * y))  # the derivative of the root at 0
        loss.backward()
        self.opt.step()
        self.opt.zero_grad()
        return loss

    def state(self) -> list[bytes]:
        slots = [b for boxes in self.opt.state.values() for b in boxes.values()]
        boxes = [*self.model.parameters(), *self.model.buffers(), *slots]
        counter = wg.random.default_generator.counter
        return [np.asarray(b.detach()).tobytes() for b in (counter, *boxes)]

    def is_still(self, before: list[bytes]) -> bool:
        """Whether nothing has changed. (Slots of the optimizer may have been opened.)"""
        return self.state()[: len(before)] == before


def line_of(f: Any, offset: int) -> str:
    return f"{HERE}:{f.__code__.co_firstlineno + offset}"


# -- NaN ------------------------------------------------------------------------------------------


def test_the_line_that_makes_nan_is_named() -> None:
    def f(x: Any, y: Any) -> Any:
        a = x * 2.0
        b = wg.log(a)
        return wg.sum(b + y)

    compiled = wg.jit(f, check_nan=True)
    assert np.isfinite(float(compiled(wg.ones(3), wg.ones(3))))
    with pytest.raises(NaNError) as caught:
        compiled(wg.asarray([1.0, -1.0, 2.0]), wg.ones(3))
    text = str(caught.value)
    assert text.startswith("[log] NaN came up here: ")
    assert line_of(f, 2) + ": b = wg.log(a)" in text
    assert "float32[3] with NaN in 1 of 3 entries between 0.6931 and 1.386" in text
    assert "from operand 0 float32[3] between -2 and 4" in text
    assert isinstance(caught.value, FloatingPointError)
    assert np.isnan(float(wg.jit(f)(wg.asarray([-1.0]), wg.ones(1))))


def test_nan_of_the_backward_pass_is_named_and_nothing_is_changed() -> None:
    training = Training(check_nan=True)
    x = wg.asarray(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    # A dropped entry is 0, and 0 · ∞ is what the derivative of √(y·y) gives there.
    caught = None
    while caught is None:
        before = training.state()
        try:
            training.step(x)
        except NaNError as error:
            caught = str(error)
    assert "in the derivative of that line" in caught
    assert line_of(Training._step, 2) in caught
    assert training.is_still(before)


def test_the_first_call_leaves_no_state_either() -> None:
    training = Training(check_nan=True)
    bad = np.ones((6, 4), np.float32)
    bad[2, 1] = np.nan
    before = training.state()
    with pytest.raises(NaNError, match=r"\[check_nan\] x has NaN before anything is computed"):
        training.step(wg.asarray(bad))
    assert training.is_still(before)


def test_nan_that_is_masked_is_not_blamed() -> None:
    def f(x: Any) -> Any:
        safe = wg.where(x > 0.0, wg.log(x), 0.0)  # NaN in a branch that is not taken
        return wg.sum(safe + wg.acos(x))

    assert (
        float(
            wg.jit(lambda x: wg.sum(wg.where(x > 0, wg.log(x), 0)), check_nan=True)(
                wg.asarray([-1.0, 1.0])
            )
        )
        == 0.0
    )
    with pytest.raises(NaNError, match=r"^\[acos\] NaN came up here"):
        wg.jit(f, check_nan=True)(wg.asarray([-0.5, 2.0]))


def test_nan_in_a_loop_is_named_with_its_step() -> None:
    def f(x: Any) -> Any:
        def body(c: Any, row: Any) -> Any:
            c = wg.sqrt(c - row)
            return c, c

        return wg.scan(body, wg.asarray(4.0), x)

    with pytest.raises(NaNError) as caught:
        wg.jit(f, check_nan=True)(wg.asarray([0.0, 1.0, 3.0, 1.0]))
    text = str(caught.value)
    assert text.startswith("[sqrt] NaN came up here, in step 2 of the loop at ")
    assert line_of(f, 2) in text


def test_nan_in_a_derivative_from_outside_is_caught() -> None:
    compiled = wg.jit(lambda x: wg.sum(wg.sqrt(x * x)), check_nan=True)
    with pytest.raises(NaNError, match="in the derivative of that line"):
        wg.grad(compiled)(wg.asarray([1.0, 0.0]))
    x = wg.Parameter(wg.asarray([1.0, 0.0]))
    loss = compiled(x)
    with pytest.raises(NaNError, match="in the derivative of that line"):
        loss.backward()
    assert x.grad is None


def test_the_option_stays_with_methods_and_copies() -> None:
    class Thing:
        @wg.jit(check_nan=True)
        def f(self, x: Any) -> Any:
            return wg.log(x)

    with pytest.raises(NaNError):
        Thing().f(wg.asarray([-1.0]))
    again = pickle.loads(pickle.dumps(wg.jit(wg.log, check_nan=True)))
    with pytest.raises(NaNError):
        again(wg.asarray([-1.0]))


# -- memory --------------------------------------------------------------------------------------


def test_no_memory_is_said_with_what_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    before = training.state()
    real = np.empty

    def empty(shape: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(shape, int) and shape > 10_000:
            raise MemoryError
        return real(shape, *args, **kwargs)

    x = wg.asarray(np.random.default_rng(0).normal(size=(512, 4)).astype(np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(linked.np, "empty", empty)
        with pytest.raises(OutOfMemoryError) as caught:
            training.step(x)
    text = str(caught.value)
    assert "[jit] there is not enough memory" in text
    assert "bytes) planned" in text
    assert "float32[512,8]" in text
    assert HERE in text
    assert isinstance(caught.value, MemoryError)
    assert training.is_still(before)
    assert np.isfinite(float(training.step(x)))


def test_memory_that_the_system_refuses() -> None:
    code = """
import resource
import wengert as wg

@wg.jit
def f(x):
    y = wg.sort(wg.tanh(x @ x), axis=0)
    return wg.sum(y @ y)

f(wg.ones((4, 4)))
x = wg.ones((4000, 4000))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), resource.RLIM_INFINITY))
try:
    f(x)
    print("enough")
except wg.errors.OutOfMemoryError as problem:
    print(problem)
"""
    assert "[jit] there is not enough memory" in run_python(code, WENGERT_NUM_THREADS="1")


@pytest.mark.parametrize("shape", [(1 << 30, 1 << 20), (1 << 31, 1 << 31)])
def test_no_memory_for_a_result(shape: tuple[int, int]) -> None:
    count = wg.Variable(wg.zeros(()))

    @wg.jit
    def f(x: Any) -> Any:
        count.assign(count + 1.0)
        return wg.broadcast_to(x, shape) + 1.0

    message = (
        r"\[jit\] there is not enough memory for a result .* for float32\[\d+,\d+\].*test_trou"
    )
    for _ in range(2):
        with pytest.raises(OutOfMemoryError, match=f"(?s){message}"):
            f(wg.ones(1))
    assert count.item() == 0.0


# -- code -----------------------------------------------------------------------------------------


def test_code_that_llvm_cannot_read_is_named_by_op_and_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = assemble.emit_nest

    def emit(module: Any, name: str, *args: Any) -> None:
        real(module, name, *args)
        module.bodies[name] = module.bodies[name].replace("fadd", "fadd nonsense", 1)

    monkeypatch.setattr(assemble, "emit_nest", emit)

    def f(x: Any) -> Any:
        return wg.exp(x) + 1.25

    with pytest.raises(CompileError) as caught:
        wg.jit(f)(wg.ones(5))
    text = str(caught.value)
    assert "[add] LLVM refuses its code (function nest_0), for add float32[5]" in text
    assert line_of(f, 1) in text


def test_code_that_llvm_cannot_compile_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = build.emit_object

    def emit_object(text: str, target: Any = None) -> bytes:
        for body in text.split("define ")[1:]:
            if "xor" in body.split("\n}")[0] and not body.startswith("internal"):
                raise RuntimeError("LLVM ERROR: cannot select")
        return real(text, target)

    monkeypatch.setattr(build, "emit_object", emit_object)
    monkeypatch.setenv("WENGERT_CACHE", "0")
    training = Training()
    before = training.state()

    def f(x: Any, i: Any) -> Any:
        return wg.linalg.inv(wg.tanh(x * 0.375)), wg.bitwise_xor(i, i + 9)

    with pytest.raises(CompileError) as caught:
        wg.jit(f)(wg.eye(5), wg.asarray([1, 2, 3]))
    text = str(caught.value)
    assert "[bitwise_xor] LLVM refuses its code" in text
    assert "got LLVM ERROR: cannot select" in text
    assert line_of(f, 1) in text
    assert training.is_still(before)


def test_code_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(*args: Any) -> None:
        raise AssertionError("a hole")

    monkeypatch.setattr(assemble, "emit_nest", emit)
    with pytest.raises(CompileError, match=r"\[sin\] no code could be written for it.*got a hole"):
        wg.jit(wg.sin)(wg.ones(5))
