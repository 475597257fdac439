"""Gathering and scattering: indices that are known, and indices along one axis.

Picking an entry a row (the log-probability of a label, in a cross-entropy) reaches the program as a
gather from the flattened array; its derivative scatters into a flat array of zeros. Neither can be
fused with the softmax around it. Written as what they are, they can: the gather is passed on to
what is computed before, and the scatter is a choice between a value and zero.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wengert.compiler.ir import Array, Term
from wengert.compiler.simplify.build import Builder, is_pointwise, rule
from wengert.compiler.simplify.facts import names_entries, never_minus_zero
from wengert.compiler.simplify.views import take
from wengert.core.spec import Shape

# -- indices that are known --------------------------------------------------------------------


class Run(NamedTuple):
    """Indices start, start + step, …"""

    start: int
    step: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + (self.length - 1) * self.step + 1


def _run(index: Term, size: int) -> Run | None:
    """A constant index as a run within an axis of `size`."""
    if index.data is None or index.size == 0 or index.size > 1 << 20:
        return None
    places: Array = index.data.reshape(-1).astype(np.int64)
    if places[0] < 0:
        places = np.where(places < 0, places + size, places)
    step = int(places[1] - places[0]) if places.size > 1 else 1
    found = Run(int(places[0]), step, places.size)
    if step < 1 or found.start < 0 or found.stop > size:
        return None
    return found if (np.diff(places) == step).all() else None


@rule("gather")
def gather_run(b: Builder, t: Term) -> Term | None:
    """Entries at known places, evenly spaced, are a slice."""
    x, index = t.args
    axis = t.params["axis"] % x.ndim
    run = _run(index, x.shape[axis])
    if run is None:
        return None
    start, stop, step = [0] * x.ndim, list(x.shape), [1] * x.ndim
    start[axis], stop[axis], step[axis] = run.start, run.stop, run.step
    return b.reshape(take(b, x, tuple(start), tuple(stop), tuple(step)), t.shape)


@rule("scatter_add")
def scatter_run(b: Builder, t: Term) -> Term | None:
    """Values added to zeros at known places, evenly spaced, are those values (−0 as +0), padded."""
    u, index = t.args
    axis, size = t.params["axis"], t.params["size"]
    run = _run(index, size)
    if run is None or not u.size:
        return None
    post = u.shape[axis + index.ndim :]
    u = b.reshape(_plus_zero(b, u), (*u.shape[:axis], run.length, *post))
    lo, hi, interior = [0] * u.ndim, [0] * u.ndim, [0] * u.ndim
    lo[axis], hi[axis], interior[axis] = run.start, size - run.stop, run.step - 1
    return b.make("pad", u, lo=tuple(lo), hi=tuple(hi), interior=tuple(interior), value=0)


def _plus_zero(b: Builder, x: Term) -> Term:
    return x if never_minus_zero(b, x) else b.make("add", x, b.constant(0, x.dtype))


@rule("scatter_add", "scatter_prod", "scatter_max", "scatter_min", "scatter", "latest")
def check_before(b: Builder, t: Term) -> Term | None:
    """Kernels trust their indices: what checks and wraps them becomes a term, one for all that use
    an index, which runs before anything is changed in place."""
    place = 0 if t.name == "latest" else 1
    index, axis = t.args[place], t.params.get("axis", 0)
    size = t.params["size"] if "size" in t.params else t.shape[axis]
    if names_entries(index, size):
        return None
    checked = b.make("ravel_index", index, shape=(size,), axes=(axis,))
    return b.make(t.name, *t.args[:place], checked, *t.args[place + 1 :], **t.params)


@rule("ravel_index")
def checked_already(b: Builder, t: Term) -> Term | None:
    """An index that is known to be in range needs no check."""
    if len(t.args) != 1 or not names_entries(t.args[0], t.params["shape"][0]):
        return None
    return t.args[0]


# -- one index a row ---------------------------------------------------------------------------


class Along(NamedTuple):
    """A flat index that picks along one axis of an array of `shape`, at each place of the other
    axes."""

    shape: Shape
    axis: int
    places: Term  # along that axis; broadcasts to the shape of the flat index
    user_axis: int  # as error messages name it
    negative: bool


def _along(b: Builder, flat: Term) -> Along | None:
    """What `take_along_axis` made: a `ravel_index` of one index and the numbers of the rows."""
    if flat.name != "ravel_index":
        return None
    shape, axes = flat.params["shape"], flat.params["axes"]
    own = [k for k, a in enumerate(flat.args) if not _numbers_rows(a, shape, k)]
    if len(own) > 1 or flat.ndim != len(shape):
        return None
    k = own[0] if own else len(shape) - 1
    if any(n != m for i, (n, m) in enumerate(zip(flat.shape, shape, strict=True)) if i != k):
        return None
    negative = flat.params.get("negative", True)
    return Along(shape, k, flat.args[k], axes[k], negative)


def _numbers_rows(x: Term, shape: Shape, k: int) -> bool:
    """Whether x is 0, 1, … along axis k."""
    if x.data is None or x.size != shape[k] or x.ndim > len(shape):
        return False
    aligned = (1,) * (len(shape) - x.ndim) + x.shape
    return aligned[k] == x.size and bool((x.data.reshape(-1) == np.arange(x.size)).all())


@rule("gather")
def gather_before(b: Builder, t: Term) -> Term | None:
    """One entry a row of f(x, y) is f of one entry a row of each: so f is computed for these, and
    not for all. What has one entry a row anyway is taken as it is."""
    source, flat = t.args
    if source.name != "reshape" or source.ndim != 1 or t.params["axis"] != 0:
        return None
    along = _along(b, flat)
    if along is None or flat.shape[along.axis] != 1:
        return None
    x = source.args[0]
    k = _same_axis(x.shape, along)
    if k is None or not is_pointwise(x.op):
        return None
    column = tuple([1 if i == k else n for i, n in enumerate(x.shape)])
    args = []
    for a in x.args:
        if a.shape == x.shape:
            a = b.make("gather", b.reshape(a, source.shape), flat, axis=0)
        elif a.size == 1:
            a = b.reshape(a, ())
        elif _size(a, k - x.ndim) == 1:
            a = b.reshape(b.broadcast(a, column), flat.shape)
        else:
            return None
        args.append(a)
    assert x.op is not None
    return b.broadcast(b.make(x.op.name, *args, **x.params), t.shape)


def _same_axis(shape: Shape, along: Along) -> int | None:
    """The axis of `shape` that is the picked one: as long, and with as many entries behind it."""
    size, behind = along.shape[along.axis], math.prod(along.shape[along.axis + 1 :])
    for k, n in enumerate(shape):
        if n == size and math.prod(shape[k + 1 :]) == behind:
            return k
    return None


@rule("scatter_add")
def choose_instead(b: Builder, t: Term) -> Term | None:
    """One value a row, added to zeros, is the value where the index is the entry's number and 0
    elsewhere. The index is checked as it was."""
    u, flat = t.args
    along = _along(b, flat)
    if along is None or flat.shape[along.axis] != 1 or u.shape != flat.shape:
        return None
    k, shape = along.axis, along.shape
    if t.params["axis"] != 0 or t.params["size"] != math.prod(shape) or not t.size:
        return None
    params: dict[str, Any] = {} if along.negative else {"negative": False}
    index = b.make(
        "ravel_index", along.places, shape=(shape[k],), axes=(along.user_axis,), **params
    )
    numbers = np.arange(shape[k]).reshape((-1,) + (1,) * (len(shape) - 1 - k))
    hit = b.make("equal", index, b.constant(numbers))
    chosen = b.make("where", hit, _plus_zero(b, u), b.constant(0, u.dtype))
    return b.reshape(b.broadcast(chosen, shape), t.shape)


@rule("sum")
def sum_of_chosen(b: Builder, t: Term) -> Term | None:
    """Of a row in which one value was chosen, and 0 elsewhere, the sum is that value."""
    (x,), axis = t.args, t.params["axis"]
    if x.name != "where" or b.number(x.args[2]) != 0 or len(axis) != 1:
        return None
    k, (hit, u, _) = axis[0], x.args
    if hit.name != "equal" or hit.ndim != x.ndim or x.shape[k] == 1:
        return None
    index, numbers = hit.args
    one_a_row = all(_size(a, k - x.ndim) == 1 for a in (index, u))
    while index.name in ("reshape", "broadcast_to"):
        index = index.args[0]
    checked = index.name == "ravel_index" and index.params["shape"] == (x.shape[k],)
    if not checked or not one_a_row or not _numbers_rows(numbers, x.shape, k):
        return None
    if not never_minus_zero(b, u):
        return None
    column = tuple([1 if i == k else n for i, n in enumerate(x.shape)])
    return b.reshape(b.broadcast(u, column), t.shape)


def _size(x: Term, axis: int) -> int:
    """The size along an axis counted from the end; 1 where there is none."""
    return x.shape[axis] if -axis <= x.ndim else 1
