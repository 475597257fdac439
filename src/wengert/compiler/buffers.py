"""Addresses and reference counts of arrays: what a call from Python costs, and what it may reuse.

`ndarray.ctypes.data` takes a microsecond. The address stands behind the object's header, where it
is read in a tenth of that; whether it does stand there is tested at import.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
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
    return bool(flags.owndata and flags.writeable) and usable(a)


def fresh(spec: Spec) -> Array:
    """A new array of a spec, not initialised."""
    return np.empty(spec.shape, spec.dtype)
