"""Training: the loop, its callbacks and metrics, and checkpoints that survive a crash."""

from wengert.train.callback import Callback
from wengert.train.checkpoint import (
    checkpoints,
    is_valid,
    latest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from wengert.train.classification import (
    AUROC,
    F1,
    Accuracy,
    ConfusionMatrix,
    Perplexity,
    Precision,
    Recall,
    TopK,
)
from wengert.train.guard import DivergedError
from wengert.train.history import History
from wengert.train.loggers import CSVLogger, JSONLogger
from wengert.train.metrics import MAE, MSE, R2, Mean, Metric
from wengert.train.progress import ProgressBar
from wengert.train.saving import Checkpoint
from wengert.train.schedule import LRSchedule
from wengert.train.stopping import EarlyStopping
from wengert.train.tables import confusion_table
from wengert.train.trainer import Trainer
from wengert.train.vitals import Vitals
from wengert.train.weights import load_weights, save_weights

__all__ = [
    "AUROC",
    "F1",
    "MAE",
    "MSE",
    "R2",
    "Accuracy",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "ConfusionMatrix",
    "DivergedError",
    "EarlyStopping",
    "History",
    "JSONLogger",
    "LRSchedule",
    "Mean",
    "Metric",
    "Perplexity",
    "Precision",
    "ProgressBar",
    "Recall",
    "TopK",
    "Trainer",
    "Vitals",
    "checkpoints",
    "confusion_table",
    "is_valid",
    "latest_checkpoint",
    "load_weights",
    "read_checkpoint",
    "save_checkpoint",
    "save_weights",
]
