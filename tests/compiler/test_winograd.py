"""Winograd's filtering: the same convolutions as the plain kernels, up to rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import wengert as wg
import wengert.nn.functional as F
from tests.compiler.conv_support import X86, Case, bits, close, described, last, narrower, run
from wengert.compiler.kernels.base import address
from wengert.compiler.kernels.conv import KINDS
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Value
from wengert.compiler.llvm.types import F32

# Each is batch, channels, filters, spatial sizes, and padding.
GEOMETRIES: dict[str, tuple[int, int, int, tuple[int, int], Any]] = {
    "even": (8, 16, 32, (8, 8), 1),
    "odd sizes": (3, 32, 48, (7, 9), 1),
    "odd and even": (2, 16, 80, (6, 11), 1),
    "no padding": (3, 16, 16, (11, 10), 0),
    "padding at some sides": (2, 16, 16, (11, 10), ((2, 0), (1, 2))),
    "all of the kernel outside": (5, 16, 16, (6, 6), 2),
    "more padding than kernel": (8, 16, 16, (3, 4), 4),
    "many chunks": (4, 64, 64, (32, 32), 1),
    "strips": (2, 16, 144, (16, 16), 1),
    "a line": (6, 16, 16, (1, 30), 1),
}


def case(name: str, dtype: Any = np.float32) -> Case:
    batch, channels, filters, spatial, padding = GEOMETRIES[name]
    rng = np.random.default_rng(len(name))
    return Case(rng, batch, channels, filters, spatial, (3, 3), padding=padding, dtype=dtype)


def found(c: Case, kind: str, threads: int = 1, target: Target | None = None, **how: Any) -> Any:
    spec = replace(c.spec(kind, target), winograd=True)
    assert spec.suits
    out = np.full(spec.result.shape, 7, spec.result.dtype)
    return run(spec, c.operands(kind), out, threads, **how)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_reference(name: str, kind: str, dtype: Any) -> None:
    c = case(name, dtype)
    close(found(c, kind), c.reference(kind))


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_give_the_bits_of_the_plain_sum(name: str, kind: str) -> None:
    """Nothing is rounded then (kernels are multiples of four, for their halves of halves)."""
    c = case(name)
    for role in "xwy":
        c.arrays[role] = np.round(c.arrays[role] * 2) * (4 if role == "w" else 1)
    np.testing.assert_array_equal(found(c, kind), c.run(kind))


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_threads(name: str, kind: str) -> None:
    c = case(name)
    alone = bits(found(c, kind))
    for threads in (2, 3, 5):
        assert bits(found(c, kind, threads)) == alone
    assert bits(found(c, kind, 3, order=-1)) == alone


@pytest.mark.skipif(not X86, reason="features of x86 processors")
@pytest.mark.parametrize("kind", KINDS)
def test_registers(kind: str) -> None:
    c = case("odd sizes")
    assert bits(found(c, kind, target=narrower("avx512"))) == bits(found(c, kind))
    old = narrower("avx", "fma", "f16c", "sse4", "ssse3", "sse3", "vaes", "vpcl", "xop", "gfni")
    close(found(c, kind, target=old), c.reference(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_error_is_that_of_the_plain_sum(kind: str) -> None:
    """Against exact results: not more than a small multiple of what is lost without it."""
    c, exact = case("many chunks"), case("many chunks", np.float64)
    for role in "xwy":
        exact.arrays[role] = c.arrays[role].astype(np.float64)
    expected = exact.run(kind)
    off = lambda a: float(np.sqrt(np.mean((a.astype(np.float64) - expected) ** 2)))
    assert off(found(c, kind)) <= 4.0 * off(c.run(kind))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_not_finite_reach_what_they_should(kind: str, bad: float) -> None:
    c = case("odd and even")
    well = found(c, kind)
    c.arrays["y" if kind == "data" else "x"][1, 5, 4, 4] = bad
    made, plain = found(c, kind), c.run(kind)
    np.testing.assert_array_equal(np.isfinite(made), np.isfinite(plain))
    np.testing.assert_array_equal(made[np.isfinite(plain)], well[np.isfinite(plain)])


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_slices_of_larger_arrays(kind: str) -> None:
    c = case("odd sizes")
    rng = np.random.default_rng(0)

    def inside(a: Any) -> tuple[Any, Any]:
        """The array amid a larger one: other channels beside it, a margin around its pixels."""
        shape = (a.shape[0], *(n + 2 for n in a.shape[1:-1]), a.shape[-1] + 5)
        whole = rng.normal(size=shape).astype(a.dtype)
        part = whole[:, 1:-1, 1:-1, 2:-3]
        part[...] = a
        return part, whole

    roles = {"forward": "xw", "data": "wy", "weight": "xy"}[kind]
    operands, arrays = c.operands(kind), {}
    for i, role in enumerate(roles):
        if role != "w":
            operands[i], _ = inside(operands[i])
            arrays[role] = described(operands[i])
    out, whole = np.zeros(c.arrays["w"].shape, np.float32), None
    if kind != "weight":
        made = "y" if kind == "forward" else "x"
        out, whole = inside(np.zeros(last(c.arrays[made]).shape, np.float32))
        arrays[made] = described(out)
        before = whole.copy()
    spec = replace(c.spec(kind, **arrays), winograd=True)
    assert spec.suits
    run(spec, operands, out, threads=2)
    close(np.ascontiguousarray(out), c.reference(kind))
    if whole is not None:
        out[...] = 0
        np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (2, 3, 1, 0), (0, 2, 3, 1), (1, 0, 3, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_weights(kind: str, order: tuple[int, ...]) -> None:
    c = case("odd sizes")
    w = np.transpose(np.ascontiguousarray(np.transpose(c.arrays["w"], order)), np.argsort(order))
    spec = replace(c.spec(kind, w=described(w)), winograd=True)
    operands = c.operands(kind)
    out = np.zeros(spec.result.shape, np.float32)
    if kind == "weight":
        out = np.zeros_like(w)
        spec = replace(spec, w=described(out))
    else:
        operands[1 if kind == "forward" else 0] = w
    close(run(spec, operands, out), c.reference(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_aligned_to_entries_only(kind: str) -> None:
    c = case("odd and even")
    operands = []
    for a in c.operands(kind):
        room = np.zeros(a.size + 1, np.float32)
        room[1:] = a.reshape(-1)
        operands.append(room[1:].reshape(a.shape))
    spec = replace(c.spec(kind), winograd=True)
    out = np.zeros(int(np.prod(spec.result.shape)) + 1, np.float32)[1:]
    close(run(spec, operands, out.reshape(spec.result.shape)), c.reference(kind))


def bias_and_relu(f: Function, args: Value, row: Value, column: Value, columns: int) -> None:
    """y ← max(y + bias, 0), and how often each pixel of each channel was visited."""
    out, bias, visits = (address(f, args, i) for i in (2, 4, 5))
    with f.loop(0, columns) as j:
        at = f.at(out, row * columns + (column + j), F32)
        moved = f.load(F32, at) + f.load(F32, f.at(bias, column + j, F32))
        f.store(f.select(f.compare("ogt", moved, 0.0), moved, 0.0), at)
        count = f.at(visits, row * columns + (column + j), "i64")
        f.store(f.load("i64", count) + 1, count)


@pytest.mark.parametrize("name", ["even", "odd sizes"])
@pytest.mark.parametrize("kind", ["forward", "data"])
def test_epilogue(name: str, kind: str) -> None:
    c = case(name)
    shape = c.spec(kind).result.shape
    bias = np.random.default_rng(3).normal(size=shape[-1]).astype(np.float32)
    visits = np.zeros(shape, np.int64)
    made = found(c, kind, 2, epilogue=bias_and_relu, more=(bias, visits))
    close(made, np.maximum(c.reference(kind) + bias, 0))
    np.testing.assert_array_equal(visits, 1)


# -- where it is used ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ((4, 16, 16, (8, 8), (3, 3)), {"stride": 2, "padding": 1}),
        ((4, 16, 16, (8, 8), (3, 3)), {"dilation": 2}),
        ((4, 16, 16, (8, 8), (5, 5)), {}),
        ((4, 32, 32, (8, 8), (3, 3)), {"groups": 2}),
        ((4, 12, 16, (8, 8), (3, 3)), {}),
        ((4, 16, 20, (8, 8), (3, 3)), {}),
        ((4, 16, 16, (64,), (3,)), {}),
        ((1, 16, 16, (6, 6), (3, 3)), {"padding": 1}),
        ((4, 16, 16, (8, 8), (3, 3)), {"dtype": np.float16}),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_other_convolutions_are_plain(kind: str, shape: Any, change: dict[str, Any]) -> None:
    c = Case(np.random.default_rng(0), *shape, **change)
    assert not replace(c.spec(kind), winograd=True).suits


def gradients(x: wg.Tensor, w: wg.Tensor) -> Any:
    return wg.grad(lambda x, w: wg.sum(F.conv2d(x, w, padding=1) ** 2), argnums=(0, 1))(x, w)


def test_compiled_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    c = case("odd sizes")
    x, w = (wg.asarray(c.arrays[role]) for role in "xw")
    eager = gradients(x, w)
    filtered = wg.jit(gradients)(x, w)
    monkeypatch.setenv("WENGERT_WINOGRAD", "0")
    plain = wg.jit(gradients)(x, w)
    for a, b, e in zip(filtered, plain, eager, strict=True):
        close(a.numpy(), e.numpy())
        close(b.numpy(), e.numpy())
        assert bits(a.numpy()) != bits(b.numpy())
