"""Augmentations of images: random changes that keep the label.

Images are arrays whose last two axes are height and width; a batch has one more axis in front.
An augmentation says how many uniform random numbers a sample needs, and applies itself to a whole
batch given those numbers. They come from (seed, epoch, sample), see `draws`: the same sample looks
the same whatever batch it is in, and different in every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core.errors import ArgumentError, ShapeError
from wengert.data.draws import Array, Key, epoch_key, normals, uniforms
from wengert.random import fold_in

Shape = tuple[int, ...]


class Augmentation:
    """Base: subclasses define `draws` (how many random numbers) and `apply` (what they do).

    Called as `augment(images, key, indices)` on a batch; use it with
    `dataset.map(augment)`, or try it on a batch: `augment(images)`.
    """

    def draws(self, shape: Shape) -> int:
        """How many uniform numbers in [0, 1) one sample of this shape needs."""
        return 0

    def apply(self, images: Array, u: Array) -> Array:
        """The changed images, given the uniform numbers of each in a row of `u`."""
        return images

    def __call__(self, images: Any, key: Key | None = None, indices: Any = None) -> Array:
        images = np.asarray(images)
        if images.ndim < 3:
            raise ShapeError(
                type(self).__name__,
                "a batch of images has at least three axes: samples, height, width",
                met=str(images.shape),
                fix="for one image, pass image[None]",
            )
        numbers = np.arange(len(images)) if indices is None else indices
        u = uniforms(epoch_key() if key is None else key, numbers, self.draws(images.shape[1:]))
        return self.apply(images, u)


class Compose(Augmentation):
    """Several augmentations, one after the other.

    >>> import numpy as np
    >>> from wengert.data import Compose, RandomFlip, RandomTranslation
    >>> Compose([RandomFlip(), RandomTranslation(2)])(np.ones((4, 1, 8, 8))).shape
    (4, 1, 8, 8)
    """

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        for step in steps:
            if not isinstance(step, Augmentation):
                raise ArgumentError(
                    "Compose",
                    "only augmentations can be composed",
                    met=type(step).__name__,
                    fix="apply other functions with dataset.map(f) of their own",
                )
        self.steps = list(steps)

    def __call__(self, images: Any, key: Key | None = None, indices: Any = None) -> Array:
        # A crop changes the shape on the way, so each step asks for its numbers when it is reached;
        # each gets numbers of its own, from a key that is folded once more.
        images = np.asarray(images)
        key = epoch_key() if key is None else key
        for i, step in enumerate(self.steps):
            images = step(images, fold_in(key, i), indices)
        return images


class Normalize(Augmentation):
    """(x - mean) / std, with one number, or one for each channel (the axis before the last two).

    >>> import numpy as np
    >>> from wengert.data import Normalize
    >>> float(Normalize(0.5, 0.25)(np.ones((1, 1, 1), np.float32))[0, 0, 0])
    2.0
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean, self.std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
        if not (np.all(self.std > 0) and np.all(np.isfinite(self.mean))):
            raise ArgumentError(
                "Normalize",
                "the standard deviation must be above 0 and the mean finite",
                met=f"mean={mean}, std={std}",
                cause="a constant channel in the data",
                fix="compute both over the training images",
            )

    def apply(self, images: Array, u: Array) -> Array:
        images = _floating(images)
        mean, std = (s[..., None, None] if s.ndim else s for s in (self.mean, self.std))
        return ((images - mean) / std).astype(images.dtype)


class RandomFlip(Augmentation):
    """Mirrored left to right with probability `p`; `vertical=True` mirrors top to bottom."""

    def __init__(self, p: float = 0.5, vertical: bool = False) -> None:
        self.p, self.axis = _probability("RandomFlip", p), -2 if vertical else -1

    def draws(self, shape: Shape) -> int:
        return 1

    def apply(self, images: Array, u: Array) -> Array:
        chosen = u[:, 0] < self.p
        out = images.copy()
        out[chosen] = np.flip(images[chosen], self.axis)
        return out


class RandomCrop(Augmentation):
    """A window of `size` (a number or height and width) at a random place, after a border of
    `padding` pixels with value `fill` was put around the image."""

    def __init__(self, size: int | tuple[int, int], padding: int = 0, fill: float = 0.0) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if min(self.size) < 1 or padding < 0:
            raise ArgumentError(
                "RandomCrop",
                "the size must be at least 1 and the padding at least 0",
                met=f"size={size}, padding={padding}",
                fix="for example RandomCrop(28, padding=2)",
            )
        self.padding, self.fill = padding, fill

    def draws(self, shape: Shape) -> int:
        return 2

    def apply(self, images: Array, u: Array) -> Array:
        pad = self.padding
        border = [(0, 0)] * (images.ndim - 2) + [(pad, pad)] * 2
        padded = np.pad(images, border, constant_values=self.fill) if pad else images
        room = [n - s for n, s in zip(padded.shape[-2:], self.size, strict=True)]
        if min(room) < 0:
            raise ShapeError(
                "RandomCrop",
                "the window is larger than the image",
                met=f"window {self.size} of an image {padded.shape[-2:]} (padding included)",
                fix="use a smaller size or more padding",
            )
        top, left = (np.floor(u[:, i] * (room[i] + 1)).astype(int) for i in (0, 1))
        rows = top[:, None] + np.arange(self.size[0])
        columns = left[:, None] + np.arange(self.size[1])
        return take_pixels(padded, rows[:, :, None], columns[:, None, :])


class RandomAffine(Augmentation):
    """Rotated by up to `degrees`, moved by up to `translate` pixels, and scaled by up to the factor
    `scale` either way, all about the centre; with bilinear interpolation and `fill` outside.

    >>> import numpy as np
    >>> from wengert.data import RandomAffine
    >>> RandomAffine(degrees=10, translate=1, scale=1.1)(np.ones((2, 1, 8, 8))).shape
    (2, 1, 8, 8)
    """

    def __init__(
        self, degrees: float = 0.0, translate: float = 0.0, scale: float = 1.0, fill: float = 0.0
    ) -> None:
        if degrees < 0 or translate < 0 or scale < 1:
            raise ArgumentError(
                type(self).__name__,
                "degrees and translate must be at least 0, and scale at least 1",
                met=f"degrees={degrees}, translate={translate}, scale={scale}",
                fix="give the largest change; both directions are drawn",
            )
        self.degrees, self.translate, self.scale, self.fill = degrees, translate, scale, fill

    def draws(self, shape: Shape) -> int:
        return 4

    def apply(self, images: Array, u: Array) -> Array:
        way = 2.0 * u - 1.0  # uniform in [-1, 1)
        angle = np.deg2rad(self.degrees) * way[:, 0]
        zoom = np.exp(math.log(self.scale) * way[:, 3])
        rows, columns = _centred_grid(images.shape[-2:])
        moved_rows = rows - self.translate * way[:, 1, None, None]
        moved_columns = columns - self.translate * way[:, 2, None, None]
        # Each pixel of the result asks where it came from: the inverse of the map.
        cos, sin = ((f(angle) / zoom)[:, None, None] for f in (np.cos, np.sin))
        from_rows = cos * moved_rows + sin * moved_columns
        from_columns = cos * moved_columns - sin * moved_rows
        height, width = images.shape[-2:]
        return interpolate(
            images, from_rows + (height - 1) / 2, from_columns + (width - 1) / 2, self.fill
        )


class RandomRotation(RandomAffine):
    """Rotated about the centre by an angle uniform in ± `degrees`."""

    def __init__(self, degrees: float, fill: float = 0.0) -> None:
        super().__init__(degrees=degrees, fill=fill)


class RandomTranslation(RandomAffine):
    """Moved by a distance uniform in ± `pixels` along each axis, also by parts of a pixel."""

    def __init__(self, pixels: float, fill: float = 0.0) -> None:
        super().__init__(translate=pixels, fill=fill)


class GaussianNoise(Augmentation):
    """Normal noise of standard deviation `std` added to every pixel."""

    def __init__(self, std: float) -> None:
        if not std >= 0:
            raise ArgumentError(
                "GaussianNoise",
                "the deviation must be at least 0",
                met=f"std={std}",
                fix="e.g. 0.1",
            )
        self.std = std

    def draws(self, shape: Shape) -> int:
        return 2 * ((math.prod(shape) + 1) // 2)

    def apply(self, images: Array, u: Array) -> Array:
        images = _floating(images)
        noise = normals(u)[:, : math.prod(images.shape[1:])].reshape(images.shape)
        return (images + self.std * noise).astype(images.dtype)


class Cutout(Augmentation):
    """A square of `size` pixels at a random place is overwritten with `fill`, with probability `p`.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout", 2017. The centre is uniform in the image, so squares may stick out of it.
    """

    def __init__(self, size: int, p: float = 1.0, fill: float = 0.0) -> None:
        if size < 1:
            raise ArgumentError(
                "Cutout", "the size must be at least 1", met=str(size), fix="e.g. 8"
            )
        self.size, self.p, self.fill = size, _probability("Cutout", p), fill

    def draws(self, shape: Shape) -> int:
        return 3

    def apply(self, images: Array, u: Array) -> Array:
        height, width = images.shape[-2:]
        top = np.floor(u[:, 0] * height).astype(int) - self.size // 2
        left = np.floor(u[:, 1] * width).astype(int) - self.size // 2
        hole = (
            _inside(height, top, self.size)[:, :, None] & _inside(width, left, self.size)[:, None]
        )
        hole &= (u[:, 2] < self.p)[:, None, None]
        hole = hole.reshape(len(images), *(1,) * (images.ndim - 3), height, width)
        return np.where(hole, np.asarray(self.fill, images.dtype), images)


# -- what the augmentations share ----------------------------------------------------------------


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ArgumentError(name, "the probability must be in [0, 1]", met=str(p), fix="e.g. 0.5")
    return p


def _floating(images: Array) -> Array:
    """Images as floats; integers become float32."""
    return images if images.dtype.kind == "f" else images.astype(np.float32)


def _inside(size: int, start: Array, length: int) -> Array:
    """For each sample, which of `size` positions are in [start, start + length)."""
    positions = np.arange(size)
    return (positions >= start[:, None]) & (positions < start[:, None] + length)


def _centred_grid(size: tuple[int, ...]) -> tuple[Array, Array]:
    """Row and column of each pixel, counted from the centre."""
    height, width = size
    rows = np.arange(height)[:, None] - (height - 1) / 2
    columns = np.arange(width)[None, :] - (width - 1) / 2
    return rows, columns


def take_pixels(images: Array, rows: Array, columns: Array) -> Array:
    """Pixels (rows, columns) of each image, the same in all of its channels: (n, …, H, W)."""
    n = len(images)
    channels = images.reshape(n, -1, *images.shape[-2:])
    numbers = np.arange(n).reshape(n, 1, 1)
    taken = channels.transpose(0, 2, 3, 1)[numbers, rows, columns]  # (n, H, W, channels)
    return taken.transpose(0, 3, 1, 2).reshape(*images.shape[:-2], *taken.shape[1:3])


def interpolate(images: Array, rows: Array, columns: Array, fill: float) -> Array:
    """Bilinear values of images at real-valued places (n, H, W); `fill` counts outside."""
    images = _floating(images)
    height, width = images.shape[-2:]
    border = [(0, 0)] * (images.ndim - 2) + [(1, 1)] * 2
    padded = np.pad(images, border, constant_values=fill)
    rows = np.clip(rows + 1, 0, height + 1)
    columns = np.clip(columns + 1, 0, width + 1)
    top = np.minimum(np.floor(rows).astype(int), height)
    left = np.minimum(np.floor(columns).astype(int), width)
    down, right = rows - top, columns - left
    out = np.zeros((), np.float64)
    for r, c, weight in (
        (top, left, (1 - down) * (1 - right)),
        (top, left + 1, (1 - down) * right),
        (top + 1, left, down * (1 - right)),
        (top + 1, left + 1, down * right),
    ):
        weight = weight.reshape(len(images), *(1,) * (images.ndim - 3), *weight.shape[1:])
        out = out + weight * take_pixels(padded, r, c)
    return out.astype(images.dtype)
