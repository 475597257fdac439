"""Shapes, joining, splitting and rearranging: NumPy's values, exact derivatives, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, AxisError, DtypeError, ShapeError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(2, 3, 4))

# name, arguments behind the array, keywords: wg.name and np.name (or the given one) must agree.
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("reshape", ((4, 6),), {}),
    ("reshape", ((2, -1),), {}),
    ("reshape", (-1,), {}),
    ("ravel", (), {}),
    ("expand_dims", (1,), {}),
    ("expand_dims", ((0, -1),), {}),
    ("transpose", (), {}),
    ("transpose", ((1, 2, 0),), {}),
    ("swapaxes", (0, -1), {}),
    ("moveaxis", (0, -1), {}),
    ("moveaxis", ((0, 1), (2, 0)), {}),
    ("flip", (), {}),
    ("flip", ((0, -1),), {}),
    ("fliplr", (), {}),
    ("flipud", (), {}),
    ("broadcast_to", ((5, 2, 3, 4),), {}),
    ("roll", (5,), {}),
    ("roll", (-1,), {"axis": 1}),
    ("roll", ((1, -7),), {"axis": (0, 2)}),
    ("roll", (2,), {"axis": (0, 2)}),
    ("roll", ((1, 1),), {"axis": 1}),
    ("rot90", (), {}),
    ("rot90", (2,), {"axes": (0, 2)}),
    ("rot90", (-1,), {"axes": (2, 1)}),
    ("rot90", (4,), {}),
    ("repeat", (2,), {}),
    ("repeat", (3,), {"axis": 1}),
    ("repeat", ([1, 0, 2],), {"axis": 1}),
    ("repeat", (0,), {"axis": 0}),
    ("tile", (2,), {}),
    ("tile", ((2, 1, 1, 3),), {}),
    ("tile", ((),), {}),
    ("tile", ((0, 2),), {}),
    ("pad", (1,), {}),
    ("pad", ((1, 0),), {"constant_values": 2.5}),
    ("pad", (((1, 2), (0, 1), (2, 0)),), {"mode": "constant"}),
    ("pad", (((1, 2), (0, 1), (2, 0)),), {"mode": "edge"}),
    ("pad", (((1, 1), (0, 2), (3, 0)),), {"mode": "reflect"}),
    ("pad", (((4, 9), (0, 7), (3, 0)),), {"mode": "reflect"}),
    ("pad", (((1, 2), (4, 1), (2, 9)),), {"mode": "symmetric"}),
    ("pad", (((1, 2), (4, 1), (2, 9)),), {"mode": "wrap"}),
    ("diff", (), {}),
    ("diff", (2,), {"axis": 1}),
    ("diff", (9,), {"axis": 1}),
    ("diff", (), {"prepend": 0.5, "append": 1.5}),
    ("delete", (1,), {"axis": 1}),
    ("delete", ([0, -1],), {"axis": 2}),
    ("delete", (slice(0, 4, 2),), {"axis": 2}),
    ("delete", ([0, 5],), {}),
    ("insert", (1, 9.0), {"axis": 1}),
    ("insert", ([0, 3], 9.0), {"axis": 1}),
    ("insert", (5, 9.0), {}),
    ("insert", (slice(0, 2), 9.0), {"axis": 2}),
    ("append", (9.0,), {}),
    ("diagflat", (), {}),
    ("diagflat", (-2,), {}),
    ("atleast_1d", (), {}),
    ("atleast_3d", (), {}),
    ("squeeze", (), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), CALLS)
def test_agrees_with_numpy(name: str, args: Any, options: Any) -> None:
    found = getattr(wg, name)(X, *args, **options)
    expected = getattr(np, name)(X, *args, **options)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    integers = getattr(wg, name)(np.arange(24).reshape(2, 3, 4), *args, **options)
    assert integers.dtype in (wg.int64, wg.float32)
    if found.size:
        square = lambda x: getattr(wg, name)(x, *args, **options) ** 2
        assert_derivatives(square, X[:, :, :4])
    rows = wg.vmap(lambda x: getattr(wg, name)(x, *args, **options))(np.stack([X, 2 * X]))
    np.testing.assert_array_equal(rows.numpy()[0], expected)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2)])
def test_shapes_that_are_empty_or_have_no_axis(shape: tuple[int, ...]) -> None:
    x = np.ones(shape)
    for name, args in (
        ("ravel", ()),
        ("flip", ()),
        ("roll", (1,)),
        ("repeat", (2,)),
        ("tile", ((2, 2),)),
        ("atleast_2d", ()),
        ("atleast_3d", ()),
        ("expand_dims", (0,)),
        ("squeeze", ()),
        ("transpose", ()),
        ("diagflat", (1,)),
    ):
        found, expected = getattr(wg, name)(x, *args), getattr(np, name)(x, *args)
        np.testing.assert_array_equal(found.numpy(), expected, strict=True, err_msg=name)
    assert wg.flatten(x).shape == (x.size,)


def test_flatten_joins_a_range_of_axes() -> None:
    x = wg.zeros((2, 3, 4, 5))
    assert wg.flatten(x).shape == (120,)
    assert wg.flatten(x, 1, -2).shape == (2, 12, 5)
    assert x.flatten(1).shape == (2, 60)
    assert wg.flatten(wg.asarray(3.0)).shape == (1,)


def test_reshape_and_copies() -> None:
    x = wg.asarray(np.arange(6.0))
    shared = wg.reshape(x, (2, 3), copy=False)
    own = wg.reshape(x, (2, 3), copy=True)
    assert np.shares_memory(shared.numpy(), x.numpy())
    assert not np.shares_memory(own.numpy(), x.numpy())
    with pytest.raises(ArgumentError, match="needs a copy, and copy=False forbids"):
        wg.reshape(shared.T, (6,), copy=False)
    with pytest.raises(ArgumentError, match="only row-major order"):
        wg.reshape(x, (2, 3), order="F")


# -- joining and splitting ---------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_concat(axis: int | None) -> None:
    parts = [X, X[:, :, :0] if axis in (-1, None) else X, 2 * X]
    expected = np.concatenate(parts, axis)
    np.testing.assert_array_equal(wg.concat(parts, axis=axis).numpy(), expected, strict=True)
    np.testing.assert_array_equal(wg.concat(parts, axis).numpy(), expected)
    np.testing.assert_array_equal(wg.concatenate(parts, axis).numpy(), expected)
    assert_derivatives(lambda a, b: wg.concat([a, b, a * b], axis=axis) ** 2, X, 2 * X)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack_and_unstack(axis: int) -> None:
    expected = np.stack([X, 2 * X], axis)
    found = wg.stack([X, 2 * X], axis=axis)
    np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    for part, original in zip(wg.unstack(found, axis=axis), (X, 2 * X), strict=True):
        np.testing.assert_array_equal(part.numpy(), original, strict=True)
    assert_derivatives(lambda a, b: wg.stack([a, b, a], axis=axis) ** 2, X, 2 * X)


def test_joins_promote_and_numbers_are_weak() -> None:
    assert wg.concat([wg.ones(1, dtype=wg.int8), wg.ones(1, dtype=wg.float64)]).dtype == wg.float64
    assert wg.stack([wg.asarray(1.0, dtype=wg.float16), 2.0]).dtype == wg.float16
    assert wg.concat([wg.ones(1), wg.ones(1)], dtype=wg.float64).dtype == wg.float64


def test_a_join_of_tracked_and_untracked_arrays() -> None:
    a, b = wg.ones(2), wg.asarray([3.0])
    tangent = wg.jvp(lambda a: wg.concat([a, b, a]), (a,), (a * 2.0,))[1]
    assert tangent.tolist() == [2.0, 2.0, 0.0, 2.0, 2.0]
    gradient = wg.grad(lambda b: wg.sum(wg.concat([a, b]) ** 2))(b)
    assert gradient.tolist() == [6.0]
    rows = wg.vmap(lambda b: wg.concat([a, b]))(wg.asarray([[3.0], [4.0]]))
    assert rows.tolist() == [[1.0, 1.0, 3.0], [1.0, 1.0, 4.0]]


@pytest.mark.parametrize("name", ["hstack", "vstack", "dstack"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
def test_named_stacks(name: str, shape: tuple[int, ...]) -> None:
    a = RNG.normal(size=shape)
    expected = getattr(np, name)([a, 2 * a])
    np.testing.assert_array_equal(getattr(wg, name)([a, 2 * a]).numpy(), expected, strict=True)


@pytest.mark.parametrize("sections", [1, 2, 3, 5, [1], [0, 2], [1, -1], [3, 1], [9]])
def test_splits(sections: Any) -> None:
    x = np.arange(8.0).reshape(4, 2)
    for found, expected in zip(
        wg.array_split(x, sections), np.array_split(x, sections), strict=True
    ):
        np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    assert_derivatives(lambda x: [p * p for p in wg.array_split(x, sections)], x, order=1)


def test_chunks_are_equal_but_for_the_last() -> None:
    sizes = lambda n, k: [p.shape[0] for p in wg.chunk(wg.zeros(n), k)]
    assert sizes(10, 3) == [4, 4, 2]
    assert sizes(4, 6) == [1, 1, 1, 1]
    assert sizes(0, 2) == [0]
    assert [p.shape for p in wg.split(wg.zeros((2, 6)), 3, axis=1)] == [(2, 2)] * 3


def test_insert_and_delete_reach_all_operands() -> None:
    values = RNG.normal(size=(2, 4))
    expected = np.insert(X, 1, values, axis=1)
    np.testing.assert_array_equal(wg.insert(X, 1, values, axis=1).numpy(), expected)
    assert_derivatives(lambda x, v: wg.insert(x, 1, v, axis=1) ** 2, X, values)
    block = RNG.normal(size=(2, 2, 4))
    expected = np.insert(X, [1, 3], block, axis=1)
    np.testing.assert_array_equal(wg.insert(X, [1, 3], block, axis=1).numpy(), expected)


def test_pad_by_pytorch_names() -> None:
    for ours, theirs in (("replicate", "edge"), ("circular", "wrap")):
        found = wg.pad(X, ((1, 2), (0, 0), (1, 1)), mode=ours)
        np.testing.assert_array_equal(found.numpy(), np.pad(X, ((1, 2), (0, 0), (1, 1)), theirs))


def test_diff_of_bools_is_not_equal() -> None:
    found = wg.diff(wg.asarray([True, False, False]))
    assert (found.tolist(), found.dtype) == ([True, False], wg.bool)


def test_broadcasting_functions() -> None:
    assert wg.broadcast_shapes((2, 1), 3, (1, 3)) == (2, 3)
    a, b = wg.broadcast_arrays(wg.zeros((2, 1), dtype=wg.int8), wg.zeros(3))
    assert (a.shape, b.shape, a.dtype) == ((2, 3), (2, 3), wg.int8)


def test_methods() -> None:
    x = wg.asarray(X)
    assert x.reshape(4, 6).shape == x.reshape((4, 6)).shape == (4, 6)
    assert x.permute(2, 0, 1).shape == (4, 2, 3)
    assert x.transpose(0, 1).shape == (3, 2, 4)
    assert x.T.shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)
    assert x.unsqueeze(1).squeeze(1).shape == (2, 3, 4)
    assert wg.ones((1, 3)).expand(2, -1).shape == (2, 3)
    assert x.flip(0).shape == x.roll(1, 0).shape == (2, 3, 4)
    assert x.ravel().shape == (24,)
    assert x.moveaxis(0, 2).shape == x.permute_dims((1, 2, 0)).shape == (3, 4, 2)
    assert x.top_k(2, axis=1)[0].shape == x.chunk(2, 1)[0].shape == (2, 2, 4)


# -- errors ------------------------------------------------------------------------------------

Z = wg.zeros((3, 4))

WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: wg.reshape(Z, (5, -1)), ShapeError, "size for -1 cannot be worked out.*12 elements"),
    (lambda: wg.reshape(Z, (-1, -1)), ShapeError, "size for -1"),
    (lambda: wg.reshape(wg.zeros((0, 2)), (0, -1)), ShapeError, "size for -1"),
    (lambda: wg.reshape(Z, (7,)), ShapeError, "number of elements must stay the same"),
    (lambda: wg.reshape(Z, (3.5, 4)), DtypeError, "a size must be an integer; got 3.5"),
    (lambda: wg.reshape(Z, "ab"), DtypeError, "must be an integer"),
    (lambda: wg.squeeze(Z, 0), ShapeError, "only axes of size 1.*axis 0"),
    (lambda: wg.squeeze(Z, 2), AxisError, "no such axis; got axis 2 of 2"),
    (lambda: wg.expand_dims(Z, (0, 0)), AxisError, "named twice"),
    (lambda: wg.expand_dims(Z, 3), IndexError, "no such axis"),
    (lambda: wg.flip(Z, 1.0), DtypeError, "an axis must be an integer"),
    (lambda: wg.flatten(Z, 1, 0), ArgumentError, "must not come after"),
    (lambda: wg.permute_dims(Z, (0,)), ArgumentError, "each axis once"),
    (lambda: wg.permute_dims(Z, (0, 0)), ArgumentError, "each axis once"),
    (lambda: wg.moveaxis(Z, (0, 1), 0), ArgumentError, "as many destinations as sources"),
    (lambda: wg.broadcast_to(Z, (2, 4)), ShapeError, "cannot be broadcast to this shape"),
    (lambda: wg.broadcast_arrays(Z, wg.zeros(3)), ShapeError, "cannot be broadcast together"),
    (lambda: wg.concat([]), ArgumentError, "nothing to join"),
    (lambda: wg.concat([Z, wg.zeros((3, 4, 1))]), ShapeError, "must have equal sizes"),
    (lambda: wg.concat([1.0, 2.0]), ShapeError, "0-d arrays have no axis.*wg.stack"),
    (lambda: wg.concat([Z], axis=2), AxisError, "no such axis"),
    (lambda: wg.stack([Z, wg.zeros(3)]), ShapeError, "one or more arrays of one shape"),
    (lambda: wg.stack([]), ShapeError, "got no array"),
    (lambda: wg.split(Z, 3, axis=1), ShapeError, "into equal pieces.*array_split"),
    (lambda: wg.array_split(Z, 0), ArgumentError, "at least one piece"),
    (lambda: wg.chunk(Z, 0), ArgumentError, "at least one piece"),
    (lambda: wg.unstack(wg.asarray(1.0)), AxisError, "the array is 0-d"),
    (lambda: wg.repeat(Z, -1), ArgumentError, "must not be negative"),
    (lambda: wg.repeat(Z, [1, 2]), ShapeError, "one count for each element.*12 integers"),
    (lambda: wg.repeat(Z, 1.5), DtypeError, "must be integers"),
    (lambda: wg.tile(Z, -1), ArgumentError, "must not be negative"),
    (lambda: wg.roll(Z, (1, 2), axis=(0, 1, 0)), ArgumentError, "one shift an axis"),
    (lambda: wg.roll(Z, 1.5), DtypeError, "a shift must be an integer|must be an integer"),
    (lambda: wg.pad(Z, -1), ArgumentError, "widths must not be negative"),
    (lambda: wg.pad(Z, ((1, 2),) * 3), ArgumentError, "a pair for each axis"),
    (lambda: wg.pad(Z, 1.5), ArgumentError, "pad_width is an integer"),
    (lambda: wg.pad(Z, 1, "mirror"), ArgumentError, "unknown mode; got 'mirror'.*'reflect'"),
    (lambda: wg.pad(wg.zeros((0,)), 1, "edge"), ShapeError, "needs an element to repeat"),
    (lambda: wg.delete(Z, 5, axis=0), ArgumentError, "out of bounds; got 5"),
    (lambda: wg.insert(Z, 4, 0.0, axis=0), ArgumentError, "out of bounds; got 4"),
    (lambda: wg.diff(Z, -1), ArgumentError, "must not be negative"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        call()
