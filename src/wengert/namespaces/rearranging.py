"""Rearranging elements: repeating, rolling, padding, inserting, differences. All differentiable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.rules import as_integer, normalize_axis
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.namespaces.arguments import as_tuple, new_handle, normalize_axes
from wengert.namespaces.joining import concat
from wengert.namespaces.keys import as_index
from wengert.namespaces.linear import diag
from wengert.namespaces.manipulation import (
    broadcast_to,
    expand_dims,
    flip,
    ravel,
    reshape,
    swapaxes,
)
from wengert.ops import pieces as _p
from wengert.ops.elementwise import not_equal, sub
from wengert.ops.index import gather

__all__ = [
    "append",
    "delete",
    "diagflat",
    "diff",
    "insert",
    "pad",
    "repeat",
    "roll",
    "rot90",
    "tile",
]


def along(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """`x[…, start:stop, …]` on one axis; the bounds must be in order and inside."""
    if start == 0 and stop == x.shape[axis]:
        return x
    lo, hi = [0] * x.ndim, list(x.shape)
    lo[axis], hi[axis] = start, stop
    piece: Tensor = _p.slice(x, start=tuple(lo), stop=tuple(hi), step=(1,) * x.ndim)
    return piece


# -- repeating ---------------------------------------------------------------------------------


def repeat(x: Any, repeats: Any, /, axis: int | None = None) -> Tensor:
    """Each element (slice, along an axis) repeated in place; `repeats` is a count or one each.

    Without an axis, `x` is flattened.

    >>> import wengert as wg
    >>> wg.repeat([1, 2], [1, 3])
    Tensor([1, 2, 2, 2], dtype=int64)
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normalize_axis("repeat", axis, x.ndim)
    n = x.shape[axis]
    counts = as_index("repeat", repeats)._values("repeat")
    if counts.ndim > 1 or counts.size not in (1, n):
        raise ShapeError(
            "repeat",
            "one count, or one count for each element, is needed",
            met=f"counts of shape {counts.shape} for axis {axis} of size {n}",
            fix=f"pass an integer or {n} integers",
        )
    if counts.size and counts.min() < 0:
        raise ArgumentError(
            "repeat", "counts must not be negative", met=str(counts.min()), fix="pass 0 or more"
        )
    if counts.size != 1:
        found: Tensor = gather(x, Tensor(np.repeat(np.arange(n), counts)), axis=axis)
        return found
    count = int(counts.reshape(()))
    shape = (*x.shape[: axis + 1], count, *x.shape[axis + 1 :])
    spread = broadcast_to(expand_dims(x, axis=axis + 1), shape)
    return reshape(spread, (*x.shape[:axis], n * count, *x.shape[axis + 1 :]))


def tile(x: Any, repetitions: Any, /) -> Tensor:
    """Copies of the whole array side by side, `repetitions[i]` of them along axis i.

    >>> import wengert as wg
    >>> wg.tile([1, 2], (2, 2))
    Tensor([[1, 2, 1, 2], [1, 2, 1, 2]], dtype=int64)
    """
    x = as_tensor(x)
    counts = tuple(as_integer("tile", "a count", n) for n in as_tuple("tile", repetitions))
    if min(counts, default=0) < 0:
        raise ArgumentError(
            "tile", "counts must not be negative", met=repr(repetitions), fix="pass 0 or more"
        )
    width = max(x.ndim, len(counts))
    counts = (1,) * (width - len(counts)) + counts
    sizes = (1,) * (width - x.ndim) + x.shape
    pairs = tuple(zip(counts, sizes, strict=True))
    spaced = reshape(x, tuple(size for n in sizes for size in (1, n)))
    copies = broadcast_to(spaced, tuple(size for pair in pairs for size in pair))
    return reshape(copies, tuple(map(math.prod, pairs)))


# -- rolling and turning -----------------------------------------------------------------------


def roll(x: Any, /, shift: Any, axis: Any = None) -> Tensor:
    """Elements moved up by `shift` places; those pushed past the end come back at the start.

    Without an axis, the flattened array is rolled.

    >>> import wengert as wg
    >>> wg.roll(wg.arange(5), 2)
    Tensor([3, 4, 0, 1, 2], dtype=int64)
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes, shifts = as_tuple("roll", axis), as_tuple("roll", shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    elif len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) != len(axes):
        raise ArgumentError(
            "roll",
            "one shift an axis is needed",
            met=f"{len(shifts)} shifts for {len(axes)} axes",
            fix="pass one shift, or as many as axes",
        )
    for a, s in zip(axes, shifts, strict=True):
        a = normalize_axis("roll", a, x.ndim)
        n = x.shape[a]
        start = -as_integer("roll", "a shift", s) % n if n else 0
        if start:
            x = concat([along(x, a, start, n), along(x, a, 0, start)], axis=a)
    return new_handle(x)


def rot90(x: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """Turned `k` times by a quarter in the plane of two axes, from the first towards the second.

    >>> import wengert as wg
    >>> wg.rot90([[1, 2], [3, 4]])
    Tensor([[2, 4], [1, 3]], dtype=int64)
    """
    x = as_tensor(x)
    plane = normalize_axes("rot90", axes, x.ndim)
    if len(plane) != 2:
        raise ArgumentError("rot90", "a plane has two axes", met=repr(axes), fix="axes=(0, 1)")
    first, second = plane
    quarter = as_integer("rot90", "the number of quarter turns", k) % 4
    if quarter == 0:
        return new_handle(x)
    if quarter == 2:
        return flip(x, (first, second))
    if quarter == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second)


# -- padding -----------------------------------------------------------------------------------

# Names in NumPy and in PyTorch → NumPy's.
_MODES = {
    "constant": "constant",
    "edge": "edge",
    "replicate": "edge",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "wrap": "wrap",
    "circular": "wrap",
}


def pad(x: Any, /, pad_width: Any, mode: str = "constant", *, constant_values: float = 0) -> Tensor:
    """`x` with `(before, after)` more elements on each axis.

    `pad_width` is one number, one pair, or a pair for each axis. The modes are "constant", "edge"
    (alias "replicate"), "reflect" (the edge is not repeated), "symmetric" (it is) and "wrap"
    (alias "circular").

    >>> import wengert as wg
    >>> wg.pad([1, 2, 3], (2, 1), mode="reflect")
    Tensor([3, 2, 1, 2, 3, 2], dtype=int64)
    """
    x = as_tensor(x)
    widths = _pad_widths(pad_width, x)
    if mode not in _MODES:
        raise ArgumentError(
            "pad", "unknown mode", met=repr(mode), fix="use " + ", ".join(map(repr, _MODES))
        )
    if not any(map(sum, widths)):
        return new_handle(x)
    if mode == "constant":
        lo, hi = zip(*widths, strict=True)
        none = (0,) * x.ndim
        padded: Tensor = _p.pad(x, lo=lo, hi=hi, interior=none, value=constant_values)
        return padded
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if x.shape[axis] == 0:
            raise ShapeError(
                "pad",
                f"mode {mode!r} needs an element to repeat",
                met=f"axis {axis} of {x.shape}",
                fix="pad an empty axis with mode='constant'",
            )
        places = np.pad(np.arange(x.shape[axis]), (before, after), mode=_MODES[mode])  # type: ignore[call-overload]
        x = gather(x, Tensor(places), axis=axis)
    return x


def _pad_widths(pad_width: Any, x: Tensor) -> list[tuple[int, int]]:
    given = np.asarray(pad_width)
    try:
        if given.dtype.kind not in "iu" and given.size:
            raise ValueError
        pairs = np.broadcast_to(given, (x.ndim, 2)).tolist() if x.ndim else []
    except ValueError:
        raise ArgumentError(
            "pad",
            "pad_width is an integer, a pair, or a pair for each axis",
            met=f"{pad_width!r} for {x.ndim} axes",
            fix="write ((before, after), …)",
        ) from None
    if min((n for pair in pairs for n in pair), default=0) < 0:
        raise ArgumentError(
            "pad", "widths must not be negative", met=repr(pad_width), fix="slice to cut off"
        )
    return [(a, b) for a, b in pairs]


# -- taking out and putting in -----------------------------------------------------------------


def append(x: Any, values: Any, axis: int | None = None) -> Tensor:
    """`values` put behind `x` along an axis; both are flattened without one.

    >>> import wengert as wg
    >>> wg.append([1, 2], 3)
    Tensor([1, 2, 3], dtype=int64)
    """
    return concat([ravel(a) for a in (x, values)] if axis is None else [x, values], axis=axis or 0)


def _on_axis(x: Any, axis: int | None, op: str) -> tuple[Tensor, int]:
    x = as_tensor(x)
    return (ravel(x), 0) if axis is None else (x, normalize_axis(op, axis, x.ndim))


def _places(obj: Any, n: int, op: str) -> Any:
    """Indices, a mask or a slice as NumPy takes them, checked against an axis of size n."""
    if isinstance(obj, slice):
        return obj
    values = as_tensor(obj)._values(op)
    if values.size == 0:
        return np.zeros(0, np.intp)  # whatever the dtype: an empty list has that of floats
    if values.dtype.kind not in "iub":
        raise DtypeError(op, "indices must be integers", met=describe(values), fix="cast to int")
    if values.ndim > 1 or (values.dtype == bool and values.shape != (n,)):
        raise ShapeError(
            op,
            "takes an index, a list of indices, or a mask of the axis",
            met=f"{describe(values)} for an axis of size {n}",
            fix=f"pass a mask of shape ({n},), or flatten the indices",
        )
    if values.dtype == bool:
        return np.flatnonzero(values)
    top = n if op == "insert" else n - 1
    bad = values[(values < -n) | (values > top)]
    if bad.size:
        raise ArgumentError(
            op,
            "an index is out of bounds",
            met=f"{bad.flat[0]} for an axis of size {n}",
            fix=f"use {-n} to {top}",
        )
    return values


def delete(x: Any, obj: Any, axis: int | None = None) -> Tensor:
    """`x` without the elements that an index, a slice, a mask or indices name along an axis.

    >>> import wengert as wg
    >>> wg.delete([1, 2, 3], [0, 2])
    Tensor([2], dtype=int64)
    """
    x, a = _on_axis(x, axis, "delete")
    n = x.shape[a]
    kept = np.delete(np.arange(n), _places(obj, n, "delete"))
    found: Tensor = gather(x, Tensor(kept), axis=a)
    return found


def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """`values` put in before the places that `obj` names along an axis.

    >>> import wengert as wg
    >>> wg.insert([1, 2, 3], 1, 9)
    Tensor([1, 9, 2, 3], dtype=int64)
    """
    x, a = _on_axis(x, axis, "insert")
    n = x.shape[a]
    places = _places(obj, n, "insert")
    new = cast_to(as_tensor(values, x), x.dtype)
    if isinstance(places, np.ndarray) and places.ndim == 0 and new.ndim == x.ndim:
        count = new.shape[a]  # a block, put in at one place
    else:
        count = len(range(n)[places]) if isinstance(places, slice) else places.size
        if isinstance(places, np.ndarray) and places.ndim == 0 and new.ndim:
            new = expand_dims(new, axis=a) if new.ndim == x.ndim - 1 else new
    new = broadcast_to(new, (*x.shape[:a], count, *x.shape[a + 1 :]))
    if isinstance(places, np.ndarray) and places.ndim == 0:
        places = np.full(count, int(places))
    order = np.insert(np.arange(n), places, n + np.arange(count))
    found: Tensor = gather(concat([x, new], axis=a), Tensor(order), axis=a)
    return found


def diagflat(x: Any, k: int = 0) -> Tensor:
    """A matrix with the flattened `x` on its `k`-th diagonal.

    >>> import wengert as wg
    >>> wg.diagflat([1, 2])
    Tensor([[1, 0], [0, 2]], dtype=int64)
    """
    return diag(ravel(x), k)


# -- differences -------------------------------------------------------------------------------


def diff(x: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """The `n`-th difference along an axis, `x[i+1] - x[i]` taken n times.

    `prepend` and `append` are joined to the ends first. For bools it is "not equal".

    >>> import wengert as wg
    >>> wg.diff([1, 4, 9, 16])
    Tensor([3, 5, 7], dtype=int64)
    """
    x = as_tensor(x)
    axis = normalize_axis("diff", axis, x.ndim)
    n = as_integer("diff", "n", n)
    if n < 0:
        raise ArgumentError("diff", "n must not be negative", met=str(n), fix="pass 0 or more")
    ends = [as_tensor(e, x) for e in (prepend, x, append) if e is not None]
    if len(ends) > 1:
        one = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        x = concat([broadcast_to(e, one) if e.ndim == 0 else e for e in ends], axis=axis)
    step = not_equal if x.dtype == dtypes.bool else sub
    for _ in range(min(n, x.shape[axis])):
        size = x.shape[axis]
        x = step(along(x, axis, 1, size), along(x, axis, 0, size - 1))
    return new_handle(x)
