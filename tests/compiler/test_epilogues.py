"""Epilogues: what follows a kernel is the same bits, computed in it or behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.test_native import run
from wengert.compiler import epilogues
from wengert.compiler.assemble import Assembly, assemble
from wengert.compiler.ir import evaluate
from wengert.compiler.schedule import schedule
from wengert.compiler.simplify import simplify

F = wg.nn.functional
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def array(*shape: int, dtype: Any = np.float32) -> wg.Tensor:
    return wg.asarray(RNG.normal(size=shape).astype(np.float32)).astype(dtype)


def mask(*shape: int) -> wg.Tensor:
    return wg.asarray(RNG.random(shape) < 0.7)


def fused(made: Assembly) -> list[str]:
    """The results of epilogues, by op."""
    return [t.name for job in made.jobs for t in job.follow]


def check(
    f: Callable[..., Any],
    *args: Any,
    monkeypatch: pytest.MonkeyPatch,
    expect: int | None = 1,
    tolerance: float = 2e-5,
) -> Assembly:
    """The results with epilogues are those without, to the bit, with any number of threads, and
    close to the interpreted ones. Gives the program, in which `expect` terms are in epilogues."""
    program = simplify(wg.jit(f).program(*args))
    given = [
        RNG.normal(size=t.shape).astype(t.dtype)
        if t.dtype != bool
        else np.asarray(RNG.random(t.shape) < 0.7)
        for t in program.inputs
    ]
    made = assemble(program)
    if expect is not None:
        assert len(fused(made)) == expect, fused(made)
    found = [run(program, given, threads) for threads in (1, 2, 3)]
    with monkeypatch.context() as patch:
        patch.setattr(epilogues, "KERNELS", ())
        assert not fused(assemble(program))
        plain = run(program, given, 2)
    for results in found:
        for a, b in zip(results, plain, strict=True):
            assert a.tobytes() == b.tobytes()
    for a, b in zip(plain, evaluate(program, given), strict=True):
        wide = [np.asarray(x, np.float64) for x in (a, b)]
        np.testing.assert_allclose(*wide, rtol=tolerance, atol=tolerance * 20)
    return made


SIZES = {
    "blocked": (70, 90, 130),
    "no tail": (64, 64, 96),
    "one tile": (8, 48, 700),
    "small": (5, 7, 9),
    "small, even": (8, 16, 8),
    "thin": (3, 300, 50),
    "one column": (70, 1, 90),
    "long k": (33, 20, 2500),
    "k in blocks": (40, 50, 1000),
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("transposed", [False, True])
def test_bias_and_activation(name: str, transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    m, n, k = SIZES[name]
    w = array(n, k) if transposed else array(k, n)

    def f(x: Any, w: Any, b: Any) -> Any:
        return F.relu(x @ (w.T if transposed else w) + b)

    made = check(f, array(m, k), w, array(n), monkeypatch=monkeypatch)
    (job,) = made.jobs
    assert job.unit.roots[0] not in job.writes, "the product itself is not kept"


@pytest.mark.parametrize("act", [F.gelu, wg.tanh, wg.sigmoid, F.silu], ids=lambda a: a.__name__)
def test_activations(act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check(lambda x, w: act(x @ w), array(50, 40), array(40, 70), monkeypatch=monkeypatch)


OPERANDS: dict[str, tuple[Callable[..., Any], list[wg.Tensor]]] = {
    "residual": (lambda y, r: y + r, [array(50, 70)]),
    "a number": (lambda y: y * 0.125, []),
    "a scalar": (lambda y, s: y * s + wg.exp(s), [array()]),
    "along rows": (lambda y, c: (y + c) * c, [array(50, 1)]),
    "two biases": (lambda y, b, c: y * b + c, [array(70), array(70)]),
    "a mask": (lambda y, m: wg.where(m, y * 2.0, 0.0), [mask(50, 70)]),
    "a slice": (lambda y, r: y - r[10:60, 3:73], [array(80, 75)]),
    "padded": (lambda y, r: y + wg.pad(r, ((1, 2), (3, 7))), [array(47, 60)]),
    "a position": (lambda y: y * wg.arange(70, dtype=wg.float32), []),
    "a comparison": (lambda y, b: y + b > 0, [array(70)]),
    "an integer": (lambda y: wg.astype(y * 3, wg.int8), []),
    "a wider dtype": (lambda y, b: wg.astype(y, wg.float64) + b, [array(70, dtype=wg.float64)]),
    "a narrower dtype": (lambda y, b: wg.astype(y + b, wg.bfloat16), [array(70)]),
    "another shape": (lambda y: wg.relu(y.reshape(5, 10, 7, 10)), []),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_operands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    then, more = OPERANDS[name]
    args = (array(50, 40), array(40, 70), *more)
    # The scalar's exponential is a term of its own.
    check(lambda x, w, *rest: then(x @ w, *rest), *args, monkeypatch=monkeypatch)


@pytest.mark.parametrize("dtype", [wg.float64, wg.float16, wg.bfloat16], ids=str)
def test_dtypes(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for m, n, k in ((50, 70, 40), (5, 7, 9), (1, 150, 90)):
        args = array(m, k, dtype=dtype), array(k, n, dtype=dtype), array(n, dtype=dtype)
        tolerance = 1e-10 if dtype == wg.float64 else 2e-2

        def f(x: Any, w: Any, b: Any) -> Any:
            return wg.tanh(x @ w + b)

        check(f, *args, monkeypatch=monkeypatch, tolerance=tolerance)


def test_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    args = array(20, 8, dtype=wg.int32), array(8, 30, dtype=wg.int32)
    check(lambda x, w: wg.abs(x @ w) + 1, *args, monkeypatch=monkeypatch)


def test_stacks_of_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    for m, n, k in ((40, 50, 30), (4, 9, 5)):
        args = array(2, 3, m, k), array(2, 3, k, n), array(3, 1, n)
        check(lambda x, w, b: F.relu(x @ w + b), *args, monkeypatch=monkeypatch)
    heads = array(2, 16, 4, 8), array(2, 16, 4, 8), array(16)

    def f(q: Any, k: Any, b: Any) -> Any:
        return wg.exp(wg.einsum("bqhd,bkhd->bhqk", q, k) * 0.25 + b)

    check(f, *heads, monkeypatch=monkeypatch)


def test_several_results_and_the_product_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any, w: Any, b: Any) -> Any:
        y = x @ w
        h = wg.tanh(y + b)
        return y, h

    made = check(f, array(50, 40), array(40, 70), array(70), monkeypatch=monkeypatch)
    (job,) = made.jobs
    assert job.unit.roots[0] in job.writes

    def g(x: Any, w: Any, b: Any) -> Any:
        h = wg.tanh(x @ w + b)
        return h, wg.square(h)

    check(g, array(50, 40), array(40, 70), array(70), monkeypatch=monkeypatch, expect=2)


def backward(x: Any, v: Any, w: Any, b: Any) -> Any:
    """The gradient of a small network in its input's first layer."""
    return wg.grad(lambda v: wg.sum(F.relu(x @ v + b) @ w * 3.0))(v)


def test_the_mask_of_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    args = array(50, 40), array(40, 60), array(60, 30), array(60)

    def f(x: Any, v: Any, w: Any, b: Any, t: Any) -> Any:
        def loss(v: Any) -> Any:
            return wg.sum(wg.square(F.relu(x @ v + b) @ w - t))

        return wg.grad(loss)(v)

    made = check(f, *args, array(50, 30), monkeypatch=monkeypatch, expect=None, tolerance=1e-3)
    assert "relu" in fused(made)
    assert "where" in fused(made)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3×3": ((4, 8, 9, 9), (20, 8, 3, 3), {"padding": 1}),
    "3×3, large": ((4, 64, 16, 16), (64, 64, 3, 3), {"padding": 1}),
    "few channels": ((3, 3, 7, 7), (40, 3, 3, 3), {}),
    "strided": ((2, 8, 11, 11), (36, 8, 3, 3), {"stride": 2, "padding": 1}),
    "1×1": ((2, 16, 6, 6), (24, 16, 1, 1), {}),
    "groups": ((2, 8, 8, 8), (12, 4, 3, 3), {"groups": 2}),
    "depth-wise": ((2, 24, 8, 8), (24, 1, 3, 3), {"groups": 24}),
    "a row": ((3, 6, 30), (10, 6, 5), {"padding": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, kernel, how = CONVOLUTIONS[name]
    conv = F.conv1d if len(shape) == 3 else F.conv2d
    last = (5, kernel[0], *(1,) * (len(shape) - 2))

    def f(x: Any, w: Any, b: Any, v: Any) -> Any:
        return conv(F.relu(conv(x, w, b, **how)), v)

    args = array(*shape), array(*kernel), array(kernel[0]), array(*last)
    check(f, *args, monkeypatch=monkeypatch, tolerance=1e-4)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_convolutions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask of an activation joins the gradient in the data of what followed it."""
    shape, kernel, how = CONVOLUTIONS[name]
    conv = F.conv1d if len(shape) == 3 else F.conv2d
    first = (shape[1], 5, *(1,) * (len(shape) - 2))
    start = (shape[0], 5, *shape[2:])

    def f(x: Any, u: Any, w: Any) -> Any:
        def loss(u: Any) -> Any:
            return wg.sum(wg.square(conv(F.relu(conv(x, u)), w, **how)))

        return wg.grad(loss)(u)

    args = array(*start), array(*first), array(*kernel)
    made = check(f, *args, monkeypatch=monkeypatch, expect=None, tolerance=1e-3)
    assert "where" in fused(made) or "relu" in fused(made)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w, b: wg.softmax(x @ w + b, axis=-1),
        lambda x, w, b: wg.relu(x @ w + b).T,
        lambda x, w, b: wg.sum(x @ w + b),
        lambda x, w, b: (x @ w)[::-1] + b,
        lambda x, w, b: wg.cumulative_sum(x @ w, axis=0) + b,
    ],
    ids=["softmax", "transposed", "sum", "reversed", "cumulative"],
)
def test_what_is_no_epilogue_is_right_as_well(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    args = array(50, 40), array(40, 70), array(70)
    check(f, *args, monkeypatch=monkeypatch, expect=None, tolerance=1e-4)


def test_what_is_read_at_a_computed_index_is_known_before_kernels_are_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What follows reads pools by the quotient of its own position: it is no epilogue, and the
    program is divided into jobs once, not again when the kernel's pieces are known."""

    def f(x: Any, w: Any, pools: Any) -> Any:
        def loss(image: Any) -> Any:
            return wg.sum(F.avg_pool2d(image, 2) * pools)

        return F.conv2d(x, w, padding=1) + wg.grad(loss)(wg.zeros((2, 8, 12, 12)))

    args = array(2, 4, 12, 12), array(8, 4, 3, 3), array(2, 8, 6, 6)
    check(f, *args, monkeypatch=monkeypatch, expect=0, tolerance=1e-4)
    divided: list[int] = []

    def counted(*given: Any) -> Any:
        divided.append(len(divided))
        return schedule(*given)

    program = simplify(wg.jit(f).program(*args))
    monkeypatch.setattr("wengert.compiler.assemble.schedule", counted)
    assemble(program)
    assert len(divided) == 1


def test_parameters_are_updated_by_nests_of_their_own() -> None:
    """They stand far apart in memory, piece by piece, and are slower to reach so."""
    wg.manual_seed(0)
    model = wg.nn.Sequential(wg.nn.Linear(40, 64), wg.nn.ReLU(), wg.nn.Linear(64, 8))
    opt = wg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    made = wg.compiler.dump(step, array(30, 40), array(30, 8)).assembly
    assert "relu" in fused(made)
    assert "where" in fused(made)
    written = {t for job in made.jobs for t in job.follow}
    assert not written & set(made.over)


def test_a_result_that_takes_the_place_of_an_operand_is_written_late() -> None:
    """A state that is both multiplied and added to is not overwritten while it is read."""
    state = wg.Variable(array(30, 30))
    w = array(30, 30)
    old = np.asarray(state.detach())

    @wg.jit
    def step(w: Any) -> None:
        state.assign(wg.tanh(state @ w + state))

    step(w)
    want = np.tanh(old @ np.asarray(w) + old)
    np.testing.assert_allclose(np.asarray(state.detach()), want, rtol=1e-4, atol=1e-5)


def test_a_dump_shows_them_with_the_users_lines() -> None:
    def f(x: Any, w: Any, b: Any) -> Any:
        y = x @ w
        return wg.tanh(y + b)

    first = f.__code__.co_firstlineno
    found = wg.compiler.dump(f, array(50, 40), array(40, 70), array(70)).jobs.splitlines()
    assert found[0].startswith("0. kernel contract: ")
    assert "and for each finished piece of %" in found[2]
    (line,) = [text for text in found if " = tanh(" in text]
    assert line.endswith(f"test_epilogues.py:{first + 2}")
    assert len([text for text in found if text[0].isdigit()]) == 1
