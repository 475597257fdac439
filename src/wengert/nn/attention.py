"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Parameter
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.functional.arguments import at, floating
from wengert.nn.linear import Linear
from wengert.nn.module import Module

__all__ = ["MultiheadAttention"]

_NAME = "MultiheadAttention"


class MultiheadAttention(Module):
    """Attention in several heads, each on its own projection of queries, keys and values.

    Parameters
    ----------
    embed_dim, num_heads : features of the queries and of the result; heads, which divide them
    dropout : the share of attention weights that are dropped in training
    bias : whether the projections have biases
    add_bias_kv : append a learnt key and value to the sequence
    add_zero_attn : append a key and a value of zeros
    kdim, vdim : features of keys and values, where they differ from embed_dim
    batch_first : sequences are (batch, length, features) rather than (length, batch, features)

    Parameters have PyTorch's names and layouts: `in_proj_weight` (3·embed_dim, embed_dim), or
    `q_proj_weight`, `k_proj_weight` and `v_proj_weight` with kdim or vdim; `in_proj_bias`,
    `out_proj.weight`, `out_proj.bias`, `bias_k`, `bias_v`.

    >>> import wengert as wg
    >>> attention = wg.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = wg.ones((4, 5, 8))
    >>> out, weights = attention(x, x, x)
    >>> out.shape, weights.shape
    ((4, 5, 8), (4, 5, 5))

    Source: Vaswani et al. 2017.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_sizes(embed_dim, num_heads, dropout)
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        packed = self.kdim == embed_dim and self.vdim == embed_dim

        def parameter(wanted: bool, *shape: int) -> Parameter | None:
            return Parameter(xp.zeros(shape, dtype=dtype, device=device)) if wanted else None

        e = embed_dim
        self.register_parameter("in_proj_weight", parameter(packed, 3 * e, e))
        self.register_parameter("q_proj_weight", parameter(not packed, e, e))
        self.register_parameter("k_proj_weight", parameter(not packed, e, self.kdim))
        self.register_parameter("v_proj_weight", parameter(not packed, e, self.vdim))
        self.register_parameter("in_proj_bias", parameter(bias, 3 * e))
        self.register_parameter("bias_k", parameter(add_bias_kv, 1, 1, e))
        self.register_parameter("bias_v", parameter(add_bias_kv, 1, 1, e))
        self.out_proj = Linear(e, e, bias=bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew (Glorot and Bengio 2010); biases become zero."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if (weight := getattr(self, name)) is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for token in (self.bias_k, self.bias_v):
            if token is not None:
                init.xavier_normal_(token)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and the weights (None unless `need_weights`).

        Parameters
        ----------
        query, key, value : (L, N, embed_dim), (S, N, kdim), (S, N, vdim), with the batch N in
            front where `batch_first`, or without N
        key_padding_mask : (N, S); **True means that the key is left out**; floats are added
        attn_mask : (L, S) or (N·num_heads, L, S); **True means left out**; floats are added.
            (`scaled_dot_product_attention` has it the other way round, as in PyTorch.)
        average_attn_weights : the weights' mean over heads, (N, L, S), or all of them,
            (N, num_heads, L, S)
        is_causal : query i sees the keys 0 to i; without effect where `attn_mask` is given, which
            is then taken to say so itself

        A query whose keys are all left out attends to nothing: its weights are zero.
        """
        same = query is key and key is value
        q, k, v = (floating(_NAME, x) for x in (query, key, value))
        batched = q.ndim == 3
        self._check_inputs(q, k, v)
        q, k, v = (self._batch_in_front(x) for x in (q, k, v))
        rows, length, source = q.shape[0], q.shape[1], k.shape[1]
        mask = _merge_masks(
            _attention_mask(attn_mask, is_causal, (rows, self.num_heads, length, source)),
            _padding_mask(key_padding_mask, rows if batched else None, source),
            q.dtype,
        )
        q, k, v = self._project(q, k, v, same)
        extra = 0
        if self.bias_k is not None and self.bias_v is not None:
            k, v = _append(k, self.bias_k), _append(v, self.bias_v)
            extra += 1
        if self.add_zero_attn:
            zero = xp.zeros((1, 1, self.embed_dim), dtype=k.dtype)
            k, v = _append(k, zero), _append(v, zero)
            extra += 1
        q, k, v = (self._split_heads(x) for x in (q, k, v))
        mask = _allow_more(mask, extra)
        if need_weights:
            weights = F.attention_weights(q, k, mask)
            weights = F.dropout(weights, self.dropout, self.training)
            attended = weights @ v
        else:  # then they need not all be in memory
            only_causal = is_causal and attn_mask is None and key_padding_mask is None and not extra
            rate = self.dropout if self.training else 0.0
            attended = F.scaled_dot_product_attention(
                q, k, v, None if only_causal else mask, rate, only_causal
            )
        out = self.out_proj(self._join_heads(attended))
        if not batched:
            out = out[0]
        elif not self.batch_first:
            out = xp.swapaxes(out, 0, 1)
        if not need_weights:
            return out, None
        if not batched:
            weights = weights[0]
        return out, xp.mean(weights, axis=-3) if average_attn_weights else weights

    # -- parts of the computation ------------------------------------------------------------

    def _project(
        self, q: Tensor, k: Tensor, v: Tensor, same: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values in embed_dim features each."""
        e, b = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is not None and same:  # one product in place of three
            joint = F.linear(q, self.in_proj_weight, b)
            return joint[..., :e], joint[..., e : 2 * e], joint[..., 2 * e :]
        if self.in_proj_weight is not None:
            w = self.in_proj_weight
            weights: tuple[Any, ...] = w[:e], w[e : 2 * e], w[2 * e :]
        else:
            weights = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        biases = (None, None, None) if b is None else (b[:e], b[e : 2 * e], b[2 * e :])
        q, k, v = map(F.linear, (q, k, v), weights, biases)
        return q, k, v

    def _split_heads(self, x: Tensor) -> Tensor:
        """(N, L, embed_dim) → (N, num_heads, L, head_dim)."""
        return xp.swapaxes(x.reshape((*x.shape[:2], self.num_heads, self.head_dim)), 1, 2)

    def _join_heads(self, x: Tensor) -> Tensor:
        """(N, num_heads, L, head_dim) → (N, L, embed_dim)."""
        rows, _, length, _ = x.shape
        return xp.swapaxes(x, 1, 2).reshape((rows, length, self.embed_dim))

    def _batch_in_front(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x.reshape((1, *x.shape))
        return x if self.batch_first else xp.swapaxes(x, 0, 1)

    def _check_inputs(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        layout = "(batch, length, features)" if self.batch_first else "(length, batch, features)"
        if q.ndim not in (2, 3) or not q.ndim == k.ndim == v.ndim:
            raise ShapeError(
                at(_NAME),
                f"query, key and value must all be {layout}, or all (length, features)",
                met=describe(q, k, v),
                fix="add or drop the batch axis",
            )
        wanted = (self.embed_dim, self.kdim, self.vdim)
        if (q.shape[-1], k.shape[-1], v.shape[-1]) != wanted:
            raise ShapeError(
                at(_NAME),
                "the features of query, key and value must be {}, {} and {}".format(*wanted),
                met=describe(q, k, v),
                fix="set embed_dim, kdim and vdim to the features of the inputs",
            )
        batch, time = (0, 1) if self.batch_first and q.ndim == 3 else (1, 0)
        batches_differ = q.ndim == 3 and not q.shape[batch] == k.shape[batch] == v.shape[batch]
        if k.shape[time] != v.shape[time] or batches_differ:
            raise ShapeError(
                at(_NAME),
                "key and value must have one length, and all three one batch size",
                met=f"{describe(q, k, v)} as {layout}",
                cause="batch_first does not fit the layout of the inputs",
                fix=f"pass batch_first={not self.batch_first} to the layer, or swap the axes",
            )

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _check_sizes(embed_dim: int, num_heads: int, dropout: float) -> None:
    if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
        below = embed_dim - embed_dim % max(num_heads, 1)
        raise ArgumentError(
            _NAME,
            "embed_dim must be a positive multiple of num_heads",
            met=f"embed_dim={embed_dim} and num_heads={num_heads}",
            fix=f"use embed_dim={below or num_heads} or {below + num_heads}"
            if num_heads > 0
            else "pass positive numbers",
        )
    if not 0 <= dropout <= 1:
        raise ArgumentError(
            _NAME, "dropout is a share from 0 to 1", met=f"{dropout}", fix="pass 0.1"
        )


def _append(x: Tensor, token: Tensor) -> Tensor:
    """(N, S, E) with one more token, (1, 1, E), for each row."""
    return xp.concat([x, xp.broadcast_to(token, (x.shape[0], 1, x.shape[2]))], axis=1)


# -- masks, in which True means left out ---------------------------------------------------------


def _as_mask(name: str, mask: Any) -> Tensor:
    m = as_tensor(mask)
    if m.dtype != dtypes.bool and not dtypes.is_float(m.dtype):
        raise DtypeError(
            at(_NAME),
            f"{name} must be boolean (True: left out) or floating (added to the scores)",
            met=describe(m),
            fix=f"compare, for example {name} != 0",
        )
    return m


def _attention_mask(mask: Any, is_causal: bool, shape: tuple[int, int, int, int]) -> Tensor | None:
    """`attn_mask` in a form that broadcasts to (N, num_heads, L, S)."""
    rows, heads, length, source = shape
    if mask is None:
        return ~F.causal_mask(length, source) if is_causal else None
    m = _as_mask("attn_mask", mask)
    if m.shape == (length, source):
        return m
    if m.shape == (rows * heads, length, source):
        return m.reshape(shape)
    raise ShapeError(
        at(_NAME),
        "attn_mask must be (L, S) or (N·num_heads, L, S)",
        met=f"{m.shape}; expected {(length, source)} or {(rows * heads, length, source)}",
        fix="a mask of padded keys belongs in key_padding_mask",
    )


def _padding_mask(mask: Any, rows: int | None, source: int) -> Tensor | None:
    """`key_padding_mask` in a form that broadcasts to (N, num_heads, L, S)."""
    if mask is None:
        return None
    m = _as_mask("key_padding_mask", mask)
    expected = (source,) if rows is None else (rows, source)
    if m.shape != expected:
        raise ShapeError(
            at(_NAME),
            "key_padding_mask must be (batch, keys)" if rows is not None else "must be (keys,)",
            met=f"{m.shape}; expected {expected}",
            cause="a mask with the batch axis behind" if m.shape == expected[::-1] else "",
            fix="batch comes first in this mask, whatever batch_first says",
        )
    return m.reshape((1 if rows is None else rows, 1, 1, source))


def _merge_masks(attention: Tensor | None, padding: Tensor | None, dtype: Any) -> Tensor | None:
    """Both masks in one, as `scaled_dot_product_attention` takes it."""
    masks = [m for m in (attention, padding) if m is not None]
    if not masks:
        return None
    if all(m.dtype == dtypes.bool for m in masks):
        out = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        return ~out
    added = [
        xp.where(m, xp.asarray(-math.inf, dtype=dtype), 0) if m.dtype == dtypes.bool else m
        for m in masks
    ]
    return added[0] if len(added) == 1 else added[0] + added[1]


def _allow_more(mask: Tensor | None, extra: int) -> Tensor | None:
    """The mask with room for appended tokens, which always take part."""
    if mask is None or not extra:
        return mask
    allowed = True if mask.dtype == dtypes.bool else 0.0
    more = xp.full((*mask.shape[:-1], extra), allowed, dtype=mask.dtype)
    return xp.concat([mask, more], axis=-1)
