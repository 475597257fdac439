"""Sorting in native code: short lines by counting, longer ones by their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.op_support import ALL_FLOATS, interpreted, native, reference, run, same, traced
from tests.compiler.test_index_kernels import TARGETS
from wengert.compiler.kernels.sort import Sort
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.core import dtypes

INTEGERS = [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, np.bool_]
LENGTHS = [1, 2, 7, 16, 17, 64, 65, 128, 129, 300]


def line(n: int, dtype: Any) -> Any:
    """Entries of all magnitudes, many of them equal."""
    rng = np.random.default_rng(n)
    if dtypes.is_float(np.dtype(dtype)):
        x = np.round(rng.normal(size=n) * 10.0 ** rng.integers(-3, 4, n), 1)
        special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -np.nan])
        x[rng.integers(0, n, n // 3)] = special[rng.integers(0, 6, n // 3)]
        return x.astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, n).astype(bool)
    limits = np.iinfo(dtype)
    x = rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
    x[: n // 2] = rng.choice(np.array([limits.min, 0, 1, limits.max], dtype), n // 2)
    return x


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [*ALL_FLOATS, *INTEGERS])
@pytest.mark.parametrize("op", ["sort", "argsort"])
def test_against_the_references(op: str, dtype: Any, descending: bool) -> None:
    for n in LENGTHS:
        x = line(n, dtype)
        params = {"axis": 0, "descending": descending}
        same(native(op, (x,), **params), reference(op, (x,), **params))


AXES = [((5, 40), 1), ((40, 5), 0), ((3, 150, 4), 1), ((2, 0), 1)]


@pytest.mark.parametrize(("shape", "axis"), AXES)
@pytest.mark.parametrize("op", ["sort", "argsort"])
def test_any_axis_and_any_number_of_threads(op: str, shape: Any, axis: int) -> None:
    x = np.random.default_rng(0).integers(0, 30, shape).astype(np.float32)
    params = {"axis": axis, "descending": False}
    wanted = reference(op, (x,), **params)
    for threads in (1, 2, 3, 5):
        same(native(op, (x,), threads, **params), wanted)


def test_operands_may_be_views_and_gradients_are_native() -> None:
    x = np.random.default_rng(0).normal(size=(4, 30, 3))
    for f in (
        lambda x: wg.sort(wg.permute_dims(x, (2, 0, 1)), axis=1),
        lambda x: wg.argsort(x[:, ::2, 1], axis=1),
        wg.grad(lambda x: wg.sum(wg.sort(x, axis=1) * wg.arange(30.0)[:, None])),
    ):
        program = traced(f, (x,))
        same(run(program, (x,), 2)[0], interpreted(program, (x,))[0])


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_kernels_compile_for_other_processors(target: Target) -> None:
    module = Module()
    for dtype in (dtypes.bfloat16, np.dtype(np.float32), np.dtype(np.int64)):
        for n in (20, 2000):
            for indices in (False, True):
                sort = Sort(dtype, (2, n, 3), (3 * n, 3, 1), True, indices)
                sort.emit(module, f"sort_{dtype}_{n}_{indices}")
    assert build.emit_object(module.text(), target)
