"""The environments that implementations run in: the present one for wengert, one for each peer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.process import ROOT

# What is installed for a peer: PyTorch as it was when the targets were set, the newest JAX.
PEERS: dict[str, tuple[str, ...]] = {"torch": ("torch==2.13.0", "numpy"), "jax": ("jax", "numpy")}
FOLDER = ROOT / ".venv" / "peers"
OWN = ("wengert", "numpy", "peak")

# Tried in turn: the newest release of a peer may need a newer Python than the one in use.
PYTHONS = (sys.executable, "python3.14", "python3.13", "python3.12")


def pythons(
    peers_python: Path | None, wanted: tuple[str, ...], say: Callable[[str], None]
) -> dict[str, Path]:
    """The interpreter for each library; a peer that cannot be had is said and left out."""
    found = dict.fromkeys(OWN, Path(sys.executable))
    for library in PEERS:
        if wanted and library not in wanted:
            continue
        python = peers_python or environment(library, say)
        if python is not None and has(python, library):
            found[library] = python
        else:
            say(f"{library} takes no part: it could not be installed")
    return found


def has(python: Path, library: str) -> bool:
    """Whether an interpreter can import a library."""
    run = subprocess.run([str(python), "-c", f"import {library}"], capture_output=True)
    return run.returncode == 0


def environment(library: str, say: Callable[[str], None]) -> Path | None:
    """The interpreter of a peer's own environment, made where it is missing."""
    folder = FOLDER / library
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == " ".join(PEERS[library]):
        return python
    for base in filter(None, map(shutil.which, PYTHONS)):
        say(f"installing {' '.join(PEERS[library])} for {base}")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        steps = (
            [base, "-m", "venv", "--clear", str(folder)],
            [*install, "--upgrade", *PEERS[library]],
        )
        for step in steps:
            run = subprocess.run(step, capture_output=True, text=True)
            if run.returncode != 0:
                say(_last_line(run.stderr))
                break
        else:
            stamp.write_text(" ".join(PEERS[library]))
            return python
    return None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return f"  {lines[-1]}" if lines else "  failed"
