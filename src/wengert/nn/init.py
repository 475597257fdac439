"""Initial values of parameters.

Each function gives a parameter new values in place, unrecorded, and returns it. Random ones draw
from `generator=` (a `wengert.random.Generator`), or from the default one. A weight has the outputs
on axis 0, the inputs on axis 1, and the positions of a convolution's kernel behind.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert import random
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.state import recording
from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.random import Generator

__all__ = [
    "calculate_fan_in_and_fan_out",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def _assign(op: str, tensor: Variable, values: Any) -> Variable:
    """The one place where a parameter gets its values."""
    _check(op, tensor)
    with recording(False):
        tensor.assign(values)
    return tensor


def _check(op: str, tensor: Any) -> None:
    if not isinstance(tensor, Variable):
        raise DtypeError(
            op,
            "only a Parameter or Variable can be given new values in place",
            met=type(tensor).__name__,
            cause="a plain tensor, whose values are immutable",
            fix="wrap it: wg.nn.Parameter(x)",
        )


def _draw_uniform(
    op: str, tensor: Variable, low: float, high: float, generator: Generator | None
) -> Variable:
    _check(op, tensor)
    drawn = random.uniform(low, high, tensor.shape, dtype=tensor.dtype, generator=generator)
    return _assign(op, tensor, drawn)


def _draw_normal(
    op: str, tensor: Variable, mean: float, std: float, generator: Generator | None
) -> Variable:
    _check(op, tensor)
    drawn = random.normal(mean, std, tensor.shape, dtype=tensor.dtype, generator=generator)
    return _assign(op, tensor, drawn)


# -- plain distributions and constants -----------------------------------------------------------


def uniform_(
    tensor: Variable, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Variable:
    """Fill with numbers from U(a, b).

    >>> import wengert as wg
    >>> w = wg.nn.init.uniform_(wg.nn.Parameter(wg.zeros(100)), -1.0, 1.0)
    >>> bool(wg.all(wg.abs(w) <= 1))
    True
    """
    return _draw_uniform("uniform_", tensor, a, b, generator)


def normal_(
    tensor: Variable, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Variable:
    """Fill with numbers from the normal distribution N(mean, std²).

    >>> import wengert as wg
    >>> wg.nn.init.normal_(wg.nn.Parameter(wg.zeros((2, 3))), std=0.02).shape
    (2, 3)
    """
    return _draw_normal("normal_", tensor, mean, std, generator)


def trunc_normal_(
    tensor: Variable,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    generator: Generator | None = None,
) -> Variable:
    """Fill with numbers from N(mean, std²) given that they lie in [a, b] (bounds in units of x).

    >>> import wengert as wg
    >>> w = wg.nn.init.trunc_normal_(wg.nn.Parameter(wg.zeros(100)), std=0.02, a=-0.04, b=0.04)
    >>> bool(wg.all(wg.abs(w) <= 0.04))
    True
    """
    _check("trunc_normal_", tensor)
    if not (std > 0 and a < b):
        raise ArgumentError(
            "trunc_normal_",
            "needs std > 0 and a < b",
            met=f"std={std}, a={a}, b={b}",
            fix="pass positive std, and the bounds in ascending order",
        )
    lower, upper = (a - mean) / std, (b - mean) / std
    drawn = random.truncated_normal(
        mean, std, lower, upper, tensor.shape, dtype=tensor.dtype, generator=generator
    )
    return _assign("trunc_normal_", tensor, xp.clip(drawn, a, b))


def constant_(tensor: Variable, val: float) -> Variable:
    """Fill with one value.

    >>> import wengert as wg
    >>> wg.nn.init.constant_(wg.nn.Parameter(wg.zeros(2)), 0.5).tolist()
    [0.5, 0.5]
    """
    _check("constant_", tensor)
    return _assign("constant_", tensor, np.full(tensor.shape, val, tensor.dtype))


def ones_(tensor: Variable) -> Variable:
    """Fill with ones.

    >>> import wengert as wg
    >>> wg.nn.init.ones_(wg.nn.Parameter(wg.zeros(2))).tolist()
    [1.0, 1.0]
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Variable) -> Variable:
    """Fill with zeros.

    >>> import wengert as wg
    >>> wg.nn.init.zeros_(wg.nn.Parameter(wg.ones(2))).tolist()
    [0.0, 0.0]
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Variable) -> Variable:
    """Fill a matrix with ones on the diagonal and zeros elsewhere: a layer that passes its inputs.

    >>> import wengert as wg
    >>> wg.nn.init.eye_(wg.nn.Parameter(wg.zeros((2, 3)))).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    _check("eye_", tensor)
    _need_matrix("eye_", tensor, exactly=True)
    return _assign("eye_", tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor: Variable, groups: int = 1) -> Variable:
    """Fill a convolution's weight (3 to 5 axes) with Dirac delta functions: the layer passes as
    many channels as it can, in each of its groups.

    >>> import wengert as wg
    >>> wg.nn.init.dirac_(wg.nn.Parameter(wg.ones((1, 1, 3)))).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    _check("dirac_", tensor)
    if tensor.ndim not in (3, 4, 5):
        raise ShapeError(
            "dirac_",
            "takes the weight of a convolution, of 3 to 5 axes",
            met=f"{tensor.shape}",
            fix="use eye_ for a matrix",
        )
    if groups < 1 or tensor.shape[0] % groups:
        raise ShapeError(
            "dirac_",
            "the output channels must divide evenly into the groups",
            met=f"{tensor.shape[0]} channels in {groups} groups",
            fix="pass the groups of the layer",
        )
    per_group = tensor.shape[0] // groups
    values = np.zeros(tensor.shape, tensor.dtype)
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, tensor.shape[1])):
            values[(group * per_group + channel, channel, *middle)] = 1
    return _assign("dirac_", tensor, values)


# -- variance-preserving distributions -----------------------------------------------------------


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which the standard deviation of weights makes up for an activation.

    `param` is the negative slope of "leaky_relu" (0.01 by default).

    >>> import wengert as wg
    >>> wg.nn.init.calculate_gain("relu") == 2**0.5
    True
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        raise ArgumentError(
            "calculate_gain",
            "no gain is known for this activation",
            met=repr(nonlinearity),
            fix="use one of " + ", ".join([*_GAINS, "leaky_relu"]),
        )
    return _GAINS[nonlinearity]


_LINEAR = ("linear", "sigmoid", "conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_GAINS: dict[str, float] = {
    **dict.fromkeys((*_LINEAR, *_TRANSPOSED), 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs one output of a weight has, and how many outputs one input.

    >>> import wengert as wg
    >>> wg.nn.init.calculate_fan_in_and_fan_out(wg.zeros((16, 3, 5, 5)))
    (75, 400)
    """
    _need_matrix("calculate_fan_in_and_fan_out", tensor)
    positions = math.prod(tensor.shape[2:])
    return tensor.shape[1] * positions, tensor.shape[0] * positions


def _need_matrix(op: str, tensor: Tensor, exactly: bool = False) -> None:
    if tensor.ndim < 2 or (exactly and tensor.ndim > 2):
        raise ShapeError(
            op,
            "takes a matrix" if exactly else "takes a weight of 2 or more axes",
            met=f"{tensor.shape}",
            cause="a bias, which has no fan-in" if tensor.ndim < 2 else "",
            fix="use zeros_ or constant_ for a bias" if tensor.ndim < 2 else "use dirac_",
        )


def _fan(op: str, tensor: Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(op, "unknown mode", met=repr(mode), fix="use 'fan_in' or 'fan_out'")
    _need_matrix(op, tensor)
    fan_in, fan_out = calculate_fan_in_and_fan_out(tensor)
    return max(fan_in if mode == "fan_in" else fan_out, 1)  # an empty weight has no fan


def _xavier_std(op: str, tensor: Variable, gain: float) -> float:
    return gain * math.sqrt(2.0 / (_fan(op, tensor, "fan_in") + _fan(op, tensor, "fan_out")))


def xavier_uniform_(
    tensor: Variable, gain: float = 1.0, generator: Generator | None = None
) -> Variable:
    """U(−a, a) with `a = gain·√(6 / (fan_in + fan_out))`: keeps the variance of values forward and
    of gradients backward as well as both allow.

    >>> import wengert as wg
    >>> w = wg.nn.init.xavier_uniform_(wg.nn.Parameter(wg.zeros((3, 3))))
    >>> bool(wg.all(wg.abs(w) <= 1))
    True

    Source: Glorot and Bengio 2010.
    """
    bound = math.sqrt(3.0) * _xavier_std("xavier_uniform_", tensor, gain)
    return _draw_uniform("xavier_uniform_", tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Variable, gain: float = 1.0, generator: Generator | None = None
) -> Variable:
    """N(0, s²) with `s = gain·√(2 / (fan_in + fan_out))`; see `xavier_uniform_`.

    >>> import wengert as wg
    >>> wg.nn.init.xavier_normal_(wg.nn.Parameter(wg.zeros((2, 3)))).shape
    (2, 3)

    Source: Glorot and Bengio 2010.
    """
    std = _xavier_std("xavier_normal_", tensor, gain)
    return _draw_normal("xavier_normal_", tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Variable,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Variable:
    """U(−b, b) with `b = gain·√(3 / fan)`: keeps the variance of values (`mode="fan_in"`) or of
    gradients (`"fan_out"`) through rectifiers with negative slope `a`.

    >>> import wengert as wg
    >>> w = wg.nn.init.kaiming_uniform_(wg.nn.Parameter(wg.zeros((8, 6))))
    >>> bool(wg.all(wg.abs(w) <= 1))
    True

    Source: He, Zhang, Ren and Sun 2015.
    """
    fan = _fan("kaiming_uniform_", tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / fan)
    return _draw_uniform("kaiming_uniform_", tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Variable,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Variable:
    """N(0, s²) with `s = gain / √fan`; see `kaiming_uniform_`.

    >>> import wengert as wg
    >>> wg.nn.init.kaiming_normal_(wg.nn.Parameter(wg.zeros((2, 3))), nonlinearity="relu").shape
    (2, 3)

    Source: He, Zhang, Ren and Sun 2015.
    """
    fan = _fan("kaiming_normal_", tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    return _draw_normal("kaiming_normal_", tensor, 0.0, std, generator)


def lecun_uniform_(tensor: Variable, generator: Generator | None = None) -> Variable:
    """U(−a, a) with `a = √(3 / fan_in)`: unit variance of outputs for unit variance of inputs.

    >>> import wengert as wg
    >>> w = wg.nn.init.lecun_uniform_(wg.nn.Parameter(wg.zeros((4, 3))))
    >>> bool(wg.all(wg.abs(w) <= 1))
    True

    Source: LeCun, Bottou, Orr and Müller 1998, Efficient BackProp.
    """
    bound = math.sqrt(3.0 / _fan("lecun_uniform_", tensor, "fan_in"))
    return _draw_uniform("lecun_uniform_", tensor, -bound, bound, generator)


def lecun_normal_(tensor: Variable, generator: Generator | None = None) -> Variable:
    """N(0, 1 / fan_in); the initialisation that `selu` networks assume.

    >>> import wengert as wg
    >>> wg.nn.init.lecun_normal_(wg.nn.Parameter(wg.zeros((2, 3)))).shape
    (2, 3)

    Source: LeCun, Bottou, Orr and Müller 1998; Klambauer et al. 2017.
    """
    std = math.sqrt(1.0 / _fan("lecun_normal_", tensor, "fan_in"))
    return _draw_normal("lecun_normal_", tensor, 0.0, std, generator)


glorot_uniform_, glorot_normal_ = xavier_uniform_, xavier_normal_
he_uniform_, he_normal_ = kaiming_uniform_, kaiming_normal_


# -- structured matrices -------------------------------------------------------------------------


def orthogonal_(
    tensor: Variable, gain: float = 1.0, generator: Generator | None = None
) -> Variable:
    """Fill with a random (semi-)orthogonal matrix times `gain`; axes behind the first are joined.

    The matrix is uniformly distributed (Haar): Q of the QR decomposition of a normal matrix, with
    the signs of R's diagonal.

    >>> import wengert as wg
    >>> w = wg.nn.init.orthogonal_(wg.nn.Parameter(wg.zeros((2, 5), dtype=wg.float64)))
    >>> bool(wg.allclose(w @ w.T, wg.eye(2, dtype=wg.float64)))
    True

    Source: Saxe, McClelland and Ganguli 2014; Mezzadri 2007.
    """
    _check("orthogonal_", tensor)
    _need_matrix("orthogonal_", tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    if tensor.size == 0:
        return tensor
    tall = (max(rows, columns), min(rows, columns))
    normal = random.normal(shape=tall, dtype="float64", generator=generator)
    q, r = np.linalg.qr(normal._values("orthogonal_"))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    values = gain * (q if rows >= columns else q.T)
    return _assign("orthogonal_", tensor, values.reshape(tensor.shape).astype(tensor.dtype))


def sparse_(
    tensor: Variable, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Variable:
    """Fill a matrix with numbers from N(0, std²), a fraction `sparsity` of each column zero.

    >>> import wengert as wg
    >>> w = wg.nn.init.sparse_(wg.nn.Parameter(wg.zeros((10, 4))), sparsity=0.3)
    >>> wg.sum(w == 0, axis=0).tolist()
    [3, 3, 3, 3]

    Source: Martens 2010.
    """
    _check("sparse_", tensor)
    _need_matrix("sparse_", tensor, exactly=True)
    if not 0 <= sparsity <= 1:
        raise ArgumentError(
            "sparse_",
            "sparsity is a fraction from 0 to 1",
            met=f"{sparsity}",
            fix="pass 0.1 for one zero in ten",
        )
    rows = tensor.shape[0]
    zeros = math.ceil(sparsity * rows)
    normal = random.normal(0.0, std, tensor.shape, dtype=tensor.dtype, generator=generator)
    order = random.uniform(shape=tensor.shape, dtype="float64", generator=generator)
    rank = np.argsort(np.argsort(order._values("sparse_"), axis=0), axis=0)
    return _assign("sparse_", tensor, np.where(rank < zeros, 0, normal._values("sparse_")))
