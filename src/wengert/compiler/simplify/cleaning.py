"""What does nothing vanishes; what has a known value is worked out."""

from __future__ import annotations

import math

import numpy as np

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, any_rule, is_pointwise, rule
from wengert.compiler.simplify.facts import holds
from wengert.core import dtypes
from wengert.core.lowering import Reduction, View

KEPT = 4096  # entries of a result that is worked out here
READ = 1 << 20  # entries of the operands that this may read


# -- known values ------------------------------------------------------------------------------


@any_rule
def fold_constants(b: Builder, t: Term) -> Term | None:
    """An op on constants is a constant: what the op's reference makes of them. It is worked out
    where it is small, or the same number everywhere; large arrays are never made."""
    for a in t.args:
        if a.data is None:
            return None
    assert t.op is not None
    if t.op.several or not t.args or t.size == 0:
        return None
    arrays = [a.data for a in t.args if a.data is not None]
    numbers = [b.number(a) for a in t.args]
    uniform = t.size > 1 and is_pointwise(t.op) and all(n is not None for n in numbers)
    if uniform:
        arrays = [
            np.asarray(n).reshape((1,) * a.ndim) for n, a in zip(numbers, t.args, strict=True)
        ]
    elif t.name == "reshape" and arrays[0].flags.c_contiguous:
        pass  # nothing is made
    elif t.size > KEPT or sum(a.size for a in arrays) > READ:
        return None
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(t.op.reference(*arrays, **t.params))
    except Exception:  # a wrong index, a matrix without inverse: that is for the run to say
        return None
    if found.dtype != t.dtype:
        return None
    if uniform:
        return b.filled(found.reshape(-1)[0], t.spec)
    return b.constant(found)


@any_rule
def nothing_at_all(b: Builder, t: Term) -> Term | None:
    """An array without entries is known. (An op that looks at indices is left to do so.)"""
    if 0 not in t.shape or t.op is None or t.op.several:
        return None
    plain = is_pointwise(t.op) or isinstance(t.op.lower, (View, Reduction))
    return b.filled(0, t.spec) if plain else None


@rule("sum", "prod", "any", "all")
def reduce_nothing(b: Builder, t: Term) -> Term | None:
    """An empty sum is 0, an empty product 1."""
    if 0 not in t.args[0].shape:
        return None
    return b.filled(t.name in ("prod", "all"), t.spec)


@rule("reshape", "permute", "broadcast_to", "slice", "flip")
def view_of_filled(b: Builder, t: Term) -> Term | None:
    """Entries that are all the same stay so wherever they are moved."""
    number = b.number(t.args[0])
    return None if number is None or not t.size else b.filled(number, t.spec)


@rule("sum", "max", "min")
def reduce_filled(b: Builder, t: Term) -> Term | None:
    """The largest of equal numbers is that number. Their sum is n·number where that is a whole
    number with digits to spare: then every partial sum is exact, in any order."""
    number = b.number(t.args[0])
    if number is None or not t.args[0].size:
        return None
    if t.name != "sum":
        return b.filled(number, t.spec)
    count = math.prod([t.args[0].shape[a] for a in t.params["axis"]])
    total = count * float(number)
    small = abs(total) < 2**24 if t.dtype.itemsize >= 4 else abs(total) < 2**8
    whole = total == total and float(number).is_integer()
    minus_zero = total == 0 and np.signbit(float(number))
    return b.filled(total, t.spec) if small and whole and not minus_zero else None


# -- nothing to do -----------------------------------------------------------------------------


@rule("alias", "stop_gradient", "positive")
def drop_identity(b: Builder, t: Term) -> Term | None:
    """Only derivatives tell these from their operand."""
    return t.args[0]


@rule("reshape", "broadcast_to")
def drop_same_shape(b: Builder, t: Term) -> Term | None:
    """An array in its own shape."""
    return t.args[0] if t.shape == t.args[0].shape else None


@rule("cast")
def drop_same_dtype(b: Builder, t: Term) -> Term | None:
    """An array in its own dtype."""
    return t.args[0] if t.dtype == t.args[0].dtype else None


@rule("permute")
def drop_same_order(b: Builder, t: Term) -> Term | None:
    """Axes in their own order; or in one in which only axes of size 1 have moved, which is a
    reshape."""
    axes, shape = t.params["axes"], t.args[0].shape
    long = [a for a in axes if shape[a] != 1]
    if long == sorted(long):
        return b.reshape(t.args[0], t.shape)
    return None


@rule("slice")
def drop_whole_slice(b: Builder, t: Term) -> Term | None:
    """All elements."""
    return t.args[0] if t.shape == t.args[0].shape else None


@rule("pad")
def drop_no_padding(b: Builder, t: Term) -> Term | None:
    """No elements around or between."""
    return t.args[0] if t.shape == t.args[0].shape else None


@rule("put_slice")
def drop_put_all(b: Builder, t: Term) -> Term | None:
    """All elements replaced, or none."""
    x, u = t.args
    if u.shape == x.shape:
        return u
    return x if u.size == 0 else None


@rule("flip")
def flip_long_axes(b: Builder, t: Term) -> Term | None:
    """Turning an axis of size 1 around does nothing."""
    (x,) = t.args
    axes = tuple([a for a in t.params["axes"] if x.shape[a] != 1])
    if not axes:
        return x
    return None if axes == t.params["axes"] else b.make("flip", x, axes=axes)


@rule("sum", "max", "min")
def drop_empty_reduction(b: Builder, t: Term) -> Term | None:
    """A reduction over no axis."""
    return t.args[0] if t.params["axis"] == () else None


@rule("all", "any")
def drop_empty_truth(b: Builder, t: Term) -> Term | None:
    """A reduction over no axis, of what is bool already."""
    done = t.params["axis"] == () and t.args[0].dtype == dtypes.bool
    return t.args[0] if done else None


# -- casts -------------------------------------------------------------------------------------


@rule("cast")
def merge_casts(b: Builder, t: Term) -> Term | None:
    """A cast to a dtype that holds every value is exact, so the second cast alone gives the same.
    (Not to integers: how a float out of range converts depends on where it comes from.)"""
    (inner,) = t.args
    if inner.name != "cast":
        return None
    x = inner.args[0]
    if not holds(x.dtype, inner.dtype):
        return None
    if x.dtype != t.dtype and not dtypes.is_float(t.dtype) and dtypes.is_float(x.dtype):
        return None
    return b.make("cast", x, dtype=t.dtype)
