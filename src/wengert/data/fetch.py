"""How batches are prepared: from a dataset by numbers, or from a stream; at once or by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from wengert.data.collate import stack, to_tensors
from wengert.data.dataset import DataError, Dataset, IterableDataset
from wengert.data.draws import Array, Key
from wengert.data.mixing import BatchAugmentation
from wengert.random import fold_in

Indices = Array | range
Batches = Generator[Any, None, None]
END = object()  # what a stream gives when it has ended
_MIXING = 3  # the purpose under which batch transforms draw


@dataclass(frozen=True)
class Failure:
    """Why a batch could not be prepared. It travels to the thread that asked for the batch, so
    that the error is raised at the user's loop."""

    what: str
    problem: Exception
    fix: str

    def raise_(self) -> None:
        first_line = str(self.problem).split("\n")[0]
        met = type(self.problem).__name__ + (f": {first_line}" if first_line else "")
        raise DataError("DataLoader", self.what, met=met, fix=self.fix) from self.problem


@dataclass(frozen=True)
class Finisher:
    """Makes a batch of tensors of samples."""

    collate_fn: Callable[[list[Any]], Any] | None
    batch_transform: Callable[..., Any] | None
    key: Key
    epoch: int

    def collate(self, samples: list[Any], indices: Indices) -> Any:
        """Samples as a batch of arrays."""
        if self.collate_fn is None:
            return stack(samples, indices)
        return self.collate_fn(samples)

    def finish(self, batch: Any, number: int) -> Any:
        """The batch after its transform, as tensors."""
        transform = self.batch_transform
        if isinstance(transform, BatchAugmentation):
            batch = transform(batch, fold_in(self.key, _MIXING), number)
        elif transform is not None:
            batch = transform(batch)
        return to_tensors(batch)

    def guarded(self, make: Callable[[], Any], number: int, indices: Indices) -> Any:
        """The finished batch, or the `Failure` that names it."""
        try:
            return self.finish(make(), number)
        except Exception as problem:
            return Failure(
                f"batch {number} (samples {_shorten(indices)}) could not be put together",
                problem,
                "make the samples alike, or pass collate_fn=",
            )


def _shorten(indices: Indices) -> str:
    shown = ", ".join(str(int(i)) for i in indices[:6])
    return shown + (f", … {len(indices)} in all" if len(indices) > 6 else "")


class MapFetcher:
    """Prepares batch `number` of a map-style dataset from the samples at `indices`."""

    def __init__(self, dataset: Dataset, finisher: Finisher) -> None:
        self.dataset, self.finisher = dataset, finisher

    def __call__(self, job: tuple[int, Array]) -> Any:
        number, indices = job
        n = len(self.dataset)
        for bad in indices[(indices < 0) | (indices >= n)][:1]:
            problem = IndexError(f"the sampler gave index {int(bad)}")
            return Failure(f"no such sample in a dataset of {n}", problem, "correct the sampler")
        if self.finisher.collate_fn is None:
            try:
                batch = self.dataset.batch(indices, self.finisher.key)
            except Exception as problem:
                what = f"the batch of samples {_shorten(indices)} could not be prepared"
                return Failure(what, problem, "look at them one by one: dataset[i]")
            if batch is not None:
                return self.finisher.guarded(lambda: batch, number, indices)
        samples = []
        for i in indices.tolist():
            try:
                samples.append(self.dataset.sample(i, self.finisher.key))
            except Exception as problem:
                what = f"sample {i} of the dataset could not be prepared"
                return Failure(what, problem, f"look at it alone: dataset[{i}]")
        collate = self.finisher.collate
        return self.finisher.guarded(lambda: collate(samples, indices), number, indices)


class StreamFetcher:
    """Prepares the next batch of a stream. Called by one thread at a time, in order."""

    def __init__(
        self,
        stream: IterableDataset,
        finisher: Finisher,
        batch_size: int,
        drop_last: bool,
        skip_batches: int,
    ) -> None:
        self.stream, self.finisher = stream, finisher
        self.batch_size, self.drop_last = batch_size, drop_last
        self.skip = skip_batches * batch_size
        self.samples: Iterator[Any] | None = None
        self.count = 0

    def __call__(self, number: int) -> Any:
        samples: list[Any] = []
        try:
            for sample in islice(self._opened(), self.batch_size):
                samples.append(sample)
        except Exception as problem:
            index = self.count + len(samples)
            return Failure(
                f"sample {index} of the stream could not be prepared",
                problem,
                "look at it alone: next(itertools.islice(stream, i, None))",
            )
        first, self.count = self.count, self.count + len(samples)
        if not samples or (self.drop_last and len(samples) < self.batch_size):
            return END
        indices = range(first, self.count)
        collate = self.finisher.collate
        return self.finisher.guarded(lambda: collate(samples, indices), number, indices)

    def _opened(self) -> Iterator[Any]:
        """The stream's iterator, moved past what an earlier walk already handed out."""
        if self.samples is None:
            key = self.finisher.key
            if hasattr(self.stream, "set_epoch"):
                self.stream.set_epoch(self.finisher.epoch)
            self.samples = iter(self.stream.samples(key))
            self.count = sum(1 for _ in islice(self.samples, self.skip))
        return self.samples


def run(fetch: Callable[[Any], Any], jobs: Iterable[Any], threads: int, ahead: int) -> Batches:
    """The batches that `fetch` makes of the jobs, in their order.

    With threads, at most `ahead` batches are under way or waiting. When the walk ends early, what
    has not begun is dropped, and the threads are joined.
    """
    if threads == 0:
        for job in jobs:
            result = fetch(job)
            if result is END:
                return
            yield _checked(result)
        return
    remaining = iter(jobs)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="wengert-loader")
    pending: deque[Future[Any]] = deque(pool.submit(fetch, j) for j in islice(remaining, ahead))
    try:
        while pending:
            result = pending.popleft().result()
            if result is END:
                return
            pending.extend(pool.submit(fetch, job) for job in islice(remaining, 1))
            yield _checked(result)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _checked(result: Any) -> Any:
    if isinstance(result, Failure):
        result.raise_()
    return result
