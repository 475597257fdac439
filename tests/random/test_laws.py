"""Draws against the laws that they should follow, by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import wengert as wg
from wengert import random

LAWS = {
    "uniform": (lambda **k: random.uniform(-2.0, 3.0, **k), stats.uniform(-2, 5)),
    "normal": (lambda **k: random.normal(1.0, 2.0, **k), stats.norm(1, 2)),
    "lognormal": (lambda **k: random.lognormal(0.5, 0.7, **k), stats.lognorm(0.7, 0, np.exp(0.5))),
    "truncated": (
        lambda **k: random.truncated_normal(1.0, 2.0, -1.0, 2.5, **k),
        stats.truncnorm(-1, 2.5, 1, 2),
    ),
    "exponential": (lambda **k: random.exponential(3.0, **k), stats.expon(0, 3)),
    "laplace": (lambda **k: random.laplace(1.0, 2.0, **k), stats.laplace(1, 2)),
    "gumbel": (lambda **k: random.gumbel(1.0, 2.0, **k), stats.gumbel_r(1, 2)),
    "logistic": (lambda **k: random.logistic(1.0, 2.0, **k), stats.logistic(1, 2)),
    "cauchy": (lambda **k: random.cauchy(1.0, 2.0, **k), stats.cauchy(1, 2)),
    "gamma": (lambda **k: random.gamma(2.5, 3.0, **k), stats.gamma(2.5, scale=3)),
    "gamma of a small shape": (lambda **k: random.gamma(0.3, **k), stats.gamma(0.3)),
    "gamma of a large shape": (lambda **k: random.gamma(1e4, **k), stats.gamma(1e4)),
    "beta": (lambda **k: random.beta(0.5, 2.0, **k), stats.beta(0.5, 2)),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dtype", [wg.float32, wg.float64])
def test_law(law, dtype):
    draw, expected = LAWS[law]
    x = draw(shape=(30, 1000), dtype=dtype, key=random.key(11)).numpy().astype(np.float64)
    assert stats.kstest(x.ravel(), expected.cdf).pvalue > 1e-3
    if law != "cauchy":
        error = expected.std() / x.size**0.5
        assert abs(x.mean() - expected.mean()) < 4 * error


def chi_square(counts, probabilities):
    counts = np.asarray(counts)
    return stats.chisquare(counts, counts.sum() * np.asarray(probabilities)).pvalue


def test_bernoulli_law():
    for p in (0.0, 0.25, 0.5, 1.0):
        hits = random.bernoulli(p, (40_000,), key=random.key(1)).numpy()
        assert hits.dtype == bool
        assert abs(hits.mean() - p) <= 4 * (p * (1 - p) / hits.size) ** 0.5
    p = wg.asarray([0.0, 0.2, 1.0])
    hits = random.bernoulli(p, (20_000, 3), dtype=wg.float32, key=random.key(2)).numpy()
    assert hits.dtype == np.float32
    assert hits[:, 0].max() == 0
    assert hits[:, 2].min() == 1
    assert abs(hits[:, 1].mean() - 0.2) < 0.012


@pytest.mark.parametrize("rate", [0.1, 3.0, 9.9, 10.0, 40.0, 1e4])
def test_poisson_law(rate):
    x = random.poisson(rate, (40_000,), key=random.key(1)).numpy()
    assert x.dtype == np.int64
    law = stats.poisson(rate)
    edges = np.unique(law.ppf(np.linspace(0.02, 0.98, 15))).astype(int)
    counts = np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1)
    below = np.concatenate([[0.0], law.cdf(edges), [1.0]])
    assert chi_square(counts, np.diff(below)) > 1e-3


def test_poisson_of_several_rates():
    x = random.poisson(wg.asarray([0.0, 5.0, 500.0]), (5000, 3), key=random.key(1)).numpy()
    assert (x[:, 0] == 0).all()
    assert np.abs(x.mean(0) - [0.0, 5.0, 500.0]).max() < 1.5


def test_dirichlet_law():
    alpha = np.array([0.2, 1.0, 3.0])
    p = random.dirichlet(alpha, (20_000, 3), key=random.key(1)).numpy()
    assert np.abs(p.sum(-1) - 1).max() < 1e-12
    for i in range(3):
        law = stats.beta(alpha[i], alpha.sum() - alpha[i])
        assert stats.kstest(p[:, i], law.cdf).pvalue > 1e-3
    tiny = random.dirichlet(np.full(4, 1e-4), (100, 4), key=random.key(2)).numpy()
    assert np.isfinite(tiny).all()
    columns = random.dirichlet(wg.ones((3, 2)), axis=0, key=random.key(3)).numpy()
    assert columns.sum(0) == pytest.approx([1.0, 1.0])


def test_randint_law():
    x = random.randint(-3, 5, (40_000,), key=random.key(1)).numpy()
    assert x.dtype == np.int64
    assert chi_square(np.bincount(x + 3), np.full(8, 1 / 8)) > 1e-3
    wide = random.randint(-(2**63), 2**63 - 1, (1000,), key=random.key(1)).numpy()
    assert wide.min() < -(2**62)
    assert wide.max() > 2**62
    for low, high, dtype in [(-(2**63), 2**63, wg.int64), (0, 2**64 - 1, wg.uint64)]:
        x = random.randint(low, high, (1000,), dtype=dtype, key=random.key(1)).numpy()
        assert len(np.unique(x)) == 1000
        assert abs(float(np.mean(x / 2**64)) - (0.5 if low == 0 else 0.0)) < 0.05
    assert random.randint(0, 256, (9,), dtype=wg.uint8).dtype == wg.uint8
    each = random.randint(wg.asarray([0, 10]), wg.asarray([1, 11]), (5, 2), dtype=wg.int8)
    assert each.tolist() == [[0, 10]] * 5
    assert each.dtype == wg.int8


def test_rademacher_law():
    x = random.rademacher((10_000,), key=random.key(1)).numpy()
    assert sorted(set(x.tolist())) == [-1.0, 1.0]
    assert abs(x.mean()) < 0.04


def test_permutations_are_equally_likely():
    keys = random.split(random.key(4), 6000)
    orders = wg.vmap(lambda k: random.permutation(3, key=k))(keys).numpy()
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert chi_square(counts, np.full(6, 1 / 6)) > 1e-3


def test_permutation_of_an_array_moves_slices():
    x = wg.arange(12).reshape(3, 4)
    moved = random.permutation(x, axis=1, key=random.key(0)).numpy()
    assert sorted(moved.T.tolist()) == x.numpy().T.tolist()
    assert random.permutation(0).shape == (0,)
    assert random.randperm(5).shape == (5,)


def test_choice_law():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    x = random.choice(4, (30_000,), p=p, key=random.key(1)).numpy()
    assert chi_square(np.bincount(x), p) > 1e-3
    x = random.choice(4, (30_000,), key=random.key(1)).numpy()
    assert chi_square(np.bincount(x), np.full(4, 0.25)) > 1e-3


def test_choice_without_replacement():
    assert sorted(random.choice(5, (5,), replace=False).tolist()) == [0, 1, 2, 3, 4]
    keys = random.split(random.key(3), 6000)
    p = np.array([0.5, 0.3, 0.2])
    pairs = wg.vmap(lambda k: random.choice(3, (2,), replace=False, p=p, key=k))(keys).numpy()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert chi_square(np.bincount(pairs[:, 0]), p) > 1e-3
    second = np.bincount(pairs[pairs[:, 0] == 0, 1], minlength=3)[1:]
    assert chi_square(second, [0.6, 0.4]) > 1e-3


def test_choice_takes_slices_along_an_axis():
    x = wg.arange(6).reshape(2, 3)
    taken = random.choice(x, (4,), axis=1, p=[0.0, 0.0, 1.0])
    assert taken.tolist() == [[2] * 4, [5] * 4]


def test_categorical_law():
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    x = random.categorical(wg.asarray(np.log(p)), shape=(20_000, 2), key=random.key(1)).numpy()
    assert chi_square(np.bincount(x[:, 0]), p[0]) > 1e-3
    assert chi_square(np.bincount(x[:, 1]), p[1]) > 1e-3
    never = random.categorical(wg.asarray([-np.inf, 0.0]), shape=(50,))
    assert never.numpy().min() == 1


def test_orthogonal_is_uniform_under_rotations():
    q = random.orthogonal(3, (4000,), dtype=wg.float64, key=random.key(1)).numpy()
    assert np.abs(q.transpose(0, 2, 1) @ q - np.eye(3)).max() < 1e-12
    # An entry of a random rotation of 3-space is uniform in [-1, 1] (Archimedes).
    assert stats.kstest(q[:, 2, 1], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    wide = random.orthogonal(2, m=5, key=random.key(1)).numpy()
    assert np.abs(wide @ wide.T - np.eye(2)).max() < 1e-5


def test_multivariate_normal_has_its_moments():
    mean, cov = np.array([1.0, -1.0]), np.array([[2.0, 0.6], [0.6, 0.5]])
    x = random.multivariate_normal(mean, cov, (50_000,), key=random.key(1)).numpy()
    assert np.abs(x.mean(0) - mean).max() < 0.03
    assert np.abs(np.cov(x.T) - cov).max() < 0.04
    batched = random.multivariate_normal(np.zeros((4, 2)), cov)
    assert batched.shape == (4, 2)
