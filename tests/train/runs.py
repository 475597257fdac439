"""Small runs that the tests of training share."""

from __future__ import annotations

import numpy as np

import wengert as wg
from wengert import data, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(61, 1, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 61)
X[np.arange(61), 0, Y] += 2.0  # the class is the row that stands out


def network(dropout=0.3):
    nn = wg.nn
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(48, 3),
    )


def loaders(batch_size=8, workers=0):
    """Training data with augmentation in a random order, and validation data."""
    augment = data.Compose([data.RandomTranslation(0.5), data.GaussianNoise(0.1)])
    noisy = data.ArrayDataset(X[:45], Y[:45]).map(augment)
    return (
        data.DataLoader(noisy, batch_size, shuffle=True, seed=4, num_workers=workers),
        data.DataLoader((X[45:], Y[45:]), 10),
    )


def trainer(seed=1, **options):
    """A trainer with something of everything that has state."""
    wg.random.seed(seed)
    model = network()
    optimizer = wg.optim.Adam(model.parameters(), lr=0.01)
    defaults = {
        "metrics": {"accuracy": train.Accuracy()},
        "scheduler": wg.optim.CosineAnnealingLR(optimizer, 20),
        "schedule_every": "step",
        "seed": seed,
        "progress": False,
    }
    return train.Trainer(model, wg.nn.CrossEntropyLoss(), optimizer, **{**defaults, **options})


def without_times(value):
    """A state without the durations, which differ from run to run."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in ("seconds", "elapsed")}
    if isinstance(value, (list, tuple)):
        return [without_times(v) for v in value]
    if isinstance(value, wg.Tensor):
        return without_times(value.numpy())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    return repr(value)
