"""Element-wise arithmetic, rounding, comparison, logic and bits.

Each op is its NumPy reference and its partial derivatives, one an operand. Functions such as `exp`
are in `functions`, choices such as `where` and `maximum` in `selection`.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.lowering import Pointwise
from wengert.core.op import Array, Op
from wengert.core.rules import elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import describe
from wengert.core.tensor import Tensor


def flat(g: Tensor) -> None:
    """The derivative of a step function: zero, so that results stay tracked and gradients are 0."""
    return


# -- arithmetic --------------------------------------------------------------------------------

add: Op = elementwise(
    "add", np.add, lambda g: g, lambda g: g, takes="any", lower=lambda k, x, y: k.add(x, y)
)
sub: Op = elementwise(
    "sub", np.subtract, lambda g: g, lambda g: neg(g), takes="numeric", lower=lambda k, x, y: x - y
)
mul: Op = elementwise(
    "mul",
    np.multiply,
    lambda g, y: mul(g, y),
    lambda g, x: mul(g, x),
    takes="any",
    lower=lambda k, x, y: k.mul(x, y),
)
div: Op = elementwise(
    "div",
    np.true_divide,
    lambda g, y: div(g, y),
    lambda g, y, out: neg(mul(g, div(out, y))),
    domain=(0.5, 2.0),
    lower=lambda k, x, y: x / y,
)
neg: Op = elementwise("neg", np.negative, lambda g: neg(g), takes="numeric", lower=lambda k, x: -x)
positive: Op = elementwise(
    "positive", lambda x: x, lambda g: g, takes="any", cost="view", lower=lambda k, x: x
)
abs: Op = elementwise(
    "abs", np.abs, lambda g, x: mul(g, sign(x)), takes="numeric", lower=lambda k, x: k.abs(x)
)
sign: Op = elementwise("sign", np.sign, flat, takes="numeric", lower=lambda k, x: k.sign(x))
square: Op = elementwise(
    "square", np.square, lambda g, x: mul(g, add(x, x)), takes="numeric", lower=lambda k, x: x * x
)
reciprocal: Op = elementwise(
    "reciprocal",
    np.reciprocal,
    lambda g, out: neg(mul(g, square(out))),
    domain=(0.5, 2.0),
    lower=lambda k, x: 1.0 / x,
)


def _ratios(rng: np.random.Generator) -> list[Sample | Wrong]:
    """Operands whose quotients lie well between 2 and 3: no jump near them."""
    x, y = rng.uniform(2.6, 2.9, (3, 4)), rng.uniform(1.0, 1.2, (3, 4))
    return [
        Sample((x, y)),
        Sample((-x[:, :1], y[0])),
        Sample((x[0, 0], -y[0])),
        Sample((x[:0], y[:0])),
        Sample((np.array([-3.0, 4.0, 0.0, 5.5]), np.array([2.0, -2.0, 3.0, -2.0])), smooth=False),
        Wrong((x[:2], y), {}, ShapeError, "cannot be broadcast"),
    ]


floor_divide: Op = elementwise(
    "floor_divide",
    np.floor_divide,
    flat,
    flat,
    takes="numeric",
    samples=_ratios,
    lower=lambda k, x, y: k.floor_divide(x, y),
)
# x = floor(x/y)·y + remainder, so the slope in y is minus the quotient.
remainder: Op = elementwise(
    "remainder",
    np.remainder,
    lambda g: g,
    lambda g, x, y: neg(mul(g, floor_divide(x, y))),
    takes="numeric",
    samples=_ratios,
    lower=lambda k, x, y: k.remainder(x, y),
)
fmod: Op = elementwise(
    "fmod",
    np.fmod,
    lambda g: g,
    lambda g, x, y: neg(mul(g, trunc(div(x, y)))),
    takes="numeric",
    samples=_ratios,
    lower=lambda k, x, y: k.fmod(x, y),
)


# -- powers ------------------------------------------------------------------------------------


def _root(x: Array) -> Any:
    """x^½ of IEEE 754. It is √x but for −∞ (∞) and −0 (0): NumPy takes √x there as well."""
    return np.abs(np.sqrt(np.where(x == -np.inf, -x, x)))


def _pow(x: Array, y: Array) -> Any:
    try:
        return _root(x) if y.ndim == 0 and y == 0.5 else np.power(x, y)
    except ValueError:
        if x.dtype.kind == "f":
            raise  # shapes that do not fit
        raise _negative_exponent(describe(x, y)) from None


def _negative_exponent(met: str) -> ArgumentError:
    return ArgumentError(
        "pow",
        "an integer has no integer power with a negative exponent",
        met=met,
        fix="cast the base first: wg.astype(x, wg.float32) ** y",
    )


def _pow_base(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # d/dx = y·x^(y−1). At x = y = 0 that is 0·∞; x⁰ is constant, so the slope is 0.
    from wengert.ops.selection import where

    constant = logical_and(equal(x, 0.0), equal(y, 0.0))
    slope: Tensor = mul(y, pow(x, sub(where(constant, 1.0, y), 1.0)))
    out: Tensor = mul(g, slope)
    return out


def _pow_exponent(g: Tensor, x: Tensor, y: Tensor, out: Tensor) -> Tensor:
    # d/dy = x^y·log x. At x = 0 it tends to 0 for every y > 0, and 0^y is constant there.
    from wengert.ops.functions import log
    from wengert.ops.selection import where

    constant = logical_and(equal(x, 0.0), greater_equal(y, 0.0))
    slope: Tensor = mul(g, mul(out, log(where(constant, 1.0, x))))
    return slope


def _pow_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    base, exponent = rng.uniform(0.3, 2.0, (3, 4)), rng.uniform(-2.0, 2.0, (3, 4))
    edges = np.array([0.0, 0.0, 0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0, 0.0, -1.0])
    whole = np.array([2, 3]), np.array([-1, 2])
    return [
        Sample((base, exponent)),
        Sample((base[:, :1], exponent[0])),
        Sample((base[0, 0], exponent[0])),
        Sample((base[:0], exponent[:0])),
        Sample(edges, smooth=False),
        Wrong((base[:2], exponent), {}, ShapeError, "cannot be broadcast"),
        Wrong(whole, {}, ArgumentError, "negative exponent"),
    ]


# Powers of integers can fail, at exponents that only the reference sees.
pow: Op = elementwise(
    "pow",
    _pow,
    _pow_base,
    _pow_exponent,
    takes="numeric",
    samples=_pow_samples,
    lower=Pointwise(lambda k, x, y: k.pow(x, y), dtypes.FLOATS),
)


def _power(x: Array, exponent: float) -> Any:
    if exponent == 3:
        return x * x * x
    if x.dtype.kind in "iu":
        if exponent < 0:
            raise _negative_exponent(f"{describe(x)} to the power of {exponent}")
        return np.power(x, np.asarray(exponent, x.dtype))
    return _root(x) if exponent == 0.5 else np.power(x, x.dtype.type(exponent))


def _power_slope(g: Tensor, x: Tensor, exponent: float) -> Tensor | None:
    if exponent == 0:
        return None
    out: Tensor = mul(g, mul(raised(x, exponent - 1), exponent))
    return out


def raised(x: Tensor, exponent: float) -> Tensor:
    """`x` to the power of a Python number, by the cheapest op that gives it."""
    if exponent == 1:
        return x
    out: Tensor = square(x) if exponent == 2 else power(x, exponent=exponent)
    return out


def _lower_power(k: Any, x: Any, exponent: float) -> Any:
    if not k.is_float and exponent < 0:
        raise _negative_exponent(f"{k.dtype} array to the power of {exponent}")
    return k.power(x, exponent)


# The exponent is a Python number: no derivative in it, and a short one in x.
power: Op = elementwise(
    "power",
    _power,
    _power_slope,
    takes="numeric",
    samples=lambda rng: [
        Sample((rng.uniform(-2.0, 2.0, (3, 4)),), {"exponent": 3}),
        Sample((rng.uniform(0.5, 2.0, ()),), {"exponent": -1.5}),
        Sample((np.array([0.0, -1.0, 2.0]),), {"exponent": 4}),
        Wrong((np.array([2]),), {"exponent": -1}, ArgumentError, "negative exponent"),
    ],
    lower=_lower_power,
)


# -- rounding ----------------------------------------------------------------------------------

floor: Op = elementwise("floor", np.floor, flat, takes="numeric", lower=lambda k, x: k.floor(x))
ceil: Op = elementwise("ceil", np.ceil, flat, takes="numeric", lower=lambda k, x: k.ceil(x))
trunc: Op = elementwise("trunc", np.trunc, flat, takes="numeric", lower=lambda k, x: k.trunc(x))


def _lower_round(k: Any, x: Any, decimals: int = 0) -> Any:
    if decimals == 0 or (decimals > 0 and not k.is_float):
        return k.rint(x)
    if not k.is_float:  # as the reference: by way of float64
        wide = k.rint(k.cast(x, k.dtype, dtypes.float64) / 10.0**-decimals) * 10.0**-decimals
        return k.cast(wide, dtypes.float64, k.dtype)
    scale = float(10 ** builtins.abs(decimals))
    if decimals > 0:
        return k.rint(k.rounded(x * scale)) / scale
    return k.rint(k.rounded(x / scale)) * scale


# Halves go to the even neighbour.
round: Op = elementwise(
    "round", lambda x, decimals=0: np.round(x, decimals), flat, takes="numeric", lower=_lower_round
)
# A step of one unit in the last place: as a function of x it has slope 1.
nextafter: Op = elementwise(
    "nextafter", np.nextafter, lambda g: g, flat, lower=lambda k, x, y: k.nextafter(x, y)
)
copysign: Op = elementwise(
    "copysign",
    np.copysign,
    lambda g, x, out: mul(g, mul(sign(x), sign(out))),
    flat,
    lower=lambda k, x, y: k.copysign(x, y),
)


# -- comparison and logic: results are bool, and have no derivative -----------------------------


def _compare(name: str, reference: Any, lower: Any) -> Op:
    op: Op = elementwise(name, reference, None, None, takes="any", gives="bool", lower=lower)
    return op


def _test(name: str, reference: Any, lower: Any) -> Op:
    op: Op = elementwise(name, reference, None, takes="any", gives="bool", lower=lower)
    return op


equal = _compare("equal", np.equal, lambda k, x, y: k.eq(x, y))
not_equal = _compare("not_equal", np.not_equal, lambda k, x, y: k.ne(x, y))
less = _compare("less", np.less, lambda k, x, y: k.lt(x, y))
less_equal = _compare("less_equal", np.less_equal, lambda k, x, y: k.le(x, y))
greater = _compare("greater", np.greater, lambda k, x, y: k.gt(x, y))
greater_equal = _compare("greater_equal", np.greater_equal, lambda k, x, y: k.ge(x, y))
logical_and = _compare("logical_and", np.logical_and, lambda k, x, y: k.truthy(x) & k.truthy(y))
logical_or = _compare("logical_or", np.logical_or, lambda k, x, y: k.truthy(x) | k.truthy(y))
logical_xor = _compare("logical_xor", np.logical_xor, lambda k, x, y: k.truthy(x) ^ k.truthy(y))
logical_not = _test("logical_not", np.logical_not, lambda k, x: k.negated(k.truthy(x)))
isnan = _test("isnan", np.isnan, lambda k, x: k.isnan(x))
isinf = _test("isinf", np.isinf, lambda k, x: k.isinf(x))
isfinite = _test("isfinite", np.isfinite, lambda k, x: k.isfinite(x))
signbit = _test("signbit", np.signbit, lambda k, x: k.signbit(x))


# -- bits --------------------------------------------------------------------------------------


def _bits(name: str, reference: Any, takes: str, lower: Any) -> Op:
    op: Op = elementwise(name, reference, None, None, takes=takes, lower=lower)
    return op


bitwise_and = _bits("bitwise_and", np.bitwise_and, "bits", lambda k, x, y: x & y)
bitwise_or = _bits("bitwise_or", np.bitwise_or, "bits", lambda k, x, y: x | y)
bitwise_xor = _bits("bitwise_xor", np.bitwise_xor, "bits", lambda k, x, y: x ^ y)
bitwise_invert: Op = elementwise(
    "bitwise_invert", np.invert, None, takes="bits", lower=lambda k, x: k.invert(x)
)
left_shift = _bits("left_shift", np.left_shift, "integer", lambda k, x, y: k.shift_left(x, y))
right_shift = _bits("right_shift", np.right_shift, "integer", lambda k, x, y: k.shift_right(x, y))
