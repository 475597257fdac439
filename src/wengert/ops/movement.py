"""Ops that move elements without changing them. All are linear; most are views in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.lowering import View
from wengert.core.op import Op, cast_to
from wengert.core.rules import custom, linear
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec
from wengert.core.tensor import Tensor

# -- reshape -----------------------------------------------------------------------------------


def _reshape_spec(x: Shaped, shape: Shape) -> Spec:
    if math.prod(x.shape) != math.prod(shape):
        raise ShapeError(
            "reshape",
            "the number of elements must stay the same",
            met=f"{tuple(x.shape)} ({math.prod(x.shape)} elements) to {shape} ({math.prod(shape)})",
            fix="pass -1 for one size to have it worked out",
        )
    return Spec(shape, x.dtype)


reshape: Op = linear(
    "reshape",
    lambda x, shape: x.reshape(shape),
    _reshape_spec,
    lambda g, x_spec: reshape(g, shape=x_spec.shape),
    batch=lambda size, args, batched, shape: reshape(args[0], shape=(size, *shape)),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 6)),), {"shape": (3, 4)}),
        Sample((rng.normal(size=()),), {"shape": (1, 1)}),
        Sample((rng.normal(size=(0, 3)),), {"shape": (3, 0, 2)}),
        Wrong((rng.normal(size=(2, 3)),), {"shape": (4,)}, ShapeError, "number of elements"),
    ],
    cost="view",
    lower=View(lambda place, x, shape: place.reshaped(x.shape)),
)


# -- permute -----------------------------------------------------------------------------------


def _permute_spec(x: Shaped, axes: tuple[int, ...]) -> Spec:
    if sorted(axes) != list(range(len(x.shape))):
        raise ArgumentError(
            "permute_dims",
            "axes must name each axis once",
            met=f"{axes} for {tuple(x.shape)}",
            fix=f"pass a permutation of {tuple(range(len(x.shape)))}",
        )
    return Spec(tuple(x.shape[a] for a in axes), x.dtype)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


permute: Op = linear(
    "permute",
    lambda x, axes: x.transpose(axes),
    _permute_spec,
    lambda g, axes: permute(g, axes=_inverse(axes)),
    batch=lambda size, args, batched, axes: permute(args[0], axes=(0, *(a + 1 for a in axes))),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3, 4)),), {"axes": (2, 0, 1)}),
        Sample((rng.normal(size=()),), {"axes": ()}),
        Wrong((rng.normal(size=(2, 3)),), {"axes": (0, 0)}, ArgumentError, "each axis once"),
    ],
    cost="view",
    lower=View(lambda place, x, axes: tuple(place.index[i] for i in _inverse(axes))),
)


# -- broadcast_to ------------------------------------------------------------------------------


def _broadcast_spec(x: Shaped, shape: Shape) -> Spec:
    fits = len(x.shape) <= len(shape) and all(
        a in (1, b) for a, b in zip(x.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            "broadcast_to",
            "the array cannot be broadcast to this shape",
            met=f"{tuple(x.shape)} to {shape}",
            cause="sizes are compared from the last axis; each must be equal or 1",
            fix="insert an axis with x[:, None] where the new axis is to be",
        )
    return Spec(shape, x.dtype)


def _broadcast_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], shape: Shape
) -> Tensor:
    (x,) = args
    lined_up = (size,) + (1,) * (len(shape) - x.ndim + 1) + x.shape[1:]
    return broadcast_to(reshape(x, shape=lined_up), shape=(size, *shape))


broadcast_to: Op = linear(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    _broadcast_spec,
    lambda g, x_spec: unbroadcast(g, x_spec.shape),
    batch=_broadcast_batch,
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 1)),), {"shape": (2, 3, 4)}),
        Sample((rng.normal(size=()),), {"shape": (2,)}),
        Sample((rng.normal(size=(1,)),), {"shape": (0,)}),
        Wrong((rng.normal(size=(2,)),), {"shape": (3,)}, ShapeError, "cannot be broadcast"),
    ],
    cost="view",
    lower=View(lambda place, x, shape: place.broadcast(x.shape)),
)


def unbroadcast(g: Tensor, shape: Shape) -> Tensor:
    """Sum `g` over the axes along which `shape` was broadcast: the transpose of broadcasting."""
    from wengert.ops.reduce import sum as reduce_sum

    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1
    )
    if axes:
        g = reduce_sum(g, axis=axes)
    return g if g.shape == shape else reshape(g, shape=shape)


# -- cast --------------------------------------------------------------------------------------


def _cast_transpose(g: Tensor, x_spec: Shaped, dtype: Any) -> Tensor | None:
    return cast_to(g, x_spec.dtype) if dtypes.is_float(dtype) else None


cast: Op = custom(
    "cast",
    lambda x, dtype: x.astype(dtype),
    lambda x, dtype: Spec(x.shape, dtype),
    jvps=(lambda t, dtype: cast_to(t, dtype) if dtypes.is_float(dtype) else None,),
    vjps=(_cast_transpose,),
    batch=lambda size, args, batched, dtype: cast(args[0], dtype=dtype),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3)),), {"dtype": dtypes.float64}),
        Sample((rng.normal(size=(2, 3)) * 3,), {"dtype": dtypes.int32}, smooth=False),
        Sample((rng.integers(0, 3, (2, 3)),), {"dtype": dtypes.float32}),
    ],
    lower=lambda k, x, dtype: k.cast(x, k.dtype, dtype),
)
