"""Functions of neural networks, without state: what the modules of `wengert.nn` compute.

Arguments and their order are PyTorch's; images are laid out batch, channels, then space.
"""

from wengert.nn.functional.activations import *
from wengert.nn.functional.attention import *
from wengert.nn.functional.conv import *
from wengert.nn.functional.distances import *
from wengert.nn.functional.dropout import *
from wengert.nn.functional.linear import *
from wengert.nn.functional.losses import *
from wengert.nn.functional.margins import *
from wengert.nn.functional.normalization import *
from wengert.nn.functional.padding import *
from wengert.nn.functional.pooling import *
from wengert.nn.functional.regression import *
from wengert.nn.functional.resizing import *
from wengert.nn.functional.simplex import *
