"""Random whole programs, for tests of the compiler: what they are made of, and how exact they are.

A program is a recipe: a list of instructions, each a name and three numbers. An instruction takes
values from a pool by number, applies something from the public interface that fits their shapes and
dtypes, and puts the result into the pool. All choices depend on shapes and dtypes alone, so that a
recipe does the same to values and to symbolic tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import wengert as wg
import wengert.nn.functional as F
from wengert import Tensor
from wengert.core import dtypes
from wengert.core.errors import WengertError
from wengert.core.spec import Spec

SMALL, LARGE = 6_000, 150_000  # entries of a value in the pool
RANK = 6

Instruction = tuple[str, int, int, int]
Array = np.ndarray[Any, Any]


class Skip(Exception):
    """The pool holds nothing that an instruction could be applied to."""


class Pool:
    """The values that a recipe has made so far, none of them with more than `most` entries."""

    def __init__(self, values: Sequence[Tensor], most: int) -> None:
        self.values, self.most = list(values), most

    def of(self, kinds: str, i: int) -> Tensor:
        """Value number `i` of those whose dtype is of a kind: f(loat), i(nteger), b(ool)."""
        found = [x for x in self.values if kind(x) in kinds]
        if not found:
            raise Skip
        return found[i % len(found)]


def kind(x: Tensor) -> str:
    """The kind of a dtype: f, i or b."""
    if dtypes.is_float(x.dtype):
        return "f"
    return "b" if x.dtype == dtypes.bool else "i"


def shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The entries of a value, over and over, in a shape."""
    count, flat = math.prod(shape), wg.reshape(x, (-1,))
    if not flat.size:
        raise Skip
    if flat.size >= count:
        flat = flat[:count]
    else:
        flat = wg.take(flat, wg.asarray(np.arange(count) % flat.size), axis=0)
    return wg.reshape(flat, shape)


def fitted(y: Tensor, x: Tensor) -> Tensor:
    """A value that broadcasts with another."""
    pairs = zip(x.shape[::-1], y.shape[::-1], strict=False)
    if all(m == n or 1 in (m, n) for m, n in pairs):
        return y
    return shaped(y, x.shape[-1:])


def axis_of(x: Tensor, k: int) -> int:
    if not x.ndim:
        raise Skip
    return k % x.ndim


def axes_of(x: Tensor, k: int) -> tuple[int, ...] | None:
    """Some axes of a value; None for all."""
    return None if k % 5 == 0 else tuple(a for a in range(x.ndim) if k // 5 >> a & 1)


def permuted(x: Tensor, k: int) -> Tensor:
    return wg.permute_dims(x, tuple(np.random.default_rng(k).permutation(x.ndim).tolist()))


def refolded(x: Tensor, k: int) -> Tensor:
    """The entries in another shape."""
    sizes, left = [], x.size
    for n in (2, 3, 4, 5, 2):
        if left and left % n == 0 and k & n:
            sizes.append(n)
            left //= n
    return wg.reshape(x, (*sizes, left) if k % 2 else (left, *sizes))


def cut(x: Tensor, k: int) -> Tensor:
    """A slice along an axis: from either side, with a step of either sign."""
    axis = axis_of(x, k)
    n, step = x.shape[axis], (1, 2, -1, -2, 3)[k // 6 % 5]
    start, stop = k // 30 % (n + 1), n - k // 90 % (n + 1)
    part = slice(start, stop, step) if step > 0 else slice(None, start - n - 1, step)
    return x[(slice(None),) * axis + (part,)]


def padded(x: Tensor, k: int) -> Tensor:
    axis = axis_of(x, k)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (k // 7 % 3, k // 21 % 4)
    return wg.pad(x, widths)


def gathered(x: Tensor, at: Tensor, k: int) -> Tensor:
    """Entries along an axis at computed places."""
    axis = axis_of(x, k)
    if not x.shape[axis]:
        raise Skip
    places = wg.remainder(wg.reshape(at, (-1,))[:7].astype("int64"), x.shape[axis])
    return wg.take(x, places, axis=axis)


def along(x: Tensor, k: int) -> Tensor:
    axis = axis_of(x, k)
    return wg.take_along_axis(x, wg.argsort(x, axis=axis), axis=axis)


def scattered(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Rows added at places, some of them twice."""
    if not x.ndim or not x.shape[0]:
        raise Skip
    places = wg.asarray(np.random.default_rng(k).integers(0, x.shape[0], 5))
    rows = shaped(y, (5, *x.shape[1:]))
    return wg.segment_sum(rows, places, num_segments=x.shape[0]) + x


def put(x: Tensor, y: Tensor, k: int) -> Tensor:
    """Part of a value replaced."""
    if not x.ndim or not x.shape[0]:
        raise Skip
    if k % 2:
        key: Any = slice(k // 2 % x.shape[0], None)
        return wg.setitem(x, key, shaped(y, x.shape[1:]).astype(x.dtype))
    places = np.random.default_rng(k).permutation(x.shape[0])[:3]
    rows = shaped(y, (len(places), *x.shape[1:])).astype(x.dtype)
    return wg.setitem(x, wg.asarray(places), rows)


def contracted(x: Tensor, y: Tensor, k: int) -> Tensor:
    """An einsum: axes of one size may be paired, and any label may be summed."""
    rng = np.random.default_rng(k)
    first = "abcdef"[: x.ndim]
    second = ""
    for i, n in enumerate(y.shape):
        alike = [a for a, m in zip(first, x.shape, strict=True) if m == n and a not in second]
        paired = alike and rng.random() < 0.7
        second += str(rng.choice(alike)) if paired else "uvwxyz"[i]
    labels = sorted(set(first + second))
    summed = {a for a in set(first) & set(second) if rng.random() < 0.8}
    summed |= {a for a in labels if rng.random() < 0.15}
    out = "".join(rng.permutation([a for a in labels if a not in summed]).tolist())
    sizes = dict(zip(first + second, x.shape + y.shape, strict=True))
    if math.prod(sizes[a] for a in out) > LARGE:
        raise Skip
    return wg.einsum(f"{first},{second}->{out}", x, y)


def multiplied(x: Tensor, y: Tensor, k: int) -> Tensor:
    """A matrix product, of transposed views as well, in a batch or not."""
    if x.ndim < 2:
        x = shaped(x, (3, 4))
    if k & 1:
        x = wg.matrix_transpose(x)
    n = 1 + k // 2 % 19
    if k & 64:
        return x @ wg.matrix_transpose(shaped(y, (n, x.shape[-1])))
    return x @ shaped(y, (x.shape[-1], n))


def convolved(x: Tensor, w: Tensor, k: int) -> Tensor:
    """A small convolution in one or two dimensions, with all its options."""
    groups = 1 + k % 2
    channels, filters = groups * (1 + k // 2 % 3), groups * (1 + k // 6 % 4)
    stride, padding, dilation = 1 + k // 24 % 2, k // 48 % 2, 1 + k // 96 % 2
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if k // 192 % 2:
        weight = shaped(w, (filters, channels // groups, 3)) * 0.25
        return F.conv1d(shaped(x, (2, channels, 9)), weight, **how)
    weight = shaped(w, (filters, channels // groups, 3, 2)) * 0.25
    return F.conv2d(shaped(x, (2, channels, 7, 6)), weight, **how)


def back_convolved(x: Tensor, w: Tensor, k: int) -> Tensor:
    weight = shaped(w, (2, 3, 3, 3)) * 0.25
    return F.conv_transpose2d(shaped(x, (1, 2, 4, 5)), weight, stride=1 + k % 2, padding=k // 2 % 2)


def pooled(x: Tensor, k: int) -> Tensor:
    pool = F.max_pool2d if k % 2 else F.avg_pool2d
    return pool(shaped(x, (2, 3, 6, 7)), 2 + k // 2 % 2, stride=1 + k // 4 % 2)


def looped(x: Tensor, y: Tensor, k: int) -> Tensor:
    """A loop over rows, with a carry."""
    rows = shaped(x, (4, 3))

    def body(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        carry = wg.tanh(carry * 0.5 + row)
        return carry, carry * row

    last, found = wg.scan(body, shaped(y, (3,)).astype(x.dtype), rows, reverse=bool(k % 2))
    return wg.concat([found, last[None]], axis=0)


def solved(x: Tensor, y: Tensor) -> Tensor:
    """Library calls in the middle of a program."""
    a = shaped(wg.tanh(x), (3, 3)).astype("float64")
    spd = a @ wg.matrix_transpose(a) + 2.0 * wg.eye(3, dtype="float64")
    return wg.linalg.solve(spd, shaped(y, (3, 2)).astype("float64")).astype(x.dtype)


def normalised(x: Tensor, k: int) -> Tensor:
    if x.ndim < 2 or x.shape[-1] < 2:
        x = shaped(x, (4, 6))
    if k % 2:
        return F.layer_norm(x, x.shape[-1:])
    return F.rms_norm(x, x.shape[-1:])


def attended(x: Tensor, y: Tensor, k: int) -> Tensor:
    q, kv = shaped(x, (2, 5, 4)), shaped(y, (2, 5, 4)).astype(x.dtype)
    return F.scaled_dot_product_attention(q, kv, kv * 0.5, is_causal=bool(k % 2))


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "neg": wg.negative,
    "abs": wg.abs,
    "sign": wg.sign,
    "square": lambda x: wg.square(x) * 0.25,
    "reciprocal": lambda x: wg.reciprocal(x * x + 1.0),
    "sqrt": lambda x: wg.sqrt(wg.abs(x)),
    "rsqrt": lambda x: wg.rsqrt(x * x + 0.5),
    "cbrt": wg.cbrt,
    "exp": lambda x: wg.exp(wg.minimum(x, 3.0)),
    "expm1": lambda x: wg.expm1(wg.tanh(x)),
    "log": lambda x: wg.log(wg.abs(x) + 0.125),
    "log1p": lambda x: wg.log1p(wg.abs(x)),
    "sin": wg.sin,
    "cos": wg.cos,
    "atan": wg.atan,
    "asinh": wg.asinh,
    "tanh": wg.tanh,
    "erf": wg.erf,
    "sigmoid": wg.sigmoid,
    "softplus": wg.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "relu": wg.relu,
    "hardswish": F.hardswish,
    "floor": wg.floor,
    "round": wg.round,
    "cube": lambda x: (x * 0.5) ** 3,
    "clip": lambda x: wg.clip(x, -0.75, 1.0),
    "cut": wg.stop_gradient,
    "again": wg.checkpoint(lambda x: wg.sin(x) * x),
}
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y * 0.5,
    "divide": lambda x, y: x / (y * y + 1.0),
    "maximum": wg.maximum,
    "minimum": wg.minimum,
    "atan2": lambda x, y: wg.atan2(x, y * y + 0.5),
    "hypot": wg.hypot,
    "power": lambda x, y: (wg.abs(x) + 0.5) ** wg.clip(y, -2.0, 2.0),
    "modulo": lambda x, y: wg.remainder(x, wg.abs(y) + 1.0),
    "copysign": lambda x, y: wg.copysign(x, wg.where(wg.isnan(y), wg.ones_like(y), y)),
    "logaddexp": wg.logaddexp,
    "where": lambda x, y: wg.where(x > y, x * 0.5, y),
    "masked": lambda x, y: wg.where(x < 0.5, x, wg.zeros_like(x)) * y,
}
INTEGER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "over": lambda x, y: wg.floor_divide(x, wg.bitwise_or(y, wg.ones_like(y))),
    "modulo": lambda x, y: wg.remainder(x, wg.bitwise_or(y, wg.ones_like(y))),
    "and": wg.bitwise_and,
    "or": wg.bitwise_or,
    "xor": wg.bitwise_xor,
    "maximum": wg.maximum,
    "where": lambda x, y: wg.where(x > y, y, x),
}
COMPARED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "equal": wg.equal,
    "less": wg.less,
    "greater_equal": wg.greater_equal,
}
LOGICAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "and": wg.logical_and,
    "or": wg.logical_or,
    "xor": wg.logical_xor,
}
VIEWS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "permuted": permuted,
    "refolded": refolded,
    "cut": cut,
    "padded": padded,
    "flat": lambda x, k: wg.reshape(x, (-1,)),
    "flipped": lambda x, k: wg.flip(x, axis=axis_of(x, k)),
    "rolled": lambda x, k: wg.roll(x, k // 6, axis=axis_of(x, k)),
    "expanded": lambda x, k: wg.expand_dims(x, axis=k % (x.ndim + 1)),
    "squeezed": lambda x, k: wg.reshape(x, tuple(n for n in x.shape if n != 1)),
    "spread": lambda x, k: wg.broadcast_to(x, (1 + k % 4, *x.shape)),
    "one of": lambda x, k: x[k // 6 % max(x.shape[0], 1)] if x.ndim else x,
    "diagonal": lambda x, k: wg.diagonal(x, offset=k % 3 - 1),
    "tril": lambda x, k: wg.tril(x, k=k % 3 - 1),
    "windows": lambda x, k: wg.sliding_window_view(x, 2 + k % 2, axis=x.ndim - 1),
    "repeated": lambda x, k: wg.repeat(x, 2 + k % 2, axis=axis_of(x, k)),
    "tiled": lambda x, k: wg.tile(x, (2,) * (1 + k % 2)),
}
JOINED: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "concat": lambda x, y, k: wg.concat([x, shaped(y, x.shape)], axis=axis_of(x, k)),
    "stack": lambda x, y, k: wg.stack([x, shaped(y, x.shape)], axis=k % (x.ndim + 1)),
    "gather": lambda x, y, k: gathered(x, wg.round(wg.clip(wg.abs(y), 0.0, 50.0)), k),
    "put": put,
}
REDUCED: dict[str, Callable[..., Tensor]] = {
    "sum": lambda x, axis: wg.sum(x, axis=axis),
    "mean": lambda x, axis: wg.mean(x, axis=axis),
    "kept": lambda x, axis: x - wg.mean(x, axis=axis, keepdims=True),
    "max": lambda x, axis: wg.max(x, axis=axis),
    "min": lambda x, axis: wg.min(x, axis=axis, keepdims=True),
    "prod": lambda x, axis: wg.prod(wg.cos(x), axis=axis),
    "var": lambda x, axis: wg.var(x, axis=axis),
    "std": lambda x, axis: wg.sqrt(wg.var(x, axis=axis) + 0.125),
    "logsumexp": lambda x, axis: wg.logsumexp(x, axis=axis),
    "count": lambda x, axis: wg.count_nonzero(x > 0.0, axis=axis),
    "any": lambda x, axis: wg.any(x > 1.0, axis=axis),
    "all": lambda x, axis: wg.all(x < 1.0, axis=axis),
}
ALONG: dict[str, Callable[..., Tensor]] = {
    "argmax": lambda x, axis: wg.argmax(x, axis=axis),
    "argmin": lambda x, axis: wg.argmin(x, axis=axis),
    "cumsum": lambda x, axis: wg.cumulative_sum(x, axis=axis),
    "cumprod": lambda x, axis: wg.cumulative_prod(wg.cos(x), axis=axis),
    "cummax": lambda x, axis: wg.cummax(x, axis=axis),
    "logcumsumexp": lambda x, axis: wg.logcumsumexp(x, axis=axis),
    "softmax": lambda x, axis: wg.softmax(x, axis=axis),
    "log_softmax": lambda x, axis: wg.log_softmax(x, axis=axis),
    "sort": lambda x, axis: wg.sort(x, axis=axis),
    "diff": lambda x, axis: wg.diff(x, axis=axis),
    "in order": lambda x, axis: along(x, axis),
}
TWO: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "einsum": contracted,
    "matmul": multiplied,
    "conv": convolved,
    "conv_transpose": back_convolved,
    "scatter": scattered,
    "loop": looped,
    "attention": attended,
    "solve": lambda x, y, k: solved(x, y),
}
ONE: dict[str, Callable[[Tensor, int], Tensor]] = {"norm": normalised, "pool": pooled}
CASTS = ("float32", "float64", "float16", "bfloat16", "int32", "int8", "uint8", "int64", "bool")


def _cast(x: Tensor, k: int) -> Tensor:
    target = CASTS[k % len(CASTS)]
    if kind(x) == "f" and "int" in target:  # other numbers have no meaning as integers
        x = wg.where(wg.abs(x) < 100.0, wg.abs(x), wg.zeros_like(x))
    return x.astype(target)


def _step(pool: Pool, instruction: Instruction) -> Tensor:
    name, i, j, k = instruction
    family, _, what = name.partition(" ")
    if family == "unary":
        return UNARY[what](pool.of("f", i))
    if family == "view":
        return VIEWS[what](pool.of("fib", i), k)
    if family == "reduce":
        x = pool.of("f", i)
        return REDUCED[what](x, axes_of(x, k))
    if family == "along":
        x = pool.of("f", i)
        return ALONG[what](x, axis_of(x, k))
    if family == "one":
        return ONE[what](pool.of("f", i), k)
    if family == "cast":
        return _cast(pool.of("fib", i), k)
    if family == "not":
        return wg.logical_not(pool.of("b", i))
    if family == "choose":
        x = pool.of("f", i)
        return wg.where(fitted(pool.of("b", j), x), x, fitted(pool.of("f", k), x))
    kinds = {"integer": "i", "logical": "b", "compare": "fi"}.get(family, "f")
    x, y = pool.of(kinds, i), pool.of(kinds, j)
    if family == "two":
        return TWO[what](x, y.astype(x.dtype), k)
    if family == "join":
        return JOINED[what](x, y.astype(x.dtype), k)
    table = {"binary": BINARY, "integer": INTEGER, "logical": LOGICAL, "compare": COMPARED}[family]
    return table[what](x, fitted(y, x))


_FAMILIES = {
    "unary": UNARY,
    "binary": BINARY,
    "integer": INTEGER,
    "compare": COMPARED,
    "logical": LOGICAL,
    "view": VIEWS,
    "join": JOINED,
    "reduce": REDUCED,
    "along": ALONG,
    "two": TWO,
    "one": ONE,
}
NAMES = [f"{family} {name}" for family, table in _FAMILIES.items() for name in table]
NAMES += ["cast", "not", "choose"]


@dataclass(frozen=True)
class Recipe:
    """A random program: the specs of its inputs, and what is done with them.

    `order` is how many times it is differentiated; `seed` and `special` are for its inputs; `large`
    arrays are worked on in blocks, and by several threads.
    """

    specs: tuple[Spec, ...]
    steps: tuple[Instruction, ...]
    order: int
    seed: int
    special: bool
    large: bool = False

    def run(self, *inputs: Tensor) -> list[Tensor]:
        """All that the recipe makes."""
        pool = Pool(inputs, LARGE if self.large else SMALL)
        for instruction in self.steps:
            try:
                made = _step(pool, instruction)
            except (Skip, WengertError):  # shapes that do not fit
                continue
            if made.size <= pool.most and made.ndim <= RANK:
                pool.values.append(made)
        return pool.values[len(inputs) :]

    def loss(self, *inputs: Tensor) -> Tensor:
        """A number that depends on all floating values, by different weights."""
        total = wg.zeros((), dtype="float32")
        for n, x in enumerate(self.run(*inputs)):
            if kind(x) == "f" and x.size:
                weights = np.cos(np.arange(x.size) * 0.7 + n).reshape(x.shape).astype(x.dtype)
                total = total + wg.mean(x * wg.asarray(weights)).astype("float32")
        return total

    def function(self) -> Callable[..., list[Tensor]]:
        """The recipe, or its gradient, or the gradient of its gradient's length."""
        floats = tuple(i for i, s in enumerate(self.specs) if dtypes.is_float(s.dtype))
        if self.order == 0 or not floats:
            return self.run

        def first(*inputs: Tensor) -> list[Tensor]:
            value, found = wg.value_and_grad(self.loss, argnums=floats)(*inputs)
            return [value, *found]

        if self.order == 1:
            return first

        def length(*inputs: Tensor) -> Tensor:
            squares = [wg.mean(g * g).astype("float32") for g in first(*inputs)[1:] if g.size]
            return sum(squares, start=wg.zeros((), dtype="float32"))

        return lambda *inputs: list(wg.grad(length, argnums=floats)(*inputs))

    def arrays(self) -> list[Array]:
        """Inputs: some are drawn from few numbers, so that there are ties."""
        rng = np.random.default_rng(self.seed)
        return [_drawn(rng, spec, self.special) for spec in self.specs]


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3e38]


def _drawn(rng: np.random.Generator, spec: Spec, special: bool) -> Array:
    if spec.dtype == dtypes.bool:
        return rng.random(spec.shape) < 0.5
    if not dtypes.is_float(spec.dtype):
        low = 0 if spec.dtype.kind == "u" else -20
        return rng.integers(low, 100, spec.shape).astype(spec.dtype)
    x = rng.normal(size=spec.shape)
    if rng.random() < 0.3:
        x = np.round(x * 2) / 2
    if special:
        x = np.where(rng.random(spec.shape) < 0.2, rng.choice(SPECIAL, spec.shape), x)
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(spec.dtype)


DIMS = [1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 33, 40, 66, 128]
FLOATS = ["float32"] * 6 + ["float64"] * 2 + ["float16", "bfloat16"]
OTHERS = ["int64", "int32", "int16", "int8", "uint8", "uint32", "bool"]


LARGE_DIMS = [1, 3, 16, 64, 100, 257, 500, 1024]


@st.composite
def specs(draw: st.DrawFn, kinds: Sequence[str], large: bool) -> Spec:
    """Shape and dtype of an input; now and then it has no entries."""
    dims, most = (LARGE_DIMS, LARGE // 3) if large else (DIMS, SMALL // 3)
    if draw(st.integers(0, 29)) == 29:
        shape: tuple[int, ...] = (0, 3)
    else:
        rank = draw(st.integers(0, 4))
        shape = tuple(draw(st.lists(st.sampled_from(dims), min_size=rank, max_size=rank)))
        while math.prod(shape) > most:
            shape = shape[1:]
    return Spec(shape, dtypes.as_dtype(draw(st.sampled_from(kinds))))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """A random program."""
    main = draw(st.sampled_from(FLOATS))
    large = draw(st.integers(0, 19)) == 19
    given = draw(st.lists(specs([main], large), min_size=1, max_size=3))
    given += draw(st.lists(specs(FLOATS, large), max_size=1))
    given += draw(st.lists(specs(OTHERS, large), max_size=2))
    number = st.integers(0, 999)
    step = st.tuples(st.sampled_from(NAMES), number, number, number)
    steps = draw(st.lists(step, min_size=1, max_size=12))
    order = draw(st.sampled_from([0, 0, 0, 1, 1, 1, 2]))
    # What is padded around a convolution is not multiplied with its weights, were they infinite.
    special = not draw(st.integers(0, 9)) and not any("conv" in name for name, *_ in steps)
    seed = draw(st.integers(0, 10**6))
    return Recipe(tuple(given), tuple(steps), order, seed, special, large)
