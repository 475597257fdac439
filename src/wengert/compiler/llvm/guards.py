"""Branches around what is computed only where a condition holds.

`Builder.guarded` gives a choice between a value and another one, and loads that read nothing where
the condition fails. Where all lanes have the same condition (a row of padding, a window that does
not exist), what only that value is made of is skipped as a whole, and nothing is masked.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wengert.compiler.form import Form
from wengert.compiler.llvm.emit import Value
from wengert.compiler.nest import Point, both, choose

if TYPE_CHECKING:
    from wengert.compiler.llvm.points import Points


def uses_of(form: Form) -> Counter[Point]:
    """How often each point is asked for."""
    found = Counter(a for p in form.points for a in p.args)
    reduces = [*form.reduces, *form.across]
    found.update(p for _, p in form.stores)
    found.update(p for r in reduces for p in (r.arg, r.position))
    found.update(p for check in form.checks for p in (check.holds, check.value))
    return found


def uniform(w: Points, p: Point) -> list[Point]:
    """The conditions of a choice between vectors that all lanes share."""
    if p.kind != "apply" or p.info[0] is not choose or not w.is_vector(p):
        return []
    if p.args[0] in w.truth:
        return []
    found, stack = [], [p.args[0]]
    while stack:
        condition = stack.pop()
        if not w.is_vector(condition):
            found.append(condition)
        elif _is_both(condition):
            stack += condition.args
    return found


def _is_both(p: Point) -> bool:
    return p.kind == "apply" and p.info[0] is both


def implied(conditions: Iterable[Point]) -> frozenset[Point]:
    """All that must hold for some conditions to hold, these among it."""
    found: set[Point] = set()
    stack = list(conditions)
    while stack:
        p = stack.pop()
        found.add(p)
        if _is_both(p):
            stack += p.args
    return frozenset(found)


def own(w: Points, p: Point, copy: int) -> list[Point]:
    """What is written for the value of a choice and for nothing else, the value first."""
    left = Counter(w.uses)
    found: list[Point] = []
    stack = [p.args[1]]
    left[p.args[1]] -= 1
    while stack:
        top = stack.pop()
        if left[top] or not w.is_vector(top) or top in w.kept or w.written(top, copy):
            continue
        found.append(top)
        for a in w.asked(top):
            left[a] -= 1
            stack.append(a)
    return found


def write(w: Points, p: Point, copy: int, conditions: list[Point]) -> Value:
    """The choice, with its value written where the conditions hold."""
    f = w.f
    other = w.as_vector(w.value(p.args[2], copy))
    holds = functools.reduce(operator.and_, [w.value(c, copy) for c in conditions])
    found = f.variable(other.type, other)
    with f.when(holds), w.knowing(implied(conditions)):
        found.set(w.as_vector(w.value(p if w.is_vector(p.args[0]) else p.args[1], copy)))
    return found.get()
