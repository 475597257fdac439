"""Schedules against their closed forms, alone and composed; resuming; bad input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import wengert as wg
from wengert.core.errors import ArgumentError, DtypeError, StateError

o = wg.optim


def optimizer(*rates, **options):
    rates = rates or (0.4,)
    groups = [{"params": [wg.Parameter(wg.ones(2))], "lr": lr} for lr in rates]
    return o.SGD(groups, lr=1.0, **options)


def run(schedule, steps):
    """The learning rates of steps 0 … steps − 1, one list a group."""
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr())
        schedule.step()
    return np.array(rates).T


def half_wave(start, end, x):
    return end + (start - end) * (1 + math.cos(math.pi * x)) / 2


def restarts(t, first, factor):
    """Steps since the last restart over the period's length, by the geometric series."""
    if factor == 1:
        return (t % first) / first
    n = int(math.log(t / first * (factor - 1) + 1 + 1e-12, factor))
    begin = first * (factor**n - 1) / (factor - 1)
    return (t - begin) / (first * factor**n)


CLOSED = {
    "lambda": (lambda opt: o.LambdaLR(opt, lambda t: 1 / (1 + t)), lambda b, t: b / (1 + t)),
    "step": (lambda opt: o.StepLR(opt, 7, 0.3), lambda b, t: b * 0.3 ** (t // 7)),
    "milestones": (
        lambda opt: o.MultiStepLR(opt, [12, 3, 3], 0.5),
        lambda b, t: b * 0.5 ** (2 * (t >= 3) + (t >= 12)),
    ),
    "exponential": (lambda opt: o.ExponentialLR(opt, 0.9), lambda b, t: b * 0.9**t),
    "constant": (lambda opt: o.ConstantLR(opt, 0.5, 4), lambda b, t: b * (0.5 if t < 4 else 1)),
    "linear": (
        lambda opt: o.LinearLR(opt, 0.25, 0.75, 8),
        lambda b, t: b * (0.25 + 0.5 * min(t, 8) / 8),
    ),
    "warmup": (
        lambda opt: o.WarmupLR(opt, 10, 0.1),
        lambda b, t: b * (0.1 + 0.9 * min(1, (t + 1) / 10)),
    ),
    "polynomial": (
        lambda opt: o.PolynomialLR(opt, 20, 2.0),
        lambda b, t: b * (1 - min(t, 20) / 20) ** 2,
    ),
    "cosine": (
        lambda opt: o.CosineAnnealingLR(opt, 10, 0.01),
        lambda b, t: half_wave(b, 0.01, t / 10),
    ),
    "restarts": (
        lambda opt: o.CosineAnnealingWarmRestarts(opt, 5, 1, 0.01),
        lambda b, t: half_wave(b, 0.01, restarts(t, 5, 1)),
    ),
    "doubling restarts": (
        lambda opt: o.CosineAnnealingWarmRestarts(opt, 3, 2),
        lambda b, t: half_wave(b, 0.0, restarts(t, 3, 2)),
    ),
    "sequential": (
        lambda opt: o.SequentialLR(
            opt, [o.WarmupLR(opt, 5), o.StepLR(opt, 2, 0.5), o.ConstantLR(opt, 0.1, 99)], [5, 11]
        ),
        lambda b, t: b * ((t + 1) / 5 if t < 5 else 0.5 ** ((t - 5) // 2) if t < 11 else 0.1),
    ),
    "chained": (
        lambda opt: o.ChainedScheduler([o.ExponentialLR(opt, 0.9), o.ConstantLR(opt, 0.5, 4)]),
        lambda b, t: b * 0.9**t * (0.5 if t < 4 else 1),
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form(name):
    make, rate = CLOSED[name]
    found = run(make(optimizer(0.4, 2.0)), 30)
    for i, base in enumerate((0.4, 2.0)):
        assert found[i] == pytest.approx([rate(base, t) for t in range(30)], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", CLOSED)
def test_a_resumed_schedule_has_bitwise_the_same_rates(name):
    make, _ = CLOSED[name]
    expected = run(make(optimizer(0.4, 2.0)), 30)
    first_opt = optimizer(0.4, 2.0)
    schedule = make(first_opt)
    run(schedule, 13)
    saved = json.loads(json.dumps([schedule.state_dict(), first_opt.state_dict()["param_groups"]]))
    opt = optimizer(7.0, 7.0)
    resumed = make(opt)
    opt.load_state_dict({"state": {}, "param_groups": saved[1]})
    resumed.load_state_dict(saved[0])
    assert (run(resumed, 17) == expected[:, 13:]).all()


def test_one_cycle():
    opt = optimizer(momentum=0.9)
    schedule = o.OneCycleLR(opt, 2.0, total_steps=20, pct_start=0.25)
    rates, momenta = [], []
    for _ in range(20):
        rates.append(opt.param_groups[0]["lr"])
        momenta.append(opt.param_groups[0]["momentum"])
        schedule.step()
    low, end = 2.0 / 25, 2.0 / 25 / 1e4
    up = [half_wave(low, 2.0, t / 4) for t in range(5)]
    down = [half_wave(2.0, end, (t - 4) / 15) for t in range(5, 20)]
    assert rates == pytest.approx(up + down)
    up = [half_wave(0.95, 0.85, t / 4) for t in range(5)]
    down = [half_wave(0.85, 0.95, (t - 4) / 15) for t in range(5, 20)]
    assert momenta == pytest.approx(up + down)
    with pytest.raises(ArgumentError, match="the cycle is over; got step 21 of 20"):
        schedule.step()


def test_one_cycle_of_three_phases_cycles_beta():
    opt = o.Adam([wg.Parameter(wg.ones(2))])
    schedule = o.OneCycleLR(
        opt, [1.0], epochs=5, steps_per_epoch=4, anneal_strategy="linear", three_phase=True
    )
    rates = run(schedule, 20)[0]
    assert rates[[0, 5, 10, 19]] == pytest.approx([0.04, 1.0, 0.04, 4e-6])
    assert rates[2] == pytest.approx(0.04 + 0.96 * 2 / 5)
    assert opt.param_groups[0]["betas"][1] == 0.999
    assert opt.param_groups[0]["betas"][0] == pytest.approx(0.95)


def test_plateau_counts_patience_and_cooldown():
    opt = optimizer(1.0)
    schedule = o.ReduceLROnPlateau(opt, factor=0.1, patience=2, cooldown=2, min_lr=0.005)
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    rates = []
    for loss in losses:
        schedule.step(loss)
        rates.append(opt.param_groups[0]["lr"])
    expected = [1.0] * 4 + [0.1] * 5 + [0.01] * 5 + [0.005] * 2
    assert rates == pytest.approx(expected)
    assert schedule.best == 0.9


@pytest.mark.parametrize(
    ("mode", "kind", "values", "better"),
    [
        ("min", "rel", (1.0, 0.95), False),
        ("min", "rel", (1.0, 0.89), True),
        ("min", "abs", (1.0, 0.95), False),
        ("max", "rel", (1.0, 1.05), False),
        ("max", "abs", (1.0, 1.2), True),
        ("min", "rel", (1.0, float("nan")), False),
        ("min", "rel", (float("inf"), 5.0), True),
    ],
)
def test_plateau_decides_what_is_better(mode, kind, values, better):
    schedule = o.ReduceLROnPlateau(optimizer(), mode, threshold=0.1, threshold_mode=kind)
    schedule.step(wg.asarray(values[0]))
    schedule.step(values[1])
    assert (schedule.best == values[1]) is better
    assert schedule.num_bad_epochs == (0 if better else 1)


def test_a_resumed_plateau_goes_on_counting():
    losses = [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]

    def rates(split):
        opt = optimizer(1.0)
        schedule = o.ReduceLROnPlateau(opt, factor=0.5, patience=1)
        found = []
        for i, loss in enumerate(losses):
            if i == split:
                saved = json.loads(json.dumps(schedule.state_dict()))
                opt = optimizer(3.0)
                schedule = o.ReduceLROnPlateau(opt, factor=0.5, patience=1)
                schedule.load_state_dict(saved)
            schedule.step(loss)
            found.append(opt.param_groups[0]["lr"])
        return found

    assert rates(None)[-1] == 0.25
    assert all(rates(split) == rates(None) for split in (1, 4, 7))


def test_schedules_of_one_optimizer_compose():
    opt = optimizer(1.0)
    warmup, cosine = o.WarmupLR(opt, 4), o.CosineAnnealingLR(opt, 20)
    plateau = o.ReduceLROnPlateau(opt, factor=0.5, patience=0)
    for t in range(1, 10):
        warmup.step()
        cosine.step()
        plateau.step(1.0)
        expected = min(1, (t + 1) / 4) * half_wave(1, 0, t / 20) * 0.5 ** (t - 1)
        assert opt.param_groups[0]["lr"] == pytest.approx(expected)
    cosine.detach()
    cosine.detach()
    warmup.step()
    assert opt.param_groups[0]["lr"] == pytest.approx(0.5**8)


def test_a_step_can_be_set_and_be_a_fraction():
    opt = optimizer(1.0)
    schedule = o.CosineAnnealingWarmRestarts(opt, 4)
    schedule.step(5.5)
    assert opt.param_groups[0]["lr"] == pytest.approx(half_wave(1, 0, 1.5 / 4))


def test_a_group_that_is_added_later_is_scheduled_as_well():
    opt = optimizer(1.0)
    schedule = o.ExponentialLR(opt, 0.5)
    schedule.step()
    opt.add_param_group({"params": [wg.Parameter(wg.ones(3))], "lr": 8.0})
    assert schedule.get_last_lr() == [0.5, 4.0]
    schedule.step()
    assert schedule.get_last_lr() == [0.25, 2.0]
    shared = o.LambdaLR(opt, lambda t: 2.0)
    opt.add_param_group({"params": [wg.Parameter(wg.ones(3))], "lr": 4.0})
    assert shared.get_last_lr()[2] == pytest.approx(2.0)


def test_the_rate_is_that_of_the_step():
    """The optimizer steps with the rate that was set before it."""
    w = wg.Parameter(wg.asarray(np.array(0.0)))
    opt = o.SGD([w], lr=1.0)
    schedule = o.StepLR(opt, 1, 0.1)
    for _ in range(3):
        opt.step(grads=[wg.asarray(1.0)])
        schedule.step()
    assert float(w) == pytest.approx(-1.11)


WRONG = [
    (lambda: o.StepLR(wg.ones(2), 1), DtypeError, "belongs to an optimizer"),
    (lambda: o.StepLR(optimizer(), 0), ArgumentError, "step_size must be an integer ≥ 1"),
    (lambda: o.StepLR(optimizer(), 2, -0.1), ArgumentError, "gamma must be > 0"),
    (lambda: o.ExponentialLR(optimizer(), 0.0), ArgumentError, "gamma must be > 0"),
    (lambda: o.LambdaLR(optimizer(), [1.0]), ArgumentError, "takes a function"),
    (lambda: o.LambdaLR(optimizer(), [abs, abs]), ArgumentError, "for 1 groups"),
    (lambda: o.LambdaLR(optimizer(), lambda t: -1.0), ArgumentError, "lr must be ≥ 0"),
    (lambda: o.CosineAnnealingLR(optimizer(), 0), ArgumentError, "T_max must be an integer"),
    (lambda: o.CosineAnnealingLR(optimizer(), 5, -1.0), ArgumentError, "eta_min must be ≥ 0"),
    (lambda: o.CosineAnnealingWarmRestarts(optimizer(), 5, 0), ArgumentError, "T_mult must be"),
    (lambda: o.WarmupLR(optimizer(), 0), ArgumentError, "warmup_steps must be an integer"),
    (lambda: o.PolynomialLR(optimizer(), 5, 0.0), ArgumentError, "power must be > 0"),
    (lambda: o.LinearLR(optimizer(), -0.1), ArgumentError, "start_factor must be ≥ 0"),
    (lambda: o.OneCycleLR(optimizer(), 1.0), ArgumentError, "length of the cycle is not given"),
    (lambda: o.OneCycleLR(optimizer(), -1.0, 5), ArgumentError, "max_lr must be > 0"),
    (lambda: o.OneCycleLR(optimizer(), 1.0, 5, pct_start=2.0), ArgumentError, "pct_start is in"),
    (
        lambda: o.OneCycleLR(optimizer(), 1.0, 5, anneal_strategy="up"),
        ArgumentError,
        "unknown anneal_strategy",
    ),
    (
        lambda: o.OneCycleLR(o.Adagrad([wg.Parameter(wg.ones(2))]), 1.0, 5),
        ArgumentError,
        "no momentum to cycle; got Adagrad",
    ),
    (lambda: o.OneCycleLR(optimizer(), [1.0, 2.0], 5), ArgumentError, "one a group"),
    (lambda: o.ReduceLROnPlateau(optimizer(), factor=1.0), ArgumentError, "factor is below 1"),
    (lambda: o.ReduceLROnPlateau(optimizer(), "up"), ArgumentError, "unknown mode"),
    (lambda: o.ReduceLROnPlateau(optimizer()).step(), ArgumentError, "needs the metric"),
    (lambda: o.ReduceLROnPlateau(optimizer(), min_lr=[0, 0]), ArgumentError, "min_lr is a number"),
    (lambda: o.SequentialLR(optimizer(), [], []), ArgumentError, "one fewer|no schedules"),
    (lambda: sequential([1, 2]), ArgumentError, "one fewer than the schedules"),
    (lambda: o.ChainedScheduler([]), ArgumentError, "there are no schedules"),
    (
        lambda: o.ChainedScheduler([o.StepLR(optimizer(), 1), o.StepLR(optimizer(), 1)]),
        ArgumentError,
        "all schedules must be of one optimizer",
    ),
    (
        lambda: o.ChainedScheduler([o.ReduceLROnPlateau(optimizer())]),
        ArgumentError,
        "ReduceLROnPlateau needs a metric",
    ),
    (lambda: o.StepLR(optimizer(), 1).step(-1), ArgumentError, "a step number is at least 0"),
    (lambda: o.StepLR(optimizer(), 1).load_state_dict({}), StateError, "no state dict of the"),
    (
        lambda: o.StepLR(optimizer(), 1).load_state_dict(
            o.ExponentialLR(optimizer(), 0.5).state_dict()
        ),
        StateError,
        "of another schedule; got ExponentialLR",
    ),
    (
        lambda: o.StepLR(optimizer(), 1).load_state_dict(o.StepLR(optimizer(1, 2), 1).state_dict()),
        StateError,
        "StepLR for 2 groups",
    ),
]


def sequential(milestones):
    opt = optimizer()
    return o.SequentialLR(opt, [o.StepLR(opt, 1), o.StepLR(opt, 2)], milestones)


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_bad_input(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


def test_a_new_group_without_its_own_function_is_refused():
    opt = optimizer()
    o.LambdaLR(opt, [lambda t: 1.0])
    with pytest.raises(ArgumentError, match="the new parameter group has no function"):
        opt.add_param_group({"params": [wg.Parameter(wg.ones(3))]})
    assert len(opt.param_groups) == 1


def test_a_schedule_that_fails_changes_nothing():
    opt = wg.optim.SGD([{"params": [wg.Parameter(wg.ones(1))]} for _ in range(2)], lr=1.0)
    with pytest.raises(ArgumentError, match=r"\[LambdaLR\] lr must be ≥ 0.*got lr=-2"):
        o.LambdaLR(opt, [lambda t: 0.5, lambda t: -2.0])
    assert opt.schedules == []
    assert [group["lr"] for group in opt.param_groups] == [1.0, 1.0]
    assert o.StepLR(opt, 1).get_last_lr() == [1.0, 1.0]
