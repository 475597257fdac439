"""Compiled programs on disk: each is compiled once per machine and not once per process.

An entry is a file named by the hash of what determines its content. It holds a checksum, and is
written under another name first: a reader finds a whole entry or none. Nothing that goes wrong here
is fatal: the code is compiled again, and a warning tells why, once in a process.

    WENGERT_CACHE=0        switches it off
    WENGERT_CACHE_DIR      the folder; default: `wengert` in the user's folder of caches
    WENGERT_CACHE_SIZE     the most that it may take, such as 500M; default 1G
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wengert.core.errors import CacheWarning

SWITCH, FOLDER, SIZE = "WENGERT_CACHE", "WENGERT_CACHE_DIR", "WENGERT_CACHE_SIZE"
DEFAULT_SIZE = 1 << 30
ENDING = ".wgo"
MAGIC = b"wengert1"
DIGEST = 32
STALE_SECONDS = 3600.0  # a temporary file of that age belongs to a process that was killed
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Info:
    """What is in the cache. `folder` is None where it is switched off or has no place."""

    folder: Path | None
    entries: int
    nbytes: int
    limit: int


class _Memory:
    """What this process remembers of the cache."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew: after a fork, and in tests."""
        self.lock = threading.Lock()
        self.said: set[str] = set()
        self.unchecked: int | None = None  # bytes written since the size was last looked at


memory = _Memory()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=memory.forget)


def object_for(key: str, make: Callable[[], bytes]) -> bytes:
    """The code that a key stands for: from the cache, or made and kept.

    The key must tell all that the code depends on; the version of this package is added.

    >>> from wengert.compiler.llvm.cache import object_for
    >>> object_for("an example", lambda: b"code")
    b'code'
    """
    name = name_of(key)
    content = load(name)
    if content is None:
        content = make()
        keep(name, content)
    return content


def name_of(key: str) -> str:
    """The name of the entry for a key."""
    from wengert import __version__

    return hashlib.blake2b(f"{__version__}\n{key}".encode(), digest_size=20).hexdigest()


def load(name: str) -> bytes | None:
    """The content of an entry; None if there is none."""
    place = folder()
    return None if place is None else _read(place / (name + ENDING))


def keep(name: str, content: bytes) -> None:
    """Write an entry, if that is possible."""
    place = folder()
    if place is not None:
        _write(place / (name + ENDING), content)


@lru_cache(maxsize=64)
def written_in(*rooms: str) -> str:
    """A digest of all that is written in some rooms of this package: for keys of what our own code
    determines."""
    root = Path(__file__).parents[2]
    digest = hashlib.blake2b(digest_size=20)
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def folder() -> Path | None:
    """Where entries are kept; None without a place, or if the cache is switched off."""
    if os.environ.get(SWITCH, "").strip().lower() in ("0", "off", "false", "no"):
        return None
    chosen = os.environ.get(FOLDER)
    if chosen:
        return Path(chosen).absolute() / "objects"
    base = _user_caches()
    return None if base is None else base / "wengert" / "objects"


def info() -> Info:
    """How much the cache holds."""
    place = folder()
    found = [] if place is None else _entries(place)
    return Info(place, len(found), sum(size for _, size, _ in found), limit())


def clear() -> int:
    """Delete all entries; returns how many there were. Programs that run keep their code."""
    place = folder()
    gone = 0
    for _, _, path in [] if place is None else _entries(place):
        gone += _delete(path)
    if place is not None:
        _delete_temporary(place)
    return gone


def limit() -> int:
    """The most bytes that the cache may take."""
    given = os.environ.get(SIZE, "").strip()
    if not given:
        return DEFAULT_SIZE
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", given, re.IGNORECASE)
    if parts is None:
        _say("size", f"{SIZE}={given!r} is no size such as 500M or 2G; the limit is 1G")
        return DEFAULT_SIZE
    return int(float(parts[1]) * _UNITS[parts[2].upper()])


# -- files ---------------------------------------------------------------------------------------


def _user_caches() -> Path | None:
    """The folder that the system gives to caches of this user."""
    try:
        if sys.platform == "win32":
            given = os.environ.get("LOCALAPPDATA")
            return Path(given) if given else Path.home() / "AppData" / "Local"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches"
        given = os.environ.get("XDG_CACHE_HOME", "")
        return Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        _say("home", f"there is no home directory for it; set {FOLDER}")
        return None


def _read(path: Path) -> bytes | None:
    """The content of an entry; None if it is not there, or not whole."""
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        _say("place", f"{path} cannot be read ({_reason(problem)})")
        return None
    if not _is_trusted(path.parent):
        return None
    content = packed[len(MAGIC) + DIGEST :]
    if packed[: len(MAGIC) + DIGEST] != MAGIC + _checksum(content):
        _say("damaged", f"{path} is damaged; it is compiled and written again")
        return None
    _touch(path)
    return content


def _is_trusted(place: Path) -> bool:
    """Code must not come from a folder that any user of the machine may write to."""
    if os.name != "posix":
        return True
    try:
        open_to_all = place.stat().st_mode & stat.S_IWOTH
    except OSError:
        return False
    if open_to_all:
        _say("trust", f"every user may write to {place}, so it is not used: chmod o-w {place}")
    return not open_to_all


def _touch(path: Path) -> None:
    """Note that the entry was used; the least recently used ones go first."""
    with contextlib.suppress(OSError):  # of a cache that someone else keeps, for us to read
        os.utime(path)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _write(path: Path, content: bytes) -> None:
    """Keep an entry, if that is possible."""
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_trusted(path.parent):
            return
        handle, temporary = tempfile.mkstemp(suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + _checksum(content) + content)
        os.replace(temporary, path)
    except OSError as problem:
        if temporary is not None:
            _delete(Path(temporary))
        if not (os.name == "nt" and path.exists()):  # another process wrote it, and has it open
            _say("place", f"{path.parent} cannot be written to ({_reason(problem)})")
        return
    _keep_limit(path.parent, len(content))


def _reason(problem: OSError) -> str:
    if problem.errno == errno.ENOSPC:
        return f"the disk is full; `wengert cache clear` empties it, {FOLDER} moves it"
    return f"{problem.strerror or problem}; {FOLDER} moves it, {SWITCH}=0 switches it off"


def _say(what: str, text: str) -> None:
    """Warn, once for each kind of trouble."""
    with memory.lock:
        new = what not in memory.said
        memory.said.add(what)
    if new:
        warnings.warn(f"cache of compiled code: {text}", CacheWarning, stacklevel=3)


# -- size ----------------------------------------------------------------------------------------


def _keep_limit(place: Path, written: int) -> None:
    """Look at the size of the cache at the first write, and again after each sixteenth of it."""
    most = limit()
    with memory.lock:
        first = memory.unchecked is None
        memory.unchecked = (memory.unchecked or 0) + written
        if not first and memory.unchecked < most // 16:
            return
        memory.unchecked = 0
    evict(place, most)
    _delete_temporary(place)


def evict(place: Path, most: int) -> int:
    """Delete the least recently used entries of a folder until a tenth of the limit is free, if it
    takes more than the limit. A process that reads one of them meanwhile keeps it, or makes its own
    again."""
    found = _entries(place)
    total = sum(size for _, size, _ in found)
    if total <= most:
        return 0
    gone = 0
    for _, size, path in sorted(found):
        if total <= most - most // 10:
            break
        total -= size
        gone += _delete(path)
    return gone


def _entries(place: Path) -> list[tuple[float, int, Path]]:
    """Time of last use, size and path of each entry."""
    return _files(place, ENDING)


def _files(place: Path, ending: str) -> list[tuple[float, int, Path]]:
    found = []
    try:
        with os.scandir(place) as listed:
            for entry in listed:
                if entry.name.endswith(ending):
                    try:
                        status = entry.stat()
                    except OSError:
                        continue  # another process has deleted it
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
    except OSError:
        return found
    return found


def _delete(path: Path) -> int:
    """Delete a file; returns how many were deleted."""
    try:
        path.unlink()
    except OSError:
        return 0
    return 1


def _delete_temporary(place: Path) -> None:
    now = time.time()
    for used, _, path in _files(place, ".part"):
        if now - used > STALE_SECONDS:
            _delete(path)
