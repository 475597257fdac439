"""`custom_jvp`: a function with its own forward-mode derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.node import Node
from wengert.core.op import Array, Op, bind
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.tree import TreeDef, tree_map
from wengert.ops.elementwise import add, mul
from wengert.ops.functions import cos, sin
from wengert.transforms.batch import vmap
from wengert.transforms.call import zeros_like
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
from wengert.transforms.replay import own_sites

__all__ = ["custom_jvp"]


def custom_jvp(f: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """Give a function its own forward-mode derivative; reverse mode follows by transposing it.

    `f.defjvp(rule)` sets it: `rule(primals, tangents)` returns `(result, tangent of the result)`,
    linear in the tangents. `f.defjvps(*rules)` takes one rule an argument instead,
    `rule(tangent, result, *primals)`, or None for zero. Arguments named by `nondiff_argnums` are
    constants of any type; the rule gets them first. `f` must not close over tracked tensors.

    >>> import wengert as wg
    >>> @wg.custom_jvp
    ... def log1pexp(x):
    ...     return wg.log(1.0 + wg.exp(x))
    >>> log1pexp.defjvps(lambda t, out, x: (1.0 - 1.0 / (1.0 + wg.exp(x))) * t)
    >>> float(wg.grad(log1pexp)(100.0))
    1.0
    """
    if f is None:
        return partial(custom_jvp, nondiff_argnums=nondiff_argnums)
    return CustomJvp("custom_jvp", f, nondiff_argnums)


class CustomJvp(CustomFunction):
    """What `custom_jvp` returns: the function, to which `defjvp` gives its rule."""

    rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule: `rule(primals, tangents) -> (result, tangent)`. Usable as a decorator."""
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Set one rule an argument: `rule(tangent, result, *primals)`; None is zero."""
        if self.nondiff_argnums:
            raise ArgumentError(
                "custom_jvp",
                "defjvps cannot be used with nondiff_argnums",
                fix="use defjvp, whose rule gets those arguments first",
            )

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            result = self(*primals)
            total = None
            for part, tangent in zip(rules, tangents, strict=True):
                if part is not None:
                    term = part(tangent, result, *primals)
                    total = term if total is None else tree_map(add, total, term)
            return result, tree_map(zeros_like, result) if total is None else total

        self.rule = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.rule is None:
            raise ArgumentError(
                "custom_jvp",
                "the function has no derivative rule yet",
                met=getattr(self.f, "__qualname__", repr(self.f)),
                fix="call f.defjvp(rule) once, after the definition",
            )
        arguments = self.arguments(args, kwargs)
        if not arguments.need_rule:
            return self.f(*args, **kwargs)
        rule = _Rule(self.f, self.rule, arguments)
        operands, arguments.operands = arguments.operands, []
        results = bind(custom_jvp_op, tuple(operands), {"call": rule})
        return rule.out_tree.unflatten(results)


class _Rule:
    """The functions of one call on flat lists of tensors."""

    def __init__(
        self, f: Callable[..., Any], rule: Callable[..., Any], arguments: Arguments
    ) -> None:
        self.f, self.rule, self.arguments = f, rule, arguments
        self.out_tree: TreeDef

    def primal(self, *operands: Tensor) -> Values:
        """The function itself."""
        with own_sites():
            outs, self.out_tree = tensors(self.f(*self.arguments.all(operands)))
        return outs

    def pushforward(self, operands: Sequence[Tensor], ts: Sequence[Tensor]) -> Values:
        """The user's rule: tangents of the results."""
        with own_sites():
            pair = self.rule(
                *self.arguments.fixed.values(),
                self.arguments.differentiated(operands),
                self.arguments.tangents(ts),
            )
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentError(
                "custom_jvp",
                "the rule must return a pair (result, tangent of the result)",
                met=type(pair).__name__,
                fix="return (result, tangent)",
            )
        (outs, out_tree), (found, tree) = map(tensors, pair)
        if tree != out_tree or out_tree != self.out_tree:
            raise ArgumentError(
                "custom_jvp",
                "the rule's result and its tangent must have the structure of the function's "
                "result",
                met=f"{out_tree} and {tree} for {self.out_tree}",
                fix="return pytrees of one structure",
            )
        for out, t in zip(outs, found, strict=True):
            if out.shape != t.shape:
                raise ShapeError(
                    "custom_jvp",
                    "the tangent must have the shape of the result",
                    met=f"{t.shape} for {out.shape}",
                    fix="broadcast the tangent",
                )
        return found


class _BatchedRule:
    """The same functions over a leading batch axis of some operands."""

    def __init__(self, inner: Any, batched: Sequence[bool]) -> None:
        self.inner = inner
        self.axes = tuple(0 if b else None for b in batched)

    def primal(self, *operands: Tensor) -> Values:
        return vmap(self.inner.primal, in_axes=self.axes)(*operands)

    def pushforward(self, operands: Sequence[Tensor], ts: Sequence[Tensor]) -> Values:
        axes = list(self.axes)
        return vmap(self.inner.pushforward, in_axes=(axes, axes))(list(operands), list(ts))


class CustomJvpOp(Op):
    """A function with its own tangent rule, as an op; the parameter `call` is the rule."""

    @property
    def differentiable(self) -> bool:
        return True

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        operands = [node.value(i) for i in range(len(node.parents))]
        return tuple(node.params["call"].pushforward(operands, filled(tangents, operands)))

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        """uᵀ·J, as the transpose in the tangents of the map that the rule is."""
        operands = [node.value(i) for i in range(len(node.parents))]
        push = partial(node.params["call"].pushforward, operands)
        return transpose("custom_jvp", push, operands, needs, ct)


def _reference(*arrays: Array, call: Any) -> tuple[Array, ...]:
    return reference("custom_jvp", call.primal, arrays)


def _infer(*specs: Shaped, call: Any) -> tuple[Spec, ...]:
    return infer("custom_jvp", call.primal, specs)


def _batch(size: int, args: Sequence[Tensor], batched: Sequence[bool], call: Any) -> Any:
    rule = _BatchedRule(call, batched)
    if state.recording and any(x._node is not None for x in args):
        return bind(custom_jvp_op, tuple(args), {"call": rule})
    return tuple(rule.primal(*args))


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))

    def rule(primals: tuple[Tensor, Tensor], tangents: tuple[Tensor, Tensor]) -> Any:
        (x, y), (s, t) = primals, tangents
        return mul(sin(x), y), add(mul(mul(cos(x), y), s), mul(sin(x), t))

    arguments = Arguments("custom_jvp", (Tensor(x), Tensor(y)), ())
    return [Sample((x, y), {"call": _Rule(lambda x, y: mul(sin(x), y), rule, arguments)})]


custom_jvp_op = CustomJvpOp(
    "custom_jvp",
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
custom_jvp_op.expand = lambda *operands, call: tuple(call.primal(*operands))
