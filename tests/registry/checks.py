"""What every op must satisfy, as one function a property. `test_ops` runs them for each op.

Each check takes the op and raises an AssertionError that names the sample. Inputs are the op's own
samples, in float64 unless the check is about other dtypes, and their arrays are read-only: an op
that writes into an operand fails at once.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

import wengert as wg
import wengert.compiler.control
import wengert.compiler.jit
from wengert import data, diagnostics, nn, optim, train  # noqa: F401
from wengert.core import dtypes
from wengert.core.errors import DtypeError, WengertError
from wengert.core.op import REGISTRY, Op
from wengert.core.rules import Linear, Multilinear, Unary
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor
from wengert.transforms.trace import interpret

Outputs = tuple[Tensor, ...]

# Ops that no user calls: nodes that the library itself puts into graphs.
NOT_CALLED = {
    "leaf": "a tracked input: a node without operands",
    "placeholder": "an input of a trace: a node without operands",
    "pick": "one result of an op with several; tested with each of those",
}
# Ops that take every operand there is, so that no call of them is wrong.
NEVER_WRONG = {
    "alias",
    "stop_gradient",
    "cast",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "once_more",
}
# Ops of which no result contains a NaN although all operands are NaN.
ABSORBS_NAN: dict[str, str] = {}
# Ops that refuse float16 and bfloat16, with the reason.
NO_HALF: dict[str, str] = {}
# Ops that hold a program, which was traced for operands of one dtype.
ONE_DTYPE = {"compiled_call", "scan"}

ERROR_FORM = re.compile(r"\A\[[\w.]+\] \S.*; fix: \S", re.DOTALL)


# -- samples -----------------------------------------------------------------------------------


def draw(op: Op, seed: int = 0) -> list[Sample | Wrong]:
    """The op's samples, from a generator that depends on its name and `seed` alone."""
    return list(op.samples(np.random.default_rng((zlib.crc32(op.name.encode()), seed))))


def freeze(value: Any, dtype: Any = None) -> Tensor:
    """A tensor on a read-only copy; `dtype` replaces the dtype of floating values."""
    array = np.array(value)
    if dtype is not None and dtypes.is_float(array.dtype):
        array = array.astype(dtype)
    array.flags.writeable = False
    return Tensor(array)


@dataclass
class Case:
    """One sample of an op, with its operands as tensors."""

    op: Op
    number: int
    operands: list[Tensor]
    params: dict[str, Any]
    smooth: bool

    def __str__(self) -> str:
        shapes = ", ".join(map(repr, map(Spec.of, self.operands)))
        return f"{self.op.name}({shapes}, **{self.params}) [sample {self.number}]"

    @property
    def floating(self) -> list[int]:
        """Positions of the floating operands."""
        return [i for i, x in enumerate(self.operands) if dtypes.is_float(x.dtype)]

    @property
    def inputs(self) -> list[Tensor]:
        """The floating operands."""
        return [self.operands[i] for i in self.floating]

    def __call__(self, *operands: Any) -> Outputs:
        """Apply the op to these operands; always a tuple."""
        out = self.op(*operands, **self.params)
        assert isinstance(out, tuple) == self.op.several, f"{self}: result and `several` disagree"
        return out if self.op.several else (out,)

    def with_inputs(self, inputs: Sequence[Any]) -> list[Any]:
        """All operands, with the floating ones replaced."""
        replaced = list(self.operands)
        for i, x in zip(self.floating, inputs, strict=True):
            replaced[i] = x
        return replaced

    def outputs(self, *inputs: Any) -> Outputs:
        """The floating results as a function of the floating operands."""
        return tuple(o for o in self(*self.with_inputs(inputs)) if dtypes.is_float(o.dtype))


def cases(op: Op, dtype: Any = np.float64, seed: int = 0) -> Iterator[Case]:
    """The valid samples of an op, floating operands cast to `dtype`."""
    for i, sample in enumerate(draw(op, seed)):
        if isinstance(sample, Sample):
            operands = [freeze(a, dtype) for a in sample.args]
            yield Case(op, i, operands, sample.params, sample.smooth)


def differentiable_functions(case: Case) -> Iterator[tuple[str, Callable[..., Outputs]]]:
    """The floating results together, and each alone where there are several."""
    count = len(case.outputs(*case.inputs)) if case.inputs else 0
    if count:
        yield str(case), case.outputs
    if count > 1:
        for i in range(count):
            yield f"{case}, result {i} alone", lambda *xs, i=i: (case.outputs(*xs)[i],)


# -- comparing ---------------------------------------------------------------------------------


def assert_same(found: Any, expected: Any, where: str, exact: bool = False) -> None:
    """Equal shape, dtype and values (within a few ulp unless `exact`)."""
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape, f"{where}: shape {a.shape}, expected {b.shape}"
    assert a.dtype == b.dtype, f"{where}: dtype {a.dtype}, expected {b.dtype}"
    if exact or not dtypes.is_float(a.dtype):
        np.testing.assert_array_equal(a, b, err_msg=where)
        return
    coarse = {2: 5e-2, 4: 1e-4, 8: 1e-9}[a.dtype.itemsize]
    a, b = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_allclose(a, b, rtol=coarse, atol=coarse, err_msg=where)


def assert_close(found: Any, expected: Any, tolerance: float, where: str) -> None:
    """|found − expected| ≤ tolerance · (1 + max |expected|)."""
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape, f"{where}: shape {a.shape}, expected {b.shape}"
    limit = tolerance * (1.0 + np.max(np.abs(b), initial=0.0))
    worst = np.max(np.abs(a - b), initial=0.0)
    assert worst <= limit, f"{where}: off by {worst:.2e}\nfound\n{a}\nexpected\n{b}"


def like(rng: np.random.Generator, xs: Sequence[Tensor]) -> list[Tensor]:
    """Random directions of the shapes and dtypes of some tensors."""
    return [freeze(rng.normal(size=x.shape), x.dtype) for x in xs]


def dot(us: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
    """⟨u, v⟩ over all tensors of both lists."""
    total = Tensor(np.zeros((), np.float64))
    for u, v in zip(us, vs, strict=True):
        total = total + wg.sum(u * v)
    return total


def numeric_gradient(f: Callable[..., Tensor], xs: Sequence[Tensor]) -> list[Any]:
    """∂f/∂xᵢ of a scalar function by the five-point central difference (error of order h⁴)."""
    gradients = []
    for k, x in enumerate(xs):
        found = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            h = 2e-4 * max(1.0, abs(float(x.numpy()[index])))
            value = {}
            for step in (-2, -1, 1, 2):
                moved = np.array(x)
                moved[index] += step * h
                value[step] = float(f(*xs[:k], freeze(moved), *xs[k + 1 :]))
            found[index] = (8 * (value[1] - value[-1]) - (value[2] - value[-2])) / (12 * h)
        gradients.append(found)
    return gradients


def gradient(f: Callable[..., Tensor], xs: Sequence[Tensor]) -> Outputs:
    """∇f of a scalar function with respect to all of its arguments."""
    found: Outputs = wg.grad(f, argnums=tuple(range(len(xs))))(*xs)
    return found


# -- the checks --------------------------------------------------------------------------------


def check_declaration(op: Op) -> None:
    """The entry is complete: shape rule, batch rule, samples, and both modes or neither."""
    assert callable(op.infer), "no shape rule"
    assert callable(op.batch_rule), "no batch rule"
    assert op.cost in ("compute", "memory", "view"), f"unknown cost {op.cost!r}"
    samples = draw(op)
    assert any(isinstance(s, Sample) for s in samples), "no valid sample"
    if not isinstance(op, Unary) and op.name not in NEVER_WRONG:
        assert any(isinstance(s, Wrong) for s in samples), "no erroneous sample"
    if op.operands and op.vjps:
        assert len(op.vjps) == len(op.operands), "not one vjp rule an operand"
    if type(op).jvp is not Op.jvp or type(op).vjp is not Op.vjp:  # a class that derives its rules
        assert bool(op.vjps) == op.differentiable, "declared without a cotangent rule"
        assert op.differentiable or not isinstance(op, (Linear, Multilinear)), "no transpose"
        return
    assert len(op.vjps) == len(op.jvps), "not as many tangent rules as cotangent rules"
    for i, (forward, backward) in enumerate(zip(op.jvps, op.vjps, strict=True)):
        assert (forward is None) == (backward is None), f"operand {i} lacks one of its two rules"


def check_infer(op: Op) -> None:
    """The shape rule says what the reference gives, and the traced graph computes the same."""
    for case in cases(op):
        eager = case(*case.operands)
        graph = wg.trace(lambda *xs, case=case: case(*xs), *case.operands)
        assert len(graph.outputs) == len(eager), str(case)
        for symbolic, computed in zip(graph.outputs, eager, strict=True):
            assert Spec.of(symbolic) == Spec.of(computed), (
                f"{case}: infer says {Spec.of(symbolic)}, the reference gives {Spec.of(computed)}"
            )
        for again, computed in zip(interpret(graph, case.operands), eager, strict=True):
            assert_same(again, computed, f"{case}, traced", exact=True)


def check_trace_of_gradient(op: Op) -> None:
    """The derivative rules run on shapes alone, and give the same when run as a graph."""
    rng = np.random.default_rng(1)
    for case in cases(op):
        for where, f in differentiable_functions(case):
            us = tuple(like(rng, f(*case.inputs)))

            def pulled(*xs: Tensor, f: Any = f, us: Any = us) -> Any:
                return wg.vjp(f, *xs)[1](us)

            graph = wg.trace(pulled, *case.inputs)
            eager = pulled(*case.inputs)
            for a, b in zip(interpret(graph, case.inputs), eager, strict=True):
                assert_same(a, b, f"{where}, traced pullback")


def check_gradient(op: Op) -> None:
    """The cotangent rules agree with finite differences."""
    rng = np.random.default_rng(2)
    for case in cases(op):
        for where, f in differentiable_functions(case) if case.smooth else ():
            us = like(rng, f(*case.inputs))
            phi = lambda *xs, f=f, us=us: dot(us, f(*xs))
            numeric = numeric_gradient(phi, case.inputs)
            for i, (a, n) in enumerate(zip(gradient(phi, case.inputs), numeric, strict=True)):
                assert_close(a, n, 1e-6, f"{where}: gradient of floating operand {i}")


def check_duality(op: Op) -> None:
    """⟨u, J·t⟩ = ⟨uᵀ·J, t⟩: the two modes are transposes of each other."""
    rng = np.random.default_rng(3)
    for case in cases(op):
        for where, f in differentiable_functions(case):
            us, ts = like(rng, f(*case.inputs)), like(rng, case.inputs)
            cotangents = wg.vjp(f, *case.inputs)[1](tuple(us))
            tangents = wg.jvp(f, tuple(case.inputs), tuple(ts))[1]
            assert_same_number(dot(us, tangents), dot(cotangents, ts), where)


def check_each_operand_alone(op: Op) -> None:
    """With one operand tracked and the others constant (when nodes keep less) the derivatives are
    the same, also of second order; so no term can hide behind another."""
    rng = np.random.default_rng(5)
    for case in cases(op):
        xs = case.inputs
        if len(xs) < 2:
            continue
        for where, f in differentiable_functions(case):
            us = tuple(like(rng, f(*xs)))
            whole = wg.vjp(f, *xs)[1](us)
            for i, t in enumerate(like(rng, xs)):
                one = lambda x, f=f, i=i: f(*xs[:i], x, *xs[i + 1 :])  # noqa: B023
                (ct,) = wg.vjp(one, xs[i])[1](us)
                assert_same(ct, whole[i], f"{where}, operand {i} alone")
                tangents = wg.jvp(one, (xs[i],), (t,))[1]
                assert_same_number(dot(us, tangents), dot([ct], [t]), f"{where}, operand {i}")
                slope = lambda x, one=one, us=us: wg.vjp(one, x)[1](us)[0]
                curve = wg.jvp(slope, (xs[i],), (t,))[1]
                again = wg.vjp(slope, xs[i])[1](t)[0]  # equal, as second derivatives commute
                if case.smooth:
                    assert_close(again, curve, 1e-8, f"{where}, operand {i}, second order")


def assert_same_number(left: Any, right: Any, where: str) -> None:
    """Equal up to rounding; NaN equals NaN."""
    a, b = float(left), float(right)
    fine = math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    assert fine, f"{where}: ⟨u, jvp t⟩ = {a!r}, ⟨vjp u, t⟩ = {b!r}"


def check_second_order(op: Op) -> None:
    """The derivative of the derivative agrees with finite differences, in both orders of modes."""
    rng = np.random.default_rng(4)
    for case in cases(op):
        for where, f in differentiable_functions(case) if case.smooth else ():
            xs = case.inputs
            us, vs = like(rng, f(*xs)), tuple(like(rng, xs))
            phi = lambda *xs, f=f, us=us: dot(us, f(*xs))
            slope = lambda *xs, phi=phi, vs=vs: dot(vs, gradient(phi, xs))
            push = lambda *xs, phi=phi, vs=vs: wg.jvp(phi, xs, vs)[1]
            numeric = numeric_gradient(slope, xs)
            reverse_reverse = gradient(slope, xs)
            reverse_forward = gradient(push, xs)
            forward_reverse = wg.jvp(lambda *xs, phi=phi: gradient(phi, xs), tuple(xs), vs)[1]
            for i, n in enumerate(numeric):
                assert_close(reverse_reverse[i], n, 1e-5, f"{where}: reverse over reverse, {i}")
                assert_close(reverse_forward[i], n, 1e-5, f"{where}: reverse over forward, {i}")
                assert_close(forward_reverse[i], n, 1e-5, f"{where}: forward over reverse, {i}")


def check_untracked(op: Op) -> None:
    """An op without derivatives does not track its result, and does not stop a gradient's walk."""
    for case in cases(op):
        tracked = [wg.asarray(x).detach().requires_grad_() for x in case.inputs]
        for out in case(*case.with_inputs(tracked)):
            assert not out.requires_grad, f"{case}: the result is tracked"


def stacked_operands(op: Op, number: int, size: int) -> list[Any] | None:
    """`size` draws of one sample, stacked for each operand; None if draws differ in shape."""
    draws = [draw(op, seed)[number] for seed in range(1, max(size, 1) + 1)]
    columns = list(zip(*[s.args for s in draws], strict=True))
    shapes_agree = all(len({np.shape(a) for a in column}) == 1 for column in columns)
    if not shapes_agree or any(s.params != draws[0].params for s in draws):
        return None
    return [np.stack([freeze(a, np.float64) for a in column])[:size] for column in columns]


def check_batching(op: Op) -> None:
    """vmap equals a loop, for each choice of batched operands and for batches of 3, 1 and 0."""
    for case in cases(op):
        for size in (3, 1, 0):
            rows = stacked_operands(op, case.number, size)
            if rows is None:  # the sampler draws other shapes each time: repeat one draw
                rows = [np.repeat(np.asarray(x)[None], size, axis=0) for x in case.operands]
            for marks in product((True, False), repeat=len(rows)):
                if any(marks):
                    _compare_with_loop(case, rows, marks, size)


def _compare_with_loop(case: Case, rows: list[Any], marks: tuple[bool, ...], size: int) -> None:
    where = f"{case}, batch of {size}, batched operands {marks}"
    fixed = [np.asarray(x) for x in case.operands]
    axes = tuple(0 if m else None for m in marks)
    given = [freeze(r if m else x) for r, x, m in zip(rows, fixed, marks, strict=True)]
    found = wg.vmap(case.__call__, in_axes=axes)(*given)
    looped = [
        case(*[freeze(r[i] if m else x) for r, x, m in zip(rows, fixed, marks, strict=True)])
        for i in range(size)
    ]
    for k, out in enumerate(found):
        if size == 0:
            graph = wg.trace(case.__call__, *case.operands)
            assert out.shape == (0, *graph.outputs[k].shape), where
            continue
        assert_same(out, np.stack([np.asarray(row[k]) for row in looped]), where)


def check_errors(op: Op) -> None:
    """Erroneous samples raise their error in the common form, in traces of the same class."""
    for i, sample in enumerate(draw(op)):
        if not isinstance(sample, Wrong):
            continue
        operands = [freeze(a) for a in sample.args]
        where = f"{op.name}, sample {i}: {sample}"
        problem = _failure(lambda *xs, s=sample: op(*xs, **s.params), operands)
        assert isinstance(problem, sample.error), f"{where}: raised {problem!r}"
        assert isinstance(problem, WengertError), f"{where}: raised {problem!r}"
        assert re.search(sample.match, str(problem)), f"{where}: message {problem}"
        assert ERROR_FORM.search(str(problem)), f"{where}: not in the common form: {problem}"
        traced = _failure(
            lambda *xs, s=sample: wg.trace(lambda *ys: op(*ys, **s.params), *xs), operands
        )
        assert traced is None or isinstance(traced, sample.error), f"{where}: traced: {traced!r}"


def _failure(f: Callable[..., Any], operands: Sequence[Tensor]) -> Exception | None:
    try:
        f(*operands)
    except Exception as problem:
        return problem
    return None


def check_dtypes(op: Op) -> None:
    """float32, float16 and bfloat16 go in and come out, in the result and in the gradient."""
    wide = list(cases(op))
    for dtype in (dtypes.float32, dtypes.float16, dtypes.bfloat16):
        for case, reference in zip(cases(op, dtype), wide, strict=True):
            where = f"{case} in {dtype}"
            if op.name in NO_HALF and dtype.itemsize == 2:
                problem = _failure(case, case.operands)
                assert isinstance(problem, DtypeError), f"{where}: {problem!r}"
                continue
            graph = wg.trace(case.__call__, *case.operands)
            expected = reference(*reference.operands)
            results = case(*case.operands)
            for out, symbolic, exact in zip(results, graph.outputs, expected, strict=True):
                assert out.dtype == symbolic.dtype, f"{where}: gives {out.dtype}, not as inferred"
                if "dtype" not in case.params and exact.dtype == dtypes.float64 and case.inputs:
                    assert out.dtype == dtype, f"{where}: gives {out.dtype}"
            if op.differentiable and case.inputs:
                _check_gradient_dtypes(case, where)


def _check_gradient_dtypes(case: Case, where: str) -> None:
    outputs, pullback = wg.vjp(case.outputs, *case.inputs)
    if not outputs:
        return
    for x, ct in zip(case.inputs, pullback(tuple(map(_ones, outputs))), strict=True):
        assert ct.dtype == x.dtype, f"{where}: gradient in {ct.dtype}"
    tangents = wg.jvp(case.outputs, tuple(case.inputs), tuple(map(_ones, case.inputs)))[1]
    for out, t in zip(outputs, tangents, strict=True):
        assert t.dtype == out.dtype, f"{where}: tangent in {t.dtype}"
        assert t.shape == out.shape, f"{where}: tangent of shape {t.shape}"


def _ones(x: Tensor) -> Tensor:
    return Tensor(np.ones(x.shape, x.dtype))


def check_not_finite(op: Op) -> None:
    """NaN and infinities pass through op and gradient without an exception or a warning, and a
    result of nothing but NaN has a NaN. Decompositions may refuse them with a proper error."""
    for case in cases(op):
        for value in (np.nan, np.inf, -np.inf):
            where = f"{case} of {value}"
            inputs = [freeze(np.full(x.shape, value)) for x in case.inputs]
            problem = _failure(lambda *xs, case=case: _forward_and_back(case, xs), inputs)
            if problem is not None:
                assert op.cost == "compute", f"{where}: {problem!r}"
                assert isinstance(problem, WengertError), f"{where}: {problem!r}"
                assert ERROR_FORM.search(str(problem)), f"{where}: {problem}"
                continue
            filled = bool(inputs) and all(x.size for x in inputs)
            if np.isnan(value) and filled and op.name not in ABSORBS_NAN:
                for out in case.outputs(*inputs):
                    assert not out.size or np.isnan(np.asarray(out)).any(), f"{where}: NaN is lost"


def _forward_and_back(case: Case, inputs: Sequence[Tensor]) -> None:
    outputs = case.outputs(*inputs)
    if case.op.differentiable and outputs:
        wg.vjp(case.outputs, *inputs)[1](tuple(map(_ones, outputs)))


ALWAYS: tuple[Callable[[Op], None], ...] = (
    check_declaration,
    check_infer,
    check_batching,
    check_errors,
    check_dtypes,
    check_not_finite,
)
DIFFERENTIABLE = (
    check_gradient,
    check_duality,
    check_each_operand_alone,
    check_second_order,
    check_trace_of_gradient,
)


def checks_of(op: Op) -> tuple[Callable[[Op], None], ...]:
    """The checks that apply to an op."""
    found = ALWAYS + (DIFFERENTIABLE if op.differentiable else (check_untracked,))
    return tuple(c for c in found if c is not check_dtypes or op.name not in ONE_DTYPE)


def called_ops() -> list[Op]:
    """All ops of the registry that can be called, by name."""
    return [REGISTRY[name] for name in sorted(REGISTRY) if name not in NOT_CALLED]
