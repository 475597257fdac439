"""`Trainer`: the training loop, with validation, accumulation, callbacks and exact resuming."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from wengert import random
from wengert.core.errors import ArgumentError
from wengert.core.rules import as_integer
from wengert.core.state import recording
from wengert.core.tensor import Tensor
from wengert.core.tree import tree_flatten
from wengert.core.variable import Parameter
from wengert.data import DataLoader
from wengert.data.dataset import is_stream
from wengert.nn.module import Module
from wengert.optim import EMA, LRScheduler, Optimizer
from wengert.train import resuming
from wengert.train.callback import Callback, Callbacks, Logs
from wengert.train.checkpoint import save_checkpoint
from wengert.train.guard import check_finite
from wengert.train.history import History
from wengert.train.interrupt import Interrupt
from wengert.train.metrics import Mean, Metric
from wengert.train.norms import global_norm
from wengert.train.parts import check_parts
from wengert.train.progress import ProgressBar
from wengert.train.running import Outcome, Running, detached, evaluating
from wengert.train.schedule import LRSchedule
from wengert.train.steps import Steps, number
from wengert.train.weighing import Weigher, setting, weigher

Forward = Callable[[Any, Any], tuple[Any, Any]]


def forward_pair(model: Any, batch: Any) -> tuple[Any, Any]:
    """What a batch means unless told otherwise: its last entry is the target, the others are the
    model's arguments."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise ArgumentError(
            "fit",
            "a batch must be a tuple that ends with the target",
            met=f"a {type(batch).__name__}",
            fix="let the dataset return (x, y), or pass forward=lambda model, batch: (prediction, "
            "target) to the Trainer",
        )
    return model(*batch[:-1]), batch[-1]


def target_of(batch: Any) -> Any:
    """The target in a batch of the usual form."""
    return forward_pair(lambda *inputs: None, batch)[1]


class Trainer:
    """Trains a model, and evaluates it.

    Parameters
    ----------
    model, loss, optimizer : `loss(prediction, target)` gives one number a batch
    metrics : name → `Metric`, or a list of metrics
    callbacks : see `wengert.train.Callback`
    scheduler : a learning-rate schedule, moved on after every `schedule_every` ("epoch" or "step")
    accumulate : batches that make one step. The gradient is that of the one large batch: each
        batch counts by its weight, also where the last batch or group is smaller. (Batch
        normalisation still sees the small batches.)
    clip_grad_norm : largest norm of all gradients as one vector
    ema : a `wengert.optim.EMA` of the model: updated after each step, used for evaluation
    forward : `forward(model, batch) -> (prediction, target)`, for batches that are no pairs
    batch_weight : `batch_weight(batch, target) -> float`, what a batch weighs in a mean; told from
        the loss where it is left out (samples; labels that count and their class weights; 1 for a
        sum)
    seed : of the random numbers of a run that is not resumed: dropout, order of samples
    nan_guard : stop before a step whose loss or gradients are not finite
    progress : whether to show a progress bar (plain lines where there is no terminal)
    compile : whether steps, evaluation and prediction are compiled; what cannot be runs eagerly,
        with a `NotCompiledWarning` that says why

    Examples
    --------
    >>> import wengert as wg
    >>> from wengert.train import Trainer
    >>> x = wg.asarray([[0.0], [1.0], [2.0], [3.0]]); y = 2.0 * x + 1.0
    >>> model = wg.nn.Linear(1, 1)
    >>> trainer = Trainer(model, wg.nn.MSELoss(), wg.optim.SGD(model.parameters(), lr=0.1),
    ...                   seed=0, progress=False)
    >>> history = trainer.fit((x, y), epochs=200)
    >>> round(float(model(wg.asarray([[10.0]]))[0, 0]), 2)
    21.0
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        *,
        metrics: Mapping[str, Metric] | Iterable[Metric] = (),
        callbacks: Iterable[Callback] = (),
        scheduler: LRScheduler | LRSchedule | None = None,
        schedule_every: str = "epoch",
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        ema: EMA | None = None,
        forward: Forward = forward_pair,
        batch_weight: Weigher | None = None,
        seed: int | None = None,
        nan_guard: bool = True,
        progress: bool = True,
        compile: bool = True,
    ) -> None:
        check_parts(model, loss, optimizer, scheduler, ema, accumulate, clip_grad_norm)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.metrics = _named(metrics)
        self.accumulate, self.clip_grad_norm, self.ema = accumulate, clip_grad_norm, ema
        self.forward = forward
        self.weight = batch_weight or weigher(loss)
        self.sums = batch_weight is None and setting(loss, "reduction") == "sum"
        self.seed = None if seed is None else as_integer("Trainer", "seed", seed)
        self.nan_guard = nan_guard
        self.history = History()
        own: list[Callback] = [self.history]
        if isinstance(scheduler, LRSchedule):
            own.append(scheduler)
        elif scheduler is not None:
            own.append(LRSchedule(scheduler, schedule_every))
        if progress:
            own.append(ProgressBar())
        self.callbacks = Callbacks([*own, *callbacks])
        self.epoch = 0  # finished epochs
        self.step = 0  # optimizer steps taken
        self.epochs = 0  # where the present fit ends
        self.first_epoch = 0  # where it began
        self.stop_reason: str | None = None
        self.last_checkpoint: Path | None = None
        self.train_loader: DataLoader | None = None
        self.val_loader: DataLoader | None = None
        self.running = Running(self.metrics)
        self.elapsed = 0.0  # seconds of the present epoch, up to the last time mark
        self.mid_epoch = False
        self.steps = Steps(self, compile)

    # -- what callbacks ask ------------------------------------------------------------------

    @property
    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The parameters that are trained, with their paths, in the model's order."""
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def stop(self, reason: str) -> None:
        """Let the run end at the next station; `stop_reason` keeps why."""
        if self.stop_reason is None:
            self.stop_reason = reason

    # -- fit ---------------------------------------------------------------------------------

    def fit(
        self,
        train: Any,
        val: Any = None,
        epochs: int = 10,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        resume: str | os.PathLike[str] | bool | None = None,
    ) -> History:
        """Train for some epochs, and return the history.

        `train` and `val` are loaders, datasets, or arrays `(x, y)`; for the latter two, loaders
        are made with `batch_size` and, for training, `shuffle`.

        `resume` is a checkpoint, or a folder of which the newest valid one is taken: the run goes
        on from there, in the middle of an epoch too, and is bitwise the same run as one that was
        never stopped; `epochs` counts those that the stored run has behind it. `resume=True` takes
        the folder of the `Checkpoint` callback, and starts anew if there is nothing in it yet. A
        second `fit` without `resume` trains for `epochs` more.

        An interrupt (Ctrl-C) ends the run after the present step, with all callbacks told, so that
        a `Checkpoint` callback saves it; a second one ends it at once.
        """
        if as_integer("fit", "epochs", epochs) < 0:
            raise ArgumentError(
                "fit", "epochs must be at least 0", met=str(epochs), fix="pass epochs=10"
            )
        source = resuming.source_of(self, resume)
        self.train_loader = as_loader(train, batch_size, shuffle, self.seed)
        self.val_loader = None if val is None else as_loader(val, batch_size, False, self.seed)
        self.stop_reason = None
        if source is not None:
            resuming.load(self, source)
        else:
            self.first_epoch, self.mid_epoch = self.epoch, False
            if self.seed is not None and self.step == 0:
                random.seed(self.seed)
        self.epochs = self.first_epoch + epochs
        try:
            with Interrupt(self):
                self.callbacks.call("on_fit_start", self)
                while self.epoch < self.epochs and self.stop_reason is None:
                    self._epoch()
                self.callbacks.call("on_fit_end", self)
        except BaseException as error:
            self.callbacks.call("on_exception", self, error)
            raise
        return self.history

    def _epoch(self) -> None:
        """One epoch, or what is left of one that was resumed."""
        assert self.train_loader is not None
        started = perf_counter()
        if not self.mid_epoch:
            self.running.reset()
            self.elapsed, self.mid_epoch = 0.0, True
        before = self.elapsed
        self.model.train()
        self.callbacks.call("on_epoch_start", self)
        for group in _groups(self.train_loader, self.accumulate):
            self._step(group)
            self.elapsed = before + perf_counter() - started
            if self.stop_reason is not None:
                return  # in the middle of the epoch: a checkpoint now resumes here
        logs = self._epoch_logs()
        if self.val_loader is not None:
            found = self._evaluate(self.val_loader)
            logs.update({f"val_{name}": value for name, value in found.items()})
            self.callbacks.call("on_validation_end", self, logs)
        logs["seconds"] = before + perf_counter() - started
        self.epoch += 1
        self.mid_epoch = False
        self.callbacks.call("on_epoch_end", self, logs)

    def _epoch_logs(self) -> Logs:
        if self.running.loss.weight == 0:
            raise ArgumentError(
                "fit",
                "an epoch went by without a single sample",
                cause="a stream that gives nothing, or only ignored labels",
                fix="check the loader: next(iter(loader))",
            )
        logs: Logs = {"epoch": self.epoch + 1, "step": self.step}
        logs.update(self.running.compute())
        logs["lr"] = self.learning_rate
        logs["samples"] = self.running.samples
        return logs

    def _step(self, batches: list[Any]) -> None:
        """One optimizer step on one batch, or on the gradients of several."""
        started = perf_counter()
        outcomes, loss, gradient_norm = self._gradients(batches)
        self.callbacks.call("on_after_backward", self)
        learning_rate = self.learning_rate
        self.steps.update()
        self.step += 1
        for outcome, batch in zip(outcomes, batches, strict=True):
            self.running.update(outcome, batch)
        logs: Logs = {
            "step": self.step,
            "epoch": self.epoch + 1,
            "loss": loss,
            "lr": learning_rate,
            "gradient_norm": gradient_norm,
            "seconds": perf_counter() - started,
        }
        self.callbacks.call("on_after_step", self, logs)

    def _gradients(self, batches: list[Any]) -> tuple[list[Outcome], float, float]:
        """Fill `.grad` from the batches of a step; what came of each, the loss, and the norm of the
        gradients. Where that fails, the model is as it was before."""
        self.optimizer.zero_grad()
        buffers = [(b, Tensor(b._data)) for b in self.model.buffers()]
        alone = len(batches) == 1
        try:
            outcomes = []
            for batch in batches:
                self.callbacks.call("on_batch_start", self)
                outcomes.append(self._backward(batch, alone))
                self.callbacks.call("on_batch_end", self)
            loss = _mean_of(outcomes)
            norm = self._finish_gradients(sum(o.weight for o in outcomes), alone)
            if self.nan_guard:
                check_finite(self, loss, norm, batches)
        except BaseException:
            for buffer, value in buffers:  # batch statistics
                buffer.assign(value)
            self.optimizer.zero_grad()
            raise
        return outcomes, loss, norm

    def _backward(self, batch: Any, alone: bool) -> Outcome:
        """Loss of one batch, with its gradients added to those of the step."""
        scaled = not (alone or self.sums)
        if self.forward is not forward_pair:
            return self._backward_of_forward(batch, scaled)
        target = target_of(batch)
        weight = self._weight(batch, target)
        if weight:
            scale = number(weight) if scaled else None
            loss, prediction, _ = self.steps.backward(batch, scale)
        else:
            with recording(False):
                loss, prediction, _ = self.steps.evaluate(batch)
        return Outcome(float(loss), weight, prediction, target)

    def _backward_of_forward(self, batch: Any, scaled: bool) -> Outcome:
        """The same where only the user's `forward` tells the target, and thereby the weight."""
        run = self.steps.backward
        if scaled:
            run.give_up("the weight of an accumulated batch is known only after forward")
            loss, prediction, target = self.steps.losses(batch)
        else:
            loss, prediction, target = run(batch, None)
        weight = self._weight(batch, target)
        if scaled and weight:
            (loss * weight).backward()
        elif not weight:
            self.optimizer.zero_grad()
        return Outcome(float(loss), weight, detached(prediction), target)

    def _weight(self, batch: Any, target: Any) -> float:
        return 1.0 if self.sums else float(self.weight(batch, target))

    def _finish_gradients(self, total: float, alone: bool) -> float:
        """Turn the weighted sum of gradients into their mean, clip, and return the norm before."""
        params = [p for _, p in self.named_parameters if p.grad is not None]
        divides = not (alone or self.sums) and bool(total)
        if divides:
            self.steps.finish(number(total), None)
        found = global_norm(p.grad._data for p in params if p.grad is not None)
        if self.clip_grad_norm is not None and math.isfinite(found):
            self.steps.finish(None, float(self.clip_grad_norm))
        return found

    # -- evaluate and predict ----------------------------------------------------------------

    def evaluate(self, data: Any, *, batch_size: int = 256) -> dict[str, float]:
        """Loss and metrics over some data, with the model in evaluation mode (and with the
        averaged parameters, where there is an `ema`)."""
        return self._evaluate(as_loader(data, batch_size, False, self.seed))

    def _evaluate(self, loader: DataLoader) -> dict[str, float]:
        running = Running(self.metrics)
        with evaluating(self.model, self.ema):
            for batch in loader:
                loss, prediction, target = self.steps.evaluate(batch)
                weight = self._weight(batch, target)
                running.update(Outcome(float(loss), weight, prediction, target), batch)
        return running.compute()

    def predict(self, data: Any, *, batch_size: int = 256) -> Any:
        """The model's outputs for all samples, in order, along the first axis.

        `data` is an array of inputs, or what `fit` takes: then the targets are left out.
        """
        inputs_only = isinstance(data, (Tensor, np.ndarray))
        outputs: list[list[Tensor]] = []
        structure: Any = None
        with evaluating(self.model, self.ema):
            for batch in as_loader(data, batch_size, False, self.seed):
                parts = batch if isinstance(batch, (tuple, list)) else (batch,)
                inputs = parts if inputs_only or len(parts) == 1 else parts[:-1]
                leaves, structure = tree_flatten(self.steps.predict(tuple(inputs)))
                outputs.append(leaves)
        columns = [np.concatenate([o.numpy() for o in column]) for column in zip(*outputs)]
        return structure.unflatten([Tensor(column) for column in columns])

    # -- state -------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], meta: Mapping[str, Any] | None = None) -> Path:
        """Write all that a resumed run needs as one checkpoint; see `save_checkpoint`."""
        self.last_checkpoint = save_checkpoint(path, resuming.collect(self), meta)
        return self.last_checkpoint


def _mean_of(outcomes: list[Outcome]) -> float:
    mean = Mean()
    for outcome in outcomes:
        mean.update(outcome.loss, outcome.weight)
    return mean.compute() if mean.weight else 0.0


def _groups(loader: DataLoader, size: int) -> Iterator[list[Any]]:
    """The batches of each step."""
    batches = iter(loader)
    while group := list(islice(batches, size)):
        yield group


def as_loader(data: Any, batch_size: int, shuffle: bool, seed: int | None) -> DataLoader:
    """A loader as it is; anything else in a loader of its own."""
    if isinstance(data, DataLoader):
        return data
    shuffle = shuffle and not is_stream(data)
    return DataLoader(data, batch_size, shuffle=shuffle, seed=seed)


def _named(metrics: Mapping[str, Metric] | Iterable[Metric]) -> dict[str, Metric]:
    """Metrics with their names."""
    if isinstance(metrics, Mapping):
        named = dict(metrics)
    else:
        named = {}
        for metric in metrics:
            named[getattr(metric, "name", "")] = metric
    for name, metric in named.items():
        if not isinstance(metric, Metric) or name in ("loss", "lr", "epoch", "step", "seconds"):
            raise ArgumentError(
                "Trainer",
                "metrics must be wengert.train metrics, under names that are not taken",
                met=f"{name!r}: {metric!r}",
                fix="for example metrics={'accuracy': Accuracy()}",
            )
    return named
