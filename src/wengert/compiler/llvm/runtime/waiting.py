"""Barriers, and how a thread waits in one."""

from __future__ import annotations

from wengert.compiler.llvm.emit import Function, Module, Value
from wengert.compiler.llvm.runtime.block import (
    ENOUGH,
    LATE,
    LEAST,
    MOST,
    NAP,
    NAP_UNIT,
    OFTEN,
    PATIENCE,
    REACHED,
    SELDOM,
    YIELD,
    YIELDS,
    atomic_load,
    atomic_store,
    field,
    forever,
    leave_if,
    own_line,
    pause,
    team_args,
)
from wengert.compiler.llvm.types import I32, I64, PTR


def emit_pauses(module: Module, triple: str) -> None:
    """`void pauses(i64 n)`: to measure how long one takes."""
    f = module.function("wengert_pauses", [I64])
    with f.loop(0, f.args[0]):
        pause(f, triple)
    f.ret()


def emit_linger(module: Module) -> None:
    """`void linger(ptr block, i64 times)`: for the so manyth time, let other threads run.

    Where more threads than processors run, the one we wait for may need ours. After a while we
    sleep, longer and longer, but always short against what was waited already.
    """
    f = module.function("linger", [PTR, I64], internal=True, attributes="nounwind noinline")
    block, times = f.args
    with f.choice(f.compare("slt", times, YIELDS)) as labels:
        f.op(I32, f"call i32 {f.load(PTR, field(f, block, YIELD))}()")
        f.otherwise(labels)
        micros = f.smin((times - YIELDS) * 4 + 64, f.i64(1000))
        units = f.smax(micros // f.load(I64, field(f, block, NAP_UNIT)), f.i64(1))
        nap = f.load(PTR, field(f, block, NAP))
        f.op(I32, f"call i32 {nap}(i32 {f.cast('trunc', units, I32)})")
    f.ret()


def emit_was_late(module: Module) -> None:
    """`void was_late(block, line)`: after a barrier in which a thread offered its processor.

    Two threads that offer it to each other can stay on one processor for long, while another one is
    idle: the system places threads anew only when they wake up. So we nap once in a while, and less
    and less often if that does not help.
    """
    f = module.function("was_late", [PTR, PTR], internal=True, attributes="nounwind noinline")
    block, mine = f.args
    late, enough = (field(f, mine, place) for place in (LATE, ENOUGH))
    times = f.load(I64, late) + 1
    f.store(times, late)
    limit = f.smax(f.load(I64, enough), f.i64(OFTEN))
    room = f.compare("ne", f.load(I64, field(f, mine, MOST)), 0)
    with f.when(f.compare("sgt", times, limit) & room):
        f.store(f.i64(0), late)
        f.store(f.smin(limit * 2, f.i64(SELDOM)), enough)
        f.op(I32, f"call i32 {f.load(PTR, field(f, block, NAP))}(i32 1)")
    f.ret()


def emit_barrier(module: Module, triple: str) -> None:
    """`void barrier(block, thread, threads)`: none goes on before all have come."""
    f = module.function("barrier", team_args(True), internal=True)
    block, thread, threads = f.args
    mine = own_line(f, block, thread)
    reached = field(f, mine, REACHED)
    epoch = f.load(I64, reached) + 1
    f.store(epoch, reached)
    distance, line = f.variable(I64, 1), f.variable(I64, 64)
    with forever(f) as done:
        reach = distance.get()
        leave_if(f, f.compare("sge", reach, threads), done)
        to = thread + reach
        to = f.select(f.compare("sge", to, threads), to - threads, to)
        atomic_store(f, epoch, field(f, own_line(f, block, to), line.get()))
        _await(f, triple, block, mine, field(f, mine, line.get()), epoch)
        distance.set(reach + reach)
        line.set(line.get() + 64)
    f.ret()


def _await(f: Function, triple: str, block: Value, mine: Value, flag: Value, epoch: Value) -> None:
    """Wait until a flag has reached an epoch, at first without giving up the processor.

    How long, is learned: when the thread that we wait for needs our processor, patience is a waste.
    """
    patience = f.load(I64, field(f, mine, PATIENCE))
    waited = f.variable(I64)
    waited.set(0)
    with forever(f) as arrived:
        leave_if(f, f.compare("sge", atomic_load(f, flag), epoch), arrived)
        pause(f, triple)
        times = waited.get() + 1
        waited.set(times)
        with f.when(f.compare("sgt", times, patience)):
            f.call("linger", [block, times - patience])
    with f.choice(f.compare("sgt", waited.get(), patience)) as labels:
        set_patience(f, mine, patience >> 1)
        f.call("was_late", [block, mine])
        f.otherwise(labels)
        with f.when(f.compare("ne", patience, f.load(I64, field(f, mine, MOST)))):
            set_patience(f, mine, patience + (patience >> 2))
            enough = field(f, mine, ENOUGH)
            f.store(f.i64(0), field(f, mine, LATE))
            f.store(f.load(I64, enough) >> 1, enough)


def set_patience(f: Function, mine: Value, pauses: Value) -> None:
    most = f.load(I64, field(f, mine, MOST))
    f.store(f.smin(f.smax(pauses, f.i64(LEAST)), most), field(f, mine, PATIENCE))
