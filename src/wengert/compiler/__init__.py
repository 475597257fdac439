"""The compiler: whole training steps as native code. Its public names are imported when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wengert.compiler.stages import Dump, dump

__all__ = ["Dump", "dump"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from wengert.compiler import stages as module

        return getattr(module, name)
    raise AttributeError(f"module 'wengert.compiler' has no attribute {name!r}")
