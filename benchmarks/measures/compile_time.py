"""How long the first step of each workload takes in a fresh process with empty caches."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.conductor import Plan
from benchmarks.figures import Ratio
from benchmarks.measures import fresh
from benchmarks.rows import Row, of_ratio, times
from benchmarks.workload import library_of
from benchmarks.workloads import find


def rows(plan: Plan) -> Iterator[Row]:
    """A row for each workload: the faster peer's first step over ours."""
    for part, name in fresh.COMPILED:
        workload = find(part, name)
        title = f"cold compilation: {workload.title}"
        found, notes = fresh.cold_all(part, workload, plan, fresh.compilers(workload))
        yield row(f"compile {name}", "compile", title, found, notes)


def row(key: str, part: str, title: str, found: dict[str, float], notes: list[str]) -> Row:
    """The row of first steps, by version."""
    ours = next((t for v, t in found.items() if library_of(v) == "wengert"), None)
    peers = {v: t for v, t in found.items() if library_of(v) != "wengert"}
    if ours is None or not peers:
        made = Row(key, part, title, "-", "≥ 1.00×", None)
    else:
        best = min(peers, key=peers.__getitem__)
        ratio = peers[best] / ours
        made = of_ratio(key, part, title, Ratio(ratio, ratio, ratio), 1.0)
        made.least = made.largest = ""
        made.against = best
        made.others = ", ".join(f"{v} {times(t / ours)}" for v, t in peers.items() if v != best)
    made.notes = notes
    made.raw = {"seconds": {version: round(t, 3) for version, t in found.items()}}
    return made
