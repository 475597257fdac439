"""Reverse mode: the walk from outputs back to leaves that the literature calls backpropagation.

Cotangents are tensors and rules are made of ops. So where something further out tracks the values
that the walk touches, the walk is itself recorded, and a derivative of any order needs nothing
more. Nested derivatives are told apart by node identity: each one starts from fresh `alias` nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from wengert.core.dtypes import is_float
from wengert.core.errors import ArgumentError, DtypeError, GradientError, ShapeError
from wengert.core.graph import ancestors
from wengert.core.node import Node
from wengert.core.op import add_tangents, cast_to
from wengert.core.spec import Spec, describe
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_paths
from wengert.ops.movement import unbroadcast
from wengert.ops.structure import alias, leaf

Cotangents = dict[Node, Any]


# -- the walk ----------------------------------------------------------------------------------


def walk(
    nodes: Sequence[Node],
    seeds: Iterable[tuple[Node, Tensor]],
    wanted: Iterable[Node],
    release: bool = False,
) -> Cotangents:
    """Cotangents of the `wanted` nodes, given those of some outputs.

    `nodes` are the ancestors of the outputs in topological order. `release` frees each node's kept
    values once it has been passed.
    """
    goals = set(wanted)
    needed = set(goals)
    for node in nodes:
        if node not in needed and any(p in needed for p in node.parents):
            needed.add(node)
    cotangents: Cotangents = {}
    for node, seed in seeds:
        cotangents[node] = add_tangents(cotangents.get(node), seed)
    for node in reversed(nodes):
        if node not in needed or node not in cotangents:
            continue
        if node.hooks:
            cotangents[node] = _run_hooks(node, cotangents[node])
        if node in goals:
            continue
        ct = cotangents.pop(node)
        _step(node, ct, needed, cotangents)
        if release:
            node.release()
    return {node: ct for node, ct in cotangents.items() if node in goals}


def _step(node: Node, ct: Any, needed: set[Node], cotangents: Cotangents) -> None:
    """Pass the cotangent of one node on to its parents."""
    before = state.origin
    code, instruction, module, _ = node.origin
    state.origin = (code, instruction, module, "backward")
    try:
        needs = [p in needed for p in node.parents]
        for parent, part in zip(node.parents, node.op.vjp(node, ct, needs), strict=True):
            if part is None or parent not in needed:
                continue
            assert parent is not None
            if isinstance(part, Tensor):
                if part.shape != parent.shape:
                    part = unbroadcast(part, parent.shape)
                if part.dtype is not parent.dtype:
                    part = cast_to(part, parent.dtype)
            have = cotangents.get(parent)
            cotangents[parent] = part if have is None else add_tangents(have, part)
    finally:
        state.origin = before


def _run_hooks(node: Node, ct: Any) -> Any:
    for hook in node.hooks or ():
        if hook is None:
            node.grad = ct if node.grad is None else add_tangents(node.grad, ct)
        else:
            replaced = hook(ct)
            ct = ct if replaced is None else replaced
    return ct


def tracked_elsewhere(nodes: Sequence[Node], own: set[Node]) -> bool:
    """Whether a graph has tracked inputs other than `own`, or `own` continue further up: then what
    is computed from it must stay connected."""
    return any(
        (not node.parents or (node.op is alias and node.parents[0] is None))
        if node not in own
        else node.parents[0] is not None
        for node in nodes
    )


# -- functional interface ----------------------------------------------------------------------


class Call:
    """One call of a function on fresh, tracked inputs: what every transform starts with."""

    def __init__(self, name: str, primals: Sequence[Any]) -> None:
        self.name = name
        outer = state.recording
        self.inputs: list[Tensor] = []
        for p in primals:
            x = as_tensor(p)
            connected = outer and x._node is not None
            with recording(True):
                self.inputs.append(fresh(x, connected))
        self.nodes = {x._node for x in self.inputs if x._node is not None}

    def run(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `f` with recording switched on."""
        before = state.transforming
        state.transforming = True
        try:
            with recording(True):
                return f(*args, **kwargs)
        finally:
            state.transforming = before

    def graph(self, outputs: Iterable[Tensor]) -> tuple[list[Node], bool]:
        """The nodes between the inputs and some outputs; and is anything else tracked there?"""
        nodes = ancestors([t._node for t in outputs if t._node is not None], self.nodes)
        return nodes, tracked_elsewhere(nodes, self.nodes)

    def release(self, leaves: Sequence[Any], keep_connected: bool) -> list[Any]:
        """Outputs for the caller: cut from this call's graph unless something else needs it."""
        if keep_connected and state.recording:
            return list(leaves)
        return [
            Tensor(x._data) if isinstance(x, Tensor) and not x.is_symbolic else x for x in leaves
        ]


def fresh(x: Tensor, connected: bool) -> Tensor:
    """The same value behind a new `alias` node, which stays below x's own if `connected`."""
    from wengert.core import site
    from wengert.core.op import NO_PARAMS

    origin = state.origin or site.capture(state.module)
    parents = (x._node,) if connected or x.is_symbolic else (None,)
    saved = (x._data if x.is_symbolic else None,)
    return Tensor(x._data, Node(alias, NO_PARAMS, parents, saved, None, x.shape, x.dtype, origin))


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
    leaves, treedef = tree_flatten(primals)
    _check_floating("vjp", primals, leaves)
    call = Call("vjp", leaves)
    result = call.run(f, *treedef.unflatten(call.inputs))
    aux = None
    if has_aux:
        result, aux = _split_aux("vjp", result)
    outputs, out_tree = tree_flatten(result)
    outputs = [as_tensor(o) for o in outputs]
    pullback = _Pullback(call, outputs, out_tree, treedef)
    value = out_tree.unflatten(call.release(outputs, pullback.connected))
    if not has_aux:
        return value, pullback
    return value, pullback, _release_tree(call, aux)


class _Pullback:
    """What `vjp` returns: cotangents of the result to cotangents of the primals."""

    def __init__(
        self, call: Call, outputs: list[Tensor], out_tree: TreeDef, in_tree: TreeDef
    ) -> None:
        self.call, self.outputs, self.out_tree, self.in_tree = call, outputs, out_tree, in_tree
        self.nodes, self.connected = call.graph(outputs)

    def __call__(self, cotangent: Any) -> Any:
        cts, tree = tree_flatten(cotangent)
        if tree != self.out_tree:
            raise ArgumentError(
                "vjp",
                "the cotangent must have the structure of the result",
                met=f"{tree} for a result {self.out_tree}",
                fix="pass a pytree like the result",
            )
        seeds = []
        connected = self.connected
        for out, ct in zip(self.outputs, cts, strict=True):
            ct = as_tensor(ct, out)
            if ct.shape != out.shape:
                raise ShapeError(
                    "vjp",
                    "the cotangent must have the shape of the result",
                    met=f"{ct.shape} for a result of {out.shape}",
                    fix="pass ones_like(result)",
                )
            connected = connected or ct._node is not None
            if out._node is not None and is_float(out.dtype):
                seeds.append((out._node, cast_to(ct, out.dtype)))
        with recording(connected and state.recording):
            found = walk(self.nodes, seeds, self.call.nodes)
            grads = [_or_zeros(found, x) for x in self.call.inputs]
        return self.in_tree.unflatten(grads)


def _or_zeros(found: Cotangents, x: Tensor) -> Tensor:
    assert x._node is not None
    ct = found.get(x._node)
    return ct if ct is not None else zeros_like(x)


def zeros_like(x: Tensor) -> Tensor:
    """Zeros of a tensor's shape and dtype; works for symbolic tensors too."""
    import numpy as np

    return Tensor(np.zeros(x.shape, x.dtype))


def _release_tree(call: Call, tree: Any) -> Any:
    leaves, definition = tree_flatten(tree)
    tensors = [t for t in leaves if isinstance(t, Tensor)]
    return definition.unflatten(call.release(leaves, call.graph(tensors)[1]))


def _split_aux(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            name,
            "with has_aux=True the function must return a pair (result, aux)",
            met=type(result).__name__,
            fix="return (loss, extra), or drop has_aux",
        )
    return result[0], result[1]


def _check_floating(name: str, tree: Any, leaves: Sequence[Any]) -> None:
    for i, value in enumerate(leaves):
        x = as_tensor(value)
        if not is_float(x.dtype):
            raise DtypeError(
                name,
                f"the input{tree_paths(tree)[i]} is not floating, so it has no derivative",
                met=repr(Spec.of(x)),
                cause="an integer array, or labels among the differentiated arguments",
                fix="choose the arguments with argnums, or cast with wg.astype(x, wg.float32)",
            )


def pick_args(name: str, args: tuple[Any, ...], argnums: int | Sequence[int]) -> tuple[Any, ...]:
    """The arguments that `argnums` chooses, as a tuple."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise ArgumentError(
                name,
                "argnums names an argument that was not passed",
                met=f"argnums={argnums} with {len(args)} positional arguments",
                fix="pass the differentiated arguments by position",
            )
    return tuple(args[n] for n in numbers)


def put_args(args: tuple[Any, ...], argnums: int | Sequence[int], new: Sequence[Any]) -> list[Any]:
    """The arguments with those that `argnums` chooses replaced."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    replaced = list(args)
    for n, value in zip(numbers, new, strict=True):
        replaced[n] = value
    return replaced


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(f(*args), gradient)`.

    `f` must return a floating scalar (with `has_aux`: a pair of it and anything). The gradient is
    a pytree like the chosen argument, or a tuple of such where `argnums` is a sequence.

    >>> import wengert as wg
    >>> value, slope = wg.value_and_grad(lambda x: x**3)(2.0)
    >>> float(value), float(slope)
    (8.0, 12.0)
    """

    @wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        chosen = pick_args("grad", args, argnums)
        leaves, treedef = tree_flatten(chosen)
        _check_floating("grad", chosen, leaves)
        call = Call("grad", leaves)
        result = call.run(f, *put_args(args, argnums, treedef.unflatten(call.inputs)), **kwargs)
        aux = None
        if has_aux:
            result, aux = _split_aux("grad", result)
        loss = _scalar(result)
        nodes, connected = call.graph([loss])
        with recording(connected and state.recording):
            seeds = [] if loss._node is None else [(loss._node, _one(loss))]
            found = walk(nodes, seeds, call.nodes)
            grads = [_or_zeros(found, x) for x in call.inputs]
        (value,) = call.release([loss], connected)
        gradient = treedef.unflatten(grads)
        gradient = gradient[0] if isinstance(argnums, int) else gradient
        if has_aux:
            return (value, _release_tree(call, aux)), gradient
        return value, gradient

    return differentiated


def grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a scalar function, `∇f`; with `has_aux`, `(gradient, aux)`.

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
            cause="a tuple or another container was returned",
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


def _one(x: Tensor) -> Tensor:
    import numpy as np

    return Tensor(np.ones(x.shape, x.dtype))


# -- loss.backward() ---------------------------------------------------------------------------


def backward(
    loss: Tensor, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """See `Tensor.backward`."""
    if loss._node is None:
        raise GradientError(
            "backward",
            "nothing is tracked: this tensor does not depend on a tracked leaf",
            met=describe(loss),
            cause="no parameter went into it, it was detached, made under no_grad, or passed "
            "through NumPy",
            fix="call requires_grad_() on the inputs before the computation",
        )
    if gradient is None:
        if loss.size != 1 or not is_float(loss.dtype):
            raise GradientError(
                "backward",
                "only a floating scalar has a gradient to start from",
                met=describe(loss),
                cause="a loss that was not reduced",
                fix="call loss.mean().backward(), or pass gradient=",
            )
        gradient = _one(loss)
    seed = cast_to(as_tensor(gradient, loss), loss.dtype)
    if seed.shape != loss.shape:
        raise ShapeError(
            "backward",
            "the starting gradient must have the tensor's shape",
            met=f"{seed.shape} for a tensor of {loss.shape}",
            fix="pass ones_like(tensor)",
        )
    nodes = ancestors([loss._node])
    leaves = [n for n in nodes if n.op is leaf]
    with recording(create_graph):
        release = not (retain_graph or create_graph)
        found = walk(nodes, [(loss._node, seed)], leaves, release=release)
        for node in leaves:
            ct = found.get(node)
            if ct is None:
                ct = _or_zeros({}, Tensor(Spec(node.shape, node.dtype), node))
            node.grad = ct if node.grad is None else add_tangents(node.grad, ct)


__all__ = ["backward", "grad", "value_and_grad", "vjp"]
