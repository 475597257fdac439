"""The transformer of Vaswani et al. 2017, "Attention is all you need": its layers, encoder and
decoder.

Names of parts, parameters and arguments are PyTorch's, so that its weights load unchanged. Masks of
these modules say what is left out: True (or −∞) excludes, as in `MultiheadAttention`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from wengert.core.errors import ArgumentError, ShapeError
from wengert.core.spec import describe
from wengert.core.tensor import Tensor
from wengert.nn import functional as F
from wengert.nn import init
from wengert.nn.attention import MultiheadAttention
from wengert.nn.containers import ModuleList
from wengert.nn.dropout import Dropout
from wengert.nn.functional.arguments import at, floating
from wengert.nn.linear import Linear
from wengert.nn.module import Module
from wengert.nn.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Tensor], Tensor]


def _activation(choice: Activation) -> Callable[[Tensor], Tensor]:
    if callable(choice):
        return choice
    known: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
    if choice not in known:
        raise ArgumentError(
            "Transformer",
            "unknown activation",
            met=repr(choice),
            fix="use 'relu', 'gelu', or any function of a tensor",
        )
    return known[choice]


class _Layer(Module):
    """What encoder and decoder layers share: self-attention and a feed-forward network, each
    behind dropout, added to its input and normalised."""

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def __init__(
        self,
        attentions: tuple[str, ...],
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        new: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        for name in attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **new)
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, **new)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **new)
        self.norm_first = norm_first
        steps = range(1, len(attentions) + 2)
        for i in steps:
            self.add_module(f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, **new))
        for i in steps:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.linear1(x)))
        out: Tensor = self.linear2(hidden)
        return out

    def _residual(self, x: Tensor, number: int, block: Callable[[Tensor], Tensor]) -> Tensor:
        """`x + dropout(block(x))`, normalised after the sum, or (norm_first) before the block."""
        norm = getattr(self, f"norm{number}")
        dropout = getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + dropout(block(norm(x)))
        out: Tensor = norm(x + dropout(block(x)))
        return out


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a feed-forward network, each with a residual connection.

    Parameters
    ----------
    d_model, nhead : features of a token; heads of attention
    dim_feedforward : hidden units of the feed-forward network
    dropout : the share of values dropped in training
    activation : "relu", "gelu" or a function
    layer_norm_eps : added to the variance
    batch_first : sequences are (batch, length, d_model) rather than (length, batch, d_model)
    norm_first : normalise before each block (Xiong et al. 2020) rather than after the sum
    bias : whether linear layers and normalisations have biases

    >>> import wengert as wg
    >>> layer = wg.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    >>> layer(wg.ones((4, 5, 8))).shape
    (4, 5, 8)

    Source: Vaswani et al. 2017.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            ("self_attn",),
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Masks and `is_causal` are those of `MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            out: Tensor = self.self_attn(
                x,
                x,
                x,
                key_padding_mask=src_key_padding_mask,
                need_weights=False,
                attn_mask=src_mask,
                is_causal=is_causal,
            )[0]
            return out

        x = floating("TransformerEncoderLayer", src)
        x = self._residual(x, 1, attend)
        return self._residual(x, 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's result (the memory), then a feed-forward network,
    each with a residual connection. Parameters are those of `TransformerEncoderLayer`.

    >>> import wengert as wg
    >>> layer = wg.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
    >>> layer(wg.ones((4, 5, 8)), wg.ones((4, 7, 8))).shape
    (4, 5, 8)

    Source: Vaswani et al. 2017.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            ("self_attn", "multihead_attn"),
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Masks and the causal switches are those of `MultiheadAttention`, for the attention of the
        target to itself and to the memory."""

        def attend(x: Tensor) -> Tensor:
            out: Tensor = self.self_attn(
                x,
                x,
                x,
                key_padding_mask=tgt_key_padding_mask,
                need_weights=False,
                attn_mask=tgt_mask,
                is_causal=tgt_is_causal,
            )[0]
            return out

        def look_up(x: Tensor) -> Tensor:
            out: Tensor = self.multihead_attn(
                x,
                memory,
                memory,
                key_padding_mask=memory_key_padding_mask,
                need_weights=False,
                attn_mask=memory_mask,
                is_causal=memory_is_causal,
            )[0]
            return out

        x = floating("TransformerDecoderLayer", tgt)
        x = self._residual(x, 1, attend)
        x = self._residual(x, 2, look_up)
        return self._residual(x, 3, self._feed_forward)


def _copies(layer: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer, and a normalisation at the end, if given.

    The copies start with equal weights, as in PyTorch; `Transformer` draws them anew.
    `enable_nested_tensor` and `mask_check` are accepted so that ported code runs; they choose
    among implementations, of which there is one here.

    >>> import wengert as wg
    >>> layer = wg.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> encoder = wg.nn.TransformerEncoder(layer, num_layers=2).eval()
    >>> encoder(wg.ones((4, 5, 8)), is_causal=True).shape
    (4, 5, 8)
    """

    norm: Module | None

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Every layer is given the masks; see `TransformerEncoderLayer`."""
        x = src
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, bool(is_causal))
        out: Tensor = x if self.norm is None else self.norm(x)
        return out


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer, and a normalisation at the end, if given.

    >>> import wengert as wg
    >>> layer = wg.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> decoder = wg.nn.TransformerDecoder(layer, num_layers=2).eval()
    >>> decoder(wg.ones((4, 5, 8)), wg.ones((4, 7, 8))).shape
    (4, 5, 8)
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.add_module("norm", norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Every layer is given the memory and the masks; see `TransformerDecoderLayer`."""
        x = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask,
                memory_mask,
                tgt_key_padding_mask,
                memory_key_padding_mask,
                bool(tgt_is_causal),
                memory_is_causal,
            )
        out: Tensor = x if self.norm is None else self.norm(x)
        return out


class Transformer(Module):
    """Encoder and decoder in one.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
    bias : as for `TransformerEncoderLayer`
    num_encoder_layers, num_decoder_layers : layers of the two stacks
    custom_encoder, custom_decoder : modules to use in their place

    >>> import wengert as wg
    >>> model = wg.nn.Transformer(8, 2, 1, 1, dim_feedforward=16, batch_first=True).eval()
    >>> mask = model.generate_square_subsequent_mask(5)
    >>> model(wg.ones((4, 7, 8)), wg.ones((4, 5, 8)), tgt_mask=mask).shape
    (4, 5, 8)

    Source: Vaswani et al. 2017.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every matrix anew (Glorot and Bengio 2010)."""
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's result for a target, given a source: (tgt length, batch, d_model), or with
        the batch in front where `batch_first`, or without it."""
        src, tgt = floating("Transformer", src), floating("Transformer", tgt)
        self._check(src, tgt)
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        out: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        return out

    def _check(self, src: Tensor, tgt: Tensor) -> None:
        batch = 0 if self.batch_first else 1
        fits = src.ndim == tgt.ndim and src.ndim in (2, 3)
        if not fits or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ShapeError(
                at("Transformer"),
                "source and target must have one batch size, and the same number of axes",
                met=f"{describe(src, tgt)}, with the batch on axis {batch}",
                fix=f"swap axes, or pass batch_first={not self.batch_first} to the model",
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError(
                at("Transformer"),
                f"source and target must have d_model = {self.d_model} features",
                met=describe(src, tgt),
                fix="embed the tokens in d_model features",
            )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """The causal mask in additive form, (sz, sz): 0 where a key takes part, else −∞."""
        return F.generate_square_subsequent_mask(sz, dtype)
