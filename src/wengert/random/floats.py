"""Floating numbers from random bits, and what all distributions do with their arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as F
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import Shape
from wengert.core.tensor import Tensor, as_tensor
from wengert.ops.elementwise import add, mul, neg, right_shift
from wengert.ops.functions import cos, log, sin, sqrt
from wengert.ops.selection import minimum
from wengert.random.generator import Generator, Source, source

# Bits of the significand: a uniform number is a random integer of that many bits, scaled.
_DIGITS = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}


def unit(source: Source, shape: Shape, dtype: DType) -> Tensor:
    """Uniform in [0, 1): k·2⁻ᵈ, where k are the upper d bits of a 32-bit word (64-bit for float64)
    and d is 24 for float32, 53 for float64, 11 for float16 and 8 for bfloat16."""
    word = dtypes.uint64 if dtype == dtypes.float64 else dtypes.uint32
    digits = _DIGITS[dtype]
    k = right_shift(source.bits(shape, word), word.itemsize * 8 - digits)
    scaled: Tensor = mul(cast_to(k, dtype), 2.0**-digits)
    return scaled


def open_unit(source: Source, shape: Shape, dtype: DType) -> Tensor:
    """Uniform in (0, 1), finer towards 0: (k + ½)·2⁻ʷ with all w = 32 (64) bits of a word, rounded
    to `dtype` (float32 or float64) and kept below 1. For logarithms, whose tails need it."""
    word = dtypes.uint64 if dtype == dtypes.float64 else dtypes.uint32
    k = cast_to(source.bits(shape, word), dtype)
    below_one = 1.0 - 2.0 ** -_DIGITS[dtype]
    inside: Tensor = minimum(mul(add(k, 0.5), 2.0 ** -(word.itemsize * 8)), below_one)
    return inside


def standard_normal(source: Source, shape: Shape, dtype: DType) -> Tensor:
    """Box and Muller 1958: a pair √(−2 ln u)·(cos 2πv, sin 2πv) from two uniform numbers."""
    count = math.prod(shape)
    half = (-(-count // 2),)
    radius = sqrt(mul(log(open_unit(source, half, dtype)), -2.0))
    angle = mul(unit(source, half, dtype), 2.0 * math.pi)
    pair = F.concat([mul(radius, cos(angle)), mul(radius, sin(angle))])
    return F.reshape(pair[:count] if count % 2 else pair, shape)


def standard_exponential(source: Source, shape: Shape, dtype: DType) -> Tensor:
    """−ln u; never 0."""
    drawn: Tensor = neg(log(open_unit(source, shape, dtype)))
    return drawn


def working(dtype: DType) -> DType:
    """The dtype to compute in: halves are drawn in float32 and rounded at the end."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32


class Draw:
    """The checked arguments of one call of a distribution.

    Python numbers among `params` stay as they are; anything else becomes a tensor. The shape of the
    result is `shape`, which the parameters must fit, or else the parameters' common shape.
    """

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        key: Tensor | None,
        generator: Generator | None,
        **params: Any,
    ) -> None:
        self.name = name
        self.source = source(name, key, generator)
        self.params = {k: _parameter(name, k, v) for k, v in params.items()}
        tensors = [p for p in self.params.values() if isinstance(p, Tensor)]
        self.dtype = _result_dtype(name, dtype, tensors)
        self.working = working(self.dtype)
        self.shape = _result_shape(name, shape, [t.shape for t in tensors])

    def require(self, param: str, low: float, high: float = math.inf, open: bool = False) -> None:
        """The error for a parameter outside [low, high], or (low, high] if `open`, or NaN."""
        value = self.params[param]
        if isinstance(value, Tensor):
            if value.is_symbolic:
                return
            value = value._data
        above = value > low if open else value >= low
        if np.all(above & (value <= high)):
            return
        wanted = f"{param} {'>' if open else '≥'} {low:g}"
        wanted += f" and ≤ {high:g}" if high < math.inf else ""
        raise ArgumentError(
            self.name,
            f"{wanted} is needed",
            met=str(value) if np.ndim(value) == 0 else f"values from {np.min(value)}",
            fix=f"check what {param} was computed from",
        )

    def affine(self, standard: Tensor, loc: str, scale: str) -> Tensor:
        """loc + scale · standard: the reparameterisation, differentiable in both."""
        loc_, scale_ = self.params[loc], self.params[scale]
        out = standard
        if isinstance(scale_, Tensor) or scale_ != 1.0:
            out = mul(out, self.cast(scale_))
        if isinstance(loc_, Tensor) or loc_ != 0.0:
            out = add(out, self.cast(loc_))
        return self.finish(out)

    def cast(self, param: Any) -> Any:
        """A parameter in the dtype of the computation."""
        return cast_to(param, self.working) if isinstance(param, Tensor) else param

    def finish(self, x: Tensor) -> Tensor:
        """The result in its dtype."""
        return cast_to(x, self.dtype)


def _parameter(name: str, param: str, value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return float(value)
    try:
        return as_tensor(value)
    except TypeError:
        raise DtypeError(
            name,
            f"{param} is a number or a tensor",
            met=repr(value),
            cause="the shape passed in the place of a parameter",
            fix=f"pass {param}=…, and shape=… by name",
        ) from None


def _result_dtype(name: str, dtype: Any, tensors: list[Tensor]) -> DType:
    if dtype is None:
        floats = [t.dtype for t in tensors if dtypes.is_float(t.dtype)]
        return dtypes.promote(*floats) if floats else dtypes.default_float()
    found = dtypes.as_dtype(dtype)
    if not dtypes.is_float(found):
        raise DtypeError(
            name,
            "the result is floating",
            met=f"dtype={found}",
            fix="pass a floating dtype; wg.random.randint draws integers",
        )
    return found


def as_shape(name: str, shape: Any) -> Shape:
    """An int or a sequence of ints as a shape."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else shape
    if isinstance(sizes, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in sizes):
        found = tuple(int(n) for n in sizes)
        if all(n >= 0 for n in found):
            return found
    raise ShapeError(
        name,
        "a shape is an int or a tuple of ints ≥ 0",
        met=repr(shape),
        fix="pass, for example, shape=(2, 3)",
    )


def _result_shape(name: str, shape: Any, params: list[Shape]) -> Shape:
    if not params and shape is not None:
        return as_shape(name, shape)
    try:
        common = np.broadcast_shapes(*params)
        if shape is None:
            return common
        wanted = as_shape(name, shape)
        if np.broadcast_shapes(common, wanted) == wanted:
            return wanted
    except ShapeError:
        raise
    except ValueError:
        pass
    met = " and ".join(map(str, params)) + ("" if shape is None else f" for shape={shape}")
    raise ShapeError(
        name,
        "the parameters' shapes do not fit each other or the wanted shape",
        met=met,
        cause="parameters are broadcast to the shape of the result",
        fix="pass a shape whose last axes are those of the parameters",
    )
