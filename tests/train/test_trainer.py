"""The training loop: against loops written by hand, accumulation, evaluation, errors."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
from tests.train import runs
from wengert import data, train
from wengert.errors import ArgumentError, BoundsError, DtypeError, GradientError
from wengert.nn import functional as F

RNG = np.random.default_rng(0)


def bits(model):
    return runs.without_times(dict(model.state_dict()))


def test_fit_is_the_loop_that_one_would_write_by_hand():
    made = runs.trainer(clip_grad_norm=1.0, compile=False)
    made.fit(*runs.loaders(), epochs=2)

    wg.random.seed(1)
    model = runs.network()
    optimizer = wg.optim.Adam(model.parameters(), lr=0.01)
    schedule = wg.optim.CosineAnnealingLR(optimizer, 20)
    loss = wg.nn.CrossEntropyLoss()
    loader, _ = runs.loaders()
    wg.random.seed(1)
    for _ in range(2):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            wg.optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    assert bits(model) == bits(made.model)


# -- accumulation -------------------------------------------------------------------------------


def tokens(n=23):
    """Sequences with ignored labels, a different number in each."""
    x = RNG.normal(size=(n, 5, 4))
    y = RNG.integers(0, 3, (n, 5))
    y[RNG.random((n, 5)) < 0.4] = -100
    y[8:12] = -100  # a whole small batch that counts for nothing
    return x, y


class PerToken(wg.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = wg.nn.Linear(4, 3)

    def forward(self, x):
        return wg.permute_dims(self.inner(x), (0, 2, 1))


WEIGHTS = np.array([0.2, 1.0, 3.0])
LOSSES = {
    "mean": (lambda: wg.nn.MSELoss(), "regression"),
    "sum": (lambda: wg.nn.MSELoss(reduction="sum"), "regression"),
    "function": (lambda: F.l1_loss, "regression"),
    "labels": (lambda: wg.nn.CrossEntropyLoss(), "tokens"),
    "weighted": (lambda: wg.nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1), "tokens"),
    "nll": (lambda: lambda p, t: F.nll_loss(F.log_softmax(p, 1), t), "tokens"),
    "partial": (lambda: functools.partial(F.cross_entropy, weight=wg.asarray(WEIGHTS)), "tokens"),
    "soft": (lambda: F.cross_entropy, "soft"),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("batch", [4, 5])
def test_accumulated_gradients_are_those_of_the_large_batch(name, batch):
    make_loss, kind = LOSSES[name]
    x, y = tokens()
    if kind == "regression":
        y = RNG.normal(size=(23, 3, 5))
    if kind == "soft":
        y = RNG.dirichlet(np.ones(3), (23, 5)).transpose(0, 2, 1)
    wg.random.seed(0)
    initial = PerToken().double().state_dict()
    extra = {}
    if name == "nll":  # a loss of one's own: it says what a batch weighs
        extra["batch_weight"] = lambda batch, target: int((target.numpy() != -100).sum())

    def run(batch_size, accumulate):
        model = PerToken().double()
        model.load_state_dict(initial)
        optimizer = wg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        made = train.Trainer(
            model, make_loss(), optimizer, accumulate=accumulate, progress=False, **extra
        )
        made.fit((x, y), epochs=3, batch_size=batch_size, shuffle=False)
        return made

    large, small = run(3 * batch, 1), run(batch, 3)
    assert small.step == large.step == 3 * -(-23 // (3 * batch))
    for p, q in zip(large.model.parameters(), small.model.parameters(), strict=True):
        np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-12, atol=1e-13)
    if name != "sum":  # the mean loss of an epoch does not depend on how it was cut, either
        np.testing.assert_allclose(small.history["loss"], large.history["loss"], rtol=1e-12)


def test_a_batch_without_labels_that_count_changes_nothing():
    x, y = tokens()
    model = PerToken()
    before = bits(model)
    made = train.Trainer(
        model, wg.nn.CrossEntropyLoss(), wg.optim.SGD(model.parameters(), 0.1), progress=False
    )
    with pytest.raises(ArgumentError, match="without a single sample"):
        made.fit((x[8:12].astype(np.float32), y[8:12]), epochs=1)
    assert bits(model) == before


# -- evaluation ---------------------------------------------------------------------------------


def test_evaluate_and_predict():
    made = runs.trainer()
    made.fit(*runs.loaders(), epochs=1)
    model = made.model
    model.train()
    model[1].eval()
    found = made.evaluate((runs.X, runs.Y), batch_size=7)
    assert [m.training for m in model.modules()] == [True, True, False, True, True, True, True]
    model.eval()
    with wg.no_grad():
        scores = model(wg.asarray(runs.X))
    assert found["loss"] == pytest.approx(float(F.cross_entropy(scores, wg.asarray(runs.Y))))
    assert found["accuracy"] == (scores.numpy().argmax(1) == runs.Y).mean()
    for given in (runs.X, wg.asarray(runs.X), (runs.X, runs.Y), data.ArrayDataset(runs.X, runs.Y)):
        out = made.predict(given, batch_size=9)
        assert out.node is None
        np.testing.assert_allclose(out.numpy(), scores.numpy(), rtol=1e-5, atol=1e-6)
    assert made.running.compute()["loss"] == made.history["loss"][0], "the running sums are kept"


def test_predict_gives_the_structure_of_the_output():
    class Two(wg.nn.Module):
        def forward(self, x):
            return {"sum": wg.sum(x, axis=(1, 2, 3)), "x": x}

    optimizer = wg.optim.SGD([wg.Parameter(wg.ones(1))], 0.1)
    out = train.Trainer(Two(), wg.sum, optimizer, progress=False).predict(runs.X, batch_size=8)
    assert sorted(out) == ["sum", "x"]
    np.testing.assert_allclose(out["sum"].numpy(), runs.X.sum((1, 2, 3)), rtol=1e-5, atol=1e-5)


def test_averaged_weights_are_evaluated_and_not_trained():
    made = runs.trainer()
    made.ema = wg.optim.EMA(made.model, 0.5)
    made.fit(*runs.loaders(), epochs=1)
    plain = bits(made.model)
    found = made.evaluate((runs.X, runs.Y))
    assert bits(made.model) == plain
    made.ema.copy_to()
    made.ema = None
    assert made.evaluate((runs.X, runs.Y)) == found
    assert bits(made.model) != plain


def test_own_forward_for_other_batches():
    samples = [{"image": x, "label": int(y)} for x, y in zip(runs.X, runs.Y, strict=True)]

    def forward(model, batch):
        return model(batch["image"]), batch["label"]

    first, second = runs.trainer(forward=forward), runs.trainer()
    first.fit(samples, epochs=1, shuffle=False)
    second.fit((runs.X, runs.Y), epochs=1, shuffle=False)
    assert bits(first.model) == bits(second.model)
    assert first.history["samples"] == [61]


# -- what goes wrong ----------------------------------------------------------------------------


def make(loss=None, **options):
    model = runs.network()
    optimizer = wg.optim.SGD(model.parameters(), lr=0.1)
    return train.Trainer(
        model, loss or wg.nn.CrossEntropyLoss(), optimizer, **{"progress": False, **options}
    )


def fit(made, epochs=1, val=None):
    return made.fit((runs.X, runs.Y), val, epochs=epochs)


class Unreduced(wg.nn.Module):
    def forward(self, prediction, target):
        return F.cross_entropy(prediction, target, reduction="none")


def empty_stream():
    return iter(())


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: make(accumulate=0), ArgumentError, "accumulate must be an integer ≥ 1"),
        (lambda: make(clip_grad_norm=-1), ArgumentError, "clip_grad_norm must be > 0"),
        (lambda: make(seed="a"), DtypeError, r"\[Trainer\] seed must be an integer; got 'a'"),
        (lambda: make(ema=3), DtypeError, "the ema is no EMA; got int"),
        (lambda: make(scheduler=3), DtypeError, "the scheduler is no LRScheduler; got int"),
        (lambda: make(scheduler=schedule()), ArgumentError, "the schedule is of another optimizer"),
        (lambda: make(wg.nn.MSELoss), DtypeError, "the class MSELoss; likely cause: a class in"),
        (lambda: make("mse"), DtypeError, "function of prediction and target; got 'mse'"),
        (lambda: train.Trainer(F.relu, F.mse_loss, sgd()), DtypeError, "the model is no Module"),
        (lambda: train.Trainer(runs.network(), F.mse_loss, 3), DtypeError, "is no Optimizer; got"),
        (
            lambda: train.Trainer(runs.network(), F.mse_loss, sgd()),
            ArgumentError,
            "none of the model's parameters, so nothing would be trained",
        ),
        (lambda: make().fit((runs.X, runs.Y), epochs=2.5), DtypeError, "epochs must be an integer"),
        (lambda: make(wg.nn.MSELoss(reduction="none")), ArgumentError, "one number a batch"),
        (lambda: fit(make(Unreduced())), GradientError, r"float32\[32\]; likely cause: a loss"),
        (lambda: fit(make(lambda p, t: 3.0)), GradientError, "one number a batch; got float"),
        (lambda: make().fit(runs.X), ArgumentError, "tuple that ends with the target"),
        (lambda: make().fit((runs.X, runs.Y), epochs=-1), ArgumentError, "at least 0; got -1"),
        (lambda: make().fit((runs.X[:0], runs.Y[:0])), ArgumentError, "the dataset is empty"),
        (lambda: make().fit(empty_stream()), ArgumentError, "without a single sample"),
        (lambda: make(metrics={"loss": train.Accuracy()}), ArgumentError, "names that are not"),
        (lambda: make(metrics=[train.Accuracy]), ArgumentError, "must be wengert.train metrics"),
        (lambda: make(callbacks=[train.Vitals]), DtypeError, r"pass Vitals\(\)"),
        (lambda: make(callbacks=["x"]), DtypeError, "derive it from train.Callback"),
        (
            lambda: fit(make(callbacks=[train.EarlyStopping()])),
            ArgumentError,
            r"watch is not recorded; got 'val_loss'; likely cause: no validation.*watch one of",
        ),
        (lambda: train.LRSchedule(schedule(), "day"), ArgumentError, "'day'"),
        (lambda: train.LRSchedule(plateau(), "step"), ArgumentError, "on a plateau: every epoch"),
        (lambda: train.EarlyStopping(patience=0), ArgumentError, "patience=0"),
        (lambda: fit(make(callbacks=[train.EarlyStopping(mode="up")])), ArgumentError, "'up'"),
        (lambda: train.Checkpoint("x", keep=0), ArgumentError, "keep=0"),
        (lambda: train.History(limit=1), ArgumentError, "limit=1"),
        (lambda: train.History()["loss"], ArgumentError, "run fit first"),
        (lambda: fit(make())["val_loss"], ArgumentError, "use one of epoch, loss, lr"),
        (lambda: train.JSONLogger("x", every="day"), ArgumentError, "no such station; got 'day'"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def sgd():
    return wg.optim.SGD([wg.Parameter(wg.ones(1))], 0.1)


def schedule():
    return wg.optim.StepLR(sgd(), 1)


def plateau():
    return wg.optim.ReduceLROnPlateau(sgd())


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_fails_changes_nothing(accumulate):
    labels = runs.Y[:32].copy()
    labels[20] = 7  # in the third batch of eight
    before = {}

    class Look(train.Callback):
        def on_after_step(self, trainer, logs):
            before.update(bits(trainer.model))

    made = make(accumulate=accumulate, callbacks=[Look()])
    with pytest.raises(BoundsError, match="index 7 at target"):
        made.fit((runs.X[:32], labels), epochs=1, batch_size=8, shuffle=False)
    assert before
    assert bits(made.model) == before, "batch statistics, too"
    assert all(p.grad is None for p in made.model.parameters())


# -- the guard ----------------------------------------------------------------------------------


def test_nan_in_the_data_is_found_and_nothing_is_lost(tmp_path):
    x = runs.X.copy()
    x[50, 0, 2, 3] = np.nan
    made = make(callbacks=[train.Checkpoint(tmp_path, every_steps=1)])
    seen = {}

    class Watch(train.Callback):
        def on_after_step(self, trainer, logs):
            seen["bits"] = bits(trainer.model)

        def on_exception(self, trainer, error):
            seen["error"] = error

    made.callbacks.all.append(Watch())
    with pytest.raises(train.DivergedError) as caught:
        made.fit((x, runs.Y), epochs=3, batch_size=16, shuffle=False)
    text = str(caught.value)
    assert "the loss is nan at step 4; the step was not taken" in text
    assert "the model is as after step 3; the last checkpoint is" in text
    assert "step-00000003" in text
    assert "first bad gradient: 0.weight, 27 NaN of 27 entries" in text
    assert "the data: batch[0] holds 1 NaN of 468 entries" in text
    assert "lower the learning rate (now 0.1)" in text
    assert seen["error"] is caught.value
    assert bits(made.model) == seen["bits"], "batch statistics, too, are as before"
    assert all(p.grad is None for p in made.model.parameters())
    stored = train.read_checkpoint(tmp_path).parts["model"]
    assert runs.without_times(stored) == seen["bits"]


def test_a_gradient_that_is_not_finite_is_found_where_the_loss_is():
    class Root(wg.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = wg.Parameter(wg.ones(1))
            self.root = wg.Parameter(wg.zeros(2))

        def forward(self, x):
            return wg.sqrt(self.root).sum() + (self.scale * x).sum()

    model = Root()
    made = train.Trainer(
        model, lambda p, t: p, wg.optim.SGD(model.parameters(), 0.1), progress=False
    )
    with pytest.raises(
        train.DivergedError,
        match=r"a gradient is not finite at step 1.*gradient: root, 2 infinite of 2.*arose in the",
    ):
        made.fit((np.ones((4, 1), np.float32), np.zeros(4)), epochs=1)


def test_a_parameter_that_is_not_finite_is_named_first():
    made = make()
    made.model[5].bias.assign(np.array([0.0, np.inf, 0.0]))
    with pytest.raises(train.DivergedError, match=r"first bad parameter: 5.bias, 1 infinite of 3"):
        fit(made)


def test_the_guard_can_be_switched_off():
    made = make(nan_guard=False)
    made.model[5].bias.assign(np.array([0.0, np.nan, 0.0]))
    assert np.isnan(fit(made)["loss"][0])
