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
def grid_table(
    batch: int, rows: int, tile_rows: int, panels: int, vectors: int, packs: bool
) -> bytes:
    """Three bytes for each number of threads from one on: the parts of batch, rows and panels.

    The best grid has the least work for its busiest thread: `vectors` multiply-adds for each row
    and panel, and about three times that to pack a panel, which all threads of a column do.
    """
    grids = _grids()
    over_batch, over_rows, over_panels = grids.T
    tiles = -(-rows // tile_rows)
    fits = (over_batch <= batch) & (over_rows <= tiles) & (over_panels <= panels)
    height, width = -(-rows // over_rows), -(-panels // over_panels)
    work = -(-batch // over_batch) * width * (height + 3 * packs + 1) * vectors
    threads = over_batch * over_rows * over_panels
    # Of equal ones, the fewest threads, then whole matrices, then columns.
    order = np.lexsort((over_rows, over_panels, threads, work))
    order = order[fits[order]]
    best = np.empty((GRID_THREADS, 3), np.uint8)
    for count in range(1, GRID_THREADS + 1):
        best[count - 1] = grids[order[np.argmax(threads[order] <= count)]]
    return best.tobytes()
