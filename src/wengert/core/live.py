"""The boxes that are alive, and clocks that tell whether anything about them has changed.

A compiled program reads and writes boxes: variables, and other tracked leaves. While it is traced
*all* of them must be symbolic, so that no value can be baked in unnoticed; hence the table.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wengert.core.tensor import Tensor

_boxes: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()


def register(box: Tensor) -> None:
    """Enter a box into the table, where it stays as long as it lives."""
    _boxes[id(box)] = box


def boxes() -> list[Tensor]:
    """All boxes that are alive."""
    found = [reference() for reference in _boxes.valuerefs()]
    return [box for box in found if box is not None]


class _Clock:
    """Two numbers that change whenever something changes that compiled programs rely on.

    Attributes
    ----------
    writes : since when no box was given another array
    settings : since when no setting changed: modes and attributes of modules, options of
        optimizers, what is trainable, dtypes
    """

    __slots__ = ("settings", "writes")

    def __init__(self) -> None:
        self.writes = self.settings = 0


clock = _Clock()
_tick = count(1).__next__


def written() -> None:
    """A box was given another array."""
    clock.writes = _tick()


def settings_changed() -> None:
    """Something changed that a program may have been compiled for."""
    clock.settings = clock.writes = _tick()


class Holder:
    """Base of what has settings that a program is compiled for: modules, optimizers, schedules.

    As an argument of a compiled function such an object is itself, not a copy: it is told by its
    identity, and its boxes are state.
    """

    def _compiled_for(self) -> Any:
        """All that a program may rely on, as a value that compares equal while it is the same."""
        return ()

    def _holders(self) -> list[Holder]:
        """The holder itself, and the holders that belong to it."""
        return [self]

    def _named_boxes(self) -> Iterable[tuple[str, Any]]:
        """The boxes that it holds, by names for a reader."""
        return ()

    def _is_in_place(self) -> bool:
        """Whether its values stand in boxes (a structural copy of a module has plain tensors)."""
        return True


def fingerprint(value: Any) -> Any:
    """A setting as something that can be compared: a plain value by type and value, anything else
    by identity."""
    if value.__class__ in _PLAIN:
        return value.__class__, value if value == value else repr(value)
    if value.__class__ is tuple:
        return tuple([fingerprint(v) for v in value])
    return id(value)


_PLAIN = frozenset({bool, int, float, str, type(None)})


class _Tracing:
    """Who is tracing now. While a thread traces, boxes are symbolic for all threads; another
    thread that meets a symbolic box waits for `lock`, and then finds the values. A program that
    reads or writes boxes holds it as well: two of them may have the same ones.

    Attributes
    ----------
    lock : held by the thread that traces, or runs a program with state
    turn : held by who waits for `lock`, so that no thread traces again and again while others wait
    real : how a thread that did wait finds the tensor behind a box's symbolic data
    note : how the thread that traces makes that known, for data that a box is about to get
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.turn = threading.Lock()
        self.owner: int | None = None
        self.real: Callable[[Tensor], Tensor] | None = None
        self.note: Callable[[Any, Tensor], None] | None = None

    def begin(self) -> None:
        """Wait for the end of other threads' traces and programs, and for those who wait."""
        if self.owner == threading.get_ident():
            self.lock.acquire()
            return
        with self.turn:
            self.lock.acquire()

    def acquire(self) -> None:
        """Wait for the end of other threads' traces and programs."""
        if not self.lock.acquire(blocking=False):
            with self.turn:
                self.lock.acquire()

    def release(self) -> None:
        """Let others go on."""
        self.lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.lock.release()


tracing = _Tracing()


def stands_in(data: Any, box: Tensor) -> None:
    """In a trace a box is about to get these symbolic data, which other threads may see."""
    if tracing.note is not None and tracing.owner == threading.get_ident():
        tracing.note(data, box)


def guarded(lock: threading.Lock) -> AbstractContextManager[Any]:
    """A lock of a holder of boxes, for a `with`. The thread that traces does not take it: who holds
    it may be waiting for the end of the trace, and no other thread sees what a trace does."""
    return nullcontext() if tracing.owner == threading.get_ident() else lock


def all_settled(xs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """The tensors with their values, where some are symbolic because another thread traces."""
    if tracing.owner == threading.get_ident():
        return None
    found = [settled(x) if x.is_symbolic else None for x in xs]
    if all(f is None for f in found):
        return None
    return tuple([x if f is None else f for x, f in zip(xs, found, strict=True)])


def settled(x: Tensor) -> Tensor | None:
    """The tensor with its value, for a thread that met a symbolic box of another thread's trace;
    None if the tensor is symbolic for another reason."""
    if tracing.real is None or tracing.owner == threading.get_ident():
        return None
    with tracing:
        found = tracing.real(x)
    return None if found.is_symbolic else found
