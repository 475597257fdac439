"""Errors for a value that a symbolic tensor lacks, which name the function that asked for it.

NumPy and the standard library convert what they are given, and say nothing of who asked. Python
keeps the columns of each instruction, so the call can be read off the user's own line.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from wengert.core import methods, site
from wengert.core.errors import TraceError

_STATIC = (
    "pass sizes, bounds, counts and axes as Python numbers, which are static, or read them off a "
    "shape; to look up entries, index a tensor: wg.asarray(table)[i]"
)

# What is done with a value that a symbolic tensor lacks: how that comes about, and the way out.
_NEEDED = {
    "bool": (
        "a Python `if`, `while`, `and` or `assert` on a tensor",
        "use wg.where for a choice, wg.fori_loop or wg.scan for a loop, or decide on a static "
        "argument (a number, a shape)",
    ),
    "item": (
        "float(), int(), .item() and the like",
        "keep computing with the tensor, and return it from the traced function to convert it",
    ),
    "index": ("a tensor as a size, a bound, an axis or an index of a list", _STATIC),
    "repeat": ("a tensor as the number of repetitions", _STATIC),
    "numpy": (
        "a NumPy or SciPy function, or .numpy(), on a tensor",
        "use wengert's function of that name (wg.sin for np.sin), or return the tensor and convert "
        "it outside",
    ),
    "format": (
        "a tensor formatted as text, in an f-string or a print",
        "return the tensor and print it outside; repr(x) shows its shape and dtype here",
    ),
}

_LIBRARIES = ("numpy", "scipy", "math", "cmath", "statistics")
_MISSING: Any = object()


@dataclass
class Call:
    """A call of another library's function, as the user wrote it, and our function like it."""

    written: str  # "np.linalg.norm"
    ours: str  # "wg.linalg.norm", or "" if there is none


def called() -> Call | None:
    """The call that the user's line makes now; None if it is of no such library, or unknown."""
    frame = site.user_frame()
    function = None if frame is None else _function(frame)
    if frame is None or function is None:
        return None
    target = _target(frame, function)
    home = getattr(target, "__module__", None) or type(target).__module__
    if target is _MISSING or home.partition(".")[0] not in _LIBRARIES:
        return None
    name = getattr(target, "__name__", "")
    places = [p for p in ("linalg",) if p in home or p in ast.unparse(function)]
    return Call(ast.unparse(function), _like(places, name))


def _function(frame: FrameType) -> ast.expr | None:
    """What stands before the parentheses of the running call."""
    positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    line, end_line, start, end = positions
    if line is None or end_line is None or start is None or end is None:
        return None
    lines = [t.encode() for t in linecache.getlines(frame.f_code.co_filename)[line - 1 : end_line]]
    if not lines:
        return None
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        found = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except SyntaxError:
        return None
    return found.func if isinstance(found, ast.Call) else None


def _target(frame: FrameType, function: ast.expr) -> Any:
    """The object that a dotted name stands for in a frame."""
    names = list(_names(function))
    if not names:
        return _MISSING
    found = {**frame.f_globals, **frame.f_locals}.get(names[0], _MISSING)
    for name in names[1:]:
        found = getattr(found, name, _MISSING)
    return found


def _names(function: ast.expr) -> Iterator[str]:
    """The parts of a dotted name; nothing for any other expression."""
    if isinstance(function, ast.Name):
        yield function.id
    elif isinstance(function, ast.Attribute):
        before = list(_names(function.value))
        if before:
            yield from (*before, function.attr)


def _like(places: list[str], name: str) -> str:
    found = methods._F
    for place in places:
        found = getattr(found, place)
    return ".".join(["wg", *places, name]) if callable(getattr(found, name, None)) else ""


def no_value(purpose: str, met: str) -> TraceError:
    """The error where a value is needed and a tensor has none."""
    what = "this tensor is symbolic: inside a trace it has no value"
    cause, fix = _NEEDED.get(purpose, _NEEDED["item"])
    cause += " inside jit, vmap or trace, or a tensor kept from a trace that has ended"
    call = called() if purpose in ("numpy", "item") else None
    if call is not None:
        what = f"{call.written} met a symbolic tensor: inside a trace that has no value"
        ours = call.ours or "functions of wengert"
        cause = f"{call.written} in place of {ours} inside jit, vmap or trace"
        fix = f"write {ours}, or return the tensor from the traced function and convert it outside"
    return TraceError(purpose, what, met=met, cause=cause, fix=fix)
