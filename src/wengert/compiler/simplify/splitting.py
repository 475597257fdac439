"""Long reductions in two stages of fixed size.

A sum of a million entries is written as 64 sums of some thousands, and the sum of those: threads
share the first stage, and the blocks are the same for any number of them, so the result is, too.
Blocked sums are also more accurate. This comes last, since `reductions` joins sums of sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wengert.compiler.ir import Program, Term, rewrite
from wengert.compiler.ir import apply as make

LONG = 1 << 15  # entries that are combined into one
FEW = 32  # results, which alone could not keep the threads busy
BLOCKS = 64  # about so many; a power of two where the length allows

_REDUCTIONS = ("sum", "max", "min", "any", "all", "prod")


def split_reductions(program: Program, order: Sequence[Term]) -> Program:
    """The program, of which `order` are the terms, with every long reduction in two stages."""
    if not any(_is_long(t) for t in order):
        return program
    return rewrite(program, lambda t: _split(t) if _is_long(t) else None)


def _axes(t: Term) -> tuple[int, ...]:
    axis = t.params["axis"]
    return (axis,) if t.name == "prod" else axis


def _is_long(t: Term) -> bool:
    if t.name not in _REDUCTIONS:
        return False
    shape = t.args[0].shape
    return t.size <= FEW and math.prod([shape[a] for a in _axes(t)]) >= LONG and t.size > 0


def _split(t: Term) -> Term | None:
    (x,), axis = t.args, _axes(t)
    first, last = axis[0], axis[-1]
    if last - first + 1 != len(axis):
        return _inner_axes_first(t, axis)
    count = math.prod([x.shape[a] for a in axis])
    blocks = _blocks(count)
    if blocks is None:
        return None
    shape = (*x.shape[:first], blocks, count // blocks, *x.shape[last + 1 :])
    parted = make("reshape", x, shape=shape, origins=t.origins)
    return _stage(t, _stage(t, parted, (first + 1,)), (first,))


def _stage(t: Term, x: Term, axis: tuple[int, ...]) -> Term:
    assert t.op is not None
    over: Any = axis[0] if t.name == "prod" else axis
    return make(t.op, x, axis=over, origins=t.origins)


def _inner_axes_first(t: Term, axis: tuple[int, ...]) -> Term | None:
    """Reduced axes with others in between: those at the end, then the rest."""
    start = len(axis) - 1
    while start and axis[start - 1] == axis[start] - 1:
        start -= 1
    inner, outer = axis[start:], axis[:start]
    if math.prod([t.args[0].shape[a] for a in outer]) == 1:
        return None
    return _stage(t, _stage(t, t.args[0], inner), outer)


def _blocks(count: int) -> int | None:
    """A divisor near BLOCKS, a power of two if there is one."""
    for blocks in (BLOCKS, BLOCKS // 2, 2 * BLOCKS, BLOCKS // 4):
        if count % blocks == 0:
            return blocks
    near = sorted(range(BLOCKS // 4, 4 * BLOCKS), key=lambda n: abs(n - BLOCKS))
    return next((n for n in near if count % n == 0), None)
