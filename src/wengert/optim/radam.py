"""RAdam: Adam with its variance rectified during the first steps."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import adaptive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots
from wengert.optim.scalars import choose, larger


class RAdam(Optimizer):
    """Adam that leaves its division out until the variance of it is tractable.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  ρ∞ = 2/(1 − β₂) − 1;  ρₜ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ);
    if ρₜ > 5: θ ← θ − lr·m̂·r·√(1 − β₂ᵗ)/(√v + ε), r = √((ρₜ−4)(ρₜ−2)ρ∞/((ρ∞−4)(ρ∞−2)ρₜ));
    else θ ← θ − lr·m̂.

    `weight_decay` adds λθ to the gradient, or with `decoupled_weight_decay` takes lr·λθ from the
    parameter.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.RAdam([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.8

    Source: Liu et al. 2020.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
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
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        adaptive(cls.__name__, o)

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        (b1, b2), t = o["betas"], s["step"]
        m = b1 * s["exp_avg"] + (1.0 - b1) * g
        v = b2 * s["exp_avg_sq"] + (1.0 - b2) * (g * g)
        rest = 1.0 - b2**t
        longest = 2.0 / (1.0 - b2) - 1.0
        length = longest - 2.0 * t * b2**t / rest
        tractable = length > 5.0
        known = larger(length, 5.0)  # no root of a negative number on the other branch
        squared = (known - 4.0) * (known - 2.0) * longest
        squared = squared / ((longest - 4.0) * (longest - 2.0) * known)
        adapted = (squared * rest) ** 0.5 / (xp.sqrt(v) + o["eps"])
        rate = o["lr"] / (1.0 - b1**t)
        return rate * (m * choose(tractable, adapted, 1.0)), {"exp_avg": m, "exp_avg_sq": v}
