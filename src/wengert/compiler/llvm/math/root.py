"""The cube root, and the length of (x, y)."""

from __future__ import annotations

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.exact import plus, two_product
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32


@once
def hypot(k: Arithmetic, x: Value, y: Value) -> Value:
    """√(x² + y²) without overflow on the way; float32 is computed in float64."""
    inf = float("inf")
    infinite = k.either(k.isinf(x), k.isinf(y))  # also beside a NaN
    if x.element == F32:
        a, b = k.double(x), k.double(y)
        return k.select(infinite, inf, k.single(k.sqrt(k.fma(a, a, b * b))))
    a, b = k.abs(x), k.abs(y)
    larger, smaller = k.maximum(a, b), k.minimum(a, b)
    # By a power of 2 into a range where squares are neither too large nor too small.
    down, up = k.gt(larger, 2.0**500), k.lt(larger, 2.0**-400)
    scale = k.select(down, k.constant(x, 2.0**-600), k.select(up, k.constant(x, 2.0**600), 1.0))
    back = k.select(down, k.constant(x, 2.0**600), k.select(up, k.constant(x, 2.0**-600), 1.0))
    larger, smaller = larger * scale, smaller * scale
    square = plus(two_product(k, larger, larger), two_product(k, smaller, smaller))
    root = k.sqrt(square.hi)
    over = two_product(k, root, root)
    rest = ((square.hi - over.hi) - over.lo) + square.lo
    safe = k.select(k.gt(root, 0.0), root, 1.0)
    return k.select(infinite, inf, k.fma(rest / safe, 0.5, root) * back)


@once
def cbrt(k: Arithmetic, x: Value) -> Value:
    """The cube root; float32 is computed in float64."""
    if x.element == F32:
        return k.single(cbrt(k, k.double(x)))
    form = FORMATS[x.element]
    size = k.abs(x)
    special = k.negated(k.both(k.gt(size, 0.0), k.isfinite(x)))
    small = k.lt(size, form.least_normal)
    size = k.select(small, size * 2.0**54, size)
    bits = k.bits(size)
    e = (bits >> form.digits) - form.bias  # x = m·2ᵉ
    m = k.from_bits((bits & ((1 << form.digits) - 1)) | (form.bias << form.digits))
    # e = 3q + s, by way of floats: the numbers are small
    third = k.floor(k.f.cast("sitofp", e, x.type) * (1.0 / 3.0) + 1e-9)
    q = k.f.cast("fptosi", third, e.type)
    s = e - (q + q + q)
    t = m * k.power_of_two(s)  # 1 ≤ t < 8
    y = k.poly(t, _START)
    for _ in range(2):  # Halley's method: three times as many digits at each step
        cube = y * y * y
        y = y - y * (cube - t) / k.fma(cube, 2.0, t)
    # One step of Newton's with the residue to twice the digits.
    square = two_product(k, y, y)
    cube2 = two_product(k, square.hi, y)
    residue = ((cube2.hi - t) + cube2.lo) + square.lo * y
    y = y - residue / (3.0 * square.hi)
    q = k.select(small, q - 18, q)
    found = k.copysign(y * k.power_of_two(q), x)
    return k.select(special, x, found)


_START = (
    -4.3209933e-04,
    9.58379e-03,
    -8.3774894e-02,
    4.4919336e-01,
    6.2729484e-01,
)  # t^⅓ on [1, 8]
