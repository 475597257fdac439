"""Rules that look at who uses a term: where a value has one user, the two may become one op.

A first walk over the program finds the places, a second one builds them anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from wengert.compiler.ir import Program, Term
from wengert.compiler.simplify.build import Builder, Replacement, is_float, is_pointwise
from wengert.compiler.simplify.contraction import contract
from wengert.compiler.simplify.facts import never_minus_zero
from wengert.compiler.simplify.reductions import REDUCTIONS
from wengert.compiler.simplify.spaces import placed
from wengert.compiler.simplify.sparse import sparse_update
from wengert.compiler.simplify.views import joined
from wengert.core import dtypes
from wengert.core.spec import Spec

New = Mapping[Term, Term]
Uses = Mapping[Term, int]


def structure_plan(program: Program, order: Sequence[Term]) -> dict[Term, Replacement]:
    """Those of a program's terms that have a better form, and how each is made."""
    uses: dict[Term, int] = dict.fromkeys(order, 0)
    for t in order:
        for a in t.args:
            uses[a] += 1
    for t in program.outputs:
        uses[t] += 1
    plan: dict[Term, Replacement] = {}
    inner: set[Term] = set()  # additions that are part of a longer one below
    for t in reversed(order):
        found = None
        if t.name == "add" and t not in inner:
            found = _pads(t, uses, inner) or sparse_update(t, uses, inner)
        elif t.name == "sub":
            found = sparse_update(t, uses, inner)
        elif t.name == "permute":
            found = _permuted_result(t, uses)
        elif t.name in REDUCTIONS:
            found = _reduced_permutation(t, uses)
            if found is None and t.name == "sum":
                found = _hidden_contraction(t, uses)
        if found is not None:
            plan[t] = found
    return plan


# -- the gradient of what was split --------------------------------------------------------------


def _pads(t: Term, uses: Uses, inner: set[Term]) -> Replacement | None:
    """Zero-padded pieces that do not overlap, added up, are these pieces (−0 as +0) put behind each
    other: x + 0 + 0 = x. (The gradient of `split`, and of indexing one step at a time.)"""
    leaves: list[Term] = []
    stack = [t]
    while stack:
        for a in reversed(stack.pop().args):
            if a.name == "add" and uses[a] == 1 and a.shape == t.shape:
                inner.add(a)
                stack.append(a)
            else:
                leaves.append(a)
    if len(leaves) < 2 or not is_float(t):
        return None
    pieces = [_piece(a, t) for a in leaves]
    found = [p for p in pieces if p is not None]
    if len(found) < len(pieces):
        return None
    axis = found[0].axis
    found.sort(key=lambda p: p.start)
    apart = all(p.stop <= q.start for p, q in pairwise(found))
    if any(p.axis != axis for p in found) or not apart:
        return None
    return partial(_joined_pieces, axis=axis, size=t.shape[axis], pieces=found)


@dataclass
class _Piece:
    """A term padded with zeros along one axis."""

    term: Term
    axis: int
    start: int
    stop: int


def _piece(a: Term, total: Term) -> _Piece | None:
    if a.name != "pad" or a.shape != total.shape or a.params["value"] != 0:
        return None
    lo, hi = a.params["lo"], a.params["hi"]
    axes = [i for i in range(a.ndim) if lo[i] or hi[i]]
    if len(axes) != 1 or any(a.params["interior"]):
        return None
    (axis,) = axes
    return _Piece(a.args[0], axis, lo[axis], lo[axis] + a.args[0].shape[axis])


def _joined_pieces(b: Builder, new: New, axis: int, size: int, pieces: Sequence[_Piece]) -> Term:
    row: list[Term] = []
    at = 0

    def fill(stop: int) -> None:
        if stop > at:
            like = pieces[0].term
            shape = (*like.shape[:axis], stop - at, *like.shape[axis + 1 :])
            row.append(b.filled(0, Spec(shape, like.dtype)))

    for p in pieces:
        fill(p.start)
        x = new[p.term]
        row.append(x if never_minus_zero(b, x) else b.make("add", x, b.constant(0, x.dtype)))
        at = p.stop
    fill(size)
    return joined(b, row, axis)


# -- contractions ------------------------------------------------------------------------------


def _permuted_result(t: Term, uses: Uses) -> Replacement | None:
    """A contraction may write its result in any order of axes; what is done to each of its entries
    before they are permuted can be done after."""
    steps: list[Term] = []  # the last one first
    x = t.args[0]
    while uses[x] == 1 and is_pointwise(x.op):
        whole = [a for a in x.args if a.size > 1]
        if len(whole) != 1 or whole[0].shape != x.shape:
            return None
        steps.append(x)
        x = whole[0]
    if x.name != "contract" or uses[x] != 1:
        return None
    return partial(_write_permuted, axes=t.params["axes"], steps=steps, old=x)


def _write_permuted(
    b: Builder, new: New, axes: tuple[int, ...], steps: Sequence[Term], old: Term
) -> Term:
    found = new[old]
    if found.name == "contract":
        ix, iy, io = found.params["subs"]
        x, y = found.args
        found = contract(b, x, y, ix, iy, [io[a] for a in axes])
    else:
        found = b.permute(found, axes)
    for s in reversed(steps):
        args = [found if a.size > 1 else b.reshape(new[a], ()) for a in s.args]
        found = b.make(s.name, *args, **s.params)
    return found


# -- reductions --------------------------------------------------------------------------------


def _reduced_permutation(t: Term, uses: Uses) -> Replacement | None:
    """What is permuted only to be reduced is reduced in the order of memory; the axes that are left
    are permuted."""
    (x,) = t.args
    alone = x.name == "permute" and uses[x] == 1 and t.params["axis"] != ()
    return partial(_reduce_first, old=t) if alone else None


def _reduce_first(b: Builder, new: New, old: Term) -> Term:
    x, axis = new[old.args[0]], old.params["axis"]
    if x.name != "permute":
        return b.remake(old, x)
    axes = x.params["axes"]
    kept = [a for i, a in enumerate(axes) if i not in axis]
    order = tuple([sorted(kept).index(a) for a in kept])
    inner = tuple(sorted([axes[a] for a in axis]))
    return b.permute(b.make(old.name, x.args[0], axis=inner), order)


FEWER = 4  # how much smaller than the product its factors must be


def _hidden_contraction(t: Term, uses: Uses) -> Replacement | None:
    """Σ x·y, where each factor is broadcast along an axis that the other has, is a contraction: the
    product, which is larger than both, is never made. A sum along an axis that both operands of a
    contraction have is part of the contraction."""
    (x,), axis = t.args, t.params["axis"]
    if uses[x] != 1 or not axis:
        return None
    if x.name == "contract":
        ix, iy, io = x.params["subs"]
        shared = all(io[a] in ix and io[a] in iy for a in axis)
        return partial(_longer, old=t) if shared else None
    return partial(_contracted, old=t) if x.name == "mul" and _pays(t, x) else None


def _longer(b: Builder, new: New, old: Term) -> Term:
    x = new[old.args[0]]
    if x.name != "contract":
        return b.remake(old, x)
    ix, iy, io = x.params["subs"]
    p, q = x.args
    return contract(b, p, q, ix, iy, [a for i, a in enumerate(io) if i not in old.params["axis"]])


def _pays(t: Term, product: Term) -> bool:
    """Whether a sum of products is better off as a contraction."""
    x, y = product.args
    if t.dtype not in _CONTRACTED or product.size < FEWER * (x.size + y.size):
        return False
    in_x, in_y = _axes(x, product), _axes(y, product)
    summed = {a for a in t.params["axis"] if product.shape[a] > 1}
    if not summed or not summed <= in_x & in_y:
        return False
    if not (in_x - in_y) or not (in_y - in_x):
        return False
    return math.prod([product.shape[a] for a in summed]) >= _LONG


_CONTRACTED = (dtypes.float32, dtypes.float64)
_LONG = 8  # entries that are summed: below, the product fuses better


def _axes(x: Term, product: Term) -> set[int]:
    """The axes of a product that a factor has, with more than one entry."""
    lead = product.ndim - x.ndim
    return {lead + i for i, n in enumerate(x.shape) if n != 1}


def _contracted(b: Builder, new: New, old: Term) -> Term:
    product = new[old.args[0]]
    if product.name != "mul":
        return b.remake(old, product)
    axis = old.params["axis"]
    (x, ix), (y, iy) = (_long_axes(b, a, product.ndim) for a in product.args)
    out = [a for a in range(product.ndim) if a not in axis and (a in ix or a in iy)]
    found = contract(b, x, y, ix, iy, out)
    left = [a for a in range(product.ndim) if a not in axis]
    places = [left.index(a) for a in out]
    return b.reshape(found, placed(places, found.shape, len(left)))


def _long_axes(b: Builder, x: Term, ndim: int) -> tuple[Term, list[int]]:
    """A factor without its axes of size 1, and the numbers of the others in the product."""
    lead = ndim - x.ndim
    labels = [lead + i for i, n in enumerate(x.shape) if n != 1]
    return b.reshape(x, tuple([n for n in x.shape if n != 1])), labels
