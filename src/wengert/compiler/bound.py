"""A compiled step on fixed buffers: what `step.bind(x, y)` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.compiler import buffers
from wengert.compiler.buffers import Array, address
from wengert.core.errors import ArgumentError
from wengert.core.live import clock
from wengert.core.state import state
from wengert.core.tensor import Tensor

if TYPE_CHECKING:
    from wengert.compiler.jit import Jit

_new_tensor = Tensor.__new__


class Bound:
    """A call whose arguments stay where they are in memory, and are read anew at each run."""

    def __init__(self, owner: Jit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        from wengert.compiler.cached import Plain

        self.owner, self.args, self.kwargs = owner, args, kwargs
        self.signature = signature = owner._signature(args, kwargs)
        cached = owner._cached(signature)
        if not isinstance(cached, Plain) or cached.once:
            raise ArgumentError(
                "bind",
                "a call that is differentiated from outside cannot be bound",
                met=f"{owner.name} with tracked arguments or results",
                fix="take the gradient inside of the compiled function, or call it in wg.no_grad()",
            )
        self.cached = cached
        self.given: list[tuple[int, Array]] = []  # input → its array, held as long as the binding
        for i, slot in cached.entry.plan.arguments:
            x = signature.leaves[i]
            a = x._data if isinstance(x, Tensor) else np.asarray(x)
            if not buffers.usable(a):
                raise ArgumentError(
                    "bind",
                    f"array {i} of the arguments cannot be read in place",
                    met=f"strides {a.strides} of shape {a.shape}, {a.dtype.str}",
                    cause="a slice, a transpose or a foreign byte order",
                    fix=f"bind np.ascontiguousarray(x, {a.dtype.name!r})",
                )
            self.given.append((slot, a))
        self.places = [(slot, address(a)) for slot, a in self.given]

    def __call__(self) -> Any:
        """Run the step on what the arrays hold now."""
        cached = self.cached
        entry = cached.entry
        entry.lock.acquire()
        try:
            if (
                clock.settings == cached.settings
                and state.trace is None
                and state.watch is None
                and (not cached.names or cached.bindings.same())
            ):
                for box, has in cached.present:
                    if (box._node.grad is not None) is not has:
                        break
                else:
                    if entry.given is not self.places:
                        for slot, place in self.places:
                            entry.table[slot] = place
                        entry.given = self.places
                    arrays = entry.run()
                    if cached.single:
                        result = _new_tensor(Tensor)
                        result._data, result._node = arrays[0], None
                        return result
                    return entry.plan.result(entry.wrapped(arrays))
        finally:
            entry.lock.release()
        return self._again()

    def _again(self) -> Any:
        """A call after something has changed: perhaps with another program."""
        if state.trace is not None or state.watch is not None:
            return self.owner(*self.args, **self.kwargs)
        if not self.cached.is_current():
            fresh = Bound(self.owner, self.args, self.kwargs)
            self.cached, self.given, self.places = fresh.cached, fresh.given, fresh.places
        return self()

    def __repr__(self) -> str:
        shapes = ", ".join(repr(np.shape(a)) for _, a in self.given)
        return f"<{self.owner.name} bound to arrays of shape {shapes}>"
