"""Dropout: random zeros while training, the identity otherwise (Srivastava et al. 2014).

Every variant draws from the default generator of `wengert.random`, or from `generator=`.
`inplace` is accepted so that ported code runs, and changes nothing: tensors are immutable.
"""

from __future__ import annotations

import math
from typing import Any

from wengert import random
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor
from wengert.nn.functional.arguments import at, floating
from wengert.random import Generator

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]


def check_probability(op: str, p: float) -> None:
    """Raise unless `p` can be a probability."""
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(
            at(op),
            "p is the probability of a zero and lies from 0 to 1",
            met=repr(p),
            fix="pass, for example, p=0.5",
        )


def _masked(
    op: str, x: Any, p: float, training: bool, shape: Shape | None, generator: Generator | None
) -> Tensor:
    """x·m/(1 − p) with m of `shape` (that of x by default), zero with probability p."""
    x = floating(op, x)
    check_probability(op, p)
    if not training or p == 0.0:
        return x
    kept = random.bernoulli(
        1.0 - p, x.shape if shape is None else shape, dtype=x.dtype, generator=generator
    )
    return x * (kept * (1.0 / (1.0 - p)) if p < 1.0 else kept)


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Each element becomes zero with probability p, and the others are divided by 1 − p, so that
    the mean stays. Without `training` it is the identity.

    >>> import wengert as wg
    >>> wg.nn.functional.dropout(wg.ones(3), training=False)
    Tensor([1., 1., 1.], dtype=float32)
    """
    return _masked("dropout", input, p, training, None, generator)


def _channels(
    op: str, x: Any, p: float, training: bool, leads: dict[int, int], generator: Generator | None
) -> Tensor:
    """Dropout of whole channels; `leads` says for each number of axes how many stand in front of
    the positions that share one draw."""
    x = floating(op, x)
    if x.ndim not in leads:
        raise ShapeError(
            at(op),
            f"takes {' or '.join(map(str, leads))} axes",
            met=describe(x),
            fix="use dropout for arrays without channels",
        )
    lead = leads[x.ndim]
    return _masked(op, x, p, training, x.shape[:lead] + (1,) * (x.ndim - lead), generator)


def dropout1d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L)."""
    return _channels("dropout1d", input, p, training, {2: 1, 3: 2}, generator)


def dropout2d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout of whole channels of (N, C, H, W) or (N, C, L). Tompson et al. 2015."""
    return _channels("dropout2d", input, p, training, {3: 2, 4: 2}, generator)


def dropout3d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _channels("dropout3d", input, p, training, {4: 1, 5: 2}, generator)


# −scale·alpha of SELU: the value that a neuron saturates at.
_SATURATED = -1.0507009873554805 * 1.6732632423543772


def _alpha(
    op: str, x: Any, p: float, training: bool, shape: Shape | None, generator: Generator | None
) -> Tensor:
    """a·(x where kept, else α′) + b, with a and b such that mean 0 and variance 1 stay."""
    x = floating(op, x)
    check_probability(op, p)
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * _SATURATED**2))
    kept = random.bernoulli(
        1.0 - p, x.shape if shape is None else shape, dtype=x.dtype, generator=generator
    )
    offset = (1.0 - kept) * (scale * _SATURATED) - scale * p * _SATURATED
    return x * (kept * scale) + offset


def alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for networks of SELU.

    Klambauer, Unterthiner, Mayr and Hochreiter 2017.
    """
    return _alpha("alpha_dropout", input, p, training, None, generator)


def feature_alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, …)."""
    x = floating("feature_alpha_dropout", input)
    shape = x.shape[:2] + (1,) * (x.ndim - 2)
    return _alpha("feature_alpha_dropout", x, p, training, shape, generator)
