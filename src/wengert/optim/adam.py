"""Adam and AdamW: steps divided by the root of a running mean of squared gradients."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import adaptive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Adam(Optimizer):
    """Adaptive moments.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ);
    θ ← θ − lr·m̂/(√v̂ + ε).  With `amsgrad`, v̂ uses the largest v so far.

    `weight_decay` adds λθ to the gradient; with `decoupled_weight_decay` it takes lr·λθ from the
    parameter, as `AdamW` does.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.Adam([w], lr=0.1)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.9

    Source: Kingma and Ba 2015; Reddi, Kale and Kumar 2018 (AMSGrad).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        adaptive(cls.__name__, o)

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        if o["amsgrad"]:
            return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return ("exp_avg", "exp_avg_sq")

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        (b1, b2), t = o["betas"], s["step"]
        m = b1 * s["exp_avg"] + (1.0 - b1) * g
        v = b2 * s["exp_avg_sq"] + (1.0 - b2) * (g * g)
        new = {"exp_avg": m, "exp_avg_sq": v}
        if o["amsgrad"]:
            v = new["max_exp_avg_sq"] = xp.maximum(s["max_exp_avg_sq"], v)
        rate = o["lr"] / (1.0 - b1**t)
        root = xp.sqrt(v) / (1.0 - b2**t) ** 0.5
        return rate * (m / (root + o["eps"])), new


class AdamW(Adam):
    """Adam with decoupled weight decay: θ ← θ − lr·(m̂/(√v̂ + ε) + λθ).

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.85

    Source: Loshchilov and Hutter 2019.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )
