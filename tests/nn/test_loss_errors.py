"""Losses: each kind of bad input has an error that says what, where and how to mend it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.nn.test_losses import BITS, CLASSES, LOG_P, SIGNS, C, N, P, T, W, X, tensor
from wengert import nn

F = nn.functional
NAN = np.where(np.arange(N * C).reshape(N, C) == 6, np.nan, 0.5)
ERRORS: list[tuple[Any, type[Exception], str]] = [
    # shapes
    (lambda: F.mse_loss(wg.ones((3, 1)), wg.ones(3)), ValueError, r"\[mse_loss\] input and target"),
    (
        lambda: F.mse_loss(wg.ones((3, 1)), wg.ones(3)),
        ValueError,
        r"fix: use target.reshape\(3, 1\)",
    ),
    (lambda: F.mse_loss(wg.ones(3), wg.ones((3, 1))), ValueError, r"fix: use target.reshape\(3\)"),
    (lambda: F.l1_loss(wg.ones(3), wg.ones(4)), ValueError, r"input \(3,\) and target \(4,\)"),
    (lambda: F.mse_loss(wg.ones(3), wg.ones(3), weight=wg.ones(2)), ValueError, "input and weight"),
    (
        lambda: F.cross_entropy(tensor(X), tensor(CLASSES[:, None])),
        ValueError,
        r"labels does not fit.*fix: pass labels of shape \(5,\): target.reshape\(5\)",
    ),
    (lambda: F.cross_entropy(tensor(X), tensor(CLASSES[:3])), ValueError, r"target \(3,\)"),
    (lambda: F.cross_entropy(wg.ones(()), tensor(0)), ValueError, "no axis of classes"),
    (lambda: F.cross_entropy(wg.ones((2, 0)), tensor([0, 0])), ValueError, "or it is empty"),
    (lambda: F.cross_entropy(tensor(X), tensor(CLASSES), W[:2]), ValueError, "one weight a class"),
    (
        lambda: F.kl_div(wg.ones((2, 3)), wg.ones((2, 4))),
        ValueError,
        r"\[kl_div\] input and target",
    ),
    (lambda: F.kl_div(wg.ones(()), wg.ones(()), "batchmean"), ValueError, "needs a batch axis"),
    (lambda: F.gaussian_nll_loss(X, T, wg.ones((2, 2))), ValueError, r"var \(2, 2\) for input"),
    (lambda: F.multi_margin_loss(wg.ones((2, 3, 4)), CLASSES), ValueError, r"\(batch, classes\)"),
    (lambda: F.multi_margin_loss(X, CLASSES[:2]), ValueError, r"target \(2,\), expected \(5,\)"),
    (lambda: F.multi_margin_loss(X, CLASSES, weight=W[:1]), ValueError, "one weight a class"),
    (lambda: F.margin_ranking_loss(X, T, CLASSES), ValueError, "same number of axes"),
    (lambda: F.cosine_embedding_loss(X, T, SIGNS), ValueError, r"target \(batch,\)"),
    (lambda: F.triplet_margin_loss(X, T, T[0]), ValueError, "same number of axes"),
    (lambda: F.multilabel_soft_margin_loss(1.0, 1.0), ValueError, "no axis of classes"),
    (lambda: F.info_nce(X, T[:2]), ValueError, "one key a query"),
    (lambda: F.info_nce(X, T, wg.ones((2, 3))), ValueError, "negative keys must be"),
    # dtypes
    (
        lambda: F.cross_entropy(tensor(X), tensor(CLASSES.astype(float))),
        TypeError,
        r"must be integers; got float64\[5\].*wg.int64.*probabilities of shape \(5, 4\)",
    ),
    (lambda: F.cross_entropy(tensor(X), tensor(CLASSES > 1)), TypeError, "a boolean mask"),
    (
        lambda: F.cross_entropy(tensor(X), tensor(np.eye(C, dtype=int)[CLASSES])),
        TypeError,
        "one-hot labels in an integer dtype",
    ),
    (
        lambda: F.cross_entropy(tensor(CLASSES), tensor(X)),
        TypeError,
        "input and target in the wrong",
    ),
    (
        lambda: F.nll_loss(LOG_P, CLASSES.astype(float)),
        TypeError,
        r"\[nll_loss\] class indices must",
    ),
    (lambda: F.multi_margin_loss(X, CLASSES * 1.0), TypeError, "class indices must be integers"),
    # values of labels
    (
        lambda: F.cross_entropy(tensor(X), tensor([0, 1, 4, 2, 3])),
        IndexError,
        r"\[cross_entropy\] a class index is outside the classes; got index 4 at target\[2\], "
        r"with 4 classes",
    ),
    (lambda: F.nll_loss(LOG_P, np.array([0, -1, 0, 0, 0])), IndexError, r"index -1 at target\[1\]"),
    (
        lambda: F.cross_entropy(wg.ones((1, 2, 2, 2)), np.array([[[0, 1], [1, 5]]])),
        IndexError,
        r"index 5 at target\[0, 1, 1\]",
    ),
    (lambda: F.multi_margin_loss(X, CLASSES + 1), IndexError, "labels that start at 1"),
    (lambda: F.multilabel_margin_loss(X, np.full((N, C), 4)), IndexError, "index 4 at target"),
    (
        lambda: F.cross_entropy(tensor(X), tensor(NAN)),
        ValueError,
        r"\[cross_entropy\] the targets contain NaN; got NaN at target\[1, 2\]",
    ),
    (lambda: F.cross_entropy(X, CLASSES * np.nan), ValueError, r"NaN at target\[0\]"),
    (lambda: F.binary_cross_entropy_with_logits(X, NAN), ValueError, "targets contain NaN"),
    (lambda: F.mse_loss(X, NAN), ValueError, r"\[mse_loss\] the targets contain NaN"),
    (lambda: F.kl_div(LOG_P, NAN), ValueError, "targets contain NaN"),
    (lambda: F.margin_ranking_loss(X, T, NAN), ValueError, "targets contain NaN"),
    (lambda: F.cosine_embedding_loss(X, T, NAN[:, 2]), ValueError, "targets contain NaN"),
    (
        lambda: F.binary_cross_entropy(X, BITS),
        ValueError,
        "probabilities from 0 to 1; got values from",
    ),
    (lambda: F.gaussian_nll_loss(X, T, -P), ValueError, "a variance is negative"),
    # settings
    (lambda: F.mse_loss(X, T, "avg"), ValueError, "unknown reduction; got 'avg'; fix: use 'none'"),
    (lambda: F.kl_div(LOG_P, P, "avg"), ValueError, "or 'batchmean'"),
    (lambda: F.cross_entropy(X, CLASSES, reduction="batchmean"), ValueError, "unknown reduction"),
    (lambda: nn.MSELoss("avg"), ValueError, r"\[MSELoss\] unknown reduction"),
    (lambda: F.cross_entropy(X, CLASSES, label_smoothing=1.5), ValueError, "share from 0 to 1"),
    (lambda: F.huber_loss(X, T, delta=0.0), ValueError, "delta must be positive"),
    (lambda: F.smooth_l1_loss(X, T, beta=-1.0), ValueError, "beta must not be negative"),
    (lambda: F.focal_loss(X, CLASSES, gamma=-1.0), ValueError, "gamma must not be negative"),
    (lambda: F.sigmoid_focal_loss(X, BITS, alpha=2.0), ValueError, "alpha is a share"),
    (lambda: F.multi_margin_loss(X, CLASSES, p=3), ValueError, "power must be 1 or 2"),
    (lambda: F.triplet_margin_loss(X, T, T, margin=0.0), ValueError, "margin must be positive"),
    (lambda: F.info_nce(X, T, temperature=0.0), ValueError, "temperature must be positive"),
    (lambda: F.info_nce(X, T, T, symmetric=True), ValueError, "negatives from the batch"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, wg.errors.WengertError)


def test_nan_targets_pass_unreduced_and_where_they_are_computed() -> None:
    assert math.isnan(float(F.mse_loss(tensor(X), tensor(NAN), "none")[1, 2]))
    computed = tensor(NAN).requires_grad_() * 1.0
    assert math.isnan(float(F.mse_loss(tensor(X), computed)))


def test_the_ignored_index_may_lie_outside_the_classes() -> None:
    t = np.array([0, 255, 1, 1, 2])
    kept = [0, 2, 3, 4]
    found = F.cross_entropy(tensor(X), tensor(t), ignore_index=255)
    assert float(found) == pytest.approx(-LOG_P[kept, t[kept]].mean())
    with pytest.raises(IndexError, match=r"index 255 .* ignore_index=-100"):
        F.cross_entropy(tensor(X), tensor(t))
