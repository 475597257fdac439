"""Where data files are: a path that the user gave, a package or system path, or a download."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wengert.core.errors import MissingExtraError, WengertError

CACHE_VARIABLE = "WENGERT_DATA"  # a directory that is searched, and that downloads go to


class NotFoundError(WengertError, FileNotFoundError):
    """Data that is not on this machine; the message tells the ways to get it."""


def need(package: str, extra: str, purpose: str) -> Any:
    """Import an optional package, or say how to install it.

    >>> from wengert.data.locate import need
    >>> need("json", "demo", "reading").__name__
    'json'
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        name = {"sklearn": "scikit-learn"}.get(package.split(".")[0], package.split(".")[0])
        known = extra in ("demo", "weights", "data")
        command = f"pip install 'wengert[{extra}]'" if known else f"pip install {name}"
        raise MissingExtraError(
            purpose, f"needs the package {name}, which is not installed", fix=command
        ) from None


def package_folder(package: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def cache_folder() -> Path:
    """Where downloads are kept: $WENGERT_DATA, or the user's cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wengert"


def find(
    name: str,
    files: Sequence[str],
    path: str | os.PathLike[str] | None,
    known: Sequence[Path | None],
    ways: str,
) -> list[Path] | None:
    """The wanted files in the first folder that has them all; None where none has.

    A `path` that the user gave is the only place that is searched, and must have them. Each file
    may be packed (as named, `.gz`) or unpacked.
    """
    folders = [Path(path)] if path is not None else [p for p in known if p is not None]
    for folder in folders:
        found = [_packed_or_not(folder, file) for file in files]
        if all(f is not None for f in found):
            return [f for f in found if f is not None]
    if path is not None:
        raise NotFoundError(
            name,
            f"the folder lacks {files[0]}" if Path(path).is_dir() else "there is no such folder",
            met=str(path),
            fix=ways,
        )
    return None


def _packed_or_not(folder: Path, file: str) -> Path | None:
    for candidate in (folder / file, folder / file.removesuffix(".gz")):
        if candidate.is_file():
            return candidate
    return None


def download(name: str, url: str, files: dict[str, str], ways: str) -> list[Path]:
    """Fetch files into the cache through pooch, which checks their checksums."""
    try:
        pooch = importlib.import_module("pooch")
    except ImportError:
        raise MissingExtraError(
            name,
            "the data is not on this machine, and downloading it needs the package pooch",
            fix=ways,
        ) from None
    folder = cache_folder() / name
    paths = []
    for file, checksum in files.items():
        try:
            paths.append(
                Path(
                    pooch.retrieve(url + file, checksum, fname=file, path=folder, progressbar=True)
                )
            )
        except Exception as problem:
            raise NotFoundError(
                name,
                f"{file} could not be downloaded",
                met=f"{type(problem).__name__}: {str(problem)[:200]}",
                cause="no way to the network, or a proxy that changes files",
                fix=ways,
            ) from problem
    return paths
