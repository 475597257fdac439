"""The base of learning-rate schedules.

A schedule is a function `value(base, group)` of the number of steps: which learning rate it makes
of the one that it is given. The schedules of an optimizer are applied one after the other to its
groups' initial rates, so several of them compose (a warm-up and a decay: their product), nothing
is accumulated that rounding could spoil, and a resumed run has bitwise the same rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, DtypeError, StateError
from wengert.core.live import Holder
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Follower
from wengert.optim.checks import nonnegative
from wengert.optim.groups import ParamGroup
from wengert.optim.optimizer import Optimizer
from wengert.optim.scalars import scalar


class LRScheduler(Holder):
    """Base of all schedules. Making one sets the rates of step 0; `step()` goes to the next one.

    `last_epoch` is the number of the present step (of epochs or of batches, whatever the loop
    counts); −1 starts anew.
    """

    saved: tuple[str, ...] = ("last_epoch",)
    _epoch: float = -1
    _follower: Follower | None = None

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise DtypeError(
                self.name,
                "a schedule belongs to an optimizer",
                met=type(optimizer).__name__,
                fix="pass the optimizer first",
            )
        self.optimizer = optimizer
        self.last_epoch = last_epoch
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            self.check_group(group)
        optimizer.schedules.append(self)
        try:
            self.step()
        except BaseException:
            self.detach()
            raise

    @property
    def last_epoch(self) -> Any:
        """The number of the present step: a plain number; in a trace, a tensor that follows it."""
        if state.trace is None:
            return self._epoch
        if self._follower is None:
            self._follower = Follower(np.array(self._epoch, np.float64), self._tell)
        return scalar(self._follower)

    @last_epoch.setter
    def last_epoch(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            self._epoch = value
        elif self._follower is None:
            _ = self.last_epoch
        if self._follower is not None:
            self._follower.assign(value if isinstance(value, Tensor) else float(value))

    def _tell(self, value: float) -> None:
        self._epoch = int(value) if value.is_integer() else value

    def value(self, base: float, group: int) -> float:
        """The learning rate of a group at step `last_epoch`, where others alone would have
        `base`."""
        raise TypeError("a subclass of LRScheduler defines value")

    def check_group(self, group: ParamGroup) -> None:
        """The error for a group that the schedule cannot be applied to."""

    @property
    def base_lrs(self) -> list[float]:
        """The groups' initial learning rates."""
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The groups' present learning rates."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self, epoch: Any = None) -> None:
        """Go to the next step, or to a given one."""
        if state.trace is not None:
            state.trace.reach(self)
        if epoch is not None and not isinstance(epoch, Tensor) and not 0.0 <= epoch < math.inf:
            raise ArgumentError(
                self.name, "a step number is at least 0", met=repr(epoch), fix="pass epoch ≥ 0"
            )
        self.move_to(self.last_epoch + 1 if epoch is None else epoch)
        self.apply()

    def move_to(self, epoch: Any) -> None:
        """Set the number of the present step."""
        self.last_epoch = epoch

    def apply(self) -> None:
        """Set the optimizer's learning rates: all of them, or none if one is no rate."""
        rates = []
        for i, group in enumerate(self.optimizer.param_groups):
            lr = group.present("initial_lr")
            for schedule in self.optimizer.schedules:
                lr = schedule.value(lr, i)
            if not isinstance(lr, Tensor):
                nonnegative(self.name, lr=lr)
            rates.append(lr)
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = lr

    def _named_boxes(self) -> list[tuple[str, Any]]:
        if self._follower is None:
            return []
        return [(f"step of {self.name}", self._follower)]

    def detach(self) -> None:
        """Take no further part in the optimizer's rates; those of now stay until the next step."""
        if self in self.optimizer.schedules:
            self.optimizer.schedules.remove(self)

    def check_new_group(self, group: ParamGroup) -> None:
        """The error for a group that cannot be added to the optimizer because of the schedule."""
        self.check_group(group)

    def admit(self, group: ParamGroup) -> None:
        """Take in a new group: its present rate is its initial one."""
        group.setdefault("initial_lr", group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Plain Python values; functions are left out."""
        state: dict[str, Any] = {"kind": self.name, "base_lrs": self.base_lrs}
        for name in self.saved:
            value = getattr(self, name)
            state[name] = list(value) if isinstance(value, (list, tuple)) else value
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the schedule that gave `state_dict` stood."""
        self.check_state(state_dict)
        self.restore(state_dict)
        for group, lr in zip(self.optimizer.param_groups, state_dict["base_lrs"], strict=True):
            group["initial_lr"] = lr
        self.apply()

    def check_state(self, state_dict: Mapping[str, Any]) -> None:
        """The error for a state dict that is not of such a schedule."""
        wanted = {"kind", "base_lrs", *self.saved}
        if not isinstance(state_dict, Mapping) or not wanted <= set(state_dict):
            raise StateError(
                self.name,
                "this is no state dict of the schedule",
                met=f"{sorted(state_dict)} for {sorted(wanted)}"
                if isinstance(state_dict, Mapping)
                else repr(state_dict),
                fix="pass what state_dict() returned",
            )
        groups = len(self.optimizer.param_groups)
        if state_dict["kind"] != self.name or len(state_dict["base_lrs"]) != groups:
            raise StateError(
                self.name,
                "the state dict is of another schedule",
                met=f"{state_dict['kind']} for {len(state_dict['base_lrs'])} groups",
                fix=f"load one of {self.name} with {groups} groups",
            )

    def restore(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the values of a checked state dict."""
        for name in self.saved:
            setattr(self, name, state_dict[name])

    def __repr__(self) -> str:
        return f"{self.name}(step {self.last_epoch}, lr={self.get_last_lr()})"
