"""Transformers: the layers' equations written out with the layers' own parts, masks, names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wengert as wg
from tests.arrays.derivatives import assert_derivatives
from wengert import nn

F = nn.functional
RNG = np.random.default_rng(9)
N, L, S, D, H, FF = 3, 4, 5, 6, 2, 8
X, M = wg.asarray(RNG.normal(size=(N, L, D))), wg.asarray(RNG.normal(size=(N, S, D)))
CAUSAL = ~np.tri(L, dtype=bool)
PADDED = np.zeros((N, L), bool)
PADDED[1, 2:] = True
MEMORY_PADDED = np.zeros((N, S), bool)
MEMORY_PADDED[2, 3:] = True


def build(kind: Any, **settings: Any) -> Any:
    layer = kind(D, H, FF, dropout=0.0, batch_first=True, dtype="float64", **settings)
    for p in layer.parameters():
        nn.init.normal_(p, std=0.5)
    return layer


@pytest.mark.parametrize(
    ("norm_first", "activation"), list(itertools.product([False, True], ["relu", "gelu", wg.tanh]))
)
def test_encoder_layer(norm_first: bool, activation: Any) -> None:
    layer = build(nn.TransformerEncoderLayer, norm_first=norm_first, activation=activation)
    act = {"relu": F.relu, "gelu": F.gelu}.get(activation, activation)
    attend = lambda x: layer.self_attn(x, x, x, PADDED, attn_mask=CAUSAL)[0]
    feed = lambda x: layer.linear2(act(layer.linear1(x)))
    if norm_first:
        h = X + attend(layer.norm1(X))
        expected = h + feed(layer.norm2(h))
    else:
        h = layer.norm1(X + attend(X))
        expected = layer.norm2(h + feed(h))
    found = layer(X, CAUSAL, PADDED)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
def test_decoder_layer(norm_first: bool) -> None:
    layer = build(nn.TransformerDecoderLayer, norm_first=norm_first)
    attend = lambda x: layer.self_attn(x, x, x, PADDED, attn_mask=CAUSAL)[0]
    look = lambda x: layer.multihead_attn(x, M, M, MEMORY_PADDED)[0]
    feed = lambda x: layer.linear2(F.relu(layer.linear1(x)))
    h = X
    for norm, block in ((layer.norm1, attend), (layer.norm2, look), (layer.norm3, feed)):
        h = h + block(norm(h)) if norm_first else norm(h + block(h))
    found = layer(X, M, CAUSAL, None, PADDED, MEMORY_PADDED)
    np.testing.assert_allclose(found.numpy(), h.numpy(), rtol=1e-12)
    causal = layer(X, M, None, None, PADDED, MEMORY_PADDED, tgt_is_causal=True)
    np.testing.assert_allclose(causal.numpy(), h.numpy(), rtol=1e-12)


def test_stacks() -> None:
    layer = build(nn.TransformerEncoderLayer)
    norm = nn.LayerNorm(D, dtype="float64")
    encoder = nn.TransformerEncoder(layer, 3, norm)
    expected = norm(layer(layer(layer(X, CAUSAL), CAUSAL), CAUSAL))
    np.testing.assert_allclose(encoder(X, CAUSAL).numpy(), expected.numpy())
    np.testing.assert_allclose(encoder(X, is_causal=True).numpy(), expected.numpy())
    assert len({id(p) for p in encoder.parameters()}) == 3 * 12 + 2  # copies, nothing shared
    bare = nn.TransformerDecoder(build(nn.TransformerDecoderLayer), 1)
    np.testing.assert_array_equal(bare(X, M).numpy(), bare.layers[0](X, M).numpy())


def test_a_later_token_does_not_change_an_earlier_result() -> None:
    model = nn.Transformer(D, H, 1, 2, FF, dropout=0.0, batch_first=True, dtype="float64")
    changed = X.at[:, 2].set(7.0)
    for options in ({"tgt_mask": CAUSAL}, {"tgt_is_causal": True}):
        a, b = model(M, X, **options).numpy(), model(M, changed, **options).numpy()
        np.testing.assert_array_equal(a[:, :2], b[:, :2])
        assert (a[:, 2:] != b[:, 2:]).any()


def test_padded_tokens_do_not_change_the_others() -> None:
    model = nn.Transformer(D, H, 2, 1, FF, dropout=0.0, batch_first=True, dtype="float64")
    changed = M.at[2, 3:].set(7.0)
    mask = {"src_key_padding_mask": MEMORY_PADDED, "memory_key_padding_mask": MEMORY_PADDED}
    np.testing.assert_allclose(model(M, X, **mask).numpy(), model(changed, X, **mask).numpy())


def test_layouts_agree() -> None:
    first = nn.Transformer(D, H, 1, 1, FF, dropout=0.0, batch_first=True, dtype="float64")
    second = nn.Transformer(D, H, 1, 1, FF, dropout=0.0, dtype="float64")
    second.load_state_dict(first.state_dict())
    swapped = second(wg.swapaxes(M, 0, 1), wg.swapaxes(X, 0, 1))
    np.testing.assert_allclose(first(M, X).numpy(), wg.swapaxes(swapped, 0, 1).numpy())
    np.testing.assert_allclose(first(M[0], X[0]).numpy(), first(M, X).numpy()[0], rtol=1e-9)


@pytest.mark.parametrize("norm_first", [False, True])
def test_derivatives_in_inputs_and_parameters(norm_first: bool) -> None:
    layer = nn.TransformerDecoderLayer(
        4, 2, 3, 0.0, wg.tanh, batch_first=True, norm_first=norm_first, dtype="float64"
    )
    for p in layer.parameters():
        nn.init.normal_(p, std=0.5)
    leaves, definition = wg.tree.tree_flatten(layer)

    def f(x: Any, memory: Any, *parameters: Any) -> Any:
        model = wg.tree.tree_unflatten(definition, parameters)
        return model(x, memory, tgt_is_causal=True)

    values = [p.numpy() for p in leaves]
    x, memory = RNG.normal(size=(1, 3, 4)), RNG.normal(size=(1, 2, 4))
    assert_derivatives(f, x, memory, *values, order=1, tolerance=1e-5)


def test_it_learns_to_copy() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 4, (32, 5))
    wg.manual_seed(0)
    embed, head = nn.Embedding(4, 16), nn.Linear(16, 4)
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    parameters = [*embed.parameters(), *head.parameters(), *layer.parameters()]

    def step() -> float:
        loss = F.cross_entropy(
            wg.swapaxes(head(layer(embed(wg.asarray(tokens)))), 1, 2), wg.asarray(tokens)
        )
        loss.backward()
        for p in parameters:
            with wg.no_grad():
                p.assign(p - 0.1 * p.grad)
            p.grad = None
        return float(loss)

    losses = [step() for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_names_are_pytorchs() -> None:
    names = list(nn.Transformer(4, 2, 1, 1, 8).state_dict())
    attention = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    linear = ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias")
    norm = lambda i: (f"norm{i}.weight", f"norm{i}.bias")
    encoder = [*(f"self_attn.{n}" for n in attention), *linear, *norm(1), *norm(2)]
    decoder = [
        *(f"{part}.{n}" for part in ("self_attn", "multihead_attn") for n in attention),
        *linear,
        *(n for i in (1, 2, 3) for n in norm(i)),
    ]
    assert names == [
        *(f"encoder.layers.0.{n}" for n in encoder),
        "encoder.norm.weight",
        "encoder.norm.bias",
        *(f"decoder.layers.0.{n}" for n in decoder),
        "decoder.norm.weight",
        "decoder.norm.bias",
    ]
    without = nn.TransformerEncoderLayer(4, 2, 8, bias=False).state_dict()
    assert not any(name.endswith("bias") for name in without)


def test_weights_are_drawn_anew_for_each_layer() -> None:
    layers = nn.Transformer(4, 2, 2, 1, 8).encoder.layers
    assert (layers[0].linear1.weight.numpy() != layers[1].linear1.weight.numpy()).any()


def test_custom_parts() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 1)
    model = nn.Transformer(4, 2, 1, 1, 8, batch_first=True, custom_encoder=encoder)
    assert model.encoder is encoder


def test_causal_masks() -> None:
    additive = nn.Transformer.generate_square_subsequent_mask(3).numpy()
    np.testing.assert_array_equal(additive, np.where(np.tri(3), 0.0, -np.inf))
    np.testing.assert_array_equal(F.causal_mask(2, 3).numpy(), np.tri(2, 3, dtype=bool))


def test_positional_encoding() -> None:
    first = nn.PositionalEncoding(D, 0.0, max_len=L, batch_first=True, dtype="float64")
    expected = X.numpy() + F.sinusoidal_encoding(L, D, dtype="float64").numpy()
    np.testing.assert_allclose(first(X).numpy(), expected)
    np.testing.assert_allclose(first(X[0]).numpy(), expected[0])
    time_first = nn.PositionalEncoding(D, 0.0, max_len=9, dtype="float64")
    np.testing.assert_allclose(time_first(wg.swapaxes(X, 0, 1)).numpy(), expected.swapaxes(0, 1))
    assert list(first.state_dict()) == []  # follows from the settings, so it is not saved
    assert (nn.PositionalEncoding(D, 0.5, batch_first=True)(wg.ones((1, 50, D))).numpy() == 0).any()


def test_dropout_acts_in_training_alone() -> None:
    layer = nn.TransformerEncoderLayer(D, H, FF, dropout=0.5, batch_first=True)
    x = wg.ones((2, L, D))
    assert (layer(x).numpy() != layer(x).numpy()).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


MODEL = nn.Transformer(4, 2, 1, 1, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.TransformerEncoderLayer(5, 2), "embed_dim must be a positive multiple"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="swish!"), "unknown activation"),
        (lambda: MODEL(wg.ones((3, 2, 4)), wg.ones((3, 5, 4))), "one batch size.*batch_first=True"),
        (lambda: MODEL(wg.ones((3, 2, 5)), wg.ones((3, 2, 5))), "d_model = 4 features"),
        (lambda: MODEL(wg.ones((2, 4)), wg.ones((3, 2, 4))), "same number of axes"),
        (lambda: nn.PositionalEncoding(4, max_len=3)(wg.ones((5, 1, 4))), "up to 3 tokens of 4"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(wg.errors.WengertError, match=message):
        call()


def test_errors_name_the_layer() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 1)
    with pytest.raises(ValueError, match=r"\[MultiheadAttention at layers.0.self_attn\] attn_mask"):
        model(wg.ones((3, 2, 4)), mask=wg.ones((5, 5)))
