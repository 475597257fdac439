"""Compiled code on disk: found again, and never in the way, whatever happens to the files."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compiler.small import SOURCE, run_python
from wengert import cli
from wengert.compiler.llvm import build, cache
from wengert.compiler.llvm.emit import Module
from wengert.compiler.llvm.types import I64

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes as POSIX has them")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "kept"))
    for name in (cache.SWITCH, cache.SIZE):
        monkeypatch.delenv(name, raising=False)
    cache.memory.forget()
    yield tmp_path / "kept" / "objects"
    cache.memory.forget()


def native(library: build.Library, name: str) -> Callable[[], int]:
    """A function of loaded code."""
    call = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address(name))
    call.library = library
    return call


class Maker:
    """Makes code, and counts how often it is asked to."""

    def __init__(self, code: bytes = b"machine code") -> None:
        self.code, self.times = code, 0

    def __call__(self) -> bytes:
        self.times += 1
        return self.code


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*" + cache.ENDING))


def test_code_is_made_once(folder):
    make = Maker()
    for _ in range(3):
        assert cache.object_for("a", make) == make.code
    assert make.times == 1
    other = Maker(b"other")
    assert cache.object_for("b", other) == b"other"
    assert cache.object_for("a", make) == make.code
    assert (make.times, other.times) == (1, 1)
    assert len(entries(folder)) == len(list(folder.iterdir())) == 2
    assert cache.info() == cache.Info(
        folder, 2, sum(f.stat().st_size for f in entries(folder)), 1 << 30
    )
    assert cache.clear() == 2
    assert cache.clear() == 0
    assert cache.info().entries == 0


def test_the_version_is_part_of_the_key(folder, monkeypatch):
    make = Maker()
    cache.object_for("a", make)
    monkeypatch.setattr("wengert.__version__", "99")
    cache.object_for("a", make)
    assert make.times == 2


def test_another_processor_has_code_of_its_own(folder, monkeypatch):
    text = _constant("constant", 3)
    build.load_cached(text)
    assert len(entries(folder)) == 1
    now = build.host()
    monkeypatch.setattr(
        build, "host", lambda: build.Target(now.cpu, now.features + ",-fma", now.triple)
    )
    build.load_cached(text)
    assert len(entries(folder)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[:20],
        lambda whole: whole + b"x",
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: b"X" + whole[1:],
        lambda whole: bytes(len(whole)),
    ],
)
def test_damaged_entries_are_made_again_and_said_once(folder, damage):
    first, second = Maker(), Maker(b"second")
    cache.object_for("a", first)
    cache.object_for("b", second)
    for path in entries(folder):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(cache.CacheWarning, match="damaged; it is compiled and written again"):
        assert cache.object_for("a", first) == first.code
    assert cache.object_for("b", second) == second.code, "without another warning"
    assert (first.times, second.times) == (2, 2)
    cache.object_for("a", first)
    assert first.times == 2, "the entry is whole again"


def test_switched_off(folder, monkeypatch):
    for off in ("0", "off", " False "):
        monkeypatch.setenv(cache.SWITCH, off)
        make = Maker()
        cache.object_for("a", make)
        cache.object_for("a", make)
        assert make.times == 2
        assert cache.folder() is None
        assert cache.clear() == 0
    assert not folder.exists()
    monkeypatch.setenv(cache.SWITCH, "1")
    assert cache.folder() == folder


# -- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.cache"),
        ("linux", {"HOME": "/home/ada", "XDG_CACHE_HOME": "/fast"}, "/fast"),
        ("linux", {"HOME": "/home/ada", "XDG_CACHE_HOME": "not/absolute"}, "/home/ada/.cache"),
        ("darwin", {"HOME": "/Users/ada", "XDG_CACHE_HOME": "/x"}, "/Users/ada/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/ada/Local"}, "/ada/Local"),
        ("win32", {"HOME": "/ada", "USERPROFILE": "/ada"}, "/ada/AppData/Local"),
    ],
)
@POSIX
def test_the_folder_that_the_system_gives(folder, monkeypatch, platform, environment, expected):
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", cache.FOLDER):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cache.sys, "platform", platform)
    assert cache.folder() == Path(expected) / "wengert" / "objects"


def test_a_user_without_a_home(folder, monkeypatch):
    for name in ("XDG_CACHE_HOME", cache.FOLDER):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    make = Maker()
    with pytest.warns(cache.CacheWarning, match="no home directory.*WENGERT_CACHE_DIR") as said:
        assert cache.object_for("a", make) == cache.object_for("a", make) == make.code
    assert (len(said), make.times) == (1, 2)
    assert cache.info().folder is None


def assert_works_without(match):
    """Code is made each time, and the trouble is said once."""
    make = Maker()
    with pytest.warns(cache.CacheWarning, match=match) as said:
        assert cache.object_for("a", make) == cache.object_for("a", make) == make.code
    assert (len(said), make.times) == (1, 2)


def test_a_file_where_the_folder_should_be(folder):
    folder.parent.write_text("")
    assert_works_without("(cannot be read|cannot be written to).*WENGERT_CACHE_DIR moves it")


@POSIX
def test_a_folder_that_may_not_be_written_to(folder, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
    assert_works_without(r"cannot be written to \(Read-only file system; WENGERT_CACHE_DIR")
    assert not list(folder.iterdir())


@POSIX
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_real_folder_of_another_user(mode):
    """In a process that is not the superuser, who may write everywhere."""
    code = f"""
import os, tempfile, warnings
from wengert.compiler.llvm import cache
with tempfile.TemporaryDirectory() as place:
    os.chmod(place, 0o755)
    theirs = os.path.join(place, "theirs")
    os.mkdir(theirs)
    os.chmod(theirs, {mode})
    os.environ[cache.FOLDER] = theirs
    if os.geteuid() == 0:
        os.seteuid(65534)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        print([cache.object_for("a", lambda: b"code") for _ in range(2)], len(said))
    print("Permission denied" in str(said[0].message))
    os.seteuid(os.getuid())
    os.chmod(theirs, 0o700)
"""
    assert run_python(code) == "[b'code', b'code'] 1\nTrue"


def test_a_full_disk(folder, monkeypatch):
    """The write fails in the middle; nothing stays behind, and what was there stays whole."""
    kept = Maker(b"kept")
    cache.object_for("kept", kept)
    real = os.fdopen

    class Full:
        def __init__(self, file) -> None:
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *problem: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.os, "fdopen", lambda *args: Full(real(*args)))
    assert_works_without("the disk is full; `wengert cache clear` empties it")
    assert cache.object_for("kept", kept) == b"kept"
    assert kept.times == 1
    assert len(list(folder.iterdir())) == 1


@POSIX
def test_a_folder_that_all_users_may_write_to_is_not_trusted(folder):
    planted = Maker(b"planted")
    cache.object_for("a", planted)
    folder.chmod(0o777)
    make = Maker(b"own")
    with pytest.warns(cache.CacheWarning, match=r"every user may write.*chmod o-w "):
        assert cache.object_for("a", make) == b"own"
    assert cache.object_for("new", make) == b"own", "without another warning"
    assert len(entries(folder)) == 1
    folder.chmod(0o700)
    assert cache.object_for("a", make) == b"planted"


@POSIX
def test_the_folder_is_made_for_its_user_alone(folder):
    cache.object_for("a", Maker())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert entries(folder)[0].stat().st_mode & 0o077 == 0


# -- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", 1 << 30),
        ("5000", 5000),
        ("500M", 500 << 20),
        ("1.5g", 3 << 29),
        ("2 GiB", 2 << 30),
        ("64kB", 65536),
    ],
)
def test_the_limit(folder, monkeypatch, given, expected):
    monkeypatch.setenv(cache.SIZE, given)
    assert cache.limit() == expected


def test_a_wrong_limit_is_said(folder, monkeypatch):
    monkeypatch.setenv(cache.SIZE, "lots")
    with pytest.warns(
        cache.CacheWarning, match="WENGERT_CACHE_SIZE='lots' is no size such as 500M"
    ):
        assert cache.limit() == 1 << 30


def test_the_least_recently_used_go_first(folder, monkeypatch):
    makers = [Maker(bytes([i]) * 1000) for i in range(10)]
    for i, make in enumerate(makers):
        cache.object_for(str(i), make)
    by_key = {i: folder / (cache.name_of(str(i)) + cache.ENDING) for i in range(10)}
    for i, path in by_key.items():
        os.utime(path, (1000 + i, 1000 + i))
    cache.object_for("0", makers[0])  # used again: now the newest
    size = by_key[0].stat().st_size
    assert cache.evict(folder, 10 * size) == 0
    assert cache.evict(folder, 5 * size) == 6, "until a tenth of the limit is free"
    assert {i for i, path in by_key.items() if path.exists()} == {0, 7, 8, 9}


def test_the_limit_holds_while_entries_are_written(folder, monkeypatch):
    monkeypatch.setenv(cache.SIZE, "64K")
    for i in range(300):
        cache.object_for(str(i), Maker(os.urandom(1000)))
        assert cache.info().nbytes <= (64 << 10) * 17 // 16 + 2000
    newest = Maker()
    cache.object_for("299", newest)
    assert newest.times == 0


def test_temporary_files_of_dead_processes_go(folder):
    cache.object_for("a", Maker())
    dead, alive = folder / "tmpdead.part", folder / "tmpalive.part"
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (1, 1))
    assert cache.clear() == 1
    assert [p.name for p in folder.iterdir()] == [alive.name]


# -- several at once -----------------------------------------------------------------------------

WORKER = """
import random, sys, time
from wengert.compiler.llvm import cache
from pathlib import Path
random.seed(int(sys.argv[1]))
end = time.monotonic() + 1.0
rounds = 0
while time.monotonic() < end or rounds < 50:
    rounds += 1
    i = random.randrange(12)
    code = bytes([i]) * (1000 + 4000 * i)
    assert cache.object_for(str(i), lambda: code) == code, i
    if rounds % 20 == 0:
        cache.evict(cache.folder(), 60_000)
    if rounds % 97 == 0:
        cache.clear()
"""


def test_processes_that_read_write_and_delete_at_once(folder):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", WORKER, str(i)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    problems = [worker.communicate(timeout=100)[1] for worker in workers]
    assert problems == [""] * 4
    assert not list(folder.glob("*.part"))


def test_threads_that_compile_at_once(folder):
    found = {}

    def work(i: int) -> None:
        name = f"constant{i % 4}"
        library = build.load_cached(_constant(name, i % 4))
        found[i] = native(library, name)

    users = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert {i: call() for i, call in found.items()} == {i: i % 4 for i in range(12)}
    assert len(entries(folder)) == 4


# -- modules that use each other -----------------------------------------------------------------


def _constant(name: str, value: int) -> str:
    module = Module()
    f = module.function(name, [], I64)
    f.ret(f.i64(value))
    return module.text()


def test_modules_call_functions_of_published_libraries(folder):
    first = build.load_cached(_constant("published_three", 3))
    first.publish("published_three")
    del first
    module = Module()
    module.declare("published_three", I64, [])
    f = module.function("twice", [], I64)
    found = f.call("published_three", [], I64)
    f.ret(found * 2)
    for _ in range(2):  # compiled, then from the cache
        second = build.load_cached(module.text())
        assert native(second, "twice")() == 6


def test_the_names_that_a_module_defines():
    module = Module()
    for name, internal in (("one", False), ("two.v", False), ("hidden", True)):
        module.function(name, [], I64, internal=internal).ret()
    module.declare("elsewhere", I64, [])
    assert build.defined(module.text()) == ["one", "two.v"]


@POSIX
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_compiles(folder):
    """The child gets LLVM in order, and compiles."""
    going = threading.Event()
    go_on = [True]

    def compile_on() -> None:
        i = 0
        while go_on:
            build.emit_object(_constant("busy", i))
            going.set()
            i += 1

    other = threading.Thread(target=compile_on)
    other.start()
    going.wait(20)
    codes = []
    for i in range(10):
        child = os.fork()
        if child == 0:
            try:
                call = native(build.load_cached(_constant("after", i)), "after")
                os._exit(0 if call() == i else 3)
            finally:
                os._exit(4)
        give_up = time.monotonic() + 20
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < give_up:
            time.sleep(0.002)
        if ended[0] == 0:
            os.kill(child, 9)
            os.waitpid(child, 0)
            codes.append("hung")
        else:
            codes.append(os.waitstatus_to_exitcode(ended[1]))
    go_on.clear()
    other.join()
    assert codes == [0] * 10


def test_a_second_process_finds_the_code(folder):
    code = """
from wengert.compiler.llvm import build, threads
made = []
emit = build.emit_object
build.emit_object = lambda *args: made.append(1) or emit(*args)
threads.pool()
print(len(made))
"""
    assert run_python(code) == "1"
    assert run_python(code) == "0"


# -- the command ---------------------------------------------------------------------------------


def test_the_command(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    cache.object_for("a", Maker(bytes(1 << 20)))
    assert cli.main(["cache"]) == 0
    shown = capsys.readouterr().out
    for part in (str(folder), "1", "1.0 MiB of at most 1024 MiB"):
        assert part in shown
    assert cli.main(["cache", "clear"]) == 0
    assert "1 entries deleted" in capsys.readouterr().out
    assert not entries(folder)
    monkeypatch.setenv(cache.SWITCH, "0")
    assert cli.main(["cache", "info"]) == 0
    assert "switched off" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["cache", "burn"])
    assert "invalid choice: 'burn'" in capsys.readouterr().err


def test_trouble_is_an_error_only_for_those_who_want_it_so(folder):
    folder.parent.write_text("")
    make = Maker()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(cache.CacheWarning):
            cache.object_for("a", make)
        assert cache.object_for("a", make) == make.code
