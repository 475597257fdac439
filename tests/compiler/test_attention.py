"""Attention in native code: its kernels against the references, and compiled functions of it
against the same written out, in value, in every kind of derivative, and in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.compiler.op_support import run, traced
from tests.compiler.test_index_kernels import TARGETS
from wengert.compiler.attention_calls import attention as call_of
from wengert.compiler.ir import Term, apply
from wengert.compiler.kernel_calls import Site
from wengert.compiler.kernels.attention import Attention
from wengert.compiler.kernels.attention_gradient import AttentionGradient
from wengert.compiler.llvm import build
from wengert.compiler.llvm.build import Target
from wengert.compiler.llvm.emit import Module
from wengert.core.index import strides_of
from wengert.core.spec import Spec
from wengert.core.tree import tree_leaves
from wengert.ops import attention_blocks
from wengert.ops.attention import Explicit, attention, attention_gradient

F = wg.nn.functional
RNG = np.random.default_rng(11)
TOLERANCE = {np.float32: 3e-6, np.float64: 5e-15}
STREAM = np.array([7, 11], np.uint64), np.asarray(2**64 - 40, np.uint64)  # its counter carries


def arrays(lead: Any, rows: int, columns: int, e: int, v: int, dtype: Any = np.float32) -> Any:
    """Queries, keys, values and a cotangent of the result."""
    sizes = (rows, e), (columns, e), (columns, v), (rows, v)
    return [RNG.normal(size=(*lead, *size)).astype(dtype) for size in sizes]


def close(found: Any, expected: Any, tolerance: float, where: str = "") -> None:
    """Equal up to a share of the largest entry; infinities are the same."""
    a, b = np.asarray(found), np.asarray(expected)
    assert (a.shape, a.dtype) == (b.shape, b.dtype), where
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], err_msg=where)
    limit = tolerance * max(1.0, float(np.max(np.abs(b[finite]), initial=0.0)))
    np.testing.assert_allclose(a[finite], b[finite], rtol=0, atol=limit, err_msg=where)


# -- the kernels -------------------------------------------------------------------------------

SIZES: list[Any] = [
    ((2, 3), 64, 64, 32, 32),
    ((2,), 256, 256, 64, 64),
    ((3,), 37, 53, 17, 5),
    ((), 1, 1, 1, 1),
    ((), 33, 130, 8, 40),
    ((5,), 130, 33, 20, 16),
]


def check(given: Any, g: Any, tolerance: float, threads: tuple[int, ...] = (1,), **how: Any) -> Any:
    """Both kernels give what the references do, and the same bits on any number of threads."""
    params = {"scale": 0.3, "causal": False, "masked": False, "dropout": 0.0} | how
    expected = attention.reference(*given, **params)
    more = (*given, *expected, g)
    expected = (*expected, *attention_gradient.reference(*more, **params))
    n = len(given)

    def both(*xs: Any) -> Any:
        return *attention(*xs[:n], **params), *attention_gradient(*xs, **params)

    program = traced(both, more)
    first = run(program, more, threads[0])
    for name, a, b in zip(("out", "lse", "dq", "dk", "dv"), first, expected, strict=True):
        close(a, b, tolerance, name)
    for count in threads[1:]:
        for a, b in zip(run(program, more, count), first, strict=True):
            assert a.tobytes() == b.tobytes(), f"{count} threads"
    return first


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels(sizes: Any, causal: bool, dtype: Any) -> None:
    *given, g = arrays(*sizes, dtype)
    check(given, g, TOLERANCE[dtype], (1, 2, 3), causal=causal)


@pytest.mark.parametrize("shape", [(2, 70, 90), (1, 1, 90), (2, 70, 1), (1, 70, 90), (1, 1, 1)])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_under_masks(shape: Any, kind: str, dtype: Any) -> None:
    *given, g = arrays((2,), 70, 90, 20, 36, dtype)
    mask = RNG.random(shape) < 0.6 if kind == "bool" else RNG.normal(size=shape).astype(dtype)
    check([*given, mask], g, TOLERANCE[dtype], (1, 3), masked=True)


@pytest.mark.parametrize("sizes", [((2,), 70, 91, 20, 36), ((3, 2), 64, 64, 32, 32)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_with_dropout(sizes: Any, dtype: Any) -> None:
    for causal in (False, True):
        *given, g = arrays(*sizes, dtype)
        given += STREAM
        check(given, g, TOLERANCE[dtype], (1, 3), causal=causal, dropout=0.4)


def test_all_at_once() -> None:
    *given, g = arrays((2, 2), 75, 75, 24, 24)
    mask = RNG.random((2, 1, 1, 75)) < 0.7
    check(
        [*given, mask, *STREAM], g, 1e-5, (1, 2), causal=True, masked=True, dropout=1e-12, scale=9.0
    )


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_rows_without_keys_give_zeros(kind: str) -> None:
    *given, g = arrays((2,), 40, 50, 16, 16)
    mask = RNG.random((2, 40, 50)) < 0.5
    mask[:, 3] = mask[0, 33] = False
    added = np.where(mask, 0.5, -np.inf).astype(np.float32)
    found = check([*given, mask if kind == "bool" else added], g, 3e-6, masked=True)
    empty = ~mask.any(axis=-1)
    assert (found[1][empty] == -np.inf).all()
    assert not found[0][empty].any()
    assert not found[2][empty].any()


def test_what_is_behind_the_causal_mask_is_not_read() -> None:
    q, k, v, g = arrays((1,), 64, 200, 16, 16)
    k[:, 64:], v[:, 64:] = np.nan, np.inf
    params = {"scale": 1.0, "causal": True, "masked": False, "dropout": 0.0}
    f = lambda *xs: (*attention(*xs[:3], **params), *attention_gradient(*xs, **params))
    out, lse = attention.reference(q, k[:, :64], v[:, :64], **params)
    found = run(traced(f, (q, k, v, out, lse, g)), (q, k, v, out, lse, g))
    assert all(np.isfinite(x).all() for x in found)
    assert not found[3][:, 64:].any()


def test_nan_stays_in_its_row_or_matrix() -> None:
    q, k, v, _ = arrays((2,), 40, 40, 16, 16)
    q[0, 5, 2] = np.nan
    params = {"scale": 1.0, "causal": False, "masked": False, "dropout": 0.0}
    out, lse = run(traced(lambda *xs: attention(*xs, **params), (q, k, v)), (q, k, v))
    hit = np.zeros((2, 40), bool)
    hit[0, 5] = True
    np.testing.assert_array_equal(np.isnan(out).all(axis=-1), hit)
    np.testing.assert_array_equal(np.isnan(out).any(axis=-1), hit)
    np.testing.assert_array_equal(np.isnan(lse), hit)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.cpu)
def test_the_kernels_compile_for_other_processors(target: Target) -> None:
    for dtype in (np.float32, np.float64):
        *given, _ = arrays((2,), 40, 40, 16, 16, dtype)
        terms = [Term(None, (), {}, Spec.of(a)) for a in given]
        params = {"scale": 1.0, "causal": True, "masked": False, "dropout": 0.0}
        term = apply(attention, *terms, **params)
        call = call_of(term, Site(lambda t: True, lambda t: strides_of(t.shape), None))
        assert isinstance(call.kernel, Attention)
        problem = replace(call.kernel.problem, target=target)
        back = replace(
            problem, strides=problem.strides + problem.results * 2, results=problem.strides
        )
        module = Module()
        Attention(problem).emit(module, "attention")
        AttentionGradient(back).emit(module, "gradient")
        assert build.emit_object(module.text(), target)


# -- compiled functions ------------------------------------------------------------------------


def composed(q: Any, k: Any, v: Any, **how: Any) -> Any:
    """Attention written out."""
    params = {"scale": 1 / math.sqrt(q.shape[-1]), "causal": False, "masked": False, "dropout": 0.0}
    return Explicit([q, k, v], **(params | how)).out


def wave(x: Any) -> Any:
    """A scalar of which no derivative is zero or constant."""
    return wg.sum(wg.sin(x) * x)


SEQUENCES = [((2, 2), 40, 40, 8, 8), ((3,), 33, 50, 5, 7)]
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "value": lambda f: f,
    "gradient": lambda f: wg.grad(lambda *xs: wave(f(*xs)), argnums=(0, 1, 2)),
    "tangent": lambda f: lambda *xs: wg.jvp(f, xs, tuple(wg.cos(x) for x in xs)),
    "vmap": lambda f: wg.vmap(f),
    "vmap of gradient": lambda f: wg.vmap(wg.grad(lambda *xs: wave(f(*xs)), argnums=(0, 1, 2))),
    "gradient of gradient": lambda f: wg.grad(
        lambda *xs: wave(wg.grad(lambda *ys: wave(f(*ys)))(*xs)), argnums=(0, 1, 2)
    ),
    "tangent of gradient": lambda f: (
        lambda *xs: wg.jvp(
            wg.grad(lambda *ys: wave(f(*ys)), argnums=(0, 1, 2)), xs, tuple(wg.cos(x) for x in xs)
        )
    ),
    "gradient of tangent": lambda f: wg.grad(
        lambda *xs: wave(wg.jvp(f, xs, tuple(wg.cos(x) for x in xs))[1])
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_transform(transform: str, causal: bool) -> None:
    apply_to = TRANSFORMS[transform]
    for sizes in SEQUENCES:
        given = [wg.asarray(a) for a in arrays(*sizes, np.float64)[:3]]
        f = lambda *xs: F.scaled_dot_product_attention(*xs, is_causal=causal)
        wanted = tree_leaves(apply_to(lambda *xs: composed(*xs, causal=causal))(*given))
        for found in (apply_to(f)(*given), wg.jit(apply_to(f))(*given)):
            leaves = tree_leaves(found)
            assert len(leaves) == len(wanted)
            for a, b in zip(leaves, wanted, strict=True):
                close(a, b, 1e-10, f"{transform} of {sizes}")


def test_the_gradient_of_a_mask() -> None:
    q, k, v, _ = map(wg.asarray, arrays((2, 2), 40, 40, 8, 8, np.float64))
    for shape in ((40, 40), (2, 1, 1, 40)):
        mask = wg.asarray(RNG.normal(size=shape))
        f = lambda m: wave(F.scaled_dot_product_attention(q, k, v, m))
        g = lambda m: wave(wg.softmax((q / math.sqrt(8)) @ k.mT + m, axis=-1) @ v)
        close(wg.jit(wg.grad(f))(mask), wg.grad(g)(mask), 1e-12)


def test_dropout_draws_what_dropout_of_weights_draws() -> None:
    q, k, v, g = map(wg.asarray, arrays((2, 2), 40, 44, 8, 8, np.float64))

    def attend(q: Any, k: Any, v: Any, fused: bool) -> Any:
        generator = wg.random.Generator(3)
        if fused:
            return F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, generator=generator)
        return F.dropout(F.attention_weights(q, k), 0.3, generator=generator) @ v

    def pulled(*xs: Any, fused: bool) -> Any:
        out, back = wg.vjp(lambda *ys: attend(*ys, fused=fused), *xs)
        return out, *back(g)

    wanted = pulled(q, k, v, fused=False)
    for found in (
        pulled(q, k, v, fused=True),
        wg.jit(lambda *xs: pulled(*xs, fused=True))(q, k, v),
    ):
        for a, b in zip(found, wanted, strict=True):
            close(a, b, 1e-12)


def test_dropout_moves_the_generator_on_as_it_did() -> None:
    q, k, v, _ = map(wg.asarray, arrays((2,), 40, 44, 8, 8))
    counters = []
    for fused in (True, False):
        generator = wg.random.Generator(3)
        if fused:
            F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, generator=generator)
        else:
            F.dropout(F.attention_weights(q, k), 0.3, generator=generator)
        counters.append(int(generator.counter.numpy()))
    assert counters[0] == counters[1] > 0


def test_rows_of_vmap_may_have_dropout_of_their_own() -> None:
    v = wg.broadcast_to(wg.eye(40), (3, 40, 40))
    zeros = wg.zeros((3, 40, 4))
    for randomness in ("different", "same"):
        f = lambda q, k, v: F.scaled_dot_product_attention(
            q, k, v, dropout_p=0.5, generator=wg.random.Generator(1)
        )
        kept = wg.vmap(f, randomness=randomness)(zeros, zeros, v).numpy() > 0
        assert (kept[0] == kept[1]).all() == (randomness == "same")


def test_a_scale_that_is_learnt() -> None:
    q, k, v, _ = map(wg.asarray, arrays((2,), 40, 44, 8, 8, np.float64))
    scale = wg.asarray(0.4, dtype="float64")
    f = lambda s: wave(F.scaled_dot_product_attention(q, k, v, scale=s))
    g = lambda s: wave(F.attention_weights(q, k, scale=s) @ v)
    close(wg.jit(wg.grad(f))(scale), wg.grad(g)(scale), 1e-11)
    close(wg.jit(lambda: f(np.float32(0.5)))(), g(0.5), 1e-12)


def test_probabilities_at_the_ends() -> None:
    q, k, v, _ = map(wg.asarray, arrays((2,), 40, 44, 8, 8))
    assert not F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).numpy().any()
    with pytest.raises(ValueError, match="probability of a zero"):
        F.scaled_dot_product_attention(q, k, v, dropout_p=1.5)


def test_operands_that_are_broadcast() -> None:
    q = wg.asarray(RNG.normal(size=(3, 1, 40, 8)))
    k, v = (wg.asarray(RNG.normal(size=(2, 33, n))) for n in (8, 6))
    f = lambda q, k, v: F.scaled_dot_product_attention(q, k, v)
    both = lambda q, k, v: (f(q, k, v), wg.grad(lambda *xs: wave(f(*xs)), (0, 1, 2))(q, k, v))
    lead = lambda x: wg.broadcast_to(x, (3, 2, *x.shape[-2:]))
    wanted = composed(lead(q), lead(k), lead(v))
    out, slopes = wg.jit(both)(q, k, v)
    close(out, wanted, 1e-13)
    expected = wg.grad(lambda q, k, v: wave(composed(lead(q), lead(k), lead(v))), (0, 1, 2))(
        q, k, v
    )
    for a, b in zip(slopes, expected, strict=True):
        close(a, b, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32(dtype: str) -> None:
    given = [wg.asarray(a).astype(dtype) for a in arrays((2,), 40, 40, 8, 8)[:3]]
    f = lambda *xs: F.scaled_dot_product_attention(*xs, is_causal=True)
    wide = f(*(x.astype("float32") for x in given)).astype(dtype)
    for found in (f(*given), wg.jit(f)(*given)):
        assert str(found.dtype) == dtype
        close(found.astype("float32"), wide.astype("float32"), 1e-2)


# -- layers, layouts, memory -------------------------------------------------------------------


def executable_of(jitted: Any) -> Any:
    (entries,) = jitted.cache.values()
    (entry,) = entries
    return entry.entry.executable


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("padding", [False, True])
def test_multihead_attention_without_weights(batch_first: bool, padding: bool) -> None:
    layer = wg.nn.MultiheadAttention(24, 3, batch_first=batch_first)
    x = wg.asarray(RNG.normal(size=(2, 40, 24) if batch_first else (40, 2, 24)).astype(np.float32))
    given: dict[str, Any] = {"is_causal": True}
    if padding:
        given["key_padding_mask"] = wg.asarray(RNG.random((2, 40)) < 0.2)
    wanted, weights = layer(x, x, x, **given)
    assert weights is not None
    found, none = layer(x, x, x, need_weights=False, **given)
    assert none is None
    close(found, wanted, 1e-5)
    compiled = wg.jit(lambda x: layer(x, x, x, need_weights=False, **given)[0])
    close(compiled(x), wanted, 1e-5)


def test_heads_are_read_and_written_where_they_lie() -> None:
    """Around attention in heads nothing is copied: q, k and v are views of one product, and the
    result is a view for the next; so are the cotangents."""
    b, t, h, d = 2, 64, 3, 16

    def attend(x: Any, w: Any) -> Any:
        q, k, v = (x @ w).reshape(b, t, 3, h, d).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(b, t, h * d) @ w[:, : h * d]

    x = wg.asarray(RNG.normal(size=(b, t, h * d)).astype(np.float32))
    w = wg.asarray(RNG.normal(size=(h * d, 3 * h * d)).astype(np.float32) / 7)
    f = wg.jit(wg.value_and_grad(lambda x, w: wave(attend(x, w)), (0, 1)))
    value, slopes = f(x, w)
    with wg.no_grad():
        wanted, expected = wg.value_and_grad(lambda x, w: wave(attend(x, w)), (0, 1))(x, w)
    close(value, wanted, 1e-4)
    for a, c in zip(slopes, expected, strict=True):
        close(a, c, 1e-4)
    jobs = [job for job in executable_of(f).assembly.jobs if len(job.writes) == 1]
    copies = [job.writes[0] for job in jobs if job.writes[0].name == "alias"]
    inside = [c for c in copies if c not in executable_of(f).assembly.program.outputs]
    assert not inside


def planned(length: int, causal: bool) -> int:
    """Bytes of the arena for the gradient of attention over so many tokens."""
    q, k, v, g = (wg.asarray(a) for a in arrays((1, 2), length, length, 16, 16))

    @wg.jit
    def pulled(q: Any, k: Any, v: Any, g: Any) -> Any:
        f = lambda *xs: F.scaled_dot_product_attention(*xs, is_causal=causal, dropout_p=0.1)
        return wg.vjp(f, q, k, v)[1](g)

    pulled(q, k, v, g)
    size: int = executable_of(pulled).plan.size
    return size


@pytest.mark.parametrize("causal", [False, True])
def test_memory_grows_with_the_length_and_not_with_its_square(causal: bool) -> None:
    short, long = planned(512, causal), planned(2048, causal)
    assert long < 4.2 * short
    assert long < 2 * 2048 * 2048 * 4 / 4  # a quarter of one array of all weights


# -- the references ----------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 200, 3000, 10**6])
def test_references_give_the_same_in_blocks_of_any_size(block: int, monkeypatch: Any) -> None:
    *given, g = arrays((2, 3), 20, 30, 4, 5, np.float64)
    given += [RNG.random((2, 3, 20, 30)) < 0.7, *STREAM]
    params = {"scale": 0.5, "causal": True, "masked": True, "dropout": 0.3}
    x = Explicit([wg.asarray(a) for a in given], **params)
    ds = x.score_cotangent(wg.asarray(g), None)
    wanted = (x.out, x.lse, *x.from_scores(ds), x.v_cotangent(wg.asarray(g)))
    monkeypatch.setattr(attention_blocks, "BLOCK", block)
    found = attention.reference(*given, **params)
    found += attention_gradient.reference(*given, *found, g, **params)
    for a, b in zip(found, wanted, strict=True):
        close(a, b, 1e-12)
