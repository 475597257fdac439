"""Checkpoints: one folder each, with safetensors files for arrays and `checkpoint.json`.

A checkpoint appears as a whole or not at all, and is checked as a whole before anything of it is
used: sizes and SHA-256 of all files are in `checkpoint.json`, which also has its own. This guards
against accidents and damage; it is no signature against forgery.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, StateError
from wengert.train import files, storage

FORMAT = "wengert-checkpoint"
VERSION = 1
INDEX = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint: the stored `parts` by name, the user's `meta`, and `info` (versions,
    time of writing)."""

    path: Path
    parts: dict[str, Any]
    meta: dict[str, Any]
    info: dict[str, Any]


def save_checkpoint(
    path: str | os.PathLike[str], parts: Mapping[str, Any], meta: Mapping[str, Any] | None = None
) -> Path:
    """Write a checkpoint as one atomic step, and return its folder.

    `parts` names what is stored, e.g. `{"model": model.state_dict(), "optimizer":
    opt.state_dict()}`: dicts, lists, numbers, strings and arrays in any nesting. `meta` is for the
    user. A checkpoint that is there is replaced; killed at any instant, the old one or the new one
    loads.

    >>> import tempfile, wengert as wg
    >>> from wengert.train import read_checkpoint, save_checkpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_checkpoint(folder + "/a", {"model": {"w": wg.ones(2), "steps": 3}})
    ...     read_checkpoint(path).parts
    {'model': {'w': Tensor([1., 1.], dtype=float32), 'steps': 3}}
    """
    target = Path(path)
    _check_place(target)
    _check_names(parts)
    content: dict[str, bytes] = {}
    state: dict[str, Any] = {}
    for name, tree in parts.items():
        arrays: dict[str, storage.Array] = {}
        state[name] = storage.encode(tree, arrays)
        if arrays:
            content[f"{name}.safetensors"] = storage.pack(arrays)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "info": _info(),
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
        },
        "state": state,
        "meta": storage.encode(dict(meta or {}), _NoArrays()),
    }
    content[INDEX] = _sealed(index)
    files.write_folder(target, content)
    return target


class _NoArrays(dict[str, Any]):
    def __setitem__(self, name: str, value: Any) -> None:
        raise StateError(
            "save_checkpoint",
            f"meta holds an array, at {name}",
            fix="put arrays into a part of their own: parts={'extra': …}",
        )


def _check_place(target: Path) -> None:
    """Only a checkpoint may be replaced, or an empty folder: nothing else of the user's."""
    is_own = target.is_dir() and ((target / INDEX).is_file() or not any(target.iterdir()))
    if target.exists() and not is_own:
        raise ArgumentError(
            "save_checkpoint",
            "there is something else under this name, which would be lost",
            met=str(target),
            cause="a folder of checkpoints in place of a name in it",
            fix="pass a new name, such as runs/a/step-100",
        )


def _check_names(parts: Mapping[str, Any]) -> None:
    for name in parts:
        if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum():
            raise ArgumentError(
                "save_checkpoint",
                "a part's name becomes a file's name: letters, digits, - and _",
                met=repr(name),
                fix="for example 'model', 'optimizer', 'ema'",
            )


def _info() -> dict[str, Any]:
    from wengert import __version__

    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "wengert": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _sealed(index: dict[str, Any]) -> bytes:
    """The index as JSON, with the checksum of all else in it as last entry."""
    checksum = _digest(json.dumps(index, indent=1, allow_nan=False))
    return json.dumps({**index, "sha256": checksum}, indent=1, allow_nan=False).encode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- reading ------------------------------------------------------------------------------------


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and check all of it.

    `path` is the checkpoint's folder, or a folder of checkpoints, of which the newest valid one is
    read. Arrays come back as tensors.

    Raises
    ------
    StateError
        if there is none, or if a file is missing, truncated or changed; the message names the file
        and what is wrong.
    """
    place = Path(path)
    found = _present(place)
    if found is not None:
        return _read(found)
    newest = latest_checkpoint(place)
    if newest is None:
        names = sorted(p.name for p in place.iterdir()) if place.is_dir() else None
        held = "no such folder" if names is None else ", ".join(names[:5]) or "an empty folder"
        raise StateError(
            "read_checkpoint",
            "there is no valid checkpoint",
            met=f"{place}: {held}",
            fix="pass the folder that save_checkpoint or the Checkpoint callback wrote to",
        )
    return _read(newest)


def _present(place: Path) -> Path | None:
    """The checkpoint under this name, or the one that was just being replaced there."""
    for folder in (place, place.with_name(place.name + files.REPLACED)):
        if folder.is_dir() and (folder / INDEX).is_file():
            return folder
    # A folder with tensor files but no index is a damaged checkpoint, not a folder of checkpoints.
    return place if any(place.glob("*.safetensors")) else None


def _read(folder: Path) -> Checkpoint:
    index = _read_index(folder / INDEX)
    content = {name: _read_file(folder, name, entry) for name, entry in index["files"].items()}
    parts = {}
    for name, tree in index["state"].items():
        file = f"{name}.safetensors"
        arrays = storage.unpack(content[file], folder / file) if file in content else {}
        parts[name] = storage.decode(tree, arrays)
    return Checkpoint(folder, parts, storage.decode(index["meta"], {}), index["info"])


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise _damaged(path, "the file is missing")
    try:
        index = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except ValueError as problem:
        raise _damaged(path, f"it is no JSON: {problem}") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise _damaged(path, f"it does not say that its format is {FORMAT}")
    if index.get("version") != VERSION:
        raise StateError(
            "read_checkpoint",
            "the checkpoint was written by another version of the format",
            met=f"version {index.get('version')} in {path}, this library reads {VERSION}",
            fix="read it with the version of the library that wrote it",
        )
    checksum = index.pop("sha256", None)
    if checksum != _digest(json.dumps(index, indent=1)):
        raise _damaged(path, "its checksum does not fit: it was changed after it was written")
    return index


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not allowed")


def _read_file(folder: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    path = folder / name
    if path.name != name or not path.is_file():
        raise _damaged(path, "the file is missing")
    content = path.read_bytes()
    if len(content) != entry["bytes"]:
        raise _damaged(path, f"it has {len(content)} bytes in place of {entry['bytes']}")
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise _damaged(path, "its checksum does not fit: it was changed after it was written")
    return content


def _damaged(path: Path, why: str) -> StateError:
    return StateError(
        "read_checkpoint",
        "the checkpoint is damaged; nothing was loaded",
        met=f"{path}: {why}",
        fix="use an older checkpoint: wengert.train.latest_checkpoint finds the newest valid one",
    )


def checkpoints(folder: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints in a folder, oldest first, by the names that the callback gives them. They
    are not checked; see `latest_checkpoint`."""
    place = Path(folder)
    if not place.is_dir():
        return []
    found = [p for p in place.iterdir() if not p.name.startswith(".tmp-") and (p / INDEX).is_file()]
    # A replaced one counts as older than the one that took its name.
    return sorted(found, key=lambda p: (p.name.removesuffix(files.REPLACED), p.suffix == ""))


def latest_checkpoint(folder: str | os.PathLike[str]) -> Path | None:
    """The newest checkpoint in a folder that is whole; damaged ones are passed over. None where
    there is none."""
    for path in reversed(checkpoints(folder)):
        if is_valid(path):
            return path
    return None


def is_valid(path: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint is whole and unchanged."""
    try:
        _read(Path(path))
    except StateError:
        return False
    return True
