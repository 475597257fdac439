"""Lowering the learning rate when a metric no longer improves."""

from __future__ import annotations

import math
from typing import Any

from wengert.core.errors import ArgumentError, TraceError
from wengert.core.state import state
from wengert.optim.checks import nonnegative, number, one_of, positive
from wengert.optim.groups import ParamGroup
from wengert.optim.optimizer import Optimizer
from wengert.optim.schedule import LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by `factor` after more than `patience` steps without a better metric.

    `step(metric)` takes the metric, to be minimised or (mode="max") maximised. Better means by more
    than `threshold`: a fraction of the best value (threshold_mode="rel") or a difference ("abs").
    After a reduction, `cooldown` steps are not counted. No rate falls below `min_lr`, and changes
    of less than `eps` are left out. A metric that is NaN is not better.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.ReduceLROnPlateau(opt, factor=0.5, patience=1)
    >>> for loss in (1.0, 1.0, 1.0): schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    saved = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter", "scales")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        positive("ReduceLROnPlateau", factor=factor)
        if factor >= 1.0:
            raise ArgumentError(
                "ReduceLROnPlateau", "factor is below 1", met=f"factor={factor}", fix="pass 0.1"
            )
        one_of("ReduceLROnPlateau", "mode", mode, "min", "max")
        one_of("ReduceLROnPlateau", "threshold_mode", threshold_mode, "rel", "abs")
        nonnegative("ReduceLROnPlateau", patience=patience, threshold=threshold)
        nonnegative("ReduceLROnPlateau", cooldown=cooldown, eps=eps)
        self.mode, self.factor, self.patience = mode, float(factor), patience
        self.threshold, self.threshold_mode = float(threshold), threshold_mode
        self.cooldown, self.eps = cooldown, float(eps)
        groups = len(optimizer.param_groups)
        floors = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * groups
        nonnegative("ReduceLROnPlateau", **{f"min_lr[{i}]": v for i, v in enumerate(floors)})
        if len(floors) != groups:
            raise ArgumentError(
                "ReduceLROnPlateau",
                "min_lr is a number, or one a group",
                met=f"{len(floors)} for {groups} groups",
                fix="pass one number",
            )
        self.min_lrs = [float(v) for v in floors]
        self.scales = [1.0] * groups
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def step(  # type: ignore[override]
        self, metrics: Any = None, epoch: float | None = None
    ) -> None:
        """Count a step with this value of the metric, and lower the rates if it is time."""
        if state.trace is not None:
            raise TraceError(
                "ReduceLROnPlateau",
                "a step looks at the metric and keeps it, so it cannot be traced",
                met="schedule.step(metric) inside jit, vmap or trace",
                fix="return the metric from the compiled function and call step(metric) outside; "
                "compiled steps read the new rate without being compiled again",
            )
        if self.last_epoch >= 0 or metrics is not None:
            self._count(self._number(metrics))
        super().step(epoch)

    def _number(self, metrics: Any) -> float:
        if metrics is None:
            raise ArgumentError(
                "ReduceLROnPlateau",
                "step needs the metric that is watched",
                met="step()",
                fix="call schedule.step(validation_loss)",
            )
        return number("ReduceLROnPlateau", "the metric", metrics)

    def is_better(self, value: float) -> bool:
        """Whether a value improves on the best one."""
        sign = 1.0 if self.mode == "min" else -1.0
        if math.isinf(self.best):
            return sign * value < sign * self.best
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        return sign * value < sign * self.best - margin

    def _count(self, value: float) -> None:
        if self.is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _reduce(self) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            now = group["lr"]
            if now - max(now * self.factor, self.min_lrs[i]) > self.eps:
                self.scales[i] *= self.factor

    def value(self, base: float, group: int) -> float:
        scale = self.scales[group]
        return base if scale == 1.0 else max(base * scale, min(base, self.min_lrs[group]))

    def admit(self, group: ParamGroup) -> None:
        self.scales.append(1.0)
        self.min_lrs.append(self.min_lrs[-1])
        super().admit(group)
