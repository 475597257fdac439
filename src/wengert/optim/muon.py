"""Muon: the momentum of a matrix, orthogonalised."""

from __future__ import annotations

from typing import Any

from wengert.core.errors import ArgumentError
from wengert.core.spec import Shaped, Spec
from wengert.core.tensor import Tensor
from wengert.optim.checks import nonnegative, one_of, positive, positive_integer
from wengert.optim.optimizer import Array, Optimizer, Options, Slots


class Muon(Optimizer):
    """Momentum whose singular values are all brought near 1. For matrices: 2-D parameters only.

    b ← μb + (1 − μ)g;  b̃ = (1 − μ)g + μb with `nesterov`, else b;  O = NewtonSchulz(b̃);
    θ ← θ − lr·λθ − lr·a·O, with a = √max(1, m/n) ("original") or 0.2·√max(m, n)
    ("match_rms_adamw": step sizes as AdamW's, so that its learning rates can be reused).

    Vectors, embeddings and the last layer are left to another optimizer:

    >>> import wengert as wg
    >>> model = wg.nn.Linear(4, 3)
    >>> matrices = [p for p in model.parameters() if p.ndim == 2]
    >>> others = [p for p in model.parameters() if p.ndim != 2]
    >>> optimizers = [wg.optim.Muon(matrices, lr=0.02), wg.optim.AdamW(others)]

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers"; Liu et al. 2025 (step size).
    """

    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
                "maximize": maximize,
                "decoupled_weight_decay": True,
            },
        )

    @classmethod
    def check(cls, o: Options) -> None:
        name = cls.__name__
        positive(name, lr=o["lr"], eps=o["eps"])
        nonnegative(name, weight_decay=o["weight_decay"], momentum=o["momentum"])
        positive_integer(name, ns_steps=o["ns_steps"])
        one_of(name, "adjust_lr_fn", o["adjust_lr_fn"], None, "original", "match_rms_adamw")
        if not isinstance(o["ns_coefficients"], (tuple, list)) or len(o["ns_coefficients"]) != 3:
            raise ArgumentError(
                name,
                "ns_coefficients are three numbers",
                met=repr(o["ns_coefficients"]),
                fix="pass (3.4445, -4.775, 2.0315)",
            )

    @staticmethod
    def check_parameter(p: Spec | Tensor) -> None:
        if p.ndim != 2:
            raise ArgumentError(
                "Muon",
                "only matrices can be optimized",
                met=f"a parameter of shape {p.shape}",
                cause="biases, norms or convolution kernels among the parameters",
                fix="give parameters with p.ndim != 2 to wg.optim.AdamW, in a second optimizer",
            )

    @staticmethod
    def slots(o: Options, p: Shaped) -> tuple[str, ...]:
        return ("momentum_buffer",)

    @staticmethod
    def update(xp: Any, p: Array, g: Array, s: Slots, o: Options) -> tuple[Array, Slots]:
        mu = o["momentum"]
        buffer = mu * s["momentum_buffer"] + (1.0 - mu) * g
        look = mu * buffer + (1.0 - mu) * g if o["nesterov"] else buffer
        factor = newton_schulz(xp, look, o["ns_coefficients"], o["ns_steps"], o["eps"])
        rows, columns = p.shape
        if o["adjust_lr_fn"] == "match_rms_adamw":
            adjusted = 0.2 * max(rows, columns) ** 0.5
        else:
            adjusted = max(1.0, rows / columns) ** 0.5
        return (o["lr"] * adjusted) * factor, {"momentum_buffer": buffer}


def newton_schulz(
    xp: Any, x: Array, coefficients: tuple[Array, Array, Array], steps: int, eps: Array
) -> Array:
    """A matrix near the orthogonal factor U·Vᵀ of x = U·S·Vᵀ, by a quintic iteration.

    X ← aX + (bA + cA²)X with A = XXᵀ. The usual coefficients trade convergence for speed: after
    five steps the singular values lie between about 0.7 and 1.2.
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / xp.maximum(xp.sqrt(xp.sum(x * x)), eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x
