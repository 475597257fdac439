"""Wengert: backpropagation that you can see through.

`import wengert as wg`. Arrays are under the names of the array API standard (`wg.sum`,
`wg.linalg`), derivatives under JAX's (`wg.grad`, `wg.vmap`), networks and optimizers under
PyTorch's (`wg.nn`, `wg.optim`).
"""

import importlib as _importlib
import sys as _sys
import typing as _t
import warnings as _warnings

from wengert import errors, tree
from wengert import ops as _ops
from wengert.core.dtypes import (
    bfloat16,
    bool,
    default_float,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from wengert.core.graph import Graph as Graph
from wengert.core.methods import bind_namespace as _bind_namespace
from wengert.core.spec import Spec as Spec
from wengert.core.tensor import Tensor as Tensor
from wengert.core.variable import Parameter as Parameter
from wengert.core.variable import Variable as Variable
from wengert.namespaces import *
from wengert.namespaces.info import __array_api_version__, __array_namespace_info__
from wengert.transforms import *

from wengert import linalg  # isort: skip
from wengert import random  # isort: skip  (made of the functions above)
from wengert.random import manual_seed  # isort: skip

__version__ = "0.1.0"

_bind_namespace(_sys.modules[__name__])

# The star import above brings the modules of `namespaces` along with their functions: drop those.
for _name, _value in list(globals().items()):
    if getattr(_value, "__name__", "") == f"wengert.namespaces.{_name}":
        del globals()[_name]

# Infinities and NaN are results like others (IEEE 754): NumPy's warnings about those that the
# library's own lines make are switched off, as users of the field expect.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"wengert\.")

if _t.TYPE_CHECKING:
    from wengert import compiler, data, diagnostics, nn, optim, train
    from wengert.compiler.control import fori_loop, scan
    from wengert.compiler.jit import jit
    from wengert.compiler.threads import get_num_threads, set_num_threads
    from wengert.diagnostics.gradcheck import gradcheck

# Rooms that are imported when they are first used, to start fast.
_ON_DEMAND = ("compiler", "data", "diagnostics", "nn", "optim", "train")
_ELSEWHERE = {  # functions of such rooms
    "gradcheck": "diagnostics.gradcheck",
    "fori_loop": "compiler.control",
    "jit": "compiler.jit",
    "scan": "compiler.control",
    "get_num_threads": "compiler.threads",
    "set_num_threads": "compiler.threads",
}


def __getattr__(name: str) -> _t.Any:
    if name in _ON_DEMAND:
        return _importlib.import_module(f"wengert.{name}")
    if name in _ELSEWHERE:
        return getattr(_importlib.import_module(f"wengert.{_ELSEWHERE[name]}"), name)
    raise AttributeError(f"module 'wengert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_ELSEWHERE})
