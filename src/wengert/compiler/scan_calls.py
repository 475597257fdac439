"""Kernels that go along one axis; see `kernel_calls` for what a maker is."""

from __future__ import annotations

from math import prod

from wengert.compiler.index_calls import is_dense, merged
from wengert.compiler.ir import Term
from wengert.compiler.kernel_calls import Call, NeedsCopy, Site
from wengert.compiler.kernels.scan import Scan
from wengert.compiler.kernels.sort import Sort
from wengert.compiler.operands import Operand
from wengert.core.index import strides_of


def scan(term: Term, site: Site) -> Call:
    """Running sums, products, extremes, recurrences."""
    assert term.op is not None
    found = site.operands(term)
    shape, steps = _lines(term, found)
    if any(not is_dense(s[2], shape[2]) for s in steps):
        raise NeedsCopy({i: tuple(range(term.ndim)) for i in range(len(found))})
    reverse = term.params.get("reverse", False)
    kernel = Scan(term.op.name, term.args[0].dtype, shape, steps, reverse)
    return Call(kernel, [(x.base, x.start) for x in found], strides_of(term.shape))


def sort(term: Term, site: Site) -> Call:
    """Entries in order, or where they come from."""
    assert term.op is not None
    (x,) = site.operands(term)
    shape, (steps,) = _lines(term, [x])
    indices = term.op.name == "argsort"
    kernel = Sort(term.args[0].dtype, shape, steps, term.params["descending"], indices)
    return Call(kernel, [(x.base, x.start)], strides_of(term.shape))


Triple = tuple[int, int, int]


def _lines(term: Term, found: list[Operand]) -> tuple[Triple, tuple[Triple, ...]]:
    """Operands seen as (pre, n, post), with the axis in the middle, and their steps."""
    axis, shape = term.params["axis"] % term.ndim, term.shape
    steps, copies = [], {}
    for i, x in enumerate(found):
        parts = merged(x, 0, axis), merged(x, axis, axis + 1), merged(x, axis + 1, term.ndim)
        if None in parts:
            copies[i] = tuple(range(term.ndim))
        steps.append((parts[0] or 0, parts[1] or 0, parts[2] or 0))
    if copies:
        raise NeedsCopy(copies)
    return (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])), tuple(steps)
