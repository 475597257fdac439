"""results.json and RESULTS.md: what was measured on this machine, with these versions."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.rows import Row

JSON, TABLE = "results.json", "RESULTS.md"

HEAD = """# How fast wengert is beside its peers

A number is how many times longer the best peer takes than wengert, in the same run: the median of
the rounds, and the least and the largest. Rows without a target are shown for comparison.
[README.md](README.md) tells how it is measured. Written by `{command}` on {day}.

| | |
|---|---|
{facts}
"""

COLUMNS = """
| workload | median | least | largest | best peer | target | met | others | notes |
|---|---|---|---|---|---|---|---|---|
"""


def machine() -> dict[str, str]:
    """What the numbers depend on besides the versions."""
    from wengert.system import cores, cpu_model, memory

    size = memory()["total"]
    return {
        "processor": cpu_model(),
        "processors": str(cores()["usable"]),
        "memory": "unknown" if size is None else f"{size / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
    }


class Results:
    """The rows of all runs so far, by number of threads; a partial run replaces its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data: dict[str, Any] = {"machine": machine(), "versions": {}, "rows": {}}
        path = folder / JSON
        if path.is_file():
            stored = json.loads(path.read_text())
            if stored.get("machine") == self.data["machine"]:
                self.data = stored

    def add(self, row: Row, threads: int, versions: dict[str, str], command: str) -> None:
        """Keep a row, and write both files."""
        kept = self.data["rows"].setdefault(str(threads), {})
        kept[row.key] = {**asdict(row), "date": date.today().isoformat()}
        self.data["versions"] |= versions
        self.data["command"] = command
        self.write()

    def write(self) -> None:
        """Write both files, each in one move."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.data, ensure_ascii=False, indent=1)
        for name, content in ((JSON, text + "\n"), (TABLE, self.table())):
            fresh = self.folder / f"{name}.new"
            fresh.write_text(content, encoding="utf-8")
            os.replace(fresh, self.folder / name)

    def table(self) -> str:
        """RESULTS.md."""
        rows = [row for kept in self.data["rows"].values() for row in kept.values()]
        days = sorted({row["date"] for row in rows}) or [date.today().isoformat()]
        day = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        facts = {**self.data["machine"], **self.data["versions"]}
        head = HEAD.format(
            command=self.data.get("command", "make bench"),
            day=day,
            facts="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        )
        parts = [head]
        for threads, kept in sorted(self.data["rows"].items(), reverse=True):
            parts.append(f"\n## {threads} thread{'s' * (threads != '1')}\n{COLUMNS}")
            ordered = sorted(kept.values(), key=lambda row: _place(row["part"]))
            parts += [_line(row) + "\n" for row in ordered]
        return "".join(parts)


def _place(part: str) -> int:
    from benchmarks.parts import ORDER

    return ORDER.index(part) if part in ORDER else len(ORDER)


def _line(row: dict[str, Any]) -> str:
    met = {None: "", True: "yes", False: "**no**"}[row["met"]]
    cells = [row["title"], row["figure"], row["least"], row["largest"], row["against"]]
    cells += [row["target"], met, row["others"], "; ".join(row["notes"])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
