"""Problems to optimize, with gradients written out by hand."""

from __future__ import annotations

import numpy as np


class Wavy:
    """A sum of squares of sines of a linear layer, plus sines of the weights: far from convex."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.w, self.b = rng.normal(size=(5, 3)), rng.normal(size=(3,))
        self.x, self.y = rng.normal(size=(7, 5)), rng.normal(size=(7, 3))

    def start(self):
        return [self.w.copy(), self.b.copy()]

    def loss(self, params):
        w, b = params
        r = np.sin(self.x @ w) + b + 0.1 * b**2 - self.y
        return 0.1 * (r**2).sum() + 0.1 * np.sin(3.0 * w).sum()

    def gradient(self, params):
        w, b = params
        r = np.sin(self.x @ w) + b + 0.1 * b**2 - self.y
        dw = self.x.T @ (0.2 * r * np.cos(self.x @ w)) + 0.3 * np.cos(3.0 * w)
        return [dw, (0.2 * r).sum(0) * (1.0 + 0.2 * b)]


def rosenbrock(x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def rosenbrock_gradient(x):
    inner = x[1] - x[0] ** 2
    return np.array([-2.0 * (1.0 - x[0]) - 400.0 * x[0] * inner, 200.0 * inner])
