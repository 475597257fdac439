"""Views: ops that move entries. One of a kind is enough, and a part of a whole is taken at once.

No rule here computes anything, so all are exact.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, rule
from wengert.compiler.simplify.spaces import regrouped
from wengert.core.spec import Spec

Ints = tuple[int, ...]

# -- reshape, permute, broadcast ---------------------------------------------------------------


@rule("reshape")
def reshape_once(b: Builder, t: Term) -> Term | None:
    """reshape(reshape(x)) = reshape(x)."""
    (x,) = t.args
    return b.reshape(x.args[0], t.shape) if x.name == "reshape" else None


@rule("reshape")
def reshape_before_broadcast(b: Builder, t: Term) -> Term | None:
    """reshape(broadcast(x)) = broadcast(reshape(x)), where axes stay whole or of size 1."""
    (x,) = t.args
    if x.name != "broadcast_to" or not x.size:
        return None
    inner = x.args[0]
    aligned = (1,) * (x.ndim - inner.ndim) + inner.shape
    follows = regrouped(aligned, x.shape, t.shape)
    if follows is None or math.prod(follows) != inner.size:
        return None
    return b.broadcast(b.reshape(inner, follows), t.shape)


@rule("permute")
def permute_once(b: Builder, t: Term) -> Term | None:
    """permute(permute(x)) = permute(x)."""
    (x,) = t.args
    if x.name != "permute":
        return None
    first = x.params["axes"]
    return b.permute(x.args[0], tuple([first[a] for a in t.params["axes"]]))


@rule("permute")
def permute_long_axes(b: Builder, t: Term) -> Term | None:
    """Axes of size 1 stay out of permutations: they are put where they belong by a reshape."""
    (x,), axes = t.args, t.params["axes"]
    if 1 not in x.shape:
        return None
    long = [a for a in range(x.ndim) if x.shape[a] != 1]
    order = tuple([long.index(a) for a in axes if x.shape[a] != 1])
    inner = b.reshape(x, tuple([x.shape[a] for a in long]))
    return b.reshape(b.permute(inner, order), t.shape)


@rule("permute")
def permute_pieces(b: Builder, t: Term) -> Term | None:
    """A permutation of pieces put behind each other is pieces, permuted, put behind each other."""
    (x,), axes = t.args, t.params["axes"]
    if x.name != "concatenate":
        return None
    pieces = [b.permute(a, axes) for a in x.args]
    return joined(b, pieces, axes.index(x.params["axis"]))


@rule("permute")
def permute_before_broadcast(b: Builder, t: Term) -> Term | None:
    """permute(broadcast(x)) = broadcast(permute(x))."""
    (x,) = t.args
    if x.name != "broadcast_to":
        return None
    inner = x.args[0]
    aligned = b.reshape(inner, (1,) * (x.ndim - inner.ndim) + inner.shape)
    return b.broadcast(b.permute(aligned, t.params["axes"]), t.shape)


@rule("broadcast_to")
def broadcast_once(b: Builder, t: Term) -> Term | None:
    """broadcast(broadcast(x)) = broadcast(x); an axis of size 1 in front need not be there."""
    (x,) = t.args
    if x.name == "broadcast_to":
        return b.broadcast(x.args[0], t.shape)
    if x.shape and x.shape[0] == 1:
        kept = next((i for i, n in enumerate(x.shape) if n != 1), x.ndim)
        return b.broadcast(b.reshape(x, x.shape[kept:]), t.shape)
    return None


@rule("flip")
def flip_once(b: Builder, t: Term) -> Term | None:
    """An axis that is turned around twice stays."""
    (x,) = t.args
    if x.name != "flip":
        return None
    axes = tuple(sorted(set(t.params["axes"]) ^ set(x.params["axes"])))
    return b.make("flip", x.args[0], axes=axes)


# -- slice -------------------------------------------------------------------------------------


def take(b: Builder, x: Term, start: Ints, stop: Ints, step: Ints | None = None) -> Term:
    """A slice of a term."""
    return b.make("slice", x, start=start, stop=stop, step=step or (1,) * x.ndim)


def _ranges(t: Term) -> tuple[Ints, Ints, Ints]:
    return t.params["start"], t.params["stop"], t.params["step"]


@rule("slice")
def slice_once(b: Builder, t: Term) -> Term | None:
    """x[a:][c:] = x[a+c:]."""
    (x,) = t.args
    if x.name != "slice" or not t.size:
        return None
    first, _, first_step = _ranges(x)
    start, _, step = _ranges(t)
    new_step = tuple([s * r for s, r in zip(first_step, step, strict=True)])
    new_start = tuple([a + s * c for a, s, c in zip(first, first_step, start, strict=True)])
    last = [c + (n - 1) * s + 1 for c, n, s in zip(new_start, t.shape, new_step, strict=True)]
    return take(b, x.args[0], new_start, tuple(last), new_step)


@rule("slice")
def slice_before_view(b: Builder, t: Term) -> Term | None:
    """A slice of a permutation or of a broadcast is that view of a slice."""
    (x,) = t.args
    start, stop, step = _ranges(t)
    if x.name == "permute":
        back = [x.params["axes"].index(i) for i in range(x.ndim)]
        ranges = [tuple([r[i] for i in back]) for r in (start, stop, step)]
        return b.permute(take(b, x.args[0], *ranges), x.params["axes"])
    if x.name == "broadcast_to":
        inner = x.args[0]
        lead = x.ndim - inner.ndim
        whole = [n != 1 for n in inner.shape]
        first, last, steps = (
            tuple([r[lead + i] if whole[i] else d for i in range(inner.ndim)])
            for r, d in ((start, 0), (stop, 1), (step, 1))
        )
        return b.broadcast(take(b, inner, first, last, steps), t.shape)
    return None


@rule("slice")
def slice_of_pad(b: Builder, t: Term) -> Term | None:
    """A part of a padded array is a part of the array, padded less; or padding altogether."""
    (x,) = t.args
    start, stop, step = _ranges(t)
    if x.name != "pad" or any(x.params["interior"]) or max(step, default=1) > 1 or not t.size:
        return None
    inner, low = x.args[0], x.params["lo"]
    # from the array's point of view
    begin = [a - lo for a, lo in zip(start, low, strict=True)]
    end = [c - lo for c, lo in zip(stop, low, strict=True)]
    first = tuple([min(max(a, 0), n) for a, n in zip(begin, inner.shape, strict=True)])
    last = tuple([min(max(c, 0), n) for c, n in zip(end, inner.shape, strict=True)])
    if any(a >= c for a, c in zip(first, last, strict=True)):
        return b.filled(x.params["value"], t.spec)
    return b.make(
        "pad",
        take(b, inner, first, last),
        lo=tuple([f - a for f, a in zip(first, begin, strict=True)]),
        hi=tuple([c - e for c, e in zip(end, last, strict=True)]),
        interior=x.params["interior"],
        value=x.params["value"],
    )


@rule("slice")
def slice_of_concatenation(b: Builder, t: Term) -> Term | None:
    """A part of what one piece holds is a part of that piece."""
    (x,) = t.args
    if x.name != "concatenate" or not t.size:
        return None
    start, stop, step = (list(r) for r in _ranges(t))
    axis = x.params["axis"]
    ends = b.offsets.get(x)
    if ends is None:
        ends = b.offsets[x] = list(accumulate(x.params["sizes"]))
    piece = bisect_right(ends, start[axis])
    last = start[axis] + (t.shape[axis] - 1) * step[axis]
    if last >= ends[piece]:
        return None
    before = ends[piece] - x.params["sizes"][piece]
    start[axis], stop[axis] = start[axis] - before, last + 1 - before
    return take(b, x.args[piece], tuple(start), tuple(stop), tuple(step))


# -- pad ---------------------------------------------------------------------------------------


@rule("pad")
def pad_once(b: Builder, t: Term) -> Term | None:
    """pad(pad(x)) = pad(x), with one value and nothing in between."""
    (x,) = t.args
    if x.name != "pad" or x.params["value"] != t.params["value"]:
        return None
    if any(t.params["interior"]) or any(x.params["interior"]):
        return None
    lo, hi = (
        tuple([m + n for m, n in zip(t.params[side], x.params[side], strict=True)])
        for side in ("lo", "hi")
    )
    value, interior = t.params["value"], t.params["interior"]
    return b.make("pad", x.args[0], lo=lo, hi=hi, interior=interior, value=value)


@rule("pad")
def pad_filled(b: Builder, t: Term) -> Term | None:
    """The same number around and inside (zeros of one sign)."""
    number, value = b.number(t.args[0]), t.params["value"]
    if number is None:
        return None
    around = t.args[0].data.dtype.type(value if value != 0 else 0)  # type: ignore[union-attr]
    return b.filled(number, t.spec) if around.tobytes() == number.tobytes() else None


# -- concatenate -------------------------------------------------------------------------------


def joined(b: Builder, pieces: list[Term], axis: int) -> Term:
    """Pieces put behind each other."""
    if len(pieces) == 1:
        return pieces[0]
    sizes = tuple([p.shape[axis] for p in pieces])
    return b.make("concatenate", *pieces, axis=axis, sizes=sizes)


@rule("concatenate")
def concatenate_fewer(b: Builder, t: Term) -> Term | None:
    """One piece is the whole; empty pieces are left out; pieces of pieces are pieces; neighbouring
    slices of one array are one slice, and neighbouring filled pieces with one number one piece."""
    axis = t.params["axis"]
    if len(t.args) == 1:
        return t.args[0]
    pieces: list[Term] = []
    for a in t.args:
        if a.name == "concatenate" and a.params["axis"] == axis:
            pieces += a.args
        elif a.shape[axis]:
            pieces.append(a)
    if not pieces:
        return None
    grown = pieces[:1]
    for piece in pieces[1:]:
        one = _one(b, grown[-1], piece, axis)
        if one is None:
            grown.append(piece)
        else:
            grown[-1] = one
    return None if len(grown) == len(t.args) else joined(b, grown, axis)


def _one(b: Builder, x: Term, y: Term, axis: int) -> Term | None:
    number = b.number(x)
    if number is not None:
        other = b.number(y)
        if other is None or other.tobytes() != number.tobytes():
            return None
        size = x.shape[axis] + y.shape[axis]
        return b.filled(number, Spec((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype))
    if x.name != "slice" or y.name != "slice" or x.args != y.args:
        return None
    (start, stop, step), (begin, end, other_step) = _ranges(x), _ranges(y)
    if max(step) > 1 or step != other_step or stop[axis] != begin[axis]:
        return None
    if any(i != axis and (start[i], stop[i]) != (begin[i], end[i]) for i in range(x.ndim)):
        return None
    return take(b, x.args[0], start, end)


# -- put_slice ---------------------------------------------------------------------------------


@rule("put_slice")
def put_into_filled(b: Builder, t: Term) -> Term | None:
    """A piece in an array that is otherwise one number is that piece, padded."""
    x, u = t.args
    number = b.number(x)
    step = t.params["step"]
    if number is None or not u.size or _odd(number):
        return None
    start = t.params["start"]
    last = [a + (n - 1) * s + 1 for a, n, s in zip(start, u.shape, step, strict=True)]
    hi = tuple([n - c for n, c in zip(t.shape, last, strict=True)])
    interior = tuple([s - 1 for s in step])
    value: Any = number.item() if number.dtype.kind in "biuf" else float(number)
    return b.make("pad", u, lo=start, hi=hi, interior=interior, value=value)


def _odd(number: Any) -> bool:
    """−0, which padding takes for 0; and NaN, which as a parameter equals nothing."""
    return bool(number != number) or (bool(number == 0) and number.tobytes().strip(b"\0") != b"")
