"""Datasets: anything with a length and samples by number, and streams of samples.

A map-style dataset needs `__len__` and `__getitem__` only. Two more methods are there to be
overridden where it pays: `sample(index, key)` for one that draws random numbers, and
`batch(indices, key)` for one that has a faster way to many samples than one by one.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, BoundsError, DtypeError, ShapeError, WengertError
from wengert.core.tensor import Tensor, as_tensor
from wengert.data.draws import Array, Key
from wengert.random import fold_in

_PARTS = 1000  # from here on, the purposes under which the parts of a ConcatDataset draw


class DataError(WengertError, RuntimeError):
    """A sample that could not be prepared; the message names it, `__cause__` is what went wrong."""


class Dataset:
    """A collection of samples by number. Subclasses define `__len__` and `__getitem__`.

    >>> import wengert as wg
    >>> class Squares(wg.data.Dataset):
    ...     def __len__(self): return 4
    ...     def __getitem__(self, i): return i, i * i
    >>> Squares()[3]
    (3, 9)
    >>> Squares().map(lambda sample: sample[1])[3]
    9
    """

    def __len__(self) -> int:
        raise DtypeError(
            type(self).__name__,
            "the dataset has no length",
            fix="define __len__, or derive from IterableDataset",
        )

    def __getitem__(self, index: int) -> Any:
        raise DtypeError(
            type(self).__name__, "the dataset has no samples", fix="define __getitem__(self, index)"
        )

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def sample(self, index: int, key: Key) -> Any:
        """Sample `index` as it is in the epoch of `key`."""
        return self[index]

    def batch(self, indices: Array, key: Key) -> Any:
        """The samples at `indices` stacked along a new first axis, or None where the dataset has
        no faster way to them than `sample`."""
        return None

    def map(self, f: Callable[..., Any], on: int | str | None = None, batched: bool = False) -> Any:
        """The dataset of `f(sample)`, computed when a sample is asked for.

        `on` applies `f` to that entry of a tuple or dict sample alone; an augmentation is applied
        to entry 0 unless told otherwise. `batched=True` says that `f` works on stacked samples.
        """
        from wengert.data.mapped import MappedDataset

        return MappedDataset(self, f, on, batched)

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, as_dataset(other)])


def check_index(name: str, index: Any, length: int) -> int:
    """A possibly negative index as one in [0, length), or the error of dataset `name`."""
    try:
        i = index.__index__()
    except AttributeError:
        raise BoundsError(
            name,
            "a sample is asked for by an integer",
            met=type(index).__name__,
            fix="pass one number, or take a part with wg.data.Subset(dataset, indices)",
        ) from None
    if not -length <= i < length:
        raise BoundsError(
            name,
            "no such sample",
            met=f"index {i} of {length}",
            fix=f"use an index from {-length} to {length - 1}"
            if length
            else "the dataset is empty",
        )
    return int(i) % length


class ArrayDataset(Dataset):
    """Arrays whose first axes count the samples: `ArrayDataset(x, y)[i] == (x[i], y[i])`.

    Takes ndarrays, tensors and nested lists. The arrays are kept, not copied. `classes` are names
    of the labels, for reports.

    Raises
    ------
    ShapeError
        if the arrays differ in length, or one of them has no axis.

    Examples
    --------
    >>> import wengert as wg
    >>> data = wg.data.ArrayDataset([[1.0], [2.0], [3.0]], [0, 1, 0])
    >>> len(data), data[1]
    (3, (array([2.], dtype=float32), np.int64(1)))
    """

    def __init__(self, *arrays: Any, classes: Sequence[str] | None = None) -> None:
        if not arrays:
            raise ArgumentError("ArrayDataset", "no array was given", fix="pass x, or x and y")
        self.arrays: tuple[Array, ...] = tuple(map(_as_array, arrays))
        self.classes = None if classes is None else tuple(str(c) for c in classes)
        shapes = [a.shape for a in self.arrays]
        if not all(shapes):
            raise ShapeError(
                "ArrayDataset",
                "a 0-d array has no samples",
                met=" and ".join(map(str, shapes)),
                fix="give every array a first axis that counts the samples",
            )
        if len({s[0] for s in shapes}) > 1:
            raise ShapeError(
                "ArrayDataset",
                "the arrays differ in their number of samples",
                met=" and ".join(map(str, shapes)),
                fix="the first axes must be equal",
            )

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        i = check_index("ArrayDataset", index, len(self))
        return tuple(a[i] for a in self.arrays)

    def batch(self, indices: Array, key: Key) -> tuple[Array, ...]:
        return tuple(a[indices] for a in self.arrays)

    def __repr__(self) -> str:
        inside = ", ".join(f"{a.dtype}{list(a.shape)}" for a in self.arrays)
        return f"ArrayDataset({inside})"


TensorDataset = ArrayDataset


def _as_array(x: Any) -> Array:
    if isinstance(x, np.ndarray):
        return x
    return (x if isinstance(x, Tensor) else as_tensor(x)).numpy()


class Subset(Dataset):
    """The samples of a dataset at the given indices, in that order.

    >>> import wengert as wg
    >>> part = wg.data.Subset(wg.data.ArrayDataset([10, 20, 30]), [2, 0])
    >>> [int(x) for x, in part]
    [30, 10]
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset = as_dataset(dataset)
        found = np.asarray(indices)
        if found.size == 0:
            found = found.astype(np.int64)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise ArgumentError(
                "Subset",
                "the indices must be a list of integers",
                met=f"{found.dtype}{list(found.shape)}",
                fix="turn a mask into indices with np.flatnonzero(mask)",
            )
        n = len(self.dataset)
        for bad in found[(found < -n) | (found >= n)][:1]:
            check_index("Subset", bad, n)
        self.indices: Array = np.where(found < 0, found + n, found).astype(np.int64)
        self.classes = getattr(dataset, "classes", None)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[check_index("Subset", index, len(self))])]

    def sample(self, index: int, key: Key) -> Any:
        return self.dataset.sample(int(self.indices[index]), key)

    def batch(self, indices: Array, key: Key) -> Any:
        return self.dataset.batch(self.indices[indices], key)


class ConcatDataset(Dataset):
    """One dataset after the other. `a + b` is the same as `ConcatDataset([a, b])`."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = [as_dataset(d) for d in datasets]
        if not self.datasets:
            raise ArgumentError("ConcatDataset", "no dataset was given", fix="pass at least one")
        self.ends = list(accumulate(len(d) for d in self.datasets))
        self.classes = getattr(self.datasets[0], "classes", None)

    def __len__(self) -> int:
        return self.ends[-1]

    def _place(self, index: int) -> tuple[int, int]:
        """Which dataset holds sample `index`, and under which number."""
        which = bisect.bisect_right(self.ends, index)
        return which, index - (self.ends[which - 1] if which else 0)

    def __getitem__(self, index: int) -> Any:
        which, inside = self._place(check_index("ConcatDataset", index, len(self)))
        return self.datasets[which][inside]

    def sample(self, index: int, key: Key) -> Any:
        which, inside = self._place(index)
        return self.datasets[which].sample(inside, fold_in(key, _PARTS + which))


class IterableDataset:
    """A stream of samples of unknown length. Subclasses define `__iter__`.

    A `DataLoader` walks it in order, in one thread. Where there is a `set_epoch(epoch)` method, it
    is called before each walk.
    """

    def __iter__(self) -> Iterator[Any]:
        raise DtypeError(
            type(self).__name__, "the stream has no samples", fix="define __iter__(self)"
        )

    def samples(self, key: Key) -> Iterator[Any]:
        """The samples as they are in the epoch of `key`."""
        return iter(self)

    def map(self, f: Callable[..., Any], on: int | str | None = None) -> Any:
        """The stream of `f(sample)`; see `Dataset.map`."""
        from wengert.data.mapped import MappedStream

        return MappedStream(self, f, on)


class _Indexable(Dataset):
    """Any object with `__len__` and `__getitem__` as a dataset."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.classes = getattr(source, "classes", None)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self.source[index]


class _Stream(IterableDataset):
    """Any iterable as a stream."""

    def __init__(self, source: Iterable[Any]) -> None:
        self.source = source

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source)


def as_stream(data: Any) -> IterableDataset:
    """`data` as a stream of samples."""
    return data if isinstance(data, IterableDataset) else _Stream(data)


def is_stream(data: Any) -> bool:
    """Whether `data` can only be walked through, and has no samples by number."""
    if isinstance(data, (IterableDataset, Iterator)):
        return True
    return not hasattr(data, "__getitem__") and hasattr(data, "__iter__")


def as_dataset(data: Any) -> Dataset:
    """`data` as a map-style dataset: one already, arrays, a tuple of arrays, or any sequence."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (np.ndarray, Tensor)):
        return ArrayDataset(data)
    if isinstance(data, tuple) and data and all(isinstance(a, (np.ndarray, Tensor)) for a in data):
        return ArrayDataset(*data)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, dict):
        return _Indexable(data)
    raise DtypeError(
        "Dataset",
        "not a dataset",
        met=type(data).__name__,
        fix="pass arrays (x, y), a sequence of samples, or an object with __len__ and __getitem__",
    )
