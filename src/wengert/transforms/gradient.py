"""`vjp`, `grad` and `value_and_grad`: reverse mode as functions of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from wengert.core.dtypes import is_float
from wengert.core.errors import GradientError
from wengert.core.spec import describe
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.transforms.call import (
    Call,
    LinearMap,
    check_function,
    flatten_floating,
    match,
    of_each,
    ones_like,
    positions,
    replaced,
    split_aux,
)
from wengert.transforms.reverse import walk

__all__ = ["grad", "value_and_grad", "vjp"]


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Evaluate `f(*primals)` and return the result with its pullback.

    The pullback maps a cotangent `u` (a pytree like the result) to the tuple `uᵀ·J`, one entry a
    primal. It can be called many times. With `has_aux`, `f` returns `(result, aux)` and vjp
    returns `(result, pullback, aux)`.

    >>> import wengert as wg
    >>> y, pullback = wg.vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> [float(ct) for ct in pullback(wg.asarray(1.0))]
    [3.0, 2.0]

    Source: Linnainmaa 1976; Rumelhart, Hinton and Williams 1986.
    """
    return _Pullback.at("vjp", f, primals, has_aux)


class _Pullback(LinearMap):
    """What `vjp` returns: cotangents of the result to cotangents of the primals."""

    def __call__(self, cotangent: Any) -> Any:
        cts = match("vjp", cotangent, self.outputs, self.out_tree, "cotangent")
        seeds = [
            (out._node, ct)
            for out, ct in zip(self.outputs, cts, strict=True)
            if out._node is not None and is_float(out.dtype)
        ]
        connected = self.connected or any(ct._node is not None for ct in cts)
        with recording(connected and state.recording):
            found = walk(self.nodes, seeds, self.call.starts)
        return self.in_tree.unflatten(of_each(self.call.inputs, found))


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(f(*args, **kwargs), gradient)`.

    `f` must return a floating scalar (with `has_aux`: a pair of it and anything, and the result is
    `((value, aux), gradient)`). The gradient is a pytree like the chosen argument, or a tuple of
    such where `argnums` is a sequence. Arguments that `argnums` does not choose, and keyword
    arguments, are constants.

    >>> import wengert as wg
    >>> value, slope = wg.value_and_grad(lambda x: x**3)(2.0)
    >>> float(value), float(slope)
    (8.0, 12.0)
    """
    check_function("grad", f)

    @wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        numbers = positions("grad", argnums, args)
        leaves, treedef = flatten_floating("grad", tuple(args[n] for n in numbers))
        call = Call("grad", leaves)
        inputs = treedef.unflatten(call.inputs)
        result = call.run(f, *replaced(args, numbers, inputs), **kwargs)
        aux = None
        if has_aux:
            result, aux = split_aux("grad", result)
            aux = call.release_tree(aux)
        loss = _scalar(result)
        nodes, connected = call.graph([loss])
        seeds = [] if loss._node is None else [(loss._node, ones_like(loss))]
        with recording(connected and state.recording):
            found = walk(nodes, seeds, call.starts, release=not connected)
        gradient = treedef.unflatten(of_each(call.inputs, found))
        (value,) = call.release([loss], connected)
        gradient = gradient[0] if isinstance(argnums, int) else gradient
        return ((value, aux) if has_aux else value), gradient

    return differentiated


def grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function, `∇f`; with `has_aux`, `(gradient, aux)`.

    See `value_and_grad` for the arguments.

    >>> import wengert as wg
    >>> float(wg.grad(wg.grad(lambda x: x**3))(2.0))
    12.0
    """
    both = value_and_grad(f, argnums, has_aux)

    @wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def _scalar(result: Any) -> Tensor:
    if not isinstance(result, (Tensor, float, int)):
        raise GradientError(
            "grad",
            "the function must return a scalar tensor",
            met=type(result).__name__,
            cause="a tuple or another container was returned, or an array made by NumPy",
            fix="return the loss alone, or pass has_aux=True and return (loss, extra)",
        )
    loss = as_tensor(result)
    if loss.shape != () or not is_float(loss.dtype):
        raise GradientError(
            "grad",
            "the function must return a floating scalar",
            met=describe(loss),
            cause="a loss that was not reduced, or an integer result",
            fix="reduce with wg.sum or wg.mean; for other outputs use vjp or jacrev",
        )
    return loss
