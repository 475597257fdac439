"""Composite ops as the simpler ops that they are made of; see `core.lowering.Expand`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from wengert.compiler.capture import Importer
from wengert.compiler.ir import Term, in_order
from wengert.compiler.simplify.build import Builder, lowering_rule, rule
from wengert.core.graph import Trace, nodes_of
from wengert.core.lowering import Expand
from wengert.core.spec import Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.transforms.trace import symbolic


@lowering_rule(Expand)
def expand(b: Builder, t: Term) -> Term | None:
    """An op that is declared as an expression of other ops is that expression."""
    assert t.op is not None
    return None if t.op.several else expansion(b, t)[0]


@rule("pick")
def pick_expanded(b: Builder, t: Term) -> Term | None:
    """A result of an op with several results, of which each is an expression."""
    (x,) = t.args
    if x.op is None or not isinstance(x.op.lower, Expand):
        return None
    return expansion(b, x)[t.params["index"]]


def expansion(b: Builder, t: Term) -> list[Term]:
    """The terms of an op's results."""
    found = b.expanded.get(t)
    if found is None:
        found = b.expanded[t] = pattern_of(t).written(b, t.args)
    return found


class Pattern:
    """A traced expression, to be written down again for other operands."""

    def __init__(self, inputs: list[Term], order: list[Term], outputs: list[Term]) -> None:
        self.inputs, self.order, self.outputs = inputs, order, outputs

    def written(self, b: Builder, args: tuple[Term, ...]) -> list[Term]:
        """The expression of some operands."""
        new: dict[Term, Term] = dict(zip(self.inputs, args, strict=True))
        for t in self.order:
            if t not in new:
                operands = tuple([new[a] for a in t.args])
                new[t] = b.visit(Term(t.op, operands, t.params, t.specs, b.origins, t.data))
        return [new[o] for o in self.outputs]


def pattern_of(t: Term) -> Pattern:
    """The expression of a term's op, for operands like its own."""
    before = state.origin
    state.origin = t.origins[0] if t.origins else None  # which saves looking for the user's line
    specs = tuple([a.spec for a in t.args])
    try:
        return _pattern(t.op, specs, tuple(t.params.items()))
    except TypeError:  # a parameter that has no hash
        return _traced(t.op, specs, t.params)
    finally:
        state.origin = before


@lru_cache(maxsize=1024)
def _pattern(op: Any, specs: tuple[Spec, ...], params: tuple[tuple[str, Any], ...]) -> Pattern:
    return _traced(op, specs, dict(params))


def _traced(op: Any, specs: tuple[Spec, ...], params: dict[str, Any]) -> Pattern:
    with Trace(), recording(True):
        inputs = [symbolic(s) for s in specs]
        found = op.lower.rule(*inputs, **params)
    results: list[Tensor] = list(found) if isinstance(found, (tuple, list)) else [found]
    importer = Importer()
    given = [importer.input(n) for n in nodes_of(inputs)]
    outputs = importer.terms(results)
    return Pattern(given, in_order(outputs), outputs)
