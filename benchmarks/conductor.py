"""Runs one workload: all versions in processes of their own, told in turn to run a burst."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import relative_errors, wrong
from benchmarks.process import Disturbance, PlayerError, Process, watched
from benchmarks.workload import Workload, library_of

INTERPRETED = "wengert interpreted"
DISTURBED = 0.1  # the share of the machine that others may take during a burst


@dataclass(frozen=True)
class Plan:
    """How much is measured, and with what."""

    pythons: Mapping[str, Path]  # library → its interpreter
    threads: int = 2
    rounds: int = 15
    seconds: float = 0.3  # of a burst
    tries: int = 3  # of a burst that others disturbed
    only: tuple[str, ...] = ()  # libraries; empty: all
    seed: int = 0
    say: Callable[[str], None] = print
    versions: dict[str, str] = field(default_factory=dict)  # of all libraries, as they are met

    def takes(self, version: str) -> bool:
        """Whether a version takes part."""
        return not self.only or library_of(version) in self.only


@dataclass
class Measured:
    """What one version did."""

    times: list[float] = field(default_factory=list)  # seconds a step: the median of each burst
    least: float = float("inf")  # seconds a step: of all samples
    first: float | None = None  # seconds of the first step, compilation included
    errors: dict[str, float] = field(default_factory=dict)  # against the reference, by array
    wrong: dict[str, float] = field(default_factory=dict)  # those that are too large
    failure: str | None = None


@dataclass
class Outcome:
    """What all versions of a workload did."""

    versions: dict[str, Measured]
    reference: str | None
    disturbed: int  # bursts that stayed disturbed


def run(part: str, workload: Workload, allocator: str, plan: Plan) -> Outcome:
    """Check that all versions compute the same, then time them in turn."""
    names = [name for name in with_interpreter(workload) if plan.takes(name)]
    measured = {name: Measured() for name in names}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **workload.inputs())
        stage = _Stage(part, workload, allocator, plan, inputs, stack)
        reference = stage.reference(names)
        players = {}
        for name in names:
            try:
                players[name] = stage.enter(name, measured[name])
                numbers = stage.numbers(players[name], name)
                if reference is not None and name not in workload.not_peers:
                    measured[name].errors = relative_errors(numbers, reference[1])
                    measured[name].wrong = wrong(measured[name].errors, workload.tolerance)
                players[name].ask("tune", seconds=plan.seconds)
            except PlayerError as error:
                measured[name].failure = str(error)
                players.pop(name, None)
                plan.say(f"    {name}: {error}")
        disturbed = _rounds(players, measured, plan)
    return Outcome(measured, None if reference is None else reference[0], disturbed)


def with_interpreter(workload: Workload) -> list[str]:
    """The names of all versions; that of wengert also runs interpreted."""
    names = list(workload.versions)
    return [INTERPRETED, *names] if "wengert" in names else names


class _Stage:
    """What the players of one workload have in common."""

    def __init__(
        self,
        part: str,
        workload: Workload,
        allocator: str,
        plan: Plan,
        inputs: Path,
        stack: ExitStack,
    ) -> None:
        self.part, self.workload, self.allocator = part, workload, allocator
        self.plan, self.inputs, self.stack = plan, inputs, stack

    def enter(self, name: str, measured: Measured) -> Process:
        """Start the process of a version and let it make its first step."""
        player = self.stack.enter_context(self.process(name))
        found = player.ask("hello", interpreted=name == INTERPRETED)["versions"]
        self.plan.versions.update(found)
        self.load(player, name)
        measured.first = player.ask("build")["first"]
        return player

    def process(self, name: str) -> Process:
        """A process for a version."""
        library = library_of(name)
        if library not in self.plan.pythons:
            raise PlayerError(f"{library} is not installed")
        python = self.plan.pythons[library]
        return Process(python, library, self.plan.threads, self.allocator)

    def load(self, player: Process, name: str, dtype: str | None = None) -> None:
        """Give a process its inputs."""
        player.ask(
            "load",
            part=self.part,
            name=self.workload.name,
            version=name,
            inputs=str(self.inputs),
            dtype=dtype,
        )

    def numbers(self, player: Process, name: str) -> dict[str, Any]:
        """What a version computes."""
        to = self.inputs.with_name(f"{name.replace(' ', '-')}.npz")
        player.ask("check", to=str(to))
        with np.load(to) as stored:
            return {key: stored[key] for key in stored.files}

    def reference(self, names: list[str]) -> tuple[str, dict[str, Any]] | None:
        """The same computation in float64, by the first library that does it."""
        for name in ("torch", INTERPRETED):
            if name not in names or library_of(name) not in self.plan.pythons:
                continue
            try:
                with self.process(name) as player:
                    player.ask("hello", interpreted=name == INTERPRETED)
                    self.load(player, name, "float64")
                    return f"{name} in float64", self.numbers(player, f"{name} reference")
            except PlayerError as error:
                self.plan.say(f"    reference by {name}: {error}")
        return None


def _rounds(players: Mapping[str, Process], measured: Mapping[str, Measured], plan: Plan) -> int:
    """Bursts of all players, in another order each round. Returns how many stayed disturbed."""
    order, chance, disturbed = list(players), random.Random(plan.seed), 0
    for _ in range(plan.rounds if players else 0):
        chance.shuffle(order)
        for name in order:
            found, watch = _burst(players[name], plan.tries)
            measured[name].times.append(found["median"])
            measured[name].least = min(measured[name].least, found["least"])
            disturbed += watch.share is not None and watch.share > DISTURBED
    return disturbed


def _burst(player: Process, tries: int) -> tuple[dict[str, Any], Disturbance]:
    """One burst; one that others disturbed is repeated, and the quietest counts."""
    best: tuple[dict[str, Any], Disturbance] | None = None
    for _ in range(tries):
        with watched(player) as watch:
            found = player.ask("burst")
        if best is None or (watch.share or 0.0) < (best[1].share or 0.0):
            best = found, watch
        if watch.share is None or watch.share <= DISTURBED:
            break
    assert best is not None
    return best
