"""The check that holds for every program, after every pass."""

from __future__ import annotations

from wengert.compiler.ir import Program, Term
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec


def verify(program: Program) -> None:
    """Raise AssertionError, naming the term, unless a program is well formed: operands before
    users, every shape and dtype what the op's rule says, all inputs listed, aliases that fit."""
    listed = set(program.inputs)
    seen: set[Term] = set()
    for term in program.terms:
        for a in term.args:
            assert a in seen, f"{term} uses {a} before it is made"
        _verify_term(term, listed)
        seen.add(term)
    for out, given in program.aliases.items():
        made, read = program.outputs[out].spec, program.inputs[given].spec
        assert made == read, f"output {out} ({made}) cannot share the buffer of input {given}"


def _verify_term(term: Term, inputs: set[Term]) -> None:
    if term.op is None:
        assert not term.args, f"{term} has operands but no op"
        if term.data is None:
            assert term in inputs, f"{term} is an input that is not listed"
        else:
            assert Spec.of(term.data) == term.spec, f"{term} is not like its data"
        return
    assert REGISTRY.get(term.op.name) is term.op, f"{term} has an op that is not registered"
    if term.op.name == "pick":
        spec: object = term.args[0].specs[term.params["index"]]
    else:
        spec = term.op.infer(*(a.spec for a in term.args), **term.params)
    specs = spec if isinstance(spec, tuple) else (spec,)
    assert specs == term.specs, f"{term} should be {specs}"
