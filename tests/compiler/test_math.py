"""How far the generated functions are from the exact values, over the whole range of exponents.

The oracle for float32 is float64; for float64 it is `mpmath`, and where `longdouble` has more
digits than float64, that as well, on many more points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

from tests.compiler.pointwise import PLAIN, PLAIN_RUNS, compiled, ulps, unary
from wengert.core.op import REGISTRY

Array = np.ndarray[Any, Any]
EXTENDED = np.finfo(np.longdouble).nmant >= 63


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (x.dtype.type(1) + e)


# The exact values in a wide dtype, and with any number of digits.
WIDE: dict[str, Callable[..., Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "erfinv": scipy.special.erfinv,
}
SCIPY = ("erf", "erfc", "erfinv")  # in float64 alone
LEAVES = ("sinh", "cosh", "erfc")  # the range of what mpmath can do, for large operands
MANY: dict[str, Callable[..., Any]] = {
    **{name: getattr(mpmath, name) for name in WIDE if hasattr(mpmath, name)},
    "exp2": lambda x: mpmath.power(2, x),
    "log2": lambda x: mpmath.log(x) / mpmath.log(2),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)) if x < 700 else x,
}
PAIRS: dict[str, tuple[Callable[..., Array], Callable[..., Any]]] = {
    "atan2": (np.arctan2, mpmath.atan2),
    "hypot": (np.hypot, mpmath.hypot),
    "pow": (np.power, mpmath.power),
}

# The largest error measured, in units in the last place, as (float32, float64). Rounding the exact
# value costs 0.5.
LIMITS = {
    "exp": (0.9, 0.9),
    "exp2": (0.8, 0.9),
    "expm1": (1.4, 1.4),
    "log": (0.9, 0.9),
    "log2": (0.9, 0.9),
    "log10": (0.8, 0.8),
    "log1p": (1.5, 1.4),
    "sigmoid": (2.0, 2.0),
    "softplus": (1.8, 1.8),
    "sin": (1.6, 0.8),
    "cos": (1.6, 0.8),
    "tan": (1.4, 1.4),
    "asin": (1.2, 1.2),
    "acos": (1.2, 1.2),
    "atan": (1.4, 1.4),
    "sinh": (1.6, 1.7),
    "cosh": (1.4, 1.4),
    "tanh": (1.7, 1.9),
    "asinh": (1.8, 1.7),
    "acosh": (1.6, 1.6),
    "atanh": (1.6, 1.5),
    "cbrt": (0.51, 0.51),
    "erf": (1.2, 1.2),
    "erfc": (1.8, 1.7),
    "erfinv": (0.51, 1.8),
    "atan2": (1.5, 1.5),
    "hypot": (0.51, 0.51),
    "pow": (0.51, 1.4),
}
SPECIAL = [0.0, 1.0, 0.5, 2.0, 10.0, float("inf"), 5e-324, 1e-310, 1e-45, 1e-40, 3e38, 1e308]


def patterns(count: int) -> Array:
    """float32 numbers spread over all of them, and the special ones."""
    step = 2**32 // count | 1
    spread = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        edges = np.array([*SPECIAL, *(-s for s in SPECIAL), np.nan]).astype(np.float32)
    return np.concatenate([spread, edges])


def doubles(count: int, seed: int) -> Array:
    """float64 numbers: random bits, a normal and a uniform distribution, and the special ones."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)
    near = np.concatenate([rng.normal(size=count) * 3, rng.uniform(-40, 40, count)])
    edge = 1.0 - 10.0 ** rng.uniform(-16, 0, count // 4)
    special = np.array([*SPECIAL, *(-s for s in SPECIAL), np.nan])
    return np.concatenate([bits, near, edge, -edge, special])


def exactly(function: Callable[..., Any], *columns: Array) -> Array:
    """The values by `mpmath`, as float64; and where they lie beside those, as a fraction of an ulp
    (in the second row)."""
    found = np.empty((2, columns[0].size))
    with mpmath.workprec(160):
        for i, xs in enumerate(zip(*(c.tolist() for c in columns))):
            try:
                value = function(*[mpmath.mpf(x) for x in xs])
                value = mpmath.nan if isinstance(value, mpmath.mpc) else mpmath.mpf(value)
            except (ValueError, ZeroDivisionError, OverflowError):
                value = mpmath.nan
            head = float(value)
            found[0, i] = head
            finite = np.isfinite(head)
            unit = np.spacing(max(abs(head), np.finfo(float).tiny)) if finite else 1.0
            found[1, i] = float(value - mpmath.mpf(head)) / unit if finite else 0.0
    return found


def distance(found: Array, exact: Array) -> Array:
    """How far float64 values are from `exactly`'s, in units in the last place."""
    head, rest = exact
    special = ~np.isfinite(found) | ~np.isfinite(head)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(head), np.finfo(float).tiny))
        apart = np.abs((found - head) / unit - rest)
    same = (found == head) | (np.isnan(found) & np.isnan(head))
    return np.where(special, np.where(same, 0.0, np.inf), apart)


def assert_within(name: str, errors: Array, limit: float, *given: Array) -> None:
    i = int(np.argmax(errors))
    assert errors[i] <= limit, f"{name} of {[g[i] for g in given]} is {errors[i]:.3f} ulp off"


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float32(name: str) -> None:
    given = patterns(200_000)
    found = unary(REGISTRY[name], np.float32)(given)
    errors = ulps(found, WIDE[name](given.astype(np.float64)))
    assert_within(name, errors, LIMITS[name][0], given)


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float64(name: str) -> None:
    run = unary(REGISTRY[name], np.float64)
    if EXTENDED and name not in SCIPY:
        given = doubles(50_000, seed=0)
        errors = ulps(run(given), WIDE[name](given.astype(np.longdouble)))
        assert_within(name, errors, LIMITS[name][1], given)
        return
    given = doubles(300, seed=1)
    given = given[(np.abs(given) > 0) & (np.abs(given) < (1e5 if name in LEAVES else np.inf))]
    errors = distance(run(given), exactly(MANY[name], given))
    assert_within(name, errors, LIMITS[name][1], given)


@pytest.mark.skipif(not PLAIN_RUNS, reason="for x86 alone")
@pytest.mark.parametrize("name", WIDE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_fused_multiply_add(name: str) -> None:
    rule = REGISTRY[name].lower.rule
    given = patterns(50_000)
    found = compiled(rule, [np.float32], np.float32, target=PLAIN)(given)
    assert_within(name, ulps(found, WIDE[name](given.astype(np.float64))), 2.0, given)
    if EXTENDED and name not in SCIPY:
        given = doubles(10_000, seed=6)
        found = compiled(rule, [np.float64], np.float64, target=PLAIN)(given)
        assert_within(name, ulps(found, WIDE[name](given.astype(np.longdouble))), 2.0, given)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_operands(name: str) -> None:
    rng = np.random.default_rng(3)
    x, y = patterns(60_000), rng.permutation(patterns(60_000))
    x = np.concatenate([x, np.exp(rng.normal(size=20_000)).astype(np.float32)])
    y = np.concatenate([y, rng.normal(size=20_000).astype(np.float32) * 9])
    wide, many = PAIRS[name]
    found = compiled(REGISTRY[name].lower.rule, [np.float32] * 2, np.float32)(x, y)
    exact = wide(x.astype(np.float64), y.astype(np.float64))
    assert_within(name, ulps(found, exact), LIMITS[name][0], x, y)

    x, y = np.abs(doubles(400, seed=4)), doubles(400, seed=5)
    usual = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y != 0)
    if name == "pow":  # what overflows in the exponent already has its own test
        usual &= np.abs(y) * np.abs(np.log2(x)) < 1070
    x, y = x[usual], y[usual]
    found = compiled(REGISTRY[name].lower.rule, [np.float64] * 2, np.float64)(x, y)
    assert_within(name, distance(found, exactly(many, x, y)), LIMITS[name][1], x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_next_to_multiples_of_a_quarter_turn(name: str, dtype: Any) -> None:
    """There all digits of the usual reduction cancel; and huge angles need all bits of π."""
    quarters = np.unique(np.geomspace(1, 1e12, 400).round())
    with mpmath.workprec(200):
        given = np.array([float(mpmath.pi / 2 * int(q)) for q in quarters])
    given = np.concatenate([given.astype(dtype), 10.0 ** np.arange(9, 38, dtype=dtype)])
    if dtype == np.float64:
        given = np.concatenate(
            [given, 10.0 ** np.arange(39.0, 308.0, 3), [6381956970095103 * 2.0**797]]
        )
    found = unary(REGISTRY[name], dtype)(given.astype(dtype))
    exact = exactly(getattr(mpmath, name), given.astype(np.float64))
    limit = LIMITS[name][int(dtype == np.float64)]
    errors = ulps(found, exact[0]) if dtype == np.float32 else distance(found, exact)
    assert_within(name, errors, limit, given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*WIDE, *PAIRS])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_signs_of_zeros_and_infinities(name: str, dtype: Any) -> None:
    """NumPy's own results where an operand is zero, one, infinite or NaN."""
    values = np.array([0.0, 1.0, np.inf, 0.5, 2.0, 3.0])
    values = np.concatenate([values, -values, [np.nan]]).astype(dtype)
    op = REGISTRY[name]
    given = [values]
    if name in PAIRS:
        given = [g.ravel() for g in np.meshgrid(values, values)]
    found = compiled(op.lower.rule, [dtype] * len(given), dtype)(*given)
    expected = (PAIRS[name][0] if name in PAIRS else WIDE[name])(*given).astype(dtype)
    special = np.isnan(expected) | np.isinf(expected) | (expected == 0)
    assert np.array_equal(found[special], expected[special], equal_nan=True)
    zero = (expected == 0) & (name != "erfinv")  # SciPy's erfinv(−0) is 0
    assert np.array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [n for n in WIDE if LIMITS[n][0] > 0.51])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_float32(name: str) -> None:
    run = unary(REGISTRY[name], np.float32)
    worst, block = 0.0, 2**24
    for start in range(0, 2**32, block):
        given = np.arange(start, start + block, dtype=np.uint64).astype(np.uint32).view(np.float32)
        errors = ulps(run(given), WIDE[name](given.astype(np.float64)))
        worst = max(worst, float(errors.max()))
        assert_within(name, errors, 2.0, given)
    print(f"{name}: {worst:.3f} ulp")
