"""`ProgressBar`: one line an epoch, and a live bar below them where there is a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wengert.train.callback import Callback, Logs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from wengert.train.trainer import Trainer

_PLAIN = ("epoch", "step", "samples", "seconds", "lr")


class ProgressBar(Callback):
    """Shows loss and metrics while training. On what is no terminal, plain lines are printed."""

    order = 100

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.task: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        from rich.console import Console

        self.console = self.console or Console()
        if self.console.is_terminal:
            self.bar = _bar(self.console)
            self.bar.start()

    def on_epoch_start(self, trainer: Trainer) -> None:
        if self.bar is None:
            return
        loader = trainer.train_loader
        total = None if loader is None or loader.batches is None else len(loader)
        name = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
        done = 0 if loader is None else loader.state_dict()["position"]
        self.task = self.bar.add_task(name, total=total, completed=done, values="")

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.bar is not None:
            self.bar.update(self.task, advance=1)

    def on_after_step(self, trainer: Trainer, logs: Logs) -> None:
        if self.bar is not None:
            self.bar.update(self.task, values=_line(trainer.running.compute(), styled=True))

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        styled = self.bar is not None
        width = len(str(trainer.epochs))
        head = f"epoch {trainer.epoch:>{width}}/{trainer.epochs}"
        line = f"{head}  {_line(logs, styled)}  {logs['seconds']:.1f} s"
        if self.bar is not None:
            self.bar.remove_task(self.task)
            self.bar.console.print(line, highlight=False)
        else:
            assert self.console is not None
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._close()
        if trainer.stop_reason is not None and self.console is not None:
            self.console.print(
                f"stopped: {trainer.stop_reason}", markup=False, highlight=False, soft_wrap=True
            )

    def on_exception(self, trainer: Trainer, error: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _bar(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[values]}"),
        console=console,
        transient=True,
    )


def _line(values: Mapping[str, Any], styled: bool) -> str:
    """Loss and metrics, and those of the validation behind them."""
    parts = []
    for name, value in values.items():
        if name in _PLAIN or not isinstance(value, (int, float)):
            continue
        text = f"{value:.4f}"
        if styled:
            colour = "cyan" if name.startswith("val_") else "green"
            parts.append(f"[dim]{name}[/] [{colour}]{text}[/]")
        else:
            parts.append(f"{name} {text}")
    return "  ".join(parts)
