"""How a kernel reads an operand that is a view: through steps of its own, without a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wengert.compiler.form import Strides
from wengert.compiler.ir import Term
from wengert.compiler.units import identity, split_dims
from wengert.core.index import Index, Indices, NeedsSplit, NotAffine, Place, flat, strides_of
from wengert.core.lowering import View

Part = tuple[int, int]  # size and step of a piece of an axis


@dataclass(frozen=True)
class Operand:
    """A view of a term in memory: where it starts, and for each axis its parts, outermost first.
    An axis that runs through memory evenly has one part; one of size 1 has none."""

    base: Term
    start: int
    axes: tuple[tuple[Part, ...], ...]

    def even(self) -> Strides | None:
        """One step an axis; None where an axis has several parts."""
        if any(len(parts) > 1 for parts in self.axes):
            return None
        return tuple([parts[0][1] if parts else 0 for parts in self.axes])


def operand(
    term: Term, in_memory: Callable[[Term], bool], strides: Callable[[Term], Strides]
) -> Operand | None:
    """A term as a view of one that stands in memory; None where it is none that steps describe."""
    if in_memory(term):
        steps = zip(term.shape, strides(term), strict=True)
        return Operand(term, 0, tuple([((n, step),) if n != 1 else () for n, step in steps]))
    dims = list(term.shape)
    while True:
        index = identity(dims, term.shape)
        try:
            base, place = _followed(term, index, dims, in_memory, strides)
        except NeedsSplit as split:
            dims = split_dims(dims, split)
            continue
        except NotAffine:
            return None
        if any(not isinstance(v, int) for v, _ in place.terms):
            return None
        return Operand(base, place.const, _parts(index, dims, place))


def _followed(
    term: Term,
    index: Indices,
    dims: Sequence[int],
    in_memory: Callable[[Term], bool],
    strides: Callable[[Term], Strides],
) -> tuple[Term, Index]:
    """The term in memory behind a chain of views, and the place of an entry in it."""
    while not in_memory(term):
        assert term.op is not None
        lowering = term.op.lower
        if not isinstance(lowering, View):
            raise NotAffine
        place = Place(index, term.shape, lambda d: dims[d])
        (x,) = term.args
        try:
            index = lowering.rule(place, x, **term.params)
        except NotAffine:
            if in_memory(x) and strides(x) == strides_of(x.shape):
                return x, flat(index, strides_of(term.shape))
            raise
        term = x
    return term, flat(index, strides(term))


def _parts(index: Indices, dims: Sequence[int], place: Index) -> tuple[tuple[Part, ...], ...]:
    axes = []
    for i in index:
        parts: list[Part] = []
        for var, _ in i.terms:
            assert isinstance(var, int)
            size, step = dims[var], place.coefficient(var)
            if parts and parts[-1][1] == step * size:
                parts[-1] = (parts[-1][0] * size, step)
            else:
                parts.append((size, step))
        axes.append(tuple(parts))
    return tuple(axes)
