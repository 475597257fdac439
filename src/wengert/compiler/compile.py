"""The way of a program through the compiler."""

from __future__ import annotations

from wengert.compiler.executable import Executable
from wengert.compiler.ir import Program
from wengert.compiler.simplify import simplify
from wengert.compiler.threads import get_num_threads


def compile_program(program: Program) -> Executable:
    """Native code for a program."""
    from wengert.compiler.native import Native

    return Native(simplify(program), get_num_threads())
