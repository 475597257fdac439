"""What `Dataset.map` returns: samples passed through a function when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError
from wengert.data.augment import Augmentation
from wengert.data.collate import stack
from wengert.data.dataset import Dataset, IterableDataset, check_index
from wengert.data.draws import Array, Key, epoch_key
from wengert.random import fold_in

_OWN, _BELOW = 1, 2  # the purposes under which an augmentation, and what it is applied to, draw


class _Mapping:
    """The function of a map, and the entry of a sample that it is applied to."""

    def __init__(self, f: Callable[..., Any], on: int | str | None, batched: bool) -> None:
        if not callable(f):
            raise ArgumentError(
                "map", "the transform must be callable", met=type(f).__name__, fix="pass a function"
            )
        self.f, self.on, self.batched = f, on, batched
        self.augments = isinstance(f, Augmentation)

    def below(self, key: Key) -> Key:
        """The key for the dataset below, so that two augmentations draw different numbers."""
        return fold_in(key, _BELOW) if self.augments else key

    def one(self, sample: Any, index: int, key: Key) -> Any:
        """The sample with the function applied."""
        return self._at(sample, lambda part: self._apply_one(part, index, key))

    def many(self, batch: Any, indices: Array, key: Key) -> Any:
        """A stacked batch with the function applied."""
        return self._at(batch, lambda part: self._apply_many(part, indices, key))

    def _apply_one(self, part: Any, index: int, key: Key) -> Any:
        if self.augments:
            return self.f(np.asarray(part)[None], fold_in(key, _OWN), [index])[0]
        if self.batched:
            return _first(self.f(stack([part])))
        return self.f(part)

    def _apply_many(self, part: Any, indices: Array, key: Key) -> Any:
        if self.augments:
            return self.f(np.asarray(part), fold_in(key, _OWN), indices)
        return self.f(part)

    def _at(self, sample: Any, f: Callable[[Any], Any]) -> Any:
        on = self.on
        if on is None and self.augments and isinstance(sample, (tuple, list)):
            on = 0
        if on is None:
            return f(sample)
        try:
            part = sample[on]
        except (KeyError, IndexError, TypeError):
            raise ArgumentError(
                "map",
                "the sample has no such entry",
                met=f"on={on!r} for a sample of type {type(sample).__name__}",
                fix="name an entry that the sample has, or leave `on` out",
            ) from None
        return _replace(sample, on, f(part))


def _replace(sample: Any, on: int | str, part: Any) -> Any:
    """The sample with one entry replaced, in a container of the same kind."""
    if isinstance(sample, dict):
        return {**sample, on: part}
    parts = list(sample)
    parts[on] = part  # type: ignore[index]
    if hasattr(sample, "_fields"):
        return type(sample)(*parts)
    return tuple(parts) if isinstance(sample, tuple) else parts


def _first(batch: Any) -> Any:
    if isinstance(batch, (tuple, list)):
        return type(batch)(map(_first, batch))
    if isinstance(batch, dict):
        return {k: _first(v) for k, v in batch.items()}
    return batch[0]


class MappedDataset(Dataset):
    """A dataset whose samples pass through a function; made by `Dataset.map`.

    Random augmentations draw from (seed, epoch, index), where the loader gives seed and epoch;
    `dataset[i]` shows the sample as it is with seed 0 in epoch 0.
    """

    def __init__(
        self, dataset: Dataset, f: Callable[..., Any], on: int | str | None, batched: bool
    ) -> None:
        self.dataset = dataset
        self.mapping = _Mapping(f, on, batched)
        self.classes = getattr(dataset, "classes", None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.sample(check_index("MappedDataset", index, len(self)), epoch_key())

    def sample(self, index: int, key: Key) -> Any:
        return self.mapping.one(self.dataset.sample(index, self.mapping.below(key)), index, key)

    def batch(self, indices: Array, key: Key) -> Any:
        if not (self.mapping.augments or self.mapping.batched):
            return None
        below = self.dataset.batch(indices, self.mapping.below(key))
        return None if below is None else self.mapping.many(below, indices, key)


class MappedStream(IterableDataset):
    """A stream whose samples pass through a function; made by `IterableDataset.map`."""

    def __init__(
        self, stream: IterableDataset, f: Callable[..., Any], on: int | str | None
    ) -> None:
        self.stream = stream
        self.mapping = _Mapping(f, on, batched=False)

    def __iter__(self) -> Iterator[Any]:
        return self.samples(epoch_key())

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to the stream below, where it wants to know."""
        if hasattr(self.stream, "set_epoch"):
            self.stream.set_epoch(epoch)

    def samples(self, key: Key) -> Iterator[Any]:
        below = self.stream.samples(self.mapping.below(key))
        return (self.mapping.one(sample, i, key) for i, sample in enumerate(below))
