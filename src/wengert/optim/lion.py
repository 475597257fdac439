"""Lion: the sign of a momentum."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import betas as check_betas
from wengert.optim.checks import nonnegative, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Lion(Optimizer):
    """Steps of one size for every entry, in the direction of the sign of a momentum.

    θ ← θ − lr·(sign(β₁m + (1 − β₁)g) + λθ);  m ← β₂m + (1 − β₂)g.

    The published advice: a learning rate 3 to 10 times smaller than AdamW's, and a weight decay
    larger by as much.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.Lion([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.9

    Source: Chen et al. 2023, "Symbolic discovery of optimization algorithms".
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "decoupled_weight_decay": True,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"])
        check_betas(name, o["betas"])
        nonnegative(name, weight_decay=o["weight_decay"])

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("exp_avg",)

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        (b1, b2), m = o["betas"], s["exp_avg"]
        direction = xp.sign(b1 * m + (1.0 - b1) * g)
        return o["lr"] * direction, {"exp_avg": b2 * m + (1.0 - b2) * g}
