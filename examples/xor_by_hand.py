"""XOR twice: the chain rule written out by hand in NumPy, and the same training by the library.

A network with one hidden layer learns the exclusive or, which no network without one can represent
(Minsky and Papert, "Perceptrons", 1969), and which is the first example of Rumelhart, Hinton and
Williams, "Learning internal representations by error propagation", 1986:

    z = x·Vᵀ + a,   h = tanh(z),   u = h·Wᵀ + b,   p = σ(u),   L = mean (p - y)²

`gradients_by_hand` is the derivation on paper: start from ∂L/∂p, and go back through the formulas
one by one. Both networks start from the same weights, and each takes its own steps of gradient
descent with its own gradients. At every step, loss, gradients and weights must agree to 1e-12.

    python examples/xor_by_hand.py
"""

from __future__ import annotations

import argparse

import numpy as np

import wengert as wg
from wengert import nn, optim

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
LEARNING_RATE = 2.0
TOLERANCE = 1e-12


def gradients_by_hand(V, a, W, b):
    """The loss, its derivatives with respect to the four parameters, and the predictions."""
    # Forward.
    z = X @ V.T + a
    h = np.tanh(z)
    u = h @ W.T + b
    p = 1 / (1 + np.exp(-u))
    loss = np.mean((p - Y) ** 2)

    # Backward: each line is ∂L/∂(the name), from that of the line before.
    dp = 2 * (p - Y) / Y.size
    du = dp * p * (1 - p)  # σ' = σ (1 - σ)
    dW = du.T @ h
    db = du.sum(axis=0)
    dh = du @ W
    dz = dh * (1 - h**2)  # tanh' = 1 - tanh²
    dV = dz.T @ X
    da = dz.sum(axis=0)
    return loss, [dV, da, dW, db], p


def main() -> None:
    parser = argparse.ArgumentParser(description="XOR by hand next to XOR by the library.")
    parser.add_argument("--steps", type=int, default=1000, help="steps of gradient descent")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights")
    options = parser.parse_args()

    # By the library.
    wg.random.seed(options.seed)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid()).double()
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)
    x, y = wg.asarray(X), wg.asarray(Y)

    # By hand: the same first weights.
    weights = [parameter.numpy().copy() for parameter in model.parameters()]

    worst = 0.0
    print("  step   loss by hand   loss by library   largest difference so far")
    for step in range(options.steps + 1):
        loss_by_hand, by_hand, _ = gradients_by_hand(*weights)

        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()

        pairs = [(loss, loss_by_hand)]
        pairs += zip(model.parameters(), weights, strict=True)
        pairs += zip([p.grad for p in model.parameters()], by_hand, strict=True)
        difference = max(np.abs(one.numpy() - other).max() for one, other in pairs)
        assert difference < TOLERANCE, f"step {step}: they differ by {difference}"
        worst = max(worst, difference)
        if step % max(1, options.steps // 8) == 0:
            print(f"{step:6}   {loss_by_hand:12.8f}   {float(loss):15.8f}   {worst:.1e}")

        optimizer.step()
        weights = [w - LEARNING_RATE * g for w, g in zip(weights, by_hand, strict=True)]

    final, _, predictions = gradients_by_hand(*weights)
    print("\n  x₁  x₂   wanted   by hand   by library")
    for inputs, wanted, p, q in zip(X, Y, predictions, model(x).numpy(), strict=True):
        print(f"{inputs[0]:4.0f}{inputs[1]:4.0f}{wanted[0]:9.0f}{p[0]:10.4f}{q[0]:13.4f}")
    print(f"\nLargest difference of losses, weights and gradients at any step: {worst:.1e}")
    print(f"Final loss: {final:.5f}")


if __name__ == "__main__":
    main()
