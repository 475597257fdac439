"""Predictions and targets as arrays that metrics can count."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.dtypes import is_float
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor

Array = np.ndarray[Any, Any]


def as_array(x: Any) -> Array:
    """The values of a tensor or array; half precision becomes float32."""
    values = x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
    if values.dtype.itemsize == 2 and is_float(values.dtype):
        return values.astype(np.float32)
    return values


def paired(name: str, prediction: Any, target: Any) -> tuple[Array, Array]:
    """Prediction and target as flat float64 arrays of one length. A last axis of size 1 that one of
    them has and the other lacks does not matter."""
    p, t = as_array(prediction), as_array(target)
    p, t = _without_single(p, t), _without_single(t, p)
    if p.shape != t.shape:
        raise ShapeError(
            name,
            "prediction and target must have the same shape",
            met=describe(p, t),
            fix="reshape one of them; broadcasting would count entries twice",
        )
    return p.astype(np.float64).ravel(), t.astype(np.float64).ravel()


def _without_single(a: Array, other: Array) -> Array:
    single = a.ndim == other.ndim + 1 and a.shape[-1] == 1
    return a[..., 0] if single else a


def class_ids(
    name: str, prediction: Any, target: Any, threshold: float, ignore_index: int | None
) -> tuple[Array, Array, Array]:
    """Predicted and true class numbers, flat, without the ignored ones; and which were kept."""
    p, t = as_array(prediction), as_array(target)
    soft = t.dtype.kind == "f" and t.ndim >= 2 and t.shape == p.shape and t.shape[1] > 1
    if soft:
        t = t.argmax(1)
    if p.dtype.kind == "f" and p.ndim == t.ndim + 1 and p.shape[1] > 1:
        if np.isnan(p).any():
            raise ArgumentError(
                name,
                "the scores contain NaN",
                met=describe(p),
                cause="training that diverged",
                fix="look for the first NaN in the loss",
            )
        p = p.argmax(1)
    p, t = _without_single(p, t), _without_single(t, p)
    if p.shape != t.shape:
        raise ShapeError(
            name,
            "scores and labels do not fit together",
            met=describe(as_array(prediction), as_array(target)),
            fix="pass scores (n, classes, …) with labels (n, …), or both of one shape",
        )
    if p.dtype.kind == "f":
        p = p > threshold
    if t.dtype.kind == "f" and not np.array_equal(t, np.round(t)):
        raise DtypeError(
            name,
            "labels must be class numbers",
            met=f"{describe(t)} with entries that are not whole",
            fix="pass integers, or class weights in the shape of the scores",
        )
    t, p = t.ravel().astype(np.int64), p.ravel().astype(np.int64)
    kept = np.ones(t.shape, bool) if ignore_index is None else t != ignore_index
    return p[kept], t[kept], kept


def log_probabilities(name: str, logits: Array) -> Array:
    """log softmax over axis 1 of (n, classes, …), as rows of float64."""
    if logits.ndim < 2:
        raise ShapeError(
            name,
            "needs a logit for each class",
            met=describe(logits),
            fix="pass logits of shape (n, classes)",
        )
    rows = np.moveaxis(logits, 1, -1).reshape(-1, logits.shape[1]).astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def check_labels(name: str, labels: Array, classes: int) -> None:
    """The error for a label that is no class."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ArgumentError(
            name,
            f"a label is not among the {classes} classes",
            met=f"label {int(labels[outside][0])}",
            fix="correct the labels, or pass ignore_index= for a label that means nothing",
        )
