"""Sparse gradients: what changes a few rows of a table is done to these rows alone.

The gradient of a table that was looked up is a sum at the rows that were, and 0 elsewhere:
`scatter_add`. An update by it goes through the whole table, unless it is seen that p − lr·0 is p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, Replacement, is_float
from wengert.compiler.simplify.views import joined
from wengert.core import dtypes
from wengert.core.spec import Spec

New = Mapping[Term, Term]
Uses = Mapping[Term, int]

_MOST = 4  # lookups of one table that are put together


def sparse_update(t: Term, uses: Uses, inner: set[Term]) -> Replacement | None:
    """p − lr·g, where g has the sums of gradients at some rows and 0 elsewhere, changes only these
    rows: p − lr·0 is p. Each gets lr times its sum, added up in the same order as before, so the
    bits are the same. (An infinite or NaN `lr` would have spoilt all rows, and spoils these.)

    Where a table is looked up several times, g is a sum of such: those additions become `inner`.
    """
    p, change = t.args
    scales: list[Term] = []  # the ops between the sums and the change, the last one first
    while uses[change] == 1:
        by_number = change.name in ("mul", "div") and change.args[1].size == 1
        if change.name == "neg" or by_number:
            place = 0
        elif change.name == "mul" and change.args[0].size == 1:
            place = 1
        else:
            break
        scales.append(change)
        change = change.args[place]
    sums: list[Term] = []
    lookups: list[Term] = []
    stack = [change]
    while stack:
        a = stack.pop()
        if uses[a] != 1 or a.shape != t.shape:
            return None
        if a.name == "add" and len(sums) < _MOST:
            sums.append(a)
            stack += reversed(a.args)
        elif a.name == "scatter_add" and a.params["axis"] == 0:
            lookups.append(a)
        else:
            return None
    size = sum(a.args[0].size for a in lookups)
    fits = 0 < 2 * size * len(lookups) <= t.size
    if not fits or p.shape != t.shape or not is_float(t) or t.dtype.itemsize == 2:
        return None
    inner.update(sums)
    return partial(_updated_rows, old=t, scales=scales, change=change, lookups=lookups)


def _updated_rows(
    b: Builder, new: New, old: Term, scales: Sequence[Term], change: Term, lookups: Sequence[Term]
) -> Term:
    p, index = new[old.args[0]], _all_rows(b, new, lookups)
    change = _total(b, new, change, lookups, index)
    for s in reversed(scales):
        if s.name == "neg":
            change = b.make("neg", change)
            continue
        i = 1 if s.args[1].size == 1 else 0
        factor = b.reshape(new[s.args[i]], ())
        change = b.make(s.name, *((change, factor) if i else (factor, change)))
    assert old.op is not None
    rows = b.make(old.op.name, b.make("gather", p, index, axis=0), change)
    return b.make("scatter", p, index, rows, axis=0)


def _all_rows(b: Builder, new: New, lookups: Sequence[Term]) -> Term:
    """The rows that are looked up, one list behind the other."""
    lists = [new[a.args[1]] for a in lookups]
    if len(lists) == 1:
        return lists[0]
    wide = [b.make("cast", a, dtype=dtypes.int64) for a in lists]
    return joined(b, [b.reshape(a, (a.size,)) for a in wide], 0)


def _total(b: Builder, new: New, term: Term, lookups: Sequence[Term], index: Term) -> Term:
    """A sum of sums at rows, at each of the listed rows. A lookup adds 0 at the rows of the others,
    so that all is added in the order in which it was, and to the same bits."""
    if term.name == "add":
        return b.make("add", *(_total(b, new, a, lookups, index) for a in term.args))
    pieces = [
        b.reshape(new[term.args[0]], _rows(term))
        if a is term
        else b.filled(0, Spec(_rows(a), a.dtype))
        for a in lookups
    ]
    u = new[term.args[0]] if len(lookups) == 1 else joined(b, pieces, 0)
    return b.make("sum_by_index", u, index, axis=0, size=term.params["size"])


def _rows(lookup: Term) -> tuple[int, ...]:
    return prod(lookup.args[1].shape), *lookup.shape[1:]
