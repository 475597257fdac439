"""Adagrad: steps divided by the root of the sum of all squared gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.spec import Shaped, Spec
from wengert.optim.checks import nonnegative, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Adagrad(Optimizer):
    """Learning rates that fall for what has moved much.

    a ← a + g²;  θ ← θ − lr/(1 + (t − 1)·lr_decay)·g/(√a + ε).

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.Adagrad([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.9

    Source: Duchi, Hazan and Singer 2011.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"])
        nonnegative(name, lr_decay=o["lr_decay"], weight_decay=o["weight_decay"])
        nonnegative(name, initial_accumulator_value=o["initial_accumulator_value"], eps=o["eps"])

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("sum",)

    @staticmethod
    def initial(slot: str, p: Spec, o: Options) -> np.ndarray[Any, Any]:
        return np.full(p.shape, o["initial_accumulator_value"], p.dtype)

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        total = s["sum"] + g * g
        rate = o["lr"] / (1.0 + (s["step"] - 1) * o["lr_decay"])
        return rate * (g / (xp.sqrt(total) + o["eps"])), {"sum": total}
