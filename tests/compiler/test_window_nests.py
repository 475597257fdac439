"""Pooling and folds in native code: loop nests that read with plain loads where lanes are evenly
apart, and store what overlapping windows would compute several times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.op_support import ALL_FLOATS, interpreted, native, reference, run, same, traced
from tests.compiler.test_index_kernels import TARGETS
from wengert.compiler.ir import Program
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.compiler.units import NestUnit
from wengert.nn import functional as F

Windows = dict[str, Any]

# shape of the trailing axes, window
WINDOWS: dict[str, tuple[Any, Windows]] = {
    "apart": ((32, 64), {"size": (2, 2), "stride": (2, 2)}),
    "apart, of three": ((9, 48), {"size": (3, 3), "stride": (3, 3)}),
    "wide, apart": ((6, 64), {"size": (2, 4), "stride": (2, 4)}),
    "overlapping": ((33, 41), {"size": (3, 3), "stride": (2, 2)}),
    "with padding": ((32, 40), {"size": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1))}),
    "every place": ((7, 35), {"size": (3, 3), "stride": (1, 1), "padding": ((1, 1), (1, 1))}),
    "uneven padding": ((6, 33), {"size": (2, 3), "stride": (2, 2), "padding": ((0, 1), (1, 0))}),
    "dilated": ((12, 40), {"size": (3, 2), "stride": (2, 1), "dilation": (2, 3)}),
    "dilated, with padding": (
        (9, 20),
        {"size": (3, 3), "stride": (1, 2), "dilation": (2, 2), "padding": ((2, 2), (2, 2))},
    ),
    "gaps": ((11, 40), {"size": (2, 2), "stride": (3, 4)}),
    "one axis": ((50,), {"size": (4,), "stride": (2,)}),
    "three axes": ((4, 6, 20), {"size": (2, 2, 2), "stride": (2, 2, 2)}),
    "no axis": ((), {"size": (), "stride": ()}),
    "all": ((5, 7), {"size": (5, 7), "stride": (1, 1)}),
}


def case(name: str, dtype: Any = np.float32) -> tuple[Any, Windows]:
    space, how = WINDOWS[name]
    rng = np.random.default_rng(len(name))
    x = rng.integers(-9, 9, (2, 3, *space)).astype(dtype)  # with ties
    none = {"dilation": (1,) * len(space), "padding": ((0, 0),) * len(space)}
    return x, {**none, **how}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", WINDOWS)
def test_the_largest_and_where_it_stands(name: str, threads: int) -> None:
    x, how = case(name)
    where = reference("argmax_windows", (x,), **how)
    same(native("argmax_windows", (x,), threads, **how), where)
    same(
        native("take_windows", (x, where), threads, **how),
        reference("take_windows", (x, where), **how),
    )
    g = np.random.default_rng(1).normal(size=where.shape).astype(np.float32)
    how["shape"] = x.shape[2:]
    found = native("put_windows", (g, where), threads, **how)
    same(found, reference("put_windows", (g, where), **how))


@pytest.mark.parametrize("dtype", [*ALL_FLOATS, np.int8, np.int64])
@pytest.mark.parametrize("name", ["apart", "with padding"])
def test_every_dtype(name: str, dtype: Any) -> None:
    x, how = case(name, dtype)
    where = reference("argmax_windows", (x,), **how)
    same(native("argmax_windows", (x,), **how), where)
    how["shape"] = x.shape[2:]
    g = np.arange(where.size).reshape(where.shape).astype(dtype)
    same(native("put_windows", (g, where), **how), reference("put_windows", (g, where), **how))


def test_nan_comes_first_and_infinities_count() -> None:
    x = np.full((1, 6, 40), -np.inf, np.float32)
    x[0, 0, 3:30:4] = np.nan
    x[0, 1, 2:30:3] = np.nan
    x[0, 3, ::2] = np.inf
    for padding in (((0, 0), (0, 0)), ((1, 1), (1, 1))):
        how = {"size": (2, 2), "stride": (2, 2), "dilation": (1, 1), "padding": padding}
        same(native("argmax_windows", (x,), **how), reference("argmax_windows", (x,), **how))


@pytest.mark.parametrize("name", WINDOWS)
def test_folds(name: str) -> None:
    x, how = case(name)
    del how["padding"]
    seen = reference("windows", (x,), **how)
    space = {"shape": x.shape[2:], "stride": how["stride"], "dilation": how["dilation"]}
    seen = np.random.default_rng(0).normal(size=seen.shape)
    for dtype in (np.float64, np.float32):
        y = seen.astype(dtype)
        same(native("fold", (y,), 2, **space), reference("fold", (y,), **space))


# -- pooling -----------------------------------------------------------------------------------

POOLS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0)]


def pooled(kernel: int, stride: int, padding: int, last: bool) -> Any:
    """Max pooling and its gradient; with the channels last in memory, if `last`."""

    def both(x: Any, g: Any) -> list[Any]:
        if last:
            x, g = (wg.permute_dims(a, (0, 3, 1, 2)) for a in (x, g))
        y, back = wg.vjp(lambda x: F.max_pool2d(x, kernel, stride, padding), x)
        found = [y, *back(g)] if isinstance(back(g), tuple) else [y, back(g)]
        return [wg.permute_dims(a, (0, 2, 3, 1)) for a in found] if last else found

    return both


def pool_program(kernel: int, stride: int, padding: int, last: bool) -> tuple[Program, list[Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 18, 34)).astype(np.float32)
    y = np.asarray(F.max_pool2d(x, kernel, stride, padding))
    given = [x, rng.normal(size=y.shape).astype(np.float32)]
    if last:
        given = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in given]
    return traced(pooled(kernel, stride, padding, last), given), given


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
def test_pooling_and_its_gradient(kernel: int, stride: int, padding: int, last: bool) -> None:
    program, given = pool_program(kernel, stride, padding, last)
    wanted = interpreted(program, given)
    for threads in (1, 2, 5):
        for found, w in zip(run(program, given, threads), wanted, strict=True):
            same(found, w)


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
def test_pooling_gathers_nothing(kernel: int, stride: int, padding: int) -> None:
    program, _ = pool_program(kernel, stride, padding, False)
    assert "masked.gather" not in Native(simplify(program), 1).assembly.module.text()


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_windows_beyond_the_edge_are_skipped_not_masked(name: str) -> None:
    """With channels last all lanes are in the same place: no load needs a mask, no window that is
    not there is read."""
    pool = getattr(F, name)
    x, g = (np.random.default_rng(n).normal(size=(2, n, n, 32)) for n in (9, 5))

    def f(x: Any, g: Any) -> list[Any]:
        x, g = (wg.permute_dims(a, (0, 3, 1, 2)) for a in (x, g))
        y, back = wg.vjp(lambda x: pool(x, 3, 2, 1), x)
        (found,) = back(g) if isinstance(back(g), tuple) else (back(g),)
        return [wg.permute_dims(a, (0, 2, 3, 1)) for a in (y, found)]

    program = traced(f, (x, g))
    for found, wanted in zip(run(program, (x, g), 2), interpreted(program, (x, g)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    text = Native(simplify(program), 1).assembly.module.text()
    assert "masked.load" not in text


def test_nests_are_not_joined_by_the_number_of_their_entries_alone() -> None:
    """Values and places of maxima have as many entries, but here in other orders: a nest that
    went through both at once would find two windows at each position."""
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 8, 16)).astype(np.float32)
    g = np.random.default_rng(1).normal(size=(2, 4, 4, 4, 16)).astype(np.float32)

    def f(x: Any, g: Any) -> list[Any]:
        x, g = (wg.permute_dims(a, (0, 4, 1, 2, 3)) for a in (x, g))
        y, back = wg.vjp(lambda x: F.max_pool3d(x, 2), x)
        (found,) = back(g) if isinstance(back(g), tuple) else (back(g),)
        return [wg.permute_dims(a, (0, 2, 3, 4, 1)) for a in (y, found)]

    program = traced(f, (x, g))
    for found, wanted in zip(run(program, (x, g)), interpreted(program, (x, g)), strict=True):
        same(found, wanted)
    for job in Native(simplify(program), 1).assembly.jobs:
        assert isinstance(job.unit, NestUnit)
        loads = [p for p in job.unit.nest.points if p.kind == "load"]
        assert len([p for p in loads if p.info.term.shape == x.shape]) in (0, 8)


def test_second_derivatives_of_pooling() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 8))
    f = lambda x: wg.sum(F.max_pool2d(x, 3, 2, 1) ** 3)
    program = traced(lambda x: wg.grad(lambda x: wg.sum(wg.grad(f)(x) ** 2))(x), (x,))
    found, wanted = run(program, (x,)), interpreted(program, (x,))
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)


def test_average_pooling_and_its_gradient() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 32))
    for kernel, stride, padding in POOLS:
        f = lambda x, k=kernel, s=stride, p=padding: wg.sum(F.avg_pool2d(x, k, s, p) ** 2)
        program = traced(wg.grad(f), (x,))
        found, wanted = run(program, (x,)), interpreted(program, (x,))
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12, atol=1e-14)


def test_large_windows_are_library_calls() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 20, 20))
    program = traced(lambda x: F.max_pool2d(x, 20), (x,))
    same(run(program, (x,), library=True)[0], interpreted(program, (x,))[0])


# -- loads that are shuffled -------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.int64])
def test_every_so_manieth_entry(step: int, dtype: Any) -> None:
    for n in (1, 15, 16, 17, 63, 64, 200):
        x = np.arange(3 * n, dtype=np.int64).reshape(3, n).astype(dtype)
        for start in range(min(step, n)):
            f = lambda x, a=start: x[:, a::step] + x[:, a::step]
            program = traced(f, (x,))
            same(run(program, (x,))[0], interpreted(program, (x,))[0])


@pytest.mark.parametrize("step", [2, 4, 16])
def test_every_entry_several_times(step: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(3, 40 * step)).astype(np.float32)
    program = traced(lambda x, y: wg.repeat(x, step, axis=1) * y, (x, y))
    same(run(program, (x, y))[0], interpreted(program, (x, y))[0])


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_nests_compile_for_other_processors(target: Target) -> None:
    for kernel, stride, padding in POOLS[:2]:
        program, _ = pool_program(kernel, stride, padding, False)
        text = Native(simplify(program), 1).assembly.module.text()
        assert build.emit_object(text, target)
