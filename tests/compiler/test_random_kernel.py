"""Random bits in native code: the same blocks as the reference's, whatever their shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.compiler.op_support import native, reference
from tests.compiler.test_index_kernels import TARGETS
from wengert.compiler.kernels.philox import Philox
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.ops.random import FOLD, SPLIT


def words(*shape: int) -> Any:
    return np.random.default_rng(5).integers(0, 2**64, shape, dtype=np.uint64)


def check(key: Any, counter: Any, threads: int = 1, **params: Any) -> None:
    found = native("random_bits", (key, counter), threads, **params)
    wanted = reference("random_bits", (key, counter), **params)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 15, 1000, 4099])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("threads", [1, 3])
def test_one_stream(count: int, dtype: Any, threads: int) -> None:
    params = {"shape": (count,), "dtype": np.dtype(dtype), "domain": 0}
    check(words(2), words(), threads, **params)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads: int) -> None:
    params: dict[str, Any] = {"shape": (129, 33), "dtype": np.dtype(np.uint32), "domain": FOLD}
    alone = native("random_bits", (words(2), words()), **params)
    np.testing.assert_array_equal(
        native("random_bits", (words(2), words()), threads, **params), alone
    )


def test_a_counter_that_carries_into_its_second_word() -> None:
    for before in (0, 1, 3, 4, 100):
        counter = np.array((2**64 - before) % 2**64, np.uint64)
        check(words(2), counter, shape=(64,), dtype=np.dtype(np.uint64), domain=SPLIT)


BATCHES = [((5, 2), ()), ((2,), (11,)), ((3, 1, 2), (4,)), ((20, 2), (20,)), ((1, 2), (6,))]


@pytest.mark.parametrize(("keys", "counters"), BATCHES)
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_batches_of_keys_and_counters(keys: Any, counters: Any, shape: Any) -> None:
    for threads in (1, 3):
        for dtype in (np.dtype(np.uint32), np.dtype(np.uint64)):
            check(words(*keys), words(*counters), threads, shape=shape, dtype=dtype, domain=0)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_kernel_compiles_for_other_processors(target: Target) -> None:
    module = Module()
    Philox((3,), (2,), 1, (0,), 44, 1).emit(module, "philox")
    assert build.emit_object(module.text(), target)
