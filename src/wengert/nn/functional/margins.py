"""Losses of ranking and of embeddings: what is alike should score higher, or lie closer, by a
margin.

At the edge of a margin the derivative is PyTorch's: that of the side where the loss is positive.
"""

from __future__ import annotations

from typing import Any

from wengert import namespaces as xp
from wengert.core.dtypes import is_float, is_integer
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.rules import broadcast
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at
from wengert.nn.functional.distances import pairwise_distance
from wengert.nn.functional.losses import cross_entropy
from wengert.nn.functional.normalization import normalize
from wengert.nn.functional.reduction import (
    as_pair,
    check_labels,
    check_reduction,
    checked_classes,
    reduced,
)

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "info_nce",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _hinge(x: Tensor) -> Tensor:
    """`max(x, 0)` with derivative 1 at 0."""
    return xp.clip(x, 0, None)


# -- two-sided labels: 1 and −1 ------------------------------------------------------------------


def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """For a distance x: `x` where the label is 1, `max(0, margin − x)` where it is −1.

    >>> import wengert as wg
    >>> wg.nn.functional.hinge_embedding_loss([0.5, 0.75], [1, -1], reduction="none")
    Tensor([0.5 , 0.25], dtype=float32)

    Source: Hadsell, Chopra and LeCun 2006.
    """
    x, t = as_pair("hinge_embedding_loss", input, target, reduction)
    loss = xp.where(t != 1, _hinge(margin - x), 0) + xp.where(t != -1, x, 0)
    return reduced("hinge_embedding_loss", loss, reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Logistic loss `log(1 + e^(−t·x))` for labels 1 and −1, without overflow.

    >>> import wengert as wg
    >>> float(wg.nn.functional.soft_margin_loss([-1e4], [1.0]))
    10000.0
    """
    x, t = as_pair("soft_margin_loss", input, target, reduction)
    return reduced("soft_margin_loss", xp.softplus(-t * x), reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """`max(0, −t·(x1 − x2) + margin)`: x1 should be the greater where t = 1, x2 where t = −1.

    >>> import wengert as wg
    >>> float(wg.nn.functional.margin_ranking_loss([1.0], [3.0], [1.0]))
    2.0

    Source: Herbrich, Graepel and Obermayer 2000.
    """
    op = "margin_ranking_loss"
    check_reduction(op, reduction)
    x1, x2, t = as_tensor(input1), as_tensor(input2), as_tensor(target)
    if x1.ndim != x2.ndim or x1.ndim != t.ndim:
        raise ShapeError(
            at(op),
            "the inputs and the target must have the same number of axes",
            met=f"{x1.shape}, {x2.shape} and target {t.shape}",
            fix="reshape them to one shape",
        )
    check_labels(op, t)
    return reduced(op, _hinge(-t * (x1 - x2) + margin), reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """`1 − cos(x1, x2)` where the label is 1, `max(0, cos(x1, x2) − margin)` where it is −1.

    Inputs are (batch, features) with a target (batch,), or (features,) with a target ().

    >>> import wengert as wg
    >>> float(wg.nn.functional.cosine_embedding_loss([[1.0, 0.0]], [[0.0, 1.0]], [1]))
    1.0
    """
    op = "cosine_embedding_loss"
    check_reduction(op, reduction)
    a, b, t = as_tensor(input1), as_tensor(input2), as_tensor(target)
    if a.ndim not in (1, 2) or a.ndim != b.ndim or t.ndim != a.ndim - 1:
        raise ShapeError(
            at(op),
            "takes (batch, features) with a target (batch,), or (features,) with a target ()",
            met=f"{a.shape}, {b.shape} and target {t.shape}",
            fix="drop the target's last axis, or add a batch axis to the inputs",
        )
    check_labels(op, t)
    tiny = 1e-12  # keeps the derivative finite at the zero vector
    lengths = (xp.sum(a * a, axis=-1) + tiny) * (xp.sum(b * b, axis=-1) + tiny)
    cosine = xp.sum(a * b, axis=-1) / xp.sqrt(lengths)
    broadcast(op, cosine.shape, t.shape)
    loss = xp.where(t == 1, 1 - cosine, 0) + xp.where(t == -1, _hinge(cosine - margin), 0)
    return reduced(op, loss, reduction)


# -- classes -------------------------------------------------------------------------------------


def _scores(op: str, input: Any) -> tuple[Tensor, bool]:
    """Class scores as (batch, classes), and whether the batch axis was there."""
    x = as_tensor(input)
    if x.ndim not in (1, 2) or x.shape[-1] == 0 or not is_float(x.dtype):
        raise ShapeError(
            at(op),
            "takes floating scores of shape (batch, classes) or (classes,)",
            met=describe(x),
            fix="move the classes to axis 1 and the rest to axis 0",
        )
    return (x, True) if x.ndim == 2 else (x.reshape((1, x.size)), False)


def _class_indices(op: str, target: Any, shape: tuple[int, ...], classes: int) -> Tensor:
    t = as_tensor(target)
    if not is_integer(t.dtype):
        raise DtypeError(
            at(op),
            "class indices must be integers",
            met=describe(t),
            fix="cast with wg.astype(target, wg.int64)",
        )
    if t.shape != shape:
        raise ShapeError(
            at(op),
            "the shape of the labels does not fit that of the scores",
            met=f"target {t.shape}, expected {shape}",
            fix=f"pass labels of shape {shape}",
        )
    return checked_classes(op, t, classes)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss of class scores: `w_t·Σ_{i≠t} max(0, margin − x_t + xᵢ)ᵖ / classes`.

    >>> import wengert as wg
    >>> float(wg.nn.functional.multi_margin_loss([[1.0, 0.5]], wg.asarray([0])))
    0.25

    Source: Crammer and Singer 2001; Weston and Watkins 1999.
    """
    op = "multi_margin_loss"
    check_reduction(op, reduction)
    if p not in (1, 2):
        raise ArgumentError(at(op), "the power must be 1 or 2", met=f"p={p}", fix="pass 1 or 2")
    x, batched = _scores(op, input)
    rows, classes = x.shape
    t = _class_indices(op, target, (rows,) if batched else (), classes).reshape((rows, 1))
    gap = margin - xp.take_along_axis(x, t, axis=1) + x
    hinge = xp.where((gap > 0) & (xp.arange(classes) != t), gap, 0)
    loss = xp.sum(hinge if p == 1 else hinge * hinge, axis=1) / classes
    if weight is not None:
        w = as_tensor(weight)
        if w.shape != (classes,):
            raise ShapeError(
                at(op),
                "there must be one weight a class",
                met=f"weight {w.shape} for {classes} classes",
                fix=f"pass a weight of shape ({classes},)",
            )
        loss = loss * xp.take(w, t.reshape((rows,)), axis=0)
    return reduced(op, loss if batched else loss.reshape(()), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Hinge loss between each class that applies and each that does not:
    `Σ_{j∈T} Σ_{i∉T} max(0, 1 − xⱼ + xᵢ) / classes`.

    A row of the target lists the classes T that apply; the first −1 ends the list.

    >>> import wengert as wg
    >>> x = wg.asarray([[0.1, 0.2, 0.4, 0.8]])
    >>> loss = wg.nn.functional.multilabel_margin_loss(x, wg.asarray([[3, 0, -1, 1]]))
    >>> round(float(loss), 4)
    0.85
    """
    op = "multilabel_margin_loss"
    check_reduction(op, reduction)
    x, batched = _scores(op, input)
    rows, classes = x.shape
    t = as_tensor(target)
    listed = xp.where(t < 0, 0, t) if is_integer(t.dtype) else t
    listed = _class_indices(op, listed, x.shape if batched else (classes,), classes)
    listed = listed.reshape((rows, classes))
    applies = xp.cumprod((t >= 0).astype("int64"), axis=-1).reshape((rows, classes)) > 0
    hits = (listed[:, :, None] == xp.arange(classes)) & applies[:, :, None]
    absent = ~xp.any(hits, axis=1)
    gap = 1 - xp.take_along_axis(x, listed, axis=1)[:, :, None] + x[:, None, :]
    counted = applies[:, :, None] & absent[:, None, :] & (gap > 0)
    loss = xp.sum(xp.where(counted, gap, 0), axis=(1, 2)) / classes
    return reduced(op, loss if batched else loss.reshape(()), reduction)


def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """The mean over classes of yes-or-no cross-entropies,
    `−(t·log σ(x) + (1 − t)·log σ(−x))`, with an optional factor a class.

    >>> import wengert as wg
    >>> float(wg.nn.functional.multilabel_soft_margin_loss([[0.0, 0.0]], [[1, 0]]))
    0.6931471824645996
    """
    op = "multilabel_soft_margin_loss"
    x, t = as_pair(op, input, target, reduction)
    if x.ndim == 0:
        raise ShapeError(
            at(op),
            "there is no axis of classes",
            met="a 0-d input",
            fix="use binary_cross_entropy_with_logits",
        )
    loss = t * xp.softplus(-x) + (1 - t) * xp.softplus(x)
    if weight is not None:
        loss = loss * as_tensor(weight, x)
    return reduced(op, xp.mean(loss, axis=-1), reduction)


# -- embeddings ----------------------------------------------------------------------------------


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, d(a, p) − d(a, n) + margin)` with the distance `d(x, y) = ‖x − y + eps‖ₚ`.

    With `swap`, the nearer of anchor and positive is compared with the negative.

    >>> import wengert as wg
    >>> float(wg.nn.functional.triplet_margin_loss([[0.0]], [[1.0]], [[1.0]]))
    1.0

    Source: Schroff, Kalenichenko and Philbin 2015; swap: Balntas et al. 2016.
    """
    a, b, c = as_tensor(anchor), as_tensor(positive), as_tensor(negative)
    if not a.ndim == b.ndim == c.ndim or a.ndim == 0:
        raise ShapeError(
            at("triplet_margin_loss"),
            "anchor, positive and negative must have the same number of axes, 1 or more",
            met=f"{a.shape}, {b.shape} and {c.shape}",
            fix="give all three the shape (batch, features)",
        )
    _check_margin("triplet_margin_loss", margin)
    near = pairwise_distance(a, b, p, eps)
    far = pairwise_distance(a, c, p, eps)
    if swap:
        far = xp.minimum(far, pairwise_distance(b, c, p, eps))
    return reduced("triplet_margin_loss", _hinge(near - far + margin), reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance, `distance_function(x, y)`; by default the Euclidean.

    >>> import wengert as wg
    >>> def distance(x, y):
    ...     return wg.sum(wg.abs(x - y), axis=-1)
    >>> loss = wg.nn.functional.triplet_margin_with_distance_loss(
    ...     [[0.0]], [[1.0]], [[3.0]], distance_function=distance, margin=2.5
    ... )
    >>> float(loss)
    0.5
    """
    _check_margin("triplet_margin_with_distance_loss", margin)
    distance = distance_function or pairwise_distance
    a, b, c = as_tensor(anchor), as_tensor(positive), as_tensor(negative)
    near, far = distance(a, b), distance(a, c)
    if swap:
        far = xp.minimum(far, distance(b, c))
    return reduced("triplet_margin_with_distance_loss", _hinge(near - far + margin), reduction)


def _check_margin(op: str, margin: float) -> None:
    if not margin > 0:
        raise ArgumentError(at(op), "the margin must be positive", met=f"{margin}", fix="pass 1.0")


def info_nce(
    query: Any,
    positive_key: Any,
    negative_keys: Any = None,
    temperature: float = 0.1,
    reduction: str = "mean",
    symmetric: bool = False,
) -> Tensor:
    """Which of many keys belongs to a query: cross-entropy of the cosines, divided by the
    temperature, with the query's own key as the right class.

    Parameters
    ----------
    query, positive_key : (batch, features); row i of one belongs to row i of the other
    negative_keys : the other candidates: None takes the other rows of `positive_key`;
        (negatives, features) are shared by all queries, (batch, negatives, features) belong to one
        query each
    temperature : what the cosines are divided by
    symmetric : also ask which query belongs to a key, and take the mean of both losses; needs
        `negative_keys=None`

    >>> import wengert as wg
    >>> q = wg.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(wg.nn.functional.info_nce(q, q, temperature=1.0)), 4)
    0.3133

    Source: van den Oord, Li and Vinyals 2018; symmetric: Radford et al. 2021.
    """
    q, k = as_tensor(query), as_tensor(positive_key)
    _check_info_nce(q, k, temperature)
    q, k = normalize(q, dim=-1), normalize(k, dim=-1)
    if negative_keys is None:
        scores = (q @ k.mT) / temperature
        labels = xp.arange(q.shape[0])
        loss = cross_entropy(scores, labels, reduction=reduction)
        if not symmetric:
            return loss
        return (loss + cross_entropy(scores.mT, labels, reduction=reduction)) / 2
    if symmetric:
        raise ArgumentError(
            at("info_nce"),
            "the symmetric loss takes its negatives from the batch",
            met="symmetric=True with negative_keys",
            fix="leave negative_keys out",
        )
    others = _negative_scores(q, as_tensor(negative_keys))
    own = xp.sum(q * k, axis=-1, keepdims=True)
    scores = xp.concat([own, others], axis=-1) / temperature
    return cross_entropy(scores, xp.zeros(q.shape[0], dtype="int64"), reduction=reduction)


def _negative_scores(q: Tensor, keys: Tensor) -> Tensor:
    """Cosines of unit queries (batch, features) with their negative keys: (batch, negatives)."""
    batch, features = q.shape
    fits = keys.ndim in (2, 3) and keys.shape[-1] == features
    if not fits or (keys.ndim == 3 and keys.shape[0] != batch):
        raise ShapeError(
            at("info_nce"),
            "negative keys must be (negatives, features) or (batch, negatives, features)",
            met=f"{keys.shape} for queries {q.shape}",
            fix="give them the features of the queries",
        )
    keys = normalize(keys, dim=-1)
    if keys.ndim == 2:
        return q @ keys.mT
    return (keys @ q[:, :, None])[:, :, 0]


def _check_info_nce(q: Tensor, k: Tensor, temperature: float) -> None:
    if q.ndim != 2 or k.shape != q.shape:
        raise ShapeError(
            at("info_nce"),
            "queries and keys must both be (batch, features)",
            met=f"query {q.shape} and positive_key {k.shape}",
            fix="pass one key a query",
        )
    if not temperature > 0:
        raise ArgumentError(
            at("info_nce"), "the temperature must be positive", met=f"{temperature}", fix="pass 0.1"
        )
