"""Groups, gradients given as a tree, modulation, hooks, dtypes, and what bad input says."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import wengert as wg
from wengert.core.errors import ArgumentError, DtypeError, GradientError, ShapeError, WengertError
from wengert.optim import optimizer as machinery

KINDS = [
    wg.optim.SGD,
    wg.optim.Adagrad,
    wg.optim.RMSprop,
    wg.optim.Adadelta,
    wg.optim.Adam,
    wg.optim.AdamW,
    wg.optim.Adamax,
    wg.optim.NAdam,
    wg.optim.RAdam,
    wg.optim.Lion,
    wg.optim.LAMB,
    wg.optim.Adafactor,
    wg.optim.Muon,
]


def matrix(seed=0, dtype=np.float64, shape=(4, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def parameter(seed=0, dtype=np.float64, shape=(4, 3)):
    return wg.Parameter(wg.asarray(matrix(seed, dtype, shape)))


def give(params, seed=100):
    for i, p in enumerate(params):
        p.grad = wg.asarray(matrix(seed + i, np.float64, p.shape)).astype(p.dtype)


# -- groups --------------------------------------------------------------------------------------


def test_groups_have_their_own_options():
    a, b = parameter(0), parameter(1)
    opt = wg.optim.SGD([{"params": [a], "lr": 1.0}, {"params": b}], lr=0.1)
    before = a.numpy(), b.numpy()
    give([a, b])
    opt.step()
    assert (a.numpy() == before[0] - matrix(100)).all()
    assert (b.numpy() == before[1] - 0.1 * matrix(101)).all()
    assert [group["lr"] for group in opt.param_groups] == [1.0, 0.1]


def test_a_group_can_be_added_later():
    a, b = parameter(0), parameter(1)
    opt = wg.optim.Adam([a], lr=0.1)
    opt.add_param_group({"params": [b], "betas": (0.5, 0.5), "name": "head"})
    assert opt.param_groups[1]["betas"] == (0.5, 0.5)
    assert opt.param_groups[1]["lr"] == 0.1
    assert list(opt.parameters())[1] is b


def test_named_parameters_keep_their_names():
    opt = wg.optim.SGD([("w", parameter(0)), ("v", parameter(1))], lr=0.1)
    assert opt.param_groups[0]["param_names"] == ["w", "v"]
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["w", "v"]


def test_parameters_without_gradient_are_left_alone():
    a, b = parameter(0), parameter(1)
    opt = wg.optim.AdamW([a, b], lr=0.1)
    give([a])
    before = b.numpy()
    opt.step()
    assert (b.numpy() == before).all()
    assert b not in opt.state
    opt.zero_grad()
    assert a.grad is None
    give([a])
    opt.zero_grad(set_to_none=False)
    assert (a.grad.numpy() == 0).all()


def test_plain_tensors_can_be_optimized():
    x = wg.asarray([1.0, 2.0]).requires_grad_()
    opt = wg.optim.SGD([x], lr=0.5)
    wg.sum(x * x).backward()
    opt.step()
    assert x.tolist() == [0.0, 0.0]
    assert x.requires_grad


def test_a_changed_learning_rate_counts_from_the_next_step():
    p = parameter()
    opt = wg.optim.SGD([p], lr=1.0)
    opt.param_groups[0]["lr"] = 0.0
    before = p.numpy()
    give([p])
    opt.step()
    assert (p.numpy() == before).all()
    with pytest.raises(ArgumentError, match="lr must be ≥ 0"):
        opt.param_groups[0]["lr"] = -0.1


def test_momentum_can_be_switched_on_later():
    p = parameter()
    opt = wg.optim.SGD([p], lr=0.1)
    give([p])
    opt.step()
    opt.param_groups[0]["momentum"] = 0.9
    opt.step()
    assert opt.state[p]["momentum_buffer"].shape == p.shape


def test_numpy_numbers_do_not_widen_the_parameters():
    p = parameter(dtype=np.float32)
    opt = wg.optim.Adam([p], lr=np.float64(0.1))
    opt.param_groups[0]["lr"] = np.float64(0.2)
    give([p])
    opt.step()
    assert p.dtype == wg.float32
    assert opt.state[p]["exp_avg"].dtype == wg.float32


# -- one step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_leaves_arrays_that_someone_holds_alone(kind):
    p = parameter()
    held, view = p.numpy(), p.detach()
    before = held.copy()
    opt = kind([p])
    for _ in range(3):
        give([p])
        opt.step()
    assert (held == before).all()
    assert (view.numpy() == before).all()
    assert (p.numpy() != before).any()


@pytest.mark.parametrize("kind", KINDS)
def test_maximize_is_the_negative_gradient(kind):
    p, q = parameter(), parameter()
    up, down = kind([p], maximize=True), kind([q])
    for i in range(3):
        g = wg.asarray(matrix(50 + i))
        up.step(grads=[g])
        down.step(grads=[-g])
    assert (p.numpy() == q.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16])
def test_half_precision_is_updated_in_single(kind, dtype):
    p, q = parameter(dtype=np.float32), parameter(dtype=np.float32)
    p.retype(dtype)
    q.assign(p.astype(wg.float32))
    opt, reference = kind([p], lr=0.01), kind([q], lr=0.01)
    g = wg.asarray(matrix(9, np.float32)).astype(dtype)
    opt.step(grads=[g])
    reference.step(grads=[g.astype(wg.float32)])
    assert p.dtype == dtype
    assert (p.numpy() == q.astype(dtype).numpy()).all()
    slots = [box for name, box in opt.state[p].items() if name != "step"]
    assert all(box.dtype == wg.float32 for box in slots)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_scalars_and_empty_parameters(kind):
    scalar, empty = wg.Parameter(wg.asarray(1.0)), wg.Parameter(wg.zeros((0, 3)))
    opt = kind([scalar, empty])
    opt.step(grads=[wg.asarray(0.5), wg.zeros((0, 3))])
    assert scalar.shape == ()
    assert float(scalar) < 1.0
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_zero_gradient_does_no_harm(kind):
    p = parameter()
    before = p.numpy()
    opt = kind([p], weight_decay=0.0)
    for _ in range(3):
        opt.step(grads=[wg.zeros_like(p)])
    assert (p.numpy() == before).all()


def test_step_takes_the_gradients_of_a_model():
    model = wg.nn.Linear(3, 2)
    opt = wg.optim.SGD(model.parameters(), lr=0.1)
    x = wg.asarray(matrix(3, np.float32, (5, 3)))

    def loss(m):
        return wg.sum(m(x) ** 2)

    expected = [
        p.numpy() - np.float32(0.1) * g.numpy()
        for p, g in zip(model.parameters(), wg.tree.tree_leaves(wg.grad(loss)(model)), strict=True)
    ]
    _, grads = wg.value_and_grad(loss)(model)
    opt.step(grads=grads)
    for p, new in zip(model.parameters(), expected, strict=True):
        assert np.abs(p.numpy() - new).max() < 1e-6


def test_step_runs_a_closure_with_recording_on():
    p = parameter()
    opt = wg.optim.SGD([p], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = wg.sum(p * p)
        loss.backward()
        return loss

    with wg.no_grad():
        loss = opt.step(closure)
    assert float(loss) == pytest.approx((matrix() ** 2).sum())
    assert p.numpy() == pytest.approx(0.8 * matrix())


def test_hooks_run_around_a_step_and_can_be_removed():
    p = parameter()
    opt = wg.optim.SGD([p], lr=1.0)
    calls = []
    before = opt.register_step_pre_hook(
        lambda o, args, kwargs: calls.append(wg.optim.clip_grad_norm_(o.parameters(), 0.5))
    )
    opt.register_step_post_hook(lambda o, args, kwargs: calls.append("after"))
    start = p.numpy()
    give([p])
    opt.step()
    assert np.linalg.norm(p.numpy() - start) == pytest.approx(0.5, rel=1e-5)
    assert calls[1] == "after"
    before.remove()
    before.remove()
    opt.step()
    assert len(calls) == 3


def test_an_optimizer_can_be_copied_with_its_model():
    p = parameter()
    opt = wg.optim.Adam([p], lr=0.1)
    give([p])
    opt.step()
    twin = copy.deepcopy(opt)
    (q,) = twin.parameters()
    assert q is not p
    for o, x in ((opt, p), (twin, q)):
        give([x])
        o.step()
    assert (p.numpy() == q.numpy()).all()
    assert "Adam(\n  group 0: 1 parameters, lr=0.1" in repr(opt)


def test_the_functional_form_can_be_differentiated_and_mapped():
    """The learning rate's own derivative, and several runs side by side."""
    opt = wg.optim.functional(wg.optim.Adam, lr=0.1)

    def trained(lr, start):
        params = {"w": start}
        state = opt.init(params)
        for _ in range(3):
            grads = wg.grad(lambda p: wg.sum(p["w"] ** 4))(params)
            params, state = opt.update(grads, state, params, lr=lr)
        return wg.sum(params["w"] ** 2)

    w = wg.asarray(np.array([1.0, -0.5]))
    slope = float(wg.grad(trained)(wg.asarray(np.float64(0.1)), w))
    h = 1e-6
    expected = (float(trained(0.1 + h, w)) - float(trained(0.1 - h, w))) / (2 * h)
    assert slope == pytest.approx(expected, rel=1e-6)
    starts = wg.asarray(matrix(0, np.float64, (5, 2)))
    rows = wg.vmap(lambda s: trained(0.1, s))(starts).numpy()
    assert rows == pytest.approx([float(trained(0.1, starts[i])) for i in range(5)])


# -- modulation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_modulation_scales_every_connections_step(kind):
    factor = np.abs(matrix(7))
    factor[0] = 0.0
    p, q = parameter(), parameter()
    opt, plain = kind([p], weight_decay=0.1), kind([q], weight_decay=0.1)
    opt.modulate(p, factor)
    g = matrix(8)
    opt.step(grads=[g])
    plain.step(grads=[g])
    assert p.numpy() - matrix() == pytest.approx(factor * (q.numpy() - matrix()), abs=1e-15)
    assert (p.numpy()[0] == matrix()[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_connections_stay_frozen_through_a_checkpoint(kind):
    p = parameter()
    factor = (matrix(7)[:, :1] > 0).astype(float)  # one factor a row
    opt = kind([{"params": [p], "modulation": {p: factor}}])
    state = opt.state_dict()
    q = parameter()
    resumed = kind([q])
    resumed.load_state_dict(state)
    for i in range(5):
        resumed.step(grads=[matrix(20 + i)])
    frozen = factor[:, 0] == 0
    assert (q.numpy()[frozen] == matrix()[frozen]).all()
    assert (q.numpy()[~frozen] != matrix()[~frozen]).any()
    resumed.modulate(q, None)
    resumed.step(grads=[matrix(30)])
    assert (q.numpy()[frozen] != matrix()[frozen]).all()


def test_modulation_of_a_large_parameter_in_blocks(monkeypatch):
    monkeypatch.setattr(machinery, "_BLOCK", 3)
    p, q = parameter(), parameter()
    factor = matrix(7)[:, :1]
    opt, plain = wg.optim.Adam([p]), wg.optim.Adam([q])
    opt.modulate(p, factor)
    opt.step(grads=[matrix(8)])
    plain.step(grads=[matrix(8)])
    assert p.numpy() - matrix() == pytest.approx(factor * (q.numpy() - matrix()), abs=1e-15)


def test_lbfgs_with_modulation_leaves_frozen_entries_and_still_converges():
    x = wg.Parameter(wg.asarray(np.array([3.0, -2.0, 1.0])))
    opt = wg.optim.LBFGS([x], line_search_fn="strong_wolfe")
    opt.modulate(x, wg.asarray([1.0, 0.0, 4.0]))
    scale = wg.asarray(np.array([1.0, 5.0, 30.0]))

    def closure():
        opt.zero_grad()
        loss = wg.sum(scale * x * x)
        loss.backward()
        return loss

    opt.step(closure)
    assert x.numpy() == pytest.approx([0.0, -2.0, 0.0], abs=1e-6)


# -- bad input -----------------------------------------------------------------------------------


def adam(**options):
    return lambda: wg.optim.Adam([parameter()], **options)


def derived():
    x = wg.asarray([1.0]).requires_grad_()
    return x * 2.0


SHARED = parameter()

WRONG = [
    (adam(lr=0.0), ArgumentError, r"\[Adam\] lr must be > 0 and finite; got lr=0"),
    (lambda: wg.optim.AdamW([parameter()], lr=0.0), ArgumentError, r"\[AdamW\] lr must be > 0"),
    (adam(lr=-1e-3), ArgumentError, "lr must be > 0"),
    (adam(lr=float("nan")), ArgumentError, "lr must be > 0.*not finite"),
    (adam(lr=float("inf")), ArgumentError, "lr must be > 0"),
    (adam(lr="fast"), DtypeError, "lr is a number; got 'fast'"),
    (adam(eps=-1.0), ArgumentError, "eps must be ≥ 0"),
    (adam(weight_decay=-0.1), ArgumentError, "weight_decay must be ≥ 0"),
    (adam(betas=(0.9, 1.0)), ArgumentError, r"betas\[1\] must be in \[0, 1\).*never forgets"),
    (adam(betas=0.9), ArgumentError, "betas are two numbers"),
    (lambda: wg.optim.Adam([]), ArgumentError, "there are no parameters to optimize"),
    (lambda: wg.optim.Adam(parameter()), DtypeError, r"pass \[parameter\]"),
    (lambda: wg.optim.Adam(wg.nn.Linear(2, 2)), DtypeError, r"did you mean model.parameters\(\)"),
    (lambda: wg.optim.Adam([np.zeros(3)]), DtypeError, "parameter 0 is not a tensor"),
    (lambda: wg.optim.Adam([derived()]), GradientError, "not a leaf.*result of mul, made at"),
    (lambda: wg.optim.Adam([SHARED, SHARED]), ArgumentError, "appears more than once"),
    (
        lambda: wg.optim.Adam([{"params": [SHARED]}, {"params": [SHARED]}]),
        ArgumentError,
        "positions 0 and 1",
    ),
    (lambda: wg.optim.Adam([{"lr": 0.1}]), ArgumentError, "needs the key 'params'"),
    (
        lambda: wg.optim.Adam([{"params": [parameter()], "weigth_decay": 0.1}]),
        ArgumentError,
        "unknown option.*'weigth_decay'.*choose among.*weight_decay",
    ),
    (
        lambda: wg.optim.Adam([{"params": [parameter()], "lr": -1.0}]),
        ArgumentError,
        "lr must be > 0",
    ),
    (
        lambda: wg.optim.Adam([("w", parameter()), parameter()]),
        ArgumentError,
        "either all parameters of a group come with a name",
    ),
    (
        lambda: wg.optim.SGD([parameter()], nesterov=True),
        ArgumentError,
        "Nesterov momentum needs a momentum",
    ),
    (lambda: wg.optim.SGD([parameter()], momentum=-1.0), ArgumentError, "momentum must be ≥ 0"),
    (lambda: wg.optim.RMSprop([parameter()], alpha=1.5), ArgumentError, r"alpha must be in \[0"),
    (lambda: wg.optim.Adadelta([parameter()], rho=-0.1), ArgumentError, r"rho must be in \[0"),
    (lambda: wg.optim.Adagrad([parameter()], lr_decay=-1), ArgumentError, "lr_decay must be ≥ 0"),
    (lambda: wg.optim.Adafactor([parameter()], beta2_decay=0.5), ArgumentError, "beta2_decay"),
    (lambda: wg.optim.Adafactor([parameter()], d=0.5), ArgumentError, "threshold d must be ≥ 1"),
    (lambda: wg.optim.NAdam([parameter()], momentum_decay=-1), ArgumentError, "momentum_decay"),
    (lambda: wg.optim.Muon([parameter(shape=(3,))]), ArgumentError, "only matrices.*AdamW"),
    (lambda: wg.optim.Muon([parameter()], ns_steps=0), ArgumentError, "ns_steps must be an int"),
    (lambda: wg.optim.Muon([parameter()], adjust_lr_fn="x"), ArgumentError, "unknown adjust_lr"),
    (lambda: wg.optim.Muon([parameter()], ns_coefficients=(1,)), ArgumentError, "three numbers"),
    (
        lambda: wg.optim.LBFGS([{"params": [parameter()]}, {"params": [parameter()]}]),
        ArgumentError,
        "all parameters share one group",
    ),
    (lambda: wg.optim.LBFGS([parameter()], max_iter=0), ArgumentError, "max_iter must be an int"),
    (
        lambda: wg.optim.LBFGS([parameter()], line_search_fn="armijo"),
        ArgumentError,
        "unknown line_search_fn; got 'armijo'",
    ),
    (lambda: wg.optim.LBFGS([parameter()]).step(), ArgumentError, "a step needs a closure"),
    (
        lambda: wg.optim.LBFGS([parameter()]).step(lambda: None),
        ArgumentError,
        "the closure returned no loss",
    ),
    (
        lambda: wg.optim.LBFGS([SHARED]).modulate(SHARED, -1.0),
        ArgumentError,
        "a modulation is not negative",
    ),
    (
        lambda: wg.optim.SGD([parameter()]).step(grads=[]),
        ArgumentError,
        "0 gradients for 1 parameters",
    ),
    (
        lambda: wg.optim.SGD([parameter()]).step(grads=[wg.zeros(3)]),
        ShapeError,
        "another shape than its parameter",
    ),
    (
        lambda: wg.optim.SGD([parameter()]).modulate(parameter(), 1.0),
        ArgumentError,
        "of a parameter of this optimizer",
    ),
    (
        lambda: wg.optim.SGD([{"params": [parameter()], "modulation": {SHARED: 1.0}}]),
        ArgumentError,
        "of this optimizer and group",
    ),
    (lambda: wg.optim.SGD([SHARED]).modulate(SHARED, wg.ones(7)), ShapeError, "broadcasts to its"),
    (lambda: wg.optim.SGD([SHARED]).modulate(SHARED, np.nan), ArgumentError, "is finite"),
    (lambda: wg.optim.functional(wg.optim.LBFGS), ArgumentError, "evaluates the loss by itself"),
    (lambda: wg.optim.functional(wg.optim.Adam, lr=-1.0), ArgumentError, "lr must be > 0"),
    (
        lambda: wg.optim.functional(wg.optim.SGD).update([wg.ones(2)], [], [wg.ones(2)]),
        ArgumentError,
        "do not fit each other",
    ),
    (
        lambda: wg.optim.functional(wg.optim.SGD).update([], [], [], rate=0.1),
        ArgumentError,
        "unknown option.*'rate'",
    ),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_bad_input(case):
    call, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        call()


def test_a_failed_group_is_not_added():
    opt = wg.optim.Adam([parameter()])
    with pytest.raises(WengertError):
        opt.add_param_group({"params": [parameter(1)], "lr": -1.0})
    assert len(opt.param_groups) == 1
