"""Rematerialisation: the backward pass computes again what is cheap, rather than keep it.

A result of the forward pass that the backward pass reads as well would stand in memory all the time
in between. Where it is an element-wise expression of arrays that stay for the backward pass anyway,
or of a few numbers (random bits: a function of key and counter), the backward pass gets a copy of
its own of the expression. Values do not change: the same instructions run on the same operands, and
a half is rounded where it was stored.
"""

from __future__ import annotations

from collections.abc import Container

from wengert.compiler.fuse import expressions
from wengert.compiler.ir import Program, Term, apply
from wengert.compiler.units import is_late
from wengert.core import dtypes
from wengert.core.lowering import Native

COST = 150  # instructions that are repeated
LARGE = 1 << 16  # bytes, from which on it matters
TABLE = 4  # times as large as what is read of it: entries that lie apart are not fetched twice


def rematerialise(program: Program, makers: Container[str]) -> Program:
    """The program with what is computed again in the backward pass written twice."""
    late = {t for t in program.terms if is_late(t)}
    if not late or len(late) == len(program.terms):
        return program
    pass_ = _Pass(program, makers, late)
    for term in program.terms:
        if term in late:
            term.args = tuple([pass_.again(a) for a in term.args])
    return program


class _Pass:
    def __init__(self, program: Program, makers: Container[str], late: set[Term]) -> None:
        self.late, self.outputs = late, set(program.outputs)
        self.found = expressions(program, makers)
        self.stays: set[Term] = set()  # arrays that the backward pass reads anyway
        for term in late:
            if term.op is not None:
                self.stays |= self.found.read(term)
        self.made: dict[Term, Term] = {}

    def again(self, term: Term) -> Term:
        """What the backward pass reads in place of a term: a copy, where that is better."""
        if term in self.late or term.op is None:
            return term
        stack = [term]
        while stack:
            top = stack[-1]
            if top in self.made:
                stack.pop()
                continue
            inside = [] if self._is_kept(top) else [a for a in top.args if a not in self.made]
            if inside and not self._is_fresh(top):
                stack += inside
                continue
            self.made[top] = self._copy(top)
            stack.pop()
        return self.made[term]

    def _copy(self, term: Term) -> Term:
        if self._is_kept(term):
            return term
        if self._is_fresh(term):
            return _late(term, term.args)
        args = tuple([self.made[a] for a in term.args])
        if args == term.args and not self._is_worth_it(term):
            return term
        again = _late(term, args)
        return _as_stored(again) if term in self.found.roots else again

    def _is_kept(self, term: Term) -> bool:
        """Whether the backward pass reads a term that the forward pass has stored."""
        if term.op is None or term in self.late or term in self.outputs:
            return True
        if self._is_fresh(term):
            return False
        if not self.found.is_expression(term):
            return True
        return term in self.found.roots and not self._is_worth_it(term)

    def _is_fresh(self, term: Term) -> bool:
        """Whether a term is large and made of next to nothing."""
        lowering = term.op.lower if term.op is not None else None
        if not isinstance(lowering, Native) or term.spec.nbytes < LARGE:
            return False
        return all(64 * a.spec.nbytes < term.spec.nbytes for a in term.args)

    def _is_worth_it(self, term: Term) -> bool:
        """Whether a stored expression is cheap, and made of what stays anyway."""
        if term.spec.nbytes < LARGE or self.found.expense(term) > COST:
            return False
        large = [t for t in self.found.read(term) if 4 * t.spec.nbytes > term.spec.nbytes]
        if any(t.spec.nbytes > TABLE * term.spec.nbytes for t in large):
            return False
        return all(t in self.stays or t.is_input or self._is_fresh(t) for t in large)


def _late(term: Term, args: tuple[Term, ...]) -> Term:
    """A term again, as part of the backward pass."""
    origins = tuple([(code, at, module, "backward") for code, at, module, _ in term.origins])
    return Term(term.op, args, term.params, term.specs, origins)


def _as_stored(term: Term) -> Term:
    """A term rounded to its dtype, if that is a half; in registers it need not be."""
    if not (dtypes.is_float(term.dtype) and term.dtype.itemsize == 2):
        return term
    wide = apply("cast", term, origins=term.origins, dtype=dtypes.float32)
    return apply("cast", wide, origins=term.origins, dtype=term.dtype)
