"""Training: the loop, its callbacks and metrics, and checkpoints that survive a crash."""

from wengert.train.checkpoint import (
    checkpoints,
    is_valid,
    latest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from wengert.train.weights import load_weights, save_weights

__all__ = [
    "checkpoints",
    "is_valid",
    "latest_checkpoint",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
    "save_weights",
]
