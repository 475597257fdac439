"""What is summed up while batches go by, and the mode in which a model is evaluated."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from wengert.core.state import recording
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_map
from wengert.nn.module import Module
from wengert.optim import EMA
from wengert.train.metrics import Mean, Metric
from wengert.train.weighing import batch_size


class Outcome(NamedTuple):
    """What one batch gave."""

    loss: float
    weight: float
    prediction: Any
    target: Any


class Running:
    """Mean loss, metrics and number of samples, batch by batch."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.loss = Mean()
        self.metrics = {name: copy.deepcopy(metric) for name, metric in metrics.items()}
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self.samples = 0
        self.loss.reset()
        for metric in self.metrics.values():
            metric.reset()

    def update(self, outcome: Outcome, batch: Any) -> None:
        """Take a batch into account."""
        self.samples += batch_size(batch)
        self.loss.update(outcome.loss, outcome.weight)
        for metric in self.metrics.values():
            metric.update(outcome.prediction, outcome.target)

    def compute(self) -> dict[str, Any]:
        """Loss and metrics so far."""
        found = {"loss": self.loss.compute()}
        found.update({name: metric.compute() for name, metric in self.metrics.items()})
        return found

    def state_dict(self) -> dict[str, Any]:
        """All sums."""
        metrics = {name: metric.state_dict() for name, metric in self.metrics.items()}
        return {"samples": self.samples, "loss": self.loss.state_dict(), "metrics": metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from stored sums."""
        self.samples = state["samples"]
        self.loss.load_state_dict(state["loss"])
        for name, metric in self.metrics.items():
            metric.load_state_dict(state["metrics"][name])


def detached(tree: Any) -> Any:
    """A tree of tensors without their graphs."""
    return tree_map(lambda x: x.detach() if isinstance(x, Tensor) else x, tree)


@contextmanager
def evaluating(model: Module, ema: EMA | None = None) -> Iterator[None]:
    """The model in evaluation mode, nothing recorded, averaged parameters where there are some;
    afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with recording(False):
            if ema is None:
                yield
            else:
                with ema.average_parameters():
                    yield
    finally:
        for module, training in modes:
            if module.training is not training:
                module.train_alone(training)
