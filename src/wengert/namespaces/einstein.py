"""`einsum`: a string becomes a recipe once, and is then looked up.

The recipe prepares each operand (diagonals of repeated labels, axes of size 1 that broadcast, sums
over labels that no one else has), contracts in pairs, cheapest result first, and orders the axes.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from wengert.core.dtypes import promote
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, WengertError
from wengert.core.op import cast_to
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.contract import Labels, Subs, contract, diagonal
from wengert.ops.movement import permute, reshape
from wengert.ops.reduce import sum as reduce_sum

Step = tuple[str, tuple[int, ...]]  # what to do with one array, and its parameter


class Recipe(NamedTuple):
    """What einsum does for one pattern and one list of shapes."""

    prepare: tuple[tuple[Step, ...], ...]  # for each operand
    pairs: tuple[tuple[int, int, Subs], ...]  # take these two off the list, append their product
    finish: tuple[Step, ...]


def _apply(x: Tensor, steps: tuple[Step, ...]) -> Tensor:
    for what, value in steps:
        if what == "permute":
            x = permute(x, axes=value)
        elif what == "diagonal":
            x = diagonal(x, offset=0)
        elif what == "reshape":
            x = reshape(x, shape=value)
        else:
            x = reduce_sum(x, axis=value)
    return x


def einsum(pattern: str, /, *operands: Any) -> Tensor:
    """Einstein's sum: `einsum("bij,bjk->bik", x, y)`.

    Each operand has a letter for each of its axes; letters that the result does not name are
    summed over. `...` stands for any number of axes, which broadcast. A letter repeated in one
    operand takes its diagonal. Without `->`, the result has the letters that occur once, in
    alphabetical order. Axes of size 1 broadcast. Pairs are contracted in a greedy order.

    >>> import wengert as wg
    >>> x = wg.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> float(wg.einsum("ii", x)), wg.einsum("ij,j->i", x, wg.ones(2))
    (5.0, Tensor([3., 7.], dtype=float32))
    """
    if not isinstance(pattern, str):
        raise DtypeError(
            "einsum",
            "the first argument is the pattern",
            met=type(pattern).__name__,
            fix="write wg.einsum('ij,jk->ik', x, y)",
        )
    terms = [as_tensor(x) for x in operands]
    recipe = _recipe(pattern, tuple(t.shape for t in terms))
    dtype = promote(*(t.dtype for t in terms))
    terms = [
        _apply(cast_to(t, dtype), steps) for t, steps in zip(terms, recipe.prepare, strict=True)
    ]
    for i, j, subs in recipe.pairs:
        y, x = terms.pop(j), terms.pop(i)
        terms.append(contract(x, y, subs=subs))
    return _apply(terms[0], recipe.finish)


# -- reading the pattern -----------------------------------------------------------------------


class _Problem(Exception):
    """What is wrong with a pattern; becomes an error that shows pattern and shapes."""

    def __init__(self, error: type[WengertError], what: str, fix: str) -> None:
        self.error, self.what, self.fix = error, what, fix


@lru_cache(maxsize=2048)
def _recipe(pattern: str, shapes: tuple[Shape, ...]) -> Recipe:
    try:
        inputs, output = _parse(pattern, shapes)
        return _plan(inputs, output, shapes)
    except _Problem as problem:
        met = f"{pattern!r} with shapes " + (", ".join(map(str, shapes)) or "of nothing")
        raise problem.error("einsum", problem.what, met=met, fix=problem.fix) from None


def _parse(pattern: str, shapes: tuple[Shape, ...]) -> tuple[list[Labels], Labels]:
    """Labels of the operands and of the result. Letters are positive, axes of `...` negative."""
    left, arrow, right = pattern.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes) or not shapes:
        raise _Problem(
            ArgumentError,
            f"the pattern has {len(parts)} operands, the call {len(shapes)}",
            "separate the operands in the pattern by commas, one for each array",
        )
    inputs = [_labels(p, len(s)) for p, s in zip(parts, shapes, strict=True)]
    counts = Counter(a for labels in inputs for a in labels)
    dots = tuple(sorted(a for a in counts if a < 0))
    if not arrow:
        return inputs, dots + tuple(sorted(a for a, n in counts.items() if a > 0 and n == 1))
    output = _output(right, dots)
    for a in output:
        if a not in counts:
            raise _Problem(
                ArgumentError,
                f"the result names {chr(a)!r}, which no operand has",
                "remove it from the result; repeat values with wg.broadcast_to",
            )
    if len(set(output)) != len(output):
        raise _Problem(
            ArgumentError,
            "the result names a letter twice",
            "name it once; a diagonal matrix is wg.diag(x)",
        )
    if dots and "..." not in right:
        raise _Problem(
            ArgumentError, "the axes of '...' are missing in the result", "write '...' in it"
        )
    return inputs, output


def _letters(text: str) -> Labels:
    for c in text:
        if not (c.isascii() and c.isalpha()):
            raise _Problem(
                ArgumentError,
                f"{c!r} is no label",
                "use letters a-z and A-Z, '...', ',' and one '->'",
            )
    return tuple(map(ord, text))


def _labels(part: str, ndim: int) -> Labels:
    before, dots, after = part.partition("...")
    first, last = _letters(before), _letters(after)
    rest = ndim - len(first) - len(last)
    if rest < 0 or (rest and not dots):
        raise _Problem(
            ShapeError,
            f"{part!r} does not have one letter for each axis of an array of {ndim} axes",
            "name each axis, or write '...' for those in front",
        )
    return first + tuple(range(-rest, 0)) + last


def _output(right: str, dots: Labels) -> Labels:
    before, _, after = right.partition("...")
    if "..." in right:
        return _letters(before) + dots + _letters(after)
    return _letters(right)


# -- planning ----------------------------------------------------------------------------------


def _sizes(inputs: list[Labels], shapes: tuple[Shape, ...]) -> dict[int, int]:
    """The size of each label. Axes of size 1 broadcast, but not against one of the same operand."""
    size: dict[int, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        own: dict[int, int] = {}
        for a, n in zip(labels, shape, strict=True):
            if own.setdefault(a, n) != n:
                raise _two_sizes(a, own[a], n)
        for a, n in own.items():
            known = size.get(a, 1)
            if known != n and 1 not in (known, n):
                raise _two_sizes(a, known, n)
            size[a] = n if known == 1 else known
    return size


def _two_sizes(label: int, first: int, second: int) -> _Problem:
    name = repr(chr(label)) if label > 0 else f"axis {label} of '...'"
    return _Problem(
        ShapeError,
        f"{name} has two sizes, {first} and {second}",
        "check the order of the letters against the shapes",
    )


def _plan(inputs: list[Labels], output: Labels, shapes: tuple[Shape, ...]) -> Recipe:
    size = _sizes(inputs, shapes)
    trimmed = [_diagonals(a, s, size) for a, s in zip(inputs, shapes, strict=True)]
    owners = Counter(a for labels, _ in trimmed for a in set(labels))
    prepare, terms = [], []
    for labels, steps in trimmed:
        alone = tuple(i for i, a in enumerate(labels) if owners[a] == 1 and a not in output)
        if alone:
            steps.append(("sum", alone))
        prepare.append(tuple(steps))
        terms.append(tuple(a for i, a in enumerate(labels) if i not in alone))
    pairs = []
    while len(terms) > 1:
        i, j = _cheapest(terms, output, size)
        y, x = terms.pop(j), terms.pop(i)
        out = _product_labels(x, y, terms, output)
        pairs.append((i, j, (x, y, out)))
        terms.append(out)
    (last,) = terms
    order = tuple(last.index(a) for a in output)
    finish = () if order == tuple(range(len(order))) else (("permute", order),)
    return Recipe(tuple(prepare), tuple(pairs), finish)


def _diagonals(labels: Labels, shape: Shape, size: dict[int, int]) -> tuple[Labels, list[Step]]:
    """Labels without repeats and without broadcast axes of size 1, and the steps there."""
    steps: list[Step] = []
    current = list(zip(labels, shape, strict=True))
    kept = [(a, n) for a, n in current if n == size[a]]
    if len(kept) < len(current):
        steps.append(("reshape", tuple(n for _, n in kept)))
    found = [a for a, _ in kept]
    while repeated := next((a for a in found if found.count(a) > 1), 0):
        i = found.index(repeated)
        j = found.index(repeated, i + 1)
        order = (*(k for k in range(len(found)) if k not in (i, j)), i, j)
        steps += [("permute", order), ("diagonal", ())]
        found = [found[k] for k in order[:-1]]
    return tuple(found), steps


def _product_labels(x: Labels, y: Labels, others: list[Labels], output: Labels) -> Labels:
    """Labels of a product of two: those still needed; in the result's order if it is the last."""
    needed = set(output).union(*others)
    both = dict.fromkeys((*x, *y))
    if not others:
        return output
    return tuple(a for a in both if a in needed)


def _cheapest(terms: list[Labels], output: Labels, size: dict[int, int]) -> tuple[int, int]:
    """The pair whose product grows memory least, then costs least (the greedy order)."""

    def cost(pair: tuple[int, int]) -> tuple[int, int]:
        i, j = pair
        x, y = terms[i], terms[j]
        others = [t for k, t in enumerate(terms) if k not in pair]
        out = _product_labels(x, y, others, output)
        grown = _count(out, size) - _count(x, size) - _count(y, size)
        return grown, prod(size[a] for a in {*x, *y})

    return min(((i, j) for j in range(len(terms)) for i in range(j)), key=cost)


def _count(labels: Labels, size: dict[int, int]) -> int:
    return prod(size[a] for a in labels)
