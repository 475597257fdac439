"""Element-wise arithmetic, rounding, comparison, logic and bits.

Each op is its NumPy reference and its partial derivatives, one an operand. Functions such as `exp`
are in `functions`, choices such as `where` and `maximum` in `selection`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import Array, Op
from wengert.core.rules import elementwise
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import describe
from wengert.core.tensor import Tensor


def flat(g: Tensor) -> None:
    """The derivative of a step function: zero, so that results stay tracked and gradients are 0."""
    return


# -- arithmetic --------------------------------------------------------------------------------

add: Op = elementwise("add", np.add, lambda g: g, lambda g: g, takes="any")
sub: Op = elementwise("sub", np.subtract, lambda g: g, lambda g: neg(g), takes="numeric")
mul: Op = elementwise(
    "mul", np.multiply, lambda g, y: mul(g, y), lambda g, x: mul(g, x), takes="any"
)
div: Op = elementwise(
    "div",
    np.true_divide,
    lambda g, y: div(g, y),
    lambda g, y, out: neg(mul(g, div(out, y))),
    domain=(0.5, 2.0),
)
neg: Op = elementwise("neg", np.negative, lambda g: neg(g), takes="numeric")
positive: Op = elementwise("positive", lambda x: x, lambda g: g, takes="any", cost="view")
abs: Op = elementwise("abs", np.abs, lambda g, x: mul(g, sign(x)), takes="numeric")
sign: Op = elementwise("sign", np.sign, flat, takes="numeric")
square: Op = elementwise("square", np.square, lambda g, x: mul(g, add(x, x)), takes="numeric")
reciprocal: Op = elementwise(
    "reciprocal", np.reciprocal, lambda g, out: neg(mul(g, square(out))), domain=(0.5, 2.0)
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
    "floor_divide", np.floor_divide, flat, flat, takes="numeric", samples=_ratios
)
# x = floor(x/y)·y + remainder, so the slope in y is minus the quotient.
remainder: Op = elementwise(
    "remainder",
    np.remainder,
    lambda g: g,
    lambda g, x, y: neg(mul(g, floor_divide(x, y))),
    takes="numeric",
    samples=_ratios,
)
fmod: Op = elementwise(
    "fmod",
    np.fmod,
    lambda g: g,
    lambda g, x, y: neg(mul(g, trunc(div(x, y)))),
    takes="numeric",
    samples=_ratios,
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
        raise ArgumentError(
            "pow",
            "an integer has no integer power with a negative exponent",
            met=describe(x, y),
            fix="cast the base first: wg.astype(x, wg.float32) ** y",
        ) from None


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


pow: Op = elementwise("pow", _pow, _pow_base, _pow_exponent, takes="numeric", samples=_pow_samples)


def _power(x: Array, exponent: float) -> Any:
    if exponent == 3:
        return x * x * x
    if x.dtype.kind in "iu":
        return _pow(x, np.asarray(exponent))
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
)


# -- rounding ----------------------------------------------------------------------------------

floor: Op = elementwise("floor", np.floor, flat, takes="numeric")
ceil: Op = elementwise("ceil", np.ceil, flat, takes="numeric")
trunc: Op = elementwise("trunc", np.trunc, flat, takes="numeric")
# Halves go to the even neighbour.
round: Op = elementwise("round", lambda x, decimals=0: np.round(x, decimals), flat, takes="numeric")
# A step of one unit in the last place: as a function of x it has slope 1.
nextafter: Op = elementwise("nextafter", np.nextafter, lambda g: g, flat)
copysign: Op = elementwise(
    "copysign", np.copysign, lambda g, x, out: mul(g, mul(sign(x), sign(out))), flat
)


# -- comparison and logic: results are bool, and have no derivative -----------------------------


def _compare(name: str, reference: Any) -> Op:
    op: Op = elementwise(name, reference, None, None, takes="any", gives="bool")
    return op


def _test(name: str, reference: Any) -> Op:
    op: Op = elementwise(name, reference, None, takes="any", gives="bool")
    return op


equal = _compare("equal", np.equal)
not_equal = _compare("not_equal", np.not_equal)
less = _compare("less", np.less)
less_equal = _compare("less_equal", np.less_equal)
greater = _compare("greater", np.greater)
greater_equal = _compare("greater_equal", np.greater_equal)
logical_and = _compare("logical_and", np.logical_and)
logical_or = _compare("logical_or", np.logical_or)
logical_xor = _compare("logical_xor", np.logical_xor)
logical_not = _test("logical_not", np.logical_not)
isnan = _test("isnan", np.isnan)
isinf = _test("isinf", np.isinf)
isfinite = _test("isfinite", np.isfinite)
signbit = _test("signbit", np.signbit)


# -- bits --------------------------------------------------------------------------------------

bitwise_and: Op = elementwise("bitwise_and", np.bitwise_and, None, None, takes="bits")
bitwise_or: Op = elementwise("bitwise_or", np.bitwise_or, None, None, takes="bits")
bitwise_xor: Op = elementwise("bitwise_xor", np.bitwise_xor, None, None, takes="bits")
bitwise_invert: Op = elementwise("bitwise_invert", np.invert, None, takes="bits")
left_shift: Op = elementwise("left_shift", np.left_shift, None, None, takes="integer")
right_shift: Op = elementwise("right_shift", np.right_shift, None, None, takes="integer")
