"""Discrete distributions, and choices from given things. None of them has a derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import namespaces as F
from wengert.core import dtypes
from wengert.core.errors import ArgumentError, DtypeError, ShapeError
from wengert.core.rules import normalize_axis
from wengert.core.tensor import Tensor, as_tensor
from wengert.random.continuous import gumbel
from wengert.random.floats import Draw, as_shape, unit
from wengert.random.generator import Generator, source

__all__ = ["bernoulli", "categorical", "choice", "permutation", "rademacher", "randint", "randperm"]


def bernoulli(
    p: Any = 0.5,
    shape: Any = None,
    *,
    dtype: Any = bool,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """True with probability `p`, a number or a tensor. `dtype` may be any dtype (1 for True).

    For a number `p` one 32-bit word decides each entry: word < p·2³².

    >>> import wengert as wg
    >>> wg.random.bernoulli(1.0, (3,))
    Tensor([ True,  True,  True], dtype=bool)
    """
    draw = Draw("bernoulli", shape, None, key, generator, p=p)
    draw.require("p", 0.0, 1.0)
    p = draw.params["p"]
    if isinstance(p, Tensor):
        hit = F.less(unit(draw.source, draw.shape, draw.working), draw.cast(p))
    else:
        words = draw.source.bits(draw.shape, dtypes.uint32)
        threshold = round(p * 2**32)
        hit = F.less_equal(words, max(threshold - 1, 0)) if threshold else F.less(words, 0)
    return hit if dtype is bool else F.astype(hit, dtypes.as_dtype(dtype))


def rademacher(
    shape: Any = (),
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """+1 or −1 with equal probability.

    >>> import wengert as wg
    >>> wg.abs(wg.random.rademacher((3,)))
    Tensor([1., 1., 1.], dtype=float32)
    """
    dtype = dtypes.default_float() if dtype is None else dtypes.as_dtype(dtype)
    heads = bernoulli(0.5, as_shape("rademacher", shape), dtype=dtype, key=key, generator=generator)
    return F.subtract(F.multiply(heads, 2), 1)


def randint(
    low: Any,
    high: Any = None,
    shape: Any = None,
    *,
    dtype: Any = None,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers from `low` to `high` − 1; with one bound, from 0 to it − 1. Bounds may be tensors.

    low + (word mod (high − low)) with a 64-bit word: no value's probability is off by more than
    2⁻⁶⁴.

    >>> import wengert as wg
    >>> bool(wg.all(wg.random.randint(3, 5, (10,)) >= 3))
    True
    """
    if high is None:
        low, high = 0, low
    bounds = [_integer_bound(low), _integer_bound(high)]
    dtype = dtypes.default_int if dtype is None else dtypes.as_dtype(dtype)
    if not dtypes.is_integer(dtype):
        raise DtypeError(
            "randint", "the result is integer", met=f"dtype={dtype}", fix="pass an integer dtype"
        )
    draw = Draw("randint", shape, None, key, generator, low=bounds[0], high=bounds[1])
    if not any(b.is_symbolic for b in bounds):
        _check_range(bounds[0]._data, bounds[1]._data, dtype)
    # Modulo 2⁶⁴, so that ranges wider than int64, and those of uint64, need no case of their own.
    first, end = (F.astype(b, dtypes.uint64) for b in bounds)
    words, span = draw.source.bits(draw.shape, dtypes.uint64), F.subtract(end, first)
    offset = F.where(F.equal(span, 0), words, F.remainder(words, span))  # 0: of all 2⁶⁴
    return F.astype(F.add(offset, first), dtype)


def _check_range(low: np.ndarray[Any, Any], high: np.ndarray[Any, Any], dtype: Any) -> None:
    if not np.all(low < high):
        raise ArgumentError(
            "randint",
            "no integer from low to high - 1",
            met=f"low={low}, high={high}",
            fix="high is exclusive: pass high > low",
        )
    limits = np.iinfo(dtype)
    if low.size and (int(low.min()) < limits.min or int(high.max()) - 1 > limits.max):
        raise ArgumentError(
            "randint",
            f"the range does not fit {dtype}",
            met=f"low={low}, high={high}",
            fix="pass a wider dtype",
        )


def _integer_bound(bound: Any) -> Tensor:
    wide = isinstance(bound, int) and 2**63 <= bound < 2**64
    found = as_tensor(np.uint64(bound) if wide else bound)
    if dtypes.is_integer(found.dtype):
        return found
    raise DtypeError(
        "randint", "bounds are integers", met=str(found.dtype), fix="convert them, or use uniform"
    )


def permutation(
    x: Any, *, axis: int = 0, key: Tensor | None = None, generator: Generator | None = None
) -> Tensor:
    """A random permutation: of 0 … x − 1 for an int, else `x` shuffled along an axis.

    The order of random 64-bit words, so any two orders are equally likely but for words that
    coincide (probability below n²·2⁻⁶⁵).

    >>> import wengert as wg
    >>> wg.sort(wg.random.permutation(4))
    Tensor([0, 1, 2, 3], dtype=int64)
    """
    if isinstance(x, (int, np.integer)):
        if x < 0:
            raise ArgumentError(
                "permutation", "a number of things is not negative", met=str(x), fix="pass n ≥ 0"
            )
        return F.argsort(source("permutation", key, generator).bits((int(x),)))
    x = as_tensor(x)
    axis = normalize_axis("permutation", axis, x.ndim)
    return F.take(x, permutation(x.shape[axis], key=key, generator=generator), axis=axis)


randperm = permutation  # PyTorch's name


def choice(
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: Any = None,
    *,
    axis: int = 0,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Entries of `a` along an axis (of range(a) for an int), with or without replacement.

    `p` are their probabilities, uniform if not given; they are normalised. Without replacement and
    with `p`, entries are drawn one after the other (the Gumbel-top-k trick, Vieira 2014).

    >>> import wengert as wg
    >>> wg.random.choice(wg.asarray([7, 8]), (3,), p=[1.0, 0.0])
    Tensor([7, 7, 7], dtype=int64)
    """
    shape = as_shape("choice", shape)
    things = None if isinstance(a, (int, np.integer)) else as_tensor(a)
    if things is None:
        n = int(a)
    else:
        axis = normalize_axis("choice", axis, things.ndim)
        n = things.shape[axis]
    count = math.prod(shape)
    _check_choice(n, count, replace)
    weights = None if p is None else _weights(p, n, count, replace)
    if weights is None and replace:
        picked = randint(0, max(n, 1), shape, key=key, generator=generator)
    elif weights is None:
        picked = F.reshape(permutation(n, key=key, generator=generator)[:count], shape)
    elif replace:
        total = F.cumulative_sum(weights)
        u = unit(source("choice", key, generator), shape, total.dtype)
        picked = F.searchsorted(total, F.multiply(u, total[-1]), side="right")
    else:
        scores = F.add(F.log(weights), gumbel(shape=(n,), key=key, generator=generator))
        picked = F.reshape(F.argsort(scores, descending=True)[:count], shape)
    return picked if things is None else F.take(things, picked, axis=axis)


def _check_choice(n: int, count: int, replace: bool) -> None:
    if count and n < 1:
        raise ArgumentError(
            "choice", "there is nothing to choose from", met=f"{n} things", fix="pass a ≥ 1"
        )
    if not replace and count > n:
        raise ArgumentError(
            "choice",
            "more draws than things, without replacement",
            met=f"{count} of {n}",
            fix="draw fewer, or pass replace=True",
        )


def _weights(p: Any, n: int, count: int, replace: bool) -> Tensor:
    weights = F.astype(as_tensor(p), dtypes.float64)
    if weights.shape != (n,):
        raise ShapeError(
            "choice",
            "p has one probability for each thing",
            met=f"shape {weights.shape} for {n} things",
            fix=f"pass {n} probabilities",
        )
    if not weights.is_symbolic:
        values = weights._data
        enough = np.count_nonzero(values) >= (min(count, 1) if replace else count)
        if not (np.all(values >= 0) and np.isfinite(values.sum()) and enough):
            raise ArgumentError(
                "choice",
                "probabilities are finite, not negative, and enough of them positive",
                met=np.array2string(values, threshold=8),
                fix="check what p was computed from",
            )
    return weights


def categorical(
    logits: Any,
    axis: int = -1,
    shape: Any = None,
    *,
    key: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Class indices with probabilities softmax(logits) along an axis (the Gumbel-max trick).

    `shape` is that of the result; its last axes are the other axes of `logits`, the default.

    >>> import wengert as wg
    >>> wg.random.categorical(wg.asarray([[0.0, 100.0], [100.0, 0.0]]))
    Tensor([1, 0], dtype=int64)

    Source: Gumbel 1954; Maddison, Tarlow and Minka 2014.
    """
    logits = as_tensor(logits)
    if not dtypes.is_float(logits.dtype):
        logits = F.astype(logits, dtypes.default_float())
    axis = normalize_axis("categorical", axis, logits.ndim)
    logits = F.moveaxis(logits, axis, -1)
    rest, n = logits.shape[:-1], logits.shape[-1]
    shape = rest if shape is None else as_shape("categorical", shape)
    if shape[len(shape) - len(rest) :] != rest:
        raise ShapeError(
            "categorical",
            "the result's last axes are those of logits without the class axis",
            met=f"shape={shape} for {rest}",
            fix=f"end the shape with {rest}",
        )
    noise = gumbel(shape=(*shape, n), dtype=logits.dtype, key=key, generator=generator)
    return F.argmax(F.add(logits, noise), axis=-1)
