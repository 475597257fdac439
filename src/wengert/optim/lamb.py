"""LAMB: Adam with a step whose size is set layer by layer."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import adaptive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class LAMB(Optimizer):
    """Adam's direction, scaled for each parameter to the parameter's own norm: for large batches.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  r = m̂/(√v̂ + ε) + λθ;
    θ ← θ − lr·φ·r, where φ = ‖θ‖/‖r‖ (1 where either norm is 0).

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray([3.0, 4.0])); opt = wg.optim.LAMB([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step()
    >>> [round(v, 4) for v in w.tolist()]
    [2.6464, 3.6464]

    Source: You et al. 2020, "Large batch optimization for deep learning".
    """

    elementwise = False
    decays_itself = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
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
        return ("exp_avg", "exp_avg_sq")

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        (b1, b2), t = o["betas"], s["step"]
        m = b1 * s["exp_avg"] + (1.0 - b1) * g
        v = b2 * s["exp_avg_sq"] + (1.0 - b2) * (g * g)
        r = (m / (1.0 - b1**t)) / (xp.sqrt(v / (1.0 - b2**t)) + o["eps"])
        r = r + o["weight_decay"] * p
        norm_p, norm_r = xp.sqrt(xp.sum(p * p)), xp.sqrt(xp.sum(r * r))
        known = (norm_p > 0) & (norm_r > 0)
        trust = xp.where(known, norm_p / xp.where(known, norm_r, 1.0), 1.0)
        return o["lr"] * trust * r, {"exp_avg": m, "exp_avg_sq": v}
