"""Metrics of classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.train.metrics import Metric
from wengert.train.outcomes import (
    Array,
    as_array,
    check_labels,
    class_ids,
    log_probabilities,
    paired,
)

__all__ = [
    "AUROC",
    "F1",
    "Accuracy",
    "ConfusionMatrix",
    "Perplexity",
    "Precision",
    "Recall",
    "TopK",
]


class Accuracy(Metric):
    """The share of samples whose class is predicted right.

    Predictions are scores (n, classes, …) for labels (n, …), or one score a sample, which means
    class 1 where it is above `threshold` (0 suits logits, 0.5 probabilities), or class numbers.
    Labels may also be class weights in the shape of the scores. Labels equal to `ignore_index` do
    not count.

    >>> import wengert as wg
    >>> from wengert.train import Accuracy
    >>> Accuracy()(wg.asarray([[2.0, 1.0], [0.0, 3.0]]), wg.asarray([0, 0]))
    0.5
    """

    fields = {"correct": 0, "count": 0}
    correct: int
    count: int

    def __init__(self, threshold: float = 0.0, ignore_index: int | None = None) -> None:
        self.threshold, self.ignore_index = threshold, ignore_index
        super().__init__()

    def update(self, prediction: Any, target: Any) -> None:
        predicted, true, _ = class_ids(
            self.name, prediction, target, self.threshold, self.ignore_index
        )
        self.correct += int(np.count_nonzero(predicted == true))
        self.count += int(true.size)

    def compute(self) -> float:
        return self._ratio(self.correct, self.count)


class TopK(Metric):
    """The share of samples whose class is among the `k` highest scores (n, classes, …). A class
    that ties with the k-th counts as among them only if fewer than k are strictly higher."""

    fields = {"correct": 0, "count": 0}
    correct: int
    count: int

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        if k < 1:
            raise ArgumentError("TopK", "k must be at least 1", met=str(k), fix="for example k=5")
        self.k, self.ignore_index = k, ignore_index
        super().__init__()

    @property
    def name(self) -> str:
        return f"top{self.k}"

    def update(self, prediction: Any, target: Any) -> None:
        scores, true = as_array(prediction), as_array(target)
        _, kept, chosen = class_ids(self.name, scores, true, 0.0, self.ignore_index)
        if scores.ndim < 2:
            raise ShapeError(
                self.name,
                "needs a score for each class",
                met=str(scores.shape),
                fix="pass scores of shape (n, classes)",
            )
        rows = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])[chosen]
        check_labels(self.name, kept, rows.shape[1])
        own = np.take_along_axis(rows, kept[:, None], axis=1)
        higher = np.count_nonzero(rows > own, axis=1)
        self.correct += int(np.count_nonzero(higher < self.k))
        self.count += int(kept.size)

    def compute(self) -> float:
        return self._ratio(self.correct, self.count)


class ConfusionMatrix(Metric):
    """How often each true class (row) was predicted as each class (column).

    Parameters as for `Accuracy`. `num_classes` is read off the scores where it is not given.

    >>> from wengert.train import ConfusionMatrix
    >>> import numpy as np
    >>> ConfusionMatrix(2)(np.array([0, 1, 1]), np.array([0, 0, 1])).tolist()
    [[1, 1], [0, 1]]
    """

    fields: Mapping[str, Any] = {"counts": None}
    counts: Array | None

    def __init__(
        self,
        num_classes: int | None = None,
        threshold: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        self.num_classes, self.threshold = num_classes, threshold
        self.ignore_index = ignore_index
        super().__init__()

    def update(self, prediction: Any, target: Any) -> None:
        predicted, true, _ = class_ids(
            self.name, prediction, target, self.threshold, self.ignore_index
        )
        n = self._classes(prediction, predicted, true)
        outside = (true < 0) | (true >= n) | (predicted < 0) | (predicted >= n)
        if outside.any():
            raise ArgumentError(
                self.name,
                f"a class is not among the {n}",
                met=f"label {int(true[outside][0])}, prediction {int(predicted[outside][0])}",
                fix="correct the labels, or pass num_classes=",
            )
        found = np.bincount(true * n + predicted, minlength=n * n).reshape(n, n)
        self.counts = found if self.counts is None else self.counts + found

    def _classes(self, prediction: Any, predicted: Array, true: Array) -> int:
        if self.num_classes is not None:
            return self.num_classes
        if self.counts is not None:
            return len(self.counts)
        scores = as_array(prediction)
        if scores.ndim >= 2 and scores.dtype.kind == "f" and scores.shape[1] > 1:
            return int(scores.shape[1])
        if scores.dtype.kind == "f" or max(predicted.max(initial=0), true.max(initial=0)) < 2:
            return 2
        raise ArgumentError(
            self.name,
            "the number of classes cannot be read off class numbers",
            met="integer predictions",
            fix="pass num_classes=",
        )

    def compute(self) -> Any:
        """The matrix of counts, int64 (classes, classes)."""
        return self._counts().copy()

    def _counts(self) -> Array:
        if self.counts is None:
            self._ratio(0, 0)
        assert self.counts is not None
        return self.counts


class _ByClass(ConfusionMatrix):
    """A score of each class from its true positives, predictions and occurrences, averaged.

    `average` is "macro" (classes weigh the same; those that neither occur nor are predicted do not
    count), "micro" (samples weigh the same), "weighted" (by occurrence), or None for an array. 0/0
    counts as 0.
    """

    def __init__(
        self,
        average: str | None = "macro",
        num_classes: int | None = None,
        threshold: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        if average not in ("macro", "micro", "weighted", None):
            raise ArgumentError(
                type(self).__name__,
                "no such average",
                met=repr(average),
                fix="use 'macro', 'micro', 'weighted' or None",
            )
        self.average = average
        super().__init__(num_classes, threshold, ignore_index)

    @staticmethod
    def score(hits: Array, predicted: Array, occurred: Array) -> Array:
        """The score of each class."""
        raise ArgumentError("metric", "no score", fix="define score(hits, predicted, occurred)")

    def compute(self) -> Any:
        """The averaged score, or the array of scores."""
        counts = self._counts().astype(np.float64)
        hits, predicted, occurred = np.diag(counts), counts.sum(0), counts.sum(1)
        if self.average == "micro":
            total = np.array([counts.sum()])
            return float(self.score(np.array([hits.sum()]), total, total)[0])
        scores = self.score(hits, predicted, occurred)
        if self.average is None:
            return scores
        if self.average == "weighted":
            return self._ratio(float((scores * occurred).sum()), float(occurred.sum()))
        seen = (predicted + occurred) > 0
        return self._ratio(float(scores[seen].sum()), float(seen.sum()))


def _divide(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


class Precision(_ByClass):
    """The share of predictions of a class that are right; see `F1` for the averages."""

    @staticmethod
    def score(hits: Array, predicted: Array, occurred: Array) -> Array:
        return _divide(hits, predicted)


class Recall(_ByClass):
    """The share of a class that was found; see `F1` for the averages."""

    @staticmethod
    def score(hits: Array, predicted: Array, occurred: Array) -> Array:
        return _divide(hits, occurred)


class F1(_ByClass):
    """The harmonic mean of precision and recall: 2·hits / (predicted + occurred), for each class.

    `average`: "macro" (classes weigh the same; those that neither occur nor are predicted do not
    count), "micro" (samples weigh the same), "weighted" (by occurrence), or None for an array.
    0/0 counts as 0. The other parameters are as for `ConfusionMatrix`.

    >>> import numpy as np
    >>> from wengert.train import F1
    >>> round(F1()(np.array([0, 1, 1]), np.array([0, 0, 1])), 4)
    0.6667
    """

    @staticmethod
    def score(hits: Array, predicted: Array, occurred: Array) -> Array:
        return _divide(2 * hits, predicted + occurred)


class Perplexity(Metric):
    """exp of the mean negative log-likelihood of labels (n, …) under logits (n, classes, …)."""

    fields = {"total": 0.0, "count": 0}
    higher_is_better = False
    total: float
    count: int

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index
        super().__init__()

    def update(self, prediction: Any, target: Any) -> None:
        logits = as_array(prediction)
        _, true, chosen = class_ids(self.name, logits, target, 0.0, self.ignore_index)
        log_p = log_probabilities(self.name, logits)[chosen]
        check_labels(self.name, true, log_p.shape[1])
        self.total -= float(np.take_along_axis(log_p, true[:, None], axis=1).sum())
        self.count += int(true.size)

    def compute(self) -> float:
        return float(np.exp(self._ratio(self.total, self.count)))


class AUROC(Metric):
    """The area under the ROC curve for two classes: the probability that a random sample of class 1
    scores higher than one of class 0; ties count half. Scores are kept, 8 bytes a sample and more.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982.

    >>> import numpy as np
    >>> from wengert.train import AUROC
    >>> AUROC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """

    fields: Mapping[str, Any] = {"scores": np.zeros(0), "labels": np.zeros(0, bool)}
    scores: Array
    labels: Array

    def update(self, prediction: Any, target: Any) -> None:
        scores, labels = as_array(prediction), as_array(target)
        if scores.ndim == 2 and scores.shape[1] == 2 and labels.ndim == 1:
            scores = scores[:, 1] - scores[:, 0]
        scores, labels = paired(self.name, scores, labels)
        if not np.isin(labels, (0, 1)).all() or np.isnan(scores).any():
            raise ArgumentError(
                self.name,
                "needs labels 0 and 1, and scores that are not NaN",
                met=f"labels from {labels.min()} to {labels.max()}",
                fix="take one class against the rest: target == class",
            )
        self.scores = np.concatenate([self.scores, scores])
        self.labels = np.concatenate([self.labels, labels.astype(bool)])

    def compute(self) -> float:
        positive = int(self.labels.sum())
        negative = len(self.labels) - positive
        if not positive or not negative:
            raise ArgumentError(
                self.name,
                "needs samples of both classes",
                met=f"{positive} of class 1, {negative} of class 0",
                fix="compute it over more samples",
            )
        values, place = np.unique(self.scores, return_inverse=True)
        size = np.bincount(place, minlength=len(values))
        rank = np.cumsum(size) - (size - 1) / 2  # ties share the mean of their ranks
        above = rank[place[self.labels]].sum() - positive * (positive + 1) / 2
        return float(above / (positive * negative))
