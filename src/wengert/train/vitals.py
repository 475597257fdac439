"""`Vitals`: the norms of gradients, updates and weights of each parameter over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wengert.core.errors import StateError
from wengert.train.callback import Callback, Logs
from wengert.train.history import Thinning
from wengert.train.norms import norm

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer

KINDS = ("gradient_norm", "update_norm", "weight_norm")


class Vitals(Callback):
    """Records ‖∇w‖ (after clipping), ‖Δw‖ and ‖w‖ of every trained parameter, every `every` steps,
    at most `limit` times (then ever more rarely, see `Thinning`).

    `to_dict()` is what the HTML report draws: `{"steps": [...], "parameters": {name:
    {"gradient_norm": [...], "update_norm": [...], "weight_norm": [...]}}}`. The old weights are
    remembered, not copied: values are immutable.

    The ratio ‖Δw‖/‖w‖ is a good first sign of a learning rate that is too large (≫ 1e-2) or too
    small (≪ 1e-4).
    """

    order = -40

    def __init__(self, every: int = 1, limit: int = 1000) -> None:
        self._records = Thinning(limit, every)
        self._before: dict[str, tuple[Any, Any, float]] = {}

    def on_after_backward(self, trainer: Trainer) -> None:
        self._before = {}
        if not self._records.wants(trainer.step + 1):
            return
        for name, p in trainer.named_parameters:
            if p.grad is not None:
                self._before[name] = (p, p._data, norm(p.grad._data))

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if not self._before:
            return
        record: dict[str, Any] = {"step": trainer.step}
        for name, (p, old, gradient_norm) in self._before.items():
            values = (gradient_norm, norm(p._data - old), norm(old))
            record[name] = list(values)
        self._before = {}
        self._records.add(record)

    def to_dict(self) -> dict[str, Any]:
        """The steps, and three lists of norms for each parameter."""
        columns = dict(self._records.columns)
        steps = columns.pop("step", [])
        parameters = {
            name: {
                kind: [None if entry is None else entry[i] for entry in column]
                for i, kind in enumerate(KINDS)
            }
            for name, column in columns.items()
        }
        return {"steps": list(steps), "parameters": parameters}

    def state_dict(self) -> dict[str, Any]:
        return self._records.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"interval", "columns"}:
            raise StateError(
                "Vitals",
                "not stored vitals",
                met=", ".join(map(str, state)),
                fix="pass what state_dict() returned",
            )
        self._records.load_state_dict(state)
