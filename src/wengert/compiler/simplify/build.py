"""How rules are applied: each term once, bottom-up, and equal terms made one.

A *rule* is a function `(builder, term) -> Term | None`. It looks at a term whose operands are
simple already and gives a better term for the same value, or None. What it makes, it makes with
`Builder.make`, which applies the rules again; so one walk over a program is enough for all rules
that look only at a term and what stands above it. No rule may descend without bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from wengert.compiler.ir import Array, Origins, Program, Term, merged
from wengert.core import dtypes
from wengert.core.dtypes import DType
from wengert.core.lowering import Lowering, Pointwise
from wengert.core.op import REGISTRY, Op
from wengert.core.rules import Elementwise
from wengert.core.spec import Shape, Spec

Rule = Callable[["Builder", Term], Term | None]

_BY_NAME: dict[str, list[Rule]] = {}
_BY_LOWERING: dict[type[Lowering | None], list[Rule]] = {}
_POINTWISE: list[Rule] = []
_ALL: list[Rule] = []

DEEPEST = 40  # rules that make terms that rules rewrite …: beyond this depth terms are left alone


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Declare a rule for the ops of these names."""

    def declare(f: Rule) -> Rule:
        for name in names:
            assert name in REGISTRY, f"there is no op {name!r}"
            _BY_NAME.setdefault(name, []).append(f)
        return f

    return declare


def pointwise_rule(f: Rule) -> Rule:
    """Declare a rule for every pointwise op."""
    _POINTWISE.append(f)
    return f


def lowering_rule(kind: type[Lowering]) -> Callable[[Rule], Rule]:
    """Declare a rule for the ops with a lowering of this kind."""

    def declare(f: Rule) -> Rule:
        _BY_LOWERING.setdefault(kind, []).append(f)
        return f

    return declare


def any_rule(f: Rule) -> Rule:
    """Declare a rule for every op."""
    _ALL.append(f)
    return f


@cache
def rules_for(op: Op) -> tuple[Rule, ...]:
    """The rules of an op, in the order in which they are tried."""
    named = _BY_NAME.get(op.name, [])
    kind = _BY_LOWERING.get(type(op.lower), [])
    return (*_ALL, *named, *kind, *(_POINTWISE if is_pointwise(op) else ()))


@cache
def is_pointwise(op: Op | None) -> bool:
    """Whether an op computes each entry from the entries at the same place of its operands."""
    if op is None:
        return False
    return isinstance(op, Elementwise) or isinstance(op.lower, Pointwise)


# f(x, y) and f(y, x) are the same bits for these (the payload of a NaN aside).
_COMMUTATIVE = frozenset(
    REGISTRY[name]
    for name in (
        *("add", "mul", "equal", "not_equal", "logical_and", "logical_or", "logical_xor"),
        *("bitwise_and", "bitwise_or", "bitwise_xor"),
    )
)


class Builder:
    """Makes simple terms, each once.

    Attributes
    ----------
    fired : how many times each rule was applied, and how many terms were merged
    visits : how many terms the rules have looked at
    """

    def __init__(self) -> None:
        self.known: dict[Any, Term] = {}  # what was met → what became of it
        self.simple: set[Term] = set()
        self.numbers: dict[Term, Any] = {}
        self.offsets: dict[Term, list[int]] = {}  # where the pieces of a concatenation end
        self.expanded: dict[Term, list[Term]] = {}  # composite ops → their results
        self.fired: Counter[str] = Counter()
        self.visits = 0
        self.origins: Origins = ()
        self.depth = 0

    # -- one term ----------------------------------------------------------------------------

    def visit(self, term: Term) -> Term:
        """The simple term for a term whose operands are simple."""
        if term in self.simple:
            return term
        if term.op is None:
            return term if term.data is None else self._constant(term)
        self.visits += 1
        key = _key(term)
        found = self.known.get(key)
        if found is not None:
            self.fired["merge equal terms"] += 1
            return found
        found = self._apply(term)
        self.known[key] = found
        return found

    def _apply(self, term: Term) -> Term:
        if self.depth < DEEPEST:
            self.depth += 1
            for candidate in rules_for(term.op):
                found = candidate(self, term)
                if found is not None:
                    assert found.specs == term.specs, f"{candidate} made {found} of {term}"
                    self.fired[candidate.__name__] += 1
                    found = self.visit(found)
                    self.depth -= 1
                    return found
            self.depth -= 1
        self.simple.add(term)
        return term

    def _constant(self, term: Term) -> Term:
        """A constant, with one array for all equal ones; see `number`."""
        data = term.data
        assert data is not None
        number = _common_entry(data)
        if number is not None:
            key: Any = (data.shape, data.dtype, number.tobytes())
        elif data.nbytes <= _SMALL:
            key = (data.shape, data.dtype, data.tobytes())
        else:
            key = id(data)
        found = self.known.get(key)
        if found is None:
            found = term
            if number is not None and any(data.strides):
                filled = np.broadcast_to(number, data.shape)
                found = Term(None, (), {}, term.specs, term.origins, filled)
            self.known[key] = found
            self.simple.add(found)
            self.numbers[found] = None if number is None else number[()]
        return found

    # -- making terms ------------------------------------------------------------------------

    def make(self, op: str, *args: Term, **params: Any) -> Term:
        """An op applied to simple terms, simplified."""
        known = REGISTRY[op]
        spec = known.infer(*[a.spec for a in args], **params)
        return self.visit(Term(known, args, params, spec, self.origins))

    def remake(self, term: Term, *args: Term) -> Term:
        """The op of a term on other operands, where the result stays alike."""
        return self.visit(Term(term.op, args, term.params, term.specs, self.origins))

    def constant(self, data: Any, dtype: DType | None = None) -> Term:
        """A known value."""
        array = np.asarray(data, dtype)
        return self.visit(Term(None, (), {}, Spec.of(array), self.origins, array))

    def filled(self, number: Any, spec: Spec) -> Term:
        """The same number everywhere."""
        one = np.asarray(number).astype(spec.dtype)
        data = np.broadcast_to(one, spec.shape)
        return self.visit(Term(None, (), {}, spec, self.origins, data))

    def reshape(self, x: Term, shape: Shape) -> Term:
        """`x` in another shape."""
        return x if x.shape == shape else self.make("reshape", x, shape=shape)

    def permute(self, x: Term, axes: tuple[int, ...]) -> Term:
        """`x` with its axes in another order."""
        return self.make("permute", x, axes=axes)

    def broadcast(self, x: Term, shape: Shape) -> Term:
        """`x` broadcast to a shape."""
        return x if x.shape == shape else self.make("broadcast_to", x, shape=shape)

    # -- what is known of a term ---------------------------------------------------------------

    def number(self, term: Term) -> Any:
        """The entry of a constant whose entries are all the same, as a NumPy scalar; else None."""
        return None if term.data is None else self.numbers.get(term)

    # -- a program ---------------------------------------------------------------------------

    def rebuild(
        self, program: Program, order: Sequence[Term], plan: Mapping[Term, Replacement]
    ) -> Program:
        """The program of simple terms; `order` are its terms. One that `plan` names is replaced by
        what its entry makes from the new terms."""
        new: dict[Term, Term] = {}
        get = new.__getitem__
        for term in order:
            self.origins = term.origins
            if term in plan:
                found = plan[term](self, new)
            elif not term.args:
                found = self.visit(term)
            else:
                args = tuple(map(get, term.args))
                if args != term.args:
                    term_now = Term(term.op, args, term.params, term.specs, term.origins)
                else:
                    term_now = term
                found = self.visit(term_now)
            if found is not term:
                _inherit(found, term, new)
            new[term] = found
        outputs = [new[o] for o in program.outputs]
        return Program(program.inputs, outputs, program.aliases, program.names)


Replacement = Callable[[Builder, Mapping[Term, Term]], Term]


def _inherit(found: Term, old: Term, new: Mapping[Term, Term]) -> None:
    """What replaces a term keeps its sites, and those of operands that went into it."""
    if found.op is None:
        return
    groups = [old.origins]
    for a in old.args:
        now = new[a]
        if now.op is not None and now is not found and now not in found.args:
            groups.append(now.origins)
    have = found.origins
    for group in groups:
        if group is not have and not set(group) <= set(have):
            have = merged(have, group)
    found.origins = have


# -- equal terms -------------------------------------------------------------------------------

_SMALL = 1 << 20  # bytes of a constant that is compared by value
_SAMPLED = 64  # entries of a constant that are looked at before all are


def _key(term: Term) -> Any:
    """Equal for terms that compute the same: op, operands and parameters by value (by identity
    where they have no hash)."""
    args: Any = term.args
    if len(args) == 2 and args[0].id > args[1].id and term.op in _COMMUTATIVE:
        args = (args[1], args[0])
    if not term.params:
        return term.op, args
    key = (term.op, args, tuple(term.params.items()))
    try:
        hash(key)
    except TypeError:
        return term.op, args, tuple((k, _Same(v)) for k, v in term.params.items())
    return key


class _Same:
    """A value that equals only itself, and that is kept alive."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _common_entry(data: Array) -> Array | None:
    """The entry that all entries of an array are bitwise equal to, as a 0-d array."""
    if data.size == 0:
        return None
    if data.size > 1 and any(data.strides):
        bits = np.dtype(f"u{data.dtype.itemsize}")
        flat = np.ascontiguousarray(data).view(bits).reshape(-1)
        few = flat[:: max(flat.size // _SAMPLED, 1)]
        if (few != flat[0]).any() or (flat != flat[0]).any():
            return None
    return np.asarray(data[(0,) * data.ndim])


_FLOATS = frozenset(dtypes.FLOATS)


def is_float(term: Term) -> bool:
    """Whether a term holds floating-point numbers."""
    return term.dtype in _FLOATS
