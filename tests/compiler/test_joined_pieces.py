"""What is joined from pieces: a vector stands in one of them, and rows are looked up on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.jitting import arrays
from tests.compiler.test_crossing import check, nests, normal


def rows(seed: int, count: int, size: int) -> np.ndarray:
    """Indices of a table's rows, from its end as well."""
    return np.random.default_rng(seed).integers(-size, size, count)


def looked_up(u: Any, v: Any, i: Any, j: Any) -> Any:
    """Rows of two tables side by side."""
    return wg.concat((wg.take(u, i, axis=0), wg.take(v, j, axis=0)), axis=1)


@pytest.mark.parametrize("widths", [(64, 64), (16, 48), (32, 7), (128, 16), (24, 40)])
def test_rows_of_tables_side_by_side(widths: tuple[int, int]) -> None:
    u, v = (normal(90, w) for w in widths)
    jobs = check(looked_up, u, v, rows(0, 65, 90), rows(1, 65, 90), tolerance=0)
    assert len(nests(jobs)) == (3 if widths[0] == 24 else 1)


@pytest.mark.parametrize("wrong", [0, 1])
def test_indices_of_each_piece_are_checked(wrong: int) -> None:
    u, v = wg.asarray(normal(90, 64)), wg.asarray(normal(80, 64))
    given = [rows(0, 33, 80), rows(1, 33, 80)]
    step = wg.jit(looked_up)
    step(u, v, *map(wg.asarray, given))
    given[wrong][17] = 400
    with pytest.raises(IndexError, match="400"):
        step(u, v, *map(wg.asarray, given))


def test_pieces_that_are_cut_off() -> None:
    """Nothing is read, or complained of, in what is not there."""
    u, v = normal(90, 64), normal(80, 64)
    i, j = rows(0, 33, 80), rows(1, 33, 80)
    for part in (
        np.s_[:, :64],
        np.s_[:, 70:],
        np.s_[:, 16:80:3],
        np.s_[:, ::-1],
        np.s_[5:9, 60:70],
    ):
        check(lambda *a, part=part: looked_up(*a)[part], u, v, i, j, tolerance=0)


@pytest.mark.parametrize("sizes", [(16, 32, 16), (1, 31, 5), (48, 3, 64), (32, 32, 1)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_expressions_as_pieces(sizes: tuple[int, ...], axis: int) -> None:
    given = [normal(*(n if a == axis else 19 for a in range(3))) for n in sizes]

    def f(x: Any, y: Any, z: Any) -> Any:
        joined = wg.concat((wg.exp(x), y * 2, wg.sin(z)), axis=axis)
        return joined, wg.sum(joined, axis=axis), wg.concat((joined, -joined), axis=axis) + 1

    check(f, *given)


@pytest.mark.parametrize("width", [(16, 32), (1, 2), (0, 48), (64, 0)])
def test_what_is_padded(width: tuple[int, int]) -> None:
    x, bias = normal(37, 80), normal(37, 1)

    def f(x: Any, b: Any) -> Any:
        padded = wg.pad(x * b, [(2, 1), width])
        return padded, wg.concat((wg.pad(padded, [(0, 0), (16, 0)]), padded), axis=1)

    check(f, x, bias)


def test_gradients_of_pieces() -> None:
    u, v, i, j = normal(90, 64), normal(80, 64), rows(0, 65, 80), rows(1, 65, 80)

    def f(u: Any, v: Any, i: Any, j: Any) -> Any:
        return wg.grad(lambda u, v: wg.sum(wg.sin(looked_up(u, v, i, j))), argnums=(0, 1))(u, v)

    check(f, u, v, i, j)
    found = arrays(wg.jit(f)(*map(wg.asarray, (u, v, i, j))))
    assert [a.shape for a in found] == [(90, 64), (80, 64)]
