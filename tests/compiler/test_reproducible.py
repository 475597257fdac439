"""The promises of docs/reproducibility.md: which results are the same, bit by bit, and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.digests import run
from tests.compiler.simplifying import same_bits, special
from tests.compiler.small import run_python
from wengert.compiler.function import traced_program
from wengert.compiler.ir import evaluate
from wengert.compiler.llvm import build, processor
from wengert.core import dtypes
from wengert.core.errors import ArgumentError
from wengert.core.spec import Spec

ROOT = Path(__file__).parents[2]
Found = dict[str, tuple[str, bool]]
HOST = build.host()
X86 = HOST.triple.startswith("x86_64")


def digests(threads: int, every: int, **environment: str) -> Found:
    """What another process computes: digests of results, and whether they are right."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.compiler.digests", str(threads), str(every)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return {name: (bits, right) for name, (bits, right) in json.loads(done.stdout).items()}


def wrong(found: Found) -> list[str]:
    """What a process computed that does not agree with the interpreted results."""
    return [name for name, (_, right) in found.items() if not right]


def differ(a: Found, b: Found) -> list[str]:
    """What two processes computed differently."""
    assert a.keys() == b.keys()
    return [name for name in a if a[name][0] != b[name][0]]


needs_avx512 = pytest.mark.skipif(not HOST.has("avx512f"), reason="a processor with AVX-512")
needs_avx2 = pytest.mark.skipif(
    not (HOST.has("avx2") and HOST.has("fma")), reason="a processor with AVX2 and FMA"
)


def check_processors(every: int) -> None:
    """Results on processors that can do less."""
    here = digests(2, every)
    assert not wrong(here)
    lesser = ["x86-64-v3"] + ["-avx512f"] * HOST.has("avx512f")
    for request in lesser:
        assert not differ(here, digests(1, every, WENGERT_CPU=request)), request
    without = digests(2, every, WENGERT_CPU="x86-64-v3,-avx2,-fma")
    assert not wrong(without)
    plain = digests(3, every, WENGERT_CPU="x86-64")
    assert not wrong(plain)
    assert not differ(without, plain)


@needs_avx2
@needs_avx512
def test_without_avx512_every_bit_is_the_same() -> None:
    here, without = digests(2, 6), digests(1, 6, WENGERT_CPU="-avx512f")
    assert not wrong(here)
    assert not differ(here, without)


@needs_avx2
def test_plain_sse2_is_right() -> None:
    assert not wrong(digests(2, 6, WENGERT_CPU="x86-64"))


@pytest.mark.slow
@needs_avx2
def test_all_processors_agree_on_everything() -> None:
    check_processors(1)


@pytest.mark.slow
def test_processes_and_numbers_of_threads_agree_on_everything() -> None:
    one = digests(1, 1)
    for threads in (2, 3, 5):
        assert not differ(one, digests(threads, 1))


# -- within a process ----------------------------------------------------------------------------


def _step(n: int, d: int) -> Any:
    rng = np.random.default_rng(n)
    w = wg.asarray(rng.normal(size=(d, d)).astype(np.float32))

    def f(x: wg.Tensor) -> wg.Tensor:
        y = wg.softmax(wg.tanh(x @ w), axis=-1)
        return wg.sum(y * y, axis=0) + wg.mean(x)

    return wg.value_and_grad(lambda x: wg.sum(f(x)))


def test_runs_and_numbers_of_threads_give_the_same_bits() -> None:
    f = wg.jit(_step(300, 64))
    x = wg.asarray(np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32))
    found = []
    for threads in (1, 2, 3, 1):
        wg.set_num_threads(threads)
        f.clear_cache()
        found += [[np.asarray(a).tobytes() for a in f(x)] for _ in range(3)]
    wg.set_num_threads(None)
    assert all(bits == found[0] for bits in found)


def test_where_arrays_stand_does_not_matter() -> None:
    f = wg.jit(_step(40, 33))
    room = np.zeros(40 * 33 + 16, np.float32)
    data = np.random.default_rng(1).normal(size=(40, 33)).astype(np.float32)
    found = []
    for start in (0, 1, 5, 16):
        x = room[start : start + data.size].reshape(data.shape)
        x[...] = data
        found.append([np.asarray(a).tobytes() for a in f(x)])
    assert all(bits == found[0] for bits in found)


def _defined(x: wg.Tensor, y: wg.Tensor, i: wg.Tensor) -> list[wg.Tensor]:
    """Only what IEEE 754 defines, or what moves entries."""
    a = (x + y) * x - y / (x * x + 1.0)
    b = wg.where(a > x, wg.sqrt(wg.abs(a)), wg.maximum(x, -y))
    c = wg.concat([wg.floor(b), wg.round(a)[:, ::-1]], axis=0)
    d = wg.take(c, i, axis=0).reshape(-1)
    e = wg.max(c, axis=1), wg.argmin(wg.minimum(a, b), axis=0), wg.remainder(a, 1.5)
    return [a, b, c, d, *e, wg.pad(wg.sign(a), [(1, 2), (0, 1)]), i * 3 - 7]


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64])
def test_what_ieee_754_defines_is_the_same_compiled_and_interpreted(dtype: Any) -> None:
    specs = [Spec((17, 33), dtype), Spec((33,), dtype), Spec((9,), dtypes.int64)]
    program = traced_program(_defined, specs, whole=False)
    for seed in range(4):
        x, y = special(specs[0], seed), special(specs[1], seed + 9)
        if seed % 2:
            rng = np.random.default_rng(seed)
            x, y = (rng.normal(size=s.shape).astype(dtype) for s in specs[:2])
        arrays = [x, y, np.arange(9) * 3]
        with np.errstate(all="ignore"):
            expected = evaluate(program, arrays)
        for a, b in zip(run(program, arrays, 2), expected, strict=True):
            assert same_bits(a, b)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64])
def test_sums_and_products_are_as_near_as_promised(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    eps = float(np.finfo(dtype).eps)
    for n in (7, 100, 4096, 50_000):
        x, y = rng.normal(size=(3, n)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
        program = traced_program(
            lambda x, y: [wg.sum(x, axis=1), x @ y], [Spec.of(x), Spec.of(y)], whole=False
        )
        total, product = run(program, [x, y], 2)
        wide_x, wide_y = x.astype(np.longdouble), y.astype(np.longdouble)
        size = np.abs(wide_x).sum(axis=1)
        assert (np.abs(total - wide_x.sum(axis=1)) <= (n / 16 + 8) * eps * size).all()
        size = np.abs(wide_x) @ np.abs(wide_y)
        assert (np.abs(product - wide_x @ wide_y) <= n * eps / 2 * size).all()


# -- the variable ----------------------------------------------------------------------------------

FEATURES = "+64bit,+avx,+avx2,+avx512bw,+avx512f,+cmov,+cx8,+f16c,+fma,+fxsr,+mmx,+sse,+sse2,-xop"


@pytest.mark.parametrize(
    ("request_", "kept", "gone"),
    [
        ("-avx512f", "avx2 fma f16c", "avx512f avx512bw"),
        ("-avx", "sse2", "avx avx2 fma f16c avx512f"),
        ("-fma", "avx2 f16c", "fma avx512f avx512bw"),
        (" -avx512bw , -f16c ", "avx2 fma", "avx512bw avx512f f16c"),
        ("x86-64", "sse2 sse cmov", "avx fma"),
        ("x86-64,+avx2", "sse2 avx avx2", "fma avx512f"),
    ],
)
def test_a_processor_can_be_less(request_: str, kept: str, gone: str) -> None:
    cpu, features = processor.chosen(request_, "this", FEATURES)
    assert cpu == ("x86-64" if "x86" in request_ else "this")
    found = set(features.split(","))
    assert {"+" + f for f in kept.split()} <= found
    assert {"-" + f for f in gone.split()} <= found


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("i486", r"\[WENGERT_CPU\] 'i486' is no known kind of processor.*use one of x86-64, "),
        ("haswell", "this processor is no haswell: it lacks .*unset WENGERT_CPU"),
        ("+xop", "this processor has no xop; got WENGERT_CPU=\\+xop"),
        ("-avx9000", "'-avx9000' is no feature that LLVM knows"),
        ("-avx,fma", "'fma' is no feature"),
        ("-sse2", "every x86-64 processor has sse2"),
    ],
)
def test_what_is_no_processor_is_refused(request_: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        processor.chosen(request_, "this", FEATURES)


def test_the_variable_is_read_and_part_of_the_key() -> None:
    code = "from wengert.compiler.llvm import build; print(build.host().key)"
    plain = run_python(code, WENGERT_CPU="")
    assert plain == HOST.key or "WENGERT_CPU" in os.environ
    if X86:
        assert "/x86-64/" in run_python(code, WENGERT_CPU="x86-64")


def test_a_wrong_variable_is_said_at_the_first_call() -> None:
    code = """
import wengert as wg
f = wg.jit(lambda x: x + 1)
try:
    f(wg.ones(3))
except wg.errors.ArgumentError as problem:
    print(problem)
"""
    assert "[WENGERT_CPU] 'z80' is no known kind" in run_python(code, WENGERT_CPU="z80")
