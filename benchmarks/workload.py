"""What a workload is, and what each library's version of it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]

DEFAULT, RETAINED = "default", "retained"  # what malloc does with memory that was given back
BOTH = (DEFAULT, RETAINED)

# Where an activation is within rounding of 0, its gradient is there or not: each such element moves
# a gradient by one part in the square root of all of them.
RELU_TOLERANCE = 3e-2


@dataclass(frozen=True)
class Setting:
    """How a version is to be built."""

    variant: str = ""  # the words after the library's name: "compile channels-last"
    checking: bool = False  # for the comparison of numbers: without dropout
    threads: int = 2

    def has(self, word: str) -> bool:
        """Whether the variant has a word."""
        return word in self.variant.split()


@dataclass
class Case:
    """A version that is ready to run."""

    step: Callable[[], Any]  # one unit of work; may return before it is done
    check: Callable[[], Mapping[str, Any]]  # what must be equal everywhere, from the first step on
    wait: Callable[[], Any] = lambda: None  # returns when everything that was started is done
    steps: int = 1  # of training that one call makes


Version = Callable[[Arrays, Setting], Case]


@dataclass(frozen=True)
class Workload:
    """A row of the table, with its version for each library.

    The first word of a version's name is the library; "wengert interpreted" is added by itself.
    """

    name: str  # for the command line
    title: str  # for the table
    inputs: Callable[[], Arrays]
    versions: Mapping[str, Version]
    least: float | None = None  # the smallest ratio to the best peer that the project accepts
    aim: float | None = None
    tolerance: float = 1e-4  # of relative errors against a run in float64
    allocators: tuple[str, ...] = (DEFAULT,)
    checks_apart: bool = False  # is the checked computation another one (without dropout)?
    not_peers: tuple[str, ...] = field(default=("peak",))  # versions that are shown, not competed


def library_of(version: str) -> str:
    """The library that runs a version: its first word."""
    return version.split()[0]


def variant_of(version: str) -> str:
    """The other words."""
    return " ".join(version.split()[1:])


def with_parameters(parameters: Mapping[str, Any], **data: Any) -> Arrays:
    """Inputs of a network: its parameters under "param/…", and data."""
    named = {f"param/{name}": np.asarray(value) for name, value in parameters.items()}
    return {**named, **{name: np.asarray(value) for name, value in data.items()}}


def parameters_of(inputs: Arrays) -> Arrays:
    """The parameters among the inputs."""
    return {n.removeprefix("param/"): v for n, v in inputs.items() if n.startswith("param/")}


def check_training(
    step: Callable[[], Any], first_moments: Callable[[], Mapping[str, Any]], count: int = 5
) -> Arrays:
    """The losses of some steps, and the gradients as the optimizer has kept them in the first."""
    losses = [float(step())]
    gradients = {
        f"gradient of {name}": np.array(value, copy=True) for name, value in first_moments().items()
    }
    losses += [float(step()) for _ in range(count - 1)]
    return {"first loss": losses[0], "losses": losses, **gradients}


def measured(result: Mapping[str, Any]) -> Arrays:
    """Results as NumPy arrays in double precision, for the comparison."""
    return {name: np.asarray(value, dtype=np.float64) for name, value in result.items()}
