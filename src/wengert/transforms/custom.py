"""What functions with their own derivative share: `custom_vjp` and `custom_jvp` stand on it.

A call of such a function becomes one node. The node's rules run the functions that the user gave;
those are made of ops, so further derivatives follow. The mode that was not given is the transpose
of the one that was: a derivative rule is linear in its (co)tangent, and reverse mode transposes
linear programs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from typing import Any

from wengert.core.dtypes import is_float
from wengert.core.errors import ArgumentError, GradientError, ShapeError
from wengert.core.graph import Trace, nodes_of
from wengert.core.node import Node, next_id
from wengert.core.op import Array, cast_to
from wengert.core.spec import Shaped, Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten
from wengert.transforms.call import Call, check_function, zeros_like
from wengert.transforms.replay import made_since
from wengert.transforms.reverse import walk
from wengert.transforms.trace import symbolic

Values = list[Tensor]


class CustomFunction:
    """A function that replaces `f`, with the same signature."""

    def __init__(self, name: str, f: Callable[..., Any], nondiff_argnums: Sequence[int]) -> None:
        check_function(name, f)
        update_wrapper(self, f)  # type: ignore[arg-type]
        self.name, self.f, self.nondiff_argnums = name, f, tuple(nondiff_argnums)
        self.signature = inspect.signature(f)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The arguments of a call, all by position, defaults filled in."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentError(
                self.name,
                "keyword-only arguments have no place in a derivative rule",
                met=", ".join(bound.kwargs),
                fix="make them positional arguments, and name constants in nondiff_argnums",
            )
        for n in self.nondiff_argnums:
            if not 0 <= n < len(bound.args):
                raise ArgumentError(
                    self.name,
                    "nondiff_argnums names an argument that there is not",
                    met=f"{self.nondiff_argnums} with {len(bound.args)} arguments",
                    fix="count positions from 0",
                )
        return Arguments(self.name, bound.args, self.nondiff_argnums)


class Arguments:
    """The arguments of one call. Tensors (also those inside of pytrees) are the operands of its
    node; all other leaves, and the arguments that `nondiff` names, are part of the call."""

    def __init__(self, name: str, args: Sequence[Any], nondiff: Sequence[int]) -> None:
        self.name = name
        self.count = len(args)
        self.fixed = {i: args[i] for i in nondiff}
        self.trees: list[TreeDef] = []
        self.constants: list[list[Any]] = []  # the leaves of each argument; None for an operand
        self.operands: list[Tensor] = []
        for i, arg in enumerate(args):
            if i not in self.fixed:
                leaves, tree = tree_flatten(arg)
                self.trees.append(tree)
                self.constants.append([None if isinstance(x, Tensor) else x for x in leaves])
                self.operands += [x for x in leaves if isinstance(x, Tensor)]

    @property
    def need_rule(self) -> bool:
        """Whether some derivative may pass: else the plain function will do."""
        return state.recording and any(x._node is not None for x in self.operands)

    def differentiated(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that are not fixed, with these operands in their places."""
        given = iter(operands)
        return tuple(
            tree.unflatten(next(given) if c is None else c for c in constants)
            for tree, constants in zip(self.trees, self.constants, strict=True)
        )

    def tangents(self, ts: Sequence[Tensor]) -> tuple[Any, ...]:
        """The same for tangents; that of a constant number is zero."""
        given = iter(ts)
        return tuple(
            tree.unflatten(
                next(given) if c is None else 0.0 if isinstance(c, (int, float)) else c
                for c in constants
            )
            for tree, constants in zip(self.trees, self.constants, strict=True)
        )

    def all(self, operands: Sequence[Any]) -> list[Any]:
        """All arguments of the function, with these operands in their places."""
        rest = iter(self.differentiated(operands))
        return [self.fixed[i] if i in self.fixed else next(rest) for i in range(self.count)]

    def cotangents(self, found: Any, operands: Sequence[Shaped]) -> list[Tensor | None]:
        """The result of a user's `bwd` as one cotangent (or None) an operand."""
        if not isinstance(found, (tuple, list)) or len(found) != len(self.trees):
            size = f" of {len(found)}" if isinstance(found, (tuple, list)) else ""
            raise ArgumentError(
                self.name,
                "bwd must return a tuple with one cotangent a differentiated argument",
                met=f"{type(found).__name__}{size} for {len(self.trees)} arguments",
                fix="return (ct,) for one argument; None where the gradient is zero",
            )
        flat: list[Tensor | None] = []
        for entry, tree, constants in zip(found, self.trees, self.constants, strict=True):
            leaves, structure = tree_flatten(entry)
            if entry is None:
                flat += [None] * constants.count(None)
                continue
            if structure != tree:
                raise ArgumentError(
                    self.name,
                    "a cotangent that bwd returned does not have the structure of its argument",
                    met=f"{structure} for {tree}",
                    fix="return a pytree like the argument, or None for zero",
                )
            flat += [as_tensor(x) for x, c in zip(leaves, constants, strict=True) if c is None]
        for ct, x in zip(flat, operands, strict=True):
            if ct is not None and ct.shape != x.shape and is_float(x.dtype):
                raise ShapeError(
                    self.name,
                    "a cotangent that bwd returned does not have the shape of its argument",
                    met=f"{ct.shape} for {x.shape}",
                    fix="sum it over the axes that were broadcast, or broadcast it",
                )
        return flat


def tensors(tree: Any) -> tuple[Values, TreeDef]:
    """The leaves of a result, all as tensors."""
    leaves, structure = tree_flatten(tree)
    return [as_tensor(x) for x in leaves], structure


def filled(parts: Sequence[Tensor | None], specs: Sequence[Shaped]) -> Values:
    """(Co)tangents, with zeros where there are none: user functions get whole pytrees."""
    return [
        zeros_like(spec) if part is None else part for part, spec in zip(parts, specs, strict=True)
    ]


def transpose(
    name: str,
    f: Callable[[Values], Sequence[Tensor | None]],
    inputs: Sequence[Shaped],
    wanted: Sequence[bool],
    given: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The transpose of a linear function `f` of tensors like `inputs`, applied to `given`, with one
    entry a result of `f`; None is zero. Only `wanted` inputs get theirs."""
    chosen = [i for i, x in enumerate(inputs) if wanted[i] and is_float(x.dtype)]
    call = Call(name, [zeros_like(inputs[i]) for i in chosen])
    xs = [zeros_like(x) for x in inputs]
    for i, x in zip(chosen, call.inputs, strict=True):
        xs[i] = x
    results = call.run(f, xs)
    nodes, _ = call.graph(results)
    seeds = [
        (y._node, cast_to(g, y.dtype))
        for y, g in zip(results, given, strict=True)
        if y is not None and y._node is not None and g is not None
    ]
    found = walk(nodes, seeds, call.starts)
    return [None if x._node is None else found.get(x._node) for x in xs]


def run_closed(name: str, f: Callable[..., Values], operands: Sequence[Tensor]) -> Values:
    """Run a function that must depend on nothing tracked but its operands."""
    start = next_id()
    with recording(True):
        results = f(*operands)
    own = nodes_of(operands)
    _, boundary = made_since(start, nodes_of(results))
    _refuse_closure(name, (n for n in boundary if n not in own and n.id < start))
    if not own:  # untracked operands: whatever is tracked came from elsewhere
        _refuse_closure(name, nodes_of(results))
    return results


def _refuse_closure(name: str, nodes: Iterable[Node]) -> None:
    for node in nodes:
        raise GradientError(
            name,
            "the function closes over a tracked tensor, for which its rule gives no gradient",
            met=f"{Spec.of(node)} made at {node.site}",
            cause="a parameter, or a variable of an outer derivative, used inside",
            fix="pass it as an argument, or cut it with wg.stop_gradient",
        )


def reference(name: str, f: Callable[..., Values], arrays: Sequence[Array]) -> tuple[Array, ...]:
    """The op's result on arrays; user functions may use NumPy here, for nothing is tracked."""
    return tuple(x._data for x in run_closed(name, f, [Tensor(a) for a in arrays]))


def infer(name: str, f: Callable[..., Values], specs: Sequence[Shaped]) -> tuple[Spec, ...]:
    """The shapes and dtypes of the op's results."""
    with Trace():
        results = run_closed(name, f, [symbolic(Spec.of(s)) for s in specs])
    return tuple(Spec.of(x) for x in results)
