"""Augmentations of whole batches, which mix samples and their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, DtypeError
from wengert.data.draws import Array, Key, epoch_key, generator


class BatchAugmentation:
    """Base of what a `DataLoader` applies to batches `(images, labels)` as `batch_transform`.

    Labels come out as rows of class weights that add up to 1, which `cross_entropy` takes. What is
    drawn depends on (seed, epoch, number of the batch).
    """

    def __init__(self, alpha: float, num_classes: int, p: float = 1.0) -> None:
        if not alpha > 0 or num_classes < 2 or not 0 <= p <= 1:
            raise ArgumentError(
                type(self).__name__,
                "alpha must be above 0, num_classes at least 2, and p in [0, 1]",
                met=f"alpha={alpha}, num_classes={num_classes}, p={p}",
                fix="for example Mixup(0.2, num_classes=10)",
            )
        self.alpha, self.num_classes, self.p = alpha, num_classes, p

    def __call__(self, batch: Any, key: Key | None = None, number: int = 0) -> Any:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise ArgumentError(
                type(self).__name__,
                "a batch to mix must be a pair (images, labels)",
                met=type(batch).__name__,
                fix="let the dataset return pairs",
            )
        images, labels = (np.asarray(part) for part in batch)
        weights = self.one_hot(labels)
        rng = generator(epoch_key() if key is None else key, number)
        partner = rng.permutation(len(images))
        share = float(rng.beta(self.alpha, self.alpha))
        if rng.random() >= self.p:
            return images, weights
        mixed, share = self.mix(images, images[partner], share, rng)
        mixed_labels = share * weights + (1 - share) * weights[partner]
        return mixed.astype(images.dtype), mixed_labels.astype(weights.dtype)

    def mix(
        self, images: Array, others: Array, share: float, rng: np.random.Generator
    ) -> tuple[Array, float]:
        """The mixed images, and the share that the first ones really have in them."""
        raise DtypeError(type(self).__name__, "does not say how to mix", fix="define mix(self, …)")

    def one_hot(self, labels: Array) -> Array:
        """Class weights (n, classes) of labels, which may already be such."""
        if labels.dtype.kind == "f" and labels.ndim == 2 and labels.shape[1] == self.num_classes:
            return labels
        bad = labels.dtype.kind not in "iu" or labels.ndim != 1
        if bad or (labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes):
            raise ArgumentError(
                type(self).__name__,
                f"labels must be integers from 0 to {self.num_classes - 1}, one a sample",
                met=f"{labels.dtype}{list(labels.shape)}"
                + (f" from {labels.min()} to {labels.max()}" if labels.size else ""),
                fix="check num_classes",
            )
        return np.eye(self.num_classes, dtype=np.float32)[labels]


class Mixup(BatchAugmentation):
    """λ·x + (1-λ)·x' for each sample x and a random partner x' of the batch; labels likewise.
    λ is drawn from Beta(α, α), once a batch.

    Source: Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018.

    >>> import numpy as np
    >>> from wengert.data import Mixup
    >>> x, y = Mixup(0.2, num_classes=3)((np.ones((4, 2)), np.array([0, 1, 2, 0])))
    >>> y.shape, float(y.sum())
    ((4, 3), 4.0)
    """

    def mix(
        self, images: Array, others: Array, share: float, rng: np.random.Generator
    ) -> tuple[Array, float]:
        return share * images + (1 - share) * others, share


class CutMix(BatchAugmentation):
    """A random window of each image is taken from a partner; labels are mixed by area. The window
    has the share 1-λ of the image, with λ drawn from Beta(α, α), once a batch.

    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with
    localizable features", 2019.
    """

    def mix(
        self, images: Array, others: Array, share: float, rng: np.random.Generator
    ) -> tuple[Array, float]:
        height, width = images.shape[-2:]
        side = np.sqrt(1.0 - share)
        top, bottom = _window(height, side, rng)
        left, right = _window(width, side, rng)
        mixed = images.copy()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed, 1.0 - (bottom - top) * (right - left) / (height * width)


def _window(size: int, side: float, rng: np.random.Generator) -> tuple[int, int]:
    """Begin and end of a window of relative length `side` around a random centre, cut to fit."""
    half = size * side / 2
    centre = rng.random() * size
    return max(0, round(centre - half)), min(size, round(centre + half))
