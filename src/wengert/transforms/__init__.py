"""Walks that derive new computations from recorded ones.

Read `reverse` first: the walk that is called backpropagation; then `forward`. What users call
around these two walks is in `gradient`, `backward` and `jacobian`; functions that bring their own
rules, or are run again, are in `custom_reverse`, `custom_forward` and `remat`; `trace` and `batch`
make and run graphs of shapes.

Each module lists its public functions in `__all__`; they all become `wengert.*`.
"""

from wengert.transforms.backward import *
from wengert.transforms.batch import *
from wengert.transforms.custom_forward import *
from wengert.transforms.custom_reverse import *
from wengert.transforms.forward import *
from wengert.transforms.gradient import *
from wengert.transforms.jacobian import *
from wengert.transforms.modes import *
from wengert.transforms.remat import *
from wengert.transforms.trace import *
