"""Bits against NumPy's Philox, and the floats that are made of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import wengert as wg
from tests.random.streams import bits, tensor, words
from wengert import random
from wengert.ops.random import DRAW, SPLIT, philox

# -- bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("counter", [0, 1, 5, 2**63, 2**64 - 2])
@pytest.mark.parametrize("domain", [DRAW, SPLIT])
def test_bits_are_those_of_numpy(counter, domain):
    key = tensor(0x1234567890ABCDEF, 42)
    start = wg.asarray(np.array(counter, np.uint64))
    for count in (1, 3, 4, 7, 40):
        expected = words(key.numpy(), counter, domain, count)
        assert (bits(key, start, (count,), domain=domain) == expected).all()


def test_known_answer_of_the_published_implementation():
    """The first vector of Random123's test file: key and counter zero."""
    zero = np.zeros(1, np.uint64)
    block = philox(np.zeros((1, 2), np.uint64), zero, zero, 0)[0]
    expected = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert block.tolist() == expected


def test_halves_of_a_word_come_low_first():
    key, zero = random.key(5), wg.asarray(np.array(0, np.uint64))
    full, half = bits(key, zero, (4,)), bits(key, zero, (7,), np.uint32)
    expected = np.stack([full & 0xFFFFFFFF, full >> 32], axis=1).ravel()[:7]
    assert (half == expected).all()


@pytest.mark.parametrize("count", [3, 16, 17, 100])
def test_many_streams_are_each_the_single_one(count):
    """Short rows are made side by side, long ones by NumPy's generator: same bits."""
    keys = random.split(random.key(1), 6).reshape(2, 3, 2)
    counters = wg.asarray(np.array([0, 1, 2**64 - 1], np.uint64))
    found = bits(keys, counters, (count,))
    for i in range(2):
        for j in range(3):
            assert (found[i, j] == bits(keys[i, j], counters[j], (count,))).all()


def test_bits_is_a_pure_function_in_any_order():
    key = random.key(3)
    at = [wg.asarray(np.array(i, np.uint64)) for i in range(8)]
    whole = bits(key, at[0], (32,))
    assert (np.concatenate([bits(key, a, (4,)) for a in at]) == whole).all()
    assert (random.bits(32, key=key).numpy() == whole).all()


# -- floats --------------------------------------------------------------------------------------


def test_uniform_floats_are_the_upper_bits_of_a_word():
    key, zero = random.key(2), wg.asarray(np.array(0, np.uint64))
    u32 = random.uniform(shape=(1000,), key=key).numpy()
    expected = (bits(key, zero, (1000,), np.uint32) >> 8) / 2.0**24
    assert u32.dtype == np.float32
    assert (u32 == expected).all()
    u64 = random.uniform(shape=(1000,), dtype=wg.float64, key=key).numpy()
    assert (u64 == (bits(key, zero, (1000,)) >> np.uint64(11)) / 2.0**53).all()


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16, wg.float32, wg.float64])
def test_uniform_stays_below_one_in_every_dtype(dtype):
    u = random.uniform(shape=(200_000,), dtype=dtype, key=random.key(0)).numpy()
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1


@pytest.mark.parametrize("dtype", [wg.float16, wg.bfloat16, wg.float32, wg.float64])
def test_normal_is_finite_in_every_dtype(dtype):
    z = random.normal(shape=(99_999,), dtype=dtype, key=random.key(0)).numpy()
    assert z.dtype == dtype
    assert np.isfinite(z.astype(np.float64)).all()
    assert abs(z.astype(np.float64).std() - 1) < 0.02


def test_tails_of_the_normal_law_go_beyond_24_bits():
    z = random.normal(shape=(4_000_000,), key=random.key(8)).numpy()
    expected = 2 * stats.norm.sf(4.5) * z.size
    assert abs((np.abs(z) > 4.5).sum() - expected) < 5 * expected**0.5


def test_numbers_are_the_same_forever():
    """A change of any of these breaks everyone's seeds."""
    key = random.key(0)
    assert key.tolist() == [16237026544517529646, 14238006870767470437]
    assert random.split(key)[1].tolist() == PINNED["split"]
    assert random.uniform(shape=3, key=key).tolist() == PINNED["uniform"]
    assert random.normal(shape=3, key=key).numpy() == pytest.approx(PINNED["normal"], rel=1e-6)
    assert random.randint(1000, shape=3, key=key).tolist() == PINNED["randint"]
    assert random.permutation(6, key=key).tolist() == PINNED["permutation"]


PINNED = {
    "split": [6229524103296654166, 9112420435347466948],
    "uniform": [0.04337090253829956, 0.2971944212913513, 0.33496081829071045],
    "normal": [-0.23836040496826172, 1.0566136837005615, -2.4938156604766846],
    "randint": [781, 471, 13],
    "permutation": [3, 0, 4, 1, 2, 5],
}
