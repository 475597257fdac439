"""Generators and keys: state, splitting, threads, and what they refuse."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

import wengert as wg
from wengert import random
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, StateError, WengertError


def test_draws_move_the_counter_on():
    g = random.Generator(0)
    a = random.uniform(shape=(9,), generator=g)
    assert int(g.counter) == 2  # 9 halves of words: 5 words, 2 blocks of 4
    b = random.uniform(shape=(9,), generator=g)
    assert not (a == b).numpy().any()
    g.manual_seed(0)
    assert (random.uniform(shape=(9,), generator=g) == a).numpy().all()


def test_a_state_dict_resumes_bitwise():
    g = random.Generator(7)
    random.normal(shape=(5,), generator=g)
    state = g.state_dict()
    expected = random.normal(shape=(50,), generator=g).numpy()
    other = random.Generator(99)
    other.load_state_dict(state)
    assert (random.normal(shape=(50,), generator=other).numpy() == expected).all()
    copied = copy.deepcopy(other)
    assert (
        random.uniform(shape=3, generator=copied).numpy()
        == random.uniform(shape=3, generator=other).numpy()
    ).all()


def test_the_counter_is_a_variable():
    g = random.Generator(0)
    assert isinstance(g.counter, wg.Variable)
    assert g.counter.dtype == wg.uint64


def test_generators_from_the_system_differ():
    a, b = random.Generator(), random.Generator()
    assert a.key.tolist() != b.key.tolist()
    assert a.seed() != b.seed()


def test_split_generators_are_independent():
    g = random.Generator(0)
    first, second = g.split(2), g.spawn(2)
    keys = {tuple(child.key.tolist()) for child in (*first, *second, g)}
    assert len(keys) == 5
    streams = [random.normal(shape=(20_000,), generator=c).numpy() for c in (*first, *second)]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.abs(correlation).max() < 0.03


def test_a_hundred_thousand_split_keys_are_distinct():
    keys = random.split(random.key(0), 100_000).numpy()
    assert len(np.unique(keys, axis=0)) == 100_000
    folded = [tuple(random.fold_in(random.key(0), i).tolist()) for i in range(50)]
    assert len(set(folded) | set(map(tuple, keys.tolist()))) == 100_050


def test_keys_of_neighbouring_seeds_are_unrelated():
    keys = np.stack([random.key(s).numpy() for s in range(300)])
    ones = np.unpackbits((keys[1:] ^ keys[:-1]).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.01
    assert random.key(2**127).tolist() != random.key(0).tolist()


def test_the_default_generator_is_seeded():
    assert random.seed(5) is random.default_generator
    a = random.randn(3).numpy()
    wg.manual_seed(5)
    assert (random.randn(3).numpy() == a).all()
    state = random.get_state()
    b = random.rand(2).numpy()
    random.set_state(state)
    assert (random.rand(2).numpy() == b).all()


def test_threads_share_the_default_generator_without_overlap():
    g = random.Generator(3)
    found = [[] for _ in range(8)]

    def draw(bucket):
        for _ in range(50):
            bucket.append(tuple(g.bits((4,)).tolist()))

    threads = [threading.Thread(target=draw, args=(bucket,)) for bucket in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    drawn = {block for bucket in found for block in bucket}
    g.manual_seed(3)
    assert drawn == {tuple(g.bits((4,)).tolist()) for _ in range(400)}


# -- the functional style ------------------------------------------------------------------------


def test_a_key_gives_the_same_numbers_every_time():
    k = random.key(0)
    assert (random.normal(shape=5, key=k) == random.normal(shape=5, key=k)).numpy().all()
    k1, k2 = random.split(k)
    assert not (random.normal(shape=5, key=k1) == random.normal(shape=5, key=k2)).numpy().any()
    before = int(random.default_generator.counter)
    random.laplace(shape=5, key=k)
    assert int(random.default_generator.counter) == before


def test_several_draws_from_one_key_differ():
    """A distribution that needs two arrays of bits does not use the same bits twice."""
    x = random.laplace(shape=(1000,), dtype=wg.float64, key=random.key(0)).numpy()
    assert abs(x.mean()) < 0.2
    assert x.std() > 1.0


def test_shapes_of_parameters_broadcast():
    mean = wg.asarray([[0.0], [100.0]])
    assert random.normal(mean, wg.ones(3)).shape == (2, 3)
    x = random.normal(mean, 1.0, (4, 2, 3))
    assert x.shape == (4, 2, 3)
    assert x.numpy()[:, 1].min() > 90
    assert random.uniform().shape == ()
    assert random.normal(shape=(0, 3)).shape == (0, 3)
    assert random.normal(wg.asarray(0.0, dtype=wg.float64)).dtype == wg.float64
    assert random.rand_like(wg.zeros((2, 2), dtype=wg.float64)).dtype == wg.float64
    assert random.randn_like(wg.zeros((2, 2))).shape == (2, 2)
    assert random.rand().shape == random.randn(()).shape == ()


# -- bad input -----------------------------------------------------------------------------------

WRONG = [
    (lambda: random.key(-1), ArgumentError, "a seed is from 0 to"),
    (lambda: random.key(1.5), DtypeError, "a seed is an integer"),
    (lambda: random.key(2**128), ArgumentError, "a seed is from 0 to"),
    (lambda: random.fold_in(random.key(0), 2**64), ArgumentError, "takes a number below"),
    (lambda: random.fold_in(random.key(0), -1), ArgumentError, "a seed is from 0"),
    (lambda: random.split(3), DtypeError, "a key is a uint64 tensor of shape"),
    (lambda: random.split(random.key(0), -1), ArgumentError, "nonnegative integer"),
    (lambda: random.normal(key=0), DtypeError, "a key is a uint64 tensor.*wg.random.key"),
    (lambda: random.normal(key=random.split(random.key(0))), DtypeError, "one row of split"),
    (
        lambda: random.normal(key=random.key(0), generator=random.Generator(0)),
        ArgumentError,
        "a key or a generator, not both",
    ),
    (
        lambda: random.normal(generator=np.random.default_rng()),
        DtypeError,
        "takes a wg.random.Generator",
    ),
    (lambda: random.normal(0.0, -1.0), ArgumentError, "std ≥ 0 is needed; got -1.0"),
    (lambda: random.normal(0.0, float("nan")), ArgumentError, "std ≥ 0 is needed"),
    (lambda: random.normal(0.0, wg.asarray([1.0, -2.0])), ArgumentError, "std ≥ 0 is needed"),
    (lambda: random.uniform(2.0, 1.0), ArgumentError, "high - low ≥ 0 is needed"),
    (lambda: random.exponential(-1.0), ArgumentError, "scale ≥ 0"),
    (lambda: random.truncated_normal(lower=1.0, upper=1.0), ArgumentError, "upper - lower > 0"),
    (lambda: random.bernoulli(1.5), ArgumentError, "p ≥ 0 and ≤ 1"),
    (lambda: random.normal(shape=(2, -1)), ShapeError, "a tuple of ints ≥ 0"),
    (lambda: random.normal(shape=2.5), ShapeError, "a tuple of ints ≥ 0"),
    (lambda: random.normal(wg.zeros(3), 1.0, (3, 2)), ShapeError, "do not fit"),
    (lambda: random.normal(wg.zeros(3), wg.ones(2)), ShapeError, "do not fit"),
    (lambda: random.normal(dtype=wg.int32), DtypeError, "the result is floating"),
    (lambda: random.randint(3, 3), ArgumentError, "no integer from low to high"),
    (lambda: random.randint(0.5, 3), DtypeError, "bounds are integers"),
    (lambda: random.randint(3, dtype=wg.float32), DtypeError, "the result is integer"),
    (
        lambda: random.randint(0, 257, dtype=wg.uint8),
        ArgumentError,
        "does not fit uint8; got low=0",
    ),
    (lambda: random.randint(-1, 2, dtype=wg.uint8), ArgumentError, "does not fit uint8"),
    (lambda: random.bits("ab"), DtypeError, r"\[bits\] a size"),
    (lambda: random.permutation(-1), ArgumentError, "not negative"),
    (lambda: random.permutation(wg.zeros(3), axis=1), WengertError, "no such axis"),
    (lambda: random.choice(0, (1,)), ArgumentError, "nothing to choose from"),
    (lambda: random.choice(3, (4,), replace=False), ArgumentError, "more draws than things"),
    (lambda: random.choice(3, p=[0.5, 0.5]), ShapeError, "one probability for each"),
    (lambda: random.choice(2, p=[0.5, -0.5]), ArgumentError, "not negative"),
    (lambda: random.choice(2, (2,), False, p=[1.0, 0.0]), ArgumentError, "enough of them"),
    (lambda: random.categorical(wg.zeros((2, 3)), shape=(3,)), ShapeError, "last axes"),
    (lambda: random.gamma(0.0), ArgumentError, "concentration > 0 is needed"),
    (lambda: random.beta(1.0, -1.0), ArgumentError, "b > 0 is needed"),
    (lambda: random.dirichlet([1.0, 0.0]), ArgumentError, "concentration > 0 is needed"),
    (lambda: random.dirichlet(wg.ones(3), (3, 2)), ShapeError, "ends with the axes"),
    (lambda: random.poisson(-1.0), ArgumentError, "rate ≥ 0 and ≤ 1e"),
    (lambda: random.poisson(float("inf")), ArgumentError, "rate ≥ 0 and ≤ 1e"),
    (lambda: random.orthogonal(0), ArgumentError, "size ≥ 1"),
    (
        lambda: random.multivariate_normal(wg.zeros(3), wg.eye(2)),
        ShapeError,
        "takes a mean .* and a covariance",
    ),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_bad_input(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "state",
    [
        {},
        None,
        {"algorithm": "mt19937", "key": np.zeros(2, np.uint64), "counter": np.uint64(0)},
        {"algorithm": "philox4x64-10", "key": np.zeros(3, np.uint64), "counter": np.uint64(0)},
        {"algorithm": "philox4x64-10", "key": np.zeros(2, np.uint64), "counter": np.float64(0)},
    ],
)
def test_a_bad_state_changes_nothing(state):
    g = random.Generator(1)
    before = g.state_dict()
    with pytest.raises(StateError, match=r"generator|the state is not one of"):
        g.load_state_dict(state)
    after = g.state_dict()
    assert (before["key"] == after["key"]).all()
    assert before["counter"] == after["counter"]
