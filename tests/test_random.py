"""Random numbers: bits against NumPy's Philox, laws against SciPy, and what transforms make of
draws."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
from scipy import special, stats

import wengert as wg
from wengert import random
from wengert.core.errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    StateError,
    TraceError,
    WengertError,
)
from wengert.ops.random import DRAW, SPLIT, philox, random_bits


def tensor(*values, dtype=np.uint64):
    return wg.asarray(np.array(values, dtype))


def words(key, counter, domain, count):
    """The stream as NumPy's own generator makes it; it counts up before each block."""
    number = int(key[0]) + (int(key[1]) << 64)
    start = ((domain << 192) + counter - 1) % 2**256
    return np.random.Philox(key=number, counter=start).random_raw(count)


def bits(key, counter, shape, dtype=np.uint64, domain=DRAW):
    return random_bits(key, counter, shape=shape, dtype=np.dtype(dtype), domain=domain).numpy()


@pytest.fixture(autouse=True)
def _same_start():
    before = random.get_state()
    random.seed(1234)
    yield
    random.set_state(before)


# -- bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [0, 1, 5, 2**63, 2**64 - 2])
@pytest.mark.parametrize("domain", [DRAW, SPLIT])
def test_bits_are_those_of_numpy(counter, domain):
    key = tensor(0x1234567890ABCDEF, 42)
    start = wg.asarray(np.array(counter, np.uint64))
    for count in (1, 3, 4, 7, 40):
        expected = words(key.numpy(), counter, domain, count)
        assert (bits(key, start, (count,), domain=domain) == expected).all()


def test_known_answer_of_the_published_implementation():
    """The first vector of Random123's test file: key and counter zero."""
    zero = np.zeros(1, np.uint64)
    block = philox(np.zeros((1, 2), np.uint64), zero, zero, 0)[0]
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert block.tolist() == expected


def test_halves_of_a_word_come_low_first():
    key, zero = random.key(5), wg.asarray(np.array(0, np.uint64))
    full, half = bits(key, zero, (4,)), bits(key, zero, (7,), np.uint32)
    expected = np.stack([full & 0xFFFFFFFF, full >> 32], axis=1).ravel()[:7]
    assert (half == expected).all()


@pytest.mark.parametrize("count", [3, 16, 17, 100])
def test_many_streams_are_each_the_single_one(count):
    """Short rows are made side by side, long ones by NumPy's generator: same bits."""
    keys = random.split(random.key(1), 6).reshape(2, 3, 2)
    counters = wg.asarray(np.array([0, 1, 2**64 - 1], np.uint64))
    found = bits(keys, counters, (count,))
    for i in range(2):
        for j in range(3):
            assert (found[i, j] == bits(keys[i, j], counters[j], (count,))).all()


def test_bits_is_a_pure_function_in_any_order():
    key = random.key(3)
    at = [wg.asarray(np.array(i, np.uint64)) for i in range(8)]
    whole = bits(key, at[0], (32,))
    assert (np.concatenate([bits(key, a, (4,)) for a in at]) == whole).all()
    assert (random.bits(32, key=key).numpy() == whole).all()


# -- floats --------------------------------------------------------------------------------------


def test_uniform_floats_are_the_upper_bits_of_a_word():
    key, zero = random.key(2), wg.asarray(np.array(0, np.uint64))
    u32 = random.uniform(shape=(1000,), key=key).numpy()
    expected = (bits(key, zero, (1000,), np.uint32) >> 8) / 2.0**24
    assert u32.dtype == np.float32
    assert (u32 == expected).all()
    u64 = random.uniform(shape=(1000,), dtype=wg.float64, key=key).numpy()
    assert (u64 == (bits(key, zero, (1000,)) >> np.uint64(11)) / 2.0**53).all()


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16, wg.float32, wg.float64])
def test_uniform_stays_below_one_in_every_dtype(dtype):
    u = random.uniform(shape=(200_000,), dtype=dtype, key=random.key(0)).numpy()
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16, wg.float32, wg.float64])
def test_normal_is_finite_in_every_dtype(dtype):
    z = random.normal(shape=(99_999,), dtype=dtype, key=random.key(0)).numpy()
    assert z.dtype == dtype
    assert np.isfinite(z.astype(np.float64)).all()
    assert abs(z.astype(np.float64).std() - 1) < 0.02


def test_tails_of_the_normal_law_go_beyond_24_bits():
    z = random.normal(shape=(4_000_000,), key=random.key(8)).numpy()
    expected = 2 * stats.norm.sf(4.5) * z.size
    assert abs((np.abs(z) > 4.5).sum() - expected) < 5 * expected**0.5


def test_numbers_are_the_same_forever():
    """A change of any of these breaks everyone's seeds."""
    key = random.key(0)
    assert key.tolist() == [16237026544517529646, 14238006870767470437]
    assert random.split(key)[1].tolist() == PINNED["split"]
    assert random.uniform(shape=3, key=key).tolist() == PINNED["uniform"]
    assert random.normal(shape=3, key=key).numpy() == pytest.approx(PINNED["normal"], rel=1e-6)
    assert random.randint(1000, shape=3, key=key).tolist() == PINNED["randint"]
    assert random.permutation(6, key=key).tolist() == PINNED["permutation"]


PINNED = {
    "split": [6229524103296654166, 9112420435347466948],
    "uniform": [0.04337090253829956, 0.2971944212913513, 0.33496081829071045],
    "normal": [-0.23836040496826172, 1.0566136837005615, -2.4938156604766846],
    "randint": [781, 471, 13],
    "permutation": [3, 0, 4, 1, 2, 5],
}


# -- laws ----------------------------------------------------------------------------------------

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


# -- generators ----------------------------------------------------------------------------------


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


# -- derivatives ---------------------------------------------------------------------------------

REPARAMETERISED = {
    "uniform": (random.uniform, (0.5, 2.0)),
    "normal": (random.normal, (0.5, 2.0)),
    "lognormal": (random.lognormal, (0.5, 0.3)),
    "truncated_normal": (random.truncated_normal, (0.5, 2.0, -1.0, 1.5)),
    "exponential": (random.exponential, (2.0,)),
    "laplace": (random.laplace, (0.5, 2.0)),
    "gumbel": (random.gumbel, (0.5, 2.0)),
    "logistic": (random.logistic, (0.5, 2.0)),
    "cauchy": (random.cauchy, (0.5, 2.0)),
}


@pytest.mark.parametrize("law", REPARAMETERISED)
def test_draws_are_differentiable_in_their_parameters(law):
    draw, parameters = REPARAMETERISED[law]
    weights = wg.asarray(np.linspace(0.5, 1.5, 6))

    def f(*p):
        return wg.sum(draw(*p, shape=(6,), key=random.key(3)) * weights)

    args = tuple(wg.asarray(np.float64(p)) for p in parameters)
    found = wg.grad(f, argnums=tuple(range(len(args))))(*args)
    for i, g in enumerate(found):
        h = 1e-6
        up, down = list(args), list(args)
        up[i], down[i] = args[i] + h, args[i] - h
        assert float(g) == pytest.approx(float(f(*up) - f(*down)) / (2 * h), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0, 2.5, 50.0, 1e4])
def test_the_derivative_of_a_gamma_number_is_that_of_its_quantile(alpha):
    """First and second derivative of ln x(α) at a fixed value of the distribution function."""
    key = random.key(6)

    def log_draws(a):
        return wg.log(random.gamma(a, shape=(40,), key=key))

    a = wg.asarray(np.float64(alpha))
    x, first = wg.jvp(log_draws, (a,), (wg.ones_like(a),))
    second = wg.jvp(lambda b: wg.jvp(log_draws, (b,), (wg.ones_like(b),))[1], (a,), (a * 0 + 1,))[1]
    u = special.gammainc(alpha, np.exp(x.numpy()))
    trusted = (u > 1e-6) & (u < 1 - 1e-6) & (x.numpy() > -300)
    h = 3e-4 * alpha

    def log_quantile(b):
        return np.log(special.gammaincinv(b, u))[trusted]

    up, here, down = (log_quantile(alpha + d) for d in (h, 0.0, -h))
    scale = np.abs(first.numpy()[trusted])
    assert np.abs(first.numpy()[trusted] - (up - down) / (2 * h)).max() < 1e-5 * scale.max()
    bound = 1e-3 * np.abs(second.numpy()[trusted]).max()
    assert np.abs(second.numpy()[trusted] - (up - 2 * here + down) / h**2).max() < bound
    assert trusted.sum() > 10


def test_gradients_through_gamma_beta_and_dirichlet_are_unbiased():
    """The derivative of an expectation: E x = α, E ln x = ψ(α), E of a Dirichlet entry."""
    key = random.key(1)
    n = 40_000

    def mean_of_logs(a):
        return wg.mean(wg.log(random.gamma(a, shape=(n,), key=key)))

    a = wg.asarray(np.float64(1.7))
    assert float(wg.grad(mean_of_logs)(a)) == pytest.approx(special.polygamma(1, 1.7), rel=0.02)
    slope = wg.grad(lambda a: wg.mean(random.gamma(a, shape=(n,), key=key)))(a)
    assert float(slope) == pytest.approx(1.0, rel=0.02)
    slope = wg.grad(lambda a: wg.mean(random.beta(a, 2.0, shape=(n,), key=key)))(a)
    assert float(slope) == pytest.approx(2.0 / 3.7**2, rel=0.02)
    alpha = wg.asarray(np.array([0.5, 1.0, 2.0]))
    slope = wg.grad(lambda a: wg.mean(random.dirichlet(a, (n, 3), key=key)[:, 0]))(alpha)
    expected = np.array([3.0, -0.5, -0.5]) / 3.5**2
    assert slope.numpy() == pytest.approx(expected, abs=4e-3)


def test_gamma_inside_vmap():
    alpha = wg.asarray([0.5, 2.0, 8.0])
    keys = random.split(random.key(0), 3)
    rows = wg.vmap(lambda a, k: random.gamma(a, shape=(4,), key=k))(alpha, keys).numpy()
    loop = [random.gamma(float(alpha[i]), shape=(4,), key=keys[i]).numpy() for i in range(3)]
    assert (rows == np.stack(loop)).all()
    same = wg.vmap(lambda a: random.gamma(a, key=keys[0]))(wg.full((5,), 2.0)).numpy()
    assert len(np.unique(same)) == 1
    different = wg.vmap(lambda a: random.gamma(a), randomness="different")(wg.full((5,), 2.0))
    assert len(np.unique(different.numpy())) == 5
    counts = wg.vmap(lambda r: random.poisson(r), randomness="different")(wg.full((2000,), 4.0))
    assert abs(counts.numpy().mean() - 4.0) < 0.2


def test_multivariate_normal_is_differentiable_in_its_covariance():
    cov = wg.asarray(np.array([[2.0, 0.6], [0.6, 0.5]]))

    def f(c):
        return wg.sum(random.multivariate_normal(np.zeros(2), c, (3,), key=random.key(0)))

    assert np.isfinite(wg.grad(f)(cov).numpy()).all()


# -- transforms ----------------------------------------------------------------------------------


def test_a_stateful_draw_inside_vmap_is_refused():
    with pytest.raises(TraceError, match=r"random draw inside vmap is ambiguous.*randomness="):
        wg.vmap(lambda x: x + random.normal())(wg.zeros(3))


def test_same_randomness_draws_once():
    start = int(random.default_generator.counter)
    x = wg.vmap(lambda x: x + random.normal(shape=2), randomness="same")(wg.zeros((3, 2))).numpy()
    assert (x == x[0]).all()
    assert int(random.default_generator.counter) > start


def test_different_randomness_draws_for_each_row():
    x = wg.vmap(lambda x: x + random.normal(), randomness="different")(wg.zeros(5000)).numpy()
    assert stats.kstest(x, "norm").pvalue > 1e-3
    y = wg.vmap(lambda x: x + random.normal(), randomness="different")(wg.zeros(5000)).numpy()
    assert not (x == y).any()


@pytest.mark.parametrize(
    ("outer", "inner", "distinct"),
    [
        ("different", "different", 12),
        ("different", "same", 4),
        ("same", "different", 3),
        ("same", "same", 1),
    ],
)
def test_nested_vmaps(outer, inner, distinct):
    def row(x):
        return wg.vmap(lambda v: v + random.uniform(), randomness=inner)(x)

    x = wg.vmap(row, randomness=outer)(wg.zeros((4, 3))).numpy()
    assert len(np.unique(x)) == distinct
    if (outer, inner) == ("different", "same"):
        assert (x == x[:, :1]).all()
    if (outer, inner) == ("same", "different"):
        assert (x == x[:1]).all()


def test_an_outer_error_reaches_through_an_inner_vmap():
    def row(x):
        return wg.vmap(lambda v: v + random.uniform(), randomness="same")(x)

    with pytest.raises(TraceError, match="ambiguous"):
        wg.vmap(row)(wg.zeros((4, 3)))


def test_vmap_over_keys_is_a_loop_over_keys():
    keys = random.split(random.key(0), 5)

    def f(k):
        return random.normal(shape=(3,), key=k) + random.uniform(shape=(3,), key=k)

    expected = np.stack([f(keys[i]).numpy() for i in range(5)])
    assert (wg.vmap(f)(keys).numpy() == expected).all()
    twice = wg.vmap(lambda k: wg.vmap(lambda s: random.uniform(key=s))(random.split(k, 2)))(keys)
    one = random.uniform(key=random.split(keys[3], 2)[1])
    assert float(twice[3, 1]) == float(one)


def test_vmap_over_parameters():
    mean = wg.asarray([0.0, 10.0, 20.0])
    x = wg.vmap(lambda m: random.normal(m, key=random.key(0)))(mean).numpy()
    assert x - x[0] == pytest.approx([0.0, 10.0, 20.0], abs=1e-5)


def test_gradient_of_a_vmapped_draw():
    def f(scale):
        rows = wg.vmap(lambda x: x * random.normal(0.0, scale), randomness="different")
        return wg.sum(rows(wg.ones(4)))

    random.seed(0)
    value, slope = wg.value_and_grad(f)(2.0)
    assert float(slope) == pytest.approx(float(value) / 2.0, rel=1e-5)


def test_tracing_leaves_the_generator_as_it_was():
    before = int(random.default_generator.counter)
    graph = wg.trace(lambda x: x * random.uniform(shape=(3,)), wg.ones(3))
    assert int(random.default_generator.counter) == before
    assert any(v is random.default_generator.counter for v, _ in graph.writes)


def test_checkpoint_draws_the_same_numbers_again():
    def f(x):
        return wg.sum(wg.sin(x * random.normal(shape=(4,))))

    x = wg.asarray([0.1, 0.2, 0.3, 0.4])
    random.seed(0)
    expected = wg.grad(f)(x).numpy()
    counter = int(random.default_generator.counter)
    random.seed(0)
    assert (wg.grad(wg.checkpoint(f))(x).numpy() == expected).all()
    assert int(random.default_generator.counter) == counter


def test_checkpoint_inside_vmap_draws_for_each_row():
    def f(x):
        return wg.sin(x * random.normal())

    x = wg.linspace(0.1, 1.0, 6)
    random.seed(0)
    plain = wg.vmap(f, randomness="different")(x).numpy()
    random.seed(0)
    again = wg.vmap(wg.checkpoint(f), randomness="different")(x).numpy()
    assert (again == plain).all()
    random.seed(0)
    slopes = wg.grad(lambda x: wg.sum(wg.vmap(f, randomness="different")(x)))(x).numpy()
    random.seed(0)
    rows = wg.vmap(wg.checkpoint(f), randomness="different")
    assert (wg.grad(lambda x: wg.sum(rows(x)))(x).numpy() == slopes).all()


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
