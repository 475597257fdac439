"""Losses of ranking and of embeddings as modules; see `wengert.nn.losses`."""

from __future__ import annotations

from typing import Any

from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.nn import functional as F
from wengert.nn.losses import Loss

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "InfoNCELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class HingeEmbeddingLoss(Loss):
    """Distances of pairs that are alike (1) or not (−1); see `functional.hinge_embedding_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.HingeEmbeddingLoss()([0.25], [-1]))
    0.75
    """

    settings = ("margin",)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, self.reduction)


class MultiMarginLoss(Loss):
    """Hinge loss of class scores; see `functional.multi_margin_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.MultiMarginLoss()([[1.0, 0.5]], wg.asarray([0])))
    0.25
    """

    settings = ("p", "margin")
    weight: Variable | None

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.p, self.margin = p, margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)


class MultiLabelMarginLoss(Loss):
    """Hinge loss of lists of classes; see `functional.multilabel_margin_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.MultiLabelMarginLoss()([[1.0, 0.5]], wg.asarray([[0, -1]])))
    0.25
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Mean of yes-or-no cross-entropies; see `functional.multilabel_soft_margin_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.MultiLabelSoftMarginLoss()([[0.0, 0.0]], [[1, 0]]))
    0.6931471824645996
    """

    weight: Variable | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)


class SoftMarginLoss(Loss):
    """Logistic loss of labels 1 and −1; see `functional.soft_margin_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.SoftMarginLoss()([0.0], [-1]))
    0.6931471824645996
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        return F.soft_margin_loss(input, target, self.reduction)


class MarginRankingLoss(Loss):
    """Which of two scores should be the greater; see `functional.margin_ranking_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.MarginRankingLoss()([1.0], [3.0], [1]))
    2.0
    """

    settings = ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class CosineEmbeddingLoss(Loss):
    """Angles of pairs that are alike (1) or not (−1); see `functional.cosine_embedding_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.CosineEmbeddingLoss()([[1.0, 0.0]], [[0.0, 1.0]], [1]))
    1.0
    """

    settings = ("margin",)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(Loss):
    """An anchor nearer to its positive than to its negative; see
    `functional.triplet_margin_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.TripletMarginLoss()([[0.0]], [[1.0]], [[1.0]]))
    1.0
    """

    settings = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class TripletMarginWithDistanceLoss(Loss):
    """The same with any distance; see `functional.triplet_margin_with_distance_loss`.

    >>> import wengert as wg
    >>> float(wg.nn.TripletMarginWithDistanceLoss()([[0.0]], [[1.0]], [[1.0]]))
    1.0
    """

    settings = ("margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Any = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.distance_function = distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class InfoNCELoss(Loss):
    """Which key belongs to a query; see `functional.info_nce`.

    >>> import wengert as wg
    >>> q = wg.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(wg.nn.InfoNCELoss(temperature=1.0)(q, q)), 4)
    0.3133
    """

    settings = ("temperature", "symmetric")

    def __init__(
        self, temperature: float = 0.1, reduction: str = "mean", symmetric: bool = False
    ) -> None:
        super().__init__(reduction)
        self.temperature, self.symmetric = temperature, symmetric

    def forward(self, query: Any, positive_key: Any, negative_keys: Any = None) -> Tensor:
        return F.info_nce(
            query, positive_key, negative_keys, self.temperature, self.reduction, self.symmetric
        )
