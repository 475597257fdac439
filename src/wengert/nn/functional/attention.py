"""Attention, and the encodings that tell it where a token stands.

Sequences are laid out (…, length, features); the axes in front are batch axes, such as batch and
heads.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.rules import broadcast
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at, floating
from wengert.nn.functional.dropout import check_probability, dropout
from wengert.ops.attention import attention
from wengert.random.generator import chosen

__all__ = [
    "attention_weights",
    "causal_mask",
    "generate_square_subsequent_mask",
    "rotary_embedding",
    "scaled_dot_product_attention",
    "sinusoidal_encoding",
]

FEW_QUERIES, FEW_WEIGHTS = 16, 1024  # from so many on, attention is one op


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Each query's mean of the values, weighted by how well their keys fit:
    `softmax(scale·Q·Kᵀ)·V`.

    Parameters
    ----------
    query, key, value : (…, L, E), (…, S, E) and (…, S, V); the result is (…, L, V)
    attn_mask : broadcast to (…, L, S). Boolean: **True means that the key takes part** (in
        `MultiheadAttention` it means the opposite, as in PyTorch). Floating: added to the scores
    dropout_p : the share of weights that are set to 0; pass 0.0 outside of training
    is_causal : query i sees the keys 0 to i; excludes `attn_mask`
    scale : what the scores are multiplied by; 1/√E by default
    enable_gqa : a group of query heads shares one head of keys and values: on axis −3 the number
        of heads of the query is a multiple of theirs

    A query for which every key is masked gets the zero vector, and the gradient through it is zero.
    Only for short sequences all weights are in memory; for longer ones memory grows with their
    length, not with its square.

    >>> import wengert as wg
    >>> v = wg.asarray([[1.0], [3.0]])
    >>> wg.nn.functional.scaled_dot_product_attention(wg.zeros((2, 4)), wg.zeros((2, 4)), v)
    Tensor([[2.],
            [2.]], dtype=float32)
    >>> wg.nn.functional.scaled_dot_product_attention(
    ...     wg.zeros((2, 4)), wg.zeros((2, 4)), v, is_causal=True
    ... )
    Tensor([[1.],
            [2.]], dtype=float32)

    Source: Vaswani et al. 2017; grouped queries: Ainslie et al. 2023; by blocks: Rabe and Staats
    2021, Dao et al. 2022.
    """
    op = "scaled_dot_product_attention"
    q, k, v = floating(op, query), floating(op, key), floating(op, value)
    _check_operands(op, q, k, v)
    if enable_gqa:
        k, v = _share_heads(op, q, k), _share_heads(op, q, v)
    check_probability(op, dropout_p)
    if q.shape[-2] >= FEW_QUERIES and q.shape[-2] * k.shape[-2] >= FEW_WEIGHTS:
        found = _fused(q, k, v, attn_mask, dropout_p, is_causal, scale, generator)
        if found is not None:
            return found
    weights = attention_weights(q, k, attn_mask, is_causal, scale)
    return dropout(weights, dropout_p, generator=generator) @ v


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Any,
    dropout_p: float,
    is_causal: bool,
    scale: Any,
    generator: Any,
) -> Tensor | None:
    """Attention as one op, which never has all weights in memory; None where it is not for it."""
    if is_causal and mask is not None:
        return None
    if scale is None:
        scale = 1.0 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    elif not isinstance(scale, Real):  # a tensor, perhaps learnt
        q, scale = q * scale, 1.0
    dtype = q.dtype
    if k.dtype != dtype or v.dtype != dtype or not (q.shape[-1] and v.shape[-1]):
        return None
    if dtype.itemsize == 2:  # computed in float32, rounded once
        q, k, v = (x.astype(dtypes.float32) for x in (q, k, v))
    op = "scaled_dot_product_attention"
    lead = broadcast(op, *(x.shape[:-2] for x in (q, k, v)))
    q, k, v = (xp.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    given = [q, k, v]
    shape = (*q.shape[:-1], k.shape[-2])
    if mask is not None:
        mask = _check_mask(op, as_tensor(mask), shape)
        mask = mask.reshape((1,) * (len(shape) - mask.ndim) + mask.shape)
        given.append(mask if mask.dtype == dtypes.bool else mask.astype(q.dtype))
    if dropout_p:
        found = None
        if dropout_p < 1:
            found = chosen(op, generator).stream(shape, dtypes.uint32)
        if found is None:
            return None
        given += found
    out, _ = attention(
        *given,
        scale=float(scale),
        causal=bool(is_causal),
        masked=mask is not None,
        dropout=float(dropout_p),
    )
    return out.astype(dtype)


def attention_weights(
    query: Any, key: Any, attn_mask: Any = None, is_causal: bool = False, scale: float | None = None
) -> Tensor:
    """The weights of `scaled_dot_product_attention`, (…, L, S): rows that sum to 1, or to 0 where
    every key is masked.

    >>> import wengert as wg
    >>> wg.nn.functional.attention_weights(wg.zeros((1, 4)), wg.zeros((2, 4)))
    Tensor([[0.5, 0.5]], dtype=float32)
    """
    op = "attention_weights"
    q, k = floating(op, query), floating(op, key)
    if scale is None:
        scale = 1.0 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0
    scores = (q * scale) @ k.mT
    if is_causal:
        if attn_mask is not None:
            raise ArgumentError(
                at(op),
                "takes is_causal or attn_mask, not both",
                fix="combine them: attn_mask & causal_mask(L, S)",
            )
        attn_mask = causal_mask(*scores.shape[-2:])
    if attn_mask is None:
        return xp.softmax(scores, axis=-1)
    return _masked_softmax(scores, _check_mask(op, as_tensor(attn_mask), scores.shape))


def _check_mask(op: str, mask: Tensor, scores: Shape) -> Tensor:
    fits = mask.ndim <= len(scores) and all(
        m in (1, n) for m, n in zip(mask.shape[::-1], scores[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            at(op),
            "the mask cannot be broadcast to the scores",
            met=f"mask {mask.shape} for scores {scores}",
            cause="the scores are (…, queries, keys)",
            fix="make the mask (queries, keys), or insert axes of size 1 for batch and heads",
        )
    if mask.dtype != dtypes.bool and not dtypes.is_float(mask.dtype):
        raise DtypeError(
            at(op),
            "a mask is boolean (which keys take part) or floating (added to the scores)",
            met=describe(mask),
            fix="compare, for example mask != 0",
        )
    return mask if mask.ndim else mask.reshape((1,))


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax along the last axis over the keys that take part; zeros where none does."""
    if mask.dtype == dtypes.bool:
        scores = xp.where(mask, scores, -math.inf)
        some = xp.any(mask, axis=-1, keepdims=True)
    else:
        scores = scores + mask.astype(scores.dtype)
        some = xp.any(mask > -math.inf, axis=-1, keepdims=True)
    if not some.is_symbolic and bool(some._data.all()):
        return xp.softmax(scores, axis=-1)
    # A row of −∞ alone would be NaN: put 0 there first, so that its derivative is 0 as well.
    return xp.where(some, xp.softmax(xp.where(some, scores, 0), axis=-1), 0)


def _check_operands(op: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ShapeError(
            at(op),
            "query, key and value need the axes (length, features)",
            met=describe(q, k, v),
            fix="add an axis with x[None]",
        )
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(
            at(op),
            "queries and keys must have the same number of features",
            met=f"query {q.shape} and key {k.shape}",
            fix="project both to one size",
        )
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            at(op),
            "there must be one value a key",
            met=f"key {k.shape} and value {v.shape}",
            fix="take keys and values from one sequence",
        )


def _share_heads(op: str, q: Tensor, x: Tensor) -> Tensor:
    """Keys or values with each head repeated for its group of query heads."""
    if q.ndim < 3 or x.ndim < 3 or x.shape[-3] == 0 or q.shape[-3] % x.shape[-3]:
        raise ShapeError(
            at(op),
            "the query heads must be a multiple of the heads of keys and values",
            met=f"query {q.shape} and key or value {x.shape}, heads on axis -3",
            fix="choose the number of query heads as a multiple, or pass enable_gqa=False",
        )
    return xp.repeat(x, q.shape[-3] // x.shape[-3], axis=-3)


# -- masks ---------------------------------------------------------------------------------------


def causal_mask(length: int, source: int | None = None) -> Tensor:
    """Which keys each query may see, (length, source): key j takes part for query i if j ≤ i.

    >>> import wengert as wg
    >>> wg.nn.functional.causal_mask(3)
    Tensor([[ True, False, False],
            [ True,  True, False],
            [ True,  True,  True]], dtype=bool)
    """
    return Tensor(np.tri(length, length if source is None else source, dtype=bool))


def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
    """The causal mask in additive form, (sz, sz): 0 where a key takes part, else −∞.

    >>> import wengert as wg
    >>> wg.nn.functional.generate_square_subsequent_mask(2)
    Tensor([[  0., -inf],
            [  0.,   0.]], dtype=float32)
    """
    dtype = dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype)
    return Tensor(np.where(np.tri(sz, dtype=bool), 0.0, -np.inf).astype(dtype))


# -- positions -----------------------------------------------------------------------------------


def _angles(positions: Any, features: int, base: float) -> np.ndarray[Any, Any]:
    """`position / base^(2i/features)` for i = 0, 1, … features/2, in float64."""
    frequency = base ** (-np.arange(0, features, 2, dtype=np.float64) / features)
    return np.multiply.outer(np.asarray(positions, np.float64), frequency)


def sinusoidal_encoding(
    length: int, features: int, base: float = 10000.0, dtype: Any = None
) -> Tensor:
    """Positions 0 … length − 1 as waves, (length, features): feature 2i is the sine and 2i + 1 the
    cosine of `position / base^(2i/features)`.

    >>> import wengert as wg
    >>> wg.nn.functional.sinusoidal_encoding(2, 2)
    Tensor([[0.        , 1.        ],
            [0.84147096, 0.5403023 ]], dtype=float32)

    Source: Vaswani et al. 2017.
    """
    angle = _angles(np.arange(length), features, base)
    pairs = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    waves = pairs.reshape(length, 2 * angle.shape[1])[:, :features]
    return Tensor(waves.astype(dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype)))


def rotary_embedding(
    input: Any, positions: Any = None, base: float = 10000.0, interleaved: bool = True
) -> Tensor:
    """Rotate each pair of features (…, length, features) by an angle that grows with the position,
    so that the product of a query and a key depends on their distance alone.

    Pair i turns by `position / base^(2i/features)`. Pairs are neighbours (2i, 2i + 1), as in the
    paper; with `interleaved=False`, feature i pairs with i + features/2. `positions` (length,) are
    integers or floats, 0, 1, 2, … by default.

    >>> import wengert as wg
    >>> x = wg.asarray([[1.0, 0.0], [1.0, 0.0]])
    >>> wg.nn.functional.rotary_embedding(x)
    Tensor([[1.        , 0.        ],
            [0.5403023 , 0.84147096]], dtype=float32)

    Source: Su et al. 2021 (RoFormer).
    """
    op = "rotary_embedding"
    x = floating(op, input)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(
            at(op),
            "takes (…, length, features) with an even number of features",
            met=f"{x.shape}",
            fix="choose an even number of features a head",
        )
    length, features = x.shape[-2:]
    places = np.arange(length) if positions is None else as_tensor(positions)._values(op)
    if places.shape != (length,):
        raise ShapeError(
            at(op),
            "there must be one position a row",
            met=f"{places.shape} positions for a length of {length}",
            fix=f"pass positions of shape ({length},)",
        )
    angle = _angles(places, features, base)
    cosine, sine = (Tensor(wave(angle).astype(x.dtype)) for wave in (np.cos, np.sin))
    half = features // 2
    if interleaved:
        pairs = x.reshape((*x.shape[:-1], half, 2))
        a, b = pairs[..., 0], pairs[..., 1]
        turned = xp.stack([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
        return turned.reshape(x.shape)
    a, b = x[..., :half], x[..., half:]
    return xp.concat([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
