"""Epilogues: what is computed from a kernel's result, entry by entry, while it is in the cache.

A matrix product or a convolution finishes its result in pieces: some rows of some neighbouring
columns. What follows (a bias, an activation, a residual, a mask, a cast) is a loop nest over the
positions of the result. Instead of running after the kernel, it runs over each piece as soon as
that is finished. The kernel's own result is kept only where something else reads it; otherwise it
stands where one of the others is then written over it.

What is read or written beside a piece comes from memory no sooner than for a nest, which goes
straight on. So an epilogue reads one other large array at most, updates no parameter, follows no
result that is itself too large for the caches, and takes in nothing that would otherwise share a
nest with more (`fuse`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

from wengert.compiler.form import Form, Placed, Strides, by_rows
from wengert.compiler.ir import Term
from wengert.compiler.kernels.base import Grid
from wengert.compiler.nest import Builder, Conflict, Nest, Store
from wengert.compiler.units import KernelUnit, NestUnit, identity, is_reduction

if TYPE_CHECKING:
    from wengert.compiler.schedule import Job

Pieces = tuple[list[int], list[int]]  # dimensions of a row's number, and of a column's

KERNELS = ("contract", "conv", "conv_input")  # ops whose kernels take epilogues
LARGEST = 1 << 22  # bytes of a result; a nest that goes straight on is faster through more
ARRAYS = 2  # of the result's size that an epilogue reads, that result being one of them
RESULTS = 2  # that it has, beside that of the kernel
FIRST = 4  # of its slots, behind two operands, the result and the workspace of the kernel


# -- what may be part of one -------------------------------------------------------------------


def may_follow(unit: KernelUnit, term: Term) -> bool:
    """Whether a root may be computed from the pieces of a kernel's result."""
    (made,) = unit.roots
    if made.op is None or made.op.name not in KERNELS or not 1 < made.spec.nbytes <= LARGEST:
        return False
    return term.size == made.size and not is_reduction(term)


def opened(unit: KernelUnit, stored: Callable[[Term], bool]) -> NestUnit:
    """A nest over the result of a kernel, which computes nothing yet."""
    (made,) = unit.roots
    builder = Builder(Nest(list(made.shape)), stored)
    space = identity(made.shape, made.shape)
    nest = NestUnit(unit.number, [made], builder, made.shape, space, given=made)
    builder.nest.roots[made] = (space, builder.load(made, space))
    return nest


def check_pieces(unit: NestUnit) -> None:
    """Refuse what cannot be computed from pieces of a result."""
    nest = unit.nest
    if nest.checks:
        raise Conflict("a kernel reports nothing")
    if any(not isinstance(v, int) for a in nest.reads for i in a.index for v, _ in i.terms):
        raise Conflict("an index that is computed")
    if len({a.term for a in nest.reads if 2 * a.term.size > prod(unit.shape)}) > ARRAYS:
        raise Conflict("too many arrays at once")
    if len(unit.nest.roots) > 1 + RESULTS:
        raise Conflict("too many results at once")


# -- how it lies in memory ---------------------------------------------------------------------


def pieces_of(unit: NestUnit, grid: Grid, strides: Strides) -> Pieces | None:
    """The dimensions of a nest as rows and columns of the kernel's result, given its steps in
    memory; None where they do not make up these."""
    step_of: dict[int, int] = {}
    for index, step in zip(unit.space, strides, strict=True):
        for dim, factor in index.terms:
            if isinstance(dim, int):
                step_of[dim] = factor * step
    dims = [d for d, n in enumerate(unit.nest.dims) if n > 1]
    order: list[int] = []
    for size, step in grid.axes:
        if size > 1:
            own = [d for d in dims if step <= step_of[d] < step * size]
            order += sorted(own, key=lambda d: -step_of[d])
            if prod(unit.nest.dims[d] for d in own) != size:
                return None
    columns = sorted([d for d in dims if d not in order], key=lambda d: -step_of[d])
    whole = prod(unit.nest.dims[d] for d in columns) == grid.columns > 1
    return (order, columns) if whole and len(set(order)) == len(order) else None


def order_of(unit: NestUnit, strides: Strides) -> dict[int, int]:
    """A rank for each dimension: how the kernel's result goes through memory."""
    found = {
        d: factor * step
        for index, step in zip(unit.space, strides, strict=True)
        for d, factor in index.terms
        if isinstance(d, int)
    }
    return {d: i for i, d in enumerate(sorted(found, key=lambda d: -found[d]))}


def form_of(job: Job, pieces: Pieces, strides: Placed, over: Mapping[Term, Term]) -> Form:
    """The form of a kernel's epilogue: loops over rows, then the vector loop along columns."""
    assert isinstance(job.unit, KernelUnit)
    assert job.unit.epilogue is not None
    nest = job.unit.epilogue.nest
    stores = [Store(t, *nest.roots[t]) for t in job.follow]
    return by_rows(nest, stores, strides, over, pieces)


def fits(form: Form) -> bool:
    """Whether columns are one loop, along which all is read and written as it lies in memory."""
    last = form.vector
    if last is None or last != len(form.sizes) - 1:
        return False
    loads = [a for a in form.loads.values() if not a.values]
    stores = [a for a, _ in form.stores]
    return (
        len(loads) == len(form.loads)
        and all(a.steps[last] in (0, 1) for a in loads)
        and all(a.steps[last] == 1 and not a.values for a in stores)
    )


def carrier_of(job: Job, form: Form) -> Term | None:
    """A result of the epilogue that lies just as the kernel's own would, which can therefore stand
    there until it is written over."""
    (made,) = job.unit.roots
    places = [form.loads[p.number] for p in form.points if p.kind == "load" and p.info.term is made]
    for address, _ in form.stores:
        term = form.slots[address.slot]
        here = all((p.steps, p.const) == (address.steps, address.const) for p in places)
        if here and term.dtype == made.dtype:
            return term
    return None
