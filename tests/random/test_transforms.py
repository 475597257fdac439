"""What derivatives, vmap, tracing and checkpoints make of draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

import wengert as wg
from wengert import random
from wengert.core.errors import TraceError

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
