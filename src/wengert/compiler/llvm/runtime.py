"""The native part of the runtime: the walker of programs, barriers, and the loop of a worker.

`run(block, program, threads)` walks the steps of a program (see `steps`). With one thread that is a
bare loop. With more, all threads walk the same steps, each with its own number, and meet in
barriers. The *block* is the memory that they share, in lines of 64 bytes so that no two threads
write to the same one; `pool` makes it, and starts the threads.

A *ticket* (number of the job, threads that it needs) calls the workers. It is one word, so that a
worker which is not needed never looks at the rest of a job, and the caller need not wait for it.

A barrier goes in rounds: in round k a thread writes the number of the barrier to the line of the
thread 2ᵏ further on, and waits for its own line (D. Hensgen, R. Finkel and U. Manber, "Two
algorithms for barrier synchronization", 1988). For two threads that is one store and one load each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from wengert.compiler.llvm import steps as layout
from wengert.compiler.llvm.emit import Function, Module, Operand, Value, Variable
from wengert.compiler.llvm.types import I1, I32, I64, PTR
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


@lru_cache(maxsize=8)
def text(triple: str) -> str:
    """The runtime's module for a kind of processor."""
    module = Module()
    _pauses(module, triple)
    _linger(module)
    _was_late(module)
    _barrier(module, triple)
    _decide(module)
    for together in (False, True):
        _loop(module, together)
        _walk(module, together)
    _rouse(module)
    _take_part(module)
    _run(module)
    _work(module, triple)
    _close(module)
    return module.text()


# -- small things --------------------------------------------------------------------------------


def _field(f: Function, base: Value, offset: Operand) -> Value:
    """The address so many bytes further on."""
    return f.at(base, offset, "i8")


def _word(f: Function, record: Value, number: int) -> Value:
    """A word of a step or a header."""
    return f.load(I64, f.at(record, number, I64))


def _pointer(f: Function, record: Value, number: int) -> Value:
    """A word that is an address."""
    return f.load(PTR, f.at(record, number, I64))


def _atomic_load(f: Function, address: Value, order: str = "acquire", type: str = I64) -> Value:
    return f.op(type, f"load atomic {type}, ptr {address} {order}, align {8 if type == I64 else 4}")


def _atomic_store(f: Function, x: Value, address: Value, order: str = "release") -> None:
    f.write(f"store atomic {x.type} {x}, ptr {address} {order}, align {8 if x.type == I64 else 4}")


def _line(f: Function, block: Value, thread: Value) -> Value:
    """A thread's own line of the block."""
    return _field(f, block, thread * STRIDE + THREADS)


def _pause(f: Function, triple: str) -> None:
    """Tell the processor that we wait."""
    if triple.startswith(("x86_64", "i686", "i386")):
        f.module.declare("llvm.x86.sse2.pause", "void", [])
        f.write("call void @llvm.x86.sse2.pause()")
    elif triple.startswith(("aarch64", "arm64")):  # `yield` does nothing on most; this waits a bit
        f.module.declare("llvm.aarch64.isb", "void", [I32])
        f.write("call void @llvm.aarch64.isb(i32 15)")


@contextmanager
def _forever(f: Function) -> Iterator[str]:
    """`while True:`; yields the label behind it, to jump to."""
    again, after = f.label("again"), f.label("after")
    f.jump(again)
    f.place(again)
    yield after
    f.jump(again)
    f.place(after)


def _leave_if(f: Function, condition: Value, label: str) -> None:
    """Go to a label if the condition holds, else go on."""
    on = f.label("on")
    f.branch(condition, label, on)
    f.place(on)


# -- waiting -------------------------------------------------------------------------------------


def _pauses(module: Module, triple: str) -> None:
    """`void pauses(i64 n)`: to measure how long one takes."""
    f = module.function("wengert_pauses", [I64])
    with f.loop(0, f.args[0]):
        _pause(f, triple)
    f.ret()


def _linger(module: Module) -> None:
    """`void linger(ptr block, i64 times)`: for the so manyth time, let other threads run.

    Where more threads than processors run, the one we wait for may need ours. After a while we
    sleep, longer and longer, but always short against what was waited already.
    """
    f = module.function("linger", [PTR, I64], internal=True, attributes="nounwind noinline")
    block, times = f.args
    with f.choice(f.compare("slt", times, YIELDS)) as labels:
        f.op(I32, f"call i32 {f.load(PTR, _field(f, block, YIELD))}()")
        f.otherwise(labels)
        micros = f.smin((times - YIELDS) * 4 + 64, f.i64(1000))
        units = f.smax(micros // f.load(I64, _field(f, block, NAP_UNIT)), f.i64(1))
        nap = f.load(PTR, _field(f, block, NAP))
        f.op(I32, f"call i32 {nap}(i32 {f.cast('trunc', units, I32)})")
    f.ret()


def _was_late(module: Module) -> None:
    """`void was_late(block, line)`: after a barrier in which a thread offered its processor.

    Two threads that offer it to each other can stay on one processor for long, while another one is
    idle: the system places threads anew only when they wake up. So we nap once in a while, and less
    and less often if that does not help.
    """
    f = module.function("was_late", [PTR, PTR], internal=True, attributes="nounwind noinline")
    block, mine = f.args
    late, enough = (_field(f, mine, place) for place in (LATE, ENOUGH))
    times = f.load(I64, late) + 1
    f.store(times, late)
    limit = f.smax(f.load(I64, enough), f.i64(OFTEN))
    room = f.compare("ne", f.load(I64, _field(f, mine, MOST)), 0)
    with f.when(f.compare("sgt", times, limit) & room):
        f.store(f.i64(0), late)
        f.store(f.smin(limit * 2, f.i64(SELDOM)), enough)
        f.op(I32, f"call i32 {f.load(PTR, _field(f, block, NAP))}(i32 1)")
    f.ret()


def _barrier(module: Module, triple: str) -> None:
    """`void barrier(block, thread, threads)`: none goes on before all have come."""
    f = module.function("barrier", _team_args(True), internal=True)
    block, thread, threads = f.args
    mine = _line(f, block, thread)
    reached = _field(f, mine, REACHED)
    epoch = f.load(I64, reached) + 1
    f.store(epoch, reached)
    distance, line = f.variable(I64, 1), f.variable(I64, 64)
    with _forever(f) as done:
        reach = distance.get()
        _leave_if(f, f.compare("sge", reach, threads), done)
        to = thread + reach
        to = f.select(f.compare("sge", to, threads), to - threads, to)
        _atomic_store(f, epoch, _field(f, _line(f, block, to), line.get()))
        _await(f, triple, block, mine, _field(f, mine, line.get()), epoch)
        distance.set(reach + reach)
        line.set(line.get() + 64)
    f.ret()


def _await(f: Function, triple: str, block: Value, mine: Value, flag: Value, epoch: Value) -> None:
    """Wait until a flag has reached an epoch, at first without giving up the processor.

    How long, is learned: when the thread that we wait for needs our processor, patience is a waste.
    """
    patience = f.load(I64, _field(f, mine, PATIENCE))
    waited = f.variable(I64)
    waited.set(0)
    with _forever(f) as arrived:
        _leave_if(f, f.compare("sge", _atomic_load(f, flag), epoch), arrived)
        _pause(f, triple)
        times = waited.get() + 1
        waited.set(times)
        with f.when(f.compare("sgt", times, patience)):
            f.call("linger", [block, times - patience])
    with f.choice(f.compare("sgt", waited.get(), patience)) as labels:
        _set_patience(f, mine, patience >> 1)
        f.call("was_late", [block, mine])
        f.otherwise(labels)
        with f.when(f.compare("ne", patience, f.load(I64, _field(f, mine, MOST)))):
            _set_patience(f, mine, patience + (patience >> 2))
            enough = _field(f, mine, ENOUGH)
            f.store(f.i64(0), _field(f, mine, LATE))
            f.store(f.load(I64, enough) >> 1, enough)


def _set_patience(f: Function, mine: Value, pauses: Value) -> None:
    most = f.load(I64, _field(f, mine, MOST))
    f.store(f.smin(f.smax(pauses, f.i64(LEAST)), most), _field(f, mine, PATIENCE))


# -- walking -------------------------------------------------------------------------------------


def _walk(module: Module, together: bool) -> None:
    """`i64 walk(header, first, count, …)`: do so many steps; a status that is not 0 ends it."""
    f = module.function(
        _name("walk", together), [PTR, PTR, I64, *_team_args(together)], I64, internal=True
    )
    header, first, count = f.args[:3]
    team = Team(*f.args[3:]) if together else None
    at, status = f.variable(I64, 0), f.variable(I64, 0)
    with _forever(f) as done:
        number = at.get()
        _leave_if(f, f.compare("sge", number, count), done)
        record = f.at(first, number * layout.WORDS, I64)
        at.set(number + 1)
        flags = _word(f, record, layout.KIND)
        kind = flags & 255
        with f.choice(f.compare("eq", kind, layout.CALL)) as is_call:
            _call(f, record, flags, team)
            f.otherwise(is_call)
            with f.choice(f.compare("eq", kind, layout.LIBRARY)) as is_library:
                status.set(_library(f, header, record, team))
                f.otherwise(is_library)
                length = _word(f, record, layout.LENGTH)
                at.set(number + length + 1)
                with f.choice(f.compare("eq", kind, layout.LOOP)) as is_loop:
                    status.set(_enter_loop(f, header, record, flags, team))
                    f.otherwise(is_loop)
                    with f.when(_chosen(f, record, team)):
                        status.set(_body(f, header, record, team))
        _leave_if(f, f.compare("ne", status.get(), 0), done)
    f.ret(status.get())


def _name(stem: str, together: bool) -> str:
    return f"{stem}_together" if together else f"{stem}_alone"


def _team_args(together: bool) -> list[str]:
    return [PTR, I64, I64] if together else []


def _invoke(f: Function, stem: str, args: list[Value], team: Team | None) -> Value:
    """Call one of the functions that exist for one thread and for several."""
    given = args if team is None else [*args, *team.args()]
    found = f.call(_name(stem, team is not None), given, I64)
    assert found is not None
    return found


def _call(f: Function, record: Value, flags: Value, team: Team | None) -> None:
    function = _pointer(f, record, layout.FUNCTION)
    args = _pointer(f, record, layout.ARGS)
    if team is None:
        f.write(f"call void {function}(ptr {args}, i64 0, i64 1)")
        return
    sharing = f.smin(team.threads, _word(f, record, layout.LIMIT))
    with f.when(f.compare("slt", team.thread, sharing)):
        f.write(f"call void {function}(ptr {args}, i64 {team.thread}, i64 {sharing})")
    with f.when(f.compare("ne", flags & layout.BARRIER, 0)):
        f.call("barrier", team.args())


def _library(f: Function, header: Value, record: Value, team: Team | None) -> Value:
    """Thread 0 calls; all learn the status."""
    function = _pointer(f, record, layout.FUNCTION)
    call = f"call i64 {function}(ptr {_pointer(f, record, layout.ARGS)})"
    if team is None:
        return f.op(I64, call)
    with f.when(f.compare("eq", team.thread, 0)):
        _end_run(f, header, f.op(I64, call), team)
    f.call("barrier", team.args())
    return _status(f, header, team)


def _end_run(f: Function, header: Value, status: Value, team: Team) -> None:
    """In thread 0, before a barrier: if the status is not 0, all leave after that barrier."""
    with f.when(f.compare("ne", status, 0)):
        f.store(status, f.at(header, layout.STATUS, I64))
        _announce(f, f.at(header, layout.END, I64), team)


def _announce(f: Function, place: Value, team: Team) -> None:
    """Write the number of the next barrier to a place: something is so after that barrier.

    A plain flag would not do. Thread 0 may be a barrier ahead of those who look at it, and would
    send them home a barrier early.
    """
    reached = f.load(I64, _field(f, _line(f, team.block, team.thread), REACHED))
    _atomic_store(f, reached + 1, place, "monotonic")


def _announced(f: Function, place: Value, team: Team) -> Value:
    """Whether what was announced in a place is so from the last barrier on."""
    reached = f.load(I64, _field(f, _line(f, team.block, team.thread), REACHED))
    return f.compare("eq", _atomic_load(f, place, "monotonic"), reached)


def _status(f: Function, header: Value, team: Team) -> Value:
    """After a barrier: what the run has ended with, or 0 if it goes on."""
    status = f.variable(I64)
    status.set(0)
    with f.when(_announced(f, f.at(header, layout.END, I64), team)):
        status.set(_word(f, header, layout.STATUS))
    return status.get()


def _enter_loop(
    f: Function, header: Value, record: Value, flags: Value, team: Team | None
) -> Value:
    if team is None:
        return _invoke(f, "loop", [header, record], None)
    status = f.variable(I64)
    with f.choice(f.compare("eq", flags & layout.SERIAL, 0)) as labels:
        status.set(_invoke(f, "loop", [header, record], team))
        f.otherwise(labels)
        with f.when(f.compare("eq", team.thread, 0)):
            _end_run(f, header, _invoke(f, "loop", [header, record], None), team)
        f.call("barrier", team.args())
        status.set(_status(f, header, team))
    return status.get()


def _chosen(f: Function, record: Value, team: Team | None) -> Value:
    """Whether the word of a `when` has its value; all have read it before anyone goes on."""
    found = f.load(I64, _pointer(f, record, layout.SELECTOR))
    if team is not None:
        f.call("barrier", team.args())
    return f.compare("eq", found, _word(f, record, layout.VALUE))


def _body(f: Function, header: Value, record: Value, team: Team | None) -> Value:
    """Walk the steps of the body that follows a step."""
    first = f.at(record, layout.WORDS, I64)
    return _invoke(f, "walk", [header, first, _word(f, record, layout.LENGTH)], team)


def _loop(module: Module, together: bool) -> None:
    """`i64 loop(header, record, …)`: thread 0 decides about each iteration, for all."""
    f = module.function(
        _name("loop", together), [PTR, PTR, *_team_args(together)], I64, internal=True
    )
    header, record = f.args[:2]
    team = Team(*f.args[2:]) if together else None
    iteration, status = f.variable(I64, 0), f.variable(I64, 0)
    with _forever(f) as done:
        over = _is_over(f, header, record, iteration.get(), status, team)
        _leave_if(f, over, done)
        status.set(_body(f, header, record, team))
        _leave_if(f, f.compare("ne", status.get(), 0), done)
        iteration.set(iteration.get() + 1)
    f.ret(status.get())


def _is_over(
    f: Function, header: Value, record: Value, i: Value, status: Variable, team: Team | None
) -> Value:
    """Whether a loop ends before iteration i; the status tells if the whole run does."""
    if team is None:
        decided = _decision(f, header, record, i)
        status.set(f.smin(decided, f.i64(0)))
        return f.compare("ne", decided, 0)
    last = f.at(record, layout.LAST, I64)
    with f.when(f.compare("eq", team.thread, 0)):
        decided = _decision(f, header, record, i)
        with f.when(f.compare("ne", decided, 0)):
            _announce(f, last, team)
            _end_run(f, header, f.smin(decided, f.i64(0)), team)
    f.call("barrier", team.args())
    status.set(_status(f, header, team))
    return _announced(f, last, team)


def _decision(f: Function, header: Value, record: Value, i: Value) -> Value:
    found = f.call("decide", [header, record, i], I64)
    assert found is not None
    return found


def _decide(module: Module) -> None:
    """`i64 decide(header, record, i)`: prepare iteration i of a loop; 1 if there is none, STOPPED
    if the run is to be stopped, else 0."""
    f = module.function("decide", [PTR, PTR, I64], I64, internal=True)
    header, record, i = f.args
    index = _pointer(f, record, layout.INDEX)
    answer = f.variable(I64, 1)
    over = f.label("over")
    f.store(f.i64(-1), index)
    count = f.load(I64, _pointer(f, record, layout.TIMES))
    _leave_if(f, f.compare("sge", i, count), over)
    condition = f.load(I64, _pointer(f, record, layout.CONDITION))
    _leave_if(f, f.compare("eq", condition, 0), over)
    answer.set(layout.STOPPED)
    _leave_if(f, f.compare("eq", _may_go_on(f, header), 0), over)
    _move(f, _pointer(f, record, layout.MOVES), i)
    f.store(i, index)
    answer.set(0)
    f.jump(over)
    f.place(over)
    f.ret(answer.get())


def _may_go_on(f: Function, header: Value) -> Value:
    """0 if the run is to be stopped, else 1; asks the header's `poll` when it is time."""
    stop = _atomic_load(f, f.at(header, layout.STOP, I64), "monotonic")
    go_on = f.variable(I64, f.cast("zext", f.compare("eq", stop, 0), I64))
    counter = f.at(header, layout.LEFT, I64)
    left = f.load(I64, counter) - 1
    f.store(left, counter)
    with f.when(f.compare("sle", left, 0)):
        following = f.op(I64, f"call i64 {_pointer(f, header, layout.POLL)}(ptr {header})")
        f.store(f.smax(following, f.i64(1)), counter)
        with f.when(f.compare("sle", following, 0)):
            go_on.set(0)
    return go_on.get()


def _move(f: Function, table: Value, i: Value) -> None:
    """Set the words that move with a loop."""
    with f.loop(0, f.load(I64, table)) as number:
        move = f.at(table, number * 4 + 1, I64)
        step, period = f.variable(I64), _word(f, move, 3)
        step.set(i)
        with f.when(f.compare("ne", period, 0)):
            step.set(i % period)
        base = f.load(I64, _pointer(f, move, 1))
        f.store(base + step.get() * _word(f, move, 2), _pointer(f, move, 0))


# -- the caller and the workers ------------------------------------------------------------------


def _rouse(module: Module) -> None:
    """`void rouse(block, first, stop)`: wake those of some threads that sleep."""
    f = module.function("rouse", [PTR, I64, I64], internal=True)
    block, first, stop = f.args
    with f.loop(first, stop) as thread:
        asleep = _line(f, block, thread)
        sleeps = f.compare("ne", _atomic_load(f, asleep, "seq_cst", I32), 0)
        with f.when(sleeps):
            with f.when(f.compare("ne", _no_longer_asleep(f, asleep), 0)):
                with f.choice(_sleeps_in_python(f, block)) as labels:
                    f.write(f"call void {f.load(PTR, _field(f, asleep, WAKER))}()")
                    f.otherwise(labels)
                    _futex(f, block, asleep, FUTEX_WAKE, 1)
    f.ret()


def _no_longer_asleep(f: Function, asleep: Value) -> Value:
    """Whether a thread slept, as 0 or 1; from now on it does not. Who gets the 1 must wake it."""
    return f.op(I32, f"atomicrmw xchg ptr {asleep}, i32 0 seq_cst, align 4")


def _sleeps_in_python(f: Function, block: Value) -> Value:
    return f.compare("eq", f.load(I64, _field(f, block, SYSCALL)), 0)


def _futex(f: Function, block: Value, address: Value, operation: int, value: int) -> None:
    """Linux: sleep while a word has a value, or wake those who do."""
    syscall = f.load(PTR, _field(f, block, SYSCALL))
    number = f.load(I64, _field(f, block, FUTEX))
    f.op(
        I64,
        f"call i64 (i64, ...) {syscall}(i64 {number}, ptr {address}, i32 {operation}, "
        f"i32 {value}, ptr null, ptr null, i32 0)",
    )


def _take_part(module: Module) -> None:
    """`i64 take_part(block, thread, threads)`: one thread's part of a job.

    Each wakes two others, so that many are soon awake. All meet at the end: after that, nobody
    looks at the program any more.
    """
    f = module.function("take_part", [PTR, I64, I64], I64, internal=True)
    block, thread, threads = f.args
    children = thread * 2 + 1
    f.call("rouse", [block, children, f.smin(children + 2, threads)])
    mine = _line(f, block, thread)
    f.store(f.load(I64, _field(f, block, EPOCH)), _field(f, mine, REACHED))
    crowded = f.compare("sgt", threads, f.load(I64, _field(f, block, CORES)))
    most = f.select(crowded, 0, f.load(I64, _field(f, block, SPIN)))
    f.store(most, _field(f, mine, MOST))
    _set_patience(f, mine, f.load(I64, _field(f, mine, PATIENCE)) * 2)
    team = Team(block, thread, threads)
    program = f.load(PTR, _field(f, block, PROGRAM))
    status = _invoke(f, "walk", _whole(f, program), team)
    f.call("barrier", team.args())
    with f.when(f.compare("eq", thread, 0)):
        f.store(f.load(I64, _field(f, mine, REACHED)), _field(f, block, EPOCH))
    f.ret(status)


def _whole(f: Function, program: Value) -> list[Value]:
    """Header, first step and number of steps of a program."""
    return [program, f.at(program, layout.WORDS, I64), _word(f, program, layout.COUNT)]


def _run(module: Module) -> None:
    """`i64 wengert_run(block, program, threads)`: run a program on at most so many threads.

    If another thread of the user runs one on the workers, this one does without them.
    """
    f = module.function("wengert_run", [PTR, PTR, I64], I64)
    block, program, threads = f.args
    for word in (layout.STATUS, layout.STOP, layout.END):
        f.store(f.i64(0), f.at(program, word, I64))
    status = f.variable(I64)
    alone, release, done = f.label("alone"), f.label("release"), f.label("done")
    _leave_if(f, f.compare("sle", threads, 1), alone)
    held = f.op(I64, f"atomicrmw xchg ptr {block}, i64 1 acquire, align 8")
    _leave_if(f, f.compare("ne", held, 0), alone)
    ready = _atomic_load(f, _field(f, block, READY))
    sharing = f.smin(threads, ready + 1)
    _leave_if(f, f.compare("sle", sharing, 1), release)
    f.store(program, _field(f, block, PROGRAM))
    _issue(f, block, sharing)
    found = f.call("take_part", [block, f.i64(0), sharing], I64)
    assert found is not None
    status.set(found)
    _atomic_store(f, f.i64(0), block)
    f.jump(done)
    f.place(release)
    _atomic_store(f, f.i64(0), block)
    f.jump(alone)
    f.place(alone)
    status.set(_invoke(f, "walk", _whole(f, program), None))
    f.jump(done)
    f.place(done)
    f.ret(status.get())


def _issue(f: Function, block: Value, threads: Operand) -> None:
    """A new ticket for so many threads."""
    ticket = _field(f, block, TICKET)
    before = f.load(I64, ticket)
    _atomic_store(f, (((before >> 16) + 1) << 16) | threads, ticket, "seq_cst")


def _work(module: Module, triple: str) -> None:
    """`i64 wengert_work(block, thread)`: what a worker does; a new one has no number yet (0).

    Without a futex a worker that should sleep returns its number; Python lets it sleep, and calls
    again. Returns 0 when the pool closes.
    """
    f = module.function("wengert_work", [PTR, I64], I64)
    block = f.args[0]
    thread = _registered(f, block, f.args[1])
    line = _line(f, block, thread)
    served = f.variable(I64, f.load(I64, _field(f, line, SERVED)))
    idle, spin = (f.load(I64, _field(f, block, place)) for place in (IDLE, SPIN))
    left = f.variable(I64, idle)
    result = f.variable(I64, 0)
    with _forever(f) as leave:
        ticket = _atomic_load(f, _field(f, block, TICKET))
        wanted = ticket & 0xFFFF
        with f.choice(_needed(f, ticket, served.get(), thread)) as labels:
            _leave_if(f, f.compare("eq", wanted, CLOSING), leave)
            served.set(ticket)
            f.call("take_part", [block, thread, wanted], I64)
            left.set(idle)
            f.otherwise(labels)
            _pause(f, triple)
            left.set(left.get() - 1)
            with f.when(f.compare("eq", left.get() & 63, 0)):
                with f.when(f.compare("slt", left.get(), idle - spin)):
                    f.op(I32, f"call i32 {f.load(PTR, _field(f, block, YIELD))}()")
            with f.when(f.compare("sle", left.get(), 0)):
                _sleep(f, block, thread, served.get(), result, leave)
                awake = f.compare("eq", _atomic_load(f, line, type=I32), 0)
                left.set(f.select(awake, idle, f.i64(0)))
    f.ret(result.get())


def _registered(f: Function, block: Value, given: Value) -> Value:
    """The worker's number; a new one takes the next, after it has noted which jobs are not its."""
    number = f.variable(I64, given)
    with f.when(f.compare("eq", given, 0)):
        ticket = _atomic_load(f, _field(f, block, TICKET), "seq_cst")
        ready = _field(f, block, READY)
        number.set(f.op(I64, f"atomicrmw add ptr {ready}, i64 1 seq_cst, align 8") + 1)
        f.store(ticket, _field(f, _line(f, block, number.get()), SERVED))
    return number.get()


def _needed(f: Function, ticket: Value, served: Value, thread: Value) -> Value:
    """Whether a ticket calls a worker that has not served it yet."""
    new = f.compare("ne", ticket, served)
    return new & f.compare("slt", thread, ticket & 0xFFFF)


def _sleep(
    f: Function, block: Value, thread: Value, served: Value, result: Variable, leave: str
) -> None:
    """Sleep until roused, unless a ticket has come in between; or return, to sleep in Python.

    We say that we sleep, then look at the ticket; the caller issues the ticket, then looks who
    sleeps. In the one order of all these accesses, one of the two sees the other.
    """
    line = _line(f, block, thread)
    _atomic_store(f, Value(I32, "1", f), line, "seq_cst")
    f.store(served, _field(f, line, SERVED))
    in_python = _sleeps_in_python(f, block)
    ticket = _atomic_load(f, _field(f, block, TICKET), "seq_cst")
    with f.choice(_needed(f, ticket, served, thread)) as labels:
        roused = f.compare("eq", _no_longer_asleep(f, line), 0)
        must_take = f.op(I1, f"and i1 {in_python}, {roused}")  # the lock is open: take it
        result.set(f.select(must_take, thread, 0))
        _leave_if(f, must_take, leave)
        f.otherwise(labels)
        result.set(f.select(in_python, thread, 0))
        _leave_if(f, in_python, leave)
        _futex(f, block, line, FUTEX_WAIT, 1)


def _close(module: Module) -> None:
    """`i64 wengert_close(block)`: send all workers home; 0 if a run is going on."""
    f = module.function("wengert_close", [PTR], I64)
    block = f.args[0]
    result = f.variable(I64, 0)
    end = f.label("end")
    held = f.op(I64, f"atomicrmw xchg ptr {block}, i64 1 acquire, align 8")
    _leave_if(f, f.compare("ne", held, 0), end)
    ready = f.op(I64, f"atomicrmw xchg ptr {_field(f, block, READY)}, i64 0 seq_cst, align 8")
    _issue(f, block, CLOSING)
    f.call("rouse", [block, f.i64(1), ready + 1])
    _atomic_store(f, f.i64(0), block)
    result.set(1)
    f.jump(end)
    f.place(end)
    f.ret(result.get())
