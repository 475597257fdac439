"""All parts of the benchmark: the workloads, and what is measured in other ways."""

from __future__ import annotations

from benchmarks.workloads import PARTS

# Part → module of `benchmarks.measures` with a function `rows(plan)`.
MEASURES = {
    "compile": "compile_time",
    "unrolled": "unrolled",
    "warm": "warm_start",
    "calls": "calls",
    "memory": "memory",
    "processes": "processes",
}
ORDER = [*PARTS, *MEASURES]
