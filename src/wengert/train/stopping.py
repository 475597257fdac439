"""`EarlyStopping`: ends a run that no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError
from wengert.train.callback import Callback, Logs, higher_is_better, monitored

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class EarlyStopping(Callback):
    """Stops when `monitor` was not better than its best by more than `min_delta` for `patience`
    epochs.

    `mode` is "min", "max", or "auto": losses are to fall, metrics say of themselves. With
    `restore_best` (the default) the model ends with the weights of its best epoch, also where all
    epochs were run; with an `ema`, its averages too. NaN is never better.

    Source: Prechelt, "Early stopping – but when?", 1998.
    """

    order = 10

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if patience < 1 or min_delta < 0:
            raise ArgumentError(
                "EarlyStopping",
                "patience must be at least 1 and min_delta at least 0",
                met=f"patience={patience}, min_delta={min_delta}",
                fix="for example EarlyStopping(patience=10)",
            )
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.mode, self.restore_best = mode, restore_best
        self.best = math.nan
        self.best_epoch = 0
        self.waited = 0
        self._weights: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        higher_is_better("EarlyStopping", self.monitor, self.mode, trainer)  # checks the mode
        self._stop_if_due(trainer)  # a finished run that was resumed stays finished

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        value = monitored("EarlyStopping", self.monitor, logs)
        sign = 1 if higher_is_better("EarlyStopping", self.monitor, self.mode, trainer) else -1
        first = math.isnan(self.best)
        if not math.isnan(value) and (first or sign * (value - self.best) > self.min_delta):
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            if self.restore_best:
                self._weights = {"model": dict(trainer.model.state_dict())}
                if trainer.ema is not None:
                    self._weights["ema"] = trainer.ema.state_dict()
        else:
            self.waited += 1
        self._stop_if_due(trainer)

    def _stop_if_due(self, trainer: Trainer) -> None:
        if self.waited >= self.patience:
            trainer.stop(
                f"{self.monitor} was best in epoch {self.best_epoch} ({self.best:.4g}) "
                f"and not better for {self.waited} epochs"
            )

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.stop_reason == "interrupted" or self._weights is None:
            return  # an interrupted run is to go on from where it is
        trainer.model.load_state_dict(self._weights["model"])
        if trainer.ema is not None:
            trainer.ema.load_state_dict(self._weights["ema"])

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited, self._weights = state["waited"], state["weights"]
