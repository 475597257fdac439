"""What a process computes, in a few words: a digest of the bits of each result.

    python -m tests.compiler.digests threads [every]

prints one line of JSON: by the name of each op of the registry, whole program and random program,
the digest of its results, and whether they agree with the interpreted ones. To be compared between
processes, numbers of threads, and processors (`WENGERT_CPU`). With `every` = 4, a fourth of all.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.compiler.drawing import Recipe, recipes
from tests.compiler.programs import ALL
from tests.compiler.rounding import Bounds
from wengert.compiler import assemble
from wengert.compiler.function import traced_program
from wengert.compiler.ir import Program, Term, apply, evaluate
from wengert.compiler.native import Native
from wengert.compiler.simplify import simplify
from wengert.core.lowering import Repeated
from wengert.core.op import REGISTRY
from wengert.core.sample import Sample
from wengert.core.spec import Spec

Array = np.ndarray[Any, Any]
RANDOM = 40
NOT_TRACED = ("leaf", "placeholder", "pick")


def run(program: Program, arrays: Sequence[Array], threads: int) -> list[Array]:
    """The results of a program as native code, small work being shared between threads too."""
    compiled = Native(simplify(program), threads)
    given = [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
    outputs = [np.zeros(s.shape, s.dtype) for s in compiled.outputs]
    for i, a in enumerate([*given, *outputs]):
        compiled.table[i] = a.ctypes.data
    compiled()
    return outputs


def program_of_op(name: str, arrays: Sequence[Array], params: dict[str, Any]) -> Program:
    """A program of one op."""
    inputs = [Term(None, (), {}, Spec.of(a)) for a in arrays]
    term = apply(name, *inputs, **params)
    if term.op is None or not term.op.several:
        return Program(inputs, [term])
    count = len(term.specs)
    picked = [
        Term(REGISTRY["pick"], (term,), {"index": i, "count": count}, spec)
        for i, spec in enumerate(term.specs)
    ]
    return Program(inputs, picked)


def digest(results: Sequence[Array]) -> str:
    """The bits of some arrays in a few letters; all NaNs are the same."""
    found = hashlib.blake2b(digest_size=8)
    for x in results:
        if x.dtype.kind not in "biu":
            x = np.where(np.isnan(x), x.dtype.type(np.nan), x)
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()


def agree(found: Sequence[Array], expected: Sequence[Array], tolerance: float) -> bool:
    """Whether results are the interpreted ones, within a tolerance relative to the largest."""
    for a, b in zip(found, expected, strict=True):
        if a.dtype.kind in "biu":
            if not np.array_equal(a, b):
                return False
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        size = np.abs(y[np.isfinite(y)]).max(initial=1.0)
        if not np.allclose(x, y, rtol=tolerance, atol=tolerance * size, equal_nan=True):
            return False
    return True


def of_ops(threads: int, every: int) -> Iterator[tuple[str, str, bool]]:
    """Each op of the registry, on its samples, in both precisions."""
    for name in sorted(set(REGISTRY) - set(NOT_TRACED))[::every]:
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
            if dtype is np.float32 and isinstance(REGISTRY[name].lower, Repeated):
                continue  # the body of the sample is a program for float64
            results, right = [], True
            for sample in REGISTRY[name].samples(np.random.default_rng(0)):
                if not isinstance(sample, Sample):
                    continue
                arrays = [np.asarray(a) for a in sample.args]
                arrays = [a.astype(dtype) if a.dtype == np.float64 else a for a in arrays]
                program = program_of_op(name, arrays, sample.params)
                found = run(program, arrays, threads)
                right = right and agree(found, evaluate(program, arrays), tolerance)
                results += found
            yield f"op {name} {np.dtype(dtype)}", digest(results), right


def of_programs(threads: int) -> Iterator[tuple[str, str, bool]]:
    """The whole programs of the tests."""
    for name, make in ALL.items():
        program, arrays = make()
        found = run(program, arrays, threads)
        yield f"program {name}", digest(found), agree(found, evaluate(program, arrays), 1e-4)


def drawn(count: int) -> list[Recipe]:
    """Some random programs, always the same."""
    found: list[Recipe] = []

    @seed(0)
    @given(recipes())
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def collect(recipe: Recipe) -> None:
        found.append(recipe)

    collect()
    return found


def of_recipes(threads: int, every: int) -> Iterator[tuple[str, str, bool]]:
    """Random programs and their derivatives."""
    for number, recipe in enumerate(drawn(RANDOM // every)):
        f, arrays = recipe.function(), recipe.arrays()
        specs = recipe.specs
        program = traced_program(lambda *inputs, f=f: list(f(*inputs)), specs, whole=False)
        if program.outputs:
            found = run(program, arrays, threads)
            right = not Bounds(program, arrays).wrong(found)
            yield f"random {number}", digest(found), right


def main() -> None:
    """Print the digests."""
    assemble.SERIAL = assemble.SMALL = 0  # small arrays are shared between threads too
    threads, every = int(sys.argv[1]), int(sys.argv[2])
    with np.errstate(all="ignore"):
        parts = [*of_ops(threads, every), *of_programs(threads), *of_recipes(threads, every)]
    print(json.dumps({name: [bits, right] for name, bits, right in parts}))


if __name__ == "__main__":
    main()
