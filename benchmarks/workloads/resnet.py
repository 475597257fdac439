"""ResNet-20 on 32×32 images in batches of 32, SGD with momentum, batch norm in training mode.

Source: He, Zhang, Ren and Sun 2016, section 4.2 (shortcuts without parameters).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import training
from benchmarks.training import Layout
from benchmarks.workload import (
    RELU_TOLERANCE,
    Arrays,
    Case,
    Setting,
    Workload,
    parameters_of,
    with_parameters,
)

BATCH, SIDE, CLASSES = 32, 32, 10
WIDTHS, DEPTH = (16, 32, 64), 3
LR, MOMENTUM = 0.05, 0.9


def network(nn: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    relu = nn.functional.relu

    class Block(nn.Module):
        def __init__(self, channels: int, out: int) -> None:
            super().__init__()
            self.stride, self.extra = out // channels, out - channels
            self.conv1 = nn.Conv2d(channels, out, 3, stride=self.stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(out)

        def forward(self, x: Any) -> Any:
            y = relu(self.norm1(self.conv1(x)))
            y = self.norm2(self.conv2(y))
            if self.extra:  # every second pixel, and channels of zeros
                x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.extra))
            return relu(x + y)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(WIDTHS[0])
            self.blocks = nn.Sequential(*[Block(a, b) for a, b in block_widths()])
            self.classify = nn.Linear(WIDTHS[-1], CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.blocks(relu(self.norm(self.conv(x))))
            return self.classify(x.mean((2, 3)))

    return ResNet()


def block_widths() -> list[tuple[int, int]]:
    """Channels in and out of each block."""
    outs = [width for width in WIDTHS for _ in range(DEPTH)]
    return list(zip([WIDTHS[0], *outs], outs))


def inputs() -> Arrays:
    """Noise with labels."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 3, SIDE, SIDE), dtype=np.float32)
    model = network(wg.nn)
    return with_parameters(dict(model.named_parameters()), x=x, y=rng.integers(0, CLASSES, BATCH))


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = wg.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return training.wengert_case(partial(step, x, y), model, opt, "momentum_buffer")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])
    if setting.has("channels-last"):
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, fused=True)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), y)

    return training.torch_case(model, opt, objective, [(x, y)], setting, "momentum_buffer")


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    layout = Layout()
    params = layout.inside(parameters_of(inputs))
    norms = [name.removesuffix(".weight") for name, p in params.items() if p.ndim == 1]
    norms = [name for name in norms if "norm" in name and not name.endswith("bias")]
    statistics = {
        name: (jnp.zeros_like(params[f"{name}.weight"]), jnp.ones_like(params[f"{name}.weight"]))
        for name in norms
    }

    def conv(x: Any, w: Any, stride: int = 1) -> Any:
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def objective(p: Any, running: Any, x: Any, y: Any) -> tuple[Any, Any]:
        moved = {}

        def norm(name: str, x: Any) -> Any:
            mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
            old_mean, old_var = running[name]
            unbiased = var * (x.size / x.shape[3] / (x.size / x.shape[3] - 1))
            moved[name] = (0.9 * old_mean + 0.1 * mean, 0.9 * old_var + 0.1 * unbiased)
            scale = jax.lax.rsqrt(var + 1e-5) * p[f"{name}.weight"]
            return (x - mean) * scale + p[f"{name}.bias"]

        x = jax.nn.relu(norm("norm", conv(x, p["conv.weight"])))
        for i, (channels, out) in enumerate(block_widths()):
            at = f"blocks.{i}"
            h = conv(x, p[f"{at}.conv1.weight"], out // channels)
            h = jax.nn.relu(norm(f"{at}.norm1", h))
            h = norm(f"{at}.norm2", conv(h, p[f"{at}.conv2.weight"]))
            if out != channels:
                x = jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, out - channels)))
            x = jax.nn.relu(x + h)
        logits = jnp.mean(x, (1, 2)) @ p["classify.weight"] + p["classify.bias"]
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
        return -jnp.mean(picked), moved

    batch = inputs["x"].transpose(0, 2, 3, 1), inputs["y"]
    optimizer = training.jax_sgd(LR, MOMENTUM)
    return training.jax_case(objective, params, optimizer, [batch], layout.outside, statistics)


WORKLOADS = (
    Workload(
        "resnet",
        "ResNet-20, 32×32 images, batch 32, SGD with momentum, batch norm",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch channels-last": torch,
            "torch compile": torch,
            "torch compile channels-last": torch,
            "jax": jax,
        },
        1.2,
        1.5,
        tolerance=RELU_TOLERANCE,
    ),
)
