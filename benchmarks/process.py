"""A player seen from outside: the process, the pipe, and what the machine did in the meantime."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workload import DEFAULT

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 1200.0  # seconds for one answer: slow compilers are slow

# Memory that was given back stays in the process: large results then cost no fresh pages. JAX and
# PyTorch allocate through malloc as NumPy does, so that one setting serves all.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

# An installed package has its bytecode: a library that runs from its source tree must have it as
# well, or its modules would be compiled by Python in every process that we time.
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "WENGERT_NUM_THREADS",
    "NPROC",  # XLA's
)


class PlayerError(RuntimeError):
    """What went wrong in a player; its log has the rest."""


class Process:
    """One player. Between its turns it is stopped, so that no idle thread of it can run."""

    def __init__(
        self,
        python: Path,
        library: str,
        threads: int,
        allocator: str = DEFAULT,
        environment: Mapping[str, str] | None = None,
        processor: int | None = None,
    ) -> None:
        self.library = library
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        variables = {name: str(threads) for name in THREAD_VARIABLES}
        path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        malloc = {} if allocator == DEFAULT else KEEP_MEMORY
        around = {k: v for k, v in os.environ.items() if k != NO_BYTECODE}
        self.process = subprocess.Popen(
            [str(python), "-m", "benchmarks.player", library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env={**around, **variables, **malloc, "PYTHONPATH": path, **(environment or {})},
        )
        if processor is not None:
            os.sched_setaffinity(self.process.pid, {processor})

    # -- requests ----------------------------------------------------------------------------

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.send(do, **request)
        return self.receive(do)

    def send(self, do: str, **request: Any) -> None:
        """Send a request."""
        assert self.process.stdin is not None
        self._signal("SIGCONT")
        try:
            self.process.stdin.write((json.dumps({"do": do, **request}) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PlayerError(f"{do}: the process has ended. {self._last_words()}") from None

    def receive(self, do: str = "answer") -> dict[str, Any]:
        """The answer to the last request; the process sleeps from then on."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            why = "ended" if ready else f"did not answer in {PATIENCE:.0f} s"
            self.close()
            raise PlayerError(f"{do}: the process {why}. {self._last_words()}")
        self._signal("SIGSTOP")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PlayerError(answer["error"])
        return answer

    def _signal(self, name: str) -> None:
        number = getattr(signal, name, None)  # Windows has neither of the two
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def output(self) -> str:
        """Everything that the process wrote to standard error."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    # -- quiet -------------------------------------------------------------------------------

    def processor_seconds(self) -> float | None:
        """Processor time that the process has had, all threads together."""
        return _processor_seconds(self.process.pid)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        self.log.close()


def _processor_seconds(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _busy_seconds() -> float | None:
    """Processor time that all processes of the machine have had."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, first[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Disturbance:
    """The share of the machine that others took while a player had its turn; None: unknown."""

    share: float | None = None


@contextmanager
def watched(*players: Process) -> Iterator[Disturbance]:
    """Watch the machine during a turn."""
    found = Disturbance()
    own, busy, start = [p.processor_seconds() for p in players], _busy_seconds(), time.monotonic()
    yield found
    own_after, busy_after = [p.processor_seconds() for p in players], _busy_seconds()
    elapsed = (time.monotonic() - start) * (os.cpu_count() or 1)
    if busy is None or busy_after is None or None in own or None in own_after:
        return
    took = sum(after or 0.0 for after in own_after) - sum(before or 0.0 for before in own)
    found.share = max(0.0, (busy_after - busy - took) / elapsed)
