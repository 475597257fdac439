"""Scatters in native code: against the references, in order, on any number of threads, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.conv_support import X86, narrower
from tests.compiler.op_support import (
    ALL_FLOATS,
    interpreted,
    native,
    program_of,
    reference,
    run,
    same,
    traced,
)
from wengert.compiler.ir import Program, Term, apply, constant
from wengert.compiler.kernels.scatter import Latest, Scatter
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core.errors import BoundsError
from wengert.core.spec import Spec

REDUCTIONS = ["scatter_add", "scatter_prod", "scatter_max", "scatter_min"]
# values' shape, the index's shape, axis, size
SHAPES: dict[str, tuple[Any, Any, int, int]] = {
    "rows": ((40, 7), (40,), 0, 6),
    "long rows": ((300, 130), (300,), 0, 50),
    "many rows": ((900, 16), (900,), 0, 1000),
    "entries": ((5000,), (5000,), 0, 300),
    "in the middle": ((3, 50, 33), (50,), 1, 9),
    "at the end": ((4, 5, 60), (60,), 2, 8),
    "two index axes": ((6, 10, 20), (6, 10), 0, 13),
    "one index": ((17,), (), 0, 4),
    "no index": ((0, 17), (0,), 0, 4),
    "no columns": ((4, 0), (4,), 0, 4),
    "one place": ((25, 3), (25,), 0, 1),
}


def values(name: str, dtype: Any = np.float64) -> tuple[Any, Any, dict[str, int]]:
    rng = np.random.default_rng(len(name))
    shape, index_shape, axis, size = SHAPES[name]
    index = rng.integers(-size, size, index_shape)
    x = rng.normal(size=shape)
    u = (x * 4).astype(dtype) if np.dtype(dtype).kind in "iu" else x.astype(dtype)
    return u, index, {"axis": axis, "size": size}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_are_those_of_the_references(op: str, name: str) -> None:
    u, index, params = values(name)
    same(native(op, (u, index), **params), reference(op, (u, index), **params))


@pytest.mark.parametrize("dtype", [*ALL_FLOATS, np.int8, np.uint16, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_every_dtype(op: str, dtype: Any) -> None:
    u, index, params = values("in the middle", dtype)
    same(native(op, (u, index), 2, **params), reference(op, (u, index), **params))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_every_kind_of_index(kind: Any) -> None:
    u, index, params = values("rows")
    index = np.abs(index).astype(kind) % params["size"]
    same(
        native("scatter_add", (u, index), **params), reference("scatter_add", (u, index), **params)
    )


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("name", ["rows", "long rows", "many rows", "entries", "in the middle"])
def test_threads_change_no_bit(name: str, threads: int) -> None:
    u, index, params = values(name, np.float32)
    alone = native("scatter_add", (u, index), **params)
    same(native("scatter_add", (u, index), threads, **params), alone)


def test_nan_and_infinity() -> None:
    u = np.array([1.0, np.nan, np.inf, -np.inf, 2.0, np.inf])
    index = np.array([0, 1, 2, 2, 1, 3])
    for op in REDUCTIONS:
        params = {"axis": 0, "size": 5}
        same(native(op, (u, index), **params), reference(op, (u, index), **params))


def test_values_may_be_views() -> None:
    u, index, _ = values("in the middle")
    program = traced(
        lambda u, i: wg.segment_sum(wg.permute_dims(u, (1, 0, 2))[:, 1], i, 9), (u, index % 9)
    )
    found = run(program, (u, index % 9))
    same(found[0], interpreted(program, (u, index % 9))[0])


def test_a_broadcast_value_is_read_as_one() -> None:
    index = np.array([2, 0, 2])
    program = traced(
        lambda x, i: wg.segment_sum(wg.broadcast_to(x, (3, 4)), i, 3), (np.ones(1), index)
    )
    same(run(program, (np.ones(1), index))[0], interpreted(program, (np.ones(1), index))[0])


@pytest.mark.parametrize("op", [*REDUCTIONS, "sum_by_index"])
def test_an_index_out_of_range_is_the_ops_own_error(op: str) -> None:
    for bad in (9, -10):
        with pytest.raises(BoundsError, match=f"index {bad} is out of bounds for axis 1 of size 9"):
            native(op, (np.ones((2, 3)), np.array([0, bad, 1])), axis=1, size=9)


# -- scatter -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.bool_])
@pytest.mark.parametrize("name", SHAPES)
def test_the_last_of_several_updates_stays(name: str, dtype: Any, threads: int) -> None:
    u, index, params = values(name, dtype)
    axis = params["axis"]
    shape = (*u.shape[:axis], params["size"], *u.shape[axis + index.ndim :])
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = native("scatter", (x, index, u), threads, axis=axis)
    same(found, reference("scatter", (x, index, u), axis=axis))


def aliased(table: Any, index: Any, rows: Any) -> Program:
    inputs = [Term(None, (), {}, Spec.of(a)) for a in (table, index, rows)]
    old = apply("gather", inputs[0], inputs[1], axis=0)
    return Program(
        inputs,
        [apply("scatter", inputs[0], inputs[1], apply("sub", old, inputs[2]), axis=0)],
        {0: 0},
    )


def test_an_update_in_place_copies_nothing() -> None:
    rng = np.random.default_rng(0)
    table, index = rng.normal(size=(50, 20)), np.array([3, 7, 3, -1])
    rows = rng.normal(size=(4, 20))
    program = aliased(table, index, rows)
    same(run(program, (table, index, rows), 2)[0], interpreted(program, (table, index, rows))[0])
    executable = Native(simplify(program), 2)
    written = [t for job in executable.assembly.jobs for t in job.writes]
    assert max(t.size for t in written if t not in executable.assembly.program.outputs) <= rows.size


def test_an_error_leaves_the_table_as_it_was() -> None:
    table, index, rows = np.ones((5, 3)), np.array([0, 5]), np.ones((2, 3))
    executable = Native(simplify(aliased(table, index, rows)), 2)
    for i, a in enumerate((table, index, rows, table)):
        executable.table[i] = a.ctypes.data
    with pytest.raises(BoundsError, match="index 5 is out of bounds"):
        executable()
    assert (table == 1).all()


def test_all_indices_are_checked_before_any_table_changes() -> None:
    tables, rows = [np.ones((5, 3)), np.ones((6, 3))], np.zeros((2, 3))
    for bad in (0, 1):
        index = [np.array([0, 1]), np.array([0, 2])]
        index[bad][1] = 9
        arrays = [*tables, *index, rows]
        inputs = [Term(None, (), {}, Spec.of(a)) for a in arrays]
        new = [apply("scatter", inputs[i], inputs[2 + i], inputs[4], axis=0) for i in (0, 1)]
        executable = Native(simplify(Program(inputs, new, {0: 0, 1: 1})), 2)
        written = [t for job in executable.assembly.jobs for t in job.writes]
        assert sum(t.size for t in written) == 2 * 2 + 5 * 3 + 6 * 3
        for i, a in enumerate([*arrays, *tables]):
            executable.table[i] = a.ctypes.data
        with pytest.raises(BoundsError, match="index 9 is out of bounds"):
            executable()
        assert all((t == 1).all() for t in tables)


def test_an_index_that_is_known_is_checked_too() -> None:
    u = np.arange(2.0)
    for last in (5, -6, 4, -5):
        index = constant(np.array([0, last]))
        x = Term(None, (), {}, Spec.of(u))
        program = Program([x], [apply("scatter_add", x, index, axis=0, size=5)])
        if -5 <= last < 5:
            same(run(program, (u,))[0], interpreted(program, (u,))[0])
            continue
        with pytest.raises(BoundsError, match=f"index {last} is out of bounds"):
            run(program, (u,))


def test_a_table_that_is_read_otherwise_too_is_copied_first() -> None:
    table, index = np.arange(12.0).reshape(4, 3), np.array([1, 2])
    inputs = [Term(None, (), {}, Spec.of(a)) for a in (table, index)]
    turned = apply("slice", inputs[0], start=(0, 0), stop=(2, 3), step=(1, 1))
    program = Program(inputs, [apply("scatter", inputs[0], inputs[1], turned, axis=0)], {0: 0})
    same(run(program, (table, index))[0], interpreted(program, (table, index))[0])


# -- what is made of them ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30,), (4, 9), (), (0,)])
def test_latest_and_winners(shape: Any) -> None:
    index = np.random.default_rng(1).integers(-8, 8, shape)
    for op in ("latest", "winners"):
        same(native(op, (index,), 2, size=8), reference(op, (index,), size=8))


@pytest.mark.parametrize(
    "name", ["rows", "long rows", "in the middle", "two index axes", "no index"]
)
def test_sums_over_equal_indices(name: str) -> None:
    u, index, params = values(name, np.float32)
    found = native("sum_by_index", (u, index), 2, **params)
    same(found, reference("sum_by_index", (u, index), **params))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 100])
def test_searches(n: int, side: str) -> None:
    rng = np.random.default_rng(n)
    x = np.sort(np.append(rng.integers(0, 20, n), np.nan))[:n]  # from 7 entries on with repetitions
    if n > 50:
        x[-3:] = np.nan
    v = np.append(rng.integers(-1, 21, 40) * 1.0, np.nan)
    for a, b in ((x, v), (x.astype(np.float32), v.astype(np.float32))):
        params = {"side": side, "lead": 0}
        same(native("searchsorted", (a, b), **params), reference("searchsorted", (a, b), **params))


def test_searches_in_rows() -> None:
    rng = np.random.default_rng(0)
    x, v = np.sort(rng.integers(0, 50, (5, 30)), axis=1), rng.integers(0, 50, (5, 7))
    params = {"side": "left", "lead": 1}
    same(native("searchsorted", (x, v), **params), reference("searchsorted", (x, v), **params))


# -- other processors --------------------------------------------------------------------------

TARGETS = [
    Target("haswell", "+avx2,+fma,+f16c,+avx,+sse4.1,+bmi2", "x86_64-unknown-linux-gnu"),
    Target("x86-64", "+sse2", "x86_64-unknown-linux-gnu"),
    Target("generic", "+neon", "aarch64-unknown-linux-gnu"),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_kernels_compile_for_other_processors(target: Target) -> None:
    module = Module()
    for i, (how, dtype) in enumerate(
        [("add", "f2"), ("maximum", "f4"), ("set", "i1"), ("mul", "f8")]
    ):
        start = None if how == "set" else 0
        kernel = Scatter(how, np.dtype(dtype), 2, 9, 5, 70, (630, 70), 1, start, target)
        kernel.emit(module, f"scatter_{i}")
    Latest(9, 4, 1).emit(module, "latest")
    assert build.emit_object(module.text(), target)


@pytest.mark.skipif(not X86, reason="features of x86")
@pytest.mark.parametrize("lacking", [("avx512",), ("avx", "fma", "f16c", "sse4", "bmi")])
def test_processors_with_less_give_the_same_bits(lacking: tuple[str, ...]) -> None:
    from tests.compiler.conv_support import run as run_kernel

    rng = np.random.default_rng(0)
    index, u = rng.integers(0, 5, 40), rng.normal(size=(40, 37)).astype(np.float16)
    kernel = Scatter("add", u.dtype, 1, 40, 5, 37, (0, 37), 1, 0, narrower(*lacking))
    found = run_kernel(kernel, [index, u], np.zeros((5, 37), u.dtype), threads=3)
    same(found, reference("scatter_add", (u, index), axis=0, size=5))


def test_the_same_geometry_is_written_once() -> None:
    u, index, params = values("rows")
    inputs = [Term(None, (), {}, Spec.of(a)) for a in (u, index, u)]
    sums = [apply("scatter_add", inputs[i], inputs[1], **params) for i in (0, 2)]
    made = Native(Program(inputs, sums), 1).assembly
    assert len([name for name in made.module.bodies if name.endswith("_combine")]) == 1
    assert program_of("scatter_add", (u, index), **params).outputs[0].shape == sums[0].shape
