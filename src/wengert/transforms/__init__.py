"""Walks that derive new computations from recorded ones.

Read `reverse` first: the walk that is called backpropagation; then `forward`. What users call
around these two walks is in `gradient`, `backward` and `jacobian`; functions that bring their own
rules, or are run again, are in `custom_reverse`, `custom_forward` and `remat`; `trace` and `batch`
make and run graphs of shapes.

What is imported here becomes `wengert.*`.
"""

from wengert.transforms.backward import backward
from wengert.transforms.batch import vmap
from wengert.transforms.custom_forward import custom_jvp
from wengert.transforms.custom_reverse import custom_vjp
from wengert.transforms.forward import jvp, linearize
from wengert.transforms.gradient import grad, value_and_grad, vjp
from wengert.transforms.jacobian import hessian, hvp, jacfwd, jacrev
from wengert.transforms.modes import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    stop_gradient,
)
from wengert.transforms.remat import checkpoint
from wengert.transforms.trace import trace

__all__ = [
    "backward",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "enable_grad",
    "grad",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "no_grad",
    "set_grad_enabled",
    "stop_gradient",
    "trace",
    "value_and_grad",
    "vjp",
    "vmap",
]
