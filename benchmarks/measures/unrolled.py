"""Compilation against length: the gradient of 5, 20 and 60 unrolled layers."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.conductor import Plan
from benchmarks.measures import compile_time, fresh
from benchmarks.rows import Row, times
from benchmarks.workload import library_of
from benchmarks.workloads import workloads

LIMIT = 2.0  # seconds for the longest


def rows(plan: Plan) -> Iterator[Row]:
    """The longest against the peers and against the limit, and the growth with length."""
    found = {}
    for workload in workloads("unrolled"):
        depth = int(workload.name.rsplit("-", 1)[1])
        found[depth], notes = fresh.cold_all("unrolled", workload, plan, fresh.compilers(workload))
    depths = sorted(found)
    last = found[depths[-1]]
    title = f"cold compilation: gradient of {depths[-1]} unrolled layers of 32×32"
    yield compile_time.row("unrolled", "unrolled", title, last, notes)
    ours = next((v for v in last if library_of(v) == "wengert"), None)
    if ours is None or any(ours not in found[depth] for depth in depths):
        return
    raw = {"seconds": {depth: round(found[depth][ours], 3) for depth in depths}}
    seconds = last[ours]
    yield Row(
        "unrolled seconds",
        "unrolled",
        f"the same, in seconds: {', '.join(f'{found[d][ours]:.2f} ({d})' for d in depths)}",
        f"{seconds:.2f} s",
        f"≤ {LIMIT} s",
        seconds <= LIMIT,
        raw=raw,
    )
    growth = seconds / found[depths[0]][ours]
    linear = depths[-1] / depths[0]
    yield Row(
        "unrolled growth",
        "unrolled",
        f"the same: {depths[-1]} layers over {depths[0]}",
        times(growth),
        f"≤ {times(linear)}, linear growth",
        growth <= linear,
        raw=raw,
    )
