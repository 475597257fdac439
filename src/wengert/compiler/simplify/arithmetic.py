"""Algebra that floating point allows: each rule gives the same bits for all numbers, for ±0, ±∞ and
NaN (of which the sign and the payload are nobody's promise). In rounding to nearest

* negation is exact and commutes with ×, ÷ and ±, and x − y *is* x + (−y);
* x + (−0) and x − (+0) are x, but (−0) + (+0) is +0: `x + 0` stays unless x is never −0;
* scaling by a power of two is exact, but for under- and overflow;
* a sum that is zero is +0, unless both terms are −0; so −(x − y) is not y − x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_float, rule
from wengert.compiler.simplify.facts import never_minus_zero, power_of_two


def shaped(b: Builder, x: Term, like: Term) -> Term:
    """`x`, broadcast to the shape of the term that it replaces."""
    return b.broadcast(x, like.shape)


def negated(b: Builder, number: Any, like: Term) -> Term:
    """A constant with the opposite number, in the shape of `like`."""
    return b.filled(-number, like.spec)


# -- add, sub ----------------------------------------------------------------------------------


@rule("add")
def add_zero(b: Builder, t: Term) -> Term | None:
    """x + (−0) = x.  x + 0 = x where x is never −0 (an integer never is)."""
    for x, other in (t.args, t.args[::-1]):
        zero = b.number(other)
        if zero is None or zero != 0:
            continue
        if (is_float(x) and np.signbit(zero)) or never_minus_zero(b, x):
            return shaped(b, x, t)
    return None


@rule("sub")
def sub_zero(b: Builder, t: Term) -> Term | None:
    """x − 0 = x.  x − (−0) = x where x is never −0.  (−0) − x = −x."""
    x, y = t.args
    zero = b.number(y)
    plus = zero is not None and zero == 0 and not (is_float(x) and np.signbit(zero))
    if plus or (zero is not None and zero == 0 and never_minus_zero(b, x)):
        return shaped(b, x, t)
    zero = b.number(x)
    if zero is not None and zero == 0 and (not is_float(x) or np.signbit(zero)):
        return shaped(b, b.make("neg", y), t)
    return None


@rule("add")
def add_negated(b: Builder, t: Term) -> Term | None:
    """x + (−y) = x − y and (−x) + y = y − x: the definition of subtraction."""
    x, y = t.args
    if y.name == "neg":
        return b.make("sub", x, y.args[0])
    if x.name == "neg":
        return b.make("sub", y, x.args[0])
    return None


@rule("sub")
def sub_negated(b: Builder, t: Term) -> Term | None:
    """x − (−y) = x + y."""
    x, y = t.args
    return b.make("add", x, y.args[0]) if y.name == "neg" else None


# -- neg, abs, square --------------------------------------------------------------------------


@rule("neg")
def neg_twice(b: Builder, t: Term) -> Term | None:
    """−(−x) = x: only the sign bit changes, twice."""
    (x,) = t.args
    return x.args[0] if x.name == "neg" else None


@rule("neg")
def neg_into_factor(b: Builder, t: Term) -> Term | None:
    """−(c·x) = (−c)·x and −(x/c) = x/(−c): rounding does not look at the sign."""
    (x,) = t.args
    if x.name not in ("mul", "div") or not is_float(x):
        return None
    p, q = x.args
    number = b.number(q)
    if number is not None:
        return b.make(x.name, p, negated(b, number, q))
    number = b.number(p)
    return None if number is None else b.make(x.name, negated(b, number, p), q)


@rule("abs", "square")
def forget_sign(b: Builder, t: Term) -> Term | None:
    """|−x| = |x| = ||x||, (−x)² = x² = |x|²."""
    (x,) = t.args
    if x.name not in ("neg", "abs") or not is_float(x):
        return None
    return b.remake(t, x.args[0])


# -- mul, div ----------------------------------------------------------------------------------


@rule("mul", "div")
def times_one(b: Builder, t: Term) -> Term | None:
    """x·1 = x/1 = x, x·(−1) = x/(−1) = −x."""
    pairs = (t.args, t.args[::-1]) if t.name == "mul" else (t.args,)
    for x, other in pairs:
        number = b.number(other)
        if number is None:
            continue
        if number == 1 and x.dtype == t.dtype:
            return shaped(b, x, t)
        if is_float(x) and number == -1:
            return shaped(b, b.make("neg", x), t)
    return None


@rule("mul", "div")
def signs_meet(b: Builder, t: Term) -> Term | None:
    """(−x)·(−y) = x·y, and (−x)·c = x·(−c); the same for ÷."""
    x, y = t.args
    if not is_float(t):
        return None
    if x.name == "neg" and y.name == "neg":
        return b.make(t.name, x.args[0], y.args[0])
    for i, (p, q) in enumerate(((x, y), (y, x))):
        number = b.number(q)
        if p.name == "neg" and number is not None:
            inner, factor = p.args[0], negated(b, number, q)
            return b.make(t.name, *((inner, factor) if i == 0 else (factor, inner)))
    return None


@rule("mul", "div")
def negate_after(b: Builder, t: Term) -> Term | None:
    """(−x)·y = −(x·y), where that is no longer: so that signs meet, or end in a subtraction."""
    for i, x in enumerate(t.args):
        if x.name == "neg" and x.shape == t.shape and is_float(t):
            args = list(t.args)
            args[i] = x.args[0]
            return b.make("neg", b.remake(t, *args))
    return None


@rule("mul")
def equal_factors(b: Builder, t: Term) -> Term | None:
    """x·x = x²: what squaring is. Written in one way, equal squares are merged."""
    x, y = t.args
    return b.make("square", x) if x is y and x.dtype.kind != "b" else None


@rule("div")
def one_over(b: Builder, t: Term) -> Term | None:
    """1/x is the reciprocal."""
    x, y = t.args
    number = b.number(x)
    if number is None or number != 1 or not is_float(y):
        return None
    return shaped(b, b.make("reciprocal", y), t)


@rule("div")
def divide_by_power_of_two(b: Builder, t: Term) -> Term | None:
    """x/2ᵏ = x·2⁻ᵏ: one number, rounded once."""
    x, y = t.args
    number = b.number(y)
    if not power_of_two(number):
        return None
    return b.make("mul", x, b.filled(1 / number, y.spec))


@rule("mul")
def merge_growing_powers(b: Builder, t: Term) -> Term | None:
    """(x·2ᵏ)·2ᵐ = x·2ᵏ⁺ᵐ for k, m ≥ 0: growing is exact until it is infinite, and stays so."""
    for x, other in (t.args, t.args[::-1]):
        outer = b.number(other)
        if not power_of_two(outer) or abs(outer) < 1 or x.name != "mul":
            continue
        for y, factor in (x.args, x.args[::-1]):
            inner = b.number(factor)
            if power_of_two(inner) and abs(inner) >= 1 and power_of_two(inner * outer):
                return shaped(b, b.make("mul", y, b.filled(inner * outer, factor.spec)), t)
    return None


@rule("mul")
def number_or_zero(b: Builder, t: Term) -> Term | None:
    """A bool, as 1 or 0, times a number is that number or 0: a choice. (The mask of dropout.)"""
    for x, other in (t.args, t.args[::-1]):
        number = b.number(other)
        if number is not None and x.name == "cast" and x.args[0].dtype.kind == "b":
            yes, no = b.constant(number), b.constant(number * number.dtype.type(0))
            return shaped(b, b.make("where", x.args[0], yes, no), t)
    return None


@rule("mul")
def times_integer_zero(b: Builder, t: Term) -> Term | None:
    """n·0 = 0 for integers (a float may be −0, ∞ or NaN)."""
    if is_float(t):
        return None
    zeros = [b.number(a) for a in t.args]
    return b.filled(0, t.spec) if any(z is not None and z == 0 for z in zeros) else None


# -- powers ------------------------------------------------------------------------------------


@rule("pow")
def known_exponent(b: Builder, t: Term) -> Term | None:
    """xᶜ with a known c is the op with a static exponent (x³ as x·x·x: 1 ulp from the function)."""
    x, y = t.args
    number = b.number(y)
    if number is None or not is_float(x):
        return None
    return shaped(b, b.make("power", x, exponent=float(number)), t)


@rule("power")
def cheap_exponent(b: Builder, t: Term) -> Term | None:
    """x⁰ = 1 (of NaN too), x¹ = x, x² and x⁻¹ as the ops (1 ulp from the function)."""
    (x,) = t.args
    exponent = t.params["exponent"]
    if exponent == 0:
        return b.filled(1, t.spec)
    if exponent == 1:
        return x
    if exponent == 2:
        return b.make("square", x)
    return b.make("reciprocal", x) if exponent == -1 and is_float(x) else None


# -- functions that change nothing the second time ------------------------------------------------


@rule("floor", "ceil", "trunc", "sign", "relu")
def same_again(b: Builder, t: Term) -> Term | None:
    """f(f(x)) = f(x)."""
    (x,) = t.args
    return x if x.op is t.op else None


@rule("floor", "ceil", "trunc")
def round_whole(b: Builder, t: Term) -> Term | None:
    """A whole number is rounded already."""
    (x,) = t.args
    return x if not is_float(x) or x.name in ("floor", "ceil", "trunc") else None


@rule("maximum", "minimum")
def extreme_of_equals(b: Builder, t: Term) -> Term | None:
    """max(x, x) = x, and max(max(x, y), y) = max(x, y)."""
    x, y = t.args
    if x is y:
        return x
    for p, q in ((x, y), (y, x)):
        if p.op is t.op and q in p.args and p.shape == t.shape:
            return p
    return None
