"""Optimizers and learning-rate schedules, under PyTorch's names and defaults."""

from wengert.optim.adadelta import Adadelta
from wengert.optim.adafactor import Adafactor
from wengert.optim.adagrad import Adagrad
from wengert.optim.adam import Adam, AdamW
from wengert.optim.adamax import Adamax
from wengert.optim.averages import EMA, SWA
from wengert.optim.chains import ChainedScheduler, SequentialLR
from wengert.optim.clip import clip_grad_norm_, clip_grad_value_
from wengert.optim.cycles import CosineAnnealingWarmRestarts, OneCycleLR
from wengert.optim.lamb import LAMB
from wengert.optim.lbfgs import LBFGS
from wengert.optim.lion import Lion
from wengert.optim.muon import Muon
from wengert.optim.nadam import NAdam
from wengert.optim.optimizer import Optimizer
from wengert.optim.plateau import ReduceLROnPlateau
from wengert.optim.pure import Functional, functional
from wengert.optim.radam import RAdam
from wengert.optim.rmsprop import RMSprop
from wengert.optim.schedule import LRScheduler
from wengert.optim.schedules import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
    WarmupLR,
)
from wengert.optim.sgd import SGD

__all__ = [
    "EMA",
    "LAMB",
    "LBFGS",
    "SGD",
    "SWA",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "Functional",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Lion",
    "MultiStepLR",
    "Muon",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "functional",
]
