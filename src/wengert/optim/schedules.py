"""Schedules in closed form, under PyTorch's names. t is the number of the step, from 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.optim.checks import nonnegative, positive, positive_integer
from wengert.optim.groups import ParamGroup
from wengert.optim.optimizer import Optimizer
from wengert.optim.scalars import choose, cosine_of, reached, smaller
from wengert.optim.schedule import LRScheduler


class LambdaLR(LRScheduler):
    """base·f(t), for a function of the step or a list of functions, one a group.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.LambdaLR(opt, lambda t: 0.5**t); schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[Any], float] | list[Callable[[Any], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.functions = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        )
        self.shared = not isinstance(lr_lambda, (list, tuple))
        if len(self.functions) != groups or not all(map(callable, self.functions)):
            raise ArgumentError(
                "LambdaLR",
                "takes a function, or one for each parameter group",
                met=f"{lr_lambda!r} for {groups} groups",
                fix="pass lambda t: …",
            )
        super().__init__(optimizer, last_epoch)

    def check_new_group(self, group: ParamGroup) -> None:
        if not self.shared:
            raise ArgumentError(
                "LambdaLR",
                "the new parameter group has no function",
                cause="add_param_group after LambdaLR with a list of functions",
                fix="add the group first, or pass one function for all groups",
            )
        super().check_new_group(group)

    def admit(self, group: ParamGroup) -> None:
        self.functions.append(self.functions[0])
        super().admit(group)

    def value(self, base: float, group: int) -> float:
        return base * _number(self.functions[group](self.last_epoch))


def _number(value: Any) -> Any:
    """What a user's function of the step gave: in a trace a tensor, if it depends on the step."""
    return value if isinstance(value, Tensor) else float(value)


class StepLR(LRScheduler):
    """base·γ^⌊t/step_size⌋.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.StepLR(opt, step_size=2, gamma=0.5)
    >>> [(schedule.step(), opt.param_groups[0]["lr"])[1] for _ in range(4)]
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        positive_integer("StepLR", step_size=step_size)
        positive("StepLR", gamma=gamma)
        self.step_size, self.gamma = step_size, float(gamma)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        return base * self.gamma ** (self.last_epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """base·γ^(number of milestones ≤ t).

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.MultiStepLR(opt, milestones=[1, 3], gamma=0.5)
    >>> [(schedule.step(), opt.param_groups[0]["lr"])[1] for _ in range(4)]
    [0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        positive("MultiStepLR", gamma=gamma)
        self.milestones, self.gamma = sorted(milestones), float(gamma)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        return base * self.gamma ** reached(self.milestones, self.last_epoch)


class ExponentialLR(LRScheduler):
    """base·γᵗ.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.ExponentialLR(opt, gamma=0.5); schedule.step(3)
    >>> schedule.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        positive("ExponentialLR", gamma=gamma)
        self.gamma = float(gamma)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        return base * self.gamma**self.last_epoch


class ConstantLR(LRScheduler):
    """base·factor for t < total_iters, then base.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> wg.optim.ConstantLR(opt, factor=0.5, total_iters=3).get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        nonnegative("ConstantLR", factor=factor, total_iters=total_iters)
        self.factor, self.total_iters = float(factor), total_iters
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        return base * choose(self.last_epoch < self.total_iters, self.factor, 1.0)


class LinearLR(LRScheduler):
    """base times a factor that goes linearly from start_factor to end_factor in total_iters steps.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.LinearLR(opt, start_factor=0.5, total_iters=2); schedule.step()
    >>> schedule.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3.0,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        nonnegative("LinearLR", start_factor=start_factor, end_factor=end_factor)
        positive_integer("LinearLR", total_iters=total_iters)
        self.start_factor, self.end_factor = float(start_factor), float(end_factor)
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        passed = smaller(self.last_epoch, float(self.total_iters)) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * passed)


class WarmupLR(LRScheduler):
    """base·(s + (1 − s)·min(1, (t + 1)/warmup_steps)), s = start_factor: a linear warm-up.

    No step is taken with rate 0, and step `warmup_steps` − 1 has the full rate. It composes with
    any other schedule of the same optimizer: step both.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> warmup, decay = wg.optim.WarmupLR(opt, 4), wg.optim.ExponentialLR(opt, 0.5)
    >>> warmup.step(); decay.step(); opt.param_groups[0]["lr"]
    0.25

    Source: Goyal et al. 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        start_factor: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        positive_integer("WarmupLR", warmup_steps=warmup_steps)
        nonnegative("WarmupLR", start_factor=start_factor)
        self.warmup_steps, self.start_factor = warmup_steps, float(start_factor)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        passed = smaller(1.0, (self.last_epoch + 1) / self.warmup_steps)
        return base * (self.start_factor + (1.0 - self.start_factor) * passed)


class PolynomialLR(LRScheduler):
    """base·(1 − min(t, total_iters)/total_iters)^power.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.PolynomialLR(opt, total_iters=4, power=2.0); schedule.step(2)
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        positive_integer("PolynomialLR", total_iters=total_iters)
        positive("PolynomialLR", power=power)
        self.total_iters, self.power = total_iters, float(power)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        passed = smaller(self.last_epoch, float(self.total_iters)) / self.total_iters
        return base * (1.0 - passed) ** self.power


class CosineAnnealingLR(LRScheduler):
    """η_min + (base − η_min)·(1 + cos(πt/T_max))/2; after T_max it rises again.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.CosineAnnealingLR(opt, T_max=10); schedule.step(5)
    >>> round(opt.param_groups[0]["lr"], 6)
    0.5

    Source: Loshchilov and Hutter 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        positive_integer("CosineAnnealingLR", T_max=T_max)
        nonnegative("CosineAnnealingLR", eta_min=eta_min)
        self.T_max, self.eta_min = T_max, float(eta_min)
        super().__init__(optimizer, last_epoch)

    def value(self, base: float, group: int) -> float:
        return cosine(base, self.eta_min, self.last_epoch / self.T_max)


def cosine(start: float, end: float, passed: float) -> float:
    """From `start` (passed = 0) to `end` (passed = 1) along half a wave."""
    return end + (start - end) * (1.0 + cosine_of(math.pi * passed)) / 2.0
