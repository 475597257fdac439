"""Callbacks that write the record of a run to files as it goes."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError
from wengert.train.callback import Callback, Logs

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class _Logger(Callback):
    """Writes a line for every "epoch" or every "step". On a resumed run, lines that the checkpoint
    does not know are dropped first, so that no line comes twice."""

    order = 60

    def __init__(self, path: str | os.PathLike[str], every: str = "epoch") -> None:
        if every not in ("epoch", "step"):
            raise ArgumentError(
                type(self).__name__, "no such station", met=repr(every), fix="'epoch' or 'step'"
            )
        self.path, self.every = Path(path), every

    def on_fit_start(self, trainer: Trainer) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = self.read() if self.path.is_file() and trainer.step else []
        known = trainer.epoch if self.every == "epoch" else trainer.step
        self.write([row for row in rows if int(row[self.every]) <= known])

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if self.every == "step":
            self.append(logs)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        if self.every == "epoch":
            self.append(logs)

    def read(self) -> list[dict[str, Any]]:
        """The lines in the file."""
        return []

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write the file anew with these lines."""
        self.path.write_text("")
        for row in rows:
            self.append(row)

    def append(self, row: dict[str, Any]) -> None:
        """Write one more line."""


class JSONLogger(_Logger):
    """One JSON object a line. NaN and infinities are written as strings."""

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines() if line]

    def append(self, row: dict[str, Any]) -> None:
        plain = {k: _plain(v) for k, v in row.items()}
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(plain, allow_nan=False) + "\n")


class CSVLogger(_Logger):
    """A table with a heading; the columns are those of the first line."""

    def read(self) -> list[dict[str, Any]]:
        with open(self.path, newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def append(self, row: dict[str, Any]) -> None:
        fields = None
        if self.path.stat().st_size:
            with open(self.path, newline="", encoding="utf-8") as stream:
                fields = next(csv.reader(stream))
        with open(self.path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fields or list(row), extrasaction="ignore")
            if fields is None:
                writer.writeheader()
            writer.writerow(row)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") else value
