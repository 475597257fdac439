"""Random bits: Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

The generator is a function, not a state: block `i` of a stream is a keyed bijection of the 256-bit
counter `(i, 0, 0, domain)`, four 64-bit words. Everything random in this library is made of this
one op and deterministic ops, so whoever computes the same blocks gets the same numbers, in any
order and in any number of threads. `domain` keeps draws apart from derived keys.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.lowering import Native
from wengert.core.op import Array, Op
from wengert.core.rules import broadcast, custom
from wengert.core.sample import Sample, Wrong
from wengert.core.spec import Shape, Shaped, Spec, describe
from wengert.core.tensor import Tensor
from wengert.ops.movement import reshape

# Domains of the counter: what a block of bits is used for.
DRAW, SPLIT, FOLD, SEED = 0, 1, 2, 3

MULTIPLIERS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
BUMPS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
ROUNDS = 10
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def blocks_for(count: int, dtype: dtypes.DType) -> int:
    """How many blocks of four 64-bit words hold `count` numbers of `dtype`."""
    return -(-count * dtype.itemsize // 32)


class _Engine:
    """NumPy's Philox, set to the wanted counter before each use: setting it costs 1 µs, making a
    new one 8."""

    def __init__(self) -> None:
        self.bits = np.random.Philox(0)
        self.counter = np.zeros(4, np.uint64)
        self.key = np.zeros(2, np.uint64)
        self.state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": self.counter, "key": self.key},
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,  # nothing buffered: the next word starts a new block
            "has_uint32": 0,
            "uinteger": 0,
        }

    def words(self, key: Array, counter: int, domain: int, count: int) -> Array:
        """`count` words of the stream from block `counter` on."""
        # NumPy's generator counts up before it makes a block, so it is set one below.
        before = ((domain << 192) + counter - 1) % 2**256
        for i in range(4):
            self.counter[i] = before >> (64 * i) & 0xFFFFFFFFFFFFFFFF
        self.key[:] = key
        self.bits.state = self.state
        return self.bits.random_raw(count)


class _Engines(threading.local):
    """One engine a thread, made when it is first needed."""

    engine: _Engine | None = None


_engines = _Engines()


def stream_words(key: Array, counter: int, domain: int, count: int) -> Array:
    """`count` words of a stream from block `counter` on, which may be beyond 64 bits."""
    engine = _engines.engine
    if engine is None:
        engine = _engines.engine = _Engine()
    return engine.words(key, counter, domain, count)


def _multiply_wide(a: np.uint64, b: Array) -> tuple[Array, Array]:
    """High and low word of a 64 × 64-bit product, by halves."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    cross = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (cross >> _HALF), a * b


def philox(key: Array, low: Array, high: Array, domain: int) -> Array:
    """One block a counter, as the paper writes it: (…, 4) words from keys (…, 2) and the counters'
    two low words (…)."""
    k0, k1 = key[..., 0], key[..., 1]
    zero = np.zeros(np.broadcast_shapes(k0.shape, low.shape), np.uint64)
    c0, c1, c2, c3 = zero + low, zero + high, zero, zero + np.uint64(domain)
    for _ in range(ROUNDS):
        high0, low0 = _multiply_wide(MULTIPLIERS[0], c0)
        high1, low1 = _multiply_wide(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + BUMPS[0], k1 + BUMPS[1]
    return np.stack([c0, c1, c2, c3], axis=-1)


def _rows_of_words(keys: Array, counters: Array, domain: int, count: int) -> Array:
    """`count` words for each of many streams. Short ones are made side by side."""
    blocks = -(-count // 4)
    if blocks <= 4 or not len(keys):
        first = counters[:, None]
        low = first + np.arange(blocks, dtype=np.uint64)
        carry = (low < first).astype(np.uint64)
        words = philox(keys[:, None, :], low, carry, domain)
        return words.reshape(len(keys), 4 * blocks)[:, :count]
    rows = [stream_words(k, int(c), domain, count) for k, c in zip(keys, counters, strict=True)]
    return np.stack(rows)


def check_stream(op: str, key: Shaped, counter: Shaped, shape: Shape) -> None:
    """The error for operands that are no key and no counter, or a shape that is none."""
    if key.dtype != dtypes.uint64 or not key.shape or key.shape[-1] != 2:
        raise DtypeError(
            op,
            "a key is a uint64 array whose last axis has size 2",
            met=describe(key),
            cause="a seed passed where a key is wanted",
            fix="make one with wg.random.key(seed)",
        )
    if counter.dtype != dtypes.uint64:
        raise DtypeError(
            op, "a counter is uint64", met=describe(counter), fix="cast it to wg.uint64"
        )
    if any(n < 0 for n in shape):
        raise ShapeError(op, "sizes must not be negative", met=str(shape), fix="pass sizes ≥ 0")


def _check(key: Shaped, counter: Shaped, shape: Shape, dtype: dtypes.DType) -> None:
    check_stream("random_bits", key, counter, shape)
    if dtype not in (dtypes.uint32, dtypes.uint64):
        raise DtypeError(
            "random_bits",
            "bits come as uint32 or uint64",
            met=str(dtype),
            fix="draw uint32 and cast, or use wg.random.uniform or randint",
        )


def _random_bits(
    key: Array, counter: Array, shape: Shape, dtype: dtypes.DType, domain: int
) -> Array:
    _check(key, counter, shape, dtype)
    count = math.prod(shape)
    words = count if dtype.itemsize == 8 else -(-count // 2)
    if key.ndim == 1 and counter.ndim == 0:
        row = stream_words(key, int(counter), domain, words).astype("<u8", copy=False)
        return row.view(dtype)[:count].reshape(shape)
    lead = np.broadcast_shapes(key.shape[:-1], counter.shape)
    keys = np.broadcast_to(key, (*lead, 2)).reshape(-1, 2)
    rows = _rows_of_words(keys, np.broadcast_to(counter, lead).reshape(-1), domain, words)
    packed = np.ascontiguousarray(rows, "<u8").reshape(len(keys), words)
    return packed.view(dtype)[:, :count].reshape(*lead, *shape)


def _random_bits_spec(
    key: Shaped, counter: Shaped, shape: Shape, dtype: dtypes.DType, domain: int
) -> Spec:
    _check(key, counter, shape, dtype)
    return Spec(broadcast("random_bits", key.shape[:-1], counter.shape) + shape, dtype)


def _random_bits_batch(
    size: int, args: Sequence[Tensor], batched: Sequence[bool], **params: Any
) -> Tensor:
    """Streams are independent, so a batch of keys or counters is the op itself, lined up."""
    key, counter = args
    width = max(key.ndim - 1 - batched[0], counter.ndim - batched[1])
    if batched[0]:
        key = line_up(key, width + 1)
    if batched[1]:
        counter = line_up(counter, width)
    out: Tensor = random_bits(key, counter, **params)
    return out


def line_up(x: Tensor, width: int) -> Tensor:
    """Sizes 1 behind the batch axis, until `width` axes follow it."""
    missing = (1,) * (width - x.ndim + 1)
    return x if not missing else reshape(x, shape=(x.shape[0], *missing, *x.shape[1:]))


def _random_bits_samples(rng: np.random.Generator) -> list[Sample | Wrong]:
    def words(*shape: int) -> Array:
        return rng.integers(0, 2**64, shape, dtype=np.uint64)

    def params(*shape: int, dtype: Any = dtypes.uint32, domain: int = DRAW) -> dict[str, Any]:
        return {"shape": shape, "dtype": dtype, "domain": domain}

    return [
        Sample((words(2), words()), params(3, 4), smooth=False),
        Sample((words(2), words()), params(9, dtype=dtypes.uint64), smooth=False),
        Sample((words(5, 2), words()), params(2, domain=SPLIT), smooth=False),
        Sample((words(2), words(3)), params(50), smooth=False),
        Sample((words(2, 1, 2), words(3)), params(dtype=dtypes.uint64), smooth=False),
        Sample((words(2), words()), params(0, 2), smooth=False),
        Wrong((words(3), words()), params(2), DtypeError, "last axis has size 2"),
        Wrong((rng.normal(size=2), words()), params(2), DtypeError, "a key is a uint64 array"),
        Wrong((words(2), rng.normal(size=())), params(2), DtypeError, "a counter is uint64"),
        Wrong((words(2), words()), params(2, dtype=dtypes.int8), DtypeError, "uint32 or uint64"),
        Wrong((words(2), words()), params(-2), ShapeError, "must not be negative"),
        Wrong((words(4, 2), words(3)), params(2), ShapeError, "cannot be broadcast"),
    ]


random_bits: Op = custom(
    "random_bits",
    _random_bits,
    _random_bits_spec,
    operands=("key", "counter"),
    batch=_random_bits_batch,
    samples=_random_bits_samples,
    cost="compute",
    lower=Native("random_bits"),
)


def seed_words(seed: int) -> tuple[int, int]:
    """A seed below 2¹²⁸ as low and high word."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise DtypeError(
            "seed", "a seed is an integer", met=repr(seed), fix="pass an int, for example 0"
        )
    if not 0 <= int(seed) < 2**128:
        raise ArgumentError(
            "seed", "a seed is from 0 to 2**128 - 1", met=str(seed), fix="take it modulo 2**128"
        )
    return int(seed) & 0xFFFFFFFFFFFFFFFF, int(seed) >> 64
