"""Loads of lanes that are some fixed steps apart: plain loads and shuffles, where a gather would go
entry by entry. Every second entry is such a pattern, and each entry twice (an index divided by 2).
"""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

from wengert.compiler.form import Address
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.types import I1, I32, vector
from wengert.compiler.nest import Point, floor_divide

if TYPE_CHECKING:
    from wengert.compiler.llvm.points import Points

MOST_LOADS = 4


def offsets_of(w: Points, a: Address) -> list[int] | None:
    """How far each lane's entry is behind that of the first lane; None where that is not known, or
    too far."""
    step = w.vector_step(a)
    offsets = [step * lane for lane in range(w.lanes)]
    for point, factor in a.values:
        if w.is_vector(point):
            digits = _digits(w, point)
            if digits is None:
                return None
            offsets = [o + factor * d for o, d in zip(offsets, digits, strict=True)]
    near = min(offsets) == 0 and max(offsets) < MOST_LOADS * w.lanes
    return offsets if near else None


def _digits(w: Points, point: Point) -> list[int] | None:
    """The lanes' values of an index divided by a number, from the first lane's on. They are known
    where the vectors start at its multiples: vectors start at multiples of their lanes."""
    vector_loop = w.form.vector
    if point.kind != "apply" or point.info[0] is not floor_divide or vector_loop is None:
        return None
    n, (index,) = point.info[1]["n"], point.args
    if index.kind != "index":
        return None
    place = w.form.indices[index.number]
    step = place.steps[vector_loop]
    others = [s for loop, s in enumerate(place.steps) if loop != vector_loop]
    if place.values or any(s % n for s in (*others, step * w.lanes)) or step < 0:
        return None
    first = place.const % n
    return [(first + step * lane) // n for lane in range(w.lanes)]


def load(w: Points, a: Address, t: str, conditions: list[Value], copy: int) -> Value | None:
    """The raw entries of the lanes; anything where a condition fails (nothing is read there). None
    where a gather is needed."""
    offsets = offsets_of(w, a)
    if offsets is None:
        return None
    f = w.f
    span = max(offsets) + 1
    length = min(w.lanes, 1 << (span.bit_length() - 1))
    starts = [min(i * length, span - length) for i in range(-(-span // length))]
    sources = [min(o // length, len(starts) - 1) for o in offsets]
    lanes = [(s, o - starts[s]) for s, o in zip(sources, offsets, strict=True)]
    first = w.first_place(a, t, copy)
    holds = _all(w, conditions)
    found = []
    for number, start in enumerate(starts):
        place, kind = f.at(first, start, t), vector(length, t)
        if holds is None:
            found.append(f.load(kind, place))
        else:
            mask = _mask(w, holds, [at if s == number else -1 for s, at in lanes], length)
            found.append(f.masked_load(kind, place, mask))
    return _chosen(w, found, lanes)


def _all(w: Points, conditions: list[Value]) -> Value | None:
    """All conditions in one: a bit; or, if one of them is a vector, lanes of −1 and 0.

    Where lanes are combined they must be integers. LLVM (22, for AVX2) combines vectors of bits so
    that it takes an empty half of the mask of a load for a full one: it reads what is masked out.
    """
    if not any(c.lanes for c in conditions):
        return functools.reduce(operator.and_, conditions) if conditions else None
    wide = [c if c.lanes else w.f.splat(c, w.lanes) for c in conditions]
    lanes = [w.f.cast("sext", c, vector(w.lanes, I32)) for c in wide]
    return functools.reduce(operator.and_, lanes)


def mask_of(w: Points, conditions: list[Value]) -> Value | None:
    """The lanes whose conditions all hold, as the mask of a load; None where there are none."""
    if len(conditions) == 1 and conditions[0].lanes:
        return conditions[0]
    holds = _all(w, conditions)
    if holds is None:
        return None
    return w.f.compare("slt", holds, 0) if holds.lanes else w.f.splat(holds, w.lanes)


def _mask(w: Points, holds: Value, places: list[int], length: int) -> Value:
    """The entries of a loaded vector that lanes need whose condition holds; `places` says which one
    each lane needs (−1: none of this vector)."""
    f = w.f
    if not holds.lanes:
        return f.splat(holds, length)
    users = [[lane for lane, at in enumerate(places) if at == i] for i in range(length)]
    every, never = holds, f.constant(holds.type, 0)
    mask: Value | None = None
    for turn in range(max(map(len, users))):
        chosen = [u[turn] if turn < len(u) else w.lanes for u in users]
        part = f.shuffle(every, never, chosen)
        mask = part if mask is None else mask | part
    if mask is None:
        return f.constant(vector(length, I1), False)
    return f.compare("slt", mask, 0)


def _chosen(w: Points, vectors: list[Value], lanes: list[tuple[int, int]]) -> Value:
    """The lanes (number of a vector, number in it) of some vectors, two vectors at a time."""
    f, count = w.f, len(lanes)
    pairs = []
    for i in range(0, len(vectors), 2):
        pair = vectors[i : i + 2]
        length = pair[0].lanes
        mask = [(v - i) * length + at if v in (i, i + 1) else -1 for v, at in lanes]
        pairs.append(f.shuffle(pair[0], pair[1] if len(pair) > 1 else None, mask))
    while len(pairs) > 1:
        last = pairs.pop()
        first_of_last = 2 * len(pairs)
        mask = [count + j if v >= first_of_last else j for j, (v, _) in enumerate(lanes)]
        pairs[-1] = f.shuffle(pairs[-1], last, mask)
    return pairs[0]
