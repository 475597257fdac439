"""Nests that reduce across their outer loops: columns are added up while a row is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import arrays, assert_close

F = wg.nn.functional


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The number of threads as it was."""
    before = wg.get_num_threads()
    yield
    wg.set_num_threads(before)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Some numbers."""
    rng = np.random.default_rng(sum(shape))
    return rng.normal(size=shape).astype(dtype)


def check(f: Callable[..., Any], *given: np.ndarray, tolerance: float = 3e-5) -> str:
    """Compiled and eager agree, and any number of threads gives the same bits. Gives the jobs."""
    tensors = [wg.asarray(a) for a in given]
    found = []
    for count in (1, 2, 3):
        wg.set_num_threads(count)
        found.append(arrays(wg.jit(f)(*tensors)))
    for other in found[1:]:
        assert [a.tobytes() for a in other] == [a.tobytes() for a in found[0]]
    expected = arrays(f(*tensors))
    scaled = [
        np.maximum(1, np.abs(e).max(initial=0)) if e.dtype.kind == "f" else 1 for e in expected
    ]
    assert_close(
        [a / s for a, s in zip(found[0], scaled, strict=True)],
        [e / s for e, s in zip(expected, scaled, strict=True)],
        tolerance,
    )
    return str(wg.compiler.dump(f, *tensors).jobs)


def nests(jobs: str) -> list[str]:
    """The kinds of nests in a listing of jobs."""
    heads = [line for line in jobs.splitlines() if ". nest" in line]
    return [line[line.index("nest") : line.index(":")] for line in heads]


def normalised(x: Any, weight: Any, bias: Any, dy: Any) -> Any:
    """Layer normalisation, forward and backward."""
    y, pull = wg.vjp(lambda *a: F.layer_norm(a[0], x.shape[-1:], a[1], a[2]), x, weight, bias)
    return y, pull(dy)


@pytest.mark.parametrize("shape", [(1030, 32), (257, 211), (64, 515), (6, 43, 130), (999, 48)])
def test_layer_norm_is_one_nest(shape: tuple[int, ...]) -> None:
    given = normal(*shape), normal(shape[-1]), normal(shape[-1]), 1 + normal(*shape)
    assert nests(check(normalised, *given)) == ["nest over rows and across"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes(dtype: Any) -> None:
    shape = (130, 270)
    given = [normal(*s, dtype=dtype) for s in (shape, shape[-1:], shape[-1:], shape)]
    tolerance = 3e-5 if dtype == np.float64 else 2e-2
    assert nests(check(normalised, *given, tolerance=tolerance))[0] == "nest over rows and across"


def test_dtypes_are_mixed() -> None:
    def f(x: Any, y: Any) -> Any:
        centred = x - wg.mean(x, axis=1, keepdims=True)
        return centred, wg.sum(wg.astype(centred, wg.float64) * y, axis=0), wg.sum(y, axis=0)

    assert "and across" in check(f, normal(133, 301), normal(133, 301, dtype=np.float64))


@pytest.mark.parametrize("shape", [(2048, 64), (1027, 130), (300, 999), (3, 701, 67), (70, 3001)])
def test_a_pass_without_rows(shape: tuple[int, ...]) -> None:
    """An element-wise result, with what is added up over all axes but the last."""
    axes = tuple(range(len(shape) - 1))

    def f(x: Any, dy: Any) -> Any:
        _, pull = wg.vjp(F.gelu, x)
        (dx,) = pull(dy)
        return dx, wg.sum(dx, axis=axes), wg.sum(x, axis=axes), wg.mean(dx * x, axis=axes)

    assert nests(check(f, normal(*shape), normal(*shape))) == ["nest and across"]


def test_every_kind_of_reduction() -> None:
    def f(x: Any) -> Any:
        many = [r(x, axis=0) for r in (wg.sum, wg.max, wg.min, wg.argmax, wg.argmin)]
        return [*many, wg.any(x > 3, axis=0), wg.all(x < 3, axis=0), wg.prod(1 + x / 999, axis=0)]

    x = np.round(normal(1501, 94), 1)
    x[700, 3], x[900, 5] = np.nan, np.inf
    jobs = check(lambda x: f(x)[1:7], x)
    assert nests(jobs) == ["nest and across"]
    clean = np.nan_to_num(x, posinf=0.0)
    check(f, clean)
    check(f, (clean * 10).astype(np.int32))
    rows = check(lambda x: [wg.max(x, axis=1), wg.argmax(x, axis=0), wg.any(x > 3, axis=0)], x)
    assert nests(rows) == ["nest over rows and across"]


def test_the_first_and_the_last_of_equals() -> None:
    x = np.zeros((4099, 40), np.float32)
    found = wg.jit(lambda x: (wg.argmax(x, axis=0), wg.argmin(x + 1, axis=0)))(wg.asarray(x))
    assert all((np.asarray(a) == 0).all() for a in found)


def test_sums_that_come_before_those_of_rows() -> None:
    def f(x: Any, w: Any) -> Any:
        columns, weighted = wg.sum(x, axis=0), wg.sum(x * w, axis=0)
        return (
            columns,
            weighted,
            wg.sum(x * w, axis=1),
            x / wg.sum(wg.exp(x), axis=1, keepdims=True),
        )

    assert nests(check(f, normal(500, 129), normal(129))) == ["nest over rows and across"]


def test_what_needs_the_sums_comes_later() -> None:
    def f(x: Any) -> Any:
        y = F.softmax(x, dim=1)
        total = wg.sum(y, axis=0)
        return y, total, y - total, wg.sum((y - total) ** 2, axis=0)

    jobs = check(f, normal(311, 140))
    assert nests(jobs)[0] == "nest over rows and across"
    assert len(nests(jobs)) == 2


def test_a_loss_with_the_gradient_of_a_bias() -> None:
    labels = np.arange(400) % 90

    def f(x: Any, bias: Any) -> Any:
        loss = lambda x, b: F.cross_entropy(x + b, wg.asarray(labels))
        return wg.value_and_grad(loss, argnums=(0, 1))(x, bias)

    assert "nest over rows and across" in check(f, normal(400, 90), normal(90))


def test_sums_over_an_outer_axis() -> None:
    """Of three axes one is summed, and one stands around."""

    def f(x: Any) -> Any:
        centred = x - wg.mean(x, axis=-1, keepdims=True)
        return centred, wg.sum(centred * x, axis=0), wg.sum(centred, axis=0)

    assert "and across" in check(f, normal(40, 13, 96))
    assert "and across" in check(lambda x: (wg.sum(x, axis=0), x + 1), normal(80, 40, 50))
    assert "and across" in check(lambda x: (wg.sum(x, axis=1), x + 1), normal(9, 300, 70))


def test_rows_that_lie_apart() -> None:
    """What is read in another order than row by row is still right."""

    def f(x: Any) -> Any:
        y = wg.permute_dims(x, (1, 0))
        return F.softmax(y, dim=1), wg.sum(y, axis=0), wg.sum(F.softmax(y, dim=1), axis=0)

    check(f, normal(200, 210))
    check(lambda x: f(x[::-1, 3:]), normal(200, 210))
    check(lambda x: f(wg.pad(x, [(1, 2), (0, 3)])), normal(200, 210))

    def image(x: Any, w: Any) -> Any:
        y = F.conv2d(x, w, padding=1)
        z = F.softmax(y, dim=-1)
        return z, wg.sum(z * y, axis=(0, 1, 2))

    check(image, normal(4, 3, 32, 40), normal(8, 3, 3, 3))


def test_gathered_rows() -> None:
    at = np.arange(700) * 9 % 500

    def f(table: Any) -> Any:
        x = wg.take(table, wg.asarray(at), axis=0)
        return wg.sum(x, axis=0), F.log_softmax(x, dim=1), wg.max(x, axis=0)

    assert "and across" in check(f, normal(500, 77))


def test_what_is_small_is_left_alone() -> None:
    def f(x: Any) -> Any:
        return F.softmax(x, dim=1), wg.sum(x, axis=0), wg.sum(F.softmax(x, dim=1), axis=0)

    assert "across" not in check(f, normal(40, 40))


def test_a_few_rows_are_added_up_column_by_column() -> None:
    """The entries of windows, say: their sums stay in registers."""
    few, many = normal(9, 5, 4096), normal(90, 5, 4096)
    assert "across" not in check(lambda x: wg.sum(x, axis=0), few)
    assert "across" in check(lambda x: wg.sum(x, axis=0), many)


def test_state_is_updated_where_the_sums_are_joined() -> None:
    """The bias is read by the rows, and written when all have run."""
    x, dy = wg.asarray(normal(2000, 80)), wg.asarray(normal(2000, 80))
    found = []
    for wrap in (lambda f: f, wg.jit):
        bias = wg.Parameter(wg.zeros(80))

        def step(x: Any, dy: Any, bias: Any = bias) -> Any:
            y = wg.tanh(x + bias)
            gradient = wg.sum(dy * (1 - y * y), axis=0)
            bias.assign(bias - 0.01 * gradient)
            return y

        run = wrap(step)
        results = [arrays(run(x, dy)) for _ in range(3)]
        found.append((results, arrays(bias)))
    assert_close(found[1], found[0])
