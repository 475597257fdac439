"""`custom_vjp`: a function with its own reverse-mode derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import is_
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError
from wengert.core.graph import Watch
from wengert.core.node import FrozenNode, Node
from wengert.core.op import Array, Op, bind
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.core.tree import TreeDef, tree_flatten
from wengert.ops.elementwise import mul
from wengert.ops.functions import cos, sin
from wengert.ops.reduce import sum as sum_
from wengert.transforms.batch import vmap
from wengert.transforms.custom import (
    Arguments,
    CustomFunction,
    Values,
    filled,
    infer,
    reference,
    tensors,
    transpose,
)
from wengert.transforms.replay import Before, own_sites, rewound

__all__ = ["custom_vjp"]


def custom_vjp(f: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """Give a function its own reverse-mode derivative.

    `f.defvjp(fwd, bwd)` sets the rule: `fwd(*args)` returns `(result, residuals)`, and
    `bwd(residuals, cotangent)` a tuple with one cotangent an argument: a pytree like it, or None
    for zero. Arguments named by `nondiff_argnums` are constants of any type; `bwd` gets them first.

    The rule holds to any order and under all transforms: for forward mode it is transposed, so
    `bwd` should be linear in the cotangent; for higher orders `fwd` is run once more. `f` must not
    close over tracked tensors.

    >>> import wengert as wg
    >>> @wg.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (wg.clip(g, -1.0, 1.0),))
    >>> float(wg.grad(lambda x: 5.0 * clip_gradient(x))(2.0))
    1.0
    """
    if f is None:
        return partial(custom_vjp, nondiff_argnums=nondiff_argnums)
    return CustomVjp("custom_vjp", f, nondiff_argnums)


class CustomVjp(CustomFunction):
    """What `custom_vjp` returns: the function, to which `defvjp` gives its rule."""

    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set the rule: `fwd(*args) -> (result, residuals)`, `bwd(residuals, cotangent)`."""
        self.fwd, self.bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fwd is None or self.bwd is None:
            raise ArgumentError(
                "custom_vjp",
                "the function has no derivative rule yet",
                met=getattr(self.f, "__qualname__", repr(self.f)),
                fix="call f.defvjp(fwd, bwd) once, after the definition",
            )
        arguments = self.arguments(args, kwargs)
        if not arguments.need_rule:
            return self.f(*args, **kwargs)
        rule = _Rule(self.f, self.fwd, self.bwd, arguments)
        operands, arguments.operands = arguments.operands, []
        results = bind(custom_vjp_op, tuple(operands), {"call": Residuals(rule)})
        return rule.out_tree.unflatten(results)


class _Rule:
    """The functions of one call on flat lists of tensors."""

    def __init__(
        self,
        f: Callable[..., Any],
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        arguments: Arguments,
    ) -> None:
        self.f, self.fwd, self.bwd, self.arguments = f, fwd, bwd, arguments
        self.before: Before = {}
        self.out_tree: TreeDef
        self.residual_tree: TreeDef
        self.constants: list[Any] = []  # residuals that are no tensors; None in a tensor's place

    def primal(self, *operands: Tensor) -> Values:
        """The function itself."""
        outs, self.out_tree = tensors(self.f(*self.arguments.all(operands)))
        return outs

    def forward(self, *operands: Tensor) -> tuple[Values, Values]:
        """The user's fwd: results and residuals."""
        with own_sites(), Watch() as watch:
            pair = self.fwd(*self.arguments.all(operands))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentError(
                "custom_vjp",
                "fwd must return a pair (result, residuals)",
                met=type(pair).__name__,
                fix="return (result, what bwd needs)",
            )
        outs, self.out_tree = tensors(pair[0])
        residuals, self.residual_tree = tree_flatten(pair[1])
        self.constants = [None if isinstance(r, Tensor) else r for r in residuals]
        self.before = watch.before
        return outs, [r for r in residuals if isinstance(r, Tensor)]

    def again(self, *operands: Tensor) -> Values:
        """The residuals, from the operands, by a second and equal run of fwd."""
        with rewound(self.before), recording(True):
            return self.forward(*operands)[1]

    def backward(self, residuals: Values, cts: Values, specs: Sequence[Shaped]) -> Any:
        """The user's bwd: cotangents (or None) of the operands."""
        given = iter(residuals)
        kept = self.residual_tree.unflatten(next(given) if c is None else c for c in self.constants)
        with own_sites():
            found = self.bwd(*self.arguments.fixed.values(), kept, self.out_tree.unflatten(cts))
        return self.arguments.cotangents(found, specs)


class _BatchedRule:
    """The same functions over a leading batch axis of some operands."""

    def __init__(self, inner: Any, batched: Sequence[bool]) -> None:
        self.inner, self.batched = inner, batched
        self.axes = tuple(0 if b else None for b in batched)

    def primal(self, *operands: Tensor) -> Values:
        return vmap(self.inner.primal, in_axes=self.axes)(*operands)

    def forward(self, *operands: Tensor) -> tuple[Values, Values]:
        return vmap(self.inner.forward, in_axes=self.axes)(*operands)

    def again(self, *operands: Tensor) -> Values:
        return vmap(self.inner.again, in_axes=self.axes)(*operands)

    def backward(self, residuals: Values, cts: Values, specs: Sequence[Shaped]) -> Any:
        rows = [
            Spec(s.shape[1:], s.dtype) if b else s for s, b in zip(specs, self.batched, strict=True)
        ]
        found = vmap(lambda r, c: self.inner.backward(r, c, rows))(residuals, cts)
        return [
            ct if b or ct is None else sum_(ct, axis=(0,))
            for ct, b in zip(found, self.batched, strict=True)
        ]


class Residuals:
    """A rule, and the residuals that its last run left, with the operands that they belong to."""

    def __init__(self, rule: Any) -> None:
        self.rule = rule
        self.operands: tuple[Array, ...] | None = None
        self.values: Values = []

    def run(self, *operands: Tensor) -> Values:
        """The results; the residuals are kept."""
        outs, self.values = self.rule.forward(*operands)
        self.operands = tuple(x._data for x in operands)
        return outs

    def of(self, node: Node) -> Values:
        """The residuals that belong to a node. Where a higher derivative may be taken, or other
        operands were met in between, fwd is run again, connected to the node's operands."""
        assert node.saved is not None
        kept = self.operands is not None and all(map(is_, self.operands, node.saved))
        if kept and (not state.recording or isinstance(node, FrozenNode)):
            return self.values
        return self.rule.again(*(node.value(i) for i in range(len(node.parents))))


class CustomVjpOp(Op):
    """A function with its own cotangent rule, as an op; the parameter `call` has the rule."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        call = node.params["call"]
        cts = filled(ct, node.out or ())
        found: Sequence[Tensor | None] = call.rule.backward(call.of(node), cts, node.saved)
        return found

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        """J·t, as the transpose in the cotangent of the map that `bwd` is."""
        rule, residuals = node.params["call"].rule, node.params["call"].of(node)
        pull = lambda cts: rule.backward(residuals, cts, node.saved)
        outs = node.out or ()
        return tuple(transpose("custom_vjp", pull, outs, (True,) * len(outs), tangents))


def _reference(*arrays: Array, call: Residuals) -> tuple[Array, ...]:
    return reference("custom_vjp", call.run, arrays)


def _infer(*specs: Shaped, call: Residuals) -> tuple[Spec, ...]:
    # by f, not by fwd: most calls of fwd call the function itself, which would infer again
    return infer("custom_vjp", call.rule.primal, specs)


def _batch(size: int, args: Sequence[Tensor], batched: Sequence[bool], call: Residuals) -> Any:
    rule = _BatchedRule(call.rule, batched)
    if state.recording and any(x._node is not None for x in args):
        return bind(custom_vjp_op, tuple(args), {"call": Residuals(rule)})
    return tuple(rule.primal(*args))


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    rule = _Rule(
        lambda x, y: mul(sin(x), y),
        lambda x, y: (mul(sin(x), y), (cos(x), sin(x), y, "kept")),
        lambda kept, g: (mul(mul(g, kept[0]), kept[2]), mul(g, kept[1])),
        Arguments("custom_vjp", (Tensor(x), Tensor(y)), ()),
    )
    return [Sample((x, y), {"call": Residuals(rule)})]


custom_vjp_op = CustomVjpOp(
    "custom_vjp",
    _reference,
    _infer,
    operands=(),
    vjps=(None,),
    jvps=(None,),
    batch=_batch,
    samples=_samples,
    cost="compute",
    several=True,
)
custom_vjp_op.expand = lambda *operands, call: tuple(call.rule.primal(*operands))
