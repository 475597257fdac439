"""Adadelta: steps in the units of the parameter."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import fraction, nonnegative, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Adadelta(Optimizer):
    """Gradients times the ratio of the recent sizes of steps and of gradients.

    v ← ρv + (1 − ρ)g²;  Δ = √(u + ε)/√(v + ε)·g;  u ← ρu + (1 − ρ)Δ²;  θ ← θ − lr·Δ.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.Adadelta([w])
    >>> (w * w).backward(); opt.step(); float(w) < 1.0
    True

    Source: Zeiler 2012.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize},
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"], eps=o["eps"])
        fraction(name, rho=o["rho"])
        nonnegative(name, weight_decay=o["weight_decay"])

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        rho, eps = o["rho"], o["eps"]
        v = rho * s["square_avg"] + (1.0 - rho) * (g * g)
        step = xp.sqrt(s["acc_delta"] + eps) / xp.sqrt(v + eps) * g
        u = rho * s["acc_delta"] + (1.0 - rho) * (step * step)
        return o["lr"] * step, {"square_avg": v, "acc_delta": u}
