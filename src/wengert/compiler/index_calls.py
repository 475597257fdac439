"""Kernels for reductions over indices; see `kernel_calls` for what a maker is.

The kernels take indices that are known to be in range: where they are not (see
`simplify.indexing`), each maker asks for a `ravel_index` in front, which checks and wraps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np

from wengert.compiler.ir import Term
from wengert.compiler.kernel_calls import Call, NeedsCopy, NeedsTerm, Site
from wengert.compiler.kernels.scatter import Latest, Scatter
from wengert.compiler.operands import Operand, Part
from wengert.compiler.simplify.facts import names_entries
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.index import strides_of

HOW = {
    "scatter_add": "add",
    "scatter_prod": "mul",
    "scatter_max": "maximum",
    "scatter_min": "minimum",
    "scatter": "set",
}


def step_of(parts: Sequence[Part]) -> int | None:
    """The step of some axes as one; None where they are not evenly apart. 0 for none."""
    for (_, step), (size, inner) in pairwise(parts):
        if step != inner * size:
            return None
    return parts[-1][1] if parts else 0


def merged(x: Operand, start: int, stop: int) -> int | None:
    """The same for axes start to stop of an operand."""
    return step_of([part for parts in x.axes[start:stop] for part in parts])


def is_dense(step: int | None, count: int) -> bool:
    """Whether so many entries with a step are next to each other."""
    return step == 1 or count == 1


def _checked(term: Term, operand: int, size: int, axis: int) -> None:
    """Raise `NeedsTerm` unless an operand is an index that has been checked."""
    if not names_entries(term.args[operand], size):
        raise NeedsTerm(operand, "ravel_index", shape=(size,), axes=(axis,))


def scatter(term: Term, site: Site) -> Call:
    """Values that are combined in the places that an index names."""
    assert term.op is not None
    how = HOW[term.op.name]
    axis = term.params["axis"] % term.ndim
    size = term.shape[axis]
    has_base = how == "set"
    _checked(term, 1, size, axis)
    found = site.operands(term)
    places = {"base": 0, "u": 2} if has_base else {"u": 0}
    u, index = term.args[places["u"]], term.args[1]
    after = axis + index.ndim
    values = found[places["u"]]
    steps = merged(values, 0, axis), merged(values, axis, after)
    inner, index_step = merged(values, after, u.ndim), merged(found[1], 0, index.ndim)
    post = prod(term.shape[axis + 1 :])
    copies = {}
    if None in steps or not is_dense(inner, post):
        copies[places["u"]] = tuple(range(u.ndim))
    if index_step is None:
        copies[1] = tuple(range(index.ndim))
    if has_base and not is_dense(merged(found[0], 0, term.ndim), term.size):
        copies[0] = tuple(range(term.ndim))
    if copies:
        raise NeedsCopy(copies)
    kernel = Scatter(
        how,
        term.dtype,
        prod(term.shape[:axis]),
        index.size,
        size,
        post,
        (steps[0] or 0, steps[1] or 0),
        index_step or 0,
        None if has_base else _start(how, term.dtype),
    )
    reads = [(found[i].base, found[i].start) for i in (1, *reversed(places.values()))]
    return Call(kernel, reads, strides_of(term.shape))


def _start(how: str, dtype: DType) -> float | int | bool:
    """What every result starts from."""
    if how in ("add", "mul"):
        return 0 if how == "add" else 1
    if dtype == dtypes.bool:
        return how == "minimum"
    if dtypes.is_integer(dtype):
        limits = np.iinfo(dtype)
        return int(limits.max if how == "minimum" else limits.min)
    return np.inf if how == "minimum" else -np.inf


def latest(term: Term, site: Site) -> Call:
    """For each entry of an index the last one equal to it."""
    (index,) = term.args
    _checked(term, 0, term.params["size"], 0)
    (x,) = site.operands(term)
    step = merged(x, 0, index.ndim)
    if step is None:
        raise NeedsCopy({0: tuple(range(index.ndim))})
    kernel = Latest(index.size, term.params["size"], step)
    return Call(kernel, [(x.base, x.start)], strides_of(term.shape))
