"""What all losses do with their arguments: checks of shapes and labels, and the final reduction."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core.dtypes import default_float, int64, is_float
from wengert.core.errors import ArgumentError, BoundsError, ShapeError
from wengert.core.op import cast_to
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at

REDUCTIONS = ("none", "mean", "sum")


def reduced(op: str, loss: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    """The loss of each element as they are ("none"), their sum, or their mean.

    With weights, elements are multiplied by them, and the mean is the weighted one,
    `Σ wᵢ·lossᵢ / Σ wᵢ`.
    """
    check_reduction(op, reduction)
    if weight is not None:
        loss = loss * weight
    if reduction == "none":
        return loss
    total = xp.sum(loss) if reduction == "sum" or weight is not None else xp.mean(loss)
    if reduction == "mean" and weight is not None:
        return total / xp.sum(xp.broadcast_to(weight, loss.shape))
    return total


def check_reduction(op: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise unless the reduction is one that the loss knows."""
    if reduction not in allowed:
        raise ArgumentError(
            at(op),
            "unknown reduction",
            met=repr(reduction),
            fix="use " + ", ".join(map(repr, allowed[:-1])) + f" or {allowed[-1]!r}",
        )


def as_pair(op: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    """Predictions and targets of one shape, as tensors of one floating dtype, without NaN among
    the targets."""
    x, t = as_tensor(input), as_tensor(target)
    check_same_shape(op, x, t)
    check_reduction(op, reduction)
    if reduction != "none":
        check_labels(op, t)
    if not is_float(x.dtype):
        x = cast_to(x, default_float())
    return x, t if is_float(t.dtype) else cast_to(t, x.dtype)


def check_same_shape(op: str, x: Tensor, t: Tensor, name: str = "target") -> None:
    """Losses do not broadcast: (N, 1) against (N,) would silently compare all pairs."""
    if x.shape == t.shape:
        return
    same_size = [n for n in x.shape if n != 1] == [n for n in t.shape if n != 1]
    raise ShapeError(
        at(op),
        f"input and {name} must have one shape",
        met=f"input {x.shape} and {name} {t.shape}",
        cause="an axis of size 1 that one of them lacks; broadcast, every prediction would be "
        "compared with every target"
        if same_size
        else "",
        fix=f"use {name}.reshape{x.shape}".replace(",)", ")")
        if same_size
        else f"give the {name} the shape of the input; if broadcasting is meant, write "
        f"wg.broadcast_to({name}, input.shape)",
    )


def check_labels(op: str, t: Tensor) -> None:
    """Raise if labels contain NaN. Only data are checked: a symbolic tensor has no values, and
    targets that are themselves computed may be NaN for reasons that others report better."""
    if t.is_symbolic or t.requires_grad or t.size == 0 or not is_float(t.dtype):
        return
    lowest = t._data.min()  # NaN, if there is one
    if lowest == lowest:
        return
    place = tuple(int(i) for i in np.argwhere(np.isnan(t._data))[0])
    raise ArgumentError(
        at(op),
        "the targets contain NaN",
        met=f"NaN at {indexed('target', place)}",
        cause="missing values in the data",
        fix="drop or fill these rows; to leave entries out, use reduction='none' and a mask",
    )


def checked_classes(op: str, indices: Tensor, classes: int, ignored: int | None = None) -> Tensor:
    """Class indices as int64. Raises unless each is in [0, classes) or is the ignored one; a
    symbolic tensor has no values to check."""
    if indices.is_symbolic or indices.size == 0:
        return cast_to(indices, int64)
    values = indices._data
    if values.min() >= 0 and values.max() < classes:
        return cast_to(indices, int64)
    wrong = (values < 0) | (values >= classes)
    if ignored is not None:
        wrong &= values != ignored
    if not wrong.any():
        return cast_to(indices, int64)
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise BoundsError(
        at(op),
        "a class index is outside the classes",
        met=f"index {int(values[place])} at {indexed('target', place)}, with {classes} classes "
        f"(0 to {classes - 1})",
        cause="labels that start at 1, or a last layer with too few outputs",
        fix="shift or map the labels"
        + ("" if ignored is None else f", or mark entries to skip with ignore_index={ignored}"),
    )


def indexed(name: str, place: tuple[int, ...]) -> str:
    """How to write one element: `target[3, 1]`."""
    return f"{name}[{', '.join(map(str, place))}]" if place else name
