"""The streams of bits that tests of random numbers are held against."""

from __future__ import annotations

import numpy as np

import wengert as wg
from wengert.ops.random import DRAW, random_bits


def tensor(*values, dtype=np.uint64):
    return wg.asarray(np.array(values, dtype))


def words(key, counter, domain, count):
    """The stream as NumPy's own generator makes it; it counts up before each block."""
    number = int(key[0]) + (int(key[1]) << 64)
    start = ((domain << 192) + counter - 1) % 2**256
    return np.random.Philox(key=number, counter=start).random_raw(count)


def bits(key, counter, shape, dtype=np.uint64, domain=DRAW):
    return random_bits(key, counter, shape=shape, dtype=np.dtype(dtype), domain=domain).numpy()
