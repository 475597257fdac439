"""The walk over the steps of a program, by one thread or by several in lock-step."""

from __future__ import annotations

from wengert.compiler.llvm import steps as layout
from wengert.compiler.llvm.emit import Function, Module, Value, Variable
from wengert.compiler.llvm.runtime.block import (
    REACHED,
    Team,
    atomic_load,
    atomic_store,
    field,
    forever,
    invoke,
    leave_if,
    own_line,
    pointer,
    team_args,
    variant,
    word,
)
from wengert.compiler.llvm.types import I64, PTR


def emit_walk(module: Module, together: bool) -> None:
    """`i64 walk(header, first, count, …)`: do so many steps; a status that is not 0 ends it."""
    f = module.function(
        variant("walk", together), [PTR, PTR, I64, *team_args(together)], I64, internal=True
    )
    header, first, count = f.args[:3]
    team = Team(*f.args[3:]) if together else None
    at, status = f.variable(I64, 0), f.variable(I64, 0)
    with forever(f) as done:
        number = at.get()
        leave_if(f, f.compare("sge", number, count), done)
        record = f.at(first, number * layout.WORDS, I64)
        at.set(number + 1)
        flags = word(f, record, layout.KIND)
        kind = flags & 255
        with f.choice(f.compare("eq", kind, layout.CALL)) as is_call:
            _call(f, record, flags, team)
            f.otherwise(is_call)
            with f.choice(f.compare("eq", kind, layout.LIBRARY)) as is_library:
                status.set(_library(f, header, record, team))
                f.otherwise(is_library)
                length = word(f, record, layout.LENGTH)
                at.set(number + length + 1)
                with f.choice(f.compare("eq", kind, layout.LOOP)) as is_loop:
                    status.set(_enter_loop(f, header, record, flags, team))
                    f.otherwise(is_loop)
                    with f.when(_chosen(f, record, team)):
                        status.set(_body(f, header, record, team))
        leave_if(f, f.compare("ne", status.get(), 0), done)
    f.ret(status.get())


def _call(f: Function, record: Value, flags: Value, team: Team | None) -> None:
    function = pointer(f, record, layout.FUNCTION)
    args = pointer(f, record, layout.ARGS)
    if team is None:
        f.write(f"call void {function}(ptr {args}, i64 0, i64 1)")
        return
    sharing = f.smin(team.threads, word(f, record, layout.LIMIT))
    with f.when(f.compare("slt", team.thread, sharing)):
        f.write(f"call void {function}(ptr {args}, i64 {team.thread}, i64 {sharing})")
    with f.when(f.compare("ne", flags & layout.BARRIER, 0)):
        f.call("barrier", team.args())


def _library(f: Function, header: Value, record: Value, team: Team | None) -> Value:
    """Thread 0 calls; all learn the status."""
    function = pointer(f, record, layout.FUNCTION)
    call = f"call i64 {function}(ptr {pointer(f, record, layout.ARGS)})"
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
    reached = f.load(I64, field(f, own_line(f, team.block, team.thread), REACHED))
    atomic_store(f, reached + 1, place, "monotonic")


def _announced(f: Function, place: Value, team: Team) -> Value:
    """Whether what was announced in a place is so from the last barrier on."""
    reached = f.load(I64, field(f, own_line(f, team.block, team.thread), REACHED))
    return f.compare("eq", atomic_load(f, place, "monotonic"), reached)


def _status(f: Function, header: Value, team: Team) -> Value:
    """After a barrier: what the run has ended with, or 0 if it goes on."""
    status = f.variable(I64)
    status.set(0)
    with f.when(_announced(f, f.at(header, layout.END, I64), team)):
        status.set(word(f, header, layout.STATUS))
    return status.get()


def _enter_loop(
    f: Function, header: Value, record: Value, flags: Value, team: Team | None
) -> Value:
    if team is None:
        return invoke(f, "loop", [header, record], None)
    status = f.variable(I64)
    with f.choice(f.compare("eq", flags & layout.SERIAL, 0)) as labels:
        status.set(invoke(f, "loop", [header, record], team))
        f.otherwise(labels)
        with f.when(f.compare("eq", team.thread, 0)):
            _end_run(f, header, invoke(f, "loop", [header, record], None), team)
        f.call("barrier", team.args())
        status.set(_status(f, header, team))
    return status.get()


def _chosen(f: Function, record: Value, team: Team | None) -> Value:
    """Whether the word of a `when` has its value; all have read it before anyone goes on."""
    found = f.load(I64, pointer(f, record, layout.SELECTOR))
    if team is not None:
        f.call("barrier", team.args())
    return f.compare("eq", found, word(f, record, layout.VALUE))


def _body(f: Function, header: Value, record: Value, team: Team | None) -> Value:
    """Walk the steps of the body that follows a step."""
    first = f.at(record, layout.WORDS, I64)
    return invoke(f, "walk", [header, first, word(f, record, layout.LENGTH)], team)


def emit_loop(module: Module, together: bool) -> None:
    """`i64 loop(header, record, …)`: thread 0 decides about each iteration, for all."""
    f = module.function(
        variant("loop", together), [PTR, PTR, *team_args(together)], I64, internal=True
    )
    header, record = f.args[:2]
    team = Team(*f.args[2:]) if together else None
    iteration, status = f.variable(I64, 0), f.variable(I64, 0)
    with forever(f) as done:
        over = _is_over(f, header, record, iteration.get(), status, team)
        leave_if(f, over, done)
        status.set(_body(f, header, record, team))
        leave_if(f, f.compare("ne", status.get(), 0), done)
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


def emit_decide(module: Module) -> None:
    """`i64 decide(header, record, i)`: prepare iteration i of a loop; 1 if there is none, STOPPED
    if the run is to be stopped, else 0."""
    f = module.function("decide", [PTR, PTR, I64], I64, internal=True)
    header, record, i = f.args
    index = pointer(f, record, layout.INDEX)
    answer = f.variable(I64, 1)
    over = f.label("over")
    f.store(f.i64(-1), index)
    count = f.load(I64, pointer(f, record, layout.TIMES))
    leave_if(f, f.compare("sge", i, count), over)
    condition = f.load(I64, pointer(f, record, layout.CONDITION))
    leave_if(f, f.compare("eq", condition, 0), over)
    answer.set(layout.STOPPED)
    leave_if(f, f.compare("eq", _may_go_on(f, header), 0), over)
    _move(f, pointer(f, record, layout.MOVES), i)
    f.store(i, index)
    answer.set(0)
    f.jump(over)
    f.place(over)
    f.ret(answer.get())


def _may_go_on(f: Function, header: Value) -> Value:
    """0 if the run is to be stopped, else 1; asks the header's `poll` when it is time."""
    stop = atomic_load(f, f.at(header, layout.STOP, I64), "monotonic")
    go_on = f.variable(I64, f.cast("zext", f.compare("eq", stop, 0), I64))
    counter = f.at(header, layout.LEFT, I64)
    left = f.load(I64, counter) - 1
    f.store(left, counter)
    with f.when(f.compare("sle", left, 0)):
        following = f.op(I64, f"call i64 {pointer(f, header, layout.POLL)}(ptr {header})")
        f.store(f.smax(following, f.i64(1)), counter)
        with f.when(f.compare("sle", following, 0)):
            go_on.set(0)
    return go_on.get()


def _move(f: Function, table: Value, i: Value) -> None:
    """Set the words that move with a loop."""
    with f.loop(0, f.load(I64, table)) as number:
        move = f.at(table, number * 4 + 1, I64)
        step, period = f.variable(I64), word(f, move, 3)
        step.set(i)
        with f.when(f.compare("ne", period, 0)):
            step.set(i % period)
        base = f.load(I64, pointer(f, move, 1))
        f.store(base + step.get() * word(f, move, 2), pointer(f, move, 0))
