"""Exponentials: the derivative of a log-softmax is a softmax, of which e^… is known already."""

from __future__ import annotations

from wengert.compiler.ir import Term
from wengert.compiler.simplify.build import Builder, is_float, rule

_RESHAPES = ("reshape", "broadcast_to")


@rule("exp")
def exp_of_log_softmax(b: Builder, t: Term) -> Term | None:
    """e^(x − log Σ eˣ) = eˣ · (1/Σ eˣ), where the largest x of each sum is 0 or NaN: nothing over-
    or underflows that did not before. The exponent was rounded, which the result showed by half as
    many units in the last place as the exponent is large; now it is off by some three of them.
    """
    (difference,) = t.args
    if difference.name != "sub" or not is_float(t) or t.dtype.itemsize < 4:
        return None
    x, spread = difference.args
    log = _base(spread)
    if log.name != "log" or spread.size != log.size or x.shape != t.shape:
        return None
    total = log.args[0]
    if _base(total).name != "sum" or total.size != _base(total).size:
        return None
    (powers,), axis = _base(total).args, _base(total).params["axis"]
    if powers.name != "exp" or powers.args[0] is not x or not _below_zero(x, axis):
        return None
    factor = b.reshape(b.make("reciprocal", total), spread.shape)
    return b.make("mul", powers, factor)


def _below_zero(x: Term, axis: tuple[int, ...]) -> bool:
    """Whether x is something less its maximum over some axes."""
    if x.name != "sub":
        return False
    top = _base(x.args[1])
    return top.name == "max" and top.args[0] is x.args[0] and top.params["axis"] == axis


def _base(x: Term) -> Term:
    while x.name in _RESHAPES:
        (x,) = x.args
    return x
