"""Losses: closed forms, derivatives, reductions, extreme inputs, and errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import special

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert import nn

F = nn.functional
RNG = np.random.default_rng(7)
N, C = 5, 4
X, T = RNG.normal(size=(N, C)) * 2, RNG.normal(size=(N, C))
SIGNS = RNG.choice([-1.0, 1.0], (N, C))
BITS = RNG.integers(0, 2, (N, C)).astype(float)
CLASSES = np.array([0, 3, 1, 1, 2])
LOG_P = special.log_softmax(X, axis=1)
P = special.softmax(T, axis=1)
W = np.array([0.5, 1.0, 2.0, 1.5])
REDUCTIONS = {"none": lambda x: x, "mean": np.mean, "sum": np.sum}


def tensor(x: Any) -> Any:
    return x if x is None else wg.asarray(np.asarray(x))


# -- losses of an input and a target of its shape, element by element ------------------------------

ELEMENTWISE: dict[str, list[tuple[dict[str, Any], Any, Any, Any]]] = {
    "mse_loss": [({}, X, T, lambda x, t: (x - t) ** 2)],
    "l1_loss": [({}, X, T, lambda x, t: np.abs(x - t))],
    "huber_loss": [
        ({"delta": d}, X, T, lambda x, t, d=d: special.huber(d, x - t)) for d in (0.7, 1.0)
    ],
    "smooth_l1_loss": [
        ({"beta": 0.7}, X, T, lambda x, t: special.huber(0.7, x - t) / 0.7),
        ({"beta": 0.0}, X, T, lambda x, t: np.abs(x - t)),
    ],
    "poisson_nll_loss": [
        ({}, X, np.abs(T), lambda x, t: np.exp(x) - t * x),
        (
            {"log_input": False, "eps": 1e-3},
            np.abs(X) + 0.5,
            np.abs(T),
            lambda x, t: x - t * np.log(x + 1e-3),
        ),
    ],
    "binary_cross_entropy_with_logits": [
        ({}, X, BITS, lambda x, t: -t * special.log_expit(x) - (1 - t) * special.log_expit(-x)),
        ({}, X, P, lambda x, t: -t * special.log_expit(x) - (1 - t) * special.log_expit(-x)),
    ],
    "binary_cross_entropy": [
        ({}, P, BITS, lambda x, t: -t * np.log(x) - (1 - t) * np.log1p(-x)),
        ({}, P, P[::-1], lambda x, t: -t * np.log(x) - (1 - t) * np.log1p(-x)),
    ],
    "kl_div": [
        ({}, LOG_P, P, lambda x, t: t * (np.log(t) - x)),
        ({"log_target": True}, LOG_P, np.log(P), lambda x, t: np.exp(t) * (t - x)),
    ],
    "hinge_embedding_loss": [
        ({"margin": 1.5}, X, SIGNS, lambda x, t: np.where(t == 1, x, np.maximum(1.5 - x, 0)))
    ],
    "soft_margin_loss": [({}, X, SIGNS, lambda x, t: np.log1p(np.exp(-t * x)))],
    "sigmoid_focal_loss": [
        (
            {"alpha": None, "gamma": g},
            X,
            BITS,
            lambda x, t, g=g: (
                -((1 - special.expit((2 * t - 1) * x)) ** g) * special.log_expit((2 * t - 1) * x)
            ),
        )
        for g in (0.0, 0.5, 2.0)
    ],
}
ELEMENT_CASES = [(name, *case) for name, cases in ELEMENTWISE.items() for case in cases]


@pytest.mark.parametrize(("name", "settings", "x", "t", "closed"), ELEMENT_CASES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_elementwise(
    name: str, settings: dict[str, Any], x: Any, t: Any, closed: Any, reduction: str
) -> None:
    f = getattr(F, name)
    found = f(tensor(x), tensor(t), **settings, reduction=reduction)
    np.testing.assert_allclose(found.numpy(), REDUCTIONS[reduction](closed(x, t)), rtol=1e-9)
    assert_derivatives(lambda x: f(x, tensor(t), **settings, reduction=reduction), x)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_mean(name: str) -> None:
    w = RNG.uniform(size=(N, C))
    loss = getattr(F, name)(tensor(X), tensor(T), reduction="none").numpy()
    found = getattr(F, name)(tensor(X), tensor(T), weight=tensor(w))
    assert float(found) == pytest.approx((loss * w).sum() / w.sum())
    total = getattr(F, name)(tensor(X), tensor(T), reduction="sum", weight=tensor(w))
    assert float(total) == pytest.approx((loss * w).sum())


def test_the_target_of_a_regression_has_a_gradient_too() -> None:
    assert_derivatives(F.mse_loss, X, T)
    assert_derivatives(F.smooth_l1_loss, X, T)
    assert_derivatives(lambda x, t: F.kl_div(x, t, "batchmean"), LOG_P, P)


def test_integer_and_boolean_targets() -> None:
    x = tensor(X.astype(np.float32))
    by_float = F.binary_cross_entropy_with_logits(x, tensor(BITS.astype(np.float32)))
    for dtype in (np.int64, bool):
        found = F.binary_cross_entropy_with_logits(x, tensor(BITS.astype(dtype)))
        assert float(found) == float(by_float)
        assert found.dtype == np.float32


def test_slopes_at_kinks() -> None:
    at = lambda f: float(wg.grad(lambda x: f(x, tensor(0.0)))(tensor(1.0)))
    assert at(lambda x, t: F.l1_loss(x - 1, t)) == 0.0
    assert at(F.huber_loss) == 1.0
    assert at(F.smooth_l1_loss) == 1.0
    assert at(lambda x, t: F.hinge_embedding_loss(x, t - 1)) == -1.0
    curvature = wg.grad(wg.grad(lambda x: F.huber_loss(x, tensor(0.0))))
    assert float(curvature(tensor(0.0))) == 1.0
    assert float(curvature(tensor(2.0))) == 0.0


# -- cross-entropy ---------------------------------------------------------------------------------


def cross_entropy(
    x: Any, t: Any, w: Any = None, ignore: int = -100, smoothing: float = 0.0
) -> tuple[Any, Any]:
    """Loss and weight of each entry, by the definition; classes on axis 1."""
    log_p = special.log_softmax(x, axis=1)
    classes = x.shape[1]
    w = np.ones(classes) if w is None else w
    loss, weight = np.zeros(t.shape), np.zeros(t.shape)
    for place in np.ndindex(t.shape):
        if t[place] == ignore:
            continue
        row = log_p[(place[0], slice(None), *place[1:])]
        target = np.full(classes, smoothing / classes)
        target[t[place]] += 1 - smoothing
        loss[place], weight[place] = -(target * w * row).sum(), w[t[place]]
    return loss, weight


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2), (2, 4, 3, 2)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignore", [-100, 2])
def test_cross_entropy(
    shape: tuple[int, ...], weighted: bool, smoothing: float, ignore: int
) -> None:
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=shape), rng.integers(0, 4, (shape[0], *shape[2:]))
    t.flat[1] = ignore
    w = rng.uniform(0.5, 2.0, 4) if weighted else None
    loss, weight = cross_entropy(x, t, w, ignore, smoothing)
    expected = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / weight.sum()}
    for reduction, value in expected.items():
        f = lambda x, r=reduction: F.cross_entropy(x, tensor(t), tensor(w), ignore, r, smoothing)
        np.testing.assert_allclose(f(tensor(x)).numpy(), value, rtol=1e-10)
    assert_derivatives(f, x)


def test_cross_entropy_with_probabilities() -> None:
    w = np.array([0.5, 1.0, 2.0, 1.5])
    for smoothing in (0.0, 0.2):
        target = (1 - smoothing) * P + smoothing / C
        loss = -(target * w * LOG_P).sum(1)
        f = lambda x, t, r, s=smoothing: F.cross_entropy(
            x, t, tensor(w), reduction=r, label_smoothing=s
        )
        np.testing.assert_allclose(f(tensor(X), tensor(P), "none").numpy(), loss)
        assert float(f(tensor(X), tensor(P), "mean")) == pytest.approx(loss.mean())
        assert_derivatives(lambda x, t, f=f: f(x, t, "sum"), X, P)
    one_hot = np.eye(C)[CLASSES]
    assert float(F.cross_entropy(tensor(X), tensor(one_hot))) == pytest.approx(
        float(F.cross_entropy(tensor(X), tensor(CLASSES)))
    )


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64"])
def test_labels_of_any_integer_dtype(dtype: str) -> None:
    """Places among 300·4 scores overflow the narrow dtypes: they are computed in int64."""
    rng = np.random.default_rng(2)
    x, t = tensor(rng.normal(size=(300, 4))), rng.integers(0, 4, 300)
    expected = F.cross_entropy(x, tensor(t), W, reduction="none").numpy()
    found = F.cross_entropy(x, tensor(t.astype(dtype)), W, reduction="none")
    np.testing.assert_array_equal(found.numpy(), expected)
    rows = wg.vmap(lambda x, t: F.cross_entropy(x, t, W, reduction="sum"))(
        x, tensor(t.astype(dtype))
    )
    np.testing.assert_allclose(rows.numpy(), expected)
    margins = F.multi_margin_loss(x, tensor(t.astype(dtype)))
    assert float(margins) == float(F.multi_margin_loss(x, tensor(t)))


def test_cross_entropy_without_a_batch() -> None:
    found = F.cross_entropy(tensor(X[0]), tensor(np.array(3)))
    assert found.shape == ()
    assert float(found) == pytest.approx(-LOG_P[0, 3])


def test_nll_loss_is_the_other_half_of_cross_entropy() -> None:
    w = tensor(np.array([0.5, 1.0, 2.0, 1.5]))
    t = CLASSES.copy()
    t[2] = -100
    for weight in (None, w):
        for reduction in REDUCTIONS:
            a = F.nll_loss(tensor(LOG_P), tensor(t), weight, reduction=reduction)
            b = F.cross_entropy(tensor(X), tensor(t), weight, reduction=reduction)
            np.testing.assert_allclose(a.numpy(), b.numpy())
    assert_derivatives(lambda x: F.nll_loss(x, tensor(t), w), LOG_P)


def test_all_entries_ignored() -> None:
    """The mean of nothing is NaN, as in PyTorch, but the gradient is zero: weights survive."""
    t = tensor(np.full(N, -100))
    for loss in (F.cross_entropy, F.focal_loss):
        value, slope = wg.value_and_grad(lambda x, f=loss: f(x, t))(tensor(X))
        assert math.isnan(float(value))
        np.testing.assert_array_equal(slope.numpy(), 0.0)
        assert float(loss(tensor(X), t, reduction="sum")) == 0.0


def test_cross_entropy_far_out() -> None:
    x = tensor(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 1e4], [-np.inf, 0.0, 1.0]], np.float32))
    loss = F.cross_entropy(x, tensor(np.array([1, 2, 1])), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [2e4, 0.0, math.log(1 + math.e)], rtol=1e-6)
    slope = wg.grad(lambda x: F.cross_entropy(x, tensor(np.array([1, 2, 1]))))(x)
    assert wg.all(wg.isfinite(slope))


def test_small_binary_losses_keep_their_digits() -> None:
    for target, sign in ((1.0, 1), (0.0, -1)):
        found = F.binary_cross_entropy_with_logits(
            tensor(np.float32([sign * 20.0])), tensor(np.float32([target]))
        )
        assert float(found) == pytest.approx(2.061e-9, rel=1e-3)


def test_losses_work_under_vmap() -> None:
    losses = wg.vmap(F.cross_entropy)(tensor(X), tensor(CLASSES))
    expected = F.cross_entropy(tensor(X), tensor(CLASSES), reduction="none")
    np.testing.assert_allclose(losses.numpy(), expected.numpy())
    each = wg.vmap(wg.grad(F.mse_loss))(tensor(X), tensor(T))
    np.testing.assert_allclose(each.numpy(), 2 * (X - T) / C)


# -- yes or no -------------------------------------------------------------------------------------


def test_binary_weights() -> None:
    w, positive = RNG.uniform(size=(N, C)), np.array([0.5, 1.0, 2.0, 3.0])
    expected = -w * (positive * BITS * special.log_expit(X) + (1 - BITS) * special.log_expit(-X))
    f = F.binary_cross_entropy_with_logits
    found = f(tensor(X), tensor(BITS), tensor(w), "none", tensor(positive))
    np.testing.assert_allclose(found.numpy(), expected)
    assert float(f(tensor(X), tensor(BITS), tensor(w), pos_weight=tensor(positive))) == (
        pytest.approx(expected.mean())
    )
    plain = F.binary_cross_entropy(tensor(P), tensor(BITS), tensor(w), "none")
    np.testing.assert_allclose(plain.numpy(), -w * (BITS * np.log(P) + (1 - BITS) * np.log1p(-P)))


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_logits_far_out(target: float) -> None:
    x = tensor(np.array([-1e4, -100.0, 0.0, 100.0, 1e4], np.float32))
    t = wg.full((5,), target)
    for f in (F.binary_cross_entropy_with_logits, F.sigmoid_focal_loss):
        value, slope = wg.value_and_grad(lambda x, f=f: f(x, t, reduction="sum"))(x)
        assert wg.isfinite(value)
        assert wg.all(wg.isfinite(slope))
        assert wg.all(wg.isfinite(wg.grad(lambda x, f=f: wg.sum(wg.grad(lambda y: f(y, t))(x)))(x)))


def test_focal_loss_with_a_fractional_power_far_out() -> None:
    x = tensor(np.array([[200.0, -200.0], [-200.0, 200.0]], np.float32))
    for f, t in (
        (F.focal_loss, np.array([0, 0])),
        (F.sigmoid_focal_loss, np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)),
    ):
        slope = wg.grad(lambda x, f=f, t=t: f(x, tensor(t), gamma=0.5))(x)
        assert wg.all(wg.isfinite(slope))


def test_binary_cross_entropy_at_the_ends() -> None:
    p, t = tensor(np.array([0.0, 1.0, 0.0, 1.0])), tensor(np.array([0.0, 1.0, 1.0, 0.0]))
    assert F.binary_cross_entropy(p, t, reduction="none").tolist() == [0.0, 0.0, 100.0, 100.0]
    assert wg.all(wg.isfinite(wg.grad(F.binary_cross_entropy)(p, t)))


def test_sigmoid_focal_loss_balances_by_alpha() -> None:
    plain = F.sigmoid_focal_loss(tensor(X), tensor(BITS), None, reduction="none").numpy()
    found = F.sigmoid_focal_loss(tensor(X), tensor(BITS), 0.25, reduction="none").numpy()
    np.testing.assert_allclose(found, plain * np.where(BITS == 1, 0.25, 0.75))
    soft = F.sigmoid_focal_loss(tensor(X), tensor(P), None, 2.0, "none").numpy()
    p_t = P * special.expit(X) + (1 - P) * special.expit(-X)
    ce = -P * special.log_expit(X) - (1 - P) * special.log_expit(-X)
    np.testing.assert_allclose(soft, (1 - p_t) ** 2 * ce)


def test_focal_loss() -> None:
    p = special.softmax(X, axis=1)[np.arange(N), CLASSES]
    for gamma in (0.0, 0.5, 2.0):
        expected = -((1 - p) ** gamma) * np.log(p)
        for alpha, factor in (
            (None, 1.0),
            (0.3, 0.3),
            (tensor(np.arange(4.0)), np.arange(4.0)[CLASSES]),
        ):
            f = lambda x, r, a=alpha, g=gamma: F.focal_loss(x, tensor(CLASSES), a, g, reduction=r)
            np.testing.assert_allclose(f(tensor(X), "none").numpy(), factor * expected)
            assert float(f(tensor(X), "mean")) == pytest.approx((factor * expected).mean())
            assert_derivatives(lambda x, f=f: f(x, "sum"), X)


# -- distributions ---------------------------------------------------------------------------------


def test_kl_divergence() -> None:
    t = P.copy()
    t[0, 0] = 0.0
    x = LOG_P.copy()
    x[0, 0] = -np.inf
    f = lambda x, r: F.kl_div(x, tensor(t), reduction=r)
    expected = special.kl_div(t, np.exp(x)) + t - np.exp(x)
    np.testing.assert_allclose(f(tensor(x), "none").numpy(), expected, atol=1e-15)
    assert float(f(tensor(x), "batchmean")) == pytest.approx(expected.sum() / N)
    assert wg.all(wg.isfinite(wg.grad(f)(tensor(x), "sum")))


def test_poisson_adds_stirlings_approximation() -> None:
    t = np.array([[0.0, 1.0, 2.0, 30.0]])
    x = np.zeros((1, 4))
    found = F.poisson_nll_loss(tensor(x), tensor(t), full=True, reduction="none").numpy()
    stirling = t * np.log(np.maximum(t, 1)) - t + 0.5 * np.log(2 * np.pi * np.maximum(t, 1))
    np.testing.assert_allclose(found, 1.0 + np.where(t > 1, stirling, 0.0))
    np.testing.assert_allclose(found[0, 3], 1.0 + special.gammaln(31.0), rtol=1e-4)


@pytest.mark.parametrize("shape", [(N, C), (N, 1), (N,), ()])
@pytest.mark.parametrize("full", [False, True])
def test_gaussian_nll(shape: tuple[int, ...], full: bool) -> None:
    var = RNG.uniform(0.5, 2.0, shape)
    v = var[:, None] if shape == (N,) else var
    expected = 0.5 * (np.log(v) + (X - T) ** 2 / v) + (0.5 * math.log(2 * math.pi) if full else 0)
    f = lambda x, t, v, r: F.gaussian_nll_loss(x, t, v, full, reduction=r)
    np.testing.assert_allclose(f(tensor(X), tensor(T), tensor(var), "none").numpy(), expected)
    assert_derivatives(lambda x, t, v: f(x, t, v, "mean"), X, T, var)


def test_gaussian_nll_does_not_divide_by_a_vanishing_variance() -> None:
    f = lambda v: F.gaussian_nll_loss(tensor([1.0]), tensor([3.0]), v, eps=0.01)
    value, slope = wg.value_and_grad(f)(tensor([0.0]))
    assert float(value) == pytest.approx(0.5 * (math.log(0.01) + 400.0))
    assert float(slope[0]) == pytest.approx(0.5 * (100.0 - 4.0 / 1e-4))


# -- modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "args", "expected"),
    [
        (nn.MSELoss("sum"), (X, T), lambda x, t: F.mse_loss(x, t, "sum")),
        (nn.L1Loss("none"), (X, T), lambda x, t: F.l1_loss(x, t, "none")),
        (nn.HuberLoss(delta=0.5), (X, T), lambda x, t: F.huber_loss(x, t, delta=0.5)),
        (nn.SmoothL1Loss(beta=0.5), (X, T), lambda x, t: F.smooth_l1_loss(x, t, beta=0.5)),
        (
            nn.PoissonNLLLoss(False, True, 1e-3, "sum"),
            (np.abs(X), np.abs(T)),
            lambda x, t: F.poisson_nll_loss(x, t, False, True, 1e-3, "sum"),
        ),
        (
            nn.GaussianNLLLoss(full=True, eps=0.1),
            (X, T, np.abs(T)),
            lambda x, t, v: F.gaussian_nll_loss(x, t, v, True, 0.1),
        ),
        (
            nn.CrossEntropyLoss(W, 1, "sum", 0.1),
            (X, CLASSES),
            lambda x, t: F.cross_entropy(x, t, W, 1, "sum", 0.1),
        ),
        (nn.NLLLoss(W, 1), (LOG_P, CLASSES), lambda x, t: F.nll_loss(x, t, W, 1)),
        (nn.FocalLoss(W, 1.0), (X, CLASSES), lambda x, t: F.focal_loss(x, t, tensor(W), 1.0)),
        (
            nn.SigmoidFocalLoss(0.1, 1.0),
            (X, BITS),
            lambda x, t: F.sigmoid_focal_loss(x, t, 0.1, 1.0),
        ),
        (nn.BCELoss(W), (P, BITS), lambda x, t: F.binary_cross_entropy(x, t, W)),
        (
            nn.BCEWithLogitsLoss(W, pos_weight=W),
            (X, BITS),
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, W, pos_weight=W),
        ),
        (nn.KLDivLoss("batchmean"), (LOG_P, P), lambda x, t: F.kl_div(x, t, "batchmean")),
        (nn.HingeEmbeddingLoss(0.5), (X, SIGNS), lambda x, t: F.hinge_embedding_loss(x, t, 0.5)),
        (
            nn.MultiMarginLoss(2, 0.5, W),
            (X, CLASSES),
            lambda x, t: F.multi_margin_loss(x, t, 2, 0.5, W),
        ),
        (nn.MultiLabelMarginLoss(), (X, np.tile([1, 3, -1, 0], (N, 1))), F.multilabel_margin_loss),
        (
            nn.MultiLabelSoftMarginLoss(W),
            (X, BITS),
            lambda x, t: F.multilabel_soft_margin_loss(x, t, W),
        ),
        (nn.SoftMarginLoss(), (X, SIGNS), F.soft_margin_loss),
        (
            nn.MarginRankingLoss(0.5),
            (X, T, SIGNS),
            lambda a, b, t: F.margin_ranking_loss(a, b, t, 0.5),
        ),
        (
            nn.CosineEmbeddingLoss(0.5),
            (X, T, SIGNS[:, 0]),
            lambda a, b, t: F.cosine_embedding_loss(a, b, t, 0.5),
        ),
        (
            nn.TripletMarginLoss(0.5, 1.0, swap=True),
            (X, T, P),
            lambda a, b, c: F.triplet_margin_loss(a, b, c, 0.5, 1.0, swap=True),
        ),
        (
            nn.TripletMarginWithDistanceLoss(margin=0.5),
            (X, T, P),
            lambda a, b, c: F.triplet_margin_with_distance_loss(a, b, c, margin=0.5),
        ),
        (
            nn.InfoNCELoss(0.3, symmetric=True),
            (X, T),
            lambda a, b: F.info_nce(a, b, None, 0.3, "mean", True),
        ),
    ],
    ids=lambda v: type(v).__name__,
)
def test_modules_are_their_functions(module: Any, args: Any, expected: Any) -> None:
    tensors = [tensor(a) for a in args]
    np.testing.assert_array_equal(module(*tensors).numpy(), expected(*tensors).numpy())


def test_weights_are_saved_and_not_trained() -> None:
    loss = nn.CrossEntropyLoss(W)
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    assert list(nn.BCEWithLogitsLoss().state_dict()) == []
    assert repr(nn.HuberLoss("sum")) == "HuberLoss(delta=1.0, reduction='sum')"
