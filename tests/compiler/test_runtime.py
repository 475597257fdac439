"""Programs of steps: order and barriers, loops, conditions, library calls, and how runs end."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

import numpy as np
import pytest

from tests.compiler.small import SIZE, Log, Table, at, both_ways, rotations, words
from wengert.compiler.llvm import build, runtime, steps, threads
from wengert.compiler.llvm.steps import Move, Program, Steps
from wengert.compiler.threads import MAX_THREADS

KINDS = ["python"] + (["futex"] if threads.default_kind() == "futex" else [])


@pytest.fixture(scope="module", params=KINDS)
def pool(request):
    made = threads.Pool(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_each_step_sees_what_the_others_have_done(pool, count):
    program, array, expected = rotations(600)
    pool.start(count)
    assert pool.workers >= count - 1
    for _ in range(5):
        array[:] = words(SIZE)
        assert pool.run(program, count) == 0
        np.testing.assert_array_equal(array, expected)


def test_workers_may_be_fewer_or_more_than_a_run_asks_for(pool):
    counts = np.zeros((MAX_THREADS, 8), np.int64)
    table = Table(counts)
    program = Steps()
    program.call(at("join"), table.address)
    made = program.finish()
    pool.start(5)
    for count in (1, 2, 5, 3, 1, 4):
        counts[:] = 0
        assert pool.run(made, count) == 0
        assert counts[:, 0].tolist() == [count] * count + [0] * (len(counts) - count)


def test_a_step_can_limit_its_threads(pool):
    pool.start(4)
    all_, two, one = (np.zeros((8, 8), np.int64) for _ in range(3))
    tables = [Table(c) for c in (all_, two, one)]
    program = Steps()
    program.call(at("join"), tables[0].address)
    program.call(at("join"), tables[1].address, limit=2)
    program.call(at("join"), tables[2].address, serial=True)
    assert pool.run(program.finish(), 4) == 0
    assert all_[:, 0].tolist() == [4] * 4 + [0] * 4
    assert two[:, 0].tolist() == [2, 2] + [0] * 6
    assert one[:, 0].tolist() == [1] + [0] * 7


def test_an_empty_program(pool):
    empty = Steps().finish()
    assert pool.run(empty) == 0
    assert pool.run(empty, 3) == 0


# -- loops and conditions ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("serial", [False, True])
def test_a_loop_walks_over_slices(pool, count, serial):
    stacked, results = words(7 * SIZE).reshape(7, SIZE), np.zeros((7, SIZE), np.int64)
    bases, table = Table(stacked, results[6:]), Table(stacked, results)
    moves = [
        Move(table.slot(0), bases.slot(0), SIZE * 8),
        Move(table.slot(1), bases.slot(1), -SIZE * 8),  # backwards
    ]
    program = Steps()
    with program.loop(7, moves=moves, serial=serial):
        program.call(at("rotate"), table.address)
    made = program.finish()
    expected = np.roll(stacked, -1, axis=1)[::-1] + 1
    for _ in range(2):  # a second run starts from the bases again
        results[:] = 0
        assert pool.run(made, count) == 0
        np.testing.assert_array_equal(results, expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_state_alternates_between_two_buffers(pool, count):
    state = words(2 * SIZE).reshape(2, SIZE)
    bases, table = Table(state, state[1:]), Table(state, state)
    moves = [
        Move(table.slot(0), bases.slot(0), SIZE * 8, period=2),
        Move(table.slot(1), bases.slot(1), -SIZE * 8, period=2),
    ]
    program = Steps()
    with program.loop(101, moves=moves):
        program.call(at("rotate"), table.address)
    assert pool.run(program.finish(), count) == 0
    np.testing.assert_array_equal(state[1], (words(SIZE) + 101) % SIZE + 101)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_nested_loops_count_and_move(pool, count):
    """The inner base is the outer slot; both indices are in memory for the steps inside."""
    cells = words(12).reshape(3, 4)
    base, row = Table(cells), Table(cells)
    outer, inner, seen = (np.zeros(1, np.int64) for _ in range(3))
    read = Table(cells, seen)
    logs = [Log(outer), Log(inner), Log(seen)]
    program = Steps()
    with program.loop(3, index=outer.ctypes.data, moves=[Move(row.slot(0), base.slot(0), 32)]):
        moves = [Move(read.slot(0), row.slot(0), 8)]
        with program.loop(4, index=inner.ctypes.data, moves=moves):
            program.call(at("copy"), read.address, serial=True)
            for log in logs:
                program.call(at("note"), log.table.address, serial=True)
    assert pool.run(program.finish(), count) == 0
    assert logs[0].noted == [i for i in range(3) for _ in range(4)]
    assert logs[1].noted == list(range(4)) * 3
    assert logs[2].noted == list(range(12))
    assert (outer[0], inner[0]) == (-1, -1)


@pytest.mark.parametrize("count", [1, 3])
def test_counts_and_conditions_in_memory(pool, count):
    times, going, nothing = np.array([5]), np.array([1]), np.array([0])
    log, index = Log(), np.zeros(1, np.int64)
    program = Steps()
    with program.loop(count_at=times.ctypes.data, condition=going.ctypes.data):
        program.call(at("note"), log.table.address, serial=True)
    made = program.finish()
    assert pool.run(made, count) == 0
    assert log.count[0] == 5
    times[0] = 0
    pool.run(made, count)
    assert log.count[0] == 5
    times[0], going[0] = 5, 0
    pool.run(made, count)
    assert log.count[0] == 5
    ended = Steps()  # the body itself ends the loop
    table = Table(nothing, going)
    with ended.loop(1 << 40, condition=going.ctypes.data, index=index.ctypes.data):
        ended.call(at("note"), log.table.address, serial=True)
        with ended.when(index.ctypes.data, 3):
            ended.call(at("copy"), table.address)
    going[0] = 1
    pool.run(ended.finish(), count)
    assert log.count[0] == 9


@pytest.mark.parametrize("count", [1, 2, 4])
def test_conditions_choose_steps(pool, count):
    choice = np.zeros(1, np.int64)
    programs = [rotations(n) for n in (1, 3)]
    logs = [Log(), Log()]
    program = Steps()
    for value, log in enumerate(logs):
        with program.when(choice.ctypes.data, value):
            for table in programs[value][0].keep * 2:
                program.call(at("rotate"), table.address)
            program.call(at("note"), log.table.address, serial=True)
    made = program.finish()
    for value in (0, 1, 2, 1):
        choice[0] = value
        assert pool.run(made, count) == 0
    assert [log.count[0] for log in logs] == [1, 2]
    np.testing.assert_array_equal(programs[0][1], (words(SIZE) + 4) % SIZE + 4)
    np.testing.assert_array_equal(programs[1][1], (words(SIZE) + 8) % SIZE + 8)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_empty_bodies(pool, count):
    log = Log()
    program = Steps()
    with program.loop(1000):
        pass
    with program.loop(0):
        program.call(at("note"), log.table.address, serial=True)
    with program.when(log.count.ctypes.data, 0):
        pass
    program.call(at("note"), log.table.address, serial=True)
    assert pool.run(program.finish(), count) == 0
    assert log.count[0] == 1


@pytest.mark.parametrize("seed", range(12))
def test_programs_drawn_at_random_give_the_same_on_any_number_of_threads(pool, seed):
    """Serial and shared steps, loops and conditions in any order; what is noted tells the order."""
    rng = np.random.default_rng(seed)
    a, b = words(SIZE), words(SIZE)
    there, back = both_ways(a, b)
    first, index = Log(a), np.zeros(1, np.int64)
    second = Log(b[SIZE - 1 :])
    calls = [
        lambda s: (s.call(at("rotate"), there.address), s.call(at("rotate"), back.address)),
        lambda s: s.call(at("note"), first.table.address, serial=True),
        lambda s: s.call(at("note"), second.table.address, serial=True),
        lambda s: s.library(lambda _: None),
    ]

    def fill(program: Steps, depth: int) -> None:
        for _ in range(rng.integers(1, 6)):
            kind = rng.integers(0, 7 if depth else 4)
            if kind < 4:
                calls[kind](program)
            elif kind == 4:
                with program.loop(int(rng.integers(1, 4)), index=index.ctypes.data):
                    fill(program, depth - 1)
            elif kind == 5:
                with program.loop(int(rng.integers(1, 4)), serial=True):
                    fill(program, depth - 1)
            else:
                with program.when(index.ctypes.data, int(rng.integers(-1, 2))):
                    fill(program, depth - 1)

    program = Steps()
    fill(program, 3)
    made = program.finish()
    found = []
    for count in (1, 2, 3, 4):
        a[:], b[:], index[:] = words(SIZE), words(SIZE), 0
        first.count[0] = second.count[0] = 0
        assert pool.run(made, count) == 0
        found.append((first.noted, second.noted, a.tolist(), b.tolist()))
    assert all(each == found[0] for each in found)


# -- barriers ------------------------------------------------------------------------------------


def barriers(program: Program) -> list[bool]:
    """Which steps have a barrier after them."""
    records = program.memory.reshape(-1, steps.WORDS)[1:]
    return [bool(r[steps.KIND] & steps.BARRIER) for r in records]


def test_barriers_stand_where_they_are_needed_and_only_there():
    """S: one thread alone, P: all, O: all, and the next may overlap, L: a library call."""
    options = {"S": {"serial": True}, "P": {}, "O": {"overlap": True}}

    def placed(letters: str, inside: str = "") -> str:
        program = Steps()
        context = {
            "loop": lambda: program.loop(2),
            "when": lambda: program.when(Log().count.ctypes.data, 1),
        }
        with context[inside]() if inside else threading.Lock():
            for letter in letters:
                if letter == "L":
                    program.library(lambda _: None)
                else:
                    program.call(1, 1, **options[letter])
        found = barriers(program.finish())[1 if inside else 0 :]
        return "".join(letter + "|" * there for letter, there in zip(letters, found, strict=True))

    assert placed("PPP") == "P|P|P"
    assert placed("SSPSS") == "SS|P|SS"
    assert placed("OOPP") == "OOP|P"
    assert placed("OSSP") == "OS|S|P", "what follows S must not meet O"
    assert placed("SLSP") == "SLS|P", "a library call brings its own"
    assert placed("OLP") == "O|LP"
    assert placed("PS", "loop") == "P|S", "thread 0 goes on to the next iteration"
    assert placed("PP", "loop") == "P|P|"
    assert placed("OS", "loop") == "OS|"
    assert placed("SS", "when") == "SS|"


def test_steps_that_may_overlap_are_still_done_before_the_next_barrier(pool):
    pool.start(3)
    pairs = [both_ways(words(SIZE), words(SIZE)) for _ in range(3)]
    program = Steps()
    for turn in range(200):
        for k, pair in enumerate(pairs):
            program.call(at("rotate"), pair[turn % 2].address, overlap=k < 2)
    assert pool.run(program.finish(), 3) == 0
    for there, _ in pairs:
        np.testing.assert_array_equal(there.arrays[0], (words(SIZE) + 200) % SIZE + 200)


# -- how runs end --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_library_call_ends_the_run_at_once(pool, count):
    answer, log = np.zeros(1, np.int64), Log()
    table = Table(answer)
    program = Steps()
    program.call(at("note"), log.table.address, serial=True)
    with program.loop(3):
        program.library(at("give"), table.address)
        program.call(at("note"), log.table.address, serial=True)
    program.library(at("give"), table.address)
    made = program.finish()
    for status, notes in ((0, 4), (7, 1), (-5, 1), (0, 4)):
        log.count[0], answer[0] = 0, status
        assert pool.run(made, count) == status
        assert log.count[0] == notes


@pytest.mark.parametrize("count", [1, 2, 4])
def test_what_a_python_function_raises_comes_out(pool, count):
    log = Log()
    problems = [ValueError("not positive definite"), KeyboardInterrupt(), None, SystemExit(3)]

    def solve(args: int) -> int | None:
        assert ctypes.c_int64.from_address(args).value == 42
        problem = problems.pop(0)
        if problem is not None:
            raise problem
        return None

    args = np.array([42])
    program = Steps()
    program.library(solve, args.ctypes.data)
    program.call(at("note"), log.table.address, serial=True)
    made = program.finish()
    for error in list(problems):
        if error is None:
            assert pool.run(made, count) == 0
        else:
            with pytest.raises(type(error)):
                pool.run(made, count)
    assert log.count[0] == 1


def test_a_python_function_may_return_a_status(pool):
    program = Steps()
    program.library(lambda _: 9)
    assert pool.run(program.finish(), 2) == 9


@pytest.mark.parametrize("count", [1, 2])
def test_another_thread_stops_a_loop(pool, count):
    word = np.zeros(1, np.int64)
    table = Table(word, word)
    program = Steps()
    with program.loop(1 << 50):
        program.call(at("copy"), table.address)
    made = program.finish()
    for _ in range(2):
        timer = threading.Timer(0.02, made.stop)
        timer.start()
        assert pool.run(made, count) == steps.STOPPED
        timer.join()
    short = Steps()
    with short.loop(3):
        short.call(at("copy"), table.address)
    assert pool.run(short.finish(), count) == 0, "a stop concerns one run of one program"


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("serial", [False, True])
def test_ctrl_c_ends_a_long_loop(pool, count, serial):
    word = np.zeros(1, np.int64)
    table = Table(word, word)
    program = Steps()
    with program.loop(1 << 50, serial=serial):
        program.call(at("copy"), table.address)
    made = program.finish()
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.run(made, count)
    timer.join()
    counted, array, expected = rotations(50)
    assert pool.run(counted, 2) == 0, "the pool works on"
    np.testing.assert_array_equal(array, expected)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_handler_of_the_user_runs_during_a_long_loop(pool):
    class Enough(Exception):
        pass

    def handle(number, frame):
        raise Enough

    word = np.zeros(1, np.int64)
    table = Table(word, word)
    program = Steps()
    with program.loop(1 << 50):
        program.call(at("copy"), table.address)
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Enough):
            pool.run(program.finish(), 2)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_that_is_pending_when_a_callback_begins_is_kept(pool):
    """Native code raises the signal; Python learns of it when the callback's frame begins."""
    called = []
    raise_ = ctypes.cast(ctypes.CDLL(None)["raise"], ctypes.c_void_p).value
    program = Steps()
    program.library(raise_, signal.SIGINT)  # returns 0
    program.library(called.append)
    made = program.finish()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pool.run(made, 2)
    assert not called


def test_an_interrupt_of_an_interrupt_is_not_lost_either(pool):
    called = []
    program = Steps()
    program.library(called.append, 5)
    made = program.finish()
    made.callbacks[0]._serving.close()  # what a second Ctrl-C in the wrong moment would do
    with pytest.raises(KeyboardInterrupt):
        made.settle(0)
    assert pool.run(made) == 0, "and the program can be run again"
    assert called == [5]


def test_the_runtime_compiles_for_other_processors():
    for triple, pause in {
        "x86_64-pc-windows-msvc": "pause",
        "aarch64-unknown-linux-gnu": "isb",
        "arm64-apple-macosx": "isb",
        "riscv64-unknown-linux-gnu": "wengert_run",
    }.items():
        text = runtime.text(triple)
        target = build.Target(
            "generic" if "64-" in triple and "x86" not in triple else "", "", triple
        )
        if triple.startswith("riscv64"):
            target = build.Target("generic-rv64", "+a,+d", triple)
        assert pause in build.emit_assembly(text, target)


def test_polls_become_rare_in_fast_loops_and_frequent_in_slow_ones(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    poll = steps.Poll()
    found = []
    for _ in range(8):
        now[0] += poll.interval * 1e-6
        found.append(poll(0))
    assert found[:4] == [8, 64, 512, 4096]
    assert 90_000 < found[-1] < 110_000
    now[0] += 10.0
    assert poll(0) < 2000
