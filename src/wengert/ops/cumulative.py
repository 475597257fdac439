"""Running sums, products and extremes along one axis, and the recurrence behind their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import AxisError, ShapeError
from wengert.core.index import Place
from wengert.core.lowering import Indexed, Native
from wengert.core.op import Array, Op
from wengert.core.rules import custom, linear, no_such_axis, one_an_input
from wengert.core.sample import Sample, Sampler, Wrong
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.elementwise import add, mul, sub
from wengert.ops.functions import exp
from wengert.ops.movement import broadcast_to
from wengert.ops.numerics import in_single, largest
from wengert.ops.selection import maximum, where


def _same(op: str, x: Shaped, axis: int) -> Spec:
    if not 0 <= axis < len(x.shape):
        raise no_such_axis(op, axis, len(x.shape))
    return Spec(x.shape, x.dtype)


def _along(x: Array, axis: int, reverse: bool) -> Array:
    """The array, turned around along the axis where `reverse`."""
    return np.flip(x, axis) if reverse else x


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x = rng.normal(size=(2, 3, 4))
    return [
        Sample((x,), {"axis": 1, "reverse": False}),
        Sample((x,), {"axis": 2, "reverse": True}),
        Sample((x[0, 0],), {"axis": 0, "reverse": False}),
        Sample((x[:, :0],), {"axis": 1, "reverse": False}),
        Wrong((x,), {"axis": 3, "reverse": False}, AxisError, "no such axis"),
    ]


# -- delay: shift along an axis, zeros coming in -----------------------------------------------


def _delay(x: Array, axis: int, by: int) -> Array:
    out = np.zeros_like(x)
    n = x.shape[axis]
    source, target = slice(0, n - by), slice(by, n)
    if by < 0:
        source, target = slice(-by, n), slice(0, n + by)
    lead = (slice(None),) * axis
    if n > abs(by):
        out[(*lead, target)] = x[(*lead, source)]
    return out


def _delayed_entry(b: Any, place: Place, x: Any, axis: int, by: int) -> Any:
    index = list(place.index)
    index[axis] = index[axis] + -by
    holds = b.inside(index[axis], 0, x.shape[axis])
    return b.guarded([holds], lambda: b.read(x, index), b.number(0, x.dtype))


delay: Op = linear(
    "delay",
    _delay,
    lambda x, axis, by: _same("delay", x, axis),
    lambda g, axis, by: delay(g, axis=axis, by=-by),
    batch=lambda size, args, batched, axis, by: delay(args[0], axis=axis + 1, by=by),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3)),), {"axis": 1, "by": 1}),
        Sample((rng.normal(size=(3, 2)),), {"axis": 0, "by": -1}),
        Wrong((rng.normal(size=(2,)),), {"axis": 1, "by": 1}, AxisError, "no such axis"),
    ],
    lower=Indexed(_delayed_entry),
)


# -- cumsum ------------------------------------------------------------------------------------


@in_single
def _cumsum(x: Array, axis: int, reverse: bool) -> Any:
    turned = _along(x, axis, reverse)
    return _along(np.add.accumulate(turned, axis=axis, dtype=x.dtype), axis, reverse)


cumsum: Op = linear(
    "cumsum",
    _cumsum,
    lambda x, axis, reverse: _same("cumsum", x, axis),
    lambda g, axis, reverse: cumsum(g, axis=axis, reverse=not reverse),
    work=one_an_input,
    batch=lambda size, args, batched, axis, reverse: cumsum(
        args[0], axis=axis + 1, reverse=reverse
    ),
    samples=_samples,
    lower=Native("scan"),
)


# -- the first-order recurrence ----------------------------------------------------------------


@in_single
def _recurrence(a: Array, b: Array, axis: int, reverse: bool) -> Any:
    a = np.moveaxis(_along(a, axis, reverse), axis, 0)
    b = np.moveaxis(_along(b, axis, reverse), axis, 0)
    out = np.array(b, order="C")
    if out.size < _FEW * len(out):  # short rows: a loop over Python numbers is faster
        columns = out.reshape(len(out), -1)
        factors = a.reshape(columns.shape)
        for j in range(columns.shape[1]):
            columns[:, j] = _scalar_recurrence(factors[:, j].tolist(), columns[:, j].tolist())
    else:
        for i in range(1, len(out)):
            out[i] += a[i] * out[i - 1]
    return _along(np.moveaxis(out, 0, axis), axis, reverse)


_FEW = 16


def _scalar_recurrence(a: list[float], b: list[float]) -> list[float]:
    found = b[:1]
    for factor, increment in zip(a[1:], b[1:], strict=True):
        found.append(factor * found[-1] + increment)
    return found


def _recurrence_spec(a: Shaped, b: Shaped, axis: int, reverse: bool) -> Spec:
    if a.shape != b.shape:
        raise ShapeError(
            "recurrence",
            "factors and increments must have one shape",
            met=describe(a, b),
            fix="broadcast one to the other first",
        )
    return _same("recurrence", b, axis)


def _adjoint(g: Tensor, a: Tensor, axis: int, reverse: bool) -> Tensor:
    """The recurrence that runs back: rₜ = gₜ + aₜ₊₁·rₜ₊₁."""
    later = delay(a, axis=axis, by=1 if reverse else -1)
    out: Tensor = recurrence(later, g, axis=axis, reverse=not reverse)
    return out


def _before(out: Tensor, axis: int, reverse: bool) -> Tensor:
    """The result one step earlier; 0 at the first step."""
    earlier: Tensor = delay(out, axis=axis, by=-1 if reverse else 1)
    return earlier


def _factor_cotangent(g: Tensor, a: Tensor, out: Tensor, axis: int, reverse: bool) -> Tensor:
    cotangent: Tensor = mul(_adjoint(g, a, axis, reverse), _before(out, axis, reverse))
    return cotangent


def _factor_tangent(t: Tensor, a: Tensor, out: Tensor, axis: int, reverse: bool) -> Tensor:
    pushed = mul(t, _before(out, axis, reverse))
    tangent: Tensor = recurrence(a, pushed, axis=axis, reverse=reverse)
    return tangent


def _recurrence_batch(size: int, args: Any, batched: Any, axis: int, reverse: bool) -> Tensor:
    whole = [
        x if marked else broadcast_to(x, shape=(size, *x.shape))
        for x, marked in zip(args, batched, strict=True)
    ]
    out: Tensor = recurrence(*whole, axis=axis + 1, reverse=reverse)
    return out


# hₜ = aₜ·hₜ₋₁ + bₜ with h₋₁ = 0 (so a₀ does not matter). Its transpose is again a recurrence, and
# the gradients of cumprod, prod and logcumsumexp are recurrences: right where factors are zero.
recurrence: Op = custom(
    "recurrence",
    _recurrence,
    _recurrence_spec,
    operands=("a", "b"),
    jvps=(
        _factor_tangent,
        lambda t, a, axis, reverse: recurrence(a, t, axis=axis, reverse=reverse),
    ),
    vjps=(_factor_cotangent, _adjoint),
    work=lambda out, a, b, **params: 2 * math.prod(out.shape),
    batch=_recurrence_batch,
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 4)), rng.normal(size=(2, 4))), {"axis": 1, "reverse": False}),
        Sample((rng.normal(size=(3, 2)), rng.normal(size=(3, 2))), {"axis": 0, "reverse": True}),
        Sample((np.zeros((2, 0)), np.zeros((2, 0))), {"axis": 1, "reverse": False}),
        Wrong((np.zeros(2), np.zeros(3)), {"axis": 0, "reverse": False}, ShapeError, "one shape"),
    ],
    lower=Native("scan"),
)


# -- cumprod -----------------------------------------------------------------------------------


@in_single
def _cumprod(x: Array, axis: int, reverse: bool) -> Any:
    turned = _along(x, axis, reverse)
    return _along(np.multiply.accumulate(turned, axis=axis, dtype=x.dtype), axis, reverse)


def _start(x: Tensor, axis: int, reverse: bool) -> Tensor:
    """1 at the first step of the axis, 0 elsewhere; broadcasts with `x`."""
    n = x.shape[axis]
    first = np.zeros((n,) + (1,) * (x.ndim - axis - 1), x.dtype)
    if n:
        first[-1 if reverse else 0] = 1
    return Tensor(first)


def _exclusive(out: Tensor, axis: int, reverse: bool) -> Tensor:
    """From the running product, that of the entries before each one."""
    before: Tensor = add(_before(out, axis, reverse), _start(out, axis, reverse))
    return before


def product_before(x: Tensor, axis: int, reverse: bool) -> Tensor:
    """For each entry the product of the entries before it along the axis (1 for the first)."""
    return _exclusive(cumprod(x, axis=axis, reverse=reverse), axis, reverse)


def _cumprod_tangent(t: Tensor, x: Tensor, out: Tensor, axis: int, reverse: bool) -> Tensor:
    pushed = mul(t, _exclusive(out, axis, reverse))
    tangent: Tensor = recurrence(x, pushed, axis=axis, reverse=reverse)
    return tangent


def _cumprod_cotangent(g: Tensor, x: Tensor, out: Tensor, axis: int, reverse: bool) -> Tensor:
    cotangent: Tensor = mul(_adjoint(g, x, axis, reverse), _exclusive(out, axis, reverse))
    return cotangent


cumprod: Op = custom(
    "cumprod",
    _cumprod,
    lambda x, axis, reverse: _same("cumprod", x, axis),
    jvps=(_cumprod_tangent,),
    vjps=(_cumprod_cotangent,),
    work=one_an_input,
    batch=lambda size, args, batched, axis, reverse: cumprod(
        args[0], axis=axis + 1, reverse=reverse
    ),
    samples=lambda rng: [
        *_samples(rng),
        Sample((np.array([2.0, 0.0, 3.0, 0.0, 5.0]),), {"axis": 0, "reverse": False}),
    ],
    lower=Native("scan"),
)


# -- logcumsumexp ------------------------------------------------------------------------------


@in_single
def _logcumsumexp(x: Array, axis: int) -> Any:
    return np.logaddexp.accumulate(x, axis=axis)


def _decay_and_share(x: Tensor, out: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """e^(outₜ₋₁ − outₜ) and e^(xₜ − outₜ), which add up to 1: the derivative is the recurrence
    dₜ = decayₜ·dₜ₋₁ + shareₜ·tₜ. Both are 0 while out is −∞."""
    level: Tensor = maximum(out, -largest(out.dtype))
    first = Tensor(_start(out, axis, False)._values("logcumsumexp") == 1)
    decay: Tensor = exp(where(first, 0.0, sub(_before(out, axis, False), level)))
    share: Tensor = exp(sub(x, level))
    return decay, share


def _logcumsumexp_tangent(t: Tensor, x: Tensor, out: Tensor, axis: int) -> Tensor:
    decay, share = _decay_and_share(x, out, axis)
    tangent: Tensor = recurrence(decay, mul(t, share), axis=axis, reverse=False)
    return tangent


def _logcumsumexp_cotangent(g: Tensor, x: Tensor, out: Tensor, axis: int) -> Tensor:
    decay, share = _decay_and_share(x, out, axis)
    cotangent: Tensor = mul(share, _adjoint(g, decay, axis, False))
    return cotangent


logcumsumexp: Op = custom(
    "logcumsumexp",
    _logcumsumexp,
    lambda x, axis: _same("logcumsumexp", x, axis),
    jvps=(_logcumsumexp_tangent,),
    vjps=(_logcumsumexp_cotangent,),
    batch=lambda size, args, batched, axis: logcumsumexp(args[0], axis=axis + 1),
    work=one_an_input,
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 4)),), {"axis": 1}),
        Sample((rng.normal(size=(3, 2)),), {"axis": 0}),
        Sample((np.zeros((0, 2)),), {"axis": 0}),
        Sample((np.array([-np.inf, -1e3, 1e3, -np.inf]),), {"axis": 0}, smooth=False),
        Wrong((np.zeros(2),), {"axis": 1}, AxisError, "no such axis"),
    ],
    lower=Native("scan"),
)


# -- running extremes --------------------------------------------------------------------------


def _record(name: str, ufunc: Any) -> Op:
    """The op that says for each entry where the extreme of those up to it stands: the latest of
    equal ones, and from the first NaN on the latest NaN."""

    def reference(x: Array, axis: int) -> Any:
        hit = np.isnan(x) if x.dtype.kind not in "biu" else np.zeros(x.shape, bool)
        hit |= x == ufunc.accumulate(x, axis=axis)
        position = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis - 1))
        return np.maximum.accumulate(np.where(hit, position, 0), axis=axis)

    def infer(x: Shaped, axis: int) -> Spec:
        return Spec(_same(name, x, axis).shape, dtypes.int64)

    def batch(size: int, args: Any, batched: Any, axis: int) -> Any:
        return op(args[0], axis=axis + 1)

    draw: Sampler = lambda rng: [
        Sample((rng.normal(size=(2, 5)),), {"axis": 1}),
        Sample((np.array([1.0, 3.0, 3.0, np.nan, 5.0]),), {"axis": 0}),
        Sample((rng.integers(0, 5, (0, 2)),), {"axis": 0}),
        Wrong((np.zeros(2),), {"axis": 1}, AxisError, "no such axis"),
    ]
    op: Op = custom(name, reference, infer, batch=batch, samples=draw, lower=Native("scan"))
    return op


cummax_index = _record("cummax_index", np.maximum)
cummin_index = _record("cummin_index", np.minimum)
