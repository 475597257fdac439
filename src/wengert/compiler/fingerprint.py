"""What tells one traced program from another: a text from which all that is compiled follows.

Two programs with the same text are the same, wherever and by whom they were traced: terms are told
by number, in order; constants by their content; of the user's lines only whether they stand in a
backward pass, which is all that the compiler asks of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.compiler.ir import Array, Program, Term
from wengert.compiler.loop import Loop, scan_op
from wengert.core.dtypes import DType, default_float
from wengert.core.spec import Spec
from wengert.ops import OWN
from wengert.transforms.remat import Run


class Unknown(Exception):
    """A program has something in it whose content cannot be told."""


class Fingerprint:
    """The text of a program.

    Attributes
    ----------
    text : the same for programs that are compiled alike
    constants : the arrays of the program's constants, in order: those of the bodies of its loops
        among them
    """

    def __init__(self, program: Program) -> None:
        self.constants: list[Array] = []
        self.runs: dict[Run, int] = {}
        self.lines: list[str] = [default_float().name]
        self._program(program)
        self.text = "\n".join(self.lines)

    def _program(self, program: Program) -> None:
        numbers = {t: i for i, t in enumerate(program.inputs)}
        lines = [_spec(t.spec) for t in program.inputs]
        for term in program.terms:
            if term.op is None and term.data is None:
                continue
            numbers[term] = len(numbers)
            lines.append(self._term(term, numbers))
        outputs = [numbers[o] for o in program.outputs]
        lines.append(f"return {outputs} {sorted(program.aliases.items())}")
        self.lines += lines

    def _term(self, term: Term, numbers: dict[Term, int]) -> str:
        if term.op is None:
            assert term.data is not None
            self.constants.append(term.data)
            return f"{_content(term.data)} {_phase(term)}"
        if term.op not in OWN and term.op is not scan_op:
            raise Unknown(term.op)
        args = [numbers[a] for a in term.args]
        params = [f"{k}={self._value(v)}" for k, v in term.params.items()]
        return f"{term.name} {args} {params} {_phase(term)}"

    def _value(self, value: Any) -> str:
        """A static parameter. Words without quotes tell what is no plain value of Python."""
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if kind is tuple or kind is list:
            return f"{kind.__name__}({','.join(map(self._value, value))})"
        if kind is Loop:
            self._program(value.body)
            return f"loop({value.constants},{value.carried},{value.length},{value.reverse})"
        if kind is Run:
            return f"run({self.runs.setdefault(value, len(self.runs))})"
        tell = _TOLD.get(kind)
        if tell is not None:
            return tell(value)
        if isinstance(value, np.dtype):
            return f"dtype({value.name})"
        if isinstance(value, np.generic):
            return f"number({value.dtype.name},{value.tobytes().hex()})"
        raise Unknown(value)


_PLAIN = frozenset((bool, int, float, str, bytes, type(None)))


def _spec(spec: Spec) -> str:
    return f"{_name(spec.dtype)}{spec.shape}"


_TOLD: dict[type, Callable[[Any], str]] = {Spec: _spec}
_names: dict[DType, str] = {}


def _name(dtype: DType) -> str:
    """The name of a dtype, which NumPy takes its time to tell."""
    if dtype not in _names:
        _names[dtype] = dtype.name
    return _names[dtype]


def _phase(term: Term) -> str:
    """Whether the lines that a term comes from all belong to backward passes."""
    if not term.origins:
        return "-"
    return "b" if all(origin[3] == "backward" for origin in term.origins) else "f"


def _content(x: Array) -> str:
    base = compact(x)
    whole: Any = np.ascontiguousarray(base).reshape(-1).view(np.uint8)
    digest = hashlib.blake2b(whole, digest_size=20)
    return f"constant {_name(x.dtype)}{x.shape} of {base.shape} {digest.hexdigest()}"


def compact(x: Array) -> Array:
    """An array without the repetitions that take no memory: `broadcast_to` its shape gives it."""
    if 0 not in x.strides:
        return x
    return x[tuple(slice(0, 1) if s == 0 else slice(None) for s in x.strides)]
