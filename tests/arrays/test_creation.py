"""Making arrays: dtypes, sharing, gradients through nested lists, ranges, errors."""

from __future__ import annotations

import array
import enum
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert.core.errors import ArgumentError, BoundsError, DtypeError, ShapeError

# -- asarray -----------------------------------------------------------------------------------

VALUES: list[tuple[Any, str]] = [
    (True, "bool"),
    (3, "int64"),
    (2.5, "float32"),
    ([1, 2], "int64"),
    ([1, 2.5], "float32"),
    ([True, False], "bool"),
    ([True, 2], "int64"),
    ([[1], [2]], "int64"),
    ((1.0, 2.0), "float32"),
    ([], "float32"),
    ([[]], "float32"),
    (range(3), "int64"),
    (np.float64(1.0), "float64"),
    (np.int8(1), "int8"),
    ([np.float64(1.0), 2.0], "float64"),
    ([np.float16(1.0), 2.0], "float16"),
    ([np.int8(1), 2.0], "float32"),
    (np.ones(2), "float64"),
    (np.ones(2, "float16"), "float16"),
    (np.ones(2, ml_dtypes.bfloat16), "bfloat16"),
    ([np.ones(2), np.zeros(2, "float32")], "float64"),
    (array.array("i", [1, 2]), "int32"),
    (memoryview(b"ab"), "uint8"),
    (bytearray(b"ab"), "uint8"),
]


def test_a_complex_number_without_imaginary_part_is_real() -> None:
    assert wg.asarray(complex(1.5)).dtype == wg.float32
    assert float(wg.asarray(complex(1.5), dtype=wg.float64)) == 1.5


@pytest.mark.parametrize(("value", "dtype"), VALUES, ids=lambda v: repr(v)[:30].split(" at 0x")[0])
def test_values_and_dtypes(value: Any, dtype: str) -> None:
    x = wg.asarray(value)
    assert str(x.dtype) == dtype
    np.testing.assert_array_equal(x.numpy(), np.array(value).astype(x.dtype))
    assert wg.asarray(value, dtype=wg.float64).dtype == wg.float64
    assert wg.tensor(value).dtype == x.dtype


def test_python_numbers_keep_their_precision_beside_wide_arrays() -> None:
    x = wg.asarray([wg.asarray(0.5, dtype=wg.float64), 0.1, [0.1][0]])
    assert x.tolist() == [0.5, 0.1, 0.1]
    nested = wg.asarray([[0.1, 0.2], wg.zeros(2, dtype=wg.float64)])
    assert nested.tolist() == [[0.1, 0.2], [0.0, 0.0]]


def test_lists_of_tensors_are_differentiable() -> None:
    f = lambda x, y: wg.asarray([[x[0], 2.0 * y], [3.0, x[1] * y]]) ** 2
    assert_derivatives(f, np.array([1.0, 2.0]), np.array(0.5))
    assert wg.asarray([wg.ones(2), [1, 2]]).tolist() == [[1.0, 1.0], [1.0, 2.0]]


def test_subclasses_of_numbers() -> None:
    class Color(enum.IntEnum):
        RED = 3

    assert wg.asarray(Color.RED).item() == 3
    assert wg.asarray([Color.RED]).tolist() == [3]


def test_big_endian_arrays_are_converted() -> None:
    x = wg.asarray(np.array([1.0, 2.0], ">f4"))
    assert (x.tolist(), x.dtype) == ([1.0, 2.0], wg.float32)


def test_sharing() -> None:
    a = np.arange(3.0)
    shared, own = wg.asarray(a), wg.asarray(a, copy=True)
    also = wg.asarray(a, copy=False)
    a[0] = 9.0
    assert shared.tolist() == also.tolist() == [9.0, 1.0, 2.0]
    assert own.tolist() == wg.array(np.arange(3.0)).tolist() == [0.0, 1.0, 2.0]
    assert wg.asarray(shared) is shared
    assert wg.asarray(shared, copy=False) is shared
    copied = wg.asarray(shared, copy=True)
    assert not np.shares_memory(copied.numpy(), shared.numpy())


def test_a_copy_of_a_tracked_tensor_stays_tracked() -> None:
    gradient = wg.grad(lambda x: wg.sum(wg.asarray(x, copy=True) ** 2))(wg.asarray([1.0, 2.0]))
    assert gradient.tolist() == [2.0, 4.0]
    double = lambda x: wg.sum(wg.asarray(x, dtype=wg.float64) ** 2)
    assert wg.grad(double)(wg.asarray([1.0])).dtype == wg.float32
    leaf = wg.tensor([1.0], requires_grad=True)
    assert leaf.is_leaf
    assert leaf.requires_grad


def test_dlpack_both_ways() -> None:
    a = np.arange(3.0)
    x = wg.from_dlpack(a)
    assert np.shares_memory(x.numpy(), a)
    back = np.from_dlpack(x)
    assert back.tolist() == [0.0, 1.0, 2.0]
    assert wg.from_dlpack(x).tolist() == [0.0, 1.0, 2.0]
    assert not np.shares_memory(wg.from_dlpack(a, copy=True).numpy(), a)

    class Exporter:
        """Nothing but the DLPack protocol."""

        def __dlpack__(self, **options: Any) -> Any:
            return a.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return a.__dlpack_device__()

    assert wg.asarray(Exporter()).tolist() == [0.0, 1.0, 2.0]
    assert x.__dlpack_device__() == (1, 0)
    x.__dlpack__(max_version=(1, 0), copy=True, dl_device=(1, 0), stream=None)


# -- from a shape ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
@pytest.mark.parametrize("shape", [3, (), (2, 0), [2, 3], np.int64(2), np.array([2, 3])])
def test_from_a_shape(name: str, shape: Any) -> None:
    expected = getattr(np, name)(shape)
    for dtype in (None, wg.int16, "float64", bool, float, int):
        x = getattr(wg, name)(shape, dtype=dtype, device="cpu")
        assert x.shape == expected.shape
        wanted = {None: wg.float32, float: wg.float32, int: wg.int64}
        assert x.dtype == (wanted.get(dtype) or np.dtype(dtype))
        if name != "empty":
            assert (x.numpy() == expected).all()


def test_like() -> None:
    x = wg.ones((2, 3), dtype=wg.int16)
    for name in ("zeros_like", "ones_like", "empty_like"):
        found = getattr(wg, name)(x)
        assert (found.shape, found.dtype) == ((2, 3), wg.int16)
        assert getattr(wg, name)(x, dtype=wg.float64).dtype == wg.float64
    assert wg.full_like(x, 7).tolist() == [[7] * 3] * 2
    rows = wg.vmap(lambda x: wg.ones_like(x) + wg.full_like(x, 2))(wg.zeros((2, 3)))
    assert rows.tolist() == [[3.0] * 3] * 2


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int64"),
        (1.5, "float32"),
        (True, "bool"),
        (np.float64(2), "float64"),
        (np.nan, "float32"),
    ],
)
def test_full(value: Any, dtype: str) -> None:
    x = wg.full((2, 1), value)
    assert str(x.dtype) == dtype
    np.testing.assert_array_equal(x.numpy(), np.full((2, 1), value, dtype))
    assert wg.full(2, value, dtype=wg.float64).dtype == wg.float64


def test_full_is_differentiable_in_its_value() -> None:
    assert wg.grad(lambda v: wg.sum(wg.full((2, 3), v)))(2.0).item() == 6.0


def test_eye_and_triangles() -> None:
    for args, k in (((3,), 0), ((2, 4), 1), ((4, 2), -2), ((0, 3), 0), ((3, 3), 9)):
        np.testing.assert_array_equal(wg.eye(*args, k=k).numpy(), np.eye(*args, k=k))
        np.testing.assert_array_equal(wg.tri(*args, k=k).numpy(), np.tri(*args, k=k))
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    x[0, 0, 3] = np.inf
    for k in (-1, 0, 2):
        np.testing.assert_array_equal(wg.tril(x, k=k).numpy(), np.tril(x, k))
        np.testing.assert_array_equal(wg.triu(x, k=k).numpy(), np.triu(x, k))
        assert_derivatives(lambda x, k=k: wg.tril(x, k=k) * wg.triu(x, k=-2) ** 2, x[1])
    assert wg.tril(wg.ones((2, 2), dtype=wg.bool)).tolist() == [[True, False], [True, True]]
    assert wg.identity(2).tolist() == [[1.0, 0.0], [0.0, 1.0]]


# -- ranges ------------------------------------------------------------------------------------


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-3, 3).filter(bool))
def test_integer_ranges(start: int, stop: int, step: int) -> None:
    x = wg.arange(start, stop, step)
    assert (x.tolist(), x.dtype) == (list(range(start, stop, step)), wg.int64)
    assert wg.arange(stop).tolist() == list(range(stop))
    assert wg.arange(start, stop, step, dtype=wg.int8).dtype == wg.int8


def test_ranges_at_the_ends_of_the_integers() -> None:
    for r, dtype in (
        (range(2**63, 2**63 + 3), wg.uint64),
        (range(2**64 - 1, 2**64 - 9, -3), wg.uint64),
        (range(-(2**63), -(2**63) + 3), wg.int64),
        (range(-(2**63), 2**63 - 1, 2**62), wg.int64),
        (range(10, -1, -5), wg.uint8),
    ):
        assert wg.arange(r.start, r.stop, r.step, dtype=dtype).tolist() == list(r)


def test_float_ranges() -> None:
    assert wg.arange(3.0).dtype == wg.float32
    assert wg.arange(0, 1, 0.25).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert wg.arange(3, dtype=wg.float64).tolist() == [0.0, 1.0, 2.0]
    assert wg.arange(wg.asarray(3)).tolist() == [0, 1, 2]
    assert wg.arange(np.float64(2)).dtype == wg.float32
    assert wg.arange(5.0, 1.0).shape == (0,)


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7])
def test_linspace(num: int, endpoint: bool) -> None:
    for bounds in ((0, 1), (3.5, -2), (1, 1)):
        expected = np.linspace(*bounds, num, endpoint=endpoint)
        x = wg.linspace(*bounds, num, endpoint=endpoint, dtype=wg.float64)
        np.testing.assert_array_equal(x.numpy(), expected)
        tensors = [wg.asarray(b, dtype=wg.float64) for b in bounds]
        np.testing.assert_allclose(wg.linspace(*tensors, num, endpoint=endpoint).numpy(), expected)
    assert wg.linspace(0, 10, 5, dtype=wg.int32).tolist() == [0, 2, 5, 7, 10]
    assert_derivatives(lambda a, b: wg.linspace(a, b, 4) ** 2, np.ones(2), np.array([[3.0], [5.0]]))


def test_the_ends_of_linspace_are_exact() -> None:
    for a, b in ((0.1, 0.7), (-1e-3, 1e5), (1 / 3, 2 / 3)):
        for x in (wg.linspace(a, b, 7), wg.linspace(wg.asarray(a), b, 7)):
            assert x.numpy()[0] == np.float32(a)
            assert x.numpy()[-1] == np.float32(b)


def test_other_spacings() -> None:
    np.testing.assert_allclose(wg.logspace(0, 3, 4).numpy(), np.logspace(0, 3, 4))
    np.testing.assert_allclose(wg.geomspace(2, 32, 5).numpy(), np.geomspace(2, 32, 5))
    np.testing.assert_allclose(wg.geomspace(-8, -1, 4).numpy(), np.geomspace(-8, -1, 4))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("sizes", [(), (3,), (2, 3), (2, 3, 4), (2, 0)])
def test_meshgrid(sizes: tuple[int, ...], indexing: str) -> None:
    lines = [np.arange(float(n)) for n in sizes]
    found = wg.meshgrid(*lines, indexing=indexing)
    expected = np.meshgrid(*lines, indexing=indexing)
    assert isinstance(found, list)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.numpy(), b, strict=True)


def test_meshgrid_takes_scalars_and_is_differentiable() -> None:
    assert wg.meshgrid(1.0, wg.arange(2))[0].tolist() == [[1.0], [1.0]]
    f = lambda a, b: [x * y for x, y in [wg.meshgrid(a, b)]]
    assert_derivatives(f, np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]))


# -- classes -----------------------------------------------------------------------------------


def test_one_hot() -> None:
    x = np.array([[0, 2], [1, 1]])
    expected = np.eye(3)[x]
    np.testing.assert_array_equal(wg.one_hot(x, 3).numpy(), expected)
    moved = wg.one_hot(x, 3, axis=0, dtype=wg.int8)
    assert moved.dtype == wg.int8
    np.testing.assert_array_equal(moved.numpy(), np.moveaxis(expected, -1, 0))
    rows = wg.vmap(lambda x: wg.one_hot(x, 3, axis=0))(x)
    np.testing.assert_array_equal(rows.numpy(), np.moveaxis(expected, -1, 1))
    assert wg.one_hot(wg.zeros((0,), dtype=wg.uint8), 3).shape == (0, 3)


# -- the namespace's word about itself -----------------------------------------------------------


def test_inspection() -> None:
    info = wg.__array_namespace_info__()
    assert wg.__array_api_version__ == "2024.12"
    assert info.default_device() in info.devices()
    assert info.capabilities()["boolean indexing"] is True
    assert info.default_dtypes(device="cpu")["real floating"] == wg.float32
    signed = {"int8", "int16", "int32", "int64"}
    assert info.dtypes(kind=("bool", "signed integer")).keys() == {"bool", *signed}
    assert info.dtypes(kind="complex floating") == {}
    assert set(info.dtypes()) == {"bool", *info.dtypes(kind="numeric")}
    with pytest.raises(ArgumentError, match="unknown kind"):
        info.dtypes(kind="float")
    assert wg.asarray(1).__array_namespace__(api_version="2024.12") is wg
    assert (wg.pi, wg.e, wg.inf, wg.newaxis) == (np.pi, np.e, np.inf, None)
    assert wg.nan != wg.nan


# -- errors ------------------------------------------------------------------------------------

WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: wg.asarray([[1, 2], [3]]), ShapeError, "rectangular.*rows of different lengths"),
    (lambda: wg.asarray([[1], 2]), ShapeError, "rectangular"),
    (lambda: wg.asarray([wg.ones(2), wg.ones(3)]), ShapeError, r"rectangular; got \(2,\) and"),
    (lambda: wg.asarray("abc"), DtypeError, "cannot become an array; got str 'abc'"),
    (lambda: wg.asarray([1, "a"]), DtypeError, "got str 'a'"),
    (lambda: wg.asarray([None, 1.0]), DtypeError, "cannot become an array; got NoneType"),
    (lambda: wg.asarray(1j), DtypeError, "cannot become an array; got complex"),
    (lambda: wg.asarray({1, 2}), DtypeError, "cannot become an array; got set"),
    (lambda: wg.asarray(np.ones(2, complex)), DtypeError, "not a dtype.*complex"),
    (lambda: wg.asarray(np.array(["a"])), DtypeError, "not a dtype"),
    (lambda: wg.asarray(np.array([object()])), DtypeError, "not a dtype.*object"),
    (lambda: wg.asarray(np.ones(2, "longdouble")), DtypeError, "not a dtype"),
    (lambda: wg.asarray(2**70), ArgumentError, "does not fit"),
    (lambda: wg.asarray([2**70]), ArgumentError, "does not fit the dtype.*int64"),
    (lambda: wg.asarray([300], dtype=wg.uint8), ArgumentError, "does not fit.*uint8"),
    (lambda: wg.asarray(-1, dtype=wg.uint8), ArgumentError, "does not fit.*-1 with uint8"),
    (lambda: wg.asarray([1], copy=False), ArgumentError, "copy=False forbids a copy; got a list"),
    (lambda: wg.asarray(1, copy=False), ArgumentError, "copy=False forbids a copy"),
    (
        lambda: wg.asarray(np.ones(2), dtype=wg.float32, copy=False),
        ArgumentError,
        "copy=False forbids a copy; got a float64 array for dtype float32",
    ),
    (lambda: wg.zeros(3, device="gpu"), ArgumentError, "only device is 'cpu'; got device='gpu'"),
    (lambda: wg.zeros(-1), ArgumentError, "sizes must not be negative"),
    (lambda: wg.ones((2.5,)), DtypeError, "a size must be an integer; got 2.5"),
    (lambda: wg.full((2,), "a"), DtypeError, "cannot become an array"),
    (lambda: wg.full((2,), wg.ones(3)), ShapeError, "cannot be broadcast to this shape"),
    (lambda: wg.zeros(2, dtype="complex64"), DtypeError, "not a dtype that arrays can have"),
    (lambda: wg.arange(0, 5, 0), ArgumentError, "step must not be 0"),
    (lambda: wg.arange(0, np.inf), ArgumentError, "must be finite"),
    (lambda: wg.arange(200, dtype=wg.int8), ArgumentError, "0 to 199 with int8"),
    (lambda: wg.arange(-1, 3, dtype=wg.uint8), ArgumentError, "-1 to 2 with uint8"),
    (lambda: wg.arange("3"), DtypeError, "start must be a number"),
    (lambda: wg.linspace(0, 1, -1), ArgumentError, "must not be negative"),
    (lambda: wg.geomspace(0, 1), ArgumentError, "nonzero and of one sign"),
    (lambda: wg.meshgrid(wg.ones((2, 2))), ShapeError, "takes 1-d arrays"),
    (lambda: wg.meshgrid(wg.ones(2), indexing="yx"), ArgumentError, "unknown indexing"),
    (lambda: wg.tril(wg.ones(3)), ShapeError, "takes a matrix or a stack"),
    (lambda: wg.one_hot([0, 3], 3), BoundsError, "class index is out of range; got 3 with 3"),
    (lambda: wg.one_hot([-1], 3), BoundsError, "got -1 with 3 classes.*padding label"),
    (lambda: wg.one_hot([1.0], 3), DtypeError, "indices must be integers"),
    (lambda: wg.from_dlpack([1]), DtypeError, "no __dlpack__ method"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        call()
