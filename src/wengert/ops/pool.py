"""Where the largest value of each window stands: what max pooling and its derivative are made of.

The result is an array of indices, so the op has no derivative; pooling gathers the values at these
indices, and gathering has all its rules.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.ops.window import Padding, Sizes, places


def _argmax_windows_spec(
    x: Shaped, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Spec:
    if not dtypes.is_float(x.dtype) and not dtypes.is_integer(x.dtype):
        raise DtypeError("argmax_windows", "takes numbers", met=describe(x), fix="cast the array")
    lead = len(x.shape) - len(size)
    if lead < 0:
        raise ShapeError(
            "argmax_windows",
            "the array has fewer axes than the window",
            met=f"a window of {size} over {tuple(x.shape)}",
            fix="give the window one size for each trailing axis it slides over",
        )
    out = places("argmax_windows", tuple(x.shape[lead:]), size, stride, dilation, padding)
    return Spec((*x.shape[:lead], *out), dtypes.int64)


@lru_cache(maxsize=256)
def _first_inside(shape: Sizes, size: Sizes, out: Sizes, *steps: Any) -> Array:
    """For each place of the window, the number of its first entry that lies inside the array."""
    stride, dilation, padding = steps
    number: Any = 0
    for axis, (n, k, o) in enumerate(zip(shape, size, out, strict=True)):
        start = np.arange(o) * stride[axis] - padding[axis][0]
        entry = np.maximum(-(start // dilation[axis]), 0)  # ceil(−start / dilation)
        if np.any((entry >= k) | (start + entry * dilation[axis] >= n)):
            raise ArgumentError(
                "argmax_windows",
                "a window lies in the padding altogether",
                met=f"a window of {size} with padding {padding} over {shape}",
                fix="use a padding of at most half the window",
            )
        number = np.asarray(number)[..., None] * k + entry
    return np.asarray(number)


def _argmax_windows(
    x: Array, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding
) -> Array:
    spec = _argmax_windows_spec(x, size, stride, dilation, padding)
    lead = x.ndim - len(size)
    shape, out = x.shape[lead:], spec.shape[lead:]
    first = _first_inside(shape, size, out, stride, dilation, padding)
    entries = _entries(x, size, stride, dilation, padding, out)
    # One pass an entry over all windows at once. Numbers grow, so a maximum keeps the latest one
    # that was strictly greater: ties go to the first.
    small = np.uint8 if len(entries) <= 256 else np.int64
    best = np.full(spec.shape, _lowest(x.dtype), x.dtype)
    number = np.broadcast_to(first.astype(small), spec.shape).copy()
    for i, values in enumerate(entries):
        better = values > best
        np.maximum(best, values, out=best)
        np.maximum(number, np.multiply(better, i, dtype=small), out=number)
    if dtypes.is_float(x.dtype) and np.isnan(best).any():  # the first NaN wins
        for i in reversed(range(len(entries))):
            number[np.isnan(entries[i])] = i
    return _positions(number, shape, size, stride, dilation, padding, out)


def _entries(
    x: Array, size: Sizes, stride: Sizes, dilation: Sizes, padding: Padding, out: Sizes
) -> list[Array]:
    """For each entry of the window a view of its values at all places, padded with the lowest."""
    lead = x.ndim - len(size)
    if any(map(sum, padding)):
        x = np.pad(x, ((0, 0),) * lead + padding, constant_values=_lowest(x.dtype))
    views = []
    for entry in np.ndindex(size):
        starts = [e * d for e, d in zip(entry, dilation, strict=True)]
        ranges = [
            slice(a, a + (o - 1) * s + 1, s) if o else slice(0, 0)
            for a, o, s in zip(starts, out, stride, strict=True)
        ]
        views.append(x[(..., *ranges)])
    return views


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtypes.is_float(dtype) else np.iinfo(dtype).min


def _positions(
    number: Array,
    shape: Sizes,
    size: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Padding,
    out: Sizes,
) -> Array:
    """Entry numbers as indices into the flattened trailing axes of the array."""
    corner: Any = np.zeros((), np.int64)  # of the window at each place; may lie outside
    offset: Any = np.zeros((), np.int64)  # of each entry from the corner
    for axis, (n, k, o) in enumerate(zip(shape, size, out, strict=True)):
        corner = corner[..., None] * n + np.arange(o) * stride[axis] - padding[axis][0]
        offset = offset[..., None] * n + np.arange(k) * dilation[axis]
    return np.asarray(offset.reshape(-1)[number] + corner)


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    line = {"size": (2,), "stride": (2,), "dilation": (1,), "padding": ((0, 0),)}
    return [
        Sample((rng.normal(size=(2, 7)),), {**line, "size": (3,)}),
        Sample((rng.integers(0, 3, (2, 6)),), line),
        Sample(
            (rng.normal(size=(2, 5, 6)),),
            {"size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "padding": ((1, 1), (0, 1))},
        ),
        Sample((np.array([[-np.inf, -np.inf, 1.0, np.nan]]),), {**line, "padding": ((1, 1),)}),
        Sample((rng.normal(size=(0, 4)),), line),
        Wrong((rng.normal(size=(2, 1)),), line, ShapeError, "does not fit"),
        Wrong(
            (rng.normal(size=(2, 3)),),
            {**line, "padding": ((2, 0),)},
            ArgumentError,
            "in the padding altogether",
        ),
        Wrong((np.zeros((2, 4), bool),), line, DtypeError, "takes numbers"),
        Wrong((np.zeros(()),), line, ShapeError, "fewer axes"),
    ]


# The index, within the flattened trailing axes that the window slides over, of the first largest
# value in each window; padding counts as −∞.
argmax_windows: Op = custom(
    "argmax_windows",
    _argmax_windows,
    _argmax_windows_spec,
    work=lambda out, x, size, **params: math.prod(out.shape) * math.prod(size),
    batch=lambda rows, args, batched, **params: argmax_windows(args[0], **params),
    samples=_samples,
)
