"""Pooling kernels against the ops they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.compiler.conv_support import X86, bits, close, described, last, narrower, run
from wengert.compiler.kernels.base import address
from wengert.compiler.kernels.pool import KINDS, Pool
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.core import dtypes
from wengert.ops import pool, window
from wengert.ops.window import places

# Shape of x (channels first), window, stride, dilation, padding.
GEOMETRIES: dict[str, tuple[Any, ...]] = {
    "halves": ((3, 32, 8, 8), (2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))),
    "overlapping": ((2, 70, 9, 8), (3, 3), (2, 2), (1, 1), ((1, 1), (1, 0))),
    "each place": ((2, 5, 7, 6), (3, 2), (1, 1), (1, 1), ((1, 1), (1, 0))),
    "dilated": ((2, 17, 11, 9), (3, 2), (2, 3), (2, 1), ((2, 1), (0, 1))),
    "gaps": ((1, 3, 11, 10), (2, 2), (4, 3), (1, 1), ((0, 0), (0, 0))),
    "one channel": ((2, 1, 6, 6), (2, 3), (2, 1), (1, 1), ((0, 0), (0, 0))),
    "1-d": ((2, 20, 50), (4,), (3,), (2,), ((3, 3),)),
    "3-d": ((2, 6, 4, 5, 6), (2, 2, 3), (2, 1, 3), (1, 1, 1), ((0, 0), (1, 0), (1, 1))),
    "the whole": ((4, 12, 5, 5), (5, 5), (5, 5), (1, 1), ((0, 0), (0, 0))),
    "none": ((0, 3, 4, 4), (2, 2), (2, 2), (1, 1), ((0, 0), (0, 0))),
}


class Case:
    """Arrays of one geometry and what the ops make of them, channels last."""

    def __init__(self, name: str, dtype: Any = np.float32, ties: bool = True) -> None:
        rng = np.random.default_rng(len(name))
        shape, self.size, self.stride, self.dilation, self.padding = GEOMETRIES[name]
        how = (self.stride, self.dilation, self.padding)
        self.out = places("pool", shape[2:], self.size, *how)
        self.x = (rng.integers(-4, 5, shape) if ties else rng.normal(size=shape)).astype(dtype)
        self.y = rng.normal(size=(*shape[:2], *self.out)).astype(dtype)
        self.how: dict[str, Any] = {"size": self.size, "stride": self.stride}
        self.how |= {"dilation": self.dilation, "padding": self.padding}
        self.where = pool._argmax_windows(self.x, *(self.size, *how))
        self.seen = rng.normal(size=(*shape[:2], *self.out, *self.size)).astype(dtype)

    def spec(self, kind: str, target: Target | None = None, **arrays: Any) -> Pool:
        x, y = last(self.x), last(self.y)
        positions = None if kind in ("sum", "fold") else described(last(self.where))
        given = {"x": described(x), "y": described(y), "positions": positions} | arrays
        return Pool(kind, **given, **self.how, target=target or build.host())

    def run(self, kind: str, threads: int = 1, target: Target | None = None, **how: Any) -> Any:
        """The kernel's result, positions for `argmax`; `max` gives values too."""
        x, y, where = last(self.x), last(self.y), last(self.where)
        spec = self.spec(kind, target)
        if kind == "argmax":
            return run(spec, [x], np.full(where.shape, -1), threads, **how)
        if kind == "max":
            values = np.full(y.shape, 7, y.dtype)
            positions = np.full(where.shape, -1)
            return run(spec, [x, positions], values, threads, **how), positions
        operands = {"route": [y, where], "sum": [x], "fold": [y]}[kind]
        out = np.full(y.shape if kind == "sum" else x.shape, 7, x.dtype)
        return run(spec, operands, out, threads, **how)

    def routed(self) -> Any:
        """y at the positions, by hand."""
        flat = np.zeros((*self.x.shape[:2], int(np.prod(self.x.shape[2:]))))
        for n, c in np.ndindex(self.x.shape[:2]):
            np.add.at(flat[n, c], self.where[n, c].reshape(-1), self.y[n, c].reshape(-1))
        return last(flat.reshape(self.x.shape).astype(self.x.dtype))

    def folded(self, seen: Any) -> Any:
        """Windows added up where they come from, without what falls on padding."""
        shape = [n + sum(p) for n, p in zip(self.x.shape[2:], self.padding, strict=True)]
        whole = window._fold(seen, tuple(shape), self.stride, self.dilation)
        inside = tuple(
            slice(lo, lo + n) for n, (lo, _) in zip(self.x.shape[2:], self.padding, strict=True)
        )
        return last(whole[(..., *inside)])

    def summed(self) -> Any:
        """Sums over windows, padding being zero."""
        padded = np.pad(self.x, ((0, 0), (0, 0), *self.padding))
        seen = window._windows(padded, self.size, self.stride, self.dilation)
        axes = tuple(range(seen.ndim - len(self.size), seen.ndim))
        return last(seen.astype(np.float64).sum(axis=axes).astype(self.x.dtype))

    def broadcast(self) -> Any:
        """y, at each entry of its window."""
        wide = self.y.reshape(self.y.shape + (1,) * len(self.size))
        return np.ascontiguousarray(np.broadcast_to(wide, self.seen.shape))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, dtypes.bfloat16])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_against_the_ops(name: str, dtype: Any) -> None:
    c = Case(name, dtype)
    where = last(c.where)
    np.testing.assert_array_equal(c.run("argmax", 2), where)
    values, positions = c.run("max", 3)
    np.testing.assert_array_equal(positions, where)
    flat = last(c.x).reshape(c.x.shape[0], int(np.prod(c.x.shape[2:])), c.x.shape[1])
    expected = np.take_along_axis(
        flat, where.reshape(len(where), np.prod(c.out), where.shape[-1]), 1
    )
    np.testing.assert_array_equal(values, expected.reshape(where.shape))
    close(c.run("sum", 2), c.summed())
    close(c.run("route", 2), c.routed())
    close(c.run("fold", 3), c.folded(c.broadcast()))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_fold_of_windows(name: str) -> None:
    c = Case(name)
    lead = 2 + len(c.size)
    seen = np.ascontiguousarray(np.moveaxis(c.seen, 1, -1))  # N, places, size, C
    a = described(seen)
    steps = a.strides[lead - 1 : -1]
    y = described(np.moveaxis(seen[(slice(None),) * (lead - 1) + (0,) * len(c.size)], -1, -1))
    y = type(a)(y.dtype, y.shape, (*a.strides[: lead - 1], 1))
    spec = c.spec("fold", y=y, entries=steps)
    out = np.zeros(last(c.x).shape, np.float32)
    close(run(spec, [seen], out, threads=2), c.folded(c.seen))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_integers(dtype: Any) -> None:
    c = Case("overlapping", np.int64)
    c.x = (c.x + (0 if np.issubdtype(dtype, np.signedinteger) else 4)).astype(dtype)
    c.y = np.ones_like(c.y).astype(dtype)
    c.where = pool._argmax_windows(c.x, c.size, c.stride, c.dilation, c.padding)
    np.testing.assert_array_equal(c.run("argmax"), last(c.where))
    np.testing.assert_array_equal(c.run("sum"), c.summed())


def test_not_finite() -> None:
    c = Case("overlapping")
    flat = c.x.reshape(-1)
    rng = np.random.default_rng(0)
    for bad in (np.nan, np.inf, -np.inf):
        flat[rng.integers(0, flat.size, flat.size // 8)] = bad
    c.x[0, 0] = -np.inf
    c.x[0, 1] = np.nan
    c.where = pool._argmax_windows(c.x, c.size, c.stride, c.dilation, c.padding)
    np.testing.assert_array_equal(c.run("argmax"), last(c.where))


@pytest.mark.parametrize("name", ["overlapping", "dilated", "each place", "halves"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits(name: str, kind: str) -> None:
    c = Case(name, ties=False)
    first = lambda a: bits(a[0] if isinstance(a, tuple) else a)
    alone = first(c.run(kind))
    for threads in (2, 3, 5):
        assert first(c.run(kind, threads, order=-1)) == alone
    if X86:
        assert first(c.run(kind, target=narrower("avx512"))) == alone


def halved(f: Function, args: Value, row: Value, column: Value, columns: int) -> None:
    """Halve finished entries of the result, at 1; at 3 stands how many a row has."""
    out, width = address(f, args, 1), address(f, args, 3)
    full = f.load("i64", width)
    with f.loop(0, columns) as j:
        at = f.at(out, row * full + (column + j), "float")
        f.store(f.load("float", at) * 0.5, at)


@pytest.mark.parametrize("name", ["overlapping", "halves", "one channel", "1-d"])
def test_epilogue(name: str) -> None:
    c = Case(name)
    width = np.array([c.x.shape[1]])
    found = c.run("sum", 2, epilogue=halved, more=(width,))
    close(found, c.summed() * np.float32(0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_slices_of_larger_arrays(kind: str) -> None:
    c = Case("overlapping")
    x, y, where = last(c.x), last(c.y), last(c.where)
    made = {"argmax": where, "max": y, "route": x, "sum": y, "fold": x}[kind]
    whole = np.full((*made.shape[:-1], made.shape[-1] + 7), 3, made.dtype)
    part = whole[..., 4:-3]
    given = {"argmax": "positions", "max": "y", "sum": "y"}.get(kind, "x")
    spec = c.spec(kind, **{given: described(part)})
    positions = np.zeros_like(where)
    operands = {"max": [x, positions], "route": [y, where], "fold": [y]}.get(kind, [x])
    run(spec, operands, part)
    expected = c.run(kind)
    np.testing.assert_array_equal(part, expected[0] if kind == "max" else expected)
    np.testing.assert_array_equal(whole[..., :4], 3)
    np.testing.assert_array_equal(whole[..., -3:], 3)


@pytest.mark.parametrize(
    "target",
    [
        Target("x86-64", "", "x86_64-unknown-linux-gnu"),
        Target("generic", "+neon", "aarch64-unknown-linux-gnu"),
    ],
    ids=lambda t: t.cpu,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_other_processors(target: Target, dtype: Any) -> None:
    module = Module()
    for kind in KINDS:
        Case("overlapping", dtype).spec(kind, target).emit(module, kind)
    assert build.emit_object(module.text(), target)
