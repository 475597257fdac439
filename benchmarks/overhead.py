"""What one eager operation on scalars costs: the overhead of the library around NumPy.

    python benchmarks/overhead.py [--repeats 30] [--calls 2000]

Each library runs each case in short blocks that are interleaved with those of the others, so that
a slow moment of the machine hits all alike. The table shows the median over all blocks, in
microseconds a call, and the best block in parentheses. PyTorch and JAX take part if installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Case = Callable[[], Any]
CHAIN = 200  # ops in the case "forward and backward"


def numpy_cases() -> dict[str, Case]:
    a, b = np.array(1.5, np.float32), np.array(2.5, np.float32)
    return {"a * b": lambda: a * b, "a * 2.0": lambda: a * 2.0, "exp(a)": lambda: np.exp(a)}


def wengert_cases() -> dict[str, Case]:
    import wengert as wg

    a, b = wg.asarray(1.5), wg.asarray(2.5)
    x, y = wg.asarray(1.5).requires_grad_(), wg.asarray(2.5)

    def train() -> None:
        z = x
        for _ in range(CHAIN):
            z = z * y
        z.backward()

    return {
        "a * b": lambda: a * b,
        "a + b": lambda: a + b,
        "a * 2.0": lambda: a * 2.0,
        "exp(a)": lambda: wg.exp(a),
        "a * b, recorded": lambda: x * y,
        "a + b, recorded": lambda: x + y,
        "a * 2.0, recorded": lambda: x * 2.0,
        "exp(a), recorded": lambda: wg.exp(x),
        "forward and backward, an op": train,
    }


def torch_cases() -> dict[str, Case]:
    import torch

    torch.set_num_threads(1)
    a, b = torch.tensor(1.5), torch.tensor(2.5)
    x, y = torch.tensor(1.5, requires_grad=True), torch.tensor(2.5)

    def train() -> None:
        z = x
        for _ in range(CHAIN):
            z = z * y
        z.backward()

    return {
        "a * b": lambda: a * b,
        "a + b": lambda: a + b,
        "a * 2.0": lambda: a * 2.0,
        "exp(a)": lambda: torch.exp(a),
        "a * b, recorded": lambda: x * y,
        "a + b, recorded": lambda: x + y,
        "a * 2.0, recorded": lambda: x * 2.0,
        "exp(a), recorded": lambda: torch.exp(x),
        "forward and backward, an op": train,
    }


def jax_cases() -> dict[str, Case]:
    import jax
    import jax.numpy as jnp

    a, b = jnp.float32(1.5), jnp.float32(2.5)

    def chain(z: Any) -> Any:
        for _ in range(CHAIN):
            z = z * b
        return z

    return {
        "a * b": lambda: a * b,
        "a + b": lambda: a + b,
        "a * 2.0": lambda: a * 2.0,
        "exp(a)": lambda: jnp.exp(a),
        "forward and backward, an op": lambda: jax.grad(chain)(a),
    }


LIBRARIES = {"numpy": numpy_cases, "wengert": wengert_cases, "torch": torch_cases, "jax": jax_cases}


def block(case: Case, calls: int) -> float:
    """Microseconds a call, in one block."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        case()
    return (time.perf_counter_ns() - start) / calls / 1e3


def measure(repeats: int, calls: int) -> dict[tuple[str, str], list[float]]:
    """The times of all blocks, by case and library."""
    found = {
        lib: make() for lib, make in LIBRARIES.items() if importlib.util.find_spec(lib) is not None
    }
    times: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        for name in found["wengert"]:
            ops = CHAIN if name.startswith("forward") else 1
            for lib, cases in found.items():
                if name in cases:
                    took = block(cases[name], max(5, calls // ops)) / ops
                    if repeat:  # the first round warms up
                        times.setdefault((name, lib), []).append(took)
    return times


def show(times: dict[tuple[str, str], list[float]]) -> None:
    """Print the table."""
    libraries = list(dict.fromkeys(lib for _, lib in times))
    print(f"{'microseconds a call':<30}" + "".join(f"{lib:>18}" for lib in libraries))
    for name in dict.fromkeys(name for name, _ in times):
        row = f"{name:<30}"
        for lib in libraries:
            blocks = times.get((name, lib))
            cell = f"{statistics.median(blocks):.2f} ({min(blocks):.2f})" if blocks else "-"
            row += f"{cell:>18}"
        print(row)


def main(arguments: list[str] | None = None) -> None:
    """Measure with options as on the command line, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30, help="blocks a case and library")
    parser.add_argument("--calls", type=int, default=2000, help="calls a block")
    options = parser.parse_args(arguments)
    show(measure(options.repeats, options.calls))
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
