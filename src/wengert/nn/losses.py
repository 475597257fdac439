"""Losses as modules: the functions of `wengert.nn.functional` with their settings kept.

Called with a prediction and a target. `reduction` is "mean" (the default), "sum" or "none". Class
weights are buffers: they are saved with the model, and are not trained.
"""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.nn import functional as F
from wengert.nn.functional.reduction import REDUCTIONS, check_reduction
from wengert.nn.module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SigmoidFocalLoss",
    "SmoothL1Loss",
]


class Loss(Module):
    """A loss with a reduction; `settings` names what `repr` shows besides."""

    settings: tuple[str, ...] = ()
    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str) -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction, self.reductions)
        self.reduction = reduction

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in self.settings]
        if self.reduction != "mean":
            shown.append(f"reduction={self.reduction!r}")
        return ", ".join(shown)


# -- regression ----------------------------------------------------------------------------------


class MSELoss(Loss):
    """Squared error; see `functional.mse_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.MSELoss()([1.0, 2.0], [1.0, 4.0]))
    2.0
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """Absolute error; see `functional.l1_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.L1Loss()([1.0, 2.0], [1.0, 4.0]))
    1.0
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(Loss):
    """Squared near 0, linear beyond delta; see `functional.huber_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.HuberLoss()([3.0], [0.0]))
    2.5
    """

    settings = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """Absolute error, rounded off within beta; see `functional.smooth_l1_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.SmoothL1Loss()([3.0], [0.0]))
    2.5
    """

    settings = ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class PoissonNLLLoss(Loss):
    """Likelihood of counts; see `functional.poisson_nll_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.PoissonNLLLoss()([0.0], [3.0]))
    1.0
    """

    settings = ("log_input", "full", "eps")

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Any, target: Any) -> Tensor:
        return F.poisson_nll_loss(
            log_input, target, self.log_input, self.full, self.eps, self.reduction
        )


class GaussianNLLLoss(Loss):
    """Likelihood under a predicted mean and variance; see `functional.gaussian_nll_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.GaussianNLLLoss()([0.0], [2.0], [1.0]))
    2.0
    """

    settings = ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


# -- classification ------------------------------------------------------------------------------


class CrossEntropyLoss(Loss):
    """Cross-entropy of scores and labels; see `functional.cross_entropy`.

    >>> import wengert as wg
    >>> float(wg.nn.CrossEntropyLoss()(wg.zeros((1, 4)), wg.asarray([2])))
    1.3862943649291992
    """

    settings = ("ignore_index", "label_smoothing")
    weight: Variable | None

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(Loss):
    """Negative log likelihood of labels; see `functional.nll_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.NLLLoss()(wg.asarray([[-1.0, -2.0]]), wg.asarray([1])))
    2.0
    """

    settings = ("ignore_index",)
    weight: Variable | None

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class FocalLoss(Loss):
    """Cross-entropy that looks away from what is already right; see `functional.focal_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.FocalLoss(gamma=0.0)(wg.zeros((1, 4)), wg.asarray([2])))
    1.3862943649291992
    """

    settings = ("alpha", "gamma", "ignore_index")

    def __init__(
        self,
        alpha: Any = None,
        gamma: float = 2.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        if alpha is None or isinstance(alpha, (int, float)):
            self.alpha = alpha
        else:
            self.register_buffer("alpha", alpha)
        self.gamma, self.ignore_index = gamma, ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.focal_loss(
            input, target, self.alpha, self.gamma, self.ignore_index, self.reduction
        )


class SigmoidFocalLoss(Loss):
    """Focal loss of yes-or-no labels; see `functional.sigmoid_focal_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.SigmoidFocalLoss(alpha=None, gamma=0.0)([0.0], [1.0]))
    0.6931471824645996
    """

    settings = ("alpha", "gamma")

    def __init__(
        self, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.alpha, self.gamma = alpha, gamma

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.sigmoid_focal_loss(input, target, self.alpha, self.gamma, self.reduction)


class BCELoss(Loss):
    """Cross-entropy of probabilities and yes-or-no labels; see `functional.binary_cross_entropy`.

    >>> import wengert as wg
    >>> float(wg.nn.BCELoss()([0.5], [1.0]))
    0.6931471824645996
    """

    weight: Variable | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of scores and yes-or-no labels; see
    `functional.binary_cross_entropy_with_logits`.

    >>> import wengert as wg
    >>> float(wg.nn.BCEWithLogitsLoss()([0.0], [1.0]))
    0.6931471824645996
    """

    weight: Variable | None
    pos_weight: Variable | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class KLDivLoss(Loss):
    """Kullback-Leibler divergence; see `functional.kl_div`.

    >>> import wengert as wg
    >>> log_p = wg.log(wg.asarray([[0.5, 0.5]]))
    >>> float(wg.nn.KLDivLoss(reduction="batchmean")(log_p, [[1.0, 0.0]]))
    0.6931471824645996
    """

    settings = ("log_target",)
    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.kl_div(input, target, self.reduction, self.log_target)
