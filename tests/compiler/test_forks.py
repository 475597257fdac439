"""Compiled functions, several threads and forks: nobody waits for what is not there."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.small import run_python

FORK = """
import os, threading, time
import numpy as np
import wengert as wg

count = wg.Variable(wg.zeros(3))

@wg.jit
def step(x):
    count.assign(count + x)
    return wg.sum(count * x)

@wg.jit
def slow(x):
    inside.set()
    time.sleep(0.3)
    return x * count

@wg.jit
def plain(x):
    return wg.sin(x)

def run_forever():
    while not stop.is_set():
        step(wg.ones(3))
        plain(wg.ones(3))

def compile_forever():
    while not stop.is_set():
        slow(wg.ones(3))
        slow.clear_cache()

def child(first):
    step(wg.ones(3)), plain(wg.ones(3)), slow(wg.ones(4)[:3])
    last = np.asarray(count.detach())
    assert (last == last[0]).all() and last[0] > first

inside, stop = threading.Event(), threading.Event()
step(wg.ones(3))
threads = [threading.Thread(target=f) for f in (run_forever, compile_forever)]
for thread in threads:
    thread.start()
inside.wait()
codes = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        child(0.0)
        os._exit(0)
    codes.append(os.waitpid(pid, 0)[1])
stop.set()
for thread in threads:
    thread.join()
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_other_threads_trace_and_run() -> None:
    found = run_python(FORK, PYTHONWARNINGS="ignore::DeprecationWarning")
    assert found.strip() == "[0, 0, 0, 0]"


def test_a_step_waits_while_another_thread_traces() -> None:
    """Its variables are symbolic for so long."""
    count = wg.Variable(wg.zeros(3))
    inside = threading.Event()
    found: list[Any] = []

    @wg.jit
    def step(x: Any) -> Any:
        count.assign(count + x)
        return count * 1.0

    @wg.jit
    def slow(x: Any) -> Any:
        inside.set()
        time.sleep(0.1)
        return x * count

    def other() -> None:
        inside.wait(10)
        try:
            found.append(step(wg.ones(3)).tolist())
        except Exception as problem:
            found.append(problem)

    step(wg.ones(3))
    count.assign(count * 2.0)  # the next step looks for its arrays anew
    thread = threading.Thread(target=other)
    thread.start()
    traced = slow(wg.ones(3))
    thread.join(10)
    assert found == [[3.0, 3.0, 3.0]]
    assert count.tolist() == [3.0, 3.0, 3.0]
    assert np.asarray(traced)[0] in (2.0, 3.0)
