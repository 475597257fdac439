"""Neural networks: modules that hold parameters, with PyTorch's names, layouts and defaults.

`nn.functional` has the same computations as plain functions, `nn.init` the initial values.
"""

from wengert.nn import functional as functional
from wengert.nn import init as init
from wengert.nn import pytree as _pytree  # noqa: F401  (makes modules pytrees)
from wengert.nn.activation import *
from wengert.nn.attention import *
from wengert.nn.axiswise import *
from wengert.nn.containers import *
from wengert.nn.conv import *
from wengert.nn.distances import *
from wengert.nn.dropout import *
from wengert.nn.embedding import *
from wengert.nn.linear import *
from wengert.nn.losses import *
from wengert.nn.margins import *
from wengert.nn.module import *
from wengert.nn.normalization import *
from wengert.nn.padding import *
from wengert.nn.pooling import *
from wengert.nn.positions import *
from wengert.nn.resizing import *
from wengert.nn.summary import *
from wengert.nn.transformer import *
