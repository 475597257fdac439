"""How threads share a product: over the matrices of a batch, over rows, over panels of columns.

The number of threads is known at run time only, so a program holds a table with the best grid for
each number. It has no influence on results: all that depends on it is who computes an entry.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from wengert.compiler.kernels.gemm_common import GRID_THREADS


@lru_cache(maxsize=1)
def _grids() -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """All (over batch, over rows, over panels) of at most so many threads."""
    most = GRID_THREADS + 1
    return np.array(
        [
            (i, j, k)
            for i in range(1, most)
            for j in range(1, -(-most // i))
            for k in range(1, -(-most // (i * j)))
            if i * j * k < most
        ]
    )


@lru_cache(maxsize=4096)
def grid_table(batch: int, tiles: int, panels: int, packs: bool) -> bytes:
    """Three bytes for each number of threads from one on: the parts of batch, rows and panels.

    The best grid has the least to do for its busiest thread. To pack a panel takes about as long as
    half a tile, and is done by each thread that has a part of the panel.
    """
    grids = _grids()
    over_batch, over_rows, over_panels = grids.T
    fits = (over_batch <= batch) & (over_rows <= tiles) & (over_panels <= panels)
    height, width = -(-tiles // over_rows), -(-panels // over_panels)
    cost = -(-batch // over_batch) * width * (2 * height + packs)
    threads = over_batch * over_rows * over_panels
    # Of equal ones, the fewest threads, then whole matrices, then columns.
    order = np.lexsort((over_rows, over_panels, threads, cost))
    order = order[fits[order]]
    best = np.empty((GRID_THREADS, 3), np.uint8)
    for count in range(1, GRID_THREADS + 1):
        best[count - 1] = grids[order[np.argmax(threads[order] <= count)]]
    return best.tobytes()
