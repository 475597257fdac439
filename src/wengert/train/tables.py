"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core.errors import ShapeError

if TYPE_CHECKING:
    from rich.table import Table


def confusion_table(counts: Any, classes: Sequence[str] | None = None) -> Table:
    """A confusion matrix as a coloured rich table: rows are true classes, columns predictions; the
    last column is the share of each class that was found.

    >>> import numpy as np
    >>> from rich.console import Console
    >>> from wengert.train import confusion_table
    >>> Console(width=60).print(confusion_table(np.array([[3, 1], [0, 2]]), ["cat", "dog"]))
    ┌──────────────────┬─────┬─────┬────────┐
    │ true ╲ predicted │ cat │ dog │ recall │
    ├──────────────────┼─────┼─────┼────────┤
    │              cat │   3 │   1 │   75 % │
    │              dog │   · │   2 │  100 % │
    └──────────────────┴─────┴─────┴────────┘
    """
    from rich import box
    from rich.table import Table

    matrix = np.asarray(counts)
    n = len(matrix)
    names = [str(i) for i in range(n)] if classes is None else [str(c) for c in classes]
    if matrix.shape != (n, n) or len(names) != n:
        raise ShapeError(
            "confusion_table",
            "needs a square matrix, and a name for each class",
            met=f"{matrix.shape} and {len(names)} names",
            fix="pass what ConfusionMatrix().compute() returns",
        )
    table = Table(box=box.SQUARE)
    table.add_column("true ╲ predicted", justify="right", style="bold")
    for name in [*names, "recall"]:
        table.add_column(name, justify="right")
    for i, row in enumerate(matrix):
        cells = [_cell(int(count), i == j) for j, count in enumerate(row)]
        total = int(row.sum())
        share = f"{100 * row[i] / total:.3g} %" if total else "–"
        table.add_row(names[i], *cells, share)
    return table


def _cell(count: int, right: bool) -> str:
    if not count:
        return "[dim]·[/]"
    return f"[green]{count}[/]" if right else f"[bold red]{count}[/]"
