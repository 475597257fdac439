"""The first step in a second process, when an earlier one has filled the cache on disk."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.conductor import Plan
from benchmarks.measures import fresh
from benchmarks.process import PlayerError
from benchmarks.rows import Row
from benchmarks.workload import library_of
from benchmarks.workloads import find

LIMIT = 0.3  # seconds


def rows(plan: Plan) -> Iterator[Row]:
    """A row for each workload: seconds that the first step takes longer than a later one."""
    for part, name in fresh.COMPILED:
        workload = find(part, name)
        ours = next((v for v in workload.versions if library_of(v) == "wengert"), None)
        if ours is None or not plan.takes(ours):
            continue
        key, title = f"warm {name}", f"warm start: {workload.title}"
        with tempfile.TemporaryDirectory() as folder:
            inputs, caches = Path(folder) / "inputs.npz", Path(folder) / "caches"
            caches.mkdir()
            np.savez(inputs, **workload.inputs())
            task = fresh.Task(part, workload, ours, inputs, plan)
            try:
                before = fresh.first_step(task, caches)
                warm = [fresh.first_step(task, caches) for _ in range(fresh.REPEATS)]
            except PlayerError as error:
                yield Row(key, "warm", title, "-", f"≤ {LIMIT} s", notes=[f"{ours}: {error}"])
                continue
        seconds = statistics.median(warm)
        yield Row(
            key,
            "warm",
            title,
            f"{seconds:.2f} s",
            f"≤ {LIMIT} s",
            seconds <= LIMIT,
            raw={"cold": round(before, 3), "warm": [round(t, 3) for t in warm]},
        )
