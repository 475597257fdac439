"""Ctrl-C during a run: the first one lets the present step end, the second one is an exception."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wengert.train.trainer import Trainer


class Interrupt:
    """While it is entered, SIGINT asks the trainer to stop. Does nothing outside the main thread,
    where Python allows no handlers, or where someone else has set a handler of their own."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.before: Any = None

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self.before = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.trainer.stop_reason == "interrupted":
            raise KeyboardInterrupt
        self.trainer.stop("interrupted")

    def __exit__(self, *exc: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
