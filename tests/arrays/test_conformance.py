"""The array API standard, as `array_api_strict` implements it: signatures and results.

Every function of its main namespace (but complex ones) must exist here with a signature that takes
all calls that the standard allows, and must give the same dtypes, shapes and values on a grid of
dtypes and shapes. Where the strict library refuses a call, this one is free.
"""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

import wengert as wg

COMPLEX = {"conj", "imag", "real"}
NOT_OF_THE_STANDARD = {
    "get_array_api_strict_flags",
    "reset_array_api_strict_flags",
    "set_array_api_strict_flags",
}
FUNCTIONS = sorted(
    name
    for name in strict.__all__
    if inspect.isfunction(getattr(strict, name))
    and name not in COMPLEX | NOT_OF_THE_STANDARD
    and not name.startswith("__")
)


def names(text: str) -> list[str]:
    return text.split()


DTYPES = names("""
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64
""")
SHAPES: list[tuple[int, ...]] = [(), (1,), (0,), (7,), (2, 3), (2, 0), (2, 1, 3)]


@pytest.fixture(autouse=True)
def version() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with strict.ArrayAPIStrictFlags(api_version="2025.12"):
            yield


# -- signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature(name: str) -> None:
    theirs = list(inspect.signature(getattr(strict, name)).parameters.values())
    ours = inspect.signature(getattr(wg, name)).parameters
    assert getattr(wg, name).__doc__, "no docstring"
    by_position = list(ours.values())
    for i, p in enumerate(theirs):
        if p.kind is p.KEYWORD_ONLY:
            assert p.name in ours, f"no keyword {p.name}"
            found = ours[p.name]
            assert found.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD), p.name
        else:
            found = by_position[i]
            if p.kind is p.POSITIONAL_OR_KEYWORD:
                assert found.name == p.name
            allowed = {p.kind}
            if p.kind is p.POSITIONAL_ONLY:
                allowed.add(p.POSITIONAL_OR_KEYWORD)
            assert found.kind in allowed, f"{p.name} is passed as {found.kind}"
        if p.default is not p.empty:
            assert found.default is not p.empty, f"{p.name} has no default"
    more = [p for n, p in ours.items() if n not in {q.name for q in theirs}]
    required = [p.name for p in more if p.default is p.empty and p.kind is p.KEYWORD_ONLY]
    assert not required, f"asks for more than the standard: {required}"


# -- results -----------------------------------------------------------------------------------


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Small numbers with repetitions; for floats also signed zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.startswith("uint"):
        return rng.integers(0, 9, shape).astype(dtype)
    if dtype.startswith("int"):
        return rng.integers(-5, 6, shape).astype(dtype)
    chosen = [-np.inf, -2.5, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, np.inf, np.nan]
    return rng.choice(chosen, shape).astype(dtype)


def finite(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    x = values(dtype, shape, seed)
    return np.where(np.isfinite(x), x, 2.0).astype(dtype) if dtype.startswith("f") else x


def flat(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def dtype_name(x: Any) -> str:
    return str(x.dtype).removeprefix("array_api_strict.")


def assert_same(name: str, make: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]]) -> bool:
    """Call both libraries on the same arguments; False where the strict one refuses them.

    `make(array)` builds arguments with `array`, which is each library's `asarray`.
    """
    try:
        args, options = make(strict.asarray)
        expected = resolve(strict, name)(*args, **options)
    except (TypeError, ValueError, IndexError, NotImplementedError):
        return False
    args, options = make(wg.asarray)
    found = resolve(wg, name)(*args, **options)
    where = f"{name}{args}{options}"
    if not all(hasattr(x, "dtype") for x in flat(expected)):
        assert found == expected, where
        return True
    assert len(flat(found)) == len(flat(expected)), where
    for ours, theirs in zip(flat(found), flat(expected), strict=True):
        assert dtype_name(ours) == dtype_name(theirs), where
        reference = np.from_dlpack(theirs)
        tolerance = 2e-6 if dtype_name(theirs) == "float32" else 1e-13
        np.testing.assert_allclose(
            ours.numpy(), reference, rtol=tolerance, atol=tolerance, strict=True, err_msg=where
        )
    return True


def resolve(module: Any, name: str) -> Any:
    return getattr(operator if name.startswith("__") else module, name)


UNARY = names("""
    abs acos acosh asin asinh atan atanh bitwise_invert ceil cos cosh exp expm1 floor isfinite
    isinf isnan log log10 log1p log2 logical_not negative positive reciprocal round sign
    signbit sin sinh sqrt square tan tanh trunc
""")
BINARY = names("""
    add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
    copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp
    logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal pow
    remainder subtract
""")
OPERATORS = names("""
    __add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __and__ __or__ __xor__
    __lshift__ __rshift__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__
""")
REDUCTIONS = ["all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std", "sum", "var"]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    called = [
        assert_same(name, lambda a, d=d, s=s: ((a(values(d, s)),), {}))
        for d in DTYPES
        for s in SHAPES
    ]
    assert any(called)


SHAPE_PAIRS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()),
    ((7,), (7,)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((0,), (1,)),
    ((), (2, 0)),
]


def shiftable(name: str, dtype: str, y: Any) -> Any:
    """Shifts by fewer bits than there are, integer powers that are not negative, no zero divisor:
    the standard leaves the rest open."""
    integer = "int" in dtype
    if "shift" in name or (integer and "pow" in name):
        return abs(y) % 4 if integer else y
    if integer and ("div" in name or "mod" in name or name == "remainder"):
        return np.where(y == 0, 3, y).astype(dtype)
    return y


@pytest.mark.parametrize("name", BINARY + OPERATORS)
def test_binary(name: str) -> None:
    called = []
    for d1 in DTYPES:
        for d2 in DTYPES:
            for s1, s2 in SHAPE_PAIRS if d1 == d2 else SHAPE_PAIRS[2:3]:
                x, y = values(d1, s1, 1), shiftable(name, d2, values(d2, s2, 2))
                called.append(assert_same(name, lambda a, x=x, y=y: ((a(x), a(y)), {})))
    assert any(called)


@pytest.mark.parametrize("name", [n for n in OPERATORS if "shift" not in n])
@pytest.mark.parametrize("scalar", [True, 2, 2.5])
def test_operators_with_python_scalars(name: str, scalar: Any) -> None:
    for d in DTYPES:
        x = shiftable(name, d, values(d, (2, 3)))
        assert_same(name, lambda a, x=x: ((a(x), scalar), {}))
        assert_same(name, lambda a, x=x: ((scalar, a(x)), {}))


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in OPERATORS[-6:]])
def test_in_place_operators(name: str) -> None:
    in_place = getattr(operator, "__i" + name[2:])
    for d in DTYPES:
        x, y = values(d, (2, 3)), shiftable(name, d, values(d, (3,), 1))
        try:
            expected = in_place(strict.asarray(x, copy=True), strict.asarray(y))
        except TypeError:
            continue
        ours = handle = wg.asarray(x, copy=True)
        ours = in_place(ours, wg.asarray(y))
        assert ours is handle
        assert dtype_name(ours) == dtype_name(expected)
        np.testing.assert_allclose(ours.numpy(), np.from_dlpack(expected), rtol=1e-6)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    axes: list[Any] = [None, 0, -1] if name.startswith("arg") else [None, 0, -1, (0, -1), ()]
    called = []
    for d in DTYPES:
        for s in SHAPES:
            for axis in axes:
                if len(s) < (2 if axis == (0, -1) else 1) and axis not in (None, ()):
                    continue  # NumPy lets axis 0 of a 0-d array pass
                for keep in (False, True):
                    x = (finite if name in ("std", "var", "mean", "prod") else values)(d, s)
                    options = {"axis": axis, "keepdims": keep}
                    called.append(assert_same(name, lambda a, x=x, o=options: ((a(x),), o)))
    assert any(called)


X = {d: finite(d, (2, 3)) for d in DTYPES}
Call = tuple[str, Callable[[Any, str], tuple[tuple[Any, ...], dict[str, Any]]]]


def on(*args: Any, **options: Any) -> Any:
    """The call f(x, *args, **options) for x of each dtype."""
    return lambda a, d: ((a(X[d]), *args), options)


MORE: list[Call] = [
    ("argsort", on()),
    ("argsort", on(axis=0, descending=True)),
    ("sort", on()),
    ("sort", on(axis=0, descending=True, stable=False)),
    (
        "astype",
        lambda a, d: ((a(X["int16"]), getattr(strict if a is strict.asarray else wg, d)), {}),
    ),
    ("broadcast_arrays", lambda a, d: ((a(X[d]), a(X["bool"][:1])), {})),
    ("broadcast_shapes", lambda a, d: (((2, 1), (3,)), {})),
    ("broadcast_to", on((4, 2, 3))),
    ("clip", lambda a, d: ((a(X[d]),), {"min": 0, "max": 2} if d != "bool" else {})),
    ("clip", lambda a, d: ((a(X[d]), a(X[d][:, :1])), {})),
    ("concat", lambda a, d: (([a(X[d]), a(X["int16"])],), {"axis": 1})),
    ("concat", lambda a, d: (([a(X[d]), a(X[d])],), {"axis": None})),
    ("count_nonzero", on()),
    ("count_nonzero", on(axis=0, keepdims=True)),
    ("cumulative_prod", on(axis=0)),
    ("cumulative_sum", on(axis=1)),
    ("cumulative_sum", on(axis=-1, include_initial=True)),
    ("cumulative_prod", on(axis=0, include_initial=True)),
    ("diff", on()),
    ("diff", on(axis=0, n=1)),
    ("diff", lambda a, d: ((a(X[d]),), {"prepend": a(X[d][:, :1]), "append": a(X[d])})),
    ("empty_like", lambda a, d: ((a(X[d][:0]),), {})),
    ("expand_dims", on(axis=1)),
    ("expand_dims", on(axis=-3)),
    ("flip", on()),
    ("flip", on(axis=(0, 1))),
    ("full_like", on(1)),
    ("isin", lambda a, d: ((a(X[d]), a(X[d][0])), {})),
    ("matmul", lambda a, d: ((a(X[d]), a(X[d].T)), {})),
    ("matmul", lambda a, d: ((a(X[d]), a(X[d][0])), {})),
    ("matrix_transpose", on()),
    ("meshgrid", lambda a, d: ((a(X[d][0]), a(X[d][1])), {"indexing": "ij"})),
    ("meshgrid", lambda a, d: ((a(X[d][0]), a(X[d][1, :2])), {})),
    ("moveaxis", on(0, 1)),
    ("nonzero", on()),
    ("ones_like", on()),
    ("permute_dims", on((1, 0))),
    ("repeat", on(2)),
    ("repeat", on(2, axis=1)),
    ("repeat", lambda a, d: ((a(X[d]), a(np.array([1, 0, 2]))), {"axis": 1})),
    ("reshape", on((3, 2))),
    ("reshape", on((-1,), copy=True)),
    ("roll", on(2)),
    ("roll", on((1, -2), axis=(0, 1))),
    ("searchsorted", lambda a, d: ((a(np.sort(X[d][0])), a(X[d][1])), {"side": "right"})),
    ("squeeze", lambda a, d: ((a(X[d][:1]), 0), {})),
    ("stack", lambda a, d: (([a(X[d]), a(X["int16"])],), {"axis": -1})),
    ("std", on(correction=1.0)),
    ("var", on(axis=0, correction=1)),
    ("sum", on(axis=0, keepdims=True)),
    ("take", lambda a, d: ((a(X[d]), a(np.array([2, 0, 2]))), {"axis": 1})),
    ("take_along_axis", lambda a, d: ((a(X[d]), a(np.array([[2, 0]]))), {"axis": 1})),
    ("tensordot", lambda a, d: ((a(X[d]), a(X[d].T)), {"axes": 1})),
    ("tensordot", lambda a, d: ((a(X[d]), a(X[d])), {"axes": ((0, 1), (0, 1))})),
    ("tile", on((2, 1, 2))),
    ("tril", on(k=1)),
    ("triu", on(k=-1)),
    ("unique_counts", on()),
    ("unique_inverse", on()),
    ("unique_values", on()),
    ("unique_all", on()),
    ("unstack", on(axis=1)),
    ("vecdot", lambda a, d: ((a(X[d]), a(X[d])), {"axis": -1})),
    ("where", lambda a, d: ((a(X["bool"]), a(X[d]), a(X["int16"])), {})),
    ("where", lambda a, d: ((a(X["bool"]), a(X[d]), 1), {})),
    ("zeros_like", on()),
    ("from_dlpack", on()),
]


@pytest.mark.parametrize(("name", "build"), MORE, ids=[name for name, _ in MORE])
def test_other_functions(name: str, build: Any) -> None:
    called = [assert_same(name, lambda a, d=d: build(a, d)) for d in DTYPES]
    assert any(called)


CREATION: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("arange", (5,), {}),
    ("arange", (1, 9, 3), {}),
    ("arange", (5, 1, -2), {}),
    ("arange", (0.5, 3), {}),
    ("empty", ((2, 0),), {}),
    ("eye", (3,), {}),
    ("eye", (2, 4), {"k": 1}),
    ("full", ((2,), 3), {}),
    ("full", ((2,), True), {}),
    ("full", (2, 1.5), {}),
    ("linspace", (0, 1, 5), {}),
    ("linspace", (-3.5, 2, 4), {"endpoint": False}),
    ("ones", ((2, 3),), {}),
    ("zeros", (4,), {}),
    ("asarray", ([[1, 2], [3, 4]],), {}),
    ("asarray", (1.5,), {}),
    ("asarray", ([True, False],), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), CREATION)
def test_creation(name: str, args: Any, options: Any) -> None:
    for d in (None, *DTYPES):
        given = {} if d is None else {"dtype": getattr(strict, d)}
        try:
            expected = getattr(strict, name)(*args, **options, **given)
        except (TypeError, ValueError):
            continue
        given = {} if d is None else {"dtype": getattr(wg, d)}
        found = getattr(wg, name)(*args, **options, **given)
        # The default float is float32 here and float64 there; the standard allows both.
        wanted = dtype_name(expected)
        assert str(found.dtype) == ("float32" if d is None and wanted == "float64" else wanted)
        np.testing.assert_allclose(found.numpy(), np.from_dlpack(expected), rtol=1e-6)


def test_data_type_functions() -> None:
    named = lambda d: str(d).removeprefix("array_api_strict.")
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric"]
    for d1 in DTYPES:
        s1, w1 = getattr(strict, d1), getattr(wg, d1)
        for kind in (*kinds, ("bool", "integral")):
            assert wg.isdtype(w1, kind) == strict.isdtype(s1, kind), (d1, kind)
        for d2 in DTYPES:
            s2, w2 = getattr(strict, d2), getattr(wg, d2)
            assert wg.isdtype(w1, w2) == (d1 == d2)
            assert wg.can_cast(w1, w2) >= strict.can_cast(s1, s2), (d1, d2)
            try:
                expected = strict.result_type(s1, s2)
            except TypeError:
                continue
            assert str(wg.result_type(w1, w2)) == named(expected)
            both = wg.result_type(wg.ones(2, dtype=w1), w2)
            assert str(both) == named(expected)
    for d in ("float32", "float64"):
        ours, theirs = wg.finfo(getattr(wg, d)), strict.finfo(getattr(strict, d))
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(ours, field) == getattr(theirs, field), (d, field)
        assert str(ours.dtype) == d
    for d in DTYPES[1:9]:
        ours, theirs = wg.iinfo(getattr(wg, d)), strict.iinfo(getattr(strict, d))
        for field in ("bits", "max", "min"):
            assert getattr(ours, field) == getattr(theirs, field), (d, field)
        assert str(ours.dtype) == d


TESTED_ELSEWHERE = {
    "can_cast",
    "finfo",
    "iinfo",
    "isdtype",
    "result_type",  # test_data_type_functions
    "asarray",
    "arange",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "zeros",  # test_creation
}


def test_every_function_is_called_above() -> None:
    called = {*UNARY, *BINARY, *REDUCTIONS, *(name for name, _ in MORE), *TESTED_ELSEWHERE}
    assert set(FUNCTIONS) - called == set()


def test_array_object() -> None:
    x = wg.asarray([[1.0, 2.0, 3.0]])
    assert (x.ndim, x.shape, x.size, x.device) == (2, (1, 3), 3, "cpu")
    assert x.T.shape == x.mT.shape == (3, 1)
    assert x.to_device("cpu") is x
    assert x.__array_namespace__() is wg
    assert wg.asarray(3).__index__() == 3
    assert bool(wg.asarray(True)) is True
    assert int(wg.asarray(2.5)) == 2
    assert float(wg.asarray(2)) == 2.0
    assert complex(wg.asarray(2.0)) == 2 + 0j
    assert x.__add__(None) is NotImplemented
    assert (~wg.asarray([True])).tolist() == [False]
    assert (-x, +x, abs(-x))[2].tolist() == x.tolist()
    assert divmod(wg.asarray(7), 2)[1].item() == 1
