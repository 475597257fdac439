"""Schedules that come back: warm restarts, and the one cycle."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.optim.checks import nonnegative, number, one_of, positive, positive_integer
from wengert.optim.groups import ParamGroup
from wengert.optim.optimizer import Optimizer
from wengert.optim.scalars import choose, smaller
from wengert.optim.schedule import LRScheduler
from wengert.optim.schedules import cosine

_LAST_STEP = 2**40  # no training takes more


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine annealing that starts again after T_0 steps, then after T_0·T_mult, and so on.

    `step(t)` takes fractions, such as epoch + batch/batches.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> schedule = wg.optim.CosineAnnealingWarmRestarts(opt, T_0=2)
    >>> [(schedule.step(), round(opt.param_groups[0]["lr"], 6))[1] for _ in range(3)]
    [0.5, 1.0, 0.5]

    Source: Loshchilov and Hutter 2017 (SGDR).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        positive_integer("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        nonnegative("CosineAnnealingWarmRestarts", eta_min=eta_min)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, float(eta_min)
        super().__init__(optimizer, last_epoch)

    def place(self) -> tuple[float, int]:
        """Steps since the last restart, and the length of the present period."""
        length, since = self.T_0, self.last_epoch
        if self.T_mult == 1:
            return since % length, length
        if isinstance(since, Tensor):
            return self._traced_place(since)
        while since >= length:
            since -= length
            length *= self.T_mult
        return since, length

    def _traced_place(self, t: Tensor) -> tuple[Any, Any]:
        """The same for a step that is not known: a choice among all periods that may come."""
        since, length = t, choose(t < 0.0, self.T_0, self.T_0)
        start, period = self.T_0, self.T_0 * self.T_mult
        while start < _LAST_STEP:
            begun = t >= float(start)
            since, length = choose(begun, t - float(start), since), choose(begun, period, length)
            start, period = start + period, period * self.T_mult
        return since, length

    def value(self, base: float, group: int) -> float:
        since, length = self.place()
        return cosine(base, self.eta_min, since / length)


class OneCycleLR(LRScheduler):
    """One rise to `max_lr` and one fall below the start, over `total_steps` steps of batches.

    From max_lr/div_factor up in the first `pct_start` of the steps, then down to
    max_lr/(div_factor·final_div_factor); with `three_phase`, first back down to the start. If
    `cycle_momentum`, the momentum (or β₁) goes the other way, from `max_momentum` to
    `base_momentum`. The groups' own learning rates are not used.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=0.1, momentum=0.9)
    >>> schedule = wg.optim.OneCycleLR(opt, max_lr=1.0, total_steps=10)
    >>> round(opt.param_groups[0]["lr"], 6), opt.param_groups[0]["momentum"]
    (0.04, 0.95)

    Source: Smith and Topin 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        peaks = max_lr if isinstance(max_lr, (list, tuple)) else [max_lr]
        for peak in peaks:
            positive("OneCycleLR", max_lr=peak)
        positive("OneCycleLR", div_factor=div_factor, final_div_factor=final_div_factor)
        if not 0.0 <= number("OneCycleLR", "pct_start", pct_start) <= 1.0:
            raise ArgumentError(
                "OneCycleLR", "pct_start is in [0, 1]", met=repr(pct_start), fix="pass 0.3"
            )
        one_of("OneCycleLR", "anneal_strategy", anneal_strategy, "cos", "linear")
        if isinstance(max_lr, (list, tuple)) and len(max_lr) != len(optimizer.param_groups):
            raise ArgumentError(
                "OneCycleLR",
                "max_lr is a number, or one a group",
                met=f"{len(max_lr)} for {len(optimizer.param_groups)} groups",
                fix="pass one number",
            )
        self.max_lr = max_lr
        self.anneal = cosine if anneal_strategy == "cos" else _line
        self.cycle_momentum = cycle_momentum
        self.momenta = (float(base_momentum), float(max_momentum))
        self.div_factor, self.final_div_factor = float(div_factor), float(final_div_factor)
        self.turns = _turns(self.total_steps, float(pct_start), three_phase)
        super().__init__(optimizer, last_epoch)

    def check_group(self, group: ParamGroup) -> None:
        if self.cycle_momentum and "momentum" not in group and "betas" not in group:
            raise ArgumentError(
                "OneCycleLR",
                "the optimizer has no momentum to cycle",
                met=self.optimizer.name,
                fix="pass cycle_momentum=False",
            )

    def move_to(self, epoch: Any) -> None:
        if not isinstance(epoch, Tensor) and epoch > self.total_steps:
            raise ArgumentError(
                "OneCycleLR",
                "the cycle is over",
                met=f"step {epoch} of {self.total_steps}",
                cause="step() called once an epoch and once a batch, or more epochs than planned",
                fix="make total_steps the number of all batches",
            )
        super().move_to(epoch)

    def along(self, *corners: float) -> Any:
        """Where the present step is on the way between the values at the turns."""
        t, starts = self.last_epoch, (0.0, *self.turns[:-1])
        found: Any = None
        for i in reversed(range(len(self.turns))):
            start, end = starts[i], self.turns[i]
            passed = smaller((t - start) / max(end - start, 1e-12), 1.0)
            here = self.anneal(corners[i], corners[i + 1], passed)
            found = here if found is None else choose(t <= end, here, found)
        return found

    def value(self, base: float, group: int) -> float:
        peak = float(self.max_lr[group] if isinstance(self.max_lr, (list, tuple)) else self.max_lr)
        first = peak / self.div_factor
        back = (first,) if len(self.turns) == 3 else ()
        return self.along(first, peak, *back, first / self.final_div_factor)

    def apply(self) -> None:
        super().apply()
        if not self.cycle_momentum:
            return
        low, high = self.momenta
        momentum = self.along(high, low, high, high)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


def _line(start: float, end: float, passed: float) -> float:
    return start + (end - start) * passed


def _total_steps(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total is None:
        if epochs is None or steps_per_epoch is None:
            raise ArgumentError(
                "OneCycleLR",
                "the length of the cycle is not given",
                fix="pass total_steps, or epochs and steps_per_epoch",
            )
        positive_integer("OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
        return epochs * steps_per_epoch
    positive_integer("OneCycleLR", total_steps=total)
    return total


def _turns(total: int, pct_start: float, three_phase: bool) -> tuple[float, ...]:
    """The steps at which the phases end."""
    rise = pct_start * total - 1.0
    if three_phase:
        return (rise, 2.0 * rise, total - 1.0)
    return (rise, total - 1.0)
