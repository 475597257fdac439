"""Which values of a row are kept from one pass over it to the next.

A row that is reduced several times is gone through several times, and each pass computes what it
needs. What is dear (an exponential: softmax adds them up, and divides them by the sum) is computed
in the first pass that needs it and kept, as long as the row is so short that it stays in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from wengert.compiler.form import Form
from wengert.compiler.llvm.types import computed, size_of
from wengert.compiler.llvm.weight import weight_of
from wengert.compiler.nest import Point
from wengert.core import dtypes

DEAR = 12  # instructions, from which on a value is kept rather than computed again
MOST = 1 << 15  # bytes of what is kept of a row: as much as a cache of the first level has


def kept_points(form: Form) -> dict[Point, int]:
    """Points that are kept while a row is gone through, and the pass that computes each."""
    if form.kind != "row":
        return {}
    cost: dict[Point, int] = {}
    made: dict[Point, int] = {}  # point → the first pass that computes it
    found: dict[Point, int] = {}
    room = MOST
    for stage in range(form.last_pass + 1):
        stack, seen = [p for p in _asked(form, stage) if _varies(form, p)], set()
        while stack:
            p = stack.pop()
            if p in seen or p in found:
                continue
            seen.add(p)
            if p in made and _cost(form, p, cost) >= DEAR and _bytes(form, p) <= room:
                found[p] = made[p]
                room -= _bytes(form, p)
                continue
            stack += [a for a in p.args if _varies(form, a)]
        for p in seen:
            made.setdefault(p, stage)
    return found


def row_entries(form: Form) -> int:
    """Positions of a row."""
    return math.prod(form.sizes[i] for i in form.reduced)


def _asked(form: Form, stage: int) -> Iterator[Point]:
    """What a pass computes at each position of a row."""
    for r in form.reduces:
        if r.stage == stage:
            yield from (r.arg, r.position)
    for at, point in form.stores:
        if point.stage == stage and form.varies(at, point):
            yield point
    if stage == form.last_pass:
        for r in form.across:
            yield from (r.arg, r.position)


def _varies(form: Form, p: Point) -> bool:
    return form.vector in form.depth(p)


def _bytes(form: Form, p: Point) -> int:
    if not dtypes.is_float(p.dtype) or form.depth(p) & form.reduced != form.reduced:
        return MOST + 1
    return row_entries(form) * size_of(computed(p.dtype))


def _cost(form: Form, p: Point, known: dict[Point, int]) -> int:
    """Instructions that a point takes, with all that it is computed from in the row."""
    stack = [p]
    while stack:
        top = stack[-1]
        missing = [a for a in top.args if _varies(form, a) and a not in known]
        if missing:
            stack += missing
            continue
        stack.pop()
        own = 1
        if top.kind == "apply":
            rule, params = top.info
            own = weight_of(rule, [a.dtype for a in top.args], top.dtype, params)
        known[top] = own + sum(known[a] for a in top.args if _varies(form, a))
    return known[p]
