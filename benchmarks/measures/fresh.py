"""First steps in fresh processes, with the caches of all compilers where we want them."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.conductor import Plan
from benchmarks.process import PlayerError, Process
from benchmarks.workload import Workload, library_of

REPEATS = 3
LONG = 10.0  # seconds: a compilation that takes longer is not repeated

# (part, name): the rows of which compilations are compared.
COMPILED = (
    ("tiny", "tiny"),
    ("mlp", "mlp"),
    ("resnet", "resnet"),
    ("gpt", "gpt"),
    ("unet", "unet"),
    ("recommender", "recommender"),
    ("pinn", "pinn"),
    ("hessian", "hvp"),
    ("hessian", "hessian"),
)


@dataclass(frozen=True)
class Task:
    """One version of one workload, whose inputs are in a file."""

    part: str
    workload: Workload
    version: str
    inputs: Path
    plan: Plan


def first_step(task: Task, caches: Path) -> float:
    """Seconds that the first step in a fresh process takes longer than a later one: to trace, to
    compile or to find what was compiled, and to get memory."""
    library = library_of(task.version)
    if library not in task.plan.pythons:
        raise PlayerError(f"{library} is not installed")
    folders = {
        name: str(caches)
        for name in ("XDG_CACHE_HOME", "WENGERT_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TMPDIR")
    }
    python = task.plan.pythons[library]
    with Process(python, library, task.plan.threads, environment=folders) as player:
        task.plan.versions.update(player.ask("hello")["versions"])
        player.ask(
            "load",
            part=task.part,
            name=task.workload.name,
            version=task.version,
            inputs=str(task.inputs),
        )
        times = player.ask("build", again=True)
        return float(times["first"] - times["later"])


def cold(task: Task) -> list[float]:
    """First steps with empty caches."""
    found: list[float] = []
    while len(found) < REPEATS and not (found and found[-1] > LONG):
        with tempfile.TemporaryDirectory() as caches:
            found.append(first_step(task, Path(caches)))
    return found


def compilers(workload: Workload) -> list[str]:
    """One version for each library that compiles: the plainest."""
    first: dict[str, str] = {}
    for name in workload.versions:
        if library_of(name) != "torch" or "compile" in name.split():
            first.setdefault(library_of(name), name)
    return [name for library, name in first.items() if library in ("wengert", "torch", "jax")]


def cold_all(
    part: str, workload: Workload, plan: Plan, versions: Sequence[str]
) -> tuple[dict[str, float], list[str]]:
    """The median of each version's first steps, and what failed."""
    medians, notes = {}, []
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **workload.inputs())
        for version in filter(plan.takes, versions):
            try:
                times = cold(Task(part, workload, version, inputs, plan))
                medians[version] = statistics.median(times)
            except PlayerError as error:
                notes.append(f"{version}: {error}")
    return medians, notes
