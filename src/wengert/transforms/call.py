"""What all derivatives share: one call of a function on fresh, tracked inputs, and its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.core import site
from wengert.core.dtypes import is_float
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.graph import ancestors, nodes_of
from wengert.core.node import Node
from wengert.core.op import NO_PARAMS, cast_to
from wengert.core.spec import Shaped, Spec, describe
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_paths
from wengert.core.variable import Variable
from wengert.ops.structure import alias, stop_gradient


class Call:
    """One call of a function on fresh inputs.

    Each input is a new `alias` node. So derivatives that are nested, even with respect to the same
    variable, are told apart by the identity of nodes, and none can be confused with another.

    An input stays connected to what its argument was computed from, if that is tracked: then the
    derivative is itself differentiable. A `Variable` is a box: it passes the value that it holds.
    """

    def __init__(self, name: str, primals: Sequence[Any]) -> None:
        self.name = name
        self.inputs = [fresh(as_tensor(p), connected=_is_connected(p)) for p in primals]
        self.starts = set(nodes_of(self.inputs))

    def run(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `f` with recording switched on."""
        before = state.transforming
        state.transforming = True
        try:
            with recording(True):
                return f(*args, **kwargs)
        finally:
            state.transforming = before

    def graph(self, outputs: Iterable[Any]) -> tuple[list[Node], bool]:
        """The nodes between the inputs and some outputs; and whether anything else is tracked
        there, so that what is computed from these nodes must stay connected."""
        nodes = ancestors(nodes_of(outputs), self.starts)
        return nodes, any(map(self._reaches_out, nodes))

    def linear_graph(self, outputs: Iterable[Any]) -> tuple[list[Node], bool]:
        """The same for a graph that will be walked often, as a linear map: where nothing else is
        tracked, its coefficients are constants."""
        nodes, connected = self.graph(outputs)
        if not connected:
            for node in nodes:
                node.freeze()
        return nodes, connected

    def _reaches_out(self, node: Node) -> bool:
        if node in self.starts:
            return node.parents[0] is not None
        return not node.parents or (node.op is alias and node.parents[0] is None)

    def release(self, leaves: Sequence[Any], connected: bool) -> list[Any]:
        """Results for the caller: cut from this call's graph unless they are `connected`."""
        if connected and state.recording:
            return list(leaves)
        return [cut(x) if isinstance(x, Tensor) else x for x in leaves]

    def release_tree(self, tree: Any) -> Any:
        """The same for a pytree of any values."""
        leaves, definition = tree_flatten(tree)
        _, connected = self.graph(leaves)
        return definition.unflatten(self.release(leaves, connected))


class LinearMap:
    """A function linearised at a point: its recorded graph, for a walk in either direction.
    A subclass is called with (co)tangents and walks."""

    def __init__(
        self, call: Call, outputs: list[Tensor], out_tree: TreeDef, in_tree: TreeDef
    ) -> None:
        self.call, self.outputs, self.out_tree, self.in_tree = call, outputs, out_tree, in_tree
        self.nodes, self.connected = call.linear_graph(outputs)

    @classmethod
    def at(cls, name: str, f: Callable[..., Any], primals: tuple[Any, ...], has_aux: bool) -> Any:
        """`(f(*primals), the map)`; with `has_aux`, `(result, the map, aux)`."""
        check_function(name, f)
        leaves, in_tree = flatten_floating(name, primals)
        call = Call(name, leaves)
        result = call.run(f, *in_tree.unflatten(call.inputs))
        aux = None
        if has_aux:
            result, aux = split_aux(name, result)
        outputs, out_tree = tree_flatten(result)
        outputs = [as_tensor(o) for o in outputs]
        linear = cls(call, outputs, out_tree, in_tree)
        value = out_tree.unflatten(call.release(outputs, linear.connected))
        return (value, linear, call.release_tree(aux)) if has_aux else (value, linear)


def _is_connected(p: Any) -> bool:
    """Whether a derivative with respect to `p` is one that something further out tracks."""
    if not isinstance(p, Tensor) or p._node is None:
        return False
    return p.is_symbolic or (state.recording and not isinstance(p, Variable))


def fresh(x: Tensor, connected: bool) -> Tensor:
    """The same value behind a new `alias` node, which hangs below x's own if `connected`."""
    origin = state.origin or site.capture(state.module)
    parent = x._node if connected else None
    kept = x._data if x.is_symbolic else None
    return Tensor(
        x._data, Node(alias, NO_PARAMS, (parent,), (kept,), kept, x.shape, x.dtype, origin)
    )


def cut(x: Tensor) -> Tensor:
    """The same value, not tracked."""
    detached: Tensor = stop_gradient(x) if x.is_symbolic else Tensor(x._data)
    return detached


def zeros_like(x: Shaped) -> Tensor:
    """Zeros of the shape and dtype of something, which may be symbolic."""
    return Tensor(np.zeros(x.shape, x.dtype))


def ones_like(x: Shaped) -> Tensor:
    """Ones of the shape and dtype of something, which may be symbolic."""
    return Tensor(np.ones(x.shape, x.dtype))


def of_each(inputs: Sequence[Tensor], found: Mapping[Node, Any]) -> list[Tensor]:
    """The (co)tangent that was found for each tensor; zeros where there is none."""
    chosen = [None if x._node is None else found.get(x._node) for x in inputs]
    return [zeros_like(x) if ct is None else ct for x, ct in zip(inputs, chosen, strict=True)]


# -- checks of arguments -----------------------------------------------------------------------


def check_function(name: str, f: Any) -> None:
    """The error for `grad(f(x))` in place of `grad(f)(x)`."""
    if not callable(f):
        raise DtypeError(
            name,
            "the first argument must be a function",
            met=describe(f) if isinstance(f, Tensor) else type(f).__name__,
            cause=f"{name}(f(x)) in place of {name}(f)(x)" if isinstance(f, Tensor) else "",
            fix=f"pass the function itself to {name}",
        )


def flatten_floating(name: str, tree: Any) -> tuple[list[Any], TreeDef]:
    """The leaves of differentiated arguments, which must all be floating."""
    leaves, treedef = tree_flatten(tree)
    for i, value in enumerate(leaves):
        x = as_tensor(value)
        if not is_float(x.dtype):
            raise DtypeError(
                name,
                f"the input{tree_paths(tree)[i]} is not floating, so it has no derivative",
                met=repr(Spec.of(x)),
                cause="an integer array, or labels among the differentiated arguments",
                fix="choose the arguments with argnums or close over the others, "
                "or cast with wg.astype(x, wg.float32)",
            )
    return leaves, treedef


def match(
    name: str, given: Any, leaves: Sequence[Tensor], tree: TreeDef, what: str
) -> list[Tensor]:
    """The leaves of a tangent or cotangent, which must have the structure, the shapes and (after
    a cast) the dtypes of the values that it belongs to."""
    found, structure = tree_flatten(given)
    if structure != tree:
        raise ArgumentError(
            name,
            f"the {what}s must have the structure of the values they belong to",
            met=f"{structure} for {tree}",
            fix=f"pass a pytree with one {what} a value",
        )
    matched = []
    for i, (value, like) in enumerate(zip(found, leaves, strict=True)):
        x = as_tensor(value, like)
        if x.shape != like.shape:
            raise ShapeError(
                name,
                f"the {what}{tree_paths(given)[i]} must have the shape of its value",
                met=f"{x.shape} for {like.shape}",
                fix="pass ones_like(value), or broadcast it",
            )
        matched.append(cast_to(x, like.dtype) if is_float(like.dtype) else x)
    return matched


def split_aux(name: str, result: Any) -> tuple[Any, Any]:
    """The pair that a function returns where has_aux=True."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            name,
            "with has_aux=True the function must return a pair (result, aux)",
            met=type(result).__name__,
            fix="return (loss, extra), or drop has_aux",
        )
    return result[0], result[1]


def positions(name: str, argnums: int | Sequence[int], args: Sequence[Any]) -> tuple[int, ...]:
    """The arguments that `argnums` names, as numbers from zero."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise ArgumentError(
                name,
                "argnums names an argument that was not passed",
                met=f"argnums={argnums} with {len(args)} positional arguments",
                cause="the argument was passed by keyword",
                fix="pass the differentiated arguments by position",
            )
    found = tuple(n % len(args) for n in numbers)
    if len(set(found)) != len(found):
        raise ArgumentError(
            name, "argnums names an argument twice", met=repr(argnums), fix="name each once"
        )
    return found


def replaced(args: Sequence[Any], numbers: Sequence[int], new: Sequence[Any]) -> list[Any]:
    """The arguments, with those of some positions replaced."""
    out = list(args)
    for n, value in zip(numbers, new, strict=True):
        out[n] = value
    return out
