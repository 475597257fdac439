"""Splits and samplers: partitions, shares of classes, determinism, distributions, errors."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from wengert import data
from wengert.data.draws import epoch_key
from wengert.errors import ArgumentError, BoundsError, ShapeError


def labelled(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    return data.ArrayDataset(np.arange(len(y)), y)


def numbers(part):
    return [int(sample[0]) for sample in part]


def test_random_split_is_a_partition_and_depends_on_the_seed_only():
    dataset = labelled([50, 51])
    parts = data.random_split(dataset, [0.5, 0.3, 0.2], seed=1)
    assert [len(p) for p in parts] == [51, 30, 20]
    assert sorted(chain(*map(numbers, parts))) == list(range(101))
    again = data.random_split(dataset, [0.5, 0.3, 0.2], seed=1)
    assert list(map(numbers, parts)) == list(map(numbers, again))
    other = data.random_split(dataset, [0.5, 0.3, 0.2], seed=2)
    assert list(map(numbers, parts)) != list(map(numbers, other))
    assert [len(p) for p in data.random_split(dataset, [100, 1])] == [100, 1]


def test_stratified_split_keeps_the_shares():
    dataset = labelled([70, 20, 11])
    train, held_out = data.train_test_split(dataset, 0.2, seed=3, stratify=True)
    counts = np.bincount([int(y) for _, y in held_out])
    np.testing.assert_array_equal(counts, [14, 4, 2])
    assert sorted(numbers(train) + numbers(held_out)) == list(range(101))
    plain_train, plain = data.train_test_split(dataset, 10, seed=3)
    assert (len(plain_train), len(plain)) == (91, 10)
    by_array = data.train_test_split(range(101), 0.2, seed=3, stratify=dataset.arrays[1])
    np.testing.assert_array_equal(by_array[1].indices, held_out.indices)
    # Labels are found below parts and maps too.
    inner = data.Subset(dataset, np.arange(100)).map(lambda s: s)
    assert len(data.train_test_split(inner, 0.2, stratify=True)[1]) == 20


@pytest.mark.parametrize("stratify", [False, True])
def test_k_fold_uses_each_sample_once(stratify):
    dataset = labelled([30, 13])
    folds = list(data.k_fold(dataset, 4, stratify=stratify))
    assert sorted(chain(*(numbers(v) for _, v in folds))) == list(range(43))
    for train, held_out in folds:
        assert sorted(numbers(train) + numbers(held_out)) == list(range(43))
        if stratify:
            ones = sum(int(y) for _, y in held_out)
            assert ones in (3, 4)


def test_samplers():
    sequential, shuffled = data.SequentialSampler(range(9)), data.RandomSampler(range(9))
    assert list(sequential) == list(range(9))
    orders = [shuffled.order(epoch_key(0, e)).tolist() for e in range(3)]
    assert all(sorted(o) == list(range(9)) for o in orders)
    assert len({tuple(o) for o in orders}) == 3
    assert orders[1] == shuffled.order(epoch_key(0, 1)).tolist()


def test_random_order_is_uniform():
    counts = np.zeros((4, 4))
    sampler = data.RandomSampler(range(4))
    for epoch in range(2000):
        counts[np.arange(4), sampler.order(epoch_key(5, epoch))] += 1
    # Each entry is binomial(2000, 1/4): standard deviation 19.4; five of them are never exceeded.
    assert abs(counts - 500).max() < 97


def test_weighted_sampler_follows_the_weights():
    order = data.WeightedSampler([1.0, 0.0, 3.0], 8000).order(epoch_key(1))
    counts = np.bincount(order, minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] - 6000) < 5 * np.sqrt(8000 * 0.75 * 0.25)


def test_weighted_sampler_without_replacement():
    sampler = data.WeightedSampler([1.0, 0.0, 3.0, 1.0], 2, replacement=False)
    first = np.array([sampler.order(epoch_key(1, e)) for e in range(4000)])
    assert not (first == 1).any()
    assert (first[:, 0] != first[:, 1]).all()
    share = (first[:, 0] == 2).mean()  # the first of all is drawn in proportion to the weights
    assert abs(share - 0.6) < 5 * np.sqrt(0.6 * 0.4 / 4000)


def test_batch_sampler():
    batches = data.BatchSampler(data.SequentialSampler(range(7)), 3)
    assert [b.tolist() for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    dropping = data.BatchSampler(data.SequentialSampler(range(7)), 3, drop_last=True)
    assert [b.tolist() for b in dropping] == [[0, 1, 2], [3, 4, 5]]
    assert (len(batches), len(dropping)) == (3, 2)
    assert [b.tolist() for b in data.BatchSampler([4, 2, 0], 2)] == [[4, 2], [0]]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: data.random_split(range(4), [0.5, 0.4]), ArgumentError, r"\[0.5, 0.4\] for 4"),
        (lambda: data.random_split(range(4), [2, 3]), ArgumentError, "add up to the length"),
        (lambda: data.random_split(range(4), []), ArgumentError, "must be fractions"),
        (lambda: data.train_test_split(range(4), 0.01), ArgumentError, "at least one sample"),
        (lambda: data.train_test_split(range(4), 4), ArgumentError, "test=4 of 4"),
        (
            lambda: data.train_test_split(range(4), 0.5, stratify=[0, 1]),
            ShapeError,
            r"labels of shape \(2,\) for 4 samples",
        ),
        (
            lambda: data.train_test_split(range(4), 0.5, stratify=[0.1, 0.2, 0.3, 0.4]),
            ArgumentError,
            "look continuous",
        ),
        (lambda: data.train_test_split(range(4), 0.5, stratify=True), ArgumentError, "no label"),
        (lambda: data.k_fold(range(4), 5), ArgumentError, "k=5 for 4 samples"),
        (lambda: data.WeightedSampler([-1.0, 2.0], 1), ArgumentError, "finite numbers ≥ 0"),
        (lambda: data.WeightedSampler([np.nan, 2.0], 1), ArgumentError, "finite numbers ≥ 0"),
        (lambda: data.WeightedSampler([], 1), ArgumentError, "no weight"),
        (lambda: data.WeightedSampler([1.0], 0), ArgumentError, "num_samples=0"),
        (lambda: data.WeightedSampler([1.0, 0.0], 2, False), ArgumentError, "of 1 with a weight"),
        (lambda: data.BatchSampler(range(3), 0), ArgumentError, "at least 1; got 0"),
        (lambda: list(data.BatchSampler([0.5], 1)), BoundsError, "must give integers"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
