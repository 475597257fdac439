"""One pointwise rule compiled for whole arrays: vectors, and scalars for what is left over."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compiler.llvm import build, convert
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.scalars import Scalars
from wengert.compiler.llvm.types import I64, PTR, stored, vector, width
from wengert.core import dtypes
from wengert.core.op import Op

Array = np.ndarray[Any, Any]
Run = Callable[..., Array]


def write(
    module: Module,
    name: str,
    rule: Callable[..., Any],
    operands: Sequence[Any],
    result: Any,
    params: dict[str, Any],
    target: Target | None = None,
) -> None:
    """`void name(ptr *arrays, i64 count)`: the rule at each of `count` places. `arrays` are the
    operands' addresses and, last, the result's."""
    numbers = [d for d in operands if d != dtypes.bool] or list(operands)
    f = module.function(name, [PTR, I64])
    k = Scalars(f, np.dtype(numbers[-1]), np.dtype(result), target)
    table, count = f.args
    places = [f.load(PTR, f.at(table, i, PTR)) for i in range(len(operands) + 1)]

    def at(i: Any, lanes: int) -> None:
        given = []
        for dtype, place in zip(operands, places):
            raw = f.load(vector(lanes, stored(dtype)), f.at(place, i, stored(dtype)))
            given.append(convert.unpack(k, raw, dtype))
        found = convert.pack(k, rule(k, *given, **params), k.result)
        f.store(found, f.at(places[-1], i, stored(k.result)))

    lanes = width(k.dtype)
    whole = count // lanes * lanes
    with f.loop(0, whole, lanes) as i:
        at(i, lanes)
    with f.loop(whole, count) as i:
        at(i, 0)
    f.ret()


# A processor with SSE2 alone: no fused multiply-add, no rounding instruction, no halves. Its code
# runs on every x86.
PLAIN = Target("x86-64", "", build.host().triple)
PLAIN_RUNS = PLAIN.triple.startswith("x86_64")


def compiled(
    rule: Callable[..., Any],
    operands: Sequence[Any],
    result: Any,
    target: Target | None = None,
    **params: Any,
) -> Run:
    """A function of arrays of these dtypes, all of one shape."""
    module = Module()
    write(module, "go", rule, [np.dtype(d) for d in operands], np.dtype(result), params, target)
    return bound(build.Library(build.emit_object(module.text(), target)), "go", result)


def bound(library: build.Library, name: str, result: Any) -> Run:
    """A function of loaded code, called with arrays."""
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address(name))

    def run(*arrays: Array) -> Array:
        assert library is not None  # it must live as long as its code
        given = [np.ascontiguousarray(a) for a in np.broadcast_arrays(*arrays)]
        out = np.empty(given[0].shape, result)
        table = np.array([a.ctypes.data for a in (*given, out)], np.uint64)
        native(table.ctypes.data, out.size)
        return out

    return run


def unary(op: Op, dtype: Any, **params: Any) -> Run:
    """An op's lowering, for operands of one dtype."""
    return compiled(op.lower.rule, [dtype] * len(op.operands), dtype, **params)


def ulps(found: Array, exact: Array) -> Array:
    """The distance from the exact values (in a wider dtype) in units of `found`'s last place."""
    dtype, wide = found.dtype, exact.dtype
    nearest = exact.astype(dtype)
    info = np.finfo(dtype)
    size = np.clip(np.abs(nearest), info.smallest_normal, info.max)
    size = np.where(np.isnan(size), dtype.type(1), size)
    with np.errstate(all="ignore"):
        apart = np.abs(found.astype(wide) - exact) / np.spacing(size).astype(wide)
        same = (found == nearest) | (np.isnan(found) & np.isnan(nearest))
        unlike = ~np.isfinite(found) | ~np.isfinite(nearest)
        apart = np.where(same & unlike, 0.0, np.where(unlike, np.inf, apart))
    return apart.astype(np.float64)


def undefined_symbols(code: bytes) -> set[str]:
    """What an ELF object file expects from elsewhere."""
    (at,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, at + i * size) for i in range(count)]
    found = set()
    for _, kind, _, _, start, length, link, _, _, each in sections:
        if kind != 2:  # the table of symbols
            continue
        names = sections[link][4]
        for place in range(start, start + length, each):
            name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", code, place)
            if section == 0 and name:
                end = code.index(b"\0", names + name)
                found.add(code[names + name : end].decode())
    return found
