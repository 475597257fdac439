"""Resuming: stopped anywhere and started afresh, a run is bitwise the one that never stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
from tests.train import runs
from wengert import data, train
from wengert.errors import ArgumentError, StateError
from wengert.train import resuming


class StopAt(train.Callback):
    """Ends the run after a step, as an interrupt would."""

    def __init__(self, step, reason="interrupted"):
        self.step, self.reason = step, reason

    def on_after_step(self, trainer, logs):
        if trainer.step == self.step:
            trainer.stop(self.reason)


def options(folder, stop_at=None, **more):
    callbacks = [
        train.EarlyStopping(patience=50),
        train.Vitals(every=2),
        train.Checkpoint(folder, every_epochs=1, every_steps=4, monitor="val_loss", keep=2),
    ]
    if stop_at is not None:
        callbacks.append(StopAt(stop_at))
    return {"callbacks": callbacks, **more}


def state(trainer):
    return runs.without_times(resuming.collect(trainer))


def full_run(folder, **more):
    straight = runs.trainer(**options(folder, **more))
    straight.fit(*runs.loaders(), epochs=4)
    return straight


@pytest.mark.parametrize("stop_at", [1, 5, 6, 7, 12, 23])  # 6 steps an epoch
def test_interrupted_and_resumed_is_bitwise_the_same(tmp_path, stop_at):
    straight = full_run(tmp_path / "a")
    stopped = runs.trainer(**options(tmp_path / "b", stop_at))
    stopped.fit(*runs.loaders(), epochs=4)
    assert stopped.stop_reason == "interrupted"
    assert stopped.step == stop_at

    wg.random.seed(1234)
    np.random.default_rng(3).normal(size=5)
    resumed = runs.trainer(seed=77, **options(tmp_path / "b"))  # other weights, other seed
    resumed.fit(*runs.loaders(workers=2), epochs=4, resume=True)
    assert resumed.step == straight.step == 24
    ours, theirs = state(resumed), state(straight)
    assert ours.keys() == theirs.keys()
    for part in theirs:
        assert ours[part] == theirs[part], part
    # The last epoch's weights agree too, not only the restored best ones.
    last = [train.read_checkpoint(tmp_path / x / "step-00000024").parts for x in "ab"]
    assert runs.without_times(last[0]) == runs.without_times(last[1])


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_with_accumulation_clipping_average_and_plateau(tmp_path, stop_at):
    def make(folder, seed=1, stop=None):
        made = runs.trainer(seed, scheduler=None, **options(folder, stop))
        ema = wg.optim.EMA(made.model, 0.9)
        plateau = wg.optim.ReduceLROnPlateau(made.optimizer, patience=0, factor=0.5)
        return runs.train.Trainer(
            made.model,
            made.loss,
            made.optimizer,
            metrics={"accuracy": train.Accuracy(), "auroc": train.F1()},
            callbacks=options(folder, stop)["callbacks"],
            scheduler=train.LRSchedule(plateau),
            accumulate=2,
            clip_grad_norm=0.5,
            ema=ema,
            seed=seed,
            progress=False,
        )

    straight = make(tmp_path / "a")
    straight.fit(*runs.loaders(), epochs=3)
    make(tmp_path / "b", stop=stop_at).fit(*runs.loaders(), epochs=3)
    resumed = make(tmp_path / "b", seed=5)
    resumed.fit(*runs.loaders(), epochs=3, resume=tmp_path / "b")
    assert resumed.step == 9
    assert state(resumed) == state(straight)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    """kill -9 in the middle of a step, resumed in another process: the same weights."""
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal, sys
            sys.path.insert(0, {str(Path(__file__).parents[2])!r})
            from tests.train import runs
            from wengert import train

            class Die(train.Callback):
                def on_after_backward(self, trainer):
                    if trainer.step == int(sys.argv[2]):
                        os.kill(os.getpid(), signal.SIGKILL)

            saver = train.Checkpoint(sys.argv[1], every_steps=3, keep=2)
            trainer = runs.trainer(callbacks=[saver, Die()])
            trainer.fit(*runs.loaders(), epochs=3, resume=True)
            train.save_weights(trainer.model, sys.argv[1] + "/end.safetensors")
            """
        )
    )

    def job(folder, die_at):
        command = [sys.executable, str(script), str(tmp_path / folder), str(die_at)]
        return subprocess.run(command, capture_output=True, text=True, timeout=100)

    done = job("a", -1)
    assert done.returncode == 0, done.stderr
    for die_at in (7, 16):
        assert job("b", die_at).returncode == -signal.SIGKILL
    assert job("b", -1).returncode == 0
    ends = [(tmp_path / x / "end.safetensors").read_bytes() for x in "ab"]
    assert ends[0] == ends[1]


def test_a_second_fit_goes_on_and_a_finished_run_stays_finished(tmp_path):
    trainer = runs.trainer(**options(tmp_path))
    trainer.fit(*runs.loaders(), epochs=2)
    again = runs.trainer(**options(tmp_path))
    again.fit(*runs.loaders(), epochs=2, resume=True)
    assert (again.step, len(again.history)) == (12, 2)
    again.fit(*runs.loaders(), epochs=1)
    assert (again.epoch, again.step) == (3, 18)


def test_resume_true_without_a_checkpoint_starts_anew(tmp_path):
    trainer = runs.trainer(**options(tmp_path / "new"))
    trainer.fit(*runs.loaders(), epochs=1, resume=True)
    assert trainer.step == 6


def test_an_early_stopped_run_stays_stopped(tmp_path):
    def make():
        stopping = train.EarlyStopping(patience=1, min_delta=100.0)
        return runs.trainer(callbacks=[stopping, train.Checkpoint(tmp_path)])

    first = make()
    first.fit(*runs.loaders(), epochs=9)
    assert first.epoch == 2
    second = make()
    second.fit(*runs.loaders(), epochs=9, resume=True)
    assert second.epoch == 2
    assert "not better for 1 epochs" in second.stop_reason
    first_weights, second_weights = (t.model.state_dict() for t in (first, second))
    assert runs.without_times(dict(first_weights)) == runs.without_times(dict(second_weights))


# -- failures -----------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    runs.trainer(callbacks=[train.Checkpoint(tmp_path, keep=2)]).fit(*runs.loaders(), epochs=2)
    return tmp_path


def another(stored, kind):
    """A trainer that the stored run does not fit, and what the error says."""
    saver = [train.Checkpoint(stored)]
    if kind == "model":
        other = runs.trainer(callbacks=saver)
        model = wg.nn.Sequential(wg.nn.Flatten(), wg.nn.Linear(36, 3))
        optimizer = wg.optim.Adam(model.parameters())
        made = train.Trainer(model, other.loss, optimizer, callbacks=saver, progress=False)
        return made, "does not fit Sequential|other callbacks"
    if kind == "optimizer":
        made = runs.trainer(callbacks=saver)
        made.optimizer = wg.optim.SGD(made.model.parameters(), lr=0.1)
        return made, "another kind of optimizer"
    if kind == "metrics":
        return runs.trainer(callbacks=saver, metrics={}), "other metrics than this run"
    if kind == "accumulate":
        return runs.trainer(callbacks=saver, accumulate=2), "pass accumulate=1"
    if kind == "callbacks":
        return runs.trainer(callbacks=[*saver, train.Vitals()]), "other callbacks with state"
    made = runs.trainer(callbacks=saver)
    made.ema = wg.optim.EMA(made.model)
    return made, "does not hold what this trainer consists of"


@pytest.mark.parametrize(
    "kind", ["model", "optimizer", "metrics", "accumulate", "callbacks", "ema"]
)
def test_a_run_that_does_not_fit_is_refused_and_nothing_is_changed(stored, kind):
    made, match = another(stored, kind)
    made.train_loader, made.val_loader = runs.loaders()
    before = runs.without_times(resuming.collect(made))
    with pytest.raises(StateError, match=match):
        made.fit(*runs.loaders(), epochs=3, resume=stored)
    made.train_loader, made.val_loader = runs.loaders()
    assert runs.without_times(resuming.collect(made)) == before


def test_other_loaders_are_refused(stored):
    made = runs.trainer(callbacks=[train.Checkpoint(stored)])
    before = runs.without_times(dict(made.model.state_dict()))
    for loaders, match in (
        (runs.loaders(batch_size=9), "another batch size; got 8, this loader has 9"),
        ((runs.loaders()[0],), "other loaders"),
        (((runs.X, runs.Y), (runs.X, runs.Y)), "another length"),
    ):
        with pytest.raises(StateError, match=match):
            made.fit(*loaders, epochs=3, resume=True)
        assert runs.without_times(dict(made.model.state_dict())) == before


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(stored):
    newest = stored / "step-00000012"
    with open(newest / "model.safetensors", "r+b") as stream:
        stream.truncate(100)
    made = runs.trainer(callbacks=[train.Checkpoint(stored)])
    with pytest.raises(StateError, match=r"model\.safetensors: it has 100 bytes"):
        made.fit(*runs.loaders(), epochs=3, resume=newest)
    assert made.step == 0
    made.fit(*runs.loaders(), epochs=1, resume=True)
    assert (made.step, made.last_checkpoint.name) == (6, "step-00000006")


def test_resume_true_needs_a_folder(tmp_path):
    with pytest.raises(ArgumentError, match="needs a Checkpoint callback"):
        runs.trainer().fit(*runs.loaders(), resume=True)
    with pytest.raises(StateError, match="no valid checkpoint"):
        runs.trainer().fit(*runs.loaders(), resume=tmp_path / "none")


def test_weights_alone(tmp_path):
    model, other = runs.network(), runs.network()
    path = train.save_weights(model, tmp_path / "w.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors"]
    train.load_weights(other, path)
    assert runs.without_times(dict(other.state_dict())) == runs.without_times(
        dict(model.state_dict())
    )
    smaller = wg.nn.Linear(2, 2)
    before = runs.without_times(dict(smaller.state_dict()))
    with pytest.raises(StateError, match="does not fit Linear"):
        train.load_weights(smaller, path)
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(StateError, match=r"not a whole safetensors file; got .*w\.safetensors"):
        train.load_weights(other, path)
    with pytest.raises(StateError, match="no such file"):
        train.load_weights(other, tmp_path / "none")
    assert runs.without_times(dict(smaller.state_dict())) == before
    alone = wg.nn.Sequential(wg.nn.Conv2d(1, 3, 3))
    path = train.save_weights(alone, tmp_path / "other.safetensors")
    assert "5.weight" in train.load_weights(other, path, strict=False).missing_keys
    np.testing.assert_array_equal(other[0].weight.numpy(), alone[0].weight.numpy())


def test_bfloat16_weights(tmp_path):
    model = wg.nn.Linear(3, 2).to("bfloat16")
    path = train.save_weights(model, tmp_path / "w.safetensors")
    other = wg.nn.Linear(3, 2).to("bfloat16")
    train.load_weights(other, path)
    assert other.weight.dtype == wg.bfloat16
    np.testing.assert_array_equal(other.weight.numpy(), model.weight.numpy())


def test_interrupts_end_a_run_at_a_step_and_save_it(tmp_path):
    class Press(train.Callback):
        def on_batch_end(self, trainer):
            if trainer.step == 7:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    made = runs.trainer(callbacks=[train.Checkpoint(tmp_path, every_epochs=100), Press()])
    made.fit(*runs.loaders(), epochs=4)
    assert signal.getsignal(signal.SIGINT) is before
    assert (made.stop_reason, made.step) == ("interrupted", 8)
    assert made.last_checkpoint.name == "step-00000008"

    class PressTwice(train.Callback):
        def on_batch_end(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):  # give the interpreter a moment to deliver it
                pass

    with pytest.raises(KeyboardInterrupt):
        runs.trainer(callbacks=[PressTwice()]).fit(*runs.loaders(), epochs=4)
    assert signal.getsignal(signal.SIGINT) is before


def test_modules_with_a_generator_of_their_own_resume(tmp_path):
    def make(stop=None):
        made = runs.trainer(**options(tmp_path / "x", stop))
        made.model[3].generator = wg.random.Generator(9)
        return made

    def draw(made):
        return made.model[3].generator.state_dict()["counter"].item()

    made = make(stop=2)
    assert "3.generator" in resuming.collect_generators(made)
    made.model[3].generator.bits((5,))
    counter = draw(made)
    made.fit(*runs.loaders(), epochs=1)
    resumed = make()
    resumed.fit(*runs.loaders(), epochs=0, resume=True)
    assert draw(resumed) >= counter


def test_datasets_and_streams_resume_in_the_middle(tmp_path):
    class Stream(data.IterableDataset):
        def __iter__(self):
            return zip(runs.X, runs.Y, strict=True)

    def make(stop=None):
        return runs.trainer(**options(tmp_path / str(bool(stop)), stop))

    straight = make()
    straight.fit(Stream(), (runs.X, runs.Y), epochs=2, batch_size=8)
    stopped = make(stop=11)
    stopped.fit(Stream(), (runs.X, runs.Y), epochs=2, batch_size=8)
    resumed = make(stop=100)
    resumed.fit(Stream(), (runs.X, runs.Y), epochs=2, batch_size=8, resume=True)
    assert runs.without_times(dict(resumed.model.state_dict())) == runs.without_times(
        dict(straight.model.state_dict())
    )
