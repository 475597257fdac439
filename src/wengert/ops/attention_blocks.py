"""What the ops of `attention` are told, what they give, and how NumPy computes it: by blocks of
weights, so that never more than some of them are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.op import Array
from wengert.core.rules import require
from wengert.core.spec import Shaped, Spec, describe
from wengert.ops.random import DRAW, check_stream, stream_words

BLOCK = 1 << 18  # weights that a reference has in memory at once
T = TypeVar("T")


@dataclass(frozen=True)
class Operands(Generic[T]):
    """The operands of both ops by name. Those of `attention` end with the mask and the stream of
    random bits, if there are any; to those of its gradient the last three are added."""

    q: T
    k: T
    v: T
    mask: T | None
    key: T | None
    counter: T | None
    rest: tuple[T, ...]  # out, lse and the cotangent of out

    @classmethod
    def of(cls, given: Sequence[T], masked: bool, dropout: float) -> Operands[T]:
        """Names for operands in their order."""
        left = list(given[3:])
        mask = left.pop(0) if masked else None
        key, counter = (left.pop(0), left.pop(0)) if dropout else (None, None)
        q, k, v = given[:3]
        return cls(q, k, v, mask, key, counter, tuple(left))


def kept_words(dropout: float) -> int:
    """The largest of the 32-bit words that keep a weight."""
    return round((1.0 - dropout) * 2**32) - 1


# -- shapes ------------------------------------------------------------------------------------


def _check(op: str, given: Sequence[Shaped], masked: bool, dropout: float, more: int) -> None:
    if len(given) != 3 + masked + 2 * bool(dropout) + more:
        raise ShapeError(
            op,
            "takes query, key and value, the mask and the random stream that it is told of",
            met=f"{len(given)} operands, masked={masked}, dropout={dropout}",
            fix="pass as many operands as the parameters say",
        )
    x = Operands.of(given, masked, dropout)
    shapes = [tuple(s.shape) for s in given[:3]]
    lead = shapes[0][:-2]
    if any(len(s) < 2 or s[:-2] != lead for s in shapes) or (
        shapes[0][-1] != shapes[1][-1] or shapes[1][-2] != shapes[2][-2] or not shapes[1][-2]
    ):
        raise ShapeError(
            op,
            "takes queries (…, L, E), keys (…, S, E) and values (…, S, V) with S > 0",
            met=describe(*given[:3]),
            fix="broadcast the leading axes",
        )
    floats = [x.q, x.k, x.v, *x.rest]
    if not dtypes.is_float(x.q.dtype) or any(s.dtype != x.q.dtype for s in floats):
        raise DtypeError(op, "takes floats of one dtype", met=describe(*floats), fix="cast them")
    if x.key is not None and x.counter is not None:
        check_stream(op, x.key, x.counter, ())
        require(
            len(x.key.shape) == 1 and not x.counter.shape,
            op,
            "takes one random stream",
            met=describe(x.key, x.counter),
            fix="pass one key and one counter",
        )
    if x.mask is not None:
        scores = (*shapes[0][:-1], shapes[1][-2])
        shape = tuple(x.mask.shape)
        fits = len(shape) == len(scores) and all(
            m in (1, n) for m, n in zip(shape, scores, strict=True)
        )
        if not fits or x.mask.dtype not in (dtypes.bool, x.q.dtype):
            raise ShapeError(
                op,
                "a mask has the axes of the scores, of their size or 1, and is boolean or like q",
                met=f"{describe(x.mask)} for scores {scores}",
                fix="insert axes of size 1",
            )


def attention_spec(
    *given: Shaped, scale: float, causal: bool, masked: bool, dropout: float
) -> tuple[Spec, Spec]:
    _check("attention", given, masked, dropout, 0)
    lead = tuple(given[0].shape[:-1])
    dtype = given[0].dtype
    return Spec((*lead, given[2].shape[-1]), dtype), Spec(lead, dtype)


def gradient_spec(
    *given: Shaped, scale: float, causal: bool, masked: bool, dropout: float
) -> tuple[Spec, ...]:
    _check("attention_gradient", given, masked, dropout, 3)
    return tuple(Spec(tuple(s.shape), s.dtype) for s in given[:3])


# -- references --------------------------------------------------------------------------------


class _Blocks:
    """The weights, some at a time: of several whole matrices, or of some rows of one."""

    def __init__(
        self, given: Sequence[Array], scale: float, causal: bool, masked: bool, dropout: float
    ) -> None:
        x = Operands.of(given, masked, dropout)
        self.scale, self.causal, self.dropout = scale, causal, dropout
        self.lead = x.q.shape[:-2]
        self.count = math.prod(self.lead)
        self.q, self.k, self.v, *self.rest = (self.flat(a) for a in (x.q, x.k, x.v))
        self.rows, self.columns = self.q.shape[1], self.k.shape[1]
        self.stream = x.key, x.counter
        self.mask: Array | None = None
        if x.mask is not None:
            shape = (*self.lead, *x.mask.shape[-2:])
            self.mask = self.flat(np.broadcast_to(x.mask, shape))

    def flat(self, x: Array) -> Array:
        """An array with one leading axis, in the dtype that is computed in."""
        dtype = np.float32 if dtypes.is_float(x.dtype) and x.dtype.itemsize == 2 else x.dtype
        return x.reshape(self.count, *x.shape[len(self.lead) :]).astype(dtype, copy=False)

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        """Matrices and rows of each block."""
        whole = self.rows * self.columns
        if whole > BLOCK:
            step = max(1, BLOCK // self.columns)
            for n in range(self.count):
                for row in range(0, self.rows, step):
                    yield slice(n, n + 1), slice(row, min(row + step, self.rows))
        else:
            step = BLOCK // max(1, whole)
            for n in range(0, self.count, step):
                yield slice(n, min(n + step, self.count)), slice(0, self.rows)

    def keys(self, at: tuple[slice, slice]) -> tuple[slice, slice]:
        """Matrices and columns of a block: the first of them, where others are hidden anyway."""
        end = min(at[1].stop, self.columns) if self.causal else self.columns
        return at[0], slice(0, end)

    def weights(self, at: tuple[slice, slice]) -> tuple[Array, Array]:
        """The weights of a block before dropout, and the lse of its rows."""
        rows, (matrices, columns) = at[1], self.keys(at)
        keys = self.k[matrices, columns].swapaxes(-1, -2)
        s = np.matmul(self.q[at] * self.q.dtype.type(self.scale), keys)
        if self.causal:
            row, column = np.arange(rows.start, rows.stop), np.arange(columns.stop)
            np.copyto(s, -np.inf, where=column > row[:, None])
        if self.mask is not None:
            mask = self.mask[matrices, rows if self.mask.shape[1] > 1 else slice(None)]
            mask = mask[..., columns] if mask.shape[-1] > 1 else mask
            if mask.dtype == dtypes.bool:
                np.copyto(s, -np.inf, where=~mask)
            else:
                s += mask
        top = s.max(axis=-1, keepdims=True)
        safe = np.where(top == -np.inf, s.dtype.type(0), top)
        s -= safe
        np.exp(s, out=s)
        total = s.sum(axis=-1, keepdims=True)
        s /= np.where(total == 0, s.dtype.type(1), total)
        return s, (np.log(total) + safe)[..., 0]

    def factors(self, at: tuple[slice, slice]) -> Array | None:
        """What dropout multiplies the weights of a block by."""
        if not self.dropout:
            return None
        matrices, rows = at
        shape = (matrices.stop - matrices.start, rows.stop - rows.start, self.columns)
        first = (matrices.start * self.rows + rows.start) * self.columns
        key, counter = self.stream
        assert key is not None
        assert counter is not None
        skip, size = first % 8, math.prod(shape)
        blocks = stream_words(key, int(counter) + first // 8, DRAW, (skip + size + 1) // 2)
        words = blocks.astype("<u8", copy=False).view(np.uint32)[skip : skip + size]
        kept = words.reshape(shape) <= np.uint32(kept_words(self.dropout))
        return kept[..., self.keys(at)[1]] * self.q.dtype.type(1.0 / (1.0 - self.dropout))


def attention_reference(*given: Array, **params: Any) -> tuple[Array, Array]:
    out_spec, lse_spec = attention_spec(*given, **params)
    b = _Blocks(given, **params)
    out = np.empty((b.count, b.rows, b.v.shape[-1]), b.q.dtype)
    lse = np.empty((b.count, b.rows), b.q.dtype)
    for at in b:
        p, lse[at] = b.weights(at)
        factors = b.factors(at)
        if factors is not None:
            p *= factors
        np.matmul(p, b.v[b.keys(at)], out=out[at])
    dtype = out_spec.dtype
    return (
        out.reshape(out_spec.shape).astype(dtype, copy=False),
        lse.reshape(lse_spec.shape).astype(dtype, copy=False),
    )


def gradient_reference(*given: Array, **params: Any) -> tuple[Array, ...]:
    specs = gradient_spec(*given, **params)
    b = _Blocks(given, **params)
    g = b.flat(given[-1])
    dq = np.empty(b.q.shape, b.q.dtype)
    dk, dv = np.zeros(b.k.shape, b.q.dtype), np.zeros(b.v.shape, b.q.dtype)
    for at in b:
        keys = b.keys(at)
        p, _ = b.weights(at)
        dp = np.matmul(g[at], b.v[keys].swapaxes(-1, -2))
        factors = b.factors(at)
        used = p
        if factors is not None:
            dp *= factors
            used = p * factors
        dv[keys] += np.matmul(used.swapaxes(-1, -2), g[at])
        dp -= (dp * p).sum(axis=-1, keepdims=True)
        dp *= p
        dp *= p.dtype.type(params["scale"])
        np.matmul(dp, b.k[keys], out=dq[at])
        dk[keys] += np.matmul(dp.swapaxes(-1, -2), b.q[at])
    return tuple(
        d.reshape(s.shape).astype(s.dtype, copy=False)
        for d, s in zip((dq, dk, dv), specs, strict=True)
    )
