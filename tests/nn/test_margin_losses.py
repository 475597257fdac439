"""Losses of ranking and of embeddings: closed forms and derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from tests.nn.test_losses import BITS, CLASSES, SIGNS, C, N, T, X, tensor
from wengert import nn

F = nn.functional
RNG = np.random.default_rng(8)


def test_margin_ranking() -> None:
    expected = np.maximum(-SIGNS * (X - T) + 0.5, 0)
    f = lambda a, b: F.margin_ranking_loss(a, b, tensor(SIGNS), 0.5, "none")
    np.testing.assert_allclose(f(tensor(X), tensor(T)).numpy(), expected)
    assert_derivatives(f, X, T)


def test_cosine_embedding() -> None:
    cosine = (X * T).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(T, axis=1)
    t = SIGNS[:, 0]
    expected = np.where(t == 1, 1 - cosine, np.maximum(cosine - 0.1, 0))
    f = lambda a, b: F.cosine_embedding_loss(a, b, tensor(t), 0.1, "none")
    np.testing.assert_allclose(f(tensor(X), tensor(T)).numpy(), expected)
    single = F.cosine_embedding_loss(tensor(X[0]), tensor(T[0]), tensor(t[0]), 0.1)
    assert float(single) == pytest.approx(expected[0])
    assert_derivatives(f, X, T)
    at_zero = wg.grad(lambda a: wg.sum(f(a, tensor(T))))(wg.zeros((N, C)))
    assert wg.all(wg.isfinite(at_zero))


@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(p: int) -> None:
    w = np.array([0.5, 1.0, 2.0, 1.5])
    gap = np.maximum(1.2 - X[np.arange(N), CLASSES][:, None] + X, 0) ** p
    gap[np.arange(N), CLASSES] = 0
    expected = w[CLASSES] * gap.sum(1) / C
    f = lambda x: F.multi_margin_loss(x, tensor(CLASSES), p, 1.2, tensor(w), "none")
    np.testing.assert_allclose(f(tensor(X)).numpy(), expected)
    assert_derivatives(f, X)
    single = F.multi_margin_loss(tensor(X[0]), tensor(CLASSES[0]), p, 1.2, tensor(w))
    assert float(single) == pytest.approx(expected[0])


def test_multilabel_margin() -> None:
    t = np.array([[3, 0, -1, 1], [-1, 2, 2, 2], [0, 1, 2, 3], [2, -1, -1, -1], [1, 2, 0, -1]])
    expected = []
    for row, labels in zip(X, t, strict=True):
        listed = list(labels[: list(labels).index(-1)]) if -1 in labels else list(labels)
        others = [i for i in range(C) if i not in listed]
        expected.append(sum(max(0, 1 - row[j] + row[i]) for j in listed for i in others) / C)
    f = lambda x: F.multilabel_margin_loss(x, tensor(t), "none")
    np.testing.assert_allclose(f(tensor(X)).numpy(), expected)
    assert_derivatives(f, X)
    assert float(F.multilabel_margin_loss(tensor(X[0]), tensor(t[0]))) == pytest.approx(expected[0])


def test_multilabel_soft_margin() -> None:
    w = np.array([0.5, 1.0, 2.0, 1.5])
    loss = -BITS * special.log_expit(X) - (1 - BITS) * special.log_expit(-X)
    f = lambda x: F.multilabel_soft_margin_loss(x, tensor(BITS), tensor(w), "none")
    np.testing.assert_allclose(f(tensor(X)).numpy(), (w * loss).mean(1))
    assert_derivatives(f, X)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("swap", [False, True])
def test_triplet(p: float, swap: bool) -> None:
    far = RNG.normal(size=(N, C))
    distance = lambda a, b: np.linalg.norm(a - b + 1e-6, ord=p, axis=-1)
    other = np.minimum(distance(X, far), distance(T, far)) if swap else distance(X, far)
    expected = np.maximum(distance(X, T) - other + 0.5, 0)
    f = lambda a, b, c: F.triplet_margin_loss(a, b, c, 0.5, p, swap=swap, reduction="none")
    np.testing.assert_allclose(f(tensor(X), tensor(T), tensor(far)).numpy(), expected)
    assert_derivatives(f, X, T, far)


def test_triplet_with_any_distance() -> None:
    far = RNG.normal(size=(N, C))
    same = F.triplet_margin_with_distance_loss(tensor(X), tensor(T), tensor(far), swap=True)
    expected = F.triplet_margin_loss(tensor(X), tensor(T), tensor(far), swap=True)
    assert float(same) == pytest.approx(float(expected))
    cosine = F.triplet_margin_with_distance_loss(
        tensor(X),
        tensor(T),
        tensor(far),
        distance_function=lambda a, b: 1 - F.cosine_similarity(a, b),
    )
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    gap = (unit(X) * unit(far)).sum(1) - (unit(X) * unit(T)).sum(1)
    assert float(cosine) == pytest.approx(np.maximum(gap + 1.0, 0).mean())


def test_info_nce() -> None:
    unit = lambda v: v / np.linalg.norm(v, axis=-1, keepdims=True)
    scores = unit(X) @ unit(T).T / 0.3
    expected = -special.log_softmax(scores, axis=1).diagonal()
    f = lambda q, k: F.info_nce(q, k, temperature=0.3, reduction="none")
    np.testing.assert_allclose(f(tensor(X), tensor(T)).numpy(), expected)
    assert_derivatives(f, X, T)
    both = (expected - special.log_softmax(scores.T, axis=1).diagonal()) / 2
    found = F.info_nce(tensor(X), tensor(T), temperature=0.3, symmetric=True)
    assert float(found) == pytest.approx(both.mean())
    own = (unit(X) * unit(T)).sum(1, keepdims=True)
    for negatives in (RNG.normal(size=(6, C)), RNG.normal(size=(N, 6, C))):
        others = np.einsum(
            "nf,...kf->nk" if negatives.ndim == 2 else "nf,nkf->nk", unit(X), unit(negatives)
        )
        expected = -special.log_softmax(np.hstack([own, others]) / 0.3, axis=1)[:, 0]
        g = lambda q, k, n: F.info_nce(q, k, n, temperature=0.3, reduction="none")
        found = g(tensor(X), tensor(T), tensor(negatives))
        np.testing.assert_allclose(found.numpy(), expected)
        assert_derivatives(g, X, T, negatives)
