"""Rows of the table: made of what was measured, kept in results.json, shown in RESULTS.md."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.conductor import INTERPRETED, Measured, Outcome
from benchmarks.figures import Ratio, ratio
from benchmarks.workload import DEFAULT, Workload, library_of

NOT_COMPILED = "not compiled"
BUSY = 0.1  # the share of disturbed bursts from which on a row says so


@dataclass
class Row:
    """One line of the table. `figure` is what it shows, `met` whether that reaches the target."""

    key: str
    part: str
    title: str
    figure: str
    target: str = ""
    met: bool | None = None
    least: str = ""
    largest: str = ""
    against: str = ""
    others: str = ""
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


def times(x: float) -> str:
    """A ratio as it is shown.

    >>> times(1.2345), times(12.345)
    ('1.23×', '12.3×')
    """
    return f"{x:.2f}×" if x < 10 else f"{x:.1f}×" if x < 100 else f"{x:.0f}×"


def of_ratio(
    key: str, part: str, title: str, found: Ratio, least: float | None, aim: float | None = None
) -> Row:
    """A row that shows a ratio of rounds."""
    wanted = [f"≥ {times(least)}"] if least is not None else []
    wanted += [f"aim {times(aim)}"] if aim is not None else []
    return Row(
        key,
        part,
        title,
        times(found.median),
        ", ".join(wanted),
        None if least is None else found.median >= least,
        times(found.least),
        times(found.largest),
    )


def of_workload(part: str, workload: Workload, allocator: str, outcome: Outcome) -> Row:
    """The row of a workload: the best of our versions against the best of the peers'."""
    ran = {name: m for name, m in outcome.versions.items() if m.times}
    mine = [n for n in ran if library_of(n) == "wengert" and n != INTERPRETED]
    compiled = bool(mine)
    if not compiled and INTERPRETED in ran:
        mine = [INTERPRETED]
    peers = [n for n in ran if library_of(n) != "wengert" and n not in workload.not_peers]
    kept = "" if allocator == DEFAULT else ", memory retained"
    key, title = f"{workload.name}{kept}", f"{workload.title}{kept}"
    if not mine or not peers:
        row = Row(key, part, title, "-")
    else:
        ours, best = fastest(ran, mine), fastest(ran, peers)
        found = ratio(ran[best].times, ran[ours].times)
        row = of_ratio(key, part, title, found, workload.least, workload.aim)
        row.against = best
        row.others = ", ".join(
            f"{name} {times(ratio(ran[name].times, ran[ours].times).median)}"
            for name in sorted(ran, key=lambda n: statistics.median(ran[n].times))
            if name not in (ours, best)
        )
        if ours not in ("wengert", INTERPRETED):
            row.notes.append(f"ours: {ours}")
    if not compiled:
        row.notes.append(NOT_COMPILED)
        row.met = None if row.met is None else False
    _judge(row, outcome)
    row.raw = {"versions": {n: _kept(m) for n, m in outcome.versions.items()}}
    row.raw |= {"reference": outcome.reference, "disturbed bursts": outcome.disturbed}
    return row


def fastest(ran: dict[str, Measured], among: list[str]) -> str:
    """The version with the smallest median time."""
    return min(among, key=lambda n: statistics.median(ran[n].times))


def _judge(row: Row, outcome: Outcome) -> None:
    """Say what is wrong with the numbers, and what failed."""
    if outcome.reference is None:
        row.notes.append("numbers not compared")
    bursts = sum(len(m.times) for m in outcome.versions.values())
    if outcome.disturbed > BUSY * bursts:
        row.notes.append(f"busy machine: {outcome.disturbed} of {bursts} bursts disturbed")
    for name, m in outcome.versions.items():
        if m.wrong:
            worst = max(m.wrong, key=m.wrong.__getitem__)
            row.notes.append(f"WRONG: {name}, {worst} by {m.wrong[worst]:.0e}")
            if library_of(name) == "wengert":
                row.met = False
        if m.failure is not None and not m.failure.startswith(NOT_COMPILED):
            row.notes.append(f"{name}: {m.failure}")


def _kept(m: Measured) -> dict[str, Any]:
    """What results.json has of a version: microseconds a step, to three digits."""
    found = asdict(m)
    found["microseconds"] = [float(f"{1e6 * t:.4g}") for t in found.pop("times")]
    found["least"] = float(f"{1e6 * m.least:.4g}") if m.times else None
    found["first"] = None if m.first is None else round(m.first, 3)
    found["error"] = float(f"{max(found.pop('errors').values(), default=0.0):.1e}")
    found["wrong"] = {name: float(f"{e:.1e}") for name, e in m.wrong.items()}
    return found
