"""Splits of a dataset: random, stratified by label, and for cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.data.dataset import ArrayDataset, Dataset, Subset, as_dataset
from wengert.data.draws import Array, Key, permutation
from wengert.random import fold_in
from wengert.random import key as seed_key


def random_split(data: Any, sizes: Sequence[float], seed: int = 0) -> list[Subset]:
    """Random parts without overlap. `sizes` are counts, or fractions that add up to 1.

    >>> import wengert as wg
    >>> [len(part) for part in wg.data.random_split(range(10), [0.8, 0.2])]
    [8, 2]
    """
    dataset = as_dataset(data)
    counts = _counts("random_split", sizes, len(dataset))
    order = permutation(seed_key(seed), len(dataset))
    cuts = np.cumsum(counts)[:-1]
    return [Subset(dataset, part) for part in np.split(order, cuts)]


def _counts(name: str, sizes: Sequence[float], n: int) -> list[int]:
    """Whole numbers of samples; what rounding leaves over goes to the first parts."""
    fractions = all(isinstance(s, float) for s in sizes)
    total = sum(sizes)
    fits = abs(total - 1.0) < 1e-9 if fractions else total == n
    if not sizes or min(sizes) < 0 or not fits:
        raise ArgumentError(
            name,
            "the sizes must be fractions that add up to 1, or counts that add up to the length",
            met=f"{list(sizes)} for {n} samples",
            fix="pass for example [0.8, 0.2]",
        )
    if not fractions:
        return [int(s) for s in sizes]
    counts = [int(np.floor(n * s + 1e-9)) for s in sizes]
    for i in range(n - sum(counts)):
        counts[i % len(counts)] += 1
    return counts


def train_test_split(
    data: Any, test: float = 0.2, *, seed: int = 0, stratify: Any = False
) -> tuple[Subset, Subset]:
    """A training part and a held-out part of fraction `test` (or of that many samples).

    `stratify=True` keeps the share of each class the same in both parts; the labels are the last
    entry of a sample, or the array given as `stratify`.

    >>> import wengert as wg
    >>> data = wg.data.ArrayDataset(list(range(10)), [0] * 5 + [1] * 5)
    >>> train, held_out = wg.data.train_test_split(data, 0.4, stratify=True)
    >>> sorted(int(y) for _, y in held_out)
    [0, 0, 1, 1]
    """
    dataset = as_dataset(data)
    n = len(dataset)
    count = round(n * test) if isinstance(test, float) else int(test)
    if not 0 < count < n:
        raise ArgumentError(
            "train_test_split",
            "both parts need at least one sample",
            met=f"test={test} of {n} samples",
            fix="pass a fraction between 0 and 1, or a count below the length",
        )
    key = seed_key(seed)
    if stratify is False or stratify is None:
        order = permutation(key, n)
        return Subset(dataset, np.sort(order[count:])), Subset(dataset, np.sort(order[:count]))
    labels = labels_of(dataset) if stratify is True else np.asarray(stratify)
    held_out = _stratified_choice("train_test_split", labels, n, count, key)
    mask = np.zeros(n, bool)
    mask[held_out] = True
    return Subset(dataset, np.flatnonzero(~mask)), Subset(dataset, np.flatnonzero(mask))


def _stratified_choice(name: str, labels: Array, n: int, count: int, key: Key) -> Array:
    """`count` random indices whose classes are in the proportion of all labels (largest
    remainders get the samples that rounding leaves over)."""
    groups = _groups(name, labels, n)
    exact = np.array([len(g) * count / n for g in groups])
    take = np.floor(exact).astype(int)
    left_over = count - int(take.sum())
    for i in np.argsort(take - exact, kind="stable")[:left_over]:
        take[i] += 1
    chosen = [
        group[permutation(fold_in(key, i), len(group))[:k]]
        for i, (group, k) in enumerate(zip(groups, take, strict=True))
    ]
    return np.concatenate(chosen)


def _groups(name: str, labels: Array, n: int) -> list[Array]:
    """The indices of each class."""
    if labels.shape != (n,):
        raise ShapeError(
            name,
            "stratifying needs one label a sample",
            met=f"labels of shape {labels.shape} for {n} samples",
            fix="pass stratify=labels with the class of each sample",
        )
    found, inverse = np.unique(labels, return_inverse=True)
    if len(found) * 2 > n and labels.dtype.kind == "f":
        raise ArgumentError(
            name,
            "the labels look continuous, so there are no classes to stratify by",
            met=f"{len(found)} different values in {n} samples",
            fix="split without stratify, or pass binned values",
        )
    return [np.flatnonzero(inverse == i) for i in range(len(found))]


def labels_of(dataset: Dataset) -> Array:
    """The labels of a dataset: the last entry of each sample."""
    if isinstance(dataset, ArrayDataset) and len(dataset.arrays) > 1:
        return dataset.arrays[-1]
    if isinstance(dataset, Subset):
        return labels_of(dataset.dataset)[dataset.indices]
    labels = []
    for i in range(len(dataset)):
        sample = dataset[i]
        if not isinstance(sample, (tuple, list)) or len(sample) < 2:
            raise ArgumentError(
                "stratify",
                "the samples have no label: they are not tuples that end with one",
                met=type(sample).__name__,
                fix="pass the labels as an array: stratify=labels",
            )
        labels.append(np.asarray(sample[-1]))
    return np.stack(labels)


def k_fold(
    data: Any, k: int = 5, *, seed: int = 0, stratify: Any = False
) -> Iterator[tuple[Subset, Subset]]:
    """`k` pairs (training part, validation part); each sample is in one validation part.

    >>> import wengert as wg
    >>> [(len(a), len(b)) for a, b in wg.data.k_fold(range(5), 2)]
    [(2, 3), (3, 2)]
    """
    dataset = as_dataset(data)
    n = len(dataset)
    if not 2 <= k <= n:
        raise ArgumentError(
            "k_fold",
            "the number of folds must be from 2 to the number of samples",
            met=f"k={k} for {n} samples",
            fix="use k=5 or k=10",
        )
    key = seed_key(seed)
    if stratify is False or stratify is None:
        order = permutation(key, n)
    else:
        labels = labels_of(dataset) if stratify is True else np.asarray(stratify)
        groups = _groups("k_fold", labels, n)
        order = np.concatenate(
            [g[permutation(fold_in(key, i), len(g))] for i, g in enumerate(groups)]
        )
    # Dealing the order out like cards gives every fold its share of each class.
    fold = np.empty(n, int)
    fold[order] = np.arange(n) % k
    return (
        (Subset(dataset, np.flatnonzero(fold != i)), Subset(dataset, np.flatnonzero(fold == i)))
        for i in range(k)
    )
