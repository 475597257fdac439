"""The block of memory that threads share, and how the runtime's native functions look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wengert.compiler.llvm.emit import Function, Operand, Value
from wengert.compiler.llvm.types import I32, I64, PTR
from wengert.compiler.threads import MAX_THREADS

ROUNDS = 8  # of a barrier of so many threads
CLOSING = 0xFFFF  # instead of the number of threads in a ticket: workers leave

# The block: offsets in bytes.
LOCK, TICKET, PROGRAM, EPOCH, READY = 0, 64, 128, 136, 192
SPIN, IDLE, CORES = 256, 264, 272  # settings: pauses in a barrier, pauses before sleep, processors
YIELD, NAP, NAP_UNIT, SYSCALL, FUTEX = 320, 328, 336, 344, 352  # of the system
THREADS = 512  # lines of each thread: its own, then one for each round
ASLEEP, SERVED, WAKER = 0, 8, 16  # in a thread's own line: of a worker that waits for a job
REACHED, PATIENCE, MOST = 24, 32, 40  # the last barrier, pauses in one now, and at most
LATE, ENOUGH = 48, 56  # barriers in a row that took longer, and how many of them call for a nap
STRIDE = 64 * (1 + ROUNDS)
BLOCK_BYTES = THREADS + MAX_THREADS * STRIDE

LEAST = 64  # pauses in a barrier
EAGER = 256  # pauses of a worker without a job before it offers its processor, too
OFTEN, SELDOM = 32, 4096  # late barriers before a nap
YIELDS = 4000  # times that a waiting thread offers its processor before it takes naps
FUTEX_WAIT, FUTEX_WAKE = 128, 129  # of this process alone


def line(thread: int) -> int:
    """Where a thread's own line starts in the block."""
    return THREADS + thread * STRIDE


@dataclass(frozen=True)
class Team:
    """Threads in lock-step: what each of them knows, as values of the function being written."""

    block: Value
    thread: Value
    threads: Value

    def args(self) -> list[Value]:
        """To be passed on."""
        return [self.block, self.thread, self.threads]


def team_args(together: bool) -> list[str]:
    return [PTR, I64, I64] if together else []


def variant(stem: str, together: bool) -> str:
    return f"{stem}_together" if together else f"{stem}_alone"


def invoke(f: Function, stem: str, args: list[Value], team: Team | None) -> Value:
    """Call one of the functions that exist for one thread and for several."""
    given = args if team is None else [*args, *team.args()]
    found = f.call(variant(stem, team is not None), given, I64)
    assert found is not None
    return found


# -- instructions --------------------------------------------------------------------------------


def field(f: Function, base: Value, offset: Operand) -> Value:
    """The address so many bytes further on."""
    return f.at(base, offset, "i8")


def word(f: Function, record: Value, number: int) -> Value:
    """A word of a step or a header."""
    return f.load(I64, f.at(record, number, I64))


def pointer(f: Function, record: Value, number: int) -> Value:
    """A word that is an address."""
    return f.load(PTR, f.at(record, number, I64))


def atomic_load(f: Function, address: Value, order: str = "acquire", type: str = I64) -> Value:
    return f.op(type, f"load atomic {type}, ptr {address} {order}, align {8 if type == I64 else 4}")


def atomic_store(f: Function, x: Value, address: Value, order: str = "release") -> None:
    f.write(f"store atomic {x.type} {x}, ptr {address} {order}, align {8 if x.type == I64 else 4}")


def own_line(f: Function, block: Value, thread: Value) -> Value:
    """A thread's own line of the block."""
    return field(f, block, thread * STRIDE + THREADS)


def pause(f: Function, triple: str) -> None:
    """Tell the processor that we wait."""
    if triple.startswith(("x86_64", "i686", "i386")):
        f.module.declare("llvm.x86.sse2.pause", "void", [])
        f.write("call void @llvm.x86.sse2.pause()")
    elif triple.startswith(("aarch64", "arm64")):  # `yield` does nothing on most; this waits a bit
        f.module.declare("llvm.aarch64.isb", "void", [I32])
        f.write("call void @llvm.aarch64.isb(i32 15)")


@contextmanager
def forever(f: Function) -> Iterator[str]:
    """`while True:`; yields the label behind it, to jump to."""
    again, after = f.label("again"), f.label("after")
    f.jump(again)
    f.place(again)
    yield after
    f.jump(again)
    f.place(after)


def leave_if(f: Function, condition: Value, label: str) -> None:
    """Go to a label if the condition holds, else go on."""
    on = f.label("on")
    f.branch(condition, label, on)
    f.place(on)
