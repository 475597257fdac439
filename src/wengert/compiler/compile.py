"""The way of a program through the compiler."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from wengert.compiler.executable import Executable
from wengert.compiler.ir import Program
from wengert.compiler.simplify import simplify


def compile_program(program: Program) -> Executable:
    """Native code for a program."""
    with uncollected():
        from wengert.compiler.native import Native

        return Native(simplify(program))


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cycle collector: a compilation makes many objects that all live until its end,
    and looking through them again and again takes a good part of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
