"""Results that are begun before they are needed: LLVM compiles without the GIL, so that Python can
go on with the program meanwhile."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

# Its handlers of forks must be registered before ours, since the last ones come first.
from wengert.compiler.llvm import build as build

T = TypeVar("T")
TURN = 2e-4  # seconds


class Ahead(Generic[T]):
    """What a function returns, which runs in a thread of its own.

    >>> from wengert.compiler.llvm.ahead import Ahead
    >>> Ahead(lambda: 6 * 7).result()
    42
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._error: BaseException | None = None
        # No daemon: the end of the process waits for LLVM, which would else lose its memory.
        self._thread = threading.Thread(target=self._run, name="wengert-ahead", daemon=False)
        _going.enter(self)
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no more threads, or the process is about to end
            _going.leave(self)

    def result(self) -> T:
        """What the function returned, or the error that it raised; waited for if need be."""
        self.wait()
        if not self._made and self._error is not None:
            error, self._error = self._error, None  # who asks again may try again
            raise error
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def wait(self) -> None:
        """Return when the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._made.append(self._make())
        except BaseException as error:  # for the one who asks for the result
            self._error = error
        finally:
            _going.leave(self)


class _Going:
    """What has not ended yet.

    Meanwhile the threads of Python take short turns. LLVM's functions are many and, but for a few,
    short; after each, its thread asks for the GIL, and would get it after a whole turn of ours: in
    5 ms, where Python's default is not changed.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all: set[Ahead[Any]] = set()
        self.turn = 0.0  # of threads, when nothing is going on

    def enter(self, one: Ahead[Any]) -> None:
        with self.lock:
            if not self.all:
                self.turn = sys.getswitchinterval()
                sys.setswitchinterval(min(TURN, self.turn))
            self.all.add(one)

    def leave(self, one: Ahead[Any]) -> None:
        with self.lock:
            self.all.discard(one)
            if not self.all:
                sys.setswitchinterval(self.turn)

    def wait(self) -> None:
        """Before a fork: the child would not have these threads."""
        for one in list(self.all):
            one.wait()


_going = _Going()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_going.wait)
