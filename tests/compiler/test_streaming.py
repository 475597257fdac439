"""Large results are written past the cache, and rows fetched ahead: the same bits, wherever the
caller's arrays stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.compiler import assemble
from wengert.compiler.function import traced_program
from wengert.compiler.llvm import build, points
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core.spec import Spec

Array = np.ndarray[Any, Any]
TARGETS = [
    build.Target("generic", "+neon", "aarch64-unknown-linux-gnu"),
    build.Target("x86-64", "", "x86_64-unknown-linux-gnu"),
]


@pytest.fixture(autouse=True)
def caches_are_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large for them."""
    monkeypatch.setattr(assemble, "STREAM", 1)
    monkeypatch.setattr(points, "FAR", 1)


def centred(x: Any, bias: Any) -> Any:
    """Two results for the caller, of rows, and one that is added up."""
    y = x + bias
    y = y - wg.mean(y, axis=1, keepdims=True)
    scaled = y / wg.sqrt(wg.mean(y * y, axis=1, keepdims=True))
    return y, scaled, wg.sum(scaled * x, axis=0)


def program(rows: int, columns: int, dtype: Any) -> Any:
    """That for some sizes."""
    specs = [Spec((rows, columns), np.dtype(dtype)), Spec((columns,), np.dtype(dtype))]
    return simplify(traced_program(centred, specs))


def placed(spec: Spec, offset: int) -> Array:
    """An array that starts so many bytes behind a multiple of 64, between others of ones."""
    raw = np.full(spec.nbytes + 256, 255, np.uint8)
    start = -raw.ctypes.data % 64 + 64 + offset
    return raw[start : start + spec.nbytes].view(spec.dtype).reshape(spec.shape)


def run(compiled: Native, arrays: list[Array], offset: int) -> list[Array]:
    """Results in arrays that stand so, with nothing written around them."""
    outputs = [placed(s, offset) for s in compiled.outputs]
    for i, a in enumerate([*arrays, *outputs]):
        compiled.table[i] = a.ctypes.data
    compiled()
    for a in outputs:
        raw = a
        while raw.base is not None:
            raw = raw.base
        start = a.ctypes.data - raw.ctypes.data
        assert (raw[:start] == 255).all()
        assert (raw[start + a.nbytes :] == 255).all()
    return outputs


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(200, 256), (70, 1000), (60, 997)])
def test_results_are_the_same_wherever_they_stand(shape: tuple[int, int], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(dtype) for s in (shape, shape[1:])]
    made = program(*shape, dtype)
    found = []
    for threads in (1, 3):
        compiled = Native(made, threads)
        for offset in (0, 16, 8):  # the last is no multiple of 16: the ordinary way
            found.append(run(compiled, arrays, offset))
    for other in found[1:]:
        assert [a.tobytes() for a in other] == [a.tobytes() for a in found[0]]
    expected = centred(*map(wg.asarray, arrays))
    tolerance = 0.05 if dtype == np.float16 else 1e-4
    for a, e in zip(found[0], expected, strict=True):
        np.testing.assert_allclose(
            a.astype(float), np.asarray(e).astype(float), tolerance, tolerance
        )


def test_only_results_that_nothing_reads_again() -> None:
    def f(x: Any) -> Any:
        y = wg.exp(x)
        return y, wg.cumulative_sum(y, axis=0)

    text = assemble.assemble(program(200, 256, np.float32)).module.text()
    assert text.count("!nontemporal") >= 8
    assert "llvm.prefetch" in text
    specs = [Spec((300, 64), np.dtype(np.float32))]
    assert "!nontemporal" not in assemble.assemble(traced_program(f, specs)).module.text()
    uneven = assemble.assemble(program(60, 997, np.float32)).module.text()
    assert "!nontemporal" not in uneven  # rows that start anywhere


def test_what_is_updated_in_place_stays_in_the_cache() -> None:
    state = wg.Variable(wg.zeros((128, 64)))

    @wg.jit
    def step(x: Any) -> None:
        state.assign(state + x)

    text = wg.compiler.dump(step, wg.ones((128, 64)), llvm=True).llvm
    assert "define void @nest_" in text
    assert "!nontemporal" not in text


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.triple.split("-")[0])
def test_other_processors(target: build.Target) -> None:
    text = assemble.assemble(program(200, 256, np.float32)).module.text()
    written = build.emit_assembly(text, target)
    assert ("stnp" if target.triple.startswith("aarch64") else "movnt") in written
