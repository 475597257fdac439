"""The HTML report of a training run: one file that holds everything and loads nothing.

`write_report` turns plain data into a page: curves, gradient and update norms per layer, the
computational graph (forward and backward, zoomable, each node with its shape and source line), the
confusion matrix, and what was misclassified as pictures.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.graph import Graph
from wengert.diagnostics.report.figures import graph_data, plain

__all__ = ["write_report"]


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str = "Training report",
    facts: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    steps: Mapping[str, Sequence[Any]] | None = None,
    vitals: Mapping[str, Any] | None = None,
    graph: Graph | None = None,
    summary: Any = None,
    confusion: Any = None,
    classes: Sequence[str] | None = None,
    mistakes: Sequence[Mapping[str, Any]] = (),
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained HTML report and return its path. Every section is optional.

    Parameters
    ----------
    path : the file to write, or a directory (then `report.html` in it)
    title : heading of the page
    facts : the key numbers that stand on top, e.g. `{"test accuracy": "99.2 %"}`
    history : one record an epoch: `epoch`, and any numbers. A pair such as `loss` and `val_loss`,
        or `accuracy` and `val_accuracy`, is drawn into one chart
    steps : columns of equal length, one entry a training step: `step`, `loss`, `lr`, …
    vitals : `{"steps": [...], "parameters": {name: {"gradient_norm": [...], "update_norm": [...],
        "weight_norm": [...]}}}`, the norms of each parameter over time, in the model's order
    graph : a traced computation, from `wg.trace`
    summary : a table: a sequence of rows (mappings), or an object with such `rows`
    confusion : square matrix of counts, row = true class, column = predicted class
    classes : names of the classes; numbers if left out
    mistakes : `{"image": 2-D or (h, w, 3) array, "true": …, "predicted": …, "probability": …}`
    config : anything worth keeping about how the run was made

    Raises
    ------
    ArgumentError
        if columns differ in length, the confusion matrix is not square, or an image is not one.

    Examples
    --------
    >>> import tempfile, wengert as wg
    >>> from wengert.diagnostics import write_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(folder, history=[{"epoch": 1, "loss": 0.5}])
    ...     page.name
    'report.html'
    """
    _check(steps, confusion, mistakes)
    data = {
        "title": title,
        "facts": plain(facts or {}),
        "history": plain(list(history)),
        "steps": plain(steps or {}),
        "vitals": plain(vitals or {}),
        "graph": graph_data(graph) if graph is not None else None,
        "summary": plain(list(getattr(summary, "rows", summary) or ())),
        "confusion": plain(confusion),
        "classes": plain(list(classes) if classes is not None else None),
        "mistakes": plain(list(mistakes)),
        "config": plain(config or {}),
    }
    target = Path(path)
    if target.is_dir() or not target.suffix:
        target = target / "report.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(data), encoding="utf-8")
    return target


def render(data: Mapping[str, Any]) -> str:
    """The page as text: the template with style, program and data put in."""
    parts = resources.files(__package__)

    def read(name: str) -> str:
        return (parts / name).read_text(encoding="utf-8")

    # "</" inside the data would end the script element early.
    payload = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    program = "\n".join(read(name) for name in ("charts.js", "layout.js", "graph.js", "page.js"))
    page = read("page.html")
    for mark, text in (
        ("TITLE", html.escape(str(data["title"]))),
        ("STYLE", read("page.css")),
        ("PROGRAM", program),
        ("DATA", payload),
    ):
        page = page.replace(f"%%{mark}%%", text)
    return page


def _check(
    steps: Mapping[str, Sequence[Any]] | None, confusion: Any, mistakes: Sequence[Mapping[str, Any]]
) -> None:
    lengths = {name: len(column) for name, column in (steps or {}).items()}
    if len(set(lengths.values())) > 1:
        raise ArgumentError(
            "write_report",
            "the columns of `steps` differ in length",
            met=str(lengths),
            fix="record every column at every step",
        )
    if confusion is not None:
        rows = plain(confusion)
        if not all(len(row) == len(rows) for row in rows):
            raise ArgumentError(
                "write_report",
                "the confusion matrix must be square",
                met=f"{len(rows)} rows of {sorted({len(r) for r in rows})} entries",
                fix="count true classes in rows and predicted classes in columns",
            )
    for i, mistake in enumerate(mistakes):
        if "image" not in mistake or len(getattr(mistake["image"], "shape", (0, 0))) not in (2, 3):
            raise ArgumentError(
                "write_report",
                f"entry {i} of `mistakes` has no image",
                met=str(sorted(mistake)),
                fix="give a 2-D array, or (height, width, 3), under 'image'",
            )
