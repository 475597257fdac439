"""Element-wise functions."""

from __future__ import annotations

from wengert.ops import elementwise as _e

__all__ = ["add", "cos", "divide", "exp", "log", "multiply", "negative", "sin", "subtract", "tanh"]

add, subtract, multiply, divide, negative = _e.add, _e.sub, _e.mul, _e.div, _e.neg
exp, log, sin, cos, tanh = _e.exp, _e.log, _e.sin, _e.cos, _e.tanh
