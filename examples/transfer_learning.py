"""Transfer learning: what a network learned from the digits 0-4 helps it with 5-9.

A network is trained on the first five digits. Its body is then frozen, and only a new last layer is
trained on the other five, for three epochs; at last everything is unfrozen, and fine-tuned with a
small learning rate for three more. For comparison: the same new layer on a body that has learned
nothing, and the whole network from scratch, with three epochs each.

Run it with `python examples/transfer_learning.py`; needs scikit-learn (extra `demo`).
"""

from __future__ import annotations

import argparse

import numpy as np

import wengert as wg
from wengert import data, nn, optim, train


class DigitNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(256, 5)

    def forward(self, x: wg.Tensor) -> wg.Tensor:
        return self.head(self.body(x))


def fit(model: nn.Module, part: data.Dataset, epochs: int, lr: float) -> train.Trainer:
    """Train those parameters that are not frozen."""
    trained = [p for p in model.parameters() if p.requires_grad]
    trainer = train.Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(trained, lr=lr),
        metrics={"accuracy": train.Accuracy()},
        seed=0,
        progress=False,
    )
    trainer.fit(part, epochs=epochs)
    return trainer


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--first-epochs", type=int, default=20, help="epochs on the digits 0-4")
    parser.add_argument("--epochs", type=int, default=3, help="epochs on the digits 5-9")
    options = parser.parse_args(arguments)
    images, labels = data.digits().arrays
    known = data.ArrayDataset(images[labels < 5], labels[labels < 5])
    known, known_test = data.train_test_split(known, 0.2, stratify=True)
    new = data.ArrayDataset(images[labels >= 5], labels[labels >= 5] - 5)
    new, new_test = data.train_test_split(new, 0.2, stratify=True)

    def accuracy(model: nn.Module, lr: float) -> float:
        """Of the digits 5-9, after training what is not frozen."""
        return fit(model, new, options.epochs, lr).evaluate(new_test)["accuracy"]

    wg.random.seed(0)
    model = DigitNet()
    augmented = known.map(data.RandomAffine(degrees=10, translate=0.7, scale=1.1))
    first = fit(model, augmented, options.first_epochs, lr=2e-3).evaluate(known_test)["accuracy"]
    print(f"digits 0-4: {first:.1%} right after {options.first_epochs} epochs")

    model.head = nn.Linear(256, 5)
    model.freeze("body")
    before = {name: p.numpy().copy() for name, p in model.body.named_parameters()}
    trained = sum(p.size for p in model.parameters() if p.requires_grad)
    transferred = accuracy(model, lr=1e-2)
    unchanged = all(np.array_equal(p.numpy(), before[n]) for n, p in model.body.named_parameters())
    print(f"digits 5-9, {options.epochs} epochs each:")
    share = f"{trained:,} of {model.num_parameters():,} parameters"
    print(f"  {transferred:.1%}  a new last layer on the frozen body ({share})")

    untrained = accuracy(DigitNet().freeze("body"), lr=1e-2)
    print(f"  {untrained:.1%}  the same on a body that has learned nothing")
    scratch = accuracy(DigitNet(), lr=2e-3)
    print(f"  {scratch:.1%}  the whole network from scratch")
    tuned = accuracy(model.unfreeze("body"), lr=3e-4)
    print(f"  {tuned:.1%}  the transferred one unfrozen, and fine-tuned for as long again")
    return {
        "transferred": transferred,
        "untrained": untrained,
        "scratch": scratch,
        "tuned": tuned,
        "body_unchanged": unchanged,
    }


if __name__ == "__main__":
    main()
