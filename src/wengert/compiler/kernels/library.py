"""Native functions that all programs share: compiled once per machine, loaded when first needed.

A kernel that relies on one declares its functions in its module and enters the library's name in
`module.libraries`. Whoever loads the program calls `load` for each of these names before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wengert.compiler.kernels import gemm_common
from wengert.compiler.kernels.gemm_dots import emit_dots
from wengert.compiler.kernels.gemm_driver import Driver
from wengert.compiler.kernels.microkernel import all_micros, emit_micro, tile_for
from wengert.compiler.llvm import build, cache
from wengert.compiler.llvm.build import Library, Target
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.types import computed
from wengert.core import dtypes
from wengert.core.dtypes import DType


@dataclass(frozen=True)
class Shared:
    """A library: what writes it into a module, and the functions that others may call."""

    write: Callable[[Module, Target], None]
    names: tuple[str, ...]


def _write_gemm(dtype: DType, module: Module, target: Target) -> None:
    """What is around the tiles of matrix multiplication, for a dtype."""
    Driver(module, tile_for(target, computed(dtype)), dtype, target).emit()
    emit_dots(module, dtype, target)


def _gemm(dtype: DType) -> Shared:
    c = gemm_common
    names = (c.driver_name(dtype), c.sum_name(dtype), c.dots_name(dtype), c.pack_name(dtype))
    return Shared(partial(_write_gemm, dtype), names)


LIBRARIES = {gemm_common.library_name(dtype): _gemm(dtype) for dtype in dtypes.FLOATS}
LIBRARIES |= {m.name: Shared(partial(emit_micro, m), (m.name,)) for m in all_micros()}

_loaded: dict[str, Library] = {}
_lock = threading.Lock()


def source(name: str, target: Target) -> str:
    """The text of a library for a processor."""
    module = Module()
    LIBRARIES[name].write(module, target)
    return module.text()


def load(name: str) -> Library:
    """Make a library's functions known to all code that is loaded from now on."""
    with _lock:
        if name not in _loaded:
            target = build.host()
            ours = cache.written_in("compiler/kernels", "compiler/llvm")
            key = f"{target.key}\n{build.PIPELINE}\nlibrary {name}\n{ours}"
            code = cache.object_for(key, lambda: build.emit_object(source(name, target), target))
            library = Library(code)
            library.publish(*LIBRARIES[name].names)
            _loaded[name] = library
        return _loaded[name]
