"""`Scalars`: what an op's `Pointwise` rule writes with, `rule(k, *operands, **params) -> result`.

Operands are values, scalar or vector, of one dtype: `+ - * /` and `& | ^` combine them with each
other and with Python numbers, and `k` has everything else. Comparisons give conditions (i1).
"""

from __future__ import annotations

from wengert.compiler.llvm import convert
from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math import (
    error,
    exponential,
    gamma,
    hyperbolic,
    inverse,
    logarithm,
    neighbour,
    power,
    remainder,
    root,
    sinc,
    trigonometric,
)
from wengert.core.dtypes import DType


class Scalars(Arithmetic):
    """Arithmetic with the functions of `compiler.llvm.math`, and conversions."""

    # -- dtypes ------------------------------------------------------------------------------

    def cast(self, x: Value, source: DType, target: DType) -> Value:
        """A value of one dtype as one of another."""
        return convert.cast(self, x, source, target)

    def rounded(self, x: Value) -> Value:
        """An intermediate result, rounded to the dtype of the operands where that is a half."""
        return convert.rounded(self, x, self.dtype)

    # -- functions of one operand ------------------------------------------------------------

    def exp(self, x: Value) -> Value:
        """eˣ."""
        return exponential.exp(self, x)

    def exp2(self, x: Value) -> Value:
        """2ˣ."""
        return exponential.exp2(self, x)

    def expm1(self, x: Value) -> Value:
        """eˣ − 1."""
        return exponential.expm1(self, x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + e⁻ˣ)."""
        return exponential.sigmoid(self, x)

    def softplus(self, x: Value) -> Value:
        """log(1 + eˣ)."""
        return exponential.softplus(self, x)

    def log(self, x: Value) -> Value:
        """The natural logarithm."""
        return logarithm.log(self, x)

    def log2(self, x: Value) -> Value:
        """The logarithm to base 2."""
        return logarithm.log2(self, x)

    def log10(self, x: Value) -> Value:
        """The logarithm to base 10."""
        return logarithm.log10(self, x)

    def log1p(self, x: Value) -> Value:
        """log(1 + x)."""
        return logarithm.log1p(self, x)

    def sin(self, x: Value) -> Value:
        """The sine."""
        return trigonometric.sin(self, x)

    def cos(self, x: Value) -> Value:
        """The cosine."""
        return trigonometric.cos(self, x)

    def tan(self, x: Value) -> Value:
        """The tangent."""
        return trigonometric.tan(self, x)

    def asin(self, x: Value) -> Value:
        """The arc sine."""
        return inverse.asin(self, x)

    def acos(self, x: Value) -> Value:
        """The arc cosine."""
        return inverse.acos(self, x)

    def atan(self, x: Value) -> Value:
        """The arc tangent."""
        return inverse.atan(self, x)

    def sinh(self, x: Value) -> Value:
        """The hyperbolic sine."""
        return hyperbolic.sinh(self, x)

    def cosh(self, x: Value) -> Value:
        """The hyperbolic cosine."""
        return hyperbolic.cosh(self, x)

    def tanh(self, x: Value) -> Value:
        """The hyperbolic tangent."""
        return hyperbolic.tanh(self, x)

    def asinh(self, x: Value) -> Value:
        """The inverse of sinh."""
        return hyperbolic.asinh(self, x)

    def acosh(self, x: Value) -> Value:
        """The inverse of cosh."""
        return hyperbolic.acosh(self, x)

    def atanh(self, x: Value) -> Value:
        """The inverse of tanh."""
        return hyperbolic.atanh(self, x)

    def erf(self, x: Value) -> Value:
        """The error function."""
        return error.erf(self, x)

    def erfc(self, x: Value) -> Value:
        """1 − erf(x)."""
        return error.erfc(self, x)

    def erfinv(self, x: Value) -> Value:
        """The inverse of erf."""
        return error.erfinv(self, x)

    def lgamma(self, x: Value) -> Value:
        """log |Γ(x)|."""
        return gamma.lgamma(self, x)

    def cbrt(self, x: Value) -> Value:
        """The cube root."""
        return root.cbrt(self, x)

    def polygamma(self, x: Value, n: int) -> Value:
        """The n-th derivative of ψ, the derivative of log Γ."""
        return gamma.polygamma(self, x, n)

    def sinc(self, x: Value, order: int) -> Value:
        """The `order`-th derivative of sin(πx) / (πx)."""
        return sinc.sinc(self, x, order)

    # -- functions of two operands -----------------------------------------------------------

    def logaddexp(self, x: Value, y: Value) -> Value:
        """log(eˣ + eʸ)."""
        return exponential.logaddexp(self, x, y)

    def hypot(self, x: Value, y: Value) -> Value:
        """√(x² + y²)."""
        return root.hypot(self, x, y)

    def pow(self, x: Value, y: Value) -> Value:
        """xʸ."""
        return power.pow(self, x, y)

    def nextafter(self, x: Value, y: Value) -> Value:
        """The number next to x in the direction of y."""
        return neighbour.nextafter(self, x, y)

    def atan2(self, y: Value, x: Value) -> Value:
        """The angle of the point (x, y)."""
        return inverse.atan2(self, y, x)

    def power(self, x: Value, exponent: float) -> Value:
        """x to the power of a constant; of integers, one that is not negative."""
        if not self.is_float:
            return self.integer_power(x, int(exponent))
        return power.constant_power(self, x, float(self.dtype.type(exponent)))

    def floor_divide(self, x: Value, y: Value) -> Value:
        """⌊x/y⌋; 0 for integers divided by 0."""
        if self.is_float:
            return remainder.floor_divide(self, x, y)
        return self.integer_divmod(x, y, floor=True)[0]

    def remainder(self, x: Value, y: Value) -> Value:
        """x − ⌊x/y⌋·y, with the sign of y."""
        if self.is_float:
            return remainder.remainder(self, x, y)
        return self.integer_divmod(x, y, floor=True)[1]

    def fmod(self, x: Value, y: Value) -> Value:
        """x − n·y for n = x/y rounded towards 0, with the sign of x."""
        if self.is_float:
            return remainder.fmod(self, x, y)
        return self.integer_divmod(x, y, floor=False)[1]

    def xlogy(self, x: Value, y: Value) -> Value:
        """x·log y; 0 where x = 0, also beside log 0."""
        nothing = self.both(self.eq(x, 0.0), self.negated(self.isnan(y)))
        return self.select(nothing, 0.0, x * self.log(y))

    def heaviside(self, x: Value, y: Value) -> Value:
        """0 for x < 0, 1 for x > 0, y at 0."""
        found = self.select(self.gt(x, 0.0), self.constant(x, 1.0), y)
        found = self.select(self.lt(x, 0.0), 0.0, found)
        return self.select(self.isnan(x), x, found)
