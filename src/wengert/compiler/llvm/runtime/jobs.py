"""Jobs: how a caller gets workers to run a program with it, and what workers do without one."""

from __future__ import annotations

from wengert.compiler.llvm import steps as layout
from wengert.compiler.llvm.emit import Function, Module, Operand, Value, Variable
from wengert.compiler.llvm.runtime.block import (
    CLOSING,
    CORES,
    EAGER,
    EPOCH,
    FUTEX,
    FUTEX_WAIT,
    FUTEX_WAKE,
    IDLE,
    MOST,
    PATIENCE,
    PROGRAM,
    REACHED,
    READY,
    SERVED,
    SPIN,
    SYSCALL,
    TICKET,
    WAKER,
    YIELD,
    Team,
    atomic_load,
    atomic_store,
    field,
    forever,
    invoke,
    leave_if,
    own_line,
    pause,
    word,
)
from wengert.compiler.llvm.runtime.waiting import set_patience
from wengert.compiler.llvm.types import I1, I32, I64, PTR


def emit_rouse(module: Module) -> None:
    """`void rouse(block, first, stop)`: wake those of some threads that sleep."""
    f = module.function("rouse", [PTR, I64, I64], internal=True)
    block, first, stop = f.args
    with f.loop(first, stop) as thread:
        asleep = own_line(f, block, thread)
        sleeps = f.compare("ne", atomic_load(f, asleep, "seq_cst", I32), 0)
        with f.when(sleeps):
            with f.when(f.compare("ne", _no_longer_asleep(f, asleep), 0)):
                with f.choice(_sleeps_in_python(f, block)) as labels:
                    f.write(f"call void {f.load(PTR, field(f, asleep, WAKER))}()")
                    f.otherwise(labels)
                    _futex(f, block, asleep, FUTEX_WAKE, 1)
    f.ret()


def _no_longer_asleep(f: Function, asleep: Value) -> Value:
    """Whether a thread slept, as 0 or 1; from now on it does not. Who gets the 1 must wake it."""
    return f.op(I32, f"atomicrmw xchg ptr {asleep}, i32 0 seq_cst, align 4")


def _sleeps_in_python(f: Function, block: Value) -> Value:
    return f.compare("eq", f.load(I64, field(f, block, SYSCALL)), 0)


def _futex(f: Function, block: Value, address: Value, operation: int, value: int) -> None:
    """Linux: sleep while a word has a value, or wake those who do."""
    syscall = f.load(PTR, field(f, block, SYSCALL))
    number = f.load(I64, field(f, block, FUTEX))
    f.op(
        I64,
        f"call i64 (i64, ...) {syscall}(i64 {number}, ptr {address}, i32 {operation}, "
        f"i32 {value}, ptr null, ptr null, i32 0)",
    )


def emit_take_part(module: Module) -> None:
    """`i64 take_part(block, thread, threads)`: one thread's part of a job.

    Each wakes two others, so that many are soon awake. All meet at the end: after that, nobody
    looks at the program any more.
    """
    f = module.function("take_part", [PTR, I64, I64], I64, internal=True)
    block, thread, threads = f.args
    children = thread * 2 + 1
    f.call("rouse", [block, children, f.smin(children + 2, threads)])
    mine = own_line(f, block, thread)
    f.store(f.load(I64, field(f, block, EPOCH)), field(f, mine, REACHED))
    crowded = f.compare("sgt", threads, f.load(I64, field(f, block, CORES)))
    most = f.select(crowded, 0, f.load(I64, field(f, block, SPIN)))
    f.store(most, field(f, mine, MOST))
    patience = f.load(I64, field(f, mine, PATIENCE))
    set_patience(f, mine, patience + (patience >> 3))
    team = Team(block, thread, threads)
    program = f.load(PTR, field(f, block, PROGRAM))
    status = invoke(f, "walk", _whole(f, program), team)
    f.call("barrier", team.args())
    with f.when(f.compare("eq", thread, 0)):
        f.store(f.load(I64, field(f, mine, REACHED)), field(f, block, EPOCH))
    f.ret(status)


def _whole(f: Function, program: Value) -> list[Value]:
    """Header, first step and number of steps of a program."""
    return [program, f.at(program, layout.WORDS, I64), word(f, program, layout.COUNT)]


def emit_run(module: Module) -> None:
    """`i64 wengert_run(block, program, threads)`: run a program on at most so many threads.

    If another thread of the user runs one on the workers, this one does without them.
    """
    f = module.function("wengert_run", [PTR, PTR, I64], I64)
    block, program, threads = f.args
    for number in (layout.STATUS, layout.STOP, layout.END):
        f.store(f.i64(0), f.at(program, number, I64))
    status = f.variable(I64)
    alone, release, done = f.label("alone"), f.label("release"), f.label("done")
    leave_if(f, f.compare("sle", threads, 1), alone)
    held = f.op(I64, f"atomicrmw xchg ptr {block}, i64 1 acquire, align 8")
    leave_if(f, f.compare("ne", held, 0), alone)
    ready = atomic_load(f, field(f, block, READY))
    sharing = f.smin(threads, ready + 1)
    leave_if(f, f.compare("sle", sharing, 1), release)
    f.store(program, field(f, block, PROGRAM))
    _issue(f, block, sharing)
    found = f.call("take_part", [block, f.i64(0), sharing], I64)
    assert found is not None
    status.set(found)
    atomic_store(f, f.i64(0), block)
    f.jump(done)
    f.place(release)
    atomic_store(f, f.i64(0), block)
    f.jump(alone)
    f.place(alone)
    status.set(invoke(f, "walk", _whole(f, program), None))
    f.jump(done)
    f.place(done)
    f.ret(status.get())


def emit_request(module: Module) -> None:
    """`i64 wengert_request(request)`: `wengert_run` with the first three words of a request. A call
    from Python with one argument takes a quarter of the time.

    The other three: how many *counts*, addresses of numbers of 32 bits, a request has, where they
    stand, and what these numbers add up to; if they do not, nothing is run (see `alone`).
    """
    f = module.function("wengert_request", [PTR], I64)
    (request,) = f.args
    count = f.load(I64, f.at(request, 3, I64))
    counts = f.load(PTR, f.at(request, 4, PTR))
    total = f.variable(I64, 0)
    with f.loop(0, count) as i:
        number = f.load(I32, f.load(PTR, f.at(counts, i, PTR)))
        total.set(total.get() + f.cast("zext", number, I64))
    status = f.variable(I64, layout.NOT_ALONE)
    with f.when(f.compare("eq", total.get(), f.load(I64, f.at(request, 5, I64)))):
        block, program = (f.load(PTR, f.at(request, i, PTR)) for i in range(2))
        found = f.call("wengert_run", [block, program, f.load(I64, f.at(request, 2, I64))], I64)
        assert found is not None
        status.set(found)
    f.ret(status.get())


def _issue(f: Function, block: Value, threads: Operand) -> None:
    """A new ticket for so many threads."""
    ticket = field(f, block, TICKET)
    before = f.load(I64, ticket)
    atomic_store(f, (((before >> 16) + 1) << 16) | threads, ticket, "seq_cst")


def emit_work(module: Module, triple: str) -> None:
    """`i64 wengert_work(block, thread)`: what a worker does; a new one has no number yet (0).

    Without a futex a worker that should sleep returns its number; Python lets it sleep, and calls
    again. Returns 0 when the pool closes.
    """
    f = module.function("wengert_work", [PTR, I64], I64)
    block = f.args[0]
    thread = _registered(f, block, f.args[1])
    line = own_line(f, block, thread)
    served = f.variable(I64, f.load(I64, field(f, line, SERVED)))
    idle = f.load(I64, field(f, block, IDLE))
    left = f.variable(I64, idle)
    result = f.variable(I64, 0)
    with forever(f) as leave:
        ticket = atomic_load(f, field(f, block, TICKET))
        wanted = ticket & 0xFFFF
        with f.choice(_needed(f, ticket, served.get(), thread)) as labels:
            leave_if(f, f.compare("eq", wanted, CLOSING), leave)
            served.set(ticket)
            f.call("take_part", [block, thread, wanted], I64)
            left.set(idle)
            f.otherwise(labels)
            pause(f, triple)
            left.set(left.get() - 1)
            with f.when(f.compare("eq", left.get() & 63, 0)):
                with f.when(f.compare("slt", left.get(), idle - EAGER)):
                    f.op(I32, f"call i32 {f.load(PTR, field(f, block, YIELD))}()")
            with f.when(f.compare("sle", left.get(), 0)):
                _sleep(f, block, thread, served.get(), result, leave)
                awake = f.compare("eq", atomic_load(f, line, type=I32), 0)
                left.set(f.select(awake, idle, f.i64(0)))
    f.ret(result.get())


def _registered(f: Function, block: Value, given: Value) -> Value:
    """The worker's number; a new one takes the next, after it has noted which jobs are not its."""
    number = f.variable(I64, given)
    with f.when(f.compare("eq", given, 0)):
        ticket = atomic_load(f, field(f, block, TICKET), "seq_cst")
        ready = field(f, block, READY)
        number.set(f.op(I64, f"atomicrmw add ptr {ready}, i64 1 seq_cst, align 8") + 1)
        f.store(ticket, field(f, own_line(f, block, number.get()), SERVED))
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
    line = own_line(f, block, thread)
    atomic_store(f, Value(I32, "1", f), line, "seq_cst")
    f.store(served, field(f, line, SERVED))
    in_python = _sleeps_in_python(f, block)
    ticket = atomic_load(f, field(f, block, TICKET), "seq_cst")
    with f.choice(_needed(f, ticket, served, thread)) as labels:
        roused = f.compare("eq", _no_longer_asleep(f, line), 0)
        must_take = f.op(I1, f"and i1 {in_python}, {roused}")  # the lock is open: take it
        result.set(f.select(must_take, thread, 0))
        leave_if(f, must_take, leave)
        f.otherwise(labels)
        result.set(f.select(in_python, thread, 0))
        leave_if(f, in_python, leave)
        _futex(f, block, line, FUTEX_WAIT, 1)


def emit_close(module: Module) -> None:
    """`i64 wengert_close(block)`: send all workers home; 0 if a run is going on."""
    f = module.function("wengert_close", [PTR], I64)
    block = f.args[0]
    result = f.variable(I64, 0)
    end = f.label("end")
    held = f.op(I64, f"atomicrmw xchg ptr {block}, i64 1 acquire, align 8")
    leave_if(f, f.compare("ne", held, 0), end)
    ready = f.op(I64, f"atomicrmw xchg ptr {field(f, block, READY)}, i64 0 seq_cst, align 8")
    _issue(f, block, CLOSING)
    f.call("rouse", [block, f.i64(1), ready + 1])
    atomic_store(f, f.i64(0), block)
    result.set(1)
    f.jump(end)
    f.place(end)
    f.ret(result.get())
