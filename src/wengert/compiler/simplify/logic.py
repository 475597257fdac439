"""Choices, comparisons and logic."""

from __future__ import annotations

from wengert.compiler.ir import Term
from wengert.compiler.simplify.arithmetic import shaped
from wengert.compiler.simplify.build import Builder, is_float, rule
from wengert.compiler.simplify.facts import tame
from wengert.core import dtypes

# -- where -------------------------------------------------------------------------------------


@rule("where")
def known_choice(b: Builder, t: Term) -> Term | None:
    """where(true, x, y) = x;  where(c, x, x) = x."""
    c, x, y = t.args
    number = b.number(c)
    if number is not None:
        return shaped(b, x if number else y, t)
    return shaped(b, x, t) if x is y else None


@rule("where")
def negated_choice(b: Builder, t: Term) -> Term | None:
    """where(not c, x, y) = where(c, y, x)."""
    c, x, y = t.args
    return b.make("where", c.args[0], y, x) if c.name == "logical_not" and _bool(c) else None


@rule("where")
def chosen_before(b: Builder, t: Term) -> Term | None:
    """where(c, where(c, x, y), z) = where(c, x, z), and the same in the other branch."""
    c, x, y = t.args
    if x.name == "where" and x.args[0] is c:
        return b.make("where", c, x.args[1], y)
    if y.name == "where" and y.args[0] is c:
        return b.make("where", c, x, y.args[2])
    return None


# -- what the reverse walk puts above a where ----------------------------------------------------


@rule("annul")
def nothing_to_annul(b: Builder, t: Term) -> Term | None:
    """annul(x, y), which is x but 0 where x is not finite and y is 0, is x if x is finite wherever
    y is 0: as y itself is, −y, a choice of y and finite numbers, and y times a finite number."""
    x, y = t.args
    number = b.number(y)
    if (number is not None and number != 0) or tame(b, x, y):
        return shaped(b, x, t)
    return None


# -- logic -------------------------------------------------------------------------------------


def _bool(t: Term) -> bool:
    return all(a.dtype == dtypes.bool for a in t.args)


@rule("logical_not")
def not_twice(b: Builder, t: Term) -> Term | None:
    """not not x = x.  not (x = y) is x ≠ y, also for NaN; not (x < y) is y ≤ x, but not so for NaN:
    of integers only."""
    (x,) = t.args
    if x.name == "logical_not" and _bool(x):
        return x.args[0]
    if x.name in ("equal", "not_equal"):
        return b.make("not_equal" if x.name == "equal" else "equal", *x.args)
    if x.name in ("less", "less_equal") and not any(is_float(a) for a in x.args):
        return b.make("less_equal" if x.name == "less" else "less", *x.args[::-1])
    return None


@rule("bitwise_invert")
def invert_twice(b: Builder, t: Term) -> Term | None:
    """~~x = x."""
    (x,) = t.args
    return x.args[0] if x.name == "bitwise_invert" else None


@rule("logical_and", "logical_or")
def known_side(b: Builder, t: Term) -> Term | None:
    """x and true = x, x and false = false, x and x = x; the other way round for `or`."""
    if not _bool(t):
        return None
    if t.args[0] is t.args[1]:
        return t.args[0]
    neutral = t.name == "logical_and"
    for x, other in (t.args, t.args[::-1]):
        number = b.number(other)
        if number is not None:
            return shaped(b, x, t) if bool(number) == neutral else b.filled(not neutral, t.spec)
    return None


@rule("greater", "greater_equal")
def one_direction(b: Builder, t: Term) -> Term | None:
    """x > y is y < x: written in one way, equal comparisons are merged."""
    return b.make("less" if t.name == "greater" else "less_equal", *t.args[::-1])


@rule("equal", "not_equal")
def equals_itself(b: Builder, t: Term) -> Term | None:
    """x = x, of integers and bools. (A NaN does not equal itself.)"""
    x, y = t.args
    return b.filled(t.name == "equal", t.spec) if x is y and not is_float(x) else None


@rule("isnan", "isinf", "isfinite")
def always_finite(b: Builder, t: Term) -> Term | None:
    """Integers are finite."""
    return None if is_float(t.args[0]) else b.filled(t.name == "isfinite", t.spec)
