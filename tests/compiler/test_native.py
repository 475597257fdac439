"""Native programs against the interpreted ones: every op of the registry, and whole programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.compiler.programs import ALL, Traced
from wengert.compiler.ir import Program, Term, apply, constant, evaluate
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core.op import REGISTRY
from wengert.core.sample import Sample
from wengert.core.spec import Spec

Array = np.ndarray[Any, Any]


def run(program: Program, arrays: list[Array], threads: int = 1) -> list[Array]:
    """Compile a program and run it once."""
    compiled = Native(program, threads)
    given = [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
    outputs = [np.empty(s.shape, s.dtype) for s in compiled.outputs]
    for i, a in enumerate([*given, *outputs]):
        compiled.table[i] = a.ctypes.data
    compiled()
    return outputs


def program_of_op(name: str, arrays: list[Array], params: dict[str, Any]) -> Program:
    """A program of one op."""
    inputs = [Term(None, (), {}, Spec.of(a)) for a in arrays]
    term = apply(name, *inputs, **params)
    outputs = [term]
    if term.op is not None and term.op.several:
        count = len(term.specs)
        outputs = [
            Term(REGISTRY["pick"], (term,), {"index": i, "count": count}, spec)
            for i, spec in enumerate(term.specs)
        ]
    return Program(inputs, outputs)


HOLDS_A_PROGRAM = ("scan", "compiled_call")
TRACED = [name for name in sorted(REGISTRY) if name not in ("leaf", "placeholder", "pick")]


@pytest.mark.parametrize("name", TRACED)
def test_every_op_computes_natively_what_its_reference_does(name: str) -> None:
    op = REGISTRY[name]
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
        for sample in op.samples(np.random.default_rng(0)):
            if not isinstance(sample, Sample):
                continue
            arrays = [np.asarray(a) for a in sample.args]
            arrays = [a.astype(dtype) if a.dtype == np.float64 else a for a in arrays]
            if dtype == np.float32 and name in HOLDS_A_PROGRAM:
                continue  # which was traced for float64
            program = program_of_op(name, arrays, sample.params)
            expected = evaluate(program, arrays)
            for simplified in (program, simplify(program)):
                found = run(simplified, arrays)
                for a, b in zip(found, expected, strict=True):
                    assert a.shape == b.shape
                    np.testing.assert_allclose(
                        a, b, rtol=tolerance, atol=tolerance, err_msg=f"{name} {sample.params}"
                    )


@pytest.fixture(scope="module", params=sorted(ALL))
def example(request: pytest.FixtureRequest) -> Traced:
    return ALL[request.param]()


def test_programs_compute_natively_what_they_do_interpreted(example: Traced) -> None:
    program, arrays = example
    expected = evaluate(program, arrays)
    found = run(simplify(program), arrays)
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * scale)


def test_results_are_the_same_bits_with_any_number_of_threads(example: Traced) -> None:
    program, arrays = example
    simplified = simplify(program)
    one = run(simplified, arrays, threads=1)
    for threads in (2, 3):
        for a, b in zip(run(simplified, arrays, threads), one, strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_buffer_that_is_written_in_place_is_not_read_again_by_a_later_pass() -> None:
    x = Term(None, (), {}, Spec((4, 300), np.dtype(np.float32)))
    doubled = apply("mul", x, constant(2.0, x.dtype))
    total = apply("reshape", apply("sum", x, axis=(1,)), shape=(4, 1))
    compiled = Native(Program([x], [doubled, apply("sub", x, total)], {0: 0}), 1)
    given = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    shared, other = given.copy(), np.empty_like(given)
    compiled.table[:] = [shared.ctypes.data, shared.ctypes.data, other.ctypes.data]
    compiled()
    assert np.array_equal(shared, given * 2)
    np.testing.assert_allclose(other, given - given.sum(1, keepdims=True), rtol=1e-5, atol=1e-5)
