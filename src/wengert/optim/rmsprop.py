"""RMSprop: steps divided by the root of a running mean of squared gradients."""

from __future__ import annotations

from typing import Any

from wengert.core.spec import Shaped
from wengert.optim.checks import fraction, nonnegative, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class RMSprop(Optimizer):
    """Gradients in units of their recent size.

    v ← αv + (1 − α)g²;  θ ← θ − lr·g/(√v + ε).
    `centered`: a ← αa + (1 − α)g, and v − a² in place of v.
    `momentum` μ: b ← μb + g/(√v + ε);  θ ← θ − lr·b.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.RMSprop([w], lr=0.01)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.9

    Source: Tieleman and Hinton 2012; Graves 2013 (centered).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"])
        fraction(name, alpha=o["alpha"])
        nonnegative(name, eps=o["eps"], weight_decay=o["weight_decay"])
        nonnegative(name, momentum=o["momentum"])

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        centered = ("grad_avg",) if o["centered"] else ()
        return ("square_avg", *centered, *(("momentum_buffer",) if o["momentum"] else ()))

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        alpha = o["alpha"]
        v = alpha * s["square_avg"] + (1.0 - alpha) * (g * g)
        new = {"square_avg": v}
        if o["centered"]:
            mean = new["grad_avg"] = alpha * s["grad_avg"] + (1.0 - alpha) * g
            v = xp.maximum(v - mean * mean, 0.0)  # rounding can bring it below zero
        step = g / (xp.sqrt(v) + o["eps"])
        if "momentum_buffer" in s:
            step = new["momentum_buffer"] = o["momentum"] * s["momentum_buffer"] + step
        return o["lr"] * step, new
