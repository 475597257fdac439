"""`gradcheck`: are these derivatives right? Held against finite differences, and said in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from wengert.core.dtypes import float64, is_float
from wengert.core.errors import ArgumentError, GradientError
from wengert.core.op import add_tangents, cast_to
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import tree_flatten, tree_leaves, tree_paths
from wengert.diagnostics.culprit import find_culprit
from wengert.diagnostics.differences import Slope, one_sided, slope
from wengert.ops.elementwise import mul
from wengert.ops.reduce import sum as reduce_sum
from wengert.transforms.forward import jvp, linearize
from wengert.transforms.gradient import grad
from wengert.transforms.replay import rewound

Point = list[Tensor]
Scalar = Callable[..., Tensor]  # (*Point) -> 0-d tensor

_MODE_NAMES = {"rev": "reverse", "fwd": "forward"}


@dataclass
class Mismatch:
    """One entry of one input whose derivative is not what finite differences give."""

    input: str  # the place of the input: "[0]['w']"
    entry: tuple[int, ...] | None  # None: along a random direction, over all entries
    order: int
    mode: str  # "reverse mode", "forward over reverse mode", …
    analytic: float
    numeric: float
    trust: float  # estimated error of `numeric`
    allowed: float
    kink: tuple[float, float] | None = None  # slopes to the left and right, where they differ

    @property
    def error(self) -> float:
        """How far the two are apart."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        where = "along a random direction" if self.entry is None else f"at entry {self.entry}"
        return (
            f"input{self.input} {where}: order {self.order}, {self.mode}: {self.analytic:.9g}, "
            f"finite differences give {self.numeric:.9g} ± {self.trust:.1g} "
            f"(off by {self.error:.2g}, allowed {self.allowed:.1g})"
        )


@dataclass
class GradcheckResult:
    """What `gradcheck` found. True if all derivatives agree."""

    checked: int = 0  # comparisons made
    mismatches: list[Mismatch] = field(default_factory=list)
    cause: str = ""  # in words, where something is off
    worst: float = 0.0  # largest difference, relative to what was allowed

    def __bool__(self) -> bool:
        return not self.mismatches

    def __str__(self) -> str:
        if self:
            return f"all of {self.checked} derivatives agree (worst: {self.worst:.2g} of allowed)"
        lines = [f"{len(self.mismatches)} of {self.checked} derivatives are off"]
        lines += [f"  {m}" for m in self.mismatches[:10]]
        return "\n".join([*lines, f"likely cause: {self.cause}"])


def gradcheck(
    f: Callable[..., Any],
    args: Any,
    order: int = 1,
    modes: Sequence[str] = ("rev", "fwd"),
    eps: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    raise_exception: bool = True,
    max_entries: int = 500,
    seed: int = 0,
) -> GradcheckResult:
    """Compare the derivatives of `f` at `args` with finite differences, in float64.

    `args` is the tuple of arguments (anything else is one argument); floating leaves of the
    pytrees in it are cast to float64 and checked entry by entry, all else is constant. The results
    of `f`, any pytree, are projected onto a random direction; `seed` chooses it.

    With `order=2`, derivatives of derivatives are checked as well, in all combinations of `modes`
    ("rev": reverse, "fwd": forward). Of an input with more than `max_entries` entries, so many are
    drawn, and a random direction stands for all. The step is chosen for each entry (`eps` fixes
    it): two steps tell how far a difference can be trusted, and smaller ones are tried where they
    disagree.

    Returns a result that is true if all agree, and lists the mismatches; with `raise_exception` a
    mismatch raises GradientError, which says which input and entry is off and by how much, whether
    the function has a kink there, and which op's rule is wrong, with the line that called it.
    What `f` writes to variables (running statistics, random counters) is undone after each call.

    >>> import wengert as wg
    >>> bool(wg.gradcheck(lambda x, y: wg.sin(x) * y, (wg.ones(3), wg.ones(3)), order=2))
    True
    """
    _check_options(order, modes, eps)
    inputs = _Inputs(args if isinstance(args, tuple) else (args,))
    function = _Projected(f, inputs, seed)
    result = GradcheckResult()
    phi: Scalar = function
    rng = np.random.default_rng(seed + 1)
    before: tuple[Scalar, Point] | None = None
    for level in range(1, order + 1):
        checker = _Level(phi, inputs, level, eps, rtol, atol, result)
        entries = list(_entries(inputs, max_entries, np.random.default_rng(seed + 2)))
        checker.run(entries, _derivatives(phi, before, inputs.point, modes, level))
        if result.mismatches:
            break
        vs = [Tensor(rng.normal(size=x.shape)) for x in inputs.point]
        before = phi, vs
        phi = _along(phi, vs, modes[0])
    if result.mismatches:
        result.cause = _cause(function, inputs, result.mismatches)
        if not function.is_scalar:
            result.cause += " (slopes are those of the results projected onto a random direction)"
        if raise_exception:
            _raise(result)
    return result


def _check_options(order: int, modes: Sequence[str], eps: float | None) -> None:
    if order < 1:
        raise ArgumentError("gradcheck", "the order starts at 1", met=repr(order), fix="order=1")
    if not modes or isinstance(modes, str) or not set(modes) <= set(_MODE_NAMES):
        raise ArgumentError(
            "gradcheck", "unknown modes", met=repr(modes), fix='pass modes=("rev", "fwd")'
        )
    if eps is not None and not eps > 0:
        raise ArgumentError(
            "gradcheck", "the step must be positive", met=repr(eps), fix="leave eps out"
        )


class _Inputs:
    """The arguments as a flat point of float64 tensors, and the way back."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        leaves, self.tree = tree_flatten(args)
        self.leaves = [as_tensor(x) if hasattr(x, "dtype") else x for x in leaves]
        self.floating = [i for i, x in enumerate(self.leaves) if _is_floating(x)]
        paths = tree_paths(args)
        self.paths = [paths[i] for i in self.floating]
        self.point = [_exact(self.leaves[i]) for i in self.floating]
        if not self.floating:
            raise ArgumentError(
                "gradcheck",
                "there is no floating input to check",
                met=describe(*leaves),
                fix="pass floating arrays in args, or cast them",
            )

    def args(self, point: Sequence[Tensor]) -> Any:
        """The arguments with this point in place of their floating leaves."""
        leaves = list(self.leaves)
        for i, x in zip(self.floating, point, strict=True):
            leaves[i] = x
        return self.tree.unflatten(leaves)


def _is_floating(x: Any) -> bool:
    return isinstance(x, float) or (isinstance(x, Tensor) and is_float(x.dtype))


def _exact(x: Any) -> Tensor:
    return Tensor(np.array(as_tensor(x).detach()._values("gradcheck"), np.float64))


class _Projected:
    """`f` as a function of the point, projected onto a fixed direction in the space of results."""

    def __init__(self, f: Callable[..., Any], inputs: _Inputs, seed: int) -> None:
        self.f, self.inputs = f, inputs
        first, again = self.results(inputs.point), self.results(inputs.point)
        rng = np.random.default_rng(seed)
        self.is_scalar = len(first) == 1 and first[0].shape == ()
        self.weights = [
            Tensor(np.ones(()) if self.is_scalar else rng.normal(size=y.shape)) for y in first
        ]
        if not first:
            raise ArgumentError(
                "gradcheck",
                "the function returns nothing floating",
                met=describe(*tree_leaves(f(*inputs.args(inputs.point)))),
                fix="return the values to be differentiated",
            )
        if not all(np.array_equal(a._data, b._data, equal_nan=True) for a, b in zip(first, again)):
            raise GradientError(
                "gradcheck",
                "the function gives different results for the same input",
                cause="state of its own that it changes, or random numbers that are not wengert's",
                fix="draw with wg.random, and pass what changes as an argument",
            )

    def results(self, point: Sequence[Tensor]) -> Point:
        """The floating results of the function. What it writes to variables is undone after each
        call: random draws repeat themselves, and running statistics stay as they were."""
        with rewound({}):
            found = tree_leaves(self.f(*self.inputs.args(point)))
        return [as_tensor(y) for y in found if _is_floating(y)]

    def __call__(self, *point: Tensor) -> Tensor:
        return dot(self.results(point), self.weights)


def dot(us: Sequence[Tensor], vs: Sequence[Tensor]) -> Tensor:
    """⟨u, v⟩ over all tensors of two lists, in float64."""
    total: Any = None
    for u, v in zip(us, vs, strict=True):
        part = mul(cast_to(u, float64), v)
        part = reduce_sum(part, axis=tuple(range(part.ndim)))
        total = add_tangents(total, part)
    return Tensor(np.zeros(())) if total is None else total


# -- the derivatives under test ------------------------------------------------------------------


def _gradient(phi: Scalar, point: Point) -> Point:
    """∇φ by reverse mode."""
    return list(grad(phi, argnums=tuple(range(len(point))))(*point))


def _pushed(phi: Scalar, point: Point) -> Point:
    """∇φ by forward mode, one entry after the other."""
    _, push = linearize(phi, *point)
    found = [np.zeros(x.shape) for x in point]
    zeros = [Tensor(np.zeros(x.shape)) for x in point]
    for k, x in enumerate(point):
        for entry in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[entry] = 1.0
            found[k][entry] = push(*zeros[:k], Tensor(unit), *zeros[k + 1 :])._data
    return [Tensor(g) for g in found]


def _along(phi: Scalar, vs: Point, mode: str) -> Scalar:
    """The derivative of φ along fixed directions, as a function of the point."""
    if mode == "fwd":
        return lambda *point: jvp(phi, point, vs)[1]
    return lambda *point: dot(_gradient(phi, list(point)), vs)


def _derivatives(
    phi: Scalar, before: tuple[Scalar, Point] | None, point: Point, modes: Sequence[str], level: int
) -> Iterator[tuple[str, Point]]:
    """The name and the value of each way to compute ∇φ. Above order 1, φ is itself a derivative by
    the first mode; reverse over forward is checked too, where both modes are."""
    inner = f" over {_MODE_NAMES[modes[0]]}" if level > 1 else ""
    for mode in modes:
        compute = _gradient if mode == "rev" else _pushed
        yield f"{_MODE_NAMES[mode]}{inner} mode", compute(phi, point)
    if before is not None and len(modes) > 1:
        other = _along(*before, modes[1])
        outer = _gradient if modes[0] == "rev" else _pushed
        yield f"{_MODE_NAMES[modes[0]]} over {_MODE_NAMES[modes[1]]} mode", outer(other, point)


# -- comparing -----------------------------------------------------------------------------------

Entry = tuple[int, tuple[int, ...] | None, list[Any]]  # input, entry, direction


def _entries(inputs: _Inputs, most: int, rng: np.random.Generator) -> Iterator[Entry]:
    """The directions to check: unit vectors, and a random one for inputs that are too large."""
    for k, x in enumerate(inputs.point):
        size = prod(x.shape)
        chosen = range(size) if size <= most else sorted(rng.choice(size, most, replace=False))
        for flat in chosen:
            entry = tuple(int(i) for i in np.unravel_index(flat, x.shape))
            unit = np.zeros(x.shape)
            unit[entry] = 1.0
            yield k, entry, [unit]
        if size > most:
            yield k, None, [rng.normal(size=x.shape)]


class _Level:
    """The comparison at one order of derivative."""

    def __init__(
        self,
        phi: Scalar,
        inputs: _Inputs,
        order: int,
        eps: float | None,
        rtol: float,
        atol: float,
        result: GradcheckResult,
    ) -> None:
        self.phi, self.inputs, self.order, self.eps = phi, inputs, order, eps
        self.rtol, self.atol, self.result = rtol, atol, result

    def run(self, entries: Sequence[Entry], derivatives: Iterator[tuple[str, Point]]) -> None:
        """Compare each derivative at each entry."""
        numeric = [self.numeric(k, direction) for k, _, (direction,) in entries]
        for mode, found in derivatives:
            size = max((float(np.max(np.abs(g._data), initial=0.0)) for g in found), default=0.0)
            for (k, entry, (direction,)), estimate in zip(entries, numeric, strict=True):
                analytic = float(np.sum(found[k]._data * direction))
                self.compare(k, entry, direction, mode, analytic, estimate, size)

    def numeric(self, k: int, direction: Any) -> Slope:
        """The slope of φ along a direction in input `k`."""
        size = float(np.max(np.abs(self.inputs.point[k]._data[direction != 0]), initial=0.0))
        return slope(self.line(k, direction), size, self.eps, self.rtol)

    def line(self, k: int, direction: Any) -> Callable[[float], float]:
        """φ on the line through the point along a direction in input `k`."""
        point = self.inputs.point

        def value(t: float) -> float:
            moved = Tensor(point[k]._data + t * direction)
            return float(self.phi(*point[:k], moved, *point[k + 1 :]))

        return value

    def compare(
        self,
        k: int,
        entry: tuple[int, ...] | None,
        direction: Any,
        mode: str,
        analytic: float,
        numeric: Slope,
        size: float,
    ) -> None:
        """Count one comparison, and keep it if it fails."""
        allowed = self.atol * (1.0 + size) + self.rtol * abs(numeric.value) + 2.0 * numeric.error
        error = abs(analytic - numeric.value)
        self.result.checked += 1
        if np.isnan(analytic) and np.isnan(numeric.value):
            return
        if error <= allowed and numeric.reliable:
            self.result.worst = max(self.result.worst, error / allowed)
            return
        kink = one_sided(self.line(k, direction), numeric)
        self.result.worst = max(self.result.worst, error / allowed)
        self.result.mismatches.append(
            Mismatch(
                self.inputs.paths[k],
                entry,
                self.order,
                mode,
                analytic,
                numeric.value,
                numeric.error,
                allowed,
                kink,
            )
        )


# -- in words ------------------------------------------------------------------------------------


def _cause(function: _Projected, inputs: _Inputs, mismatches: Sequence[Mismatch]) -> str:
    culprit = find_culprit(function.results, inputs.point, mismatches[0].order)
    for m in mismatches:
        if m.kink is not None:
            words = f"the slope is {m.kink[0]:.6g} from the left and {m.kink[1]:.6g} from the right"
            return f"the function is not smooth at this point: {words}" + (
                f"; {culprit}" if culprit else ""
            )
    if culprit:
        return culprit
    if all(m.analytic == 0.0 for m in mismatches):
        return (
            "the gradient is cut on its way: by stop_gradient, detach or no_grad, or by a value "
            "taken out with float() or NumPy"
        )
    return (
        "each op's rule agrees with finite differences on the values met here, so the derivative "
        "is changed between the ops: stop_gradient, detach, no_grad, a custom rule or a hook"
    )


def _raise(result: GradcheckResult) -> None:
    first = result.mismatches[0]
    same = [m for m in result.mismatches if (m.input, m.mode) == (first.input, first.mode)]
    others = sorted({m.input for m in result.mismatches} - {first.input})
    more = f"; {len(same)} entries of this input are off" if len(same) > 1 else ""
    more += f"; also off: input{', input'.join(others)}" if others else ""
    smooth = first.kink is None
    raise GradientError(
        "gradcheck",
        f"a derivative is wrong: {first}{more}",
        cause=result.cause,
        fix="correct that rule, or give the function a custom one that is right"
        if smooth
        else "check at another point, away from the kink",
    )


__all__ = ["GradcheckResult", "Mismatch", "gradcheck"]
