"""Two processes with one thread each, side by side on two processors: how much they get done."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.conductor import INTERPRETED, Plan
from benchmarks.process import PlayerError, Process
from benchmarks.rows import Row, times
from benchmarks.workloads import find

LEAST = 1.9
PART, NAME = "tiny", "tiny"


def rows(plan: Plan) -> Iterator[Row]:
    """The work of two processes together over the work of one alone."""
    title = "small-MLP steps of two processes with one thread each, over one"
    row = Row("processes", "processes", title, "-", f"≥ {times(LEAST)}")
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2:
        row.notes.append("needs two processors that can be assigned")
        yield row
        return
    try:
        ratios = _ratios(plan, "wengert", available)
    except PlayerError as error:
        row.notes += [str(error), "interpreted"]
        ratios = _ratios(plan, INTERPRETED, available)
    median = statistics.median(ratios)
    row.figure, row.met = times(median), median >= LEAST
    row.least, row.largest = times(min(ratios)), times(max(ratios))
    row.raw = {"ratios": [round(r, 3) for r in ratios]}
    yield row


def _ratios(plan: Plan, version: str, processors: list[int]) -> list[float]:
    """Rounds of: each alone, then both at once."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **find(PART, NAME).inputs())
        players = []
        for processor in processors[:2]:
            python = plan.pythons["wengert"]
            player = Process(python, "wengert", 1, processor=processor)
            players.append(stack.enter_context(player))
            plan.versions.update(
                player.ask("hello", interpreted=version == INTERPRETED)["versions"]
            )
            player.ask("load", part=PART, name=NAME, version="wengert", inputs=str(inputs))
            player.ask("build")
            player.ask("tune", seconds=plan.seconds)
        found = []
        for _ in range(plan.rounds):
            alone = [1 / player.ask("burst")["median"] for player in players]
            for player in players:
                player.send("burst")
            together = [1 / player.receive("burst")["median"] for player in players]
            found.append(sum(together) / statistics.mean(alone))
        return found
