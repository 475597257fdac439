"""Samplers: in which order the samples of an epoch come, as a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, BoundsError
from wengert.data.draws import Array, Key, epoch_key, permutation, uniforms


class Sampler:
    """An order of samples. Subclasses define `__len__` and `order(key)`."""

    def __len__(self) -> int:
        raise ArgumentError(type(self).__name__, "no length", fix="define __len__")

    def order(self, key: Key) -> Array:
        """The indices of the epoch of `key`, as integers."""
        raise ArgumentError(type(self).__name__, "no order", fix="define order(self, key)")

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(epoch_key()).tolist())


class SequentialSampler(Sampler):
    """All samples, in their own order."""

    def __init__(self, dataset: Sized) -> None:
        self.n = len(dataset)

    def __len__(self) -> int:
        return self.n

    def order(self, key: Key) -> Array:
        return np.arange(self.n)


class RandomSampler(Sampler):
    """All samples, in a new random order in every epoch.

    >>> import wengert as wg
    >>> sorted(wg.data.RandomSampler(range(4)))
    [0, 1, 2, 3]
    """

    def __init__(self, dataset: Sized) -> None:
        self.n = len(dataset)

    def __len__(self) -> int:
        return self.n

    def order(self, key: Key) -> Array:
        return permutation(key, self.n)


class WeightedSampler(Sampler):
    """`num_samples` random samples, with probability proportional to their weights.

    With `replacement` (the default) a sample may come many times in an epoch, which balances rare
    classes; without it, each comes at most once.

    Source (without replacement): Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006.
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True) -> None:
        w = np.asarray(weights, dtype=np.float64)
        if w.ndim != 1 or not np.all(np.isfinite(w)) or np.any(w < 0) or w.sum() <= 0:
            raise ArgumentError(
                "WeightedSampler",
                "the weights must be a list of finite numbers ≥ 0 that are not all 0",
                met=f"shape {w.shape}"
                + (f", from {w.min()} to {w.max()}" if w.size else ", no weight"),
                fix="give one weight a sample",
            )
        possible = int(np.count_nonzero(w))
        if num_samples < 1 or (not replacement and num_samples > possible):
            raise ArgumentError(
                "WeightedSampler",
                "the number of samples cannot be drawn",
                met=f"num_samples={num_samples} of {possible} with a weight above 0, "
                f"replacement={replacement}",
                fix="draw at least 1, and without replacement no more than there are",
            )
        self.weights, self.num_samples, self.replacement = w, int(num_samples), replacement

    def __len__(self) -> int:
        return self.num_samples

    def order(self, key: Key) -> Array:
        if self.replacement:
            cumulative = np.cumsum(self.weights)
            u = uniforms(key, np.arange(self.num_samples), 1)[:, 0] * cumulative[-1]
            last = int(np.flatnonzero(self.weights)[-1])
            return np.minimum(np.searchsorted(cumulative, u, side="right"), last)
        u = uniforms(key, np.arange(len(self.weights)), 1)[:, 0]
        with np.errstate(divide="ignore"):
            arrival = -np.log1p(-u) / self.weights  # exponential clocks: the first ones win
        arrival[self.weights == 0] = np.inf
        return np.argsort(arrival, kind="stable")[: self.num_samples]


class BatchSampler:
    """Cuts the order of a sampler into batches of indices.

    >>> import wengert as wg
    >>> [b.tolist() for b in wg.data.BatchSampler(wg.data.SequentialSampler(range(5)), 2)]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ArgumentError(
                "DataLoader",
                "the batch size must be an integer of at least 1",
                met=repr(batch_size),
                fix="pass for example batch_size=32",
            )
        self.sampler, self.batch_size, self.drop_last = sampler, int(batch_size), drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)

    def batches(self, key: Key) -> list[Array]:
        """The batches of the epoch of `key`."""
        order = indices_of(self.sampler, key)
        whole, rest = divmod(len(order), self.batch_size)
        stop = (whole + (1 if rest and not self.drop_last else 0)) * self.batch_size
        return [order[i : i + self.batch_size] for i in range(0, stop, self.batch_size)]

    def __iter__(self) -> Iterator[Array]:
        return iter(self.batches(epoch_key()))


def indices_of(sampler: Any, key: Key) -> Array:
    """The order that a sampler, or any iterable of integers, gives for an epoch."""
    if isinstance(sampler, Sampler):
        return sampler.order(key)
    return as_indices(sampler)


def as_indices(numbers: Iterable[Any]) -> Array:
    """Integers as an index array, or the error for what are none."""
    found = np.asarray(list(numbers))
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise BoundsError(
            "DataLoader",
            "a sampler must give integers",
            met=f"{found.dtype}{list(found.shape)}",
            fix="yield one index a sample (a batch sampler: one list of indices a batch)",
        )
    return found.astype(np.int64)
