"""From LLVM text to machine code: the target, the few passes that are needed, and loaded code.

The kernels are written as explicit vectors and loops, so that LLVM has little left to do: variables
become registers (`sroa`), empty blocks go (`simplify_cfg`), and code is generated. That takes a
third of the time of its usual pipeline and gives code of the same speed.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from wengert.compiler.llvm import cache, processor
from wengert.core import live

_lock = threading.RLock()  # LLVM's own state is shared by all threads of the process
# llvmlite takes one of its own around each call, also where Python deletes an object of LLVM's.
_inner_lock = getattr(llvm.ffi.lib, "_lock", contextlib.nullcontext())
PIPELINE = "sroa,simplify_cfg/1"  # to be changed with `_optimised`: it is part of the cache's keys


def _before_fork() -> None:
    """A fork waits for what other threads compile, trace or run with state: else the child could
    never compile, and its variables might be symbolic or half updated."""
    live.tracing.acquire()
    _lock.acquire()
    _inner_lock.__enter__()


def _after_fork() -> None:
    _inner_lock.__exit__(None, None, None)
    _lock.release()
    live.tracing.release()


def _after_fork_in_child() -> None:
    live.tracing.turn = threading.Lock()  # who waited for its turn is not here
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
    )


@dataclass(frozen=True)
class Target:
    """A processor to compile for: LLVM's names of its kind and its features."""

    cpu: str
    features: str
    triple: str

    @property
    def key(self) -> str:
        """What code for this target must be kept apart by."""
        return f"{self.triple}/{self.cpu}/{self.features}/llvmlite-{llvmlite.__version__}"

    def has(self, feature: str) -> bool:
        """Whether the processor has a feature, by LLVM's name (`avx2`, `fma`, `avx512f`)."""
        return f"+{feature}" in self.features.split(",")


@lru_cache(maxsize=1)
def host() -> Target:
    """The processor that this process runs on, or as much of it as WENGERT_CPU says."""
    _initialise()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    request = os.environ.get(processor.VARIABLE, "")
    if request.strip():
        cpu, features = processor.chosen(request, cpu, features)
    return Target(cpu, features, llvm.get_process_triple())


@lru_cache(maxsize=1)
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@lru_cache(maxsize=1)
def _initialise_others() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def machine(target: Target, jit: bool = True) -> Any:
    """LLVM's code generator for a target."""
    if target.triple != host().triple:
        _initialise_others()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=1, jit=jit, reloc="pic", codemodel="small"
    )


def emit_object(text: str, target: Target | None = None) -> bytes:
    """Compile a module to a relocatable object file, in memory."""
    target = target or host()
    with _lock:
        module, tm = _optimised(text, target)
        found: bytes = tm.emit_object(module)
        return found


def emit_assembly(text: str, target: Target | None = None) -> str:
    """The machine code of a module, to be read."""
    with _lock:
        module, tm = _optimised(text, target or host())
        found: str = tm.emit_assembly(module)
        return found


def _optimised(text: str, target: Target) -> tuple[Any, Any]:
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    tm = machine(target)
    module.data_layout = str(tm.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=1)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(tm, tuning))
    return module, tm


class Library:
    """Machine code that has been loaded; its functions live as long as it does."""

    def __init__(self, code: bytes) -> None:
        with _lock:
            _initialise()
            empty = llvm.parse_assembly("")
            empty.triple = host().triple
            self._engine = llvm.create_mcjit_compiler(empty, machine(host()))
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function starts."""
        with _lock:
            found: int = self._engine.get_function_address(name)
        assert found, f"no function {name!r} in the loaded code"
        return found

    def publish(self, *names: str) -> None:
        """Let code that is loaded later call functions of this library by name. From then on the
        library is never unloaded."""
        with _lock:
            _published.append(self)
            for name in names:
                llvm.add_symbol(name, self.address(name))


_published: list[Library] = []


def load(text: str) -> Library:
    """Compile a module for this processor and load it."""
    return Library(emit_object(text))


def name_of(text: str) -> str:
    """The name of a module's code for this processor in the cache on disk."""
    return cache.name_of(f"{host().key}\n{PIPELINE}\n{text}")


def load_cached(text: str) -> Library:
    """Compile a module for this processor, or take its code from the cache on disk, and load it."""
    name = name_of(text)
    code = cache.load(name)
    if code is None:
        code = emit_object(text, host())
        cache.keep(name, code)
    return Library(code)


def defined(text: str) -> list[str]:
    """The names of the functions of a module that other modules may call."""
    return re.findall(r"^define (?!internal|private).*?@([\w.$-]+)\(", text, re.MULTILINE)
