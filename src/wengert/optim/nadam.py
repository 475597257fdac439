"""NAdam: Adam with Nesterov momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.spec import Shaped, Spec
from wengert.optim.checks import adaptive, nonnegative
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class NAdam(Optimizer):
    """Adam that looks ahead, with a momentum μₜ that grows over time.

    μₜ = β₁(1 − ½·0.96^(tψ));  m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;
    m̂ = μₜ₊₁m/(1 − ∏ᵢ≤ₜ₊₁ μᵢ) + (1 − μₜ)g/(1 − ∏ᵢ≤ₜ μᵢ);  θ ← θ − lr·m̂/(√(v/(1 − β₂ᵗ)) + ε).

    ψ is `momentum_decay`. `weight_decay` adds λθ to the gradient, or with
    `decoupled_weight_decay` takes lr·λθ from the parameter.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.NAdam([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); float(w) < 1.0
    True

    Source: Dozat 2016.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
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
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        adaptive(cls.__name__, o)
        nonnegative(cls.__name__, momentum_decay=o["momentum_decay"])

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "mu_product")

    @staticmethod
    def initial(slot: str, p: Spec, o: Options) -> np.ndarray[Any, Any]:
        return np.ones((), p.dtype) if slot == "mu_product" else np.zeros(p.shape, p.dtype)

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        (b1, b2), t = o["betas"], s["step"]
        mu = b1 * (1.0 - 0.5 * 0.96 ** (t * o["momentum_decay"]))
        mu_next = b1 * (1.0 - 0.5 * 0.96 ** ((t + 1) * o["momentum_decay"]))
        product = s["mu_product"] * mu
        m = b1 * s["exp_avg"] + (1.0 - b1) * g
        v = b2 * s["exp_avg_sq"] + (1.0 - b2) * (g * g)
        ahead = mu_next / (1.0 - product * mu_next) * m + (1.0 - mu) / (1.0 - product) * g
        root = xp.sqrt(v / (1.0 - b2**t))
        new = {"exp_avg": m, "exp_avg_sq": v, "mu_product": product}
        return o["lr"] * ahead / (root + o["eps"]), new
