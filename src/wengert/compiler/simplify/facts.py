"""What can be proved of a term's values from how it is made: the conditions of exact rules.

Each proof looks a few terms up, no further; False means "not proved".
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_float
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lowering import View

_REACH = 8  # how many terms up a proof looks

_VIEWS = frozenset({"reshape", "permute", "broadcast_to", "slice", "flip", "diagonal", "windows"})

# e^x, x², |x| … are +0 where they are 0. A scatter adds to +0, which a −0 does not change. The zero
# of a sum of many terms has no promised sign, since the order of addition is not promised.
_NO_MINUS_ZERO = frozenset(
    {
        *("exp", "exp2", "square", "abs", "sigmoid", "cosh", "hypot", "softplus"),
        *("scatter_add", "sum", "contract", "conv", "conv_input", "conv_weight"),
    }
)


def never_minus_zero(b: Builder, x: Term, reach: int = _REACH) -> bool:
    """Whether no entry of `x` is −0, so that `x + 0` is `x`."""
    if not is_float(x) or x.name in _NO_MINUS_ZERO:
        return True
    if x.data is not None:
        known = b.number(x)
        data = np.asarray(known) if known is not None else x.data
        return data.size <= 4096 and not bool(np.any((data == 0) & np.signbit(data)))
    if not reach or x.op is None:
        return False
    reach -= 1
    if x.name == "add":  # rounded to nearest, a sum is −0 only where both terms are
        return any(never_minus_zero(b, a, reach) for a in x.args)
    if x.name == "sub" or x.name in _VIEWS or x.name == "gather":
        return never_minus_zero(b, x.args[0], reach)
    if x.name == "cast":
        from_integer = not is_float(x.args[0])
        return from_integer or (
            holds(x.args[0].dtype, x.dtype) and never_minus_zero(b, x.args[0], reach)
        )
    if x.name == "where":
        return all(never_minus_zero(b, a, reach) for a in x.args[1:])
    if x.name == "concatenate":
        return len(x.args) < 9 and all(never_minus_zero(b, a, reach) for a in x.args)
    return False


def names_entries(index: Term, size: int) -> bool:
    """Whether an index is int64, and all its entries are numbers of `size` things: none is negative
    or too large."""
    if index.dtype != dtypes.int64:
        return False
    while index.op is not None and isinstance(index.op.lower, View):
        (index,) = index.args
    if index.data is not None:
        few = index.data.size <= 1 << 16
        return few and bool(((index.data >= 0) & (index.data < size)).all())
    if index.name == "latest":
        return index.size <= size
    return index.name == "ravel_index" and prod(index.params["shape"]) == size


def finite(b: Builder, x: Term, reach: int = _REACH) -> bool:
    """Whether no entry of `x` is infinite or NaN."""
    if not is_float(x):
        return True
    if x.data is not None:
        known = b.number(x)
        data = np.asarray(known) if known is not None else x.data
        return data.size <= 4096 and bool(np.isfinite(data).all())
    if not reach or x.op is None:
        return False
    if x.name == "cast":
        return not is_float(x.args[0]) and x.dtype.itemsize >= 4
    if x.name in _VIEWS or x.name in ("neg", "abs", "relu", "gather"):
        return finite(b, x.args[0], reach - 1)
    if x.name in ("where", "minimum", "maximum"):
        return all(finite(b, a, reach - 1) for a in x.args[-2:])
    return False


def vanishes(b: Builder, x: Term, y: Term, reach: int = _REACH) -> bool:
    """Whether x is 0 (of either sign) wherever y is."""
    if x is y:
        return True
    number = b.number(x)
    if number is not None:
        return bool(number == 0)
    if not reach or x.op is None:
        return False
    reach -= 1
    if x.name in ("neg", "abs", "square", "relu"):
        return vanishes(b, x.args[0], y, reach)
    if x.name == "mul":
        p, q = x.args
        return (vanishes(b, p, y, reach) and finite(b, q, reach)) or (
            vanishes(b, q, y, reach) and finite(b, p, reach)
        )
    if x.name == "div":
        divisor = b.number(x.args[1])
        known = divisor is not None and bool(divisor != 0) and bool(divisor == divisor)
        return known and vanishes(b, x.args[0], y, reach)
    if x.name in ("add", "sub", "where"):
        return all(vanishes(b, a, y, reach) for a in x.args[-2:])
    return False


def tame(b: Builder, x: Term, y: Term, reach: int = _REACH) -> bool:
    """Whether x is finite wherever y is 0."""
    if finite(b, x, 2) or vanishes(b, x, y, reach):
        return True
    if not reach or x.op is None:
        return False
    if x.name == "annul":
        return x.args[1] is y or tame(b, x.args[0], y, reach - 1)
    if x.name == "mul" and y.name == "mul" and _same_but_for_numbers(b, x, y):
        return True
    if x.name == "neg":
        return tame(b, x.args[0], y, reach - 1)
    if x.name == "where":
        return all(tame(b, a, y, reach - 1) for a in x.args[1:])
    return False


def _same_but_for_numbers(b: Builder, x: Term, y: Term) -> bool:
    """Whether x is a·c and y is a·d, with such numbers that a is tiny where a·d is 0."""
    for a, c in (x.args, x.args[::-1]):
        for other, d in (y.args, y.args[::-1]):
            p, q = b.number(c), b.number(d)
            if a is other and p is not None and q is not None:
                return bool(abs(p) < 1e3) and bool(1e-3 < abs(q) < float("inf"))
    return False


def holds(dtype: DType, wide: DType) -> bool:
    """Whether each value of a dtype is a value of `wide`."""
    if dtype == wide or dtype == dtypes.bool:
        return True
    if wide == dtypes.bool:
        return False
    if dtypes.is_float(dtype):
        if not dtypes.is_float(wide):
            return False
        return dtype.itemsize < wide.itemsize
    bits = dtype.itemsize * 8 - (dtypes.kind(dtype) == "signed")
    if dtypes.is_float(wide):
        return bits <= _DIGITS[wide]
    room = wide.itemsize * 8 - (dtypes.kind(wide) == "signed")
    return bits <= room and not (dtypes.kind(dtype) == "signed" and dtypes.kind(wide) != "signed")


# Binary digits of a float; all whole numbers of so many are floats.
_DIGITS = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}


def power_of_two(number: Any) -> bool:
    """Whether a scalar is ±2ᵏ, and 1/scalar is as well, both far from the ends of the range:
    multiplying by either changes the exponent, and rounds once."""
    if number is None or number.dtype not in _EXPONENTS:
        return False
    fraction, exponent = np.frexp(float(number))
    return bool(abs(fraction) == 0.5) and abs(int(exponent)) <= _EXPONENTS[number.dtype]


_EXPONENTS = {dtypes.float16: 13, dtypes.bfloat16: 100, dtypes.float32: 100, dtypes.float64: 1000}
