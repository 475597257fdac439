"""A matrix product brought into one form: rows of c run along memory, few batch axes are left.

Whatever the operands' layout, the kernels see c (rows, columns) with neighbouring columns next to
each other, a (rows, depth) and b (depth, columns) with any strides, and batch axes with a stride
for each of the three. Where c's rows are not what runs along memory, cᵀ = bᵀ·aᵀ is computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

Strides = tuple[int, ...]

CUT_COLUMNS = 64  # c counts in blocks of 64 × 64
CUT_BLOCKS = 8  # with fewer blocks than that, k may be cut
CUT_DEPTH = 2048  # if it is at least so long,
CUT_LENGTH = 512  # into ranges of at least so many entries,
CUT_PARTS = 16  # and into at most so many ranges


@dataclass(frozen=True)
class Axis:
    """A batch axis: its size, and the strides of a, b and c."""

    size: int
    a: int
    b: int
    c: int


@dataclass(frozen=True)
class Problem:
    """A product in the kernels' form. `swapped`: a and b, and the axes of c, changed places."""

    batch: tuple[Axis, ...]
    rows: int
    columns: int
    depth: int
    row_a: int
    column_a: int
    row_b: int
    column_b: int
    row_c: int
    swapped: bool = False

    @property
    def count(self) -> int:
        """Matrices in the batch."""
        return prod(axis.size for axis in self.batch)

    @property
    def dots(self) -> bool:
        """Whether entries of c are sums along memory: one row, and columns of b that lie in k."""
        along = self.row_b == 1 and (self.column_b != 1 or self.columns == 1)
        return self.rows == 1 and along and self.depth > 1

    @property
    def cut(self) -> int:
        """Entries of the ranges that k is cut into; k itself where it stays whole."""
        per_row, per_column = -(-self.rows // CUT_COLUMNS), -(-self.columns // CUT_COLUMNS)
        if self.depth < CUT_DEPTH or self.count * per_row * per_column >= CUT_BLOCKS:
            return self.depth
        least = -(-self.depth // CUT_PARTS)
        return max(CUT_LENGTH, -(-least // CUT_COLUMNS) * CUT_COLUMNS)

    @property
    def parts(self) -> int:
        """Number of these ranges."""
        return max(1, -(-self.depth // self.cut)) if self.depth else 1


@lru_cache(maxsize=1024)
def problem(
    batch: tuple[int, ...], m: int, n: int, k: int, a: Strides, b: Strides, c: Strides
) -> Problem:
    """The product of stacks of matrices with these sizes and strides, in the kernels' form."""
    axes = [Axis(*each) for each in zip(batch, a[:-2], b[:-2], c[:-2], strict=True)]
    straight = n == 1 or c[-1] == 1
    across = m == 1 or c[-2] == 1
    assert straight or across, "one axis of c must run along memory"
    if across and (not straight or n == 1 < m):
        axes = [replace(axis, a=axis.b, b=axis.a) for axis in axes]
        m, n = n, m
        a, b, c = (*b[:-2], b[-1], b[-2]), (*a[:-2], a[-1], a[-2]), (*c[:-2], c[-1], c[-2])
        made = Problem(tuple(axes), m, n, k, a[-2], a[-1], b[-2], b[-1], c[-2], swapped=True)
    else:
        made = Problem(tuple(axes), m, n, k, a[-2], a[-1], b[-2], b[-1], c[-2])
    return _with_more_rows(_with_fewer_axes(made))


def _with_fewer_axes(p: Problem) -> Problem:
    """Join batch axes that one stride can walk; leave out those of size 1."""
    joined: list[Axis] = []
    for axis in p.batch:
        if axis.size == 1:
            continue
        last = joined[-1] if joined else None
        inner = (axis.a * axis.size, axis.b * axis.size, axis.c * axis.size)
        if last is not None and (last.a, last.b, last.c) == inner:
            joined[-1] = replace(axis, size=last.size * axis.size)
        else:
            joined.append(axis)
    return replace(p, batch=tuple(joined))


def _with_more_rows(p: Problem) -> Problem:
    """Let the innermost batch axis add rows where all of its matrices share b."""
    while p.batch and p.batch[-1].b == 0:
        axis = p.batch[-1]
        if p.rows == 1:
            p = replace(p, row_a=axis.a, row_c=axis.c)
        elif (axis.a, axis.c) != (p.rows * p.row_a, p.rows * p.row_c):
            break
        p = replace(p, batch=p.batch[:-1], rows=p.rows * axis.size)
    return p
