"""The trainer's steps are compiled by default: the same training, or a notice that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.errors import NotCompiledWarning
from wengert.train import Accuracy, Trainer

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int64)


class Net(wg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        nn = wg.nn
        self.inner = nn.Sequential(
            nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.inner(x))


def trainer(kind: type[wg.nn.Module] = Net, **options: Any) -> Trainer:
    wg.manual_seed(0)
    model = options.pop("model", None) or kind()
    opt = wg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    options = {"metrics": {"accuracy": Accuracy()}, "seed": 1, "progress": False} | options
    return Trainer(model, wg.nn.CrossEntropyLoss(), opt, **options)


def compare(**options: Any) -> Trainer:
    ema = options.pop("ema", False)
    runs: list[Any] = []
    start = Net().state_dict()
    for compiled in (True, False):
        model = Net()
        model.load_state_dict(start)
        average = {"ema": wg.optim.EMA(model, 0.9)} if ema else {}
        made = trainer(model=model, compile=compiled, **average, **options)
        made.fit((X, Y), (X[:16], Y[:16]), epochs=3, batch_size=16)
        runs.append((made, made.model.state_dict(), made.predict(X)))
    for name, value in runs[0][1].items():
        np.testing.assert_allclose(
            value.numpy(), runs[1][1][name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name
        )
    np.testing.assert_allclose(runs[0][2].numpy(), runs[1][2].numpy(), rtol=1e-4, atol=1e-4)
    assert runs[0][0].history["val_accuracy"] == runs[1][0].history["val_accuracy"]
    made = runs[0][0]
    assert made.steps.backward.jitted is not None
    assert made.steps.backward.jitted.explain().events
    return made


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 2},
    "clipped": {"clip_grad_norm": 0.1},
    "averaged": {"ema": True},
    "forward": {"forward": lambda model, batch: (model(batch[0]), batch[1])},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_compiled_training_is_the_same_training(name: str) -> None:
    compare(**OPTIONS[name])


def test_natively(native: None) -> None:
    made = compare(clip_grad_norm=1.0)
    programs = made.steps.backward.jitted.explain().events
    assert len(programs) == 2  # the last batch is smaller


class Branching(Net):
    def forward(self, x: Any) -> Any:
        return super().forward(x) if x.sum() > -1e9 else x


def test_what_cannot_be_compiled_says_so_once() -> None:
    made = trainer(Branching)
    with pytest.warns(NotCompiledWarning) as caught:
        made.fit((X, Y), epochs=2, batch_size=20)
    (notice,) = caught
    text = str(notice.message)
    assert text.startswith("[Trainer] the training step is not compiled and runs eagerly: [bool]")
    assert "x.sum() > -1e9" in text
    assert "pass compile=False" in text
    assert len(made.history["loss"]) == 2
    quiet = trainer(Branching, compile=False)
    quiet.fit((X, Y), epochs=2, batch_size=20)
    assert quiet.history["loss"] == made.history["loss"]


def test_accumulated_weights_that_forward_decides() -> None:
    forward = lambda model, batch: (model(batch[0]), batch[1])
    made = trainer(forward=forward, accumulate=2)
    with pytest.warns(NotCompiledWarning, match="the weight of an accumulated batch is known only"):
        made.fit((X, Y), epochs=1, batch_size=10)


def test_batches_that_never_repeat() -> None:
    steps = trainer().steps
    message = r"the prediction is not compiled .*compiled 16 times, at last because of inputs\[0\]"
    for n in range(2, 18):
        steps.predict((X[:n],))
    with pytest.warns(NotCompiledWarning, match=message):
        steps.predict((X[:20],))
    steps.predict((X[:21],))


def test_errors_are_those_of_the_eager_run() -> None:
    labels = Y.copy()
    labels[30] = 7
    with pytest.raises(wg.errors.BoundsError, match="index 7 at target"):
        trainer().fit((X, labels), epochs=1, batch_size=20, shuffle=False)
