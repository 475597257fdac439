"""Metrics that are computed batch by batch: `update`, `compute`, `reset`.

All sums are kept in float64 or integers, so the result does not depend on how the samples were cut
into batches beyond float64 rounding. States are plain data, so a checkpoint can hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, StateError
from wengert.core.tensor import Tensor
from wengert.train.outcomes import Array, paired

__all__ = ["MAE", "MSE", "R2", "Mean", "Metric"]


class Metric:
    """Base: subclasses name their sums in `fields`, with the values that `reset` gives them."""

    fields: Mapping[str, Any] = {}
    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    @property
    def name(self) -> str:
        """What the metric is called where no name is given: its class in lower case."""
        return type(self).__name__.lower()

    def reset(self) -> None:
        """Forget everything."""
        for field, value in self.fields.items():
            setattr(self, field, value)

    def update(self, prediction: Any, target: Any) -> None:
        """Take a batch into account."""
        raise ArgumentError(self.name, "cannot be updated", fix="define update(self, …)")

    def compute(self) -> Any:
        """The metric over all batches since the last reset."""
        raise ArgumentError(self.name, "cannot be computed", fix="define compute(self)")

    def __call__(self, prediction: Any, target: Any) -> Any:
        """The metric of one batch alone; what was taken into account before is forgotten."""
        self.reset()
        self.update(prediction, target)
        return self.compute()

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {field: getattr(self, field) for field in self.fields}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from stored sums."""
        if set(state) != set(self.fields):
            raise StateError(
                self.name,
                "the stored state belongs to another metric",
                met=f"{', '.join(sorted(map(str, state)))}",
                fix=f"it must have {', '.join(sorted(self.fields))}",
            )
        for field, value in state.items():
            setattr(self, field, value.numpy() if isinstance(value, Tensor) else value)

    def _ratio(self, above: float, below: float) -> float:
        """above / below, or the error for a metric that has seen nothing."""
        if below == 0:
            raise ArgumentError(
                self.name,
                "there is nothing to compute it from",
                cause="compute() before any update, or only ignored targets",
                fix="update it with at least one batch",
            )
        return float(above) / float(below)


class Mean(Metric):
    """The weighted mean of numbers: `update(value, weight)`. What losses are averaged with.

    >>> from wengert.train import Mean
    >>> mean = Mean(); mean.update(1.0, 3); mean.update(5.0, 1); mean.compute()
    2.0
    """

    fields = {"total": 0.0, "weight": 0.0}
    higher_is_better = False
    total: float
    weight: float

    def update(self, prediction: Any, target: Any = 1.0) -> None:
        weight = float(target)
        if weight:
            self.total += float(prediction) * weight
            self.weight += weight

    def compute(self) -> float:
        return self._ratio(self.total, self.weight)


# -- regression ---------------------------------------------------------------------------------


class MSE(Metric):
    """Mean of (prediction - target)² over all entries."""

    fields = {"total": 0.0, "count": 0}
    higher_is_better = False
    total: float
    count: int

    def update(self, prediction: Any, target: Any) -> None:
        p, t = paired(self.name, prediction, target)
        self.total += float(self.deviation(p - t).sum())
        self.count += int(t.size)

    @staticmethod
    def deviation(difference: Array) -> Array:
        """What is averaged."""
        return difference**2

    def compute(self) -> float:
        return self._ratio(self.total, self.count)


class MAE(MSE):
    """Mean of |prediction - target| over all entries."""

    @staticmethod
    def deviation(difference: Array) -> Array:
        return np.abs(difference)


class R2(Metric):
    """1 - Σ(target - prediction)² / Σ(target - mean)², over all entries.

    The spread is kept as count, mean and sum of squares about the mean, which does not cancel.

    Source (update): Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.

    >>> import numpy as np
    >>> from wengert.train import R2
    >>> R2()(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    0.5
    """

    fields = {"residual": 0.0, "spread": 0.0, "mean": 0.0, "count": 0}
    residual: float
    spread: float
    mean: float
    count: int

    def update(self, prediction: Any, target: Any) -> None:
        p, t = paired(self.name, prediction, target)
        if not t.size:
            return
        self.residual += float(((p - t) ** 2).sum())
        mean, total = float(t.mean()), self.count + t.size
        shift = mean - self.mean
        between = shift * shift * self.count * t.size / total
        self.spread += float(((t - mean) ** 2).sum()) + between
        self.mean += shift * t.size / total
        self.count = total

    def compute(self) -> float:
        if self.count and self.spread == 0:
            raise ArgumentError(
                self.name,
                "the targets are all equal, so there is no spread to explain",
                met=f"{self.count} targets equal to {self.mean}",
                fix="use MSE",
            )
        return 1.0 - self._ratio(self.residual, self.spread)
