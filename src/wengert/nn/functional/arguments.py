"""What the functions of layers do with their arguments: one size for all axes, missing batch axes,
and errors that name the layer that is running."""

from __future__ import annotations

import operator
from typing import Any

from wengert.core.dtypes import FLOATS, is_integer, promote
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import describe
from wengert.core.state import state
from wengert.core.tensor import Tensor, as_tensor

__all__: list[str] = []

Sizes = tuple[int, ...]


def at(op: str) -> str:
    """The op's name for an error, with the path of the module that is running."""
    return f"{op} at {state.module}" if state.module else op


def sizes(op: str, name: str, value: Any, count: int, least: int = 1) -> Sizes:
    """`value` as one integer for each of `count` axes; a single integer serves for all."""
    given = value if isinstance(value, (tuple, list)) else (value,) * count
    try:
        found = tuple(map(operator.index, given))
    except TypeError:
        found = ()
    if len(found) != count or min(found, default=least) < least:
        several = f", or {count} of them" if count > 1 else ""
        each = f", or a tuple with one for each of the {count} spatial axes" if count > 1 else ""
        raise ArgumentError(
            at(op),
            f"{name} must be an integer of at least {least}{several}",
            met=repr(value),
            fix=f"pass an integer{each}",
        )
    return found


def floating(op: str, x: Any) -> Tensor:
    """The argument as a floating tensor; integers are refused, because images that were not
    converted are a common mistake."""
    x = as_tensor(x)
    if x.dtype not in FLOATS:
        raise DtypeError(
            at(op),
            "takes a floating array",
            met=describe(x),
            cause="integer pixels or labels were passed" if is_integer(x.dtype) else "",
            fix="convert with wg.astype(x, wg.float32)",
        )
    return x


def spatial(op: str, x: Tensor, count: int, channels: int | None = None) -> tuple[Tensor, bool]:
    """An array (N, C, *spatial), with a batch axis added if it had none, and whether it had none.

    Raises unless there are `count` spatial axes and, if given, that many channels.
    """
    if x.ndim not in (count + 1, count + 2):
        axes = ", ".join(("depth", "height", "width")[3 - count :]) if count > 1 else "length"
        raise ShapeError(
            at(op),
            f"takes (batch, channels, {axes}), or the same without the batch",
            met=describe(x),
            cause="a missing channel axis, or an array that was flattened before",
            fix="add an axis with x[None], or reshape",
        )
    single = x.ndim == count + 1
    if channels is not None and x.shape[-count - 1] != channels:
        raise ShapeError(
            at(op),
            f"expects {channels} channels",
            met=f"{x.shape[-count - 1]} channels in {describe(x)}",
            cause="channels last instead of first, or a layer built for another input",
            fix=f"pass (N, {channels}, …), or change the layer's number of input channels",
        )
    return (x.reshape((1, *x.shape)), True) if single else (x, False)


def unbatched(x: Tensor, single: bool) -> Tensor:
    """The result without the batch axis that `spatial` added."""
    return x.reshape(x.shape[1:]) if single else x


def same_dtype(x: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
    """The operands in the dtype that holds all of them; None stays away."""
    given = [t for t in rest if t is not None]
    dtype = promote(x.dtype, *(t.dtype for t in given))
    return tuple(cast_to(t, dtype) for t in (x, *given))


def per_channel(v: Tensor, ndim: int) -> Tensor:
    """A vector of one value a channel, shaped to meet (N, C, *spatial) with `ndim` axes."""
    return v if ndim == 2 else v.reshape((v.shape[0],) + (1,) * (ndim - 2))
