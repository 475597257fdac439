"""Walks that derive new computations from recorded ones.

Read `reverse` first: the walk that is called backpropagation, then `forward`. What the functions
that users call do around these walks is in `gradient`, `backward`, `jacobian`; functions that bring
their own rules are in `custom` and `checkpoint`; `trace` and `batch` make and run graphs of shapes.

Each module lists its public functions in `__all__`; they all become `wengert.*`.
"""

from wengert.transforms.backward import *
from wengert.transforms.batch import *
from wengert.transforms.checkpoint import *
from wengert.transforms.forward import *
from wengert.transforms.gradient import *
from wengert.transforms.jacobian import *
from wengert.transforms.modes import *
from wengert.transforms.trace import *
