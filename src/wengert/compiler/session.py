"""The trace of `jit`: all boxes that live are symbolic in it, and what happens to them is seen.

Before the function runs, every variable and every tracked leaf is given symbolic data; when it has
run, all get their values back. What the function used of them becomes the program's input, what it
assigned its output. So nothing that may change later is ever baked into a program.

A tracked parameter stays a *leaf* with a `.grad` during the trace, however often it is assigned:
its node is one, and each value that it takes is told by the identity of its symbolic data.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from typing import Any

from wengert.core import live, site
from wengert.core.errors import TraceError
from wengert.core.graph import Trace
from wengert.core.node import Node, freed, next_id
from wengert.core.op import NO_PARAMS
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor, ungraded
from wengert.core.variable import Variable
from wengert.ops.structure import leaf, placeholder, stop_gradient
from wengert.transforms.trace import symbolic


class Box:
    """What a box was before the trace, and what stands for it in the trace.

    Attributes
    ----------
    tensor : the box; None once it has died (only one that was made in the trace can)
    data, node : what it held; for one that was made in the trace, its first value
    spec : its symbolic data at the start, by whose identity that value is known
    start : its node in the trace
    grad, grad_start : its gradient before, and the symbolic tensor for it
    made : whether the traced function made it
    computed : whether its first value was computed in the trace
    """

    def __init__(self, tensor: Tensor, made: bool = False) -> None:
        self._tensor: Any = weakref.ref(tensor) if made else lambda: tensor
        self.data: Any = tensor._data
        self.node = tensor._node
        self.made, self.computed = made, False
        self.spec = Spec.of(tensor._data)
        self.used = False  # whether the program reads or writes it
        self.grad: Tensor | None = None
        self.grad_start: Tensor | None = None
        self.end_data: Any = None
        self.end_node: Node | None = None
        if self.node is None or self.node.op is not leaf:
            self.start = symbolic(self.spec)._node
            return
        self.start = tracked_leaf(self.spec, self.node.origin)
        self.start.hooks = self.node.hooks
        self.grad = self.node.grad
        if self.grad is not None:
            self.grad_start = symbolic(Spec.of(self.grad))
            self.start.begin_with(self.grad_start)

    @property
    def tensor(self) -> Tensor | None:
        found: Tensor | None = self._tensor()
        return found

    @property
    def first(self) -> Tensor:
        """The symbolic tensor of its first value."""
        return Tensor(self.spec, self.start)

    @property
    def tracked(self) -> bool:
        """Whether it is a leaf that gradients go to."""
        return self.start is not None and self.start.op is leaf

    def enter(self, tensor: Tensor) -> None:
        """Make the box symbolic."""
        tensor._data, tensor._node = self.spec, self.start

    def leave(self) -> None:
        """Remember what the box came to hold, and give it its value back."""
        tensor = self.tensor
        if tensor is None:
            return
        self.end_data, self.end_node = tensor._data, tensor._node
        tensor._data, tensor._node = self.data, self.node

    @property
    def value(self) -> Tensor:
        """What the box held at the end of the trace."""
        return Tensor(self.end_data, self.end_node)

    @property
    def was_written(self) -> bool:
        return self.tensor is not None and self.end_data is not self.spec

    @property
    def grad_end(self) -> Tensor | None:
        """The gradient at the end of the trace."""
        return self.start.present_grad if isinstance(self.start, BoxLeaf) else None

    @property
    def grad_asked(self) -> bool:
        """Whether the function looked at the gradient that there was at the call."""
        return isinstance(self.start, BoxLeaf) and self.start.asked

    @property
    def grad_replaced(self) -> bool:
        """Whether the gradient is another one after the call, whatever it was before."""
        unseen = isinstance(self.start, BoxLeaf) and self.start.replaced and not self.start.asked
        return unseen or self.grad_changed

    @property
    def grad_changed(self) -> bool:
        return self.tracked and self.grad_end is not self.grad_start


class Session(Trace):
    """The trace of one function for `jit`. Only one thread traces at a time.

    Attributes
    ----------
    boxes : all that lived at the start, and those that were made inside
    versions : symbolic data of a leaf → the value that was assigned to it
    holders : modules, optimizers … that took part, in order
    """

    def __init__(self, parent: Trace | None = None) -> None:
        super().__init__()
        self.parent = parent  # of a loop's body: the trace that the loop is in
        self.boxes: dict[int, Box] = {}
        self.made: list[Box] = []
        self.arguments: list[Box] = []
        self.versions: dict[int, tuple[Spec, Tensor]] = {}
        self.leaves: set[Node] = set()
        self.released: set[Node] = set()  # walked by backward(): no longer differentiable
        self.holders: dict[int, Any] = {}
        self.new_holders: set[int] = set()
        self.settings: dict[tuple[int, str], tuple[Any, str, Any, site.Site | None]] = {}
        self.starts: set[Node | None] = set()  # of the boxes that lived at the start
        self.begin = 0
        self.before_owner: int | None = None
        self.around: Trace | None = None

    # -- the extent of the trace ---------------------------------------------------------------

    def __enter__(self) -> Session:
        live.tracing.begin()
        self.before_owner = live.tracing.owner
        self.around = state.trace
        live.tracing.owner = threading.get_ident()
        try:
            self._take_boxes()
        except BaseException:  # an interrupt, for example
            self._leave()
            raise
        self.begin = next_id()
        state.trace = self
        return self

    def _take_boxes(self) -> None:
        """Make all boxes symbolic."""
        _stand.recent.append({})
        live.tracing.real, live.tracing.note = _stand, _stand.note
        for tensor in live.boxes():
            box = self.boxes[id(tensor)] = Box(tensor)
            _stand.note(box.spec, tensor)
            if box.tracked:
                assert box.start is not None
                self.leaves.add(box.start)
            box.enter(tensor)
            self.starts.add(box.start)
            if box.grad_start is not None:
                self.starts.add(box.grad_start._node)

    def __exit__(self, *exc: object) -> None:
        self._leave()

    def _leave(self) -> None:
        """Give all boxes their values back, and let other threads go on."""
        state.trace = self.around
        for box in self.all_boxes():
            box.leave()
        live.tracing.owner = self.before_owner
        live.tracing.lock.release()

    def argument(self, given: Tensor) -> Tensor:
        """The symbolic tensor for an argument that is a tracked leaf: a leaf as well, whose
        gradient will be given to the argument."""
        box = Box(given)
        stand_in = Tensor(box.spec, box.start)
        assert box.start is not None
        self.leaves.add(box.start)
        self.arguments.append(box)
        return stand_in

    # -- what happens inside ---------------------------------------------------------------------

    def write(self, variable: Variable, new: Tensor) -> None:
        if not new.is_symbolic:
            variable._data = new._data
            if variable._node is not None and variable._node not in self.leaves:
                variable._node = None
        elif variable._node in self.leaves:
            version = self._version(new)
            live.stands_in(version, variable)
            variable._data = version
        else:
            cut: Tensor = stop_gradient(new)
            live.stands_in(cut._data, variable)
            variable._data, variable._node = cut._data, cut._node

    def _version(self, value: Tensor) -> Spec:
        """New symbolic data for a leaf that is given a value."""
        spec = Spec.of(value)
        self.versions[id(spec)] = spec, value
        return spec

    def on_create(self, variable: Variable, value: Tensor) -> None:
        if variable.is_symbolic:
            node = variable._node
            box = Box(variable, made=True)
            box.computed = True
            if node is not None:
                self.leaves.add(node)
                variable._data = self._version(value)
            else:
                variable._node = stop_gradient(value)._node
            box.data, box.node = variable._data, variable._node
        else:
            box = Box(variable, made=True)
            if box.tracked:
                assert box.start is not None
                self.leaves.add(box.start)
            box.enter(variable)
        self.made.append(box)

    def on_leaf(self, x: Tensor) -> None:
        if x._node in self.leaves or (x._node is not None and x._node.op is not placeholder):
            return  # tracked already
        value = Tensor(x._data, x._node)
        node = x._node = tracked_leaf(Spec.of(x), state.origin or site.capture(state.module))
        self.leaves.add(node)
        x._data = self._version(value)

    def on_release(self, nodes: list[Node]) -> None:
        for node in nodes:
            if node in self.released and node.parents:
                raise freed(node)
        self.released.update(nodes)

    def on_grad(self, node: Node, value: Tensor | None) -> None:
        if node in self.starts and node.op is placeholder:  # of a box that is not tracked
            if value is not None:
                raise ungraded()
            return  # zero_grad() comes by
        if node not in self.leaves and node.id < self.begin:
            raise TraceError(
                "jit",
                "backward() inside a compiled function went through a graph that was recorded "
                "outside of it",
                met=f"it reached the leaf made at {node.site}",
                cause="a loss or an activation that was computed before the call",
                fix="compute it inside the function, or call backward() outside",
            )

    def reach(self, holder: Any) -> None:
        if self.parent is not None:
            self.parent.reach(holder)
        elif id(holder) not in self.holders:
            self.holders[id(holder)] = holder

    def on_new_holder(self, holder: Any) -> None:
        """Called where a module is made inside: its attributes are the function's own affair."""
        if self.parent is not None:
            self.parent.on_new_holder(holder)
            return
        self.holders[id(holder)] = holder  # keeps it alive, so that its id stays its own
        self.new_holders.add(id(holder))

    def on_setting(self, holder: Any, name: str) -> None:
        if self.parent is not None:
            self.parent.on_setting(holder, name)
            return
        key = id(holder), name
        if id(holder) not in self.new_holders and key not in self.settings:
            before = holder.__dict__.get(name, _MISSING)
            self.settings[key] = holder, name, before, site.user_site()

    # -- afterwards ------------------------------------------------------------------------------

    def restore_settings(self) -> list[tuple[Any, str, site.Site | None]]:
        """Put attributes back that the function has changed; which those were, and where."""
        changed = []
        for holder, name, before, where in self.settings.values():
            now = holder.__dict__.get(name, _MISSING)
            if now is before or (
                type(now) in _PLAIN and type(now) is type(before) and now == before
            ):
                continue
            changed.append((holder, name, where))
            if before is _MISSING:
                holder.__dict__.pop(name, None)
            else:
                holder.__dict__[name] = before
        return changed

    def all_boxes(self) -> list[Box]:
        """The boxes that lived at the start, and those that were made."""
        return [*self.boxes.values(), *self.made]

    def check_boxes(self) -> None:
        """The error for a variable that outlives the function that computed its first value, or
        that was frozen or unfrozen."""
        for box in self.boxes.values():
            tensor = box.tensor
            if tensor is None or box.tracked is (box.end_node in self.leaves):
                continue
            raise TraceError(
                "jit",
                "requires_grad of a variable is changed inside of a compiled function",
                met=f"a variable of {box.spec}",
                cause="freeze(), unfreeze() or requires_grad_() in the function, which runs once, "
                "while it is traced",
                fix="call it before the step: the step is then compiled for both",
            )
        if not any(box.computed and box.tensor is not None for box in self.made):
            return
        gc.collect()
        for box in self.made:
            if box.computed and box.tensor is not None:
                raise TraceError(
                    "jit",
                    "a variable that the function made outlives the call, but its first value was "
                    "computed inside",
                    met=f"a variable of {box.spec}",
                    cause="state that is opened with a value that depends on the arguments, or on "
                    "random numbers",
                    fix="make it before the compiled call, or start it from a constant",
                )


_MISSING: Any = object()
_PLAIN = (bool, int, float, str, type(None), tuple)


class Stand:
    """How another thread, once it has waited, finds the box behind symbolic data. It may have
    waited for long: the last few traces are remembered."""

    def __init__(self) -> None:
        self.recent: deque[dict[int, tuple[Spec, Any]]] = deque(maxlen=16)

    def note(self, data: Any, box: Tensor) -> None:
        """These data stand for a value of a box."""
        self.recent[-1][id(data)] = data, weakref.ref(box)

    def __call__(self, x: Tensor) -> Tensor:
        for boxes in reversed(self.recent):
            found = boxes.get(id(x._data))
            box = None if found is None else found[1]()
            if box is not None:
                return Tensor(box._data, box._node)
        return x


_stand = Stand()

_GRAD: Any = Node.__dict__["grad"]


class BoxLeaf(Node):
    """The leaf of a box in a trace: it knows whether the gradient of before was asked for, since a
    program is then one for a box that had a gradient at the call, or for one that had none. One
    that was replaced before anybody looked at it does not matter."""

    __slots__ = ("asked", "replaced")
    asked: bool
    replaced: bool

    @property
    def grad(self) -> Tensor | None:
        self.asked = self.asked or not self.replaced
        return self.present_grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        self.replaced = True
        _GRAD.__set__(self, value)

    def begin_with(self, value: Tensor) -> None:
        """Set the gradient of before."""
        _GRAD.__set__(self, value)

    @property
    def present_grad(self) -> Tensor | None:
        """The gradient, read by the session itself."""
        found: Tensor | None = _GRAD.__get__(self)
        return found


def tracked_leaf(spec: Spec, origin: site.Origin) -> BoxLeaf:
    """A leaf in a trace."""
    node = BoxLeaf(leaf, NO_PARAMS, (), (), spec, spec.shape, spec.dtype, origin)
    node.asked = node.replaced = False
    return node
