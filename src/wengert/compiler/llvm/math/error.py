"""The error function, its complement and its inverse. All polynomials are minimax, fitted for this
file, highest power first."""

from __future__ import annotations

import math

from wengert.compiler.llvm.arithmetic import FORMATS, Arithmetic
from wengert.compiler.llvm.emit import Value
from wengert.compiler.llvm.math.exact import ordered_sum, two_product, two_sum
from wengert.compiler.llvm.math.exponential import TABLES, as_power, nearest, split, times_power
from wengert.compiler.llvm.math.logarithm import log_of_sum
from wengert.compiler.llvm.math.once import once
from wengert.compiler.llvm.types import F32, F64

_MIDDLE = 0.9  # below it a polynomial in x, from it on 1 − erfc
_ONE = {F32: 3.93, F64: 5.93}  # where erf rounds to 1
_NEAR = {  # erf(x)/x − 1 in x²
    F32: (
        *(-6.007834e-04, 4.996533e-03, -2.6768941e-02),
        *(1.1281883e-01, -3.76125e-01, 1.2837915e-01),
    ),
    F64: (
        *(-9.79326747667313e-10, 1.4665936990709753e-08, -1.6402102592143573e-07),
        *(1.6469845232057248e-06, -1.4926350754074403e-05, 0.00012055369613637085),
        *(-0.0008548328199200123, 0.005223977648441158, -0.02686617064772504),
        *(0.11283791670970046, -0.37612638903184087, 0.1283791670955126),
    ),
}
_FAR = {  # log₂ erfc(x)
    F32: (
        *(2.8448162e-04, -4.4083623e-03, 3.213916e-02, -1.5009429e-01),
        *(-9.1908294e-01, -1.6269987e00, -2.5608577e-04),
    ),
    F64: (
        *(-2.9928707829841264e-13, 1.4759612096903936e-11, -3.4301626632101926e-10),
        *(4.99444961174475e-09, -5.105930825873569e-08, 3.88809925178136e-07),
        *(-2.278251454206618e-06, 1.0422251159950291e-05, -3.7060671458712654e-05),
        *(9.86532509539648e-05, -0.00017065554320037726, 4.9860012230126126e-05),
        *(0.0007725586466431858, -0.002390431771880698, 0.00027000108653360197),
        *(0.027610020339180537, -0.1482736594037845, -0.918447347855917),
        *(-1.6279071254818076, 4.194691531181543e-09),
    ),
}


def erf(k: Arithmetic, x: Value) -> Value:
    """2/√π ∫₀ˣ exp(−t²) dt; short enough in float32 to be written where it is used."""
    return _erf(k, x) if x.element == F32 else _called_erf(k, x)


def _erf(k: Arithmetic, x: Value) -> Value:
    """x(1 + p(x²)) near 0, else 1 − 2^q(|x|)."""
    form, table = FORMATS[x.element], TABLES[x.element]
    size = k.abs(x)
    square = x * x
    near = k.fma(x, k.poly(square, _NEAR[x.element]), x)
    exponent = k.poly(k.at_most(size, _ONE[x.element]), _FAR[x.element])
    n, bits = nearest(k, exponent, 1.0, form.bias)
    far = k.fma(-k.poly(exponent - n, table.exp2), as_power(k, bits), 1.0)
    return k.select(k.gt(size, _MIDDLE), k.copysign(far, x), near)


_called_erf = once(_erf)

# (1 + 2a)·exp(a²)·erfc(a) in q = (a − 4)/(a + 4), which is this in two numbers, plus q times that
_SCALED_HI, _SCALED_LO = 1.2329951186255526, -4.625318921008717e-17
_SCALED = (
    *(-1.784474813533499e-09, -1.3566842986610708e-08, -7.742711402127084e-09),
    *(1.1503013832535794e-07, 6.25794435824544e-08, -8.347516062865393e-07),
    *(3.0162155319875463e-07, 5.717599044742992e-06, -1.122502953560195e-05),
    *(-2.4403048319155555e-05, 0.00015062236336458424, -0.00019925553869571625),
    *(-0.0007577733770539359, 0.005031969760786444, -0.016197734052719973),
    *(0.03716751556203764, -0.06633036581218528, 0.09373283499681813),
    *(-0.10103906603631801, 0.06809705425473667, 0.015379652102620054),
    -0.1396211168405629,
)


# (1 + 2a)·exp(a²)·erfc(a) − 1 on [0, 10.1] by q = (a − 4)/(a + 4), highest power first.
_SCALED_SINGLE = (
    *(-0.0006419685087166727, -0.0011365927057340741, 0.005043421871960163),
    *(-0.01602431945502758, 0.03722189739346504, -0.0663546621799469, 0.09372131526470184),
    *(-0.10103780776262283, 0.06809782981872559, 0.015379629097878933, -0.13962112367153168),
    0.23299512267112732,
)


def _ratio_single(k: Arithmetic, a: Value) -> tuple[Value, Value]:
    """exp(a²)·erfc(a) in float32, and the rest that its rounding leaves."""
    below, double = a + 4.0, k.fma(a, 2.0, 1.0)
    both = k.constant(a, 1.0) / (below * double)  # one division for two
    inverse, bottom = both * double, both * below
    q = (a - 4.0) * inverse
    q = k.fma(inverse, k.fma(-q, a, k.fma(q + 1.0, -4.0, a)), q)
    p = k.poly(q, _SCALED_SINGLE)
    ratio = k.fma(p, bottom, bottom)
    return ratio, k.fma(k.fma(-ratio, a, 0.5), 2.0, p - ratio) * bottom


def _ratio_double(k: Arithmetic, a: Value) -> tuple[Value, Value]:
    """The same in float64."""
    q = (a - 4.0) / (a + 4.0)
    scaled = ordered_sum(k.constant(q, _SCALED_HI), k.fma(q, k.poly(q, _SCALED), _SCALED_LO))
    # Divided by 1 + 2a, with what the roundings of that sum and of the quotient leave.
    bottom = two_sum(a + a, k.constant(a, 1.0))
    ratio = scaled.hi / bottom.hi
    rest = k.fma(-ratio, bottom.hi, scaled.hi) + k.fma(-ratio, bottom.lo, scaled.lo)
    return ratio, rest / bottom.hi


@once
def erfc(k: Arithmetic, x: Value) -> Value:
    """1 − erf(x), accurate where that is small."""
    single = x.element == F32
    size = k.abs(x)
    a = k.at_most(size, 10.2 if single else 27.3)
    ratio, rest = _ratio_single(k, a) if single else _ratio_double(k, a)
    # exp(−a²) = 2ⁿ(1 + grown)
    bias = FORMATS[x.element].bias
    square = two_product(k, a, a)
    power = split(k, -square.hi, 2 * bias)
    r = power.r - square.lo
    grown = r * k.poly(r, TABLES[x.element].exp[:-1])
    found = ratio + k.fma(ratio, grown, k.fma(rest, grown, rest))
    found = times_power(k, found, power.bits, -square.hi)
    found = k.select(k.gt(x, 0.0), found, 2.0 - found)
    near = 1.0 - k.fma(x, k.poly(x * x, _NEAR[x.element]), x)
    return k.select(k.gt(size, 0.5), found, near)


# erfinv(x)/x for w = −log(1 − x²): in w − 2.5 up to 5, in √w − 3.125 up to 16, then in √w − 5
_INVERSE_NEAR = (
    *(-3.0974438051034006e-19, 5.606857339640591e-20, 1.3195786250159957e-17),
    *(-2.306271267039517e-17, -2.597187434745854e-16, 1.8434187819277107e-15),
    *(-1.8478516374975695e-15, -7.570428686477383e-14, 5.302501016993314e-13),
    *(9.095137881263603e-13, -3.108476801154471e-11, 1.1961328497934793e-10),
    *(9.072649350940363e-10, -1.0861181050054181e-08, 1.3416855593420353e-08),
    *(4.78725232531292e-07, -3.4166196370407944e-06, -4.996079607757875e-06),
    *(0.0002182502643602617, -0.001252707907808433, -0.004177317724386152),
    *(0.24664027674416678, 1.501409351110792),
)
_INVERSE_MIDDLE = (
    *(4.1241350648214225e-10, 4.432755717258367e-09, 1.1097290913551962e-09),
    *(-4.86120056937461e-08, 5.7011500816279954e-08, 1.3955805935792678e-07),
    *(-5.612684727779249e-07, 7.438675538211572e-07, 9.068120406604313e-07),
    *(-6.2683657540636216e-06, 1.139775362646491e-05, 2.183071110835175e-06),
    *(-5.885146571274536e-05, 0.000136105194224833, -8.955348056794105e-05),
    *(-0.0003286622153341898, 0.0012606699042772096, -0.002519882688464111),
    *(0.0037944200141232587, -0.005301010608600987, 0.007047884417827761),
    *(1.0037186917979262, 2.958320150240462),
)
_INVERSE_FAR = (
    *(7.354062518117199e-12, -2.552238324579533e-11, 8.620908709903986e-12),
    *(9.434523821188227e-11, -3.705471236232062e-10, 1.2660079565342887e-09),
    *(-3.5429722172303865e-09, 7.875962847913125e-09, -1.5209513797140313e-08),
    *(2.898388723344453e-08, -6.7573764191829e-08, 2.2906586970305537e-07),
    *(-9.93025376135852e-07, 4.5260497671071956e-06, -1.9681771201943784e-05),
    *(7.599527838936642e-05, -0.00021503011979871417, -0.00013871931839209832),
    *(1.0103004648645448, 4.849906401408584),
)


@once
def erfinv(k: Arithmetic, x: Value) -> Value:
    """The inverse of erf, after M. Giles, Approximating the erfinv function (2011); float32 is
    computed in float64."""
    if x.element == F32:
        return k.single(erfinv(k, k.double(x)))
    size = k.abs(x)
    inside = k.lt(size, 1.0)
    a = k.select(inside, size, 0.0)
    # log(1 − x²) as that of the pair (1 − x)·(1 + x)
    below, above = 1.0 - a, a + 1.0
    rest = k.fma(a, 1.0, 1.0 - above)  # of the rounding of 1 + x
    main = two_product(k, below, above)
    w = -log_of_sum(k, main.hi, k.fma(below, rest, main.lo))
    root = k.sqrt(k.at_least(w, 4.99))
    far = k.select(
        k.gt(w, 16.0),
        k.poly(root - 5.0, _INVERSE_FAR),
        k.poly(k.at_most(root, 4.01) - 3.125, _INVERSE_MIDDLE),
    )
    found = a * k.select(k.gt(w, 5.0), far, k.poly(k.at_most(w, 5.01) - 2.5, _INVERSE_NEAR))
    edge = k.select(k.eq(size, 1.0), k.constant(x, math.inf), math.nan)
    return k.copysign(k.select(inside, found, edge), x)
