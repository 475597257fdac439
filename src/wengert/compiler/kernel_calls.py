"""Kernels for terms: which one, on which views of what stands in memory, and how it writes.

A maker is a function of a term and a `Site`. It gives a `Call`, or raises one of four: `NeedsCopy`
where operands must first be copied to memory of their own, in some order of axes; `NeedsTerm` where
an operand must first be worked on (indices are to be checked and wrapped); `NeedsFreedom` where the
result cannot be row-major, as it should; `NoKernel` where the term must be a library call.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import accumulate, pairwise
from typing import Any

from wengert.compiler.form import Strides
from wengert.compiler.ir import Term
from wengert.compiler.kernels.base import Array, Grid, Kernel
from wengert.compiler.operands import Operand, Part, operand
from wengert.core import dtypes
from wengert.core.index import strides_of

Order = tuple[int, ...]


class NeedsCopy(Exception):
    """Operands must be copied first: by their number, the order in which their axes are to lie."""

    def __init__(self, orders: dict[int, Order]) -> None:
        super().__init__(orders)
        self.orders = orders


class NeedsTerm(Exception):
    """An operand must be replaced by what an op makes of it."""

    def __init__(self, operand: int, op: str, **params: Any) -> None:
        super().__init__(operand, op, params)
        self.operand, self.op, self.params = operand, op, params


class NeedsFreedom(Exception):
    """The result cannot lie as the site says; it must be copied from where it does."""


class NoKernel(Exception):
    """There is no kernel for a term."""


@dataclass
class Call:
    """A kernel, the terms that it reads (with the entry at which each starts), and the steps of
    what it writes; for a term with several results those of each. And how an epilogue would go
    through the result, if the kernel takes one."""

    kernel: Kernel
    reads: list[tuple[Term, int]]
    strides: Strides
    results: tuple[Strides, ...] = ()
    grid: Grid | None = None


@dataclass
class Site:
    """What a maker may ask of the program around a term."""

    in_memory: Callable[[Term], bool]
    strides: Callable[[Term], Strides]
    order: tuple[int, ...] | None  # in which the result's axes should lie; None: must be row-major
    free: Container[int] = ()  # of several results, those that may lie in any order

    def operands(self, term: Term) -> list[Operand]:
        """The operands of a term as views of memory."""
        found = [operand(a, self.in_memory, self.strides) for a in term.args]
        missing = {i: tuple(range(a.ndim)) for i, a in enumerate(term.args) if found[i] is None}
        if missing:
            raise NeedsCopy(missing)
        return [f for f in found if f is not None]


# -- contractions ------------------------------------------------------------------------------

Parts = list[Part]


def contraction(term: Term, site: Site) -> Call:
    """A product of two arrays as a (batched) matrix product."""
    from wengert.compiler.kernels.gemm import Gemm

    if term.dtype == dtypes.bool or any(a.size == 0 for a in term.args):
        raise NoKernel
    ix, iy, io = term.params["subs"]
    x, y = site.operands(term)
    sizes = dict(zip(ix, term.args[0].shape, strict=True))
    sizes |= dict(zip(iy, term.args[1].shape, strict=True))
    out = _result_strides(term, site, ix, iy)
    table = _Axes(sizes)
    table.add(0, ix, x.axes)
    table.add(1, iy, y.axes)
    table.add(2, io, tuple(((n, s),) if n > 1 else () for n, s in zip(term.shape, out)))
    pieces = table.pieces(term)
    batch, m, n, k = _roles(pieces, ix, iy, io)
    rows, more_rows = _merged(m, (0, 2))
    columns, more_columns = _merged(n, (1, 2))
    depth, more_depth = _merged(k, (0, 1))
    if more_depth:
        raise NeedsCopy(_gathered(term, k))
    batch = [*batch, *more_rows, *more_columns]
    shape = tuple(p.size for p in batch)
    gemm = Gemm(
        term.dtype,
        shape,
        rows.size,
        columns.size,
        depth.size,
        (*(p.steps[0] for p in batch), rows.steps[0], depth.steps[0]),
        (*(p.steps[1] for p in batch), depth.steps[1], columns.steps[1]),
        (*(p.steps[2] for p in batch), rows.steps[2], columns.steps[2]),
    )
    if 1 not in (gemm.c[-1], gemm.c[-2]) and max(rows.size, columns.size) > 1:
        raise NeedsFreedom
    return Call(gemm, [(x.base, x.start), (y.base, y.start)], out, grid=gemm.grid)


@dataclass
class _Piece:
    """A size, and the step along it in x, y and the result (0 where it is not an axis of it)."""

    label: int
    size: int
    steps: tuple[int, int, int]


class _Axes:
    """The labels of a contraction, each cut so finely that it is even in all three places."""

    def __init__(self, sizes: dict[int, int]) -> None:
        self.sizes = sizes
        self.parts: dict[int, dict[int, tuple[Part, ...]]] = {a: {} for a in sizes}

    def add(self, place: int, labels: tuple[int, ...], axes: tuple[tuple[Part, ...], ...]) -> None:
        """The parts of each axis of an operand (or of the result)."""
        for label, parts in zip(labels, axes, strict=True):
            self.parts[label][place] = parts

    def pieces(self, term: Term) -> list[_Piece]:
        """All labels in pieces."""
        found = []
        for label, places in self.parts.items():
            if self.sizes[label] == 1:
                continue
            cuts = sorted({c for parts in places.values() for c in _cuts(parts)}, reverse=True)
            for outer, inner in zip([self.sizes[label], *cuts], [*cuts, 1], strict=True):
                if outer % inner:
                    raise NeedsCopy({i: tuple(range(a.ndim)) for i, a in enumerate(term.args)})
                steps = [_step(places.get(i, ()), inner) for i in range(3)]
                found.append(_Piece(label, outer // inner, (steps[0], steps[1], steps[2])))
        return found


def _cuts(parts: tuple[Part, ...]) -> list[int]:
    """The sizes of what lies inside of each part but the last."""
    inner = list(accumulate((n for n, _ in reversed(parts)), int.__mul__))
    return inner[:-1]


def _step(parts: tuple[Part, ...], inner: int) -> int:
    """The step in memory of a step by `inner` along an axis."""
    below = 1
    for size, step in reversed(parts):
        if inner < below * size:
            return step * (inner // below)
        below *= size
    return 0


def _roles(
    pieces: list[_Piece], ix: tuple[int, ...], iy: tuple[int, ...], io: tuple[int, ...]
) -> tuple[list[_Piece], list[_Piece], list[_Piece], list[_Piece]]:
    """Batch axes, rows (in x and the result), columns (in y and the result), summed ones."""
    batch, m, n, k = [], [], [], []
    for p in pieces:
        if p.label not in io:
            k.append(p)
        elif p.label not in iy:
            m.append(p)
        elif p.label not in ix:
            n.append(p)
        else:
            batch.append(p)
    return batch, m, n, k


def _merged(pieces: list[_Piece], places: tuple[int, int]) -> tuple[_Piece, list[_Piece]]:
    """The largest run of pieces that is one axis in both places, and the others."""
    if not pieces:
        return _Piece(-1, 1, (0, 0, 0)), []
    ordered = sorted(pieces, key=lambda p: [-p.steps[i] for i in reversed(places)])
    runs: list[_Piece] = []
    for p in ordered:
        last = runs[-1] if runs else None
        if last and all(last.steps[i] == p.steps[i] * p.size for i in places):
            runs[-1] = _Piece(p.label, last.size * p.size, p.steps)
        else:
            runs.append(p)
    # The run that is next to each other in the result, else the longest.
    best = max(runs, key=lambda p: (p.steps[places[1]] == 1, p.size))
    return best, [p for p in runs if p is not best]


def _gathered(term: Term, summed: list[_Piece]) -> dict[int, Order]:
    """The operands whose summed axes do not follow each other in memory as they do in the first
    operand's shape, and orders in which they would: the summed axes last."""
    ix, iy, io = term.params["subs"]
    wanted = {}
    for i, labels in enumerate((ix, iy)):
        if not all(a.steps[i] == b.steps[i] * b.size for a, b in pairwise(summed)):
            last = sorted((a for a in labels if a not in io), key=ix.index)
            first = [a for a in labels if a in io]
            wanted[i] = tuple([labels.index(a) for a in [*first, *last]])
    return wanted or {i: tuple(range(a.ndim)) for i, a in enumerate(term.args)}


def _result_strides(term: Term, site: Site, ix: tuple[int, ...], iy: tuple[int, ...]) -> Strides:
    """The result lies as its users like it, but for a matrix axis that must come last."""
    if site.order is None:
        return strides_of(term.shape)
    io = term.params["subs"][2]
    order = list(site.order)
    matrix = [a for a in order if not (io[a] in ix and io[a] in iy) and term.shape[a] > 1]
    if matrix and order[-1] != matrix[-1]:
        order.remove(matrix[-1])
        order.append(matrix[-1])
    return strides_of(term.shape, order)


# -- convolutions ------------------------------------------------------------------------------

_KINDS = {"conv": "forward", "conv_input": "data", "conv_weight": "weight"}
_PLACES = {"forward": "xw", "data": "wy", "weight": "xy"}
_RESULT = {"forward": "y", "data": "x", "weight": "w"}


def convolution(term: Term, site: Site) -> Call:
    """A convolution or one of its transposes, channels last in memory."""
    from wengert.compiler.kernels.conv import Convolution
    from wengert.compiler.kernels.winograd import allowed

    assert term.op is not None
    kind = _KINDS[term.op.name]
    if not dtypes.is_float(term.dtype) or any(a.size == 0 for a in term.args):
        raise NoKernel
    arrays, reads, copies = {}, [], {}
    found = site.operands(term)
    for i, (place, a) in enumerate(zip(_PLACES[kind], term.args, strict=True)):
        steps = found[i].even()
        if steps is None or (place != "w" and not _channels_last(a, steps)):
            copies[i] = tuple(range(a.ndim)) if place == "w" else channels_last(a.ndim)
            continue
        arrays[place] = _array(a, place, steps)
        reads.append((found[i].base, found[i].start))
    if copies:
        raise NeedsCopy(copies)
    place = _RESULT[kind]
    steps = strides_of(term.shape, None if place == "w" else channels_last(term.ndim))
    if site.order is None and not _row_major(term, steps):
        raise NeedsFreedom
    arrays[place] = _array(term, place, steps)
    how = {key: term.params[key] for key in ("stride", "padding", "dilation", "groups")}
    how["winograd"] = allowed()
    made = Convolution(kind, arrays["x"], arrays["w"], arrays["y"], **how)
    return Call(made, reads, steps, grid=made.grid)


def channels_last(ndim: int) -> tuple[int, ...]:
    """The order of axes (N, C, *spatial) in which channels come last."""
    return (0, *range(2, ndim), 1)


def _row_major(term: Term, steps: Strides) -> bool:
    plain = strides_of(term.shape)
    return all(n == 1 or a == b for n, a, b in zip(term.shape, steps, plain, strict=True))


def _channels_last(term: Term, steps: Strides) -> bool:
    return steps[1] == 1 or term.shape[1] == 1


def _array(term: Term, place: str, steps: Strides) -> Array:
    """A term as the kernel sees it: activations with their channels last."""
    if place == "w":
        return Array(term.dtype, term.shape, steps)
    order = channels_last(term.ndim)
    shape, strides = [term.shape[a] for a in order], [steps[a] for a in order]
    if shape[-1] == 1:
        strides[-1] = 1
    return Array(term.dtype, tuple(shape), tuple(strides))


# -- all makers --------------------------------------------------------------------------------

Maker = Callable[[Term, Site], Call]


def _made_by(module: str, name: str, term: Term, site: Site) -> Call:
    maker: Maker = getattr(import_module(f"wengert.compiler.{module}"), name)
    return maker(term, site)


# Makers that stand in modules of their own, which are loaded when a program needs them.
_ELSEWHERE = {
    "index_calls": ("scatter", "latest"),
    "scan_calls": ("scan", "sort"),
    "random_calls": ("random_bits",),
    "attention_calls": ("attention", "attention_gradient"),
}

MAKERS: dict[str, Maker] = {
    "contraction": contraction,
    "convolution": convolution,
    **{n: partial(_made_by, m, n) for m, names in _ELSEWHERE.items() for n in names},
}
