"""Fusion: which terms are computed together, and which ever stand in memory.

Terms become *units* of work, in an order in which they can run:

* a `NestUnit` is one loop nest: element-wise terms and reductions over the same positions;
* a `KernelUnit` is a term with a kernel of its own (a contraction, a convolution, …);
* a `LibraryUnit` is a term that calls its reference from inside the program.

A term that is element-wise, a view or an indexed read is computed where it is needed, again in each
nest that needs it, unless that costs more than to store it once. Then it is a *root*: it belongs to
one nest, which stores it if another unit needs it. A root joins the nest of what it reads when both
run over the same positions and nothing in between must happen first. What is computed from the
result of a kernel, entry by entry, joins the kernel (`epilogues`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from wengert.compiler.epilogues import check_pieces, may_follow, opened
from wengert.compiler.ir import Program, Term
from wengert.compiler.llvm.weight import weight
from wengert.compiler.nest import Builder, Conflict, Nest
from wengert.compiler.units import (
    KernelUnit,
    LibraryUnit,
    LoopUnit,
    NestUnit,
    Unit,
    Units,
    add_root,
    check_loads,
    entries_of,
    identity,
    is_fusible,
    is_late,
    is_reduction,
    is_view,
    lone_nest,
    positions,
    split_dims,
)
from wengert.core.index import NeedsSplit, NotAffine, reshaped
from wengert.core.lowering import Native, Repeated

RECOMPUTE = 120  # instructions that are repeated rather than their result stored
SPREAD = 8  # instructions that are not repeated at many positions
LARGEST = 1000  # instructions of one expression
DEPTH = 48  # steps of one expression
ARRAYS = 8  # that one expression reads
POINTS = 160  # of one nest that takes in more roots
TURN = 4  # units before the backward pass that it may still join
NEIGHBOURS = 4  # nests that a root is tried with
MUCH, MUCH_MORE = 15, 4  # log₂ of positions to wait for that are many; than of what waits
MOST_USERS = 64  # of a kernel's result that are looked through


def fuse(program: Program, makers: Container[str], forced: set[Term]) -> Units:
    """Divide a program into units. `makers` names the kernels that there are; `forced` are terms
    that must stand in memory and join no kernel, and terms are added to it."""
    while True:
        try:
            return _Fusion(program, makers, forced).run()
        except Conflict as conflict:  # a term that no expression can contain: it is stored
            if conflict.term is None or conflict.term in forced:
                raise
            forced.add(conflict.term)


@dataclass
class Expressions:
    """Which terms will be stored, and what the others are computed from."""

    roots: set[Term]
    leaves: dict[Term, frozenset[Term]]
    expenses: dict[Term, int]

    def is_expression(self, term: Term) -> bool:
        """Whether a term can be computed where it is needed."""
        return term in self.expenses

    def expense(self, term: Term) -> int:
        """Instructions that an expression takes."""
        return self.expenses[term]

    def read(self, term: Term) -> frozenset[Term]:
        """The large arrays in memory that a term is computed from."""
        return frozenset().union(*[self.leaves[a] for a in term.args])


def expressions(program: Program, makers: Container[str]) -> Expressions:
    """How `fuse` would store the terms of a program."""
    fusion = _Fusion(program, makers, set())
    roots = fusion.choose_roots()
    return Expressions(roots, fusion.leaves, fusion.expense)


class _Fusion:
    def __init__(self, program: Program, makers: Container[str], forced: set[Term]) -> None:
        self.program, self.makers, self.forced = program, makers, forced
        self.terms = program.terms
        self.users = program.users()
        self.outputs = set(program.outputs)
        self.fusible = {t for t in self.terms if is_fusible(t)}
        self.updates = set(program.over)
        self.cost: dict[Term, int] = {}
        self.depth: dict[Term, int] = {}
        self.expense: dict[Term, int] = {}  # the same of each, stored or not
        self.leaves: dict[Term, frozenset[Term]] = {}  # large arrays that an expression reads
        self.found = Units([])
        self.turn = len(self.terms)  # the unit at which the backward pass begins
        self.scalars: list[int] = []  # nests of a single position
        self.readers: dict[Term, list[int]] = {}  # nests that read a term
        self.deps: list[set[int]] = []  # of each unit, the units that it reads from
        self.reach: list[int] = []  # the same through others, as bits
        self.long = [0] * 128  # the units with 2ⁿ positions or more, as bits

    def run(self) -> Units:
        self.roots = self.choose_roots()
        for term in self.terms:
            if term.op is None or (term not in self.roots):
                continue
            if term in self.fusible or is_reduction(term):
                self._place(term)
            elif self._has_kernel(term):
                self._alone(KernelUnit(len(self.found.units), [term]))
            elif isinstance(term.op.lower, Repeated):
                self._alone(LoopUnit(len(self.found.units), [term]))
            elif term.op.name != "pick":
                self._alone(LibraryUnit(len(self.found.units), [term]))
        return self.found

    # -- what is stored ----------------------------------------------------------------------

    def _has_kernel(self, term: Term) -> bool:
        if term in self.forced or term.op is None:
            return False  # its maker has given up
        return isinstance(term.op.lower, Native) and term.op.lower.maker in self.makers

    def _viewed(self) -> set[Term]:
        """What stands behind the operands of kernels, which may read them as views."""
        found: set[Term] = set()
        for term in self.terms:
            if self._has_kernel(term):
                for a in term.args:
                    while is_view(a) and a not in self.forced:
                        (a,) = a.args
                    found.add(a)
        return found

    def _reached(self) -> dict[Term, int]:
        """For each term the largest number of positions at which something that is computed from
        it, or from a view of it, is computed."""
        found = dict.fromkeys(self.terms, 0)
        for user in reversed(self.terms):
            if is_view(user):
                size = found[user]
            else:
                size = max([user.size, *[a.size for a in user.args]])
            for a in user.args:
                if size > found[a]:
                    found[a] = size
        return found

    def choose_roots(self) -> set[Term]:
        """The terms that are stored, or belong to a nest that may store them."""
        self.viewed = self._viewed()
        self.reached = self._reached()
        roots: set[Term] = set()
        for term in self.terms:
            if term.op is not None and term in self.fusible:
                self._measure(term)
                self.expense[term] = self.cost[term]
                if not self._is_root(term):
                    continue
            if term.op is not None:
                roots.add(term)
            self.cost[term] = self.depth[term] = 0
            self.leaves[term] = frozenset([term])
        return roots

    def _measure(self, term: Term) -> None:
        """What it takes to compute a fusible term from what stands in memory."""
        entries = entries_of(term)
        self.cost[term] = min(
            weight(term) * entries + sum(self.cost[a] * entries for a in term.args), 10**6
        )
        self.depth[term] = 1 + max([self.depth[a] for a in term.args], default=0)
        read: frozenset[Term] = frozenset()
        for a in term.args:
            read = read | self.leaves[a] if read else self.leaves[a]
        small = [t for t in read if 2 * t.size <= term.size]
        self.leaves[term] = read.difference(small) if small else read

    def _is_root(self, term: Term) -> bool:
        if term in self.forced or term in self.viewed:
            return True
        if term in self.outputs or self.depth[term] > DEPTH or self.cost[term] > LARGEST:
            return True
        users = self.users[term]
        view = is_view(term)
        for user in users:
            if user not in self.fusible and not is_reduction(user) and not self._has_kernel(user):
                return True  # a library function reads it from memory
            entries = entries_of(user)
            again = entries * user.size
            if entries > 1 and self.cost[term] * again > RECOMPUTE * term.size > 0:
                return True  # windows that overlap read each entry several times
        arrays = len(self.leaves[term])
        spread = self.cost[term] >= SPREAD and self.reached[term] >= 8 * term.size
        if arrays > ARRAYS or (spread and not view):  # small, and needed at many positions
            return True
        if view or len(users) < 2 or self.cost[term] == 0:
            return False
        # Stored once and read again, or computed again from all that it is made of?
        return self.cost[term] > RECOMPUTE or (len(users) - 1) * (arrays - 1) > 1

    # -- units -------------------------------------------------------------------------------

    def _alone(self, unit: Unit) -> None:
        """Add a unit that takes in nothing else."""
        needed = self._sources(unit.roots[0].args)
        self._append(unit, needed)

    def _append(self, unit: Unit, needed: set[int]) -> None:
        self.found.units.append(unit)
        self.deps.append(needed)
        reach = 0
        for d in needed:
            reach |= self.reach[d] | (1 << d)
        self.reach.append(reach)
        for n in range(positions(unit.roots[0]).bit_length()):
            self.long[n] |= 1 << unit.number
        for root in unit.roots:
            self.found.home[root] = unit

    def _sources(self, terms: Iterable[Term]) -> set[int]:
        """The units whose results an expression of these terms reads."""
        found: set[int] = set()
        stack, seen = list(terms), set()
        while stack:
            term = stack.pop()
            if term in seen:
                continue
            seen.add(term)
            home = self.found.home.get(term)
            if home is not None:
                found.add(home.number)
            else:
                stack.extend(term.args)
        return found

    def _stored(self, term: Term) -> bool:
        """Whether a term stands in memory by the time a later unit runs."""
        if term in self.found.home or term.is_input:
            return True
        if term.op is None:
            return term.number is None
        return term.op.name == "pick"

    def _place(self, term: Term) -> None:
        """Put a root into a nest that is there already, or into a new one."""
        needed = self._sources(term.args)
        late = is_late(term)
        if late:
            self.turn = min(self.turn, len(self.found.units))
        for number in self._candidates(term, needed):
            unit = self.found.units[number]
            nest = self._open(unit, term)
            if nest is None or not self._may_join(number, needed):
                continue
            if self._would_wait(number, term, needed):
                continue
            if late and not is_late(unit.roots[0]) and number < self.turn - TURN:
                continue  # the backward pass would be served early, and memory held for it
            if self._join(nest, term):
                self._joined(unit, nest, term, needed)
                return
        self._new_nest(term, needed)

    def _open(self, unit: Unit, term: Term) -> NestUnit | None:
        """The nest of a unit that a root may join."""
        if isinstance(unit, KernelUnit):
            if not may_follow(unit, term) or term in self.forced or term in self.updates:
                return None
            found = unit.epilogue or opened(unit, self._stored)
            return found if self._is_alone(term, found) and not self._is_shared(term) else None
        return unit if isinstance(unit, NestUnit) else None

    def _is_alone(self, term: Term, nest: NestUnit) -> bool:
        """Whether no other root of the same pass is computed from what a kernel gives: a nest of
        their own would read it, and all else that they have in common, once for all of them."""
        late, seen = is_late(term), set(nest.roots)
        stack = [user for root in nest.roots for user in self.users[root]]
        while stack:
            user = stack.pop()
            if user is term or user in seen or is_late(user) != late:
                continue
            if user in self.roots or len(seen) > MOST_USERS:
                return False
            seen.add(user)
            stack += self.users[user]
        return True

    def _is_shared(self, term: Term) -> bool:
        """Whether something dear in a root's expression is part of others of the same pass, too."""
        late, inside, stack = is_late(term), {term}, list(term.args)
        while stack:
            found = stack.pop()
            if found not in inside and found not in self.roots and found.op is not None:
                inside.add(found)
                stack += found.args
        dear = [t for t in inside if t is not term and self.cost[t] >= SPREAD]
        return any(u not in inside and is_late(u) == late for t in dear for u in self.users[t])

    def _candidates(self, term: Term, needed: set[int]) -> list[int]:
        """Units that a root may join: nests whose results it reads, then those that read the same
        arrays, which then need to be read only once; then kernels."""
        found = sorted(needed, reverse=True)[:NEIGHBOURS]
        kernels = [n for n in found if isinstance(self.found.units[n], KernelUnit)]
        found = [n for n in found if n not in kernels]
        shape = term.args[0].shape if is_reduction(term) else term.shape
        for leaf in self._leaves(term.args):
            if leaf.size * 2 > prod(shape):
                found += reversed(self.readers.get(leaf, ())[-NEIGHBOURS:])
        if prod(shape) == 1:
            found += self.scalars[:-NEIGHBOURS:-1]
        return [*dict.fromkeys(found), *kernels]

    def _leaves(self, terms: Iterable[Term]) -> list[Term]:
        """The terms in memory that an expression of these terms reads."""
        found: dict[Term, None] = {}
        stack, seen = list(terms), set()
        while stack:
            term = stack.pop()
            if term in seen:
                continue
            seen.add(term)
            if self._stored(term):
                found[term] = None
            else:
                stack.extend(term.args)
        return list(found)

    def _reads(self, unit: NestUnit, term: Term) -> None:
        """Remember which arrays a nest reads since it has taken in a root."""
        for leaf in self._leaves(term.args):
            readers = self.readers.setdefault(leaf, [])
            if unit.number not in readers:
                readers.append(unit.number)

    def _may_join(self, number: int, needed: set[int]) -> bool:
        """No other source of the root may itself depend on the nest."""
        return all(d == number or not self.reach[d] >> number & 1 for d in needed)

    def _would_wait(self, number: int, term: Term, needed: set[int]) -> bool:
        """Whether something small would, in one nest with others, wait for something large; what
        needs it could then not join that. (A gradient is divided by a number of labels.)"""
        if is_late(term):
            return False
        behind, here = 0, self.reach[number] | (1 << number)
        for d in needed:
            behind |= self.reach[d] | (1 << d)
        nest = positions(self.found.units[number].roots[0])
        new_for_term = here & ~behind & ~(1 << number) & self._many_more(positions(term))
        return bool(new_for_term or behind & ~here & self._many_more(nest))

    def _many_more(self, size: int) -> int:  # the units that have many more positions, as bits
        return self.long[max(MUCH, MUCH_MORE + size.bit_length() - 1)]

    def _joined(self, unit: Unit, nest: NestUnit, term: Term, needed: set[int]) -> None:
        nest.roots.append(term)
        self.found.home[term] = unit
        if isinstance(unit, KernelUnit):
            unit.epilogue = nest
        else:
            self._reads(nest, term)
        fresh = needed - self.deps[unit.number] - {unit.number}
        if not fresh:
            return
        self.deps[unit.number] |= fresh
        gained = 0
        for d in fresh:
            gained |= self.reach[d] | (1 << d)
        for other in range(len(self.reach)):
            if other == unit.number or self.reach[other] >> unit.number & 1:
                self.reach[other] |= gained

    def _new_nest(self, term: Term, needed: set[int]) -> None:
        unit = lone_nest(len(self.found.units), term, self._stored)
        self._append(unit, needed)
        self._reads(unit, term)
        if prod(unit.shape) == 1:
            self.scalars.append(unit.number)

    def _join(self, unit: NestUnit, term: Term) -> bool:
        """Try to let a nest compute a root too; leave it as it was where that cannot be."""
        if len(unit.nest.points) > POINTS:
            return False
        reduces = is_reduction(term)
        shape = term.args[0].shape if reduces else term.shape
        full = prod(shape) == prod(unit.shape)
        if not full and (not unit.nest.reduced or prod(shape) != prod(unit.outer_shape)):
            return False
        try:
            return self._try(unit, term)
        except NeedsSplit as split:
            return self._rebuilt(unit, term, split)

    def _try(self, unit: NestUnit, term: Term) -> bool:
        nest, builder = unit.nest, unit.builder
        before = (
            len(nest.points),
            dict(builder.memo),
            len(nest.reduces),
            (nest.reduced, nest.across),
            dict(nest.checks),
        )
        outer = unit.outer_shape, unit.outer
        try:
            self._add(unit, term)
            self._check(unit)
            return True
        except (Conflict, NotAffine):
            self._undo(unit, term, before)
            unit.outer_shape, unit.outer = outer
            return False
        except NeedsSplit:
            self._undo(unit, term, before)
            unit.outer_shape, unit.outer = outer
            raise

    def _undo(self, unit: NestUnit, term: Term, before: Any) -> None:
        nest, builder = unit.nest, unit.builder
        points, memo, reduces, reduced, nest.checks = before
        del nest.points[points:]
        del nest.reduces[reduces:]
        nest.reduced, nest.across = reduced
        nest.roots.pop(term, None)
        builder.memo = memo
        builder.conditions = ()

    def _rebuilt(self, unit: NestUnit, term: Term, split: NeedsSplit) -> bool:
        """The nest again with finer dimensions, and the root in it."""
        dims = list(unit.nest.dims)
        while True:
            dims = split_dims(dims, split)
            if len(dims) > 10:
                return False
            builder = Builder(Nest(dims), self._stored)
            space = identity(dims, unit.shape)
            fresh = NestUnit(unit.number, [], builder, unit.shape, space, given=unit.given)
            try:
                for root in [*unit.roots, term]:
                    self._add(fresh, root)
                self._check(fresh)
            except NeedsSplit as finer:
                split = finer
                continue
            except (Conflict, NotAffine):
                return False
            unit.builder, unit.space = builder, fresh.space
            unit.outer_shape, unit.outer = fresh.outer_shape, fresh.outer
            return True

    def _add(self, unit: NestUnit, root: Term) -> None:
        """Let a nest compute a root, which may have another shape."""
        shape = root.args[0].shape if is_reduction(root) else root.shape
        full = prod(shape) == prod(unit.shape)
        space, known = (unit.space, unit.shape) if full else (unit.outer, unit.outer_shape)
        index = reshaped(space, known, shape, unit.builder.size) if shape != known else space
        first = len(unit.nest.points)
        add_root(unit, root, index, self.forced)
        if shape != known:
            check_loads(unit.nest, first)

    def _check(self, unit: NestUnit) -> None:
        """Several passes over something long are worth it only if threads can share them; and an
        epilogue sees pieces of a result."""
        nest = unit.nest
        if unit.given is not None:
            check_pieces(unit)
        if not nest.reduced:
            return
        outer = prod(n for d, n in enumerate(nest.dims) if d not in nest.reduced)
        inner = prod(n for d, n in enumerate(nest.dims) if d in nest.reduced)
        stages = max(p.stage for p in nest.points)
        if stages > 0 and outer < 8 and inner > 4096 and self._passes(nest) > 1:
            raise Conflict("several passes over something long that threads cannot share")

    def _passes(self, nest: Nest) -> int:
        """How many passes over the reduced dimensions the roots take."""
        stages = {r.stage for r in nest.reduces}
        for _, point in nest.roots.values():
            if point.dims & nest.reduced:
                stages.add(point.stage)
        return len(stages)
