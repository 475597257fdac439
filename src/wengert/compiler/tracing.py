"""Running a function on symbolic arguments, with all that it may touch put back afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from inspect import isroutine
from types import ModuleType
from typing import Any

import numpy as np

from wengert.compiler.effects import Surroundings
from wengert.compiler.session import Box, Session
from wengert.compiler.signature import ARRAY, LEAF, TRACKED, Signature, Static
from wengert.core.dtypes import as_dtype
from wengert.core.errors import TraceError
from wengert.core.graph import ancestors, nodes_of
from wengert.core.live import Holder
from wengert.core.node import Node
from wengert.core.op import leaked
from wengert.core.spec import Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_leaves
from wengert.core.variable import Variable
from wengert.ops.structure import leaf
from wengert.transforms.replay import is_symbolic
from wengert.transforms.reverse import carries_cotangent
from wengert.transforms.trace import symbolic


@dataclass
class Traced:
    """A function that was run on symbolic arguments."""

    session: Session
    inputs: list[Tensor | None]  # for each leaf of the arguments that is an array
    outputs: list[Any]
    out_tree: TreeDef
    recorded: bool
    signature: Signature

    @property
    def tensors(self) -> list[Tensor]:
        """Those results that depend on the inputs."""
        return [o for o in self.outputs if is_result(o)]

    @property
    def differentiable(self) -> bool:
        """Whether a derivative of a result may be asked for outside."""
        if not self.recorded:
            return False
        starts = set(self.session.leaves)
        for x, kind in zip(self.inputs, self.signature.kinds, strict=True):
            if x is not None and kind in (TRACKED, LEAF):
                starts.update(nodes_of([x]))
        results = [o._node for o in self.tensors]
        return any(
            found in starts or found.op is leaf or self.is_outside(found)
            for found in differentiable_above(results, self.session.released)
        )

    def is_outside(self, node: Node) -> bool:
        """Whether a node is older than the trace: a value that something further out tracks."""
        older = node.id < self.session.begin and node not in self.session.starts
        if older and is_symbolic(node) and self.session.around is None:
            raise leaked([node])
        return older

    def is_captured(self, node: Node) -> bool:
        """Whether a value that is known depends on something that is tracked further out."""
        return any(map(self.is_outside, ancestors([node])))

    def number_of(self, box: Box) -> int | None:
        """Which leaf of the arguments a box is; None if it is none of them."""
        for i, x in enumerate(self.inputs):
            if x is not None and x._data is box.spec:
                return i
        return None

    def box_names(self) -> dict[int, str]:
        """What a reader calls the boxes: by the modules and optimizers that took part."""
        names: dict[int, str] = {}
        for holder in self.session.holders.values():
            for name, box in holder._named_boxes():
                names.setdefault(id(box), name)
        return names


def differentiable_above(nodes: Iterable[Node | None], released: set[Node]) -> Iterator[Node]:
    """Some nodes and those above them that a backward pass from there would come to, had it not
    gone there before and released them."""
    seen: set[Node] = set()
    stack = [*nodes]
    while stack:
        node = stack.pop()
        if node is None or node in seen or node in released:
            continue
        seen.add(node)
        yield node
        if carries_cotangent(node):
            stack.extend(node.parents)


def is_result(x: Any) -> bool:
    """Whether a leaf of the function's result is an output of the program."""
    return isinstance(x, Tensor) and not isinstance(x, Variable) and x.is_symbolic


def trace(
    f: Callable[..., Any], signature: Signature, name: str, original: Callable[..., Any]
) -> Traced:
    """Run a function on symbolic arguments; all state is afterwards as it was before. Side effects
    are looked for around the `original` function, which `f` calls."""
    session = Session()
    surroundings = Surroundings(original, name)
    recorded = state.recording
    before = state.watch, state.origin, state.module, state.transforming
    with session:
        state.watch, state.origin, state.module, state.transforming = None, None, "", False
        try:
            leaves, inputs = _stand_ins(session, signature)
            args, kwargs = signature.treedef.unflatten(leaves)
            surroundings.before(args, kwargs)
            with recording(recorded):
                result = f(*args, **kwargs)
            outputs, out_tree = tree_flatten(result, is_leaf=_is_box)
            _check_results(outputs, name)
        except BaseException:
            session.restore_settings()
            surroundings.restore()
            raise
        finally:
            state.watch, state.origin, state.module, state.transforming = before
    surroundings.after(session)
    out_tree = _without_values(out_tree)
    del result, args, kwargs, leaves
    session.check_boxes()
    return Traced(session, inputs, outputs, out_tree, recorded, signature)


def _check_results(outputs: Sequence[Any], name: str) -> None:
    """Refuse results that would keep tensors of the trace, which have no values."""
    for found in outputs:
        kind = type(found).__name__
        if isinstance(found, Iterator):
            raise TraceError(
                "jit",
                f"{name} returns a {kind}, which would run after the call",
                fix="return a list or tuple of what it gives",
            )
        kept = [x for x in tree_leaves(_contents(found)) if is_result(x)]
        if kept:
            raise TraceError(
                "jit",
                f"{name} returns a {kind} that holds a tensor, where no program can put its value",
                met=f"a tensor made at {kept[0]._node.site}" if kept[0]._node is not None else "",
                fix="return tensors in tuples, lists and dicts, or register its class with "
                "wg.tree.register_pytree_node",
            )


def _contents(value: Any) -> list[Any]:
    """What an object holds that is neither a tensor nor a tree."""
    if isinstance(value, (Tensor, Holder, type, ModuleType)) or isroutine(value):
        return []
    if isinstance(value, (Set, deque)):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())


def _without_values(tree: TreeDef) -> TreeDef:
    """The structure of a result, where a model in it does not keep the trace's tensors alive."""
    stack, holds = [tree], False
    while stack:
        part = stack.pop()
        holds = holds or (part.kind is not None and issubclass(part.kind, Holder))
        stack += part.children
    if not holds:
        return tree
    blank = tree.unflatten([Tensor(np.zeros(())) for _ in range(tree.num_leaves)])
    return tree_flatten(blank, is_leaf=_is_box)[1]


def _is_box(value: Any) -> bool:
    return isinstance(value, Variable)


def _stand_ins(session: Session, signature: Signature) -> tuple[list[Any], list[Tensor | None]]:
    """The leaves that the function is called with, and which of them are inputs."""
    leaves: list[Any] = []
    inputs: list[Tensor | None] = []
    for i, (value, kind) in enumerate(zip(signature.leaves, signature.kinds, strict=True)):
        given: Tensor | None = None
        if kind == LEAF and state.recording:
            given = session.argument(signature.array(i))
        elif kind in (ARRAY, LEAF, TRACKED):
            x = signature.array(i)
            given = symbolic(Spec(x.shape, as_dtype(x.dtype)))
        # The function may rebind its handle (x += 1), so this one is another.
        inputs.append(None if given is None else Tensor(given._data, given._node))
        leaves.append(
            given if given is not None else value.value if isinstance(value, Static) else value
        )
    return leaves, inputs


def inside_jit() -> bool:
    """Whether a trace of `jit` is going on around this call."""
    trace = state.trace
    while trace is not None:
        if isinstance(trace, Session):
            return True
        trace = trace.outer
    return False
