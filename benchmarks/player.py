"""One implementation in a process of its own: it does what the conductor tells it, line by line.

    python -m benchmarks.player LIBRARY THREADS

Requests and answers are lines of JSON on standard input and output; whatever a library prints goes
to standard error. Between two requests the process sleeps in a read.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import statistics
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workload import Case, Setting, Workload, measured, variant_of
from benchmarks.workloads import find

SAMPLE = 0.002  # seconds: calls shorter than this are timed together
WARM_SHARE = 0.2  # of a burst, before its first sample: caches, clock rates, sleeping threads


def use_threads(threads: int) -> None:
    """Run on so many processors at most; what a library needs beyond that is set by `prepare`."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def die_with_parent() -> None:
    """End when the conductor ends: a process that is stopped would never see its input close."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def prepare(library: str, threads: int, interpreted: bool = False) -> dict[str, str]:
    """Import a library, tell it the number of threads; the versions that take part."""
    found = {}
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        found["torch"] = torch.__version__
    elif library == "jax":
        import jax

        jax.devices()
        found["jax"] = jax.__version__
    elif library in ("wengert", "peak"):
        import wengert as wg

        if hasattr(wg, "set_num_threads"):
            wg.set_num_threads(threads)
        found |= {"wengert": wg.__version__, "python": sys.version.split()[0]}
        found |= {"numpy": np.__version__, "llvmlite": _version("llvmlite")}
        if interpreted:
            from benchmarks.interpreted import interpret

            interpret(wg)
        elif not hasattr(wg, "jit") and library == "wengert":
            raise RuntimeError("not compiled: this version of wengert has no jit")
    return found


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def cast(inputs: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Floating inputs in another precision."""
    return {
        name: value.astype(dtype) if value.dtype.kind == "f" else value
        for name, value in inputs.items()
    }


class Player:
    """The state of one process: a workload's version, once it is loaded."""

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads = library, threads
        self.version, self.compiled = "", False
        self.workload: Workload | None = None
        self.inputs: dict[str, Any] = {}
        self.case: Case | None = None
        self.calls, self.samples = 1, 3

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for."""
        kind = request.pop("do")
        actions = {
            "hello": self.hello,
            "load": self.load,
            "check": self.check,
            "build": self.build,
            "tune": self.tune,
            "burst": self.burst,
            "measure": self.measure,
        }
        return actions[kind](**request)

    def hello(self, interpreted: bool = False) -> dict[str, Any]:
        """Import the library."""
        self.compiled = not interpreted
        return {"versions": prepare(self.library, self.threads, interpreted)}

    def load(
        self, part: str, name: str, version: str, inputs: str, dtype: str | None = None
    ) -> dict[str, Any]:
        """Read a workload's inputs."""
        self.workload = find(part, name)
        self.version = version.removesuffix(" interpreted")
        with np.load(inputs) as stored:
            self.inputs = {key: stored[key] for key in stored.files}
        if dtype is not None:
            self.inputs = cast(self.inputs, dtype)
        return {}

    def build(self, checking: bool = False, again: bool = False) -> dict[str, Any]:
        """Make parameters, optimizer and step anew, and run the first step; the time it took, and
        the least of those that the next ones take."""
        assert self.workload is not None
        make = self.workload.versions[self.version]
        self.case = make(self.inputs, Setting(variant_of(self.version), checking, self.threads))
        start = time.perf_counter()
        if not checking:
            self.case.step()
            self.case.wait()
        first = time.perf_counter() - start
        return {"first": first, "later": min(self.sample(1) for _ in range(3)) if again else 0.0}

    def check(self, to: str) -> dict[str, Any]:
        """Write the numbers that must be equal everywhere."""
        assert self.workload is not None
        self.build(checking=True)
        assert self.case is not None
        np.savez(to, **measured(self.case.check()))
        if self.workload.checks_apart:
            self.build()
        return {}

    def tune(self, seconds: float) -> dict[str, Any]:
        """Find how many calls are timed together, and how many of those make a burst."""
        self.sample(1)
        once = min(self.sample(1) for _ in range(3))
        while once * self.calls < SAMPLE:
            self.calls *= 2
            once = self.sample(self.calls) / self.calls
        self.samples = max(2, min(1000, round(seconds / (once * self.calls))))
        return {"calls": self.calls, "samples": self.samples}

    def sample(self, calls: int) -> float:
        """Seconds that some calls take."""
        assert self.case is not None
        step = self.case.step
        start = time.perf_counter()
        for _ in range(calls):
            step()
        self.case.wait()
        return time.perf_counter() - start

    def burst(self) -> dict[str, Any]:
        """Seconds a step, in each of the samples of a burst: their median and the least."""
        assert self.case is not None
        gc.collect()
        for _ in range(max(1, int(self.samples * WARM_SHARE))):
            self.sample(self.calls)
        per_step = self.calls * self.case.steps
        times = [self.sample(self.calls) / per_step for _ in range(self.samples)]
        return {"median": statistics.median(times), "least": min(times)}

    def measure(self, name: str, **options: Any) -> dict[str, Any]:
        """Run a function of `benchmarks.measures` in this process."""
        module, function = name.rsplit(".", 1)
        found = importlib.import_module(f"benchmarks.measures.{module}")
        return getattr(found, function)(self, **options)


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    library, threads = sys.argv[1], int(sys.argv[2])
    die_with_parent()
    use_threads(threads)
    player = Player(library, threads)
    for line in sys.stdin:
        try:
            reply = player.answer(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            first = str(error).strip().splitlines() or [""]
            reply = {"error": f"{type(error).__name__}: {first[0]}"[:300]}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    main()
