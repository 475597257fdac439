"""What the running thread is doing: one small thread-local record, read by every op."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from wengert.core.errors import ArgumentError

if TYPE_CHECKING:
    from wengert.core.graph import Trace, Watch
    from wengert.core.site import Origin

P = ParamSpec("P")
R = TypeVar("R")


class _State(threading.local):
    """Per-thread switches; the class attributes are the values that a new thread starts with."""

    recording: bool = True  # do ops on tracked tensors record nodes?
    origin: Origin | None = None  # set by walks, so that derived nodes inherit their node's site
    module: str = ""  # path of the nn.Module whose forward is running
    transforming: bool = False  # inside a function that grad, vjp, jvp … are differentiating
    trace: Trace | None = None  # the innermost trace that is collecting variable writes
    watch: Watch | None = None  # the innermost `Watch` that wants to know of variable writes


state = _State()


class recording:
    """Context manager and decorator that switches recording on or off in this thread."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.stack: list[bool] = []

    def __enter__(self) -> recording:
        self.stack.append(state.recording)
        state.recording = self.on
        return self

    def __exit__(self, *exc: object) -> None:
        state.recording = self.stack.pop()

    def __call__(self, f: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, so that it runs in this mode."""
        if inspect.isgeneratorfunction(f) or inspect.iscoroutinefunction(f):
            raise ArgumentError(
                "no_grad",
                "a generator or coroutine cannot be decorated: its body runs after the call",
                met=f.__qualname__,
                fix="write `with wg.no_grad():` inside of it",
            )
        on = self.on

        @wraps(f)
        def switched(*args: P.args, **kwargs: P.kwargs) -> R:
            with recording(on):
                return f(*args, **kwargs)

        return switched
