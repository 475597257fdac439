"""Random numbers of the data pipeline: a pure function of (seed, epoch, sample), and nothing else.

A key (see `wengert.random`) stands for seed, epoch and purpose; each sample has its own stream
under it. So what a sample draws does not depend on its batch, on the thread that prepared it, on
what was drawn before, or on where a run was resumed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.tensor import Tensor
from wengert.ops.random import DRAW, FOLD, random_bits
from wengert.random import fold_in
from wengert.random import key as seed_key

Array = np.ndarray[Any, Any]
Key = Tensor  # two 64-bit words, from wengert.random

_START = Tensor(np.zeros((), np.uint64))


def epoch_key(seed: int = 0, epoch: int = 0) -> Key:
    """The key of an epoch.

    >>> from wengert.data.draws import epoch_key, permutation
    >>> permutation(epoch_key(1, 0), 5).tolist() == permutation(epoch_key(1, 0), 5).tolist()
    True
    """
    return fold_in(seed_key(seed), epoch)


def bits(key: Key, indices: Any, count: int) -> Array:
    """`count` random 64-bit words for each sample index, as an array (len(indices), count)."""
    numbers = np.asarray(indices, dtype=np.int64).astype(np.uint64)
    streams = random_bits(key, Tensor(numbers), shape=(2,), dtype=dtypes.uint64, domain=FOLD)
    words: Tensor = random_bits(streams, _START, shape=(count,), dtype=dtypes.uint64, domain=DRAW)
    return words.numpy()


def uniforms(key: Key, indices: Any, count: int) -> Array:
    """`count` float64 numbers in [0, 1) for each sample index."""
    found: Array = (bits(key, indices, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return found


def normals(u: Array) -> Array:
    """Standard normal numbers from an even number of uniform ones in each row.

    Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    """
    half = u.shape[1] // 2
    radius = np.sqrt(-2.0 * np.log1p(-u[:, :half]))
    angle = 2.0 * np.pi * u[:, half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def permutation(key: Key, n: int) -> Array:
    """The numbers 0 … n-1 in random order: the order of random 64-bit words."""
    words: Tensor = random_bits(key, _START, shape=(n,), dtype=dtypes.uint64, domain=DRAW)
    return np.argsort(words.numpy(), kind="stable")


def generator(key: Key, number: int) -> np.random.Generator:
    """A NumPy generator of its own for one batch, where uniform numbers do not suffice."""
    words = fold_in(key, number).numpy()
    return np.random.Generator(np.random.Philox(key=words))
