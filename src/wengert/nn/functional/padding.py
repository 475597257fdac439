"""Padding with constants, reflections, edge values or copies from the other side."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert import namespaces as xp
from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor, as_tensor
from wengert.nn.functional.arguments import at
from wengert.ops.index import gather

__all__ = ["pad"]

_MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad the last axes: `pad` is (before, after) of the last axis, then of the one before, ….

    Modes: "constant" (with `value`, 0 by default), "reflect" (mirrored at the edge, which is not
    repeated), "replicate" (the edge value), "circular" (from the other side). Negative numbers
    cut off.

    >>> import wengert as wg
    >>> wg.nn.functional.pad([1.0, 2.0, 3.0], (2, 1), mode="reflect")
    Tensor([3., 2., 1., 2., 3., 2.], dtype=float32)
    """
    x = as_tensor(input)
    widths = _widths(x, pad)
    if mode not in _MODES:
        raise ArgumentError(
            at("pad"), "unknown mode", met=repr(mode), fix="use " + ", ".join(map(repr, _MODES))
        )
    if mode != "constant":
        if value is not None:
            raise ArgumentError(
                at("pad"), "only mode 'constant' takes a value", met=f"mode {mode!r}", fix="drop it"
            )
        return _by_index(x, widths, mode)
    cut = tuple(
        slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape, widths, strict=True)
    )
    if any(lo < 0 or hi < 0 for lo, hi in widths):
        x = x[cut]
    added = tuple((max(lo, 0), max(hi, 0)) for lo, hi in widths)
    if not any(map(sum, added)):
        return x
    return xp.pad(x, added, constant_values=0.0 if value is None else value)


def _widths(x: Tensor, pad: Any) -> list[tuple[int, int]]:
    """(before, after) for every axis, from PyTorch's order."""
    numbers = tuple(pad) if isinstance(pad, (tuple, list)) else None
    if numbers is None or len(numbers) % 2 or not all(isinstance(n, int) for n in numbers):
        raise ArgumentError(
            at("pad"),
            "pad must be pairs of integers, the last axis first",
            met=repr(pad),
            fix="pass (left, right), or (left, right, top, bottom)",
        )
    if len(numbers) > 2 * x.ndim:
        raise ArgumentError(
            at("pad"),
            "pad has more pairs than the array has axes",
            met=f"{len(numbers) // 2} pairs for {describe(x)}",
            fix="give one pair for each axis to pad",
        )
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))[::-1]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if any(n + lo + hi < 0 for n, (lo, hi) in zip(x.shape, widths, strict=True)):
        raise ShapeError(
            at("pad"),
            "more is cut off than an axis has",
            met=f"{pad} for {describe(x)}",
            fix="use smaller negative numbers",
        )
    return widths


def _by_index(x: Tensor, widths: list[tuple[int, int]], mode: str) -> Tensor:
    """Pad axis by axis, each new place taking the value of one that is there."""
    for axis, (lo, hi) in enumerate(widths):
        if (lo, hi) == (0, 0):
            continue
        n = x.shape[axis]
        longest = {"reflect": n - 1, "circular": n, "replicate": None if n else 0}[mode]
        if longest is not None and max(lo, hi) > longest:
            raise ShapeError(
                at("pad"),
                f"mode {mode!r} can add at most {max(longest, 0)} to an axis of size {n}",
                met=f"({lo}, {hi}) on axis {axis} of {describe(x)}",
                fix="pad less, or use mode 'replicate' or 'constant'",
            )
        place = np.arange(-lo, n + hi)
        if mode == "reflect":
            place = np.abs(place)
            place = np.where(place >= n, 2 * (n - 1) - place, place)
        elif mode == "replicate":
            place = place.clip(0, n - 1)
        else:
            place = place % n if min(lo, hi) >= 0 else _wrapped(n, lo, hi)
        x = gather(x, Tensor(place), axis=axis)
    return x


def _wrapped(n: int, lo: int, hi: int) -> Any:
    """Places of circular padding where one side is cut off: what is left continues itself."""
    kept = np.arange(max(-lo, 0), n - max(-hi, 0))
    return kept[np.arange(-max(lo, 0), len(kept) + max(hi, 0)) % max(len(kept), 1)]
