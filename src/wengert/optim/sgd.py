"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.spec import Shaped
from wengert.optim.checks import nonnegative, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots
from wengert.optim.scalars import choose, left_out


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    b ← μ b + (1 − dampening) g (b = g at the first step);  θ ← θ − lr·b.
    With `nesterov`, θ ← θ − lr·(g + μ b). `weight_decay` adds λθ to the gradient.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.asarray(1.0)); opt = wg.optim.SGD([w], lr=0.1, momentum=0.9)
    >>> (w * w).backward(); opt.step(); round(float(w), 6)
    0.8

    Source: Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013 (Nesterov's form).
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"])
        nonnegative(name, momentum=o["momentum"], weight_decay=o["weight_decay"])
        nonnegative(name, **{"1 - dampening": 1.0 - o["dampening"]})
        if o["nesterov"] and (o["momentum"] <= 0.0 or o["dampening"] != 0.0):
            raise ArgumentError(
                name,
                "Nesterov momentum needs a momentum and no dampening",
                met=f"momentum={o['momentum']}, dampening={o['dampening']}",
                fix="pass momentum=0.9, dampening=0.0",
            )

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("momentum_buffer",) if o["momentum"] else ()

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        if "momentum_buffer" not in s:
            return o["lr"] * g, s
        fresh = g
        if not left_out(o["dampening"]):
            fresh = choose(s["step"] == 1, 1.0, 1.0 - o["dampening"]) * g
        buffer = o["momentum"] * s["momentum_buffer"] + fresh
        step = g + o["momentum"] * buffer if o["nesterov"] else buffer
        return o["lr"] * step, {"momentum_buffer": buffer}
