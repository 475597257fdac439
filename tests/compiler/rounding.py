"""How far rounding can move the results of a program: measured, by rounding differently.

The program is interpreted again a few times, with every result that is not exact moved by a few
units in its last place, and every operand of a sum as well. How much its outputs move is how exact
they can be known; compiled code must be within a small multiple of that.

A value of a 16-bit float need not be rounded to it before it is stored: compiled code computes with
float32, so that what would overflow, or vanish, may be a number that the next step brings back.
Each run rounds all such results, half of them, or none but what kernels read from memory.

Numbers are added up in any order, and where they are so large that some of them overflow together,
the order decides what comes out: 3e38 + 3e38 - inf is -inf or, from the left in two halves that
overflow to either side, NaN; 3e38 + 3e38 - 3e38 is inf or 3e38. Such a sum is one of these at
random, each time, and so is all that is computed from it. So is the sign of a zero that is sorted:
0 and -0 are equal, and either may come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compiler.ir import Program, Term, evaluate
from wengert.compiler.simplify.expand import pattern_of
from wengert.core import dtypes
from wengert.core.lowering import Expand, Indexed, Pointwise, Reduction, View
from wengert.core.state import recording

Array = np.ndarray[Any, Any]

ULPS = 3.0  # by which results are moved: functions of both sides are exact to two or so
RUNS, MORE = 4, (40, 400)  # of the program; more before it is said to be wrong
MULTIPLE = 12.0

# Results without any rounding, and those whose rounding IEEE 754 defines: compiled as interpreted.
_SELECTING = {
    "neg", "positive", "abs", "sign", "floor", "ceil", "trunc", "round", "copysign", "where",
    "maximum", "minimum", "relu", "clip", "annul", "share", "max", "min", "sort", "alias",
    "stop_gradient", "remainder", "fmod",
}  # fmt: skip
_DEFINED = {"add", "sub", "mul", "square", "cast"}
_CANCELLING = {"logaddexp"}  # a function that is no more exact than its operands are
# Those that add up products of their operands, or the operands themselves, in no certain order.
_SUMS = {
    "sum", "contract", "conv", "conv_input", "conv_weight", "cumsum", "recurrence", "fold",
    "scatter_add", "put_windows",
}  # fmt: skip


def _is_exact(term: Term) -> bool:
    assert term.op is not None
    if term.name in _SELECTING or isinstance(term.op.lower, View):
        return True
    if term.name in _DEFINED:
        return term.dtype.itemsize >= 4
    return isinstance(term.op.lower, Indexed) and term.name != "fold"


def _moved(x: Any, rng: np.random.Generator) -> Any:
    if not isinstance(x, np.ndarray) or not dtypes.is_float(x.dtype) or not x.size:
        return x
    wide = x.astype(np.float64)
    wide = wide * (1.0 + ULPS * _eps(x.dtype) * rng.uniform(-1.0, 1.0, x.shape))
    if x.dtype == dtypes.float16:  # its subnormal numbers are not that small
        wide = wide + 2.0**-24 * rng.uniform(-1.0, 1.0, x.shape)
    return wide.astype(x.dtype)


def _eps(dtype: Any) -> float:
    return {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}.get(str(dtype), 2.0**-8)


def _is_half(dtype: Any) -> bool:
    return dtypes.is_float(dtype) and dtype.itemsize == 2


def _single(x: Any) -> Any:
    return x.astype(np.float32) if isinstance(x, np.ndarray) and _is_half(x.dtype) else x


class _Run:
    """One interpretation of a program. Halves are held in float32, as in registers; `stored` is the
    part of all results that are rounded to them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.stored = (1.0, 0.5, 0.0)[seed % 3]

    def values(self, terms: Sequence[Term], known: dict[Term, Any]) -> dict[Term, Any]:
        """The values of all terms, some of which are known."""
        known = {t: _single(x) for t, x in known.items()}
        for term in terms:
            if term not in known:
                args = [known[a] for a in term.args]
                known[term] = _single(term.data) if term.op is None else self._value(term, args)
            if term.op is not None and not term.op.several:
                assert known[term].shape == term.shape, term
        return known

    def _value(self, term: Term, args: list[Any]) -> Any:
        assert term.op is not None
        if isinstance(term.op.lower, Expand):  # its steps are rounded, each by itself
            pattern = pattern_of(term)
            found = self.values(pattern.order, dict(zip(pattern.inputs, args, strict=True)))
            results = tuple(found[o] for o in pattern.outputs)
            return results if term.op.several else results[0]
        if not isinstance(term.op.lower, (Pointwise, View, Indexed, Reduction)):
            args = [self._in_memory(x, a) for x, a in zip(args, term.args, strict=True)]
        exact = _is_exact(term)
        moved = args
        if not exact and (not isinstance(term.op.lower, Pointwise) or term.name in _CANCELLING):
            moved = [_moved(a, self.rng) for a in args]
        result = term.op.reference(*moved, **term.params)
        if term.op.several:
            return tuple([_single(f if exact else _moved(f, self.rng)) for f in result])
        result = self._in_another_order(term, args, np.asarray(result))
        return _single(result if exact else self._rounded(term, result))

    def _in_memory(self, x: Any, term: Term) -> Any:
        """An operand of a kernel or a library call."""
        return x.astype(term.dtype) if _is_half(term.dtype) and isinstance(x, np.ndarray) else x

    def _rounded(self, term: Term, x: Array) -> Array:
        if _is_half(term.dtype) and (term.name == "cast" or self.rng.random() < self.stored):
            x = x.astype(term.dtype)
        return np.asarray(_moved(x, self.rng))

    def _in_another_order(self, term: Term, args: Sequence[Any], result: Array) -> Array:
        if term.name == "contract" and self.rng.random() < 0.5:
            result = _factored(term, [_single(a) for a in args]).astype(result.dtype)
        overflow = _overflow(term, args)
        if np.any(overflow):
            chosen = self.rng.choice(np.array([np.inf, -np.inf, np.nan, 0.0]), result.shape)
            result = np.where(overflow & (chosen != 0.0), chosen, result).astype(result.dtype)
        if term.name == "sort" and dtypes.is_float(result.dtype):
            signed = np.where(self.rng.random(result.shape) < self.rng.random(), -0.0, 0.0)
            result = np.where(result == 0, signed, result).astype(result.dtype)
        return result


def _factored(term: Term, args: list[Array]) -> Array:
    """A contraction as the compiler may regroup it: x·y₁ + x·y₂ = x·(y₁ + y₂), where all entries of
    an operand along a summed axis are the same. An infinite x shows the difference."""
    assert term.op is not None
    labels, out = term.params["subs"][:2], term.params["subs"][2]
    for i, summed in ((0, 1), (1, 0)):
        for axis, label in enumerate(labels[i]):
            if label in out or label not in labels[summed] or args[i].shape[axis] < 2:
                continue
            first = args[i].take([0], axis)
            if np.array_equal(args[i], np.broadcast_to(first, args[i].shape), equal_nan=True):
                args[i] = first
                along = labels[summed].index(label)
                args[summed] = np.add.reduce(args[summed], along, keepdims=True)
    return np.asarray(term.op.reference(*args, **term.params))


def _overflow(term: Term, args: Sequence[Any]) -> Any:
    """Where the sizes of what a term adds up overflow together: False for nowhere."""
    assert term.op is not None
    if term.name not in _SUMS or not dtypes.is_float(term.dtype):
        return False
    sizes = [
        np.where(np.isfinite(a), np.abs(a), 0) if dtypes.is_float(a.dtype) else a
        for a in map(_single, args)  # halves are added up in float32, and rounded once
    ]
    if not any(s.size and dtypes.is_float(s.dtype) and s.max() > 1e15 for s in sizes):
        return False
    return np.isinf(term.op.reference(*sizes, **term.params))


def nudged(program: Program, arrays: Sequence[Array], seed: int) -> list[Array]:
    """The outputs of a program that is rounded differently."""
    with recording(False), np.errstate(all="ignore"):
        known = dict(zip(program.inputs, arrays, strict=True))
        found = _Run(seed).values(program.terms, known)
        return [np.asarray(found[o]).astype(o.dtype) for o in program.outputs]


class Bounds:
    """Where the outputs of a program may lie."""

    def __init__(self, program: Program, arrays: Sequence[Array]) -> None:
        self.program, self.arrays = program, arrays
        self.expected = evaluate(program, arrays)
        self.spread = [np.zeros(x.shape) for x in self.expected]
        self.runs = 0
        self._run(RUNS)

    def _run(self, count: int) -> None:
        for seed in range(self.runs, self.runs + count):
            for spread, x, y in zip(
                self.spread, self.expected, nudged(self.program, self.arrays, seed), strict=True
            ):
                np.maximum(spread, _apart(x, y), out=spread)
        self.runs += count

    def wrong(self, found: Sequence[Array]) -> str:
        """What is out of bounds, if anything is."""
        for count in MORE:
            if not self._wrong(found):
                break
            self._run(count)
        return self._wrong(found)

    def _wrong(self, found: Sequence[Array]) -> str:
        for i, (x, y, spread) in enumerate(zip(self.expected, found, self.spread, strict=True)):
            if x.shape != y.shape or x.dtype != y.dtype:
                return f"output {i} is {y.dtype}{y.shape}, not {x.dtype}{x.shape}"
            least = 0.0
            if dtypes.is_float(x.dtype):
                with np.errstate(all="ignore"):
                    least = 8 * _eps(x.dtype) * np.abs(np.nan_to_num(x.astype(np.float64)))
                least = least + _tiny(x.dtype)
            bad = ~(_apart(x, y) <= MULTIPLE * spread + least)
            if bad.any():
                at = tuple(int(n) for n in np.argwhere(bad)[0])
                return (
                    f"output {i} at {at} ({int(bad.sum())} of {bad.size}): "
                    f"{y[at]!r}, not {x[at]!r} ± {spread[at]:.3g}"
                )
        return ""


def _tiny(dtype: Any) -> float:
    """A distance that does not count: among subnormal numbers."""
    return {"float64": 1e-300, "float32": 1e-37, "float16": 1e-6}.get(str(dtype), 1e-37)


def _apart(x: Array, y: Array) -> Array:
    """How far two arrays are apart; infinitely, where they are of different kinds."""
    if not dtypes.is_float(x.dtype):
        return np.where(x == y, 0.0, np.inf)
    with np.errstate(all="ignore"):
        a, b = x.astype(np.float64), y.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        far = np.abs(a - b)
        return np.where(same, 0.0, np.where(np.isfinite(far), far, np.inf))
