"""Sites: the user's file and line behind every node, error and report.

Recording a site costs one walk up the stack to the first frame outside this package, and stores
`(code, last instruction)`. File, line and text are worked out only when somebody asks.
"""

from __future__ import annotations

import linecache
import os
import sys
from dataclasses import dataclass
from types import CodeType, FrameType

import numpy as np

# NumPy, SciPy beside it, and the standard library call back: np.linalg.norm(x) converts x, and
# copy.deepcopy(x) copies it, in frames of their own. Packages may lie in the latter's folder.
_NUMPY = os.path.dirname(np.__file__) + os.sep
_BETWEEN = _NUMPY, os.path.join(os.path.dirname(os.path.dirname(_NUMPY)), "scipy") + os.sep
_STANDARD = os.path.dirname(os.__file__) + os.sep
_PACKAGES = tuple(_STANDARD + name + os.sep for name in ("site-packages", "dist-packages"))
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Recipes ship with the package but are written as a user would write them: they count as user code.
_USER_ROOM = _PACKAGE + "recipes" + os.sep


class _Internal(dict[str, bool]):
    """File name → does it belong to the library, or to those that it is called through? Filled on
    demand, then one lookup a frame."""

    def __missing__(self, filename: str) -> bool:
        inside = filename.startswith(_PACKAGE) and not filename.startswith(_USER_ROOM)
        inside = inside or filename.startswith(_BETWEEN)
        standard = filename.startswith(_STANDARD) and not filename.startswith(_PACKAGES)
        inside = inside or standard
        self[filename] = inside
        return inside


_internal = _Internal()
_getframe = sys._getframe

# (code, instruction, module path, phase): what a node stores. Phase is "" in the forward pass.
Origin = tuple[CodeType, int, str, str]


@dataclass(frozen=True)
class Site:
    """A place in the user's code.

    `module` is the path of the `nn.Module` that was running ("encoder.conv1"), or ""; `phase` says
    which walk made the node: "" for the user's own forward pass, "backward", "tangent", "batched".
    """

    file: str
    line: int
    function: str
    module: str = ""
    phase: str = ""

    @property
    def text(self) -> str:
        """The source line itself, stripped."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        text = self.text
        return f"{self.file}:{self.line}" + (f": {text}" if text else "")


def is_internal(frame: FrameType) -> bool:
    """Whether a frame runs code of the library rather than of a user."""
    filename = frame.f_code.co_filename
    if filename == "<string>":  # a method that a dataclass generated, or `python -c`
        return str(frame.f_globals.get("__name__")).startswith("wengert.")
    return _internal[filename]


def user_frame() -> FrameType | None:
    """The nearest calling frame outside the library."""
    frame: FrameType | None = _getframe(1)
    while frame is not None and is_internal(frame):
        frame = frame.f_back
    return frame


def capture(module: str) -> Origin:
    """The origin of the call that is running now."""
    frame: FrameType | None = _getframe(2)
    while frame is not None and _internal[frame.f_code.co_filename]:
        frame = frame.f_back
    if frame is None:  # called from a thread of the library's own
        frame = _getframe(1)
    return (frame.f_code, frame.f_lasti, module, "")


def resolve(origin: Origin) -> Site:
    """Work out file and line of a stored origin."""
    code, instruction, module, phase = origin
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= instruction < end and number is not None:
            line = number
            break
    return Site(code.co_filename, line, code.co_qualname, module, phase)


def user_site() -> Site | None:
    """The user's line that is running now, if there is one."""
    frame = user_frame()
    if frame is None:
        return None
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
