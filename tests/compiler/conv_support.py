"""Run kernels on arrays, with guards around what they may write."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.compiler.kernels.base import Array, Epilogue, Kernel
from wengert.compiler.kernels.conv import Convolution
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.ops import convolve
from wengert.ops.window import places

STEP = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
GUARD = 256
X86 = build.host().triple.startswith("x86")


def narrower(*lacking: str) -> Target:
    """This processor without some features, and without all that build on them."""
    host = build.host()
    families = [*lacking, *(["avx512", "avx10"] if lacking else [])]
    kept = [f for f in host.features.split(",") if not any(f[1:].startswith(no) for no in families)]
    gone = [f"-{f[1:]}" for f in host.features.split(",") if f not in kept]
    return replace(host, cpu="x86-64", features=",".join(kept + gone))


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Steps of an array without gaps."""
    return tuple(int(np.prod(shape[i + 1 :], dtype=int)) for i in range(len(shape)))


def described(a: Any) -> Array:
    """How a NumPy array lies in memory."""
    return Array(a.dtype, a.shape, tuple(s // a.itemsize for s in a.strides))


def guarded(nbytes: int, fill: int) -> tuple[Any, Any]:
    """Memory aligned to 64 bytes, and the whole with guards around it."""
    whole = np.full(nbytes + 2 * GUARD + 64, fill, np.uint8)
    start = -whole.ctypes.data % 64 + GUARD
    return whole[start : start + nbytes], whole


def run(
    kernel: Kernel,
    operands: list[Any],
    result: Any,
    threads: int = 1,
    epilogue: Epilogue | None = None,
    more: tuple[Any, ...] = (),
    order: int = 1,
) -> Any:
    """Compile a kernel and run it into `result`, each thread's share in turn."""
    module = Module()
    phases = kernel.emit(module, "kernel", epilogue)
    library = build.load(module.text())
    size = kernel.workspace.size(threads)
    work, whole = guarded(size, 0xFF)  # NaN: nothing may rely on what is there
    arrays = [*operands, result, work, *more]
    args = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    for phase in phases:
        step = STEP(library.address(phase.name))
        for thread in range(threads)[::order]:
            step(args, thread, threads)
    start = work.ctypes.data - whole.ctypes.data
    assert np.all(whole[:start] == 0xFF), "written before the workspace"
    assert np.all(whole[start + size :] == 0xFF), "written behind the workspace"
    return result


class Case:
    """A geometry with operands: `arrays` by role, channels first as the ops take them."""

    def __init__(
        self,
        rng: np.random.Generator,
        batch: int,
        channels: int,
        filters: int,
        spatial: tuple[int, ...],
        kernel: tuple[int, ...],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        dtype: Any = np.float32,
    ) -> None:
        rank = len(spatial)
        spread = lambda v: (v,) * rank if isinstance(v, int) else tuple(v)
        pairs = tuple((p, p) if isinstance(p, int) else tuple(p) for p in spread(padding))
        self.params: dict[str, Any] = {
            "stride": spread(stride),
            "padding": pairs,
            "dilation": spread(dilation),
        }
        out = places("conv", spatial, kernel, self.params["stride"], spread(dilation), pairs)
        self.params["groups"] = groups
        self.shapes = {
            "x": (batch, channels, *spatial),
            "w": (filters, channels // groups, *kernel),
            "y": (batch, filters, *out),
        }
        self.arrays = {r: rng.normal(size=s).astype(dtype) for r, s in self.shapes.items()}

    def reference(self, kind: str) -> Any:
        """The op's own result, channels last unless it is weights."""
        x, w, y = (self.arrays[r] for r in "xwy")
        if kind == "forward":
            return last(convolve._conv(x, w, **self.params))
        if kind == "data":
            return last(convolve._conv_input(w, y, size=x.shape[2:], **self.params))
        return convolve._conv_weight(x, y, size=w.shape[2:], **self.params)

    def operands(self, kind: str) -> list[Any]:
        """The operands as the kernel takes them."""
        x, w, y = last(self.arrays["x"]), self.arrays["w"], last(self.arrays["y"])
        return {"forward": [x, w], "data": [w, y], "weight": [x, y]}[kind]

    def spec(self, kind: str, target: Target | None = None, **arrays: Array) -> Convolution:
        """The kernel; arrays without gaps unless given."""
        whole = {
            "x": described(last(self.arrays["x"])),
            "w": described(self.arrays["w"]),
            "y": described(last(self.arrays["y"])),
        }
        p = self.params
        how = (p["stride"], p["padding"], p["dilation"], p["groups"])
        found = Convolution(kind, *(whole | arrays).values(), *how)
        return replace(found, target=target) if target else found

    def run(self, kind: str, threads: int = 1, target: Target | None = None, **how: Any) -> Any:
        """The kernel's result."""
        spec = self.spec(kind, target)
        out = np.full(spec.result.shape, 7, spec.result.dtype)
        return run(spec, self.operands(kind), out, threads, **how)


def last(a: Any) -> Any:
    """Channels last."""
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


def close(found: Any, expected: Any) -> None:
    """Equal but for rounding, relative to the size of what was summed."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    a, b = found.astype(np.float64), expected.astype(np.float64)
    steps = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 4e-6, "float64": 1e-14}
    bound = steps[found.dtype.name] * (1 + np.max(np.abs(b), initial=0.0))
    assert np.max(np.abs(a - b), initial=0.0) <= bound


def bits(a: Any) -> bytes:
    """What two results must share to be the same."""
    return bytes(np.ascontiguousarray(a).view(np.uint8))
