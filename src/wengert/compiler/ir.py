"""The compiler's graph: a `Program` is a list of `Term`s, each an op applied to earlier terms.

It is the traced graph without what only derivatives need: no saved values, no tensors, but every
term keeps the sites of all the user's lines that it came from. Every pass takes a program and gives
a program; `check.verify` holds after each, and `evaluate` runs any of them through the ops' NumPy
references, so that each pass can be tested by what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any

import numpy as np

from wengert.core import site
from wengert.core.dtypes import DType
from wengert.core.op import REGISTRY, Op
from wengert.core.spec import Shape, Spec
from wengert.core.state import recording

Array = np.ndarray[Any, Any]
Origins = tuple[site.Origin, ...]

_number = count().__next__


class Term:
    """One value of a program.

    Attributes
    ----------
    op : what computes it; None for an input or a constant
    name : the op's name, `constant` or `input`
    params : static parameters of the op
    args : the operands
    shape, dtype, size : of the result; for an op with several results all are in `specs`
    data : the array of a constant; None for all else
    origins : where the user's code made it (several lines, where terms were merged)
    """

    __slots__ = (
        "args",
        "data",
        "dtype",
        "id",
        "name",
        "op",
        "origins",
        "params",
        "shape",
        "size",
        "specs",
    )

    def __init__(
        self,
        op: Op | None,
        args: tuple[Term, ...],
        params: dict[str, Any],
        spec: Spec | tuple[Spec, ...],
        origins: Origins = (),
        data: Array | None = None,
    ) -> None:
        self.id = _number()
        self.op = op
        self.name: str = op.name if op is not None else "input" if data is None else "constant"
        self.args = args
        self.params = params
        self.specs: tuple[Spec, ...] = spec if isinstance(spec, tuple) else (spec,)
        self.shape: Shape = self.specs[0].shape
        self.dtype: DType = self.specs[0].dtype
        self.size = prod(self.shape)
        self.origins = origins
        self.data = data

    @property
    def spec(self) -> Spec:
        """Shape and dtype of the (first) result."""
        return self.specs[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all results."""
        return sum(s.nbytes for s in self.specs)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_input(self) -> bool:
        return self.op is None and self.data is None

    @property
    def number(self) -> Any:
        """The value of a constant whose entries are all the same (also a Python number's array);
        None for any other term."""
        if self.data is None or not self.data.size:
            return None
        first = self.data.flat[0]
        if self.data.size == 1 or all(s == 0 or n == 1 for s, n in _steps(self.data)):
            return first
        return None

    def __repr__(self) -> str:
        return f"%{self.id} = {self.name} {self.spec}"


def _steps(x: Array) -> Iterable[tuple[int, int]]:
    return zip(x.strides, x.shape, strict=True)


def apply(op: Op | str, *args: Term, origins: Origins = (), **params: Any) -> Term:
    """An op applied to terms; shape and dtype follow from its rule."""
    if isinstance(op, str):
        op = REGISTRY[op]
    spec = op.infer(*(a.spec for a in args), **params)
    return Term(op, args, params, spec, origins)


def constant(data: Any, dtype: DType | None = None, origins: Origins = ()) -> Term:
    """A term with a known value."""
    array = np.asarray(data, dtype)
    return Term(None, (), {}, Spec(array.shape, array.dtype), origins, array)


def filled(number: Any, spec: Spec, origins: Origins = ()) -> Term:
    """A constant with the same number everywhere; it takes no memory."""
    one = np.asarray(number).astype(spec.dtype)
    return constant(np.broadcast_to(one, spec.shape), origins=origins)


def merged(*origins: Origins) -> Origins:
    """The sites of several terms, each once, in order."""
    return tuple(dict.fromkeys(o for group in origins for o in group))


@dataclass
class Program:
    """Terms in topological order, with the inputs and outputs of the function they came from.

    `aliases` maps an output's position to the position of an input: the caller may pass one buffer
    for both (a variable that is updated in place), and the program is to read it before it writes.
    """

    inputs: list[Term]
    outputs: list[Term]
    aliases: dict[int, int] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # term id of an input → its name

    @property
    def terms(self) -> list[Term]:
        """All terms that the outputs need, each behind its operands, in the order of tracing as far
        as possible; inputs that are not needed are left out."""
        return in_order(self.outputs)

    @property
    def over(self) -> dict[Term, Term]:
        """The outputs that are written over inputs, and those."""
        return {self.outputs[o]: self.inputs[i] for o, i in self.aliases.items()}

    def users(self) -> dict[Term, list[Term]]:
        """For each term those that take it as an operand (as often as they do)."""
        found: dict[Term, list[Term]] = {t: [] for t in self.terms}
        for t in found:
            for a in t.args:
                found[a].append(t)
        return found

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def __str__(self) -> str:
        return listing(self)


def in_order(outputs: Iterable[Term]) -> list[Term]:
    """The terms that some outputs need, operands first. Iterative: programs may be very deep."""
    done: set[Term] = set()
    begun: set[Term] = set()
    order: list[Term] = []
    for output in outputs:
        stack = [output]
        while stack:
            term = stack[-1]
            if term in done:
                stack.pop()
                continue
            missing = [a for a in term.args if a not in done]
            if missing:
                assert term not in begun, "a program must not contain a cycle"
                begun.add(term)
                missing.reverse()
                stack += missing
            else:
                stack.pop()
                done.add(term)
                order.append(term)
    return order


Rule = Callable[[Term], Term | None]


def rewrite(program: Program, rule: Rule) -> Program:
    """The program with each term replaced by what `rule` makes of it (None: left as it is). The
    rule sees a term whose operands are rewritten already, and may give any new term of its spec."""
    new: dict[Term, Term] = {}
    for term in program.terms:
        args = tuple([new[a] for a in term.args])
        if args != term.args:
            renewed = Term(term.op, args, term.params, term.specs, term.origins, term.data)
        else:
            renewed = term
        found = rule(renewed)
        if found is not None and found is not renewed:
            if not found.origins or not set(renewed.origins) <= set(found.origins):
                _inherit(found, renewed)
            renewed = found
        new[term] = renewed
    outputs = [new[o] for o in program.outputs]
    return Program(program.inputs, outputs, program.aliases, program.names)


def _inherit(found: Term, old: Term) -> None:
    """A replacement keeps the sites of what it replaces (inputs and constants have their own)."""
    if found.op is not None:
        found.origins = merged(found.origins, old.origins)


def evaluate(program: Program, arrays: Sequence[Array]) -> list[Array]:
    """Run a program through the ops' NumPy references."""
    known = values(program, arrays)
    return [known[o] for o in program.outputs]


def values(program: Program, arrays: Sequence[Array]) -> dict[Term, Any]:
    """The values of all terms of a program, through the ops' NumPy references: arrays, or tuples of
    them for ops with several results."""
    known: dict[Term, Any] = {}
    for term, array in zip(program.inputs, arrays, strict=True):
        known[term] = array
    with recording(False):
        for term in program.terms:
            if term in known:
                continue
            if term.op is None:
                assert term.data is not None, "an input that the program does not list"
                known[term] = term.data
                continue
            args = [known[a] for a in term.args]
            found = term.op.reference(*args, **term.params)
            known[term] = found if term.op.several else np.asarray(found)
    return known


def listing(program: Program) -> str:
    """One line a term: name, op, operands, static parameters, spec and the user's lines."""
    short = {t: f"%{i}" for i, t in enumerate(program.terms)}
    lines = []
    for term, name in short.items():
        inside = [short[a] for a in term.args]
        inside += [f"{k}={_brief(v)}" for k, v in term.params.items()]
        if term.is_constant and term.number is not None:
            inside.append(str(term.number))
        elif term.is_input:
            inside.append(program.names.get(term.id, ""))
        spec = ", ".join(map(repr, term.specs))
        where = ", ".join(dict.fromkeys(_place(o) for o in term.origins))
        lines.append(
            f"{name} = {term.name}({', '.join(inside)}) {spec}" + (f"  # {where}" * bool(where))
        )
    lines.append("return " + ", ".join(short[o] for o in program.outputs))
    return "\n".join(lines)


def _place(origin: site.Origin) -> str:
    found = site.resolve(origin)
    return f"{found.file}:{found.line}" + f" ({found.phase})" * bool(found.phase)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else type(value).__name__
