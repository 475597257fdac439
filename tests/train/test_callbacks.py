"""Callbacks: stations, stopping, saving, schedules, history, vitals, logs, the progress bar."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

import wengert as wg
from tests.train import runs
from wengert import train
from wengert.errors import ArgumentError
from wengert.train.history import Thinning


class Record(train.Callback):
    """Notes which stations were called."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *args: self.calls.append(name)
        return super().__getattribute__(name)


def test_stations_in_their_order():
    record = Record()
    made = runs.trainer(callbacks=[record], accumulate=2)
    loader = wg.data.DataLoader((runs.X[:24], runs.Y[:24]), 8)
    made.fit(loader, (runs.X[:4], runs.Y[:4]), epochs=2)
    batch = ["on_batch_start", "on_batch_end"]
    step = ["on_after_backward", "on_after_step"]
    epoch = ["on_epoch_start", *batch, *batch, *step, *batch, *step]
    epoch += ["on_validation_end", "on_epoch_end"]
    assert record.calls == ["on_fit_start", *epoch, *epoch, "on_fit_end"]


def test_exceptions_are_told_and_raised():
    class Fail(train.Callback):
        def on_batch_end(self, trainer):
            raise ZeroDivisionError("here")

    record = Record()
    with pytest.raises(ZeroDivisionError, match="here"):
        runs.trainer(callbacks=[Fail(), record]).fit(*runs.loaders(), epochs=1)
    assert record.calls == ["on_fit_start", "on_epoch_start", "on_batch_start", "on_exception"]


class Script(train.Callback):
    """Gives `val_loss` (or another value) a course that the test chooses."""

    order = -60

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name
        self.weights = []

    def on_epoch_end(self, trainer, logs):
        logs[self.name] = self.values[trainer.epoch - 1]
        self.weights.append(runs.without_times(dict(trainer.model.state_dict())))


def stopped(values, name="val_loss", **options):
    script, stopping = Script(values, name), train.EarlyStopping(name, **options)
    made = runs.trainer(callbacks=[script, stopping], metrics={"accuracy": train.Accuracy()})
    made.fit((runs.X[:16], runs.Y[:16]), epochs=len(values))
    return made, script, stopping


def test_early_stopping_restores_the_best():
    made, script, stopping = stopped([3.0, 1.0, 1.0, 2.0, 0.5], patience=2)
    assert (made.epoch, stopping.best, stopping.best_epoch) == (4, 1.0, 2)
    assert made.stop_reason == "val_loss was best in epoch 2 (1) and not better for 2 epochs"
    assert runs.without_times(dict(made.model.state_dict())) == script.weights[1]


def test_early_stopping_without_a_stop_restores_too_unless_told_not_to():
    made, script, _ = stopped([3.0, 1.0, 2.0], patience=5)
    assert made.stop_reason is None
    assert runs.without_times(dict(made.model.state_dict())) == script.weights[1]
    made, script, _ = stopped([3.0, 1.0, 2.0], patience=5, restore_best=False)
    assert runs.without_times(dict(made.model.state_dict())) == script.weights[2]


def test_early_stopping_modes_deltas_and_nan():
    made, _, stopping = stopped([0.1, 0.5, 0.4, 0.45], "val_accuracy", patience=2)
    assert (made.epoch, stopping.best_epoch) == (4, 2)
    made, _, stopping = stopped([0.1, 0.5, 0.4], "other", patience=1, mode="min")
    assert (made.epoch, stopping.best) == (2, 0.1)
    made, _, stopping = stopped([1.0, 0.95, 0.94, 0.8], patience=2, min_delta=0.1)
    assert (made.epoch, stopping.best) == (3, 1.0)
    made, _, stopping = stopped([math.nan, 2.0, math.nan, 1.0], patience=2)
    assert (made.epoch, stopping.best) == (4, 1.0)


# -- saving -------------------------------------------------------------------------------------


def test_the_last_and_the_best_checkpoints_stay(tmp_path):
    saver = train.Checkpoint(tmp_path, keep=2, monitor="val_loss")
    values = [3.0, 1.0, 2.0, 2.0, math.nan]
    (tmp_path / "notes").mkdir()
    made = runs.trainer(callbacks=[Script(values), saver])
    made.fit((runs.X[:16], runs.Y[:16]), epochs=5, batch_size=16)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["notes", "step-00000002", "step-00000004", "step-00000005"]
    assert saver.best_path.name == "step-00000002"
    assert train.read_checkpoint(saver.best_path).meta["val_loss"] == 1.0
    assert made.last_checkpoint.name == "step-00000005"
    # A resumed run knows the best one.
    again = train.Checkpoint(tmp_path, keep=2, monitor="val_loss")
    more = runs.trainer(callbacks=[Script([*values, 1.5, 0.5]), again])
    more.fit((runs.X[:16], runs.Y[:16]), epochs=7, batch_size=16, resume=True)
    assert again.best_path.name == "step-00000007"
    names = sorted(p.name for p in tmp_path.glob("step-*"))
    assert names == ["step-00000006", "step-00000007"]


def test_a_folder_is_for_one_run(tmp_path):
    def run(epochs, resume=None, **options):
        made = runs.trainer(callbacks=[train.Checkpoint(tmp_path, keep=9, **options)])
        made.fit((runs.X[:16], runs.Y[:16]), epochs=epochs, batch_size=16, resume=resume)
        return sorted(p.name[-1] for p in tmp_path.iterdir())

    assert run(3) == ["1", "2", "3"]
    with pytest.raises(ArgumentError, match=r"further than step 0; got .*step-00000003.*resume=T"):
        run(1)
    with pytest.raises(ArgumentError, match="further than step 2"):
        run(3, resume=tmp_path / "step-00000002")
    assert run(4, resume=True) == ["1", "2", "3", "4"]
    (tmp_path / "step-00000004" / "model.safetensors").write_bytes(b"damaged")
    assert run(3, resume=tmp_path / "step-00000003") == ["1", "2", "3", "4"]
    assert run(1, overwrite=True) == ["1"]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"every_epochs": 2}, [6, 12]),
        ({"every_epochs": 0, "every_steps": 5}, [5, 10]),
        ({"every_epochs": 0}, []),
        ({"every_epochs": 0, "monitor": "loss"}, None),
    ],
)
def test_when_checkpoints_are_written(tmp_path, options, steps):
    made = runs.trainer(callbacks=[train.Checkpoint(tmp_path, keep=99, **options)])
    made.fit((runs.X[:24], runs.Y[:24]), epochs=4, batch_size=8)
    found = [int(p.name[-4:]) for p in train.checkpoints(tmp_path)]
    if steps is None:
        losses = made.history["loss"]
        steps = [3 * i + 3 for i in range(4) if losses[i] == min(losses[: i + 1])]
    assert found == steps


# -- schedules ----------------------------------------------------------------------------------


def rates(every, make):
    made = runs.trainer(scheduler=None)
    schedule = make(made.optimizer)
    made = train.Trainer(
        made.model,
        made.loss,
        made.optimizer,
        scheduler=schedule,
        schedule_every=every,
        progress=False,
    )
    made.fit((runs.X[:24], runs.Y[:24]), (runs.X, runs.Y), epochs=3, batch_size=8)
    return made.history.steps["lr"], made.history["lr"]


def test_schedules_by_step_and_by_epoch():
    halve = lambda optimizer: wg.optim.ExponentialLR(optimizer, 0.5)
    steps, epochs = rates("step", halve)
    np.testing.assert_allclose(steps, 0.01 * 0.5 ** np.arange(9))
    np.testing.assert_allclose(epochs, 0.01 * 0.5 ** np.array([3, 6, 9]))
    steps, epochs = rates("epoch", halve)
    np.testing.assert_allclose(steps, np.repeat([0.01, 0.005, 0.0025], 3))
    np.testing.assert_allclose(epochs, [0.01, 0.005, 0.0025])


def test_plateaus_watch_a_value():
    script = Script([1.0, 1.0, 1.0, 1.0])
    made = runs.trainer(scheduler=None)
    plateau = wg.optim.ReduceLROnPlateau(made.optimizer, factor=0.1, patience=1)
    made = train.Trainer(
        made.model,
        made.loss,
        made.optimizer,
        scheduler=train.LRSchedule(plateau),
        callbacks=[script],
        progress=False,
    )
    made.fit((runs.X[:8], runs.Y[:8]), epochs=4)
    np.testing.assert_allclose(made.history["lr"], [0.01, 0.01, 0.01, 0.001])


# -- records ------------------------------------------------------------------------------------


def test_history():
    made = runs.trainer()
    history = made.fit(*runs.loaders(), epochs=3)
    assert history is made.history
    assert history["epoch"] == [1, 2, 3]
    assert history["step"] == [6, 12, 18]
    assert history["samples"] == [45, 45, 45]
    assert all(s > 0 for s in history["seconds"])
    columns = ("step", "epoch", "loss", "lr", "gradient_norm", "seconds")
    assert tuple(history.steps) == columns
    assert history.steps["step"] == list(range(1, 19))
    weights = np.tile([8, 8, 8, 8, 8, 5], 3)
    mean = np.average(np.reshape(history.steps["loss"], (3, 6)), axis=1, weights=weights[:6])
    np.testing.assert_allclose(history["loss"], mean)
    assert history.best("val_loss") == min(history, key=lambda r: r["val_loss"])
    assert history.best("accuracy", "max")["accuracy"] == max(history["accuracy"])
    assert json.loads(json.dumps(history.to_dict())) == history.to_dict()
    assert repr(history).startswith("History(3 epochs; the last: loss=")


def test_thinning_keeps_an_even_cover():
    columns = Thinning(limit=8)
    for step in range(1, 101):
        if columns.wants(step):
            columns.add({"step": step, "x": step**2} if step < 50 else {"step": step})
    steps = columns.columns["step"]
    assert 4 <= len(columns) <= 8
    assert set(np.diff(steps)) == {16}
    assert steps[0] == 1
    assert columns.columns["x"] == [s**2 if s < 50 else None for s in steps]
    resumed = Thinning(limit=8)
    resumed.load_state_dict(columns.state_dict())
    assert [s for s in range(101, 140) if resumed.wants(s)] == [113, 129]


def test_vitals_are_the_norms():
    vitals = train.Vitals(every=2)
    seen = []

    class Watch(train.Callback):
        def on_after_backward(self, trainer):
            self.old = {n: (p.numpy().copy(), p.grad.numpy()) for n, p in trainer.named_parameters}

        def on_after_step(self, trainer, logs):
            norms = {
                n: [np.linalg.norm(v) for v in (self.old[n][1], p.numpy() - self.old[n][0])]
                + [np.linalg.norm(self.old[n][0])]
                for n, p in trainer.named_parameters
            }
            seen.append((trainer.step, norms, logs["gradient_norm"]))

    made = runs.trainer(callbacks=[vitals, Watch()])
    made.model.freeze("0")
    made.fit(*runs.loaders(), epochs=1)
    found = vitals.to_dict()
    assert found["steps"] == [1, 3, 5]
    assert list(found["parameters"]) == ["1.weight", "1.bias", "5.weight", "5.bias"]
    for name, columns in found["parameters"].items():
        assert list(columns) == ["gradient_norm", "update_norm", "weight_norm"]
        for i, column in enumerate(columns.values()):
            expected = [norms[name][i] for step, norms, _ in seen if step % 2]
            np.testing.assert_allclose(column, expected, rtol=1e-5)
    for _, norms, total in seen:
        assert total == pytest.approx(math.sqrt(sum(n[0] ** 2 for n in norms.values())), rel=1e-5)
    assert json.loads(json.dumps(found)) == found


def test_norms_do_not_overflow():
    from wengert.train.norms import global_norm, norm

    assert norm(np.full(4, 1e30, np.float32)) == pytest.approx(2e30)
    assert norm(np.full(4, 1e-30, np.float32)) == pytest.approx(2e-30)
    assert norm(np.full(4, 300.0, np.float16)) == 600.0
    assert global_norm([np.array([3.0]), np.array([[4.0]])]) == 5.0
    assert norm(np.array([np.inf])) == math.inf
    assert norm(np.zeros(0)) == 0.0


def test_logs_in_files(tmp_path):
    def make():
        callbacks = [
            train.JSONLogger(tmp_path / "logs" / "steps.jsonl", every="step"),
            train.CSVLogger(tmp_path / "logs" / "epochs.csv"),
            train.Checkpoint(tmp_path / "saved", every_epochs=2, overwrite=True),
        ]
        return runs.trainer(callbacks=callbacks)

    def lines():
        rows = (tmp_path / "logs" / "steps.jsonl").read_text().splitlines()
        with open(tmp_path / "logs" / "epochs.csv", newline="") as stream:
            table = list(csv.DictReader(stream))
        return [json.loads(r)["step"] for r in rows], [int(r["epoch"]) for r in table], table

    made = make()
    made.fit(*runs.loaders(), epochs=3)
    steps, epochs, table = lines()
    assert (steps, epochs) == (list(range(1, 19)), [1, 2, 3])
    assert float(table[2]["val_loss"]) == made.history["val_loss"][2]
    make().fit(*runs.loaders(), epochs=4, resume=True)  # from epoch 2 on
    assert lines()[:2] == (list(range(1, 25)), [1, 2, 3, 4])
    make().fit(*runs.loaders(), epochs=1)  # a new run starts its files anew
    assert lines()[:2] == (list(range(1, 7)), [1])


# -- the progress bar ---------------------------------------------------------------------------


def shown(terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, legacy_windows=False)
    bar = train.ProgressBar(console)
    made = runs.trainer(callbacks=[bar])
    made.fit(*runs.loaders(), epochs=10)
    return made, stream.getvalue()


def test_plain_lines_without_a_terminal():
    made, text = shown(terminal=False)
    lines = text.splitlines()
    assert len(lines) == 10
    first = made.history.epochs[0]
    assert lines[0].startswith(f"epoch  1/10  loss {first['loss']:.4f}  accuracy")
    assert f"val_loss {first['val_loss']:.4f}  val_accuracy" in lines[0]
    assert lines[9].startswith("epoch 10/10")
    assert "\x1b" not in text


def test_a_live_bar_in_a_terminal():
    _, text = shown(terminal=True)
    assert "\x1b[" in text
    assert "10/10" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"


def test_a_stop_is_explained(capsys):
    stopping = train.EarlyStopping("loss", patience=1, min_delta=9.0)
    made = runs.trainer(callbacks=[stopping], progress=True)
    made.fit((runs.X, runs.Y), epochs=5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("stopped: loss was best in epoch 1")
