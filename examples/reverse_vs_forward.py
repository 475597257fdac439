"""Why reverse mode: the gradient of a function of 2500 variables in one pass instead of 2500.

The function is Rosenbrock's in n variables, Σ 100·(xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)². Forward mode pushes
one direction through it a pass, so a gradient takes n passes; reverse mode takes one.

How operations are counted: both derivatives are traced into graphs, and each node counts its
floating-point operations: one for each entry of the result of an element-wise op, one for each
entry that a sum adds up, none for moving data. A pass that computes a derivative includes what it
needs of the function. The ratio is n · (cost of a forward pass) / (cost of the reverse pass); for
n = 2500 about 1200 is often quoted, which is what a reverse pass of twice a forward pass's cost
gives. Here the two cost nearly the same, and the ratio is larger.

Run it with `python examples/reverse_vs_forward.py`.
"""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np

import wengert as wg


def rosenbrock(x: wg.Tensor) -> wg.Tensor:
    return wg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def one_direction(x: wg.Tensor, v: wg.Tensor) -> wg.Tensor:
    """The directional derivative: one pass of forward mode."""
    return wg.jvp(rosenbrock, (x,), (v,))[1]


def operations(graph: wg.Graph) -> int:
    """Floating-point operations of a graph."""
    counts = [node.op.flops(node) for node in graph.nodes]
    assert None not in counts, "every op of this function says how much it computes"
    return sum(counts)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=2500, help="number of variables (default: 2500)")
    n = parser.parse_args(arguments).n
    rng = np.random.default_rng(0)
    x = wg.asarray(rng.normal(size=n))
    directions = np.eye(n)

    # Operations, off the graphs.
    of_function = operations(wg.trace(rosenbrock, x))
    of_reverse = operations(wg.trace(wg.value_and_grad(rosenbrock), x))
    of_direction = operations(wg.trace(one_direction, x, x))
    of_forward = n * of_direction
    ratio = of_forward / of_reverse

    # Times: the best of several reverse passes, and all n forward passes.
    reverse_time = np.inf
    for _ in range(20):
        started = perf_counter()
        gradient = wg.grad(rosenbrock)(x)
        reverse_time = min(reverse_time, perf_counter() - started)
    started = perf_counter()
    entries = [float(one_direction(x, wg.asarray(v))) for v in directions]
    forward_time = perf_counter() - started
    difference = float(np.abs(gradient.numpy() - entries).max() / np.abs(entries).max())

    print(f"gradient of Rosenbrock's function of {n} variables")
    print(f"  the function itself    {of_function:>14,} operations")
    print(f"  reverse, 1 pass        {of_reverse:>14,} operations  {1e3 * reverse_time:9.2f} ms")
    print(f"  forward, {n} passes  {of_forward:>15,} operations  {1e3 * forward_time:9.2f} ms")
    print(f"  one reverse pass costs {of_reverse / of_function:.2f} times the function,")
    print(f"  one forward pass {of_direction / of_function:.2f} times")
    print(
        f"  forward ÷ reverse: {ratio:.0f} in operations, {forward_time / reverse_time:.0f} in time"
    )
    print(f"  largest relative difference of the two gradients: {difference:.1e}")
    return {
        "operations_ratio": ratio,
        "time_ratio": forward_time / reverse_time,
        "difference": difference,
        "reverse_cost": of_reverse / of_function,
    }


if __name__ == "__main__":
    main()
