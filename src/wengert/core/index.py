"""Affine index expressions: where an op that moves elements finds each of them.

An `Index` is `const + Σ coefficient · variable`, with integer coefficients. Variables are the
numbers of a loop nest's dimensions, or values that the compiled code works out (a gathered index).
An op's lowering is a function from the index of its result to the index of its operand.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import prod

from wengert.core.spec import Shape

Var = Hashable  # an int: the number of a dimension; else a value of the compiled code


class NotAffine(Exception):
    """An index that has no affine form here; the operand must stand in memory instead."""


class NeedsSplit(Exception):
    """Dimension `dim` must become two, the inner one of size `inner`, for an index to be affine."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__(dim, inner)
        self.dim, self.inner = dim, inner


@dataclass(frozen=True)
class Index:
    """`const + Σ coefficient · variable`; each variable once, no coefficient is 0."""

    terms: tuple[tuple[Var, int], ...] = ()
    const: int = 0

    @classmethod
    def of(cls, var: Var, coefficient: int = 1) -> Index:
        """A variable, times a number."""
        return cls(((var, coefficient),) if coefficient else ())

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.const + other) if other else self
        if not other.terms:
            return self + other.const
        total = dict(self.terms)
        for var, c in other.terms:
            total[var] = total.get(var, 0) + c
        terms = tuple([(v, c) for v, c in total.items() if c])
        return Index(terms, self.const + other.const)

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Index(tuple([(v, c * factor) for v, c in self.terms]), self.const * factor)

    def coefficient(self, var: Var) -> int:
        """The factor of a variable."""
        for v, c in self.terms:
            if v == var:
                return c
        return 0

    def key(self) -> tuple[frozenset[tuple[Var, int]], int]:
        """Equal for equal expressions, whatever the order of their terms."""
        return frozenset(self.terms), self.const

    def bounds(self, sizes: Callable[[int], int]) -> tuple[int, int]:
        """The smallest and largest value, given the sizes of the dimensions."""
        low = high = self.const
        for var, c in self.terms:
            if not isinstance(var, int):
                raise NotAffine
            reach = c * (sizes(var) - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high


ZERO = Index()
Indices = tuple[Index, ...]


def strides_of(shape: Shape, order: Sequence[int] | None = None) -> tuple[int, ...]:
    """Steps in entries of a dense array whose axes lie in `order` in memory (the last one next to
    each other); row-major without an order."""
    steps = [0] * len(shape)
    step = 1
    for axis in reversed(order if order is not None else range(len(shape))):
        steps[axis] = step
        step *= shape[axis]
    return tuple(steps)


def flat(index: Sequence[Index], strides: Sequence[int]) -> Index:
    """The place in memory of an index."""
    const, total = 0, dict[Var, int]()
    for i, step in zip(index, strides, strict=True):
        const += i.const * step
        for var, c in i.terms:
            total[var] = total.get(var, 0) + c * step
    return Index(tuple([(var, c) for var, c in total.items() if c]), const)


def broadcast_index(index: Indices, shape: Shape) -> Indices:
    """The index into an operand of `shape` that is broadcast to a result with this index."""
    behind = index[len(index) - len(shape) :]
    return tuple([ZERO if n == 1 else i for i, n in zip(behind, shape, strict=True)])


def reshaped(index: Indices, shape: Shape, old: Shape, sizes: Callable[[int], int]) -> Indices:
    """An index into an array of `shape`, as the index of the same element in the shape `old`."""
    found: list[Index] = []
    for new_axes, old_axes in factor_groups(shape, old):
        merged = flat([index[a] for a in new_axes], strides_of(tuple(shape[a] for a in new_axes)))
        found += _parted(merged, tuple(old[a] for a in old_axes), sizes)
    return tuple(found)


def factor_groups(a: Shape, b: Shape) -> list[tuple[range, range]]:
    """The finest division of two shapes of the same size into runs of axes of the same size."""
    groups = []
    i = j = 0
    while i < len(a) or j < len(b):
        first_i, first_j = i, j
        left = right = 1
        while True:
            if i < len(a) and (left <= right or j == len(b)):
                left *= a[i]
                i += 1
            elif j < len(b):
                right *= b[j]
                j += 1
            if left == right and (i > first_i or not a) and (j > first_j or not b):
                break
            if i == len(a) and j == len(b):
                break
        groups.append((range(first_i, i), range(first_j, j)))
    return _with_ones(groups, a, b)


def _with_ones(groups: list[tuple[range, range]], a: Shape, b: Shape) -> list[tuple[range, range]]:
    """Groups without axes on one side (trailing ones) are joined to their neighbour."""
    joined: list[tuple[range, range]] = []
    for left, right in groups:
        if joined and (not left or not right):
            before = joined.pop()
            left = range(before[0].start, left.stop if left else before[0].stop)
            right = range(before[1].start, right.stop if right else before[1].stop)
        joined.append((left, right))
    assert all(prod(a[i] for i in x) == prod(b[i] for i in y) for x, y in joined)
    return joined


def _parted(index: Index, shape: Shape, sizes: Callable[[int], int]) -> list[Index]:
    """A place in a dense array of `shape` as one index an axis."""
    if len(shape) < 2:  # the one entry of a shape without axes has no index
        return [index] if shape else []
    if 0 in shape:
        return [ZERO] * len(shape)
    steps = strides_of(shape)
    parts = [ZERO] * len(shape)
    for var, c in index.terms:
        if not isinstance(var, int):
            raise NotAffine
        axis = _axis_of(abs(c), shape, steps)
        if c % steps[axis]:
            raise NotAffine
        reach = abs(c) * sizes(var)
        room = steps[axis] * shape[axis]
        if reach > room:
            inner, rest = divmod(room, abs(c))
            if rest or inner <= 1 or sizes(var) % inner:
                raise NotAffine
            raise NeedsSplit(var, inner)
        parts[axis] = parts[axis] + Index.of(var, c // steps[axis])
    left = index.const
    for axis, step in enumerate(steps):
        digit = left // step if axis < len(steps) - 1 else left
        digit = min(digit, shape[axis] - 1) if digit >= 0 else 0
        parts[axis] = parts[axis] + digit
        left -= digit * step
    for part, n in zip(parts, shape, strict=True):
        low, high = part.bounds(sizes)
        if low < 0 or high >= n:
            raise NotAffine
    if left:
        raise NotAffine
    return parts


def _axis_of(c: int, shape: Shape, steps: Sequence[int]) -> int:
    """The axis whose step is the largest that is not above `c` (of several, the longest axis)."""
    for axis, step in enumerate(steps):
        if step <= c and shape[axis] > 1:
            return axis
    return len(shape) - 1


@dataclass(frozen=True)
class Place:
    """An entry of an array of `shape`: its index, and the sizes of the dimensions in it."""

    index: Indices
    shape: Shape
    sizes: Callable[[int], int]

    def reshaped(self, old: Shape) -> Indices:
        """The index of the same entry in an array of shape `old` with the same entries."""
        return reshaped(self.index, self.shape, old, self.sizes)

    def broadcast(self, shape: Shape) -> Indices:
        """The index into an operand of `shape` that is broadcast to this array."""
        return broadcast_index(self.index, shape)
