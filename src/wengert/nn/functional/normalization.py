"""Normalisations: subtract a mean, divide by a standard deviation, scale and shift.

They differ only in the axes that share one mean. In half precision the statistics are worked out
in float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core.dtypes import finfo_of, float32
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.op import cast_to
from wengert.core.spec import Shape, describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.variable import Variable
from wengert.nn.functional.arguments import at, floating, per_channel

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]

Axes = tuple[int, ...]
