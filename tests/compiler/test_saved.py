"""Programs on disk: another process does not compile what this one has compiled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.small import run_python
from wengert.compiler import compile as compiling
from wengert.compiler import saved
from wengert.compiler.compile import compile_program
from wengert.compiler.executable import Executable
from wengert.compiler.fingerprint import Fingerprint
from wengert.compiler.function import traced_program
from wengert.compiler.ir import Program, Term, apply, constant
from wengert.compiler.linked import Linked
from wengert.compiler.llvm import cache
from wengert.compiler.native import Native
from wengert.core.op import REGISTRY
from wengert.core.rules import elementwise
from wengert.core.spec import Spec
from wengert.errors import OutOfMemoryError

FOUR = Spec((4,), wg.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    monkeypatch.delenv(cache.SWITCH, raising=False)
    cache.memory.forget()
    yield tmp_path / "objects"
    cache.memory.forget()


def program(f: Any, *specs: Spec) -> Program:
    return traced_program(lambda *xs: [f(*xs)], specs or [FOUR], whole=False)


def run(executable: Executable, *arrays: Any) -> list[np.ndarray]:
    given = [np.ascontiguousarray(a, s.dtype) for a, s in zip(arrays, executable.inputs)]
    results = [np.zeros(s.shape, s.dtype) for s in executable.outputs]
    for i, a in enumerate([*given, *results]):
        executable.table[i] = a.ctypes.data
    executable()
    return results


def twice(f: Any, *specs: Spec) -> list[Executable]:
    """A function compiled, and then found."""
    made = [compile_program(program(f, *specs)) for _ in range(2)]
    assert isinstance(made[0], Native)
    assert isinstance(made[1], saved.Saved)
    return made


def check(f: Any, *arrays: np.ndarray) -> None:
    """What was found gives the same bits as what was compiled."""
    first, second = (run(e, *arrays) for e in twice(f, *(Spec.of(a) for a in arrays)))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 8)).astype(np.float32)
MATRICES = np.stack([np.eye(3) * (i + 2) for i in range(4)])
TABLE = RNG.normal(size=(5, 3))


@pytest.mark.parametrize(
    ("f", "arrays"),
    [
        (lambda x: wg.sum(wg.tanh(x) * 2.0, axis=1), [X]),
        (lambda x: x @ x.T + wg.asarray(X[:6, :6]), [X]),
        (lambda x: wg.linalg.inv(x @ x.T + wg.eye(6)), [X]),
        (lambda x: wg.linalg.qr(x)[1], [X]),
        (lambda x: wg.sort(x, axis=0).astype(wg.bfloat16), [X]),
        (lambda i: wg.take(wg.asarray(TABLE), i, axis=0), [np.array([4, 0, 2])]),
        (lambda x: wg.scan(lambda c, r: (c * 0.5 + r, wg.sin(c)), x[0], x)[1], [X]),
        (wg.grad(wg.checkpoint(lambda x: wg.sum(wg.sin(wg.tanh(x @ x.T))))), [X]),
        (lambda x: wg.scan(lambda c, r: (wg.linalg.inv(c) + r, c), x[0], x)[0], [MATRICES]),
    ],
    ids=[
        "nests",
        "matrices",
        "library",
        "several",
        "kernels",
        "checks",
        "loop",
        "checkpoint",
        "library in a loop",
    ],
)
def test_a_program_is_found_again(f, arrays):
    check(f, *arrays)


def test_what_tells_programs_apart():
    base = Fingerprint(program(lambda x: wg.sum(x * 2.0))).text
    assert Fingerprint(program(lambda y: wg.sum(y * 2.0))).text == base
    others = [
        program(lambda x: wg.sum(x * 3.0)),
        program(lambda x: wg.sum(x * 2.0) * 1.0),
        program(lambda x: wg.sum(x * 2.0, keepdims=True)),
        program(lambda x: wg.prod(x * 2.0)),
        program(lambda x: wg.sum(x * x)),
        program(lambda x: wg.sum(x * wg.asarray([2.0, 2.0, 2.0, 2.0]))),
        program(lambda x: wg.sum(x * wg.asarray([2.0, 2.0, 2.0, -0.0]))),
        program(lambda x: wg.sum(x * wg.asarray([2.0, 2.0, 2.0, 0.0]))),
        program(lambda x: wg.sum(x * 2.0), Spec((4,), wg.float64)),
        program(lambda x: wg.sum(x * 2.0), Spec((2, 2), wg.float32)),
        program(lambda x, y: wg.sum(x * 2.0), FOUR, FOUR),
        program(lambda x, y: wg.sum(y * 2.0), FOUR, FOUR),
    ]
    given = others[0]
    shared = program(lambda x: x * 2.0)
    others += [shared, Program(shared.inputs, shared.outputs, {0: 0})]
    texts = [Fingerprint(p).text for p in others]
    assert len({base, *texts}) == len(others) + 1
    assert Fingerprint(given).text == texts[0]


def test_the_phase_of_lines_counts():
    """Fusion asks for it."""
    step = lambda x: wg.grad(lambda y: wg.sum(wg.sin(y)))(x)
    backward = program(step)
    plain = program(lambda x: wg.cos(x) * wg.ones(4))
    assert any(line.endswith(" b") for line in Fingerprint(backward).text.splitlines())
    assert not any(line.endswith(" b") for line in Fingerprint(plain).text.splitlines())


def test_ops_that_others_declare_are_not_kept(folder):
    op = elementwise("an_op_of_a_user", np.sin, lambda g, x: g)
    try:
        assert saved.entry(program(lambda x: op(x))) is None
    finally:
        del REGISTRY["an_op_of_a_user"]
    assert saved.entry(program(lambda x: wg.sin(x))) is not None


def test_without_a_cache_nothing_is_looked_for(monkeypatch, folder):
    monkeypatch.setenv(cache.SWITCH, "0")
    for _ in range(2):
        assert isinstance(compile_program(program(lambda x: x * 5.0)), Native)
    assert not folder.exists()


def test_switches_of_the_compiler_compile_anew(monkeypatch):
    twice(lambda x: x * 17.0)
    monkeypatch.setenv("WENGERT_WINOGRAD", "0")
    assert isinstance(compile_program(program(lambda x: x * 17.0)), Native)
    monkeypatch.setenv("WENGERT_NUM_THREADS", "1")
    assert isinstance(compile_program(program(lambda x: x * 17.0)), saved.Saved)


def test_changed_source_compiles_anew(monkeypatch):
    twice(lambda x: x * 7.0)
    monkeypatch.setattr(cache, "written_in", lambda *rooms: "other code")
    assert isinstance(compile_program(program(lambda x: x * 7.0)), Native)


@pytest.mark.parametrize("which", ["program", "code"])
def test_damaged_and_missing_entries_are_made_again(folder, which):
    first, second = twice(lambda x: x * 11.0)
    name = saved.entry(program(lambda x: x * 11.0)).name if which == "program" else first.name
    path = folder / (name + cache.ENDING)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(cache.CacheWarning, match="damaged"):
        assert isinstance(compile_program(program(lambda x: x * 11.0)), Native)
    assert isinstance(compile_program(program(lambda x: x * 11.0)), saved.Saved)
    path.unlink()
    assert isinstance(compile_program(program(lambda x: x * 11.0)), Native)
    assert run(second, [1.0, 2.0, 3.0, 4.0])[0].tolist() == [11.0, 22.0, 33.0, 44.0]


def folded() -> Program:
    """A program with a constant that the compiler computes."""
    x = Term(None, (), {}, Spec((40,), wg.float32))
    square = apply("mul", *[constant(np.arange(40.0, dtype=np.float32))] * 2)
    return Program([x], [apply("add", x, square)])


def test_constants_that_the_compiler_computed_are_kept(monkeypatch):
    expected = [1.0 + i * i for i in range(40)]
    for kind in (Native, saved.Saved):
        executable = compile_program(folded())
        assert isinstance(executable, kind)
        assert run(executable, np.ones(40))[0].tolist() == expected
    cache.clear()
    monkeypatch.setattr(saved, "MOST", 100)
    for _ in range(2):
        assert isinstance(compile_program(folded()), Native)


def test_errors_of_a_program_that_was_found(monkeypatch):
    f = lambda i: wg.take(wg.asarray(TABLE), i, axis=0)
    texts = []
    for executable in twice(f, Spec((3,), wg.int64)):
        with pytest.raises(IndexError) as caught:
            run(executable, [1, 9, 2])
        texts.append(str(caught.value))
        assert run(executable, [1, 3, 2])[0].tolist() == TABLE[[1, 3, 2]].tolist()
    assert "9" in texts[0]
    assert texts[0].partition("\n")[0] == texts[1].partition("\n")[0]


def test_no_memory_for_a_program_that_was_found(monkeypatch):
    f = lambda x: wg.sum(wg.cumsum(wg.sin(x)) * 2.0, axis=0) + wg.cumsum(x)
    spec = Spec((4000,), wg.float32)
    compile_program(program(f, spec))
    real = np.empty

    def empty(shape: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(shape, int) and shape > 10_000:
            raise MemoryError
        return real(shape, *args, **kwargs)

    monkeypatch.setattr("wengert.compiler.linked.np.empty", empty)
    monkeypatch.setattr(Native, "__init__", None)  # it is not compiled
    with pytest.raises(OutOfMemoryError, match=r"float32\[4000\]"):
        compile_program(program(f, spec))


def test_more_threads_than_it_was_compiled_for():
    spec = Spec((64, 64), wg.float32)
    x = RNG.normal(size=(64, 64)).astype(np.float32)
    found = []
    try:
        for threads in (1, 3):
            wg.set_num_threads(threads)
            executable = compile_program(program(lambda x: wg.tanh(x @ x) @ x, spec))
            wg.set_num_threads(2)
            found.append(run(executable, x)[0])
    finally:
        wg.set_num_threads(None)
    assert isinstance(executable, Linked)
    np.testing.assert_array_equal(*found)


TRAINING = """
import numpy as np, wengert as wg
from wengert.compiler import compile as compiling, simplify, linked
{patch}
wg.manual_seed(0)
model = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.Dropout(0.2), wg.nn.Tanh(), wg.nn.Linear(8, 2))
opt = wg.optim.Adam(model.parameters(), lr=0.1)

@wg.jit
def step(x):
    loss = wg.mean(model(x) ** 2)
    loss.backward(); opt.step(); opt.zero_grad()
    return loss

x = wg.asarray(np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32))
losses = [float(step(x)) for _ in range(3)]
weights = b"".join(p.numpy().tobytes() for p in model.parameters())
import sys, hashlib
print(losses, hashlib.sha256(weights).hexdigest(), "wengert.compiler.native" in sys.modules)
"""


def test_another_process_finds_a_training_step(folder):
    first = run_python(TRAINING.format(patch=""))
    assert first.endswith("True")
    second = run_python(TRAINING.format(patch="simplify.simplify = None"))
    assert second == first.replace("True", "False")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-3] + b"...")
    code = "import warnings; warnings.simplefilter('ignore')\n" + TRAINING.format(patch="")
    assert run_python(code) == first


@pytest.mark.skipif(os.name != "posix", reason="file modes as POSIX has them")
def test_a_cache_that_cannot_be_written(folder, tmp_path, monkeypatch):
    place = tmp_path / "file"
    place.write_text("not a folder")
    monkeypatch.setenv(cache.FOLDER, str(place))
    with pytest.warns(cache.CacheWarning):
        executable = compile_program(program(lambda x: x * 13.0))
    assert run(executable, [1.0, 1.0, 1.0, 2.0])[0].tolist() == [13.0, 13.0, 13.0, 26.0]


def test_folder_of_the_source_is_part_of_the_key():
    root = Path(compiling.__file__).parents[1]
    assert all((root / room).is_dir() for room in saved.ROOMS)
    assert cache.written_in("ops") != cache.written_in("core")
