"""Arrays at the edge of memory: to read or write beyond them ends the process."""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NO_ACCESS = 0


def at_the_edge(x: Array, first: bool = False) -> Array:
    """A copy of an array that ends where memory ends (or begins where it begins, if `first`); a
    plain copy on Windows."""
    if sys.platform == "win32" or not x.size:
        return np.array(x, order="C")
    page = mmap.PAGESIZE
    room = -(-x.nbytes // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for edge in (start, start + page + room):
        assert protect(edge, page, NO_ACCESS) == 0, ctypes.get_errno()
    found = np.ndarray(x.shape, x.dtype, memory, page if first else page + room - x.nbytes)
    found[...] = x
    return found
