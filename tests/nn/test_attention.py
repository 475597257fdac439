"""Attention: the definition written out, masks, derivatives, and errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import special

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert import nn

F = nn.functional
RNG = np.random.default_rng(5)
B, H, L, S, E, V = 2, 3, 4, 5, 2, 3
Q, K, VAL = (RNG.normal(size=(B, H, n, f)) for n, f in ((L, E), (S, E), (S, V)))


def attend(q: Any, k: Any, v: Any, added: Any = 0.0, scale: float | None = None) -> Any:
    """softmax(Q·Kᵀ·scale + added)·V, one query at a time."""
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = np.einsum("...le,...se->...ls", q, k) * scale + added
    return np.einsum("...ls,...sv->...lv", special.softmax(scores, axis=-1), v)


def as_added(keep: Any) -> Any:
    return np.where(keep, 0.0, -np.inf)


KEEP = np.array([[1, 0, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], bool)


# -- scaled_dot_product_attention ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({}, 0.0),
        ({"scale": 0.3}, 0.0),
        ({"is_causal": True}, as_added(np.tri(L, S, dtype=bool))),
        ({"attn_mask": KEEP}, as_added(KEEP)),
        ({"attn_mask": KEEP[None, None, :1]}, as_added(KEEP[:1])),
        ({"attn_mask": RNG.normal(size=(B, 1, L, S))}, None),
        ({"attn_mask": np.where(KEEP, 0.5, -np.inf)}, None),
    ],
)
def test_the_definition(settings: dict[str, Any], added: Any) -> None:
    added = settings["attn_mask"] if added is None else added
    options = {k: wg.asarray(v) if k == "attn_mask" else v for k, v in settings.items()}
    f = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options)
    expected = attend(Q, K, VAL, added, settings.get("scale"))
    np.testing.assert_allclose(f(*map(wg.asarray, (Q, K, VAL))).numpy(), expected)
    assert_derivatives(f, Q, K, VAL)


def test_any_number_of_batch_axes() -> None:
    for cut in ((0, 0), (0,), ()):
        q, k, v = Q[cut], K[cut], VAL[cut]
        found = F.scaled_dot_product_attention(*map(wg.asarray, (q, k, v)))
        np.testing.assert_allclose(found.numpy(), attend(q, k, v))


@pytest.mark.parametrize("additive", [False, True])
def test_a_fully_masked_query_gives_zeros_in_value_and_gradient(additive: bool) -> None:
    keep = KEEP.copy()
    keep[1] = False
    mask = wg.asarray(as_added(keep) if additive else keep)
    f = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask)
    out = f(*map(wg.asarray, (Q, K, VAL))).numpy()
    others = attend(Q[:, :, [0, 2, 3]], K, VAL, as_added(keep[[0, 2, 3]]))
    np.testing.assert_array_equal(out[:, :, 1], 0.0)
    np.testing.assert_allclose(out[:, :, [0, 2, 3]], others)
    assert_derivatives(f, Q, K, VAL)
    slope = wg.grad(lambda q: wg.sum(f(q, wg.asarray(K), wg.asarray(VAL))))(wg.asarray(Q))
    np.testing.assert_array_equal(slope.numpy()[:, :, 1], 0.0)


def test_a_mask_that_is_traced_treats_empty_rows_alike() -> None:
    keep = KEEP.copy()
    keep[1] = False
    q, k, v = (wg.asarray(a[0, 0]) for a in (Q, K, VAL))
    masks = wg.asarray(np.stack([KEEP, keep]))
    found = wg.vmap(lambda m: F.scaled_dot_product_attention(q, k, v, m))(masks)
    for mask, row in zip((KEEP, keep), found.numpy(), strict=True):
        expected = F.scaled_dot_product_attention(q, k, v, wg.asarray(mask))
        np.testing.assert_allclose(row, expected.numpy())


def test_an_additive_mask_is_differentiated() -> None:
    mask = RNG.normal(size=(L, S))
    q, k, v = map(wg.asarray, (Q, K, VAL))
    assert_derivatives(lambda m: F.scaled_dot_product_attention(q, k, v, m), mask)


def test_grouped_queries() -> None:
    q, k, v = RNG.normal(size=(2, 4, L, E)), K[:, :2], VAL[:, :2]
    f = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    expected = attend(q, np.repeat(k, 2, axis=1), np.repeat(v, 2, axis=1))
    np.testing.assert_allclose(f(*map(wg.asarray, (q, k, v))).numpy(), expected)
    assert_derivatives(f, q, k, v)


def test_dropout_of_weights() -> None:
    q, k = wg.zeros((1, 1)), wg.zeros((2000, 1))
    g = wg.random.Generator(0)
    v = wg.eye(2000)
    weights = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25, generator=g).numpy() * 2000
    assert set(np.round(np.unique(weights), 4)) == {0.0, np.float32(1.3333)}
    assert abs((weights == 0).mean() - 0.25) < 0.04


def test_no_keys_and_no_queries() -> None:
    empty = F.scaled_dot_product_attention(wg.ones((2, 3)), wg.ones((0, 3)), wg.ones((0, 4)))
    np.testing.assert_array_equal(empty.numpy(), np.zeros((2, 4)))
    assert F.scaled_dot_product_attention(
        wg.ones((0, 3)), wg.ones((2, 3)), wg.ones((2, 4))
    ).shape == (0, 4)


def test_large_scores_do_not_overflow() -> None:
    q = wg.asarray([[1e4, 0.0]])
    k = wg.asarray([[1e4, 0.0], [-1e4, 0.0]])
    out, slope = wg.value_and_grad(
        lambda q: wg.sum(F.scaled_dot_product_attention(q, k, wg.asarray([[1.0], [2.0]])))
    )(q)
    assert float(out) == 1.0
    assert wg.all(wg.isfinite(slope))


# -- MultiheadAttention ----------------------------------------------------------------------------

DIM, HEADS = 6, 2


def by_hand(layer: Any, q: Any, k: Any, v: Any, left_out: Any = None) -> tuple[Any, Any]:
    """The layer's result and weights for (batch, length, features), from its parameters."""
    state = {name: p.numpy() for name, p in layer.state_dict().items()}
    if "in_proj_weight" in state:
        weights = np.split(state["in_proj_weight"], 3)
    else:
        weights = [state[f"{name}_proj_weight"] for name in "qkv"]
    biases = np.split(state.get("in_proj_bias", np.zeros(3 * DIM)), 3)
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    n, extra = len(q), 0
    if "bias_k" in state:
        k = np.concatenate([k, np.tile(state["bias_k"], (n, 1, 1))], axis=1)
        v = np.concatenate([v, np.tile(state["bias_v"], (n, 1, 1))], axis=1)
        extra += 1
    if layer.add_zero_attn:
        k, v = (np.concatenate([x, np.zeros((n, 1, DIM))], axis=1) for x in (k, v))
        extra += 1
    q, k, v = (x.reshape(n, -1, HEADS, DIM // HEADS).swapaxes(1, 2) for x in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(DIM // HEADS)
    if left_out is not None:
        left_out = np.broadcast_to(left_out, (n, HEADS, q.shape[2], k.shape[2] - extra))
        scores[..., : k.shape[2] - extra][left_out] = -np.inf
    p = special.softmax(scores, axis=-1)
    out = (p @ v).swapaxes(1, 2).reshape(n, -1, DIM)
    return out @ state["out_proj.weight"].T + state.get("out_proj.bias", 0.0), p


@pytest.mark.parametrize(
    ("bias", "add_bias_kv", "add_zero_attn", "sizes", "batch_first"),
    list(itertools.product(*[[True, False]] * 3, [None, (4, 5)], [True, False])),
)
def test_multihead_attention(
    bias: bool, add_bias_kv: bool, add_zero_attn: bool, sizes: Any, batch_first: bool
) -> None:
    kdim, vdim = sizes or (None, None)
    layer = nn.MultiheadAttention(
        DIM, HEADS, 0.0, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first, dtype="float64"
    )
    for p in layer.parameters():
        nn.init.normal_(p, std=0.5)
    q, k, v = (
        RNG.normal(size=(3, n, f)) for n, f in ((L, DIM), (S, kdim or DIM), (S, vdim or DIM))
    )
    left = lambda x: wg.asarray(x if batch_first else x.swapaxes(0, 1))
    padding = np.zeros((3, S), bool)
    padding[1, 3:] = True
    causal = ~np.tri(L, S, dtype=bool)
    per_head = RNG.uniform(size=(3 * HEADS, L, S)) < 0.3
    per_head[..., 0] = False
    for key_padding_mask, attn_mask in itertools.product((None, padding), (None, causal, per_head)):
        masks = [
            m
            for m in (
                None if key_padding_mask is None else padding[:, None, None],
                per_head.reshape(3, HEADS, L, S) if attn_mask is per_head else attn_mask,
            )
            if m is not None
        ]
        expected, weights = by_hand(
            layer, q, k, v, np.logical_or(*masks) if len(masks) == 2 else (masks or [None])[0]
        )
        out, found = layer(left(q), left(k), left(v), key_padding_mask, True, attn_mask, False)
        np.testing.assert_allclose(
            out.numpy() if batch_first else out.numpy().swapaxes(0, 1), expected
        )
        np.testing.assert_allclose(found.numpy(), weights)
        averaged = layer(left(q), left(k), left(v), key_padding_mask, True, attn_mask)[1]
        np.testing.assert_allclose(averaged.numpy(), weights.mean(1))
        alone, nothing = layer(left(q), left(k), left(v), key_padding_mask, False, attn_mask)
        assert nothing is None
        np.testing.assert_array_equal(alone.numpy(), out.numpy())
    single, weights_of_one = layer(*(wg.asarray(x[0]) for x in (q, k, v)))
    expected, weights = by_hand(layer, q[:1], k[:1], v[:1])
    np.testing.assert_allclose(single.numpy(), expected[0])
    np.testing.assert_allclose(weights_of_one.numpy(), weights.mean(1)[0])


def test_self_attention_in_one_product_is_the_same() -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype="float64")
    x = wg.asarray(RNG.normal(size=(2, L, DIM)))
    joint, apart = layer(x, x, x)[0], layer(x, x + 0.0, x)[0]
    np.testing.assert_allclose(joint.numpy(), apart.numpy(), rtol=1e-12)


def test_causal_without_a_mask_and_float_masks() -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, batch_first=True, dtype="float64")
    x = wg.asarray(RNG.normal(size=(2, L, DIM)))
    boolean = ~np.tri(L, dtype=bool)
    expected = layer(x, x, x, attn_mask=boolean)[0].numpy()
    added = F.generate_square_subsequent_mask(L)
    for options in (
        {"is_causal": True},
        {"attn_mask": added},
        {"attn_mask": added, "is_causal": True},
    ):
        np.testing.assert_allclose(layer(x, x, x, **options)[0].numpy(), expected)
    padding = np.zeros((2, L), bool)
    padding[0, 0] = True
    both = layer(x, x, x, key_padding_mask=padding, attn_mask=added)[0].numpy()
    mixed = layer(x, x, x, key_padding_mask=np.where(padding, -np.inf, 0), attn_mask=boolean)[0]
    np.testing.assert_allclose(both, mixed.numpy())
    np.testing.assert_allclose(both[0, 0], layer.out_proj.bias.numpy())  # sees nothing


def test_gradients_reach_every_parameter() -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, add_bias_kv=True, kdim=4, dtype="float64")
    q, k, v = (RNG.normal(size=(n, 2, f)) for n, f in ((L, DIM), (S, 4), (S, DIM)))
    names = [name for name, _ in layer.named_parameters()]
    values = [p.numpy() for p in layer.parameters()]

    def f(*args: Any) -> Any:
        model = wg.tree.tree_unflatten(definition, args[:-3])
        return model(*args[-3:])[0]

    leaves, definition = wg.tree.tree_flatten(layer)
    assert len(leaves) == len(names)
    assert_derivatives(f, *values, q, k, v, order=1)


def test_dropout_acts_in_training_alone() -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, dropout=0.5, batch_first=True)
    x = wg.ones((1, 20, DIM))
    assert (layer(x, x, x)[1].numpy() == 0).any()
    assert (layer.eval()(x, x, x)[1].numpy() > 0).all()


def test_names_and_layouts_are_pytorchs() -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, add_bias_kv=True)
    shapes = {name: p.shape for name, p in layer.state_dict().items()}
    assert shapes == {
        "in_proj_weight": (3 * DIM, DIM),
        "in_proj_bias": (3 * DIM,),
        "bias_k": (1, 1, DIM),
        "bias_v": (1, 1, DIM),
        "out_proj.weight": (DIM, DIM),
        "out_proj.bias": (DIM,),
    }
    apart = nn.MultiheadAttention(DIM, HEADS, bias=False, kdim=4, vdim=5)
    assert {name: p.shape for name, p in apart.state_dict().items()} == {
        "q_proj_weight": (DIM, DIM),
        "k_proj_weight": (DIM, 4),
        "v_proj_weight": (DIM, 5),
        "out_proj.weight": (DIM, DIM),
    }
    assert not layer.in_proj_bias.numpy().any()
    assert not layer.out_proj.bias.numpy().any()
    bound = math.sqrt(6 / (4 * DIM))
    assert np.abs(layer.in_proj_weight.numpy()).max() <= bound


# -- positions -------------------------------------------------------------------------------------


def test_sinusoidal_encoding() -> None:
    found = F.sinusoidal_encoding(50, 7, dtype="float64").numpy()
    for position, i in itertools.product(range(50), range(7)):
        angle = position / 10000 ** (2 * (i // 2) / 7)
        assert found[position, i] == pytest.approx((math.cos if i % 2 else math.sin)(angle))
    assert F.sinusoidal_encoding(0, 4).shape == (0, 4)


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_embedding_depends_on_distances(interleaved: bool) -> None:
    q, k = RNG.normal(size=(2, 1, 8))
    rotate = lambda x, p: F.rotary_embedding(wg.asarray(x), [p], interleaved=interleaved).numpy()
    near = [float((rotate(q, p) * rotate(k, p + 3)).sum()) for p in (0, 7, 1000)]
    np.testing.assert_allclose(near, near[0], rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(rotate(q, 5)), np.linalg.norm(q))
    assert_derivatives(
        lambda x: F.rotary_embedding(x, interleaved=interleaved), RNG.normal(size=(2, 3, 4))
    )


def test_rotary_embedding_turns_pairs_of_features() -> None:
    x = RNG.normal(size=(5, 6))
    angle = np.arange(5)[:, None] / 10000 ** (np.arange(3) * 2 / 6)
    turned = (x[:, ::2] + 1j * x[:, 1::2]) * np.exp(1j * angle)
    expected = np.stack([turned.real, turned.imag], axis=-1).reshape(5, 6)
    np.testing.assert_allclose(F.rotary_embedding(wg.asarray(x)).numpy(), expected)
    halves = np.concatenate([x[:, ::2], x[:, 1::2]], axis=1)
    found = nn.RotaryEmbedding(interleaved=False)(wg.asarray(halves)).numpy()
    np.testing.assert_allclose(found, np.concatenate([turned.real, turned.imag], axis=1))


# -- errors ----------------------------------------------------------------------------------------

ones = lambda *shape: wg.ones(shape)
LAYER = nn.MultiheadAttention(4, 2)
FIRST = nn.MultiheadAttention(4, 2, batch_first=True)
sdpa = F.scaled_dot_product_attention
ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: sdpa(ones(3), ones(3), ones(3)), ValueError, r"need the axes \(length, features\)"),
    (lambda: sdpa(ones(2, 3), ones(2, 4), ones(2, 4)), ValueError, "same number of features"),
    (lambda: sdpa(ones(2, 3), ones(2, 3), ones(4, 3)), ValueError, "one value a key"),
    (
        lambda: sdpa(ones(2, 3), ones(4, 3), ones(4, 3), ones(4, 2)),
        ValueError,
        r"mask cannot be broadcast to the scores; got mask \(4, 2\) for scores \(2, 4\)",
    ),
    (
        lambda: sdpa(ones(2, 3), ones(2, 3), ones(2, 3), wg.ones((2, 2), dtype="int64")),
        TypeError,
        "a mask is boolean",
    ),
    (
        lambda: sdpa(ones(2, 3), ones(2, 3), ones(2, 3), ones(2, 2), is_causal=True),
        ValueError,
        "is_causal or attn_mask, not both",
    ),
    (
        lambda: sdpa(ones(3, 2, 3), ones(2, 2, 3), ones(2, 2, 3), enable_gqa=True),
        ValueError,
        "multiple of the heads",
    ),
    (lambda: sdpa(wg.ones((2, 3), dtype="int64"), ones(2, 3), ones(2, 3)), TypeError, "floating"),
    (
        lambda: nn.MultiheadAttention(10, 3),
        ValueError,
        r"\[MultiheadAttention\] embed_dim must be a positive multiple of num_heads; "
        r"got embed_dim=10 and num_heads=3; fix: use embed_dim=9 or 12",
    ),
    (lambda: nn.MultiheadAttention(4, 0), ValueError, "multiple of num_heads"),
    (lambda: nn.MultiheadAttention(4, 2, dropout=1.5), ValueError, "dropout is a share"),
    (lambda: LAYER(ones(2, 3, 5), ones(2, 3, 5), ones(2, 3, 5)), ValueError, "must be 4, 4 and 4"),
    (lambda: LAYER(ones(3, 4), ones(2, 3, 4), ones(2, 3, 4)), ValueError, "add or drop the batch"),
    (
        lambda: LAYER(ones(2, 3, 4), ones(2, 5, 4), ones(2, 5, 4)),
        ValueError,
        "one batch size.*batch_first=True",
    ),
    (
        lambda: FIRST(ones(2, 3, 4), ones(2, 5, 4), ones(2, 6, 4)),
        ValueError,
        "key and value must have one length",
    ),
    (
        lambda: FIRST(ones(2, 3, 4), ones(2, 5, 4), ones(2, 5, 4), attn_mask=ones(5, 3)),
        ValueError,
        r"attn_mask must be \(L, S\) or .*expected \(3, 5\) or \(4, 3, 5\)",
    ),
    (
        lambda: FIRST(ones(2, 3, 4), ones(2, 5, 4), ones(2, 5, 4), ones(5, 2)),
        ValueError,
        r"key_padding_mask must be \(batch, keys\).*the batch axis behind",
    ),
    (
        lambda: FIRST(ones(2, 3, 4), ones(2, 5, 4), ones(2, 5, 4), np.ones((2, 5), int)),
        TypeError,
        "key_padding_mask must be boolean",
    ),
    (lambda: F.rotary_embedding(ones(2, 3)), ValueError, "even number of features"),
    (lambda: F.rotary_embedding(ones(2, 4), [1]), ValueError, r"positions of shape \(2,\)"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, wg.errors.WengertError)
