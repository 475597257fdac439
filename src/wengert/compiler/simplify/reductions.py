"""Reductions over axes.

Extremes and logic do not care for order or repetition, so their rules are exact. A sum is promised
to a few units in the last place and not in one order; its rules may regroup the terms, but none
adds an operation that could overflow where the sum would not.
"""

from __future__ import annotations

import math

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_float, rule
from wengert.core.index import factor_groups

REDUCTIONS = ("sum", "max", "min", "any", "all")


@rule(*REDUCTIONS)
def reduce_long_axes(b: Builder, t: Term) -> Term | None:
    """Axes of size 1 need no reduction, but a reshape."""
    (x,), axis = t.args, t.params["axis"]
    long = tuple([a for a in axis if x.shape[a] != 1])
    if len(long) == len(axis) or not x.size or x.dtype != t.dtype:
        return None
    return b.reshape(b.make(t.name, x, axis=long), t.shape)


@rule(*REDUCTIONS)
def reduce_once(b: Builder, t: Term) -> Term | None:
    """A sum of sums is a sum over the axes of both."""
    (x,), axis = t.args, t.params["axis"]
    if x.op is not t.op:
        return None
    inner = x.params["axis"]
    left = [a for a in range(x.args[0].ndim) if a not in inner]
    return b.make(t.name, x.args[0], axis=tuple(sorted((*inner, *(left[a] for a in axis)))))


@rule(*REDUCTIONS)
def reduce_before_reshape(b: Builder, t: Term) -> Term | None:
    """Where the reduced axes were made of whole axes, those are reduced."""
    (x,), axis = t.args, t.params["axis"]
    if x.name != "reshape" or not x.size or not axis:
        return None
    inner = x.args[0]
    reduced: list[int] = []
    for new_axes, old_axes in factor_groups(x.shape, inner.shape):
        inside = [a in axis for a in new_axes if x.shape[a] != 1]
        if any(inside) and not all(inside):
            return None
        if any(inside):
            reduced += [a for a in old_axes if inner.shape[a] != 1]
    return b.reshape(b.make(t.name, inner, axis=tuple(reduced)), t.shape)


@rule(*REDUCTIONS)
def reduce_before_broadcast(b: Builder, t: Term) -> Term | None:
    """The extreme of n equal entries is one of them; their sum is n·x, rounded once."""
    (x,), axis = t.args, t.params["axis"]
    if x.name != "broadcast_to" or not x.size:
        return None
    inner, lead = x.args[0], x.ndim - x.args[0].ndim
    spread = [a for a in axis if x.shape[a] != 1 and (a < lead or inner.shape[a - lead] == 1)]
    count = math.prod([x.shape[a] for a in spread])
    if t.name == "sum" and not _countable(count, t):
        return None
    aligned = b.reshape(inner, (1,) * lead + inner.shape)
    rest = tuple([a for a in axis if a not in spread])
    found = b.make(t.name, aligned, axis=rest)
    left = [a for a in range(x.ndim) if a not in rest]
    shape = tuple([aligned.shape[a] for a in left if a not in spread])
    found = b.reshape(found, shape)
    if t.name == "sum" and count != 1:
        found = b.make("mul", found, b.constant(count, t.dtype))
    return b.broadcast(found, t.shape)


def _countable(count: int, t: Term) -> bool:
    """Whether a number of terms is a number of the dtype, so that n·x is rounded once."""
    return count <= 127 or (t.dtype.itemsize >= 4 and count <= 2**24)


@rule("sum")
def negate_sum(b: Builder, t: Term) -> Term | None:
    """Σ −x = −Σ x, rounded alike."""
    (x,) = t.args
    if x.name != "neg" or not is_float(t):
        return None
    return b.make("neg", b.make("sum", x.args[0], axis=t.params["axis"]))


@rule("argmax", "argmin")
def first_of_one(b: Builder, t: Term) -> Term | None:
    """The only entry stands at 0."""
    (x,), axis = t.args, t.params["axis"]
    return b.filled(0, t.spec) if x.shape[axis] == 1 else None


@rule("prod")
def product_of_one(b: Builder, t: Term) -> Term | None:
    """The product of one entry."""
    (x,), axis = t.args, t.params["axis"]
    return b.reshape(x, t.shape) if x.shape[axis] == 1 else None
