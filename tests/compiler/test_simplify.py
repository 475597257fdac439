"""Every rule of simplification on a few terms: what is left, and that no bit changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

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
    truth,
)
from wengert.core import dtypes
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec

op = REGISTRY
Case = tuple[Callable[..., Any], list[Spec], str]


def case(name: str, f: Callable[..., Any], specs: list[Spec], left: str) -> Any:
    """A function, its operands, and the ops that are left of it: "add mul mul"."""
    return pytest.param(f, specs, left, id=name)


def ranges(start: tuple[int, ...], stop: tuple[int, ...], step: Any = None) -> dict[str, Any]:
    return {"start": start, "stop": stop, "step": step or (1,) * len(start)}


def padding(lo: tuple[int, ...], hi: tuple[int, ...], value: float = 0) -> dict[str, Any]:
    return {"lo": lo, "hi": hi, "interior": (0,) * len(lo), "value": value}


v, m, n = f32(24), f32(4, 6), i64(24)

CLEANING = [
    case("identities", lambda x: op["alias"](op["stop_gradient"](+x)), [v], ""),
    case("same shape", lambda x: op["reshape"](x, shape=(24,)), [v], ""),
    case("same broadcast", lambda x: op["broadcast_to"](x, shape=(24,)), [v], ""),
    case("same dtype", lambda x: op["cast"](x, dtype=dtypes.float32), [v], ""),
    case("same order", lambda x: op["permute"](x, axes=(0, 1)), [m], ""),
    case("moved ones", lambda x: op["permute"](x, axes=(2, 0, 1)), [f32(4, 6, 1)], "reshape"),
    case("whole slice", lambda x: x[:], [v], ""),
    case("no padding", lambda x: op["pad"](x, **padding((0,), (0,))), [v], ""),
    case("flip of ones", lambda x: op["flip"](x, axes=(0, 1)), [f32(1, 6)], "flip"),
    case("no axis", lambda x: op["max"](x, axis=()), [m], ""),
    case("any of nothing", lambda x: op["any"](x, axis=()), [truth(6)], ""),
    case("put all", lambda x, u: op["put_slice"](x, u, **ranges((0,), (24,))), [v, v], ""),
    case("put none", lambda x, u: op["put_slice"](x, u, **ranges((3,), (3,))), [v, f32(0)], ""),
    case("widened", lambda x: x.astype("float64").astype("float32"), [v], ""),
    case("int as float", lambda x: x.astype("float32").astype("float64"), [n], "cast cast"),
    case("bool as int", lambda x: x.astype("int32").astype("float32"), [truth(6)], "cast"),
    case("rounded", lambda x: x.astype("float16").astype("float32"), [v], "cast cast"),
]

FOLDING = [
    case("a number", lambda x: x * (wg.exp(wg.asarray(1.0)) + 1.0), [v], "mul"),
    case("filled", lambda x: x * (wg.ones((24,)) + 1.0), [v], "mul"),
    case("view of filled", lambda x: x + wg.full((2, 12), 3.0).T.reshape((24,)), [v], "add"),
    case("sum of ones", lambda x: x * wg.sum(wg.ones((1000,))), [v], "mul"),
    case("max of filled", lambda x: x * wg.max(wg.full((9, 9), 2.5)), [v], "mul"),
    case(
        "no entries",
        lambda x: wg.concat([wg.exp(x), x[::2].T + x.sum()]),
        [f32(0, 0)],
        "concatenate",
    ),
    case(
        "no rows", lambda x: (x.sum(axis=0), wg.prod(x, axis=0), wg.all(x > 0.0)), [f32(0, 3)], ""
    ),
    case("small table", lambda x: x + wg.cumulative_sum(wg.arange(24.0)), [v], "add"),
]

ARITHMETIC = [
    case("x+(-0)", lambda x: x + -0.0, [v], ""),
    case("x+0", lambda x: x + 0.0, [v], "add"),
    case("0-x", lambda x: 0.0 - x, [v], "sub"),
    case("-0-x", lambda x: op["sub"](wg.asarray(-0.0), x), [v], "neg"),
    case("x-0", lambda x: x - 0.0, [v], ""),
    case("x²+0", lambda x: x * x + 0.0, [v], "square"),
    case("n+0", lambda x: x + 0, [n], ""),
    case("exp+0 in a view", lambda x: wg.exp(x)[2:] - -0.0, [v], "exp slice"),
    case("x+(-y)", lambda x, y: x + -y, [v, v], "sub"),
    case("(-x)+y", lambda x, y: -x + y, [v, v], "sub"),
    case("x-(-y)", lambda x, y: x - -y, [v, v], "add"),
    case("-(x-y)", lambda x, y: -(x - y), [v, v], "sub neg"),
    case("--x", lambda x: wg.negative(-x), [v], ""),
    case("-(c·x)", lambda x: -(x * 3.0), [v], "mul"),
    case("-(x/c)", lambda x: -(x / 3.0), [v], "div"),
    case("|-x|", lambda x: wg.abs(-x), [v], "abs"),
    case("||x||²", lambda x: wg.square(wg.abs(wg.abs(x))), [v], "square"),
    case("x·1", lambda x: x * 1.0, [v], ""),
    case("1·x", lambda x: wg.ones((24,)) * x, [v], ""),
    case("1·x broadcast", lambda x: x * wg.ones((3, 24)), [v], "broadcast_to"),
    case("x·-1", lambda x: x * -1.0, [v], "neg"),
    case("x/1", lambda x: x / 1.0, [v], ""),
    case("(-x)(-y)", lambda x, y: -x * -y, [v, v], "mul"),
    case("(-x)·c", lambda x: -x * 3.0, [v], "mul"),
    case("c/(-x)", lambda x: 3.0 / -x, [v], "div"),
    case("z-(-x)·y", lambda x, y, z: z - -x * y, [v, v, v], "mul add"),
    case("x·x", lambda x: x * x, [v], "square"),
    case("1/x", lambda x: 1.0 / x, [v], "reciprocal"),
    case("x/4", lambda x: x / 4.0, [v], "mul"),
    case("x/3", lambda x: x / 3.0, [v], "div"),
    case("x·2·4", lambda x: x * 2.0 * 4.0, [v], "mul"),
    case("x·½·½", lambda x: x * 0.5 * 0.5, [v], "mul mul"),
    case("x·2·3", lambda x: x * 2.0 * 3.0, [v], "mul mul"),
    case("x/2¹⁵", lambda x: x / 32768.0, [v], "mul"),
    case("mask·c", lambda c: c.astype("float32") * 1.25, [truth(24)], "where"),
    case("n·0", lambda x: x * 0, [n], ""),
    case("x·0", lambda x: x * 0.0, [v], "mul"),
    case("x⁰", lambda x: x**0.0, [v], ""),
    case("x¹", lambda x: op["pow"](x, wg.asarray(1.0)), [v], ""),
    case("x²", lambda x: op["pow"](x, wg.asarray(2.0)), [v], "square"),
    case("floor floor", lambda x: wg.floor(wg.ceil(wg.floor(x))), [v], "floor"),
    case("relu relu", lambda x: op["relu"](op["relu"](x)), [v], "relu"),
    case("max(x,x)", lambda x: wg.maximum(x, x), [v], ""),
    case("max max", lambda x, y: wg.maximum(wg.maximum(x, y), y), [v, v], "maximum"),
]

LOGIC = [
    case("known", lambda x, y: op["where"](wg.ones((24,)) > 0.0, x, y), [v, v], ""),
    case("same", lambda c, x: wg.where(c, x, x), [truth(24), v], ""),
    case("not", lambda c, x, y: wg.where(~c, x, y), [truth(24), v, v], "where bitwise_invert"),
    case("not c", lambda c, x, y: wg.where(wg.logical_not(c), x, y), [truth(24), v, v], "where"),
    case(
        "twice",
        lambda c, x, y, z: wg.where(c, wg.where(c, x, y), wg.where(c, y, z)),
        [truth(24), v, v, v],
        "where",
    ),
    case("not not", lambda c: wg.logical_not(wg.logical_not(c)), [truth(24)], ""),
    case("not =", lambda x, y: wg.logical_not(x == y), [v, v], "not_equal"),
    case("not <", lambda x, y: wg.logical_not(x < y), [v, v], "less logical_not"),
    case("not < of ints", lambda x, y: wg.logical_not(x < y), [n, n], "less_equal"),
    case("~~n", lambda x: ~~x, [n], ""),
    case("and true", lambda c: wg.logical_and(c, wg.asarray(True)), [truth(6)], ""),
    case("or true", lambda c: wg.logical_or(c, wg.asarray(True)), [truth(6)], ""),
    case("and itself", lambda c: wg.logical_and(c, c), [truth(6)], ""),
    case("> is <", lambda x, y: (x > y, y < x, x >= y, y <= x), [v, v], "less less_equal"),
    case("n = n", lambda x: x == x, [n], ""),
    case("x = x", lambda x: x == x, [v], "equal"),
    case("finite ints", lambda x: wg.isfinite(op["alias"](x)), [n], ""),
    case("annul itself", lambda x: op["annul"](-x, x), [v], "neg"),
    case(
        "annul a choice",
        lambda c, x: op["annul"](wg.where(c, 0.0, -x), x),
        [truth(24), v],
        "where neg",
    ),
    case("annul 3x", lambda x: op["annul"](x * 3.0, x), [v], "mul"),
    case("annul scaled", lambda x: op["annul"](-(x * 0.7), x * 0.7), [v], "mul"),
    case("annul xy", lambda x, y: op["annul"](x * y, x), [v, v], "annul mul"),
    case("annul by 2", lambda x: op["annul"](x, wg.asarray(2.0)), [v], ""),
]

VIEWS = [
    case("reshapes", lambda x: x.reshape((4, 6)).reshape((2, 12)), [v], "reshape"),
    case("back again", lambda x: x.reshape((4, 6)).reshape((24,)), [v], ""),
    case("transposes", lambda x: x.T.T, [m], ""),
    case(
        "three",
        lambda x: wg.permute_dims(wg.permute_dims(x, (1, 2, 0)), (1, 2, 0)),
        [f32(2, 3, 4)],
        "permute",
    ),
    case(
        "broadcasts",
        lambda x: wg.broadcast_to(wg.broadcast_to(x, (2, 24)), (3, 2, 24)),
        [v],
        "broadcast_to",
    ),
    case(
        "reshape of broadcast",
        lambda x: wg.broadcast_to(x, (3, 24)).reshape((3, 4, 6)),
        [v],
        "broadcast_to reshape",
    ),
    case(
        "transpose of broadcast",
        lambda x: wg.broadcast_to(x, (3, 24)).T,
        [v],
        "broadcast_to reshape",
    ),
    case("flips", lambda x: wg.flip(wg.flip(x, axis=0), axis=(0, 1)), [m], "flip"),
    case(
        "unit axes of a transpose",
        lambda x: wg.permute_dims(x.reshape((4, 1, 6)), (1, 2, 0)).reshape((6, 4)).T,
        [m],
        "",
    ),
    case("transposed pieces", lambda x, y: wg.concat([x.T, y.T], axis=1).T, [m, m], "concatenate"),
    case("slices", lambda x: x[2:20:3][1:5:2], [v], "slice"),
    case("slice of permute", lambda x: x.T[1:3], [m], "permute slice"),
    case(
        "slice of broadcast",
        lambda x: wg.broadcast_to(x, (3, 24))[1:, 2:5],
        [v],
        "broadcast_to slice",
    ),
    case("slice of pad", lambda x: op["pad"](x, **padding((2, 0), (1, 0)))[1:4], [m], "pad slice"),
    case("inside of pad", lambda x: op["pad"](x, **padding((2, 0), (1, 0)))[2:6], [m], ""),
    case("only padding", lambda x: op["pad"](x, **padding((2, 0), (1, 0), 3.5))[:2], [m], ""),
    case("slice of concat", lambda x, y: wg.concat([x, y])[5:9], [m, m], "slice"),
    case("across concat", lambda x, y: wg.concat([x, y])[3:5], [m, m], "concatenate slice"),
    case("stepping concat", lambda x, y: wg.concat([x, y])[4::2], [m, m], "slice"),
    case(
        "pads",
        lambda x: op["pad"](op["pad"](x, **padding((2, 0), (1, 0))), **padding((0, 3), (1, 0))),
        [m],
        "pad",
    ),
    case("concat of one", lambda x: wg.concat([x]), [m], ""),
    case("concat of concat", lambda x, y: wg.concat([wg.concat([x, y]), x]), [m, m], "concatenate"),
    case("split and joined", lambda x: wg.concat(wg.split(x, 3, axis=1), axis=1), [m], ""),
    case("neighbours", lambda x: wg.concat([x[:, :2], x[:, 2:5]], axis=1), [m], "slice"),
    case(
        "not neighbours",
        lambda x: wg.concat([x[:, 2:5], x[:, :2]], axis=1),
        [m],
        "slice slice concatenate",
    ),
    case("empty piece", lambda x: wg.concat([x, x[:0]]), [m], ""),
    case(
        "put into zeros",
        lambda u: op["put_slice"](wg.zeros((9,)), u, **ranges((1,), (8,), (3,))),
        [f32(3)],
        "pad",
    ),
]

SPACES = [
    case(
        "before broadcast", lambda x: wg.exp(wg.broadcast_to(x, (5, 24))), [v], "exp broadcast_to"
    ),
    case(
        "choice",
        lambda c, x: wg.where(c, wg.broadcast_to(x, (4, 6)), 0.0),
        [truth(6), f32()],
        "where broadcast_to",
    ),
    case("leading ones", lambda x, y: x - y.reshape((1, 6)), [m, f32(6)], "sub"),
    case("operand alone", lambda x, y: x + wg.broadcast_to(y, (4, 6)), [m, f32(6)], "add"),
    case("filled operand", lambda x: wg.full((4, 6), 2.0) - x, [m], "sub"),
    case("views meet", lambda x: wg.exp(x.reshape((24,))).reshape((4, 6)), [m], "exp"),
    case("transposes meet", lambda x, y: (x.T * y.T + 1.0).T, [m, m], "mul add"),
    case("scale of a transpose", lambda x: (x.T * 2.0).T, [m], "mul"),
    case("row of a transpose", lambda x, y: (x.T - y[:, None]).T, [m, f32(6)], "sub"),
    case(
        "column of a reshape",
        lambda x, y: (x.reshape((8, 6)) - y).reshape((2, 4, 6)),
        [f32(2, 4, 6), f32(6)],
        "sub",
    ),
    case("mixed operand", lambda x, y: x.reshape((24,)) * y, [m, v], "reshape mul"),
]

REDUCTIONS = [
    case("unit axes", lambda x: wg.min(x, axis=(0, 2)), [f32(1, 4, 1)], "reshape"),
    case("max of one", lambda x: wg.max(x, axis=1), [f32(4, 1, 3)], "reshape"),
    case("max of max", lambda x: wg.max(wg.max(x, axis=0), axis=0), [m], "max"),
    case(
        "max of permuted",
        lambda x: wg.max(wg.permute_dims(x, (2, 0, 1)), axis=1),
        [f32(2, 3, 4)],
        "max permute",
    ),
    case("max of reshaped", lambda x: wg.max(x.reshape((2, 2, 6)), axis=2), [m], "max reshape"),
    case("part of an axis", lambda x: wg.max(x.reshape((2, 2, 6)), axis=0), [m], "reshape max"),
    case("max of broadcast", lambda x: wg.max(wg.broadcast_to(x, (5, 24)), axis=0), [v], ""),
    case("argmax of one", lambda x: wg.argmax(x, axis=1), [f32(4, 1)], ""),
    case("prod of one", lambda x: op["prod"](x, axis=1), [f32(4, 1)], "reshape"),
    case("any of parts", lambda x: wg.any(wg.any(x, axis=0), axis=0), [truth(4, 6)], "any"),
    case("sum of negated", lambda x: wg.sum(-x, axis=0), [m], "sum neg"),
]

ALL = [*CLEANING, *FOLDING, *ARITHMETIC, *LOGIC, *VIEWS, *SPACES, *REDUCTIONS]


@pytest.mark.parametrize(("f", "specs", "left"), ALL)
def test_rules_change_no_bit(f: Callable[..., Any], specs: list[Spec], left: str) -> None:
    program = program_of(f, *specs)
    inputs = [[draw(s, i + j) for i, s in enumerate(specs)] for j in range(4) for draw in DRAWS]
    found, _ = simplified(program, inputs)
    assert names(found) == Counter(left.split()), f"\n{program}\n{found}"


DRAWS = (special, ordinary)

k, r = f32(8, 5), f32(5, 3)

SUMS = [
    case("no axis", lambda x: op["sum"](x, axis=()), [m], ""),
    case("unit axes", lambda x: wg.sum(x, axis=(0, 2)), [f32(1, 4, 1)], "reshape"),
    case("sum of sum", lambda x: wg.sum(wg.sum(x, axis=0), axis=0), [m], "sum"),
    case("sum of broadcast", lambda x: wg.sum(wg.broadcast_to(x, (6, 24)), axis=0), [v], "mul"),
    case(
        "both",
        lambda x: wg.sum(wg.broadcast_to(x[:, None, :], (4, 3, 6)), axis=(0, 1)),
        [m],
        "sum mul",
    ),
    case("transposed operand", lambda x, y: x.T @ y, [f32(5, 8), r], "contract"),
    case("transposed result", lambda x, y: (x @ y).T, [k, r], "contract"),
    case("scaled and transposed", lambda x, y: ((x @ y) * 0.3).T, [k, r], "contract mul"),
    case("matrix and column", lambda x, y: x @ y, [k, f32(5, 1)], "reshape contract reshape"),
    case("outer product", lambda x, y: x @ y, [f32(5, 1), f32(1, 5)], "mul"),
    case("hadamard", lambda x, y: wg.einsum("ij,ij->ji", x, y), [m, m], "mul permute"),
    case("with ones", lambda x: x @ wg.ones((5, 3)), [k], "sum broadcast_to reshape"),
    case(
        "broadcast batch",
        lambda x, y: op["contract"](
            wg.broadcast_to(x, (7, 8, 5)), y, subs=((0, 1, 2), (0, 2, 3), (0, 1, 3))
        ),
        [k, f32(7, 5, 3)],
        "contract",
    ),
    case(
        "broadcast free",
        lambda x, y: wg.broadcast_to(x, (8, 5)) @ y,
        [f32(5), r],
        "contract broadcast_to",
    ),
    case(
        "broadcast sum",
        lambda x, y: wg.broadcast_to(x[:, None], (8, 5)) @ y,
        [f32(8), r],
        "sum reshape mul",
    ),
    case("negated operand", lambda x, y: z(-x @ y), [k, r], "contract neg tanh"),
    case("trace", lambda x, y: wg.sum(wg.diagonal(x @ y)), [m, f32(6, 4)], "contract"),
    case(
        "hidden",
        lambda x, y: wg.sum(x[:, :, None] * y[None], axis=1),
        [f32(16, 16), f32(16, 16)],
        "contract",
    ),
    case("not hidden", lambda x, y: wg.sum(x * y, axis=1), [m, m], "mul sum"),
]


def z(x: Any) -> Any:
    return wg.tanh(x)


@pytest.mark.parametrize(("f", "specs", "left"), SUMS)
def test_rules_that_regroup_sums(f: Callable[..., Any], specs: list[Spec], left: str) -> None:
    program = program_of(f, *specs)
    inputs = [[ordinary(s, i + j) for i, s in enumerate(specs)] for j in range(3)]
    found, _ = simplified(program, inputs, close)
    assert names(found) == Counter(left.split()), f"\n{program}\n{found}"
