"""XOR twice: the chain rule written out by hand, and the library; the same numbers at every step.

A network with one hidden layer learns the exclusive or:

    h = tanh(x·W₁ᵀ + b₁)        p = σ(h·W₂ᵀ + b₂)        L = mean of -(y ln p + (1-y) ln(1-p))

Backpropagation is the chain rule from L back to the weights, each line using the one before:

    ∂L/∂z₂ = (p - y)/n          ∂L/∂W₂ = (∂L/∂z₂)ᵀ·h     ∂L/∂b₂ = Σ ∂L/∂z₂
    ∂L/∂h  = ∂L/∂z₂·W₂          ∂L/∂z₁ = ∂L/∂h·(1 - h²)
    ∂L/∂W₁ = (∂L/∂z₁)ᵀ·x        ∂L/∂b₁ = Σ ∂L/∂z₁

Run it with `python examples/xor_by_hand.py`.
"""

from __future__ import annotations

import numpy as np

import wengert as wg
from wengert import nn, optim

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([[0.0], [1.0], [1.0], [0.0]])
STEPS, RATE = 500, 1.0


def step_by_hand(weights: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients with NumPy alone."""
    w1, b1, w2, b2 = (weights[k] for k in ("0.weight", "0.bias", "2.weight", "2.bias"))
    h = np.tanh(X @ w1.T + b1)
    z2 = h @ w2.T + b2
    p = 1 / (1 + np.exp(-z2))
    loss = -np.mean(Y * np.log(p) + (1 - Y) * np.log(1 - p))

    dz2 = (p - Y) / len(X)
    dh = dz2 @ w2
    dz1 = dh * (1 - h**2)
    gradients = {
        "0.weight": dz1.T @ X,
        "0.bias": dz1.sum(axis=0),
        "2.weight": dz2.T @ h,
        "2.bias": dz2.sum(axis=0),
    }
    return float(loss), gradients


def main() -> float:
    """Train both; returns the largest difference between any two numbers of theirs."""
    wg.random.seed(1)
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    by_hand = {name: p.numpy().copy() for name, p in model.named_parameters()}
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    x, y = wg.asarray(X), wg.asarray(Y)

    difference = 0.0
    for step in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        loss_by_hand, gradients = step_by_hand(by_hand)

        difference = max(difference, abs(float(loss) - loss_by_hand))
        for name, p in model.named_parameters():
            difference = max(difference, np.abs(p.grad.numpy() - gradients[name]).max())
        optimizer.step()
        for name, gradient in gradients.items():
            by_hand[name] -= RATE * gradient
        for name, p in model.named_parameters():
            difference = max(difference, np.abs(p.numpy() - by_hand[name]).max())
        if step % 100 == 0:
            print(f"step {step:3}  loss by hand {loss_by_hand:.15f}  library {loss:.15f}")

    print("\ninput    wanted  network")
    for point, wanted, said in zip(X, Y, wg.sigmoid(model(x)).numpy(), strict=True):
        print(f"{point[0]:.0f} xor {point[1]:.0f}  {wanted[0]:.0f}       {said[0]:.3f}")
    print(f"\nlargest difference in {STEPS} steps, of losses, gradients, weights: {difference:.1e}")
    return float(difference)


if __name__ == "__main__":
    main()
