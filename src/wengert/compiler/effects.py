"""What a traced function does besides computing: side effects, which no compiled call repeats.

Python statements run once, while the function is traced. A list that grows, a counter that goes up,
a number drawn from NumPy would then happen at the first call only. So what the function can reach
is compared before and after, put back, and the difference is an error that says what to write.
"""

from __future__ import annotations

import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from wengert.compiler.session import Session
from wengert.core import site
from wengert.core.errors import TraceError
from wengert.core.live import Holder
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_leaves

_ABSENT: Any = object()
_CONTAINERS = (list, dict, set, deque)
_LARGEST = 10_000  # entries of a container that is looked into
_MOST = 200  # functions that are looked into


@dataclass
class Stream:
    """A source of random numbers that is not of this library: its state, and how to put it back."""

    name: str
    get: Callable[[], Any]
    before: Any
    put: Callable[[], Any]


class Surroundings:
    """All that a function can reach by name: what it closes over, globals, attributes."""

    def __init__(self, f: Callable[..., Any], name: str) -> None:
        self.name = name
        self.functions = list(_functions(f))
        self.selves = [s for s in (_self_of(f),) if s is not None]
        self.cells: list[tuple[str, CodeType, Any, Any]] = []
        self.globals: list[tuple[str, CodeType, dict[str, Any], Any]] = []
        self.contents: list[tuple[str, Any, Any]] = []
        self.random: list[Stream] = []

    def holders(self) -> Iterator[Holder]:
        """Modules, optimizers … that the function refers to by name."""
        for _, value in self._named():
            if isinstance(value, Holder):
                yield value
        yield from (s for s in self.selves if isinstance(s, Holder))

    def _named(self) -> Iterator[tuple[str, Any]]:
        for f in self.functions:
            for name, cell in _cells(f):
                value = _content(cell)
                if value is not _ABSENT:
                    yield name, value
            for name in _names(f.__code__):
                if name in f.__globals__:
                    yield name, f.__globals__[name]

    # -- before ------------------------------------------------------------------------------

    def before(self, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
        """Remember how things are."""
        for f in self.functions:
            for name, cell in _cells(f):
                self.cells.append((name, f.__code__, cell, _content(cell)))
            for name in _stored_globals(f.__code__):
                value = f.__globals__.get(name, _ABSENT)
                self.globals.append((name, f.__code__, f.__globals__, value))
        seen: set[int] = set()
        for name, value in (*self._named(), *(("self", s) for s in self.selves)):
            if id(value) not in seen:
                seen.add(id(value))
                self._remember(name, value)
        for i, value in enumerate(args):
            self._remember(f"argument {i}", value)
        for name, value in kwargs.items():
            self._remember(name, value)
        self._remember_random()

    def _remember(self, name: str, value: Any) -> None:
        if isinstance(value, _CONTAINERS):
            if len(value) <= _LARGEST:
                self.contents.append((name, value, value.copy()))
        elif _is_plain_object(value):
            self.contents.append((name, value.__dict__, dict(value.__dict__)))
        elif type(value).__module__.startswith("numpy.random"):
            generator = getattr(value, "bit_generator", None)
            if generator is not None:
                state = generator.state
                get = lambda: repr(generator.state)
                put = partial(setattr, generator, "state", state)
                self.random.append(Stream(f"the NumPy generator {name!r}", get, repr(state), put))

    def _remember_random(self) -> None:
        state = random.getstate()
        put: Any = partial(random.setstate, state)
        self.random.append(Stream("random", random.getstate, state, put))
        get: Any = partial(np.random.get_state, legacy=True)
        now = get()
        put = partial(np.random.set_state, now)
        self.random.append(Stream("np.random", lambda: _comparable(get()), _comparable(now), put))

    # -- afterwards --------------------------------------------------------------------------

    def restore(self) -> list[tuple[str, CodeType | None, str, Any, Any]]:
        """Put back what the function changed. What that was: name, code, kind, now, before."""
        changes: list[tuple[str, CodeType | None, str, Any, Any]] = []
        for name, code, cell, old in self.cells:
            now = _content(cell)
            if now is not old:
                changes.append((name, code, "nonlocal", now, old))
                if old is not _ABSENT:
                    cell.cell_contents = old
        for name, code, namespace, old in self.globals:
            now = namespace.get(name, _ABSENT)
            if now is not old:
                changes.append((name, code, "global", now, old))
                if old is _ABSENT:
                    del namespace[name]
                else:
                    namespace[name] = old
        for name, container, old in self.contents:
            if not _same(container, old):
                now = container.copy()
                changes.append((name, None, "contents", now, old))
                container.clear()
                (container.extend if hasattr(container, "extend") else container.update)(old)
        return changes

    def after(self, session: Session) -> None:
        """Raise the error for a side effect, if there was one; all is put back before."""
        attributes = session.restore_settings()
        changes = self.restore()
        drawn = [stream for stream in self.random if stream.get() != stream.before]
        for stream in drawn:
            stream.put()
        for holder, name, where in attributes:
            raise self._attribute(holder, name, where)
        for name, code, kind, now, old in changes:
            raise self._changed(name, code, kind, now, old)
        for stream in drawn:
            raise TraceError(
                "jit",
                f"{self.name} draws random numbers from {stream.name}",
                cause="they would be drawn once, while the function is traced, and be the same in "
                "every call",
                fix="draw from wg.random, whose counters are state of the compiled program; or "
                "draw outside and pass the array",
            )

    def _attribute(self, holder: Any, name: str, where: site.Site | None) -> TraceError:
        mode = name == "training"
        return TraceError(
            "jit",
            f"{self.name} changes the attribute {name!r} of {type(holder).__name__}",
            met=f"at {where}" if where is not None else "",
            cause="Python statements run once, while the function is traced, not in every call",
            fix="call train() or eval() outside of the compiled function"
            if mode
            else "return the value; or keep it as state: register_buffer, then assign a tensor",
        )

    def _changed(
        self, name: str, code: CodeType | None, kind: str, now: Any, old: Any
    ) -> TraceError:
        leaves = tree_leaves(now) if isinstance(now, (list, dict, tuple)) else [now]
        kept = [x for x in leaves if isinstance(x, Tensor) and x.is_symbolic]
        cause = "Python statements run once, while the function is traced, not in every call"
        if kept and kept[0]._node is not None:
            cause = f"it keeps a symbolic tensor, made at {kept[0]._node.site}"
        if kind == "contents":
            what = f"{self.name} changes the contents of {name!r}, which stands outside of it"
            met = f"a {type(now).__name__} of {len(now)} entries, {len(old)} before"
        else:
            what = f"{self.name} rebinds the {kind} {name!r}"
            met = f"at {_where_stored(code, name)}" if code is not None else ""
        return TraceError(
            "jit",
            what,
            met=met,
            cause=cause,
            fix="return the value and store it outside, or keep it in a wg.Variable: "
            f"{name if name.isidentifier() else 'box'}.assign(value)",
        )


def _comparable(state: Any) -> Any:
    """The state of NumPy's global generator as something that compares."""
    return state[1].tobytes(), state[2:]


def _functions(f: Callable[..., Any]) -> Iterator[FunctionType]:
    """The user's functions that `f` consists of and refers to by name."""
    stack: list[Any] = [f]
    seen: set[int] = set()
    while stack and len(seen) < _MOST:
        found = _plain_function(stack.pop())
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        if site._internal[found.__code__.co_filename] or not _is_users(found):
            continue
        yield found
        for _, cell in _cells(found):
            stack.append(_content(cell))
        stack += [found.__globals__[n] for n in _names(found.__code__) if n in found.__globals__]


def _plain_function(f: Any) -> FunctionType | None:
    """The function behind methods, partials and wrappers."""
    while True:
        if isinstance(f, functools.partial):
            f = f.func
        elif isinstance(f, MethodType):
            f = f.__func__
        elif isinstance(f, FunctionType):
            return f
        elif hasattr(f, "__wrapped__") and not isinstance(f, type):
            f = f.__wrapped__
        elif not isinstance(f, type) and _is_plain_object(f) and callable(f):
            f = type(f).__call__
        else:
            return None


def _is_users(f: FunctionType) -> bool:
    """Whether a function is of the user, not of an installed library."""
    path = f.__code__.co_filename
    return "site-packages" not in path and not path.startswith(sys.base_prefix + "/lib/python")


def _self_of(f: Any) -> Any:
    """The object behind a method, or the callable object itself."""
    while isinstance(f, functools.partial):
        f = f.func
    return f if isinstance(f, Holder) else getattr(f, "__self__", None)


def _is_plain_object(value: Any) -> bool:
    """Whether it is an instance of a class of the user, with attributes."""
    kind = type(value)
    if isinstance(value, (type, FunctionType, MethodType, Tensor, Holder)):
        return False
    outside = kind.__module__.partition(".")[0] not in ("builtins", "wengert", "numpy", "threading")
    return outside and hasattr(value, "__dict__") and "<module" not in repr(kind)


def _cells(f: FunctionType) -> list[tuple[str, Any]]:
    return list(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _ABSENT


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(code: CodeType) -> list[str]:
    return [name for c in _codes(code) for name in c.co_names]


def _stored_globals(code: CodeType) -> list[str]:
    return [
        str(i.argval)
        for c in _codes(code)
        for i in dis.get_instructions(c)
        if i.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    ]


def _where_stored(code: CodeType, name: str) -> str:
    """The line that assigns a name."""
    for c in _codes(code):
        line = c.co_firstlineno
        for i in dis.get_instructions(c):
            line = getattr(i.positions, "lineno", None) or line
            if i.argval == name and i.opname in ("STORE_GLOBAL", "STORE_DEREF"):
                return str(site.Site(c.co_filename, line, c.co_qualname))
    return str(site.Site(code.co_filename, code.co_firstlineno, code.co_qualname))


def _same(container: Any, old: Any) -> bool:
    """Whether a container holds the very same objects as before."""
    if len(container) != len(old):
        return False
    if isinstance(container, dict):
        return all(k in old and old[k] is v for k, v in container.items())
    if isinstance(container, set):
        return bool(container == old)
    return all(a is b for a, b in zip(container, old, strict=True))
