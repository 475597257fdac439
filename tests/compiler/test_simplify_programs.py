"""Whole programs, random ones and real training steps: simplified, they compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from tests.compiler.simplifying import (
    close,
    f32,
    names,
    ordinary,
    program_of,
    same_bits,
    simplified,
    special,
)
from wengert import Tensor, nn
from wengert.compiler.ir import Program
from wengert.core.op import REGISTRY
from wengert.core.spec import Spec
from wengert.core.tree import tree_flatten, tree_leaves
from wengert.nn import functional as F

Instruction = tuple[str, int, int, int]

# -- random programs of exact rules ------------------------------------------------------------

NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, -0.25, float("inf"), float("nan")]
SHAPES = [(), (6,), (1,), (2, 3), (3, 2), (2, 1), (1, 3), (2, 3, 1), (2, 2, 3)]

UNARY: dict[str, Callable[..., Any]] = {
    "neg": wg.negative,
    "abs": wg.abs,
    "square": wg.square,
    "sqrt": wg.sqrt,
    "relu": F.relu,
    "floor": wg.floor,
    "reciprocal": wg.reciprocal,
    "alias": lambda x: REGISTRY["alias"](x),
    "flat": lambda x: wg.reshape(x, (-1,)),
    "turned": lambda x: wg.permute_dims(x, tuple(range(x.ndim))[::-1]),
    "unsqueezed": lambda x: wg.expand_dims(x, axis=0),
    "squeezed": lambda x: wg.reshape(x, tuple(n for n in x.shape if n != 1)),
    "flipped": wg.flip,
    "wide": lambda x: x.astype("float64").astype("float32"),
}
BINARY: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "where": lambda x, y: wg.where(x > y, x, y),
    "less": lambda x, y: wg.where(wg.logical_not(x < y), y, -x),
    "annul": lambda x, y: REGISTRY["annul"](x, y),
}
WITH_NUMBER: dict[str, Callable[..., Any]] = {
    "plus": lambda x, c: x + c,
    "minus": lambda x, c: x - c,
    "from": lambda x, c: c - x,
    "times": lambda x, c: x * c,
    "over": lambda x, c: x / c,
    "filled": lambda x, c: x * wg.full(x.shape, c),
}
ALONG: dict[str, Callable[..., Any]] = {
    "max": lambda x, axis: wg.max(x, axis=axis),
    "kept": lambda x, axis: x - wg.max(x, axis=axis, keepdims=True),
    "some": lambda x, axis: x[(slice(None),) * axis + (slice(x.shape[axis] // 2, None),)],
    "pad": lambda x, axis: wg.concat([x, wg.zeros_like(x)], axis=axis),
    "joined": lambda x, axis: wg.concat([x, -x], axis=axis),
    "spread": lambda x, axis: wg.broadcast_to(x, (2, *x.shape)),
    "parts": lambda x, axis: wg.concat(
        [wg.take(x, wg.asarray([i]), axis=axis) for i in range(x.shape[axis])], axis=axis
    ),
}
EXACT = [*UNARY, *BINARY, *WITH_NUMBER, *ALONG]

instructions = st.tuples(st.sampled_from(EXACT), *[st.integers(0, 11)] * 3)
shapes = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)


def fitting(x: Tensor, y: Tensor) -> bool:
    """Whether two shapes broadcast."""
    pairs = zip(x.shape[::-1], y.shape[::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def step(instruction: Instruction, pool: Sequence[Tensor]) -> Tensor:
    name, i, j, k = instruction
    x, y = pool[i % len(pool)], pool[j % len(pool)]
    if name in UNARY:
        return UNARY[name](x)
    if name in WITH_NUMBER:
        return WITH_NUMBER[name](x, NUMBERS[k % len(NUMBERS)])
    if name in BINARY:
        return BINARY[name](x, y if fitting(x, y) else wg.max(y))
    return ALONG[name](x, k % x.ndim) if x.ndim else -x


def exact(program: Sequence[Instruction]) -> Callable[..., list[Tensor]]:
    """A function that runs the instructions, and returns all that they compute."""

    def f(*inputs: Tensor) -> list[Tensor]:
        pool = list(inputs)
        for instruction in program:
            value = step(instruction, pool)
            if value.size <= 200:
                pool.append(value)
        return pool

    return f


def check_exact(program: Sequence[Instruction], some: Sequence[tuple[int, ...]]) -> None:
    specs = [f32(*s) for s in some]
    arrays = [[draw(s, i + j) for i, s in enumerate(specs)] for j in (0, 9) for draw in DRAWS]
    simplified(program_of(exact(program), *specs), arrays, same_bits)


DRAWS = (special, ordinary)


@given(st.lists(instructions, min_size=1, max_size=14), shapes)
@settings(max_examples=250)
def test_random_programs_keep_every_bit(
    program: list[Instruction], some: list[tuple[int, ...]]
) -> None:
    check_exact(program, some)


# -- random programs with sums, and their gradients ----------------------------------------------

SMOOTH: dict[str, Callable[..., Any]] = {
    "neg": wg.negative,
    "tanh": wg.tanh,
    "sigmoid": wg.sigmoid,
    "square": lambda x: wg.square(x) * 0.5,
    "log": lambda x: wg.log(x * x + 0.5),
    "flat": UNARY["flat"],
    "turned": UNARY["turned"],
    "unsqueezed": UNARY["unsqueezed"],
    "relu": F.relu,
    "checkpoint": wg.checkpoint(lambda x: wg.sin(x) * x),
}
PAIRS: dict[str, Callable[..., Any]] = {
    "add": BINARY["add"],
    "sub": BINARY["sub"],
    "mul": BINARY["mul"],
    "div": lambda x, y: x / (y * y + 1.0),
    "where": lambda x, y: wg.where(x > y, x * y, y),
    "maximum": wg.maximum,
}
OVER: dict[str, Callable[..., Any]] = {
    "sum": lambda x, axis: wg.sum(x, axis=axis),
    "mean": lambda x, axis: wg.mean(x, axis=axis, keepdims=True),
    "max": lambda x, axis: wg.max(x, axis=axis),
    "softmax": lambda x, axis: wg.softmax(x, axis=axis),
    "logsumexp": lambda x, axis: wg.logsumexp(x, axis=axis),
    "standardize": lambda x, axis: REGISTRY["standardize"](x, axis=(axis,), eps=0.1, center=True)[
        0
    ],
    "take": lambda x, axis: wg.take(x, wg.asarray([0, x.shape[axis] - 1, 0]), axis=axis),
    "pick": lambda x, axis: wg.take_along_axis(
        x, wg.argmax(x, axis=axis, keepdims=True), axis=axis
    ),
    "split": lambda x, axis: wg.concat([x[..., :1] * 2.0, x[..., 1:]], axis=-1),
}
GENERAL = [*SMOOTH, *PAIRS, *OVER, "matmul", "outer"]
general = st.tuples(st.sampled_from(GENERAL), *[st.integers(0, 11)] * 3)


def soft_step(instruction: Instruction, pool: Sequence[Tensor]) -> Tensor:
    name, i, j, k = instruction
    x, y = pool[i % len(pool)], pool[j % len(pool)]
    if name in SMOOTH:
        return SMOOTH[name](x)
    if name in PAIRS:
        return PAIRS[name](x, y if fitting(x, y) else wg.mean(y))
    if name == "outer":
        return wg.reshape(x, (-1, 1)) @ wg.reshape(y, (1, -1))
    if not x.ndim:
        return x + y
    if name == "matmul":
        return wg.reshape(x, (-1, x.shape[-1])) @ wg.reshape(x, (-1, x.shape[-1])).T
    return OVER[name](x, k % x.ndim)


def loss(program: Sequence[Instruction]) -> Callable[..., Tensor]:
    def f(*inputs: Tensor) -> Tensor:
        pool = list(inputs)
        for instruction in program:
            value = soft_step(instruction, pool)
            if value.size <= 200:
                pool.append(wg.tanh(value) + 0.1 * value)
        total = wg.sum(wg.sin(pool[0]))
        for k, value in enumerate(pool):
            total = total + wg.sum(wg.sin(value + 0.3 * k))
        return total

    return f


def check_general(program: Sequence[Instruction], some: Sequence[tuple[int, ...]]) -> None:
    specs = [Spec(s, np.dtype("float64")) for s in some]
    f = loss(program)
    numbers = tuple(range(len(specs)))
    arrays = [[ordinary(s, i) for i, s in enumerate(specs)]]
    agree = lambda x, y: close(x, y, 1e-9)
    simplified(program_of(wg.value_and_grad(f, numbers), *specs), arrays, agree)
    tangent = lambda *xs: wg.jvp(wg.grad(f), xs, xs)[1]
    simplified(program_of(tangent, *specs), arrays, agree)


@given(st.lists(general, min_size=1, max_size=8), shapes)
@settings(max_examples=120)
def test_random_gradients(program: list[Instruction], some: list[tuple[int, ...]]) -> None:
    check_general(program, some)


@pytest.mark.slow
@given(st.lists(instructions, min_size=1, max_size=20), shapes)
@settings(max_examples=5000)
def test_many_random_programs_keep_every_bit(program: Any, some: Any) -> None:
    check_exact(program, some)


@pytest.mark.slow
@given(st.lists(general, min_size=1, max_size=12), shapes)
@settings(max_examples=2000)
def test_many_random_gradients(program: Any, some: Any) -> None:
    check_general(program, some)


# -- training steps ----------------------------------------------------------------------------


def training(
    model: nn.Module,
    loss_of: Callable[..., Tensor],
    data: Sequence[np.ndarray[Any, Any]],
    update: Callable[[Tensor, Tensor], Tensor] = lambda p, g: p - 0.1 * g,
) -> tuple[Program, list[np.ndarray[Any, Any]]]:
    """The program of a step of training (loss, new parameters), and values for its inputs."""
    leaves, tree = tree_flatten(model)

    def step(*inputs: Tensor) -> list[Tensor]:
        params, batch = inputs[: len(leaves)], inputs[len(leaves) :]
        f = lambda *ps: loss_of(tree.unflatten(ps), *batch)
        value, grads = wg.value_and_grad(f, tuple(range(len(leaves))))(*params)
        return [value, *map(update, params, grads)]

    arrays = [np.array(leaf.detach()._data) for leaf in leaves] + list(data)
    return program_of(step, *[Spec.of(a) for a in arrays]), arrays


def images(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def classes(count: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).integers(0, count, shape)


def cross_entropy(model: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x), y)


def statistics(name: str, program: Program, found: Program) -> None:
    print(f"{name}: {len(program)} terms, simplified {len(found)}")


def test_mlp_with_adam() -> None:
    wg.random.seed(0)
    model = nn.Sequential(
        nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5)
    )
    opt = wg.optim.functional(wg.optim.Adam, lr=1e-3)
    weights = [Tensor(np.array(p.detach()._data)) for p in model.parameters()]
    state, tree = tree_flatten(opt.init(weights))
    data = [images(8, 20), classes(5, 8)]

    def run(ps: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
        h = F.relu(F.linear(F.relu(F.linear(x, ps[0], ps[1])), ps[2], ps[3]))
        return F.cross_entropy(F.linear(h, ps[4], ps[5]), y)

    def step(*inputs: Tensor) -> list[Tensor]:
        ps, rest = list(inputs[:6]), inputs[6:]
        slots, (x, y) = tree.unflatten(rest[:-2]), rest[-2:]
        value, grads = wg.value_and_grad(run)(ps, x, y)
        new, slots = opt.update(grads, slots, ps)
        return [value, *new, *tree_leaves(slots)]

    arrays = [t._data for t in (*weights, *state)] + data
    program = program_of(step, *[Spec.of(a) for a in arrays])
    found, report = simplified(program, [arrays], close)
    statistics("MLP, cross-entropy, Adam", program, found)
    left = names(found)
    assert left["contract"] == 8
    assert not {"annul", "alias", "scatter_add", "log_softmax", "share"} & set(left)
    assert report.visits < 2 * len(program)


def test_cnn_with_batch_norm() -> None:
    wg.random.seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)),
    )
    program, arrays = training(model.train(), cross_entropy, [images(2, 3, 12, 12), classes(5, 2)])
    found, _ = simplified(program, [arrays], close)
    statistics("CNN with batch norm", program, found)
    left = names(found)
    assert left["conv"] + left["conv_input"] + left["conv_weight"] == 5
    assert not {"standardize", "project", "log_softmax", "pick"} & set(left)


class Block(nn.Module):
    """A transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape

        def parted(t: Tensor) -> Tensor:
            split = wg.reshape(t, (rows, length, self.heads, width // self.heads))
            return wg.permute_dims(split, (0, 2, 1, 3))

        q, k, v = map(parted, wg.split(self.qkv(self.first(x)), 3, axis=-1))
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        merged = wg.reshape(wg.permute_dims(seen, (0, 2, 1, 3)), (rows, length, width))
        x = x + self.out(merged)
        return x + self.down(F.gelu(self.up(self.second(x))))


class Language(nn.Module):
    """Embedding, one block, and a head."""

    def __init__(self, words: int, width: int, length: int) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(words, width), nn.Embedding(length, width)
        self.block, self.norm = Block(width, 2), nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.word(x) + self.place(wg.arange(x.shape[1]))
        return self.head(self.norm(self.block(h)))


def test_attention_block() -> None:
    wg.random.seed(0)

    def loss_of(model: Any, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(wg.reshape(model(x), (-1, 64)), wg.reshape(y, (-1,)))

    data = [classes(64, 2, 8), classes(64, 2, 8)]
    program, arrays = training(Language(64, 16, 8), loss_of, data)
    found, _ = simplified(program, [arrays], close)
    statistics("attention block", program, found)
    left = names(found)
    assert left["contract"] == 21
    # No transposition is left, the gradients of q, k and v are one array, and the embedding's goes
    # into its rows.
    assert not {"permute", "pad", "softmax", "log_softmax", "standardize"} & set(left)
    assert (left["concatenate"], left["scatter"]) == (1, 1)
    assert not [t for t in found.terms if t.name == "scatter_add" and t.shape == (64, 16)]


def test_hessian() -> None:
    def f(w: Tensor, x: Tensor) -> Tensor:
        return wg.sum(wg.tanh(x @ wg.reshape(w[:32], (4, 8))) @ wg.reshape(w[32:], (8, 1)))

    specs = f32(40), f32(5, 4)
    program = program_of(wg.hessian(f), *specs)
    found, _ = simplified(program, [[ordinary(s) for s in specs]], close)
    statistics("Hessian", program, found)
    assert names(found)["contract"] == 3
    assert len(found) < 0.8 * len(program)


def test_physics_loss() -> None:
    """Second derivatives in the inputs, and the gradient in the weights above them."""

    def net(ps: Sequence[Tensor], x: Tensor) -> Tensor:
        return wg.sum(wg.tanh(wg.tanh(x @ ps[0] + ps[1]) @ ps[2] + ps[3]) @ ps[4])

    def residual(*inputs: Tensor) -> Tensor:
        ps, xs = inputs[:-1], inputs[-1]
        laplace = lambda x: wg.sum(wg.diagonal(wg.hessian(lambda x: net(ps, x))(x)))
        return wg.mean(wg.square(wg.vmap(laplace)(xs)))

    specs = [f32(2, 16), f32(16), f32(16, 16), f32(16), f32(16, 1), f32(7, 2)]
    program = program_of(wg.value_and_grad(residual, (0, 1, 2, 3, 4)), *specs)
    found, _ = simplified(program, [[ordinary(s, i) for i, s in enumerate(specs)]], close)
    statistics("physics loss", program, found)
    assert len(found) < 0.8 * len(program)
