"""`vmap`: trace a function once on unbatched shapes, then run its graph under batching rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from wengert.core.errors import ArgumentError, AxisError, ShapeError, TraceError
from wengert.core.graph import Graph, Trace
from wengert.core.node import Node
from wengert.core.op import bind
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_leaves, tree_paths, tree_structure
from wengert.core.variable import Variable
from wengert.ops.movement import broadcast_to, permute
from wengert.ops.structure import pick
from wengert.transforms.call import check_function
from wengert.transforms.trace import operands, trace_leaves

__all__ = ["vmap"]


def move_axis(x: Tensor, source: int, target: int) -> Tensor:
    """`x` with one axis moved, as `moveaxis`."""
    if source == target:
        return x
    order = [i for i in range(x.ndim) if i != source]
    order.insert(target, source)
    moved: Tensor = permute(x, axes=tuple(order))
    return moved


def vmap(
    f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, randomness: str = "error"
) -> Callable[..., Any]:
    """A function that maps `f` over an axis of its arguments, as one batched computation.

    `in_axes` is an axis, None (not mapped), or a tuple of such, one an argument; each may also be
    a pytree prefix of its argument. Keyword arguments are mapped over axis 0. `out_axes`, an axis
    or a prefix of the result, says where the mapped axis goes. `randomness` decides what random
    draws inside do: "error", "same" (one draw for all) or "different" (one a row).

    `f` is traced once, on shapes without the mapped axis; it cannot branch on values.

    >>> import wengert as wg
    >>> wg.vmap(lambda v, s: wg.sum(v) * s, in_axes=(0, None))(wg.ones((2, 3)), 2.0)
    Tensor([6., 6.], dtype=float32)
    """
    check_function("vmap", f)
    if randomness not in ("error", "same", "different"):
        raise ArgumentError(
            "vmap",
            "unknown randomness",
            met=repr(randomness),
            fix="use 'error', 'same' or 'different'",
        )

    @wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, treedef = tree_flatten((args, kwargs))
        axes = _axes_of_leaves(in_axes, args, kwargs)
        rows, size = _fronted(leaves, axes, (args, kwargs))
        specs = [
            x if a is None else Spec(x.shape[1:], x.dtype) for x, a in zip(rows, axes, strict=True)
        ]
        session = Trace(size, randomness)
        graph, out_tree = trace_leaves(f, specs, treedef, session)
        inputs = [x for x, a in zip(rows, axes, strict=True) if a is not None]
        inputs += [values for _, values in session.drawn]
        results = run_batched(graph, size, inputs)
        wanted = _prefix("out_axes", out_axes, out_tree)
        return out_tree.unflatten(
            _place(x, batched, a, size) for (x, batched), a in zip(results, wanted, strict=True)
        )

    return mapped


def run_batched(
    graph: Graph, size: int, inputs: Sequence[Tensor], marks: Sequence[bool] | None = None
) -> list[tuple[Tensor, bool]]:
    """Run a traced graph with a leading batch axis on its inputs (on those marked, if `marks` are
    given). Each result comes with whether it has that axis."""
    known: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    batched = {n for i, n in enumerate(graph.inputs) if marks is None or marks[i]}
    before = state.origin
    try:
        for node in graph.nodes:
            if node in known:
                continue
            state.origin = node.origin
            args = operands(node, known)
            on = [p in batched for p in node.parents]
            if node.op is pick:
                known[node] = args[0][node.params["index"]]
            elif any(on):
                known[node] = node.op.batch(size, args, on, node.params)
            else:
                known[node] = bind(node.op, tuple(args), node.params)
            if any(on):
                batched.add(node)
    finally:
        state.origin = before

    def result(t: Tensor) -> tuple[Tensor, bool]:
        return (known[t._node], t._node in batched) if t._node in known else (t, False)

    for variable, value in graph.writes:
        _write(variable, *result(value))
    return [result(t) for t in graph.outputs]


def _write(variable: Variable, value: Tensor, differs: bool) -> None:
    if differs:
        raise TraceError(
            "vmap",
            "a variable was given a value that differs along the mapped axis",
            met=f"a variable of shape {variable.shape}",
            cause="batch normalisation in training mode, or a counter, inside vmap",
            fix="call model.eval() first, or return the value from the function",
        )
    variable.assign(value)


# -- axes --------------------------------------------------------------------------------------


def _axes_of_leaves(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """One axis (or None) for each leaf of the arguments."""
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    each = isinstance(in_axes, tuple)
    if each and len(in_axes) != len(args):
        raise ArgumentError(
            "vmap",
            "in_axes must have one entry a positional argument",
            met=f"{len(in_axes)} entries for {len(args)} arguments",
            fix="add the missing entries; keyword arguments are mapped over axis 0",
        )
    axes: list[Any] = []
    for prefix, arg in zip(in_axes if each else (in_axes,) * len(args), args, strict=True):
        axes += _prefix("in_axes", prefix, tree_structure(arg))
    return axes + [0] * len(tree_leaves(kwargs))


def _prefix(name: str, prefix: Any, tree: TreeDef) -> list[Any]:
    """Spread a pytree prefix over the leaves of a tree: one entry a leaf."""
    axes: list[Any] = []
    stack = [(prefix, tree)]
    while stack:
        entry, part = stack.pop()
        if entry is None or (isinstance(entry, int) and not isinstance(entry, bool)):
            axes += [entry] * part.num_leaves
            continue
        children, structure = _one_level(entry)
        if structure.kind is None or (structure.kind, structure.aux) != (part.kind, part.aux):
            raise ArgumentError(
                "vmap",
                f"{name} does not fit the structure of the values",
                met=f"{entry!r} for {part}",
                fix=f"make {name} an axis, None, or a prefix of the tree with such",
            )
        if len(children) != len(part.children):
            raise ArgumentError(
                "vmap",
                f"{name} does not fit the structure of the values",
                met=f"{len(children)} entries for {len(part.children)} values",
                fix=f"give {name} one entry a value",
            )
        stack += reversed(list(zip(children, part.children, strict=True)))
    return axes


def _one_level(tree: Any) -> tuple[list[Any], TreeDef]:
    """The children of a container, and its structure."""
    return tree_flatten(tree, is_leaf=lambda value: value is not tree)


def _fronted(leaves: Sequence[Any], axes: Sequence[Any], tree: Any) -> tuple[list[Any], int]:
    """The leaves with their mapped axis moved to the front, and its size."""
    sizes: dict[int, int] = {}  # size → the first leaf of it
    rows = []
    for i, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
        if axis is None:
            rows.append(leaf)
            continue
        x = as_tensor(leaf)
        if not -x.ndim <= axis < x.ndim:
            raise AxisError(
                "vmap",
                f"argument {_path(tree, i)} has no such axis to map over",
                met=f"axis {axis} of shape {x.shape}",
                fix="choose in_axes per argument, None where it is not mapped",
            )
        rows.append(move_axis(x, axis % x.ndim, 0))
        sizes.setdefault(rows[-1].shape[0], i)
    if not sizes:
        raise ArgumentError(
            "vmap",
            "no argument is mapped over",
            cause="in_axes is None throughout, or there are no arguments",
            fix="give at least one argument an axis",
        )
    if len(sizes) > 1:
        raise ShapeError(
            "vmap",
            "the mapped axes have different sizes",
            met=", ".join(f"{n} for argument {_path(tree, i)}" for n, i in sizes.items()),
            fix="map over axes of one size, or set in_axes per argument",
        )
    return rows, next(iter(sizes))


def _path(args_and_kwargs: Any, i: int) -> str:
    """How to write the place of leaf `i` of `(args, kwargs)`: "[0]['w']" or "['bias']"."""
    return tree_paths(args_and_kwargs)[i][len("[0]") :]


def _place(x: Tensor, batched: bool, axis: int | None, size: int) -> Tensor:
    """Put the batch axis of a result where out_axes wants it."""
    if axis is None:
        if batched:
            raise ArgumentError(
                "vmap",
                "out_axes is None for a result that differs along the mapped axis",
                met=f"a result of shape {x.shape}",
                fix="give that result an axis in out_axes",
            )
        return x
    if not batched:
        x = broadcast_to(x, shape=(size, *x.shape))
    if not -x.ndim <= axis < x.ndim:
        raise AxisError(
            "vmap",
            "a result has no such axis for the mapped axis to go to",
            met=f"out_axes {axis} for a result of {x.ndim} axes",
            fix=f"use an axis from {-x.ndim} to {x.ndim - 1}",
        )
    return move_axis(x, 0, axis % x.ndim)
