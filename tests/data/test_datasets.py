"""Datasets: arrays, parts, concatenation, maps, streams; and their errors."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import wengert as wg
from wengert import data
from wengert.errors import ArgumentError, BoundsError, DtypeError, ShapeError


class Squares(data.Dataset):
    def __init__(self, n=6):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return np.float32(i), i * i


def values(dataset):
    return [int(sample[1]) for sample in dataset]


def test_array_dataset_takes_arrays_tensors_and_lists():
    x = np.arange(6.0).reshape(3, 2)
    dataset = data.ArrayDataset(x, wg.asarray([1, 2, 3]), [True, False, True])
    assert len(dataset) == 3
    first, second, third = dataset[-1]
    np.testing.assert_array_equal(first, [4.0, 5.0])
    assert (second, bool(third)) == (3, True)
    assert dataset.arrays[0] is x, "arrays are not copied"
    assert repr(dataset) == "ArrayDataset(float64[3, 2], int64[3], bool[3])"


def test_subset_and_concat_and_iteration():
    part = data.Subset(Squares(), [5, 0, -2])
    assert values(part) == [25, 0, 16]
    both = part + Squares(2)
    assert values(both) == [25, 0, 16, 0, 1]
    assert len(both) == 5
    assert int(both[-1][1]) == 1
    nested = data.Subset(both, np.array([4, 1]))
    assert values(nested) == [1, 0]


def test_plain_sequences_are_datasets():
    assert values(data.ConcatDataset([[(0, 1), (0, 2)], [(0, 3)]])) == [1, 2, 3]


def test_map_on_samples_entries_and_batches():
    squares = Squares()
    assert squares.map(lambda s: s[1] + 1)[3] == 10
    assert squares.map(lambda y: -y, on=1)[3] == (3.0, -9)
    doubled = data.ArrayDataset(np.arange(4)).map(lambda batch: (batch[0] * 2,), batched=True)
    assert doubled[3] == (6,)
    key = wg.random.key(0)
    np.testing.assert_array_equal(doubled.batch(np.array([1, 3]), key)[0], [2, 6])
    assert squares.map(lambda s: s).batch(np.array([0]), key) is None


def test_map_keeps_the_container():
    Pair = namedtuple("Pair", "x y")
    named = data.ConcatDataset([[Pair(1, 2)]]).map(lambda v: v * 10, on=0)
    assert named[0] == Pair(10, 2)
    assert isinstance(named[0], Pair)
    assert data.ConcatDataset([[{"a": 1, "b": 2}]]).map(lambda v: -v, on="b")[0] == {
        "a": 1,
        "b": -2,
    }
    assert data.ConcatDataset([[[1, 2]]]).map(lambda v: -v, on=1)[0] == [1, -2]


def test_maps_compose_in_order():
    mapped = Squares().map(lambda s: s[1]).map(lambda v: v + 1).map(str)
    assert mapped[2] == "5"


def test_classes_travel_with_parts():
    dataset = data.ArrayDataset([0.0, 1.0], [0, 1], classes=["no", "yes"])
    assert data.Subset(dataset, [1]).classes == ("no", "yes")
    assert dataset.map(lambda s: s).classes == ("no", "yes")


def test_streams_and_their_maps():
    class Count(data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    assert list(Count().map(lambda v: v * v)) == [0, 1, 4]


def _wrong_map_entry():
    return Squares().map(lambda v: v, on=7)[0]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: data.ArrayDataset(), ArgumentError, "no array was given"),
        (lambda: data.ArrayDataset([1, 2], [1]), ShapeError, r"differ in their number.*\(2,\)"),
        (lambda: data.ArrayDataset(np.float32(1)), ShapeError, "0-d array has no samples"),
        (lambda: data.ArrayDataset([1, 2])[2], BoundsError, "index 2 of 2; fix: use an index"),
        (lambda: data.ArrayDataset([1, 2])["a"], BoundsError, "asked for by an integer; got str"),
        (lambda: Squares().map(lambda s: s)[9], BoundsError, "index 9 of 6"),
        (lambda: data.Subset(Squares(), [6]), BoundsError, "index 6 of 6"),
        (lambda: data.Subset(Squares(), [0.5]), ArgumentError, "must be a list of integers"),
        (lambda: data.Subset(Squares(), [True, False]), ArgumentError, "np.flatnonzero"),
        (lambda: data.ConcatDataset([]), ArgumentError, "no dataset was given"),
        (lambda: data.Subset(3, [0]), DtypeError, "not a dataset; got int"),
        (lambda: data.Dataset()[0], DtypeError, "define __getitem__"),
        (lambda: len(data.Dataset()), DtypeError, "define __len__"),
        (lambda: iter(data.IterableDataset()), DtypeError, "define __iter__"),
        (lambda: Squares().map(3), ArgumentError, "must be callable; got int"),
        (_wrong_map_entry, ArgumentError, "no such entry; got on=7 for a sample of type tuple"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_an_error_inside_a_map_is_not_taken_for_a_missing_entry():
    mapped = Squares().map(lambda v: {}["missing"], on=0)
    with pytest.raises(KeyError, match="missing"):
        mapped[0]
