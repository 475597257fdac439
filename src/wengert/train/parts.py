"""What a `Trainer` is made of, checked before anything runs: parts that do not fit together would
else train nothing, silently."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError, DtypeError
from wengert.nn.module import Module
from wengert.optim import EMA, LRScheduler, Optimizer
from wengert.optim.checks import positive, positive_integer
from wengert.train.schedule import LRSchedule


def check_parts(
    model: Any, loss: Any, optimizer: Any, scheduler: Any, ema: Any, accumulate: Any, clip: Any
) -> None:
    """The error for parts of a trainer that are of a wrong kind or do not belong together."""
    _is_a(Module, "model", model, "derive its class from nn.Module")
    _is_a(Optimizer, "optimizer", optimizer, "pass, for example, optim.Adam(model.parameters())")
    if isinstance(loss, type) or not callable(loss):
        raise DtypeError(
            "Trainer",
            "the loss is a function of prediction and target",
            met=f"the class {loss.__name__}" if isinstance(loss, type) else repr(loss),
            cause="a class in place of an object of it" if isinstance(loss, type) else "",
            fix="pass, for example, nn.CrossEntropyLoss() or nn.functional.cross_entropy",
        )
    own = set(map(id, model.parameters()))
    if own and not any(id(p) in own for p in optimizer.parameters()):
        raise ArgumentError(
            "Trainer",
            "the optimizer has none of the model's parameters, so nothing would be trained",
            cause="a model that was made anew after the optimizer",
            fix="make the optimizer of this model's parameters",
        )
    schedule = scheduler.scheduler if isinstance(scheduler, LRSchedule) else scheduler
    if schedule is not None:
        _is_a(LRScheduler, "scheduler", schedule, "pass a schedule of wengert.optim")
        if schedule.optimizer is not optimizer:
            raise ArgumentError(
                "Trainer",
                "the schedule is of another optimizer",
                fix="make it of the optimizer that is passed",
            )
    if ema is not None:
        _is_a(EMA, "ema", ema, "pass optim.EMA(model) or optim.SWA(model)")
    positive_integer("Trainer", accumulate=accumulate)
    if clip is not None:
        positive("Trainer", clip_grad_norm=clip)


def _is_a(kind: type, name: str, value: Any, fix: str) -> None:
    if not isinstance(value, kind):
        raise DtypeError(
            "Trainer", f"the {name} is no {kind.__name__}", met=type(value).__name__, fix=fix
        )
