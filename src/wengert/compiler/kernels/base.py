"""What a program is made of at its lowest level: steps that all threads run together.

Every piece of native code that a program runs has one signature,

    void name(ptr args, i64 thread, i64 threads)

with `args` a table of addresses: the operands, then the results, then one workspace. All threads
call it with their own number and do their share. A barrier follows each step, so a kernel that
needs one inside (pack, then multiply) is a sequence of steps, its *phases*. Shares depend on
`thread` and `threads` at run time; what is computed, and in which order it is added up, must not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wengert.compiler.llvm.emit import Function, Module, Operand, Value
from wengert.compiler.llvm.types import I64, PTR
from wengert.core.dtypes import DType

STEP_ARGS = ("ptr noalias readonly", I64, I64)


@dataclass(frozen=True)
class Array:
    """How an operand or a result lies in memory: dtype, sizes, and steps in entries."""

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Phase:
    """One step: the function's name, and whether thread 0 runs it alone (as the only thread)."""

    name: str
    serial: bool = False


@dataclass(frozen=True)
class Workspace:
    """Scratch memory of a kernel in bytes. In memory the shared part comes first, then the part of
    each thread; both are padded to 64 bytes, and the whole is aligned to 64."""

    shared: int = 0
    per_thread: int = 0

    def size(self, threads: int) -> int:
        """Bytes for so many threads."""
        return padded(self.shared) + threads * padded(self.per_thread)


@dataclass(frozen=True)
class Grid:
    """How a kernel with an epilogue goes through its result: rows of neighbouring columns.

    Attributes
    ----------
    axes : sizes and steps in memory of what a row's number is made of, the outermost first
    columns : entries of a row
    """

    axes: tuple[tuple[int, int], ...]
    columns: int


# What is to happen to each finished piece of a contraction's result, while it is in the cache.
# Called while a function is written: `epilogue(f, args, row, column, columns)` writes code that
# works on `columns` neighbouring entries of one row of the result. `args` is the step's
# table of addresses; operands of the epilogue follow the kernel's own in it.
Epilogue = Callable[[Function, Value, Value, Value, Operand], None]


class Kernel(Protocol):
    """A hand-designed computation with static sizes.

    `emit` writes its functions into a module, unless functions of these names are there already,
    and returns the steps. `name` must determine the code, so that two kernels with the same
    geometry share it. The table of addresses has `operands`, then `results`, then the workspace.
    """

    @property
    def workspace(self) -> Workspace: ...
    def emit(self, module: Module, name: str, epilogue: Epilogue | None = None) -> list[Phase]: ...


EPILOGUE_ARGS = (PTR, I64, I64, I64, I64)  # table of addresses, row, end of rows, column, columns


def emit_epilogue(module: Module, name: str, epilogue: Epilogue) -> str:
    """Write the function that a kernel calls for finished rows, and give its name."""
    f = module.function(f"{name}_epilogue", EPILOGUE_ARGS, internal=True)
    args, row, end, column, columns = f.args
    with f.loop(row, end) as i:
        epilogue(f, args, i, column, columns)
    f.ret()
    return f.name


def padded(nbytes: int) -> int:
    """Bytes rounded up to whole 64-byte lines."""
    return -(-nbytes // 64) * 64


def step(module: Module, name: str) -> tuple[Function, Value, Value, Value]:
    """Start a step's function: it, the table of addresses, the thread's number, their count."""
    f = module.function(name, STEP_ARGS)
    return f, f.args[0], f.args[1], f.args[2]


def address(f: Function, args: Value, slot: Operand) -> Value:
    """Entry `slot` of the table of addresses."""
    return f.load(PTR, f.at(args, slot, PTR))


def share(
    f: Function, total: int, thread: Value, threads: Value, unit: int = 1
) -> tuple[Value, Value]:
    """The thread's part of `range(total)`, as start and stop: equal parts of whole units."""
    units = -(-total // unit)
    lo = (thread * units // threads) * unit
    hi = ((thread + 1) * units // threads) * unit
    return lo, f.smin(hi, f.i64(total))


@dataclass
class Emitted:
    """A kernel in a module: its steps, and the scratch memory that they share."""

    phases: list[Phase]
    workspace: Workspace = field(default_factory=Workspace)
