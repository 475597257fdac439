"""Averages of parameters, and clipping of gradients."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.core.errors import ArgumentError, DtypeError, GradientError, StateError


def values(count=20):
    return np.random.default_rng(0).normal(size=(count, 3))


def follow(average, w, rows):
    for row in rows:
        w.assign(row)
        average.update()
    return average.values()[0].numpy()


def test_ema_is_the_recurrence():
    w = wg.Parameter(wg.asarray(values()[0]))
    found = follow(wg.optim.EMA([w], decay=0.9), w, values()[1:])
    expected = values()[0]
    for row in values()[1:]:
        expected = 0.9 * expected + 0.1 * row
    assert found == pytest.approx(expected, rel=1e-12)


def test_ema_with_bias_correction_is_the_weighted_mean():
    w = wg.Parameter(wg.asarray(values()[0]))
    average = wg.optim.EMA([w], decay=0.9, bias_correction=True)
    assert (average.values()[0].numpy() == values()[0]).all()
    found = follow(average, w, values())
    weights = 0.9 ** np.arange(19, -1, -1)
    assert found == pytest.approx(weights @ values() / weights.sum(), rel=1e-12)


def test_ema_with_warm_up_forgets_the_start_sooner():
    w = wg.Parameter(wg.asarray(values()[0]))
    found = follow(wg.optim.EMA([w], decay=0.9, warmup=True), w, values()[1:])
    expected = values()[0]
    for t, row in enumerate(values()[1:], start=1):
        d = min(0.9, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * row
    assert found == pytest.approx(expected, rel=1e-12)


def test_swa_is_the_mean():
    w = wg.Parameter(wg.asarray(values()[0]))
    assert follow(wg.optim.SWA([w]), w, values()) == pytest.approx(values().mean(0), rel=1e-12)


def test_average_parameters_swaps_and_restores_also_after_an_error():
    w = wg.Parameter(wg.asarray([2.0, 4.0]))
    ema = wg.optim.EMA([w], decay=0.5)
    w.assign(wg.asarray([4.0, 0.0]))
    ema.update()

    def fail_inside():
        with ema.average_parameters():
            assert w.tolist() == [3.0, 2.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert w.tolist() == [4.0, 0.0]
    ema.store()
    ema.copy_to()
    assert w.tolist() == [3.0, 2.0]
    ema.restore()
    assert w.tolist() == [4.0, 0.0]
    with pytest.raises(StateError, match="no stored parameters"):
        ema.restore()


def test_ema_of_a_model_with_its_buffers():
    model = wg.nn.BatchNorm1d(3)
    with_buffers = wg.optim.EMA(model, decay=0.5, buffers=True)
    without = wg.optim.EMA(model, decay=0.5)
    assert len(with_buffers.params) == len(without.params) + 2
    for p in model.parameters():
        p.assign(p + 1.0)
    without.update()
    with without.average_parameters():
        assert model.weight.tolist() == [1.5] * 3
    assert model.weight.tolist() == [2.0] * 3


def test_ema_is_kept_in_single_precision_for_halves():
    w = wg.Parameter(wg.asarray([1.0], dtype=wg.float16))
    ema = wg.optim.EMA([w], decay=0.9999)
    w.assign(wg.asarray([2.0], dtype=wg.float16))
    for _ in range(10):
        ema.update()
    assert ema.averages[0].dtype == wg.float32
    assert float(ema.averages[0][0]) == pytest.approx(2 - 0.9999**10, rel=1e-6)
    assert ema.values()[0].dtype == wg.float16


@pytest.mark.parametrize("options", [{}, {"warmup": True}, {"bias_correction": True}])
def test_a_resumed_average_is_bitwise_the_same(options):
    w = wg.Parameter(wg.asarray(values()[0]))
    expected = follow(wg.optim.EMA([w], 0.9, **options), w, values()[1:])
    w.assign(values()[0])
    ema = wg.optim.EMA([w], 0.9, **options)
    follow(ema, w, values()[1:8])
    saved = ema.state_dict()
    resumed = wg.optim.EMA([w], 0.9, **options)
    resumed.load_state_dict(saved)
    assert (follow(resumed, w, values()[8:]) == expected).all()


@pytest.mark.parametrize("kind", [wg.optim.EMA, wg.optim.SWA])
def test_an_update_in_a_trace_is_recorded(kind):
    w = wg.Parameter(wg.asarray(values()[0]))
    average = kind([w])
    graph = wg.trace(lambda v: (w.assign(v), average.update())[1], w.detach())
    written = {id(box) for box, _ in graph.writes}
    assert {id(average.averages[0]), id(average.updates)} <= written
    assert int(average.updates) == 0


WRONG = [
    (lambda: wg.optim.EMA([wg.ones(2)], decay=1.0), ArgumentError, r"decay must be in \[0, 1\)"),
    (lambda: wg.optim.EMA([]), ArgumentError, "there are no parameters"),
    (lambda: wg.optim.EMA(wg.ones(2)), DtypeError, "takes a module, or an iterable"),
    (lambda: wg.optim.EMA([wg.asarray(1)]), DtypeError, r"floating tensors; got int64"),
    (lambda: wg.optim.EMA([wg.ones(2)]).load_state_dict({}), StateError, "no state dict of such"),
    (
        lambda: wg.optim.EMA([wg.ones(2)]).load_state_dict(wg.optim.EMA([wg.ones(3)]).state_dict()),
        StateError,
        "average 0 does not fit",
    ),
    (
        lambda: wg.optim.EMA([wg.ones(2)]).load_state_dict(
            wg.optim.EMA([wg.ones(2), wg.ones(2)]).state_dict()
        ),
        StateError,
        "2 for 1",
    ),
    (lambda: wg.optim.clip_grad_norm_([], 0.0), ArgumentError, "max_norm must be > 0"),
    (lambda: wg.optim.clip_grad_norm_([], 1.0, -1.0), ArgumentError, "norm_type must be > 0"),
    (lambda: wg.optim.clip_grad_value_([], -1.0), ArgumentError, "clip_value must be > 0"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_bad_input(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


# -- clipping ------------------------------------------------------------------------------------


def with_gradients():
    rng = np.random.default_rng(1)
    params = [wg.Parameter(wg.zeros(shape, dtype=wg.float64)) for shape in ((3, 2), (4,), ())]
    for p in params:
        p.grad = wg.asarray(rng.normal(size=p.shape))
    unused = wg.Parameter(wg.zeros(5))
    return [*params, unused], np.concatenate([p.grad.numpy().ravel() for p in params])


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, float("inf")])
def test_clip_grad_norm(p):
    params, flat = with_gradients()
    norm = np.linalg.norm(flat, p)
    assert float(wg.optim.clip_grad_norm_(params, 0.5, p)) == pytest.approx(norm)
    clipped = np.concatenate([q.grad.numpy().ravel() for q in params if q.grad is not None])
    assert clipped == pytest.approx(flat * 0.5 / norm, rel=1e-5)
    before = params[0].grad
    wg.optim.clip_grad_norm_(params, 10.0, p)
    assert params[0].grad is before
    assert params[3].grad is None


def test_clip_grad_norm_of_nothing_and_of_one_tensor():
    assert float(wg.optim.clip_grad_norm_([], 1.0)) == 0.0
    w = wg.Parameter(wg.ones(4))
    w.grad = wg.ones(4)
    assert float(wg.optim.clip_grad_norm_(w, 1.0)) == 2.0


def test_clip_grad_norm_says_which_gradient_is_not_finite():
    params, _ = with_gradients()
    params[1].grad = wg.asarray(np.array([1.0, np.nan, 0.0, np.inf]))
    with pytest.raises(GradientError, match=r"not finite; got nan from parameter 1, float64\[4\]"):
        wg.optim.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert np.isnan(float(wg.optim.clip_grad_norm_(params, 1.0)))


def test_clip_grad_norm_in_half_precision_does_not_overflow():
    w = wg.Parameter(wg.zeros(4, dtype=wg.float16))
    w.grad = wg.full((4,), 300.0, dtype=wg.float16)
    assert float(wg.optim.clip_grad_norm_([w], 1.0)) == 600.0
    assert w.grad.dtype == wg.float16
    assert w.grad.tolist() == [0.5] * 4


def test_clip_grad_value():
    params, flat = with_gradients()
    wg.optim.clip_grad_value_(params, 0.3)
    clipped = np.concatenate([q.grad.numpy().ravel() for q in params if q.grad is not None])
    assert (clipped == np.clip(flat, -0.3, 0.3)).all()


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_clipping_in_a_trace_is_recorded(p):
    w = wg.Parameter(wg.zeros(3, dtype=wg.float64))

    def clipped(g):
        w.grad = g
        total = wg.optim.clip_grad_norm_([w], 1.0, p)
        return total, w.grad

    g = np.array([3.0, -4.0, 0.0])
    rows = wg.vmap(clipped)(wg.asarray(np.stack([g, 0.1 * g])))
    norm = np.linalg.norm(g, p)
    assert rows[0].numpy() == pytest.approx([norm, 0.1 * norm])
    assert rows[1].numpy()[0] == pytest.approx(g / norm, rel=1e-5)
    assert rows[1].numpy()[1] == pytest.approx(0.1 * g * min(1.0, 10 / norm), rel=1e-5)
