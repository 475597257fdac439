"""Random numbers that are made by trial: gamma and Poisson.

Attempt `r` for element `i` reads one block of the stream, at the counter (start + i, r, 0, DRAW):
a pure function again, whatever the number of attempts, and of a fixed length of the stream.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import DtypeError, ShapeError
from wengert.core.op import Array, Op, cast_to
from wengert.core.rules import broadcast, custom, elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops import gamma
from wengert.ops.elementwise import add, greater, mul, neg, sub
from wengert.ops.functions import exp
from wengert.ops.movement import broadcast_to, reshape
from wengert.ops.random import DRAW, check_stream, line_up, philox
from wengert.ops.selection import maximum, minimum, where
from wengert.ops.special import polygamma

Attempt = Callable[..., tuple[Array, Array]]


def _open(words: Array) -> Array:
    """Uniform in (0, 1) from 64-bit words: 53 bits, and half a step away from the ends."""
    upper: Array = (words >> np.uint64(11)).astype(np.float64)
    return (upper + 0.5) * 2.0**-53


def _by_trial(
    key: Array, counter: Array, parameter: Array, shape: Shape, attempt: Attempt
) -> Array:
    """Repeat `attempt(words, parameter) -> (value, accepted)` for each element until accepted.
    Elements whose parameter is not positive and finite are NaN."""
    lead = np.broadcast_shapes(key.shape[:-1], counter.shape)
    full, each = (*lead, *shape), math.prod(shape)
    parameters = np.broadcast_to(parameter, full).astype(np.float64).reshape(-1)
    keys = np.broadcast_to(key, (*lead, 2)).reshape(-1, 2)
    starts = np.broadcast_to(counter, lead).reshape(-1)
    out = np.full(parameters.size, np.nan)
    pending = np.flatnonzero((parameters > 0) & (parameters < np.inf))
    for round in itertools.count():
        if not pending.size:
            return out.reshape(full)
        row = pending // each
        at = starts[row] + (pending % each).astype(np.uint64)
        words = philox(keys[row], at, np.full_like(at, round), DRAW)
        value, accepted = attempt(words, parameters[pending])
        out[pending[accepted]] = value[accepted]
        pending = pending[~accepted]
    raise AssertionError("itertools.count ends")


# -- the logarithm of gamma variates -------------------------------------------------------------
# In the logarithm, since for small concentrations the number itself underflows.


def _gamma_attempt(words: Array, alpha: Array) -> tuple[Array, Array]:
    """Marsaglia and Tsang 2000; below 1, their sample for α + 1 times U^(1/α)."""
    u = _open(words)
    normal = np.sqrt(-2.0 * np.log(u[:, 0])) * np.cos(2.0 * math.pi * u[:, 1])
    small = alpha < 1.0
    d = np.where(small, alpha + 1.0, alpha) - 1.0 / 3.0
    root = 1.0 + normal / np.sqrt(9.0 * d)
    log_v = 3.0 * np.log(np.maximum(root, 1e-300))
    bound = 0.5 * normal**2 + d - d * np.exp(log_v) + d * log_v
    accepted = (root > 0.0) & (np.log(u[:, 2]) < bound)
    boost = np.where(small, np.log(u[:, 3]) / np.where(small, alpha, 1.0), 0.0)
    return np.log(d) + log_v + boost, accepted


def _loggamma(key: Array, counter: Array, alpha: Array, shape: Shape) -> Array:
    _variate_shape("random_loggamma", key, counter, alpha, shape)
    return _by_trial(key, counter, alpha, shape, _gamma_attempt).astype(alpha.dtype)


def _loggamma_spec(key: Shaped, counter: Shaped, alpha: Shaped, shape: Shape) -> Spec:
    return Spec(_variate_shape("random_loggamma", key, counter, alpha, shape), alpha.dtype)


def _variate_shape(op: str, key: Shaped, counter: Shaped, parameter: Shaped, shape: Shape) -> Shape:
    check_stream(op, key, counter, shape)
    if not dtypes.is_float(parameter.dtype):
        raise DtypeError(
            op, "the parameter is floating", met=describe(parameter), fix="cast it to float32"
        )
    full = (*broadcast(op, key.shape[:-1], counter.shape), *shape)
    if broadcast(op, parameter.shape, full) != full:
        raise ShapeError(
            op,
            "the parameter cannot be broadcast to the shape of the result",
            met=f"{tuple(parameter.shape)} for {full}",
            fix="pass a shape whose last axes are those of the parameter",
        )
    return full


def _line_up_all(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], shape: Shape
) -> list[Tensor]:
    """Operands with the batch axis in front of the streams' axes, and of the parameter's."""
    key, counter, parameter = args
    width = max(key.ndim - 1 - batched[0], counter.ndim - batched[1])
    key = line_up(key, width + 1) if batched[0] else key
    counter = line_up(counter, width) if batched[1] else counter
    if not batched[0] and not batched[1]:  # every row has the same noise
        full = (1,) * (width - counter.ndim + 1) + counter.shape
        counter = broadcast_to(reshape(counter, shape=full), shape=(size, *full[1:]))
    parameter = line_up(parameter, width + len(shape)) if batched[2] else parameter
    return [key, counter, parameter]


def _loggamma_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], shape: Shape
) -> Tensor:
    out: Tensor = random_loggamma(*_line_up_all(size, args, batched, shape), shape=shape)
    return out


# The derivative at a fixed quantile, d ln x/dα = −(∂F/∂α)/(x·f) with F the distribution function
# and f the density, from the integrals
#     K(α, x; n) = ∫₀¹ s^(α−1) e^(x(1−s)) lnⁿs ds      L(α, x; n) = the same from 1 to ∞:
# it is −(ln x − ψ(α))·K₀ − K₁ and also (ln x − ψ(α))·L₀ + L₁, of which the first has no large
# terms that cancel for x < α, the second for x > α. Source: Figurnov, Mohamed and Mnih 2018.


def _slope(alpha: Tensor, out: Tensor) -> Tensor:
    """d ln x / dα for x = eᵒᵘᵗ, in float64."""
    alpha, log_x = cast_to(alpha, dtypes.float64), cast_to(out, dtypes.float64)
    x = exp(log_x)
    distance = sub(log_x, polygamma(alpha, n=0))
    parts = []
    for upper, y in ((False, minimum(x, alpha)), (True, maximum(x, alpha))):
        zeroth = gamma_moment(alpha, y, n=0, upper=upper)
        parts.append(add(mul(distance, zeroth), gamma_moment(alpha, y, n=1, upper=upper)))
    slope: Tensor = where(greater(x, alpha), parts[1], neg(parts[0]))
    return slope


def _loggamma_tangent(g: Tensor, alpha: Tensor, out: Tensor) -> Tensor:
    tangent: Tensor = mul(g, cast_to(_slope(alpha, out), g.dtype))
    return tangent


def _moment_nodes() -> tuple[Array, Array]:
    """Nodes and weights for ∫₀^∞ of what falls like e⁻ᵗ: t = exp(x − e⁻ˣ), equal steps in x.

    Source: Takahasi and Mori 1974 (double exponential formulas).
    """
    x = np.arange(-3.6, 4.2, 0.05)
    t = np.exp(x - np.exp(-x))
    return t, 0.05 * t * (1.0 + np.exp(-x))


def _moment(alpha: Array, x: Array, n: int, upper: bool) -> Array:
    """K (or L if `upper`) by quadrature in v = ∓ln s, in units of the integrand's width."""
    a, z = alpha.astype(np.float64), x.astype(np.float64)
    scale = 1.0 / (np.abs(a - z) + np.where(a < 1.0, a, np.sqrt(a)))
    if upper:
        scale = np.where(z < 1.0, np.minimum(scale, np.log1p(1.0 / z)), scale)
    total = np.zeros(np.broadcast_shapes(a.shape, z.shape))
    sign = 1.0 if upper else -1.0
    for node, weight in zip(*_moment_nodes(), strict=True):
        v = scale * node
        height = np.exp(sign * a * v - z * np.expm1(sign * v))
        total += weight * height * (sign * v) ** n
    return (total * scale).astype(alpha.dtype)


def _moment_in_x(g: Tensor, alpha: Tensor, x: Tensor, n: int, upper: bool) -> Tensor:
    here = gamma_moment(alpha, x, n=n, upper=upper)
    out: Tensor = mul(g, sub(here, gamma_moment(add(alpha, 1.0), x, n=n, upper=upper)))
    return out


def _moment_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    alpha = rng.uniform(0.5, 4.0, (2, 3))
    less, more = alpha * rng.uniform(0.2, 1.0, (2, 3)), alpha * rng.uniform(1.0, 2.0, (2, 3))
    lower, upper = {"n": 0, "upper": False}, {"n": 1, "upper": True}
    return [
        Sample((alpha, less), lower),
        Sample((alpha, more), upper),
        Sample((alpha[:, :1], more[0]), {"n": 0, "upper": True}),
        Sample((alpha[0, 0], less[0, 0]), {"n": 2, "upper": False}),
        Sample((alpha[:0], less[:0]), lower),
        Wrong((alpha, less[:, :2]), lower, ValueError, "cannot be broadcast"),
    ]


gamma_moment: Op = elementwise(
    "gamma_moment",
    _moment,
    lambda g, x, y, n, upper: mul(g, gamma_moment(x, y, n=n + 1, upper=upper)),
    lambda g, x, y, n, upper: _moment_in_x(g, x, y, n, upper),
    samples=_moment_samples,
    cost="compute",
)


def _stream(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


def _variate_samples(rng: np.random.Generator, largest: float) -> list[Sample | Wrong]:
    def positive(*shape: int) -> Array:
        return rng.uniform(0.3, largest, shape)

    key, zero = _stream(rng, 2), np.uint64(0)
    # Not smooth: the rule's derivative is that of the quantile, not that of the trials.
    return [
        Sample((key, zero, positive(3, 4)), {"shape": (3, 4)}, smooth=False),
        Sample((key, zero, positive()), {"shape": (5,)}, smooth=False),
        Sample((_stream(rng, 4, 2), zero, positive(3)), {"shape": (3,)}, smooth=False),
        Sample((key, _stream(rng, 2), positive(2, 1)), {"shape": (3,)}, smooth=False),
        Sample((key, zero, positive(1)), {"shape": (0,)}, smooth=False),
        Wrong((key, zero, positive(3)), {"shape": (2,)}, ValueError, "cannot be broadcast"),
        Wrong((key, zero, positive(2, 3)), {"shape": (3,)}, ValueError, "cannot be broadcast to"),
        Wrong((key[:1], zero, positive()), {"shape": ()}, DtypeError, "a key is a uint64 array"),
        Wrong((key, zero, _stream(rng)), {"shape": ()}, DtypeError, "parameter is floating"),
    ]


random_loggamma: Op = custom(
    "random_loggamma",
    _loggamma,
    _loggamma_spec,
    operands=("key", "counter", "alpha"),
    jvps=(None, None, _loggamma_tangent),
    vjps=(None, None, _loggamma_tangent),
    batch=_loggamma_batch,
    samples=lambda rng: _variate_samples(rng, 4.0),
    cost="compute",
)


# -- Poisson -------------------------------------------------------------------------------------


def _poisson_small(u: Array, rate: Array) -> Array:
    """The quantile of u by summing up probabilities, for rates below 10."""
    count, probability = np.zeros_like(rate), np.exp(-rate)
    below = probability.copy()
    for k in range(1, 200):
        beyond = u > below
        if not beyond.any():
            break
        count += beyond
        probability = probability * rate / k
        below = below + probability
    return count


def _poisson_attempt(words: Array, rate: Array) -> tuple[Array, Array]:
    """Hörmann 1993 (PTRS: transformed rejection), for rates from 10 on; by quantile below."""
    u, v = _open(words[:, 0]) - 0.5, _open(words[:, 1])
    large = np.maximum(rate, 10.0)
    b = 0.931 + 2.53 * np.sqrt(large)
    a = -0.059 + 0.02483 * b
    distance = 0.5 - np.abs(u)
    k = np.floor((2.0 * a / distance + b) * u + large + 0.43)
    quick = (distance >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2.0))
    impossible = (k < 0.0) | ((distance < 0.013) & (v > distance))
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    left = np.log(v * inverse_alpha / (a / distance**2 + b))
    right = k * np.log(large) - large - gamma.lgamma(np.maximum(k, 0.0) + 1.0)
    accepted = quick | (~impossible & (left <= right))
    small = rate < 10.0
    return np.where(small, _poisson_small(u + 0.5, np.minimum(rate, 10.0)), k), accepted | small


def _poisson(key: Array, counter: Array, rate: Array, shape: Shape) -> Array:
    _variate_shape("random_poisson", key, counter, rate, shape)
    counts = _by_trial(key, counter, rate, shape, _poisson_attempt)
    return np.where(np.isnan(counts), 0.0, counts).astype(np.int64)


def _poisson_spec(key: Shaped, counter: Shaped, rate: Shaped, shape: Shape) -> Spec:
    full = _variate_shape("random_poisson", key, counter, rate, shape)
    return Spec(full, dtypes.int64)


def _poisson_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], shape: Shape
) -> Tensor:
    out: Tensor = random_poisson(*_line_up_all(size, args, batched, shape), shape=shape)
    return out


random_poisson: Op = custom(
    "random_poisson",
    _poisson,
    _poisson_spec,
    operands=("key", "counter", "rate"),
    batch=_poisson_batch,
    samples=lambda rng: _variate_samples(rng, 30.0),
    cost="compute",
)
