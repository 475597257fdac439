"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.tensor import Tensor
from wengert.optim.groups import ParamGroup
from wengert.optim.optimizer import Optimizer
from wengert.optim.plateau import ReduceLROnPlateau
from wengert.optim.scalars import choose, reached
from wengert.optim.schedule import LRScheduler


class _Composite(LRScheduler):
    """A schedule that owns others: they no longer act on the optimizer by themselves."""

    schedulers: list[LRScheduler]

    def adopt(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        """Take the schedules over; each must be of this optimizer."""
        name = type(self).__name__
        if not schedulers:
            raise ArgumentError(
                name, "there are no schedules", met="an empty list", fix="pass at least one"
            )
        for schedule in schedulers:
            if schedule.optimizer is not optimizer:
                raise ArgumentError(
                    name,
                    "all schedules must be of one optimizer",
                    met=f"{schedule.name} of another",
                    fix="make one such schedule an optimizer",
                )
            if isinstance(schedule, ReduceLROnPlateau):
                raise ArgumentError(
                    name,
                    "ReduceLROnPlateau needs a metric at each step, which this cannot pass on",
                    fix="make it a schedule of the same optimizer and step it: they compose",
                )
        for schedule in schedulers:
            schedule.detach()
        self.schedulers = list(schedulers)

    def check_new_group(self, group: ParamGroup) -> None:
        for schedule in self.schedulers:
            schedule.check_new_group(group)

    def admit(self, group: ParamGroup) -> None:
        for schedule in self.schedulers:
            schedule.admit(group)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        super().check_state({"schedulers": None, **state_dict})
        given = state_dict.get("schedulers") or []
        if len(given) != len(self.schedulers):
            raise ArgumentError(
                self.name,
                "the state dict has another number of schedules",
                met=f"{len(given)} for {len(self.schedulers)}",
                fix="build the schedule as it was when the state was saved",
            )
        for schedule, state in zip(self.schedulers, given, strict=True):
            schedule.check_state(state)

    def restore(self, state_dict: Mapping[str, Any]) -> None:
        super().restore(state_dict)
        for schedule, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            schedule.restore(state)


class SequentialLR(_Composite):
    """One schedule after the other: number i starts anew at step `milestones[i − 1]`.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> warmup = wg.optim.WarmupLR(opt, 2)
    >>> decay = wg.optim.ExponentialLR(opt, gamma=0.5)
    >>> schedule = wg.optim.SequentialLR(opt, [warmup, decay], milestones=[2])
    >>> [(opt.param_groups[0]["lr"], schedule.step())[0] for _ in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        milestones = list(milestones)
        if len(milestones) != len(schedulers) - 1 or sorted(set(milestones)) != milestones:
            raise ArgumentError(
                "SequentialLR",
                "milestones are increasing, one fewer than the schedules",
                met=f"{milestones} for {len(schedulers)} schedules",
                fix="pass the steps at which the next schedule takes over",
            )
        self.milestones = milestones
        self.adopt(optimizer, schedulers)
        super().__init__(optimizer, last_epoch)

    def move_to(self, epoch: Any) -> None:
        super().move_to(epoch)
        for i, schedule in enumerate(self.schedulers):
            start = self.milestones[i - 1] if i else 0
            active = self._is_active(i, epoch)
            if isinstance(epoch, Tensor):
                schedule.move_to(choose(active, epoch - start, schedule.last_epoch))
            elif active:
                schedule.move_to(epoch - start)

    def _is_active(self, i: int, epoch: Any) -> Any:
        """Whether schedule `i` is the one of this step."""
        active = reached(self.milestones, epoch)
        return active == i

    def value(self, base: float, group: int) -> Any:
        found: Any = None
        for i, schedule in enumerate(self.schedulers):
            active = self._is_active(i, self.last_epoch)
            if isinstance(active, Tensor):
                here = schedule.value(base, group)
                found = here if found is None else choose(active, here, found)
            elif active:
                return schedule.value(base, group)
        return found


class ChainedScheduler(_Composite):
    """All schedules at once: each acts on what the ones before it gave.

    >>> import wengert as wg
    >>> opt = wg.optim.SGD([wg.Parameter(wg.ones(2))], lr=1.0)
    >>> parts = [wg.optim.ConstantLR(opt, 0.1, 2), wg.optim.ExponentialLR(opt, 0.5)]
    >>> schedule = wg.optim.ChainedScheduler(parts)
    >>> [(round(opt.param_groups[0]["lr"], 6), schedule.step())[0] for _ in range(3)]
    [0.1, 0.05, 0.25]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        if not schedulers:
            raise ArgumentError(
                "ChainedScheduler",
                "there are no schedules",
                met="an empty list",
                fix="pass at least one",
            )
        chosen = schedulers[0].optimizer if optimizer is None else optimizer
        self.adopt(chosen, schedulers)
        super().__init__(chosen)

    def move_to(self, epoch: Any) -> None:
        super().move_to(epoch)
        for schedule in self.schedulers:
            schedule.move_to(epoch)

    def value(self, base: float, group: int) -> float:
        for schedule in self.schedulers:
            base = schedule.value(base, group)
        return base
