"""Adafactor: second moments of a matrix kept as a row and a column."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError
from wengert.core.spec import Shaped, Spec
from wengert.optim.checks import nonnegative, number, positive
from wengert.optim.optimizer import Array, Optimizer, Options, Slots
from wengert.optim.scalars import smaller


class Adafactor(Optimizer):
    """Adaptive steps with memory for m + n numbers a matrix of m × n.

    With β₂ₜ = 1 − t^beta2_decay, the running means of the rows and columns of g² are R and C, and
    v = R·C/mean(R) (for vectors, the running mean of g² itself);  u = g/max(√v, ε₁);
    û = u/max(1, RMS(u)/d);  θ ← θ − max(ε₂, RMS(θ))·min(lr, 1/√t)·û.

    The step is relative to the size of the parameter. Arrays of more than two axes are stacks of
    matrices in their last two. `eps` is (ε₁, ε₂); ε₁ = None means the dtype's machine epsilon.
    `weight_decay` is decoupled.

    >>> import wengert as wg
    >>> w = wg.Parameter(wg.ones((3, 2))); opt = wg.optim.Adafactor([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); round(float(w[0, 0]), 6)
    0.9

    Source: Shazeer and Stern 2018.
    """

    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "decoupled_weight_decay": True,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"], d=o["d"], eps_2=o["eps"][1])
        nonnegative(name, weight_decay=o["weight_decay"])
        if o["eps"][0] is not None:
            positive(name, eps_1=o["eps"][0])
        if o["d"] < 1.0:
            raise ArgumentError(
                name,
                "the clipping threshold d must be ≥ 1",
                met=f"d={o['d']}",
                cause="below 1 it would shrink steps of the usual size",
                fix="pass 1.0",
            )
        if not number(name, "beta2_decay", o["beta2_decay"]) <= 0.0:
            raise ArgumentError(
                name,
                "beta2_decay must be ≤ 0",
                met=f"beta2_decay={o['beta2_decay']}",
                fix="pass -0.8",
            )

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("row_var", "col_var") if len(p.shape) > 1 else ("variance",)

    @staticmethod
    def initial(slot: str, p: Spec, o: Options) -> np.ndarray[Any, Any]:
        if slot == "variance":
            return np.zeros(p.shape, p.dtype)
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return np.zeros(rows if slot == "row_var" else columns, p.dtype)

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        t, (eps1, eps2), new = s["step"], o["eps"], {}
        eps1 = float(np.finfo(p.dtype).eps) if eps1 is None else eps1
        fresh = t ** o["beta2_decay"]
        square = g * g
        if g.ndim > 1:
            row = xp.mean(square, axis=-1, keepdims=True)
            column = xp.mean(square, axis=-2, keepdims=True)
            row = new["row_var"] = (1.0 - fresh) * s["row_var"] + fresh * row
            column = new["col_var"] = (1.0 - fresh) * s["col_var"] + fresh * column
            total = xp.maximum(xp.mean(row, axis=-2, keepdims=True), eps1)
            v = row * column / total
        else:
            v = new["variance"] = (1.0 - fresh) * s["variance"] + fresh * square
        u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
        u = u / xp.maximum(_rms(xp, u) / o["d"], 1.0)
        size = xp.maximum(_rms(xp, p), eps2) * smaller(o["lr"], t**-0.5)
        return size * u, new


def _rms(xp: Any, x: Array) -> Array:
    return xp.sqrt(xp.mean(x * x))
