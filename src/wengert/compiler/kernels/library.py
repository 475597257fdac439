"""Native functions that all programs share: compiled once per machine, loaded when first needed.

A library is one such function. A kernel that relies on it declares it in its module and enters its
name in `module.libraries`. Whoever loads the program calls `load` for each of these names before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from wengert.compiler.kernels import gemm_common
from wengert.compiler.kernels.gemm_dots import emit_dots
from wengert.compiler.kernels.gemm_driver import Driver, emit_sum
from wengert.compiler.kernels.microkernel import all_micros, emit_micro, tile_for
from wengert.compiler.kernels.packing import Packing
from wengert.compiler.llvm import build, cache
from wengert.compiler.llvm.ahead import Ahead
from wengert.compiler.llvm.build import Library, Target
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.types import computed
from wengert.core import dtypes
from wengert.core.dtypes import DType


@dataclass(frozen=True)
class Shared:
    """A library: what writes it into a module, and the libraries that it calls."""

    write: Callable[[Module, Target], None]
    needs: tuple[str, ...] = ()


def _write_pack(dtype: DType, module: Module, target: Target) -> None:
    tile = tile_for(target, computed(dtype))
    Packing(module, gemm_common.pack_name(dtype), tile, dtype, target).emit()


def _write_driver(dtype: DType, module: Module, target: Target) -> None:
    Driver(module, tile_for(target, computed(dtype)), dtype, target).emit()


def _write_sum(dtype: DType, module: Module, target: Target) -> None:
    emit_sum(module, tile_for(target, computed(dtype)), dtype, target)


def _write_dots(dtype: DType, module: Module, target: Target) -> None:
    emit_dots(module, dtype, target)


def _gemm(dtype: DType) -> dict[str, Shared]:
    """What is around the tiles of matrix multiplication, for a dtype."""
    c = gemm_common
    return {
        c.pack_name(dtype): Shared(partial(_write_pack, dtype)),
        c.driver_name(dtype): Shared(partial(_write_driver, dtype), (c.pack_name(dtype),)),
        c.sum_name(dtype): Shared(partial(_write_sum, dtype)),
        c.dots_name(dtype): Shared(partial(_write_dots, dtype)),
    }


LIBRARIES = {m.name: Shared(partial(emit_micro, m)) for m in all_micros()}
for each in dtypes.FLOATS:
    LIBRARIES |= _gemm(each)

_begun: dict[str, Ahead[Library]] = {}
_lock = threading.Lock()


def source(name: str, target: Target) -> str:
    """The text of a library for a processor."""
    module = Module()
    LIBRARIES[name].write(module, target)
    return module.text()


def write(names: Iterable[str], module: Module, target: Target) -> None:
    """Make libraries, and all that they call, a part of a module."""
    for name in names:
        if not module.has(name):
            LIBRARIES[name].write(module, target)
            write(LIBRARIES[name].needs, module, target)


def begin(names: Iterable[str]) -> None:
    """Let libraries be compiled, or taken from the cache, in the background."""
    for name in names:
        if name not in _begun:
            begin(LIBRARIES[name].needs)
            with _lock:
                if name not in _begun:
                    _begun[name] = Ahead(partial(_make, name))


def load(name: str) -> Library:
    """Make a library's function known to all code that is loaded from now on."""
    begin([name])
    return _begun[name].result()


def load_all(names: Iterable[str]) -> None:
    """Load some libraries."""
    begin(names)
    for name in names:
        load(name)


def _make(name: str) -> Library:
    for needed in LIBRARIES[name].needs:
        load(needed)
    target = build.host()
    ours = cache.written_in("compiler/kernels", "compiler/llvm")
    key = f"{target.key}\n{build.PIPELINE}\nlibrary {name}\n{ours}"
    code = cache.object_for(key, lambda: build.emit_object(source(name, target), target))
    library = Library(code)
    library.publish(name)
    return library
