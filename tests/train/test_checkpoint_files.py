"""Checkpoints as files: exact round trips, damage of every kind, crashes at every instant."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import wengert as wg
from tests.train import runs
from wengert.core.dtypes import ALL
from wengert.errors import ArgumentError, DtypeError, MissingExtraError, StateError
from wengert.train import (
    Checkpoint,
    checkpoints,
    files,
    is_valid,
    latest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    storage,
)

RNG = np.random.default_rng(0)


def same(a, b):
    """Equal in structure, type and every bit."""
    if isinstance(a, (np.ndarray, np.generic, wg.Tensor)):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_every_kind_of_state_comes_back_bit_by_bit(tmp_path):
    arrays = {str(d): RNG.integers(0, 2, (3, 2)).astype(d) for d in ALL}
    arrays["odd"] = np.array([np.nan, -0.0, np.inf, 5e-324])
    arrays["strided"] = np.arange(12.0).reshape(3, 4)[::2, ::-1]
    arrays["none of it"] = np.zeros((0, 3))
    arrays["0-d"] = np.float32(0.1)
    parts = {
        "model": arrays,
        "optimizer": {
            "state": {0: {"step": 3, "m": RNG.normal(size=2)}, 7: {}},
            "groups": [{"lr": 0.1, "betas": (0.9, 0.999), "flag": True, "name": None}],
        },
        "odd": {"f": [math.inf, -math.inf, math.nan, 1e-320, 0.1], "$tensor": "x", "big": 2**127},
        "tensors": [wg.asarray([1.0, 2.0]), (np.int64(3),)],
        "empty": {},
    }
    path = save_checkpoint(tmp_path / "a", parts, meta={"note": "é", "nested": {"k": [1, 2.5]}})
    found = read_checkpoint(path)
    assert found.meta == {"note": "é", "nested": {"k": [1, 2.5]}}
    assert list(found.parts) == list(parts)
    for name in parts:
        assert same(parts[name], found.parts[name]), name
    assert found.info["wengert"] == wg.__version__
    assert sorted(p.name for p in path.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "optimizer.safetensors",
        "tensors.safetensors",
    ]
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"
    json.loads((path / "checkpoint.json").read_text(), parse_constant=pytest.fail)


def test_other_programs_can_read_the_arrays(tmp_path):
    from safetensors.numpy import load_file

    path = save_checkpoint(tmp_path / "a", {"model": {"w": np.arange(3.0)}})
    np.testing.assert_array_equal(load_file(path / "model.safetensors")["w"], [0, 1, 2])


@pytest.mark.parametrize(
    ("parts", "meta", "error", "match"),
    [
        ({"a/b": {}}, {}, ArgumentError, "a part's name becomes a file's name.*'a/b'"),
        ({"..": {}}, {}, ArgumentError, "letters, digits"),
        ({"m": {"x": [1, {2}]}}, {}, StateError, r"cannot be stored, at x\.1; got a set"),
        ({"m": {(1, 2): 3}}, {}, StateError, "a dict with such keys"),
        ({"m": {"x": np.array(["s"])}}, {}, DtypeError, "not a dtype"),
        ({"m": {"x": 1j}}, {}, StateError, "at x; got a complex"),
        ({"m": {}}, {"x": np.zeros(2)}, StateError, "meta holds an array, at x"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_written(
    tmp_path, parts, meta, error, match
):
    with pytest.raises(error, match=match):
        save_checkpoint(tmp_path / "a", parts, meta)
    assert list(tmp_path.iterdir()) == []


def test_safetensors_is_named_where_it_is_missing(tmp_path, monkeypatch):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    made = runs.trainer(callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(MissingExtraError, match=r"wengert\[weights\]"):
        made.fit(*runs.loaders(), epochs=1)
    assert made.step == 0, "it is said before the first epoch, not after it"
    with pytest.raises(MissingExtraError, match=r"pip install 'wengert\[weights\]'"):
        save_checkpoint(tmp_path / "a", {"m": {"x": np.zeros(2)}})
    save_checkpoint(tmp_path / "a", {"m": {"x": 1}})  # no arrays, no need
    assert read_checkpoint(tmp_path / "a").parts == {"m": {"x": 1}}


# -- damage -------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    parts = {"model": {"w": np.arange(5.0)}, "optimizer": {"m": np.ones(3, np.float32), "n": 1}}
    return save_checkpoint(tmp_path / "run" / "step-00000001", parts)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "checkpoint.json"])
def test_a_file_cut_anywhere_is_named(saved, name):
    file = saved / name
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(StateError, match=rf"damaged; nothing was loaded.*{name}: it"):
            read_checkpoint(saved)
    file.write_bytes(whole)
    assert is_valid(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "checkpoint.json"])
def test_any_changed_byte_is_noticed(saved, name):
    file = saved / name
    whole = file.read_bytes()
    for i in range(0, len(whole), 3):
        changed = whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :]
        file.write_bytes(changed)
        if json_of(changed) == json_of(whole):  # only white space in the JSON may differ
            continue
        with pytest.raises(StateError, match=rf"{name}|version"):
            read_checkpoint(saved)


def json_of(content):
    try:
        return json.loads(content)
    except ValueError:
        return content


def test_missing_files_are_named(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(StateError, match=r"model\.safetensors: the file is missing"):
        read_checkpoint(saved)
    (saved / "checkpoint.json").unlink()
    with pytest.raises(StateError, match=r"checkpoint\.json: the file is missing"):
        read_checkpoint(saved)


def test_a_wrong_tensor_file_is_named_even_with_fitting_checksums(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "pack", lambda arrays: b"not a tensor file")
    path = save_checkpoint(tmp_path / "a", {"m": {"x": np.zeros(2)}})
    with pytest.raises(StateError, match=r"not a whole safetensors file; got .*m\.safetensors"):
        read_checkpoint(path)


def reseal(saved, change):
    from wengert.train.checkpoint import _sealed

    index = json.loads((saved / "checkpoint.json").read_text())
    index.pop("sha256")
    change(index)
    (saved / "checkpoint.json").write_bytes(_sealed(index))


def test_other_versions_formats_and_paths_are_refused(saved):
    reseal(saved, lambda index: index.update(version=2))
    with pytest.raises(StateError, match=r"version 2 in .*this library reads 1"):
        read_checkpoint(saved)
    reseal(saved, lambda index: index.update(version=1, format="other"))
    with pytest.raises(StateError, match="does not say that its format is wengert-checkpoint"):
        read_checkpoint(saved)
    reseal(saved, lambda index: index.update(format="wengert-checkpoint"))
    assert is_valid(saved)
    outside = saved.parent / "outside"
    outside.write_bytes(b"x")
    entry = {
        "bytes": 1,
        "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    }
    reseal(saved, lambda index: index["files"].update({"../outside": entry}))
    with pytest.raises(StateError, match="outside: the file is missing"):
        read_checkpoint(saved)


def test_the_newest_valid_one_is_found(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(StateError, match=r"no valid checkpoint; got .*no such folder"):
        read_checkpoint(run)
    run.mkdir()
    with pytest.raises(StateError, match="an empty folder"):
        read_checkpoint(run)
    for step in (1, 2, 3):
        save_checkpoint(run / f"step-{step:08d}", {"m": {"step": step, "x": np.zeros(step)}})
    (run / ".tmp-somewhere-1-ab").mkdir()
    assert [p.name[-1] for p in checkpoints(run)] == ["1", "2", "3"]
    assert read_checkpoint(run).parts["m"]["step"] == 3
    (run / "step-00000003" / "m.safetensors").write_bytes(b"")
    assert latest_checkpoint(run).name == "step-00000002"
    shutil.rmtree(run / "step-00000002")
    assert read_checkpoint(run).parts["m"]["step"] == 1
    (run / "step-00000001" / "checkpoint.json").unlink()
    assert latest_checkpoint(run) is None
    with pytest.raises(StateError, match=r"no valid checkpoint; got .*run: .tmp-somewhere-1-ab"):
        read_checkpoint(run)


# -- crashes ------------------------------------------------------------------------------------

TOUCHES = ("make_folder", "write_file", "sync_folder", "rename")


class Crash(BaseException):
    """The process is gone: nothing more happens."""


class Disk:
    """Lets the first `budget` accesses to the disk happen, then crashes at every one."""

    def __init__(self, monkeypatch, budget):
        self.left, self.crashed = budget, False
        for name in TOUCHES:
            monkeypatch.setattr(files, name, self._wrap(getattr(files, name), name))
        monkeypatch.setattr(files.shutil, "rmtree", self._wrap(shutil.rmtree, "rmtree"))

    def _wrap(self, real, name):
        def touch(*args, **kwargs):
            if self.left <= 0:
                if name == "write_file" and not self.crashed:  # half a file reaches the disk
                    args[0].write_bytes(args[1][: len(args[1]) // 2])
                self.crashed = True
                raise Crash
            self.left -= 1
            return real(*args, **kwargs)

        return touch


def test_a_crash_at_each_access_to_the_disk_leaves_a_whole_checkpoint(tmp_path):
    def write(step):
        state = {"model": {"w": np.full(9, step)}, "other": {"x": np.ones(2), "step": step}}
        save_checkpoint(tmp_path / "a", state)

    def read():
        found = read_checkpoint(tmp_path / "a").parts
        step = found["other"]["step"]
        assert found["model"]["w"].tolist() == [step] * 9
        return step

    write(0)
    outcomes = []
    for budget in range(100):
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, budget)
            try:
                write(budget + 1)
            except Crash:
                pass
            finally:
                crashed = disk.crashed
        step = read()
        assert step in (budget + 1, outcomes[-1] if outcomes else 0)
        outcomes.append(step)
        if not crashed:
            break
    else:
        pytest.fail("the write never went through")
    assert budget > 8, "the steps of a write are many, and each was tried"
    assert outcomes[-1] == budget + 1
    # What crashed writers left behind does not disturb, and goes when its process is gone.
    assert list(tmp_path.glob(".tmp-*"))
    files.clear_leftovers(tmp_path)
    assert list(tmp_path.glob(".tmp-*")), "this process still runs"


def test_leftovers_of_dead_processes_are_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    own = files.temporary_name(tmp_path / "x")
    dead = own.with_name(own.name.replace(f"-{files.os.getpid()}-", f"-{gone.pid}-"))
    foreign = tmp_path / ".tmp-elsewhere-1-ab"
    for folder in (own, dead, foreign):
        folder.mkdir()
        (folder / "part").write_text("x")
    (dead.with_name(dead.name + "f")).write_text("a file")
    files.clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([own, foreign])


def test_only_checkpoints_are_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ArgumentError, match=r"something else under this name.*new name"):
            save_checkpoint(taken, {"model": {}})
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    for step in (1, 2):  # an empty folder, then a checkpoint
        save_checkpoint(tmp_path / "empty", {"model": {"step": step}})
    assert read_checkpoint(tmp_path / "empty").parts == {"model": {"step": 2}}


DRIVER = """
import os, random, signal, sys, time
import numpy as np
from wengert.train import read_checkpoint, save_checkpoint

where, rounds, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(7)
weights = np.zeros(20_000)
save_checkpoint(where, {"model": {"w": weights}, "other": {"step": 0}})
kills = reached = 0
while kills < rounds or reached < steps:
    kills += 1
    assert kills <= 5 * rounds, "the writers hardly get to write"
    out, into = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(out)
        step = reached
        while True:
            step += 1
            save_checkpoint(where, {"model": {"w": weights + step}, "other": {"step": step}})
            os.write(into, f"{step} ".encode())
    os.close(into)
    # Longer with time, so that on a busy machine, too, some are killed in the midst of writing.
    time.sleep(random.uniform(0.0, 0.03 * (1 + kills / rounds)))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    told = b""
    while chunk := os.read(out, 4096):
        told += chunk
    os.close(out)
    finished = [reached] + [int(s) for s in told.split()]
    found = read_checkpoint(where).parts
    step = found["other"]["step"]
    assert step in (finished[-1], finished[-1] + 1), (step, finished[-3:])
    assert np.all(found["model"]["w"].numpy() == step)
    reached = step
print("survived", kills, "kills at step", reached)
"""


@pytest.mark.skipif(not hasattr(files.os, "fork"), reason="needs fork")
def test_a_writer_killed_at_random_instants_leaves_a_whole_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DRIVER), str(tmp_path / "a"), "60", "30"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("survived")
