"""DataLoader: order, threads, resuming, collation, streams, errors."""

from __future__ import annotations

import threading
from collections import namedtuple

import numpy as np
import pytest

import wengert as wg
from wengert import data
from wengert.errors import ArgumentError, BoundsError, DtypeError, ShapeError, StateError


class Slow(data.Dataset):
    """Samples one by one, with what a thread would trip over: some samples take longer."""

    def __init__(self, n=23, fail_at=None):
        self.n, self.fail_at = n, fail_at
        self.asked = []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.asked.append(i)
        if i == self.fail_at:
            raise ValueError("a broken file")
        if i % 5 == 0:
            threading.Event().wait(0.002)
        return np.full(3, i, np.float32), i


NOISY = data.ArrayDataset(np.zeros((23, 1, 4, 4)), np.arange(23)).map(
    data.Compose([data.GaussianNoise(1.0), data.RandomCrop(4, padding=1)])
)


def walk(loader):
    return [[part.numpy().copy() for part in batch] for batch in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        for p, q in zip(x, y, strict=True):
            np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("dataset", [Slow(), NOISY, data.Subset(NOISY, np.arange(20))])
def test_workers_and_prefetch_change_nothing(dataset):
    def epochs(**options):
        loader = data.DataLoader(dataset, 4, shuffle=True, seed=7, **options)
        return walk(loader) + walk(loader)

    expected = epochs()
    for workers, prefetch in ((1, 1), (3, 2), (8, 4)):
        assert_same(epochs(num_workers=workers, prefetch=prefetch), expected)
    first, second = expected[: len(expected) // 2], expected[len(expected) // 2 :]
    assert sorted(np.concatenate([b[1] for b in first])) == list(range(len(dataset)))
    assert [b[1].tolist() for b in first] != [b[1].tolist() for b in second]


def test_an_augmentation_depends_on_the_sample_not_on_its_batch():
    small = data.DataLoader(NOISY, 1, seed=1)
    large = data.DataLoader(NOISY, 23, seed=1)
    one_by_one = np.concatenate([x for x, _ in walk(small)])
    np.testing.assert_array_equal(one_by_one, walk(large)[0][0])
    # And differs from epoch to epoch, and from seed to seed.
    assert not np.array_equal(walk(large)[0][0], one_by_one)
    assert not np.array_equal(walk(data.DataLoader(NOISY, 23, seed=2))[0][0], one_by_one)


def test_the_slow_and_the_fast_way_give_the_same():
    fast = walk(data.DataLoader(NOISY, 5, seed=3))
    slow = walk(data.DataLoader(NOISY, 5, seed=3, collate_fn=data.stack))
    assert_same(fast, slow)


def test_lengths_and_last_batches():
    x = np.arange(10)
    sizes = [len(b[0]) for b in data.DataLoader((x,), 4)]
    assert sizes == [4, 4, 2]
    dropping = data.DataLoader((x,), 4, drop_last=True)
    assert [len(b[0]) for b in dropping] == [4, 4]
    assert len(dropping) == 2
    assert len(data.DataLoader((x,), 4)) == 3


def test_batches_are_tensors_of_the_same_dtypes():
    arrays = (np.zeros((4, 2)), np.zeros(4, np.int32), np.zeros(4, np.float16), np.zeros(4, bool))
    (batch,) = data.DataLoader(arrays, 4)
    assert [type(t) for t in batch] == [wg.Tensor] * 4
    assert [t.dtype for t in batch] == [wg.float64, wg.int32, wg.float16, wg.bool]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_resuming_in_the_middle_of_an_epoch_is_exact(workers, stop):
    def fresh(seed=5):
        return data.DataLoader(NOISY, 4, shuffle=True, seed=seed, num_workers=workers)

    straight = fresh()
    expected = walk(straight) + walk(straight)

    stopped = fresh()
    got = []
    batches = iter(stopped)
    for _ in range(stop):
        got.append([p.numpy().copy() for p in next(batches)])
    state = stopped.state_dict()
    assert state["position"] == stop
    batches.close()

    resumed = fresh(seed=99)  # the stored seed wins
    resumed.load_state_dict(state)
    got += walk(resumed) + walk(resumed)
    assert_same(got, expected)
    assert resumed.epoch == 2


def test_an_epoch_that_was_left_early_starts_over():
    loader = data.DataLoader((np.arange(6),), 2, shuffle=True, seed=0)
    first = next(iter(loader))[0].tolist()
    assert loader.epoch == 0
    assert walk(loader)[0][0].tolist() == first
    assert loader.epoch == 1
    loader.set_epoch(0)
    assert walk(loader)[0][0].tolist() == first


def test_state_holds_across_a_finished_epoch():
    loader = data.DataLoader((np.arange(6),), 2, shuffle=True, seed=0)
    walk(loader)
    other = data.DataLoader((np.arange(6),), 2, shuffle=True, seed=4)
    other.load_state_dict(loader.state_dict())
    assert_same(walk(other), walk(loader))


def test_seeds_come_from_the_generator_unless_given():
    def seed(**options):
        return data.DataLoader((np.arange(6),), 2, **{"shuffle": True, **options}).seed

    assert seed(shuffle=False) == 0
    wg.random.seed(3)
    first = seed()
    wg.random.seed(3)
    assert seed() == first
    assert seed() != first
    own = [seed(generator=wg.random.Generator(1), shuffle=s) for s in (True, False)]
    assert own[0] == own[1] != 0


def test_samplers_and_batch_samplers():
    x = np.arange(6)
    assert [b[0].tolist() for b in data.DataLoader((x,), 2, sampler=[5, 3, 1])] == [[5, 3], [1]]
    weighted = data.WeightedSampler([0, 0, 1, 0, 0, 0], 4)
    assert [b[0].tolist() for b in data.DataLoader((x,), 4, sampler=weighted)] == [[2] * 4]
    loader = data.DataLoader((x,), batch_sampler=[[0], [1, 2, 3]])
    assert [b[0].tolist() for b in loader] == [[0], [1, 2, 3]]
    assert len(loader) == 2


# -- collating ----------------------------------------------------------------------------------


def test_collating_nested_samples():
    Pair = namedtuple("Pair", "a b")
    samples = [
        {"x": Pair(1, [2.0, "s"]), "n": None, "t": wg.asarray([i, i]), "flag": i == 1}
        for i in range(2)
    ]
    (batch,) = data.DataLoader(samples, 2)
    assert isinstance(batch["x"], Pair)
    assert batch["x"].a.tolist() == [1, 1]
    assert batch["x"].b[0].dtype == wg.float32
    assert batch["x"].b[1] == ["s", "s"]
    assert batch["n"] == [None, None]
    assert batch["t"].tolist() == [[0, 0], [1, 1]]
    assert batch["flag"].dtype == wg.bool


def test_own_collate_function_and_batch_transform():
    loader = data.DataLoader([[1], [2, 3]], 2, collate_fn=lambda samples: [len(s) for s in samples])
    assert list(loader) == [[1, 2]]
    loader = data.DataLoader((np.arange(4.0),), 2, batch_transform=lambda b: (b[0] * 10,))
    assert [b[0].tolist() for b in loader] == [[0.0, 10.0], [20.0, 30.0]]


def test_mixing_is_reproducible_and_independent_of_threads():
    images, labels = np.random.default_rng(0).normal(size=(12, 1, 6, 6)), np.arange(12) % 3
    for mixing in (data.Mixup(0.4, 3), data.CutMix(1.0, 3)):

        def batches(workers, mixing=mixing):
            loader = data.DataLoader(
                (images, labels), 4, seed=2, batch_transform=mixing, num_workers=workers
            )
            return walk(loader)

        plain = batches(0)
        assert_same(batches(2), plain)
        for x, y in plain:
            assert x.shape == (4, 1, 6, 6)
            np.testing.assert_allclose(y.sum(1), 1.0, rtol=1e-6)


# -- streams ------------------------------------------------------------------------------------


class Stream(data.IterableDataset):
    def __init__(self, n=10):
        self.n, self.epoch = n, None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return (np.array([self.epoch, i]) for i in range(self.n))


@pytest.mark.parametrize("workers", [0, 3])
def test_streams(workers):
    loader = data.DataLoader(Stream(), 4, num_workers=workers)
    batches = [b.tolist() for b in loader]
    assert [len(b) for b in batches] == [4, 4, 2]
    assert batches[2] == [[0, 8], [0, 9]]
    assert next(iter(loader)).tolist()[0] == [1, 0]
    dropping = data.DataLoader(Stream(), 4, drop_last=True, num_workers=workers)
    assert [len(b) for b in dropping] == [4, 4]
    assert [b.tolist() for b in data.DataLoader((i for i in range(3)), 2)] == [[0, 1], [2]]


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_resume(workers):
    stream = Stream().map(lambda v: v * 2)
    loader = data.DataLoader(stream, 3, num_workers=workers)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest = [b.tolist() for b in batches]
    other = data.DataLoader(Stream().map(lambda v: v * 2), 3, num_workers=workers)
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == rest


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_failing_sample_is_named_and_its_cause_kept(workers):
    loader = data.DataLoader(Slow(fail_at=13), 4, num_workers=workers)
    seen = []
    with pytest.raises(
        data.DataError, match=r"sample 13 of the dataset.*ValueError: a broken file"
    ) as caught:
        seen.extend(loader)
    assert len(seen) == 3, "the batches before it are handed out"
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.site.file == __file__
    assert loader.epoch == 0


def test_a_failing_stream_is_named():
    def numbers():
        yield 1
        raise ValueError("the line broke")

    with pytest.raises(data.DataError, match=r"sample 1 of the stream.*the line broke"):
        list(data.DataLoader(numbers(), 2, num_workers=1))


def test_leaving_early_joins_the_threads_and_prepares_no_more():
    dataset = Slow(400)
    loader = data.DataLoader(dataset, 2, num_workers=2, prefetch=3)
    batches = iter(loader)
    next(batches)
    batches.close()
    asked = len(dataset.asked)
    assert asked <= 2 * (1 + 2 * 3), "no more than the bounded queue was prepared"
    names = [t.name for t in threading.enumerate()]
    assert not any(n.startswith("wengert-loader") for n in names)
    threading.Event().wait(0.02)
    assert len(dataset.asked) == asked


def test_prefetch_is_bounded():
    dataset = Slow(200)
    batches = iter(data.DataLoader(dataset, 1, num_workers=2, prefetch=2))
    for _ in range(3):
        next(batches)
    threading.Event().wait(0.1)
    assert len(dataset.asked) <= 3 + 2 * 2
    batches.close()


EMPTY = data.ArrayDataset(np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: data.DataLoader(EMPTY), ArgumentError, "the dataset is empty"),
        (lambda: data.DataLoader([1], seed="a"), DtypeError, "seed must be an integer; got 'a'"),
        (lambda: data.DataLoader([]), ArgumentError, "the dataset is empty"),
        (lambda: data.DataLoader([1, 2], 3, drop_last=True), ArgumentError, "there is no batch"),
        (lambda: data.DataLoader([1], sampler=[]), ArgumentError, "there is no batch; got 0 samp"),
        (lambda: data.DataLoader([1], 0), ArgumentError, "batch size must be an integer"),
        (lambda: data.DataLoader([1], 2.5), ArgumentError, "at least 1; got 2.5"),
        (lambda: data.DataLoader([1], num_workers=-1), ArgumentError, "num_workers=-1"),
        (lambda: data.DataLoader([1], prefetch=0), ArgumentError, "prefetch=0"),
        (lambda: data.DataLoader([1], shuffle=True, sampler=[0]), ArgumentError, "choose one"),
        (lambda: data.DataLoader(Stream(), shuffle=True), ArgumentError, "read in its own order"),
        (lambda: len(data.DataLoader(Stream())), DtypeError, "no known number of batches"),
        (lambda: data.DataLoader(5), DtypeError, "not a dataset; got int"),
        (lambda: list(data.DataLoader([1], sampler=[3])), data.DataError, "index 3"),
        (lambda: list(data.DataLoader([1], sampler=["a"])), BoundsError, "must give integers"),
        (
            lambda: list(data.DataLoader([[1.0], [1.0, 2.0]], 2)),
            data.DataError,
            r"samples 0, 1.*a list of 1 in dataset\[0\], a list of 2 in dataset\[1\]",
        ),
        (
            lambda: list(data.DataLoader([np.zeros(2), np.zeros(3)], 2)),
            data.DataError,
            r"cannot be stacked; got \(2,\) in dataset\[0\], \(3,\) in dataset\[1\]",
        ),
        (lambda: data.stack([{1}, {2}]), DtypeError, "cannot be stacked; got set"),
        (lambda: data.stack([(1,), 2]), ShapeError, "a tuple of 1 in sample 0.*int in sample 1"),
        (lambda: data.stack([{"a": 1}, {"b": 1}]), ShapeError, r"a dict with \['a'\]"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_state_that_does_not_fit_changes_nothing():
    loader = data.DataLoader((np.arange(6),), 2, shuffle=True, seed=1)
    before = loader.state_dict()
    good = dict(before, epoch=3, position=1)
    for bad, match in (
        ({}, "incomplete; got no batch_size, epoch"),
        (dict(good, length=7), "another length; got 7, this loader has 6"),
        (dict(good, batch_size=3), "another batch size; got 3"),
        (dict(good, position="x"), "must be whole numbers"),
        (dict(good, epoch=-1), "must be whole numbers"),
    ):
        with pytest.raises(StateError, match=match):
            loader.load_state_dict(bad)
        assert loader.state_dict() == before
    loader.load_state_dict(good)
    assert loader.state_dict() == good
