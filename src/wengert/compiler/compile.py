"""The way of a program through the compiler."""

from __future__ import annotations

from wengert.compiler.executable import Executable, Interpreted
from wengert.compiler.ir import Program


def compile_program(program: Program) -> Executable:
    """Native code for a program."""
    return Interpreted(program)
