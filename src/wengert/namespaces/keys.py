"""What an index key means for an array of a given shape: NumPy's rules, worked out in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import BoundsError, DtypeError, TraceError
from wengert.core.rules import broadcast
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import new_handle
from wengert.ops.index import check_index, gather, out_of_bounds, ravel_index
from wengert.ops.movement import permute, reshape
from wengert.ops.pieces import flip, put_slice, sliced_shape
from wengert.ops.pieces import slice as take_slice

Ints = tuple[int, ...]


@dataclass(slots=True)
class Plan:
    """How to read, or write, the elements that a key selects.

    start, stop, step : of the slice that is taken first, steps being positive
    flips : axes of the slice to reverse
    shape : what the flipped slice is reshaped to; where `index` is given, its axes are merged
    index, axis : the gather that follows, or None
    order : the permutation that puts the index's axes where they belong, or None
    result_shape : of the elements read
    """

    start: Ints
    stop: Ints
    step: Ints
    flips: Ints
    shape: Shape
    index: Tensor | None
    axis: int
    order: Ints | None
    result_shape: Shape

    def narrow(self, x: Tensor) -> Tensor:
        """The slice of `x`, flipped and reshaped, from which the index gathers."""
        if self._slices(x.shape):
            x = take_slice(x, start=self.start, stop=self.stop, step=self.step)
        if self.flips:
            x = flip(x, axes=self.flips)
        return x if x.shape == self.shape else reshape(x, shape=self.shape)

    def widen(self, x: Tensor, new: Tensor) -> Tensor:
        """`x` with its slice replaced by `new`: the way back of `narrow`."""
        shape = sliced_shape(self.start, self.stop, self.step)
        new = new if new.shape == shape else reshape(new, shape=shape)
        if self.flips:
            new = flip(new, axes=self.flips)
        if self._slices(x.shape):
            new = put_slice(x, new, start=self.start, stop=self.stop, step=self.step)
        return new_handle(new)

    def _slices(self, shape: Shape) -> bool:
        return self.stop != shape or any(self.start) or any(s != 1 for s in self.step)

    def read(self, x: Tensor) -> Tensor:
        """The elements of `x` that the key selects."""
        found = self.narrow(x)
        if self.index is not None:
            found = gather(found, self.index, axis=self.axis)
        if self.order is not None:
            found = permute(found, axes=self.order)
        return new_handle(x) if found is x else found

    def unplaced(self, value: Tensor) -> Tensor:
        """A value of `result_shape` with its axes in the order in which the index gathers."""
        if self.order is None:
            return value
        inverse = tuple(sorted(range(len(self.order)), key=self.order.__getitem__))
        unplaced: Tensor = permute(value, axes=inverse)
        return unplaced


# -- entries of a key --------------------------------------------------------------------------


def as_index(op: str, indices: Any) -> Tensor:
    """Indices given as a tensor, an array, a number or nested lists; the dtype must be integer."""
    index = as_tensor(_emptied(indices))
    check_index(op, index)
    return index


def _emptied(indices: Any) -> Any:
    """Nested lists without a number in them as an empty integer array; all else as it is."""
    return np.zeros(np.shape(indices), np.int64) if _is_empty(indices) else indices


def _is_empty(v: Any) -> bool:
    return isinstance(v, (list, tuple)) and all(map(_is_empty, v))


def mask_of(key: Any) -> Tensor | None:
    """The key as a mask, if it is a single boolean array of one axis or more."""
    if isinstance(key, (Tensor, np.ndarray)) and key.dtype == dtypes.bool and key.ndim:
        return as_tensor(key)
    return None


def _entry(entry: Any) -> Any:
    """One entry of a key: None, `...`, a slice, an int, a bool, or a Tensor of rank ≥ 1 (rank 0,
    if it is symbolic)."""
    if entry is None or entry is Ellipsis or isinstance(entry, (slice, bool, int)):
        return entry
    if isinstance(entry, np.bool_):
        return bool(entry)
    if isinstance(entry, np.integer):
        return int(entry)
    if isinstance(entry, (list, tuple, range)):
        entry = _emptied(entry)
    elif not isinstance(entry, (Tensor, np.ndarray)):
        raise _bad_entry(type(entry).__name__, repr(entry))
    x = as_tensor(entry)
    if x.dtype == dtypes.bool and x.is_symbolic:
        raise TraceError(
            "getitem",
            "a boolean mask selects a number of elements that is not known inside a trace",
            met=describe(x),
            cause="x[mask] inside jit, vmap or trace",
            fix="use wg.where(mask, x, 0.0), which keeps the shape",
        )
    if not dtypes.is_integer(x.dtype) and x.dtype != dtypes.bool:
        raise _bad_entry(f"{x.dtype} array", describe(x))
    if x.ndim == 0 and not x.is_symbolic:
        return x.item()
    return x


def _bad_entry(kind: str, met: str) -> BoundsError:
    return BoundsError(
        "getitem",
        f"arrays are indexed with integers, slices, `...`, None, masks and integer arrays, "
        f"not with a {kind}",
        met=met,
        cause="a division or a float column used as an index" if "float" in kind else "",
        fix="convert with int(i) or wg.astype(i, wg.int64)" if "float" in kind else "",
    )


def _consumed(entry: Any) -> int:
    """How many axes of the array an entry is about."""
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    return entry.ndim if isinstance(entry, Tensor) and entry.dtype == dtypes.bool else 1


def _expanded(key: Any, shape: Shape) -> tuple[list[Any], bool]:
    """The entries of a key with the axes that `...` stands for spelled out, and whether those that
    count as advanced (arrays, and integers beside them) stand apart from each other."""
    entries = [_entry(e) for e in (key if isinstance(key, tuple) else (key,))]
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    used = sum(map(_consumed, entries))
    if len(dots) > 1 or used > len(shape):
        what = "`...` may stand once in a key" if len(dots) > 1 else "too many indices"
        raise BoundsError(
            "getitem",
            what,
            met=f"{used} for an array of shape {shape} ({len(shape)} axes)",
            cause="an axis was lost or never there",
            fix="look at x.shape before indexing",
        )
    advanced = [i for i, e in enumerate(entries) if isinstance(e, (int, Tensor))]
    apart = bool(advanced) and advanced[-1] - advanced[0] + 1 != len(advanced)
    at = dots[0] if dots else len(entries)
    rest = [slice(None)] * (len(shape) - used)
    return [*entries[:at], *rest, *entries[at + 1 :]], apart


class _Builder:
    """Collects, entry by entry, what each axis of the array needs."""

    def __init__(self, shape: Shape) -> None:
        self.source = shape
        self.ranges: list[tuple[int, int, int]] = []
        self.flips: list[int] = []
        self.shape: list[int] = []
        self.indices: list[tuple[int, int, Tensor]] = []  # place in shape, axis of source, index

    def add(self, entry: Any) -> None:
        if entry is None:
            self.shape.append(1)
        elif isinstance(entry, bool):  # a 0-d mask: a new axis, of which it takes one or none
            self._index(Tensor(np.zeros(int(entry), np.int64)), 1)
        elif isinstance(entry, slice):
            self._slice(entry)
        elif isinstance(entry, int):
            self._int(entry)
        elif entry.dtype == dtypes.bool:
            self._mask(entry)
        else:
            n = self.source[len(self.ranges)]
            self._index(entry, n)
            self.ranges.append((0, n, 1))

    def _index(self, index: Tensor, size: int) -> None:
        self.indices.append((len(self.shape), len(self.ranges), index))
        self.shape.append(size)

    def _int(self, i: int) -> None:
        axis = len(self.ranges)
        n = self.source[axis]
        if not -n <= i < n:
            raise out_of_bounds(i, axis, n, -n)
        self.ranges.append((i % n, i % n + 1, 1))

    def _slice(self, s: slice) -> None:
        axis = len(self.ranges)
        try:
            start, stop, step = s.indices(self.source[axis])
        except (TypeError, ValueError, DtypeError) as problem:
            raise BoundsError(
                "getitem",
                "the bounds of a slice must be integers, and its step not 0",
                met=f"{s}",
                cause=str(problem),
                fix="convert the bounds with int()",
            ) from None
        count = len(range(start, stop, step))
        if count == 0:
            start, stop, step = 0, 0, 1
        elif step < 0:
            start, stop, step = start + (count - 1) * step, start + 1, -step
            self.flips.append(axis)
        self.ranges.append((start, stop, step))
        self.shape.append(count)

    def _mask(self, mask: Tensor) -> None:
        """The axes of a mask are merged into one, along which it is a list of places.

        As in the standard, an axis of size 0 in the mask fits any axis, and chooses nothing.
        """
        axis, ndim = len(self.ranges), mask.ndim
        covered = self.source[axis : axis + ndim]
        if any(m not in (n, 0) for m, n in zip(mask.shape, covered, strict=True)):
            raise BoundsError(
                "getitem",
                "a mask must have the shape of the axes that it covers",
                met=f"a mask of shape {mask.shape} for axes of shape {covered}",
                fix="build the mask from the array itself, as in x[x > 0]",
            )
        self._index(Tensor(np.flatnonzero(mask._values("getitem"))), math.prod(covered))
        self.ranges.extend((0, n, 1) for n in covered)


def plan_for(x: Tensor, key: Any) -> Plan:
    """Work out a key for an array like `x`."""
    entries, apart = _expanded(key, x.shape)
    build = _Builder(x.shape)
    for entry in entries:
        build.add(entry)
    start, stop, step = map(tuple, zip(*build.ranges)) if build.ranges else ((), (), ())
    shape, flips = tuple(build.shape), tuple(build.flips)
    if not build.indices:
        return Plan(start, stop, step, flips, shape, None, 0, None, shape)
    index, axis, merged, width = _merged_index(build)
    gathered = (*merged[:axis], *index.shape, *merged[axis + 1 :])
    order = None
    if apart and axis:
        order = (*range(axis, axis + width), *range(axis), *range(axis + width, len(gathered)))
        gathered = tuple(gathered[a] for a in order)
    return Plan(start, stop, step, flips, merged, index, axis, order, gathered)


def _merged_index(build: _Builder) -> tuple[Tensor, int, Shape, int]:
    """All index arrays as one: the index, the axis it is for, the shape with the indexed axes
    merged into that axis, and how many axes of the index come from the arrays themselves.

    Axes that stand between indexed ones are merged too: the index then runs over them as well.
    """
    shape = tuple(build.shape)
    first, last = build.indices[0][0], build.indices[-1][0]
    arrays = {place: index for place, _, index in build.indices}
    if first == last and build.indices[0][1] == first:
        return arrays[first], first, shape, arrays[first].ndim
    width = len(broadcast("getitem", *(a.shape for a in arrays.values())))
    between = [p for p in range(first, last + 1) if p not in arrays]
    parts = []
    for place in range(first, last + 1):
        if place in arrays:
            index = arrays[place]
            parts.append(reshape(index, shape=index.shape + (1,) * len(between)))
        else:
            behind = len(between) - between.index(place) - 1
            parts.append(Tensor(np.arange(shape[place]).reshape((-1,) + (1,) * behind)))
    sizes = shape[first : last + 1]
    axes = {place: axis for place, axis, _ in build.indices}
    named = tuple(axes.get(p, p) for p in range(first, last + 1))
    merged = (*shape[:first], math.prod(sizes), *shape[last + 1 :])
    return ravel_index(*parts, shape=sizes, axes=named), first, merged, width
