"""Stopping a run whose loss or gradients are not finite, before the step is taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core.errors import WengertError
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_leaves, tree_paths

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class DivergedError(WengertError, ArithmeticError):
    """The loss or a gradient is NaN or infinite. The step was not taken."""


def is_finite(x: Any) -> bool:
    """Whether all entries of an array are finite; integers always are."""
    values = np.asarray(x)
    if values.dtype.kind in "iub":
        return True
    return bool(
        np.isfinite(values if values.dtype.itemsize > 2 else values.astype(np.float32)).all()
    )


def check_finite(trainer: Trainer, loss: float, gradient_norm: float, batches: list[Any]) -> None:
    """Raise `DivergedError` unless loss and gradients are finite."""
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    what = f"the loss is {loss}" if not math.isfinite(loss) else "a gradient is not finite"
    place = f"step {trainer.step + 1}, epoch {trainer.epoch + 1}, loss {loss:.6g}"
    saved = trainer.last_checkpoint
    kept = f"; the last checkpoint is {saved}" if saved is not None else ""
    raise DivergedError(
        "fit",
        f"{what} at step {trainer.step + 1}; the step was not taken, and the model is as after "
        f"step {trainer.step}{kept}",
        met=f"{place}; {_first_bad(trainer)}",
        cause=_cause(batches),
        fix=f"lower the learning rate (now {trainer.learning_rate:g}), clip gradients with "
        "clip_grad_norm=1.0, or look for log, sqrt or a division at 0",
    )


def _first_bad(trainer: Trainer) -> str:
    """Which parameter or gradient is the first in the model's order that is not finite."""
    for name, p in trainer.named_parameters:
        if not is_finite(p._data):
            return f"first bad parameter: {name}, {_count(p._data)}"
    for name, p in trainer.named_parameters:
        if p.grad is not None and not is_finite(p.grad._data):
            return f"first bad gradient: {name}, {_count(p.grad._data)}"
    return "all parameters and gradients are finite"


def _count(values: Any) -> str:
    wide = np.asarray(values, np.float64)
    nan, inf = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    parts = [f"{n} {what}" for n, what in ((nan, "NaN"), (inf, "infinite")) if n]
    return f"{' and '.join(parts)} of {wide.size} entries"


def _cause(batches: list[Any]) -> str:
    """The data, if they are not finite."""
    for batch in batches:
        for path, leaf in zip(tree_paths(batch), tree_leaves(batch), strict=True):
            if isinstance(leaf, Tensor) and not is_finite(leaf._data):
                return f"the data: batch{path} holds {_count(leaf._data)}"
    return "the data of the batch are finite, so it arose in the model or the loss"
