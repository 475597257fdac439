"""Errors, all in one form: `[op] what; what was met; the likely cause; one concrete fix`.

Every error that this library raises on purpose derives from `WengertError` and from the built-in
class that a user would catch (`ValueError`, `TypeError`, …). Its text ends with the user's own
line, and its traceback, as Python code reads it, stops there: frames of the library are left out
unless `show_framework_frames(True)` was called.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

import numpy as np

from wengert.core import site

_show_all = False


def show_framework_frames(show: bool = True) -> None:
    """Choose whether tracebacks of this library's errors include the library's own frames."""
    global _show_all
    _show_all = show


def _without_framework(tb: TracebackType | None) -> TracebackType | None:
    """A copy of `tb` without the frames of this package; `tb` itself if nothing else is in it."""
    frames: list[TracebackType] = []
    entry = tb
    while entry is not None:
        if not site.is_internal(entry.tb_frame):
            frames.append(entry)
        entry = entry.tb_next
    trimmed: TracebackType | None = None
    for entry in reversed(frames):
        trimmed = TracebackType(trimmed, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trimmed if trimmed is not None else tb


_raw_traceback: Any = BaseException.__dict__["__traceback__"]


class WengertError(Exception):
    """Base of all errors that the library raises on purpose."""

    def __init__(
        self, op: str, what: str = "", met: str = "", cause: str = "", fix: str = ""
    ) -> None:
        self.op, self.what, self.met, self.cause, self.fix = op, what, met, cause, fix
        self.site = site.user_site()
        super().__init__(self._text())

    def _text(self) -> str:
        parts = [f"[{self.op}] {self.what}"]
        if self.met:
            parts.append(f"got {self.met}")
        if self.cause:
            parts.append(f"likely cause: {self.cause}")
        if self.fix:
            parts.append(f"fix: {self.fix}")
        return "; ".join(parts) + (f"\n  at {self.site}" if self.site else "")

    @property
    def __traceback__(self) -> TracebackType | None:
        tb = _raw_traceback.__get__(self)
        return tb if _show_all else _without_framework(tb)

    @__traceback__.setter
    def __traceback__(self, tb: TracebackType | None) -> None:
        _raw_traceback.__set__(self, tb)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.op, self.what, self.met, self.cause, self.fix)


class ShapeError(WengertError, ValueError):
    """Shapes that do not fit the operation."""


class DtypeError(WengertError, TypeError):
    """A dtype (or a Python type) that the operation does not take."""


class AxisError(WengertError, ValueError, IndexError):
    """An axis that the array does not have."""


class BoundsError(WengertError, IndexError):
    """An index outside the array, or an index of a kind that arrays do not take."""


class ArgumentError(WengertError, ValueError):
    """A value that an argument does not allow."""


class LinalgError(WengertError, np.linalg.LinAlgError):
    """A matrix that an algorithm cannot take: singular, not positive definite, not finite."""


class GradientError(WengertError, RuntimeError):
    """A derivative that was asked for and cannot be given."""


class TraceError(WengertError, RuntimeError):
    """A symbolic tensor used where a value is needed, or outside of its trace."""


class CompileError(WengertError, RuntimeError):
    """A program that could not be compiled."""


class OutOfMemoryError(WengertError, MemoryError):
    """A compiled program that needs more memory than there is."""


class NaNError(WengertError, FloatingPointError):
    """NaN in the result of a function that is compiled with `check_nan`."""


class StateError(WengertError, RuntimeError):
    """Stored state (state dict, checkpoint) that does not fit or is damaged."""


class RecompileWarning(UserWarning):
    """A compiled function is compiled again and again for the same reason."""


class CacheWarning(UserWarning):
    """The cache of compiled code cannot be used as it should; the code is compiled instead."""


class NotCompiledWarning(UserWarning):
    """Something that is compiled by default runs eagerly."""


class MissingExtraError(WengertError, ImportError):
    """An optional package that is not installed."""


def _hook(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    # CPython before 3.12 prints the raw traceback, past the property above; so print it here.
    if issubclass(kind, WengertError):
        traceback.print_exception(kind, error, error.__traceback__)
    else:
        _previous_hook(kind, error, tb)


_previous_hook = sys.excepthook
sys.excepthook = _hook
