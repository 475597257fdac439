"""Small programs, simplified and compared bit by bit: support of the tests of `simplify`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compiler.check import verify
from wengert.compiler.function import traced_program
from wengert.compiler.ir import Array, Program, evaluate
from wengert.compiler.simplify import Report, simplify
from wengert.core import dtypes
from wengert.core.spec import Spec
from wengert.core.tree import tree_leaves

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-45, -3e38, 2.5, -0.75, 7.0]


def f32(*shape: int) -> Spec:
    """A float32 array."""
    return Spec(shape, dtypes.float32)


def i64(*shape: int) -> Spec:
    """An int64 array."""
    return Spec(shape, dtypes.int64)


def truth(*shape: int) -> Spec:
    """A bool array."""
    return Spec(shape, dtypes.bool)


def special(spec: Spec, seed: int = 0) -> Array:
    """An array full of zeros of both signs, infinities, NaN and ordinary numbers."""
    rng = np.random.default_rng(seed)
    if dtypes.is_float(spec.dtype):
        with np.errstate(over="ignore"):
            return rng.choice(SPECIAL, spec.shape).astype(spec.dtype)
    return rng.integers(0, 2, spec.shape).astype(spec.dtype)


def ordinary(spec: Spec, seed: int = 0) -> Array:
    """An array of ordinary numbers."""
    rng = np.random.default_rng(seed)
    if dtypes.is_float(spec.dtype):
        return rng.normal(size=spec.shape).astype(spec.dtype)
    return rng.integers(0, 2, spec.shape).astype(spec.dtype)


def same_bits(x: Array, y: Array) -> bool:
    """Whether two arrays are bitwise equal, all NaNs being equal."""
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.dtype.kind in "biu":
        return bool(np.array_equal(x, y))
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    bits = f"u{x.dtype.itemsize}"
    nan = np.isnan(x)
    equal = x.reshape(-1).view(bits) == y.reshape(-1).view(bits)
    return bool(np.array_equal(nan, np.isnan(y)) and (equal | nan.reshape(-1)).all())


def close(x: Array, y: Array, tolerance: float = 1e-5) -> bool:
    """Whether two arrays agree but for the rounding of sums, relative to the largest entry."""
    if x.dtype.kind in "biu" or x.dtype != y.dtype:
        return x.dtype == y.dtype and bool(np.array_equal(x, y))
    a, b = x.astype(np.float64), y.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return False
    finite = np.isfinite(a)
    size = np.abs(a[finite]).max(initial=1.0)
    odd = np.array_equal(a[~finite], b[~finite], equal_nan=True)
    return odd and bool((np.abs(a - b)[finite] <= tolerance * size).all())


def program_of(f: Callable[..., Any], *specs: Spec) -> Program:
    """The program of a function of tensors that returns a pytree of tensors."""
    return traced_program(lambda *inputs: tree_leaves(f(*inputs)), specs)


def names(program: Program) -> Counter[str]:
    """How many terms a program has of each op; inputs and constants are not counted."""
    return Counter(t.name for t in program.terms if t.op is not None)


class Checked(Report):
    """A report that has each pass's program checked."""

    def add(self, name: str, program: Program) -> None:
        super().add(name, program)
        verify(program)


def simplified(
    program: Program,
    arrays: Sequence[Sequence[Array]],
    agree: Callable[[Array, Array], bool] = same_bits,
) -> tuple[Program, Report]:
    """The simplified program, checked to be well formed and to compute the same on some inputs."""
    report = Checked()
    found = simplify(program, report)
    assert [t.spec for t in found.outputs] == [t.spec for t in program.outputs]
    for inputs in arrays:
        with np.errstate(all="ignore"):
            pairs = zip(evaluate(program, inputs), evaluate(found, inputs), strict=True)
            for before, after in pairs:
                assert agree(before, after), f"{before}\nbecame\n{after}\n{program}\n{found}"
    return found, report
