"""The pool beside its programs: settings, sleep, forks, users' threads, the end of the process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import wengert as wg
from tests.compiler.small import SIZE, Table, at, check, rotations, run_python, words
from tests.compiler.test_runtime import KINDS
from wengert import system
from wengert.compiler import threads as settings
from wengert.compiler.llvm import threads
from wengert.compiler.llvm.runtime import block
from wengert.compiler.llvm.steps import Steps
from wengert.core.errors import ArgumentError, DtypeError

FORKS = hasattr(os, "fork")


@pytest.fixture(params=KINDS)
def pool(request):
    made = threads.Pool(request.param)
    yield made
    made.close()


# -- the number of threads -----------------------------------------------------------------------


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.delenv(settings.VARIABLE, raising=False)
    settings._default.cache_clear()
    yield
    wg.set_num_threads(None)
    settings._default.cache_clear()


def test_the_default_is_what_the_process_may_use(unset, monkeypatch):
    assert wg.get_num_threads() == system.cores()["usable"]
    settings._default.cache_clear()
    monkeypatch.setattr(settings, "cores", lambda: {"usable": 1000})
    assert wg.get_num_threads() == settings.MAX_THREADS


def test_the_number_can_be_chosen(unset, monkeypatch):
    for count in (1, 3, np.int64(2), settings.MAX_THREADS):
        wg.set_num_threads(count)
        assert wg.get_num_threads() == count
        assert type(wg.get_num_threads()) is int
    monkeypatch.setenv(settings.VARIABLE, "5")
    assert wg.get_num_threads() == settings.MAX_THREADS, "the call comes before the environment"
    wg.set_num_threads(None)
    assert wg.get_num_threads() == 5


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        (0, ArgumentError, r"from 1 to 256; got 0; fix: wg\.set_num_threads\(None\)"),
        (-2, ArgumentError, "from 1 to 256; got -2"),
        (257, ArgumentError, "from 1 to 256; got 257"),
        (2.0, DtypeError, r"is a whole number; got 2\.0 \(float\)"),
        ("2", DtypeError, r"is a whole number; got '2' \(str\)"),
        (True, DtypeError, r"got True \(bool\)"),
    ],
)
def test_wrong_numbers_are_refused(unset, wrong, error, match):
    before = wg.get_num_threads()
    with pytest.raises(error, match=match):
        wg.set_num_threads(wrong)
    assert wg.get_num_threads() == before


@pytest.mark.parametrize("wrong", ["0", "two", "-1", "1.5", "257", "١"])
def test_a_wrong_environment_is_named(unset, monkeypatch, wrong):
    monkeypatch.setenv(settings.VARIABLE, wrong)
    for _ in range(2):
        with pytest.raises(ArgumentError, match=f"WENGERT_NUM_THREADS='{wrong}'"):
            wg.get_num_threads()
    wg.set_num_threads(2)
    assert wg.get_num_threads() == 2


def test_the_environment_and_the_affinity_mask_of_a_new_process():
    code = "import wengert as wg; print(wg.get_num_threads())"
    assert run_python(code, WENGERT_NUM_THREADS="3") == "3"
    assert run_python(code, WENGERT_NUM_THREADS=" ") == str(system.cores()["usable"])
    if hasattr(os, "sched_setaffinity"):
        masked = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);" + code
        assert run_python(masked, WENGERT_NUM_THREADS="") == "1"


def test_the_quota_of_a_container_counts(unset, monkeypatch):
    monkeypatch.setattr(system, "cpu_quota", lambda: 1.0)
    assert wg.get_num_threads() == 1


def test_importing_the_package_does_not_load_llvm():
    code = "import sys, wengert as wg; wg.get_num_threads(); print('llvmlite' in sys.modules)"
    assert run_python(code) == "False"


def test_the_kind_of_pool(monkeypatch):
    for kind in KINDS:
        monkeypatch.setenv(threads.VARIABLE, kind)
        assert threads.default_kind() == kind
    monkeypatch.setenv(threads.VARIABLE, "fibers")
    with pytest.raises(ArgumentError, match="WENGERT_POOL='fibers'; fix: WENGERT_POOL=python"):
        threads.Pool()
    monkeypatch.delenv(threads.VARIABLE)
    monkeypatch.setattr(threads.sys, "platform", "darwin")
    assert threads.default_kind() == "python"
    monkeypatch.setenv(threads.VARIABLE, "futex")
    with pytest.raises(ArgumentError, match="no such kind"):
        threads.default_kind()


def joined(pool, count):
    """How many threads take part in a program that asks for so many."""
    counts = np.zeros((8, 8), np.int64)
    table = Table(counts)
    program = Steps()
    program.call(at("join"), table.address)
    assert pool.run(program.finish(), count) == 0
    taking_part = np.count_nonzero(counts[:, 0])
    assert (counts[:taking_part, 0] == taking_part).all()
    return taking_part


# -- workers -------------------------------------------------------------------------------------


def test_workers_start_when_they_are_first_needed(pool):
    assert pool.workers == 0
    check(pool, 1)
    assert pool.workers == 0
    check(pool, 3)
    assert pool.workers == 2
    check(pool, 2)
    check(pool, 5)
    assert pool.workers == 4


def asleep(pool) -> list[bool]:
    """Which workers sleep."""
    return [
        bool(pool._memory[(block.line(n) + block.ASLEEP) // 8] & 1)
        for n in range(1, pool.workers + 1)
    ]


def wait_until_asleep(pool):
    give_up = time.monotonic() + 20
    while not all(asleep(pool)):
        assert time.monotonic() < give_up, "workers do not go to sleep"
        time.sleep(0.001)


def test_idle_workers_sleep_and_only_those_needed_wake(pool):
    pool.start(8)
    wait_until_asleep(pool)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1, "seven workers use no time"
    for count in (8, 3, 2, 5):
        wait_until_asleep(pool)
        check(pool, count, steps=4)
        assert all(asleep(pool)[count - 1 :]), "those who were not needed have slept on"


def test_workers_are_found_at_every_stage_of_falling_asleep(pool):
    """Pauses around the time that workers take to fall asleep: no wake-up is lost."""
    rng = np.random.default_rng(0)
    pool.start(3)
    program, array, expected = rotations(2)
    for _ in range(150):
        array[:] = words(SIZE)
        time.sleep(threads.IDLE_SECONDS * rng.uniform(0.5, 1.5))
        assert pool.run(program, 3) == 0
        np.testing.assert_array_equal(array, expected)


def test_fewer_threads_than_asked_for(pool, monkeypatch):
    start = threading.Thread.start
    started = []

    def refuse(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        check(pool, 8)
    assert pool.workers == 2
    check(pool, 100_000)


def test_a_closed_pool_works_without_workers(pool):
    check(pool, 4)
    workers = list(pool._threads)
    pool.close()
    assert not any(worker.is_alive() for worker in workers)
    check(pool, 4)
    pool.close()
    assert pool.workers == 0


def test_two_threads_of_the_user_at_once(pool):
    """One has the workers, the other goes alone at once; none waits, none disturbs the other."""
    entered, leave = threading.Event(), threading.Event()

    def wait(_: int) -> None:
        entered.set()
        assert leave.wait(20)

    holding, array, expected = rotations(30)
    held = Steps()
    held.library(wait)
    for table in holding.keep * 15:
        held.call(at("rotate"), table.address)
    program = held.finish()
    first = threading.Thread(target=pool.run, args=(program, 3))
    first.start()
    assert entered.wait(20)
    assert joined(pool, 3) == 1
    check(pool, 3)
    leave.set()
    first.join()
    np.testing.assert_array_equal(array, expected)
    assert joined(pool, 3) == 3


def test_many_threads_of_the_user(pool):
    problems = []

    def work() -> None:
        try:
            program, array, expected = rotations(20)
            for _ in range(100):
                array[:] = words(SIZE)
                assert pool.run(program, 3) == 0
                np.testing.assert_array_equal(array, expected)
        except BaseException as problem:
            problems.append(problem)

    users = [threading.Thread(target=work) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not problems


def test_a_program_inside_a_program(pool):
    program = Steps()
    program.library(lambda _: check(pool, 3))
    assert pool.run(program.finish(), 3) == 0


# -- forks and the end ---------------------------------------------------------------------------


def in_child(work):
    """Run it in a fork; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hung"


@pytest.mark.skipif(not FORKS, reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_the_child_makes_its_own_workers(pool):
    check(pool, 3)

    def work() -> None:
        assert pool.workers == 0
        check(pool, 1)
        check(pool, 4)
        assert pool.workers == 3

    assert in_child(work) == 0
    wait_until_asleep(pool)
    assert in_child(work) == 0
    assert pool.workers == 2
    check(pool, 3)


@pytest.mark.skipif(not FORKS, reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_run(pool):
    """The child has only the thread that forked, and the traces of a run that will never end."""
    codes = []

    def work() -> None:
        check(pool, 3)
        assert joined(pool, 3) == 3, "the parent's run does not hold the workers here"

    program, array, expected = rotations(30)
    whole = Steps()
    for table in program.keep * 5:
        whole.call(at("rotate"), table.address)
    whole.library(lambda _: codes.append(in_child(work)))
    for table in program.keep * 10:
        whole.call(at("rotate"), table.address)
    assert pool.run(whole.finish(), 3) == 0
    assert codes == [0]
    np.testing.assert_array_equal(array, expected)


MODULE = """
import multiprocessing, sys, threading, time
from wengert.compiler.llvm import threads
from tests.compiler.small import check

def work(count):
    check(threads.pool(), count)
    return threads.pool().workers
"""


@pytest.mark.skipif(not FORKS, reason="the same as spawn here")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(tmp_path, method):
    script = tmp_path / "job.py"
    main = f"""
if __name__ == "__main__":
    work(3)
    with multiprocessing.get_context("{method}").Pool(2) as processes:
        assert processes.map(work, [3, 3, 3, 3]) == [2] * 4
    print("done")
"""
    script.write_text(MODULE + main)
    paths = os.pathsep.join([str(p) for p in (wg.__path__[0] + "/..", os.getcwd())])
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "end",
    [
        "",  # workers still look for work
        "time.sleep(0.05)",  # workers sleep
        "import atexit; atexit.register(work, 3)",
        "sys.exit(0)",
        # A daemon thread is in the middle of a program.
        "threading.Thread(target=lambda: [work(3) for _ in range(10**6)], daemon=True).start();"
        "time.sleep(0.05)",
    ],
)
def test_the_process_ends_cleanly(kind, end):
    code = f"{MODULE}\nwork(4)\nprint('done', flush=True)\n{end}"
    assert run_python(code, WENGERT_POOL=kind) == "done"
