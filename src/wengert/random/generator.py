"""Generators and keys: where random bits come from.

A `Generator` is a key and a counter. The key says which stream, the counter how much of it has been
used; both are `Variable`s, so that they are saved and compiled like any other state. A *key* alone
is the functional style: the same key gives the same numbers, and `split` makes new ones.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any, Protocol

import numpy as np

from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, StateError, TraceError
from wengert.core.live import Holder, guarded
from wengert.core.op import REGISTRY
from wengert.core.spec import Shape, Spec, describe
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.namespaces.arguments import as_shape
from wengert.ops.random import DRAW, FOLD, SEED, SPLIT, blocks_for, philox, random_bits, seed_words

__all__ = [
    "Generator",
    "bits",
    "default_generator",
    "fold_in",
    "get_state",
    "key",
    "manual_seed",
    "seed",
    "set_state",
    "split",
]

ALGORITHM = "philox4x64-10"
START = Tensor(np.zeros((), np.uint64))
_SEED_KEY = 0x57656E6765727421  # the second key word under which seeds are hashed


def _counter(value: int) -> Tensor:
    return Tensor(np.array(value, np.uint64))


# -- keys ----------------------------------------------------------------------------------------


def key(seed: int) -> Tensor:
    """The key that belongs to a seed: two well-mixed 64-bit words.

    `seed` is an integer from 0 to 2¹²⁸ − 1; different seeds give unrelated keys.

    >>> import wengert as wg
    >>> wg.random.key(0).shape, wg.random.key(0).dtype
    ((2,), dtype('uint64'))
    """
    low, high = seed_words(seed)
    root, start = np.array([[high, _SEED_KEY]], np.uint64), np.array([low], np.uint64)
    return Tensor(philox(root, start, np.zeros_like(start), SEED)[0, :2].copy())


def split(key: Tensor, n: int = 2) -> Tensor:
    """`n` new keys from one, as a tensor of shape (n, 2); unpack it, or index its rows.

    The children are independent of each other and of what `key` itself draws.

    >>> import wengert as wg
    >>> k1, k2 = wg.random.split(wg.random.key(0))
    >>> k1.shape
    (2,)
    """
    return _derive(_check_key("split", key), Tensor(_indices("split", n)), SPLIT)


def fold_in(key: Tensor, data: Any) -> Tensor:
    """A new key from a key and an integer: an epoch, a layer's number, a row's index.

    >>> import wengert as wg
    >>> step_key = wg.random.fold_in(wg.random.key(0), 17)
    """
    if not isinstance(data, Tensor):
        low, high = seed_words(data)
        if high:
            raise ArgumentError(
                "fold_in", "takes a number below 2**64", met=str(data), fix="fold in twice"
            )
        data = _counter(low)
    return _derive(_check_key("fold_in", key), REGISTRY["cast"](data, dtype=dtypes.uint64), FOLD)


def _derive(key: Tensor, counter: Tensor, domain: int) -> Tensor:
    """Keys from the first halves of blocks that no draw uses."""
    derived: Tensor = random_bits(key, counter, shape=(2,), dtype=dtypes.uint64, domain=domain)
    return derived


def _indices(name: str, n: int) -> np.ndarray[Any, Any]:
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ArgumentError(
            name, "the number of keys is a nonnegative integer", met=repr(n), fix="pass n ≥ 0"
        )
    return np.arange(n, dtype=np.uint64)


def _check_key(name: str, key: Any) -> Tensor:
    if not isinstance(key, Tensor) or key.dtype != dtypes.uint64 or key.shape != (2,):
        raise DtypeError(
            name,
            "a key is a uint64 tensor of shape (2,)",
            met=describe(key),
            cause="a seed, or a whole tensor of split keys, passed for a key",
            fix="make one with wg.random.key(seed); use one row of split(), or vmap over rows",
        )
    return key


# -- sources of bits -----------------------------------------------------------------------------


class Source(Protocol):
    """What a distribution draws from: a generator, or one key."""

    def bits(self, shape: Shape, dtype: Any = ...) -> Tensor: ...


class _Keyed:
    """The stream of one key, read from its start."""

    def __init__(self, key: Tensor) -> None:
        self.key = key
        self.used = 0

    def bits(self, shape: Shape, dtype: Any = dtypes.uint64) -> Tensor:
        at = _counter(self.used) if self.used else START
        self.used += blocks_for(math.prod(shape), dtype)
        drawn: Tensor = random_bits(self.key, at, shape=shape, dtype=dtype, domain=DRAW)
        return drawn


def source(name: str, key: Tensor | None, generator: Generator | None) -> Source:
    """What the keywords `key` and `generator` of a distribution mean."""
    if key is not None:
        if generator is not None:
            raise ArgumentError(
                name,
                "takes a key or a generator, not both",
                fix="drop one of the keywords key= and generator=",
            )
        return _Keyed(_check_key(name, key))
    return chosen(name, generator)


def chosen(name: str, generator: Generator | None) -> Generator:
    """What the keyword `generator` means: the default generator where it is None."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise DtypeError(
            name,
            "generator= takes a wg.random.Generator",
            met=type(generator).__name__,
            fix="make one with wg.random.Generator(seed)",
        )
    return generator


class Generator(Holder):
    """A stream of random bits with a place in it.

    Draws take the next blocks of the stream and move the counter on, one thread at a time. With
    `seed=None` the seed comes from the operating system.

    >>> import wengert as wg
    >>> g = wg.random.Generator(0)
    >>> a = wg.random.uniform(shape=(3,), generator=g)
    >>> int(g.counter)
    1
    """

    def __init__(self, seed: int | None = None) -> None:
        self._open(key(_fresh_seed() if seed is None else seed))

    def _open(self, key: Tensor) -> None:
        self._lock = threading.Lock()
        self.key = Variable(key)
        self.counter = Variable(START)

    @classmethod
    def from_key(cls, key: Tensor) -> Generator:
        """A generator at the start of the stream of `key`."""
        made = cls.__new__(cls)
        made._open(_check_key("Generator.from_key", key))
        return made

    def _named_boxes(self) -> list[tuple[str, Variable]]:
        return [("key", self.key), ("counter", self.counter)]

    def manual_seed(self, seed: int) -> Generator:
        """Start again, at the beginning of the stream of `seed`; returns the generator."""
        fresh = key(seed)
        with guarded(self._lock):
            self.key.assign(fresh)
            self.counter.assign(START)
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system, and return that seed."""
        chosen = _fresh_seed()
        self.manual_seed(chosen)
        return chosen

    def bits(self, shape: Shape, dtype: Any = dtypes.uint64) -> Tensor:
        """The next random bits, as an array of `dtype` (uint32 or uint64).

        Inside `vmap` this does what its `randomness` says. A row's bits under "different" are an
        input of the traced function: the values for all rows are drawn outside of its trace.
        """
        trace = state.trace
        while trace is not None and trace.size is None:
            trace = trace.outer
        if trace is None:
            return self._next(shape, dtype)
        if trace.randomness == "error":
            raise TraceError(
                "random",
                "a random draw inside vmap is ambiguous",
                cause="a draw from a generator (dropout, normal, …) in the mapped function",
                fix="pass randomness='different' or 'same' to vmap, or map over keys: key=",
            )
        assert trace.size is not None
        inner, state.trace = state.trace, trace.outer
        try:
            if trace.randomness == "same":
                return self.bits(shape, dtype)
            values = self.bits((trace.size, *shape), dtype)
        finally:
            state.trace = inner
        from wengert.transforms.trace import symbolic

        row = symbolic(Spec(shape, dtype))
        trace.drawn.append((row, values))
        return row

    def _next(self, shape: Shape, dtype: Any) -> Tensor:
        stream, at = self._advance(blocks_for(math.prod(shape), dtype))
        drawn: Tensor = random_bits(stream, at, shape=shape, dtype=dtype, domain=DRAW)
        return drawn

    def stream(self, shape: Shape, dtype: Any) -> tuple[Tensor, Tensor] | None:
        """Key and counter of the next bits of a shape, for an op that makes them itself; the
        generator moves on as in `bits`. None inside `vmap`, where rows may have bits of their own.
        """
        trace = state.trace
        while trace is not None:
            if trace.size is not None:
                return None
            trace = trace.outer
        return self._advance(blocks_for(math.prod(shape), dtype))

    def _advance(self, blocks: int) -> tuple[Tensor, Tensor]:
        """The key and the counter before moving on by some blocks."""
        with guarded(self._lock):
            stream = Tensor(self.key._data, self.key._node)
            at = Tensor(self.counter._data, self.counter._node)
            self.counter.assign(REGISTRY["add"](at, _counter(blocks)))
        return stream, at

    def split(self, n: int = 2) -> list[Generator]:
        """`n` independent generators, different ones at each call."""
        indices = Tensor(_indices("Generator.split", n))
        stream, at = self._advance(n)
        keys = _derive(stream, REGISTRY["add"](at, indices), SPLIT)
        return [Generator.from_key(keys[i]) for i in range(n)]

    spawn = split  # NumPy's name

    def state_dict(self) -> dict[str, Any]:
        """Key and counter as arrays, and the algorithm's name."""
        with self._lock:
            key, counter = self.key.numpy().copy(), self.counter.numpy().copy()
        return {"algorithm": ALGORITHM, "key": key, "counter": counter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where the generator that gave `state_dict` stood."""
        try:
            algorithm = state_dict["algorithm"]
            key, counter = np.asarray(state_dict["key"]), np.asarray(state_dict["counter"])
        except (KeyError, TypeError) as problem:
            raise StateError(
                "Generator.load_state_dict",
                "this is no state of a generator",
                met=f"missing {problem}" if isinstance(problem, KeyError) else repr(state_dict),
                fix="pass what state_dict() returned",
            ) from None
        fits = key.dtype == counter.dtype == np.uint64 and (key.shape, counter.shape) == ((2,), ())
        if algorithm != ALGORITHM or not fits:
            raise StateError(
                "Generator.load_state_dict",
                f"the state is not one of {ALGORITHM}: a key uint64[2] and a counter uint64[]",
                met=f"{algorithm} with {describe(key, counter)}",
                fix="pass what state_dict() returned",
            )
        with self._lock:
            self.key.assign(Tensor(key.copy()))
            self.counter.assign(Tensor(counter.copy()))

    def __getstate__(self) -> dict[str, Any]:  # copy.deepcopy: a lock cannot be copied
        return self.state_dict()

    def __setstate__(self, state_dict: dict[str, Any]) -> None:
        self._open(Tensor(state_dict["key"]))
        self.load_state_dict(state_dict)

    def __repr__(self) -> str:
        words = ", ".join(f"{int(word):#018x}" for word in self.key.numpy())
        return f"Generator(key=({words}), counter={int(self.counter)})"


def _fresh_seed() -> int:
    return int.from_bytes(os.urandom(16), "little")


# -- the default generator -----------------------------------------------------------------------

default_generator = Generator(0)


def seed(seed: int) -> Generator:
    """Seed the default generator, which draws wherever no key and no generator is given.

    A new process starts from seed 0, so unseeded runs are reproducible as well.

    >>> import wengert as wg
    >>> g = wg.random.seed(1); a = wg.random.uniform()
    >>> g = wg.random.seed(1); bool(wg.random.uniform() == a)
    True
    """
    return default_generator.manual_seed(seed)


manual_seed = seed


def bits(
    shape: Any = (),
    dtype: Any = dtypes.uint64,
    *,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Random bits as uint64 (or uint32, the halves of the same words, the low one first).

    Under a key these are the words of Philox4x64-10 at the counters 0, 1, 2, …

    >>> import wengert as wg
    >>> wg.random.bits((2,), key=wg.random.key(0)).tolist()
    [5482270160026491781, 16759516986672676471]
    """
    sizes = as_shape("bits", shape)
    return source("bits", key, generator).bits(sizes, dtypes.as_dtype(dtype))


def get_state() -> dict[str, Any]:
    """The default generator's state, for `set_state`."""
    return default_generator.state_dict()


def set_state(state_dict: dict[str, Any]) -> None:
    """Put the default generator back to a state that `get_state` returned."""
    default_generator.load_state_dict(state_dict)
