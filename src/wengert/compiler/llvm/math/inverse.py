"""asin, acos, atan, atan2. The polynomials are minimax, fitted for this file."""

from __future__ import annotations

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64

_ASIN = {  # (asin s − s) / s³ in s² for s² ≤ ¼
    F32: (4.2233042e-02, 2.4142772e-02, 4.5477264e-02, 7.4952476e-02, 1.6666754e-01),
    F64: (
        *(0.032737162924384215, -0.02116844376883883, 0.021824113945289138),
        *(0.003659735061244826, 0.010792261086327528, 0.011396834111584426),
        *(0.013981066342420717, 0.017351592226658916, 0.022372216047033284),
        *(0.030381942671774742, 0.044642857175326914, 0.0749999999997009),
        0.16666666666666763,
    ),
}
_ATAN = {  # (atan q − q) / q³ in q² for |q| ≤ ½
    F32: (
        *(3.9013226e-02, -8.007193e-02, 1.0947971e-01),
        *(-1.4273064e-01, 1.9999553e-01, -3.3333328e-01),
    ),
    F64: (
        *(-0.008361817135440134, 0.02364973012470417, -0.03711576687556971),
        *(0.045893651189418724, -0.05230004084479198, 0.05877808642703967),
        *(-0.06666224209958363, 0.07692277581397781, -0.09090907702455363),
        *(0.11111111069952649, -0.14285714284996714, 0.19999999999993756),
        -0.33333333333333315,
    ),
}
_PI = {  # π in two numbers
    F32: (3.1415927410125732, -8.742277657347586e-08),
    F64: (3.141592653589793, 1.2246467991473532e-16),
}


def _arcsine(k: Arithmetic, x: Value) -> tuple[Value, Value, Value]:
    """Whether |x| > ½; s = |x|, or √((1 − |x|)/2) there; and asin s − s."""
    size = k.abs(x)
    outer = k.gt(size, 0.5)
    z = k.select(outer, k.fma(size, -0.5, 0.5), size * size)
    s = k.select(outer, k.sqrt(z), size)
    return outer, s, s * z * k.poly(z, _ASIN[x.element])


@once
def asin(k: Arithmetic, x: Value) -> Value:
    """The arc sine: π/2 − 2·asin √((1 − x)/2) for x > ½."""
    outer, s, rest = _arcsine(k, x)
    hi, lo = (0.5 * part for part in _PI[x.element])
    first = k.fma(s, -2.0, hi)
    lost = k.fma(s, -2.0, hi - first)  # by the rounding of that
    far = first + k.fma(rest, -2.0, lost + lo)
    return k.copysign(k.select(outer, far, s + rest), x)


@once
def acos(k: Arithmetic, x: Value) -> Value:
    """The arc cosine: π/2 − asin x, 2·asin √((1 − x)/2) or its difference to π."""
    outer, s, rest = _arcsine(k, x)
    hi, lo = _PI[x.element]
    negative = k.signbit(x)
    signed_s, signed_rest = k.flip_sign(s, x), k.flip_sign(rest, x)
    inner = (0.5 * hi - signed_s) + (0.5 * lo - signed_rest)
    near = 2.0 * (s + rest)
    beyond = k.fma(s, -2.0, hi) + k.fma(rest, -2.0, lo)
    return k.select(outer, k.select(negative, beyond, near), inner)


def _turn(k: Arithmetic, y: Value, x: Value) -> Value:
    """The angle of (x, y) for x, y ≥ 0, not both 0 and not both infinite."""
    steep = k.gt(y, x)
    longer, shorter = k.select(steep, y, x), k.select(steep, x, y)
    # q = shorter/longer, turned by π/4 where that makes it smaller
    turned = k.gt(shorter, longer * 0.5)
    bottom = k.select(turned, longer + shorter, longer)
    q = k.select(turned, shorter - longer, shorter) / bottom
    z = q * q
    rest = q * z * k.poly(z, _ATAN[x.element])
    # The angle is base + sign·(q + rest), with base 0, π/4, or π/2 less these.
    hi, lo = _PI[x.element]
    q, rest = k.select(steep, -q, q), k.select(steep, -rest, rest)
    quarter = k.select(turned, k.constant(x, 0.25 * hi), 0.0)
    quarter_lo = k.select(turned, k.constant(x, 0.25 * lo), 0.0)
    base = k.select(steep, 0.5 * hi - quarter, quarter)
    base_lo = k.select(steep, 0.5 * lo - quarter_lo, quarter_lo)
    total = base + q
    return total + (rest + (base_lo + (q - (total - base))))


@once
def atan(k: Arithmetic, x: Value) -> Value:
    """The arc tangent."""
    size = k.abs(x)
    found = _turn(k, k.at_most(size, 1e30), k.constant(x, 1.0))
    return k.copysign(found, x)


@once
def atan2(k: Arithmetic, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in [−π, π]."""
    inf = float("inf")
    height, length = k.abs(y), k.abs(x)
    # Points at infinity lie on an axis or a diagonal, and the origin on an axis.
    infinite = k.either(k.eq(height, inf), k.eq(length, inf))
    one, zero = k.constant(x, 1.0), k.constant(x, 0.0)
    on_y, on_x = k.eq(height, inf), k.eq(length, inf)
    nan = k.unordered(x, y)
    h = k.select(infinite, k.select(on_y, one, zero), height)
    w = k.select(infinite, k.select(on_x, one, zero), length)
    w = k.select(k.both(k.eq(h, 0.0), k.eq(w, 0.0)), one, w)
    # Scaled, so that neither their sum nor quotient leaves the range more than it must.
    large = k.gt(k.select(k.gt(h, w), h, w), 1.0)
    scale = k.select(large, k.constant(x, 0.25), 1.0)
    found = _turn(k, h * scale, w * scale)
    hi, lo = _PI[x.element]
    found = k.select(k.signbit(x), (hi - found) + lo, found)
    return k.select(nan, float("nan"), k.copysign(found, y))
