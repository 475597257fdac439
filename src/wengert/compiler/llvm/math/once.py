"""Functions that a module contains once for each type of operands, called from where they are used.

A heavy function inlined at each use would make programs long to compile; a call for 64 bytes of
operands costs next to nothing beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from wengert.compiler.llvm.arithmetic import Arithmetic
from wengert.compiler.llvm.emit import Value

Written = Callable[..., Value]  # (k, *operands) -> result, all of one type


def once(write: Written) -> Written:
    """Let a function of operands of one type be written as an internal function, and called."""
    stem = write.__name__.strip("_")

    @wraps(write)
    def call(k: Arithmetic, *operands: Value) -> Value:
        t = operands[0].type
        name = f"{stem}.{t.strip('<>').replace(' ', '')}"
        module = k.f.module
        if not module.has(name):
            g = module.function(
                name, [t] * len(operands), t, internal=True, attributes="nounwind noinline"
            )
            g.ret(write(k.within(g), *g.args))
        result = k.f.call(name, operands, t)
        assert result is not None
        return result

    return call
