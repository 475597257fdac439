"""Contraction: the one product of two arrays that sums over shared axes, and diagonals.

Every `matmul`, `tensordot` and `einsum` of the library is made of `contract`. Each axis of its
operands carries a label, and each label stands in at least two of the three places (x, y, result):

* in x, y and the result: a batch axis;
* in x and y only: contracted, that is, summed over;
* in one operand and the result: free.

So the three places play the same part, and the transpose in an operand only swaps places: the
cotangent of x is the contraction of the result's cotangent with y. Axes that a user sums in one
operand alone, broadcasts or repeats are taken care of before (see `namespaces.linear`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.index import Place
from wengert.core.lowering import Indexed, Native, View
from wengert.core.op import Array, Op
from wengert.core.rules import linear, multilinear
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor

Labels = tuple[int, ...]
Subs = tuple[Labels, Labels, Labels]  # labels of x, of y and of the result

MATMUL: Subs = ((0, 1), (1, 2), (0, 2))


class Plan(NamedTuple):
    """How the reference computes a contraction: as `np.dot`, a product, or a stack of matmuls."""

    kind: str
    swap: bool  # whether y goes to the left, so that the result needs no permutation
    x_axes: tuple[int, ...]  # left operand as (batch…, free…, contracted…)
    y_axes: tuple[int, ...]  # right operand as (batch…, contracted…, free…)
    out_axes: tuple[int, ...]  # permutation of (batch…, free of x…, free of y…); () for none
    batch: int  # number of batch axes
    x_free: int  # number of free axes of the left operand
    y_free: int


@lru_cache(maxsize=4096)
def plan(subs: Subs) -> Plan:
    """The plan for these labels, or the error for labels that are not a contraction."""
    ix, iy, io = subs
    once = [a for a in {*ix, *iy, *io} if (a in ix) + (a in iy) + (a in io) < 2]
    if once or any(len(set(labels)) != len(labels) for labels in subs):
        raise ArgumentError(
            "contract",
            "each label must stand in two of the three places, once in each",
            met=f"{ix}, {iy} -> {io}",
            fix="sum, broadcast or take diagonals before; einsum does so",
        )
    batch = [a for a in io if a in ix and a in iy]
    swap = next((a in iy for a in io if a not in batch), False)
    if swap:
        ix, iy = iy, ix
    x_free = [a for a in ix if a in io and a not in batch]
    y_free = [a for a in iy if a in io and a not in batch]
    summed = [a for a in ix if a not in io]
    if not summed:
        return Plan("multiply", swap, _places(ix, io), _places(iy, io), (), 0, 0, 0)
    natural = batch + x_free + y_free
    out_axes = tuple(natural.index(a) for a in io)
    x_axes = tuple(ix.index(a) for a in batch + x_free + summed)
    y_axes = tuple(iy.index(a) for a in batch + summed + y_free)
    few = not batch and max(len(x_free), len(y_free), len(summed)) == 1
    if out_axes == tuple(range(len(out_axes))):
        out_axes = ()
    kind = "dot" if few else "matmul"
    return Plan(kind, swap, x_axes, y_axes, out_axes, len(batch), len(x_free), len(y_free))


def _places(labels: Labels, out: Labels) -> tuple[int, ...]:
    """For each axis of the result, the operand's axis, or -1 where it has none."""
    return tuple(labels.index(a) if a in labels else -1 for a in out)


def _contract(x: Array, y: Array, subs: Subs) -> Any:
    dtype = x.dtype
    if dtype != y.dtype:
        raise ValueError("the dtypes differ")  # `_contract_spec` says how to mend it
    if dtype.itemsize == 2 and dtypes.is_float(dtype):  # half precision accumulates in float32
        x, y = x.astype(np.float32), y.astype(np.float32)
        return np.asarray(_contract(x, y, subs)).astype(dtype)
    if subs == MATMUL:
        return x.dot(y)
    how = plan(subs)
    if how.swap:
        x, y = y, x
    if how.kind == "dot":
        return (x.T if how.x_axes == (1, 0) else x).dot(y.T if how.y_axes == (1, 0) else y)
    if how.kind == "multiply":
        return _multiply(x, y, how.x_axes, how.y_axes)
    x, y = x.transpose(how.x_axes), y.transpose(how.y_axes)
    split = how.batch + how.x_free
    batch, x_free, summed = x.shape[: how.batch], x.shape[how.batch : split], x.shape[split:]
    inner = len(summed) + how.batch
    if y.shape[: how.batch] != batch or y.shape[how.batch : inner] != summed:
        raise ValueError("the sizes differ")  # `_contract_spec` says which
    y_free = y.shape[inner:]
    length = _product(summed)
    out = np.matmul(
        x.reshape(*batch, _product(x_free), length), y.reshape(*batch, length, _product(y_free))
    ).reshape(batch + x_free + y_free)
    return out.transpose(how.out_axes) if how.out_axes else out


def _multiply(x: Array, y: Array, x_places: tuple[int, ...], y_places: tuple[int, ...]) -> Any:
    """A contraction that sums over nothing."""
    for a, b in zip(x_places, y_places, strict=True):
        if a >= 0 and b >= 0 and x.shape[a] != y.shape[b]:
            raise ValueError("the sizes differ")
    return np.multiply(_expand(x, x_places), _expand(y, y_places))


def _product(sizes: Shape) -> int:
    total = 1
    for n in sizes:
        total *= n
    return total


def _expand(x: Array, places: tuple[int, ...]) -> Array:
    """`x` with its axes where `places` says and axes of size 1 elsewhere."""
    x = x.transpose([a for a in places if a >= 0])
    return x[tuple(None if a < 0 else slice(None) for a in places)]


def _contract_spec(x: Shaped, y: Shaped, subs: Subs) -> Spec:
    ix, iy, io = subs
    if len(ix) != len(x.shape) or len(iy) != len(y.shape):
        raise ShapeError(
            "contract",
            "an operand must have one label an axis",
            met=f"{describe(x, y)} with labels {ix} and {iy}",
            fix="give each axis its label",
        )
    plan(subs)
    size: dict[int, int] = dict(zip(ix, x.shape, strict=True))
    for a, n in zip(iy, y.shape, strict=True):
        if size.setdefault(a, n) != n:
            raise ShapeError(
                "contract",
                "an axis that both operands share has two sizes",
                met=f"{tuple(x.shape)} with labels {ix} and {tuple(y.shape)} with {iy}",
                cause=f"the axis labelled {a} has {size[a]} in x and {n} in y",
                fix="transpose one operand, or check the labels",
            )
    if x.dtype != y.dtype:
        raise DtypeError(
            "contract", "takes operands of one dtype", met=describe(x, y), fix="cast one of them"
        )
    return Spec(tuple(size[a] for a in io), x.dtype)


def _contract_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], subs: Subs
) -> Tensor:
    new = 1 + max((a for labels in subs for a in labels), default=-1)
    ix, iy, io = subs
    ix, iy = (new, *ix) if batched[0] else ix, (new, *iy) if batched[1] else iy
    out: Tensor = contract(*args, subs=(ix, iy, (new, *io)))
    return out


def _x_transpose(g: Tensor, y: Tensor, subs: Subs) -> Tensor:
    out: Tensor = contract(g, y, subs=(subs[2], subs[1], subs[0]))
    return out


def _y_transpose(g: Tensor, x: Tensor, subs: Subs) -> Tensor:
    out: Tensor = contract(x, g, subs=(subs[0], subs[2], subs[1]))
    return out


def _contract_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    normal = rng.normal
    a = normal(size=(2, 3))
    return [
        Sample((a, normal(size=(3, 4))), {"subs": MATMUL}),
        Sample((a, normal(size=(3, 4))), {"subs": ((0, 1), (1, 2), (2, 0))}),
        Sample((a, normal(size=(4, 3))), {"subs": ((0, 1), (2, 1), (0, 2))}),
        Sample((a, normal(size=(2, 3))), {"subs": ((0, 1), (0, 1), ())}),
        Sample((a, normal(size=(2, 3))), {"subs": ((0, 1), (0, 1), (1, 0))}),
        Sample((a, normal(size=(3,))), {"subs": ((0, 1), (1,), (0,))}),
        Sample((normal(size=(3,)), a), {"subs": ((1,), (0, 1), (0,))}),
        Sample((normal(size=(2,)), normal(size=(3,))), {"subs": ((0,), (1,), (1, 0))}),
        Sample((normal(size=()), normal(size=())), {"subs": ((), (), ())}),
        Sample(
            (normal(size=(2, 3, 2, 4)), normal(size=(2, 4, 3, 2))),
            {"subs": ((0, 1, 2, 3), (0, 3, 4, 2), (4, 0, 1))},
        ),
        Sample(
            (normal(size=(2, 3, 4)), normal(size=(3, 4, 2, 2))),
            {"subs": ((0, 1, 2), (1, 2, 4, 3), (3, 0, 4))},
        ),
        Sample((normal(size=(2, 0)), normal(size=(0, 3))), {"subs": MATMUL}),
        Sample(
            (normal(size=(0, 2, 2)), normal(size=(2, 1))), {"subs": ((0, 1, 2), (2, 3), (0, 1, 3))}
        ),
        Sample((rng.integers(0, 9, (2, 3)), rng.integers(0, 9, (3, 2))), {"subs": MATMUL}),
        Wrong((a, a), {"subs": MATMUL}, ShapeError, "has two sizes"),
        Wrong((a, a), {"subs": ((0, 1, 2), (0, 1), (2,))}, ShapeError, "one label an axis"),
        Wrong((a, a), {"subs": ((0, 1), (0, 2), (1,))}, ArgumentError, "two of the three places"),
        Wrong((a, a.T.astype(np.float32)), {"subs": MATMUL}, DtypeError, "one dtype"),
    ]


def _contract_work(out: Shaped, x: Shaped, y: Shaped, subs: Subs) -> int:
    """A multiply-add for each combination of the labels' values."""
    sizes: dict[int, int] = {}
    for labels, t in zip(subs, (x, y, out), strict=True):
        sizes |= zip(labels, t.shape, strict=True)
    return 2 * math.prod(sizes.values())


contract: Op = multilinear(
    "contract",
    _contract,
    _contract_spec,
    _x_transpose,
    _y_transpose,
    work=_contract_work,
    lower=Native("contraction"),
    batch=_contract_batch,
    samples=_contract_samples,
)


# -- diagonals ---------------------------------------------------------------------------------


def diagonal_length(shape: Shape, offset: int) -> int:
    """Number of entries on the diagonal of a matrix that lies `offset` above the main one."""
    rows, columns = shape
    return max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))


def _diagonal_spec(x: Shaped, offset: int) -> Spec:
    if len(x.shape) < 2:
        raise ShapeError(
            "diagonal",
            "takes a matrix or a stack of matrices",
            met=describe(x),
            fix="reshape to two axes or more",
        )
    return Spec((*x.shape[:-2], diagonal_length(x.shape[-2:], offset)), x.dtype)


# The entries x[..., i, i + offset] of matrices.
diagonal: Op = linear(
    "diagonal",
    lambda x, offset: np.diagonal(x, offset, -2, -1),
    _diagonal_spec,
    lambda g, x_spec, offset: diagonal_embed(g, offset=offset, shape=x_spec.shape[-2:]),
    batch=lambda size, args, batched, offset: diagonal(args[0], offset=offset),
    samples=lambda rng: [
        Sample((rng.normal(size=(3, 4)),), {"offset": 0}),
        Sample((rng.normal(size=(2, 3, 4)),), {"offset": 2}),
        Sample((rng.normal(size=(4, 3)),), {"offset": -1}),
        Sample((rng.normal(size=(2, 2)),), {"offset": 5}),
        Sample((rng.normal(size=(0, 2)),), {"offset": 0}),
        Wrong((rng.normal(size=(3,)),), {"offset": 0}, ShapeError, "takes a matrix"),
    ],
    cost="view",
    lower=View(
        lambda place, x, offset: (
            *place.index[:-1],
            place.index[-1] + max(0, -offset),
            place.index[-1] + max(0, offset),
        )
    ),
)


def _embed(x: Array, offset: int, shape: Shape) -> Array:
    out = np.zeros((*x.shape[:-1], *shape), x.dtype)
    np.einsum("...ii->...i", out[_square_at(shape, offset)])[...] = x
    return out


def _square_at(shape: Shape, offset: int) -> tuple[Any, ...]:
    """The square block of a matrix whose main diagonal is the diagonal at `offset`."""
    n = diagonal_length(shape, offset)
    row, column = max(0, -offset), max(0, offset)
    return (..., slice(row, row + n), slice(column, column + n))


def _embed_spec(x: Shaped, offset: int, shape: Shape) -> Spec:
    if not x.shape or x.shape[-1] != diagonal_length(shape, offset):
        raise ShapeError(
            "diagonal_embed",
            "the last axis must hold one entry for each place on the diagonal",
            met=f"{tuple(x.shape)} for the diagonal {offset} of {shape}, "
            f"which has {diagonal_length(shape, offset)} places",
            fix="change the shape of the matrix or the offset",
        )
    return Spec((*x.shape[:-1], *shape), x.dtype)


def _embedded_entry(b: Any, place: Place, x: Any, offset: int, shape: Shape) -> Any:
    *lead, row, column = place.index
    at = row + -max(0, -offset)
    off = column + row * -1 + -offset
    conditions = [b.inside(at, 0, x.shape[-1]), b.inside(off, 0, 1)]
    return b.guarded(conditions, lambda: b.read(x, (*lead, at)), b.number(0, x.dtype))


# Matrices of the given shape that are zero but for x on one diagonal.
diagonal_embed: Op = linear(
    "diagonal_embed",
    _embed,
    _embed_spec,
    lambda g, offset: diagonal(g, offset=offset),
    batch=lambda size, args, batched, **params: diagonal_embed(args[0], **params),
    samples=lambda rng: [
        Sample((rng.normal(size=(3,)),), {"offset": 0, "shape": (3, 4)}),
        Sample((rng.normal(size=(2, 2)),), {"offset": 2, "shape": (3, 4)}),
        Sample((rng.normal(size=(3,)),), {"offset": -1, "shape": (4, 3)}),
        Sample((rng.normal(size=(0,)),), {"offset": 5, "shape": (2, 2)}),
        Wrong((rng.normal(size=(3,)),), {"offset": 1, "shape": (3, 3)}, ShapeError, "one entry"),
    ],
    lower=Indexed(_embedded_entry),
)
