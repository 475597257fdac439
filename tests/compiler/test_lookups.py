"""Rows that are looked up in tables: read once, row by row, by nests of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.compiler.assemble import Assembly, assemble
from wengert.compiler.function import traced_program
from wengert.compiler.simplify import simplify
from wengert.compiler.units import NestUnit
from wengert.core.spec import Spec

TABLE = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
ROWS = np.array([3, 39, 0, -1, 17])


def assembled(f: Any, *arrays: Any) -> Assembly:
    return assemble(simplify(traced_program(f, [Spec.of(a) for a in arrays], whole=False)))


def joined(table: Any, i: Any, j: Any) -> Any:
    return wg.concat([wg.take(table, i, axis=0), wg.take(table, j, axis=0) * 2.0], axis=1)


def test_joined_rows_are_looked_up_first() -> None:
    made = assembled(joined, TABLE, ROWS, ROWS)
    units = [job.unit for job in made.jobs]
    nests = [unit.nest for unit in units if isinstance(unit, NestUnit)]
    assert len(nests) >= 2
    for nest in nests:
        for access in nest.reads:
            computed = any(not isinstance(v, int) for i in access.index for v, _ in i.terms)
            assert not (computed and access.conditions)


def test_joined_rows() -> None:
    found = wg.jit(joined)(wg.asarray(TABLE), wg.asarray(ROWS), wg.asarray(ROWS[::-1].copy()))
    expected = np.concatenate([TABLE[ROWS], TABLE[ROWS[::-1]] * np.float32(2.0)], 1)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_a_wrong_row_is_still_an_error() -> None:
    wrong = np.array([0, 1, 40, 2, 3])
    with pytest.raises(IndexError, match="40"):
        wg.jit(joined)(wg.asarray(TABLE), wg.asarray(ROWS), wg.asarray(wrong))


def test_rows_of_a_table_are_not_fetched_again_for_the_backward_pass() -> None:
    table = np.random.default_rng(1).normal(size=(4000, 64)).astype(np.float32)
    rows = np.random.default_rng(2).integers(0, 4000, 512)

    def f(table: Any, rows: Any, w: Any) -> Any:
        return wg.grad(lambda t, w: wg.sum(wg.tanh(wg.take(t, rows, axis=0) @ w)), argnums=1)(
            table, w
        )

    made = assembled(f, table, rows, np.ones((64, 64), np.float32))
    lookups = [t for t in made.program.terms if t.op is not None and t.op.name == "gather"]
    assert len(lookups) == 1
