"""`History`: what happened, as plain data: a record an epoch, and columns with an entry a step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError, StateError
from wengert.train.callback import Callback, Logs

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class Thinning:
    """Columns of equal length that never grow beyond a limit.

    Every `interval`-th step is recorded. When the limit is reached, every second record is dropped
    and the interval doubles: a long run is covered evenly in bounded memory.
    """

    def __init__(self, limit: int, interval: int = 1) -> None:
        if limit < 2 or interval < 1:
            raise ArgumentError(
                "History",
                "at least 2 records must be kept, of at least every step",
                met=f"limit={limit}, every={interval}",
                fix="for example limit=2000, every=1",
            )
        self.limit, self.interval = limit, interval
        self.columns: dict[str, list[Any]] = {}

    def wants(self, step: int) -> bool:
        """Whether this step (from 1) is one to record."""
        return (step - 1) % self.interval == 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Record a step; a column that is new, or missing, is filled up with None."""
        length = len(self)
        if length >= self.limit:
            self.columns = {name: column[::2] for name, column in self.columns.items()}
            self.interval *= 2
            if not self.wants(int(record["step"])):
                return
            length = len(self)
        for name in record:
            self.columns.setdefault(name, [None] * length)
        for name, column in self.columns.items():
            column.append(record.get(name))

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def state_dict(self) -> dict[str, Any]:
        """Columns and interval."""
        columns = {name: list(column) for name, column in self.columns.items()}
        return {"interval": self.interval, "columns": columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from stored columns."""
        self.interval = state["interval"]
        self.columns = {name: list(column) for name, column in state["columns"].items()}


class History(Callback):
    """The record of a run. `history["val_loss"]` is that value's list over the epochs.

    `epochs` has one record an epoch: `epoch` (from 1), `step`, `loss`, the metrics, the same with
    `val_` before them, `lr`, `samples`, `seconds`. `steps` has columns with one entry for each
    recorded step: `step`, `epoch`, `loss`, `lr`, `gradient_norm` (before clipping), `seconds`; at
    most `limit` entries, see `Thinning`. All of it is plain data that JSON can hold.

    >>> from wengert.train import History
    >>> history = History()
    >>> history.epochs.append({"epoch": 1, "loss": 0.5}); history["loss"]
    [0.5]
    """

    order = -50

    def __init__(self, limit: int = 2000) -> None:
        self.epochs: list[dict[str, Any]] = []
        self._steps = Thinning(limit)

    @property
    def steps(self) -> dict[str, list[Any]]:
        """The columns of the steps."""
        return self._steps.columns

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if self._steps.wants(trainer.step):
            self._steps.add(logs)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        self.epochs.append(dict(logs))

    def __getitem__(self, name: str) -> list[Any]:
        if not any(name in record for record in self.epochs):
            known = sorted({key for record in self.epochs for key in record})
            raise ArgumentError(
                "History",
                "no such value was recorded",
                met=repr(name),
                fix=f"use one of {', '.join(known)}" if known else "run fit first",
            )
        return [record.get(name) for record in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.epochs)

    def best(self, name: str = "val_loss", mode: str = "min") -> dict[str, Any]:
        """The record of the epoch with the lowest (or, with mode "max", highest) value."""
        values = [math.nan if v is None else float(v) for v in self[name]]
        candidates = [i for i, v in enumerate(values) if not math.isnan(v)]
        if not candidates:
            raise ArgumentError(
                "History", f"{name} has no number in any epoch", fix="choose another value"
            )
        sign = -1 if mode == "max" else 1
        return self.epochs[min(candidates, key=lambda i: sign * values[i])]

    def to_dict(self) -> dict[str, Any]:
        """`{"epochs": [...], "steps": {...}}`: what a report, or JSON, needs."""
        return {"epochs": [dict(r) for r in self.epochs], "steps": dict(self.steps)}

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": [dict(r) for r in self.epochs], "steps": self._steps.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"epochs", "steps"}:
            raise StateError(
                "History",
                "not a stored history",
                met=", ".join(map(str, state)) or "nothing",
                fix="pass what state_dict() returned",
            )
        self._steps.load_state_dict(state["steps"])
        self.epochs[:] = [dict(r) for r in state["epochs"]]

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(no epoch yet)"
        last = self.epochs[-1]
        shown = ", ".join(
            f"{k}={v:.4g}" for k, v in last.items() if isinstance(v, float) and k != "seconds"
        )
        return f"History({len(self.epochs)} epochs; the last: {shown})"
