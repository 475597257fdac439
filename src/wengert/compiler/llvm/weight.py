"""What an element-wise term costs: the number of instructions that its rule writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wengert.compiler.ir import Term
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import computed, vector
from wengert.core import dtypes
from wengert.core.dtypes import DType
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
    return weight_of(lowering.rule, [a.dtype for a in term.args], term.dtype, term.params)


def weight_of(
    rule: Callable[..., Any], kinds: Sequence[DType], result: DType, params: Mapping[str, Any]
) -> int:
    """Instructions that a pointwise rule writes for operands of some dtypes. (Its parameters make
    no great difference.)"""
    key = (rule, result, *kinds)
    found = _known.get(key)
    if found is None:
        found = _known[key] = _count(rule, kinds, result, params)
    return found


def _count(
    rule: Callable[..., Any], kinds: Sequence[DType], result: DType, params: Mapping[str, Any]
) -> int:
    module = Module()
    f = module.function("one", [vector(8, computed(d)) for d in kinds])
    operand = next((d for d in kinds if d != dtypes.bool), dtypes.bool)
    rule(Scalars(f, operand, result), *f.args, **params)
    f.ret()
    text = "\n".join(module.bodies.values())
    slow = text.count(" = fdiv ") + text.count("@llvm.sqrt.")
    return text.count("\n  ") - 1 + (SLOW - 1) * slow
