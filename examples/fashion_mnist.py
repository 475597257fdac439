"""Fashion-MNIST: a small convolutional network on pictures of clothing.

By default on a part of the data, so that it takes less than a minute; `--limit 0` takes all. The
data are looked for in `--data`, then where Debian's package dataset-fashion-mnist puts them, and
are downloaded otherwise (extra `data`).

Run it with `python examples/fashion_mnist.py`.
"""

from __future__ import annotations

import argparse

import numpy as np

import wengert as wg
from wengert import data, nn, optim, train


def part_of(dataset: data.ArrayDataset, limit: int) -> data.Dataset:
    """A random part with all classes in their share; everything for limit 0."""
    if not 0 < limit < len(dataset):
        return dataset
    return data.train_test_split(dataset, limit, seed=0, stratify=True)[1]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),  # 16 × 14 × 14
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),  # 32 × 7 × 7
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 7 * 7, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", metavar="DIR", help="folder with the four *-ubyte.gz files")
    parser.add_argument("--limit", type=int, default=10_000, help="training pictures (0: all)")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args(arguments)

    training = part_of(data.fashion_mnist(path=options.data), options.limit)
    test = part_of(data.fashion_mnist(train=False, path=options.data), options.limit // 5)
    print(f"{len(training)} pictures to train on, {len(test)} to test")
    loader = data.DataLoader(training.map(data.RandomFlip()), 64, shuffle=True, seed=0)

    wg.random.seed(0)
    model = network()
    print(nn.summary(model, (1, 1, 28, 28)))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    trainer = train.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics={"accuracy": train.Accuracy()},
        scheduler=optim.OneCycleLR(optimizer, 3e-3, total_steps=options.epochs * len(loader)),
        schedule_every="step",
        seed=0,
    )
    trainer.fit(loader, test, epochs=options.epochs)

    predicted = trainer.predict(test).numpy().argmax(axis=1)
    true = np.array([label for _, label in test])
    counts = train.ConfusionMatrix(10)(predicted, true)
    print("\nmost often confused:")
    np.fill_diagonal(counts, 0)
    for place in np.argsort(counts, axis=None)[::-1][:3]:
        a, b = np.unravel_index(place, counts.shape)
        names = training.classes
        print(f"  {counts[a, b]:3} times {names[a]} was taken for {names[b]}")
    accuracy = float((predicted == true).mean())
    print(f"{accuracy:.1%} right")
    return accuracy


if __name__ == "__main__":
    main()
