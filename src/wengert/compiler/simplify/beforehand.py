"""What the steps of a loop need not work out one after another is worked out before it.

Some numbers of a step do not depend on the steps before: a learning rate's schedule, Adam's bias
corrections 1 − βᵗ. They come from constants of the loop, from numbers that it is given for each
step, and from *counters*: integers of the carry to which each step adds the same. All of them are
known beforehand, and are computed for all steps at once, side by side in vectors. The loop then
reads one number for each step.

Only single numbers (0-d) are taken out, and only where they cost more than to read them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wengert.compiler.ir import Program, Term
from wengert.compiler.llvm.weight import weight
from wengert.compiler.loop import Loop
from wengert.compiler.simplify.build import Builder, is_pointwise, lowering_rule
from wengert.core.dtypes import is_integer
from wengert.core.lowering import Repeated

SIMPLE = "simplified"  # where a loop keeps its simple body
LONGEST = 1 << 16  # steps whose numbers are kept
WORTH = 20  # instructions


@lowering_rule(Repeated)
def numbers_are_known_beforehand(b: Builder, t: Term) -> Term | None:
    """A loop without what is known before it begins."""
    loop: Loop = t.params["loop"]
    if not 1 < loop.length <= LONGEST:
        return None
    body = simple_body(loop)
    known = _known(loop, body)
    wanted = _wanted(body, known)
    if not wanted:
        return None
    values = _values(b, t, known)
    rows = [b.broadcast(values[w], (loop.length,)) for w in wanted]
    body = _reading(body, wanted)
    made = Loop(body, loop.constants, loop.carried, loop.length, loop.reverse)
    made.derived[SIMPLE] = body
    return Term(t.op, (*t.args, *rows), {**t.params, "loop": made}, t.specs, t.origins)


def simple_body(loop: Loop) -> Program:
    """The body of a loop, simplified; that is done once."""
    from wengert.compiler.simplify import simplify

    found: Program = loop.derive(SIMPLE, lambda: simplify(loop.body))
    return found


@dataclass
class Known:
    """A single number that is known beforehand: how many instructions lead to it, and if it is an
    input of the body, which one; if that is a counter, what each step adds."""

    weight: int = 0
    number: int = -1
    stride: int = 0


def _known(loop: Loop, body: Program) -> dict[Term, Known]:
    """The numbers of the body that are known beforehand."""
    known: dict[Term, Known] = {}
    for i, x in enumerate(body.inputs):
        carried = loop.constants <= i < loop.first_row
        stride = _stride(x, body.outputs[i - loop.constants]) if carried else 0
        if x.shape == () and (stride or not carried):
            known[x] = Known(number=i, stride=stride)
    for term in body.terms:
        if term.is_constant and term.shape == ():
            known[term] = Known()
        elif is_pointwise(term.op) and all(a in known for a in term.args):
            known[term] = Known(weight(term) + max(known[a].weight for a in term.args))
    return known


def _stride(counter: Term, new: Term) -> int:
    """What each step adds to a number of the carry; 0 where that is not always the same."""
    if not is_integer(counter.dtype) or new.name != "add" or counter not in new.args:
        return 0
    added = new.args[1 - new.args.index(counter)].number
    return 0 if added is None else int(added)


def _wanted(body: Program, known: dict[Term, Known]) -> list[Term]:
    """The known numbers that the rest of the body reads, where they are worth it."""
    read = [a for t in body.terms if t not in known for a in t.args]
    read = [t for t in dict.fromkeys([*read, *body.outputs]) if t in known]
    return [t for t in read if t.op is not None and known[t].weight >= WORTH]


def _values(b: Builder, t: Term, known: dict[Term, Known]) -> dict[Term, Term]:
    """For each known number of the body the one outside of the loop, or those of all steps."""
    loop: Loop = t.params["loop"]
    steps = np.arange(loop.length)
    if loop.reverse:  # the first step belongs to the last row
        steps = steps[::-1].copy()
    found: dict[Term, Term] = {}
    for term, how in known.items():
        if term.is_constant:
            found[term] = b.visit(term)
        elif term.op is not None:
            args = [found[a] for a in term.args]
            shape = max(a.shape for a in args)
            found[term] = b.make(term.name, *[b.broadcast(a, shape) for a in args], **term.params)
        else:
            found[term] = t.args[how.number]
            if how.stride:
                added = b.constant(steps * how.stride, term.dtype)
                found[term] = b.make("add", found[term], added)
    return found


def _reading(body: Program, wanted: list[Term]) -> Program:
    """A body with some terms as inputs, behind all others."""
    new: dict[Term, Term] = {w: Term(None, (), {}, w.specs, w.origins) for w in wanted}
    rows = list(new.values())
    for term in body.terms:
        if term in new:
            continue
        args = tuple([new[a] for a in term.args])
        same = args == term.args
        new[term] = term if same else Term(term.op, args, term.params, term.specs, term.origins)
    outputs = [new[o] for o in body.outputs]
    return Program([*body.inputs, *rows], outputs, body.aliases, body.names)
