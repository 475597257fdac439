"""`Callback`: what a training run calls at its stations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wengert.core.errors import ArgumentError, DtypeError

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer

Logs = dict[str, Any]


class Callback:
    """Base of all callbacks: override the stations that matter; all get the trainer.

    In the order of a run: `on_fit_start`; for each epoch `on_epoch_start`; for each step
    `on_batch_start` and `on_batch_end` around each of its batches (several, with gradient
    accumulation), `on_after_backward` (gradients are there and clipped), `on_after_step`
    (parameters are updated); then `on_validation_end`, `on_epoch_end`; at last `on_fit_end`, or
    `on_exception`.

    A callback with state has `state_dict` and `load_state_dict`; checkpoints hold it. Callbacks of
    a lower `order` are called first.
    """

    order = 0

    def on_fit_start(self, trainer: Trainer) -> None: ...
    def on_epoch_start(self, trainer: Trainer) -> None: ...
    def on_batch_start(self, trainer: Trainer) -> None: ...
    def on_after_backward(self, trainer: Trainer) -> None: ...
    def on_after_step(self, trainer: Trainer, logs: Logs) -> None: ...
    def on_batch_end(self, trainer: Trainer) -> None: ...
    def on_validation_end(self, trainer: Trainer, logs: Logs) -> None: ...
    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None: ...
    def on_fit_end(self, trainer: Trainer) -> None: ...
    def on_exception(self, trainer: Trainer, error: BaseException) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; empty for a callback without state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state."""


class Callbacks:
    """The callbacks of a trainer, in their order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        found = list(callbacks)
        for callback in found:
            _check_callback(callback)
        self.all = sorted(found, key=lambda c: c.order)

    def call(self, station: str, *args: Any) -> None:
        """Call this station of all callbacks."""
        for callback in self.all:
            getattr(callback, station)(*args)

    def named(self) -> dict[str, Callback]:
        """The callbacks under the names that checkpoints use: class, and a number if several."""
        found: dict[str, Callback] = {}
        for callback in self.all:
            name = base = type(callback).__name__
            number = 1
            while name in found:
                number += 1
                name = f"{base}-{number}"
            found[name] = callback
        return found


def _check_callback(callback: Any) -> None:
    if isinstance(callback, Callback):
        return
    is_class = isinstance(callback, type)
    raise DtypeError(
        "Trainer",
        "not a callback",
        met=repr(callback),
        cause="a class in place of an instance" if is_class else "",
        fix=f"pass {callback.__name__}()" if is_class else "derive it from train.Callback",
    )


def monitored(owner: str, name: str, logs: Mapping[str, Any]) -> float:
    """The value that a callback watches, or the error that says what there is to watch."""
    if name not in logs:
        numbers = [k for k, v in logs.items() if isinstance(v, (int, float)) and k != "epoch"]
        raise ArgumentError(
            owner,
            "the value to watch is not recorded",
            met=repr(name),
            cause="no validation data was given to fit" if name.startswith("val_") else "",
            fix=f"watch one of {', '.join(numbers)}",
        )
    return float(logs[name])


def higher_is_better(owner: str, name: str, mode: str, trainer: Trainer) -> bool:
    """Whether more is better: by `mode`, or with "auto" by what the metric says of itself."""
    if mode not in ("auto", "min", "max"):
        raise ArgumentError(owner, "no such mode", met=repr(mode), fix="use 'auto', 'min' or 'max'")
    if mode != "auto":
        return mode == "max"
    metric = trainer.metrics.get(name.removeprefix("val_"))
    return metric is not None and metric.higher_is_better
