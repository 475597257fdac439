"""Why reverse mode: the gradient of 2500 variables in one pass instead of 2500.

Forward mode carries the derivative in one direction along with the computation; a gradient takes
one such pass for each of n variables. Reverse mode takes a single pass, whatever n is. How much
less is that? Three functions of n = 2500 variables are differentiated both ways:

* *Helmholtz energy* of a mixture of n gases by an equation of state: Griewank's own example for
  this question ("On automatic differentiation", 1989), also in the survey of Baydin, Pearlmutter,
  Radul and Siskind (2018). Almost all work is one product with an n × n matrix;
* *minimal surface*: the area of a soap film over a 50 × 50 grid with a given boundary (a problem of
  the MINPACK-2 collection: Averick, Carter, Moré and Xue 1992);
* *network*: the loss of a network with 48 inputs, 50 hidden units and 2500 weights.

**What is counted.** `wg.trace` gives the graph of a computation, here that of f, of
`wg.value_and_grad(f)` and of `wg.jvp(f)`, and each node says how many floating-point operations it
takes: one for each entry that an element-wise function computes or that a sum adds up, two for each
multiply-add of a matrix product, none for moving data. Forward mode is counted in two ways:

* *n × jvp*: n independent passes, each of which computes f again;
* *linearize*: f is computed once, and n tangents are pushed along what it recorded. This is the
  fairer comparison: reverse mode, too, computes f once.

**What is timed.** Reverse mode: the median of 20 runs. Forward mode: all n passes, one after the
other (or with `--sample K` only K of them, times n/K), by `wg.jvp` and by `wg.linearize`; and
`wg.jacfwd`, which does the same operations as linearize, but for all n directions in one batch.

**What to expect.** For n = 2500 the literature says that n forward passes cost about 1200 times as
much as one reverse pass. Theory gives that order: a forward pass and f together take 2 to 5/2 times
the cost of f, a gradient by reverse mode and f together 3 to 4 times (Griewank and Walther,
"Evaluating Derivatives", 2008, chapter 3); so n forward passes take at least 2500 · 2/4 = 1250
times as much. The counts below have about 2 in both places, since those bounds also charge for
memory accesses, and most products here have a constant factor (A, the samples). This gives about n
for *n × jvp*, and about n/2 = 1250 for *linearize*. Times also contain what Python spends on each
op: little for the first function, most of the time for the two others.

    python examples/reverse_vs_forward.py                 # some 25 s
    python examples/reverse_vs_forward.py --sample 100    # some 3 s
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np

import wengert as wg

N = 2500
Function = Callable[[wg.Tensor], wg.Tensor]


# -- the functions: each comes with a point to differentiate it at -----------------------------


def helmholtz_energy(rng: np.random.Generator) -> tuple[Function, wg.Tensor]:
    attraction = rng.random((N, N))
    A = wg.asarray(attraction + attraction.T)
    b = wg.asarray(rng.random(N) / N)
    root = np.sqrt(2.0)

    def f(x: wg.Tensor) -> wg.Tensor:
        volume = wg.sum(b * x)
        mixing = wg.sum(x * wg.log(x / (1 - volume)))
        ratio = (1 + (1 + root) * volume) / (1 + (1 - root) * volume)
        return mixing - wg.sum(x * (A @ x)) / (2 * root * volume) * wg.log(ratio)

    return f, wg.asarray(rng.uniform(0.5, 1.5, N) / N)


def minimal_surface(rng: np.random.Generator) -> tuple[Function, wg.Tensor]:
    side = np.linspace(-1, 1, 52)
    frame = side[:, None] ** 2 - side[None, :] ** 2  # a saddle
    frame[1:-1, 1:-1] = 0
    boundary = wg.asarray(frame)
    step = side[1] - side[0]

    def f(x: wg.Tensor) -> wg.Tensor:
        height = boundary + wg.pad(x.reshape(50, 50), 1)
        down, right = wg.diff(height, axis=0) / step, wg.diff(height, axis=1) / step
        # Each square of the grid is two triangles.
        upper = wg.sqrt(1 + down[:, :-1] ** 2 + right[:-1, :] ** 2)
        lower = wg.sqrt(1 + down[:, 1:] ** 2 + right[1:, :] ** 2)
        return wg.sum(upper + lower) * step**2 / 2

    return f, wg.asarray(rng.normal(size=N) / 10)


def network_loss(rng: np.random.Generator) -> tuple[Function, wg.Tensor]:
    samples = wg.asarray(rng.normal(size=(32, 48)))
    targets = wg.asarray(rng.normal(size=32))

    def f(x: wg.Tensor) -> wg.Tensor:
        weights, bias, last = x[:2400].reshape(48, 50), x[2400:2450], x[2450:]
        hidden = wg.tanh(samples @ weights + bias)
        return wg.mean((hidden @ last - targets) ** 2)

    return f, wg.asarray(rng.normal(size=N) / 7)


FUNCTIONS = {
    "Helmholtz energy": helmholtz_energy,
    "minimal surface": minimal_surface,
    "network": network_loss,
}


# -- operations --------------------------------------------------------------------------------


def operations(graph: wg.Graph) -> int:
    """Floating-point operations of a graph."""
    counts = [node.op.flops(node) for node in graph.nodes]
    assert None not in counts, "every op in these functions must say how much it computes"
    return sum(counts)


def compare_operations(name: str, f: Function, x: wg.Tensor) -> str:
    value = operations(wg.trace(f, x))
    reverse = operations(wg.trace(wg.value_and_grad(f), x))
    forward = operations(wg.trace(lambda x, v: wg.jvp(f, (x,), (v,)), x, x))
    n_jvps = N * forward
    linearized = value + N * (forward - value)
    return (
        f"{name:<17}{value:>12,}{reverse:>12,} ({reverse / value:.2f})"
        f"{forward:>12,} ({forward / value:.2f})"
        f"{n_jvps / reverse:>9.0f}{linearized / reverse:>11.0f}"
    )


# -- times -------------------------------------------------------------------------------------


def seconds(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return perf_counter() - started


def compare_times(name: str, f: Function, x: wg.Tensor, sample: int) -> tuple[str, float]:
    """A row of the table, and the largest difference between two gradients, relative to the
    largest entry."""
    chosen = np.linspace(0, N - 1, sample).astype(int)
    directions = [wg.asarray(row) for row in np.eye(N)[chosen]]
    gradient = wg.grad(f)(x).numpy()
    reverse = median(seconds(lambda: wg.value_and_grad(f)(x)) for _ in range(20))

    by_jvp, by_push = np.empty(sample), np.empty(sample)
    started = perf_counter()
    for i, direction in enumerate(directions):
        by_jvp[i] = wg.jvp(f, (x,), (direction,))[1]
    n_jvps = (perf_counter() - started) * N / sample

    started = perf_counter()
    _, push = wg.linearize(f, x)
    for i, direction in enumerate(directions):
        by_push[i] = push(direction)
    linearized = (perf_counter() - started) * N / sample

    started = perf_counter()
    by_batch = wg.jacfwd(f)(x).numpy()
    batch = perf_counter() - started

    found = [by_jvp - gradient[chosen], by_push - gradient[chosen], by_batch - gradient]
    difference = max(np.abs(d).max() for d in found) / np.abs(gradient).max()
    row = f"{name:<17}{1e3 * reverse:>9.2f} ms"
    for time in (n_jvps, linearized, batch):
        row += f"{time:>9.2f} s ({time / reverse:>5.0f})"
    return row, difference


def main() -> None:
    parser = argparse.ArgumentParser(description="Reverse mode against forward mode.")
    parser.add_argument("--sample", type=int, default=N, help=f"forward passes timed, up to {N}")
    sample = parser.parse_args().sample
    rng = np.random.default_rng(0)
    problems = [(name, *make(rng)) for name, make in FUNCTIONS.items()]

    print(f"Gradients of functions of n = {N} variables, float64\n")
    print("Floating-point operations (in brackets: times that of f)       n forward ÷ reverse")
    print("                           f    f and gradient     f and one jvp   n × jvp  linearize")
    for problem in problems:
        print(compare_operations(*problem))

    passes = "all" if sample >= N else f"{sample} passes timed, scaled to"
    print(f"\nTimes: {passes} {N} forward passes (in brackets: times that of reverse mode)")
    print("                  reverse mode           n × jvp         linearize     jacfwd, batch")
    worst = 0.0
    for problem in problems:
        row, difference = compare_times(*problem, min(sample, N))
        print(row, flush=True)
        worst = max(worst, difference)
    assert worst < 1e-10, f"the gradients differ by {worst}"
    print(f"\nAll gradients agree: largest relative difference {worst:.0e}.")


if __name__ == "__main__":
    main()
