"""Random whole programs, forward and differentiated: compiled, they compute what they should."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings

import wengert as wg
import wengert.nn.functional as F
from tests.compiler.drawing import Recipe, recipes
from tests.compiler.edges import at_the_edge
from tests.compiler.rounding import Bounds
from tests.compiler.simplifying import same_bits
from wengert.compiler import assemble
from wengert.compiler.function import traced_program
from wengert.compiler.ir import Program
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core import dtypes
from wengert.core.spec import Spec

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", autouse=True)
def small_work_is_shared() -> Iterator[None]:
    """Small arrays are shared between threads as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "SERIAL", 0)
        patch.setattr(assemble, "SMALL", 0)
        yield


def run(compiled: Native, arrays: Sequence[Array], threads: int) -> list[Array]:
    """The results, with so many threads. Whatever reads or writes beside an array is noticed."""
    first = threads % 2 == 0
    outputs = [at_the_edge(np.full(s.shape, 77).astype(s.dtype), first) for s in compiled.outputs]
    given = [at_the_edge(a, first) for a in arrays]
    for out, source in compiled.aliases.items():
        outputs[out] = given[source]
    for i, a in enumerate([*given, *outputs]):
        compiled.table[i] = a.ctypes.data
    compiled.wanted = threads
    compiled()
    return outputs


def in_place(program: Program) -> Program:
    """The program with as many outputs as possible written over inputs."""
    aliases: dict[int, int] = {}
    for out, term in enumerate(program.outputs):
        for old, source in enumerate(program.inputs):
            if old not in aliases.values() and source.spec == term.spec:
                aliases[out] = old
                break
    return Program(program.inputs, program.outputs, aliases)


def check(f: Callable[..., list[wg.Tensor]], arrays: Sequence[Array], over: bool = False) -> None:
    """Compiled, interpreted and eager: within what rounding allows. With any number of threads:
    the same bits. `over`: results are written over inputs."""
    specs = [Spec.of(a) for a in arrays]
    program = traced_program(lambda *inputs: list(f(*inputs)), specs, whole=False)
    if not program.outputs:
        return
    if over:
        program = in_place(program)
    with np.errstate(all="ignore"):
        bounds = Bounds(program, arrays)
        eager = [np.asarray(x) for x in f(*[wg.asarray(a) for a in arrays])]
    assert not bounds.wrong(eager), f"eager: {bounds.wrong(eager)}\n{program}"
    compiled = Native(simplify(program), 3)
    one = run(compiled, arrays, 1)
    assert not bounds.wrong(one), f"compiled: {bounds.wrong(one)}\n{program}"
    for threads in (2, 3):
        for a, b in zip(run(compiled, arrays, threads), one, strict=True):
            assert same_bits(a, b), f"{threads} threads\n{program}"


@given(recipes())
@settings(max_examples=150)
def test_random_programs_compute_natively_what_they_do_eagerly(recipe: Recipe) -> None:
    check(recipe.function(), recipe.arrays(), over=bool(recipe.seed % 2))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_thousands_of_random_programs(part: int) -> None:
    @seed(part)
    @given(recipes())
    @settings(max_examples=650)
    def many(recipe: Recipe) -> None:
        check(recipe.function(), recipe.arrays(), over=bool(recipe.seed % 2))

    many()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 has lesser kinds")
@pytest.mark.parametrize("kind", ["x86-64", "x86-64-v2", "x86-64-v3"])
def test_random_programs_on_processors_that_can_do_less(kind: str) -> None:
    """LLVM writes masked loads and wide vectors in other ways for them."""
    chosen = "stay_right or compute_natively"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen]
    environment = {**os.environ, "WENGERT_CPU": kind}
    found = subprocess.run([*command, __file__], env=environment, capture_output=True, text=True)
    if "this processor is no" in found.stdout:
        pytest.skip(f"this processor is no {kind}")
    assert found.returncode == 0, found.stdout[-5000:]


# -- what random programs have found -----------------------------------------------------------


def drawn(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def _join_of_a_join(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """A result that is also read as an array of another shape, in which its axes do not align."""
    joined = wg.concat([x, x], axis=1)
    return [joined, wg.concat([y, joined.reshape(-1)[:80].reshape(4, 5, 4)], axis=1)]


def _stack_of_numbers(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Arrays without axes, read at an index that varies."""
    return [wg.stack([x, y], axis=0)]


def _kernel_of_a_part(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """A kernel that reads entries in the order of another array, which may lie in another order."""
    spread = wg.broadcast_to(wg.exp(x), (3, *x.shape))
    image = spread.reshape(-1)[:40].reshape(1, 2, 4, 5)
    found = F.conv_transpose2d(image, y, padding=1)
    return [wg.sum(wg.hypot(spread, x)), found, wg.sum(wg.sin(spread), axis=(0, 2))]


def _kernels_of_parts(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """The same of a kernel whose result can lie in one order only."""
    first = F.conv_transpose2d(x, y, stride=2)
    second = F.conv_transpose2d(first.reshape(-1)[:40].reshape(1, 2, 4, 5), y)
    return [wg.mean(first), second]


def _few_lanes_left(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """One lane beyond whole vectors, in a dtype that numbers are cut down to."""
    short = [(wg.astype(x, dtype), wg.astype(y, dtype)) for dtype in ("bfloat16", "float16")]
    return [a - b for a, b in short] + [wg.astype(x * 20.0, "int64").astype("int16")]


def _nothing_joined(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """A join of arrays without entries."""
    return [wg.concat([x, x], axis=0) + 1.0, wg.concat([y, y], axis=0)]


def _nothing_added(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Sums of no products, and lines without entries."""
    dots = [wg.einsum("ab,ab->", x, y), wg.matrix_transpose(x) @ y, x @ wg.matrix_transpose(y)]
    lines = [wg.sort(x, axis=0), wg.cumulative_sum(wg.matrix_transpose(x), axis=1)]
    return [*dots, *lines, wg.exp(wg.sum(x @ x[0:0].T, axis=0))]


def _crossed(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Results that are written over inputs, from which other results are made."""
    return [wg.log1p(wg.abs(y)), wg.copysign(y, x)]


def _crossed_rows(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """The same in rows, whose sums are needed first."""
    size = wg.sum(x * x, axis=1, keepdims=True)
    shift = wg.sum(wg.tanh(x), axis=1, keepdims=True)
    return [x / (size + 1.0) + y, wg.sin(y) * shift + x]


Found = tuple[Callable[..., list[wg.Tensor]], tuple[Array, ...]]


def _recipe(specs: Sequence[Spec], steps: Sequence[tuple[Any, ...]], order: int, s: int) -> Found:
    recipe = Recipe(tuple(specs), tuple(steps), order, s, special=False)
    return recipe.function(), tuple(recipe.arrays())


def _entry_for_no_lane() -> Found:
    """An entry that all lanes read, or none of them: where none does it may be nowhere."""
    steps = [
        ("along diff", 0, 0, 320),
        ("reduce kept", 1, 0, 350),
        ("one pool", 0, 0, 113),
        ("view cut", 2, 0, 624),
        ("along cumprod", 4, 0, 90),
    ]
    return _recipe([Spec((16, 4, 7), dtypes.float64)], steps, 2, 138)


def _maxima_of_halves() -> Found:
    """A maximum that is rounded when it is stored, and what it is the maximum of, which is not."""
    steps = [
        ("two loop", 177, 156, 834),
        ("reduce max", 179, 0, 71),
        ("view windows", 33, 282, 401),
        ("view padded", 522, 80, 359),
        ("unary neg", 62, 119, 0),
    ]
    halves = [Spec((1, 1, 1), dtypes.bfloat16), Spec((), dtypes.bfloat16)]
    return _recipe([*halves, Spec((1, 128, 1, 1), dtypes.float32)], steps, 1, 2612)


def _rows_of_three(x: wg.Tensor, y: wg.Tensor) -> list[wg.Tensor]:
    """Few lanes, each under a condition as well."""

    def body(carry: wg.Tensor, row: wg.Tensor) -> tuple[wg.Tensor, wg.Tensor]:
        carry = wg.tanh(carry * 0.5 + row)
        return carry, carry * row

    last, found = wg.scan(body, y, x)
    joined = wg.concat([found, last[None]], axis=0)
    return [joined, wg.sin(joined)]


FOUND: dict[str, Found] = {
    "a join of a join": (_join_of_a_join, (drawn(4, 5, 4), drawn(4, 5, 4))),
    "a stack of numbers": (_stack_of_numbers, (drawn(), drawn())),
    "a kernel of a part": (_kernel_of_a_part, (drawn(16, 3, 6, 4), drawn(2, 3, 3, 3))),
    "kernels of parts": (_kernels_of_parts, (drawn(1, 2, 4, 5), drawn(2, 3, 3, 3))),
    "crossed": (_crossed, (drawn(130), drawn(130))),
    "crossed rows": (_crossed_rows, (drawn(40, 33), drawn(40, 33))),
    "crossed columns": (
        lambda x, y: _crossed_rows(x, wg.sum(y, axis=1)[:, None]),
        (drawn(40, 33),) * 2,
    ),
    "nothing joined": (_nothing_joined, (drawn(0, 3), drawn(2, 3))),
    "nothing added": (_nothing_added, (drawn(0, 3), drawn(0, 3))),
    "an entry for no lane": _entry_for_no_lane(),
    "maxima of halves": _maxima_of_halves(),
    "rows of three": (_rows_of_three, (np.ones((4, 3)), np.ones(3))),
    "few lanes left": (_few_lanes_left, (drawn(8, 3, 33), drawn(8, 3, 1))),
}


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("name", FOUND)
def test_programs_that_were_once_wrong_stay_right(name: str, over: bool) -> None:
    f, arrays = FOUND[name]
    check(f, arrays, over)
