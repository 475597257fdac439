"""`LRSchedule`: moves a learning-rate schedule on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError
from wengert.optim import LRScheduler, ReduceLROnPlateau
from wengert.train.callback import Callback, Logs, monitored

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class LRSchedule(Callback):
    """Calls `scheduler.step()` after every "epoch" or every "step".

    `ReduceLROnPlateau` is given the value of `monitor`, and works by epochs.
    """

    order = -20

    def __init__(
        self, scheduler: LRScheduler, every: str = "epoch", monitor: str = "val_loss"
    ) -> None:
        plateau = isinstance(scheduler, ReduceLROnPlateau)
        if every not in ("epoch", "step") or (plateau and every == "step"):
            raise ArgumentError(
                "LRSchedule",
                "a schedule moves on every 'epoch' or every 'step' (on a plateau: every epoch)",
                met=repr(every),
                fix="use 'step' for schedules that count batches, such as OneCycleLR",
            )
        self.scheduler, self.every, self.monitor = scheduler, every, monitor
        self.plateau = plateau

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if self.every == "step":
            self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        if self.plateau:
            value = monitored("LRSchedule", self.monitor, logs)
            self.scheduler.step(value)
        elif self.every == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.scheduler.load_state_dict(state)
