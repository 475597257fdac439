"""The vocabulary: each op declared once, with all its rules, in the file of its family."""

from wengert.ops import (
    contract,
    convolve,
    cumulative,
    elementwise,
    functions,
    movement,
    pieces,
    index,
    pool,
    random,
    reduce,
    selection,
    scatter,
    sort,
    structure,
    window,
)

__all__ = [
    "contract",
    "convolve",
    "cumulative",
    "elementwise",
    "functions",
    "movement",
    "pieces",
    "index",
    "pool",
    "random",
    "reduce",
    "selection",
    "scatter",
    "sort",
    "structure",
    "window",
]
