"""What the names that a compiled function reads were bound to when it was traced.

Numbers, arrays, tensors and functions that a function refers to by name are baked into its program.
A name that is bound to something else afterwards calls for another program. Looked at are globals
and closed-over variables of the function itself, not those of the functions that it calls, and not
what arrays and lists contain: one that is changed in place is not noticed.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from wengert.compiler.effects import _codes, _content, _plain_function
from wengert.compiler.explain import Reason
from wengert.compiler.signature import static_entry
from wengert.core import site
from wengert.core.live import Holder
from wengert.core.tensor import Tensor

_PLAIN = (bool, int, float, complex, str, bytes, tuple, type(None), np.generic)
_KEPT = (*_PLAIN, np.ndarray, Tensor, FunctionType)
_READS = ("LOAD_GLOBAL", "LOAD_NAME")


class Bindings:
    """The names that a function reads, and what they were bound to."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.globals: list[tuple[dict[str, Any], str, int]] = []
        self.cells: list[tuple[Any, str, int]] = []
        self.values: dict[str, Any] = {}  # kept alive, so that their identities stay their own
        found = _users(f)
        if found is None:
            return
        namespace = found.__globals__
        for name in dict.fromkeys(_global_names(found.__code__)):
            if name in namespace and self._note(name, namespace[name]):
                self.globals.append((namespace, name, id(namespace[name])))
        for name, cell in zip(found.__code__.co_freevars, found.__closure__ or (), strict=True):
            value = _content(cell)
            if self._note(name, value):
                self.cells.append((cell, name, id(value)))

    def _note(self, name: str, value: Any) -> bool:
        if isinstance(value, _KEPT):
            self.values[name] = value
            return True
        return isinstance(value, Holder)  # the programs do not keep those alive

    def __bool__(self) -> bool:
        return bool(self.globals or self.cells)

    def same(self) -> bool:
        """Whether every name is bound to the very object that it was bound to."""
        for namespace, name, old in self.globals:
            if id(namespace.get(name)) != old:
                return False
        try:
            for cell, _, old in self.cells:
                if id(cell.cell_contents) != old:
                    return False
        except ValueError:  # unbound
            return False
        return True

    def hold(self) -> bool:
        """The same, where an equal number or string will do as well; it is the one from then on."""
        if self.same():
            return True
        if any(True for _ in self._changed()):
            return False
        self.globals = [(n, name, id(n.get(name))) for n, name, _ in self.globals]
        self.cells = [(c, name, id(_content(c))) for c, name, _ in self.cells]
        now = {name: namespace.get(name) for namespace, name, _ in self.globals}
        now.update((name, _content(cell)) for cell, name, _ in self.cells)
        self.values = {name: now[name] for name in self.values}
        return True

    def _changed(self) -> Iterator[tuple[str, Any]]:
        """Names that are bound to something else now, and to what."""
        current = [(name, n.get(name), old) for n, name, old in self.globals]
        current += [(name, _content(c), old) for c, name, old in self.cells]
        for name, now, old in current:
            if id(now) != old and not _alike(self.values.get(name, self), now):
                yield name, now

    def changes(self) -> list[Reason]:
        """Why the program is not right any more."""
        return [
            Reason(
                f"the name {name!r} that the function reads",
                _shown(self.values.get(name, self)),
                _shown(now),
                f"pass {name} as an argument (a number that changes often as an array)",
            )
            for name, now in self._changed()
        ]


def _users(f: Any) -> FunctionType | None:
    """The user's function behind methods, wrappers and transforms."""
    found = _plain_function(f)
    while found is not None and site._internal[found.__code__.co_filename]:
        found = _plain_function(getattr(found, "__wrapped__", None))
    return found


def _global_names(code: CodeType) -> Iterator[str]:
    for part in _codes(code):
        for instruction in dis.get_instructions(part):
            if instruction.opname in _READS:
                yield str(instruction.argval)


def _alike(old: Any, now: Any) -> bool:
    """Whether a trace could not tell two values apart."""
    if isinstance(old, tuple) and isinstance(now, tuple):
        pairs = zip(old, now, strict=False)
        return len(old) == len(now) and all(a is b or _alike(a, b) for a, b in pairs)
    if not isinstance(old, _PLAIN) or type(old) is not type(now):
        return False
    return bool(static_entry(old) == static_entry(now))


def _shown(value: Any) -> str:
    if isinstance(value, _PLAIN):
        text = repr(value)
        return text if len(text) < 40 else text[:36] + " ..."
    if isinstance(value, Bindings):
        return "an object"
    return f"another {type(value).__name__}"
