"""The four declarations of ops, and what each class of ops derives from a few given rules."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.errors import ArgumentError, AxisError, DtypeError, ShapeError
from wengert.core.lowering import Lowering, pointwise
from wengert.core.node import Node
from wengert.core.op import NO_PARAMS, REGISTRY, Op, Work, bind, cast_to
from wengert.core.sample import Sample, Sampler, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor, as_tensor

Partial = Callable[..., Any] | None
ZERO: Partial = None  # the partial derivative of a step function, and of what has none

_TAKES: dict[str, tuple[str, ...]] = {
    "any": ("bool", "signed", "unsigned", "float"),
    "numeric": ("signed", "unsigned", "float"),
    "float": ("signed", "unsigned", "float"),  # integers are converted to the default float
    "integer": ("signed", "unsigned"),
    "bits": ("bool", "signed", "unsigned"),
    "bool": ("bool",),
}


def broadcast(op: str, *shapes: Shape) -> Shape:
    """The common shape of operands, or the error of `op`."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            op,
            "the shapes cannot be broadcast together",
            met=" and ".join(map(str, shapes)),
            cause="sizes are compared from the last axis; they must be equal or 1",
            fix="insert an axis with x[:, None], or transpose one operand",
        ) from None


def normalize_axis(op: str, axis: int, ndim: int) -> int:
    """A possibly negative axis as one in [0, ndim), or the error of `op`."""
    axis = as_integer(op, "an axis", axis)
    if not -ndim <= axis < ndim:
        raise no_such_axis(op, axis, ndim)
    return axis % ndim


def as_integer(op: str, name: str, value: Any) -> int:
    """An int, a NumPy integer or a 0-d integer tensor as an int, or the error of `op`."""
    if value.__class__ is int:
        number: int = value
        return number
    try:
        return operator.index(value)
    except TypeError:
        raise DtypeError(
            op, f"{name} must be an integer", met=repr(value), fix="convert it with int()"
        ) from None


def no_such_axis(op: str, axis: int, ndim: int) -> AxisError:
    """The error for an axis that an array of `ndim` axes does not have."""
    allowed = f"an axis from {-ndim} to {ndim - 1}" if ndim else "no axis: the array is 0-d"
    axes = "1 axis" if ndim == 1 else f"{ndim} axes"
    return AxisError(op, "no such axis", met=f"axis {axis} of {axes}", fix=f"use {allowed}")


def move_batch_in_front(args: Sequence[Tensor], batched: Sequence[bool]) -> list[Tensor]:
    """Give batched operands as many axes behind the batch axis as the widest operand has."""
    width = max(t.ndim - b for t, b in zip(args, batched, strict=True))
    return [
        REGISTRY["reshape"](t, shape=(t.shape[0],) + (1,) * (width - t.ndim + 1) + t.shape[1:])
        if b and t.ndim <= width
        else t
        for t, b in zip(args, batched, strict=True)
    ]


def one_an_input(out: Shaped, x: Shaped, *rest: Shaped, **params: Any) -> int:
    """`work` of a reduction: one operation for each entry that it reads."""
    return math.prod(x.shape)


class Elementwise(Op):
    """Same computation at each position, operands broadcast. Each partial derivative is a rule
    `partial(g, …) = g · ∂out/∂operand`, which serves both modes because it is linear in g."""

    def __init__(
        self,
        name: str,
        reference: Callable[..., Any],
        partials: Sequence[Partial],
        operands: tuple[str, ...],
        takes: str,
        gives: str,
        cost: str,
        samples: Sampler,
        lower: Lowering | None = None,
    ) -> None:
        self.takes, self.gives = takes, gives
        super().__init__(
            name,
            reference,
            self._infer,
            operands=operands,
            jvps=partials,
            vjps=partials,
            batch=self._batch,
            cost=cost,
            samples=samples,
            lower=lower,
        )
        self.accepts: dict[DType, bool] = {}
        for dtype in dtypes.ALL:
            wanted = _TAKES[takes]
            if takes == "float":
                wanted = ("float",)
            if dtypes.kind(dtype) in wanted:
                self.accepts[dtype] = True

    def _infer(self, *specs: Shaped, **params: Any) -> Spec:
        for s in specs:
            if s.dtype not in self.accepts and not (
                self.takes == "float" and dtypes.is_integer(s.dtype)
            ):
                raise self._refuse(specs)
        shape = broadcast(self.name, *(s.shape for s in specs))
        return Spec(shape, dtypes.bool if self.gives == "bool" else specs[0].dtype)

    def _refuse(self, args: Sequence[Shaped]) -> DtypeError:
        kinds = " or ".join(_TAKES[self.takes])
        return DtypeError(
            self.name, f"takes {kinds} arrays", met=describe(*args), fix="cast with wg.astype(x, …)"
        )

    def _batch(
        self, size: int, args: Sequence[Tensor], batched: Sequence[bool], **params: Any
    ) -> Tensor:
        out: Tensor = bind(self, tuple(move_batch_in_front(args, batched)), params)
        return out

    def flops(self, node: Node) -> int:
        """One operation for each entry of the result."""
        return math.prod(node.shape)

    def _convert(self, x: Tensor) -> Tensor:
        """The operand in a dtype that the op takes: integers become floats where it needs them."""
        if self.takes == "float" and dtypes.kind(x.dtype) in ("signed", "unsigned", "bool"):
            return cast_to(x, dtypes.default_float())
        raise self._refuse((x,))


class Unary(Elementwise):
    """Element-wise function of one operand."""

    def __call__(self, x: Any, **params: Any) -> Tensor:
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        if x._data.dtype not in self.accepts:
            x = self._convert(x)
        out: Tensor = bind(self, (x,), params)
        return out


class Binary(Elementwise):
    """Element-wise function of two operands, promoted to one dtype; Python numbers are weak."""

    def __call__(self, x: Any, y: Any, **params: Any) -> Tensor:
        if not isinstance(x, Tensor):
            if isinstance(x, (int, float)) and not isinstance(y, Tensor):
                y = as_tensor(y)  # first the array (or the other number), then the number it rules
            x = as_tensor(x, y if isinstance(y, Tensor) else None)
        if not isinstance(y, Tensor):
            y = as_tensor(y, x)
        dtype = x._data.dtype
        if dtype is not y._data.dtype:
            dtype = dtypes.promote(dtype, y._data.dtype)
            x, y = cast_to(x, dtype), cast_to(y, dtype)
        if dtype not in self.accepts:
            x, y = self._convert(x), self._convert(y)
        out: Tensor = bind(self, (x, y), params)
        return out


def elementwise(
    name: str,
    reference: Callable[..., Any],
    *partials: Partial,
    takes: str = "float",
    gives: str = "same",
    domain: tuple[float, float] = (-2.0, 2.0),
    samples: Sampler | None = None,
    cost: str = "memory",
    lower: Lowering | Callable[..., Any] | None = None,
) -> Any:
    """Declare an element-wise op from its partial derivatives, one an operand.

    `takes` names the kinds of dtype it accepts, `gives` is "same" or "bool". `domain` is where
    random test inputs are drawn; `samples` replaces that default sampler. `lower` may be the bare
    rule of a `Pointwise`.
    """
    operands = ("x", "y")[: len(partials)]
    draw = samples or _elementwise_sampler(len(partials), domain, takes)
    kind = (Unary, Binary)[len(partials) - 1]
    rules = partials if any(p is not None for p in partials) else ()
    return kind(name, reference, rules, operands, takes, gives, cost, draw, pointwise(lower))


def _elementwise_sampler(arity: int, domain: tuple[float, float], takes: str) -> Sampler:
    """Shapes that broadcast, are empty and 0-d; values uniform in `domain`."""
    shapes: list[tuple[Shape, ...]] = [((3, 4),), ((),), ((0, 2),), ((1,),)]
    if arity == 2:
        shapes = [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2,)), ((0, 2), (1, 2)), ((), ())]

    def array(rng: np.random.Generator, shape: Shape) -> Any:
        if takes == "bool":
            return rng.integers(0, 2, shape).astype(bool)
        if takes in ("integer", "bits"):
            return rng.integers(0, 6, shape)
        return rng.uniform(*domain, shape)

    def draw(rng: np.random.Generator) -> list[Sample | Wrong]:
        found: list[Sample | Wrong] = [
            Sample(tuple(array(rng, s) for s in group)) for group in shapes
        ]
        if arity == 2:
            bad = (array(rng, (2, 3)), array(rng, (2, 4)))
            found.append(Wrong(bad, {}, ShapeError, "cannot be broadcast"))
        return found

    return draw


class Linear(Op):
    """Linear in its one operand: the tangent of the result is the op applied to the tangent."""

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        (t,) = tangents
        return None if t is None else bind(self, (t,), node.params)


def linear(
    name: str,
    reference: Callable[..., Any],
    infer: Callable[..., Any],
    transpose: Callable[..., Any],
    *,
    batch: Callable[..., Any],
    samples: Sampler,
    cost: str = "memory",
    work: Work | None = None,
    lower: Lowering | Callable[..., Any] | None = None,
) -> Linear:
    """Declare a linear op of one operand `x` from its transpose `transpose(g, …)`."""
    return Linear(
        name,
        reference,
        infer,
        operands=("x",),
        vjps=(transpose,),
        jvps=(None,),
        batch=batch,
        samples=samples,
        cost=cost,
        work=work,
        lower=pointwise(lower),
    )


class Multilinear(Op):
    """Linear in each operand: the tangent is the product rule's sum, one term an operand."""

    def asked_by(self, i: int) -> set[str]:
        return super().asked_by(i) | {name for name in self.operands if name != self.operands[i]}

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        total: Any = None
        for i, t in enumerate(tangents):
            if t is None:
                continue
            args = tuple(t if j == i else node.value(j) for j in range(len(tangents)))
            part = bind(self, args, node.params)
            total = part if total is None else REGISTRY["add"](total, part)
        return total


def multilinear(
    name: str,
    reference: Callable[..., Any],
    infer: Callable[..., Any],
    *transposes: Callable[..., Any],
    operands: tuple[str, ...] = ("x", "y"),
    batch: Callable[..., Any],
    samples: Sampler,
    cost: str = "compute",
    work: Work | None = None,
    lower: Lowering | None = None,
) -> Multilinear:
    """Declare a (multi)linear contraction from its transpose in each operand."""
    return Multilinear(
        name,
        reference,
        infer,
        operands=operands,
        vjps=transposes,
        jvps=(None,) * len(operands),
        batch=batch,
        samples=samples,
        cost=cost,
        work=work,
        lower=lower,
    )


def custom(
    name: str,
    reference: Callable[..., Any],
    infer: Callable[..., Any],
    *,
    operands: tuple[str, ...] = ("x",),
    jvps: Sequence[Callable[..., Any] | None] = (),
    vjps: Sequence[Callable[..., Any] | None] = (),
    batch: Callable[..., Any],
    samples: Sampler,
    cost: str = "memory",
    several: bool = False,
    keeps: Sequence[str] = (),
    work: Work | None = None,
    lower: Lowering | Callable[..., Any] | None = None,
) -> Op:
    """Declare an op with tangent and cotangent rules given, one each an operand.

    An op with no rules at all (a comparison, an argmax) is not differentiable: its result is not
    tracked. One with `several` results gets and gives tuples as (co)tangents of the result, in
    which None stands for zero.
    """
    return Op(
        name,
        reference,
        infer,
        operands=operands,
        jvps=jvps,
        vjps=vjps,
        batch=batch,
        samples=samples,
        cost=cost,
        several=several,
        keeps=keeps,
        work=work,
        lower=pointwise(lower),
    )


def require(
    condition: bool, op: str, what: str, met: str = "", cause: str = "", fix: str = ""
) -> None:
    """Raise the op's `ArgumentError` unless `condition` holds."""
    if not condition:
        raise ArgumentError(op, what, met, cause, fix)


__all__ = [
    "NO_PARAMS",
    "REGISTRY",
    "ZERO",
    "custom",
    "elementwise",
    "linear",
    "multilinear",
    "one_an_input",
]
