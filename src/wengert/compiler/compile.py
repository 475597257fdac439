"""The way of a program through the compiler."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from wengert.compiler.executable import Executable
from wengert.compiler.ir import Program


def prepare() -> None:
    """Begin with what all programs share, while the first one is traced."""
    from wengert.compiler.llvm import threads

    threads.prepare()


def compile_program(program: Program) -> Executable:
    """Native code for a program: from the cache on disk, or compiled and kept there."""
    with uncollected():
        from wengert.compiler import saved

        entry = saved.entry(program)
        found = None if entry is None else saved.load(entry, program)
        if found is not None:
            return found
        from wengert.compiler.check import verify
        from wengert.compiler.native import Native
        from wengert.compiler.simplify import simplify

        verify(program)
        made = Native(simplify(program))
        if entry is not None:
            saved.keep(entry, made)
        return made


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cycle collector: a trace and a compilation make many objects that all live until
    their end, and looking through them again and again takes a good part of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
