"""`checkpoint`: keep nothing of a function for the backward pass but its inputs, and run it again.

A checkpointed call becomes one node, whose parents are all tracked tensors that the function used:
its arguments and what it closed over, found by looking at what it recorded. That record is dropped
at once. When a derivative passes the node, the function is run again and its new record walked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from wengert.core import site
from wengert.core.errors import GradientError
from wengert.core.graph import Graph, Trace, Watch, nodes_of
from wengert.core.node import FrozenNode, Node, next_id
from wengert.core.op import Array, Op, bind, picks
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shaped, Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_flatten, tree_leaves, tree_map, tree_structure
from wengert.ops.elementwise import mul
from wengert.ops.functions import sin
from wengert.ops.movement import broadcast_to
from wengert.ops.structure import once_more
from wengert.transforms.batch import run_batched
from wengert.transforms.call import check_function, fresh
from wengert.transforms.forward import push
from wengert.transforms.replay import Before, is_symbolic, made_since, rewound
from wengert.transforms.reverse import walk
from wengert.transforms.trace import interpret, symbolic, trace_leaves

__all__ = ["checkpoint"]


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which for its derivatives keeps only its inputs and is run again.

    Memory for time: what `f` computes in between is not kept for the backward pass. Gradients also
    reach the tracked tensors and parameters that `f` closes over. The second run draws the same
    random numbers as the first, and what it writes to variables (running statistics) is undone. A
    value that `f` closes over must not change between the two runs: that is an error, as is any
    other difference between their results.

    >>> import wengert as wg
    >>> f = wg.checkpoint(lambda x: wg.sin(wg.sin(x)))
    >>> bool(wg.grad(f)(1.0) == wg.cos(wg.sin(1.0)) * wg.cos(1.0))
    True

    Source: Griewank and Walther 2000; Chen et al., "Training deep nets with sublinear memory cost",
    2016.
    """

    check_function("checkpoint", f)

    @wraps(f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not state.recording:
            return f(*args, **kwargs)
        start = next_id()
        snapshot = _handles((args, kwargs))
        with Watch() as watch:
            outputs, out_tree = tree_flatten(f(*args, **kwargs))
        new = [i for i, o in enumerate(outputs) if any(n.id > start for n in nodes_of([o]))]
        symbolic_ones = [i for i in new if outputs[i].is_symbolic]
        if symbolic_ones:
            new = symbolic_ones
            results = _record_in_trace([outputs[i] for i in new], start)
        elif new:
            results = _Again(f, snapshot, watch.before, new).record(outputs, start)
        for i, result in zip(new, results if new else (), strict=True):
            outputs[i] = result
        return out_tree.unflatten(outputs)

    return checkpointed


class Checkpoint(Op):
    """A function as an op. Its parameter `call` runs it `again`: from which nodes, the nodes that
    this recorded, and the results."""

    @property
    def differentiable(self) -> bool:
        return True

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        starts, nodes, outputs = self._again(node)
        pairs = zip(outputs, ct, strict=True)
        seeds = [(o._node, c) for o, c in pairs if c is not None and o._node is not None]
        wanted = [start for start, need in zip(starts, needs, strict=True) if need]
        release = not state.recording and not any(map(is_symbolic, nodes[:1]))
        found = walk(nodes, seeds, wanted, release=release)
        return [found.get(start) for start in starts]

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        starts, nodes, outputs = self._again(node)
        given = {s: t for s, t in zip(starts, tangents, strict=True) if t is not None}
        known = push(nodes, given)
        return tuple(known.get(o._node) if o._node is not None else None for o in outputs)

    def _again(self, node: Node) -> tuple[Sequence[Node], list[Node], Sequence[Tensor]]:
        starts, nodes, outputs = node.params["call"].again(node)
        if isinstance(node, FrozenNode):
            for inner in nodes:
                inner.freeze()
        return starts, nodes, outputs


# -- outside of traces: the function itself is run again -----------------------------------------


class _Again:
    """A call that can be repeated: function, arguments, and the variables as they were."""

    def __init__(
        self, f: Callable[..., Any], arguments: Any, before: Before, new: list[int]
    ) -> None:
        self.f, self.arguments, self.before, self.new = f, arguments, before, new

    def record(self, outputs: Sequence[Tensor], start: int) -> tuple[Tensor, ...]:
        """The node that stands for the call, as the tensors of its results."""
        _, self.boundary = made_since(start, nodes_of(outputs[i] for i in self.new))
        data = tuple(outputs[i]._data for i in self.new)
        self.signature = [_signature(d) for d in data]
        node = Node(
            checkpoint_op,
            {"call": self},
            tuple(self.boundary),
            (None,) * len(self.boundary),
            None,
            (),
            data[0].dtype,
            state.origin or site.capture(state.module),
        )
        return picks(node, data)

    def again(self, node: Node) -> tuple[Sequence[Node], list[Node], Sequence[Tensor]]:
        args, kwargs = self.arguments
        start = next_id()
        with rewound(self.before), recording(True):
            results = tree_leaves(self.f(*args, **kwargs))
        outputs = [results[i] for i in self.new] if len(results) > self.new[-1] else []
        inside, boundary = made_since(start, nodes_of(outputs))
        same = boundary == self.boundary and len(nodes_of(outputs)) == len(self.new)
        if not same or not all(map(_alike, outputs, self.signature)):
            raise GradientError(
                "checkpoint",
                "the second run of the function did not repeat the first",
                met=f"a call made at {node.site}",
                cause="a parameter that was updated, or a tensor that was rebound, between the "
                "forward and the backward pass; or a function of outside state",
                fix="call backward() before the optimizer's step, and pass what changes as an "
                "argument",
            )
        return boundary, inside, outputs


def _handles(tree: Any) -> Any:
    """The same arguments behind new handles, which a later `x += y` does not rebind. Modules and
    variables stay themselves: they are boxes, and what is in them is checked in the second run."""

    def handle(x: Any) -> Any:
        return Tensor(x._data, x._node) if type(x) is Tensor else x

    return tree_map(handle, tree, is_leaf=lambda v: not isinstance(v, (list, tuple, dict)))


# How far two runs may be apart, relative to the sum of magnitudes: by the size of the dtype.
_ROUNDING = {1: 0.0, 2: 1e-2, 4: 1e-5, 8: 1e-13}


def _signature(x: Array) -> tuple[Any, ...]:
    """Shape, dtype, sum and sum of magnitudes: cheap to keep, and to be found again."""
    total = np.add.reduce(x, axis=None, dtype=np.float64)
    return x.shape, x.dtype, total, np.add.reduce(np.abs(x), axis=None, dtype=np.float64)


def _alike(x: Tensor, signature: tuple[Any, ...]) -> bool:
    """Whether a result has the signature of the first run's, up to rounding."""
    shape, dtype, total, size = _signature(x._data)
    if (shape, dtype) != signature[:2]:
        return False
    room = _ROUNDING[dtype.itemsize] * size
    close = abs(total - signature[2]) <= room and abs(size - signature[3]) <= room
    return bool(close) or bool(np.array_equal((total, size), signature[2:], equal_nan=True))


# -- in a trace: the graph of the function is run again ------------------------------------------


class _Closed:
    """A traced function: all that it depends on is an operand.

    What the second run records looks like the first to a compiler, which computes equal values only
    once; so its operands are marked as those of another `Run`, and its nodes belong to the backward
    pass where that asks for them.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, *operands: Tensor) -> list[Tensor]:
        return interpret(self.graph, operands)

    def again(self, node: Node) -> tuple[Sequence[Node], list[Node], Sequence[Tensor]]:
        inputs = [fresh(node.value(i), connected=True) for i in range(len(node.parents))]
        phase = "" if state.origin is None else state.origin[3]
        start, run = next_id(), Run()
        with recording(True):
            outputs = self(*[once_more(x, run=run) if x.is_symbolic else x for x in inputs])
        inside, _ = made_since(start, nodes_of(outputs))
        for made in inside:
            code, instruction, module, own = made.origin
            made.origin = code, instruction, module, own or phase
        return nodes_of(inputs), inside, outputs


class Run:
    """One repetition of a function: equal only to itself, and written alike in every trace."""

    def __repr__(self) -> str:
        return "again"


def _record_in_trace(outputs: Sequence[Tensor], start: int) -> tuple[Tensor, ...]:
    """One node for what was recorded since `start`; values that are known (not symbolic) and the
    inputs of traces are its operands."""
    inside, _ = made_since(start, nodes_of(outputs))
    inner = {node for node in inside if is_symbolic(node)}
    operands: dict[Node, Tensor] = {}
    for node in inside:
        for parent, data in zip(node.parents, node.saved or (), strict=False):
            if node in inner and parent is not None and parent not in inner:
                operands.setdefault(parent, Tensor(data, parent))
    nodes = [node for node in inside if node in inner]
    graph = Graph([*operands, *nodes], list(operands), list(outputs))
    results: tuple[Tensor, ...] = bind(
        checkpoint_op, tuple(operands.values()), {"call": _Closed(graph)}
    )
    return results


def _reference(*arrays: Array, call: _Closed) -> tuple[Array, ...]:
    with recording(False):
        return tuple(o._data for o in call(*map(Tensor, arrays)))


def _infer(*specs: Shaped, call: _Closed) -> tuple[Spec, ...]:
    with Trace(), recording(True):
        return tuple(Spec.of(o) for o in call(*(symbolic(Spec.of(s)) for s in specs)))


def _batch(size: int, args: Sequence[Tensor], batched: Sequence[bool], call: _Closed) -> Any:
    @checkpoint
    def rows(*operands: Tensor) -> tuple[Tensor, ...]:
        found = run_batched(call.graph, size, operands, batched)
        return tuple(x if b else broadcast_to(x, shape=(size, *x.shape)) for x, b in found)

    return rows(*args)


def _samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    x, y = rng.normal(size=(2, 3)), rng.normal(size=(3,))
    specs = [Spec.of(x), Spec.of(y)]
    graph, _ = trace_leaves(lambda x, y: mul(sin(x), y), specs, tree_structure(((0, 0), {})))
    return [Sample((x, y), {"call": _Closed(graph)})]


checkpoint_op = Checkpoint(
    "checkpoint",
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
checkpoint_op.expand = lambda *operands, call: tuple(call(*operands))
