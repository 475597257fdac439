"""Running sums, products, extremes and recurrences in native code, along any axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.op_support import ALL_FLOATS, interpreted, native, reference, run, same, traced
from tests.compiler.test_index_kernels import TARGETS
from wengert.compiler.kernels.scan import RULES, Scan
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.core import dtypes

SHAPES = [((7,), 0), ((1,), 0), ((5, 6), 1), ((6, 5), 0), ((3, 40, 21), 1), ((2, 9, 3), 1)]
SHAPES += [((70, 12), 0), ((12, 70), 1), ((4, 8, 16, 9), 3), ((3, 5, 150), 1), ((3, 0, 4), 1)]
TURNED = {"cumsum", "cumprod", "recurrence"}


def case(op: str, shape: Any, dtype: Any, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    count = 2 if op == "recurrence" else 1
    if dtypes.is_float(np.dtype(dtype)):
        return [rng.normal(size=shape).astype(dtype) for _ in range(count)]
    return [rng.integers(0, 4, shape).astype(dtype) for _ in range(count)]


def agree(op: str, found: Any, wanted: Any) -> None:
    if op != "logcumsumexp":
        same(found, wanted)
        return
    assert found.dtype == wanted.dtype
    tolerance = 4 * float(wg.finfo(wanted.dtype).eps) * max(wanted.shape, default=1)
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("op", RULES)
def test_against_the_references(op: str, shape: Any, axis: int) -> None:
    arrays = case(op, shape, np.float64)
    for reverse in (False, True) if op in TURNED else (None,):
        params = {"axis": axis} | ({} if reverse is None else {"reverse": reverse})
        agree(op, native(op, arrays, **params), reference(op, arrays, **params))


@pytest.mark.parametrize("dtype", [*ALL_FLOATS, np.int8, np.uint32, np.int64])
@pytest.mark.parametrize("op", sorted(RULES))
def test_every_dtype(op: str, dtype: Any) -> None:
    if op == "logcumsumexp" and not dtypes.is_float(np.dtype(dtype)):
        return
    for shape, axis in (((4, 30, 5), 1), ((19, 30), 1), ((9, 40), 0)):
        arrays = case(op, shape, dtype)
        params = {"axis": axis} | ({"reverse": True} if op in TURNED else {})
        found, wanted = native(op, arrays, 2, **params), reference(op, arrays, **params)
        if op == "recurrence" and shape == (19, 30) and dtype == np.float32:
            np.testing.assert_allclose(found, wanted, rtol=1e-5)  # the reference takes float64
        elif op == "recurrence" and np.dtype(dtype).itemsize == 2 and shape == (19, 30):
            np.testing.assert_allclose(found.astype(float), wanted.astype(float), rtol=2e-2)
        else:
            agree(op, found, wanted)


def test_bools_add_up_to_whether_there_was_one() -> None:
    x = np.array([[False, True, False], [False, False, True]])
    for axis in (0, 1):
        same(
            native("cumsum", (x,), axis=axis, reverse=False),
            reference("cumsum", (x,), axis=axis, reverse=False),
        )


@pytest.mark.parametrize("op", sorted(RULES))
def test_threads_change_no_bit(op: str) -> None:
    for shape, axis in (((31, 17, 41), 1), ((333, 50), 1)):
        arrays = case(op, shape, np.float32)
        params = {"axis": axis} | ({"reverse": False} if op in TURNED else {})
        alone = native(op, arrays, **params)
        for threads in (2, 3, 5):
            same(native(op, arrays, threads, **params), alone)


def test_extremes_with_ties_and_nan() -> None:
    x = np.array([1.0, 3.0, 3.0, np.nan, 5.0, np.nan, 7.0, -np.inf, np.inf])
    for shape in ((9,), (9, 1), (1, 9)):
        y = np.broadcast_to(x.reshape(shape), (9, 12) if shape == (9, 1) else shape)
        axis = int(shape == (1, 9))
        for op in ("cummax_index", "cummin_index"):
            same(native(op, (y,), axis=axis), reference(op, (y,), axis=axis))


def test_sums_that_are_infinite() -> None:
    x = np.array([-np.inf, -np.inf, 1.0, np.inf, -np.inf, np.nan, 2.0])
    for op, params in (("cumsum", {"reverse": False}), ("logcumsumexp", {})):
        same(native(op, (x,), axis=0, **params), reference(op, (x,), axis=0, **params))


def test_operands_may_be_views() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5, 6))
    for f in (
        lambda x: wg.cumulative_sum(wg.permute_dims(x, (2, 0, 1)), axis=1),
        lambda x: wg.cumulative_sum(wg.broadcast_to(x[:, :1], (4, 7, 6)), axis=1),
        lambda x: wg.cumulative_sum(x[1:3, ::2, 1:], axis=1),
        lambda x: wg.cumulative_sum(wg.broadcast_to(x[:, :, :1], (4, 5, 20)), axis=1),
    ):
        program = traced(f, (x,))
        same(run(program, (x,))[0], interpreted(program, (x,))[0])


def test_derivatives_are_native_too() -> None:
    x = np.random.default_rng(0).normal(size=(3, 8))
    for f in (wg.cumulative_sum, wg.cumulative_prod):
        program = traced(lambda x, f=f: wg.grad(lambda x: wg.sum(f(x, axis=1) ** 2))(x), (x,))
        found, wanted = run(program, (x,)), interpreted(program, (x,))
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_kernels_compile_for_other_processors(target: Target) -> None:
    module = Module()
    for dtype in (np.float16, np.float32, np.int64):
        for op in ("cumsum", "cummax_index"):
            for i, shape in enumerate([(3, 9, 70), (3, 9, 1)]):
                steps = ((shape[1] * shape[2], shape[2], 1),)
                scan = Scan(op, np.dtype(dtype), shape, steps, False, target)
                scan.emit(module, f"{op}_{np.dtype(dtype)}_{i}")
    assert build.emit_object(module.text(), target)
