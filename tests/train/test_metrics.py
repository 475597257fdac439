"""Metrics: against scikit-learn where it is installed, against definitions, in batches, errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

import wengert as wg
from wengert import train
from wengert.errors import ArgumentError, DtypeError, ShapeError, StateError

RNG = np.random.default_rng(0)
N, C = 157, 4
SCORES = RNG.normal(size=(N, C)).astype(np.float32)
LABELS = RNG.integers(0, C - 1, N)  # class 3 is never true, but predicted
SCORES[np.arange(N), LABELS] += 0.8
BINARY_SCORES = np.round(RNG.normal(size=N), 1)  # with ties
BINARY = (RNG.random(N) < 0.4).astype(int)
VALUES, TARGETS = RNG.normal(size=(N, 2)), RNG.normal(100.0, 2.0, size=(N, 2))

CASES = [
    (train.Accuracy, (), SCORES, LABELS),
    (train.Accuracy, (), BINARY_SCORES, BINARY),
    (train.TopK, (2,), SCORES, LABELS),
    (train.ConfusionMatrix, (), SCORES, LABELS),
    (train.Precision, (), SCORES, LABELS),
    (train.Recall, ("weighted",), SCORES, LABELS),
    (train.F1, ("micro",), SCORES, LABELS),
    (train.F1, (None,), SCORES, LABELS),
    (train.Perplexity, (), SCORES, LABELS),
    (train.AUROC, (), BINARY_SCORES, BINARY),
    (train.MSE, (), VALUES, TARGETS),
    (train.MAE, (), VALUES, TARGETS),
    (train.R2, (), VALUES, TARGETS),
]


@pytest.mark.parametrize(("kind", "args", "prediction", "target"), CASES)
def test_batches_tensors_and_states(kind, args, prediction, target):
    whole = kind(*args)(prediction, target)
    metric = kind(*args)
    for part in np.array_split(np.arange(N), [1, 7, 40, 40, 100]):
        metric.update(wg.asarray(prediction[part]), wg.asarray(target[part]))
        resumed = kind(*args)
        resumed.load_state_dict(metric.state_dict())
        metric = resumed
    np.testing.assert_allclose(metric.compute(), whole, rtol=1e-12)
    metric.reset()
    metric.update(prediction, target)
    np.testing.assert_array_equal(metric.compute(), whole)
    for other in CASES:
        if set(other[0].fields) != set(kind.fields):
            with pytest.raises(StateError, match="belongs to another metric"):
                metric.load_state_dict(other[0](*other[1]).state_dict())


def test_against_scikit_learn():
    predicted = SCORES.argmax(1)
    assert train.Accuracy()(SCORES, LABELS) == sk.accuracy_score(LABELS, predicted)
    assert train.TopK(2)(SCORES, LABELS) == pytest.approx(
        sk.top_k_accuracy_score(LABELS, SCORES, k=2, labels=range(C))
    )
    np.testing.assert_array_equal(
        train.ConfusionMatrix()(SCORES, LABELS),
        sk.confusion_matrix(LABELS, predicted, labels=range(C)),
    )
    ours = {"precision": train.Precision, "recall": train.Recall, "f1": train.F1}
    for name, kind in ours.items():
        theirs = getattr(sk, f"{name}_score")
        for average in ("macro", "micro", "weighted", None):
            np.testing.assert_allclose(
                kind(average)(SCORES, LABELS),
                theirs(LABELS, predicted, average=average, zero_division=0),
                rtol=1e-12,
            )
    assert train.AUROC()(BINARY_SCORES, BINARY) == pytest.approx(
        sk.roc_auc_score(BINARY, BINARY_SCORES), abs=1e-12
    )
    log_loss = sk.log_loss(
        LABELS, np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True), labels=range(C)
    )
    assert train.Perplexity()(SCORES, LABELS) == pytest.approx(np.exp(log_loss), rel=1e-6)
    assert train.MSE()(VALUES, TARGETS) == pytest.approx(sk.mean_squared_error(TARGETS, VALUES))
    assert train.MAE()(VALUES, TARGETS) == pytest.approx(sk.mean_absolute_error(TARGETS, VALUES))
    assert train.R2()(VALUES[:, 0], TARGETS[:, 0]) == pytest.approx(
        sk.r2_score(TARGETS[:, 0], VALUES[:, 0]), rel=1e-12
    )


def test_forms_of_predictions_and_labels():
    accuracy = train.Accuracy()
    assert accuracy([1, 2, 0], [1, 1, 0]) == pytest.approx(2 / 3)
    assert accuracy(np.array([[0.5], [-1.0]]), np.array([1, 1])) == 0.5
    assert accuracy(np.array([0.3, -1.0]), np.array([[1.0], [0.0]])) == 1.0
    assert train.Accuracy(threshold=0.5)(np.array([0.3, 0.9]), np.array([0, 1])) == 1.0
    assert accuracy(SCORES, np.eye(C)[LABELS]) == accuracy(SCORES, LABELS)
    assert train.Accuracy(ignore_index=-1)([1, 0, 2], [1, 1, -1]) == 0.5
    pixels = RNG.normal(size=(2, C, 3, 5))
    truth = pixels.argmax(1)
    assert accuracy(pixels, truth) == 1.0
    assert train.TopK(1, ignore_index=0)(pixels, truth) == 1.0
    assert train.Perplexity(ignore_index=0)(np.zeros((2, C, 3)), np.ones((2, 3), int)) == (
        pytest.approx(C)
    )
    half = wg.asarray(SCORES).astype("bfloat16")
    assert accuracy(half, LABELS) == accuracy(np.asarray(half, np.float32), LABELS)
    two_columns = np.stack([-BINARY_SCORES, BINARY_SCORES], 1)
    assert train.AUROC()(two_columns, BINARY) == train.AUROC()(BINARY_SCORES, BINARY)
    assert train.MSE()(np.ones((3, 1)), np.zeros(3)) == 1.0


def test_top_k_does_not_count_ties_in_its_favour():
    assert train.TopK(1)(np.zeros((1, 3)), [2]) == 1.0
    assert train.TopK(1)(np.array([[1.0, 1.0, 0.0]]), [2]) == 0.0
    assert train.TopK(2)(np.array([[1.0, 1.0, 0.0]]), [2]) == 0.0


def test_sums_do_not_cancel():
    target = 1e8 + RNG.normal(size=1000)
    metric = train.R2()
    for part in np.array_split(np.arange(1000), 10):
        metric.update(target[part] + 0.1, target[part])
    expected = 1 - 1000 * 0.01 / ((target - target.mean()) ** 2).sum()
    assert metric.compute() == pytest.approx(expected, rel=1e-6)


def test_means_weigh_by_samples():
    mean = train.Mean()
    mean.update(wg.asarray(2.0), 10)
    mean.update(5.0, 5)
    mean.update(float("nan"), 0)
    assert mean.compute() == 3.0
    assert (train.TopK(3).name, train.F1().name) == ("top3", "f1")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: train.Accuracy().compute(), ArgumentError, r"\[accuracy\] there is nothing"),
        (lambda: train.ConfusionMatrix().compute(), ArgumentError, "nothing to compute"),
        (lambda: train.Accuracy()(SCORES, LABELS[:3]), ShapeError, "do not fit together"),
        (lambda: train.Accuracy()([0, 1], [0.5, 1.0]), DtypeError, "must be class numbers"),
        (lambda: train.Accuracy()(SCORES * np.nan, LABELS), ArgumentError, "contain NaN"),
        (lambda: train.TopK(0), ArgumentError, "at least 1; got 0"),
        (lambda: train.TopK(1)([1, 2], [1, 2]), ShapeError, "a score for each class"),
        (
            lambda: train.TopK(1)(SCORES, LABELS + 4),
            ArgumentError,
            "not among the 4 classes; got l",
        ),
        (lambda: train.F1("all"), ArgumentError, "no such average; got 'all'"),
        (lambda: train.ConfusionMatrix()([0, 5], [0, 1]), ArgumentError, "pass num_classes="),
        (lambda: train.ConfusionMatrix(2)([0, 5], [0, 1]), ArgumentError, "prediction 5"),
        (lambda: train.Perplexity()(np.zeros(3), np.zeros(3, int)), ShapeError, "a logit for each"),
        (lambda: train.Perplexity()(SCORES, LABELS - 9), ArgumentError, "label -"),
        (lambda: train.AUROC()(BINARY_SCORES, BINARY * 0), ArgumentError, "of both classes"),
        (lambda: train.AUROC()(BINARY_SCORES, BINARY + 1), ArgumentError, "labels from 1 to 2"),
        (lambda: train.MSE()(np.zeros((3, 2)), np.zeros(3)), ShapeError, "broadcasting would"),
        (lambda: train.R2()(np.zeros(3), np.ones(3)), ArgumentError, "no spread to explain"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
