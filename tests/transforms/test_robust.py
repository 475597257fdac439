"""Long chains, big graphs and deep structures: no recursion, bounded memory."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import numpy as np
import pytest

import wengert as wg
from tests.transforms.support import f64, same

LONG = 100_000


def chain(x: wg.Tensor, length: int = LONG) -> wg.Tensor:
    for _ in range(length):
        x = x * 1.00001
    return x


def test_a_long_chain_forward_backward_and_destruction() -> None:
    x = wg.asarray(np.float64(2.0)).requires_grad_()
    y = chain(x)
    y.backward()
    expected = 1.00001**LONG
    same(x.grad, expected, 1e-8)
    assert len(wg.Graph.of(y)) == LONG + 1
    del y  # frees the chain without recursion
    gc.collect()


def test_a_long_chain_through_grad_jvp_vjp_and_vmap() -> None:
    x = wg.asarray(np.float64(2.0))
    expected = 1.00001**LONG
    same(wg.grad(chain)(x), expected, 1e-8)
    same(wg.jvp(chain, (x,), (1.0,))[1], expected, 1e-8)
    same(wg.vmap(lambda v: chain(v, 20_000))(f64(3)), f64(3) * 1.00001**20_000, 1e-8)


def test_second_order_of_a_long_chain() -> None:
    f = lambda x: chain(x, 10_000) ** 2
    same(wg.grad(wg.grad(f))(wg.asarray(np.float64(2.0))), 2 * 1.00001**20_000, 1e-7)


def test_a_wide_graph() -> None:
    x = f64().requires_grad_()
    total = x * 0.0
    for i in range(3000):
        total = total + wg.sin(x) * float(i)
    total.backward()
    same(x.grad, wg.cos(f64()) * sum(range(3000)), 1e-8)


def test_recursion_limit_is_not_touched() -> None:
    limit = sys.getrecursionlimit()
    chain(f64().requires_grad_(), 10_000).backward()
    assert sys.getrecursionlimit() == limit


def bytes_per_node(count: int) -> float:
    """Memory that a recorded chain of scalar ops takes, per node, with its result."""
    x = wg.ones(()).requires_grad_()
    chain(x, 100)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    y = chain(x, count)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    y.backward()
    return used / count


def test_memory_of_a_node() -> None:
    assert bytes_per_node(10_000) < 900


@pytest.mark.slow
def test_a_million_nodes() -> None:
    per_node = bytes_per_node(1_000_000)
    print(f"{per_node:.0f} bytes a node")
    assert per_node < 900
