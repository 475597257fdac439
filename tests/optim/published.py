"""The published updates, transcribed from the papers in plain NumPy, one array at a time.

Written from the algorithms as printed, not from the library: names and order of operations are the
papers'. Each function takes the parameter θ, its gradient g, the step number t ≥ 1, a dict that it
may keep things in, and the hyperparameters; it returns the new θ.
"""

from __future__ import annotations

import math

import numpy as np


def sgd(θ, g, t, kept, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Sutskever et al. 2013, in the variables that PyTorch documents."""
    g = g + weight_decay * θ
    if momentum == 0.0:
        return θ - lr * g
    if t == 1:
        b = g.copy()
    else:
        b = momentum * kept["b"] + (1 - dampening) * g
    kept["b"] = b
    return θ - lr * (g + momentum * b) if nesterov else θ - lr * b


def adagrad(θ, g, t, kept, lr, lr_decay=0.0, weight_decay=0.0, initial=0.0, eps=1e-10):
    """Duchi, Hazan and Singer 2011, with a diagonal matrix."""
    g = g + weight_decay * θ
    G = kept.get("G", np.full_like(θ, initial)) + g**2
    kept["G"] = G
    return θ - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(G) + eps)


def rmsprop(
    θ, g, t, kept, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False
):
    """Tieleman and Hinton 2012; Graves 2013, equations 38 to 45."""
    g = g + weight_decay * θ
    n = alpha * kept.get("n", np.zeros_like(θ)) + (1 - alpha) * g**2
    mean = alpha * kept.get("mean", np.zeros_like(θ)) + (1 - alpha) * g
    Δ = momentum * kept.get("Δ", np.zeros_like(θ))
    Δ = Δ - g / (np.sqrt(n - mean**2 if centered else n) + eps)
    kept.update(n=n, mean=mean, Δ=Δ)
    return θ + lr * Δ


def adadelta(θ, g, t, kept, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Zeiler 2012, algorithm 1."""
    g = g + weight_decay * θ
    Eg = rho * kept.get("Eg", np.zeros_like(θ)) + (1 - rho) * g**2
    EΔ = kept.get("EΔ", np.zeros_like(θ))
    Δ = -np.sqrt(EΔ + eps) / np.sqrt(Eg + eps) * g
    kept.update(Eg=Eg, EΔ=rho * EΔ + (1 - rho) * Δ**2)
    return θ + lr * Δ


def _moments(θ, g, kept, β1, β2):
    m = β1 * kept.get("m", np.zeros_like(θ)) + (1 - β1) * g
    v = β2 * kept.get("v", np.zeros_like(θ)) + (1 - β2) * g**2
    kept.update(m=m, v=v)
    return m, v


def adam(
    θ,
    g,
    t,
    kept,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    decoupled=False,
):
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2 (decoupled); Reddi,
    Kale and Kumar 2018, with the bias correction that implementations add (amsgrad)."""
    if not decoupled:
        g = g + weight_decay * θ
    m, v = _moments(θ, g, kept, *betas)
    if amsgrad:
        v = np.maximum(kept.get("v̂", np.zeros_like(θ)), v)
        kept["v̂"] = v
    m̂ = m / (1 - betas[0] ** t)
    v̂ = v / (1 - betas[1] ** t)
    new = θ - lr * m̂ / (np.sqrt(v̂) + eps)
    return new - lr * weight_decay * θ if decoupled else new


def adamax(θ, g, t, kept, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Kingma and Ba 2015, algorithm 2, with ε to keep u positive."""
    g = g + weight_decay * θ
    β1, β2 = betas
    m = β1 * kept.get("m", np.zeros_like(θ)) + (1 - β1) * g
    u = np.maximum(β2 * kept.get("u", np.zeros_like(θ)), np.abs(g) + eps)
    kept.update(m=m, u=u)
    return θ - lr / (1 - β1**t) * m / u


def nadam(
    θ, g, t, kept, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, ψ=4e-3, decoupled=False
):
    """Dozat 2016, algorithm 2, with the momentum schedule of its section 3."""
    if not decoupled:
        g = g + weight_decay * θ
    μ = [betas[0] * (1 - 0.5 * 0.96 ** (i * ψ)) for i in range(1, t + 2)]
    m, v = _moments(θ, g, kept, *betas)
    ĝ = g / (1 - math.prod(μ[:t]))
    m̂ = m / (1 - math.prod(μ))
    v̂ = v / (1 - betas[1] ** t)
    m̄ = (1 - μ[t - 1]) * ĝ + μ[t] * m̂
    decayed = θ - lr * weight_decay * θ if decoupled else θ
    return decayed - lr * m̄ / (np.sqrt(v̂) + eps)


def radam(θ, g, t, kept, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """Liu et al. 2020, algorithm 2; its threshold 4 is 5 in the authors' code."""
    if not decoupled:
        g = g + weight_decay * θ
    β1, β2 = betas
    ρ_inf = 2 / (1 - β2) - 1
    m, v = _moments(θ, g, kept, β1, β2)
    m̂ = m / (1 - β1**t)
    ρ = ρ_inf - 2 * t * β2**t / (1 - β2**t)
    decayed = θ - lr * weight_decay * θ if decoupled else θ
    if ρ <= 5:
        return decayed - lr * m̂
    l = np.sqrt(1 - β2**t) / (np.sqrt(v) + eps)
    r = np.sqrt((ρ - 4) * (ρ - 2) * ρ_inf / ((ρ_inf - 4) * (ρ_inf - 2) * ρ))
    return decayed - lr * r * m̂ * l


def lion(θ, g, t, kept, lr, betas=(0.9, 0.99), weight_decay=0.0):
    """Chen et al. 2023, algorithm 2."""
    m = kept.get("m", np.zeros_like(θ))
    c = betas[0] * m + (1 - betas[0]) * g
    kept["m"] = betas[1] * m + (1 - betas[1]) * g
    return θ - lr * (np.sign(c) + weight_decay * θ)


def lamb(θ, g, t, kept, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    """You et al. 2020, algorithm 2, with φ the identity."""
    m, v = _moments(θ, g, kept, *betas)
    r = (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    r = r + weight_decay * θ
    norm_θ, norm_r = np.linalg.norm(θ.ravel()), np.linalg.norm(r.ravel())
    ratio = norm_θ / norm_r if norm_θ > 0 and norm_r > 0 else 1.0
    return θ - lr * ratio * r


def adafactor(θ, g, t, kept, lr, decay=-0.8, eps1=None, eps2=1e-3, d=1.0, weight_decay=0.0):
    """Shazeer and Stern 2018, algorithms 4 and 5; lower bounds in place of their added ε."""
    eps1 = np.finfo(θ.dtype).eps if eps1 is None else eps1

    def rms(x):
        return np.sqrt(np.mean(x**2))

    ρ = min(lr, 1 / math.sqrt(t))
    α = max(eps2, rms(θ)) * ρ
    β2 = 1 - t**decay
    if θ.ndim == 2:
        n, m = θ.shape
        R = β2 * kept.get("R", np.zeros(n)) + (1 - β2) * (g**2).sum(axis=1) / m
        C = β2 * kept.get("C", np.zeros(m)) + (1 - β2) * (g**2).sum(axis=0) / n
        kept.update(R=R, C=C)
        V = np.outer(R, C) / max(R.mean(), eps1)
    else:
        V = β2 * kept.get("V", np.zeros_like(θ)) + (1 - β2) * g**2
        kept["V"] = V
    U = g / np.sqrt(np.maximum(V, eps1**2))
    Û = U / max(1, rms(U) / d)
    return θ - lr * weight_decay * θ - α * Û


def muon(
    θ,
    g,
    t,
    kept,
    lr,
    weight_decay=0.1,
    momentum=0.95,
    nesterov=True,
    steps=5,
    eps=1e-7,
    match=False,
):
    """Jordan et al. 2024; the quintic acts on singular values, so here it does so literally."""
    B = momentum * kept.get("B", np.zeros_like(θ)) + (1 - momentum) * g
    kept["B"] = B
    look = (1 - momentum) * g + momentum * B if nesterov else B
    U, s, Vt = np.linalg.svd(look, full_matrices=False)
    s = s / max(np.sqrt((s**2).sum()), eps)
    for _ in range(steps):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    rows, columns = θ.shape
    scale = 0.2 * math.sqrt(max(rows, columns)) if match else math.sqrt(max(1, rows / columns))
    return θ - lr * weight_decay * θ - lr * scale * (U * s) @ Vt


def lbfgs(θ, gradient, iterations, lr, history):
    """Nocedal and Wright 2006, equation 7.16, with the inverse Hessian as a dense matrix built from
    the last pairs; the first step is at most 1/‖g‖₁ long. `θ` is one vector. Yields every θ."""
    pairs = []
    g = gradient(θ)
    for k in range(iterations):
        H = np.eye(θ.size)
        if pairs:
            s, y = pairs[-1]
            H *= (s @ y) / (y @ y)
        for s, y in pairs[-history:]:
            ρ = 1 / (y @ s)
            V = np.eye(θ.size) - ρ * np.outer(y, s)
            H = V.T @ H @ V + ρ * np.outer(s, s)
        α = lr * min(1, 1 / np.abs(g).sum()) if k == 0 else lr
        step = -α * H @ g
        θ = θ + step
        g_new = gradient(θ)
        if (g_new - g) @ step > 1e-10:
            pairs.append((step, g_new - g))
        g = g_new
        yield θ
