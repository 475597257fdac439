"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import adaptive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Adamax(Optimizer):
    """Adam with the largest recent gradient in place of the root mean square.

    m ← β₁m + (1 − β₁)g;  u ← max(β₂u, |g| + ε);  θ ← θ − lr/(1 − β₁ᵗ)·m/u.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.Adamax([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.9

    Source: Kingma and Ba 2015, section 7.1.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        adaptive(cls.__name__, o)

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        b1, b2 = o["betas"]
        m = b1 * s["exp_avg"] + (1.0 - b1) * g
        u = xp.maximum(b2 * s["exp_inf"], xp.abs(g) + o["eps"])
        rate = o["lr"] / (1.0 - b1 ** s["step"])
        return rate * (m / u), {"exp_avg": m, "exp_inf": u}
