"""Element-wise arithmetic and functions: each is its NumPy reference and its partial derivatives."""

from __future__ import annotations

import numpy as np

from wengert.core.op import Op
from wengert.core.rules import elementwise

add: Op = elementwise("add", np.add, lambda g: g, lambda g: g, takes="any")
sub: Op = elementwise("sub", np.subtract, lambda g: g, lambda g: neg(g), takes="numeric")
mul: Op = elementwise(
    "mul", np.multiply, lambda g, y: mul(g, y), lambda g, x: mul(g, x), takes="any"
)
div: Op = elementwise(
    "div",
    np.true_divide,
    lambda g, y: div(g, y),
    lambda g, y, out: neg(mul(g, div(out, y))),
    domain=(0.5, 2.0),
)
neg: Op = elementwise("neg", np.negative, lambda g: neg(g), takes="numeric")

exp: Op = elementwise("exp", np.exp, lambda g, out: mul(g, out))
log: Op = elementwise("log", np.log, lambda g, x: div(g, x), domain=(0.2, 4.0))
sin: Op = elementwise("sin", np.sin, lambda g, x: mul(g, cos(x)))
cos: Op = elementwise("cos", np.cos, lambda g, x: neg(mul(g, sin(x))))
tanh: Op = elementwise("tanh", np.tanh, lambda g, out: mul(g, sub(1.0, mul(out, out))))
