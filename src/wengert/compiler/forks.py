"""Locks that a forked process does not find held by threads that it does not have."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Protocol


class Locked(Protocol):
    """What one thread at a time works with."""

    lock: Any


_locked: weakref.WeakSet[Locked] = weakref.WeakSet()


def lock_of(owner: Locked) -> Any:
    """A lock for an object's attribute `lock`; a forked process gives it another one."""
    _locked.add(owner)
    return threading.RLock()


def _renew() -> None:
    for owner in list(_locked):
        owner.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
