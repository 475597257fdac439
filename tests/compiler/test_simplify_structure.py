"""Simplification beyond single rules: indices, who uses a value, long reductions, equal terms."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.simplifying import (
    close,
    f32,
    i64,
    names,
    ordinary,
    program_of,
    simplified,
    special,
)
from wengert.compiler.check import verify
from wengert.compiler.ir import Program, apply, evaluate
from wengert.compiler.simplify import simplify
from wengert.compiler.simplify.facts import holds
from wengert.core import dtypes
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec

op = REGISTRY
v, m, k, r = f32(24), f32(4, 6), f32(8, 5), f32(5, 3)
DRAWS = (special, ordinary)


def padding(lo: tuple[int, ...], hi: tuple[int, ...]) -> dict[str, Any]:
    return {"lo": lo, "hi": hi, "interior": (0,) * len(lo), "value": 0}


# -- indexing ----------------------------------------------------------------------------------


def labels(rows: int, classes: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(-classes, classes, (rows, 1))


def test_gather_at_known_places_is_a_slice() -> None:
    program = program_of(lambda x: (wg.take(x, wg.arange(4), axis=0), x[np.array([-4, -2])]), m)
    found, _ = simplified(program, [[special(m)]])
    assert names(found) == Counter(["slice"])


def test_scatter_at_known_places_is_padding() -> None:
    def f(u: Any) -> Any:
        index = wg.asarray(np.array([1, 4, 7]))
        return op["scatter_add"](u, index, axis=0, size=9)

    found, _ = simplified(program_of(f, f32(3, 2)), [[special(f32(3, 2), i)] for i in range(4)])
    assert names(found) == Counter(["add", "pad"])


def test_unknown_or_odd_places_stay() -> None:
    program = program_of(lambda x: x[np.array([3, 1, 0])], m)
    assert names(simplify(program)) == Counter(["gather"])


def test_entries_picked_from_rows_are_picked_before_they_are_computed() -> None:
    def f(x: Any, i: Any) -> Any:
        shifted = x - wg.max(x, axis=1, keepdims=True)
        return wg.take_along_axis(wg.exp(shifted) * 2.0, i, axis=1)

    arrays = [special(f32(5, 7)), labels(5, 7)]
    found, _ = simplified(program_of(f, f32(5, 7), i64(5, 1)), [arrays])
    exps = [t for t in found.terms if t.name == "exp"]
    assert [t.shape for t in exps] == [(5, 1)]


def test_one_value_a_row_is_chosen_not_scattered() -> None:
    def f(u: Any, i: Any) -> Any:
        x = wg.zeros((5, 7))
        g = wg.vjp(lambda x: wg.take_along_axis(x, i, axis=1), x)[1](u)[0]
        return g, wg.sum(g, axis=1)

    specs = f32(5, 1), i64(5, 1)
    arrays = [[special(specs[0], seed), labels(5, 7)] for seed in range(5)]
    found, _ = simplified(program_of(f, *specs), arrays)
    left = names(found)
    assert not left & Counter(["scatter_add", "sum"])
    assert left["where"] == 1


def test_a_wrong_label_is_still_an_error() -> None:
    def f(u: Any, i: Any) -> Any:
        return wg.vjp(lambda x: wg.take_along_axis(x, i, axis=1), wg.zeros((5, 7)))[1](u)[0]

    program = simplify(program_of(f, f32(5, 1), i64(5, 1)))
    assert names(program)["scatter_add"] == 0
    with pytest.raises(wg.errors.BoundsError, match="index 7 is out of bounds for axis 1"):
        evaluate(program, [np.ones((5, 1), np.float32), np.full((5, 1), 7)])


def test_an_index_that_is_out_of_bounds_is_for_the_run_to_tell() -> None:
    def f(x: Any) -> Any:
        return x + op["gather"](x[:3], op["add"](wg.asarray(np.full(24, 4)), 5), axis=0)

    found = simplify(program_of(f, v))
    assert names(found)["gather"] == 1
    with pytest.raises(wg.errors.BoundsError, match="index 9"):
        evaluate(found, [ordinary(v)])


# -- structure ---------------------------------------------------------------------------------


def test_gradient_of_a_split_is_a_concatenation() -> None:
    def f(x: Any, c: Any) -> Any:
        def loss(x: Any) -> Any:
            a, b, c_ = wg.split(x, 3, axis=1)
            return wg.sum(wg.sin(a) * b * c_ * c)

        return wg.grad(loss)(x)

    arrays = [[ordinary(m, i), ordinary(f32(4, 2), i + 1)] for i in range(3)]
    found, _ = simplified(program_of(f, m, f32(4, 2)), arrays)
    assert names(found)["concatenate"] == 1
    assert names(found)["pad"] == 0


def test_gradient_of_steps_one_at_a_time_is_one_concatenation() -> None:
    def f(x: Any) -> Any:
        def loss(x: Any) -> Any:
            total = wg.zeros((4,))
            for i in range(30):
                total = wg.tanh(total + x[i])
            return wg.sum(total)

        return wg.grad(loss)(x)

    found, _ = simplified(program_of(f, f32(30, 4)), [[ordinary(f32(30, 4))]])
    joined = [t for t in found.terms if t.name == "concatenate"]
    assert [len(t.args) for t in joined] == [30]
    assert names(found)["pad"] == 0


@pytest.mark.parametrize("gap", [0, 2])
def test_padded_pieces_keep_gaps_and_signs_of_zero(gap: int) -> None:
    def f(x: Any, y: Any) -> Any:
        left = op["pad"](x, **padding((0,), (3 + gap,)))
        right = op["pad"](y, **padding((3 + gap,), (0,)))
        return left + right

    arrays = [[special(f32(3), i), special(f32(3), i + 1)] for i in range(20)]
    found, _ = simplified(program_of(f, f32(3), f32(3)), arrays)
    assert names(found) == Counter(["concatenate", "add", "add"])


def test_overlapping_pieces_are_added() -> None:
    def f(x: Any, y: Any) -> Any:
        return op["pad"](x, **padding((0,), (2,))) + op["pad"](y, **padding((2,), (0,)))

    program = program_of(f, f32(3), f32(3))
    assert names(simplified(program, [[special(f32(3)), special(f32(3), 1)]])[0])["pad"] == 2


@pytest.mark.parametrize("rate", ["constant", "given", "negated"])
def test_sparse_gradient_changes_only_its_rows(rate: str) -> None:
    def f(p: Any, i: Any, u: Any, lr: Any) -> Any:
        g = wg.grad(lambda p: wg.sum(p[i] * u))(p)
        if rate == "negated":
            return p + -(lr * g)
        return p - (0.1 if rate == "constant" else lr) * g

    specs = f32(40, 3), i64(6), f32(6, 3), f32()
    index = np.array([3, 0, 3, -1, 3, 39])
    arrays = [
        [special(specs[0], s), index, ordinary(specs[2], s), np.array(0.3, np.float32)]
        for s in range(4)
    ]
    found, _ = simplified(program_of(f, *specs), arrays)
    assert names(found)["scatter"] == 1
    assert all(t.size <= 18 or t.name == "scatter" for t in found.terms if t.op is not None)


@pytest.mark.parametrize("lookups", [2, 3])
def test_several_lookups_of_one_table_change_only_their_rows(lookups: int) -> None:
    def f(p: Any, i: Any, j: Any, u: Any) -> Any:
        def loss(p: Any) -> Any:
            found = wg.sum(p[i] * u) + wg.sum(p[j] * wg.sin(p[j]))
            return found + wg.sum(p[i[:2]]) if lookups == 3 else found

        return p - 0.1 * wg.grad(loss)(p)

    i32 = Spec((2, 2), np.dtype(np.int32))
    specs = f32(400, 3), i64(6), i32, f32(6, 3)
    index, other = np.array([3, 0, 3, -1, 3, 39]), np.array([[0, 5], [3, -1]], np.int32)
    arrays = [[special(specs[0], 1), index, other, ordinary(specs[3], s)] for s in range(3)] + [
        [ordinary(specs[0], 1), index, other, special(specs[3], s)] for s in range(3)
    ]
    found, _ = simplified(program_of(f, *specs), arrays)
    assert names(found)["scatter"] == 1
    assert all(t.size < 400 or t.name == "scatter" for t in found.terms if t.op is not None)


def test_zeros_are_known_to_be_zeros_whatever_their_size() -> None:
    def f(p: Any, i: Any, u: Any) -> Any:
        return p - 0.1 * wg.zeros(p.shape).at[i].add(u)

    found = simplify(program_of(f, f32(1 << 16, 20), i64(6), f32(6, 20)))
    assert names(found)["scatter"] == 1
    assert all(t.size <= 120 or t.name in ("scatter", "input") for t in found.terms)


def test_lookups_that_touch_most_of_a_table_stay_dense() -> None:
    def f(p: Any, i: Any) -> Any:
        return p - 0.1 * wg.grad(lambda p: wg.sum(p[i] * p[i + 1]))(p)

    found = simplify(program_of(f, f32(20, 3), i64(4)))
    assert names(found)["scatter"] <= 1
    assert any(t.size == 60 and t.name in ("mul", "sub") for t in found.terms)


def test_a_sparse_gradient_that_is_also_returned_stays_dense() -> None:
    def f(p: Any, i: Any, u: Any) -> Any:
        g = wg.grad(lambda p: wg.sum(p[i] * u))(p)
        return p - 0.1 * g, g

    program = program_of(f, f32(40, 3), i64(6), f32(6, 3))
    assert names(simplify(program))["scatter"] == 0


# -- splitting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "spec", "stages"),
    [
        (lambda x: wg.sum(x * x), f32(1 << 16), [(64,), ()]),
        (lambda x: wg.max(x), f32(300, 700), [(64,), ()]),  # 210000 = 16·13125: see below
        (lambda x: wg.sum(x, axis=0), f32(1 << 16, 2), [(64, 2), (2,)]),
        (lambda x: wg.sum(x, axis=(0, 2)), f32(8, 3, 1 << 13), [(8, 3), (3,)]),
        (lambda x: wg.sum(x), f32(65537), [()]),  # a prime number
        (lambda x: wg.sum(x, axis=1), f32(64, 1 << 12), [(64,)]),  # short, and many
        (lambda x: wg.prod(x), f32(1 << 15), [(64,), ()]),
    ],
)
def test_long_reductions_have_two_stages(f: Any, spec: Spec, stages: list[Any]) -> None:
    program = program_of(f, spec)
    array = 1 + ordinary(spec) * np.float32(1e-4)
    roughly = lambda x, y: close(x, y, 1e-3)  # NumPy multiplies up one after the other
    found, _ = simplified(program, [[array]], roughly)
    shapes = [t.shape for t in found.terms if t.name in ("sum", "max", "prod")]
    if spec.shape == (300, 700):
        assert len(shapes) == 2
        assert 16 <= shapes[0][0] < 256
    else:
        assert shapes == stages


# -- composite ops -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64, dtypes.float16])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@pytest.mark.parametrize("axis", [(1,), (0,), (0, 1)])
def test_softmax_is_made_of_steps(name: str, axis: tuple[int, ...], dtype: Any) -> None:
    spec = Spec((5, 7), dtype)
    program = program_of(lambda x: op[name](x, axis=axis), spec)
    far = np.where(np.eye(5, 7) > 0, np.inf, -np.inf).astype(dtype)
    arrays = [[ordinary(spec, 1)], [special(spec, 2)], [far], [-far]]
    found, _ = simplified(program, arrays)
    assert names(found)[name] == 0
    assert names(found)["max"] == names(found)["sum"] == 1


@pytest.mark.parametrize("name", ["softmax", "logsumexp"])
def test_softmax_of_nothing(name: str) -> None:
    simplified(program_of(lambda x: op[name](x, axis=(1,)), f32(3, 0)), [[np.ones((3, 0), "f4")]])


@pytest.mark.parametrize("axis", [(1,), (0,), (0, 1)])
def test_a_softmax_of_logarithms_is_one_of_exponentials(axis: tuple[int, ...]) -> None:
    """e^(x − log Σ eˣ) has eˣ already; what is not a softmax, or could overflow, stays."""
    spec = Spec((5, 7), dtypes.float32)
    far = np.where(np.eye(5, 7) > 0, np.inf, -np.inf).astype("f4")
    arrays = [[np.round(ordinary(spec, 1) * 20)], [special(spec, 2)], [far], [-far]]
    whole = program_of(lambda x: op["exp"](op["log_softmax"](x, axis=axis)), spec)
    found, _ = simplified(whole, arrays, close)
    assert names(found)["exp"] == 1
    assert names(found)["log"] == 0
    x = arrays[0][0]
    exact = np.exp(x - np.max(x.astype("f8"), axis=axis, keepdims=True))
    exact /= exact.sum(axis=axis, keepdims=True)
    normal = exact > 1e-37
    (y,) = evaluate(found, arrays[0])
    assert np.abs(y / exact - 1)[normal].max() < 3 * 2.0**-23

    def unbounded(x: Any) -> Any:
        total = wg.sum(wg.exp(x), axis=axis, keepdims=True)
        return wg.exp(x - wg.log(total))

    found, _ = simplified(program_of(unbounded, spec), arrays)
    assert names(found)["log"] == 1


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("axis", [(1,), (0, 2)])
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.bfloat16])
def test_standardize_is_made_of_steps(axis: tuple[int, ...], center: bool, dtype: Any) -> None:
    spec = Spec((3, 4, 2), dtype)
    kept = Spec(tuple(1 if i in axis else s for i, s in enumerate(spec.shape)), dtype)

    def f(x: Any, g: Any, factor: Any) -> Any:
        y, mean, variance = op["standardize"](x, axis=axis, eps=1e-3, center=center)
        projected = op["project"](g, y, factor, axis=axis, center=center)
        return y, mean, variance, projected

    arrays = [[draw(s, i) for i, s in enumerate((spec, spec, kept))] for draw in DRAWS]
    found, _ = simplified(program_of(f, spec, spec, kept), arrays)
    assert not {"standardize", "project", "pick"} & set(names(found))


# -- equal terms -------------------------------------------------------------------------------


def test_equal_terms_are_merged_and_keep_their_lines() -> None:
    def f(x: Any, y: Any) -> Any:
        a = wg.sin(x * y)
        b = wg.sin(y * x)
        return a + b

    found, report = simplified(program_of(f, v, v), [[ordinary(v), ordinary(v, 1)]])
    assert names(found) == Counter(["mul", "sin", "add"])
    assert report.fired["merge equal terms"] == 2
    sine = next(t for t in found.terms if t.name == "sin")
    assert len(sine.origins) == 2


def test_equal_constants_are_merged_by_value() -> None:
    def f(x: Any) -> Any:
        return x + wg.asarray(np.arange(24.0, dtype="f4")), x + wg.asarray(
            np.arange(24.0, dtype="f4")
        )

    assert names(simplify(program_of(f, v))) == Counter(["add"])


def test_zeros_of_different_sign_are_not_merged() -> None:
    def f(x: Any) -> Any:
        return op["mul"](x, wg.asarray(0.0)), op["mul"](x, wg.asarray(-0.0))

    found, _ = simplified(program_of(f, v), [[special(v)]])
    assert names(found) == Counter(["mul", "mul"])


def test_random_bits_of_one_key_and_counter_are_one() -> None:
    def f(key: Any, counter: Any) -> Any:
        bits = [
            op["random_bits"](key, counter, shape=(8,), dtype=dtypes.uint32, domain=d)
            for d in (0, 0, 1)
        ]
        return bits[0] ^ bits[1], bits[2]

    specs = Spec((2,), dtypes.uint64), Spec((), dtypes.uint64)
    found, _ = simplified(program_of(f, *specs), [[np.ones(s.shape, s.dtype) for s in specs]])
    assert names(found)["random_bits"] == 2


def test_parameters_without_hash_are_compared_by_identity() -> None:
    x, u = program_of(lambda x, u: (x, u), v, f32(3)).inputs
    start: Any = [1]  # a list has no hash
    same, other = (
        {"start": start, "stop": (4,), "step": (1,)},
        {"start": [1], "stop": (4,), "step": (1,)},
    )
    puts = [apply("put_slice", x, u, **params) for params in (same, same, other)]
    assert names(simplify(Program([x, u], puts)))["put_slice"] == 2


# -- as a whole --------------------------------------------------------------------------------


def test_simplifying_twice_changes_nothing() -> None:
    def f(x: Any, w: Any) -> Any:
        return wg.grad(lambda w: wg.sum(wg.nn.functional.softmax(x @ w, -1) ** 2))(w)

    once = simplify(program_of(f, k, r))
    twice = simplify(once)
    assert str(twice) == str(once)


def test_given_program_is_left_as_it_is() -> None:
    program = program_of(lambda x: (x * 1.0 + -0.0).reshape((24,)), v)
    before = str(program)
    simplify(program)
    assert str(program) == before
    verify(program)


def test_inputs_aliases_and_names_are_kept() -> None:
    program = program_of(lambda x, y: x * 1.0, v, v)
    program.aliases = {0: 0}
    program.names = {program.inputs[1].id: "unused"}
    found = simplify(program)
    assert found.inputs == program.inputs
    assert found.outputs == [program.inputs[0]]
    assert (found.aliases, found.names) == (program.aliases, program.names)


def test_report_tells_what_was_done() -> None:
    _, report = simplified(program_of(lambda x: x * 1.0 + x * 1.0, v), [])
    assert report.passes[0] == ("traced", 5)
    assert report.passes[-1] == ("splitting", 2)
    assert "times one" in str(report)


@pytest.mark.parametrize("grows", [True, False])
def test_work_grows_with_the_number_of_terms(grows: bool) -> None:
    """20,000 terms in a chain: no recursion, and each looked at a bounded number of times."""

    def chain(count: int) -> int:
        program = program_of(lambda x: x, f32(4))
        term = program.inputs[0]
        for _ in range(count):
            if grows:
                term = apply("tanh", apply("reshape", term, shape=(2, 2)))
                term = apply("reshape", term, shape=(4,))
            else:
                term = apply("neg", term)
        found, report = simplified(Program(program.inputs, [term]), [])
        assert len(found) == (count + 1 if grows else 1)
        return report.visits

    short, long = chain(1000), chain(7000)
    assert long <= 7.5 * short
    assert long <= 8 * 7000


def test_what_a_float_holds() -> None:
    assert holds(dtypes.int16, dtypes.float32)
    assert not holds(dtypes.int32, dtypes.float32)
    assert not holds(dtypes.float16, dtypes.bfloat16)
    assert not holds(dtypes.int8, dtypes.uint16)
    for small in dtypes.ALL:
        for wide in dtypes.ALL:
            if holds(small, wide) and dtypes.is_integer(small):
                edges = [np.iinfo(small).min, np.iinfo(small).max, np.iinfo(small).max - 1]
                assert [int(x) for x in np.array(edges, small).astype(wide)] == edges
