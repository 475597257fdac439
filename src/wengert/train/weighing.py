"""What a batch weighs in a mean: so that batches of unequal size, put together, give the same mean
loss and the same gradient as the one large batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_leaves

Weigher = Callable[[Any, Any], float]  # (batch, target) → weight


def batch_size(batch: Any) -> int:
    """The number of samples: the length of the first array in the batch."""
    for leaf in tree_leaves(batch):
        if isinstance(leaf, (Tensor, np.ndarray)) and leaf.ndim:
            return int(leaf.shape[0])
    raise ArgumentError(
        "fit",
        "the number of samples cannot be told: the batch holds no array",
        met=type(batch).__name__,
        fix="let the loader give arrays, or pass batch_weight= to the Trainer",
    )


def setting(loss: Any, name: str) -> Any:
    """A setting of a loss: an attribute of its module, or the default of the function's argument
    (with what functools.partial fixed); None where it has no such setting."""
    if hasattr(loss, name):
        return getattr(loss, name)
    try:
        parameter = inspect.signature(loss).parameters.get(name)
    except (TypeError, ValueError):
        return None
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return None
    return parameter.default


def weigher(loss: Any) -> Weigher:
    """What a batch weighs for this loss.

    A mean over samples weighs each batch by its number of samples. A mean over labels leaves out
    those equal to `ignore_index` and weighs the others by the class weights `weight`, as
    cross-entropy does. A sum weighs every batch 1.
    """
    reduction = setting(loss, "reduction")
    if reduction == "none":
        raise ArgumentError(
            "Trainer",
            "the loss must be one number a batch",
            met="reduction='none'",
            fix="use reduction='mean' or 'sum'",
        )
    if reduction == "sum":
        return lambda batch, target: 1.0
    ignored, class_weights = setting(loss, "ignore_index"), setting(loss, "weight")
    if ignored is None and class_weights is None:
        return lambda batch, target: float(batch_size(batch))
    weights = None if class_weights is None else np.asarray(class_weights, np.float64)
    return lambda batch, target: _weight_of_labels(batch, target, ignored, weights)


def _weight_of_labels(batch: Any, target: Any, ignored: Any, weights: Any) -> float:
    labels = np.asarray(target.detach().numpy() if isinstance(target, Tensor) else target)
    if labels.dtype.kind not in "iu":  # class probabilities: a mean over entries
        return float(batch_size(batch))
    kept = labels[labels != ignored] if ignored is not None else labels
    return float(weights[kept].sum()) if weights is not None else float(kept.size)
