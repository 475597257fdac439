"""`Checkpoint`: the callback that writes checkpoints, and keeps the last ones and the best."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError
from wengert.train import files, storage
from wengert.train.callback import Callback, Logs, higher_is_better, monitored
from wengert.train.checkpoint import checkpoints, is_valid

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class Checkpoint(Callback):
    """Saves all that an exact resume needs to `folder/step-00000123`.

    After every `every_epochs` epochs (0: never) and every `every_steps` steps (0: never), and when
    a run is interrupted. Of the checkpoints in the folder the newest `keep` stay, and the one with
    the best value of `monitor`, which is `best_path`. Resume with `fit(..., resume=folder)`.

    A folder is for one run: where it holds checkpoints that are further than the run that starts,
    the start is refused, unless `overwrite` says to remove them.
    """

    order = 50

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_epochs: int = 1,
        every_steps: int = 0,
        keep: int = 3,
        monitor: str | None = None,
        mode: str = "auto",
        overwrite: bool = False,
    ) -> None:
        if min(every_epochs, every_steps) < 0 or keep < 1:
            raise ArgumentError(
                "Checkpoint",
                "every_epochs and every_steps must be at least 0, and keep at least 1",
                met=f"every_epochs={every_epochs}, every_steps={every_steps}, keep={keep}",
                fix="for example Checkpoint('runs/a', every_epochs=1, keep=3)",
            )
        self.folder = Path(folder)
        self.every_epochs, self.every_steps, self.keep = every_epochs, every_steps, keep
        self.monitor, self.mode, self.overwrite = monitor, mode, overwrite
        self.best: float | None = None
        self.best_path: Path | None = None
        self._saved_at: tuple[int, int] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        storage.safetensors("safetensors.numpy")  # if it is missing, say so before the first epoch
        self.folder.mkdir(parents=True, exist_ok=True)
        files.clear_leftovers(self.folder)
        self._make_way(trainer)
        if self.monitor is not None:
            higher_is_better("Checkpoint", self.monitor, self.mode, trainer)  # checks the mode

    def _make_way(self, trainer: Trainer) -> None:
        """Deal with checkpoints of another run, which are further than this one."""
        further = [p for p in checkpoints(self.folder) if _step_of(p) > trainer.step]
        if self.overwrite:
            for path in further:
                files.remove(path)
        elif any(map(is_valid, further)):
            raise ArgumentError(
                "Checkpoint",
                f"the folder holds checkpoints of a run that is further than step {trainer.step}",
                met=str(further[-1]),
                cause="an earlier run in the same folder",
                fix="go on with fit(..., resume=True), use another folder, or pass overwrite=True",
            )

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if self.every_steps and trainer.step % self.every_steps == 0:
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        better = self._is_better(trainer, logs)
        due = self.every_epochs and trainer.epoch % self.every_epochs == 0
        if better:
            self.best_path = self._path(trainer)  # stored as well, so it is set before
        if due or better:
            self.save(trainer, logs)

    def _is_better(self, trainer: Trainer, logs: Logs) -> bool:
        if self.monitor is None:
            return False
        value = monitored("Checkpoint", self.monitor, logs)
        sign = 1 if higher_is_better("Checkpoint", self.monitor, self.mode, trainer) else -1
        if value != value or (self.best is not None and sign * (value - self.best) <= 0):
            return False
        self.best = value
        return True

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.stop_reason == "interrupted" and self._saved_at != self._place(trainer):
            self.save(trainer)

    @staticmethod
    def _place(trainer: Trainer) -> tuple[int, int]:
        """Step and epoch: the end of an epoch is another place than its last step."""
        return trainer.step, trainer.epoch

    def _path(self, trainer: Trainer) -> Path:
        return self.folder / f"step-{trainer.step:08d}"

    def save(self, trainer: Trainer, logs: Mapping[str, Any] | None = None) -> Path:
        """Write a checkpoint now, and remove those that are not to be kept."""
        numbers = {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float, str))}
        path = trainer.save(self._path(trainer), meta=numbers)
        self._saved_at = self._place(trainer)
        best = None if self.best_path is None else self.best_path.name
        own = [p for p in checkpoints(self.folder) if 0 <= _step_of(p) <= trainer.step]
        for old in own[: -self.keep]:
            if old.name != best:
                files.remove(old)
        return path

    def state_dict(self) -> dict[str, Any]:
        name = None if self.best_path is None else self.best_path.name
        return {"best": self.best, "best_name": name}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, name = state["best"], state["best_name"]
        self.best_path = None if name is None else self.folder / name


def _step_of(path: Path) -> int:
    """The step in the name of a checkpoint; -1 for one that has another kind of name."""
    number = path.name.removeprefix("step-")
    return int(number) if path.name.startswith("step-") and number.isdigit() else -1
