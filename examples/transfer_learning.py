"""Transfer learning: what a network learned from the digits 0-4 helps it with the digits 5-9.

1. A small convolutional network learns the first five digits from all examples of them.
2. Its body is frozen, the last layer is replaced by a new one, and only that one is trained, on a
   few examples of the other five digits. The body's weights stay the same to the last bit.
3. Everything is unfrozen and trained a little more.

For comparison, a new last layer is trained in the same way on a body that has learned nothing, and
a whole network from scratch. Each is repeated with other weights and another choice of the few
examples; the table shows the mean accuracy on all other examples, and its spread.

Expect the learned body to beat the untrained one clearly, and unfreezing to add to it. On pictures
as simple as these, training a whole network from scratch needs no help, and does about as well.

    python examples/transfer_learning.py        # needs scikit-learn: pip install "wengert[demo]"

Source of the question: Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep
neural networks?", 2014; of the data: Alpaydin and Kaynak 1998.
"""

from __future__ import annotations

import argparse

import numpy as np

import wengert as wg
from wengert import data, nn, optim, train

RATE = 3e-3
RATE_OF_HEAD = 1e-2  # the last layer alone


class DigitNet(nn.Module):
    """A body that turns a picture into 128 features, and a head that tells five classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 16 × 4 × 4
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 32 × 2 × 2
            nn.Flatten(),
        )
        self.head = nn.Linear(128, 5)

    def forward(self, x: wg.Tensor) -> wg.Tensor:
        return self.head(self.body(x))


def fit(model: nn.Module, part: data.Dataset, epochs: int, lr: float, seed: int) -> train.Trainer:
    """Train what is not frozen."""
    trained = [p for p in model.parameters() if p.requires_grad]
    trainer = train.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(trained, lr=lr),
        metrics={"accuracy": train.Accuracy()},
        seed=seed,
        progress=False,
    )
    trainer.fit(part, epochs=epochs)
    return trainer


def bits(module: nn.Module) -> list[bytes]:
    """All parameters as they lie in memory."""
    return [p.numpy().tobytes() for p in module.parameters()]


def compare(shots: int, epochs: int, seed: int) -> dict[str, float]:
    """Accuracies of one repetition."""
    images, labels = data.digits().arrays
    low, high = labels < 5, labels >= 5
    known = data.ArrayDataset(images[low], labels[low])
    new = data.ArrayDataset(images[high], labels[high] - 5)
    known, known_test = data.train_test_split(known, 0.2, seed=seed, stratify=True)
    new_test, few = data.train_test_split(new, 5 * shots, seed=seed, stratify=True)
    accuracy = {}

    # What is to be transferred.
    wg.random.seed(seed)
    model = DigitNet()
    trainer = fit(model, known, 10, RATE, seed)
    accuracy["digits 0-4"] = trainer.evaluate(known_test)["accuracy"]

    # A new head on the frozen body.
    model.head = nn.Linear(128, 5)
    model.freeze("body")
    learned = bits(model.body)
    trainer = fit(model, few, epochs, RATE_OF_HEAD, seed)
    accuracy["new head, learned body frozen"] = trainer.evaluate(new_test)["accuracy"]
    assert bits(model.body) == learned, "the frozen body has changed"

    # Unfrozen, and trained on.
    model.unfreeze("body")
    trainer = fit(model, few, epochs, RATE, seed)
    accuracy["then unfrozen, all trained"] = trainer.evaluate(new_test)["accuracy"]
    assert bits(model.body) != learned, "the body is still frozen"

    # For comparison: nothing learned before.
    untrained = DigitNet().freeze("body")
    trainer = fit(untrained, few, epochs, RATE_OF_HEAD, seed)
    accuracy["new head, untrained body frozen"] = trainer.evaluate(new_test)["accuracy"]
    trainer = fit(DigitNet(), few, epochs, RATE, seed)
    accuracy["all from scratch"] = trainer.evaluate(new_test)["accuracy"]
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="Transfer from the digits 0-4 to 5-9.")
    parser.add_argument("--shots", type=int, default=10, help="examples of each new digit")
    parser.add_argument("--epochs", type=int, default=40, help="epochs on these examples")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    runs = [compare(options.shots, options.epochs, seed) for seed in range(options.repeats)]
    columns = {name: [100 * run[name] for run in runs] for name in runs[0]}
    print(f"digits 0-4, all examples: {np.mean(columns.pop('digits 0-4')):.1f} % right")
    print(f"digits 5-9, {options.shots} examples of each:")
    for name, column in columns.items():
        print(f"  {name:<33} {np.mean(column):5.1f} % right (± {np.std(column):.1f})")
    frozen, head = (part.num_parameters() for part in (DigitNet().body, DigitNet().head))
    print(
        f"The {frozen:,} frozen values did not change by a bit while {head:,} others were trained."
    )


if __name__ == "__main__":
    main()
