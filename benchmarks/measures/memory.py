"""The most memory that a process holds in its training steps, from VmHWM of Linux."""

from __future__ import annotations

import ctypes
import gc
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conductor import INTERPRETED, Plan
from benchmarks.process import PlayerError, Process
from benchmarks.rows import Row, times
from benchmarks.workload import library_of
from benchmarks.workloads import find

WORKLOADS = (("resnet", "resnet"), ("gpt", "gpt"))
EAGER = "torch"
SHARE = 0.8  # of eager PyTorch's memory
CLOSE = 0.05  # of the plan to what is used
STEPS = 3


def rows(plan: Plan) -> Iterator[Row]:
    """Ours over eager PyTorch's; and the plan against what it came to."""
    for part, name in WORKLOADS:
        title = find(part, name).title
        found, notes = _measured(part, name, plan)
        ours = "wengert" if "wengert" in found else INTERPRETED
        if ours == INTERPRETED:
            notes.append("not compiled")
        row = Row(f"memory {name}", "memory", f"peak memory over eager PyTorch's: {title}", "-")
        row.target, row.notes, row.raw = f"≤ {times(SHARE)}", notes, found
        if ours in found and EAGER in found:
            share = found[ours]["peak"] / found[EAGER]["peak"]
            row.figure, row.against, row.met = times(share), EAGER, share <= SHARE
            row.others = ", ".join(
                f"{version} {times(values['peak'] / found[EAGER]['peak'])}"
                for version, values in found.items()
                if version not in (ours, EAGER)
            )
        yield row
        planned = found.get("wengert", {}).get("planned")
        if planned is not None:
            used = found["wengert"]["held"]
            yield Row(
                f"planned {name}",
                "memory",
                f"memory that the step holds over memory planned: {title}",
                times(used / planned),
                f"{times(1 - CLOSE)} to {times(1 + CLOSE)}",
                abs(used / planned - 1) <= CLOSE,
                raw={"used": used, "planned": planned},
            )


def _measured(part: str, name: str, plan: Plan) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Megabytes by version, and what failed."""
    workload, found, notes = find(part, name), {}, []
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **workload.inputs())
        for version in filter(plan.takes, ("wengert", INTERPRETED, EAGER, "jax")):
            library = library_of(version)
            if library not in plan.pythons:
                continue
            try:
                # A first process fills the disk cache: the memory of a compiler is not the step's.
                for _ in range(2 if version == "wengert" else 1):
                    with Process(plan.pythons[library], library, plan.threads) as player:
                        player.ask("hello", interpreted=version == INTERPRETED)
                        player.ask(
                            "load", part=part, name=name, version=version, inputs=str(inputs)
                        )
                        found[version] = player.ask("measure", name="memory.megabytes")
            except PlayerError as error:
                notes.append(f"{version}: {error}")
    return found, notes


# -- in the player's process -------------------------------------------------------------------


def megabytes(player: Any) -> dict[str, float]:
    """What parameters, state, step and arena take at the highest, beyond libraries and inputs; and
    how much of it they hold: the process has it back when they are gone."""
    _LOADING[player.library]()
    _settle()
    before = _status("VmRSS")
    player.build()
    _settle()
    Path("/proc/self/clear_refs").write_text("5")  # the mark starts anew from here
    for _ in range(STEPS):
        player.case.step()
        player.case.wait()
    most = _status("VmHWM")
    found = {"peak": round((most - before) / 1024, 1)}
    if player.library == "wengert" and player.compiled:
        found["planned"] = round(_planned(player.case.step.func) / 2**20, 1)
    player.case = None
    _settle()
    found["held"] = round((most - _status("VmRSS")) / 1024, 1)
    return found


def _load_wengert() -> None:
    """Train two neurons, so that all that a library loads and starts at first use is there."""
    import wengert as wg

    model = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.nn.Conv1d(1, 1, 1), wg.nn.Dropout(0.5))
    opt = wg.optim.Adam(model.parameters())

    @wg.jit
    def step(x: Any) -> None:
        model(x).sum().backward()
        opt.step()
        opt.zero_grad()

    step(wg.ones((1, 1, 2)))


def _load_torch() -> None:
    """The same."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(2, 2), torch.nn.Conv1d(1, 1, 1), torch.nn.Dropout(0.5)
    )
    opt = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(1, 1, 2)).sum().backward()
    opt.step()


def _load_jax() -> None:
    """The same."""
    import jax

    jax.block_until_ready(jax.jit(jax.grad(lambda x: (x @ x).sum()))(jax.numpy.ones((2, 2))))


_LOADING = {"wengert": _load_wengert, "torch": _load_torch, "jax": _load_jax}


def _planned(step: Any) -> int:
    """Bytes that the compiler has planned for a jitted step: its arena, and all that it reads and
    writes. What it updates in place counts once."""
    native = step.explain().events[-1].cached.entry.executable
    fresh = [spec for i, spec in enumerate(native.outputs) if i not in native.aliases]
    boxes = sum(spec.size * spec.dtype.itemsize for spec in (*native.inputs, *fresh))
    return int(native.plan.size + boxes)


def _status(name: str) -> int:
    """A line of /proc/self/status, in KiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found is not None
    return int(found[1])


def _settle() -> None:
    """Give back what the compiler and the first step left behind."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
