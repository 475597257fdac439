"""Iteration spaces of pointwise ops: no larger than needed, and in the order of memory.

All these rules move whole entries or leave them where they are, so they change no bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_pointwise, pointwise_rule
from wengert.core.index import factor_groups
from wengert.core.spec import Shape


@pointwise_rule
def compute_before_broadcast(b: Builder, t: Term) -> Term | None:
    """f(broadcast(x), y) = f(x, y), broadcast where that is still smaller. A filled constant is a
    number, and axes of size 1 in front of an operand need not be there."""
    args = []
    changed = False
    for a in t.args:
        if a.name == "broadcast_to":
            a, changed = a.args[0], True
        elif a.name == "reshape" and a.shape and a.shape[0] == 1 and t.shape[0] != 1:
            a, changed = _without_leading_ones(b, a), True
        elif a.data is not None and a.shape:
            number = b.number(a)
            if number is not None:
                a, changed = b.constant(np.asarray(number)), True
        args.append(a)
    if not changed:
        return None
    shape = np.broadcast_shapes(*[a.shape for a in args])
    if shape == t.shape:
        return b.remake(t, *args)
    assert t.op is not None
    return b.broadcast(b.make(t.op.name, *args, **t.params), t.shape)


def _without_leading_ones(b: Builder, x: Term) -> Term:
    first = next((i for i, n in enumerate(x.shape) if n != 1), x.ndim)
    return b.reshape(x, x.shape[first:])


@pointwise_rule
def compute_before_view(b: Builder, t: Term) -> Term | None:
    """f(view(x), …) = view(f(x, …)) for reshapes and permutations, where the other operands can
    follow: so that views meet the views behind them, and what they come from."""
    for a in t.args:
        if a.name != "reshape" and a.name != "permute":
            continue
        if a.shape != t.shape or t.size < 2 or t.name == "ravel_index":
            continue  # `indexing` looks at the operands of that
        found = _before_permute(b, t, a) if a.name == "permute" else _before_reshape(b, t, a)
        if found is not None or a.name == "permute":
            return found
    return None


def _before_permute(b: Builder, t: Term, view: Term) -> Term | None:
    axes = view.params["axes"]
    back = tuple(np.argsort(axes).tolist())
    args = []
    for a in t.args:
        if a.name == "permute" and a.params["axes"] == axes:
            a = a.args[0]
        elif a.shape == t.shape:
            return None  # it would have to be moved
        elif a.size > 1:
            a = b.permute(b.reshape(a, _aligned(a.shape, t.ndim)), back)
        elif a.shape:
            a = b.reshape(a, ())
        args.append(a)
    assert t.op is not None
    return b.permute(b.make(t.op.name, *args, **t.params), axes)


def _before_reshape(b: Builder, t: Term, view: Term) -> Term | None:
    shape = view.args[0].shape
    movable = is_pointwise(view.args[0].op)
    args = []
    for a in t.args:
        if a.name == "reshape" and a.args[0].shape == shape and a.shape == t.shape:
            found: Term | None = a.args[0]
        elif a.shape == t.shape and not movable:
            return None  # one reshape is enough, and it stands where it costs nothing
        else:
            found = _following(b, a, t.shape, shape, 3)
        if found is None:
            return None
        args.append(found)
    assert t.op is not None
    result = b.make(t.op.name, *args, **t.params)
    return b.reshape(b.broadcast(result, shape), t.shape)


def _following(b: Builder, a: Term, old: Shape, new: Shape, reach: int) -> Term | None:
    """The operand that an op takes in place of `a`, once it works on the shape `new`, not `old`."""
    if a.size == 1:
        return b.reshape(a, ())
    if a.shape != old:
        follows = regrouped(_aligned(a.shape, len(old)), old, new)
        return None if follows is None else b.reshape(a, follows)
    if not is_pointwise(a.op):
        return b.reshape(a, new)  # it stands in memory
    # What is spread out from smaller operands (and constants) is computed in the other shape.
    if not reach or any(p.shape == old and not _follows(p) for p in a.args):
        return None
    args = [_following(b, p, old, new, reach - 1) for p in a.args]
    assert a.op is not None
    if any(p is None for p in args):
        return None
    found = b.make(a.op.name, *[p for p in args if p is not None], **a.params)
    return b.broadcast(found, new)


def _follows(x: Term) -> bool:
    return is_pointwise(x.op) or (x.data is not None and x.data.flags.c_contiguous)


def _aligned(shape: Shape, ndim: int) -> Shape:
    return (1,) * (ndim - len(shape)) + shape


def regrouped(part: Shape, old: Shape, new: Shape) -> Shape | None:
    """The shape of an operand that broadcasts to `old`, once `old` is reshaped to `new`: along each
    group of axes it is whole, or has size 1. None where it is neither."""
    found = [1] * len(new)
    for old_axes, new_axes in factor_groups(old, new):
        sizes = [part[i] for i in old_axes]
        if sizes == [old[i] for i in old_axes]:
            for j in new_axes:
                found[j] = new[j]
        elif math.prod(sizes) != 1:
            return None
    return tuple(found)


def placed(axes: Sequence[int], shape: Shape, ndim: int) -> Shape:
    """Sizes at the places `axes` of `ndim` axes, 1 elsewhere."""
    found = [1] * ndim
    for a, n in zip(axes, shape, strict=True):
        found[a] = n
    return tuple(found)
