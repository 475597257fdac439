"""All that a run consists of, as one state: collected for a checkpoint, and put back as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wengert import random
from wengert.core.errors import ArgumentError, StateError, WengertError
from wengert.data import DataLoader
from wengert.nn.module import Module
from wengert.train.callback import Callback
from wengert.train.checkpoint import Checkpoint as Stored
from wengert.train.checkpoint import latest_checkpoint, read_checkpoint
from wengert.train.saving import Checkpoint

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer

State = dict[str, Any]


def source_of(trainer: Trainer, resume: str | os.PathLike[str] | bool | None) -> Stored | None:
    """The checkpoint that `fit(resume=…)` means."""
    if resume is None or resume is False:
        return None
    if resume is not True:
        return read_checkpoint(resume)
    savers = [c for c in trainer.callbacks.all if isinstance(c, Checkpoint)]
    if not savers:
        raise ArgumentError(
            "fit",
            "resume=True needs a Checkpoint callback, to know the folder",
            fix="pass resume='folder', or callbacks=[Checkpoint('folder')]",
        )
    newest = latest_checkpoint(savers[0].folder)
    return None if newest is None else read_checkpoint(newest)


class _Part:
    """One part of a run's state: how it is read, and how it is put back."""

    def __init__(self, get: Callable[[], State], put: Callable[[State], Any]) -> None:
        self.get, self.put = get, put


def _parts(trainer: Trainer) -> dict[str, _Part]:
    """The parts of a run, in the order in which they are put back."""
    found = {
        "model": _Part(lambda: dict(trainer.model.state_dict()), trainer.model.load_state_dict),
        "optimizer": _Part(trainer.optimizer.state_dict, trainer.optimizer.load_state_dict),
        "random": _Part(lambda: _generators(trainer), lambda s: _put_generators(trainer, s)),
        "loaders": _Part(lambda: _loaders(trainer), lambda s: _put_loaders(trainer, s)),
        "progress": _Part(lambda: _progress(trainer), lambda s: _put_progress(trainer, s)),
        "callbacks": _Part(lambda: _callbacks(trainer), lambda s: _put_callbacks(trainer, s)),
    }
    if isinstance(trainer.loss, Module) and trainer.loss.state_dict():
        loss = trainer.loss
        found["loss"] = _Part(lambda: dict(loss.state_dict()), loss.load_state_dict)
    if trainer.ema is not None:
        found["ema"] = _Part(trainer.ema.state_dict, trainer.ema.load_state_dict)
    return found


def collect(trainer: Trainer) -> dict[str, State]:
    """The state of a run, for `save_checkpoint`."""
    return {name: part.get() for name, part in _parts(trainer).items()}


def load(trainer: Trainer, stored: Stored) -> None:
    """Put a stored state back. Where a part does not fit, everything is as it was before."""
    parts = _parts(trainer)
    if set(parts) != set(stored.parts):
        raise StateError(
            "fit",
            "the checkpoint does not hold what this trainer consists of; nothing was loaded",
            met=f"{', '.join(sorted(stored.parts))} in {stored.path}",
            fix=f"make the trainer as it was when stored; this one has {', '.join(sorted(parts))}",
        )
    before = {name: part.get() for name, part in parts.items()}
    done: list[str] = []
    try:
        for name, part in parts.items():
            done.append(name)
            part.put(stored.parts[name])
    except Exception as problem:
        for name in done:
            parts[name].put(before[name])
        if isinstance(problem, WengertError):
            raise
        raise StateError(
            "fit",
            f"the part {done[-1]!r} of the checkpoint does not fit; nothing was loaded",
            met=f"{type(problem).__name__}: {problem}, in {stored.path}",
            fix="make the trainer as it was when the checkpoint was written",
        ) from problem
    trainer.last_checkpoint = stored.path


# -- the parts ----------------------------------------------------------------------------------


def collect_generators(trainer: Trainer) -> dict[str, random.Generator]:
    """Generators that modules keep for themselves, under the modules' paths."""
    found = {"default": random.default_generator}
    for path, module in trainer.model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, random.Generator):
                found[f"{path}.{name}".lstrip(".")] = value
    return found


def _generators(trainer: Trainer) -> State:
    return {name: g.state_dict() for name, g in collect_generators(trainer).items()}


def _put_generators(trainer: Trainer, state: State) -> None:
    own = collect_generators(trainer)
    _same_names("generators", own, state)
    for name, generator in own.items():
        generator.load_state_dict(state[name])


def _loaders(trainer: Trainer) -> State:
    loaders = {"train": trainer.train_loader, "val": trainer.val_loader}
    return {name: x.state_dict() for name, x in loaders.items() if isinstance(x, DataLoader)}


def _put_loaders(trainer: Trainer, state: State) -> None:
    loaders = {"train": trainer.train_loader, "val": trainer.val_loader}
    own = {name: x for name, x in loaders.items() if x is not None}
    _same_names("loaders", own, state)
    for name, loader in own.items():
        loader.load_state_dict(state[name])


def _progress(trainer: Trainer) -> State:
    return {
        "epoch": trainer.epoch,
        "step": trainer.step,
        "first_epoch": trainer.first_epoch,
        "mid_epoch": trainer.mid_epoch,
        "elapsed": trainer.elapsed,
        "accumulate": trainer.accumulate,
        "running": trainer.running.state_dict(),
    }


def _put_progress(trainer: Trainer, state: State) -> None:
    if state["accumulate"] != trainer.accumulate:
        raise StateError(
            "fit",
            "the stored run accumulated another number of batches",
            met=f"{state['accumulate']}, this trainer {trainer.accumulate}",
            fix=f"pass accumulate={state['accumulate']}",
        )
    _same_names("metrics", trainer.running.metrics, state["running"]["metrics"])
    trainer.running.load_state_dict(state["running"])
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.first_epoch, trainer.mid_epoch = state["first_epoch"], state["mid_epoch"]
    trainer.elapsed = state["elapsed"]


def _stateful(trainer: Trainer) -> dict[str, Callback]:
    own = trainer.callbacks.named()
    return {name: c for name, c in own.items() if type(c).state_dict is not Callback.state_dict}


def _callbacks(trainer: Trainer) -> State:
    return {name: callback.state_dict() for name, callback in _stateful(trainer).items()}


def _put_callbacks(trainer: Trainer, state: State) -> None:
    own = _stateful(trainer)
    _same_names("callbacks with state", own, state)
    for name, callback in own.items():
        callback.load_state_dict(state[name])


def _same_names(what: str, own: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    if set(own) != set(state):
        raise StateError(
            "fit",
            f"the checkpoint has other {what} than this run; nothing was loaded",
            met=f"{', '.join(sorted(state)) or 'none'} for {', '.join(sorted(own)) or 'none'}",
            fix="make trainer and loaders as they were when the checkpoint was written",
        )
