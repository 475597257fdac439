"""A GPT: 6 layers, width 384, 6 heads, 256 tokens, batch 4, 65 characters, AdamW, dropout 0.1.

Source: Radford et al. 2019 (pre-norm decoder, GELU), in the size usual for Shakespeare.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.training import Layout
from benchmarks.workload import Arrays, Case, Setting, Workload, parameters_of, with_parameters

LAYERS, WIDTH, HEADS, LENGTH, BATCH, WORDS = 6, 384, 6, 256, 4, 65
LR, DECAY, DROPOUT = 3e-4, 0.1, 0.1


def network(nn: Any, dropout: float = DROPOUT) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    F = nn.functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.project = nn.Linear(WIDTH, WIDTH)
            self.up = nn.Linear(WIDTH, 4 * WIDTH)
            self.down = nn.Linear(4 * WIDTH, WIDTH)
            self.dropout = nn.Dropout(dropout)

        def attend(self, x: Any) -> Any:
            b, t, _ = x.shape
            qkv = self.qkv(x).reshape(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            rate = dropout if self.training else 0.0
            y = F.scaled_dot_product_attention(
                qkv[0], qkv[1], qkv[2], dropout_p=rate, is_causal=True
            )
            return self.dropout(self.project(y.transpose(1, 2).reshape(b, t, WIDTH)))

        def forward(self, x: Any) -> Any:
            x = x + self.attend(self.norm1(x))
            return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, WIDTH)
            self.places = nn.Embedding(LENGTH, WIDTH)
            self.dropout = nn.Dropout(dropout)
            self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.dropout(self.words(tokens) + self.places.weight)
            return self.head(self.norm(self.blocks(x)))

    return GPT()


def inputs() -> Arrays:
    """Random tokens; matrices of standard deviation 0.02."""
    import wengert as wg

    rng = np.random.default_rng(0)
    tokens = rng.integers(0, WORDS, (BATCH, LENGTH + 1))
    parameters = {}
    for name, p in network(wg.nn).named_parameters():
        drawn = 0.02 * rng.standard_normal(p.shape, dtype=np.float32)
        parameters[name] = drawn if p.ndim == 2 else p.numpy()
    return with_parameters(parameters, x=tokens[:, :-1], y=tokens[:, 1:])


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    rate = 0.0 if setting.checking else DROPOUT
    model = training.wengert_model(network(wg.nn, rate), inputs)
    opt = wg.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY)
    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = wg.nn.functional.cross_entropy(model(x).reshape(-1, WORDS), y.reshape(-1))
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return training.wengert_case(partial(step, x, y), model, opt, "exp_avg")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    rate = 0.0 if setting.checking else DROPOUT
    model = training.torch_model(network(torch.nn, rate), inputs)
    opt = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    batch = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x).reshape(-1, WORDS), y.reshape(-1))

    return training.torch_case(model, opt, objective, [batch], setting, "exp_avg")


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    rate = 0.0 if setting.checking else DROPOUT
    layout = Layout(keep=("words.weight", "places.weight"))

    def objective(p: Any, key: Any, x: Any, y: Any) -> tuple[Any, Any]:
        keys = iter(jax.random.split(key, 3 * LAYERS + 2))

        def dropout(x: Any) -> Any:
            if rate == 0.0:
                return x
            return jnp.where(jax.random.bernoulli(next(keys), 1 - rate, x.shape), x / (1 - rate), 0)

        def norm(name: str, x: Any) -> Any:
            mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
            y = (x - mean) * jax.lax.rsqrt(var + 1e-5)
            return y * p[f"{name}.weight"] + p[f"{name}.bias"]

        def linear(name: str, x: Any) -> Any:
            return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

        def attend(at: str, x: Any) -> Any:
            b, t, _ = x.shape
            qkv = linear(f"{at}.qkv", x).reshape(b, t, 3, HEADS, WIDTH // HEADS)
            q, k, v = (qkv[:, :, i] for i in range(3))
            scores = jnp.einsum("bthd,bshd->bhts", q, k) / (WIDTH // HEADS) ** 0.5
            scores = jnp.where(jnp.tril(jnp.ones((t, t), bool)), scores, -jnp.inf)
            weights = dropout(jax.nn.softmax(scores))
            y = jnp.einsum("bhts,bshd->bthd", weights, v).reshape(b, t, WIDTH)
            return dropout(linear(f"{at}.project", y))

        h = dropout(p["words.weight"][x] + p["places.weight"])
        for i in range(LAYERS):
            at = f"blocks.{i}"
            h = h + attend(at, norm(f"{at}.norm1", h))
            up = jax.nn.gelu(linear(f"{at}.up", norm(f"{at}.norm2", h)), approximate=False)
            h = h + dropout(linear(f"{at}.down", up))
        logits = jax.nn.log_softmax(norm("norm", h) @ p["head.weight"])
        return -jnp.mean(jnp.take_along_axis(logits, y[..., None], axis=-1)), next(keys)

    params, batch = layout.inside(parameters_of(inputs)), (inputs["x"], inputs["y"])
    key, optimizer = jax.random.key(0), training.jax_adam(LR, DECAY)
    return training.jax_case(objective, params, optimizer, [batch], layout.outside, key)


WORKLOADS = (
    Workload(
        "gpt",
        "GPT, 6 layers, width 384, 6 heads, T = 256, batch 4, AdamW, dropout 0.1",
        inputs,
        {"wengert": wengert, "torch": torch, "torch compile": torch, "jax": jax},
        1.15,
        1.4,
        checks_apart=True,
    ),
)
