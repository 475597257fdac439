"""Walks that derive new computations from recorded ones: reverse, forward, batch, trace.

Each module lists its public functions in `__all__`; they all become `wengert.*`.
"""

from wengert.transforms.batch import *
from wengert.transforms.forward import *
from wengert.transforms.reverse import *
from wengert.transforms.trace import *
