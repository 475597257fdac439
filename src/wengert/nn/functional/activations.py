"""Activation functions, written out from array functions.

At a kink the derivative is PyTorch's: that of the flat side (`relu'(0) = 0`), or that of the
negative branch where it has a slope (`leaky_relu'(0) = negative_slope`, `elu'(0) = alpha`).
`inplace` is accepted so that ported code runs, and changes nothing: tensors are immutable, so use
the returned tensor.
"""

from __future__ import annotations

import math
from typing import Any

from wengert import namespaces as xp
from wengert import random
from wengert.core.dtypes import float64
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at

__all__ = [
    "celu",
    "elu",
    "geglu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "reglu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "swiglu",
    "swish",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x = positive + negative`; the kink at 0 belongs to the negative part.

    Functions of one branch are applied to their own part, so that the branch not taken can
    neither overflow nor leak a NaN into the derivative.
    """
    above = x > 0
    return xp.where(above, x, 0), xp.where(above, 0, x)


# -- rectifiers ----------------------------------------------------------------------------------


def relu(input: Any, inplace: bool = False) -> Tensor:
    """Rectified linear unit, `max(x, 0)`, with derivative 0 at 0.

    >>> import wengert as wg
    >>> wg.nn.functional.relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.], dtype=float32)

    Source: Nair and Hinton 2010.
    """
    return xp.relu(as_tensor(input))


def relu6(input: Any, inplace: bool = False) -> Tensor:
    """`min(max(x, 0), 6)`, with derivative 0 at 0 and at 6.

    >>> import wengert as wg
    >>> wg.nn.functional.relu6([-1.0, 3.0, 9.0])
    Tensor([0., 3., 6.], dtype=float32)

    Source: Krizhevsky 2010.
    """
    return hardtanh(input, 0.0, 6.0)


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """`x` limited to [min_val, max_val], with derivative 0 at both ends.

    >>> import wengert as wg
    >>> wg.nn.functional.hardtanh([-3.0, 0.5, 3.0])
    Tensor([-1. ,  0.5,  1. ], dtype=float32)

    Source: Collobert 2004.
    """
    if not min_val < max_val:
        raise ArgumentError(
            at("hardtanh"),
            "min_val must be less than max_val",
            met=f"{min_val} and {max_val}",
            fix="swap the two",
        )
    x = as_tensor(input)
    inside = (x > min_val) & (x < max_val)
    return xp.where(inside, x, xp.clip(x.detach(), min_val, max_val))


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """`x` where it is greater than `threshold`, else `value`.

    >>> import wengert as wg
    >>> wg.nn.functional.threshold([0.5, 1.0, 2.0], 1.0, -7.0)
    Tensor([-7., -7.,  2.], dtype=float32)
    """
    x = as_tensor(input)
    return xp.where(x <= threshold, value, x)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """`x` for x > 0, else `negative_slope·x`.

    >>> import wengert as wg
    >>> wg.nn.functional.leaky_relu([-1.0, 2.0], 0.1)
    Tensor([-0.1,  2. ], dtype=float32)

    Source: Maas, Hannun and Ng 2013.
    """
    x = as_tensor(input)
    return xp.where(x > 0, x, negative_slope * x)


def prelu(input: Any, weight: Any) -> Tensor:
    """`x` for x > 0, else `weight·x`, with a learnt slope: one, or one a channel (axis 1).

    >>> import wengert as wg
    >>> wg.nn.functional.prelu([[-1.0, -1.0]], [0.25, 0.5])
    Tensor([[-0.25, -0.5 ]], dtype=float32)

    Source: He, Zhang, Ren and Sun 2015.
    """
    x, slope = as_tensor(input), as_tensor(weight)
    if slope.ndim > 1:
        raise ShapeError(
            at("prelu"),
            "the slopes must be one number, or one a channel",
            met=f"weight {slope.shape}",
            fix="reshape weight to (channels,)",
        )
    if slope.size != 1:
        channels = x.shape[1] if x.ndim > 1 else 1
        if slope.size != channels:
            raise ShapeError(
                at("prelu"),
                "the number of slopes is neither 1 nor the number of channels",
                met=f"{slope.size} slopes for input {x.shape}, whose axis 1 holds the channels",
                fix=f"make PReLU(num_parameters={channels})",
            )
        slope = slope.reshape((channels,) + (1,) * (x.ndim - 2))
    elif x.ndim == 0:
        slope = slope.reshape(())
    positive, negative = _parts(x)
    return positive + slope * negative


def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Tensor:
    """Leaky rectifier whose negative slopes are drawn from U(lower, upper) in training, one an
    element, and are the mean of the two otherwise.

    >>> import wengert as wg
    >>> wg.nn.functional.rrelu([-1.0, 2.0], 0.25, 0.75)
    Tensor([-0.5,  2. ], dtype=float32)

    Source: Xu, Wang, Chen and Li 2015.
    """
    if lower > upper:
        raise ArgumentError(
            at("rrelu"),
            "lower must not be greater than upper",
            met=f"{lower} and {upper}",
            fix="swap the two",
        )
    x = as_tensor(input)
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    positive, negative = _parts(x)
    slope = random.uniform(lower, upper, x.shape, dtype=x.dtype, generator=generator)
    return positive + slope * negative


# -- exponential units ---------------------------------------------------------------------------


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Exponential linear unit: `x` for x > 0, else `alpha·(eˣ − 1)`.

    >>> import wengert as wg
    >>> wg.nn.functional.elu([-100.0, 2.0])
    Tensor([-1.,  2.], dtype=float32)

    Source: Clevert, Unterthiner and Hochreiter 2016.
    """
    positive, negative = _parts(as_tensor(input))
    return positive + alpha * xp.expm1(negative)


def selu(input: Any, inplace: bool = False) -> Tensor:
    """Scaled exponential linear unit: `λ·elu(x, α)` with the λ and α for which zero mean and unit
    variance are a stable fixed point from layer to layer.

    >>> import wengert as wg
    >>> wg.nn.functional.selu([-100.0, 1.0])
    Tensor([-1.7580993,  1.050701 ], dtype=float32)

    Source: Klambauer, Unterthiner, Mayr and Hochreiter 2017.
    """
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return scale * elu(input, alpha)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Continuously differentiable exponential unit: `x` for x > 0, else `alpha·(e^(x/alpha) − 1)`.

    >>> import wengert as wg
    >>> wg.nn.functional.celu([-100.0, 2.0], alpha=0.5)
    Tensor([-0.5,  2. ], dtype=float32)

    Source: Barron 2017.
    """
    if alpha == 0:
        raise ArgumentError(at("celu"), "alpha must not be 0", fix="use relu in its place")
    positive, negative = _parts(as_tensor(input))
    return positive + alpha * xp.expm1(negative / alpha)


# -- smooth gates --------------------------------------------------------------------------------


def sigmoid(input: Any) -> Tensor:
    """The logistic function `1 / (1 + e⁻ˣ)`.

    >>> import wengert as wg
    >>> wg.nn.functional.sigmoid([-1e4, 0.0, 1e4])
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    return xp.sigmoid(as_tensor(input))


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent.

    >>> import wengert as wg
    >>> wg.nn.functional.tanh([0.0, 1e4])
    Tensor([0., 1.], dtype=float32)
    """
    return xp.tanh(as_tensor(input))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, `x·Φ(x)` with the normal distribution function Φ.

    Φ(x) = (1 + erf(x/√2)) / 2; in float64 it is erfc(−x/√2) / 2, which keeps its digits where Φ is
    small and takes three times as long. With `approximate="tanh"`, Φ(x) ≈ (1 + tanh(√(2/π)·(x +
    0.044715·x³))) / 2.

    >>> import wengert as wg
    >>> wg.nn.functional.gelu([-1e4, 0.0, 1.0])
    Tensor([-0.       ,  0.       ,  0.8413447], dtype=float32)

    Source: Hendrycks and Gimpel 2016.
    """
    x = as_tensor(input)
    if approximate == "none":
        if x.dtype == float64:
            return 0.5 * x * xp.erfc(-x * math.sqrt(0.5))
        return 0.5 * x * (1 + xp.erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        # Beyond ±20 the tanh is exactly ±1; the limit keeps the cube from overflowing.
        z = xp.clip(x, -20, 20)
        return 0.5 * x * (1 + xp.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * (z * z * z))))
    raise ArgumentError(
        at("gelu"), "unknown approximation", met=repr(approximate), fix="use 'none' or 'tanh'"
    )


def silu(input: Any, inplace: bool = False) -> Tensor:
    """Sigmoid linear unit, `x·σ(x)`; also known as swish.

    >>> import wengert as wg
    >>> wg.nn.functional.silu([-1e4, 0.0, 1e4])
    Tensor([   -0.,     0., 10000.], dtype=float32)

    Source: Elfwing, Uchibe and Doya 2017; Ramachandran, Zoph and Le 2017.
    """
    x = as_tensor(input)
    return x * xp.sigmoid(x)


swish = silu


def mish(input: Any, inplace: bool = False) -> Tensor:
    """`x·tanh(log(1 + eˣ))`.

    >>> import wengert as wg
    >>> wg.nn.functional.mish([-1e4, 0.0, 1e4])
    Tensor([   -0.,     0., 10000.], dtype=float32)

    Source: Misra 2019.
    """
    x = as_tensor(input)
    return x * xp.tanh(xp.softplus(x))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Smooth rectifier `log(1 + e^(beta·x)) / beta`; exactly `x` where beta·x > threshold.

    >>> import wengert as wg
    >>> wg.nn.functional.softplus([-1e4, 0.0, 1e4])
    Tensor([0.000000e+00, 6.931472e-01, 1.000000e+04], dtype=float32)

    Source: Dugas et al. 2001.
    """
    x = as_tensor(input)
    scaled = beta * x
    return xp.where(scaled > threshold, x, xp.softplus(scaled) / beta)


def logsigmoid(input: Any) -> Tensor:
    """`log σ(x) = −log(1 + e⁻ˣ)`, without overflow.

    >>> import wengert as wg
    >>> wg.nn.functional.logsigmoid([-1e4, 0.0])
    Tensor([-1.000000e+04, -6.931472e-01], dtype=float32)
    """
    return -xp.softplus(-as_tensor(input))


def softsign(input: Any) -> Tensor:
    """`x / (1 + |x|)`.

    >>> import wengert as wg
    >>> wg.nn.functional.softsign([-1.0, 0.0, 3.0])
    Tensor([-0.5 ,  0.  ,  0.75], dtype=float32)

    Source: Turian, Bergstra and Bengio 2009.
    """
    x = as_tensor(input)
    return x / (1 + xp.abs(x))


def tanhshrink(input: Any) -> Tensor:
    """`x − tanh(x)`.

    >>> import wengert as wg
    >>> wg.nn.functional.tanhshrink([0.0, 1e4])
    Tensor([   0., 9999.], dtype=float32)
    """
    x = as_tensor(input)
    return x - xp.tanh(x)


# -- piecewise linear gates and shrinkage --------------------------------------------------------


def hardsigmoid(input: Any, inplace: bool = False) -> Tensor:
    """`relu6(x + 3) / 6`: the sigmoid in three straight lines.

    >>> import wengert as wg
    >>> wg.nn.functional.hardsigmoid([-3.0, 0.0, 5.0])
    Tensor([0. , 0.5, 1. ], dtype=float32)

    Source: Courbariaux, Bengio and David 2015.
    """
    return relu6(as_tensor(input) + 3) / 6


def hardswish(input: Any, inplace: bool = False) -> Tensor:
    """`x·relu6(x + 3) / 6`.

    >>> import wengert as wg
    >>> wg.nn.functional.hardswish([-4.0, 0.0, 4.0])
    Tensor([-0.,  0.,  4.], dtype=float32)

    Source: Howard et al. 2019.
    """
    x = as_tensor(input)
    return x * hardsigmoid(x)


def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """`x` where |x| > lambd, else 0.

    >>> import wengert as wg
    >>> wg.nn.functional.hardshrink([-1.0, 0.5, 2.0])
    Tensor([-1.,  0.,  2.], dtype=float32)
    """
    x = as_tensor(input)
    return xp.where((x >= -lambd) & (x <= lambd), 0, x)


def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """`x` moved towards 0 by lambd, and 0 where it would cross it.

    >>> import wengert as wg
    >>> wg.nn.functional.softshrink([-1.0, 0.5, 2.0])
    Tensor([-0.5,  0. ,  1.5], dtype=float32)

    Source: Donoho 1995.
    """
    if lambd < 0:
        raise ArgumentError(
            at("softshrink"), "lambd must not be negative", met=str(lambd), fix="pass lambd ≥ 0"
        )
    x = as_tensor(input)
    return x - xp.clip(x, -lambd, lambd)


# -- gated linear units --------------------------------------------------------------------------


def glu(input: Any, dim: int = -1) -> Tensor:
    """Gated linear unit: `a ⊗ σ(b)`, with a and b the halves of the input along `dim`.

    >>> import wengert as wg
    >>> wg.nn.functional.glu([3.0, 0.0])
    Tensor([1.5], dtype=float32)

    Source: Dauphin, Fan, Auli and Grangier 2017.
    """
    a, b = _halves("glu", input, dim)
    return a * xp.sigmoid(b)


def reglu(input: Any, dim: int = -1) -> Tensor:
    """`a ⊗ relu(b)`, with a and b the halves of the input along `dim`.

    >>> import wengert as wg
    >>> wg.nn.functional.reglu([3.0, 2.0])
    Tensor([6.], dtype=float32)

    Source: Shazeer 2020.
    """
    a, b = _halves("reglu", input, dim)
    return a * relu(b)


def geglu(input: Any, dim: int = -1) -> Tensor:
    """`a ⊗ gelu(b)`, with a and b the halves of the input along `dim`.

    >>> import wengert as wg
    >>> wg.nn.functional.geglu([3.0, 0.0])
    Tensor([0.], dtype=float32)

    Source: Shazeer 2020.
    """
    a, b = _halves("geglu", input, dim)
    return a * gelu(b)


def swiglu(input: Any, dim: int = -1) -> Tensor:
    """`a ⊗ silu(b)`, with a and b the halves of the input along `dim`.

    >>> import wengert as wg
    >>> wg.nn.functional.swiglu([3.0, 0.0])
    Tensor([0.], dtype=float32)

    Source: Shazeer 2020.
    """
    a, b = _halves("swiglu", input, dim)
    return a * silu(b)


def _halves(op: str, input: Any, dim: int) -> tuple[Tensor, Tensor]:
    """The two halves along an axis, whose size must be even."""
    x = as_tensor(input)
    axis = normalize_axis(op, dim, x.ndim)
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise ShapeError(
            at(op),
            "the halved axis must have an even size",
            met=f"size {x.shape[axis]} along axis {axis} of {x.shape}",
            fix="let the layer before give twice the wanted features",
        )
    before = (slice(None),) * axis
    return x[(*before, slice(0, half))], x[(*before, slice(half, None))]
