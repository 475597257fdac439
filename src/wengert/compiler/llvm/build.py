"""From LLVM text to machine code: the target, the few passes that are needed, and loaded code.

The kernels are written as explicit vectors and loops, so that LLVM has little left to do: variables
become registers (`sroa`), empty blocks go (`simplify_cfg`), and code is generated. That takes a
third of the time of its usual pipeline and gives code of the same speed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

_lock = threading.RLock()  # LLVM's own state is shared by all threads of the process


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
    """The processor that this process runs on."""
    _initialise()
    features = llvm.get_host_cpu_features().flatten()
    return Target(llvm.get_host_cpu_name(), features, llvm.get_process_triple())


@lru_cache(maxsize=1)
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def machine(target: Target, jit: bool = True) -> Any:
    """LLVM's code generator for a target."""
    _initialise()
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


def load(text: str) -> Library:
    """Compile a module for this processor and load it."""
    return Library(emit_object(text))
