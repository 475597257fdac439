"""`scan` and `fori_loop`: loops that a compiled program runs itself, with their body traced once.

Outside of a trace of `jit` they are Python loops. Inside they become one op, `scan`, which holds
the body as a program; see `compiler.loop`. What the body closes over becomes an operand, and what
it writes (variables, an optimizer's state, gradients) is carried from step to step like the carry
that it returns.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.compiler.capture import Importer
from wengert.compiler.ir import Program, Term
from wengert.compiler.loop import Loop, scan_op
from wengert.compiler.session import Box, Session
from wengert.compiler.tracing import differentiable_above, inside_jit
from wengert.core.errors import ArgumentError, DtypeError, ShapeError, TraceError
from wengert.core.node import Node
from wengert.core.op import bind
from wengert.core.spec import Spec
from wengert.core.state import state
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import TreeDef, tree_flatten, tree_paths
from wengert.core.variable import Variable
from wengert.namespaces.joining import stack
from wengert.ops.structure import leaf, stop_gradient
from wengert.transforms.call import check_function
from wengert.transforms.replay import own_sites
from wengert.transforms.trace import symbolic

__all__ = ["fori_loop", "scan"]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Loop over the leading axis of `xs` with a carry: `carry, y = f(carry, x)`.

    Returns the last carry and the `y`s, stacked. `init`, `xs` and the `y`s are pytrees; the carry
    keeps its structure, shapes and dtypes. Without `xs`, `length` says how often. With `reverse`
    the loop runs from the last row to the first.

    Inside of `wg.jit` the body is traced once and the loop is part of the program. The body may
    update state: a whole training step with its optimizer can be scanned over data.

    >>> import wengert as wg
    >>> total, sums = wg.scan(lambda c, x: (c + x, c + x), 0.0, wg.asarray([1.0, 2.0, 3.0]))
    >>> float(total), sums.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    check_function("scan", f)
    rows, tree = tree_flatten(xs)
    rows = [as_tensor(x) for x in rows]
    count = _length(rows, xs, length)
    leaves, carry_tree = tree_flatten(init)
    carry = [as_tensor(c) for c in leaves]

    def body(values: Sequence[Tensor], row: Sequence[Tensor]) -> tuple[list[Any], Any]:
        result = f(carry_tree.unflatten(values), tree.unflatten(row))
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(
                "scan",
                "the body must return a pair (carry, y)",
                met=type(result).__name__,
                fix="return carry, None where nothing is to be stacked",
            )
        return _carry("scan", result[0], carry_tree, carry, init), result[1]

    if not inside_jit():
        last, ys = _python_scan(body, carry, rows, count, reverse)
        return carry_tree.unflatten(last), ys
    last, ys = _traced_loop("scan", body, carry, rows, count, reverse)
    return carry_tree.unflatten(last), ys


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`for i in range(lower, upper): value = body_fun(i, value)`; returns the last value.

    The value is a pytree that keeps its structure, shapes and dtypes. The bounds are integers, not
    tensors of a trace. Inside of `wg.jit` the body is traced once, with `i` as a tensor, and may
    update state, as in `scan`.

    >>> import wengert as wg
    >>> wg.fori_loop(0, 5, lambda i, total: total + i, 0)
    Tensor(10, dtype=int64)
    """
    check_function("fori_loop", body_fun)
    start, stop = _bound("lower", lower), _bound("upper", upper)
    leaves, tree = tree_flatten(init_val)
    carry = [as_tensor(c) for c in leaves]
    if not inside_jit():
        value = carry
        for i in range(start, stop):
            found = body_fun(i, tree.unflatten(value))
            value = _carry("fori_loop", found, tree, carry, init_val)
        return tree.unflatten(value)
    counter = Tensor(np.array(start))

    def body(values: Sequence[Tensor], row: Sequence[Tensor]) -> tuple[list[Any], Any]:
        found = body_fun(values[0], tree.unflatten(values[1:]))
        return [values[0] + 1, *_carry("fori_loop", found, tree, carry, init_val)], None

    count = max(stop - start, 0)
    last, _ = _traced_loop("fori_loop", body, [counter, *carry], [], count, False)
    return tree.unflatten(last[1:])


# -- arguments -----------------------------------------------------------------------------------


def _length(rows: Sequence[Tensor], xs: Any, length: int | None) -> int:
    if not rows and length is None:
        raise ArgumentError(
            "scan",
            "xs and length must agree on the number of steps, and one of them must say it",
            met="neither",
            fix="pass xs, or how many steps: length=10",
        )
    sizes = {x.shape[0] if x.ndim else None for x in rows}
    if length is not None:
        sizes.add(operator.index(length))
    if len(sizes) != 1 or None in sizes:
        places = zip(tree_paths(xs), rows, strict=True)
        raise ArgumentError(
            "scan",
            "xs and length must agree on the number of steps",
            met=", ".join(f"xs{p} of shape {x.shape}" for p, x in places) + f", length={length}",
            fix="give all arrays of xs the same leading axis, or pass length alone",
        )
    (found,) = sizes
    assert found is not None
    return found


def _bound(name: str, value: Any) -> int:
    if isinstance(value, Tensor) and value.is_symbolic:
        raise TraceError(
            "fori_loop",
            f"{name} is a symbolic tensor",
            met=repr(Spec.of(value)),
            cause="a bound that is computed in the trace",
            fix="pass it as a static argument, or loop to a fixed bound and use wg.where(i < n, …)",
        )
    try:
        return operator.index(value)
    except TypeError:
        raise DtypeError(
            "fori_loop", f"{name} must be an integer", met=repr(value), fix="convert it with int()"
        ) from None


def _carry(
    name: str, found: Any, tree: TreeDef, carry: Sequence[Tensor], init: Any
) -> list[Tensor]:
    """The new carry's leaves, which must be like the first's."""
    leaves, structure = tree_flatten(found)
    if structure != tree:
        raise ArgumentError(
            name,
            "the carry must keep its structure",
            met=f"{structure} returned for {tree}",
            fix="return a carry built like the first one",
        )
    new = [as_tensor(x, c) for x, c in zip(leaves, carry, strict=True)]
    for path, x, c in zip(tree_paths(init), new, carry, strict=True):
        if x.shape != c.shape or x.dtype != c.dtype:
            kind = ShapeError if x.shape != c.shape else DtypeError
            raise kind(
                name,
                f"carry{path} must keep its shape and dtype",
                met=f"{Spec.of(x)} returned for {Spec.of(c)}",
                cause="a first value of another dtype (0 for 0.0), or broadcasting in the body",
                fix=f"start with wg.zeros({x.shape}, dtype={str(x.dtype)!r}), or cast in the body",
            )
    return new


# -- outside of jit ------------------------------------------------------------------------------


def _python_scan(
    body: Callable[..., tuple[list[Tensor], Any]],
    carry: list[Tensor],
    rows: Sequence[Tensor],
    count: int,
    reverse: bool,
) -> tuple[list[Tensor], Any]:
    steps = range(count)[::-1] if reverse else range(count)
    found: list[list[Tensor]] = []
    structure: TreeDef | None = None
    for i in steps:
        carry, y = body(carry, [x[i] for x in rows])
        leaves, structure = tree_flatten(y)
        found.append([as_tensor(v) for v in leaves])
    if structure is None:
        return carry, None
    if reverse:
        found.reverse()
    return carry, structure.unflatten([stack(column) for column in zip(*found, strict=True)])


# -- inside of jit -------------------------------------------------------------------------------


def _handles(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same values behind other handles, which the body may rebind."""
    return [Tensor(t._data, t._node) for t in tensors]


class _Body:
    """A loop's body, traced: what it needs, what it carries, and what it gives."""

    def __init__(
        self, name: str, body: Any, carry: Sequence[Tensor], rows: Sequence[Tensor]
    ) -> None:
        self.name = name
        self.session = Session(parent=state.trace)
        with self.session, own_sites():
            self.carry = [symbolic(Spec.of(c)) for c in carry]
            self.rows = [symbolic(Spec(x.shape[1:], x.dtype)) for x in rows]
            handles = [
                [Tensor(t._data, t._node) for t in group] for group in (self.carry, self.rows)
            ]
            new, y = body(*handles)
            ys, self.y_tree = tree_flatten(y)
        self.new, self.ys = new, [as_tensor(v) for v in ys]
        self.session.check_boxes()
        boxes = [b for b in self.session.all_boxes() if not b.computed and b.tensor is not None]
        self.written = [b for b in boxes if b.was_written]
        self.accumulated = [b for b in boxes if b.grad_changed]
        self._check_gradients()

    def _check_gradients(self) -> None:
        for box in self.accumulated:
            if box.grad_start is None or box.grad_end is None:
                raise TraceError(
                    self.name,
                    "the body leaves a gradient where there was none, or the other way round",
                    met=f"a parameter of {box.spec}",
                    cause="backward() without zero_grad() in the body of a loop",
                    fix="call opt.zero_grad() at the end of the body, and before the loop",
                )

    def unconnected(self, loop: Loop, operands: Sequence[Tensor]) -> list[int]:
        """Which results no derivative can pass to anything that is tracked: a loss, for example,
        whose backward pass the body has done itself."""
        inputs = {x._node: loop.constants + i for i, x in enumerate(self.carry)}
        inputs.update((x._node, loop.first_row + i) for i, x in enumerate(self.rows))
        sources: list[set[int]] = []
        for value in (*self.new, *self.ys):
            above = list(differentiable_above([value._node], self.session.released))
            found = {inputs[n] for n in above if n in inputs}
            if any(n not in inputs and (not n.parents or self.is_outside(n)) for n in above):
                found.add(-1)  # a parameter, or something further out
            sources.append(found)
        explicit = range(len(self.new))
        tracked = {i for i, x in enumerate(operands) if x._node is not None} | {-1}
        for _ in explicit:  # what reaches a carry reaches it again through other carries
            for i in explicit:
                for k in explicit:
                    if loop.constants + k in sources[i]:
                        sources[i] = sources[i] | sources[k]
        carried = loop.carried - len(self.new)
        numbers = [*explicit, *(i + carried for i in range(len(self.new), len(sources)))]
        return [n for n, found in zip(numbers, sources, strict=True) if not found & tracked]

    def is_outside(self, node: Node) -> bool:
        return node.id < self.session.begin and node not in self.session.starts

    def program(self) -> tuple[Program, list[Tensor], list[Tensor]]:
        """The body's program (constants, carry, rows → carry, ys), the values of the constants and
        the first values of what is carried besides the explicit carry."""
        importer = Importer(whole=True, outside=self.is_outside, captured=self.is_outside)
        importer.versions = self.session.versions
        explicit = [self._input(importer, x) for x in self.carry]
        rows = [self._input(importer, x) for x in self.rows]
        boxes = [b for b in self.session.all_boxes() if not b.computed]
        terms = {id(b): self._input(importer, b.first) for b in boxes}
        for box in boxes:
            if box.tensor is None:
                terms[id(box)].data = box.data
        grads = {
            id(b): self._input(importer, b.grad_start) for b in boxes if b.grad_start is not None
        }
        values = [*self.new, *(b.value for b in self.written)]
        values += [b.grad_end for b in self.accumulated if b.grad_end is not None]
        outputs = importer.terms([*values, *self.ys])
        needed = set(Program([], outputs).terms)
        carried = [terms[id(b)] for b in self.written] + [grads[id(b)] for b in self.accumulated]
        first = [_now(b) for b in self.written]
        first += [b.grad for b in self.accumulated if b.grad is not None]
        constants, given = list[Term](), list[Tensor]()
        for box in boxes:
            if box.tensor is None:
                continue
            for term, value in ((terms[id(box)], _now(box)), (grads.get(id(box)), box.grad)):
                if term in needed and term not in carried and not term.is_constant:
                    assert value is not None
                    constants.append(term)
                    given.append(value)
        for value, term in importer.extra:
            constants.append(term)
            given.append(value)
        inputs = [*constants, *explicit, *carried, *rows]
        return Program(inputs, outputs), given, first

    @staticmethod
    def _input(importer: Importer, x: Tensor) -> Term:
        assert x._node is not None
        return importer.input(x._node, x._data if x._node.op is leaf else None)


def _traced_loop(
    name: str, body: Any, carry: Sequence[Tensor], rows: Sequence[Tensor], count: int, reverse: bool
) -> tuple[list[Tensor], Any]:
    """One `scan` op for a loop: the last explicit carry, and the stacked tree of `y`s."""
    traced = _Body(name, body, carry, rows)
    for box in traced.session.made:
        _adopt(box)
    program, constants, first = traced.program()
    carried = len(carry) + len(first)
    loop = Loop(program, len(constants), carried, count, reverse)
    operands = (*constants, *carry, *first, *rows)
    results = list(bind(scan_op, operands, {"loop": loop}))
    for i in traced.unconnected(loop, operands):
        results[i] = stop_gradient(results[i])
    last = results[: len(carry)]
    rest = iter(results[len(carry) : carried])
    for box in traced.written:
        assert isinstance(box.tensor, Variable)
        box.tensor.assign(next(rest))
    for box in traced.accumulated:
        assert box.tensor is not None
        box.tensor.grad = next(rest)
    return last, traced.y_tree.unflatten(results[carried:])


def _now(box: Box) -> Tensor:
    """What a box holds in the trace around the loop."""
    tensor = box.tensor
    assert tensor is not None
    return Tensor(tensor._data, tensor._node)


def _adopt(box: Box) -> None:
    """A variable that the body made, and that lives on, is state of the trace around as well."""
    tensor = box.tensor
    if tensor is not None and state.trace is not None:
        state.trace.on_create(tensor, Tensor(box.data))  # type: ignore[arg-type]
