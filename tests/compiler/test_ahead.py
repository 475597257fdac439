"""Results that are begun before they are needed."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from tests.compiler.small import run_python
from wengert.compiler.kernels import gemm_common, library
from wengert.compiler.llvm import threads
from wengert.compiler.llvm.ahead import TURN, Ahead
from wengert.core import dtypes

POSIX = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def test_it_is_made_once_and_in_another_thread():
    made = []
    found = Ahead(lambda: made.append(threading.get_ident()) or len(made))
    assert [found.result(), found.result()] == [1, 1]
    assert made != [threading.get_ident()]


def test_an_error_comes_to_the_one_who_asks_and_then_it_may_be_tried_again():
    calls = []

    def make() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("no room")
        return 5

    found = Ahead(make)
    with pytest.raises(OSError, match="no room"):
        found.result()
    assert found.result() == found.result() == 5
    assert len(calls) == 2


def test_without_threads_it_is_made_by_the_one_who_asks(monkeypatch):
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    found = Ahead(threading.get_ident)
    assert found.result() == threading.get_ident()


def test_threads_take_short_turns_only_while_something_is_going_on():
    before = sys.getswitchinterval()
    go_on = threading.Event()
    first, second = Ahead(go_on.wait), Ahead(go_on.wait)
    assert sys.getswitchinterval() == pytest.approx(TURN)
    go_on.set()
    assert first.result()
    assert second.result()
    assert sys.getswitchinterval() == pytest.approx(before)


@POSIX
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_waits_so_that_the_child_has_the_result():
    calls = []
    begun = threading.Event()

    def make() -> int:
        begun.set()
        calls.append(1)
        time.sleep(0.05)
        return 7

    found = Ahead(make)
    begun.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if found.result() == 7 and len(calls) == 1 else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert found.result() == 7


def test_libraries_are_loaded_after_those_that_they_call():
    name = gemm_common.driver_name(dtypes.float64)
    library.begin([name])
    assert library.load(name) is library.load(name)
    assert gemm_common.pack_name(dtypes.float64) in library._begun


def test_the_runtime_is_there_before_the_pool_asks_for_it():
    threads.prepare()
    assert threads.pool().run is not None


def test_a_trace_that_fails_leaves_nothing_behind():
    """The process ends as it should while LLVM may still be at work."""
    code = """
import wengert as wg

@wg.jit
def f(x):
    raise KeyError("mine")

try:
    f(wg.ones(3))
except KeyError as error:
    print(error)
"""
    assert run_python(code) == "'mine'"
