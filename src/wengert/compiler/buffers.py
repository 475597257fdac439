"""Addresses and reference counts of arrays: what a call from Python costs, and what it may reuse.

`ndarray.ctypes.data` takes a microsecond. The address stands behind the object's header, where it
is read in a tenth of that; whether it does stand there is tested at import.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from wengert.core.spec import Spec
from wengert.core.tensor import Tensor

Array = np.ndarray[Any, Any]

getrefcount = sys.getrefcount
_HEADER = object.__basicsize__
_pointer_at = ctypes.c_void_p.from_address


def _fast_address(a: Array) -> int:
    return _pointer_at(id(a) + _HEADER).value or 0


def _slow_address(a: Array) -> int:
    found: int = a.ctypes.data
    return found


def _layout_is_known() -> bool:
    tried: list[Array] = [np.zeros(3), np.ones((2, 5), np.float32)[:, 1:], np.zeros((), np.int64)]
    return all(_fast_address(a) == a.ctypes.data for a in tried)


address = _fast_address if _layout_is_known() else _slow_address


def counts(arrays: Sequence[Array]) -> list[int]:
    """The reference counts of some arrays."""
    return list(map(getrefcount, arrays))


def _count_in_box() -> tuple[int, int]:
    """The count, as `counts` gives it, of an array that one list and one box hold; and as
    `getrefcount(box._data)` gives it, of one that only a box holds."""
    box = Tensor(np.zeros(2))
    alone = getrefcount(box._data)
    return counts([box._data])[0], alone


HELD, ALONE = _count_in_box()
SPARE = HELD - 1  # of an array that only a list holds


def count_places(arrays: Sequence[Array]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where the reference counts of some arrays stand, as numbers of 32 bits, where
    `COUNTS_ARE_KNOWN`: 2 for an array that one list and one box hold, 1 for one of a list alone."""
    return np.array([id(a) for a in arrays], np.int64)


def _counts_are_known() -> bool:
    """Whether an object begins with the count of its references: in CPython with its lock it does,
    but that is tried."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or sys.byteorder != "little":
        return False
    box = Tensor(np.zeros(2))
    held, spare = [box._data], [np.zeros(2)]
    found = [[*map(_count_at, map(id, held))], [*map(_count_at, map(id, spare))]]
    more = [*held, *spare]
    return found == [[2], [1]] and [*map(_count_at, map(id, more))] == [3, 2]


def _count_at(address: int) -> int:
    return ctypes.c_uint32.from_address(address).value


COUNTS_ARE_KNOWN = _counts_are_known()


def usable(a: Array) -> bool:
    """Whether a program can read the array where it is: in C order, aligned, in native bytes."""
    flags = a.flags
    return bool(flags.c_contiguous and flags.aligned and a.dtype.isnative)


def readable(a: Array) -> Array:
    """The array itself, or a copy that a program can read."""
    return a if usable(a) else np.array(a, a.dtype.newbyteorder("="), order="C")


def own(box: Tensor) -> bool:
    """Whether nobody but its box holds an array, so that it may be written in place."""
    if getrefcount(box._data) != ALONE:
        return False
    a = box._data
    flags = a.flags
    alone = flags.owndata or type(a.base) is _Memory
    return bool(alone and flags.writeable) and usable(a)


# -- memory where vectors do not straddle cache lines ------------------------------------------

LINE, PAGE = 64, 4096  # bytes; the widest vector fills a line
_TINY = 4 * LINE  # bytes; smaller arrays take less time than to align them
_LARGE = 16 * PAGE
_colours = cycle(range(0, PAGE, PAGE // 8))


class _Memory(np.ndarray[Any, Any]):
    """Bytes that one array stands in. A class of its own, because NumPy gives a view the outermost
    plain array as its base: so views refer to the array, and its reference count tells of them."""


def fresh(spec: Spec) -> Array:
    """A new array of a spec, not initialised, at the start of a cache line.

    NumPy's own begin 16 bytes behind one: each vector of 64 bytes then touches two lines. Large
    ones begin at different places of a page, one after the other: a processor tells whether a read
    needs what was just written by the place in the page alone, and waits in vain where two arrays
    go side by side.
    """
    nbytes = spec.nbytes
    if nbytes < _TINY:
        return np.empty(spec.shape, spec.dtype)
    try:
        memory = _Memory(nbytes + (LINE if nbytes < _LARGE else PAGE), np.uint8)
    except (MemoryError, ValueError):  # ValueError: more than an address can tell
        from wengert.compiler.refusals import no_memory_for

        raise no_memory_for(spec) from None
    if nbytes < _LARGE:
        start = -address(memory) % LINE
    else:
        start = (next(_colours) - address(memory)) % PAGE
    return np.ndarray(spec.shape, spec.dtype, memory, start)


def line_up(box: Tensor) -> bool:
    """Move an array that only its box holds to the start of a cache line; whether it was moved."""
    if address(box._data) % LINE == 0 or box._data.nbytes < _TINY or not own(box):
        return False
    moved = fresh(Spec.of(box._data))
    np.copyto(moved, box._data)
    box._data = moved
    return True
