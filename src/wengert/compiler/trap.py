"""The trap for NaN: where the first one comes from, by the user's line, with all state put back.

A trapped program runs as fast code like any other. Only if a result has NaN, the program is gone
through once more from the inputs that it had, op by op, and from the result backwards: to the term
whose result has NaN though nothing that went into it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.compiler.executable import Executable, view
from wengert.compiler.ir import Array, Program, Term, values
from wengert.core import dtypes, site
from wengert.core.errors import NaNError
from wengert.core.state import recording

_PLUMBING = ("pick", "alias")


class Trapped(Executable):
    """An executable whose call raises an error where a result has NaN; nothing is then changed."""

    def __init__(self, inner: Executable, program: Program) -> None:
        self.inner, self.program = inner, program
        self.inputs, self.outputs = inner.inputs, inner.outputs
        self.aliases, self.table = inner.aliases, inner.table

    def __call__(self) -> None:
        count = len(self.inputs)
        shared = {
            given
            for out, given in self.aliases.items()
            if self.table[count + out] == self.table[given]
        }
        before = {i: self._buffer(i).copy() for i in shared}
        self.inner()
        floating = [i for i, s in enumerate(self.outputs) if dtypes.is_float(s.dtype)]
        found = [i for i in floating if has_nan(self._buffer(count + i))]
        if not found:
            return
        for i, old in before.items():
            self._buffer(i)[...] = old
        raise nan_error(self.program, [self._buffer(i) for i in range(count)], found[0])

    def _buffer(self, i: int) -> Array:
        return view(int(self.table[i]), (*self.inputs, *self.outputs)[i])


def has_nan(x: Any) -> bool:
    """Whether any entry of an array is NaN."""
    return dtypes.is_float(x.dtype) and bool(np.isnan(x).any())


def nan_error(program: Program, arrays: Sequence[Array], output: int) -> NaNError:
    """The error that says where the NaN in an output comes from."""
    steps: list[str] = []
    while True:
        known = values(program, arrays)
        term = _source(program.outputs[output], known)
        loop = None if term.op is None else term.params.get("loop")
        if loop is None or term.op is None:
            break
        given = [known[a] for a in term.args]
        step, program, arrays, output = _step_with_nan(loop, given)
        steps.append(f"step {step} of the loop at {_line(term)}")
    inside = "".join(f", in {s}" for s in steps)
    if term.op is None:
        name = program.names.get(term.id, "a constant" if term.is_constant else "an input")
        return NaNError(
            "check_nan",
            f"{name} has NaN before anything is computed{inside}",
            met=_described(known[term]),
            cause="data with missing values, or state that an earlier call without check_nan left",
            fix="look at the data, or start again from a checkpoint",
        )
    operands = [f"operand {i} {_described(known[a])}" for i, a in enumerate(term.args)]
    return NaNError(
        term.name,
        f"NaN came up here{inside}: {_line(term)}",
        met=", ".join([f"{_described(known[term])} from {operands[0]}", *operands[1:]])
        if operands
        else _described(known[term]),
        cause="operands outside of the op's domain, ∞ − ∞ or 0 · ∞"
        + ", in the derivative of that line" * _is_backward(term),
        fix="keep operands inside of it before the op (wg.clip, wg.where, an epsilon); "
        "nothing was changed by this call",
    )


def _source(term: Term, known: dict[Term, Any]) -> Term:
    """From a term with NaN upwards to where it comes from."""
    while True:
        operands = [a for a in term.args if _any_nan(known[a])]
        if term.name in _PLUMBING and operands:
            term = operands[0]
            continue
        cause = _guilty(term, operands, known)
        if cause is None:
            return term
        term = cause


def _guilty(term: Term, operands: Sequence[Term], known: dict[Term, Any]) -> Term | None:
    """The operand that brings the NaN; None where there would be NaN without theirs, or there is
    none. An operand whose NaN are masked brings none."""
    if not operands:
        return None
    count = _count(known[term])
    if _count(_again(term, known, operands)) == count:
        return None
    for a in operands:
        if _count(_again(term, known, [a])) < count:
            return a
    return operands[0]


def _again(term: Term, known: dict[Term, Any], healed: Sequence[Term]) -> Any:
    """The result of a term, had some operands ones where they have NaN."""
    assert term.op is not None
    args = [_healed(known[a]) if a in healed else known[a] for a in term.args]
    with recording(False), np.errstate(all="ignore"):
        return term.op.reference(*args, **term.params)


def _healed(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_healed, x))
    return np.where(np.isnan(x), x.dtype.type(1), x) if has_nan(x) else x


def _any_nan(x: Any) -> bool:
    return any(map(has_nan, x)) if isinstance(x, tuple) else has_nan(x)


def _count(x: Any) -> int:
    """How many entries are NaN."""
    parts = x if isinstance(x, tuple) else (x,)
    return sum(int(np.isnan(p).sum()) for p in map(np.asarray, parts) if dtypes.is_float(p.dtype))


def _step_with_nan(loop: Any, given: Sequence[Array]) -> tuple[int, Program, list[Array], int]:
    """The first step of a loop that gives NaN: its number, its program, and what that got."""
    constants = list(given[: loop.constants])
    carry = list(given[loop.constants : loop.first_row])
    rows = given[loop.first_row :]
    steps = range(loop.length)[::-1] if loop.reverse else range(loop.length)
    for i in steps:
        arrays = [*constants, *carry, *(np.asarray(x[i]) for x in rows)]
        known = values(loop.body, arrays)
        found = [known[o] for o in loop.body.outputs]
        bad = [n for n, x in enumerate(found) if has_nan(x)]
        if bad:
            return i, loop.body, arrays, bad[0]
        carry = found[: loop.carried]
    raise AssertionError("the loop gives no NaN")


def _line(term: Term) -> str:
    return str(site.resolve(term.origins[0])) if term.origins else "a line that is not known"


def _is_backward(term: Term) -> bool:
    return bool(term.origins) and all(origin[3] == "backward" for origin in term.origins)


def _described(x: Any) -> str:
    """An array in words."""
    if isinstance(x, tuple):
        return ", ".join(map(_described, x))
    text = f"{x.dtype}[{','.join(map(str, x.shape))}]"
    if not x.size or not dtypes.is_float(x.dtype):
        return text
    wide = np.asarray(x).astype(np.float64)
    nan = np.isnan(wide)
    real = wide[~nan]
    inside = f" between {real.min():.4g} and {real.max():.4g}" if real.size else ""
    count = f" with NaN in {int(nan.sum())} of {x.size} entries" if nan.any() else ""
    return text + count + inside
