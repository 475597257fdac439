"""How the compiler writes an op: told in the op's own declaration, read by the compiler.

An op without a lowering is called as a library function, its reference, from inside the program.
Rules get the compiler's builders as arguments, so that this file and `ops/` import none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType

MOST_ENTRIES = 128


class Lowering:
    """One of the ways in which an op becomes code."""


@dataclass(frozen=True)
class Pointwise(Lowering):
    """The same computation at each position of operands that are broadcast.

    `rule(k, *operands, **params)` writes it for one position, or for many side by side: `k` is a
    `compiler.llvm.scalars.Scalars`, the operands are its values. `dtypes` are the operand dtypes
    that it serves; with others the op is a library call.
    """

    rule: Callable[..., Any]
    dtypes: Sequence[DType] = dtypes.ALL


def pointwise(lower: Lowering | Callable[..., Any] | None) -> Lowering | None:
    """A lowering as it is; a bare rule as a `Pointwise`."""
    return lower if lower is None or isinstance(lower, Lowering) else Pointwise(lower)


@dataclass(frozen=True)
class View(Lowering):
    """Each entry of the result is an entry of the one operand: `rule(place, x, **params)` gives its
    index from `place`, the `core.index.Place` of the result's entry; `x` is the operand's spec."""

    rule: Callable[..., Any]


@dataclass(frozen=True)
class Indexed(Lowering):
    """Each entry of the result is computed from few entries of the operands, anywhere in them.

    `rule(b, place, *operands, **params)` writes it: `b` is a `compiler.nest.Builder`, which reads
    operands at any index, under conditions, and applies pointwise rules. `entries(*operands,
    **params)` is how many it reads; beyond `MOST_ENTRIES` the op is a library call.
    """

    rule: Callable[..., Any]
    entries: Callable[..., int] = lambda *operands, **params: 1


@dataclass(frozen=True)
class Reduction(Lowering):
    """Entries along the axes `params["axis"]` (an int, or a tuple) are combined into one.

    A reduction carries one number or several (the largest value, and where it stands). `start(d)`
    gives what to begin with for operands of dtype `d`, one number for each dtype in `carries(d)`.
    `feed(k, x, position)` makes carried values of one entry; `position` is its place along the
    reduced axes, row-major, as int64. `combine(k, a, b)` joins two lists of them and may be applied
    in any grouping, with `a` always before `b`. `finish(k, a)` gives the result.
    """

    start: Callable[[DType], Sequence[Any]]
    feed: Callable[..., Sequence[Any]]
    combine: Callable[..., Sequence[Any]]
    finish: Callable[..., Any] = lambda k, a: a[0]
    carries: Callable[[DType], Sequence[DType]] = lambda d: (d,)


@dataclass(frozen=True)
class Native(Lowering):
    """A computation with a kernel of its own, by the name of its maker in
    `compiler.kernel_calls.MAKERS`. The kernel may write its result over the operand of number
    `in_place`, if all else that reads that operand is done."""

    maker: str
    in_place: int | None = None


@dataclass(frozen=True)
class Expand(Lowering):
    """An expression of simpler ops, which the compiler can fuse with what is around it.

    `rule(*operands, **params)` is written with ops on tensors, and returns a tensor, or a tuple for
    an op with several results. It computes what the reference does, to a few units in the last
    place where it adds up, else bitwise.
    """

    rule: Callable[..., Any]


@dataclass(frozen=True)
class Repeated(Lowering):
    """A loop that the program runs itself: `params["loop"]` is a `compiler.loop.Loop`, the operands
    are the constants of its body, the first carry and the arrays of rows."""
