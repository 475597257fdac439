"""Handwritten digits: a small convolutional network, trained and looked at.

A recipe is user code: it uses what `import wengert as wg` gives, and the lines of this file are the
ones that its report shows.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.console import Console

import wengert as wg
from wengert import data, diagnostics, nn, optim, system, train


class DigitNet(nn.Module):
    """Three convolutions, each with batch normalisation, and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(64)
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(64 * 2 * 2, 10)

    def forward(self, x: wg.Tensor) -> wg.Tensor:
        x = nn.functional.relu(self.norm1(self.conv1(x)))  # 16 × 8 × 8
        x = nn.functional.relu(self.norm2(self.conv2(x)))  # 32 × 8 × 8
        x = nn.functional.max_pool2d(x, 2)  # 32 × 4 × 4
        x = nn.functional.relu(self.norm3(self.conv3(x)))  # 64 × 4 × 4
        x = nn.functional.max_pool2d(x, 2)  # 64 × 2 × 2
        x = self.dropout(wg.flatten(x, 1))
        return self.classify(x)


@dataclass
class Result:
    """What a run gives back."""

    accuracy: float
    errors: int
    tested: int
    epochs: int
    seconds: float
    report: Path
    history: train.History


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the recipe."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/digits"),
        metavar="DIR",
        help="where checkpoints and the report go (default: runs/digits)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=30,
        metavar="N",
        help="passes through the training data (default: 30)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="samples a step (default: 32)"
    )
    parser.add_argument(
        "--lr",
        type=float,
        default=0.01,
        metavar="RATE",
        help="largest learning rate (default: 0.01)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=3,
        metavar="N",
        help="of the split, the weights and all else that is random (default: 3)",
    )


def main(arguments: list[str] | None = None, parser: argparse.ArgumentParser | None = None) -> int:
    """Run the recipe with options as on the command line."""
    if parser is None:
        parser = argparse.ArgumentParser("digits", description=__doc__)
        add_arguments(parser)
    options = parser.parse_args(arguments)
    with system.blas_threads(1):  # matrices of this size gain nothing from more
        run(**vars(options))
    return 0


def run(
    out: Path = Path("runs/digits"),
    epochs: int = 30,
    batch_size: int = 32,
    lr: float = 0.01,
    seed: int = 3,
    console: Console | None = None,
) -> Result:
    """Train, test on a fifth that was held out, and write the report."""
    started = perf_counter()
    console = console or Console()
    digits = data.digits()
    rest, test = data.train_test_split(digits, 0.2, seed=seed, stratify=True)
    training, validation = data.train_test_split(rest, 0.15, seed=seed, stratify=True)
    console.print(
        f"[bold]Handwritten digits[/]: {len(training)} to train on, {len(validation)} to validate, "
        f"{len(test)} held out",
        highlight=False,
    )

    augmented = training.map(data.RandomAffine(degrees=10, translate=0.7, scale=1.1))
    loader = data.DataLoader(augmented, batch_size, shuffle=True, seed=seed)

    wg.random.seed(seed)
    model = DigitNet()
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = optim.OneCycleLR(optimizer, max_lr=lr, total_steps=max(2, epochs * len(loader)))
    vitals = train.Vitals(every=2)
    trainer = train.Trainer(
        model,
        loss,
        optimizer,
        metrics={"accuracy": train.Accuracy()},
        scheduler=schedule,
        schedule_every="step",
        callbacks=[
            vitals,
            train.EarlyStopping("val_loss", patience=10),
            train.Checkpoint(out / "checkpoints", monitor="val_loss", overwrite=True),
            train.ProgressBar(console),
        ],
        seed=seed,
        progress=False,
    )
    history = trainer.fit(loader, validation, epochs=epochs)

    images, labels = (wg.asarray(a) for a in data.stack([test[i] for i in range(len(test))]))
    probabilities = wg.softmax(trainer.predict(images), axis=1).numpy()
    predicted, true = probabilities.argmax(axis=1), labels.numpy()
    confusion = train.ConfusionMatrix(10)(predicted, true)
    wrong = [i for i in range(len(test)) if predicted[i] != true[i]]
    accuracy = 1 - len(wrong) / len(test)
    console.print(train.confusion_table(confusion, digits.classes))

    seconds = perf_counter() - started
    report = diagnostics.write_report(
        out / "report.html",
        title="Handwritten digits",
        facts={
            "accuracy on the held-out fifth": f"{100 * accuracy:.2f} %",
            "mistakes": f"{len(wrong)} of {len(test)}",
            "parameters": f"{model.num_parameters():,}",
            "epochs": len(history),
            "seconds": round(seconds, 1),
        },
        history=[{k: v for k, v in row.items() if k != "samples"} for row in history],
        steps=history.steps,
        vitals=vitals.to_dict(),
        graph=step_graph(model, loss, images[:4], labels[:4]),
        summary=summary_rows(model),
        confusion=confusion,
        classes=digits.classes,
        mistakes=[
            {
                "image": images.numpy()[i, 0],
                "true": int(true[i]),
                "predicted": int(predicted[i]),
                "probability": float(probabilities[i].max()),
            }
            for i in wrong
        ],
        config={
            "epochs": epochs,
            "batch size": batch_size,
            "learning rate": lr,
            "seed": seed,
            "optimizer": "AdamW, one-cycle schedule",
            "loss": repr(loss),
            "stopped": trainer.stop_reason or "after the last epoch",
            **{f"version of {name}": version for name, version in system.versions().items()},
            "processor": system.cpu_model(),
        },
    )
    console.print(
        f"[bold green]{100 * accuracy:.2f} %[/] right on the held-out fifth "
        f"({len(wrong)} of {len(test)} wrong), {seconds:.1f} s",
        highlight=False,
    )
    console.print(f"Report: {report.resolve()}", highlight=False, soft_wrap=True)
    return Result(accuracy, len(wrong), len(test), len(history), seconds, report, history)


def step_graph(model: nn.Module, loss: nn.Module, x: wg.Tensor, y: wg.Tensor) -> wg.Graph:
    """The computation of one training step, forward and backward, traced without computing it."""

    def objective(model: nn.Module, x: wg.Tensor, y: wg.Tensor) -> Any:
        return loss(model(x), y)

    model.train()
    graph = wg.trace(wg.value_and_grad(objective), model, x, y)
    model.eval()
    return graph


def summary_rows(model: nn.Module) -> list[dict[str, Any]]:
    """The model's summary as the report's table."""
    rows = []
    for row in nn.summary(model, (1, 1, 8, 8)).rows:
        found = asdict(row)
        shapes = [" × ".join(map(str, shape)) for shape in found["outputs"]]
        rows.append(
            {
                "module": found["path"] or "(model)",
                "kind": found["kind"],
                "output": ", ".join(shapes),
                "parameters": found["parameters"],
                "FLOPs": found["flops"],
            }
        )
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
