"""Windows that slide over trailing axes: `windows` shows each as axes of its own, and its transpose
`fold` adds windows back up at their places. Pooling, patches and convolution are made of them."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.index import ZERO, Indices, Place
from wengert.core.lowering import Indexed, View
from wengert.core.op import Array, Op
from wengert.core.rules import linear, one_an_input
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec
from wengert.core.tensor import Tensor

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def places(
    op: str, shape: Shape, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Shape:
    """Number of places that a window takes along each axis, or the error of `op`."""
    if not len(shape) == len(size) == len(stride) == len(dilation) == len(padding):
        raise ArgumentError(
            op,
            "window, stride, padding and dilation must have one entry for each spatial axis",
            met=f"{size}, {stride}, {padding} and {dilation} for spatial axes of sizes {shape}",
            fix="pass tuples of one length",
        )
    if min((*size, *stride, *dilation), default=1) < 1 or min(sum(padding, ()), default=0) < 0:
        raise ArgumentError(
            op,
            "window, stride and dilation must be positive, padding not negative",
            met=f"window {size}, stride {stride}, padding {padding}, dilation {dilation}",
            fix="use 1 for no stride and no dilation, 0 for no padding",
        )
    found = []
    for n, k, s, d, (lo, hi) in zip(shape, size, stride, dilation, padding, strict=True):
        room = n + lo + hi - d * (k - 1) - 1
        if room < 0:
            raise ShapeError(
                op,
                "the window does not fit into the array",
                met=f"a window of {size} with dilation {dilation} "
                f"over {shape} with padding {padding}",
                cause="too many strided or pooling layers before, or swapped axes",
                fix="pad more, or use a smaller window",
            )
        found.append(room // s + 1)
    return tuple(found)


def no_padding(ndim: int) -> Padding:
    """Padding of nothing along `ndim` axes."""
    return ((0, 0),) * ndim


# -- windows and fold --------------------------------------------------------------------------


def view_windows(x: Array, size: Sizes, stride: Sizes, dilation: Sizes, first: int) -> Array:
    """A view of the windows over the axes from `first` on: (*before, *places, *size, *behind)."""
    last = first + len(size)
    out = places("windows", x.shape[first:last], size, stride, dilation, no_padding(len(size)))
    steps = x.strides[first:last]
    return as_strided(
        x,
        (*x.shape[:first], *out, *size, *x.shape[last:]),
        (
            *x.strides[:first],
            *(a * s for a, s in zip(steps, stride, strict=True)),
            *(a * d for a, d in zip(steps, dilation, strict=True)),
            *x.strides[last:],
        ),
        writeable=False,
    )


def _windows(x: Array, size: Sizes, stride: Sizes, dilation: Sizes) -> Array:
    _windows_spec(x, size, stride, dilation)
    return view_windows(x, size, stride, dilation, x.ndim - len(size))


def _windows_spec(x: Shaped, size: Sizes, stride: Sizes, dilation: Sizes) -> Spec:
    count = len(size)
    if len(x.shape) < count:
        raise ShapeError(
            "windows",
            "the array has fewer axes than the window",
            met=f"a window of {size} over {tuple(x.shape)}",
            fix="give the window one size for each trailing axis it slides over",
        )
    lead = len(x.shape) - count
    out = places("windows", tuple(x.shape[lead:]), size, stride, dilation, no_padding(count))
    return Spec((*x.shape[:lead], *out, *size), x.dtype)


def _windows_transpose(
    g: Tensor, x_spec: Shaped, size: Sizes, stride: Sizes, dilation: Sizes
) -> Tensor:
    spatial = tuple(x_spec.shape[len(x_spec.shape) - len(size) :])
    out: Tensor = fold(g, shape=spatial, stride=stride, dilation=dilation)
    return out


def _windows_index(place: Place, x: Any, size: Sizes, stride: Sizes, dilation: Sizes) -> Indices:
    count = len(size)
    lead = len(x.shape) - count
    outs, entries = place.index[lead : lead + count], place.index[lead + count :]
    moved = [o * s + k * d for o, k, s, d in zip(outs, entries, stride, dilation, strict=True)]
    return (*place.index[:lead], *moved)


# windows[…, o…, k…] = x[…, stride·o + dilation·k …] over the last len(size) axes.
windows: Op = linear(
    "windows",
    _windows,
    _windows_spec,
    _windows_transpose,
    batch=lambda rows, args, batched, **params: windows(args[0], **params),
    samples=lambda rng: [
        Sample((rng.normal(size=(7,)),), {"size": (3,), "stride": (2,), "dilation": (1,)}),
        Sample(
            (rng.normal(size=(2, 5, 6)),), {"size": (2, 3), "stride": (1, 2), "dilation": (2, 1)}
        ),
        Sample((rng.normal(size=(4, 4)),), {"size": (4, 4), "stride": (1, 1), "dilation": (1, 1)}),
        Sample((rng.normal(size=(0, 3)),), {"size": (2,), "stride": (1,), "dilation": (1,)}),
        Sample((rng.normal(size=(3,)),), {"size": (), "stride": (), "dilation": ()}),
        Wrong(
            (rng.normal(size=(2,)),),
            {"size": (3,), "stride": (1,), "dilation": (1,)},
            ShapeError,
            "does not fit",
        ),
        Wrong(
            (rng.normal(size=(2,)),),
            {"size": (1, 1), "stride": (1, 1), "dilation": (1, 1)},
            ShapeError,
            "fewer axes",
        ),
        Wrong(
            (rng.normal(size=(2,)),),
            {"size": (2,), "stride": (0,), "dilation": (1,)},
            ArgumentError,
            "must be positive",
        ),
    ],
    cost="view",
    lower=View(_windows_index),
)


def reaching(b: Any, index: Any, places: int, stride: int, reach: int) -> list[tuple[Any, Any]]:
    """In compiled code, the windows along an axis that an entry can be in, in ascending order, each
    with the condition that there is one (None: always). A window has `reach` entries; the entry
    stands at `index`, counted from the start of the first window."""
    last, (low, high) = b.quotient(index, stride), b.bounds(index)
    found = []
    for back in reversed(range(-(-reach // stride))):
        always = low // stride >= back and high // stride - back < places
        place = last + -back
        found.append((place, None if always else b.inside(place, 0, places)))
    return found


def add_windows(
    total: Array, seen: Array, size: Sizes, stride: Sizes, dilation: Sizes, first: int
) -> None:
    """Add windows up, in place: `seen` is shaped as `view_windows(total, …)` would be."""
    middle = first + len(size)
    last = middle + len(size)
    out = seen.shape[first:middle]
    loop, length, step, stretch = size, out, dilation, stride
    if prod(out) < prod(size):  # places and entries play the same part: loop over the fewer
        loop, length, step, stretch = out, size, stride, dilation
        order = (*range(middle, last), *range(first, middle))
        seen = seen.transpose(*range(first), *order, *range(last, seen.ndim))
    everything = (slice(None),) * first
    rest = (slice(None),) * len(size)
    for index in np.ndindex(loop):
        target: list[Any] = [
            slice(i * s, i * s + (n - 1) * t + 1, t)
            for i, s, n, t in zip(index, step, length, stretch, strict=True)
        ]
        total[(*everything, *target)] += seen[(*everything, *rest, *index)]


def _fold(x: Array, shape: Shape, stride: Sizes, dilation: Sizes) -> Array:
    _fold_spec(x, shape, stride, dilation)
    lead = x.ndim - 2 * len(shape)
    half = x.dtype.itemsize == 2 and dtypes.is_float(x.dtype)  # accumulates in float32
    total = np.zeros((*x.shape[:lead], *shape), np.float32 if half else x.dtype)
    add_windows(total, x, x.shape[lead + len(shape) :], stride, dilation, lead)
    return total.astype(x.dtype, copy=False)


def _add(k: Any, x: Any, y: Any) -> Any:
    return k.add(x, y)


def _fold_entry(b: Any, place: Place, x: Any, shape: Shape, stride: Sizes, dilation: Sizes) -> Any:
    """The sum of the entries that windows have at a place, in the order of `add_windows`."""
    count = len(shape)
    lead = len(x.shape) - 2 * count
    places, size = x.shape[lead : lead + count], x.shape[lead + count :]
    axes = []
    for i, o, k, s, d in zip(place.index[lead:], places, size, stride, dilation, strict=True):
        axes.append(_meetings(b, i, o, k, s, d))
        if prod(places) >= prod(size):  # by entries, ascending: by places, descending
            axes[-1].reverse()
    total = b.number(0, x.dtype)
    if not x.size:
        return total
    for meeting in product(*axes):
        at = [*place.index[:lead], *(o for o, _, _ in meeting), *(k for _, k, _ in meeting)]
        conditions = [c for _, _, holds in meeting for c in holds]
        value = b.guarded(conditions, partial(b.read, x, at), b.number(0, x.dtype))
        total = b.apply(_add, total, value, dtype=x.dtype)
    return total


def _meetings(
    b: Any, index: Any, places: int, size: int, stride: int, dilation: int
) -> list[tuple[Any, Any, tuple[Any, ...]]]:
    """Along one axis, the windows in ascending order that may have an entry at a place, which entry
    that is, and the conditions under which it is one."""
    found = []
    if dilation == 1:
        for o, exists in reaching(b, index, places, stride, size):
            entry = index + o * -stride
            whole = size % stride == 0  # then no entry lies beyond the window
            found.append((o, entry, (exists, None if whole else b.inside(entry, 0, size))))
        return found
    for k in reversed(range(size)):
        o, whole = b.divided(index + -k * dilation, stride)
        start = b.inside(index, k * dilation, k * dilation + (places - 1) * stride + 1)
        found.append((o, ZERO + k, (start, whole)))
    return found


def _meeting(x: Shaped, shape: Shape, stride: Sizes, dilation: Sizes) -> int:
    """How many windows can meet in one entry."""
    size = x.shape[len(x.shape) - len(shape) :]
    each = [-(-k // s) if d == 1 else k for k, s, d in zip(size, stride, dilation, strict=True)]
    return prod(each)


def _fold_spec(x: Shaped, shape: Shape, stride: Sizes, dilation: Sizes) -> Spec:
    count = len(shape)
    lead = len(x.shape) - 2 * count
    if lead < 0:
        raise ShapeError(
            "fold",
            "takes windows with axes of places and of entries",
            met=f"{tuple(x.shape)} to fold into {shape}",
            fix="pass an array of shape (…, *places, *window)",
        )
    out, size = tuple(x.shape[lead : lead + count]), tuple(x.shape[lead + count :])
    expected = places("fold", tuple(shape), size, stride, dilation, no_padding(count))
    if out != expected:
        raise ShapeError(
            "fold",
            "the number of windows does not fit the shape to fold into",
            met=f"{out} windows of {size} for {shape}, which has {expected}",
            fix="pass the shape that the windows were taken from",
        )
    return Spec((*x.shape[:lead], *shape), x.dtype)


def _fold_transpose(
    g: Tensor, x_spec: Shaped, shape: Shape, stride: Sizes, dilation: Sizes
) -> Tensor:
    size = tuple(x_spec.shape[len(x_spec.shape) - len(shape) :])
    out: Tensor = windows(g, size=size, stride=stride, dilation=dilation)
    return out


# The sum of windows at their places: the transpose of `windows`.
fold: Op = linear(
    "fold",
    _fold,
    _fold_spec,
    _fold_transpose,
    work=one_an_input,
    batch=lambda rows, args, batched, **params: fold(args[0], **params),
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 3)),), {"shape": (7,), "stride": (2,), "dilation": (1,)}),
        Sample((rng.normal(size=(2, 4)),), {"shape": (6,), "stride": (2,), "dilation": (1,)}),
        Sample(
            (rng.normal(size=(2, 3, 2, 2, 3)),),
            {"shape": (5, 6), "stride": (1, 2), "dilation": (2, 1)},
        ),
        Sample((rng.normal(size=(0, 2, 2)),), {"shape": (3,), "stride": (1,), "dilation": (1,)}),
        Wrong(
            (rng.normal(size=(3, 3)),),
            {"shape": (9,), "stride": (2,), "dilation": (1,)},
            ShapeError,
            "number of windows",
        ),
        Wrong(
            (rng.normal(size=(3,)),),
            {"shape": (9,), "stride": (2,), "dilation": (1,)},
            ShapeError,
            "axes of places",
        ),
    ],
    lower=Indexed(_fold_entry, entries=_meeting),
)
