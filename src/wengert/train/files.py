"""Writing so that a crash at any instant leaves either the old state or the new, never a mixture.

Everything is written under a temporary name, forced to the disk, and then renamed; a rename is
atomic. The functions that touch the disk stand here alone, so that tests can make each of them
fail.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

TEMPORARY = ".tmp-"
REPLACED = ".replaced"


def temporary_name(target: Path) -> Path:
    """A name beside `target` that says which process is writing there."""
    host = socket.gethostname().replace("-", "_") or "host"
    return target.with_name(f"{TEMPORARY}{host}-{os.getpid()}-{secrets.token_hex(4)}")


def write_file(path: Path, content: bytes) -> None:
    """Write a new file and force it to the disk."""
    with open(path, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk."""
    if os.name == "nt":  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder its final name."""
    os.replace(source, target)


def make_folder(path: Path) -> None:
    """Make a new folder."""
    path.mkdir()


def remove(path: Path) -> None:
    """Remove a folder; under a temporary name first, so that it is never seen half removed."""
    doomed = temporary_name(path)
    rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder with these files as one atomic step; one that is there is replaced.

    While it is being replaced, the old one has the name `<target>.replaced` for a moment, where
    readers look too.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_name(target)
    replaced = target.with_name(target.name + REPLACED)
    make_folder(draft)
    try:
        for name, content in files.items():
            write_file(draft / name, content)
        sync_folder(draft)
        if target.exists():
            if replaced.exists():
                remove(replaced)
            rename(target, replaced)
        rename(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if replaced.exists() and not target.exists():
            rename(replaced, target)
        raise
    sync_folder(target.parent)
    if replaced.exists():
        remove(replaced)


def write_atomically(target: Path, content: bytes) -> None:
    """Write one file as one atomic step; one that is there is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_name(target)
    try:
        write_file(draft, content)
        rename(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes of this host left behind under temporary names."""
    host = socket.gethostname().replace("-", "_") or "host"
    for path in folder.glob(f"{TEMPORARY}{host}-*"):
        process = path.name.removeprefix(f"{TEMPORARY}{host}-").split("-")[0]
        if process.isdigit() and not _runs(int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it runs, but belongs to someone else
    return True
