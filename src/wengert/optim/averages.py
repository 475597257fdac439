"""Averages of a model's parameters over the course of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from wengert.core import dtypes, methods
from wengert.core.errors import ArgumentError, DtypeError, StateError
from wengert.core.op import cast_to
from wengert.core.spec import Spec
from wengert.core.state import recording, state
from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.optim.checks import fraction
from wengert.optim.optimizer import working_dtype, write_parameter


class EMA:
    """An exponential moving average of parameters: a ← d·a + (1 − d)·θ at each `update()`.

    Parameters
    ----------
    params : a module (its floating parameters), or an iterable of tensors
    decay : d
    warmup : use min(d, (1 + t)/(10 + t)) at update t, so that the start is forgotten sooner
    bias_correction : start from 0 and divide by 1 − ∏d, as Adam does, in place of starting from the
        parameters' first values
    buffers : for a module, average its floating buffers (batch statistics) as well

    The average is used inside `average_parameters()`:

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(0.0)); ema = wg.optim.EMA([w], decay=0.75)
    >>> w.assign(4.0); ema.update()
    >>> with ema.average_parameters():
    ...     float(w)
    1.0
    >>> float(w)
    4.0

    Source: Polyak and Juditsky 1992; the warm-up is TensorFlow's.
    """

    def __init__(
        self,
        params: Any,
        decay: float = 0.999,
        *,
        warmup: bool = False,
        bias_correction: bool = False,
        buffers: bool = False,
    ) -> None:
        self.name = type(self).__name__
        fraction(self.name, decay=decay)
        self.decay, self.warmup, self.bias_correction = float(decay), warmup, bias_correction
        self.params = _averaged(self.name, params, buffers)
        self.updates = Variable(np.array(0))
        self.forgotten = Variable(np.array(1.0))  # ∏d: the weight that the start still has
        self.averages = [Variable(self._first(p)) for p in self.params]
        self._stored: list[Tensor] | None = None

    def _first(self, p: Tensor) -> np.ndarray[Any, Any]:
        values = p._values(self.name)
        work = working_dtype(p.dtype)
        return np.zeros(p.shape, work) if self.bias_correction else values.astype(work)

    def decay_at(self, t: Any) -> Any:
        """The decay of update number `t`, counted from 1."""
        if not self.warmup:
            return self.decay
        started = (1.0 + t) / (10.0 + t)
        if isinstance(t, Tensor):
            return methods._F.minimum(started, self.decay)
        return min(self.decay, started)

    def update(self) -> None:
        """Take the present parameters into the average."""
        traced = state.trace is not None
        with recording(False):
            counted = methods._F.add(_value(self.updates), 1)
            t = cast_to(counted, dtypes.float64) if traced else int(counted)
            d = self.decay_at(t)
            for p, average in zip(self.params, self.averages, strict=True):
                if traced:
                    weight = cast_to(d, average.dtype) if isinstance(d, Tensor) else d
                    now = cast_to(_value(p), average.dtype)
                    average.assign(weight * _value(average) + (1.0 - weight) * now)
                else:
                    now, old = p._data, average._data
                    average.assign(Tensor(np.asarray(d * old + (1.0 - d) * now.astype(old.dtype))))
            self.updates.assign(counted)
            self.forgotten.assign(d * _value(self.forgotten))

    def values(self) -> list[Tensor]:
        """The averages, in the order and dtypes of the parameters."""
        with recording(False):
            found = [_value(average) for average in self.averages]
            if self.bias_correction:
                if not int(self.updates):
                    return [Tensor(p._values(self.name)) for p in self.params]
                found = [a / (1.0 - float(self.forgotten)) for a in found]
            return [cast_to(a, p.dtype) for a, p in zip(found, self.params, strict=True)]

    def copy_to(self) -> None:
        """Give the parameters the averaged values for good."""
        for p, value in zip(self.params, self.values(), strict=True):
            write_parameter(p, value)

    def store(self) -> None:
        """Remember the parameters' values, for `restore`."""
        self._stored = [Tensor(p._values(self.name)) for p in self.params]

    def restore(self) -> None:
        """Give the parameters the values of the last `store`."""
        if self._stored is None:
            raise StateError(
                self.name, "there are no stored parameters", fix="call store() before restore()"
            )
        for p, value in zip(self.params, self._stored, strict=True):
            write_parameter(p, value)
        self._stored = None

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """The model with averaged parameters, inside a `with` block; afterwards as before."""
        before = [Tensor(p._values(self.name)) for p in self.params]
        self.copy_to()
        try:
            yield
        finally:
            for p, value in zip(self.params, before, strict=True):
                write_parameter(p, value)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot of the averages and the number of updates."""
        return {
            "updates": _value(self.updates),
            "forgotten": _value(self.forgotten),
            "averages": {str(i): _value(a) for i, a in enumerate(self.averages)},
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state dict; all is checked before anything is changed."""
        try:
            updates, forgotten = int(state_dict["updates"]), float(state_dict["forgotten"])
            given = state_dict["averages"]
            arrays = [np.asarray(given[str(i)]) for i in range(len(self.averages))]
            fits = len(given) == len(arrays)
        except (KeyError, TypeError, ValueError) as problem:
            raise StateError(
                self.name,
                "this is no state dict of such an average",
                met=f"{type(problem).__name__}: {problem}",
                fix="pass what state_dict() returned",
            ) from None
        for i, (array, average) in enumerate(zip(arrays, self.averages, strict=True)):
            if not fits or array.shape != average.shape:
                raise StateError(
                    self.name,
                    f"average {i} does not fit its parameter",
                    met=f"{array.shape} for {average.shape}, {len(given)} for {len(arrays)}",
                    fix="load the state dict that was saved with this model",
                )
        self.updates.assign(updates)
        self.forgotten.assign(forgotten)
        for array, average in zip(arrays, self.averages, strict=True):
            average.assign(Tensor(array.astype(average.dtype)))


class SWA(EMA):
    """The plain mean of the parameters at all updates: stochastic weight averaging.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(0.0)); swa = wg.optim.SWA([w])
    >>> w.assign(2.0); swa.update(); w.assign(4.0); swa.update(); swa.values()[0].item()
    3.0

    Source: Izmailov et al. 2018.
    """

    def __init__(self, params: Any, *, buffers: bool = False) -> None:
        super().__init__(params, 0.0, buffers=buffers)

    def decay_at(self, t: Any) -> Any:
        """(t − 1)/t: all updates weigh the same."""
        return (t - 1.0) / t


def _value(x: Tensor) -> Tensor:
    """What a box holds now."""
    return Tensor(x._data, x._node if x.is_symbolic else None)


def _averaged(name: str, params: Any, buffers: bool) -> list[Tensor]:
    """The tensors to average: floating, and at least one."""
    if hasattr(params, "parameters"):
        found = list(params.parameters())
        found += list(params.buffers()) if buffers else []
        found = [p for p in found if dtypes.is_float(p.dtype)]
    elif isinstance(params, Iterable) and not isinstance(params, Tensor):
        found = list(params)
    else:
        found = [None]
    for p in found:
        if not isinstance(p, Tensor) or not dtypes.is_float(p.dtype):
            raise DtypeError(
                name,
                "takes a module, or an iterable of floating tensors",
                met=repr(Spec.of(p)) if isinstance(p, Tensor) else type(params).__name__,
                fix="pass the model, or model.parameters()",
            )
    if not found:
        raise ArgumentError(name, "there are no parameters", fix="pass a model that has some")
    return found
