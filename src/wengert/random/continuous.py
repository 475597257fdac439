"""Continuous distributions. Each is a deterministic function of uniform numbers and its parameters,
so that it can be differentiated in the parameters (the reparameterisation of Kingma and Welling
2014)."""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as F
from wengert.core.tensor import Tensor, as_tensor
from wengert.random.floats import Draw, standard_exponential, standard_normal, unit
from wengert.random.generator import Generator

__all__ = [
    "cauchy",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "lognormal",
    "normal",
    "rand",
    "rand_like",
    "randn",
    "randn_like",
    "truncated_normal",
    "uniform",
]


def uniform(
    low: Any = 0.0,
    high: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in [low, high): low + (high − low)·u, differentiable in both.

    `u` is a multiple of 2⁻²⁴ in float32 and of 2⁻⁵³ in float64. Rounding can give `high` itself
    where the interval is not the unit interval.

    >>> import wengert as wg
    >>> x = wg.random.uniform(-1.0, 1.0, (2, 3), key=wg.random.key(0)); x.shape, x.dtype
    ((2, 3), dtype('float32'))
    """
    draw = Draw("uniform", shape, dtype, key, generator, low=low, high=high)
    low, high = draw.params["low"], draw.params["high"]
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        u = unit(draw.source, draw.shape, draw.dtype)
        draw.params["range"] = high - low
    else:
        u = unit(draw.source, draw.shape, draw.working)
        draw.params["range"] = F.subtract(draw.cast(high), draw.cast(low))
    draw.require("range", 0.0)
    return draw.affine(u, "low", "range")


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal (Gaussian): mean + std·z, differentiable in both. Box and Muller 1958.

    >>> import wengert as wg
    >>> wg.random.normal(shape=4, key=wg.random.key(0)).shape
    (4,)
    """
    draw = Draw("normal", shape, dtype, key, generator, mean=mean, std=std)
    draw.require("std", 0.0)
    return draw.affine(standard_normal(draw.source, draw.shape, draw.working), "mean", "std")


def lognormal(
    mean: Any = 0.0,
    std: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """exp of a normal number with this mean and standard deviation; differentiable in both.

    >>> import wengert as wg
    >>> bool(wg.random.lognormal(key=wg.random.key(0)) > 0)
    True
    """
    return F.exp(normal(mean, std, shape, dtype=dtype, key=key, generator=generator))


def truncated_normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    lower: Any = -2.0,
    upper: Any = 2.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, given that it lies between `lower` and `upper` *standard deviations* from the mean.

    mean + std·Φ⁻¹(Φ(lower) + u·(Φ(upper) − Φ(lower))), differentiable in all parameters. The bounds
    are numbers or tensors, as in JAX's function; `nn.init.trunc_normal_` has them in units of x.

    >>> import wengert as wg
    >>> x = wg.random.truncated_normal(shape=1000, key=wg.random.key(0))
    >>> bool(wg.max(wg.abs(x)) <= 2)
    True
    """
    draw = Draw(
        "truncated_normal",
        shape,
        dtype,
        key,
        generator,
        mean=mean,
        std=std,
        lower=lower,
        upper=upper,
    )
    draw.require("std", 0.0)
    low, high = (as_tensor(draw.cast(draw.params[p])) for p in ("lower", "upper"))
    low, high = F.astype(low, draw.working), F.astype(high, draw.working)
    draw.params["upper - lower"] = F.subtract(high, low)
    draw.require("upper - lower", 0.0, open=True)
    erf_low, erf_high = (F.erf(F.multiply(b, math.sqrt(0.5))) for b in (low, high))
    u = unit(draw.source, draw.shape, draw.working)
    inner = F.add(erf_low, F.multiply(u, F.subtract(erf_high, erf_low)))
    z = F.clip(F.multiply(F.erfinv(inner), math.sqrt(2.0)), low, high)
    return draw.affine(z, "mean", "std")


def exponential(
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Exponential with mean `scale`: −scale·ln u, differentiable in scale.

    >>> import wengert as wg
    >>> wg.random.exponential(shape=(2,), key=wg.random.key(0)).shape
    (2,)
    """
    draw = Draw("exponential", shape, dtype, key, generator, scale=scale, loc=0.0)
    draw.require("scale", 0.0)
    return draw.affine(standard_exponential(draw.source, draw.shape, draw.working), "loc", "scale")


def laplace(
    loc: Any = 0.0,
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Laplace: the difference of two exponential numbers; differentiable in loc and scale.

    >>> import wengert as wg
    >>> wg.random.laplace(shape=(2,), key=wg.random.key(0)).shape
    (2,)
    """
    draw = Draw("laplace", shape, dtype, key, generator, loc=loc, scale=scale)
    draw.require("scale", 0.0)
    right = standard_exponential(draw.source, draw.shape, draw.working)
    left = standard_exponential(draw.source, draw.shape, draw.working)
    return draw.affine(F.subtract(right, left), "loc", "scale")


def gumbel(
    loc: Any = 0.0,
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Gumbel, the law of maxima: loc − scale·ln(−ln u); differentiable in loc and scale.

    >>> import wengert as wg
    >>> wg.random.gumbel(shape=(2,), key=wg.random.key(0)).shape
    (2,)
    """
    draw = Draw("gumbel", shape, dtype, key, generator, loc=loc, scale=scale)
    draw.require("scale", 0.0)
    waiting = standard_exponential(draw.source, draw.shape, draw.working)
    return draw.affine(F.negative(F.log(waiting)), "loc", "scale")


def logistic(
    loc: Any = 0.0,
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Logistic: the difference of two Gumbel numbers; differentiable in loc and scale.

    >>> import wengert as wg
    >>> wg.random.logistic(shape=(2,), key=wg.random.key(0)).shape
    (2,)
    """
    draw = Draw("logistic", shape, dtype, key, generator, loc=loc, scale=scale)
    draw.require("scale", 0.0)
    above = standard_exponential(draw.source, draw.shape, draw.working)
    below = standard_exponential(draw.source, draw.shape, draw.working)
    return draw.affine(F.log(F.divide(above, below)), "loc", "scale")


def cauchy(
    loc: Any = 0.0,
    scale: Any = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Cauchy (Lorentz): loc + scale·tan(π(u − ½)); differentiable in loc and scale.

    >>> import wengert as wg
    >>> wg.random.cauchy(shape=(2,), key=wg.random.key(0)).shape
    (2,)
    """
    draw = Draw("cauchy", shape, dtype, key, generator, loc=loc, scale=scale)
    draw.require("scale", 0.0)
    u = unit(draw.source, draw.shape, draw.working)
    return draw.affine(F.tan(F.multiply(F.subtract(u, 0.5), math.pi)), "loc", "scale")


# -- shorthands ----------------------------------------------------------------------------------


def rand(
    *shape: Any, dtype: Any = None, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """Uniform in [0, 1), the shape given as numbers or as one tuple.

    >>> import wengert as wg
    >>> wg.random.rand(2, 3).shape
    (2, 3)
    """
    return uniform(shape=_spread(shape), dtype=dtype, key=key, generator=generator)


def randn(
    *shape: Any, dtype: Any = None, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """Standard normal, the shape given as numbers or as one tuple.

    >>> import wengert as wg
    >>> wg.random.randn(2, 3).shape
    (2, 3)
    """
    return normal(shape=_spread(shape), dtype=dtype, key=key, generator=generator)


def rand_like(
    x: Any, *, dtype: Any = None, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """Uniform in [0, 1), of the shape and dtype of `x`.

    >>> import wengert as wg
    >>> wg.random.rand_like(wg.zeros((2, 3))).shape
    (2, 3)
    """
    x = as_tensor(x)
    return uniform(shape=x.shape, dtype=dtype or x.dtype, key=key, generator=generator)


def randn_like(
    x: Any, *, dtype: Any = None, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """Standard normal, of the shape and dtype of `x`.

    >>> import wengert as wg
    >>> wg.random.randn_like(wg.zeros((2, 3))).shape
    (2, 3)
    """
    x = as_tensor(x)
    return normal(shape=x.shape, dtype=dtype or x.dtype, key=key, generator=generator)


def _spread(shape: tuple[Any, ...]) -> Any:
    return shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
