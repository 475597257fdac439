"""What an element-wise term costs: the number of instructions that its rule writes."""

from __future__ import annotations

from typing import Any

from wengert.compiler.ir import Term
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import computed, vector
from wengert.core import dtypes
from wengert.core.lowering import Indexed, Pointwise

SLOW = 8  # what a division or a square root takes
INDEXED = 4  # an entry found by its index: a comparison or two, and an address

_known: dict[Any, int] = {}


def weight(term: Term) -> int:
    """Instructions for one vector of a term's results (none for a view)."""
    lowering = term.op.lower if term.op is not None else None
    if isinstance(lowering, Indexed):
        return INDEXED
    if not isinstance(lowering, Pointwise):
        return 0
    key = (lowering, term.dtype, tuple(a.dtype for a in term.args))
    found = _known.get(key)
    if found is None:
        found = _known[key] = _count(lowering, term)
    return found


def _count(lowering: Pointwise, term: Term) -> int:
    module = Module()
    kinds = [vector(8, computed(a.dtype)) for a in term.args]
    f = module.function("one", kinds)
    operand = next((a.dtype for a in term.args if a.dtype != dtypes.bool), dtypes.bool)
    lowering.rule(Scalars(f, operand, term.dtype), *f.args, **term.params)
    f.ret()
    text = "\n".join(module.bodies.values())
    slow = text.count(" = fdiv ") + text.count("@llvm.sqrt.")
    return text.count("\n  ") - 1 + (SLOW - 1) * slow
