"""What a compiled function keeps for one kind of call: the program, and what it relies on."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Protocol

from wengert.compiler.bindings import Bindings
from wengert.compiler.call import Call, invoke
from wengert.compiler.compile import compile_program
from wengert.compiler.effects import Surroundings
from wengert.compiler.entry import Entry
from wengert.compiler.explain import Reason
from wengert.compiler.ir import Program
from wengert.compiler.signature import ARRAY, Signature, parameter_names, places
from wengert.compiler.tracing import Traced, trace
from wengert.compiler.trap import Trapped
from wengert.compiler.wiring import Assembly
from wengert.core.errors import TraceError
from wengert.core.live import Holder, clock
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Follower


class Owner(Protocol):
    """What a `Cached` is of: a compiled function."""

    f: Callable[..., Any]
    name: str
    check: bool
    check_nan: bool

    def traced(self, signature: Signature) -> Callable[..., Any]: ...


class Reliance:
    """What a program was compiled for, besides its arguments: settings of modules and optimizers,
    which boxes are tracked, and which of them have a gradient."""

    def __init__(self, owner: Owner, traced: Traced, signature: Signature) -> None:
        holders: dict[int, Holder] = {}
        named = list(Surroundings(owner.f, owner.name).holders())
        given = [x for x in signature.leaves if isinstance(x, Holder)]
        for whole in (*named, *given, *traced.session.holders.values()):
            if id(whole) not in traced.session.new_holders:
                holders.update((id(part), part) for part in whole._holders())
        self.holders = [(weakref.ref(h), h._compiled_for()) for h in holders.values()]
        self.boxes = [
            (weakref.ref(b.tensor), b.tracked, b.spec)
            for b in traced.session.all_boxes()
            if b.used and b.tensor is not None
        ]

    def holds(self) -> bool:
        """Whether all is still as it was."""
        for reference, settings in self.holders:
            holder = reference()
            if holder is None or holder._compiled_for() != settings:
                return False
        for box_reference, tracked, spec in self.boxes:
            box = box_reference()
            if box is None or (box._node is not None) is not tracked:
                return False
            if box._data.dtype != spec.dtype or box._data.shape != spec.shape:
                return False
        return True

    def changes(self) -> list[Reason]:
        """What has changed."""
        found: dict[tuple[str, ...], list[Reason]] = {}
        for reference, settings in self.holders:
            holder = reference()
            if holder is not None and (now := holder._compiled_for()) != settings:
                reason = _setting_reason(type(holder).__name__, settings, now)
                change = reason.place.rpartition(".")[2], reason.old, reason.new, reason.fix
                found.setdefault(change, []).append(reason)
        return [_merged(reasons) for reasons in found.values()]

    def is_dead(self) -> bool:
        """Whether it can never hold again, since something of it has died."""
        holders = any(reference() is None for reference, _ in self.holders)
        return holders or any(reference() is None for reference, _, _ in self.boxes)


def _merged(reasons: list[Reason]) -> Reason:
    """One reason for a change that a module shares with modules in it."""
    first, others = reasons[0], len(reasons) - 1
    if not others:
        return first
    return replace(first, place=f"{first.place} (and {others} more)")


def _setting_reason(kind: str, old: Any, now: Any) -> Reason:
    """Which setting of a holder changed."""
    before, after = dict(_pairs(old)), dict(_pairs(now))
    for name in (*after, *before):
        if before.get(name) != after.get(name):
            fix = "switch modes seldom: both programs are kept"
            if name != "training":
                fix = f"set {name} before the first call"
            return Reason(f"{kind}.{name}", _shown(before, name), _shown(after, name), fix)
    return Reason(f"the settings of {kind}", "", "", "set them before the first call")


def _pairs(settings: Any) -> Any:
    return [(str(s[0]), s[1]) for s in settings if isinstance(s, tuple) and len(s) >= 2]


def _shown(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name, "nothing")
    return repr(value[1]) if isinstance(value, tuple) and len(value) == 2 else "another object"


class Cached:
    """A program in a function's cache.

    Attributes
    ----------
    settings : the clock, when it was last seen that all it relies on is still so
    short : whether it may be called the short way: arrays in, results out
    """

    once = False
    short = False
    calls = 0
    program: Program

    def __init__(self, owner: Owner, traced: Traced, signature: Signature) -> None:
        self.reliance = Reliance(owner, traced, signature)
        self.bindings = Bindings(owner.f)
        self.names = bool(self.bindings)
        self.recording = traced.recorded
        self.settings = clock.settings
        touched = [b for b in traced.session.all_boxes() if b.tensor is not None and b.grad_asked]
        self.present: list[tuple[Any, bool]] = [(b.tensor, b.grad is not None) for b in touched]

    def is_current(self) -> bool:
        """Whether the program is still right for calls of its key."""
        now = clock.settings
        if now != self.settings:
            if not self.reliance.holds():
                return False
            self.settings = now
        if not self.bindings.hold():
            return False
        for box, has in self.present:
            if box._node is None or (box._node.grad is not None) is not has:
                return False
        return True

    def is_dead(self) -> bool:
        """Whether it will never be of use again."""
        return self.reliance.is_dead()

    def changes(self) -> list[Reason]:
        """Why the program is not right for a call of its own key."""
        found = self.reliance.changes() + self.bindings.changes()
        for box, had in self.present:
            if not found and (box.grad is not None) is not had:
                words = {True: "a gradient", False: "no gradient"}
                found.append(
                    Reason(
                        "gradients that parameters had at the call",
                        words[had],
                        words[not had],
                        "call zero_grad() at the same place in every step",
                    )
                )
        return found or [Reason("an object of the program that died", "", "", "keep it alive")]

    def call(self, signature: Signature) -> Any:
        """Run it on the arguments of a call."""
        raise TypeError("a kind of Cached says how it runs")


class Plain(Cached):
    """A program that is run as it is: nothing outside can ask for a derivative of its results."""

    def __init__(self, owner: Owner, traced: Traced, signature: Signature) -> None:
        names = names_of(owner, signature)
        self.program, wiring = Assembly(traced, names).build()
        super().__init__(owner, traced, signature)
        executable = compile_program(self.program)
        if owner.check_nan:
            executable = Trapped(executable, self.program)
        self.entry = Entry(wiring, executable)
        self.once = bool(wiring.extra)
        kinds = signature.kinds
        flat = _is_flat(signature) and all(k == ARRAY for k in kinds)
        self.short = flat and not wiring.extra and all(g.argument is None for g in wiring.grads)
        used = dict(wiring.arguments)
        self.count = len(kinds)
        self.slots = [used.get(i) for i in range(self.count)]
        arrays = [signature.array(i)._data for i in range(self.count)] if flat else []
        self.dtypes, self.shapes = [a.dtype for a in arrays], [a.shape for a in arrays]
        self.masks = [dtype.alignment - 1 for dtype in self.dtypes]
        self.single = wiring.out_tree.kind is None and wiring.leaves[0].index == 0

    @property
    def calls(self) -> int:  # type: ignore[override]
        return self.entry.calls

    def call(self, signature: Signature) -> Any:
        entry = self.entry
        with entry.lock:
            alive = []
            entry.given = None
            for i, slot in entry.plan.arguments:
                alive.append(entry.give(slot, signature.array(i)._data))
            for tensor, slot in entry.plan.extra:
                alive.append(entry.give(slot, tensor._data))
            for gradient in entry.plan.grads:
                if gradient.argument is not None:
                    gradient.box = signature.leaves[gradient.argument]
            if state.watch is not None:
                for write in entry.plan.writes:
                    state.watch.on_write(write.box)
                entry.let_go()
            arrays = entry.run()
            return entry.plan.result(entry.wrapped(arrays))


def _is_flat(signature: Signature) -> bool:
    args, kwargs = signature.treedef.children
    return not kwargs.num_leaves and all(c.kind is None for c in args.children)


class Differentiable(Cached):
    """A program that is run as an op: its results are tracked, or it stands in a trace."""

    def __init__(self, owner: Owner, traced: Traced, signature: Signature) -> None:
        names = names_of(owner, signature)
        self.program, self.wiring = Assembly(traced, names, whole=True).build()
        super().__init__(owner, traced, signature)
        self.compiled = Call(self.program, owner.check_nan)
        self.once = bool(self.wiring.extra)

    def call(self, signature: Signature) -> Any:
        wiring = self.wiring
        operands: list[Any] = [None] * len(self.program.inputs)
        for i, slot in wiring.arguments:
            operands[slot] = signature.array(i)
        for tensor, slot in wiring.extra:
            operands[slot] = tensor
        for box, slot in wiring.reads:
            operands[slot] = Tensor(box._data, box._node)
        for gradient in wiring.grads:
            if gradient.argument is not None:
                gradient.box = signature.leaves[gradient.argument]
            if gradient.input is not None:
                operands[gradient.input] = gradient.box.grad
        outs = invoke(self.compiled, operands)
        for write in wiring.writes:
            write.box.assign(outs[write.output].detach())
            if isinstance(write.box, Follower):
                write.box.publish()
        for gradient in wiring.grads:
            if gradient.changed:
                at = gradient.output
                gradient.box.grad = None if at is None else outs[at].detach()
        self.calls += 1
        return wiring.result(outs[: wiring.results])


def names_of(owner: Owner, signature: Signature) -> list[str]:
    """What a reader calls the leaves of a call's arguments."""
    given = signature.treedef.unflatten(signature.leaves)
    return places(given, parameter_names(owner.f))


def make(owner: Owner, signature: Signature) -> Cached | None:
    """Trace and compile a function for a call; None where it must become a part of the trace
    around it, since it writes variables there."""
    traced = trace(owner.traced(signature), signature, owner.name, owner.f)
    if owner.check:
        _compare(owner, signature, traced)
    outer = state.trace
    if outer is None and not signature.tracked and not traced.differentiable:
        return Plain(owner, traced, signature)
    made = Differentiable(owner, traced, signature)
    if outer is not None and (made.wiring.writes or made.wiring.grads):
        return None
    return made


def _compare(owner: Owner, signature: Signature, first: Traced) -> None:
    """The error for a function whose second trace is another program than its first."""
    names = names_of(owner, signature)
    second = trace(owner.traced(signature), signature, owner.name, owner.f)
    lines = [str(Assembly(t, names).build()[0]).splitlines() for t in (first, second)]
    for a, b in zip_longest(*lines, fillvalue="nothing"):
        if a.partition("#")[0] != b.partition("#")[0]:  # but for the lines that made the boxes
            raise TraceError(
                "jit",
                f"{owner.name} is not deterministic: its second trace differs from its first",
                met=f"{a.strip()!r}, then {b.strip()!r}",
                cause="a set that is iterated over, the time, the environment, or a state that the "
                "function changes",
                fix="sort what is iterated over, and pass what changes as a static argument",
            )
