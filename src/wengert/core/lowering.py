"""How the compiler writes an op: told in the op's own declaration, read by the compiler.

An op without a lowering is called as a library function, its reference, from inside the program.
Rules get the compiler's builders as arguments, so that this file and `ops/` import none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wengert.core import dtypes
from wengert.core.dtypes import DType


class Lowering:
    """One of the ways in which an op becomes code."""


@dataclass(frozen=True)
class Pointwise(Lowering):
    """The same computation at each position of operands that are broadcast.

    `rule(k, *operands, **params)` writes it for one position, or for many side by side: `k` is a
    `compiler.llvm.scalars.Scalars`, the operands are its values. `dtypes` are the operand dtypes
    that it serves; with others the op is a library call.
    """

    rule: Callable[..., Any]
    dtypes: Sequence[DType] = dtypes.ALL


def pointwise(lower: Lowering | Callable[..., Any] | None) -> Lowering | None:
    """A lowering as it is; a bare rule as a `Pointwise`."""
    return lower if lower is None or isinstance(lower, Lowering) else Pointwise(lower)
