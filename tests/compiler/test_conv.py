"""Convolution kernels against the ops' references, bit for bit where that is promised."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.compiler.conv_support import X86, Case, bits, close, described, narrower, run
from wengert.compiler.kernels.base import address
from wengert.compiler.kernels.conv import KINDS
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.core import dtypes

# Each is batch, channels, filters, spatial sizes, kernel, and the rest.
GEOMETRIES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "many images": ((32, 16, 16, (8, 8), (3, 3)), {"padding": 1}),
    "images that do not divide": ((17, 4, 8, (4, 5), (3, 3)), {"padding": 1}),
    "few images": ((2, 5, 40, (9, 9), (3, 5)), {"padding": (2, (1, 3))}),
    "one image": ((1, 8, 33, (12, 30), (3, 3)), {"padding": 1}),
    "first layer": ((8, 3, 16, (10, 10), (3, 3)), {"padding": 1}),
    "stride 2": ((6, 5, 20, (9, 8), (3, 3)), {"stride": 2, "padding": 1}),
    "stride over kernel": ((3, 4, 6, (11, 11), (2, 2)), {"stride": 3}),
    "patches": ((2, 3, 10, (16, 16), (8, 8)), {"stride": 8}),
    "upsampling": ((8, 12, 7, (8, 8), (2, 2)), {"stride": 2}),
    "shortcut": ((32, 16, 32, (8, 8), (1, 1)), {"stride": 2}),
    "1×1": ((3, 20, 24, (5, 6), (1, 1)), {}),
    "1-d, long": ((2, 4, 6, (700,), (7,)), {"padding": 3}),
    "1-d, all at once": ((2, 6, 40, (9,), (5,)), {"stride": 3, "padding": 2, "dilation": 2}),
    "3-d": ((2, 3, 4, (5, 4, 6), (2, 3, 3)), {"stride": (1, 2, 3), "padding": 1}),
    "no axes": ((7, 3, 21, (), ()), {}),
    "dilated": ((2, 3, 18, (12, 13), (3, 3)), {"padding": (4, 2), "dilation": (4, 2)}),
    "dilation and stride share a factor": (
        (4, 3, 5, (17, 14), (3, 2)),
        {"stride": (4, 6), "padding": 3, "dilation": (2, 4)},
    ),
    "mostly padding": ((2, 2, 3, (2, 3), (4, 4)), {"padding": ((3, 5), (2, 0))}),
    "as large as the input": ((5, 6, 9, (7, 7), (7, 7)), {}),
    "groups": ((2, 12, 18, (6, 7), (3, 3)), {"padding": 1, "groups": 3}),
    "groups of one channel": ((2, 4, 8, (6, 7), (3, 3)), {"padding": 1, "groups": 4}),
    "depth-wise": ((3, 21, 21, (9, 8), (3, 3)), {"padding": 1, "groups": 21}),
    "depth-wise, stride 2": ((2, 70, 70, (9, 8), (5, 5)), {"stride": 2, "groups": 70}),
    "wide": ((1, 40, 100, (5, 5), (3, 3)), {"padding": 1}),
    "one of each": ((1, 1, 1, (1,), (1,)), {}),
    "one channel": ((9, 1, 1, (6, 6), (5, 5)), {"padding": 2}),
}


def case(name: str, dtype: Any = np.float32) -> Case:
    sizes, rest = GEOMETRIES[name]
    return Case(np.random.default_rng(len(name)), *sizes, **rest, dtype=dtype)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_reference(name: str, kind: str) -> None:
    c = case(name)
    close(c.run(kind), c.reference(kind))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, dtypes.bfloat16])
@pytest.mark.parametrize("name", ["few images", "depth-wise", "upsampling", "first layer"])
@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(name: str, kind: str, dtype: Any) -> None:
    c = case(name, dtype)
    close(c.run(kind), c.reference(kind))


def drawn(rng: np.random.Generator) -> Case:
    """Any legal geometry."""
    while True:
        rank = int(rng.integers(1, 4))
        groups = int(rng.choice([1, 1, 1, 2, 5]))
        size = [int(n) for n in rng.integers(1, 24 if rank < 3 else 7, rank)]
        kernel = [int(n) for n in rng.integers(1, 6, rank)]
        stride = [int(n) for n in rng.integers(1, 4, rank)]
        dilation = [int(n) for n in rng.integers(1, 4, rank)]
        padding = [(int(a), int(b)) for a, b in rng.integers(0, 4, (rank, 2))]
        room = [
            n + sum(p) - d * (k - 1) - 1
            for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)
        ]
        if min(room) >= 0:
            return Case(
                rng,
                int(rng.integers(1, 14)),
                groups * int(rng.integers(1, 20)),
                groups * int(rng.integers(1, 40)),
                tuple(size),
                tuple(kernel),
                stride,
                padding,
                dilation,
                groups,
            )


@pytest.mark.parametrize("seed", range(40))
def test_random_geometries(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c = drawn(rng)
    kind = KINDS[seed % 3]
    close(c.run(kind, threads=1 + seed % 4), c.reference(kind))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_many_random_geometries(seed: int) -> None:
    c = drawn(np.random.default_rng(seed))
    for kind in KINDS:
        close(c.run(kind, threads=1 + seed % 4), c.reference(kind))


# -- what must not change a bit ------------------------------------------------------------------

SOME = ["many images", "few images", "one image", "stride 2", "depth-wise", "groups", "first layer"]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("kind", KINDS)
def test_threads(name: str, kind: str) -> None:
    c = case(name)
    alone = bits(c.run(kind))
    for threads in (2, 3, 5):
        assert bits(c.run(kind, threads)) == alone
    assert bits(c.run(kind, 3, order=-1)) == alone


@pytest.mark.skipif(not X86, reason="features of x86 processors")
@pytest.mark.parametrize("name", [*SOME, "wide", "upsampling", "3-d"])
@pytest.mark.parametrize("kind", KINDS)
def test_registers(name: str, kind: str) -> None:
    c = case(name)
    widest = bits(c.run(kind))
    assert bits(c.run(kind, target=narrower("avx512"))) == widest


@pytest.mark.skipif(not X86, reason="features of x86 processors")
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_old_processors(kind: str, dtype: Any) -> None:
    c = case("few images", dtype)
    old = narrower("avx", "fma", "f16c", "sse4", "ssse3", "sse3", "vaes", "vpcl", "xop", "gfni")
    close(c.run(kind, target=old), c.reference(kind))


def fused(a: float, b: float, c: float) -> float:
    """a·b + c, rounded once."""
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def meeting(c: Case, place: tuple[int, ...], entry: tuple[int, ...]) -> tuple[int, ...] | None:
    """The pixel of x that an entry meets from a place of y, if it is inside."""
    p = c.params
    at = [
        s * o + d * k - lo
        for s, o, d, k, (lo, _) in zip(
            p["stride"], place, p["dilation"], entry, p["padding"], strict=True
        )
    ]
    inside = all(0 <= i < n for i, n in zip(at, c.shapes["x"][2:], strict=True))
    return tuple(at) if inside else None


def test_order_of_the_sums() -> None:
    rng = np.random.default_rng(5)
    c = Case(rng, 3, 5, 3, (4, 5), (3, 2), (1, 2), (1, 1), dtype=np.float64)
    x, w, y = (c.arrays[r] for r in "xwy")
    forward, data, weight = np.zeros(y.shape), np.zeros(x.shape), np.zeros(w.shape)
    places, entries = list(np.ndindex(y.shape[2:])), list(np.ndindex(w.shape[2:]))
    for n, f, o in product(range(3), range(3), places):
        for k in entries:
            if (at := meeting(c, o, k)) is not None:
                for i in range(5):
                    total = forward[n, f, *o]
                    forward[n, f, *o] = fused(x[n, i, *at], w[f, i, *k], total)
    for n, o, k in product(range(3), places, entries):
        if (at := meeting(c, o, k)) is not None:
            for i, f in product(range(5), range(3)):
                data[n, i, *at] = fused(w[f, i, *k], y[n, f, *o], data[n, i, *at])
    # More ranges than images: each place along the first axis of each image is a range.
    for n, first in product(range(3), range(y.shape[2])):
        sums = np.zeros(w.shape)
        for o, k in product((o for o in places if o[0] == first), entries):
            if (at := meeting(c, o, k)) is not None:
                for i, f in product(range(5), range(3)):
                    sums[f, i, *k] = fused(x[n, i, *at], y[n, f, *o], sums[f, i, *k])
        weight += sums
    assert bits(c.run("forward")) == bits(np.moveaxis(forward, 1, -1))
    assert bits(c.run("data")) == bits(np.moveaxis(data, 1, -1))
    assert bits(c.run("weight")) == bits(weight)


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["many images", "few images", "depth-wise", "stride 2", "groups"])
@pytest.mark.parametrize("kind", ["forward", "data"])
def test_slices_of_larger_arrays(name: str, kind: str) -> None:
    c = case(name)
    rng = np.random.default_rng(0)

    def inside(a: Any) -> tuple[Any, Any]:
        """The array amid a larger one: other channels beside it, a margin around its pixels."""
        shape = (a.shape[0], *(n + 2 for n in a.shape[1:-1]), a.shape[-1] + 5)
        whole = rng.normal(size=shape).astype(a.dtype)
        part = whole[(slice(None), *(slice(1, 1 + n) for n in a.shape[1:-1]), slice(2, -3))]
        part[...] = a
        return part, whole

    operands = c.operands(kind)
    at = 0 if kind == "forward" else 1
    operands[at], _ = inside(operands[at])
    part, whole = inside(np.zeros(c.spec(kind).result.shape, np.float32))
    before = whole.copy()
    given, made = ("x", "y") if kind == "forward" else ("y", "x")
    spec = c.spec(kind, **{given: described(operands[at]), made: described(part)})
    run(spec, operands, part, threads=2)
    close(np.ascontiguousarray(part), c.reference(kind))
    part[...] = 0
    np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (2, 3, 1, 0), (0, 2, 3, 1), (1, 0, 3, 2)])
@pytest.mark.parametrize("name", ["few images", "stride 2", "groups", "first layer", "depth-wise"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_weights(name: str, kind: str, order: tuple[int, ...]) -> None:
    c = case(name)
    w = np.transpose(np.ascontiguousarray(np.transpose(c.arrays["w"], order)), np.argsort(order))
    spec = c.spec(kind, w=described(w))
    if kind == "weight":
        out = np.zeros_like(w)
        spec = c.spec(kind, w=described(out))
        close(run(spec, c.operands(kind), out), c.reference(kind))
    else:
        operands = c.operands(kind)
        operands[1 if kind == "forward" else 0] = w
        out = np.zeros(spec.result.shape, np.float32)
        close(run(spec, operands, out), c.reference(kind))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_channels_first_operands(kind: str, dtype: Any) -> None:
    c = case("few images", dtype)
    arrays, operands = {}, c.operands(kind)
    for i, role in enumerate({"forward": "xw", "data": "wy", "weight": "xy"}[kind]):
        if role != "w":
            operands[i] = np.moveaxis(c.arrays[role], 1, -1)
            arrays[role] = described(operands[i])
    spec = c.spec(kind, **arrays)
    out = np.zeros(spec.result.shape, dtype)
    close(run(spec, operands, out, threads=3), c.reference(kind))


def test_aligned_to_entries_only() -> None:
    c = case("few images")
    for kind in KINDS:
        operands = []
        for a in c.operands(kind):
            room = np.zeros(a.size + 1, np.float32)
            room[1:] = a.reshape(-1)
            operands.append(room[1:].reshape(a.shape))
        spec = c.spec(kind)
        out = np.zeros(int(np.prod(spec.result.shape)) + 1, np.float32)[1:]
        close(run(spec, operands, out.reshape(spec.result.shape)), c.reference(kind))


# -- edges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("sizes", "padding"),
    [
        ((0, 2, 3, (4,), (2,)), 0),
        ((2, 0, 3, (4,), (2,)), 0),
        ((2, 3, 0, (4,), (2,)), 0),
        ((2, 3, 4, (0, 3), (2, 2)), 1),
        ((0, 0, 0, (3, 3), (3, 3)), 0),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_sum(sizes: Any, padding: int, kind: str, dtype: Any) -> None:
    c = Case(np.random.default_rng(0), *sizes, padding=padding, dtype=dtype)
    found = c.run(kind, threads=2)
    np.testing.assert_array_equal(found, np.zeros_like(found))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["many images", "few images", "stride 2", "depth-wise"])
@pytest.mark.parametrize("kind", KINDS)
def test_not_finite(name: str, kind: str, bad: float) -> None:
    c = case(name)
    for role in "xwy":
        c.arrays[role].reshape(-1)[c.arrays[role].size // 2] = bad
    found, expected = c.run(kind), c.reference(kind)
    # The reference multiplies weights with padding, too; here such products are left out.
    well = np.isfinite(expected)
    close(np.where(well, found, 0), np.where(well, expected, 0).astype(np.float32))
    sizes, rest = GEOMETRIES[name]
    c = Case(np.random.default_rng(1), *sizes, **{**rest, "padding": 0})
    for role in "xy":
        c.arrays[role].reshape(-1)[c.arrays[role].size // 2] = bad
    found, expected = c.run(kind), c.reference(kind)
    assert np.any(~np.isfinite(expected))
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(found[infinite], expected[infinite])


def test_bad_weight_at_the_border() -> None:
    c = Case(np.random.default_rng(0), 1, 2, 2, (6, 6), (3, 3), padding=1)
    c.arrays["w"][0, 0, 0, 0] = np.inf  # not used by the first row and column
    found = c.run("forward")
    assert np.all(np.isfinite(found[0, 0, :, :]))
    assert np.all(np.isfinite(found[0, :, 0, :]))
    assert not np.any(np.isfinite(found[0, 1:, 1:, 0]))
    assert np.all(np.isfinite(found[..., 1]))


# -- epilogue, modules, other machines ------------------------------------------------------------


def bias_and_relu(f: Function, args: Value, row: Value, column: Value, columns: Operand) -> None:
    """y ← max(y + bias, 0), and how often each pixel of each channel was visited, at ends."""
    out, bias, visits, width = (address(f, args, i) for i in (2, 4, 5, 6))
    full = f.load("i64", width)
    with f.loop(0, columns) as j:
        at = f.at(out, row * full + (column + j), "float")
        moved = f.load("float", at) + f.load("float", f.at(bias, column + j, "float"))
        f.store(f.select(f.compare("ogt", moved, 0.0), moved, 0.0), at)
        count = f.at(visits, row * full + (column + j), "i64")
        f.store(f.load("i64", count) + 1, count)


@pytest.mark.parametrize("name", ["many images", "few images", "stride 2", "groups", "depth-wise"])
@pytest.mark.parametrize("kind", ["forward", "data"])
def test_epilogue(name: str, kind: str) -> None:
    c = case(name)
    shape = c.spec(kind).result.shape
    bias = np.random.default_rng(3).normal(size=shape[-1]).astype(np.float32)
    visits = np.zeros(shape, np.int64)
    more = (bias, visits, np.array([shape[-1]]))
    found = c.run(kind, 2, epilogue=bias_and_relu, more=more)
    close(found, np.maximum(c.reference(kind) + bias, 0))
    np.testing.assert_array_equal(visits, 1)


def test_kernels_in_one_module() -> None:
    c = case("many images")
    module = Module()
    first = c.spec("forward").emit(module, "there")
    size = len(module.text())
    assert c.spec("forward").emit(module, "there") == first
    assert len(module.text()) == size
    c.spec("data").emit(module, "back")
    c.spec("weight").emit(module, "weights")
    rows = [name for name in module.bodies if name.startswith("row_")]
    assert len(rows) == 1, "the transpose with stride 1 runs the same code"
    build.load(module.text())


@pytest.mark.parametrize(
    "target",
    [
        Target("haswell", "+avx2,+fma,+f16c", "x86_64-unknown-linux-gnu"),
        Target("x86-64", "", "x86_64-unknown-linux-gnu"),
        Target("skylake-avx512", "+avx512f,+avx512vl,+fma,+f16c", "x86_64-unknown-linux-gnu"),
        Target("generic", "+neon", "aarch64-unknown-linux-gnu"),
        Target("apple-m1", "+neon", "arm64-apple-macosx14.0.0"),
    ],
    ids=lambda t: t.cpu,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, dtypes.bfloat16])
def test_other_processors(target: Target, dtype: Any) -> None:
    module = Module()
    for name in ("few images", "depth-wise"):
        for kind in KINDS:
            case(name, dtype).spec(kind, target).emit(module, f"{kind}_{len(name)}")
    assembly = build.emit_assembly(module.text(), target)
    assert "fmaf" not in assembly  # no calls of a mathematical library
    assert "extendhf" not in assembly
    assert "trunc" not in assembly or "ctrunc" in assembly
