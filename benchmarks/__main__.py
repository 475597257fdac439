"""`python -m benchmarks [part …]`: run, check, time, and write RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import conductor, environments
from benchmarks.conductor import Plan
from benchmarks.parts import MEASURES, ORDER
from benchmarks.process import ROOT
from benchmarks.report import JSON, TABLE, Results
from benchmarks.rows import Row, of_workload
from benchmarks.workloads import workloads

OVERHEAD = "overhead"  # benchmarks/overhead.py: a table of its own


def arguments() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of: {' '.join(ORDER)} {OVERHEAD}"
    )
    parser.add_argument("--threads", type=int, default=2, help="for every library (default: 2)")
    parser.add_argument("--rounds", type=int, default=15, help="bursts of each (default: 15)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a burst (default: 0.3)")
    parser.add_argument("--tries", type=int, default=3, help="of a disturbed burst (default: 3)")
    parser.add_argument("--row", action="append", default=[], help="only this row; may be repeated")
    parser.add_argument("--only", default="", metavar="LIBRARY,…", help="only these libraries")
    parser.add_argument("--peers-python", type=Path, help="an interpreter that has the peers")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", help="where results go")
    return parser


def main() -> int:
    """Run the parts that the command line names, or all."""
    parser = arguments()
    options = parser.parse_args()
    unknown = set(options.parts) - {*ORDER, OVERHEAD}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {' '.join(ORDER)}")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not 1 <= options.threads <= (usable or 1):
        parser.error(f"--threads is from 1 to {usable}, the processors that may be used here")
    parts = options.parts or ORDER
    if OVERHEAD in parts:
        importlib.import_module("benchmarks.overhead").main([])
    only = tuple(filter(None, options.only.split(",")))
    plan = Plan(
        environments.pythons(options.peers_python, only, say),
        options.threads,
        options.rounds,
        options.seconds,
        options.tries,
        only,
        random.randrange(2**32),
        say,
    )
    results = Results(options.out)
    command = " ".join(["python -m benchmarks", *options.parts])
    for part in (p for p in ORDER if p in parts):
        for row in rows(part, plan, options.row):
            results.add(row, plan.threads, plan.versions, command)
            say(f"  {row.title}: {row.figure} {row.against} {'; '.join(row.notes)}".rstrip())
    say(f"written: {options.out / TABLE}, {options.out / JSON}")
    return 0


def rows(part: str, plan: Plan, only: list[str]) -> Iterator[Row]:
    """The rows of a part, as they are measured."""
    say(part)
    if part in MEASURES:
        module = importlib.import_module(f"benchmarks.measures.{MEASURES[part]}")
        yield from module.rows(plan)
        return
    for workload in workloads(part):
        if only and workload.name not in only:
            continue
        for allocator in workload.allocators:
            chosen = replace(plan, seed=random.randrange(2**32))
            outcome = conductor.run(part, workload, allocator, chosen)
            yield of_workload(part, workload, allocator, outcome)


def say(text: str) -> None:
    """Tell whoever waits what goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
