"""Every pointwise op of the registry as native code, against its reference, for every dtype."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import wengert as wg  # noqa: F401  (declares the ops)
from tests.compiler.pointwise import PLAIN, PLAIN_RUNS, bound, compiled, undefined_symbols, write
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.core import dtypes
from wengert.core.errors import ArgumentError
from wengert.core.lowering import Pointwise
from wengert.core.op import REGISTRY, Op
from wengert.core.rules import Elementwise

OPS = [op for op in REGISTRY.values() if isinstance(op.lower, Pointwise)]

# Element-wise ops that stay library calls.
LIBRARY = {"gamma_moment": "a quadrature with 156 nodes"}

# Functions that are computed in other ways than the reference does: how many units in the last
# place they may differ. All others agree bit for bit. (`test_math` measures the errors themselves.)
CLOSE = {
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log2", "log10", "log1p"), 4),
    **dict.fromkeys(("sigmoid", "softplus", "logaddexp", "pow", "power", "cbrt", "hypot"), 4),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "atan2"), 4),
    **dict.fromkeys(("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"), 4),
    "erf": 4,
    "erfc": 8,
    "erfinv": 4,
    "xlogy": 4,
    "lgamma": 16,
    "polygamma": 64,
    "sinc": 64,
}

# Ops whose result may be either zero where it is one: NumPy has several answers itself.
EITHER_ZERO = ("maximum", "minimum", "clip", "relu", "xlogy", "sign", "nextafter")

PARAMS: dict[str, list[dict[str, Any]]] = {
    "round": [{}, {"decimals": 2}, {"decimals": -1}],
    "power": [{"exponent": e} for e in (0, 1, 2, 3, 4, 5, -1, -2, 0.5, -0.5, 1.5, -1.7)],
    "polygamma": [{"n": n} for n in (0, 1, 2, 5)],
    "sinc": [{"order": n} for n in (0, 1, 2, 3)],
    "cast": [{"dtype": d} for d in dtypes.ALL],
}


def test_every_elementwise_op_has_a_lowering() -> None:
    without = {o.name for o in REGISTRY.values() if isinstance(o, Elementwise) and o.lower is None}
    assert without == set(LIBRARY)


# -- operands ----------------------------------------------------------------------------------


def edges(dtype: Any) -> Any:
    """Values at which something changes."""
    if dtype == dtypes.bool:
        return np.array([False, True])
    if dtypes.is_integer(dtype):
        info = np.iinfo(dtype)
        small = [0, 1, 2, 3, 5, 7, 8, 15, 31, 32, 63, 64, 100]
        found = [*small, info.max, info.max - 1, info.max // 2]
        if info.min:
            found += [-n for n in small] + [info.min, info.min + 1]
        return np.array(found, dtype)
    info = ml_dtypes.finfo(dtype)
    tiny, least, most = float(info.tiny), float(info.smallest_subnormal), float(info.max)
    sizes = [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.25, 11.0, 1e4, tiny, least, 3 * least, most]
    sizes += [float("inf"), tiny * (1 - 2.0**-7), 0.998, 2.0**-12]
    return np.array([*sizes, *(-s for s in sizes), float("nan")]).astype(dtype)


def drawn(dtype: Any, count: int, seed: int) -> Any:
    """Random values: half of them small, half with random bits."""
    rng = np.random.default_rng(seed)
    if dtype == dtypes.bool:
        return rng.integers(0, 2, count).astype(bool)
    bits = rng.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype)
    if dtypes.is_integer(dtype):
        return np.where(rng.random(count) < 0.5, bits, (bits & dtype.type(7)).astype(dtype))
    small = rng.normal(size=count).astype(dtype) * dtype.type(3)
    return np.where(rng.random(count) < 0.5, bits, small)


def operands(kinds: list[Any]) -> list[Any]:
    """Arrays of these dtypes, all of one length: all combinations of edges, and random ones."""
    combined = list(zip(*itertools.product(*(edges(d)[:24] for d in kinds))))
    if len(kinds) == 1:
        combined = [tuple(edges(kinds[0]))]
    found = []
    for i, (dtype, values) in enumerate(zip(kinds, combined)):
        found.append(np.concatenate([np.array(values, dtype), drawn(dtype, 1003, i)]))
    return found


def signatures(op: Op) -> list[list[Any]]:
    """The dtypes that an op takes, as dtypes of all of its operands."""
    if isinstance(op, Elementwise):
        accepted = list(op.accepts)
    else:
        accepted = list(dtypes.FLOATS if op.name == "share" else dtypes.ALL)
    accepted = [d for d in accepted if d in op.lower.dtypes]
    first = [dtypes.bool] if op.name == "where" else []
    return [[*first, *[d] * (len(op.operands) - len(first))] for d in accepted]


def parameters(op: Op, dtype: Any) -> list[dict[str, Any]]:
    """The parameters to try with operands of a dtype."""
    if op.name == "power" and not dtypes.is_float(dtype):
        return [p for p in PARAMS["power"] if p["exponent"] in range(9)]
    return PARAMS.get(op.name, [{}])


# -- comparing ---------------------------------------------------------------------------------


def as_bits(x: Any) -> Any:
    """Values so that equal ones have equal bits: one NaN."""
    if dtypes.is_float(x.dtype):
        x = np.where(np.isnan(x), x.dtype.type(float("nan")), x)
        return x.view(f"u{x.dtype.itemsize}")
    return x


def ordered(x: Any) -> Any:
    """Floats as integers, neighbours one apart."""
    width = x.dtype.itemsize
    bits = x.view(f"i{width}").astype(object if width == 8 else np.int64)
    return np.where(bits < 0, -(2 ** (8 * width - 1)) - bits, bits)


def assert_agree(op: Op, params: Any, given: list[Any], found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    same = as_bits(found) == as_bits(expected)
    if op.name in EITHER_ZERO:
        same |= (found == 0) & (expected == 0)
    limit = CLOSE.get(op.name, 0)
    if limit and dtypes.is_float(found.dtype):
        near = ordered(np.where(np.isnan(found), 0, found)) - ordered(
            np.where(np.isnan(expected), 0, expected)
        )
        if found.dtype.itemsize == 2:
            limit = 1
        same |= (np.abs(near) <= limit) & (np.isnan(found) == np.isnan(expected))
        # Where terms cancel: a few units of those.
        scale = {"lgamma": 1.0, "logaddexp": 1.0, "polygamma": 4.0}.get(op.name, 0.0)
        if op.name == "sinc":
            scale = 10.0 ** (params["order"] / 2)
        eps = float(ml_dtypes.finfo(found.dtype).eps)
        with np.errstate(all="ignore"):
            wide = [x.astype(np.float64) for x in (found, expected)]
            same |= np.abs(wide[0] - wide[1]) <= 4 * eps * scale
        # The reference loses what is below the smallest normal number.
        tiny = float(ml_dtypes.finfo(found.dtype).tiny)
        same |= (np.abs(wide[0]) <= tiny) & (np.abs(wide[1]) <= tiny) & (op.name == "sigmoid")
    if not same.all():
        i = np.flatnonzero(~same)[:4]
        raise AssertionError(
            f"{op.name}{params} of {[g[i].tolist() for g in given]} in {given[-1].dtype}: found "
            f"{found[i].tolist()}, expected {expected[i].tolist()}; {np.sum(~same)} differ"
        )


def excluded(op: Op, params: Any, given: list[Any]) -> Any:
    """Entries on which the reference itself is undefined."""
    if op.name == "cast" and dtypes.is_float(given[0].dtype) and dtypes.is_integer(params["dtype"]):
        info = np.iinfo(params["dtype"])
        x = given[0].astype(np.float64)
        return ~((x > float(info.min) - 1) & (x < float(info.max) + 1)) | (x == float(info.max) + 1)
    if op.name in ("sinc", "polygamma", "lgamma"):  # no digits are left in x
        with np.errstate(all="ignore"):
            return np.abs(given[0].astype(np.float64)) > 1e5
    if op.name == "power" and params["exponent"] == 0:  # NaN⁰ is 1, but not in NumPy's halves
        return given[0] != given[0]
    if op.name == "round" and "decimals" in params and dtypes.is_integer(given[0].dtype):
        info = np.iinfo(given[0].dtype)
        return (given[0] > info.max - 10) | (given[0] < info.min + 10)
    return np.zeros(given[0].shape, bool)


TARGETS = {"this": build.host()} | ({"plain": PLAIN} if PLAIN_RUNS else {})


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_agrees_with_the_reference(op: Op, target: Target) -> None:
    module, runs = Module(), []
    for kinds in signatures(op):
        given = operands(kinds)
        for params in parameters(op, kinds[-1]):
            keep = ~excluded(op, params, given)
            chosen = [g[keep] for g in given]
            expected = np.asarray(op.reference(*chosen, **params))
            name = f"f{len(runs)}"
            write(module, name, op.lower.rule, kinds, expected.dtype, params, target)
            runs.append((name, params, chosen, expected))
    code = build.emit_object(module.text(), target)
    assert code[:4] != b"\x7fELF" or not undefined_symbols(code)
    library = build.Library(code)
    for name, params, chosen, expected in runs:
        found = bound(library, name, expected.dtype)(*chosen)
        assert_agree(op, params, chosen, found, expected)


# -- other processors --------------------------------------------------------------------------

OTHERS = {
    "avx2": Target("haswell", "+avx,+avx2,+fma,+f16c,+sse4.1", "x86_64-unknown-linux-gnu"),
    "arm": Target("generic", "+neon", "aarch64-unknown-linux-gnu"),
}


@pytest.mark.parametrize("target", OTHERS.values(), ids=OTHERS)
def test_compiles_for_other_processors_without_calls(target: Target) -> None:
    """No function is called that a bare program might lack."""
    chosen = (dtypes.uint32, dtypes.float16, dtypes.float32, dtypes.float64)
    module = Module()
    for op in OPS:
        for kinds in signatures(op):
            if kinds[-1] not in chosen:
                continue
            for i, params in enumerate(parameters(op, kinds[-1])[-2:]):
                result = params.get("dtype", kinds[-1])
                if getattr(op, "gives", "") == "bool":
                    result = dtypes.bool
                name = f"{op.name}.{kinds[-1]}.{i}"
                write(module, name, op.lower.rule, kinds, result, params, target)
    assert not undefined_symbols(build.emit_object(module.text(), target))


# -- errors and special cases ------------------------------------------------------------------


def test_a_negative_power_of_integers_is_refused_while_compiling() -> None:
    with pytest.raises(ArgumentError, match="negative exponent"):
        compiled(REGISTRY["power"].lower.rule, [np.int32], np.int32, exponent=-1)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("half", [dtypes.float16, dtypes.bfloat16], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_halves_are_converted_as_the_reference_does(half: Any, target: Target) -> None:
    """All halves to float32, and back from float32 and float64 beside every half-way point."""
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(half)
    widen = REGISTRY["cast"].lower.rule
    module = Module()
    write(module, "widen", widen, [half], dtypes.float32, {"dtype": dtypes.float32}, target)
    for wide in (dtypes.float32, dtypes.float64):
        write(module, f"narrow{wide}", widen, [wide], half, {"dtype": half}, target)
    library = build.Library(build.emit_object(module.text(), target))
    found = bound(library, "widen", np.float32)(halves)
    assert np.array_equal(as_bits(found), as_bits(halves.astype(np.float32)))
    exact = halves.astype(np.float64)
    with np.errstate(all="ignore"):
        middle = (exact + np.roll(exact, -1)) / 2
    for wide in (np.float32, np.float64):
        near = [middle.astype(wide)]
        near += [np.nextafter(near[0], wide(s)) for s in (-np.inf, np.inf)]
        given = np.concatenate([*near, exact.astype(wide)])
        found = bound(library, f"narrow{np.dtype(wide)}", half)(given)
        with np.errstate(all="ignore"):
            expected = given.astype(half)
        assert np.array_equal(as_bits(found), as_bits(expected))


def test_floats_outside_of_an_integers_range_have_a_defined_result() -> None:
    given = np.array([1e30, -1e30, np.inf, -np.inf, np.nan, 2.0**31, -(2.0**31) - 1, 2.0**63])
    for dtype in dtypes.INTEGERS:
        run = compiled(REGISTRY["cast"].lower.rule, [np.float64], dtype, dtype=dtype)
        assert np.array_equal(run(given), run(given[::-1].copy())[::-1])
    run = compiled(REGISTRY["cast"].lower.rule, [np.float64], np.int32, dtype=dtypes.int32)
    assert np.all(run(given) == np.iinfo(np.int32).min)
