"""Losses of classification: cross-entropy and its relatives.

Class scores have the classes on axis 1 (or alone: axis 0), behind it come any further axes, such as
those of an image. Labels are checked where they have values: an index outside the classes raises
`BoundsError`, a NaN `ArgumentError`, each naming the place.
"""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert.core.dtypes import is_float, is_integer
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at
from wengert.nn.functional.reduction import (
    REDUCTIONS,
    as_pair,
    check_labels,
    check_reduction,
    check_same_shape,
    checked_classes,
    reduced,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "focal_loss",
    "kl_div",
    "nll_loss",
    "sigmoid_focal_loss",
]


# -- one class of many ---------------------------------------------------------------------------


class _Labels:
    """Class indices, checked: which class each entry has, and which entries count.

    `index` has size 1 on the class axis and is 0 at ignored entries; `keep` is None where it is
    known that none is ignored.
    """

    def __init__(self, op: str, x: Tensor, target: Tensor, ignore_index: int | None) -> None:
        self.axis = _class_axis(op, x)
        self.classes = x.shape[self.axis]
        expected = x.shape[: self.axis] + x.shape[self.axis + 1 :]
        _check_index_target(op, x, target, expected)
        target = checked_classes(op, target, self.classes, ignore_index)
        self.keep: Tensor | None = None
        if ignore_index is not None and _may_hold(target, ignore_index):
            self.keep = target != ignore_index
            target = xp.where(self.keep, target, 0)
        self.index = xp.expand_dims(target, axis=self.axis)

    def pick(self, x: Tensor) -> Tensor:
        """The entry of each label's class; the class axis is dropped."""
        picked = xp.take_along_axis(x, self.index, axis=self.axis)
        return xp.squeeze(picked, axis=self.axis)

    def is_class(self) -> Tensor:
        """Whether an entry of the scores belongs to the label's class."""
        return _along(xp.arange(self.classes), self.index.ndim, self.axis) == self.index

    def weights_of(self, weight: Tensor | None) -> Tensor | None:
        """Each label's class weight; 0 where it is ignored."""
        if weight is None:
            return None
        found = xp.take(weight, xp.squeeze(self.index, axis=self.axis).reshape(-1), axis=0)
        found = found.reshape(self.index.shape[: self.axis] + self.index.shape[self.axis + 1 :])
        return found if self.keep is None else xp.where(self.keep, found, 0)

    def reduced(self, op: str, loss: Tensor, reduction: str, weight: Tensor | None) -> Tensor:
        """The reduction over entries that are not ignored. Their mean is divided by their number,
        or by the sum of their weights (which are already in `loss`)."""
        check_reduction(op, reduction)
        if self.keep is None and (weight is None or reduction != "mean"):
            return reduced(op, loss, reduction)
        if self.keep is not None:
            loss = xp.where(self.keep, loss, 0)
        if reduction != "mean":
            return reduced(op, loss, reduction)
        total = weight if weight is not None else xp.astype(self.keep, loss.dtype)
        return xp.sum(loss) / xp.sum(total)


def _class_axis(op: str, x: Tensor) -> int:
    if not is_float(x.dtype):
        raise DtypeError(
            at(op),
            "class scores must be floating",
            met=describe(x),
            cause="input and target in the wrong order",
            fix=f"call {op}(scores, labels)",
        )
    if x.ndim == 0 or x.shape[min(x.ndim - 1, 1)] == 0:
        raise ShapeError(
            at(op),
            "there is no axis of classes, or it is empty",
            met=f"input {x.shape}",
            fix="pass scores of shape (classes,), (batch, classes) or (batch, classes, …)",
        )
    return min(x.ndim - 1, 1)


def _check_index_target(op: str, x: Tensor, t: Tensor, expected: tuple[int, ...]) -> None:
    if t.shape != expected:
        squeezed = tuple(n for n in t.shape if n != 1) == tuple(n for n in expected if n != 1)
        raise ShapeError(
            at(op),
            "the shape of the labels does not fit that of the scores",
            met=f"input {x.shape} and target {t.shape}",
            cause="an extra or missing axis of size 1"
            if squeezed
            else "scores whose classes are not on axis 1, or batches of different sizes",
            fix=f"pass labels of shape {expected}"
            + (f": target.reshape({', '.join(map(str, expected))})" if squeezed else ""),
        )
    if not is_integer(t.dtype):
        check_labels(op, t)
        raise DtypeError(
            at(op),
            "class indices must be integers",
            met=describe(t),
            cause="labels read as floats" if is_float(t.dtype) else "a boolean mask",
            fix=f"cast with wg.astype(target, wg.int64), or pass probabilities of shape {x.shape}"
            if op == "cross_entropy"
            else "cast with wg.astype(target, wg.int64)",
        )


def _may_hold(target: Tensor, value: int) -> bool:
    """Whether some entry equals `value`, as far as is known."""
    return target.is_symbolic or bool((target._data == value).any())


def _along(vector: Tensor, ndim: int, axis: int) -> Tensor:
    """A vector as an array of `ndim` axes that extends along one of them."""
    return vector.reshape((1,) * axis + (vector.size,) + (1,) * (ndim - axis - 1))


def _class_weights(op: str, weight: Any, x: Tensor, classes: int) -> Tensor | None:
    if weight is None:
        return None
    w = as_tensor(weight)
    if w.shape != (classes,):
        raise ShapeError(
            at(op),
            "there must be one weight a class",
            met=f"weight {w.shape} for {classes} classes",
            fix=f"pass a weight of shape ({classes},)",
        )
    return w.astype(x.dtype)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between the softmax of scores and labels: `−log softmax(x)[target]`.

    Parameters
    ----------
    input : scores (logits), (classes,), (batch, classes) or (batch, classes, d₁, …)
    target : class indices, integers of the input's shape without the class axis; or class
        probabilities, floats of the input's shape: then the loss is `−Σ target·log softmax(x)`
    weight : one factor a class
    ignore_index : entries with this index count for nothing (class indices only)
    reduction : "none", "sum" or "mean"; the mean over class indices is weighted by `weight` and
        leaves ignored entries out, that over probabilities is divided by the number of entries
    label_smoothing : the share ε of each label that is spread evenly over all classes

    If all entries are ignored, the mean is NaN (0/0), and the gradient is zero, as in PyTorch.

    >>> import wengert as wg
    >>> scores = wg.asarray([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> wg.nn.functional.cross_entropy(scores, wg.asarray([0, 2]), reduction="none")
    Tensor([0.23954484, 1.0986123 ], dtype=float32)

    Source: label smoothing: Szegedy et al. 2016.
    """
    x, t = as_tensor(input), as_tensor(target)
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            at("cross_entropy"),
            "label_smoothing is a share from 0 to 1",
            met=f"{label_smoothing}",
            fix="pass 0.1",
        )
    axis = _class_axis("cross_entropy", x)
    w = _class_weights("cross_entropy", weight, x, x.shape[axis])
    log_p = xp.log_softmax(x, axis=axis)
    if t.shape == x.shape:
        return _soft_cross_entropy(log_p, t, w, axis, reduction, label_smoothing)
    labels = _Labels("cross_entropy", x, t, ignore_index)
    entry_weight = labels.weights_of(w)
    loss = -labels.pick(log_p)
    if entry_weight is not None:
        loss = entry_weight * loss
    if label_smoothing:
        if w is None:
            uniform = -xp.mean(log_p, axis=axis)
        else:
            uniform = -xp.sum(_along(w, x.ndim, axis) * log_p, axis=axis) / labels.classes
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    return labels.reduced("cross_entropy", loss, reduction, entry_weight)


def _soft_cross_entropy(
    log_p: Tensor, t: Tensor, w: Tensor | None, axis: int, reduction: str, smoothing: float
) -> Tensor:
    """Cross-entropy with class probabilities for targets."""
    if not is_float(t.dtype):
        raise DtypeError(
            at("cross_entropy"),
            "a target of the input's shape holds class probabilities, which are floating",
            met=describe(t),
            cause="one-hot labels in an integer dtype",
            fix=f"cast it to {log_p.dtype}, or pass wg.argmax(target, axis={axis})",
        )
    check_labels("cross_entropy", t)
    if smoothing:
        t = (1 - smoothing) * t + smoothing / log_p.shape[axis]
    if w is not None:
        t = t * _along(w, t.ndim, axis)
    return reduced("cross_entropy", -xp.sum(t * log_p, axis=axis), reduction)


def nll_loss(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Negative log likelihood of class indices: `−input[target]`, for an input of log
    probabilities. Weights, ignored entries and the mean are those of `cross_entropy`.

    >>> import wengert as wg
    >>> log_p = wg.log(wg.asarray([[0.5, 0.5], [0.25, 0.75]]))
    >>> wg.nn.functional.nll_loss(log_p, wg.asarray([0, 0]), reduction="none")
    Tensor([0.6931472, 1.3862944], dtype=float32)
    """
    x = as_tensor(input)
    labels = _Labels("nll_loss", x, as_tensor(target), ignore_index)
    w = labels.weights_of(_class_weights("nll_loss", weight, x, labels.classes))
    loss = -labels.pick(x)
    return labels.reduced("nll_loss", loss if w is None else w * loss, reduction, w)


def focal_loss(
    input: Any,
    target: Any,
    alpha: Any = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy that looks away from what is already right: `−α·(1 − p)^γ·log p`, where p is
    the softmax probability of the label's class.

    Parameters
    ----------
    input, target, ignore_index : scores and class indices, as in `cross_entropy`
    alpha : a factor, or one a class; None means 1
    gamma : the strength of the effect; 0 gives the cross-entropy
    reduction : "none", "sum", or "mean" over the entries that are not ignored (unlike the weights
        of `cross_entropy`, alpha does not enter the divisor)

    >>> import wengert as wg
    >>> float(wg.nn.functional.focal_loss(wg.zeros((1, 2)), wg.asarray([0]), gamma=1.0))
    0.3465735912322998

    Source: Lin, Goyal, Girshick, He and Dollár 2017.
    """
    _check_gamma("focal_loss", gamma)
    x = as_tensor(input)
    labels = _Labels("focal_loss", x, as_tensor(target), ignore_index)
    log_p = xp.log_softmax(x, axis=labels.axis)
    # log(1 − p) from the other classes: 1 − p itself would lose its digits where p is near 1.
    others = xp.where(labels.is_class(), -math.inf, log_p)
    loss = -labels.pick(log_p) * xp.exp(gamma * xp.logsumexp(others, axis=labels.axis))
    if alpha is not None:
        a = as_tensor(alpha, x)
        if a.ndim:
            per_entry = labels.weights_of(_class_weights("focal_loss", a, x, labels.classes))
            assert per_entry is not None
            a = per_entry
        loss = a * loss
    return labels.reduced("focal_loss", loss, reduction, None)


def _check_gamma(op: str, gamma: float) -> None:
    if gamma < 0:
        raise ArgumentError(at(op), "gamma must not be negative", met=f"{gamma}", fix="pass 2.0")


# -- yes or no -----------------------------------------------------------------------------------


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Cross-entropy of independent yes-or-no labels t and scores x:
    `−t·log σ(x) − (1 − t)·log σ(−x)`, without overflow or cancellation.

    `weight` scales each element's loss (the mean is still divided by their number); `pos_weight`
    scales the term of the positive labels. Both are broadcast. Targets may be boolean, integers,
    or probabilities; their shape is the input's.

    >>> import wengert as wg
    >>> wg.nn.functional.binary_cross_entropy_with_logits(
    ...     [0.0, 100.0, -100.0], [1.0, 1.0, 1.0], reduction="none"
    ... )
    Tensor([6.931472e-01, 3.783506e-44, 1.000000e+02], dtype=float32)
    """
    op = "binary_cross_entropy_with_logits"
    x, t = as_pair(op, input, target, reduction)
    yes, no = t * xp.softplus(-x), (1 - t) * xp.softplus(x)
    if pos_weight is not None:
        yes = yes * as_tensor(pos_weight, x)
    loss = yes + no
    return reduced(op, _scaled(loss, weight), reduction)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy of yes-or-no labels t and probabilities p: `−t·log p − (1 − t)·log(1 − p)`.

    Logarithms are not taken below −100, so that the loss stays finite; there the derivative is 0.
    Prefer `binary_cross_entropy_with_logits` with the scores: it is exact everywhere. Raises
    `ArgumentError` for an input outside [0, 1].

    >>> import wengert as wg
    >>> wg.nn.functional.binary_cross_entropy([0.5, 0.0], [1.0, 1.0], reduction="none")
    Tensor([  0.6931472, 100.       ], dtype=float32)
    """
    op = "binary_cross_entropy"
    p, t = as_pair(op, input, target, reduction)
    if not p.is_symbolic and p.size and not (p._data.min() >= 0 and p._data.max() <= 1):
        raise ArgumentError(
            at(op),
            "the input must be probabilities from 0 to 1",
            met=f"values from {float(p._data.min()):g} to {float(p._data.max()):g}",
            cause="scores in place of probabilities",
            fix="use binary_cross_entropy_with_logits, or apply sigmoid first",
        )
    loss = -(t * _bounded_log(p) + (1 - t) * _bounded_log(1 - p))
    return reduced(op, _scaled(loss, weight), reduction)


def _bounded_log(p: Tensor) -> Tensor:
    """`max(log p, −100)` without a NaN in the derivative at 0."""
    tiny = p < 3.720075976020836e-44  # e⁻¹⁰⁰
    return xp.where(tiny, -100.0, xp.log(xp.where(tiny, 1, p)))


def _scaled(loss: Tensor, weight: Any) -> Tensor:
    return loss if weight is None else loss * as_tensor(weight, loss)


def sigmoid_focal_loss(
    input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Tensor:
    """Focal loss of independent yes-or-no labels: `−α_t·(1 − p_t)^γ·log p_t`, where p_t is σ(x) for
    a positive label and σ(−x) for a negative one, and α_t is alpha or 1 − alpha.

    Targets between 0 and 1 mix the two. `alpha=None` leaves the balance out.

    >>> import wengert as wg
    >>> float(wg.nn.functional.sigmoid_focal_loss([0.0], [1.0], alpha=None, gamma=1.0))
    0.3465735912322998

    Source: Lin, Goyal, Girshick, He and Dollár 2017.
    """
    op = "sigmoid_focal_loss"
    _check_gamma(op, gamma)
    if alpha is not None and not 0 <= alpha <= 1:
        raise ArgumentError(
            at(op), "alpha is a share from 0 to 1", met=f"{alpha}", fix="pass 0.25, or None"
        )
    x, t = as_pair(op, input, target, reduction)
    log_yes, log_no = -xp.softplus(-x), -xp.softplus(x)
    loss = -(t * log_yes + (1 - t) * log_no)
    # log(1 − p_t) = log((1 − t)·σ(x) + t·σ(−x)), in logarithms throughout.
    log_missed = xp.logaddexp(xp.log(1 - t) + log_yes, xp.log(t) + log_no)
    loss = loss * xp.exp(gamma * log_missed)
    if alpha is not None:
        loss = (alpha * t + (1 - alpha) * (1 - t)) * loss
    return reduced(op, loss, reduction)


# -- distributions -------------------------------------------------------------------------------


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Kullback-Leibler divergence `t·(log t − x)` of log probabilities x from probabilities t.

    An element with t = 0 contributes 0. With `log_target`, targets are log probabilities too. The
    divergence of the mathematics is "batchmean": the sum divided by the size of axis 0; "mean"
    divides by the number of elements, as in PyTorch.

    >>> import wengert as wg
    >>> log_p = wg.log(wg.asarray([[0.5, 0.5]]))
    >>> float(wg.nn.functional.kl_div(log_p, [[1.0, 0.0]], reduction="batchmean"))
    0.6931471824645996

    Source: Kullback and Leibler 1951.
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    x, t = as_tensor(input), as_tensor(target)
    check_same_shape("kl_div", x, t)
    check_labels("kl_div", t)
    if log_target:
        loss = xp.exp(t) * (t - x)
    else:
        absent = t == 0
        loss = xp.where(absent, 0, t * (xp.log(xp.where(absent, 1, t)) - x))
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction)
    if x.ndim == 0:
        raise ShapeError(
            at("kl_div"),
            "'batchmean' needs a batch axis",
            met=f"input {x.shape}",
            fix="use reduction='sum'",
        )
    return xp.sum(loss) / x.shape[0]
