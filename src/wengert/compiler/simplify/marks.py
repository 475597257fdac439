"""Marks of `checkpoint`: what is computed again in the backward pass, and not kept.

`once_more(x, run=…)` is x, but equals no term of another run: so the rules, which make equal terms
one, leave the second computation of a value beside the first. When all rules have run, the marks
have done their work.
"""

from __future__ import annotations

from wengert.compiler.ir import Program, Term
from wengert.compiler.simplify.build import Builder, rule


@rule("once_more")
def constants_are_kept(b: Builder, t: Term) -> Term | None:
    """A constant stands in memory anyway."""
    return t.args[0] if t.args[0].is_constant else None


def without_marks(program: Program) -> Program:
    """The program without marks; terms stay as many as they are."""
    terms = program.terms
    if not any(t.name == "once_more" for t in terms):
        return program
    new: dict[Term, Term] = {}
    for t in terms:
        args = tuple([new[a] for a in t.args])
        if t.name == "once_more":
            new[t] = args[0]
        elif args == t.args:
            new[t] = t
        else:
            new[t] = Term(t.op, args, t.params, t.specs, t.origins)
    return Program(
        program.inputs, [new[o] for o in program.outputs], program.aliases, program.names
    )
