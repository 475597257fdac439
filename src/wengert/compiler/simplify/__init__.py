"""Simplification: the same values from fewer and better terms.

A program is walked a few times, each time from its inputs to its outputs (`build` tells how):

1. *rules* (the other files of this package, one table each): composite ops are expanded, known
   values folded, identities dropped, views merged, contractions brought into their best form, equal
   terms made one;
2. *structure*: what depends on who uses a term, after which the rules run again;
3. *splitting*: long reductions in two stages;
4. *marks*: what is to be computed twice is two terms now, and no longer needs to say so.

No step is repeated until nothing changes: each rule sees its operands finished, so one walk does
what a search would. Except where a rule's text says how many units in the last place it may change,
the values are bitwise the same: NaN, ±∞ and ±0 included.
"""

from __future__ import annotations

from wengert.compiler.ir import Program
from wengert.compiler.simplify import (  # noqa: F401 (rules are declared where they are written)
    arithmetic,
    beforehand,
    cleaning,
    contraction,
    expand,
    exponentials,
    indexing,
    logic,
    reductions,
    spaces,
    views,
)
from wengert.compiler.simplify.build import Builder
from wengert.compiler.simplify.marks import without_marks
from wengert.compiler.simplify.report import Report
from wengert.compiler.simplify.splitting import split_reductions
from wengert.compiler.simplify.structure import structure_plan

__all__ = ["Report", "simplify"]

ROUNDS = 3  # of looking at the structure; one or two are enough


def simplify(program: Program, report: Report | None = None) -> Program:
    """A program that computes the same, simplified.

    `report` collects what was done.
    """
    report = report or Report(silent=True)
    report.add("traced", program)
    b = Builder()
    program = b.rebuild(program, program.terms, {})
    report.add("rules", program)
    order = program.terms
    for _ in range(ROUNDS):
        plan = structure_plan(program, order)
        if not plan:
            break
        program = b.rebuild(program, order, plan)
        report.add("structure", program)
        order = program.terms
    program = split_reductions(program, order)
    report.add("splitting", program)
    program = without_marks(program)
    report.fired += b.fired
    report.visits += b.visits
    return program
