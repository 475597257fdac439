"""The machine and the installation, as plain facts: for `wengert info` and for reports."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# What each extra of the package installs; the same as in pyproject.toml.
EXTRAS: dict[str, tuple[str, ...]] = {
    "demo": ("scikit-learn", "safetensors"),
    "weights": ("safetensors",),
    "data": ("pooch",),
}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CGROUP = Path("/sys/fs/cgroup")


def versions() -> dict[str, str]:
    """Versions of Python and of what the library stands on.

    >>> from wengert.system import versions
    >>> sorted(versions())
    ['ml_dtypes', 'numpy', 'python', 'rich', 'wengert']
    """
    from wengert import __version__

    packages = {name: package_version(name) or "missing" for name in ("numpy", "ml_dtypes", "rich")}
    return {"wengert": __version__, "python": platform.python_version(), **packages}


def package_version(name: str) -> str | None:
    """The version of an installed package; None where it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def cores() -> dict[str, float | int | None]:
    """Processors of the machine (`logical`), those that this process may run on (`allowed`), the
    share of time that its container grants (`quota`, in processors; None: no limit), and how many
    threads make sense (`usable`)."""
    logical = os.cpu_count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else logical
    quota = cpu_quota()
    usable = allowed if quota is None else max(1, min(allowed, int(quota + 0.5)))
    return {"logical": logical, "allowed": allowed, "quota": quota, "usable": usable}


def cpu_quota(root: Path = _CGROUP) -> float | None:
    """Processors that the control group grants; the tightest limit on the way up counts."""
    limits = []
    for folder in _groups(root, "cpu"):
        try:
            if (folder / "cpu.max").is_file():  # version 2: "200000 100000" or "max 100000"
                allowed, period = (folder / "cpu.max").read_text().split()[:2]
            else:
                allowed = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            if allowed != "max" and int(allowed) > 0:
                limits.append(int(allowed) / int(period))
        except (OSError, ValueError):
            continue
    return min(limits, default=None)


def memory() -> dict[str, int | None]:
    """Bytes of memory: of the machine (`total`), and granted to the container (`limit`)."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        total = None
    return {"total": total, "limit": memory_limit()}


def memory_limit(root: Path = _CGROUP) -> int | None:
    """Bytes that the control group grants; None without a limit."""
    limits = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                value = (folder / name).read_text().strip()
                if value != "max" and int(value) < 1 << 60:  # version 1 writes a huge number
                    limits.append(int(value))
            except (OSError, ValueError):
                continue
    return min(limits, default=None)


def _groups(root: Path, controller: str) -> list[Path]:
    """Folders of this process's control groups, from the innermost up, in both versions."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    found = [root, root / controller]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root if not controllers else root / controller
        if not controllers or controller in controllers.split(","):
            inside = Path(path.lstrip("/"))
            found += [base / part for part in (inside, *inside.parents)]
    return list(dict.fromkeys(found))


def blas() -> str:
    """The library that NumPy multiplies matrices with."""
    try:
        config: Any = np.show_config(mode="dicts")
        entry = config["Build Dependencies"]["blas"]
        return f"{entry['name']} {entry['version']}".strip()
    except (KeyError, TypeError):
        return "unknown"


def thread_settings() -> dict[str, str]:
    """The environment variables that set numbers of threads."""
    return {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}


@contextmanager
def blas_threads(limit: int) -> Iterator[None]:
    """Let matrix products use at most so many threads, where the package threadpoolctl (which comes
    with scikit-learn) is there to tell the library; else they use what the environment says."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(limit, user_api="blas"):
        yield


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of arrays that are gone, for the next ones.

    An eager training step makes and drops the same large arrays again and again. Where glibc gives
    each one back to the system, the next step pays for new pages. This is a setting of the whole
    process, so the library never makes it by itself; `wengert demo` and `wengert train` do, and a
    program of your own may. Returns whether it took effect (only glibc has it).

    >>> from wengert.system import keep_freed_memory
    >>> keep_freed_memory() in (True, False)
    True
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # 32 MiB is the most that glibc takes for the second.
    return bool(mallopt(trim_threshold, 1 << 30)) and bool(mallopt(mmap_threshold, 32 << 20))


def extras() -> dict[str, dict[str, str | None]]:
    """Extra → package → its version, or None where it is missing."""
    return {extra: {p: package_version(p) for p in packages} for extra, packages in EXTRAS.items()}


def executable() -> str:
    """The running Python."""
    return sys.executable or "unknown"
