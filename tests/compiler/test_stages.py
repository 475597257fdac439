"""`dump` and the footprint: what they say is what the compiler made."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.small import run_python
from wengert.compiler.ir import evaluate

nn = wg.nn
HERE = "test_stages.py"


def training_step() -> tuple[Any, Any, Any]:
    """A step with a bit of everything, and its arguments."""
    wg.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 5))
    opt = wg.optim.SGD(model.parameters(), lr=0.1)

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return step, wg.ones((16, 20)), wg.asarray(np.arange(16) % 5)


def test_every_stage_of_a_training_step_is_there() -> None:
    step, x, y = training_step()
    found = wg.compiler.dump(step, x, y)
    assert list(found.sections) == [
        "traced",
        "simplified",
        "simplification",
        "jobs",
        "memory",
        "steps",
    ]
    text = str(found)
    for title, part in found.sections.items():
        assert f"== {title} " in text
        assert part in text
    assert "kernel contract: " in found.jobs
    assert "Gemm(dtype=float32, batch=(), m=16, n=32, k=20" in found.jobs
    assert "nest over rows" in found.jobs
    assert "nest over columns" in found.jobs
    assert "define void @nest_" in found.llvm
    assert found.llvm not in text
    assert found.llvm in str(wg.compiler.dump(step, x, y, llvm=True))


def test_dumping_changes_nothing_and_works_for_any_function() -> None:
    step, x, y = training_step()
    first = float(step(x, y))
    wg.compiler.dump(step, x, y)
    assert float(step(x, y)) < first
    assert step.explain().events[0].calls == 2
    found = wg.compiler.dump(lambda a, b: {"sum": a + b}, wg.ones(3), b=wg.ones(3))
    assert "add(v0, v1)" in found.jobs

    class Thing:
        @wg.jit
        def f(self, x: Any) -> Any:
            return x * 2.0

    assert "mul(v0, 2.0)" in wg.compiler.dump(Thing().f, wg.ones(3)).jobs


def test_lines_name_the_users_lines() -> None:
    def f(x: Any, w: Any) -> Any:
        y = wg.tanh(x @ w)  # the product
        return wg.sum(y * y)

    first = f.__code__.co_firstlineno
    found = wg.compiler.dump(wg.grad(f, argnums=1), wg.ones((40, 30)), wg.ones((30, 20)))
    assert re.search(rf"kernel contract: .*{HERE}:{first + 1}$", found.jobs, re.M)
    assert re.search(rf"= tanh\(v\d+\) +# .*{HERE}:{first + 1}\b", found.jobs, re.M)
    assert re.search(rf"kernel contract: .*{HERE}:{first + 1} \(backward\)$", found.jobs, re.M)
    assert re.search(rf"at +\d+ .* mul float32\[40,20\].*{HERE}:{first + 1}", found.memory)
    assert re.search(rf"kernel_0\(.*all threads|one thread.*{HERE}:{first + 1}", found.steps)


def test_the_programs_of_a_dump_can_be_run() -> None:
    found = wg.compiler.dump(lambda x: wg.sum(wg.exp(x) * 2.0, axis=0), wg.ones((3, 4)))
    x = np.arange(12, dtype=np.float32).reshape(3, 4) / 12
    for program in (found.program, found.simplified):
        np.testing.assert_allclose(evaluate(program, [x])[0], np.exp(x).sum(0) * 2, rtol=1e-6)


def test_nests_read_as_loops() -> None:
    def f(x: Any, at: Any) -> Any:
        padded = wg.pad(x, [(1, 0), (0, 0)])
        return wg.sum(wg.abs(padded), axis=1), wg.take(x, at, axis=0)

    found = wg.compiler.dump(f, wg.ones((6, 40)), wg.asarray([3, 1]))
    assert re.search(r"sum0 = nothing yet\n.*for j in 40, side by side:", found.jobs)
    assert "sum0 = sum of sum0 and v" in found.jobs
    assert re.search(r"v\d+ = 0 ≤ i − 1 < 6", found.jobs)
    assert re.search(r"v\d+ = %0\[40·i \+ j − 40\] where v\d+", found.jobs)
    assert re.search(r"v\d+ = %0\[j \+ 40·v\d+\]", found.jobs)  # a gathered row
    assert "check 0" in found.steps


def test_loops_library_calls_and_their_reasons_are_told() -> None:
    def loop(x: Any) -> Any:
        return wg.scan(lambda c, r: (wg.tanh(c + r), c), wg.zeros(3), x)

    found = wg.compiler.dump(loop, wg.ones((5, 3)))
    assert "0. loop, 5 times: " in found.jobs
    assert re.search(r"^ {5}0\. nest: ", found.jobs, re.M)
    assert re.search(r"^ {7,}v3 = tanh\(v2\)|v\d+ = tanh", found.jobs, re.M)
    assert "0. 5 times (job 0):" in found.steps
    found = wg.compiler.dump(wg.linalg.inv, wg.eye(4))
    assert "library call inv: " in found.jobs
    assert "inv has no native code: its NumPy reference runs" in found.jobs
    assert "reference of inv(" in found.steps


def test_layouts_that_are_not_row_major_are_told() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    found = wg.compiler.dump(wg.jit(net), wg.ones((2, 3, 9, 9)))
    assert "(axes 0,2,3,1 in memory)" in found.jobs
    assert "Convolution(kind=forward" in found.jobs


# -- memory ----------------------------------------------------------------------------------------


def test_a_footprint_adds_up() -> None:
    step, x, y = training_step()
    found = step.memory(x, y)
    parameters = 4 * (20 * 32 + 32 + 32 + 32 + 32 * 5 + 5)
    assert parameters + 16 * 20 * 4 + 16 * 8 <= found.inputs <= parameters + 2_000
    assert found.outputs == 4
    assert found.total == found.arena + found.inputs + found.outputs + found.constants
    assert found.busy <= found.arena
    for job in range(len(found.blocks)):
        alive = sorted(found.alive(job), key=lambda b: b.offset)
        for a, b in pairwise(alive):
            assert a.offset + a.nbytes <= b.offset
        assert all(b.offset + b.nbytes <= found.arena for b in alive)
    assert "inputs and state" in str(found)
    assert HERE in str(found)


CNN = """
import resource, sys
import numpy as np
import wengert as wg
from wengert import nn

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(name))

wg.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 256, 10),
)
opt = wg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

@wg.jit
def step(x, y):
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward(); opt.step(); opt.zero_grad()
    return loss

x, y = wg.ones((96, 3, 32, 32)), wg.asarray(np.arange(96) % 10)
step.program(x, y)
step(x[:1], y[:1])  # code is loaded, threads are there
planned = step.memory(x, y)
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the high-water mark starts anew
for _ in range(2):
    step(x, y)
grown = status("VmHWM") - before
print(planned.arena + planned.outputs, grown, planned.total)
"""


@pytest.mark.skipif("not __import__('os').path.exists('/proc/self/clear_refs')")
def test_planned_memory_is_what_is_used() -> None:
    planned, grown, total = map(int, run_python(CNN, WENGERT_NUM_THREADS="2").split())
    assert planned > 50e6
    assert abs(grown - planned) <= 0.05 * total


# -- at import -------------------------------------------------------------------------------------


def test_the_compiler_is_imported_when_it_is_used() -> None:
    code = """
import sys, wengert as wg
print("llvmlite" in sys.modules, "wengert.compiler.jit" in sys.modules)
wg.compiler
print("llvmlite" in sys.modules)
print(callable(wg.compiler.dump), "llvmlite" in sys.modules)
"""
    assert run_python(code).split() == ["False", "False", "False", "True", "True"]


def test_what_the_compiler_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'dumb'"):
        _ = wg.compiler.dumb
