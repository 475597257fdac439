"""`Op`: one entry of the vocabulary with all of its rules, and the classes that derive them.

An op is declared once, by calling one of the four declarations at the end of this file:

* `elementwise` – give the partial derivatives; both modes and batching follow;
* `linear` – give the transpose; the tangent rule is the op itself;
* `multilinear` – give the transpose in each operand; the product rule follows;
* `custom` – give tangent and cotangent rules both; they are tested against each other.

A *rule* is a function whose first argument is the cotangent (or tangent) and whose other arguments
ask **by name** for what it needs: an operand (`x`), the result (`out`), only an operand's shape and
dtype (`x_spec`), or a static parameter (`axis`). What the backward pass has to keep in memory is
read off these names: nothing else is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.core import live, site
from wengert.core.dtypes import as_dtype, is_float
from wengert.core.errors import TraceError, WengertError
from wengert.core.lowering import Lowering
from wengert.core.node import Data, Node
from wengert.core.sample import Sampler
from wengert.core.spec import Spec, describe
from wengert.core.state import state
from wengert.core.tensor import Tensor

REGISTRY: dict[str, Op] = {}
NO_PARAMS: dict[str, Any] = {}

Array = np.ndarray[Any, Any]
Work = Callable[..., int]  # (result, *operands, **params), anything with a shape and a dtype


class Rule:
    """A derivative rule and the fetchers of the values that its argument names ask for."""

    __slots__ = ("fetchers", "fn", "keeps")

    def __init__(self, fn: Callable[..., Any], operands: tuple[str, ...]) -> None:
        names = fn.__code__.co_varnames[1 : fn.__code__.co_argcount]
        self.fn = fn
        self.keeps = {n for n in names if n in operands or n == "out"}
        self.fetchers = tuple(_fetcher(name, operands) for name in names)

    def __call__(self, g: Any, node: Node) -> Any:
        return self.fn(g, *[fetch(node) for fetch in self.fetchers])


def _fetcher(name: str, operands: tuple[str, ...]) -> Callable[[Node], Any]:
    if name in operands:
        i = operands.index(name)
        return lambda node: node.value(i)
    if name == "out":
        return lambda node: node.output()
    if name.endswith("_spec"):
        j = operands.index(name.removesuffix("_spec"))
        return lambda node: node.parents[j]
    return lambda node: node.params[name]


class Op:
    """One operation with its rules.

    Parameters
    ----------
    name : unique in the registry
    reference : NumPy implementation, `reference(*arrays, **params)`
    infer : shape and dtype of the result from those of the operands, `infer(*specs, **params)`;
        it raises the op's error for operands that do not fit
    operands : names of the operands; empty for an op that takes any number of them
    jvps, vjps : one `Rule` an operand (None: no derivative with respect to that operand)
    batch : `batch(size, args, batched, **params)`: the op with an extra leading axis on the
        operands marked in `batched`; returns the result(s) with that axis leading
    cost : "compute", "memory" or "view"
    samples : draws test inputs, for the tests that the registry drives
    several : whether the op returns a tuple of results
    work : `work(result, *operands, **params)`, given as anything with a shape and a dtype: the
        number of floating-point operations, a multiply-add counted as two. Ops that only move,
        choose or compare need none
    lower : how the compiler writes it; None calls the reference from inside the program
    """

    def __init__(
        self,
        name: str,
        reference: Callable[..., Any],
        infer: Callable[..., Any],
        *,
        operands: tuple[str, ...],
        jvps: Sequence[Callable[..., Any] | None] = (),
        vjps: Sequence[Callable[..., Any] | None] = (),
        batch: Callable[..., Any],
        samples: Sampler,
        cost: str = "memory",
        several: bool = False,
        keeps: Sequence[str] = (),
        work: Work | None = None,
        lower: Lowering | None = None,
    ) -> None:
        assert name not in REGISTRY, f"op {name!r} is declared twice"
        self.name = name
        self.reference = reference
        self.infer = infer
        self.operands = operands
        self.jvps = tuple(None if r is None else Rule(r, operands) for r in jvps)
        self.vjps = tuple(None if r is None else Rule(r, operands) for r in vjps)
        self.batch_rule = batch
        self.samples = samples
        self.cost = cost
        self.work = work
        self.lower = lower
        self.several = several
        self.expand: Callable[..., Any] | None = None  # writes the op out in other ops
        self.always_keeps = set(keeps)
        self.keep_all = "all" in keeps
        self.keep_inputs, self.keep_output = self.keeping((True,) * len(operands))
        self.kept: dict[int, tuple[tuple[int, ...], bool]] = {}  # `keeping`, by what is tracked
        REGISTRY[name] = self

    def asked_by(self, i: int) -> set[str]:
        """The names of the values that the rules of operand `i` ask for."""
        rules = [rules[i] for rules in (self.jvps, self.vjps) if rules]
        return set().union(*(r.keeps for r in rules if r is not None))

    def keeping(self, tracked: Sequence[bool]) -> tuple[tuple[bool, ...], bool]:
        """Which operands, and whether the result, a node keeps for the rules of those operands
        that are tracked. A class with rules of its own keeps what those of any operand ask for."""
        asked = set(self.always_keeps)
        own_rules = type(self).vjp is not Op.vjp
        for i, is_tracked in enumerate(tracked):
            if is_tracked or own_rules:
                asked |= self.asked_by(i)
        return tuple([self.keep_all or n in asked for n in self.operands]), "out" in asked

    # -- what walks call ---------------------------------------------------------------------

    def vjp(self, node: Node, ct: Any, needs: Sequence[bool]) -> Sequence[Tensor | None]:
        """Cotangents of the operands marked in `needs`, given the cotangent of the result."""
        parts: list[Tensor | None] = []
        for rule, need in zip(self.vjps, needs):
            parts.append(rule(ct, node) if need and rule is not None else None)
        return parts

    def jvp(self, node: Node, tangents: Sequence[Tensor | None]) -> Any:
        """Tangent of the result (a tuple for several results), given those of the operands."""
        total: Any = None
        for rule, t in zip(self.jvps, tangents, strict=True):
            if rule is None or t is None:
                continue
            part = rule(t, node)
            total = part if total is None else add_tangents(total, part)
        return total

    def batch(
        self, size: int, args: Sequence[Tensor], batched: Sequence[bool], params: dict[str, Any]
    ) -> Any:
        """The op over a leading batch axis; see the class."""
        return self.batch_rule(size, args, batched, **params)

    def flops(self, node: Node) -> int | None:
        """Floating-point operations of one run of a node, a multiply-add counted as two. None where
        nobody said how to count, or the shape of an operand is no longer known."""
        if self.work is None:
            return None if self.cost == "compute" and is_float(node.dtype) else 0
        operands: list[Any] = list(node.parents)
        for i, parent in enumerate(operands):
            if parent is None:
                operands[i] = node.saved[i] if node.saved is not None else None
        if any(x is None for x in operands):
            return None
        return self.work(node, *operands, **node.params)

    @property
    def differentiable(self) -> bool:
        """Whether a derivative with respect to some operand exists."""
        return any(r is not None for r in self.vjps)

    # -- application -------------------------------------------------------------------------

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Apply the op to tensors: compute at once, and record where something is tracked."""
        return bind(self, args, params)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def add_tangents(a: Any, b: Any) -> Any:
    """Sum of two tangents or cotangents; either may be None (zero), or a tuple of such."""
    if a is None:
        return b
    if b is None:
        return a
    if isinstance(a, tuple):
        return tuple(map(add_tangents, a, b))
    return REGISTRY["add"](a, b)


# -- binding: the one place where an op meets its operands -------------------------------------


def bind(op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
    """Apply `op`; a node is recorded where an operand is tracked and the op is differentiable."""
    # Plain loops: on small arrays a comprehension costs more than what is done in it.
    arrays, parents = [], []
    tracked, bit = 0, 1  # which operands are tracked, as bits
    for t in args:
        node = t._node
        if node is not None:
            tracked |= bit
            if t._data.__class__ is Spec:
                return _record_symbolic(op, args, params)
        bit += bit
        arrays.append(t._data)
        parents.append(node)
    try:
        out = op.reference(*arrays, **params)
    except WengertError:
        raise
    except Exception as problem:
        known = live.all_settled(args)  # copies of boxes, taken while another thread traced
        if known is not None:
            return bind(op, known, params)
        raise explain(op, args, params, problem) from None
    recorded = tracked and state.recording and op.vjps
    if op.several:
        return _record_several(op, args, params, out) if recorded else tuple(map(Tensor, out))
    if out.__class__ is not np.ndarray:  # NumPy's ufuncs return scalars for 0-d operands
        out = np.asarray(out)
    if not recorded:
        return Tensor(out)
    keeps, keeps_out = op.kept.get(tracked) or _keeping(op, parents, tracked)
    saved: list[Data | None] = [None] * len(arrays)
    for i in keeps:
        saved[i] = arrays[i]
    origin = state.origin or site.capture(state.module)
    kept_out = out if keeps_out else None
    params = params or NO_PARAMS  # one empty dict for all nodes
    node = Node(op, params, tuple(parents), tuple(saved), kept_out, out.shape, out.dtype, origin)
    return Tensor(out, node)


def _keeping(op: Op, parents: Sequence[Node | None], tracked: int) -> tuple[tuple[int, ...], bool]:
    """Which operands a node with these parents keeps, and whether its result. An op of a fixed
    number of operands remembers the answer for each set of tracked ones."""
    if not op.operands:
        return tuple(range(len(parents))) if op.keep_all else (), "out" in op.always_keeps
    flags, keeps_out = op.keeping([p is not None for p in parents])
    op.kept[tracked] = found = tuple(i for i, keep in enumerate(flags) if keep), keeps_out
    return found


def _record_several(
    op: Op, args: tuple[Tensor, ...], params: dict[str, Any], out: tuple[Data, ...]
) -> tuple[Tensor, ...]:
    """A node for an op with several results, and a `pick` node for each of them."""
    origin = state.origin or site.capture(state.module)
    parents = tuple([t._node for t in args])
    saved: tuple[Data | None, ...] = tuple([t._data for t in args])
    kept: tuple[Data, ...] | None = out
    if op.operands and out[0].__class__ is not Spec:  # as in `bind`: what the rules ask for
        flags, keeps_out = op.keeping([p is not None for p in parents])
        saved = tuple([d if keep else None for d, keep in zip(saved, flags, strict=True)])
        kept = out if keeps_out else None
    node = Node(op, params, parents, saved, kept, (), out[0].dtype, origin)
    return picks(node, out)


def picks(node: Node, out: Sequence[Data]) -> tuple[Tensor, ...]:
    """The results of a node with several, each behind its `pick` node."""
    pick = REGISTRY["pick"]
    picked = []
    for i, o in enumerate(out):
        choice = {"index": i, "count": len(out)}
        spec = o if o.__class__ is Spec else None
        chosen = Node(pick, choice, (node,), (None,), spec, o.shape, o.dtype, node.origin)
        picked.append(Tensor(o, chosen))
    return tuple(picked)


def _record_symbolic(op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
    """In a trace nothing is computed: the node keeps all operands, and the result is a Spec.

    It records whether or not recording is on, since the graph will be run; what is made while
    recording is off becomes a constant by a `stop_gradient`.
    """
    if live.tracing.real is not None:  # perhaps another thread traces, and these are its boxes
        known = live.all_settled(args)
        if known is not None:
            return bind(op, known, params)
    if state.trace is None:
        raise leaked([t._node for t in args if t.is_symbolic])
    spec = op.infer(*[Spec.of(t._data) for t in args], **params)
    if op.several:
        outs = _record_several(op, args, params, spec)
        cut = not state.recording and op.vjps
        return tuple(REGISTRY["stop_gradient"](o) for o in outs) if cut else outs
    origin = state.origin or site.capture(state.module)
    node = Node(
        op,
        params,
        tuple([t._node for t in args]),
        tuple([t._data for t in args]),
        spec,
        spec.shape,
        spec.dtype,
        origin,
    )
    out = Tensor(spec, node)
    return out if state.recording or not op.vjps else REGISTRY["stop_gradient"](out)


def leaked(nodes: Sequence[Node | None]) -> TraceError:
    """The error for a symbolic tensor of a trace that has ended."""
    made = [node.site for node in nodes if node is not None]
    return TraceError(
        "jit",
        "a symbolic tensor leaked out of the function that made it, and was used outside",
        met=f"a tensor made at {made[0]}" if made else "a tensor without a graph",
        cause="it was stored in a global, a list or an attribute while a function was traced",
        fix="return it from the traced function",
    )


def explain(
    op: Op, args: Sequence[Tensor], params: dict[str, Any], problem: Exception
) -> WengertError:
    """The error for operands that the reference refused: the shape rule's own, if it has one."""
    try:
        op.infer(*[Spec.of(t._data) for t in args], **params)
    except WengertError as precise:
        return precise
    return WengertError(op.name, str(problem), met=describe(*args))


def cast_to(x: Tensor, dtype: Any) -> Tensor:
    """`x` with another dtype (itself if it already has it), differentiable between floats."""
    dtype = as_dtype(dtype)
    if x.dtype == dtype:
        return x
    result: Tensor = REGISTRY["cast"](x, dtype=dtype)
    return result
