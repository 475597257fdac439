"""`DataLoader`: batches of a dataset in a reproducible order, prepared ahead by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any

from wengert import random
from wengert.core.errors import ArgumentError, DtypeError, StateError
from wengert.core.rules import as_integer
from wengert.data.dataset import Dataset, IterableDataset, as_dataset, as_stream, is_stream
from wengert.data.draws import Key, epoch_key
from wengert.data.fetch import Batches, Finisher, MapFetcher, StreamFetcher, run
from wengert.data.sampler import BatchSampler, RandomSampler, SequentialSampler, as_indices


class DataLoader:
    """Walks through a dataset in batches of tensors. Each walk is one epoch.

    The order of an epoch is a function of (seed, epoch) alone, and so is every random
    augmentation: the number of workers, prefetching and resuming change nothing. An epoch counts
    when it was walked to its end; a walk that was left early starts over.

    Parameters
    ----------
    dataset : a `Dataset`, arrays `(x, y)`, any object with `__len__` and `__getitem__`, or a
        stream (`IterableDataset` or another iterable)
    batch_size : samples a batch; the last batch may be smaller unless `drop_last`
    shuffle : draw a new order for every epoch
    seed : of orders and augmentations. Left out, it is drawn from `generator`, or for a shuffled
        loader from the library's own generator (`wg.random.seed`); else it is 0
    sampler : an order of its own: a `Sampler`, or an iterable of indices
    batch_sampler : an iterable of lists of indices; replaces batch_size, shuffle and drop_last
    num_workers : threads that prepare batches ahead; 0 prepares them when they are asked for
    prefetch : batches that each worker may be ahead
    collate_fn : makes a batch of a list of samples; `wengert.data.stack` unless given
    batch_transform : applied to each batch of arrays: `Mixup`, `CutMix`, or a function

    Raises
    ------
    ArgumentError
        if there is nothing to load, or the arguments contradict each other.
    DataError
        while walking, if a sample cannot be prepared; it names the sample.

    Examples
    --------
    >>> import wengert as wg
    >>> loader = wg.data.DataLoader([1.0, 2.0, 3.0], batch_size=2)
    >>> [batch.tolist() for batch in loader]
    [[1.0, 2.0], [3.0]]
    >>> loader.epoch
    1
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        generator: random.Generator | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        drop_last: bool = False,
        num_workers: int = 0,
        prefetch: int = 2,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        batch_transform: Callable[..., Any] | None = None,
    ) -> None:
        _check_counts(num_workers, prefetch)
        self.batch_size, self.drop_last, self.shuffle = batch_size, drop_last, shuffle
        self.num_workers, self.prefetch = num_workers, prefetch
        self.collate_fn, self.batch_transform = collate_fn, batch_transform
        self.epoch = 0
        self.position = 0
        self._start = 0
        self.dataset: Dataset | IterableDataset
        self.batches: Any = None
        BatchSampler((), batch_size)  # checks the batch size
        if is_stream(dataset):
            self.dataset = as_stream(dataset)
            _check_stream(shuffle, sampler, batch_sampler)
        else:
            self.dataset = as_dataset(dataset)
            self.batches = _batches(
                self.dataset, batch_size, shuffle, sampler, batch_sampler, drop_last
            )
        self.classes = getattr(self.dataset, "classes", None)
        if seed is None:
            seed = _fresh_seed(generator) if shuffle or generator is not None else 0
        self.seed = as_integer("DataLoader", "seed", seed)

    def __len__(self) -> int:
        """Batches an epoch."""
        if self.batches is None:
            raise DtypeError(  # a TypeError: list(loader) then does without a length
                "DataLoader",
                "a stream has no known number of batches",
                fix="count them while iterating, or use a map-style dataset",
            )
        return len(self.batches)

    # -- walking -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, 0
        self.position = start
        prepared = self._prepared(epoch_key(self.seed, self.epoch), start)
        try:
            for batch in prepared:
                self.position += 1
                yield batch
        finally:
            prepared.close()
        self.position = 0
        self.epoch += 1

    def _prepared(self, key: Key, start: int) -> Batches:
        """The batches of an epoch from number `start` on."""
        finisher = Finisher(self.collate_fn, self.batch_transform, key, self.epoch)
        ahead = self.num_workers * self.prefetch
        if isinstance(self.dataset, IterableDataset):
            stream = StreamFetcher(self.dataset, finisher, self.batch_size, self.drop_last, start)
            # One thread reads a stream, since its samples come one after the other.
            return run(stream, count(start), min(self.num_workers, 1), ahead)
        if isinstance(self.batches, BatchSampler):
            plan: Iterable[Any] = self.batches.batches(key)
        else:
            plan = map(as_indices, self.batches)
        jobs = islice(enumerate(plan), start, None)
        return run(MapFetcher(self.dataset, finisher), jobs, self.num_workers, ahead)

    # -- state -------------------------------------------------------------------------------

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the one that the next walk goes through."""
        self.epoch, self.position, self._start = int(epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: seed, epoch, and batches of the epoch handed out so far."""
        length = None if isinstance(self.dataset, IterableDataset) else len(self.dataset)
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": max(self.position, self._start),
            "length": length,
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a stored place: the next walk hands out the batch that would have come next."""
        own = self.state_dict()
        missing = sorted(own.keys() - state.keys())
        if missing:
            raise StateError(
                "DataLoader",
                "the stored state is incomplete",
                met=f"no {', '.join(missing)}",
                fix="pass what state_dict() returned",
            )
        for name in ("length", "batch_size"):
            if state[name] != own[name]:
                raise StateError(
                    "DataLoader",
                    f"the stored state belongs to a loader of another {name.replace('_', ' ')}",
                    met=f"{state[name]}, this loader has {own[name]}",
                    fix="make the loader of the same dataset and batch size as when it was stored",
                )
        places = [state[name] for name in ("seed", "epoch", "position")]
        if not all(type(place) is int and place >= 0 for place in places):
            raise StateError(
                "DataLoader",
                "seed, epoch and position must be whole numbers of at least 0",
                met=", ".join(map(repr, places)),
                fix="pass what state_dict() returned",
            )
        self.seed, self.epoch = state["seed"], state["epoch"]
        self._start = self.position = state["position"]


def _batches(
    dataset: Dataset,
    batch_size: int,
    shuffle: bool,
    sampler: Any,
    batch_sampler: Any,
    drop_last: bool,
) -> Any:
    """What gives the batches of indices of a map-style dataset."""
    if shuffle + (sampler is not None) + (batch_sampler is not None) > 1:
        raise ArgumentError(
            "DataLoader",
            "shuffle, sampler and batch_sampler each set the order",
            met="more than one of them",
            fix="choose one",
        )
    if len(dataset) == 0:
        raise ArgumentError(
            "DataLoader",
            "the dataset is empty",
            met=type(dataset).__name__,
            cause="a filter or a split that left nothing, or a wrong path",
            fix="check len(dataset) before making the loader",
        )
    if batch_sampler is not None:
        return batch_sampler
    if sampler is None:
        sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    batches = BatchSampler(sampler, batch_size, drop_last)
    if hasattr(sampler, "__len__") and len(batches) == 0:
        raise ArgumentError(
            "DataLoader",
            "there is no batch",
            met=f"{len(sampler)} samples, batch_size={batch_size}, drop_last={drop_last}",
            fix="use a smaller batch_size, or drop_last=False",
        )
    return batches


def _check_stream(shuffle: bool, sampler: Any, batch_sampler: Any) -> None:
    if shuffle or sampler is not None or batch_sampler is not None:
        raise ArgumentError(
            "DataLoader",
            "a stream is read in its own order",
            met="shuffle, sampler or batch_sampler with an IterableDataset",
            fix="shuffle inside the stream, or read it into a list first",
        )


def _check_counts(num_workers: int, prefetch: int) -> None:
    if num_workers < 0 or prefetch < 1:
        raise ArgumentError(
            "DataLoader",
            "num_workers must be at least 0 and prefetch at least 1",
            met=f"num_workers={num_workers}, prefetch={prefetch}",
            fix="use num_workers=0 to prepare batches without threads",
        )


def _fresh_seed(generator: random.Generator | None) -> int:
    """A seed drawn from the library's generator, so that `wg.random.seed` governs it."""
    source = random.default_generator if generator is None else generator
    return int(source.bits(()))
