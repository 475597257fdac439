"""Rows that are gone through several times: what is dear is computed once, and the bits are those
that come of computing it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import arrays
from tests.compiler.test_crossing import check, nests, normal
from wengert.compiler.llvm import kept

F = wg.nn.functional


def loss_and_gradient(x: Any, y: Any) -> Any:
    """Of a classifier's scores."""
    return wg.value_and_grad(F.cross_entropy)(x, y)


def labels(rows: int, classes: int) -> np.ndarray:
    """Classes, some of which count for nothing."""
    found = np.arange(rows) * 7 % classes
    found[::5] = -100
    return found


def code(f: Callable[..., Any], *given: np.ndarray) -> str:
    """The LLVM text of a program."""
    return str(wg.compiler.dump(f, *[wg.asarray(a) for a in given]).llvm)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(9, 1000), (40, 33), (3, 5, 260), (300, 7), (2, 4097)])
def test_the_same_bits_as_computed_again(
    shape: tuple[int, ...], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WENGERT_CACHE", "0")

    def f(x: Any) -> Any:
        wave = wg.sin(x) * wg.exp(x)
        centred = wave - wg.mean(wave, axis=-1, keepdims=True)
        return F.softmax(x, dim=-1), F.log_softmax(x, dim=-1), centred * wave, wg.max(wave, axis=-1)

    x = wg.asarray(normal(*shape, dtype=dtype))
    found = arrays(wg.jit(f)(x))
    monkeypatch.setattr(kept, "DEAR", 1 << 30)
    again = arrays(wg.jit(lambda x: f(x))(x))
    assert [a.tobytes() for a in found] == [a.tobytes() for a in again]


def test_a_softmax_has_one_exponential_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(64, 128)  # a multiple of the lanes: one loop a pass
    once = code(lambda x: F.softmax(x, dim=-1), x)
    monkeypatch.setattr(kept, "DEAR", 1 << 30)
    twice = code(lambda x: F.softmax(x, dim=-1), x)
    assert 0 < once.count("@llvm.fma") < twice.count("@llvm.fma")


def test_the_listing_says_what_is_kept() -> None:
    jobs = str(wg.compiler.dump(lambda x: F.softmax(x, dim=-1), wg.asarray(normal(64, 128))).jobs)
    assert jobs.count("exp(") == 1
    assert jobs.count("kept for the row") == 1


def test_long_rows_are_computed_again() -> None:
    assert "alloca [" not in code(lambda x: F.softmax(x, dim=-1), normal(16, 20_000))
    check(lambda x: F.softmax(x, dim=-1), normal(16, 20_000))


@pytest.mark.parametrize("shape", [(128, 1000), (515, 70), (64, 512)])
def test_a_loss_and_its_gradient_take_one_pass(shape: tuple[int, int]) -> None:
    """How many labels count is found out first, so that nothing has to wait for the loss."""
    rows, classes = shape
    jobs = check(loss_and_gradient, normal(*shape), labels(rows, classes))
    assert len(nests(jobs)) == 3
    assert jobs.count("exp(") == 1
    ignored = np.full(rows, -100)
    loss, gradient = arrays(wg.jit(loss_and_gradient)(*map(wg.asarray, (normal(*shape), ignored))))
    assert np.isnan(loss)
    assert not gradient.any()


def test_masked_and_infinite_scores() -> None:
    """Entries of −∞ have no share; rows with +∞ or nothing else than −∞ are NaN, as eagerly."""
    x = normal(64, 600)
    x[3, ::2] = -np.inf
    x[10, 5] = np.inf
    x[20] = -np.inf
    x[30, 7] = np.nan
    x[40] *= 300
    y = np.arange(64) * 9 % 600
    y[3] = 1
    given = wg.asarray(x), wg.asarray(y)
    rows = lambda x, y: wg.grad(lambda x: wg.sum(F.cross_entropy(x, y, reduction="none")))(x)
    (found,), (expected,) = arrays(wg.jit(rows)(*given)), arrays(rows(*given))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(found[[10, 20, 30]]).all()
    assert np.isfinite(np.delete(found, [10, 20, 30], axis=0)).all()
    assert not found[3, ::2].any()
