"""What a compiled program looks like to its caller, and the one that interprets."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from wengert.compiler.ir import Array, Program, evaluate
from wengert.core.spec import Spec

Words = np.ndarray[Any, np.dtype[np.int64]]


class Executable:
    """A program ready to run on buffers that the caller gives by address.

    Attributes
    ----------
    inputs, outputs : what each buffer holds, as C-contiguous arrays aligned to their entries
    aliases : output position → input position; the two may be the same buffer. No other buffers
        may overlap.
    table : int64 array with one address for each input, then one for each output. The caller fills
        it (once, where buffers stay) and keeps the buffers alive.

    Calling the executable runs the program; results are in the output buffers. A call that raises
    has changed no buffer of an aliased pair. It is not safe to call one executable from two
    threads at once: its scratch memory is its own, and there is one of it.
    """

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    aliases: dict[int, int]
    table: Words

    def __init__(self, program: Program) -> None:
        self.inputs = tuple(t.spec for t in program.inputs)
        self.outputs = tuple(t.spec for t in program.outputs)
        self.aliases = dict(program.aliases)
        self.table = np.zeros(len(self.inputs) + len(self.outputs), np.int64)

    def __call__(self) -> None:
        raise TypeError("a kind of Executable says how it runs")

    def request(self, counts: Words, total: int) -> Any:
        """What `run_alone` needs to run the program only if numbers of 32 bits at some addresses
        add up to a total; None where that cannot be asked, or a run may fail."""
        return None

    def run_alone(self, request: Any) -> bool:
        """Run the program; False if nothing was run, and a plain call is needed."""
        return False


class Interpreted(Executable):
    """Runs a program op by op through the NumPy references: what compiled code is tested with."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.program = program

    def __call__(self) -> None:
        specs = (*self.inputs, *self.outputs)
        buffers = [view(int(a), s) for a, s in zip(self.table, specs, strict=True)]
        count = len(self.inputs)
        given = [b.copy() for b in buffers[:count]]
        for out, found in zip(buffers[count:], evaluate(self.program, given), strict=True):
            out[...] = found


def view(address: int, spec: Spec) -> Array:
    """The array of a spec that stands at an address, which somebody keeps alive."""
    if not spec.size:
        return np.zeros(spec.shape, spec.dtype)
    memory: Any = (ctypes.c_char * spec.nbytes).from_address(address)
    return np.ndarray(spec.shape, spec.dtype, memory)
