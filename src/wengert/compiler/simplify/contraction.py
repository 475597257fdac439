"""Contractions: each in the form in which a kernel is fastest, or as what it is in truth.

A contraction is promised to a few units in the last place, in no order of addition; rules that drop
or move axes leave the products and the set of additions as they are.
"""

from __future__ import annotations

from typing import Any

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_float, rule
from wengert.compiler.simplify.spaces import placed

Labels = tuple[int, ...]
Subs = tuple[Labels, Labels, Labels]


def contract(b: Builder, x: Term, y: Term, ix: Any, iy: Any, io: Any) -> Term:
    """A contraction, with labels as any sequences."""
    return b.make("contract", x, y, subs=(tuple(ix), tuple(iy), tuple(io)))


@rule("contract")
def nothing_to_add(b: Builder, t: Term) -> Term | None:
    """The sum of no products."""
    return None if all(x.size for x in t.args) else b.filled(0, t.spec)


@rule("contract")
def absorb_permutes(b: Builder, t: Term) -> Term | None:
    """Permuted axes are axes with permuted labels: a kernel takes any strides."""
    x, y = t.args
    ix, iy, io = t.params["subs"]
    if x.name != "permute" and y.name != "permute":
        return None
    (x, ix), (y, iy) = _unpermuted(x, ix), _unpermuted(y, iy)
    return contract(b, x, y, ix, iy, io)


def _unpermuted(x: Term, labels: Labels) -> tuple[Term, Labels]:
    if x.name != "permute":
        return x, labels
    named = dict(zip(x.params["axes"], labels, strict=True))
    return x.args[0], tuple([named[a] for a in range(x.ndim)])


@rule("contract")
def drop_unit_labels(b: Builder, t: Term) -> Term | None:
    """Axes of size 1 are left out: a matrix of one column is a vector."""
    x, y = t.args
    if 1 not in x.shape and 1 not in y.shape:
        return None
    subs: Subs = t.params["subs"]
    sizes = dict(zip((*subs[0], *subs[1]), (*x.shape, *y.shape), strict=True))
    ix, iy, io = ([a for a in labels if sizes[a] != 1] for labels in subs)
    x = b.reshape(x, tuple([sizes[a] for a in ix]))
    y = b.reshape(y, tuple([sizes[a] for a in iy]))
    return b.reshape(contract(b, x, y, ix, iy, io), t.shape)


@rule("contract")
def multiply_instead(b: Builder, t: Term) -> Term | None:
    """Where nothing is summed it is a product of broadcast arrays, which fuses with anything."""
    x, y = t.args
    ix, iy, io = t.params["subs"]
    if any(a not in io for a in ix):
        return None
    return b.make("mul", _lined_up(b, x, ix, io), _lined_up(b, y, iy, io))


def _lined_up(b: Builder, x: Term, labels: Labels, out: Labels) -> Term:
    """`x` with its axes in the order of the result, and size 1 where it has none."""
    x = b.permute(x, tuple([labels.index(a) for a in out if a in labels]))
    places = [i for i, a in enumerate(out) if a in labels]
    return b.reshape(x, placed(places, x.shape, len(out)))


@rule("contract")
def sum_instead(b: Builder, t: Term) -> Term | None:
    """A contraction with ones is a sum, broadcast along the axes that only the ones had."""
    for i in range(2):
        number = b.number(t.args[i])
        if number is None or number != 1 or not t.args[i].size:
            continue
        x, labels, out = t.args[1 - i], t.params["subs"][1 - i], t.params["subs"][2]
        total = b.make("sum", x, axis=tuple([k for k, a in enumerate(labels) if a not in out]))
        left = tuple([a for a in labels if a in out])
        return b.broadcast(_lined_up(b, total, left, out), t.shape)
    return None


@rule("contract")
def contract_before_broadcast(b: Builder, t: Term) -> Term | None:
    """Along an axis that one operand was broadcast to, all its entries are the same: the other
    operand is summed along it first, or the result is broadcast. (With ∞ for x, x·y₁ + x·y₂ can be
    NaN where x·(y₁ + y₂) is infinite.)"""
    for i in range(2):
        wide = t.args[i]
        if wide.name == "broadcast_to" and t.size and wide.size:
            return _unbroadcast(b, t, i)
    return None


def _unbroadcast(b: Builder, t: Term, i: int) -> Term:
    wide, other = t.args[i], t.args[1 - i]
    labels, others, out = t.params["subs"][i], t.params["subs"][1 - i], t.params["subs"][2]
    inner = wide.args[0]
    shape = (1,) * (wide.ndim - inner.ndim) + inner.shape
    spread = [a for a, n, m in zip(labels, shape, wide.shape, strict=True) if n != m]
    labels = [a for a in labels if a not in spread]
    x = b.reshape(inner, tuple([n for n, m in zip(shape, wide.shape, strict=True) if n == m]))
    summed = tuple([k for k, a in enumerate(others) if a in spread and a not in out])
    if summed:
        other = b.make("sum", other, axis=summed)
        others = [a for k, a in enumerate(others) if k not in summed]
    kept = [a for a in out if a not in spread or a in others]
    pair = [(x, labels), (other, others)] if i == 0 else [(other, others), (x, labels)]
    found = contract(b, pair[0][0], pair[1][0], pair[0][1], pair[1][1], kept)
    places = [k for k, a in enumerate(out) if a in kept]
    return b.broadcast(b.reshape(found, placed(places, found.shape, t.ndim)), t.shape)


@rule("contract")
def negate_after_contraction(b: Builder, t: Term) -> Term | None:
    """(−x)·y = −(x·y), rounded alike, where the result is no larger than x."""
    for i, x in enumerate(t.args):
        if x.name == "neg" and t.size <= x.size and is_float(t):
            args = list(t.args)
            args[i] = x.args[0]
            return b.make("neg", b.remake(t, *args))
    return None


@rule("diagonal")
def contract_to_diagonal(b: Builder, t: Term) -> Term | None:
    """The main diagonal of a contraction is a contraction along it: the rest is never made."""
    (x,) = t.args
    if x.name != "contract" or t.params["offset"] != 0 or x.shape[-1] != x.shape[-2]:
        return None
    ix, iy, io = x.params["subs"]
    row, column = io[-2:]
    apart = ((row in ix) != (column in ix)) and ((row in iy) != (column in iy))
    if not apart:
        return None
    ix, iy = ([row if a == column else a for a in labels] for labels in (ix, iy))
    p, q = x.args
    return contract(b, p, q, ix, iy, io[:-1])


@rule("contract")
def number_labels(b: Builder, t: Term) -> Term | None:
    """Labels are numbered as they come, so that equal contractions are merged."""
    subs: Subs = t.params["subs"]
    number: dict[int, int] = {}
    for a in (*subs[0], *subs[1]):
        number.setdefault(a, len(number))
    if all(a == n for a, n in number.items()):
        return None
    x, y = t.args
    ix, iy, io = ([number[a] for a in labels] for labels in subs)
    return contract(b, x, y, ix, iy, io)
