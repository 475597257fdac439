"""A small U-Net: group norm, transposed convolutions, skip connections; 64×64 images, Adam.

Source: Ronneberger, Fischer and Brox 2015; Wu and He 2018 (group norm).
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

BATCH, SIDE, CHANNELS, CLASSES = 8, 64, 3, 4
WIDTHS, GROUPS = (32, 64, 128), 8
LR = 1e-3


def network(nn: Any) -> Any:
    """The network, of `wengert.nn` or of `torch.nn`."""
    relu = nn.functional.relu

    class Double(nn.Module):
        """Two convolutions of 3×3, each with group norm and ReLU."""

        def __init__(self, channels: int, out: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
            self.norm1 = nn.GroupNorm(GROUPS, out)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.norm2 = nn.GroupNorm(GROUPS, out)

        def forward(self, x: Any) -> Any:
            x = relu(self.norm1(self.conv1(x)))
            return relu(self.norm2(self.conv2(x)))

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            a, b, c = WIDTHS
            self.enter, self.down1, self.down2 = Double(CHANNELS, a), Double(a, b), Double(b, c)
            self.up2, self.join2 = nn.ConvTranspose2d(c, b, 2, stride=2), Double(2 * b, b)
            self.up1, self.join1 = nn.ConvTranspose2d(b, a, 2, stride=2), Double(2 * a, a)
            self.classify = nn.Conv2d(a, CLASSES, 1)

        def forward(self, x: Any, concatenate: Any) -> Any:
            pool = nn.functional.max_pool2d
            full = self.enter(x)
            half = self.down1(pool(full, 2))
            quarter = self.down2(pool(half, 2))
            half = self.join2(concatenate((half, self.up2(quarter)), axis=1))
            full = self.join1(concatenate((full, self.up1(half)), axis=1))
            return self.classify(full)

    return UNet()


def inputs() -> Arrays:
    """Noise with a class for each pixel."""
    import wengert as wg

    wg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, CHANNELS, SIDE, SIDE), dtype=np.float32)
    y = rng.integers(0, CLASSES, (BATCH, SIDE, SIDE))
    return with_parameters(network(wg.nn).state_dict(), x=x, y=y)


def wengert(inputs: Arrays, setting: Setting) -> Case:
    import wengert as wg

    model = training.wengert_model(network(wg.nn), inputs)
    opt = wg.optim.Adam(model.parameters(), lr=LR)
    x, y = wg.asarray(inputs["x"]), wg.asarray(inputs["y"])

    @wg.jit
    def step(x: Any, y: Any) -> Any:
        loss = wg.nn.functional.cross_entropy(model(x, wg.concat), y)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return training.wengert_case(partial(step, x, y), model, opt, "exp_avg")


def torch(inputs: Arrays, setting: Setting) -> Case:
    import torch

    model = training.torch_model(network(torch.nn), inputs)
    x, y = torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["y"])
    if setting.has("channels-last"):
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    opt = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def objective(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x, torch.concatenate), y)

    return training.torch_case(model, opt, objective, [(x, y)], setting, "exp_avg")


def jax(inputs: Arrays, setting: Setting) -> Case:
    import jax
    from jax import numpy as jnp

    layout = Layout()

    def conv(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def objective(p: Any, aux: Any, x: Any, y: Any) -> tuple[Any, Any]:
        def norm(name: str, x: Any) -> Any:
            n, h, w, c = x.shape
            grouped = x.reshape(n, h, w, GROUPS, c // GROUPS)
            mean = jnp.mean(grouped, (1, 2, 4), keepdims=True)
            var = jnp.var(grouped, (1, 2, 4), keepdims=True)
            out = ((grouped - mean) * jax.lax.rsqrt(var + 1e-5)).reshape(x.shape)
            return out * p[f"{name}.weight"] + p[f"{name}.bias"]

        def double(at: str, x: Any) -> Any:
            x = jax.nn.relu(norm(f"{at}.norm1", conv(x, p[f"{at}.conv1.weight"])))
            return jax.nn.relu(norm(f"{at}.norm2", conv(x, p[f"{at}.conv2.weight"])))

        def pool(x: Any) -> Any:
            n, h, w, c = x.shape
            return jnp.max(x.reshape(n, h // 2, 2, w // 2, 2, c), (2, 4))

        def up(at: str, x: Any) -> Any:  # patches do not overlap: one product of matrices
            n, h, w, _ = x.shape
            patches = jnp.einsum("nhwi,abji->nhawbj", x, p[f"{at}.weight"])
            return patches.reshape(n, 2 * h, 2 * w, -1) + p[f"{at}.bias"]

        full = double("enter", x)
        half = double("down1", pool(full))
        quarter = double("down2", pool(half))
        half = double("join2", jnp.concatenate((half, up("up2", quarter)), 3))
        full = double("join1", jnp.concatenate((full, up("up1", half)), 3))
        logits = full @ p["classify.weight"][0, 0] + p["classify.bias"]
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], axis=-1)
        return -jnp.mean(picked), aux

    params = layout.inside(parameters_of(inputs))
    batch = inputs["x"].transpose(0, 2, 3, 1), inputs["y"]
    return training.jax_case(objective, params, training.jax_adam(LR), [batch], layout.outside)


WORKLOADS = (
    Workload(
        "unet",
        "U-Net 32-64-128, 64×64 images, batch 8, group norm, transposed convolutions, Adam",
        inputs,
        {
            "wengert": wengert,
            "torch": torch,
            "torch channels-last": torch,
            "torch compile": torch,
            "torch compile channels-last": torch,
            "jax": jax,
        },
        1.15,
        1.4,
        tolerance=RELU_TOLERANCE,
    ),
)
