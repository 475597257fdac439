"""Matrix multiplication: every layout and size, bit for bit what `kernels.gemm` promises."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from wengert.compiler.kernels import library
from wengert.compiler.kernels.base import Array, Phase, address
from wengert.compiler.kernels.gemm import Gemm
from wengert.compiler.kernels.gemm_blocked import Blocked
from wengert.compiler.kernels.gemm_grid import grid_table
from wengert.compiler.kernels.gemm_problem import problem
from wengert.compiler.kernels.gemm_small import is_small
from wengert.compiler.llvm import build
from wengert.compiler.llvm.arithmetic import abilities
from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.compiler.llvm.types import F32
from wengert.core import dtypes

HASWELL = build.Target("haswell", "+avx,+avx2,+fma,+f16c", "x86_64-unknown-linux-gnu")
SSE2 = build.Target("x86-64", "+sse2", "x86_64-unknown-linux-gnu")
NEON = build.Target("generic", "+neon", "aarch64-unknown-linux-gnu")
LAYOUTS = ("NN", "NT", "TN", "TT")
FUSED = {0: abilities(build.host()).fma}  # whether the code that is tested has fused multiply-adds
NDArray = np.ndarray[Any, np.dtype[Any]]


def aligned(nbytes: int) -> NDArray:
    raw = np.zeros(nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + nbytes]


def laid(x: NDArray) -> Array:
    """How a NumPy array lies in memory."""
    return Array(x.dtype, x.shape, tuple(s // x.itemsize for s in x.strides))


class Compiled:
    """Kernels compiled together, each to be run by any number of threads, one after the other.

    For another processor than this one, the library becomes a part of the module.
    """

    def __init__(self, target: build.Target | None = None) -> None:
        self.module = Module()
        self.target = target
        self.phases: list[list[Phase]] = []
        self.spaces: list[Any] = []

    def add(self, kernel: Any, epilogue: Any = None) -> int:
        number = len(self.phases)
        self.phases.append(kernel.emit(self.module, f"k{number}", epilogue))
        self.spaces.append(kernel.workspace)
        return number

    def load(self) -> Compiled:
        if self.target is None:
            library.load_all(self.module.libraries)
        else:
            library.write(self.module.libraries, self.module, self.target)
        self.code = build.Library(build.emit_object(self.module.text(), self.target))
        return self

    def run(self, number: int, *arrays: NDArray, threads: int = 1) -> None:
        """Run on (a, b, c, and operands of the epilogue)."""
        space = aligned(self.spaces[number].size(threads))
        space[:] = 0xFF  # NaN, whatever the dtype
        places = [x.ctypes.data for x in arrays]
        table = (ctypes.c_void_p * (len(places) + 1))(*places[:3], space.ctypes.data, *places[3:])
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        for phase in self.phases[number]:
            call = kind(self.code.address(phase.name))
            count = 1 if phase.serial else threads
            for thread in reversed(range(count)):
                call(ctypes.addressof(table), thread, count)


def fma(a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    """a·b + c in float32, rounded as the processor does."""
    if not FUSED[0]:
        return np.asarray(a * b + c)
    product = a.astype(np.float64) * b  # exact
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    # Round to odd, so that rounding once more does no harm.
    even = (total.view(np.int64) & 1) == 0
    odd = np.where((error != 0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(np.float32)


def chain(a: NDArray, b: NDArray, start: NDArray) -> NDArray:
    total = start
    for p in range(a.shape[-1]):
        total = fma(a[..., :, p, None], b[..., p, None, :], total)
    return total


def zeros(a: NDArray, b: NDArray) -> NDArray:
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.zeros((*shape, a.shape[-2], b.shape[-1]), np.float32)


def dots(a: NDArray, b: NDArray) -> NDArray:
    """The fixed order of `gemm_dots` for a (1, k) and b (k, n)."""
    if a.ndim > 2 or b.ndim > 2:
        return np.stack([dots(x, y) for x, y in zip(a, b, strict=True)])
    k, n = b.shape
    chains = np.zeros((32, n), np.float32)
    whole = -(-k // 32) * 32
    left, right = np.zeros(whole, np.float32), np.zeros((whole, n), np.float32)
    left[:k], right[:k] = a[0], b
    for p in range(0, whole, 32):
        chains = fma(left[p : p + 32, None], right[p : p + 32], chains)
    while len(chains) > 1:
        half = len(chains) // 2
        chains = chains[:half] + chains[half:]
    return chains


def expected(gemm: Gemm, a: NDArray, b: NDArray) -> NDArray:
    """What a plain product must be, bit for bit."""
    p = problem(gemm.batch, gemm.m, gemm.n, gemm.k, gemm.a, gemm.b, gemm.c)
    if p.swapped:
        a, b = b.swapaxes(-1, -2), a.swapaxes(-1, -2)
    total = None
    for start in range(0, max(1, gemm.k), max(1, p.cut)):
        left, right = a[..., start : start + p.cut], b[..., start : start + p.cut, :]
        one = dots(left, right) if p.dots else chain(left, right, zeros(left, right))
        total = one if total is None else total + one
    assert total is not None
    return total.swapaxes(-1, -2) if p.swapped else total


def operands(
    rng: np.random.Generator, m: int, n: int, k: int, layout: str, dtype: Any = np.float32
) -> tuple[NDArray, NDArray]:
    """Matrices a (m, k) and b (k, n), transposed in memory as `layout` says."""
    a = rng.standard_normal((m, k) if layout[0] == "N" else (k, m)).astype(dtype)
    b = rng.standard_normal((k, n) if layout[1] == "N" else (n, k)).astype(dtype)
    return (a if layout[0] == "N" else a.T), (b if layout[1] == "N" else b.T)


def check(
    cases: Iterable[tuple[Gemm, Any, NDArray, NDArray]],
    threads: Iterable[int],
    target: build.Target | None = None,
) -> None:
    """Each kernel gives the promised bits, for each number of threads, and nothing else."""
    compiled, tests = Compiled(target), []
    for gemm, kernel, a, b in cases:
        tests.append((compiled.add(kernel), gemm, a, b))
    compiled.load()
    for number, gemm, a, b in tests:
        want = expected(gemm, a, b)
        for count in threads:
            room = np.full(want.size + 64, 7.0, np.float32)
            c = room[32 : 32 + want.size].reshape(want.shape)
            if gemm.n > 1 and gemm.c[-1] != 1:
                c = c.reshape(want.shape[::-1]).T
            compiled.run(number, a, b, c, threads=count)
            np.testing.assert_array_equal(c, want, err_msg=f"{gemm} on {count} threads")
            assert (np.r_[room[:32], room[32 + want.size :]] == 7.0).all(), gemm


def made(a: NDArray, b: NDArray, transposed: bool = False, **options: Any) -> Gemm:
    m, n = a.shape[-2], b.shape[-1]
    c = Array(a.dtype, (m, n), (1, m) if transposed else (n, 1))
    return replace(Gemm.of(laid(a), laid(b), c), **options)


def test_all_small_sizes_in_blocks() -> None:
    """Every number of rows and columns up to 40, with all layouts of the three matrices."""
    rng = np.random.default_rng(0)
    cases = []
    for i, (m, n) in enumerate(itertools.product(range(1, 41), repeat=2)):
        k = int(rng.integers(0, 41))
        a, b = operands(rng, m, n, k, LAYOUTS[i % 4])
        gemm = made(a, b, transposed=i % 7 == 0)
        if i % 3 == 0 and not gemm.problem.dots:
            cases.append((gemm, Blocked(gemm, gemm.problem), a, b))
    check(cases, (1, 3))


def test_small_products_have_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    cases = []
    for i in range(150):
        m, n, k = (int(x) for x in rng.integers(1, 21, 3))
        a, b = operands(rng, m, n, k, LAYOUTS[i % 4])
        gemm = made(a, b, transposed=i % 5 == 0)
        assert is_small(gemm, gemm.problem)
        cases.append((gemm, gemm, a, b))
    check(cases, (1, 2))


LARGE = [
    (64, 64, 64),
    (100, 37, 33),
    (7, 200, 300),
    (3, 500, 130),
    (2, 70, 300),
    (129, 130, 131),
    (65, 33, 1100),  # several blocks of k
    (300, 10, 90),
    (530, 70, 80),  # several blocks of rows
]


@pytest.mark.parametrize("sizes", LARGE, ids=str)
def test_blocks_threads_and_layouts_change_nothing(sizes: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    cases = []
    for layout in LAYOUTS:
        a, b = operands(rng, *sizes, layout)
        gemm = made(a, b, transposed=layout == "TN")
        assert not is_small(gemm, gemm.problem)
        cases.append((gemm, gemm, a, b))
    check(cases, (1, 2, 3, 5))


def test_long_sums_of_small_results_are_cut() -> None:
    rng = np.random.default_rng(3)
    cases = []
    for layout, (m, n, k) in zip(
        LAYOUTS, [(64, 64, 4096), (10, 70, 3001), (5, 3, 20000), (1, 9, 2100)], strict=True
    ):
        a, b = operands(rng, m, n, k, layout)
        gemm = made(a, b)
        assert gemm.problem.parts > 1
        assert len(gemm.plan.emit(Module(), "k", None)) == 2
        cases.append((gemm, gemm, a, b))
    check(cases, (1, 2, 5))


def test_rows_and_columns_are_dots() -> None:
    rng = np.random.default_rng(4)
    cases = []
    for n, k in itertools.product(
        (1, 2, 3, 4, 7, 64, 65, 300), (1, 2, 15, 16, 17, 31, 32, 33, 70, 1000)
    ):
        a, b = operands(rng, 1, n, k, "NT")
        cases.append((made(a, b), made(a, b), a, b))
        cases.append((made(b.T, a.T), made(b.T, a.T), b.T, a.T))
        wide = rng.standard_normal((k, 3)).astype(np.float32)[:, 1:2].T  # entries of a lie apart
        cases.append((made(wide, b), made(wide, b), wide, b))
    check(cases, (1, 3))


BATCHES: list[tuple[tuple[int, ...], tuple[int, ...], int, int, int]] = [
    ((3,), (3,), 5, 6, 7),
    ((4,), (4,), 40, 50, 60),
    ((2, 3), (2, 3), 20, 40, 30),
    ((2, 1), (2, 3), 30, 40, 30),
    ((3,), (2, 3), 9, 8, 7),
    ((2, 3), (1, 1), 16, 40, 20),
    ((2, 3), (1, 1), 1, 40, 20),
    ((1, 3), (2, 1), 17, 33, 40),
    ((300,), (300,), 4, 4, 4),
    ((2, 3, 2), (2, 3, 2), 1, 30, 20),
    ((7,), (7,), 1, 1, 50),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stacks_of_matrices(layout: str) -> None:
    """Batch axes, repeated ones among them, and rows that a batch adds."""
    rng = np.random.default_rng(5)
    cases = []
    for left, right, m, n, k in BATCHES:
        a = rng.standard_normal((*left, m, k) if layout[0] == "N" else (*left, k, m))
        b = rng.standard_normal((*right, k, n) if layout[1] == "N" else (*right, n, k))
        a, b = a.astype(np.float32), b.astype(np.float32)
        a = a if layout[0] == "N" else a.swapaxes(-1, -2)
        b = b if layout[1] == "N" else b.swapaxes(-1, -2)
        batch = np.broadcast_shapes(left, right)
        a, b = np.broadcast_to(a, (*batch, m, k)), np.broadcast_to(b, (*batch, k, n))
        gemm = Gemm.of(laid(a), laid(b), laid(np.empty((*batch, m, n), np.float32)))
        cases.append((gemm, gemm, a, b))
    check(cases, (1, 2, 3, 5))


def test_the_result_may_be_a_part_of_a_larger_array() -> None:
    """Heads of attention: c is (batch, head, time, width) inside (batch, time, head, width)."""
    rng = np.random.default_rng(6)
    a = rng.standard_normal((2, 3, 20, 20)).astype(np.float32)
    values = rng.standard_normal((2, 20, 3, 18)).astype(np.float32)
    room = np.full((2, 20, 3, 20), 7.0, np.float32)
    b, c = values.swapaxes(1, 2), room.swapaxes(1, 2)[..., 1:19]
    compiled = Compiled()
    number = compiled.add(Gemm.of(laid(a), laid(b), laid(c)))
    compiled.load().run(number, a, b, c, threads=2)
    np.testing.assert_array_equal(c, chain(a, b, zeros(a, b)))
    assert (room[..., 0] == 7.0).all()
    assert (room[..., 19] == 7.0).all()


@pytest.mark.parametrize("alpha", [1.0, 0.125, -1.7])
def test_accumulate_and_alpha(alpha: float) -> None:
    rng = np.random.default_rng(7)
    compiled, tests = Compiled(), []
    for m, n, k in [(9, 10, 11), (50, 40, 30), (40, 70, 900), (20, 20, 2500), (1, 50, 300)]:
        for layout, accumulate in itertools.product(("NN", "NT"), (False, True)):
            a, b = operands(rng, m, n, k, layout)
            gemm = made(a, b, accumulate=accumulate, alpha=alpha)
            tests.append((compiled.add(gemm), gemm, a, b))
    compiled.load()
    for number, gemm, a, b in tests:
        old = rng.standard_normal((gemm.m, gemm.n)).astype(np.float32)
        plain = alpha == 1.0 and gemm.problem.parts == 1 and not gemm.problem.dots
        want = np.float32(alpha) * expected(gemm, a, b)
        if gemm.accumulate:
            want = chain(a, b, old) if plain else old + want
        for threads in (1, 2):
            c = old.copy()
            compiled.run(number, a, b, c, threads=threads)
            np.testing.assert_array_equal(c, want, err_msg=str(gemm))


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=str)
def test_half_precision_is_rounded_once(dtype: dtypes.DType) -> None:
    rng = np.random.default_rng(8)
    compiled, tests = Compiled(), []
    sizes = [
        (5, 6, 7),
        (9, 33, 20),
        (40, 50, 60),
        (64, 64, 900),
        (20, 20, 2500),
        (1, 70, 300),
        (70, 1, 9),
    ]
    for i, (m, n, k) in enumerate(sizes):
        for layout in LAYOUTS:
            a, b = operands(rng, m, n, k, layout, dtype)
            gemm = made(a, b, accumulate=i % 2 == 1)
            tests.append((compiled.add(gemm), gemm, a, b))
    compiled.load()
    for number, gemm, a, b in tests:
        old = rng.standard_normal((gemm.m, gemm.n)).astype(dtype)
        want = expected(gemm, a.astype(np.float32), b.astype(np.float32))
        if gemm.accumulate:
            want = old.astype(np.float32) + want
        for threads in (1, 3):
            c = old.copy()
            compiled.run(number, a, b, c, threads=threads)
            assert c.tobytes() == want.astype(dtype).tobytes(), gemm


def test_float64() -> None:
    rng = np.random.default_rng(9)
    compiled, tests = Compiled(), []
    for m, n, k in [
        (5, 6, 7),
        (40, 50, 60),
        (30, 33, 900),
        (20, 20, 2500),
        (1, 70, 300),
        (13, 2, 9),
    ]:
        for layout in LAYOUTS:
            a, b = operands(rng, m, n, k, layout, np.float64)
            tests.append((compiled.add(made(a, b)), a, b))
    compiled.load()
    for number, a, b in tests:
        found = []
        for threads in (1, 2, 5):
            found.append(np.full((a.shape[0], b.shape[1]), np.nan))
            compiled.run(number, a, b, found[-1], threads=threads)
        exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
        bound = a.shape[1] * 1.2e-16 * (np.abs(a) @ np.abs(b))
        assert (np.abs(found[0] - exact) <= bound).all()
        assert all(x.tobytes() == found[0].tobytes() for x in found[1:])


@pytest.mark.parametrize("dtype", dtypes.INTEGERS, ids=str)
def test_integers_wrap_around(dtype: dtypes.DType) -> None:
    rng = np.random.default_rng(10)
    info = np.iinfo(dtype)
    compiled, tests = Compiled(), []
    for i, (m, n, k) in enumerate([(5, 6, 7), (33, 40, 30), (1, 9, 20), (9, 1, 20), (3, 3, 0)]):
        for layout in LAYOUTS:
            a, b = (10 * x for x in operands(rng, m, n, k, layout))
            if i:
                a, b = (x * (float(info.max) / 50) for x in (a, b))
            a, b = (np.clip(x, info.min, info.max / 2).astype(dtype) for x in (a, b))
            tests.append((compiled.add(made(a, b, accumulate=i == 1)), a, b, i == 1))
    compiled.load()
    for number, a, b, accumulate in tests:
        for threads in (1, 2):
            c = np.ones((a.shape[0], b.shape[1]), dtype)
            want = np.matmul(a, b) + c if accumulate else np.matmul(a, b)
            compiled.run(number, a, b, c, threads=threads)
            np.testing.assert_array_equal(c, want)


def test_nan_and_infinity_pass_through_zeros() -> None:
    compiled, tests = Compiled(), []
    for m, n, k in [(8, 9, 10), (64, 64, 64), (1, 40, 300), (20, 20, 2100)]:
        for layout in LAYOUTS:
            a, b = operands(np.random.default_rng(11), m, n, k, layout)
            a[0, :], b[k // 2, n - 1] = 0.0, np.inf
            a[m - 1, k - 1], b[0, 0] = np.nan, -np.inf
            tests.append((compiled.add(made(a, b)), a, b))
    compiled.load()
    for number, a, b in tests:
        c = np.empty((a.shape[0], b.shape[1]), np.float32)
        compiled.run(number, a, b, c)
        with np.errstate(invalid="ignore"):
            want = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_array_equal(np.isnan(c), np.isnan(want))
        np.testing.assert_array_equal(np.isposinf(c), np.isposinf(want))
        np.testing.assert_array_equal(np.isneginf(c), np.isneginf(want))


def test_nothing_to_add_gives_zeros_and_nothing_to_compute_no_step() -> None:
    compiled = Compiled()
    a, b = np.empty((50, 0), np.float32), np.empty((0, 300), np.float32)
    gemm = made(a, b)
    numbers = [compiled.add(gemm), compiled.add(Blocked(gemm, gemm.problem))]
    compiled.load()
    for number in numbers:
        c = np.full((50, 300), np.nan, np.float32)
        compiled.run(number, a, b, c, threads=2)
        assert (c == 0).all()
    for m, n in [(0, 5), (5, 0), (0, 0)]:
        a, b = np.empty((m, 7), np.float32), np.empty((7, n), np.float32)
        assert made(a, b).emit(Module(), "k") == []
    assert (
        Gemm(dtypes.float32, (0,), 2, 2, 2, (4, 2, 1), (4, 2, 1), (4, 2, 1)).emit(Module(), "k")
        == []
    )


def bias_relu(n: int) -> Any:
    """An epilogue: c = max(c + bias, 0) and a count of how often each entry was seen."""

    def write(f: Function, args: Value, row: Value, column: Value, columns: Operand) -> None:
        c, bias, seen = address(f, args, 2), address(f, args, 4), address(f, args, 5)
        with f.loop(0, columns) as j:
            place = row * n + column + j
            x = f.load(F32, f.at(c, place, F32)) + f.load(F32, f.at(bias, column + j, F32))
            f.store(f.select(f.compare("ogt", x, 0.0), x, 0.0), f.at(c, place, F32))
            count = f.load(F32, f.at(seen, place, F32))
            f.store(count + 1.0, f.at(seen, place, F32))

    return write


EPILOGUES = [
    (8, 10, 12),
    (50, 70, 900),
    (64, 16, 70),
    (3, 300, 50),
    (1, 150, 40),
    (1, 150, 300),
    (40, 1, 500),
    (20, 33, 2500),
]


@pytest.mark.parametrize("layout", ["NN", "NT"])
def test_the_epilogue_sees_each_entry_once_when_it_is_finished(layout: str) -> None:
    rng = np.random.default_rng(12)
    compiled, tests = Compiled(), []
    for m, n, k in EPILOGUES:
        a, b = operands(rng, m, n, k, layout)
        gemm = made(a, b)
        width = m if gemm.swapped else n
        tests.append((compiled.add(gemm, bias_relu(width)), gemm, a, b, width))
    compiled.load()
    for number, gemm, a, b, width in tests:
        bias = rng.standard_normal(width).astype(np.float32)
        plain = expected(gemm, a, b)
        want = np.maximum(plain + (bias[:, None] if gemm.swapped else bias), 0)
        for threads in (1, 2, 3):
            c, seen = np.empty_like(plain), np.zeros_like(plain)
            compiled.run(number, a, b, c, bias, seen, threads=threads)
            np.testing.assert_array_equal(c, want, err_msg=str(gemm))
            assert (seen == 1).all(), gemm


def test_any_strides() -> None:
    """Entries that lie apart, backwards, or in a column of c."""
    rng = np.random.default_rng(17)
    cases = []
    for m, n, k in [(5, 6, 7), (50, 60, 70), (1, 9, 50), (40, 1, 90), (70, 33, 300)]:
        x = rng.standard_normal((2 * m, 3 * k)).astype(np.float32)
        y = rng.standard_normal((2 * k, 2 * n)).astype(np.float32)
        right = y[::2, ::2]
        for left in (x[::2, ::3], x[m - 1 :: -1, k - 1 :: -1], x[::-2, :k]):
            for other in (right, y[k - 1 :: -1, :n], y[:k, n - 1 :: -1]):
                cases.append((made(left, other), made(left, other), left, other))
    check(cases, (1, 2))
    a, b = operands(rng, 300, 1, 40, "NN")
    room = np.full((300, 5), 7.0, np.float32)
    gemm = Gemm.of(laid(a), laid(b), laid(room[:, 2:3]))
    compiled = Compiled()
    number = compiled.add(gemm)
    compiled.load().run(number, a, b, room[:, 2:], threads=2)
    np.testing.assert_array_equal(room[:, 2:3], expected(gemm, a, b))
    assert (np.delete(room, 2, axis=1) == 7.0).all()


def test_an_epilogue_of_a_batch_counts_rows_through() -> None:
    rng = np.random.default_rng(13)
    a = rng.standard_normal((3, 40, 30)).astype(np.float32)
    b = rng.standard_normal((3, 30, 50)).astype(np.float32)
    bias = rng.standard_normal(50).astype(np.float32)
    c, seen = np.empty((3, 40, 50), np.float32), np.zeros((3, 40, 50), np.float32)
    compiled = Compiled()
    number = compiled.add(Gemm.of(laid(a), laid(b), laid(c)), bias_relu(50))
    compiled.load().run(number, a, b, c, bias, seen, threads=2)
    np.testing.assert_array_equal(c, np.maximum(chain(a, b, zeros(a, b)) + bias, 0))
    assert (seen == 1).all()


def test_only_what_packs_has_a_workspace() -> None:
    a, b = operands(np.random.default_rng(18), 128, 512, 784, "NN")
    assert made(a, b, target=replace(build.host(), features="+avx512f,+fma")).workspace.size(2) == 0
    assert made(a, b.T.copy().T).workspace.per_thread >= 4 * 512 * 392
    assert made(*operands(np.random.default_rng(18), 8, 9, 10, "NT")).workspace.size(2) == 0


def test_results_that_lie_by_columns_are_swapped() -> None:
    a, b = operands(np.random.default_rng(14), 40, 30, 50, "NN")
    assert not made(a, b).swapped
    assert made(a, b, transposed=True).swapped
    with pytest.raises(AssertionError, match="run along memory"):
        _ = Gemm(dtypes.float32, (), 4, 4, 4, (4, 1), (4, 1), (8, 2)).problem


def test_equal_products_are_equal_and_share_code() -> None:
    a, b = operands(np.random.default_rng(15), 40, 30, 50, "NN")
    first, second = made(a, b), made(a.copy(), b.copy())
    assert first == second
    assert hash(first) == hash(second)
    module = Module()
    phases = first.emit(module, "one")
    count = len(module.bodies)
    assert second.emit(module, "one") == phases
    assert len(module.bodies) == count


@pytest.mark.parametrize("target", [HASWELL, SSE2], ids=lambda t: t.cpu)
def test_other_processors_give_the_same_bits(
    target: build.Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the fused multiply-add, which SSE2 does not have."""
    if not build.host().triple.startswith("x86_64") or not build.host().has("fma"):
        pytest.skip("this machine cannot run the code")
    monkeypatch.setitem(FUSED, 0, target.has("fma"))
    rng = np.random.default_rng(16)
    cases = []
    sizes = [
        (5, 6, 7),
        (40, 50, 60),
        (3, 70, 90),
        (1, 70, 300),
        (64, 65, 1100),
        (20, 20, 2500),
        (9, 1, 12),
    ]
    for m, n, k in sizes:
        for layout in LAYOUTS:
            a, b = operands(rng, m, n, k, layout)
            gemm = made(a, b, target=target)
            cases.append((gemm, gemm, a, b))
    check(cases, (1, 2), target)


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
@pytest.mark.parametrize("target", [HASWELL, SSE2, NEON], ids=lambda t: t.cpu)
def test_code_for_other_processors(target: build.Target, dtype: dtypes.DType) -> None:
    """It compiles, calls no library, and uses the multiply-add of the processor."""
    module = Module()
    for i, (m, n, k) in enumerate([(5, 6, 7), (40, 50, 60), (1, 70, 300)]):
        gemm = Gemm(dtype, (), m, n, k, (k, 1), (1, k), (n, 1), target=target)
        gemm.emit(module, f"k{i}")
    library.write(module.libraries, module, target)
    code = build.emit_assembly(module.text(), target)
    instruction = {HASWELL: "vfmadd", SSE2: "mulp", NEON: "fmla"}[target]
    assert instruction in code
    assert not any(word in code for word in ("fmaf", "__ext", "__trunc", "memcpy"))


def test_the_grid_serves_every_number_of_threads() -> None:
    for shape in [(1, 64, 16, True), (24, 32, 8, True), (3, 17, 1, False)]:
        table = np.frombuffer(grid_table(*shape), np.uint8).reshape(-1, 3).astype(int)
        for threads, grid in enumerate(table, 1):
            assert 1 <= grid.prod() <= threads
            assert (grid <= shape[:3]).all()
    assert tuple(table[2]) == (3, 1, 1)
