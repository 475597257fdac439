"""Attention: softmax(scale·q·kᵀ + mask)·v without the matrix of all weights, and its gradient.

Written out in products and a softmax, attention keeps an array of (queries × keys) for each pair of
batch and head; for long sequences it dwarfs all else. As one op it keeps its result and one number
a query, the logarithm of the sum of the exponentials (`lse`), and the gradient, one op as well,
computes the weights again from these, block by block (Rabe and Staats 2021; Dao et al. 2022).

What no block-wise computation is written for is composed of other ops (`Explicit`): tangents,
derivatives of the gradient, cotangents of a floating mask and of `lse`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.lowering import Native
from wengert.core.node import Node
from wengert.core.op import Op
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped
from wengert.core.tensor import Tensor
from wengert.ops.attention_blocks import (
    Operands,
    attention_reference,
    attention_spec,
    gradient_reference,
    gradient_spec,
    kept_words,
)
from wengert.ops.contract import contract
from wengert.ops.elementwise import add, div, equal, less_equal, mul, sub
from wengert.ops.functions import exp, log
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.random import DRAW, random_bits
from wengert.ops.reduce import max, sum
from wengert.ops.selection import where
from wengert.ops.structure import stop_gradient


def _times(x: Tensor, y: Tensor, subs: str) -> Tensor:
    """Matrices times matrices; `subs` names the last two axes of x, y and the result."""
    lead = tuple(range(x.ndim - 2))
    letters = {c: len(lead) + i for i, c in enumerate(sorted(set(subs)))}
    labels = [(*lead, letters[a], letters[b]) for a, b in zip(subs[::2], subs[1::2], strict=True)]
    out: Tensor = contract(x, y, subs=tuple(labels))
    return out


def _row_sum(x: Tensor) -> Tensor:
    """The sums along the last axis, which is kept."""
    out: Tensor = reshape(sum(x, axis=(x.ndim - 1,)), shape=(*x.shape[:-1], 1))
    return out


class Explicit:
    """Attention with all weights in memory, composed of ops that have every derivative."""

    def __init__(
        self,
        given: Sequence[Tensor],
        scale: float,
        causal: bool,
        masked: bool,
        dropout: float,
        bits: Tensor | None = None,
    ) -> None:
        x = self.operands = Operands.of(given, masked, dropout)
        self.q, self.k, self.v, self.scale = x.q, x.k, x.v, scale
        s = _times(mul(x.q, scale), x.k, "aebeab")
        if causal:
            s = where(Tensor(np.tri(*s.shape[-2:], dtype=bool)), s, -math.inf)
        if x.mask is not None:
            s = where(x.mask, s, -math.inf) if x.mask.dtype == dtypes.bool else add(s, x.mask)
        top = stop_gradient(max(s, axis=(s.ndim - 1,)))
        top = reshape(where(equal(top, -math.inf), 0.0, top), shape=(*s.shape[:-1], 1))
        e = exp(sub(s, top))
        total = _row_sum(e)
        self.p: Tensor = div(e, where(equal(total, 0.0), 1.0, total))
        self.lse: Tensor = reshape(add(top, log(total)), shape=s.shape[:-1])
        self.factors: Tensor | None = None
        if dropout:
            if bits is None:
                params = {"shape": s.shape, "dtype": dtypes.uint32, "domain": DRAW}
                bits = random_bits(x.key, x.counter, **params)
            keep = less_equal(bits, kept_words(dropout))
            factor = Tensor(np.asarray(1.0 / (1.0 - dropout), s.dtype))
            self.factors = where(keep, factor, 0.0)

    def dropped(self, x: Tensor) -> Tensor:
        """Weights, or their cotangents, after dropout."""
        out: Tensor = x if self.factors is None else mul(x, self.factors)
        return out

    @property
    def out(self) -> Tensor:
        """The result."""
        return _times(self.dropped(self.p), self.v, "abbvav")

    def slope(self, x: Tensor) -> Tensor:
        """The softmax's Jacobian, which is symmetric, times x."""
        out: Tensor = mul(self.p, sub(x, _row_sum(mul(self.p, x))))
        return out

    def score_tangent(self, tq: Tensor | None, tk: Tensor | None, tmask: Tensor | None) -> Any:
        """The tangent of the scores; None for zero."""
        parts = []
        if tq is not None:
            parts.append(_times(mul(tq, self.scale), self.k, "aebeab"))
        if tk is not None:
            parts.append(_times(mul(self.q, self.scale), tk, "aebeab"))
        if tmask is not None:
            parts.append(broadcast_to(tmask, shape=self.p.shape))
        return _total(parts)

    def from_scores(self, ds: Tensor) -> tuple[Tensor, Tensor]:
        """Cotangents of q and k, given those of the scores."""
        ds = mul(ds, self.scale)
        return _times(ds, self.k, "abbeae"), _times(ds, self.q, "abaebe")

    def score_cotangent(self, g: Tensor | None, g_lse: Tensor | None) -> Any:
        """The cotangent of the scores, given those of the results."""
        parts = []
        if g is not None:
            parts.append(self.slope(self.dropped(_times(g, self.v, "avbvab"))))
        if g_lse is not None:
            parts.append(mul(self.p, reshape(g_lse, shape=(*g_lse.shape, 1))))
        return _total(parts)

    def v_cotangent(self, g: Tensor) -> Tensor:
        """The cotangent of v, given that of the result."""
        return _times(self.dropped(self.p), g, "abavbv")


def _total(parts: Sequence[Tensor]) -> Any:
    """The sum of tensors; None for none."""
    found: Any = None
    for part in parts:
        found = part if found is None else add(found, part)
    return found


def _batched_operands(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], masked: bool, dropout: float
) -> tuple[list[Tensor], Tensor | None]:
    """All operands with the batch axis in front, and the random bits that belong to them."""
    bits: Tensor | None = None
    at = 3 + masked
    streams = range(at, at + 2 * bool(dropout))
    if dropout:
        shape = (*args[0].shape[batched[0] : -1], args[1].shape[-2])
        params = {"shape": shape, "dtype": dtypes.uint32, "domain": DRAW}
        marks = batched[at : at + 2]
        if any(marks):
            bits = random_bits.batch(size, args[at : at + 2], marks, params)
        else:
            bits = reshape(random_bits(*args[at : at + 2], **params), shape=(1, *shape))
    full = list(args)
    for i, (x, mark) in enumerate(zip(args, batched, strict=True)):
        if not mark and i not in streams:
            n = 1 if masked and i == 3 else size
            full[i] = broadcast_to(x, shape=(n, *x.shape))
    return full, bits


class Attention(Op):
    """(out, lse) of queries, keys, values, a mask if `masked`, key and counter if `dropout`."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        given = [node.value(i) for i in range(len(needs))]
        g, g_lse = ct
        parts: list[Tensor | None] = [None] * len(needs)
        mask_too = node.params["masked"] and needs[3]
        if g is not None and g_lse is None and not mask_too:
            found = attention_gradient(*given, *node.output(), g, **node.params)
            parts[:3] = found
            return parts
        x = Explicit(given, **node.params)
        ds = x.score_cotangent(g, g_lse)
        parts[0], parts[1] = x.from_scores(ds)
        parts[2] = None if g is None else x.v_cotangent(g)
        if mask_too:
            parts[3] = ds
        return parts

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        given = [node.value(i) for i in range(len(tangents))]
        x = Explicit(given, **node.params)
        t = Operands.of(tangents, node.params["masked"], node.params["dropout"])
        ts = x.score_tangent(t.q, t.k, t.mask)
        parts = []
        if ts is not None:
            parts.append(_times(x.dropped(x.slope(ts)), x.v, "abbvav"))
        if t.v is not None:
            parts.append(_times(x.dropped(x.p), t.v, "abbvav"))
        lse = None if ts is None else sum(mul(x.p, ts), axis=(ts.ndim - 1,))
        return _total(parts), lse


def _attention_batch(
    size: int,
    args: Sequence[Tensor],
    batched: Sequence[bool],
    masked: bool,
    dropout: float,
    **params: Any,
) -> Any:
    given, bits = _batched_operands(size, args, batched, masked, dropout)
    params |= {"masked": masked, "dropout": dropout}
    if not dropout:
        return attention(*given, **params)
    x = Explicit(given, **params, bits=bits)
    return x.out, x.lse


class AttentionGradient(Op):
    """(dq, dk, dv) of the operands of `attention`, its results and the cotangent of the first. The
    results are what follows from the operands: they are no variables of their own."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        given = [node.value(i) for i in range(len(needs))]
        g = given[-1]
        x = Explicit(given[:-3], **node.params)
        cq, ck, cv = ct
        dp = x.dropped(_times(g, x.v, "avbvab"))
        mean = _row_sum(mul(x.p, dp))
        ds = mul(x.p, sub(dp, mean))
        parts: list[Tensor | None] = [None] * len(needs)
        from_p = []
        for_g, for_v, for_q, for_k = [], [], [], []
        c_ds = x.score_tangent(cq, ck, None)  # of dq = scale·ds·k and dk = scale·dsᵀ·q
        if cq is not None:
            for_k.append(_times(mul(ds, x.scale), cq, "abaebe"))
        if ck is not None:
            for_q.append(_times(mul(ds, x.scale), ck, "abbeae"))
        if cv is not None:  # of dv = (dropped p)ᵀ·g
            from_p.append(x.dropped(_times(g, cv, "avbvab")))
            for_g.append(_times(x.dropped(x.p), cv, "abbvav"))
        if c_ds is not None:
            c_dp = x.slope(c_ds)
            from_p.append(sub(mul(c_ds, sub(dp, mean)), mul(dp, _row_sum(mul(x.p, c_ds)))))
            c_da = x.dropped(c_dp)
            for_g.append(_times(c_da, x.v, "abbvav"))
            for_v.append(_times(c_da, g, "abavbv"))
        c_s = x.slope(_total(from_p))
        more_q, more_k = x.from_scores(c_s)
        parts[:3] = _total([*for_q, more_q]), _total([*for_k, more_k]), _total(for_v)
        if node.params["masked"] and needs[3]:
            parts[3] = c_s
        parts[-1] = _total(for_g)
        return parts

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        given = [node.value(i) for i in range(len(tangents))]
        g, tg = given[-1], tangents[-1]
        x = Explicit(given[:-3], **node.params)
        t = Operands.of(tangents, node.params["masked"], node.params["dropout"])
        dp = x.dropped(_times(g, x.v, "avbvab"))
        centred = sub(dp, _row_sum(mul(x.p, dp)))
        ds = mul(x.p, centred)
        ts = x.score_tangent(t.q, t.k, t.mask)
        tp = None if ts is None else x.slope(ts)
        t_da = [_times(tg, x.v, "avbvab")] if tg is not None else []
        if t.v is not None:
            t_da.append(_times(g, t.v, "avbvab"))
        t_ds, tv = [], []
        if tp is not None:
            t_ds.append(sub(mul(tp, centred), mul(x.p, _row_sum(mul(tp, dp)))))
            tv.append(_times(x.dropped(tp), g, "abavbv"))
        if t_da:
            t_ds.append(x.slope(x.dropped(_total(t_da))))
        if tg is not None:
            tv.append(_times(x.dropped(x.p), tg, "abavbv"))
        tq, tk = [], []
        if t_ds:
            found = x.from_scores(_total(t_ds))
            tq, tk = [found[0]], [found[1]]
        if t.k is not None:
            tq.append(_times(mul(ds, x.scale), t.k, "abbeae"))
        if t.q is not None:
            tk.append(_times(mul(ds, x.scale), t.q, "abaebe"))
        return _total(tq), _total(tk), _total(tv)


def _gradient_batch(
    size: int,
    args: Sequence[Tensor],
    batched: Sequence[bool],
    masked: bool,
    dropout: float,
    **params: Any,
) -> Any:
    given, bits = _batched_operands(size, args, batched, masked, dropout)
    params |= {"masked": masked, "dropout": dropout}
    if not dropout:
        return attention_gradient(*given, **params)
    x = Explicit(given[:-3], **params, bits=bits)
    g = given[-1]
    return *x.from_scores(x.score_cotangent(g, None)), x.v_cotangent(g)


# -- declarations ------------------------------------------------------------------------------


def _work(
    out: Shaped, q: Shaped, k: Shaped, v: Shaped, *rest: Shaped, causal: bool, **params: Any
) -> int:
    """Two products; half of them under the causal mask."""
    rows, columns = q.shape[-2], k.shape[-2]
    full = rows * columns
    if causal:
        square = min(rows, columns)
        full -= square * (square - 1) // 2 + (columns - square) * rows
    return 2 * math.prod(q.shape[:-2]) * full * (q.shape[-1] + v.shape[-1])


def _gradient_work(
    out: Shaped, q: Shaped, k: Shaped, v: Shaped, *rest: Shaped, **params: Any
) -> int:
    """Five products in place of two."""
    return _work(out, q, k, v, *rest, **params) * 5 // 2


def _operand_samples(rng: np.random.Generator) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    def draw(lead: tuple[int, ...], rows: int, columns: int, e: int, v: int) -> tuple[Any, ...]:
        sizes = (rows, e), (columns, e), (columns, v)
        return tuple(rng.normal(size=(*lead, *size)) for size in sizes)

    def params(masked: bool = False, causal: bool = False, dropout: float = 0.0) -> dict[str, Any]:
        return {"scale": 0.7, "causal": causal, "masked": masked, "dropout": dropout}

    key, counter = rng.integers(0, 2**64, 2, np.uint64), np.asarray(7, np.uint64)
    some = np.array([[True, False, True], [False, False, True]])
    added = rng.normal(size=(2, 1, 1, 3))
    return [
        (draw((), 2, 3, 2, 1), params()),
        (draw((2,), 3, 2, 1, 2), params(causal=True)),
        ((*draw((), 2, 3, 2, 2), some), params(masked=True)),
        ((*draw((2, 1), 2, 3, 1, 1), added), params(masked=True)),
        ((*draw((2,), 2, 3, 2, 1), key, counter), params(dropout=0.4)),
    ]


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x = rng.normal(size=(2, 3))
    plain = {"scale": 1.0, "causal": False, "masked": False, "dropout": 0.0}
    single = x.astype(np.float32)
    return [
        *(Sample(*sample) for sample in _operand_samples(rng)),
        Sample((x, x, x, np.array([[True], [False]])), plain | {"masked": True}, smooth=False),
        Wrong((x, x[:, :2], x), plain, ShapeError, "takes queries"),
        Wrong((x, x, x, x), plain, ShapeError, "4 operands"),
        Wrong((x, x, single), plain, DtypeError, "floats of one dtype"),
        Wrong((x, x, x, x), plain | {"masked": True}, ShapeError, "axes of the scores"),
    ]


def _gradient_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x = rng.normal(size=(2, 3))
    found: list[Sample | Wrong] = []
    for given, params in _operand_samples(rng):
        out, lse = attention_reference(*given, **params)
        found.append(Sample((*given, out, lse, rng.normal(size=out.shape)), params))
    plain = {"scale": 1.0, "causal": False, "masked": False, "dropout": 0.0}
    return [*found, Wrong((x, x, x), plain, ShapeError, "3 operands")]


attention = Attention(
    "attention",
    attention_reference,
    attention_spec,
    operands=(),
    vjps=(None,),
    jvps=(None,),
    batch=_attention_batch,
    samples=_samples,
    cost="compute",
    several=True,
    work=_work,
    lower=Native("attention"),
)
attention_gradient = AttentionGradient(
    "attention_gradient",
    gradient_reference,
    gradient_spec,
    operands=(),
    vjps=(None,),
    jvps=(None,),
    batch=_gradient_batch,
    samples=_gradient_samples,
    cost="compute",
    several=True,
    work=_gradient_work,
    lower=Native("attention_gradient"),
)
