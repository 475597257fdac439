"""Reductions over axes. The primitives take a sorted tuple of axes and drop them."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.errors import AxisError
from wengert.core.op import Op
from wengert.core.rules import AxisErrorFor, linear
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.ops.movement import broadcast_to, reshape

Axes = tuple[int, ...]


def kept_shape(shape: Shape, axis: Axes) -> Shape:
    """The shape after a reduction that keeps reduced axes with size 1."""
    return tuple(1 if i in axis else n for i, n in enumerate(shape))


def spread(g: Tensor, shape: Shape, axis: Axes) -> Tensor:
    """Broadcast the result of a reduction back over the axes that it dropped."""
    return broadcast_to(reshape(g, shape=kept_shape(shape, axis)), shape=shape)


def reduced_spec(x: Shaped, axis: Axes, op: str = "sum") -> Spec:
    """Shape rule of reductions that keep the dtype."""
    for a in axis:
        if not 0 <= a < len(x.shape):
            raise AxisErrorFor(op, a, len(x.shape))
    return Spec(tuple(n for i, n in enumerate(x.shape) if i not in axis), x.dtype)


def reduce_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    """Shapes and axes that each reduction is tested with."""
    x = rng.normal(size=(2, 3, 4))
    return [
        Sample((x,), {"axis": (1,)}),
        Sample((x,), {"axis": (0, 2)}),
        Sample((x,), {"axis": (0, 1, 2)}),
        Sample((x,), {"axis": ()}),
        Sample((rng.normal(size=()),), {"axis": ()}),
        Wrong((x,), {"axis": (3,)}, AxisError, "no such axis"),
    ]


def shift(axis: Axes) -> Axes:
    """The same axes behind a leading batch axis."""
    return tuple(a + 1 for a in axis)


def _sum(x: Any, axis: Axes) -> Any:
    return np.add.reduce(x, axis=axis, dtype=x.dtype)


sum: Op = linear(
    "sum",
    _sum,
    reduced_spec,
    lambda g, x_spec, axis: spread(g, x_spec.shape, axis),
    batch=lambda size, args, batched, axis: sum(args[0], axis=shift(axis)),
    samples=lambda rng: [*reduce_samples(rng), Sample((rng.normal(size=(0, 2)),), {"axis": (0,)})],
)
