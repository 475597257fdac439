"""The `.ts` format of the time-series archives: one series a line, channels parted by colons."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wengert.core.errors import StateError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Series:
    """Labelled time series, filled up with zeros to one length.

    `values` is float32 (series, channels, time), `lengths` the true lengths, `labels` class
    numbers, `classes` their names.
    """

    values: Array
    lengths: Array
    labels: Array
    classes: tuple[str, ...]


def read_ts(path: str | os.PathLike[str]) -> Series:
    """The series in a `.ts` file with class labels.

    Raises
    ------
    StateError
        if a line cannot be read; the message names the file and the line.
    """
    path = Path(path)
    classes: tuple[str, ...] = ()
    series: list[Array] = []
    labels: list[int] = []
    in_data = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            words = line.split()
            if words[0].lower() == "@classlabel":
                classes = tuple(words[2:])
            in_data = in_data or words[0].lower() == "@data"
            continue
        if not in_data:
            raise damaged(path, number, "values before the line @data")
        *channels, label = line.split(":")
        if label not in classes or not channels:
            raise damaged(path, number, f"the label {label!r} is not one of {', '.join(classes)}")
        try:
            series.append(np.array([c.split(",") for c in channels], dtype=np.float32))
        except ValueError as problem:
            raise damaged(path, number, str(problem)) from None
        labels.append(classes.index(label))
    if not series:
        raise damaged(path, 0, "no series in it")
    lengths = np.array([s.shape[1] for s in series])
    values = np.zeros((len(series), max(len(s) for s in series), lengths.max()), np.float32)
    for row, one in zip(values, series, strict=True):
        row[: len(one), : one.shape[1]] = one
    return Series(values, lengths, np.array(labels), classes)


def damaged(path: Path, line: int, why: str) -> StateError:
    """The error for a file that cannot be read."""
    return StateError(
        "read_ts",
        "not a whole .ts file",
        met=f"{path}, line {line}: {why}" if line else f"{path}: {why}",
        fix="fetch the file again",
    )
