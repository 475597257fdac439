"""What the call of a compiled function on four arrays costs beside the work that it does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.conductor import Plan
from benchmarks.process import PlayerError, Process
from benchmarks.rows import Row

LIMIT = 10.0  # microseconds
BLOCKS, CALLS = 30, 1000


def rows(plan: Plan) -> Iterator[Row]:
    """The plain call and the bound one. The work (16 additions) is counted as cost."""
    title = "a jitted call on 4 arrays"
    try:
        with Process(plan.pythons["wengert"], "wengert", plan.threads) as player:
            plan.versions.update(player.ask("hello")["versions"])
            found = player.ask("measure", name="calls.microseconds")
    except PlayerError as error:
        yield Row("calls", "calls", title, "-", f"≤ {LIMIT:g} µs", notes=[str(error)])
        return
    yield Row(
        "calls",
        "calls",
        f"{title}, its work included",
        f"{found['call']:.1f} µs",
        f"≤ {LIMIT:g} µs",
        found["call"] <= LIMIT,
        raw=found,
    )
    yield Row("calls bound", "calls", "the same, bound", f"{found['bound']:.1f} µs", raw=found)


def microseconds(player: object) -> dict[str, float]:
    """The best median of a block of calls: in the player's process."""
    import wengert as wg

    arrays = [wg.ones(4) for _ in range(4)]
    f = wg.jit(lambda a, b, c, d: a + b + c + d)
    return {"call": _best(lambda: f(*arrays)), "bound": _best(f.bind(*arrays))}


def _best(call: Callable[[], Any]) -> float:
    blocks = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        blocks.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(blocks[BLOCKS // 5 :])
