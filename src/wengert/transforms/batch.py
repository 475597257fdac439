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
from wengert.core.tree import TreeDef, tree_flatten
from wengert.ops.movement import broadcast_to, permute
from wengert.transforms.trace import trace_leaves


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
    a pytree prefix of its argument. `out_axes` says where the mapped axis goes in the results.
    `randomness` decides what random draws inside do: "error", "same" (one draw for all) or
    "different" (one a row).

    >>> import wengert as wg
    >>> wg.vmap(lambda v, s: wg.sum(v) * s, in_axes=(0, None))(wg.ones((2, 3)), 2.0)
    Tensor([6., 6.], dtype=float32)
    """
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
        tensors = [x if a is None else as_tensor(x) for x, a in zip(leaves, axes, strict=True)]
        size = _batch_size(tensors, axes)
        fronted = [
            x if a is None else move_axis(x, _axis("vmap", a, x.ndim), 0)
            for x, a in zip(tensors, axes, strict=True)
        ]
        specs = [
            x if a is None else Spec(x.shape[1:], x.dtype)
            for x, a in zip(fronted, axes, strict=True)
        ]
        session = Trace(size, randomness)
        graph, out_tree = trace_leaves(f, specs, treedef, session)
        rows = [x for x, a in zip(fronted, axes, strict=True) if a is not None]
        rows += [value for _, value in session.drawn]
        results = run_batched(graph, size, rows)
        wanted = _prefix("out_axes", out_axes, out_tree)
        return out_tree.unflatten(
            _place(x, batched, a, size) for (x, batched), a in zip(results, wanted, strict=True)
        )

    return mapped


def run_batched(graph: Graph, size: int, inputs: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
    """Run a traced graph with a leading batch axis on its inputs. Each result comes with whether
    it has that axis."""
    known: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    batched: set[Node] = set(graph.inputs)
    before = state.origin
    try:
        for node in graph.nodes:
            if node in known:
                continue
            state.origin = node.origin
            assert node.saved is not None
            args = [
                known[p] if p in known else Tensor(data, p)
                for p, data in zip(node.parents, node.saved, strict=True)
            ]
            marks = [p in batched for p in node.parents]
            if node.op.name == "pick":
                known[node] = args[0][node.params["index"]]
            elif any(marks):
                known[node] = node.op.batch(size, args, marks, node.params)
            else:
                known[node] = bind(node.op, tuple(args), node.params)
            if any(marks):
                batched.add(node)
    finally:
        state.origin = before

    def result(t: Tensor) -> tuple[Tensor, bool]:
        return (known[t._node], t._node in batched) if t._node in known else (t, False)

    for variable, value in graph.writes:
        new, differs = result(value)
        if differs:
            raise TraceError(
                "vmap",
                "a variable was given a value that differs along the mapped axis",
                met=f"a variable of shape {variable.shape}",
                cause="batch normalisation in training mode, or a counter, inside vmap",
                fix="call model.eval() first, or return the value from the function",
            )
        variable.assign(new)
    return [result(t) for t in graph.outputs]


def _axis(op: str, axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise AxisError(
            op,
            "an input has no such axis to map over",
            met=f"axis {axis} of {ndim}",
            fix="choose in_axes per argument, None where it is not mapped",
        )
    return axis % ndim


def _axes_of_leaves(in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """One axis (or None) for each leaf of the arguments; keyword arguments map over axis 0."""
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise ArgumentError(
            "vmap",
            "in_axes must have one entry a positional argument",
            met=f"{len(in_axes)} entries for {len(args)} arguments",
            fix="add the missing entries",
        )
    per_arg = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    axes: list[Any] = []
    for prefix, arg in zip(per_arg, args, strict=True):
        axes.extend(_prefix("in_axes", prefix, tree_flatten(arg)[1]))
    return axes + [0] * len(tree_flatten(kwargs)[0])


def _prefix(name: str, prefix: Any, tree: TreeDef) -> list[Any]:
    """Spread a pytree prefix over the leaves of a tree: one entry a leaf."""
    if prefix is None or isinstance(prefix, int):
        return [prefix] * tree.num_leaves
    entries, structure = tree_flatten(prefix, is_leaf=lambda v: v is None)
    kids = [prefix[k] for k in sorted(prefix)] if isinstance(prefix, dict) else list(prefix)
    if len(kids) != len(tree.children):
        raise ArgumentError(
            "vmap",
            f"{name} does not fit the structure of the values",
            met=f"{structure} for {tree}",
            fix=f"make {name} an int, or a prefix of the tree",
        )
    return [
        a for kid, child in zip(kids, tree.children, strict=True) for a in _prefix(name, kid, child)
    ]


def _batch_size(tensors: Sequence[Any], axes: Sequence[Any]) -> int:
    sizes = {
        x.shape[_axis("vmap", a, x.ndim)]
        for x, a in zip(tensors, axes, strict=True)
        if a is not None
    }
    if not sizes:
        raise ArgumentError(
            "vmap",
            "no argument is mapped over",
            cause="in_axes is None throughout",
            fix="give at least one argument an axis",
        )
    if len(sizes) > 1:
        raise ShapeError(
            "vmap",
            "the mapped axes have different sizes",
            met=str(sorted(sizes)),
            fix="map over axes of one size, or set in_axes per argument",
        )
    return int(sizes.pop())


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
    return move_axis(x, 0, _axis("vmap", axis, x.ndim))


__all__ = ["vmap"]
