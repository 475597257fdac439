"""Run one op, or a function of arrays, as native code, and its reference next to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compiler.capture import Importer
from wengert.compiler.ir import Program, Term, apply, evaluate
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core import dtypes
from wengert.core.graph import Trace, nodes_of
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec
from wengert.core.state import recording
from wengert.transforms.trace import symbolic

Arrays = Sequence[Any]


def program_of(op: str, arrays: Arrays, **params: Any) -> Program:
    """One op on inputs like these arrays."""
    inputs = [Term(None, (), {}, Spec.of(a)) for a in arrays]
    return Program(inputs, [apply(op, *inputs, **params)])


def traced(f: Callable[..., Any], arrays: Arrays) -> Program:
    """A function of arrays as a program."""
    with Trace(), recording(True):
        inputs = [symbolic(Spec.of(a)) for a in arrays]
        found = f(*inputs)
    importer = Importer()
    given = [importer.input(n) for n in nodes_of(inputs)]
    return Program(given, importer.terms(found if isinstance(found, (list, tuple)) else [found]))


def run(program: Program, arrays: Arrays, threads: int = 1, library: bool = False) -> list[Any]:
    """What a program gives as native code; no op may be a library call, unless `library`."""
    executable = Native(simplify(program), threads)
    calls = [p.call.op.name for p in executable.assembly.pieces if p.call is not None]
    assert library or not calls, f"library calls: {calls}"
    given = [np.ascontiguousarray(a).reshape(np.shape(a)) for a in arrays]
    results = [np.zeros(s.shape, s.dtype) for s in executable.outputs]
    for out, source in program.aliases.items():
        results[out] = given[source] = given[source].copy()
    for i, a in enumerate([*given, *results]):
        executable.table[i] = a.ctypes.data
    executable()
    return results


def native(op: str, arrays: Arrays, threads: int = 1, **params: Any) -> Any:
    """The result of one op as native code."""
    return run(program_of(op, arrays, **params), arrays, threads)[0]


def reference(op: str, arrays: Arrays, **params: Any) -> Any:
    """The result of its reference."""
    return np.asarray(REGISTRY[op].reference(*arrays, **params))


def interpreted(program: Program, arrays: Arrays) -> list[Any]:
    """What a program gives by the references of its ops."""
    return evaluate(program, list(arrays))


def same(found: Any, wanted: Any) -> None:
    """Equal in every bit, but for the sign of zeros and the payload of NaNs."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    wide = np.float64 if dtypes.is_float(found.dtype) else found.dtype
    np.testing.assert_array_equal(found.astype(wide), wanted.astype(wide))


ALL_FLOATS = [np.float64, np.float32, np.float16, dtypes.bfloat16]
