"""L-BFGS: a quasi-Newton method that remembers the last few steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, StateError, TraceError
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.optim import checkpoint
from wengert.optim.checks import nonnegative, one_of, positive, positive_integer
from wengert.optim.linesearch import Point, strong_wolfe
from wengert.optim.optimizer import Optimizer, Options, write_parameter

Array = np.ndarray[Any, Any]

_LEAST_CURVATURE = 1e-10  # pairs with y·s below it would make the Hessian indefinite


@dataclass
class Memory:
    """What L-BFGS keeps between iterations, as flat arrays over all parameters."""

    iterations: int = 0
    evaluations: int = 0
    steps: list[Array] = field(default_factory=list)  # s of the book
    changes: list[Array] = field(default_factory=list)  # y, of the gradient
    scale: float = 1.0  # of the first guess of the inverse Hessian
    moved: Array | None = None  # the last step, and the gradient before it
    before: Array | None = None

    def learn(self, grad: Array, size: int) -> None:
        """Take up the last step, once the gradient after it is known."""
        if self.moved is None or self.before is None:
            return
        change = grad - self.before
        curvature = float(change @ self.moved)
        if curvature > _LEAST_CURVATURE:
            self.steps = [*self.steps, self.moved][-size:]
            self.changes = [*self.changes, change][-size:]
            self.scale = curvature / float(change @ change)
        self.moved = None

    def direction(self, grad: Array) -> Array:
        """−H·grad by the two-loop recursion (Nocedal and Wright, algorithm 7.4)."""
        q = -grad
        pairs = [(s, y, 1.0 / float(y @ s)) for s, y in zip(self.steps, self.changes, strict=True)]
        weights = []
        for s, y, rho in reversed(pairs):
            weights.append(rho * float(s @ q))
            q = q - weights[-1] * y
        r = self.scale * q
        for (s, y, rho), weight in zip(pairs, reversed(weights), strict=True):
            r = r + (weight - rho * float(y @ r)) * s
        return r


class LBFGS(Optimizer):
    """Limited-memory BFGS, for losses that are computed exactly (full batch).

    `step(closure)` runs up to `max_iter` iterations; `closure` zeroes the gradients, computes the
    loss, calls backward and returns the loss. Without a line search, steps have length `lr` (the
    first one at most lr/‖g‖₁); with `line_search_fn="strong_wolfe"`, `lr` is the first trial.

    The iterations end at a gradient below `tolerance_grad` in every entry, or when step or loss
    change by less than `tolerance_change`. One parameter group only; a `modulate` factor m ≥ 0 acts
    as the change of variables θ = √m·z.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray([3.0, -2.0]))
    >>> opt = wg.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = (w * w * wg.asarray([1.0, 10.0])).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = opt.step(closure); bool(closure() < 1e-9)
    True

    Source: Nocedal 1980; Liu and Nocedal 1989.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"])
        positive_integer(name, max_iter=o["max_iter"], max_eval=o["max_eval"])
        positive_integer(name, history_size=o["history_size"])
        nonnegative(name, tolerance_grad=o["tolerance_grad"])
        nonnegative(name, tolerance_change=o["tolerance_change"])
        one_of(name, "line_search_fn", o["line_search_fn"], None, "strong_wolfe")

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Set the one group; a second is an error."""
        if self.param_groups:
            raise ArgumentError(
                "LBFGS",
                "all parameters share one group",
                met="a second group",
                cause="the method works on all parameters as one vector",
                fix="pass a single list of parameters",
            )
        super().add_param_group(group)

    def check_modulation(self, factor: Tensor, param: Tensor) -> None:
        super().check_modulation(factor, param)
        if np.any(factor._values("modulate") < 0):
            raise ArgumentError(
                "LBFGS", "a modulation is not negative", met="a negative entry", fix="pass m ≥ 0"
            )

    # -- one step ----------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None, *, grads: Any = None) -> Any:
        """Run up to `max_iter` iterations; returns the loss before them. See the class."""
        if closure is None or grads is not None:
            raise ArgumentError(
                "LBFGS",
                "a step needs a closure that computes the loss again",
                met="step()" if closure is None else "step(grads=…)",
                fix="pass a function that zeroes gradients, calls backward, returns the loss",
            )
        if state.trace is not None:
            raise TraceError(
                "LBFGS",
                "a step looks at values to decide how far to go, so it cannot be traced",
                met="opt.step(closure) inside jit, vmap or trace",
                fix="compile the closure, which is where the time goes: opt.step(wg.jit(closure)), "
                "outside of any compiled function",
            )
        for hook in list(self._before):
            hook(self, (closure,), {})
        loss = _Line(self, closure).run()
        for hook in list(self._after):
            hook(self, (closure,), {})
        return loss

    def memory(self) -> Memory:
        """The memory, kept as the state of the first parameter."""
        first = self.param_groups[0]["params"][0]
        memory: Memory = self.state.setdefault(first, {"memory": Memory()})["memory"]
        return memory

    # -- checkpoints -------------------------------------------------------------------------

    def export_state(self, p: Tensor, group: Mapping[str, Any]) -> dict[str, Any]:
        """The memory as tensors: vectors are stacked, and None is left out."""
        memory = self.memory()
        found: dict[str, Any] = {
            "iterations": Tensor(np.array(memory.iterations)),
            "evaluations": Tensor(np.array(memory.evaluations)),
            "scale": Tensor(np.array(memory.scale)),
        }
        if memory.steps:
            found["steps"] = Tensor(np.stack(memory.steps))
            found["changes"] = Tensor(np.stack(memory.changes))
        if memory.moved is not None and memory.before is not None:
            found["moved"], found["before"] = Tensor(memory.moved), Tensor(memory.before)
        return found

    def import_state(self, p: Tensor, o: Options, given: Mapping[str, Any]) -> dict[str, Any]:
        """A memory from what `export_state` gave."""
        size, dtype = sum(q.size for q in self.parameters()), _flat_dtype(self)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("iterations", "evaluations"), ())
        shapes["scale"] = ()
        pairs = np.shape(given.get("steps", ()))[:1]
        optional = {"steps": (*pairs, size), "changes": (*pairs, size)} if "steps" in given else {}
        if "moved" in given:
            optional |= {"moved": (size,), "before": (size,)}
        checkpoint.same_entries("LBFGS", given, {**shapes, **optional})
        if p is not self.param_groups[0]["params"][0]:
            raise StateError(
                "LBFGS", "only the first parameter has state", fix="load an LBFGS's state dict"
            )
        arrays = {
            name: checkpoint.fitting("LBFGS", name, given[name], np.zeros(shape, dtype))._data
            for name, shape in {**shapes, **optional}.items()
        }
        memory = Memory(int(arrays["iterations"]), int(arrays["evaluations"]))
        memory.scale = float(np.asarray(given["scale"]))
        memory.steps, memory.changes = (
            list(arrays.get("steps", ())),
            list(arrays.get("changes", ())),
        )
        memory.moved, memory.before = arrays.get("moved"), arrays.get("before")
        return {"memory": memory}


def _flat_dtype(optimizer: Optimizer) -> Any:
    return np.result_type(
        np.float32, *(p.dtype for p in optimizer.parameters() if p.dtype.kind == "f")
    )


class _Line:
    """One call of `LBFGS.step`: the loss as a function of all parameters as one vector."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any]) -> None:
        self.optimizer, self.closure = optimizer, closure
        self.params: list[Tensor] = optimizer.param_groups[0]["params"]
        self.dtype = _flat_dtype(optimizer)
        self.memory = optimizer.memory()
        self.evals = 0
        self.root: Array | None = None  # √m, where connections are modulated
        if optimizer.modulation:
            factors = [optimizer.modulation.get(p) for p in self.params]
            parts = [
                np.broadcast_to(1.0 if m is None else m._data, p.shape).reshape(-1)
                for m, p in zip(factors, self.params, strict=True)
            ]
            self.root = np.sqrt(np.concatenate(parts).astype(self.dtype))

    def evaluate(self) -> tuple[Any, float, Array]:
        """The closure's result, the loss and its gradient, at the present parameters."""
        with recording(True):
            result = self.closure()
        if result is None:
            raise ArgumentError(
                "LBFGS", "the closure returned no loss", met="None", fix="end it with return loss"
            )
        self.evals += 1
        self.memory.evaluations += 1
        parts = [
            np.zeros(p.size) if p.grad is None else p.grad._values("LBFGS").reshape(-1)
            for p in self.params
        ]
        grad = np.concatenate(parts).astype(self.dtype)
        return result, float(result), grad if self.root is None else self.root * grad

    def position(self) -> Array:
        """All parameters as one vector."""
        return np.concatenate([p._values("LBFGS").reshape(-1) for p in self.params]).astype(
            self.dtype
        )

    def move_to(self, start: Array, step: Array) -> None:
        """Set all parameters to start + step (in the variables z where modulated)."""
        place = start + (step if self.root is None else self.root * step)
        offset = 0
        for p in self.params:
            part = place[offset : offset + p.size].reshape(p.shape)
            write_parameter(p, Tensor(part.astype(p.dtype)))
            offset += p.size

    def run(self) -> Any:
        """The iterations of one step; returns the closure's first result."""
        o, memory = self.optimizer.param_groups[0], self.memory
        result, loss, grad = self.evaluate()
        for iteration in range(o["max_iter"]):
            if np.max(np.abs(grad), initial=0.0) <= o["tolerance_grad"]:
                break
            memory.learn(grad, o["history_size"])
            direction = memory.direction(grad)
            slope = float(grad @ direction)
            if slope > -o["tolerance_change"]:
                break
            first = min(1.0, 1.0 / float(np.sum(np.abs(grad)))) if memory.iterations == 0 else 1.0
            memory.iterations += 1
            before, memory.before = loss, grad
            here = Point(0.0, loss, grad, slope)
            last = iteration + 1 == o["max_iter"]
            point = self._advance(here, direction, first * o["lr"], last)
            memory.moved = point.t * direction
            loss, grad = point.loss, point.grad
            if (
                last
                or self.evals >= o["max_eval"]
                or np.max(np.abs(memory.moved)) <= o["tolerance_change"]
                or abs(loss - before) < o["tolerance_change"]
            ):
                break
        return result

    def _advance(self, here: Point, direction: Array, t: float, last: bool) -> Point:
        """Move along the direction; returns where it ended. With a fixed step, nothing is evaluated
        after the last iteration: the next call starts with that anyway."""
        o, start = self.optimizer.param_groups[0], self.position()

        def at(t: float) -> Point:
            self.move_to(start, t * direction)
            _, loss, grad = self.evaluate()
            return Point(t, loss, grad, float(grad @ direction))

        if o["line_search_fn"] is None:
            if not last:
                return at(t)
            self.move_to(start, t * direction)
            return Point(t, here.loss, here.grad, here.slope)
        narrowest = o["tolerance_change"] / max(float(np.max(np.abs(direction))), 1e-300)
        left = max(o["max_eval"] - self.evals, 1)
        point, _ = strong_wolfe(at, here, t, narrowest, left)
        self.move_to(start, point.t * direction)
        return point
