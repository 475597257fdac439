"""The computations of a `Trainer`, each compiled into one program where that can be done.

A step consists of a few of them, between which callbacks run and see the state as it is: the pass
that fills `.grad`, what finishes the gradients, and the update. A computation that cannot be
compiled runs eagerly, and says so once, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.core.errors import GradientError, NotCompiledWarning, RecompileWarning, WengertError
from wengert.core.op import cast_to
from wengert.core.spec import describe
from wengert.core.tensor import Tensor
from wengert.optim import clip_grad_norm_
from wengert.train.running import detached

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


_MOST = 16  # programs of one computation; more say that its arguments never repeat


class Step:
    """One function of arrays and state: compiled, or run as it is."""

    def __init__(self, what: str, f: Callable[..., Any], compile: bool) -> None:
        self.what, self.f = what, f
        self.jitted: Any = None
        if compile:
            from wengert.compiler.jit import jit

            self.jitted = jit(f)

    def __call__(self, *args: Any) -> Any:
        """Run it. An error of the compiled program has changed nothing; the eager run that follows
        it raises the more precise one."""
        if self.jitted is None:
            return self.f(*args)
        reason = self._prepare(args)
        if reason:
            result = self.f(*args)  # what is wrong without the compiler, too, is raised here
            self.give_up(reason)
            return result
        try:
            return self.jitted(*args)
        except WengertError:
            self.f(*args)
            raise

    def _prepare(self, args: tuple[Any, ...]) -> str:
        """Compile for these arguments, if that was not done; why it cannot be, or ""."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RecompileWarning)
                self.jitted.prepare(*args)
        except Exception as problem:
            return str(problem) if isinstance(problem, WengertError) else repr(problem)
        events = self.jitted.explain().events
        if len(events) > _MOST:
            why = "; ".join(map(str, events[-1].reasons))
            return f"it was compiled {_MOST} times, at last because of {why}"
        return ""

    def give_up(self, reason: str) -> None:
        """Run eagerly from now on, and say so."""
        if self.jitted is None:
            return
        self.jitted = None
        warnings.warn(
            f"[Trainer] {self.what} is not compiled and runs eagerly: {reason}\n"
            "fix: change that, or pass compile=False to the Trainer",
            NotCompiledWarning,
            stacklevel=3,
        )


class Steps:
    """All computations of a trainer."""

    def __init__(self, trainer: Trainer, compile: bool) -> None:
        self.trainer = trainer
        self.backward = Step("the training step", self._backward, compile)
        self.finish = Step("what follows the backward pass", self._finish, compile)
        self.update = Step("the optimizer's step", self._update, compile)
        self.evaluate = Step("the evaluation", self._evaluate, compile)
        self.predict = Step("the prediction", self._predict, compile)

    def _backward(self, batch: Any, weight: Any) -> tuple[Tensor, Any, Any]:
        """Add the gradients of a batch, times a weight, to `.grad`; loss, prediction, target."""
        loss, prediction, target = self.losses(batch)
        if weight is None:
            loss.backward()
        else:
            (loss * cast_to(weight, loss.dtype)).backward()
        return loss.detach(), detached(prediction), target

    def losses(self, batch: Any) -> tuple[Tensor, Any, Any]:
        """Loss, prediction and target of a batch."""
        prediction, target = self.trainer.forward(self.trainer.model, batch)
        loss = self.trainer.loss(prediction, target)
        _check_loss(loss)
        return loss, prediction, target

    def _finish(self, total: Any, clip: float | None) -> None:
        """Divide the gradients by a number, and clip them."""
        params = [p for _, p in self.trainer.named_parameters if p.grad is not None]
        for p in params:
            if total is not None:
                assert p.grad is not None
                p.grad = p.grad / cast_to(total, p.dtype)
        if clip is not None:
            clip_grad_norm_(params, clip)

    def _update(self) -> None:
        self.trainer.optimizer.step()
        if self.trainer.ema is not None:
            self.trainer.ema.update()

    def _evaluate(self, batch: Any) -> tuple[Tensor, Any, Any]:
        return self.losses(batch)

    def _predict(self, inputs: tuple[Any, ...]) -> Any:
        return self.trainer.model(*inputs)


def number(value: float) -> Tensor:
    """A number that changes from step to step, as an input of a compiled computation."""
    return Tensor(np.array(value, np.float64))


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.size != 1:
        raise GradientError(
            "fit",
            "the loss must be one number a batch",
            met=describe(loss) if isinstance(loss, Tensor) else type(loss).__name__,
            cause="a loss that was not reduced",
            fix="reduce it, for example with .mean(), or use reduction='mean'",
        )
