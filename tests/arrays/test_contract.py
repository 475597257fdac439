"""Products of arrays against NumPy, their gradients against finite differences, their errors."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, AxisError, DtypeError, ShapeError, WengertError
from wengert.ops.contract import contract, plan

RNG = np.random.default_rng(7)

SHAPES = [
    (),
    (3,),
    (2, 3),
    (3, 2),
    (4, 3),
    (3, 1),
    (0, 3),
    (3, 0),
    (5, 2, 3),
    (5, 3, 2),
    (1, 3, 4),
    (2, 1, 2, 3),
]


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


def numpy_or_none(name: str, *args: Any, **options: Any) -> Any:
    try:
        return getattr(np, name)(*args, **options)
    except (ValueError, IndexError):
        return None


@pytest.mark.parametrize("name", ["matmul", "vecdot", "dot", "inner", "outer", "kron", "tensordot"])
def test_products_agree_with_numpy_or_fail_with_it(name: str) -> None:
    options = {"axes": 1} if name == "tensordot" else {}
    for a, b in itertools.product(SHAPES, SHAPES):
        x, y = normal(*a), normal(*b)
        expected = numpy_or_none(name, x, y, **options)
        if expected is None:
            with pytest.raises(WengertError):
                getattr(wg, name)(x, y, **options)
            continue
        found = getattr(wg, name)(x, y, **options)
        assert found.shape == np.shape(expected), (a, b)
        np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=f"{name} {a} {b}")


def test_matvec_and_vecmat() -> None:
    x, v = normal(4, 2, 3), normal(1, 3)
    np.testing.assert_allclose(wg.matvec(x, v), (x @ v[..., None])[..., 0], atol=1e-14)
    w = normal(4, 2)
    np.testing.assert_allclose(wg.vecmat(w, x), (w[:, None] @ x)[:, 0], atol=1e-14)
    assert wg.mm(normal(2, 3), normal(3, 4)).shape == (2, 4)
    assert wg.mv(normal(2, 3), normal(3)).shape == (2,)
    assert wg.bmm(normal(5, 2, 3), normal(5, 3, 1)).shape == (5, 2, 1)


@pytest.mark.parametrize("axes", [0, 1, 2, ((0,), (2,)), ((-1, 0), (0, 2)), (1, -2), ((), ())])
def test_tensordot_axes(axes: Any) -> None:
    x, y = normal(4, 2, 3), normal(3, 2, 4)
    if axes == 2:
        y = normal(2, 3, 5)
    np.testing.assert_allclose(wg.tensordot(x, y, axes=axes), np.tensordot(x, y, axes), atol=1e-12)


def test_vecdot_along_any_axis() -> None:
    x, y = normal(3, 4, 2), normal(4, 2)
    np.testing.assert_allclose(wg.vecdot(x, y, axis=-2), (x * y).sum(1), atol=1e-14)
    np.testing.assert_allclose(wg.vecdot(x, x, axis=0), (x * x).sum(0), atol=1e-14)


def test_cross() -> None:
    x, y = normal(4, 3), normal(5, 1, 3)
    np.testing.assert_allclose(wg.cross(x, y), np.cross(x, y), atol=1e-14)
    np.testing.assert_allclose(
        wg.cross(x.T, x.T[:, ::-1], axis=0), np.cross(x.T, x.T[:, ::-1], axis=0)
    )
    assert wg.cross(np.zeros((0, 3)), y[:, :, :]).shape == (5, 0, 3)


PATTERNS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ba", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iij,jki->k", [(2, 2, 3), (3, 4, 2)]),
    ("iijj->ji", [(2, 2, 3, 3)]),
    ("i,i->", [(3,), (3,)]),
    ("i,j->ji", [(3,), (2,)]),
    ("i,j,k->kij", [(3,), (2,), (4,)]),
    (",i->i", [(), (3,)]),
    ("...ij,...jk->...ik", [(5, 1, 2, 3), (4, 3, 2)]),
    ("...ij,jk", [(5, 2, 3), (3, 2)]),
    ("i...,i...->...", [(3, 2, 4), (3, 4)]),
    ("i...->i", [(3, 2, 4)]),
    ("...i->i...", [(3, 2, 4)]),
    ("bqhd,bkhd->bhqk", [(2, 3, 2, 4), (2, 5, 2, 4)]),
    ("bhqk,bkhd->bqhd", [(2, 2, 3, 5), (2, 5, 2, 4)]),
    ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 2), (2, 5)]),
    ("ab,bc,ca->", [(2, 3), (3, 4), (4, 2)]),
    ("ab,ab,ab->ab", [(2, 3)] * 3),
    ("ab,b,b->a", [(2, 3), (3,), (3,)]),
    ("ij,kj->", [(2, 3), (4, 3)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("ij,jk->ik", [(0, 3), (3, 4)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
    (" i j , j k -> k i ", [(2, 3), (3, 4)]),
]


@pytest.mark.parametrize(("pattern", "shapes"), PATTERNS)
def test_einsum_agrees_with_numpy(pattern: str, shapes: Any) -> None:
    xs = [normal(*s) for s in shapes]
    numpy_pattern = pattern.replace("i...->i", "i...->i")
    if pattern == "i...->i":  # NumPy refuses to sum over '...'; so does this library
        with pytest.raises(ArgumentError, match="missing in the result"):
            wg.einsum(pattern, *xs)
        return
    expected = np.einsum(numpy_pattern, *xs)
    found = wg.einsum(pattern, *xs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_einsum_differentiates_and_batches() -> None:
    xs = [normal(3, 3, 2), normal(1, 4), normal(2, 4)]

    def f(a: Any, b: Any, c: Any) -> Any:
        return wg.sum(wg.sin(wg.einsum("iij,ik,jk->kj", a, b, c)))

    assert_derivatives(f, *xs)
    stacked = wg.asarray(normal(5, 3, 3, 2))
    mapped = wg.vmap(f, in_axes=(0, None, None))(stacked, *xs[1:])
    looped = [float(f(stacked[i], *xs[1:])) for i in range(5)]
    np.testing.assert_allclose(mapped, looped, rtol=1e-12)


def test_einsum_order_follows_the_cheapest_result() -> None:
    x = wg.asarray(normal(50, 50)).requires_grad_()
    v = wg.asarray(normal(50))
    out = wg.einsum("ab,bc,c->a", x, x, v)
    shapes = [n.shape for n in wg.Graph.of(out).nodes if n.op is contract]
    assert shapes == [(50,), (50,)]  # matrix times vector, twice


@pytest.mark.parametrize(
    ("pattern", "shapes", "error", "match"),
    [
        ("ij,jk->ik", [(2, 3)], ArgumentError, "2 operands, the call 1"),
        ("ij->ij", [(2, 3, 4)], ShapeError, "one letter for each axis"),
        ("ijk,...->", [(2, 3), (1,)], ShapeError, "one letter for each axis"),
        ("ij,jk->ik", [(2, 3), (4, 5)], ShapeError, "'j' has two sizes, 3 and 4"),
        ("ii->i", [(2, 3)], ShapeError, "'i' has two sizes"),
        ("ii->i", [(1, 3)], ShapeError, "'i' has two sizes, 1 and 3"),
        ("...,...->...", [(2,), (3,)], ShapeError, "axis -1 of '...' has two sizes"),
        ("ij->ik", [(2, 3)], ArgumentError, "names 'k', which no operand has"),
        ("i->ii", [(2,)], ArgumentError, "a letter twice"),
        ("i1->i", [(2, 2)], ArgumentError, "'1' is no label"),
        ("ij->i->j", [(2, 2)], ArgumentError, "is no label"),
        ("", [], ArgumentError, "1 operands, the call 0"),
    ],
)
def test_einsum_errors_show_pattern_and_shapes(
    pattern: str, shapes: Any, error: Any, match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        wg.einsum(pattern, *[normal(*s) for s in shapes])
    assert repr(pattern) in str(caught.value)
    assert all(str(s) in str(caught.value) for s in shapes)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: wg.matmul(normal(2, 3), normal(4, 5)), r"inner sizes differ.*3 against 4"),
        (lambda: wg.matmul(normal(2, 3), normal(4, 3)), r"write x @ y\.mT"),
        (lambda: wg.matmul(normal(3, 2), normal(3, 4)), r"write x\.mT @ y"),
        (lambda: wg.matmul(normal(2, 2, 3), normal(3, 3, 4)), "cannot be broadcast"),
        (lambda: wg.matmul(2.0, normal(3, 3)), "one axis or more"),
        (lambda: wg.asarray(normal(2, 3)) @ wg.asarray(normal(2)), r"\[matmul\] the inner sizes"),
        (lambda: wg.vecdot(normal(2, 3), normal(2, 4)), "different lengths"),
        (lambda: wg.tensordot(normal(2, 3), normal(2, 3)[:, :2]), "have different sizes"),
        (lambda: wg.tensordot(normal(2), normal(2, 3), axes=2), "as many axes as are summed"),
        (lambda: wg.tensordot(normal(2), normal(2), axes=((0,), ())), "same length"),
        (lambda: wg.inner(normal(2, 3), normal(2, 4)), "last axes have different sizes"),
        (lambda: wg.dot(normal(2, 3), normal(2, 4)), "inner sizes differ"),
        (lambda: wg.cross(normal(2), normal(2)), "three entries"),
        (lambda: wg.matvec(normal(2, 3), normal(2)), "inner sizes differ"),
        (lambda: wg.matvec(normal(3), normal(3)), "axes or more"),
        (lambda: wg.vecmat(normal(3), normal(2, 3)), "inner sizes differ"),
        (lambda: wg.mm(normal(3), normal(3, 3)), r"\[mm\] takes arrays of 2 and 2 axes"),
        (lambda: wg.bmm(normal(3, 2, 2), normal(1, 2, 2)), "different lengths"),
        (lambda: wg.matrix_transpose(normal(3)), "no row or column orientation"),
        (lambda: wg.diag(normal(1, 2, 3)), "a vector or a matrix"),
        (lambda: wg.diagonal(normal(2, 3), axis1=1, axis2=-1), "must differ"),
    ],
)
def test_errors_name_both_shapes_and_the_cause(call: Any, match: str) -> None:
    with pytest.raises(WengertError, match=match):
        call()


def test_axis_errors() -> None:
    with pytest.raises(AxisError, match="no such axis"):
        wg.vecdot(normal(2, 3), normal(2, 3), axis=2)
    with pytest.raises(AxisError, match="no such axis"):
        wg.tensordot(normal(2, 3), normal(3), axes=((2,), (0,)))


# -- dtypes ------------------------------------------------------------------------------------


def test_integers_are_exact() -> None:
    big = np.array([[2**60 + 1, 3]])
    assert (wg.matmul(big, big.T).numpy() == big @ big.T).all()
    x = np.arange(6, dtype=np.int8).reshape(2, 3)
    assert wg.matmul(x, x.T).dtype == wg.int8
    assert wg.einsum("ij,kj->", x, x).dtype == wg.int8


def test_booleans_are_and_and_or() -> None:
    x = np.array([[True, False], [True, True]])
    assert (wg.matmul(x, x).numpy() == x @ x).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_accumulates_in_float32(dtype: Any) -> None:
    ones = np.ones((1, 4096), dtype)
    ones[0, 0] = 2048  # adding ones to it one by one would stay at 2048
    found = wg.matmul(ones, np.ones((4096, 1), dtype))
    assert found.dtype == dtype
    assert float(found.item()) == float(np.asarray(6143, dtype))
    assert wg.einsum("ab,cb->ac", ones, ones).dtype == dtype


def test_dtypes_are_promoted() -> None:
    i, f, d = np.ones((2, 2), np.int32), np.ones((2, 2), np.float32), np.ones((2, 2))
    assert wg.matmul(i, f).dtype == wg.float32
    assert wg.matmul(f, d).dtype == wg.float64
    assert wg.einsum("ij,jk,kl", i, f, d).dtype == wg.float64
    with pytest.raises(DtypeError, match="no common integer dtype"):
        wg.matmul(i, i.astype(np.uint64))


# -- the op ------------------------------------------------------------------------------------


def test_every_labelling_of_three_axes_agrees_with_numpy() -> None:
    """All ways to share up to three labels between x, y and the result."""
    size = {0: 2, 1: 3, 2: 4}
    roles = ("xyo", "xy", "xo", "yo")
    letters = "abc"
    for count in range(4):
        for kinds in itertools.product(roles, repeat=count):
            held = {p: [i for i, k in enumerate(kinds) if p in k] for p in "xyo"}
            for order in itertools.permutations(held["o"]):
                ix, iy, io = tuple(held["x"]), tuple(held["y"][::-1]), tuple(order)
                x, y = normal(*(size[i] for i in ix)), normal(*(size[i] for i in iy))
                text = ["".join(letters[i] for i in labels) for labels in (ix, iy, io)]
                expected = np.einsum(f"{text[0]},{text[1]}->{text[2]}", x, y)
                found = contract(wg.asarray(x), wg.asarray(y), subs=(ix, iy, io))
                np.testing.assert_allclose(found, expected, atol=1e-12, err_msg=str(text))


def test_plain_matrix_products_need_no_permutation() -> None:
    assert plan(((0, 1), (1, 2), (0, 2))).kind == "dot"
    assert plan(((0, 1), (1, 2), (2, 0))).swap
    assert plan(((0, 1), (1, 2), (2, 0))).out_axes == ()
    assert plan(((0, 1, 2), (0, 2, 3), (0, 1, 3))).kind == "matmul"


def test_results_never_alias_operands() -> None:
    x = np.ones((2, 3))
    y = np.ones((3,))
    held = wg.asarray(x)
    out = wg.einsum("ij,j->ij", held, wg.asarray(y))
    assert not np.shares_memory(out.numpy(), held.numpy())


def test_products_differentiate_to_second_order() -> None:
    x, y, v = normal(2, 3), normal(2, 3, 2), normal(3)
    functions: list[tuple[Any, tuple[Any, ...]]] = [
        (lambda a, b: wg.matmul(a, b), (x, y)),
        (lambda a, b: wg.matmul(a, b), (x, v)),
        (lambda a, b: wg.outer(a, b), (v, x)),
        (lambda a, b: wg.kron(a, b), (x, v)),
        (lambda a, b: wg.cross(a, b), (x, v)),
        (lambda a, b: wg.vecdot(a, b), (x, v)),
        (lambda a, b: wg.inner(a, b), (x, v)),
    ]
    for f, args in functions:
        assert_derivatives(lambda *xs, f=f: wg.sin(f(*xs)), *args)


def test_diagonals() -> None:
    x = normal(3, 4, 2)
    for k in (-3, -1, 0, 2, 5):
        np.testing.assert_array_equal(wg.diagonal(x, k), np.diagonal(x, k))
        np.testing.assert_array_equal(wg.diagonal(x, k, 2, 0), np.diagonal(x, k, 2, 0))
        np.testing.assert_array_equal(wg.diag(x[:, :, 0], k), np.diag(x[:, :, 0], k))
        np.testing.assert_array_equal(wg.diag(x[0, :, 0], k), np.diag(x[0, :, 0], k))
